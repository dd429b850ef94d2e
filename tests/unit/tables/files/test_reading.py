"""Files that are read: by columns, under predicates, without deleted rows, and broken."""

import io
import re

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyroaring import BitMap, BitMap64
from tests.support.table_files import open_table

from hosu.kernel.errors import CorruptError, ErrorKind, UnsupportedError
from hosu.kernel.fileio import FileIO, FolderFileIO, MemoryFileIO
from hosu.tables.context import TableContext
from hosu.tables.files import read_file, sinks, write_files
from hosu.tables.files.pruning import file_filter
from hosu.tables.predicates import parse_where
from hosu.tables.records import DataFile

FORMATS = ["parquet", "orc", "avro"]


@pytest.fixture
def files() -> MemoryFileIO:
    return MemoryFileIO()


def thousand(files: FileIO, file_format: str) -> tuple[TableContext, DataFile]:
    """Write a file of a thousand rows, in the order of x."""
    ctx = open_table(files, {"x": "BIGINT", "s": "STRING"}, options={"file.format": file_format})
    (file,) = write_files(ctx, (), 0, pa.table({"x": range(1000), "s": [f"n{x}" for x in range(1000)]}))
    return ctx, file


def grouped(files: FileIO) -> tuple[TableContext, DataFile]:
    """Write a Parquet file of several row groups, in the order of x."""
    ctx = open_table(files, {"x": "BIGINT", "s": "STRING"}, options={"file.block-size": "64 kb"})
    rows = pa.table({"x": range(20_000), "s": [f"n{x:06}" for x in range(20_000)]})
    (file,) = write_files(ctx, (), 0, rows)
    return ctx, file


def test_row_groups_without_a_match_are_left_out(files: FileIO) -> None:
    ctx, file = grouped(files)
    where = parse_where("x = 12345", ctx.schema)
    found = read_file(ctx, (), 0, file, ["s"], predicate=where)
    assert 1 <= found.num_rows < 10_000
    assert "n012345" in found.column("s").to_pylist()
    assert read_file(ctx, (), 0, file, ["s"], predicate=where, exact=True).to_pylist() == [{"s": "n012345"}]
    assert read_file(ctx, (), 0, file, ["s"], predicate=parse_where("x < 0", ctx.schema)).num_rows == 0


