"""What a table may be: columns, keys and options that go together, checked before a schema is stored."""

from collections import Counter
from collections.abc import Mapping, Sequence

from hosu.kernel.errors import ErrorKind, InvalidInputError, UnsupportedError
from hosu.tables.aggregators import check_aggregated, check_aggregator
from hosu.tables.merging.spec import MergeSpec
from hosu.tables.optionregistry import FIELD_SUFFIXES, canonical_key, check_options
from hosu.tables.options import DYNAMIC_BUCKET, POSTPONE_BUCKET, ChangelogFill, ChangelogProducer, MergeEngine, Options
from hosu.tables.optionvalues import option_error, split_names
from hosu.tables.records import KEY_PREFIX, SEQUENCE_NUMBER, VALUE_KIND
from hosu.tables.scanrules import check_scan
from hosu.tables.schemas import TableSchema
from hosu.tables.types import KEYLESS_ROOTS, DataField, DataType, default_of, type_sql
from hosu.tables.valuerules import check_values

SYSTEM_COLUMNS = frozenset({SEQUENCE_NUMBER, VALUE_KIND, "_LEVEL", "_ROW_ID", "_ROW_KIND", "rowkind"})

IMMUTABLE_OPTIONS = frozenset(
    {
        "aggregation.remove-record-on-delete",
        "bucket-function.type",
        "bucket-key",
        "dynamic-bucket.initial-buckets",
        "force-lookup",
        "merge-engine",
        "partial-update.remove-record-on-delete",
        "partial-update.remove-record-on-sequence-group",
        "partition",
        "primary-key",
        "rowkind.field",
        "type",
    }
)
"""What the rows already stored depend on: fixed once a table has a snapshot."""

PLACE_OPTIONS = frozenset({"partition.default-name", "partition.legacy-name"})
"""What the folders of partitions are named by: fixed as well, since files are found by those names."""

_TIMESTAMP_ROOTS = frozenset({"TIMESTAMP", "TIMESTAMP_LTZ"})
_PARTITION_FRACTION_MAX = 6
_EXPIRY_ROOTS = frozenset({"INT", "BIGINT", "TIMESTAMP", "TIMESTAMP_LTZ"})
_KEYED_ONLY = ("sequence.field", "rowkind.field", "changelog-producer", "record-level.expire-time")


def _invalid(message: str, **details: object) -> InvalidInputError:
    return InvalidInputError(ErrorKind.TABLE_INVALID, message, **details)


def check_schema(schema: TableSchema) -> None:
    """Check a schema whole: columns, keys, options, and that they go together.

    Raises InvalidInputError TABLE_INVALID, which names what is wrong and the remedy, and UnsupportedError for an option
    that hosu does not have.
    """
    _check_text(schema)
    _check_columns(schema)
    _check_keys("partition key", schema, schema.partition_keys)
    _check_keys("primary key", schema, schema.primary_keys)
    if schema.primary_keys and not schema.trimmed_keys:
        raise _invalid(
            f"primary key {_listed(schema.primary_keys)} has partition keys only, so that a partition would hold one "
            "row: add a column to the key, or leave out the partitioning"
        )
    options = Options(schema.options, has_primary_key=schema.is_primary_key_table)
    check_table_options(schema, options)
    _check_bucket(schema, options)
    _check_sequence(schema, options)
    _check_fields(schema, options)
    _check_engine(schema, options)
    _check_changelog(schema, options)
    check_values(schema, options)
    _check_expiry(schema, options)
    check_scan(options)


def _listed(names: Sequence[str]) -> str:
    return f"({', '.join(names)})"


def _check_text(schema: TableSchema) -> None:
    try:
        schema.to_json().encode()
    except UnicodeEncodeError as error:
        raise _invalid(f"{error.object[error.start : error.end]!r} in a name, comment or option is no text") from error


def _check_columns(schema: TableSchema) -> None:
    if not schema.fields:
        raise _invalid("a table needs at least one column")
    for name, count in Counter(schema.names).items():
        if count > 1:
            raise _invalid(f"column {name!r} is there twice: rename one of them", column=name)
        if not name or name != name.strip():
            raise _invalid(f"column {name!r} is empty or has blanks around it: rename it", column=name)
        if name in SYSTEM_COLUMNS or name.startswith(KEY_PREFIX):
            raise _invalid(f"column {name!r} has a name that Paimon keeps for itself: rename it", column=name)
    for column in schema.fields:
        default_of(column)
        _check_type(column, column.type)


