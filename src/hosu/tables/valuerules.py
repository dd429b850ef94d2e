"""What values options may have, and which types the formats of files hold."""

from collections.abc import Iterator
from typing import Final

from hosu.tables.files import avro, orc, parquet
from hosu.tables.files.settings import FORMATS
from hosu.tables.files.statistics import parse_mode
from hosu.tables.manifests.avro import codec_of
from hosu.tables.options import Options
from hosu.tables.optionvalues import option_error, parse_zone
from hosu.tables.schemas import TableSchema

_POSITIVE: Final = (
    "target-file-row-num",
    "snapshot.num-retained.min",
    "changelog.num-retained.min",
    "num-sorted-run.compaction-trigger",
    "full-compaction.delta-commits",
    "target-file-size",
    "manifest.target-file-size",
    "snapshot.expire.limit",
    "dynamic-bucket.target-row-num",
    "tag.creation-period-duration",
)
_PER_LEVEL: Final = ("file.format.per.level", "file.compression.per.level", "metadata.stats-mode.per.level")
_PREFIXES: Final = ("data-file.prefix", "changelog-file.prefix")
_ZONES: Final = ("sink.watermark-time-zone", "sink.process-time-zone")
_HOURS: Final = ("compaction.offpeak.start.hour", "compaction.offpeak.end.hour")
_HOUR_MAX: Final = 23
_CODECS: Final = {"parquet": tuple(parquet.CODECS), "orc": tuple(orc.CODECS), "avro": avro.WRITTEN_CODECS}


def check_values(schema: TableSchema, options: Options) -> None:
    """Raise InvalidInputError TABLE_INVALID for an option whose value means nothing."""
    _check_numbers(options)
    for key in _PER_LEVEL:
        for level in options.value(key):
            if not level.isdecimal() or not level.isascii():
                raise option_error(key, options.raw.get(key), f"{level!r} is no level: write it as 0:…,5:…")
    for key in _PREFIXES:
        value = options.value(key)
        if "/" in value or "\\" in value:
            raise option_error(key, value, "a file of that name would be in another folder: leave out the slash")
    for key in _ZONES:
        _check_zone(key, options.value(key))
    codec_of(options.manifest_compression)
    _check_stats(schema, options)
    for name in schema.names:
        # Each is read where it is used; reading says what is wrong.
        options.count_limit(name)
        options.distinct(name)
        options.ignore_retract(name)
    for name in options.changelog_row_deduplicate_ignore_fields:
        if not schema.has(name):
            key = "changelog-producer.row-deduplicate-ignore-fields"
            raise option_error(key, options.raw.get(key), f"there is no column {name!r}")


def _check_numbers(options: Options) -> None:
    for key in _POSITIVE:
        value = options.value(key)
        if value is not None and value < 1:
            raise option_error(key, value, "it must be 1 at least")
    if options.num_levels < 2:  # noqa: PLR2004 - level 0 and one above it
        raise option_error("num-levels", options.num_levels, "it must be 2 at least")
    if options.dynamic_bucket_max_buckets < 1 and options.dynamic_bucket_max_buckets != -1:
        raise option_error(
            "dynamic-bucket.max-buckets", options.dynamic_bucket_max_buckets, "it is 1 at least, or -1 for no limit"
        )
    for key in _HOURS:
        if not -1 <= options.value(key) <= _HOUR_MAX:
            raise option_error(key, options.value(key), "it is an hour from 0 to 23, or -1 for none")
    for what, low, high in (
        ("snapshot", options.snapshot_num_retained_min, options.snapshot_num_retained_max),
        ("changelog", options.changelog_num_retained_min, options.changelog_num_retained_max),
    ):
        if low > high:
            raise option_error(f"{what}.num-retained.min", low, f"'{what}.num-retained.max' is less: {high}")


def _check_zone(key: str, name: str | None) -> None:
    if name is None:
        return
    try:
        parse_zone(name)
    except ValueError as error:
        reason = "hosu knows no time zone of this name; write it as UTC, Asia/Seoul or +09:00"
        raise option_error(key, name, reason) from error


def _check_stats(schema: TableSchema, options: Options) -> None:
    parse_mode(options.metadata_stats_mode)
    parse_mode(options.changelog_stats_mode, "changelog-file.stats-mode")
    for mode in options.metadata_stats_mode_per_level.values():
        parse_mode(mode, "metadata.stats-mode.per.level")
    for name in schema.names:
        own = options.field_option(name, "stats-mode")
        if own is not None:
            parse_mode(own, f"fields.{name}.stats-mode")


def _files(options: Options) -> Iterator[tuple[str, str, str]]:
    """Yield what files of the table are: the option that says their format, the format, and the compression."""
    yield "file.format", options.file_format, options.compression
    if options.has("changelog-file.format") or options.has("changelog-file.compression"):
        yield "changelog-file.format", options.changelog_format, options.changelog_compression
    for level in {**options.file_format_per_level, **options.compression_per_level}:
        yield "file.format.per.level", options.file_format_at(int(level)), options.compression_at(int(level))


def check_files(schema: TableSchema, options: Options) -> None:
    """Check that the files of a table hold its columns, in formats and compressions that are written.

    Raises InvalidInputError TABLE_INVALID, and UnsupportedError for a type that a format does not hold.
    """
    for key, given, compression in _files(options):
        file_format = given.lower()
        if file_format not in FORMATS:
            raise option_error(key, given, f"hosu writes {', '.join(FORMATS)}")
        if compression.lower() not in _CODECS[file_format]:
            raise option_error(
                key.replace("format", "compression"),
                compression,
                f"files of {file_format} are written with {', '.join(_CODECS[file_format])}",
            )
        for field in schema.fields:
            if file_format == "orc":
                orc.check_type(field.type)
            elif file_format == "avro":
                avro.avro_schema(field.type)
