"""What manifests are told of a file: bounds, counts, keys, sequence numbers; and where a file ends."""

import datetime as dt
import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.support.table_files import open_table

from hosu.kernel.errors import ErrorKind, InvalidInputError, UnavailableError
from hosu.kernel.fileio import FileIO, FileStat, MemoryFileIO
from hosu.tables.context import TableContext
from hosu.tables.files import read_file, write_files
from hosu.tables.files.statistics import cut_binary, cut_text
from hosu.tables.records import DataFile, FileSource, Stats
from hosu.tables.rows import EMPTY_ROW, decode_serialised

FORMATS = ["parquet", "orc", "avro"]


@pytest.fixture
def files() -> MemoryFileIO:
    return MemoryFileIO()


def bounds(ctx: TableContext, file: DataFile) -> dict[str, tuple[Any, Any, int | None]]:
    """Return least, greatest and count of NULLs by column."""
    names = ctx.schema.names if file.value_stats_cols is None else file.value_stats_cols
    kinds = [ctx.schema.field(name).type for name in names]
    least = decode_serialised(file.value_stats.min_values, kinds)
    greatest = decode_serialised(file.value_stats.max_values, kinds)
    return {name: (least[i], greatest[i], file.value_stats.null_counts[i]) for i, name in enumerate(names)}


def run_of(**columns: Any) -> pa.Table:
    """Return a run whose columns `seq` and `kind` are the system's."""
    kinds = pa.array(columns.pop("kind"), pa.int8())
    sequence = pa.array(columns.pop("seq"), pa.int64())
    return pa.table({**columns, "_SEQUENCE_NUMBER": sequence, "_VALUE_KIND": kinds})


@pytest.mark.parametrize("file_format", FORMATS)
def test_statistics_are_the_least_the_greatest_and_the_number_of_nulls(files: FileIO, file_format: str) -> None:
    columns = {"i": "INT", "d": "DECIMAL(10, 2)", "w": "DECIMAL(30, 3)", "s": "STRING", "n": "STRING", "b": "BOOLEAN"}
    columns |= {"ts": "TIMESTAMP(6)", "day": "DATE", "a": "ARRAY<INT>", "x": "BYTES"}
    # Arrow writes no times before 1970 to ORC that Java could read.
    earliest = 2 if file_format == "orc" else -1
    ctx = open_table(files, columns, options={"file.format": file_format})
    rows = pa.table(
        {
            "i": [3, None, -5],
            "d": [Decimal("1.50"), Decimal("-2.25"), None],
            "w": [Decimal("-123456789012345678901.5"), Decimal(7), None],
            "s": ["b", "ab", "zürich"],
            "n": pa.nulls(3),
            "b": [True, True, None],
            "ts": [earliest, 5, None],
            "day": pa.array([-1, 0, None], pa.int32()),
            "a": [[1], None, None],
            "x": [b"\x80", b"\x7f", None],
        }
    ).cast(ctx.schema.arrow)
    (file,) = write_files(ctx, (), 0, rows)
    found = bounds(ctx, file)
    assert found.pop("a", None) in [None, (None, None, 2)]
    nulls = dict.fromkeys(("i", "d", "w", "b", "ts", "day", "x"), 1) | {"s": 0, "n": 3}
    assert {name: value[2] for name, value in found.items()} == nulls
    assert found["i"][:2] == (-5, 3)
    assert found["d"][:2] == (Decimal("-2.25"), Decimal("1.50"))
    assert found["w"][:2] == (Decimal("-123456789012345678901.500"), Decimal("7.000"))
    assert found["s"][:2] == ("ab", "zürich")
    assert found["n"][:2] == (None, None)
    assert found["b"][:2] == (True, True)
    first = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - a TIMESTAMP has no zone
    assert found["ts"][:2] == (first + earliest * dt.timedelta.resolution, first + 5 * dt.timedelta.resolution)
    assert [str(value) for value in found["day"][:2]] == ["1969-12-31", "1970-01-01"]
    assert found["x"][:2] == (b"\x7f", b"\x80")