def _check_type(column: DataField, data_type: DataType) -> None:
    if data_type.root == "ROW" and not data_type.fields:
        raise _invalid(f"column {column.name!r}: a ROW needs at least one field", column=column.name)
    for part in (data_type.key, data_type.element, *(field.type for field in data_type.fields)):
        if part is not None:
            _check_type(column, part)


def _check_keys(what: str, schema: TableSchema, keys: Sequence[str]) -> None:
    for name, count in Counter(keys).items():
        if not schema.has(name):
            raise _invalid(
                f"{what} {_listed(keys)}: there is no column {name!r}; the columns are {', '.join(schema.names)}",
                column=name,
            )
        if count > 1:
            raise _invalid(f"{what} {_listed(keys)} has {name!r} twice", column=name)
        root = schema.field(name).type.root
        if root in KEYLESS_ROOTS:
            raise _invalid(f"{what} {_listed(keys)}: column {name!r} is of type {root}, which is no key", column=name)


def check_table_options(schema: TableSchema, options: Options) -> None:
    """Raise UnsupportedError for the first option of a table that hosu does not have, as it is opened or made."""
    check_options(options.raw)
    for key in schema.partition_keys:
        data_type = schema.field(key).type
        if data_type.root in _TIMESTAMP_ROOTS and (data_type.precision or 0) > _PARTITION_FRACTION_MAX:
            raise UnsupportedError(
                ErrorKind.UNSUPPORTED,
                f"partition key {key!r} is of type {type_sql(data_type)}: hosu tells partitions apart by microseconds "
                f"at most; use {data_type.root}({_PARTITION_FRACTION_MAX})",
                column=key,
            )
    for column in schema.names:
        name = options.aggregate_function(column)
        if name is not None:
            check_aggregator(f"fields.{column}.aggregate-function", name)
    if options.default_aggregate_function is not None:
        check_aggregator("fields.default-aggregate-function", options.default_aggregate_function)


def check_dynamic_options(schema: TableSchema, options: Mapping[str, str]) -> None:
    """Check options that an opener puts over the table's own: together they must make a table.

    Raises InvalidInputError TABLE_INVALID for one that the stored rows depend on.
    """
    check_options(options)
    own = {canonical_key(key): value for key, value in schema.options.items()}
    for key, value in options.items():
        name = canonical_key(key)
        if name in IMMUTABLE_OPTIONS | PLACE_OPTIONS | {"bucket"} and own.get(name) != value:
            raise option_error(
                key, value, "what is stored depends on it, so that it cannot be put over the table's own"
            )
    check_scan(Options(schema.options).merged(options))


def check_spreading(schema: TableSchema, bucket: int) -> None:
    """Raise UnsupportedError for a way of spreading rows over buckets that hosu reads, but does not write."""
    if bucket == POSTPONE_BUCKET:
        raise UnsupportedError(
            ErrorKind.UNSUPPORTED,
            "option 'bucket' = '-2' is not supported: rows of postponed buckets are seen once Flink or Spark has "
            "compacted them; use a number of buckets, or -1",
            option="bucket",
        )
    if bucket == DYNAMIC_BUCKET and schema.is_cross_partition:
        outside = [name for name in schema.partition_keys if name not in schema.primary_keys]
        raise UnsupportedError(
            ErrorKind.UNSUPPORTED,
            f"primary key {_listed(schema.primary_keys)} lacks partition key {outside[0]!r}, so that with option "
            "'bucket' = '-1' a key would have to be looked for in every partition: put it into the key, or use a "
            "number of buckets",
            option="bucket",
        )


def _check_bucket(schema: TableSchema, options: Options) -> None:
    bucket = options.bucket
    check_spreading(schema, bucket)
    if bucket == DYNAMIC_BUCKET:
        if options.bucket_key:
            raise option_error("bucket-key", options.raw["bucket-key"], "give a number of buckets, or leave it out")
        if not schema.primary_keys and options.full_compaction_delta_commits is not None:
            raise option_error(
                "full-compaction.delta-commits",
                options.raw["full-compaction.delta-commits"],
                "tables without a primary key have it with a fixed number of buckets only",
            )
        return
    if bucket < 1:
        raise option_error("bucket", bucket, "it is a number from 1, or -1 for as many as the rows need")
    is_version_1 = bucket == 1 and schema.version == 1
    if not schema.primary_keys and not options.bucket_key and not is_version_1:
        raise option_error("bucket", bucket, "a table without a primary key needs option 'bucket-key' with it")
    known = schema.primary_keys or schema.names
    for name, count in Counter(options.bucket_key).items():
        if count > 1:
            raise option_error("bucket-key", options.raw["bucket-key"], f"it has {name!r} twice")
        if name not in known or name in schema.partition_keys:
            raise option_error(
                "bucket-key",
                options.raw["bucket-key"],
                f"{name!r} is no column of the primary key"
                if schema.primary_keys
                else f"{name!r} is no column, or a partition key",
            )
        if schema.field(name).type.root in KEYLESS_ROOTS:
            raise option_error("bucket-key", options.raw["bucket-key"], f"{name!r} is nested, and no key")