def test_a_file_that_is_read_with_a_buffer_is_never_fetched_by_whole_row_groups(
    files: MemoryFileIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sinks, "WHOLE_BYTES", 0)
    ctx = open_table(files, {"x": "BIGINT", "s": "STRING"}, options={"file.compression": "none"})
    rows = pa.table({"x": range(100_000), "s": [f"n{x:06}" for x in range(100_000)]})
    (file,) = write_files(ctx, (), 0, rows)
    fetched: list[int] = []

    class Recorded(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            fetched.append(len(data))
            return data

    monkeypatch.setattr(files, "open_read", lambda key, *_: Recorded(files.read(key)))
    for buffer_bytes, most in ((None, 800_000), (16_384, 0)):
        fetched.clear()
        found = read_file(ctx, (), 0, file, as_reader=True, buffer_bytes=buffer_bytes).read_all()

        assert found.equals(rows.cast(found.schema))
        assert sum(fetched) > file.file_size // 2
        assert max(fetched) >= most
    assert max(fetched) < 400_000  # a page comes whole


@pytest.mark.parametrize("kind", [BitMap, BitMap64])
@pytest.mark.parametrize("as_reader", [False, True])
def test_deleted_rows_are_left_out_whatever_row_groups_are_read(
    files: FileIO, kind: type[BitMap] | type[BitMap64], *, as_reader: bool
) -> None:
    ctx, file = grouped(files)
    vector = kind([0, 12_344, 12_345, 19_999])
    where = parse_where("x BETWEEN 12340 AND 12350", ctx.schema)
    if as_reader:
        reader = read_file(
            ctx, (), 0, file, ["x"], predicate=where, exact=True, vector=vector, as_reader=True, batch_rows=1000
        )
        rows = reader.read_all()
    else:
        rows = read_file(ctx, (), 0, file, ["x"], predicate=where, exact=True, vector=vector)
    assert rows.column("x").to_pylist() == [x for x in range(12_340, 12_351) if x not in {12_344, 12_345}]
    whole = read_file(ctx, (), 0, file, ["x"], vector=vector)
    assert whole.num_rows == 19_996
    assert not set(whole.column("x").to_pylist()) & {0, 12_344, 12_345, 19_999}


@pytest.mark.parametrize("file_format", FORMATS)
def test_deleted_rows_and_predicates_hold_in_every_format(files: FileIO, file_format: str) -> None:
    ctx, file = thousand(files, file_format)
    where = parse_where("x >= 995 OR x < 2", ctx.schema)
    found = read_file(ctx, (), 0, file, ["s"], predicate=where, exact=True, vector=BitMap([0, 996]))
    assert found.column("s").to_pylist() == ["n1", "n995", "n997", "n998", "n999"]


def test_a_vector_that_names_a_row_beyond_the_file_is_corrupt(files: FileIO) -> None:
    ctx, file = grouped(files)
    with pytest.raises(CorruptError, match=r"names row 20000 of 20000"):
        read_file(ctx, (), 0, file, vector=BitMap([20_000]))


def test_a_missing_file_is_named_with_its_partition(files: FileIO) -> None:
    ctx = open_table(files, {"dt": "STRING", "x": "INT"}, partition_keys=["dt"])
    rows = pa.table({"dt": ["d"], "x": pa.array([1], pa.int32())})
    (file,) = write_files(ctx, ("d",), 3, rows)
    key = ctx.layout.data_file(("d",), 3, file.file_name)
    files.delete_many([key])
    with pytest.raises(CorruptError, match=re.escape(key)) as caught:
        read_file(ctx, ("d",), 3, file)
    assert caught.value.kind is ErrorKind.CORRUPT_TABLE
    assert "dt=d" in caught.value.message


def read_whole(ctx: TableContext, file: DataFile, *, as_reader: bool) -> pa.Table:
    """Read a file of partition d and bucket 3 in either way."""
    if as_reader:
        return read_file(ctx, ("d",), 3, file, as_reader=True).read_all()
    return read_file(ctx, ("d",), 3, file)


class RottenFiles(MemoryFileIO):
    """Files whose store finds that bytes of data files have changed."""

    def _read(self, key: str, start: int, end: int | None) -> bytes:
        if "/bucket-" in key:
            raise CorruptError(ErrorKind.CORRUPT_BLOB, "blob 7 does not match its hash", blob_id=7)
        return super()._read(key, start, end)


@pytest.mark.parametrize("as_reader", [False, True])
def test_what_a_store_finds_rotten_is_named_with_file_and_partition(*, as_reader: bool) -> None:
    ctx = open_table(RottenFiles(), {"dt": "STRING", "x": "INT"}, partition_keys=["dt"])
    (file,) = write_files(ctx, ("d",), 3, pa.table({"dt": ["d"], "x": pa.array([1], pa.int32())}))
    with pytest.raises(CorruptError, match=r"dt=d/bucket-3/data-.* of partition dt=d: blob 7") as caught:
        read_whole(ctx, file, as_reader=as_reader)
    assert caught.value.kind is ErrorKind.CORRUPT_BLOB


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("damage", ["cut", "garbled", "emptied"])
@pytest.mark.parametrize("as_reader", [False, True])
def test_a_broken_file_is_named_with_its_partition(
    files: FileIO, file_format: str, damage: str, *, as_reader: bool
) -> None:
    ctx = open_table(files, {"dt": "STRING", "x": "INT"}, partition_keys=["dt"], options={"file.format": file_format})
    rows = pa.table({"dt": ["d"] * 1000, "x": pa.array(range(1000), pa.int32())})
    (file,) = write_files(ctx, ("d",), 3, rows)
    key = ctx.layout.data_file(("d",), 3, file.file_name)
    data = files.read(key)
    broken = {"cut": data[:-20], "garbled": bytes(len(data)), "emptied": b""}[damage]
    files.put(key, broken)
    file = msgspec.structs.replace(file, file_size=len(broken))
    with pytest.raises(CorruptError, match=re.escape(key)) as caught:
        read_whole(ctx, file, as_reader=as_reader)
    assert caught.value.kind is ErrorKind.CORRUPT_TABLE
    assert "dt=d" in caught.value.message


def test_a_file_of_another_size_than_its_manifest_says_is_corrupt(files: FileIO) -> None:
    ctx, file = grouped(files)
    with pytest.raises(CorruptError, match="its manifest says 7"):
        read_file(ctx, (), 0, msgspec.structs.replace(file, file_size=7))
    with pytest.raises(CorruptError, match="its manifest says 7"):
        read_file(ctx, (), 0, msgspec.structs.replace(file, row_count=7))


def test_files_outside_the_table_and_of_other_formats_are_refused_by_name(files: FileIO) -> None:
    ctx, file = grouped(files)
    with pytest.raises(UnsupportedError, match="oss://elsewhere/x"):
        read_file(ctx, (), 0, msgspec.structs.replace(file, external_path="oss://elsewhere/x"))
    with pytest.raises(UnsupportedError, match=r"data-1\.lance"):
        read_file(ctx, (), 0, msgspec.structs.replace(file, file_name="data-1.lance"))


def test_shredded_variants_are_refused_by_name(files: FileIO) -> None:
    ctx = open_table(files, {"v": "VARIANT", "x": "INT"})
    rows = pa.table({"v": [{"value": b"\x0c\x01", "metadata": b"\x01"}], "x": [1]}).cast(ctx.schema.arrow)
    (file,) = write_files(ctx, (), 0, rows)
    sink = pa.BufferOutputStream()
    shredded = [{"metadata": b"\x01", "value": None, "typed_value": 1}]
    pq.write_table(pa.table({"v": shredded, "x": pa.array([1], pa.int32())}), sink)
    data = sink.getvalue().to_pybytes()
    files.put(ctx.layout.data_file((), 0, file.file_name), data)
    file = msgspec.structs.replace(file, file_size=len(data))
    with pytest.raises(UnsupportedError, match=r"'v' has shredded variants"):
        read_file(ctx, (), 0, file)
    assert read_file(ctx, (), 0, file, ["x"]).to_pylist() == [{"x": 1}]


def test_a_column_that_the_file_lacks_is_corrupt(files: FileIO) -> None:
    ctx, file = grouped(files)
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"x": range(20_000)}), sink)
    data = sink.getvalue().to_pybytes()
    files.put(ctx.layout.data_file((), 0, file.file_name), data)
    file = msgspec.structs.replace(file, file_size=len(data))
    with pytest.raises(CorruptError, match=r"lacks column 's' of schema 0"):
        read_file(ctx, (), 0, file)


