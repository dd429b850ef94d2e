"""The fsspec filesystem over memory, as its users call it."""

import pickle
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pyarrow.fs
import pyarrow.parquet
import pytest

from hosu.filesystem import HosuFileSystem, LakeFiles
from hosu.kernel.errors import (
    AccessDeniedError,
    ConflictError,
    ErrorKind,
    HosuError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
)
from hosu.kernel.fileio import FileIO, FolderFileIO, MemoryFileIO


class MemoryLake:
    """Buckets in a dict."""

    def __init__(self) -> None:
        self.buckets: dict[str, MemoryFileIO] = {}

    def fileio(self, bucket: str) -> FileIO:
        try:
            return self.buckets[bucket]
        except KeyError:
            raise NotFoundError(ErrorKind.BUCKET_NOT_FOUND, f"no bucket {bucket!r}") from None

    def bucket_names(self) -> Sequence[str]:
        return sorted(self.buckets)

    def create_bucket(self, bucket: str) -> None:
        if bucket in self.buckets:
            raise ConflictError(ErrorKind.BUCKET_EXISTS, f"bucket {bucket!r} exists")
        self.buckets[bucket] = MemoryFileIO()

    def delete_bucket(self, bucket: str) -> None:
        if list(self.fileio(bucket).list()):
            raise ConflictError(ErrorKind.BUCKET_NOT_EMPTY, f"bucket {bucket!r} holds files")
        del self.buckets[bucket]


@pytest.fixture
def lake() -> MemoryLake:
    lake = MemoryLake()
    lake.create_bucket("images")
    return lake


@pytest.fixture
def fs(lake: MemoryLake) -> HosuFileSystem:
    fs = HosuFileSystem(files=lake, skip_instance_cache=True)
    for name in ("a.txt", "dir/b.txt", "dir/deep/c.txt", "dir.x"):
        lake.buckets["images"].put(name, name.encode())
    return fs


def test_a_memory_lake_is_lake_files(lake: MemoryLake) -> None:
    files: LakeFiles = lake
    assert files.bucket_names() == ["images"]


def test_ls_shows_buckets_folders_and_files(fs: Any) -> None:
    assert fs.ls("", detail=False) == ["images"]
    assert fs.ls("hosu://images", detail=False) == ["images/a.txt", "images/dir.x", "images/dir"]
    assert fs.ls("/images/dir/", detail=False) == ["images/dir/b.txt", "images/dir/deep"]
    assert fs.ls("images/a.txt", detail=False) == ["images/a.txt"]
    assert {entry["name"]: (entry["type"], entry["size"]) for entry in fs.ls("images/dir")} == {
        "images/dir/b.txt": ("file", 9),
        "images/dir/deep": ("directory", 0),
    }


def test_an_empty_bucket_lists_nothing_and_a_missing_path_is_said_so(fs: Any, lake: MemoryLake) -> None:
    lake.create_bucket("empty")
    assert fs.ls("empty") == []
    for path in ("nowhere", "nowhere/a", "images/nowhere", "images/a.txt/b"):
        with pytest.raises(FileNotFoundError):
            fs.ls(path)
        with pytest.raises(FileNotFoundError):
            fs.info(path)
        assert not fs.exists(path)


def test_folder_markers_of_other_clients_are_folders(fs: Any, lake: MemoryLake) -> None:
    lake.buckets["images"].put("marked/", b"")
    assert fs.isdir("images/marked")
    assert fs.ls("images/marked") == []
    assert fs.find("images/marked") == []
    fs.rm("images/marked", recursive=True)
    assert not fs.exists("images/marked")


def test_info_tells_size_etag_and_time(fs: Any, lake: MemoryLake) -> None:
    stat = lake.buckets["images"].head("a.txt")
    assert fs.info("hosu://images/a.txt") == {
        "name": "images/a.txt",
        "size": 5,
        "type": "file",
        "ETag": stat.etag,
        "mtime": stat.modified_ms / 1000,
    }
    assert fs.isdir("images/dir")
    assert fs.isdir("images")
    assert fs.isfile("images/a.txt")
    assert fs.size("images/a.txt") == 5
    assert fs.modified("images/a.txt").timestamp() == stat.modified_ms / 1000
    assert fs.ukey("images/a.txt") == fs.checksum("images/a.txt") == stat.etag
    with pytest.raises(IsADirectoryError):
        fs.checksum("images/dir")