def _check_sequence(schema: TableSchema, options: Options) -> None:
    for name, count in Counter(options.sequence_fields).items():
        given = options.raw.get("sequence.field")
        if not schema.has(name):
            raise option_error("sequence.field", given, f"there is no column {name!r}")
        if count > 1:
            raise option_error("sequence.field", given, f"it has {name!r} twice")
        if options.aggregate_function(name) is not None:
            raise option_error("sequence.field", given, f"column {name!r} has an aggregate function")
    if options.sequence_fields:
        if options.merge_engine is MergeEngine.FIRST_ROW:
            raise option_error("sequence.field", options.raw.get("sequence.field"), "first-row takes rows as they come")
        if schema.is_cross_partition:
            raise option_error(
                "sequence.field",
                options.raw.get("sequence.field"),
                f"the primary key must have all partition keys {_listed(schema.partition_keys)}",
            )


def _check_fields(schema: TableSchema, options: Options) -> None:
    for key, value in options.raw.items():
        if not key.startswith("fields.") or key == "fields.default-aggregate-function":
            continue
        suffix = next(name for name in FIELD_SUFFIXES if key.endswith("." + name))
        names = split_names(key.removeprefix("fields.").removesuffix("." + suffix))
        for name in names if suffix == "sequence-group" else (key.removeprefix("fields.").removesuffix("." + suffix),):
            if not schema.has(name):
                raise option_error(key, value, f"there is no column {name!r}")
        if suffix == "sequence-group":
            _check_group(schema, options, key, value)


def _check_group(schema: TableSchema, options: Options, key: str, value: str) -> None:
    if options.merge_engine is not MergeEngine.PARTIAL_UPDATE:
        raise option_error(key, value, "sequence groups need merge-engine 'partial-update'")
    ordering = split_names(key.removeprefix("fields.").removesuffix(".sequence-group"))
    if not split_names(value):
        raise option_error(key, value, "it names the columns of the group: give one at least")
    for name in (*ordering, *split_names(value)):
        if not schema.has(name):
            raise option_error(key, value, f"there is no column {name!r}")
        if name in schema.primary_keys:
            raise option_error(key, value, f"column {name!r} is of the primary key, which no group changes")
        groups = [group for group, members in options.sequence_groups.items() if name in (*group, *members)]
        if len(groups) > 1:
            raise option_error(key, value, f"column {name!r} is in several groups")


def _check_engine(schema: TableSchema, options: Options) -> None:
    if not schema.primary_keys:
        for key in _KEYED_ONLY:
            if options.has(key) and options.value(key) != "none":
                raise option_error(key, options.raw.get(key), "the table has no primary key: define one")
        if options.merge_engine is not MergeEngine.DEDUPLICATE:
            raise option_error("merge-engine", options.merge_engine, "the table has no primary key: define one")
        return
    if options.rowkind_field is not None and not schema.has(options.rowkind_field):
        raise option_error("rowkind.field", options.rowkind_field, "there is no column of this name")
    if options.merge_engine is MergeEngine.FIRST_ROW and options.deletion_vectors:
        raise option_error("deletion-vectors.enabled", "true", "first-row never takes an old row back: leave it out")
    if options.merge_engine is MergeEngine.PARTIAL_UPDATE:
        _check_partial_update(options)
    _check_aggregators(schema, options)
    if options.aggregation_remove_record_on_delete and options.ignore_delete:
        raise option_error("ignore-delete", "true", "'aggregation.remove-record-on-delete' says the opposite")


def _check_aggregators(schema: TableSchema, options: Options) -> None:
    spec = MergeSpec.from_options(options, schema.trimmed_keys, schema.primary_keys, schema.names)
    for column, aggregator in spec.aggregators.items():
        check_aggregated(column, schema.field(column).type, aggregator.name)


