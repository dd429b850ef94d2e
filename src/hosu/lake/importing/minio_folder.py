"""A data folder of MinIO's with a single drive, read and never written.

    .minio.sys/format.json                          which deployment the drive belongs to
    .minio.sys/buckets/BUCKET/.metadata.bin         what is set on a bucket, an object itself
    .minio.sys/config/iam/…                         users, groups, policies and keys, objects too
    BUCKET/KEY/xl.meta                              all versions of a key, with inline data
    BUCKET/KEY/DATA-DIRECTORY/part.N                bytes of one version

The server should be stopped meanwhile: what it writes while a folder is read may be seen half.
"""

import contextlib
import hashlib
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from hosu.kernel.errors import ErrorKind, HosuError, InvalidInputError, UnsupportedError
from hosu.kernel.limits import MIB
from hosu.lake.importing.minio_accounts import read_accounts
from hosu.lake.importing.minio_buckets import read_bucket
from hosu.lake.importing.source import (
    SourceAccounts,
    SourceBucket,
    SourceError,
    SourceKey,
    SourcePart,
    SourceVersion,
)
from hosu.lake.importing.xlmeta import BLOCK_HASH_BYTES, UNPACKED_BYTES_MAX, Place, parse_xlmeta
from hosu.objects.names import check_bucket_name

SYSTEM = ".minio.sys"
META, LEGACY_META = "xl.meta", "xl.json"
FOLDER_SUFFIX = "__XLDIR__"
"""At the end of the name of what stands for a key with `/` at its end."""

FOLDER_CHARACTERS_MAX = 1024 + len(FOLDER_SUFFIX) + 1
"""Of the folder of the longest key: what lies deeper is none."""

RUN_BYTES = 4 * MIB
"""Bytes of whole blocks that are read in one call."""

BLOCK_BYTES_MAX = 64 * MIB
"""Larger ones are a sign of damage: MinIO's have had 1 and 10 MiB."""

FORMAT_BYTES_MAX = 64 * 1024
_DATA_DIRECTORY = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PART = re.compile(r"part\.\d{1,5}")


