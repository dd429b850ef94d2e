"""What a table's options say of its files."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from hosu.kernel.errors import ErrorKind, UnsupportedError
from hosu.tables.files.statistics import NONE, SYSTEM_LENGTH, Mode, parse_mode

if TYPE_CHECKING:
    from hosu.tables.context import TableContext
    from hosu.tables.options import Options

FORMATS: Final = ("parquet", "orc", "avro")
Kind = Literal["data", "changelog"]


@dataclass(frozen=True)
class FileSettings:
    """How the files of one level are written."""

    format: str
    compression: str
    codec_level: int
    prefix: str
    suffix: str
    target_bytes: int
    target_rows: int
    group_bytes: int | None
    dictionaries: bool | None
    """Whether columns get dictionaries; None: those that are worth one."""

    is_thin: bool
    is_dense: bool
    """Whether columns without statistics are left out of manifests."""


def settings_of(ctx: "TableContext", level: int, kind: Kind) -> FileSettings:
    """Return how files of a level are written.

    Raises UnsupportedError for a format that hosu does not write, InvalidInputError TABLE_INVALID for a wrong option.
    """
    options = ctx.options
    if kind == "changelog":
        option, file_format = "changelog-file.format", options.changelog_format
        compression, prefix = options.changelog_compression, options.changelog_file_prefix
    else:
        option, file_format = "file.format", options.file_format_at(level)
        compression, prefix = options.compression_at(level), options.data_file_prefix
    file_format, compression = file_format.lower(), compression.lower()
    if file_format not in FORMATS:
        raise UnsupportedError(
            ErrorKind.UNSUPPORTED,
            f"option {option!r} is {file_format!r}: hosu writes {', '.join(FORMATS)}",
            option=option,
            value=file_format,
        )
    return FileSettings(
        format=file_format,
        compression=compression,
        codec_level=options.compression_zstd_level,
        prefix=prefix,
        suffix=f".{compression}.{file_format}" if options.file_suffix_include_compression else f".{file_format}",
        target_bytes=options.target_file_size,
        target_rows=options.target_file_row_num,
        group_bytes=options.file_block_size,
        dictionaries=options.parquet_enable_dictionary,
        is_thin=options.thin_mode,
        is_dense=options.metadata_stats_dense_store,
    )


def stats_modes(
    options: "Options", level: int, kind: Kind, names: Sequence[str], keys: frozenset[str] = frozenset()
) -> list[Mode]:
    """Return how much of each column's statistics is kept: of keys always enough to leave out files by them."""
    modes = []
    limit = options.metadata_stats_keep_first_n_columns
    counted = 0
    for name in names:
        is_own = options.field_option(name, "stats-mode") is not None
        if not is_own and name in keys:
            modes.append(Mode(length=SYSTEM_LENGTH))
            continue
        if is_own or not 0 <= limit <= counted:
            text = options.stats_mode(name, level)
            if kind == "changelog" and not is_own:
                text = options.changelog_stats_mode
            modes.append(parse_mode(text, f"fields.{name}.stats-mode" if is_own else "metadata.stats-mode"))
        else:
            modes.append(NONE)
        counted += 1
    return modes
