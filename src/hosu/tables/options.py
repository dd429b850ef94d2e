"""The options of a table, typed. Durations are milliseconds, sizes bytes; defaults are Paimon's, from the registry."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Generic, TypeVar, cast

from hosu.kernel.limits import MIB
from hosu.tables.optionregistry import canonical_key, registry
from hosu.tables.optionvalues import option_error, parse_value, split_names

_Value = TypeVar("_Value")
_Enum = TypeVar("_Enum", bound=StrEnum)

DYNAMIC_BUCKET = -1
POSTPONE_BUCKET = -2
_STOP_ABOVE_TRIGGER = 3
_TARGET_OF_KEYED = 128 * MIB
_TARGET_OF_APPENDED = 256 * MIB


class MergeEngine(StrEnum):
    """What becomes of several rows of one key."""

    DEDUPLICATE = "deduplicate"
    PARTIAL_UPDATE = "partial-update"
    AGGREGATION = "aggregation"
    FIRST_ROW = "first-row"


class ChangelogProducer(StrEnum):
    """What writes the changelog of a table."""

    NONE = "none"
    INPUT = "input"
    FULL_COMPACTION = "full-compaction"
    LOOKUP = "lookup"


class ChangelogFill(StrEnum):
    """Where the rows before an update come from, with changelog-producer `input`."""

    NONE = "none"
    LOOKUP = "lookup"


class _Option(Generic[_Value]):
    """An option under its key, read when it is asked for."""

    def __init__(self, key: str) -> None:
        self.key = key

    def __get__(self, options: "Options", owner: type["Options"]) -> _Value:
        return cast("_Value", options.value(self.key))


class _Choice(Generic[_Enum]):
    """An option that is one of an enumeration."""

    def __init__(self, key: str, choices: type[_Enum]) -> None:
        self.key = key
        self._choices = choices

    def __get__(self, options: "Options", owner: type["Options"]) -> _Enum:
        return self._choices(options.value(self.key))


class _Names:
    """An option that is a list of columns."""

    def __init__(self, key: str) -> None:
        self.key = key

    def __get__(self, options: "Options", owner: type["Options"]) -> tuple[str, ...]:
        return split_names(options.value(self.key))


class Options:
    """The options of a table: `raw` as given, properties as meant. Reading a wrong value raises TABLE_INVALID."""

    def __init__(self, raw: Mapping[str, str], *, has_primary_key: bool = False) -> None:
        self.raw = dict(raw)
        self.has_primary_key = has_primary_key
        # The present key of an option counts before its older ones.
        self._given = {canonical_key(key): value for key, value in raw.items()} | {
            key: value for key, value in raw.items() if canonical_key(key) == key
        }
        self._parsed: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"Options({self.raw!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Options) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(frozenset(self.raw.items()))

    def has(self, key: str) -> bool:
        """Whether an option is given, under this or an older key."""
        return key in self._given

    def value(self, key: str) -> Any:  # noqa: ANN401 - of the option's kind
        """Return the value of an option that the registry knows: what is given, or its default, or None."""
        try:
            return self._parsed[key]
        except KeyError:
            entry = registry()[key]
            text = self._given.get(key, entry.default)
            value = None if text is None else entry.parse(text)
            self._parsed[key] = value
            return value

    def merged(self, more: Mapping[str, str]) -> "Options":
        """Return these options with others over them."""
        names = {canonical_key(key) for key in more}
        kept = {key: value for key, value in self.raw.items() if canonical_key(key) not in names}
        return Options(kept | dict(more), has_primary_key=self.has_primary_key)

    # Buckets.
    bucket = _Option[int]("bucket")
    bucket_key = _Names("bucket-key")
    bucket_function = _Option[str]("bucket-function.type")
    dynamic_bucket_target_row_num = _Option[int]("dynamic-bucket.target-row-num")
    dynamic_bucket_max_buckets = _Option[int]("dynamic-bucket.max-buckets")

    # Files.
    branch = _Option[str]("branch")
    file_format = _Option[str]("file.format")
    file_format_per_level = _Option[dict[str, str]]("file.format.per.level")
    compression = _Option[str]("file.compression")
    compression_per_level = _Option[dict[str, str]]("file.compression.per.level")
    compression_zstd_level = _Option[int]("file.compression.zstd-level")
    file_block_size = _Option[int | None]("file.block-size")
    file_suffix_include_compression = _Option[bool]("file.suffix.include.compression")
    data_file_prefix = _Option[str]("data-file.prefix")
    changelog_file_prefix = _Option[str]("changelog-file.prefix")
    thin_mode = _Option[bool]("data-file.thin-mode")
    target_file_row_num = _Option[int]("target-file-row-num")
    parquet_enable_dictionary = _Option[bool | None]("parquet.enable.dictionary")
    metadata_stats_mode = _Option[str]("metadata.stats-mode")
    metadata_stats_mode_per_level = _Option[dict[str, str]]("metadata.stats-mode.per.level")
    metadata_stats_dense_store = _Option[bool]("metadata.stats-dense-store")
    metadata_stats_keep_first_n_columns = _Option[int]("metadata.stats-keep-first-n-columns")

    # Rows of one key.
    merge_engine = _Choice("merge-engine", MergeEngine)
    sequence_fields = _Names("sequence.field")
    ignore_delete = _Option[bool]("ignore-delete")
    ignore_update_before = _Option[bool]("ignore-update-before")
    rowkind_field = _Option[str | None]("rowkind.field")
    default_aggregate_function = _Option[str | None]("fields.default-aggregate-function")
    aggregation_remove_record_on_delete = _Option[bool]("aggregation.remove-record-on-delete")
    partial_update_remove_record_on_delete = _Option[bool]("partial-update.remove-record-on-delete")
    partial_update_remove_record_on_sequence_group = _Names("partial-update.remove-record-on-sequence-group")
    record_level_expire_time = _Option[int | None]("record-level.expire-time")
    record_level_time_field = _Option[str | None]("record-level.time-field")

    # Changelogs.
    changelog_producer = _Choice("changelog-producer", ChangelogProducer)
    changelog_fill = _Choice("hosu.changelog-fill", ChangelogFill)
    changelog_row_deduplicate = _Option[bool]("changelog-producer.row-deduplicate")
    changelog_row_deduplicate_ignore_fields = _Names("changelog-producer.row-deduplicate-ignore-fields")

    # Deletion vectors.
    deletion_vectors = _Option[bool]("deletion-vectors.enabled")
    deletion_vectors_modifiable = _Option[bool]("deletion-vectors.modifiable")
    deletion_vectors_merge_on_read = _Option[bool]("deletion-vectors.merge-on-read")
    deletion_vectors_bitmap64 = _Option[bool]("deletion-vectors.bitmap64")

    # Compaction.
    write_only = _Option[bool]("write-only")
    upkeep = _Option[bool]("hosu.upkeep")
    force_lookup = _Option[bool]("force-lookup")
    lookup_wait = _Option[bool]("lookup-wait")
    num_sorted_run_compaction_trigger = _Option[int]("num-sorted-run.compaction-trigger")
    full_compaction_delta_commits = _Option[int | None]("full-compaction.delta-commits")
    compaction_max_size_amplification_percent = _Option[int]("compaction.max-size-amplification-percent")
    compaction_size_ratio = _Option[int]("compaction.size-ratio")
    compaction_off_peak_start_hour = _Option[int]("compaction.offpeak.start.hour")
    compaction_off_peak_end_hour = _Option[int]("compaction.offpeak.end.hour")
    compaction_off_peak_ratio = _Option[int]("compaction.offpeak-ratio")
    compaction_force_up_level_0 = _Option[bool]("compaction.force-up-level-0")
    compaction_optimization_interval = _Option[int | None]("compaction.optimization-interval")
    compaction_total_size_threshold = _Option[int | None]("compaction.total-size-threshold")
    compaction_incremental_size_threshold = _Option[int | None]("compaction.incremental-size-threshold")
    compaction_min_file_num = _Option[int]("compaction.min.file-num")
    compaction_delete_ratio_threshold = _Option[float]("compaction.delete-ratio-threshold")
    compaction_small_file_ratio = _Option[float]("compaction.small-file-ratio")

    # Commits.
    commit_user_prefix = _Option[str | None]("commit.user-prefix")
    commit_timeout = _Option[int | None]("commit.timeout")
    commit_max_retries = _Option[int]("commit.max-retries")
    commit_min_retry_wait = _Option[int]("commit.min-retry-wait")
    commit_max_retry_wait = _Option[int]("commit.max-retry-wait")
    commit_force_compact = _Option[bool]("commit.force-compact")
    commit_force_create_snapshot = _Option[bool]("commit.force-create-snapshot")
    snapshot_ignore_empty_commit = _Option[bool | None]("snapshot.ignore-empty-commit")
    manifest_compression = _Option[str]("manifest.compression")
    manifest_target_file_size = _Option[int]("manifest.target-file-size")
    manifest_full_compaction_threshold_size = _Option[int]("manifest.full-compaction-threshold-size")
    manifest_merge_min_count = _Option[int]("manifest.merge-min-count")
    manifest_delete_file_drop_stats = _Option[bool]("manifest.delete-file-drop-stats")
    dynamic_partition_overwrite = _Option[bool]("dynamic-partition-overwrite")
    overwrite_upgrade = _Option[bool]("overwrite-upgrade")

    # Snapshots, tags and consumers.
    snapshot_num_retained_min = _Option[int]("snapshot.num-retained.min")
    snapshot_num_retained_max = _Option[int]("snapshot.num-retained.max")
    snapshot_time_retained = _Option[int]("snapshot.time-retained")
    changelog_time_retained = _Option[int | None]("changelog.time-retained")
    snapshot_expire_limit = _Option[int]("snapshot.expire.limit")
    tag_automatic_creation = _Option[str]("tag.automatic-creation")
    tag_creation_period = _Option[str]("tag.creation-period")
    tag_creation_period_duration = _Option[int | None]("tag.creation-period-duration")
    tag_creation_delay = _Option[int]("tag.creation-delay")
    tag_period_formatter = _Option[str]("tag.period-formatter")
    tag_num_retained_max = _Option[int | None]("tag.num-retained-max")
    tag_default_time_retained = _Option[int | None]("tag.default-time-retained")
    tag_time_expire_enabled = _Option[bool]("tag.time-expire-enabled")
    tag_automatic_completion = _Option[bool]("tag.automatic-completion")
    sink_watermark_time_zone = _Option[str]("sink.watermark-time-zone")
    sink_process_time_zone = _Option[str | None]("sink.process-time-zone")
    consumer_expiration_time = _Option[int | None]("consumer.expiration-time")
    consumer_ignore_progress = _Option[bool]("consumer.ignore-progress")

    # Partitions.
    partition_default_name = _Option[str]("partition.default-name")
    partition_legacy_name = _Option[bool]("partition.legacy-name")
    partition_expiration_time = _Option[int | None]("partition.expiration-time")
    partition_expiration_strategy = _Option[str]("partition.expiration-strategy")
    partition_expiration_check_interval = _Option[int]("partition.expiration-check-interval")
    partition_expiration_max_num = _Option[int]("partition.expiration-max-num")
    partition_timestamp_formatter = _Option[str | None]("partition.timestamp-formatter")
    partition_timestamp_pattern = _Option[str | None]("partition.timestamp-pattern")

    # Reading.
    scan_timestamp = _Option[str | None]("scan.timestamp")
    scan_timestamp_millis = _Option[int | None]("scan.timestamp-millis")
    scan_watermark = _Option[int | None]("scan.watermark")
    scan_snapshot_id = _Option[int | None]("scan.snapshot-id")
    scan_tag_name = _Option[str | None]("scan.tag-name")
    scan_version = _Option[str | None]("scan.version")
    incremental_between = _Option[str | None]("incremental-between")
    incremental_between_timestamp = _Option[str | None]("incremental-between-timestamp")
    incremental_between_scan_mode = _Option[str]("incremental-between-scan-mode")
    streaming_read_overwrite = _Option[bool]("streaming-read-overwrite")
    source_split_open_file_cost = _Option[int]("source.split.open-file-cost")

    # Changes of the schema.
    alter_column_null_to_not_null_disabled = _Option[bool]("alter-column-null-to-not-null.disabled")
    disable_explicit_type_casting = _Option[bool]("disable-explicit-type-casting")
    add_column_before_partition = _Option[bool]("add-column-before-partition")

    @property
    def sequence_descending(self) -> bool:
        """Whether the lowest value of the sequence fields is the latest."""
        return bool(self.value("sequence.field.sort-order") == "descending")

    @property
    def target_file_size(self) -> int:
        """Bytes at which a data file is full: larger by default where rows have no key."""
        default = _TARGET_OF_KEYED if self.has_primary_key else _TARGET_OF_APPENDED
        given = self.value("target-file-size")
        return default if given is None else int(given)

    @property
    def num_sorted_run_stop_trigger(self) -> int:
        """Runs of a bucket at which a writer waits for compaction."""
        trigger = self.num_sorted_run_compaction_trigger
        given = self.value("num-sorted-run.stop-trigger")
        return trigger + _STOP_ABOVE_TRIGGER if given is None else max(trigger, int(given))

    @property
    def num_levels(self) -> int:
        """Levels of a bucket, level 0 included."""
        given = self.value("num-levels")
        return self.num_sorted_run_compaction_trigger + 1 if given is None else int(given)

    @property
    def needs_lookup(self) -> bool:
        """Whether rows of level 0 are compacted with a look at what is above them."""
        return (
            self.merge_engine is MergeEngine.FIRST_ROW
            or self.changelog_producer is ChangelogProducer.LOOKUP
            or self.deletion_vectors
            or self.force_lookup
        )

    @property
    def changelog_format(self) -> str:
        """The format of changelog files."""
        return str(self.value("changelog-file.format") or self.file_format)

    @property
    def changelog_compression(self) -> str:
        """The compression of changelog files."""
        return str(self.value("changelog-file.compression") or self.compression)

    @property
    def changelog_stats_mode(self) -> str:
        """What statistics changelog files have."""
        return str(self.value("changelog-file.stats-mode") or self.metadata_stats_mode)

    @property
    def changelog_num_retained_min(self) -> int:
        """Changelogs that are kept at least."""
        given = self.value("changelog.num-retained.min")
        return self.snapshot_num_retained_min if given is None else int(given)

    @property
    def changelog_num_retained_max(self) -> int:
        """Changelogs that are kept at most."""
        given = self.value("changelog.num-retained.max")
        return self.snapshot_num_retained_max if given is None else int(given)

    @property
    def scan_mode(self) -> str:
        """Where a read begins: `scan.mode`, or what the options beside it mean."""
        given = str(self.value("scan.mode"))
        if given == "full":
            return "latest-full"
        if given != "default":
            return given
        if self.scan_timestamp is not None or self.scan_timestamp_millis is not None:
            return "from-timestamp"
        if any(map(self.has, ("scan.snapshot-id", "scan.tag-name", "scan.watermark", "scan.version"))):
            return "from-snapshot"
        if self.has("incremental-between") or self.has("incremental-between-timestamp"):
            return "incremental"
        return "latest-full"

    def file_format_at(self, level: int) -> str:
        """Return the format of data files of a level."""
        return self.file_format_per_level.get(str(level), self.file_format)

    def compression_at(self, level: int) -> str:
        """Return the compression of data files of a level."""
        return self.compression_per_level.get(str(level), self.compression)

    def field_option(self, column: str, name: str) -> str | None:
        """Return `fields.<column>.<name>` as text, or None."""
        return self._given.get(f"fields.{column}.{name}")

    def _field_value(self, column: str, name: str, kind: str, default: Any) -> Any:  # noqa: ANN401 - of the kind asked
        text = self.field_option(column, name)
        if text is None:
            return default
        try:
            return parse_value(kind, text)
        except ValueError as error:
            raise option_error(f"fields.{column}.{name}", text, str(error)) from error

    def aggregate_function(self, column: str) -> str | None:
        """Return the name of a column's own aggregator, or None."""
        return self.field_option(column, "aggregate-function")

    def ignore_retract(self, column: str) -> bool:
        """Return whether a column's aggregator passes over rows that take back."""
        return bool(self._field_value(column, "ignore-retract", "bool", default=False))

    def distinct(self, column: str) -> bool:
        """Return whether `collect` and `listagg` keep each value once."""
        return bool(self._field_value(column, "distinct", "bool", default=False))

    def list_agg_delimiter(self, column: str) -> str:
        """Return what `listagg` puts between values."""
        return self.field_option(column, "list-agg-delimiter") or ","

    def count_limit(self, column: str) -> int:
        """Return how many rows `nested_update` keeps at most."""
        return int(self._field_value(column, "count-limit", "int", 2**31 - 1))

    def nested_key(self, column: str) -> tuple[str, ...]:
        """Return the key of the rows within a column of `nested_update`."""
        return split_names(self.field_option(column, "nested-key"))

    def nested_key_null_strategy(self, column: str) -> str:
        """Return what `nested_update` does with rows whose key is NULL."""
        return (self.field_option(column, "nested-key-null-strategy") or "merge").lower()

    def nested_sequence_field(self, column: str) -> tuple[str, ...]:
        """Return what orders the rows within a column of `nested_update`."""
        return split_names(self.field_option(column, "nested-sequence-field"))

    def merge_map_time_field(self, column: str) -> str | None:
        """Return the field that orders values of `merge_map_with_keytime`."""
        return self.field_option(column, "ts-field")

    def stats_mode(self, column: str, level: int | None = None) -> str:
        """Return what statistics a column has: its own mode, the level's or the table's."""
        own = self.field_option(column, "stats-mode")
        if own is not None:
            return own
        if level is not None and str(level) in self.metadata_stats_mode_per_level:
            return self.metadata_stats_mode_per_level[str(level)]
        return self.metadata_stats_mode

    @property
    def sequence_groups(self) -> dict[tuple[str, ...], tuple[str, ...]]:
        """The sequence groups of partial-update: the columns that order a group, and those of the group."""
        groups = {}
        for key, value in self._given.items():
            if key.startswith("fields.") and key.endswith(".sequence-group"):
                ordering = split_names(key.removeprefix("fields.").removesuffix(".sequence-group"))
                groups[ordering] = split_names(value)
        return groups