class Drive:
    """The folder of a MinIO server with one drive; a `Source`."""

    def __init__(self, path: Path) -> None:
        """Look at the folder: UnsupportedError for several drives and old formats, InvalidInputError for no drive."""
        self.path = path
        self._root = str(path)
        self._format = _read_format(path)

    @property
    def identity(self) -> str:
        """The deployment's id."""
        return str(self._format["id"])

    # Buckets and accounts

    def buckets(self) -> Sequence[SourceBucket]:
        """Return all buckets by name."""
        return [self._bucket(name) for name in self._bucket_names()]

    def notes(self) -> Sequence[str]:
        """Return what else is in the folder, and stays there."""
        names = [it.name for it in _entries(self.path) if it.name != SYSTEM and not self._is_bucket(it)]
        found = [f"{_shown(name)!r} beside the buckets is none" for name in names]
        uploads = self._uploads_in_progress()
        if uploads:
            found.append(f"{uploads} uploads in parts are not completed: their parts stay")
        return found

    def _bucket_names(self) -> list[str]:
        return [entry.name for entry in _entries(self.path) if self._is_bucket(entry)]

    def _is_bucket(self, entry: os.DirEntry[str]) -> bool:
        """Whether a folder is a bucket, by its name or because MinIO says so."""
        if entry.name == SYSTEM or not entry.is_dir(follow_symlinks=False):
            return False
        try:
            check_bucket_name(entry.name)
        except (HosuError, UnicodeError):
            return Path(self._root, SYSTEM, "buckets", entry.name).is_dir()
        return True

    def _bucket(self, name: str) -> SourceBucket:
        try:
            raw = self._system_object("buckets", name, ".metadata.bin")
        except SourceError as error:
            return SourceBucket(name=name, problems=(f"what is set on it cannot be read: {error}",))
        return SourceBucket(name=name) if raw is None else read_bucket(name, raw)

    def accounts(self) -> SourceAccounts:
        """Return users, groups, policies and keys."""
        return read_accounts(self._system_names, self._system_object)

    def _uploads_in_progress(self) -> int:
        found = 0
        for folder in _entries(self.path / SYSTEM / "multipart"):
            if folder.is_dir(follow_symlinks=False):
                found += sum(entry.is_dir(follow_symlinks=False) for entry in _entries(folder.path))
        return found

    def _system_names(self, *place: str) -> list[str]:
        """Return the names of what MinIO keeps at a place of its own."""
        found = _entries(self.path.joinpath(SYSTEM, *place))
        return [entry.name for entry in found if entry.is_dir(follow_symlinks=False)]

    def _system_object(self, *place: str) -> bytes | None:
        """Return the bytes of an object of MinIO's own; None where there is none."""
        folder = "/".join((self._root, SYSTEM, *place))
        if not Path(folder, META).exists():
            return None
        version = self._versions(folder)[-1]
        if version.is_marker:
            return None
        if version.problem:
            raise SourceError(version.problem)
        found = b"".join(bytes(piece) for part in version.parts for piece in self._read(folder, version, part))
        if hashlib.md5(found, usedforsecurity=False).hexdigest() != version.etag:
            raise SourceError("it does not match its ETag: its bytes have changed")
        return found

    # Keys

    def keys(self, bucket: str, prefix: str = "") -> Iterator[SourceKey]:
        """Yield the keys below a prefix. Folders that cannot hold any are not opened."""
        for key in self._walk(f"{self._root}/{bucket}", "", prefix):
            if key.key.startswith(prefix):
                yield key

    def _walk(self, folder: str, key: str, prefix: str) -> Iterator[SourceKey]:
        """Yield what is stored at and below the folder of a key, which ends with `/` unless it is empty."""
        try:
            entries = _entries(folder)
        except OSError as error:
            yield SourceKey(_shown(key), problem=f"its folder cannot be read: {error.strerror}")
            return
        names = {entry.name for entry in entries}
        own: set[str] = set()
        if key and META in names:
            found = self._key(folder, key)
            own = {it.place.data_dir for it in found.versions if isinstance(it.place, Place)}
            yield found
        elif key and LEGACY_META in names:
            reason = "it has an xl.json of before xl.meta: import it from MinIO's URL"
            yield SourceKey(_shown(key.removesuffix("/")), problem=reason)
        is_told = META in names
        for entry in entries:
            if entry.name in own or not entry.is_dir(follow_symlinks=False):
                continue
            if _holds_parts(entry):
                # Beside xl.meta it is of a version that is gone, and was about to be removed.
                if not is_told:
                    yield SourceKey(_shown(key.removesuffix("/")), problem=f"xl.meta is missing beside {entry.name}")
                    is_told = True
                continue
            below = f"{key}{entry.name}/"
            if len(below) > FOLDER_CHARACTERS_MAX:
                yield SourceKey(_shown(below), problem="S3 has no keys as long as the names of its folders")
            elif _may_lead_to(below, prefix):
                yield from self._walk(entry.path, below, prefix)

    def _key(self, folder: str, key: str) -> SourceKey:
        name = key.removesuffix("/")
        name = name.removesuffix(FOLDER_SUFFIX) + "/" if name.endswith(FOLDER_SUFFIX) else name
        try:
            name.encode()
        except UnicodeEncodeError:
            return SourceKey(_shown(name), problem="its name is not UTF-8, and S3 has no other keys")
        try:
            return SourceKey(name, self._versions(folder))
        except SourceError as error:
            return SourceKey(name, problem=str(error))

    def _versions(self, folder: str) -> tuple[SourceVersion, ...]:
        try:
            with _opened(f"{folder}/{META}") as descriptor:
                size_bytes = os.fstat(descriptor).st_size
                if size_bytes > UNPACKED_BYTES_MAX:
                    raise SourceError(f"xl.meta has {size_bytes} bytes: more than any should")
                raw = _read_whole(descriptor, size_bytes)
        except OSError as error:
            raise SourceError(f"xl.meta cannot be read: {error.strerror}") from error
        versions = parse_xlmeta(raw)
        if not versions:
            raise SourceError("xl.meta holds no version")
        return versions

    def describe(self, bucket: str, key: str, version: SourceVersion) -> SourceVersion:
        """Return the version: `keys` has said everything of it."""
        del bucket, key
        return version

    def read(self, bucket: str, key: str, version: SourceVersion, part: SourcePart) -> Iterator[memoryview | bytes]:
        """Yield the bytes of a part; raises SourceError for a file that is missing, or has another size."""
        yield from self._read(self._folder(bucket, key), version, part)

    def _folder(self, bucket: str, key: str) -> str:
        return f"{self._root}/{bucket}/{key[:-1] + FOLDER_SUFFIX if key.endswith('/') else key}"

    def _read(self, folder: str, version: SourceVersion, part: SourcePart) -> Iterator[memoryview | bytes]:
        place = version.place
        assert isinstance(place, Place)
        if part.size_bytes == 0:
            return
        if place.inline is not None and len(version.parts) == 1:
            _check_size("its inline data", len(place.inline), part.size_bytes, place.block_bytes)
            yield from _without_hashes(memoryview(place.inline), place.block_bytes)
            return
        name = f"part.{part.number}"
        try:
            with _opened_part(f"{folder}/{place.data_dir}", name) as descriptor:
                _check_size(name, os.fstat(descriptor).st_size, part.size_bytes, place.block_bytes)
                yield from _read_blocks(descriptor, name, part.size_bytes, place.block_bytes)
        except FileNotFoundError as error:
            raise SourceError(f"{name} is missing") from error
        except NotADirectoryError as error:
            raise SourceError(f"{name} is not in a folder of its own") from error
        except OSError as error:
            raise SourceError(f"{name} cannot be read: {error.strerror}") from error


