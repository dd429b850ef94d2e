"""Every type in every format, and what files say of themselves."""

import datetime as dt
import math
from decimal import Decimal
from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import orc
from tests.support.table_files import open_table

from hosu.kernel.errors import InvalidInputError, UnsupportedError
from hosu.kernel.fileio import FileIO, MemoryFileIO
from hosu.tables.context import TableContext
from hosu.tables.files import read_file, write_files
from hosu.tables.records import DataFile
from hosu.tables.types import arrow_schema

COLUMNS = {
    "flag": "BOOLEAN",
    "tiny": "TINYINT",
    "small": "SMALLINT",
    "whole": "INT",
    "big": "BIGINT",
    "single": "FLOAT",
    "double": "DOUBLE",
    "letters": "CHAR(4)",
    "text": "STRING",
    "blob": "BYTES",
    "money": "DECIMAL(9, 2)",
    "wealth": "DECIMAL(18, 4)",
    "world": "DECIMAL(38, 10)",
    "day": "DATE",
    "moment": "TIME(3)",
    "millis": "TIMESTAMP(3)",
    "micros": "TIMESTAMP(6)",
    "zoned": "TIMESTAMP(3) WITH LOCAL TIME ZONE",
    "zoned6": "TIMESTAMP(6) WITH LOCAL TIME ZONE",
    "numbers": "ARRAY<INT>",
    "prices": "MAP<STRING, DECIMAL(9, 2)>",
    "counts": "MAP<INT, STRING>",
    "bag": "MULTISET<STRING>",
    "pair": "ROW<a INT, b ROW<c STRING, d ARRAY<TIMESTAMP(3)>>>",
}
NANOS = {"nanos": "TIMESTAMP(9)", "zoned9": "TIMESTAMP(9) WITH LOCAL TIME ZONE", "variant": "VARIANT"}
ZONED = ("zoned", "zoned6")
MOMENT = dt.datetime(1969, 7, 20, 20, 17, 40, 123456)  # noqa: DTZ001 - a TIMESTAMP has no zone

ROWS: list[dict[str, Any]] = [
    {
        "flag": True,
        "tiny": -128,
        "small": 32767,
        "whole": -(2**31),
        "big": 2**63 - 1,
        "single": 1.5,
        "double": -math.pi,
        "letters": "ab  ",
        "text": "žluťoučký 말 🐴",
        "blob": b"\x00\xff",
        "money": Decimal("-1234567.89"),
        "wealth": Decimal("12345678901234.5678"),
        "world": Decimal("-1234567890123456789012345678.0123456789"),
        "day": dt.date(1582, 10, 15),
        "moment": dt.time(23, 59, 59, 999000),
        "millis": MOMENT.replace(microsecond=123000),
        "micros": MOMENT,
        "zoned": MOMENT.replace(microsecond=123000, tzinfo=dt.UTC),
        "zoned6": MOMENT.replace(tzinfo=dt.UTC),
        "numbers": [1, None, -3],
        "prices": [("a", Decimal("1.25")), ("b", None)],
        "counts": [(1, "x"), (2, None)],
        "bag": [("x", 2)],
        "pair": {"a": 1, "b": {"c": "deep", "d": [MOMENT.replace(microsecond=0), None]}},
    },
    dict.fromkeys(COLUMNS),
    {
        **dict.fromkeys(COLUMNS),
        "text": "",
        "blob": b"",
        "numbers": [],
        "prices": [],
        "counts": [],
        "bag": [],
        "pair": {"a": None, "b": None},
        "double": math.inf,
    },
]


@pytest.fixture
def files() -> MemoryFileIO:
    return MemoryFileIO()


def rows_of(ctx: TableContext, rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=ctx.schema.arrow)


def parquet_of(ctx: TableContext, file: DataFile) -> pq.ParquetFile:
    return pq.ParquetFile(BytesIO(ctx.files.read(ctx.layout.data_file((), 0, file.file_name))))


@pytest.mark.parametrize("file_format", ["parquet", "orc", "avro"])
def test_every_type_comes_back_as_it_was(files: FileIO, file_format: str) -> None:
    left_out = (*ZONED, "millis", "micros", "pair") if file_format == "orc" else ()
    columns = {name: kind for name, kind in COLUMNS.items() if name not in left_out}
    ctx = open_table(files, columns, options={"file.format": file_format})
    rows = rows_of(ctx, [{name: row[name] for name in columns} for row in ROWS])
    (file,) = write_files(ctx, (), 0, rows)
    assert file.file_name.endswith(f".{file_format}")
    assert file.row_count == 3
    found = read_file(ctx, (), 0, file)
    assert found.schema == rows.schema
    assert found.to_pylist() == rows.to_pylist()