@pytest.mark.parametrize("file_format", FORMATS)
def test_nan_is_the_greatest_number(files: FileIO, file_format: str) -> None:
    ctx = open_table(files, {"some": "DOUBLE", "all": "FLOAT", "none": "DOUBLE"}, options={"file.format": file_format})
    rows = pa.table({"some": [math.nan, -1.0], "all": [math.nan, math.nan], "none": [2.0, math.inf]})
    (file,) = write_files(ctx, (), 0, rows.cast(ctx.schema.arrow))
    found = bounds(ctx, file)
    assert found["some"][0] == -1.0
    assert all(math.isnan(value) for value in (found["some"][1], *found["all"][:2]))
    assert found["none"] == (2.0, math.inf, 0)


def test_text_is_cut_to_sixteen_characters_and_the_greatest_is_rounded_up(files: FileIO) -> None:
    ctx = open_table(files, {"s": "STRING", "y": "BYTES"})
    rows = pa.table({"s": ["가" * 20, "z" * 20], "y": [b"\x01" * 20, b"\x02" * 15 + b"\xff" * 5]})
    (file,) = write_files(ctx, (), 0, rows.cast(ctx.schema.arrow))
    assert bounds(ctx, file)["s"][:2] == ("z" * 16, "가" * 15 + "각")
    assert bounds(ctx, file)["y"][:2] == (b"\x01" * 16, b"\x02" * 14 + b"\x03")


def test_what_cannot_be_rounded_up_has_no_bounds() -> None:
    assert cut_text("\U0010ffff" * 3, 2) is None
    assert cut_text("a\U0010ffff\U0010ffff", 2) == "b"
    assert cut_text("\ud7ff" + "x", 1) == "\ue000"
    assert cut_binary(b"\xff\xff\xff", 2) is None
    assert cut_binary(b"\x01\xff\xff", 2) == b"\x02"


@pytest.mark.parametrize(
    ("mode", "found"),
    [
        ("none", {}),
        ("counts", {"s": (None, None, 1)}),
        ("truncate(2)", {"s": ("ab", "ac", 1)}),
        ("full", {"s": ("abcdefghijklmnopqrst", "abcdefghijklmnopqrst", 1)}),
    ],
)
def test_the_mode_of_statistics_says_how_much_is_kept(files: FileIO, mode: str, found: dict[str, Any]) -> None:
    ctx = open_table(files, {"s": "STRING"}, options={"metadata.stats-mode": mode})
    (file,) = write_files(ctx, (), 0, pa.table({"s": ["abcdefghijklmnopqrst", None]}))
    assert bounds(ctx, file) == found
    assert file.value_stats_cols == (() if mode == "none" else None)


def test_columns_have_modes_of_their_own_and_only_the_first_may_be_kept(files: FileIO) -> None:
    options = {"metadata.stats-keep-first-n-columns": "1", "fields.c.stats-mode": "counts"}
    ctx = open_table(files, {"a": "INT", "b": "INT", "c": "INT"}, options=options)
    rows = pa.table({"a": [1], "b": [2], "c": [3]}).cast(ctx.schema.arrow)
    (file,) = write_files(ctx, (), 0, rows)
    assert file.value_stats_cols == ("a", "c")
    assert bounds(ctx, file) == {"a": (1, 1, 0), "c": (None, None, 0)}
    dense = ctx.with_schema(ctx.schema, ctx.options.merged({"metadata.stats-dense-store": "false"}))
    (file,) = write_files(dense, (), 0, rows)
    assert file.value_stats_cols is None
    assert bounds(ctx, file) == {"a": (1, 1, 0), "b": (None, None, None), "c": (None, None, 0)}


def test_a_wrong_mode_is_refused_by_name(files: FileIO) -> None:
    ctx = open_table(files, {"s": "STRING"}, options={"fields.s.stats-mode": "some"})
    with pytest.raises(InvalidInputError, match=r"fields\.s\.stats-mode.*some"):
        write_files(ctx, (), 0, pa.table({"s": ["x"]}))


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_run_tells_its_keys_its_sequence_numbers_and_its_deletes(files: FileIO, file_format: str) -> None:
    ctx = open_table(
        files,
        {"dt": "STRING NOT NULL", "k": "STRING NOT NULL", "n": "INT NOT NULL", "v": "INT"},
        primary_keys=["dt", "k", "n"],
        partition_keys=["dt"],
        options={"file.format": file_format},
    )
    run = run_of(
        dt=["d"] * 3,
        k=["a", "b", "b"],
        n=pa.array([9, -1, 1], pa.int32()),
        v=pa.array([None, 1, 2], pa.int32()),
        seq=[5, 3, 4],
        kind=[0, 3, 1],
    )
    (file,) = write_files(ctx, ("d",), 0, run, level=2, source=FileSource.COMPACT)
    kinds = [field.type for field in ctx.schema.key_fields]
    assert decode_serialised(file.min_key, kinds) == ("a", 9)
    assert decode_serialised(file.max_key, kinds) == ("b", 1)
    assert decode_serialised(file.key_stats.min_values, kinds) == ("a", -1)
    assert decode_serialised(file.key_stats.max_values, kinds) == ("b", 9)
    assert (file.min_sequence_number, file.max_sequence_number) == (3, 5)
    assert (file.row_count, file.delete_row_count, file.level) == (3, 2, 2)
    assert (file.schema_id, file.file_source) == (0, FileSource.COMPACT)
    assert file.creation_time_ms == ctx.clock.now_ms()
    stat = files.head(ctx.layout.data_file(("d",), 0, file.file_name))
    assert stat.size_bytes == file.file_size