def test_find_glob_and_walk_agree(fs: Any) -> None:
    names = ["images/a.txt", "images/dir.x", "images/dir/b.txt", "images/dir/deep/c.txt"]
    assert fs.find("images") == names
    assert fs.find("") == sorted(names)
    assert fs.find("images/dir", detail=True)["images/dir/b.txt"]["size"] == 9
    assert fs.find("images/dir", maxdepth=1) == ["images/dir/b.txt"]
    assert fs.find("images/a.txt") == ["images/a.txt"]
    assert fs.find("images/dir", withdirs=True) == ["images/dir", *names[2:3], "images/dir/deep", names[3]]
    assert fs.glob("images/**/*.txt") == [names[0], *names[2:]]
    assert fs.glob("images/d*/*.txt") == ["images/dir/b.txt"]
    assert [path for path, _, _ in fs.walk("images")] == ["images", "images/dir", "images/dir/deep"]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [(None, None, b"a.txt"), (2, None, b"txt"), (-3, None, b"txt"), (0, -4, b"a"), (9, None, b""), (3, 2, b"")],
)
def test_cat_file_cuts_as_a_slice_does(fs: Any, start: int | None, end: int | None, expected: bytes) -> None:
    assert fs.cat_file("hosu://images/a.txt", start, end) == expected


def test_cat_ranges_answers_in_the_order_asked(fs: Any) -> None:
    paths = ["images/a.txt", "images/dir/b.txt", "images/a.txt", "images/nowhere"]
    found = fs.cat_ranges(paths, [0, 4, 2, 0], [1, 9, 99, 1])
    assert found[:3] == [b"a", b"b.txt", b"txt"]
    assert isinstance(found[3], FileNotFoundError)
    assert fs.cat_ranges(["images/a.txt"] * 2, 7, 9) == [b"", b""]
    with pytest.raises(FileNotFoundError):
        fs.cat_ranges(paths, 0, 1, on_error="raise")
    with pytest.raises(ValueError, match="2 starts"):
        fs.cat_ranges(paths, [0, 1], 1)


def test_pipe_creates_only_where_nothing_is_when_asked(fs: Any) -> None:
    fs.pipe_file("images/new", b"1", mode="create")
    with pytest.raises(FileExistsError):
        fs.pipe_file("images/new", b"2", mode="create")
    fs.pipe({"images/new": b"3", "images/newer": b"4"})
    assert fs.cat(["images/new", "images/newer"]) == {"images/new": b"3", "images/newer": b"4"}


def test_a_file_is_visible_once_closed_and_not_after_an_exception(fs: Any) -> None:
    with fs.open("images/w", "wb", block_size=4) as file:
        file.write(b"0123456789")
        assert not fs.exists("images/w")
    assert fs.cat_file("images/w") == b"0123456789"
    with pytest.raises(KeyError), fs.open("images/x", "wb", block_size=4) as file:  # noqa: PT012 - both matter
        file.write(b"0123456789")
        raise KeyError
    dropped = fs.open("images/y", "wb")
    dropped.write(b"1")
    del dropped
    assert fs.glob("images/[xy]") == []


def test_a_reader_seeks_and_keeps_its_version(fs: Any) -> None:
    fs.pipe_file("images/r", b"old" * 1000)
    with fs.open("images/r", "rb", block_size=16) as file:
        assert file.read(3) == b"old"
        fs.pipe_file("images/r", b"new" * 1000)
        file.seek(-3, 2)
        assert file.read() == b"old"
        assert file.size == 3000
    with fs.open("images/r", "rt") as text:
        assert text.read(3) == "new"


def test_other_modes_are_refused(fs: Any) -> None:
    for mode in ("ab", "r+b", "xb"):
        with pytest.raises((NotImplementedError, ValueError)):
            fs.open("images/a.txt", mode)
    with pytest.raises(IsADirectoryError):
        fs.open("images", "rb")


def test_a_transaction_stores_all_files_or_none(fs: Any) -> None:
    with fs.transaction:
        with fs.open("images/t1", "wb") as file:
            file.write(b"1")
        assert not fs.exists("images/t1")
    assert fs.cat_file("images/t1") == b"1"
    with pytest.raises(KeyError), fs.transaction:  # noqa: PT012 - both matter
        with fs.open("images/t2", "wb") as file:
            file.write(b"1")
        raise KeyError
    assert not fs.exists("images/t2")


def test_files_are_copied_moved_and_removed(fs: Any) -> None:
    fs.cp("images/dir", "images/copy", recursive=True)
    assert fs.find("images/copy") == ["images/copy/b.txt", "images/copy/deep/c.txt"]
    assert fs.cat_file("images/copy/deep/c.txt") == b"dir/deep/c.txt"
    fs.mv("images/copy/b.txt", "images/moved.txt")
    assert (fs.exists("images/copy/b.txt"), fs.cat_file("images/moved.txt")) == (False, b"dir/b.txt")
    fs.rm("images/moved.txt")
    assert not fs.exists("images/moved.txt")
    fs.rm(["images/copy", "images/a.txt"], recursive=True)
    assert fs.find("images") == ["images/dir.x", "images/dir/b.txt", "images/dir/deep/c.txt"]
    for path in ("images/dir", "images/nowhere"):
        with pytest.raises(FileNotFoundError):
            fs.rm(path)
    fs.rm("images/*", recursive=True)
    assert fs.ls("images") == []