def _read_blocks(descriptor: int, name: str, size_bytes: int, block_bytes: int) -> Iterator[memoryview]:
    """Yield what is in a file between the checksums of its blocks, several blocks at a time, in memory used again."""
    blocks = min(max(1, RUN_BYTES // block_bytes), -(-size_bytes // block_bytes))
    run = memoryview(bytearray(min(size_bytes, blocks * block_bytes)))
    checksum = bytearray(BLOCK_HASH_BYTES)
    left = size_bytes
    while left > 0:
        wanted = run[: min(left, len(run))]
        pieces: list[bytearray | memoryview] = []
        for start in range(0, len(wanted), block_bytes):
            pieces += [checksum, wanted[start : start + block_bytes]]
        if os.readv(descriptor, pieces) != sum(map(len, pieces)):
            raise SourceError(f"{name} was cut short while it was read")
        left -= len(wanted)
        yield wanted


def _without_hashes(data: memoryview, block_bytes: int) -> Iterator[memoryview]:
    step = block_bytes + BLOCK_HASH_BYTES
    for start in range(0, len(data), step):
        yield data[start + BLOCK_HASH_BYTES : start + step]


def _check_size(what: str, found_bytes: int, size_bytes: int, block_bytes: int) -> None:
    """Refuse a file that cannot hold a part of this size and the checksums of its blocks."""
    if not 0 < block_bytes <= BLOCK_BYTES_MAX:
        raise SourceError(f"its blocks have {block_bytes} bytes")
    wanted_bytes = size_bytes + BLOCK_HASH_BYTES * -(-size_bytes // block_bytes)
    if found_bytes != wanted_bytes:
        raise SourceError(f"{what} has {found_bytes} bytes on the drive, not {wanted_bytes}")


def _read_format(path: Path) -> dict[str, Any]:
    """Return format.json of a single drive; refuse every other."""
    file = path / SYSTEM / "format.json"
    try:
        with _opened(file) as descriptor:
            raw = os.read(descriptor, FORMAT_BYTES_MAX)
    except FileNotFoundError as error:
        raise InvalidInputError(
            ErrorKind.INVALID_ARGUMENT,
            f"{path} is no data folder of MinIO's: {file} is missing; name the folder that `minio server` was given",
        ) from error
    except OSError as error:
        raise InvalidInputError(ErrorKind.INVALID_ARGUMENT, f"{file} cannot be read: {error.strerror}") from error
    try:
        found: dict[str, Any] = msgspec.json.decode(raw, type=dict[str, Any])
        kind = found["format"]
        if kind not in {"xl", "xl-single"}:
            raise UnsupportedError(
                ErrorKind.UNSUPPORTED,
                f"{path} has MinIO's format {kind!r}: only single drives with xl.meta are read; start that server, and "
                "import from its URL",
            )
        sets = found["xl"]["sets"]
        if len(sets) != 1 or len(sets[0]) != 1:
            drives = sum(len(drives) for drives in sets)
            raise UnsupportedError(
                ErrorKind.UNSUPPORTED,
                f"{path} is one of {drives} drives in {len(sets)} erasure sets: no drive alone has all bytes; start "
                "that server, and import from its URL",
            )
        str(found["id"])
    except (msgspec.MsgspecError, KeyError, TypeError, IndexError) as error:
        raise InvalidInputError(ErrorKind.INVALID_ARGUMENT, f"{file} cannot be understood: {error}") from error
    return found


def _entries(folder: str | Path) -> list[os.DirEntry[str]]:
    """Return what a folder holds, by name; nothing where there is no folder."""
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except FileNotFoundError:
        return []


def _holds_parts(entry: os.DirEntry[str]) -> bool:
    """Whether a folder holds the bytes of a version, and no keys: those are folders themselves."""
    if not _DATA_DIRECTORY.fullmatch(entry.name):
        return False
    with contextlib.suppress(OSError):
        held = _entries(entry.path)
        return bool(held) and all(_PART.fullmatch(it.name) and it.is_file(follow_symlinks=False) for it in held)
    return False


def _may_lead_to(folder: str, prefix: str) -> bool:
    """Whether keys that begin with the prefix may be stored below a folder, which ends with `/`."""
    is_on_the_way = folder.startswith(prefix) or prefix.startswith(folder)
    return is_on_the_way or folder.removesuffix(FOLDER_SUFFIX + "/") + "/" == prefix


def _shown(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


@contextlib.contextmanager
def _opened_part(folder: str, name: str) -> Iterator[int]:
    """Open a file of a data directory, which is no link either: it could lead out of the source."""
    directory = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        with _opened(name, directory) as descriptor:
            yield descriptor
    finally:
        os.close(directory)


@contextlib.contextmanager
def _opened(path: str | Path, directory: int | None = None) -> Iterator[int]:
    """Open a file so that reading leaves no trace in it, where the system lets us; links and devices are refused."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags | os.O_NOATIME, dir_fd=directory)
    except PermissionError:  # for owners of the file only
        descriptor = os.open(path, flags, dir_fd=directory)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise SourceError(f"{Path(path).name} is no file")
        yield descriptor
    finally:
        os.close(descriptor)


def _read_whole(descriptor: int, size_bytes: int) -> bytes:
    """Return up to size_bytes from where the file stands; fewer at its end alone."""
    data = os.read(descriptor, size_bytes)
    if len(data) in {0, size_bytes}:
        return data
    pieces = [data]
    left = size_bytes - len(data)
    while left and (data := os.read(descriptor, left)):
        pieces.append(data)
        left -= len(data)
    return b"".join(pieces)
