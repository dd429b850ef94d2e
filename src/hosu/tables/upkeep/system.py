"""System tables: what a table's metadata says, as rows. Names of tables and columns are Paimon's."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec
import pyarrow as pa

from hosu.kernel.errors import ErrorKind, UnsupportedError
from hosu.tables.context import TableContext
from hosu.tables.manifests.live import live_files, partition_values
from hosu.tables.manifests.partitions import Partitions
from hosu.tables.manifests.reader import ManifestReader
from hosu.tables.records import FileSource, ManifestEntry, Snapshot
from hosu.tables.rows import decode_serialised
from hosu.tables.snapshots import branches, consumers, find, tags
from hosu.tables.types import field_json
from hosu.tables.upkeep import statistics

_TIME: Final = pa.timestamp("ms", "UTC")
_Rows = Iterable[Sequence[Any]]


def system_table(ctx: TableContext, name: str, snapshot: Snapshot | None = None) -> pa.Table:
    """Return the system table of a name, `snapshots` or `files`; those of files are of a snapshot, or the latest one.

    Times are UTC. Raises UnsupportedError for a name that hosu does not have.
    """
    found = _TABLES.get(name)
    if found is None:
        raise UnsupportedError(
            ErrorKind.UNSUPPORTED,
            f"system table {name!r} is not supported: use one of {', '.join(SYSTEM_TABLES)}",
            table=name,
        )
    columns, rows = found
    made = list(rows(ctx, snapshot if snapshot is not None else find.latest(ctx)))
    arrays = [pa.array([row[position] for row in made], kind) for position, kind in enumerate(columns.values())]
    return pa.table(arrays, names=list(columns))


def _snapshots(ctx: TableContext, _: Snapshot | None) -> _Rows:
    for snapshot in find.snapshots(ctx):
        yield (
            snapshot.id,
            snapshot.schema_id,
            snapshot.commit_user,
            snapshot.commit_identifier,
            str(snapshot.commit_kind),
            snapshot.time_millis,
            snapshot.base_manifest_list,
            snapshot.delta_manifest_list,
            snapshot.changelog_manifest_list,
            snapshot.total_record_count,
            snapshot.delta_record_count,
            snapshot.changelog_record_count,
            snapshot.watermark,
            snapshot.next_row_id,
            snapshot.operation,
        )


def _files(ctx: TableContext, snapshot: Snapshot | None) -> _Rows:
    for entry in _live(ctx, snapshot):
        file = entry.file
        names = _stats_names(ctx, entry)
        key = [field.type for field in ctx.schema.key_fields]
        yield (
            _partition(ctx, entry.partition),
            entry.bucket,
            file.external_path
            or ctx.layout.data_file(partition_values(ctx, entry.partition), entry.bucket, file.file_name),
            file.file_name.rsplit(".", 1)[-1],
            file.schema_id,
            file.level,
            file.row_count,
            file.file_size,
            _text(decode_serialised(file.min_key, key)) if key else None,
            _text(decode_serialised(file.max_key, key)) if key else None,
            _by_name(names, file.value_stats.null_counts),
            _by_name(names, _stats(ctx, entry, file.value_stats.min_values)),
            _by_name(names, _stats(ctx, entry, file.value_stats.max_values)),
            file.min_sequence_number,
            file.max_sequence_number,
            file.creation_time_ms,
            file.delete_row_count,
            None if file.file_source is None else FileSource(file.file_source).name,
        )


def _schemas(ctx: TableContext, _: Snapshot | None) -> _Rows:
    for schema in map(ctx.schemas.get, ctx.schemas.ids()):
        yield (
            schema.id,
            _json([field_json(field) for field in schema.fields]),
            _json(list(schema.partition_keys)),
            _json(list(schema.primary_keys)),
            _json(dict(schema.options)),
            schema.comment,
            schema.time_millis,
        )


def _options(ctx: TableContext, _: Snapshot | None) -> _Rows:
    return sorted(ctx.schema.options.items())


def _tags(ctx: TableContext, _: Snapshot | None) -> _Rows:
    for tag in tags.tags(ctx):
        yield (
            tag.name,
            tag.snapshot.id,
            tag.snapshot.schema_id,
            tag.snapshot.time_millis,
            tag.snapshot.total_record_count,
            tag.created_ms,
            tag.retained_ms,
        )


def _branches(ctx: TableContext, _: Snapshot | None) -> _Rows:
    for name in branches.branches(ctx):
        there = branches.replace_branch(ctx, name)
        written = [entry.modified_ms for entry in there.files.list(there.layout.schemas)]  # type: ignore[union-attr]
        yield name, min(written, default=None)


def _consumers(ctx: TableContext, _: Snapshot | None) -> _Rows:
    return [(consumer.name, consumer.next_snapshot) for consumer in consumers.consumers(ctx)]


def _manifests(ctx: TableContext, snapshot: Snapshot | None) -> _Rows:
    parts = Partitions(ctx)
    for manifest in [] if snapshot is None else ManifestReader(ctx).data_manifests(snapshot):
        stats = manifest.partition_stats
        yield (
            manifest.file_name,
            manifest.file_size,
            manifest.num_added_files,
            manifest.num_deleted_files,
            manifest.schema_id,
            _text(parts.values(stats.min_values)) if parts.types else None,
            _text(parts.values(stats.max_values)) if parts.types else None,
        )


def _partitions(ctx: TableContext, snapshot: Snapshot | None) -> _Rows:
    for (partition,), entries in _grouped(ctx, snapshot, lambda entry: (entry.partition,)).items():
        buckets = {entry.total_buckets for entry in entries}
        yield (_partition(ctx, partition), *_sums(entries), max(buckets))


def _buckets(ctx: TableContext, snapshot: Snapshot | None) -> _Rows:
    grouped = _grouped(ctx, snapshot, lambda entry: (entry.partition, entry.bucket))
    for (partition, bucket), entries in grouped.items():
        yield (_partition(ctx, partition), bucket, *_sums(entries))


def _statistics(ctx: TableContext, snapshot: Snapshot | None) -> _Rows:
    found = None if snapshot is None else statistics.read(ctx, snapshot)
    if found is not None:
        yield (
            found.snapshot_id,
            found.schema_id,
            found.merged_record_count,
            found.merged_record_size,
            _json({name: msgspec.to_builtins(column) for name, column in found.col_stats.items()}),
        )


def _live(ctx: TableContext, snapshot: Snapshot | None) -> list[ManifestEntry]:
    found = [] if snapshot is None else list(live_files(ctx, snapshot).values())
    return sorted(found, key=lambda entry: (entry.partition, entry.bucket, -entry.file.level, entry.file.file_name))


def _grouped(
    ctx: TableContext, snapshot: Snapshot | None, key_of: Callable[[ManifestEntry], tuple[Any, ...]]
) -> dict[tuple[Any, ...], list[ManifestEntry]]:
    found: dict[tuple[Any, ...], list[ManifestEntry]] = {}
    for entry in _live(ctx, snapshot):
        found.setdefault(key_of(entry), []).append(entry)
    return found


def _sums(entries: Sequence[ManifestEntry]) -> tuple[int, int, int, int | None]:
    files = [entry.file for entry in entries]
    written = [file.creation_time_ms for file in files if file.creation_time_ms is not None]
    return (
        sum(file.row_count for file in files),
        sum(file.file_size for file in files),
        len(files),
        max(written, default=None),
    )


def _partition(ctx: TableContext, data: bytes) -> str | None:
    path = ctx.layout.partition_path(partition_values(ctx, data)).rstrip("/")
    return path or None


def _stats_names(ctx: TableContext, entry: ManifestEntry) -> Sequence[str]:
    columns = entry.file.value_stats_cols
    return ctx.schemas.get(entry.file.schema_id).names if columns is None else columns


def _stats(ctx: TableContext, entry: ManifestEntry, data: bytes) -> Sequence[Any]:
    schema = ctx.schemas.get(entry.file.schema_id)
    types = [schema.field(name).type for name in _stats_names(ctx, entry)]
    return decode_serialised(data, types) if len(data) > len(b"\0\0\0\0") + 8 else [None] * len(types)


def _by_name(names: Sequence[str], values: Sequence[Any]) -> str:
    return "{" + ", ".join(f"{name}={_plain(value)}" for name, value in zip(names, values, strict=False)) + "}"


def _text(values: Sequence[Any]) -> str:
    return "[" + ", ".join(_plain(value) for value in values) + "]"


def _plain(value: Any) -> str:  # noqa: ANN401 - a value of any type
    return "null" if value is None else value.hex() if isinstance(value, bytes) else str(value)


def _json(value: Any) -> str:  # noqa: ANN401 - a JSON value
    return msgspec.json.encode(value).decode()


_SUMS: Final = {
    "record_count": pa.int64(),
    "file_size_in_bytes": pa.int64(),
    "file_count": pa.int64(),
    "last_update_time": _TIME,
}

_TABLES: Final[dict[str, tuple[dict[str, pa.DataType], Callable[[TableContext, Snapshot | None], _Rows]]]] = {
    "snapshots": (
        {
            "snapshot_id": pa.int64(),
            "schema_id": pa.int64(),
            "commit_user": pa.string(),
            "commit_identifier": pa.int64(),
            "commit_kind": pa.string(),
            "commit_time": _TIME,
            "base_manifest_list": pa.string(),
            "delta_manifest_list": pa.string(),
            "changelog_manifest_list": pa.string(),
            "total_record_count": pa.int64(),
            "delta_record_count": pa.int64(),
            "changelog_record_count": pa.int64(),
            "watermark": pa.int64(),
            "next_row_id": pa.int64(),
            "operation": pa.string(),
        },
        _snapshots,
    ),
    "files": (
        {
            "partition": pa.string(),
            "bucket": pa.int32(),
            "file_path": pa.string(),
            "file_format": pa.string(),
            "schema_id": pa.int64(),
            "level": pa.int32(),
            "record_count": pa.int64(),
            "file_size_in_bytes": pa.int64(),
            "min_key": pa.string(),
            "max_key": pa.string(),
            "null_value_counts": pa.string(),
            "min_value_stats": pa.string(),
            "max_value_stats": pa.string(),
            "min_sequence_number": pa.int64(),
            "max_sequence_number": pa.int64(),
            "creation_time": _TIME,
            "deleteRowCount": pa.int64(),
            "file_source": pa.string(),
        },
        _files,
    ),
    "schemas": (
        {
            "schema_id": pa.int64(),
            "fields": pa.string(),
            "partition_keys": pa.string(),
            "primary_keys": pa.string(),
            "options": pa.string(),
            "comment": pa.string(),
            "update_time": _TIME,
        },
        _schemas,
    ),
    "options": ({"key": pa.string(), "value": pa.string()}, _options),
    "tags": (
        {
            "tag_name": pa.string(),
            "snapshot_id": pa.int64(),
            "schema_id": pa.int64(),
            "commit_time": _TIME,
            "record_count": pa.int64(),
            "create_time": _TIME,
            "time_retained": pa.duration("ms"),
        },
        _tags,
    ),
    "branches": ({"branch_name": pa.string(), "create_time": _TIME}, _branches),
    "consumers": ({"consumer_id": pa.string(), "next_snapshot_id": pa.int64()}, _consumers),
    "manifests": (
        {
            "file_name": pa.string(),
            "file_size": pa.int64(),
            "num_added_files": pa.int64(),
            "num_deleted_files": pa.int64(),
            "schema_id": pa.int64(),
            "min_partition_stats": pa.string(),
            "max_partition_stats": pa.string(),
        },
        _manifests,
    ),
    "partitions": ({"partition": pa.string(), **_SUMS, "total_buckets": pa.int32()}, _partitions),
    "buckets": ({"partition": pa.string(), "bucket": pa.int32(), **_SUMS}, _buckets),
    "statistics": (
        {
            "snapshot_id": pa.int64(),
            "schema_id": pa.int64(),
            "mergedRecordCount": pa.int64(),
            "mergedRecordSize": pa.int64(),
            "colstat": pa.string(),
        },
        _statistics,
    ),
}

SYSTEM_TABLES: Final = tuple(sorted(_TABLES))
"""The names that `system_table` knows."""
