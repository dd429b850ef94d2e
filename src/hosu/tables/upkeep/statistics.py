"""Statistics of a table's rows, as Paimon's ANALYZE keeps them beside a snapshot."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import uuid4

import duckdb
import msgspec
import pyarrow as pa

from hosu.kernel.errors import CorruptError, ErrorKind, NotFoundError
from hosu.tables.commit.changes import FileChanges
from hosu.tables.commit.publishing import Commit, publish
from hosu.tables.context import TableContext, new_user
from hosu.tables.documents import json_text
from hosu.tables.manifests.live import live_files
from hosu.tables.reading.scan import Scan
from hosu.tables.records import CommitKind, Snapshot
from hosu.tables.snapshots import find
from hosu.tables.types import DataField

BATCH_IDENTIFIER: Final = 2**63 - 1
"""The identifier of a commit that stands alone, as Paimon gives it to batch jobs."""

_TEXT: Final = frozenset({"CHAR", "VARCHAR"})
_BYTES: Final = frozenset({"BINARY", "VARBINARY"})
_WIDTHS: Final = {
    "BOOLEAN": 1,
    "TINYINT": 1,
    "SMALLINT": 2,
    "INT": 4,
    "DATE": 4,
    "TIME": 4,
    "FLOAT": 4,
    "BIGINT": 8,
    "DOUBLE": 8,
    "TIMESTAMP": 8,
    "TIMESTAMP_LTZ": 8,
}
_WIDE_DECIMAL: Final = 18
_MICROSECONDS: Final = 6
_JAVA_NUMBERS: Final = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
"""Numbers that Java reads only as it writes them."""


class ColumnStatistics(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What is known of one column. Least and greatest values are text, as Paimon writes them."""

    col_id: int
    distinct_count: int | None = None
    """About how many different values there are."""

    min: str | None = None
    max: str | None = None
    null_count: int | None = None
    avg_len: int | None = None
    max_len: int | None = None


