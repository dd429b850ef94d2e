"""Rows that are too old."""

from datetime import UTC, datetime

import msgspec
import pyarrow as pa
import pytest

from hosu.kernel.errors import ErrorKind, InvalidInputError
from hosu.kernel.fileio.memory import MemoryFileIO
from hosu.tables.catalog import Catalog
from hosu.tables.compaction.expiring import Expiring
from hosu.tables.context import TableContext
from hosu.tables.files import write_files
from hosu.testing.manual_clock import ManualClock

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOUR_S = 3600


def table(kind: pa.DataType, field: str | None = "at") -> TableContext:
    catalog = Catalog(MemoryFileIO(), "w", clock=ManualClock(round(NOW.timestamp() * 1000)))
    catalog.create_database("d")
    options = {"bucket": "1", "record-level.expire-time": "1 h"}
    if field is not None:
        options["record-level.time-field"] = field
    schema = pa.schema([pa.field("id", pa.int64(), nullable=False), pa.field("at", kind)])
    catalog.create_table("d.t", schema, primary_keys=["id"], options=options)
    return catalog.open("d.t")


def expiring(ctx: TableContext) -> Expiring:
    found = Expiring.of(ctx)
    assert found is not None
    return found


def moments(kind: pa.DataType) -> pa.Array:
    """One that is too old by a second, one that is just not, none, and one of the future."""
    now_s = round(NOW.timestamp())
    seconds = [now_s - HOUR_S - 1, now_s - HOUR_S, None, now_s + 5]
    factor = 1
    if pa.types.is_timestamp(kind):
        factor = {"ms": 10**3, "us": 10**6, "ns": 10**9}[kind.unit]
    return pa.array([None if second is None else second * factor for second in seconds], pa.int64()).cast(kind)


@pytest.mark.parametrize(
    "kind",
    [pa.int32(), pa.int64(), pa.timestamp("ms"), pa.timestamp("us"), pa.timestamp("ns"), pa.timestamp("us", tz="UTC")],
    ids=str,
)
def test_rows_older_than_the_time_allowed_are_left_out(kind: pa.DataType) -> None:
    rows = pa.record_batch([pa.array([1, 2, 3, 4]), moments(kind)], ["id", "at"])

    assert expiring(table(kind)).alive(rows).column(0).to_pylist() == [2, 3, 4]


def test_large_numbers_are_milliseconds() -> None:
    now_ms = round(NOW.timestamp() * 1000)
    rows = pa.record_batch([pa.array([1, 2]), pa.array([now_ms - 1000 * (HOUR_S + 1), now_ms])], ["id", "at"])

    assert expiring(table(pa.int64())).alive(rows).column(0).to_pylist() == [2]


@pytest.mark.parametrize("kind", [pa.int32(), pa.int64(), pa.timestamp("us"), pa.timestamp("ns")], ids=str)
@pytest.mark.parametrize(("first", "is_old"), [(0, True), (1, False)])
def test_statistics_tell_which_files_hold_old_rows(kind: pa.DataType, first: int, is_old: bool) -> None:  # noqa: FBT001
    ctx = table(kind)
    times = moments(kind).slice(first)
    run = pa.table(
        {
            "id": pa.array(range(len(times))),
            "at": times,
            "_SEQUENCE_NUMBER": pa.array(range(len(times))),
            "_VALUE_KIND": pa.array([0] * len(times), pa.int8()),
        }
    )

    (file,) = write_files(ctx, (), 0, run)

    assert expiring(ctx).may_hold_old(file) == is_old
    assert not expiring(ctx).may_hold_old(msgspec.structs.replace(file, schema_id=7))


def test_tables_without_the_option_have_no_old_rows() -> None:
    ctx = table(pa.int64())

    assert Expiring.of(ctx.with_schema(ctx.schema, ctx.options.merged({"record-level.expire-time": "1 h"}))) is not None
    catalog = Catalog(MemoryFileIO(), "w", clock=ManualClock())
    catalog.create_database("d")
    catalog.create_table("d.t", pa.schema([("id", pa.int64())]), primary_keys=["id"], options={"bucket": "1"})
    assert Expiring.of(catalog.open("d.t")) is None


def test_a_time_field_of_another_type_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"record-level\.time-field"):
        Expiring.of(table(pa.string()))


def test_the_time_field_has_to_be_named() -> None:
    with pytest.raises(InvalidInputError) as caught:
        Expiring.of(table(pa.int64(), None))

    assert caught.value.kind is ErrorKind.TABLE_INVALID
