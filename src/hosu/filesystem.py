"""The lake as an fsspec filesystem: what pandas, Polars, Arrow and DuckDB open `hosu://bucket/key` with.

    pandas.read_parquet("hosu://images/labels.parquet", storage_options={"lake": "./lake"})

The first part of a path is a bucket, the rest a key. Over a single FileIO (`fileio=`) the whole path is the key.
Folders are what keys have in common up to a slash: they need no making and vanish with their last file.
"""

import errno
import io
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import import_module
from itertools import islice
from typing import Any, BinaryIO, Final, Protocol, cast

from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

from hosu.kernel.errors import (
    AccessDeniedError,
    ErrorKind,
    HosuError,
    InvalidInputError,
    NotFoundError,
    PreconditionFailedError,
    UnsupportedError,
)
from hosu.kernel.fileio import FileIO, FileStat, FileWriter, Prefix
from hosu.kernel.limits import DELETE_KEYS_MAX, MIB

READ_BLOCK_BYTES: Final = 1 * MIB
"""Bytes a reader asks for at once."""

WRITE_BLOCK_BYTES: Final = 8 * MIB
"""Bytes a writer collects before it hands them on."""

COPY_BYTES: Final = 1 * MIB

Info = dict[str, Any]


class LakeFiles(Protocol):
    """What the filesystem asks of a lake: its buckets, and the files of each."""

    def fileio(self, bucket: str) -> FileIO:
        """Return the files of a bucket, which need not exist yet."""
        ...

    def bucket_names(self) -> Sequence[str]:
        """Return the names of all buckets, sorted."""
        ...

    def create_bucket(self, bucket: str) -> None:
        """Make a bucket; raise ConflictError BUCKET_EXISTS."""
        ...

    def delete_bucket(self, bucket: str) -> None:
        """Remove an empty bucket; raise NotFoundError, or ConflictError BUCKET_NOT_EMPTY."""
        ...