def test_rows_without_a_key_are_numbered_from_the_first_sequence_on(files: FileIO) -> None:
    ctx = open_table(files, {"x": "INT"}, options={"target-file-row-num": "2"})
    rows = pa.table({"x": pa.array(range(5), pa.int32())})
    found = write_files(ctx, (), 0, rows, first_sequence=10)
    assert [(file.min_sequence_number, file.max_sequence_number) for file in found] == [(10, 11), (12, 13), (14, 14)]
    assert {(file.min_key, file.max_key, file.key_stats) for file in found} == {
        (EMPTY_ROW, EMPTY_ROW, Stats(EMPTY_ROW, EMPTY_ROW))
    }
    assert [row["x"] for file in found for row in read_file(ctx, (), 0, file).to_pylist()] == list(range(5))


def test_files_end_at_their_target_size_in_the_order_of_rows(files: FileIO) -> None:
    ctx = open_table(files, {"x": "BIGINT", "s": "STRING"}, options={"target-file-size": "64 kb"})
    numbers = np.random.default_rng(1).integers(0, 1 << 60, 50_000)
    rows = pa.table({"x": numbers, "s": [f"{number:x}" for number in numbers]})

    def batches() -> Iterator[pa.RecordBatch]:
        yield from rows.to_batches(max_chunksize=1000)
        yield rows.slice(0, 0).to_batches()[0] if rows.slice(0, 0).to_batches() else rows.to_batches()[0].slice(0, 0)

    found = write_files(ctx, (), 0, batches())
    assert len(found) > 5
    assert all(64 * 1024 <= file.file_size < 256 * 1024 for file in found[:-1])
    assert len({file.file_name for file in found}) == len(found)
    assert pa.concat_tables([read_file(ctx, (), 0, file) for file in found]).equals(rows)


def test_no_rows_are_no_file(files: FileIO) -> None:
    ctx = open_table(files, {"x": "BIGINT"})
    assert write_files(ctx, (), 0, ctx.schema.arrow.empty_table()) == []
    assert write_files(ctx, (), 0, iter([])) == []
    assert not list(files.list("w/d.db/t/bucket"))


def test_rows_that_end_in_an_error_leave_nothing(files: FileIO) -> None:
    ctx = open_table(files, {"x": "BIGINT"}, options={"target-file-row-num": "10"})

    def batches() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"x": range(25)})
        raise OSError("the source broke off")

    with pytest.raises(OSError, match="broke off"):
        write_files(ctx, (), 0, batches())
    assert not list(files.list("w/d.db/t/bucket"))


class SilentFiles(MemoryFileIO):
    """Files whose second put of a data file happens, and is given no answer."""

    def _put(self, key: str, view: memoryview, *, if_absent: bool, if_match: str | None) -> FileStat:
        stat = super()._put(key, view, if_absent=if_absent, if_match=if_match)
        if "/bucket-" in key and key.endswith("-1.parquet"):
            raise UnavailableError(ErrorKind.ENDPOINT_UNAVAILABLE, "no answer")
        return stat


def test_a_put_without_an_answer_leaves_nothing() -> None:
    files = SilentFiles()
    ctx = open_table(files, {"x": "BIGINT"}, options={"target-file-row-num": "10"})
    with pytest.raises(UnavailableError, match="no answer"):
        write_files(ctx, (), 0, pa.table({"x": range(25)}))
    assert not list(files.list("w/d.db/t/bucket"))