class Statistics(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What is known of the rows of a snapshot, after merging; sizes are bytes of its files."""

    snapshot_id: int
    schema_id: int
    merged_record_count: int | None = None
    merged_record_size: int | None = None
    col_stats: dict[str, ColumnStatistics] = {}


def analyze(ctx: TableContext, columns: Sequence[str] | None = None) -> Snapshot:
    """Read the table, store its statistics, and return the snapshot that has them: one of kind ANALYZE.

    Of `columns`, all of them unless given; for none of them the rows are only counted. Raises InvalidInputError
    COLUMN_INVALID, NotFoundError SNAPSHOT_NOT_FOUND for a table without rows ever.
    """
    fields = list(ctx.schema.fields) if columns is None else [ctx.schema.field(name) for name in columns]
    snapshot = find.latest(ctx)
    if snapshot is None:
        raise NotFoundError(ErrorKind.SNAPSHOT_NOT_FOUND, f"{ctx.identifier} has no snapshot to analyse: write first")
    count, of_columns = _measured(ctx, snapshot, fields)
    statistics = Statistics(
        snapshot_id=snapshot.id,
        schema_id=ctx.schema.id,
        merged_record_count=count,
        merged_record_size=sum(entry.file.file_size for entry in live_files(ctx, snapshot).values()),
        col_stats=of_columns,
    )
    name = f"stat-{uuid4()}-0"
    document = msgspec.to_builtins(statistics)
    document.setdefault("colStats", {})
    ctx.files.put(ctx.layout.statistics(name), json_text(document).encode())
    user = ctx.commit_user or new_user(ctx.options)
    commit = Commit(user=user, identifier=BATCH_IDENTIFIER, kind=CommitKind.ANALYZE, statistics=name)
    changes = FileChanges()
    return publish(ctx, lambda _: changes, commit)


def read(ctx: TableContext, snapshot: Snapshot) -> Statistics | None:
    """Return the statistics that a snapshot has, or None. Raises CorruptError CORRUPT_TABLE naming their file."""
    if snapshot.statistics is None:
        return None
    key = ctx.layout.statistics(snapshot.statistics)
    try:
        return msgspec.json.decode(ctx.files.read(key), type=Statistics)
    except (msgspec.MsgspecError, UnicodeDecodeError, NotFoundError) as error:
        raise CorruptError(
            ErrorKind.CORRUPT_TABLE, f"{key!r} has no statistics: {error}; analyse the table again", path=key
        ) from error


def _measured(
    ctx: TableContext, snapshot: Snapshot, fields: Sequence[DataField]
) -> tuple[int, dict[str, ColumnStatistics]]:
    """Return the number of rows and what is known of each column, from one pass in bounded memory."""
    read_names = [field.name for field in fields] or [ctx.schema.names[0]]
    reader = Scan(ctx, snapshot, read_names).to_reader()
    expressions = ["count(*)"]
    for number, field in enumerate(fields):
        expressions += _expressions(f"c{number}", field)
    renamed = pa.RecordBatchReader.from_batches(
        pa.schema([column.with_name(f"c{number}") for number, column in enumerate(reader.schema)]),
        (
            pa.RecordBatch.from_arrays(batch.columns, names=[f"c{number}" for number in range(batch.num_columns)])
            for batch in reader
        ),
    )
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("rows_of_table", renamed)
        # Names are hosu's own numbers: nothing of the table's gets into the text.
        found = connection.execute(f"SELECT {', '.join(expressions)} FROM rows_of_table").fetchone()  # noqa: S608
    assert found is not None
    count, *values = found
    of_columns = {}
    for number, field in enumerate(fields):
        of_columns[field.name] = _of_column(field, values[6 * number : 6 * number + 6])
    return count, of_columns


def _expressions(name: str, field: DataField) -> list[str]:
    nulls = f"count(*) - count({name})"
    root = field.type.root
    if root in _TEXT:
        least = [f"min({name})", f"max({name})"]
        sizes = [f"avg(strlen({name}))", f"max(strlen({name}))"]
    elif root in _BYTES:
        least = ["NULL", "NULL"]
        sizes = [f"avg(octet_length({name}))", f"max(octet_length({name}))"]
    elif root in _WIDTHS or root == "DECIMAL":
        least = [f"min({name})::VARCHAR", f"max({name})::VARCHAR"]
        if root == "DATE":
            least = [f"(min({name}) - DATE '1970-01-01')::VARCHAR", f"(max({name}) - DATE '1970-01-01')::VARCHAR"]
        elif root == "TIME":
            least = [f"(epoch_us(min({name})) // 1000)::VARCHAR", f"(epoch_us(max({name})) // 1000)::VARCHAR"]
        elif root in {"TIMESTAMP", "TIMESTAMP_LTZ"}:
            plain = "TIMESTAMP" if (field.type.precision or 0) <= _MICROSECONDS else "TIMESTAMP_NS"
            least = [f"min({name})::{plain}::VARCHAR", f"max({name})::{plain}::VARCHAR"]
        sizes = ["NULL", "NULL"]
    else:
        return ["NULL", "NULL", "NULL", nulls, "NULL", "NULL"]
    return [f"approx_count_distinct({name})", *least, nulls, *sizes]


def _of_column(field: DataField, values: Sequence[Any]) -> ColumnStatistics:
    distinct, least, greatest, nulls, average, longest = values
    width = _WIDTHS.get(field.type.root)
    is_float = field.type.root in {"FLOAT", "DOUBLE"}
    if field.type.root == "DECIMAL":
        width = 8 if (field.type.precision or 0) <= _WIDE_DECIMAL else 16
    return ColumnStatistics(
        col_id=field.id,
        distinct_count=distinct,
        min=_JAVA_NUMBERS.get(least, least) if is_float else least,
        max=_JAVA_NUMBERS.get(greatest, greatest) if is_float else greatest,
        null_count=nulls,
        avg_len=width if width is not None else None if average is None else round(average),
        max_len=width if width is not None else longest,
    )
