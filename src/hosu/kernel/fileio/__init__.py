"""Files by key, whatever holds them: the contract, and memory, a plain folder or any S3 behind it."""

from importlib import import_module
from typing import TYPE_CHECKING

from hosu.kernel.fileio.contract import Data, FileIO, FileWriter, RangeReader
from hosu.kernel.fileio.folder import FolderFileIO
from hosu.kernel.fileio.keys import RESERVED_FOLDER, FileStat, Prefix, check_key, check_path_key, fold
from hosu.kernel.fileio.memory import MemoryFileIO

if TYPE_CHECKING:
    from hosu.kernel.fileio.s3 import S3FileIO
    from hosu.kernel.fileio.s3_store import S3Place

__all__ = [
    "RESERVED_FOLDER",
    "Data",
    "FileIO",
    "FileStat",
    "FileWriter",
    "FolderFileIO",
    "MemoryFileIO",
    "Prefix",
    "RangeReader",
    "S3FileIO",
    "S3Place",
    "check_key",
    "check_path_key",
    "fold",
]

_LOADED_WHEN_USED = {"S3FileIO": "hosu.kernel.fileio.s3", "S3Place": "hosu.kernel.fileio.s3_store"}


def __getattr__(name: str) -> object:
    # The S3 client costs memory and start-up time that a lake on its own disk does not owe.
    if name in _LOADED_WHEN_USED:
        return getattr(import_module(_LOADED_WHEN_USED[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
