"""Where a read begins: which options go with which `scan.mode`."""

from hosu.tables.options import Options
from hosu.tables.optionvalues import option_error

POSITIONS = {
    "from-snapshot": ("scan.snapshot-id", "scan.tag-name", "scan.watermark", "scan.version"),
    "from-snapshot-full": ("scan.snapshot-id",),
    "incremental": ("incremental-between", "incremental-between-timestamp"),
    "from-timestamp": ("scan.timestamp-millis", "scan.timestamp"),
}
"""What each mode begins at: exactly one of these is given. The other modes have none."""

_ALL = sorted({key for keys in POSITIONS.values() for key in keys})


def check_scan(options: Options) -> None:
    """Raise InvalidInputError TABLE_INVALID unless the options say one place to begin at."""
    mode = options.scan_mode
    given = [key for key in _ALL if options.has(key)]
    wanted = POSITIONS.get(mode, ())
    for key in given:
        if key not in wanted:
            raise option_error(key, options.value(key), f"it does not go with scan.mode {mode!r}: give one of them")
    if len(given) > 1:
        raise option_error(given[1], options.value(given[1]), f"{given[0]!r} is given too: give one of them")
    if wanted and not given:
        raise option_error("scan.mode", mode, f"give {' or '.join(map(repr, wanted))} with it")
