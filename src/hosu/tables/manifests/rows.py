"""The rows of metadata files, to records and back."""

from typing import Any, Final

from hosu.kernel.errors import ErrorKind, UnsupportedError
from hosu.tables.manifests.avro import Row
from hosu.tables.manifests.shapes import FORMAT, INDEX_FORMAT
from hosu.tables.records import (
    DataFile,
    FileKind,
    FileSource,
    IndexEntry,
    IndexFile,
    ManifestEntry,
    ManifestFile,
    Stats,
    VectorRange,
)

_KINDS: Final = {kind.value: kind for kind in FileKind}
_SOURCES: Final[dict[int | None, FileSource | None]] = {None: None, **{source.value: source for source in FileSource}}


def check_format(row: Row, known: int = FORMAT) -> None:
    """Raise UnsupportedError for a row of another format."""
    if row["_VERSION"] != known:
        raise UnsupportedError(
            ErrorKind.UNSUPPORTED, f"its rows are of format {row['_VERSION']}; hosu reads format {known}"
        )


def entry_of(row: Row) -> ManifestEntry:
    """Return the entry that a row of a manifest says."""
    return ManifestEntry(
        kind=_KINDS[row["_KIND"]],
        partition=row["_PARTITION"],
        bucket=row["_BUCKET"],
        total_buckets=row["_TOTAL_BUCKETS"],
        file=data_file_of(row["_FILE"]),
    )


def data_file_of(row: Row) -> DataFile:
    """Return the file that the nested row of a manifest says. Fields that older writers lacked are None."""
    get = row.get
    columns, written = get("_VALUE_STATS_COLS"), get("_WRITE_COLS")
    return DataFile(
        file_name=row["_FILE_NAME"],
        file_size=row["_FILE_SIZE"],
        row_count=row["_ROW_COUNT"],
        min_key=row["_MIN_KEY"],
        max_key=row["_MAX_KEY"],
        key_stats=_stats(row["_KEY_STATS"]),
        value_stats=_stats(row["_VALUE_STATS"]),
        min_sequence_number=row["_MIN_SEQUENCE_NUMBER"],
        max_sequence_number=row["_MAX_SEQUENCE_NUMBER"],
        schema_id=row["_SCHEMA_ID"],
        level=row["_LEVEL"],
        extra_files=tuple(row["_EXTRA_FILES"]),
        creation_time_ms=get("_CREATION_TIME"),
        delete_row_count=get("_DELETE_ROW_COUNT"),
        embedded_index=get("_EMBEDDED_FILE_INDEX"),
        file_source=_SOURCES[get("_FILE_SOURCE")],
        value_stats_cols=None if columns is None else tuple(columns),
        external_path=get("_EXTERNAL_PATH"),
        first_row_id=get("_FIRST_ROW_ID"),
        write_cols=None if written is None else tuple(written),
    )


def entry_row(entry: ManifestEntry) -> Row:
    """Return an entry as a row of a manifest."""
    file = entry.file
    return {
        "_VERSION": FORMAT,
        "_KIND": int(entry.kind),
        "_PARTITION": entry.partition,
        "_BUCKET": entry.bucket,
        "_TOTAL_BUCKETS": entry.total_buckets,
        "_FILE": {
            "_FILE_NAME": file.file_name,
            "_FILE_SIZE": file.file_size,
            "_ROW_COUNT": file.row_count,
            "_MIN_KEY": file.min_key,
            "_MAX_KEY": file.max_key,
            "_KEY_STATS": _stats_row(file.key_stats),
            "_VALUE_STATS": _stats_row(file.value_stats),
            "_MIN_SEQUENCE_NUMBER": file.min_sequence_number,
            "_MAX_SEQUENCE_NUMBER": file.max_sequence_number,
            "_SCHEMA_ID": file.schema_id,
            "_LEVEL": file.level,
            "_EXTRA_FILES": list(file.extra_files),
            "_CREATION_TIME": file.creation_time_ms,
            "_DELETE_ROW_COUNT": file.delete_row_count,
            "_EMBEDDED_FILE_INDEX": file.embedded_index,
            "_FILE_SOURCE": None if file.file_source is None else int(file.file_source),
            "_VALUE_STATS_COLS": None if file.value_stats_cols is None else list(file.value_stats_cols),
            "_EXTERNAL_PATH": file.external_path,
            "_FIRST_ROW_ID": file.first_row_id,
            "_WRITE_COLS": None if file.write_cols is None else list(file.write_cols),
        },
    }