@pytest.mark.parametrize("file_format", ["parquet", "orc", "avro"])
def test_a_reader_gives_the_same_in_batches(files: FileIO, file_format: str) -> None:
    columns = {name: COLUMNS[name] for name in ("whole", "text", "day", "numbers")}
    ctx = open_table(files, columns, options={"file.format": file_format})
    rows = rows_of(ctx, [{name: ROWS[place % 3][name] for name in columns} for place in range(10)])
    (file,) = write_files(ctx, (), 0, rows)
    reader = read_file(ctx, (), 0, file, ["text", "whole"], as_reader=True, batch_rows=4)
    batches = list(reader)
    assert [batch.num_rows for batch in batches] == [4, 4, 2]
    assert pa.Table.from_batches(batches).to_pylist() == rows.select(["text", "whole"]).to_pylist()


def test_nanoseconds_and_variants_come_back_from_parquet(files: FileIO) -> None:
    ctx = open_table(files, NANOS)
    rows = pa.table(
        {
            "nanos": pa.array([-1, None, 1_700_000_000_123_456_789]),
            "zoned9": pa.array([1, None, -1]),
            "variant": pa.array([{"value": b"\x0c\x01", "metadata": b"\x01"}, None, {"value": b"", "metadata": b""}]),
        }
    ).cast(ctx.schema.arrow)
    (file,) = write_files(ctx, (), 0, rows)
    assert read_file(ctx, (), 0, file).equals(rows)


@pytest.mark.parametrize("when", [[{"t": [MOMENT]}], [{"t": [None]}, {"t": [MOMENT.replace(year=1970)]}]])
def test_orc_refuses_times_before_1970_which_java_misreads(files: FileIO, when: list[Any]) -> None:
    ctx = open_table(files, {"t": "ARRAY<TIMESTAMP(6)>"}, options={"file.format": "orc"})
    rows = rows_of(ctx, when)
    if len(when) == 2:
        (file,) = write_files(ctx, (), 0, rows)
        assert read_file(ctx, (), 0, file).equals(rows)
        return
    with pytest.raises(UnsupportedError, match="1970"):
        write_files(ctx, (), 0, rows)
    assert not list(files.list("w/d.db/t/bucket"))


def test_orc_has_moments_as_java_in_utc_has_them(files: FileIO) -> None:
    ctx = open_table(files, {name: COLUMNS[name] for name in ZONED}, options={"file.format": "orc"})
    moment = MOMENT.replace(year=2026, tzinfo=dt.UTC)
    rows = rows_of(ctx, [{"zoned": moment.replace(microsecond=123000), "zoned6": moment}, dict.fromkeys(ZONED)])
    (file,) = write_files(ctx, (), 0, rows)
    stored = orc.ORCFile(BytesIO(ctx.files.read(ctx.layout.data_file((), 0, file.file_name))))
    assert {str(field.type) for field in stored.schema} == {"timestamp[ns, tz=UTC]"}, "ORC's type of instants"
    assert read_file(ctx, (), 0, file).equals(rows)


@pytest.mark.parametrize(("file_format", "kind"), [("orc", "variant"), ("avro", "nanos")])
def test_types_that_a_format_cannot_hold_are_refused_by_name(files: FileIO, file_format: str, kind: str) -> None:
    ctx = open_table(files, {kind: (COLUMNS | NANOS)[kind]}, options={"file.format": file_format})
    with pytest.raises(UnsupportedError, match=r"TIMESTAMP|VARIANT"):
        write_files(ctx, (), 0, pa.table({kind: pa.nulls(1, ctx.schema.arrow.field(kind).type)}))
    assert not list(files.list("w/d.db/t/bucket"))


def test_parquet_has_the_physical_types_that_java_reads(files: FileIO) -> None:
    ctx = open_table(files, {"id": "BIGINT NOT NULL", **COLUMNS, **NANOS}, primary_keys=["id"])
    rows = rows_of(ctx, [{"id": 1, **dict.fromkeys({**COLUMNS, **NANOS})}])
    run = rows.append_column("_SEQUENCE_NUMBER", pa.array([7])).append_column("_VALUE_KIND", pa.array([0], pa.int8()))
    (file,) = write_files(ctx, (), 0, run)
    text = str(parquet_of(ctx, file).schema)
    for line in (
        "required int64 field_id=1073741823 _KEY_id;",
        "required int64 field_id=2147483646 _SEQUENCE_NUMBER;",
        "required int32 field_id=2147483645 _VALUE_KIND (Int(bitWidth=8, isSigned=true));",
        "required int64 field_id=0 id;",
        "optional int32 field_id=2 tiny (Int(bitWidth=8, isSigned=true));",
        "optional binary field_id=9 text (String);",
        "optional binary field_id=10 blob;",
        "optional int32 field_id=11 money (Decimal(precision=9, scale=2));",
        "optional int64 field_id=12 wealth (Decimal(precision=18, scale=4));",
        "optional fixed_len_byte_array(16) field_id=13 world (Decimal(precision=38, scale=10));",
        "optional int32 field_id=14 day (Date);",
        "optional int32 field_id=15 moment (Time(isAdjustedToUTC=true, timeUnit=milliseconds));",
        "optional int64 field_id=16 millis (Timestamp(isAdjustedToUTC=false, timeUnit=milliseconds",
        "optional int64 field_id=18 zoned (Timestamp(isAdjustedToUTC=true, timeUnit=milliseconds",
        "optional int32 field_id=536891392 element;",
        "required binary field_id=536849406 key (String);",
        "required binary field_id=0 value;",
    ):
        assert line in text, f"{line}\n{text}"
    for group in ("repeated group field_id=-1 list {", "repeated group field_id=-1 key_value {"):
        assert group in text