def _check_partial_update(options: Options) -> None:
    groups = options.sequence_groups
    if options.partial_update_remove_record_on_delete:
        if options.ignore_delete:
            raise option_error("ignore-delete", "true", "'partial-update.remove-record-on-delete' says the opposite")
        if groups:
            raise option_error(
                "partial-update.remove-record-on-delete",
                "true",
                "with sequence groups, use 'partial-update.remove-record-on-sequence-group'",
            )
    removing = options.partial_update_remove_record_on_sequence_group
    if removing:
        key = "partial-update.remove-record-on-sequence-group"
        if options.ignore_delete:
            raise option_error("ignore-delete", "true", f"{key!r} says the opposite")
        known = {name for ordering in groups for name in ordering}
        for name in removing:
            if name not in known:
                raise option_error(key, options.raw.get(key), f"{name!r} orders no sequence group")


_REMOVING = (
    "aggregation.remove-record-on-delete",
    "partial-update.remove-record-on-delete",
    "partial-update.remove-record-on-sequence-group",
)
"""Options under which deletes empty rows that go on."""


def _check_changelog(schema: TableSchema, options: Options) -> None:
    producer = options.changelog_producer
    if options.merge_engine is MergeEngine.FIRST_ROW and producer not in {
        ChangelogProducer.NONE,
        ChangelogProducer.LOOKUP,
    }:
        raise option_error("changelog-producer", producer, "first-row has 'none' or 'lookup'")
    if options.deletion_vectors and producer is ChangelogProducer.FULL_COMPACTION:
        raise option_error("changelog-producer", producer, "with deletion vectors it is 'none', 'input' or 'lookup'")
    if producer is ChangelogProducer.LOOKUP and options.full_compaction_delta_commits is not None:
        raise option_error(
            "full-compaction.delta-commits",
            options.full_compaction_delta_commits,
            "with changelog-producer 'lookup' leave it out, or choose 'full-compaction'",
        )
    made = {ChangelogProducer.LOOKUP, ChangelogProducer.FULL_COMPACTION}
    if options.streaming_read_overwrite and (producer in made or not schema.primary_keys):
        raise option_error(
            "streaming-read-overwrite",
            "true",
            "changes would be read twice" if schema.primary_keys else "use 'streaming-read-append-overwrite'",
        )
    if options.changelog_fill is not ChangelogFill.NONE:
        if producer is not ChangelogProducer.INPUT:
            raise option_error("hosu.changelog-fill", options.changelog_fill, "it needs changelog-producer 'input'")
        for key in _REMOVING:
            if options.value(key):
                raise option_error(
                    "hosu.changelog-fill",
                    options.changelog_fill,
                    f"with {key!r}, what a key was before cannot be told from what is stored: leave one of them out",
                )


def _check_expiry(schema: TableSchema, options: Options) -> None:
    column = options.record_level_time_field
    if options.record_level_expire_time is not None and column is None:
        raise option_error(
            "record-level.expire-time",
            options.raw.get("record-level.expire-time"),
            "give option 'record-level.time-field' too",
        )
    if column is not None:
        if not schema.has(column):
            raise option_error("record-level.time-field", column, "there is no column of this name")
        if schema.field(column).type.root not in _EXPIRY_ROOTS:
            raise option_error("record-level.time-field", column, "its column is none of INT, BIGINT and TIMESTAMP")
    if options.partition_expiration_time is not None and not schema.partition_keys:
        raise option_error(
            "partition.expiration-time", options.raw.get("partition.expiration-time"), "the table has no partition keys"
        )


def check_option_change(options: Options, key: str, value: str | None) -> None:
    """Check a change of one option of a table that has snapshots; None takes it out.

    Raises UnsupportedError for what the stored rows depend on.
    """

    def refuse(reason: str) -> UnsupportedError:
        return UnsupportedError(
            ErrorKind.UNSUPPORTED, f"option {key!r} cannot become {value!r}: {reason}", option=key, value=value
        )

    if key in IMMUTABLE_OPTIONS | PLACE_OPTIONS:
        raise refuse("the rows already stored depend on it; make a new table")
    new = Options({} if value is None else {key: value})
    if key == "bucket" and (value is None or DYNAMIC_BUCKET in {options.bucket, new.bucket}):
        raise refuse("the number of buckets changes between fixed numbers only")
    if (
        key == "deletion-vectors.enabled"
        and new.deletion_vectors != options.deletion_vectors
        and not options.deletion_vectors_modifiable
    ):
        raise refuse("set 'deletion-vectors.modifiable' and compact the table whole first")
    if key == "ignore-delete" and options.ignore_delete and not new.ignore_delete:
        raise refuse("deletes that were passed over would come back")
    if key == "ignore-update-before" and options.ignore_update_before and not new.ignore_update_before:
        raise refuse("rows that were passed over would come back")
