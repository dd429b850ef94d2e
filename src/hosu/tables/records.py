"""What a table's metadata says, as records: the rows of manifests, snapshots, and what a writer hands to a commit.

Names and meanings are those of Paimon's format (docs/concepts/spec of Apache Paimon 2.0). Times are milliseconds
since 1970-01-01 UTC, sizes are bytes. Records that come by the ten thousand hold no cycles and stay out of the sight
of the garbage collector.
"""

from enum import IntEnum, StrEnum
from typing import Any, TypeAlias

import msgspec

Partition: TypeAlias = tuple[Any, ...]
"""The values of a partition in the order of the table's partition keys: Python values, None for NULL."""

SEQUENCE_NUMBER = "_SEQUENCE_NUMBER"
"""Column of every run of a primary-key table: int64, which of two rows of a key came later."""

VALUE_KIND = "_VALUE_KIND"
"""Column of every run of a primary-key table: int8, a RowKind."""

KEY_PREFIX = "_KEY_"


class RowKind(IntEnum):
    """What a row of a changelog says: the values of `_VALUE_KIND`."""

    INSERT = 0
    UPDATE_BEFORE = 1
    UPDATE_AFTER = 2
    DELETE = 3

    @property
    def symbol(self) -> str:
        """+I, -U, +U or -D."""
        return ("+I", "-U", "+U", "-D")[self]

    @property
    def is_retract(self) -> bool:
        """Whether the row takes something back."""
        return self in {RowKind.UPDATE_BEFORE, RowKind.DELETE}


class FileKind(IntEnum):
    """Whether an entry of a manifest adds its file or takes it out."""

    ADD = 0
    DELETE = 1


class FileSource(IntEnum):
    """How a data file came to be."""

    APPEND = 0
    COMPACT = 1


class CommitKind(StrEnum):
    """What a snapshot did."""

    APPEND = "APPEND"
    COMPACT = "COMPACT"
    OVERWRITE = "OVERWRITE"
    ANALYZE = "ANALYZE"


class Stats(msgspec.Struct, frozen=True, gc=False):
    """Statistics of columns: two BinaryRows in their serialised form, and the number of NULLs (None: not counted)."""

    min_values: bytes
    max_values: bytes
    null_counts: tuple[int | None, ...] = ()


class DataFile(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A data or changelog file as a manifest knows it. Keys are serialised BinaryRows of the trimmed primary key."""

    file_name: str
    file_size: int
    row_count: int
    min_key: bytes
    max_key: bytes
    key_stats: Stats
    value_stats: Stats
    min_sequence_number: int
    max_sequence_number: int
    schema_id: int
    level: int
    extra_files: tuple[str, ...] = ()
    creation_time_ms: int | None = None
    delete_row_count: int | None = None
    embedded_index: bytes | None = None
    file_source: FileSource | None = None
    value_stats_cols: tuple[str, ...] | None = None
    """The columns that value_stats are of; None: all columns of the file's schema."""

    external_path: str | None = None
    first_row_id: int | None = None
    write_cols: tuple[str, ...] | None = None


class ManifestEntry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One change of one file."""

    kind: FileKind
    partition: bytes
    """A serialised BinaryRow of the partition keys."""

    bucket: int
    total_buckets: int
    file: DataFile


class ManifestFile(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A manifest as a manifest list knows it."""

    file_name: str
    file_size: int
    num_added_files: int
    num_deleted_files: int
    partition_stats: Stats
    schema_id: int
    min_bucket: int | None = None
    max_bucket: int | None = None
    min_level: int | None = None
    max_level: int | None = None
    min_row_id: int | None = None
    max_row_id: int | None = None


class VectorRange(msgspec.Struct, frozen=True, gc=False):
    """Where in a file of deletion vectors one data file's lies: from its length field on."""

    data_file: str
    offset: int
    length: int
    cardinality: int | None = None


class IndexFile(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An index file: `HASH` of a dynamic bucket, or `DELETION_VECTORS`."""

    index_type: str
    file_name: str
    file_size: int
    row_count: int
    vectors: tuple[VectorRange, ...] | None = None
    external_path: str | None = None


class IndexEntry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An index file of a bucket, as the index manifest has it."""

    kind: FileKind = FileKind.ADD
    partition: bytes
    bucket: int
    file: IndexFile


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=False):
    """One state of a table: the JSON of `snapshot-N`. What newer writers add is kept in no field and lost by none."""

    version: int | None = 3
    uuid: str | None = None
    id: int
    schema_id: int
    base_manifest_list: str
    base_manifest_list_size: int | None = None
    delta_manifest_list: str
    delta_manifest_list_size: int | None = None
    changelog_manifest_list: str | None = None
    changelog_manifest_list_size: int | None = None
    index_manifest: str | None = None
    commit_user: str
    commit_identifier: int
    commit_kind: CommitKind
    time_millis: int
    log_offsets: dict[str, int] | None = None
    total_record_count: int | None = None
    delta_record_count: int | None = None
    changelog_record_count: int | None = None
    watermark: int | None = None
    statistics: str | None = None
    properties: dict[str, str] | None = None
    next_row_id: int | None = None
    operation: str | None = None


class BucketChange(msgspec.Struct, kw_only=True):
    """What a writer or a compaction did to one bucket: what Paimon calls a commit message."""

    partition: Partition
    bucket: int
    total_buckets: int
    new_files: list[DataFile] = []
    deleted_files: list[DataFile] = []
    """Taken out without compaction: rewritten by a delete or an update."""

    changelog_files: list[DataFile] = []
    compact_before: list[DataFile] = []
    compact_after: list[DataFile] = []
    compact_changelog: list[DataFile] = []
    new_indexes: list[IndexFile] = []
    """Index files of this bucket that take the place of those of the same type."""

    cleared_indexes: list[str] = []
    """Types of index of which this bucket has no file any more."""

    checks_levels: bool = False
    """Whether the commit must fail when the bucket has files above level 0 that the writer did not know."""