def test_local_files_go_in_and_out(fs: Any, tmp_path: Path) -> None:
    (tmp_path / "in.bin").write_bytes(b"local")
    fs.put(str(tmp_path / "in.bin"), "images/in.bin")
    fs.get("images/in.bin", str(tmp_path / "out.bin"))
    assert (tmp_path / "out.bin").read_bytes() == b"local"


def test_buckets_are_made_and_removed(fs: Any, lake: MemoryLake) -> None:
    fs.mkdir("new")
    with pytest.raises(FileExistsError):
        fs.mkdir("new")
    with pytest.raises(FileExistsError):
        fs.makedirs("new")
    fs.makedirs("new", exist_ok=True)
    fs.makedirs("newer/folder")
    fs.mkdir("newer/other")
    assert lake.bucket_names() == ["images", "new", "newer"]
    fs.rmdir("new")
    with pytest.raises(OSError, match="holds files"):
        fs.rmdir("images")
    with pytest.raises(OSError, match="not empty"):
        fs.rmdir("images/dir")
    fs.rm("images", recursive=True)
    assert lake.bucket_names() == ["newer"]
    with pytest.raises(ValueError, match="name the buckets"):
        fs.rm("", recursive=True)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (AccessDeniedError(ErrorKind.ACCESS_DENIED, "no"), PermissionError),
        (UnsupportedError(ErrorKind.UNSUPPORTED, "no"), NotImplementedError),
        (InvalidInputError(ErrorKind.KEY_INVALID, "no"), ValueError),
        (UnavailableError(ErrorKind.STORE_UNAVAILABLE, "no"), OSError),
    ],
)
def test_errors_are_those_that_users_of_files_expect(error: HosuError, expected: type[Exception]) -> None:
    class Failing(MemoryFileIO):
        def head(self, key: str) -> Any:  # noqa: ARG002 - the contract's signature
            raise error

    with pytest.raises(expected, match="no"):
        HosuFileSystem(fileio=Failing(), skip_instance_cache=True).info("k")


def test_one_source_of_files_must_be_given() -> None:
    for options in [dict[str, Any](), dict[str, Any](lake="./lake", fileio=MemoryFileIO())]:
        with pytest.raises(ValueError, match="exactly one"):
            HosuFileSystem(**options, skip_instance_cache=True)


def test_a_folder_is_opened_as_a_lake(monkeypatch: pytest.MonkeyPatch, lake: MemoryLake) -> None:
    opened: list[str] = []

    def open_files(path: str) -> LakeFiles:
        opened.append(path)
        return lake

    monkeypatch.setitem(sys.modules, "hosu.lake", SimpleNamespace(open_files=open_files))
    fs = HosuFileSystem(lake="./somewhere", skip_instance_cache=True)
    assert (fs.ls("", detail=False), opened) == (["images"], ["./somewhere"])


def test_a_single_fileio_has_keys_for_paths(tmp_path: Path) -> None:
    fs = HosuFileSystem(fileio=FolderFileIO(tmp_path), skip_instance_cache=True)
    fs.pipe_file("hosu://a/b.txt", b"1")
    assert (tmp_path / "a/b.txt").read_bytes() == b"1"
    assert fs.ls("", detail=False) == ["a"]
    assert fs.find("") == ["a/b.txt"]
    assert pickle.loads(pickle.dumps(fs)).cat_file("a/b.txt") == b"1"
    fs.makedirs("c", exist_ok=True)
    with pytest.raises(NotImplementedError):
        fs._lake()
    fs.rm("a", recursive=True)
    assert fs.find("") == []


def test_arrow_polars_and_duckdb_share_a_parquet_file(fs: Any) -> None:
    table = pa.table({"n": list(range(1000)), "part": [number % 2 for number in range(1000)]})
    handler = pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(fs))
    pyarrow.parquet.write_table(table, "images/t.parquet", filesystem=handler)
    assert pyarrow.parquet.read_table("images/t.parquet", filesystem=handler).equals(table)
    pyarrow.dataset.write_dataset(
        table, "images/parts", format="parquet", filesystem=handler, partitioning=["part"], partitioning_flavor="hive"
    )
    assert pyarrow.dataset.dataset("images/parts", filesystem=handler, partitioning="hive").count_rows() == 1000
    with fs.open("images/t.parquet", "rb") as file:
        assert pl.read_parquet(file)["n"].sum() == 499_500
    with duckdb.connect() as connection:
        connection.register_filesystem(fs)
        assert connection.sql("select sum(n) from 'hosu://images/parts/*/*.parquet'").fetchall() == [(499_500,)]
        connection.sql("copy (select 1 as one) to 'hosu://images/duck.parquet'")
    assert pyarrow.parquet.read_table("images/duck.parquet", filesystem=handler)["one"].to_pylist() == [1]