def test_a_thin_file_has_its_key_once(files: FileIO) -> None:
    columns = {"id": "BIGINT NOT NULL", "x": "INT"}
    ctx = open_table(files, columns, primary_keys=["id"], options={"data-file.thin-mode": "true"})
    run = pa.table(
        {"id": [1], "x": pa.array([2], pa.int32()), "_SEQUENCE_NUMBER": [7], "_VALUE_KIND": pa.array([0], pa.int8())}
    )
    (file,) = write_files(ctx, (), 0, run)
    assert parquet_of(ctx, file).schema_arrow.names == ["_SEQUENCE_NUMBER", "_VALUE_KIND", "id", "x"]
    assert read_file(ctx, (), 0, file).column_names == ["id", "x", "_SEQUENCE_NUMBER", "_VALUE_KIND"]
    assert read_file(ctx, (), 0, file, ["x"], with_system=False).to_pylist() == [{"x": 2}]


def test_what_the_options_say_of_files_is_so(files: FileIO) -> None:
    options = {
        "file.format.per.level": "0:avro,5:orc",
        "file.compression": "snappy",
        "file.compression.per.level": "0:none",
        "data-file.prefix": "d-",
        "changelog-file.prefix": "c-",
        "changelog-file.format": "avro",
        "changelog-file.compression": "gzip",
        "file.suffix.include.compression": "true",
    }
    ctx = open_table(files, {"x": "INT"}, options=options)
    rows = pa.table({"x": pa.array([1, 2], pa.int32())})
    names = {}
    for level in (0, 1, 5):
        (file,) = write_files(ctx, (), 0, rows, level=level)
        assert (file.level, read_file(ctx, (), 0, file).to_pylist()) == (level, rows.to_pylist())
        names[level] = file.file_name
    (changelog,) = write_files(ctx, (), 0, rows, kind="changelog")
    assert read_file(ctx, (), 0, changelog).to_pylist() == rows.to_pylist()
    assert names[0].startswith("d-")
    assert [name.split(".", 1)[1] for name in names.values()] == ["none.avro", "snappy.parquet", "snappy.orc"]
    assert changelog.file_name.startswith("c-")
    assert changelog.file_name.endswith(".gzip.avro")


@pytest.mark.parametrize("file_format", ["parquet", "orc", "avro"])
def test_a_compression_that_is_none_is_refused_by_name(files: FileIO, file_format: str) -> None:
    ctx = open_table(files, {"x": "INT"}, options={"file.format": file_format, "file.compression": "middle-out"})
    with pytest.raises(UnsupportedError, match="middle-out"):
        write_files(ctx, (), 0, pa.table({"x": pa.array([1], pa.int32())}))


def test_a_null_in_a_key_is_refused_and_leaves_nothing(files: FileIO) -> None:
    ctx = open_table(files, {"id": "BIGINT NOT NULL"}, primary_keys=["id"])
    run = pa.table(
        {"id": pa.array([None], pa.int64()), "_SEQUENCE_NUMBER": [0], "_VALUE_KIND": pa.array([0], pa.int8())}
    )
    with pytest.raises(InvalidInputError, match="id"):
        write_files(ctx, (), 0, run)
    assert not list(files.list("w/d.db/t/bucket"))


def test_columns_come_in_the_order_asked_for_and_none_still_has_rows(files: FileIO) -> None:
    ctx = open_table(files, {"a": "INT", "b": "STRING"})
    rows = pa.table({"a": pa.array([1, 2], pa.int32()), "b": ["x", None]})
    for file_format in ("parquet", "orc", "avro"):
        one = ctx.with_schema(ctx.schema, ctx.options.merged({"file.format": file_format}))
        (file,) = write_files(one, (), 0, rows)
        assert read_file(one, (), 0, file, ["b", "a"]).schema == arrow_schema(reversed(ctx.schema.fields))
        assert read_file(one, (), 0, file, []).num_rows == 2
