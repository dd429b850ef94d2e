"""The contract suite over memory and a plain folder."""

import functools
import os
from pathlib import Path

import pytest

from hosu.kernel.fileio import FileIO, FolderFileIO, MemoryFileIO
from hosu.kernel.fileio.keys import FileStat
from hosu.kernel.fileio.memory import StoredFile
from hosu.testing.fileio_contract import FileIORaceContract
from hosu.testing.fileio_races import FileIOOpener


class TestMemoryFileIO(FileIORaceContract):
    @pytest.fixture
    def fileio(self) -> FileIO:
        return MemoryFileIO()

    def stored(self, fileio: FileIO, key: str) -> bytes | None:
        assert isinstance(fileio, MemoryFileIO)
        file = fileio._files.get(key)
        return file.data if file else None

    def store(self, fileio: FileIO, key: str, data: bytes) -> None:
        assert isinstance(fileio, MemoryFileIO)
        fileio._files[key] = StoredFile(FileStat(key, len(data), "by-hand", 1), data)

    def opener(self, fileio: FileIO) -> FileIOOpener | None:  # noqa: ARG002 - the contract's signature
        return None


class TestFolderFileIO(FileIORaceContract):
    @pytest.fixture
    def fileio(self, tmp_path: Path) -> FileIO:
        return FolderFileIO(tmp_path)

    def stored(self, fileio: FileIO, key: str) -> bytes | None:
        assert isinstance(fileio, FolderFileIO)
        path = f"{fileio.root}/{key}"
        return Path(path).read_bytes() if os.path.isfile(path) else None  # noqa: PTH113 - pathlib would drop 'a/'

    def store(self, fileio: FileIO, key: str, data: bytes) -> None:
        assert isinstance(fileio, FolderFileIO)
        path = Path(fileio.root, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def opener(self, fileio: FileIO) -> FileIOOpener | None:
        assert isinstance(fileio, FolderFileIO)
        return functools.partial(FolderFileIO, fileio.root)
