"""Partitions whose time is over, as `partition.expiration-time` says."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from hosu.kernel.errors import ErrorKind, InvalidInputError, UnsupportedError
from hosu.tables.commit.overwrite import drop_partitions
from hosu.tables.context import TableContext
from hosu.tables.layout import partition_text
from hosu.tables.manifests.live import live_files, partition_values
from hosu.tables.records import Partition
from hosu.tables.snapshots import find
from hosu.tables.upkeep.report import Report

_LETTERS: Final = {
    "yyyy": "%Y",
    "uuuu": "%Y",
    "yy": "%y",
    "MM": "%m",
    "dd": "%d",
    "HH": "%H",
    "mm": "%M",
    "ss": "%S",
    "SSS": "%f",
}
_TOKENS: Final = re.compile(r"'((?:[^']|'')*)'|([A-Za-z])\2*|[^A-Za-z']+")
_DEFAULT: Final = re.compile(r"(\d{1,4})-(\d{1,2})-(\d{1,2})(?: (\d{1,2}):(\d{1,2}):(\d{1,2})(?:\.\d{1,9})?)?")


def expire_partitions(ctx: TableContext, *, dry_run: bool = False) -> Report:
    """Drop the partitions that are older than `partition.expiration-time`, in one commit.

    A partition's time is what its values say (`values-time`), or when its last file was written (`update-time`). What
    says no time stays, with a note. Raises InvalidInputError TABLE_INVALID, UnsupportedError for a pattern of letters
    that hosu does not read.
    """
    report = Report("expire partitions", dry_run)
    keep_ms = ctx.options.partition_expiration_time
    latest = find.latest(ctx)
    if keep_ms is None or not ctx.layout.partition_keys or latest is None:
        return report
    by_update = _is_by_update(ctx)
    limit_ms = ctx.clock.now_ms() - keep_ms
    last_written: dict[Partition, int | None] = {}
    for entry in live_files(ctx, latest).values():
        values = partition_values(ctx, entry.partition)
        known, written = last_written.get(values, 0), entry.file.creation_time_ms
        last_written[values] = None if known is None or written is None else max(known, written)
    due = []
    for values, written in last_written.items():
        time_ms = written if by_update else _time_of(ctx, values, report)
        if time_ms is not None and time_ms < limit_ms:
            due.append(values)
    due.sort(key=lambda values: [partition_text(value, "") for value in values])
    due = due[: ctx.options.partition_expiration_max_num]
    report.partitions_dropped += [ctx.layout.partition_path(values).rstrip("/") for values in due]
    if due and not dry_run:
        made = drop_partitions(ctx, set(due))
        report.notes.append(f"dropped in snapshot {made.id}")
    return report


def _is_by_update(ctx: TableContext) -> bool:
    strategy = ctx.options.partition_expiration_strategy
    if strategy not in {"values-time", "update-time"}:
        raise UnsupportedError(
            ErrorKind.UNSUPPORTED,
            f"partition.expiration-strategy {strategy!r} is not supported: use values-time or update-time",
            option="partition.expiration-strategy",
        )
    return strategy == "update-time"


def _time_of(ctx: TableContext, values: Partition, report: Report) -> int | None:
    """Return the time that a partition's values say, in milliseconds; the values are local times of the machine."""
    if None in values:
        report.notes.append(f"{ctx.layout.partition_path(values)} stays: a value of it is NULL")
        return None
    text = _text_of(ctx, values)
    pattern = ctx.options.partition_timestamp_formatter
    found = _default_time(text) if pattern is None else _formatted_time(text, pattern)
    if found is None:
        report.notes.append(
            f"{ctx.layout.partition_path(values)} stays: {text!r} is no time; set partition.timestamp-pattern and "
            "partition.timestamp-formatter, or partition.expiration-strategy = update-time"
        )
        return None
    return (found.astimezone() - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1)


def _text_of(ctx: TableContext, values: Partition) -> str:
    texts: dict[str, Any] = {
        key: partition_text(value, "") for key, value in zip(ctx.layout.partition_keys, values, strict=True)
    }
    pattern = ctx.options.partition_timestamp_pattern
    if pattern is None:
        return str(texts[ctx.layout.partition_keys[0]])
    # Longer names first: `$dt1` is not `$dt` and a 1.
    names = "|".join(re.escape(key) for key in sorted(texts, key=len, reverse=True))
    return re.sub(rf"\$({names})", lambda found: str(texts[found[1]]), pattern)


def _default_time(text: str) -> datetime | None:
    found = _DEFAULT.fullmatch(text)
    if found is None:
        return None
    numbers = [int(part or 0) for part in found.groups()]
    try:
        return datetime(*numbers)  # type: ignore[arg-type]  # noqa: DTZ001 - the machine's zone
    except ValueError:
        return None


def _formatted_time(text: str, pattern: str) -> datetime | None:
    try:
        return datetime.strptime(text, strptime_format(pattern))  # noqa: DTZ007 - the machine's zone
    except ValueError:
        return None


def strptime_format(pattern: str) -> str:
    """Return a date pattern of Java's as one of Python's.

    Raises UnsupportedError for letters that hosu does not read, InvalidInputError TABLE_INVALID for an open quote.
    """
    out, end = [], 0
    for token in _TOKENS.finditer(pattern):
        if token.start() != end:
            break
        end = token.end()
        text = token[0]
        if token[1] is not None:
            out.append((token[1].replace("''", "'") or "'").replace("%", "%%"))
        elif token[2] is None:
            out.append(text.replace("%", "%%"))
        elif text in _LETTERS:
            out.append(_LETTERS[text])
        else:
            raise UnsupportedError(
                ErrorKind.UNSUPPORTED,
                f"partition.timestamp-formatter {pattern!r}: {text!r} is not supported: use {', '.join(_LETTERS)}",
                option="partition.timestamp-formatter",
            )
    if end != len(pattern):
        raise InvalidInputError(
            ErrorKind.TABLE_INVALID,
            f"partition.timestamp-formatter {pattern!r} has an open quote: close it",
            option="partition.timestamp-formatter",
        )
    return "".join(out)