def test_large_files_are_read_by_columns_from_folders_too(tmp_path: object) -> None:
    ctx = open_table(FolderFileIO(str(tmp_path)), {"x": "BIGINT", "y": "BIGINT", "z": "BIGINT", "w": "BIGINT"})
    rng = np.random.default_rng(3)
    rows = pa.table({name: rng.integers(0, 1 << 62, 100_000) for name in "xyzw"})
    (file,) = write_files(ctx, (), 0, rows)
    assert file.file_size > 2 << 20
    assert read_file(ctx, (), 0, file, ["z"]).equals(rows.select(["z"]))
    assert read_file(ctx, (), 0, file).equals(rows)
    assert read_file(ctx, (), 0, file, as_reader=True).read_all().equals(rows)


def test_files_are_told_apart_by_their_statistics(files: FileIO) -> None:
    ctx = open_table(files, {"x": "INT", "s": "STRING", "a": "ARRAY<INT>"})
    given: list[tuple[list[int | None], list[str | None]]] = [
        ([1, 5], ["a", "b"]),
        ([10, 20], ["x", None]),
        ([None, None], ["q", "q"]),
    ]
    made = [
        write_files(ctx, (), 0, pa.table({"x": xs, "s": ss, "a": pa.nulls(len(xs))}).cast(ctx.schema.arrow))[0]
        for xs, ss in given
    ]

    def kept(where: str) -> list[int]:
        may_match = file_filter(ctx, parse_where(where, ctx.schema))
        return [place for place, file in enumerate(made) if may_match(file)]

    assert kept("x = 5") == [0]
    assert kept("x > 5") == [1]
    assert kept("x IS NULL") == [2]
    assert kept("x IS NOT NULL AND s LIKE 'x%'") == [1]
    assert kept("s IS NULL OR x = 1") == [0, 1]
    assert kept("a IS NULL") == [0, 1, 2]
    assert kept("x = 7 AND s = 'a'") == []


def test_statistics_that_were_not_kept_leave_out_no_file() -> None:
    for options in (
        {"metadata.stats-mode": "none"},
        {"metadata.stats-mode": "none", "metadata.stats-dense-store": "false"},
    ):
        ctx = open_table(MemoryFileIO(), {"x": "INT", "y": "INT"}, options=options)
        (file,) = write_files(ctx, (), 0, pa.table({"x": [1], "y": [2]}).cast(ctx.schema.arrow))
        assert file_filter(ctx, parse_where("x = 100", ctx.schema))(file)