def manifest_of(row: Row) -> ManifestFile:
    """Return the manifest that a row of a manifest list says."""
    check_format(row)
    get = row.get
    return ManifestFile(
        file_name=row["_FILE_NAME"],
        file_size=row["_FILE_SIZE"],
        num_added_files=row["_NUM_ADDED_FILES"],
        num_deleted_files=row["_NUM_DELETED_FILES"],
        partition_stats=_stats(row["_PARTITION_STATS"]),
        schema_id=row["_SCHEMA_ID"],
        min_bucket=get("_MIN_BUCKET"),
        max_bucket=get("_MAX_BUCKET"),
        min_level=get("_MIN_LEVEL"),
        max_level=get("_MAX_LEVEL"),
        min_row_id=get("_MIN_ROW_ID"),
        max_row_id=get("_MAX_ROW_ID"),
    )


def manifest_row(manifest: ManifestFile) -> Row:
    """Return a manifest as a row of a manifest list."""
    return {
        "_VERSION": FORMAT,
        "_FILE_NAME": manifest.file_name,
        "_FILE_SIZE": manifest.file_size,
        "_NUM_ADDED_FILES": manifest.num_added_files,
        "_NUM_DELETED_FILES": manifest.num_deleted_files,
        "_PARTITION_STATS": _stats_row(manifest.partition_stats),
        "_SCHEMA_ID": manifest.schema_id,
        "_MIN_BUCKET": manifest.min_bucket,
        "_MAX_BUCKET": manifest.max_bucket,
        "_MIN_LEVEL": manifest.min_level,
        "_MAX_LEVEL": manifest.max_level,
        "_MIN_ROW_ID": manifest.min_row_id,
        "_MAX_ROW_ID": manifest.max_row_id,
    }


def index_entry_of(row: Row) -> IndexEntry:
    """Return the index file that a row of an index manifest says."""
    check_format(row, INDEX_FORMAT)
    if row.get("_GLOBAL_INDEX") is not None:
        raise UnsupportedError(
            ErrorKind.UNSUPPORTED, f"it has the global index {row['_FILE_NAME']!r}, which hosu cannot keep up to date"
        )
    ranges = row.get("_DELETIONS_VECTORS_RANGES")
    return IndexEntry(
        kind=_KINDS[row["_KIND"]],
        partition=row["_PARTITION"],
        bucket=row["_BUCKET"],
        file=IndexFile(
            index_type=row["_INDEX_TYPE"],
            file_name=row["_FILE_NAME"],
            file_size=row["_FILE_SIZE"],
            row_count=row["_ROW_COUNT"],
            vectors=None if ranges is None else tuple(_range(part) for part in ranges),
            external_path=row.get("_EXTERNAL_PATH"),
        ),
    )


def index_entry_row(entry: IndexEntry) -> Row:
    """Return an index file as a row of an index manifest."""
    file = entry.file
    ranges = [
        {"f0": part.data_file, "f1": part.offset, "f2": part.length, "_CARDINALITY": part.cardinality}
        for part in file.vectors or ()
    ]
    return {
        "_VERSION": INDEX_FORMAT,
        "_KIND": int(entry.kind),
        "_PARTITION": entry.partition,
        "_BUCKET": entry.bucket,
        "_INDEX_TYPE": file.index_type,
        "_FILE_NAME": file.file_name,
        "_FILE_SIZE": file.file_size,
        "_ROW_COUNT": file.row_count,
        "_DELETIONS_VECTORS_RANGES": None if file.vectors is None else ranges,
        "_EXTERNAL_PATH": file.external_path,
        "_GLOBAL_INDEX": None,
    }


def _stats(row: Row) -> Stats:
    return Stats(row["_MIN_VALUES"], row["_MAX_VALUES"], tuple(row["_NULL_COUNTS"] or ()))


def _stats_row(stats: Stats) -> Row:
    return {
        "_MIN_VALUES": stats.min_values,
        "_MAX_VALUES": stats.max_values,
        "_NULL_COUNTS": list(stats.null_counts),
    }


def _range(row: dict[str, Any]) -> VectorRange:
    return VectorRange(row["f0"], row["f1"], row["f2"], row.get("_CARDINALITY"))