class HosuFileSystem(AbstractFileSystem):  # type: ignore[misc] # fsspec has no types
    """Files of a lake.

    Open it with one of: `lake`, the folder of an embedded lake; `files`, a LakeFiles; `fileio`, a FileIO.
    A file opened for writing is visible once closed, and not at all when its `with` ends by an exception.
    """

    protocol = "hosu"
    root_marker = ""

    def __init__(
        self,
        lake: str | None = None,
        *,
        files: LakeFiles | None = None,
        fileio: FileIO | None = None,
        **options: Any,  # noqa: ANN401 - fsspec's own
    ) -> None:
        super().__init__(lake=lake, files=files, fileio=fileio, **options)
        if sum(source is not None for source in (lake, files, fileio)) != 1:
            raise ValueError("give exactly one of lake='./folder', files=… and fileio=… to open hosu:// paths")
        self._single = fileio
        self._files = files
        if lake is not None:
            # The engine is loaded by those who open a lake of their own, not by everyone who reads a path.
            self._files = cast("LakeFiles", import_module("hosu.lake").open_files(lake))

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Info] | list[str]:  # noqa: ANN401, FBT001, FBT002 - fsspec's signature
        """List a folder, a bucket or the buckets; a file is listed as itself."""
        path = self._strip_protocol(path)
        with _os_errors(path):
            found = self._listed(path)
        return found if detail else [info["name"] for info in found]

    def info(self, path: str, **_: Any) -> Info:  # noqa: ANN401 - fsspec's signature
        """Return name, type and size in bytes of a file or folder, and a file's ETag and mtime (seconds)."""
        path = self._strip_protocol(path)
        with _os_errors(path):
            bucket, key = self._split(path)
            if not key:
                if bucket and bucket not in self._buckets():
                    raise FileNotFoundError(path)
                return _folder(path)
            fileio = self._fileio(bucket)
            try:
                return self._file(bucket, fileio.head(key))
            except NotFoundError:
                if next(fileio.list(f"{key}/"), None) is None:
                    raise FileNotFoundError(path) from None
                return _folder(path)

    def find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,  # noqa: FBT001, FBT002 - fsspec's signature
        detail: bool = False,  # noqa: FBT001, FBT002 - fsspec's signature
        **options: Any,  # noqa: ANN401 - fsspec's signature
    ) -> list[str] | dict[str, Info]:
        """Return all files below path, in key order, from one listing instead of one per folder."""
        path = self._strip_protocol(path)
        bucket, key = self._split(path)
        if maxdepth is not None or withdirs or (self._single is None and not bucket):
            return cast("list[str] | dict[str, Info]", super().find(path, maxdepth, withdirs, detail, **options))
        with _os_errors(path):
            fileio = self._fileio(bucket)
            try:
                stats = [fileio.head(key)] if key else []
            except NotFoundError:
                stats = []
            stats += [entry for entry in fileio.list(f"{key}/" if key else "") if isinstance(entry, FileStat)]
        found = {info["name"]: info for info in (self._file(bucket, stat) for stat in stats if stat.key[-1] != "/")}
        return found if detail else list(found)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:  # noqa: ANN401 - fsspec's signature
        """Return the bytes of a file from start up to end; both count from the end when negative, as in a slice."""
        path = self._strip_protocol(path)
        with _os_errors(path):
            fileio, key = self._locate(path)
            if (start or 0) < 0 or (end or 0) < 0:
                start, end, _step = slice(start, end).indices(fileio.head(key).size_bytes)
            if end is not None and end <= (start or 0):
                return b""
            try:
                return fileio.read(key, start, end)
            except InvalidInputError as error:
                if error.kind is not ErrorKind.RANGE_INVALID:
                    raise
                return b""

    def cat_ranges(
        self,
        paths: Sequence[str],
        starts: Sequence[int] | int,
        ends: Sequence[int] | int,
        max_gap: int | None = None,
        on_error: str = "return",
        **_: Any,  # noqa: ANN401 - fsspec's signature
    ) -> list[bytes | Exception]:
        """Return a range of each path; those of one file are read together."""
        if max_gap is not None:
            raise NotImplementedError("max_gap: the FileIO itself joins ranges that lie close")
        begins = [starts] * len(paths) if isinstance(starts, int) else list(starts)
        stops = [ends] * len(paths) if isinstance(ends, int) else list(ends)
        if not len(paths) == len(begins) == len(stops):
            raise ValueError(f"{len(paths)} paths, {len(begins)} starts and {len(stops)} ends")
        found: list[bytes | Exception] = [b""] * len(paths)
        places: dict[str, list[int]] = {}
        for place, path in enumerate(paths):
            places.setdefault(path, []).append(place)
        for path, wanted in places.items():
            try:
                pieces: Sequence[bytes | Exception] = self._ranges(
                    path, [(begins[place], stops[place]) for place in wanted]
                )
            except OSError as error:
                if on_error == "raise":
                    raise
                pieces = [error] * len(wanted)
            for place, piece in zip(wanted, pieces, strict=True):
                found[place] = piece
        return found

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:  # noqa: ANN401 - fsspec's signature
        """Store bytes at path; with mode "create" only where no file is, else FileExistsError."""
        path = self._strip_protocol(path)
        with _os_errors(path):
            fileio, key = self._locate(path)
            fileio.put(key, value, if_absent=mode == "create")

    def rm(self, path: str | list[str], recursive: bool = False, maxdepth: int | None = None) -> None:  # noqa: FBT001, FBT002 - fsspec's signature
        """Delete files; with recursive also all that is below them, and the buckets that are named."""
        if maxdepth is not None:
            super().rm(path, recursive=recursive, maxdepth=maxdepth)
            return
        for one in self.expand_path(path):
            with _os_errors(one):
                if not recursive:
                    self.rm_file(one)
                elif one or self._single:
                    self._rm_below(*self._split(one))
                else:
                    raise ValueError("name the buckets to remove")

    def rm_file(self, path: str) -> None:
        """Delete one file."""
        path = self._strip_protocol(path)
        with _os_errors(path):
            fileio, key = self._locate(path)
            fileio.head(key)
            fileio.delete_many([key])

    def cp_file(self, path1: str, path2: str, **_: Any) -> None:  # noqa: ANN401 - fsspec's signature
        """Copy one file; copying a folder does nothing, as its files make it again."""
        path1, path2 = self._strip_protocol(path1), self._strip_protocol(path2)
        if self.isdir(path1):
            return
        with _os_errors(path1):
            source_io, source = self._locate(path1)
            target_io, target = self._locate(path2)
            with source_io.open_read(source, 0) as reader, target_io.open_write(target) as writer:
                shutil.copyfileobj(reader, cast("BinaryIO", writer), COPY_BYTES)

    def mkdir(self, path: str, create_parents: bool = True, **_: Any) -> None:  # noqa: ANN401, FBT001, FBT002 - fsspec's signature
        """Make a bucket; a folder inside one needs no making, its bucket is made when missing (create_parents)."""
        path = self._strip_protocol(path)
        bucket, key = self._split(path)
        with _os_errors(path):
            if self._single is None and bucket and (not key or (create_parents and bucket not in self._buckets())):
                self._lake().create_bucket(bucket)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:  # noqa: FBT001, FBT002 - fsspec's signature
        """Make a bucket, or with exist_ok find it there."""
        if not self.exists(path):
            self.mkdir(path)
        elif not exist_ok:
            raise FileExistsError(path)

    def rmdir(self, path: str) -> None:
        """Remove an empty bucket. A folder inside one goes with its last file, so there is nothing to remove."""
        path = self._strip_protocol(path)
        bucket, key = self._split(path)
        with _os_errors(path):
            if bucket and not key:
                self._lake().delete_bucket(bucket)
            elif self.ls(path):
                raise OSError(errno.ENOTEMPTY, "folder not empty", path)

    def modified(self, path: str) -> Any:  # noqa: ANN401 - fsspec's signature
        """Return when a file was stored, as a datetime in UTC."""
        return datetime.fromtimestamp(self._info_of_file(path)["mtime"], tz=UTC)

    created = modified

    def checksum(self, path: str) -> str:
        """Return the etag of a file: another one whenever other bytes are stored."""
        return cast("str", self._info_of_file(path)["ETag"])

    ukey = checksum

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:  # noqa: ANN401 - a path or a list of them, as in fsspec
        stripped = super()._strip_protocol(path)
        return stripped.lstrip("/") if isinstance(stripped, str) else stripped

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        autocommit: bool = True,  # noqa: FBT001, FBT002 - fsspec's signature
        cache_options: Info | None = None,
        **options: Any,  # noqa: ANN401 - fsspec's signature
    ) -> "HosuFile":
        if mode not in {"rb", "wb"}:
            raise NotImplementedError(f"mode {mode!r}: files are read or written whole, they do not grow")
        with _os_errors(path):
            fileio, key = self._locate(path)
            return HosuFile(
                self,
                path,
                fileio,
                key,
                mode=mode,
                block_size=block_size or (READ_BLOCK_BYTES if mode == "rb" else WRITE_BLOCK_BYTES),
                autocommit=autocommit,
                cache_options=cache_options,
                **options,
            )

    def _split(self, path: str) -> tuple[str, str]:
        """Part a stripped path into bucket and key; a single FileIO has no buckets."""
        if self._single is not None:
            return "", path
        bucket, _, key = path.partition("/")
        return bucket, key

    def _fileio(self, bucket: str) -> FileIO:
        return self._single if self._single is not None else self._lake().fileio(bucket)

    def _lake(self) -> LakeFiles:
        if self._files is None:
            raise NotImplementedError("a single FileIO has no buckets to make or remove")
        return self._files

    def _buckets(self) -> Sequence[str]:
        return self._lake().bucket_names()

    def _locate(self, path: str) -> tuple[FileIO, str]:
        bucket, key = self._split(path)
        if not key:
            raise IsADirectoryError(errno.EISDIR, "a bucket is not a file", path)
        return self._fileio(bucket), key

    def _name(self, bucket: str, key: str) -> str:
        return f"{bucket}/{key}" if bucket else key

    def _file(self, bucket: str, stat: FileStat) -> Info:
        return {
            "name": self._name(bucket, stat.key),
            "size": stat.size_bytes,
            "type": "file",
            "ETag": stat.etag,
            "mtime": stat.modified_ms / 1000,
        }

    def _info_of_file(self, path: str) -> Info:
        info = self.info(path)
        if info["type"] != "file":
            raise IsADirectoryError(errno.EISDIR, "only a file has a version", path)
        return info

    def _listed(self, path: str) -> list[Info]:
        bucket, key = self._split(path)
        if self._single is None and not bucket:
            return [_folder(name) for name in self._buckets()]
        prefix = f"{key}/" if key else ""
        entries = list(self._fileio(bucket).list(prefix, delimiter="/"))
        if not entries:
            # Not a folder then: a file, an empty bucket, or nothing.
            info = self.info(path)
            return [info] if info["type"] == "file" else []
        # Some clients mark a folder by an empty file of its name and a slash.
        return [
            _folder(self._name(bucket, entry.key.rstrip("/")))
            if isinstance(entry, Prefix)
            else self._file(bucket, entry)
            for entry in entries
            if entry.key != prefix
        ]

    def _rm_below(self, bucket: str, key: str) -> None:
        fileio = self._fileio(bucket)
        found = fileio.list(f"{key}/" if key else "")
        if key:
            fileio.delete_many([key])
        while keys := [entry.key for entry in islice(found, DELETE_KEYS_MAX)]:
            fileio.delete_many(keys)
        if bucket and not key:
            self._lake().delete_bucket(bucket)

    def _ranges(self, path: str, ranges: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        path = self._strip_protocol(path)
        with _os_errors(path):
            fileio, key = self._locate(path)
            if all(0 <= start <= end for start, end in ranges):
                try:
                    return fileio.read_ranges(key, ranges)
                except InvalidInputError as error:
                    if error.kind is not ErrorKind.RANGE_INVALID:
                        raise
        return [self.cat_file(path, start, end) for start, end in ranges]


class HosuFile(AbstractBufferedFile):  # type: ignore[misc] # fsspec has no types
    """An open file: one version of it to read, or a new one that is visible once closed.

    Text mode and compression wrap this file and close it even when their `with` ends by an exception: what was
    written up to there is stored then. Binary mode has no such gap.
    """

    def __init__(self, fs: HosuFileSystem, path: str, fileio: FileIO, key: str, **options: Any) -> None:  # noqa: ANN401 - fsspec's own
        self._fileio, self._key = fileio, key
        self._reader: BinaryIO | None = None
        self._writer: FileWriter | None = None
        if options["mode"] == "rb":
            self._reader = fileio.open_read(key, 0)
            options["size"] = self._reader.seek(0, io.SEEK_END)
        super().__init__(fs, path, **options)

    def __del__(self) -> None:
        if not self.closed:
            self.discard()

    def __exit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        if error_type is None:
            self.close()
        else:
            self.discard()

    def close(self) -> None:
        """Store what was written, or let go of what was read; a file that cannot be stored is discarded."""
        if self.closed:
            return
        try:
            super().close()
        finally:
            if self._reader is not None:
                self._reader.close()
            if not self.closed:
                self.discard()

    def commit(self) -> None:
        """Store a file that was opened within a transaction."""
        if self._writer is not None:
            with _os_errors(self.path):
                self._writer.close()

    def discard(self) -> None:
        """Forget what was written and close."""
        if self._writer is not None:
            self._writer.discard()
        if self._reader is not None:
            self._reader.close()
        self.closed = True

    def _fetch_range(self, start: int, end: int) -> bytes:
        assert self._reader is not None, "only a reader fetches"
        pieces = []
        with _os_errors(self.path):
            self._reader.seek(start)
            while start < end and (piece := self._reader.read(end - start)):
                pieces.append(piece)
                start += len(piece)
        return b"".join(pieces)

    def _initiate_upload(self) -> None:
        with _os_errors(self.path):
            self._writer = self._fileio.open_write(self._key)

    def _upload_chunk(self, final: bool = False) -> bool:  # noqa: FBT001, FBT002 - fsspec's signature
        assert self._writer is not None, "fsspec begins before it uploads"
        with _os_errors(self.path):
            self._writer.write(self.buffer.getbuffer())
            if final and self.autocommit:
                self._writer.close()
        return True


def _folder(name: str) -> Info:
    return {"name": name, "size": 0, "type": "directory"}


@contextmanager
def _os_errors(path: str) -> Iterator[None]:
    """Turn the errors of the lake into those that users of files expect."""
    try:
        yield
    except HosuError as error:
        raise _translated(path, error) from error


def _translated(path: str, error: HosuError) -> Exception:
    if isinstance(error, NotFoundError):
        return FileNotFoundError(errno.ENOENT, error.message, path)
    if isinstance(error, PreconditionFailedError) or error.kind is ErrorKind.BUCKET_EXISTS:
        return FileExistsError(errno.EEXIST, error.message, path)
    if error.kind is ErrorKind.BUCKET_NOT_EMPTY:
        return OSError(errno.ENOTEMPTY, error.message, path)
    if isinstance(error, AccessDeniedError):
        return PermissionError(errno.EACCES, error.message, path)
    if isinstance(error, UnsupportedError):
        return NotImplementedError(error.message)
    if isinstance(error, InvalidInputError):
        return ValueError(error.message)
    return OSError(errno.EIO, error.message, path)
