"""Manifest lists, manifests and index manifests, read once and remembered."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeVar

from hosu.kernel.errors import CorruptError, ErrorKind, HosuError, NotFoundError, UnsupportedError
from hosu.tables.context import TableContext
from hosu.tables.manifests import avro
from hosu.tables.manifests.avro import Row
from hosu.tables.manifests.rows import check_format, entry_of, index_entry_of, manifest_of
from hosu.tables.pooling import run_all
from hosu.tables.records import IndexEntry, ManifestEntry, ManifestFile, Snapshot

T = TypeVar("T")

ENTRY_BYTES: Final = 1500
"""About what an entry of a manifest weighs in memory, with statistics of ten columns."""

RECORD_BYTES: Final = 600
"""About what a row of a manifest list or an index manifest weighs."""


class ManifestReader:
    """Reads a table's metadata files. What it returns is shared: nobody may change it."""

    def __init__(self, ctx: TableContext) -> None:
        self._ctx = ctx

    def list(self, name: str) -> Sequence[ManifestFile]:
        """Return the manifests of a manifest list. Raises CorruptError CORRUPT_TABLE naming the file."""
        return self._read(name, manifest_of, RECORD_BYTES)

    def entries(self, name: str) -> Sequence[ManifestEntry]:
        """Return the entries of a manifest. Raises CorruptError CORRUPT_TABLE naming the file."""
        return self._read(name, _checked_entry, ENTRY_BYTES)

    def index(self, name: str) -> Sequence[IndexEntry]:
        """Return the entries of an index manifest. Raises CorruptError CORRUPT_TABLE naming the file."""
        return self._read(name, index_entry_of, RECORD_BYTES)

    def entries_of(self, manifests: Sequence[ManifestFile]) -> Sequence[Sequence[ManifestEntry]]:
        """Return the entries of several manifests, read side by side, in their order."""
        cache = self._ctx.cache
        missing = [file for file in manifests if cache.peek(self._key(file.file_name)) is None]
        read = run_all(self._ctx.pool, [partial(self.entries, file.file_name) for file in missing])
        found = {file.file_name: entries for file, entries in zip(missing, read, strict=True)}
        return [
            found[file.file_name] if file.file_name in found else self.entries(file.file_name) for file in manifests
        ]

    def data_manifests(self, snapshot: Snapshot) -> Sequence[ManifestFile]:
        """Return all manifests of a snapshot's data, oldest first."""
        return [*self.list(snapshot.base_manifest_list), *self.list(snapshot.delta_manifest_list)]

    def delta_manifests(self, snapshot: Snapshot) -> Sequence[ManifestFile]:
        """Return the manifests of what a snapshot changed."""
        return self.list(snapshot.delta_manifest_list)

    def changelog_manifests(self, snapshot: Snapshot) -> Sequence[ManifestFile]:
        """Return the manifests of a snapshot's changelog."""
        return [] if snapshot.changelog_manifest_list is None else self.list(snapshot.changelog_manifest_list)

    def remember_list(self, name: str, manifests: Sequence[ManifestFile]) -> None:
        """Keep what was just written, so that nobody reads it back."""
        self._ctx.cache.put(self._key(name), manifests, RECORD_BYTES * (1 + len(manifests)))

    def remember_entries(self, name: str, entries: Sequence[ManifestEntry]) -> None:
        """Keep what was just written, so that nobody reads it back."""
        self._ctx.cache.put(self._key(name), entries, ENTRY_BYTES * (1 + len(entries)))

    def remember_index(self, name: str, entries: Sequence[IndexEntry]) -> None:
        """Keep what was just written, so that nobody reads it back."""
        self._ctx.cache.put(self._key(name), entries, RECORD_BYTES * (1 + len(entries)))

    def _key(self, name: str) -> str:
        return self._ctx.layout.manifest(name)

    def _read(self, name: str, record_of: Callable[[Row], T], weight_bytes: int) -> Sequence[T]:
        path = self._key(name)

        def load() -> tuple[Sequence[T], int]:
            found = _records(self._ctx, path, record_of)
            return found, weight_bytes * (1 + len(found))

        return self._ctx.cache.get(path, load)


def _checked_entry(row: Row) -> ManifestEntry:
    check_format(row)
    return entry_of(row)


def _records(ctx: TableContext, path: str, record_of: Callable[[Row], T]) -> list[T]:
    try:
        return [record_of(row) for row in avro.read_file(ctx.files.read(path))]
    except NotFoundError as error:
        if error.kind is not ErrorKind.OBJECT_NOT_FOUND:
            raise
        raise CorruptError(
            ErrorKind.CORRUPT_TABLE,
            f"{ctx.identifier}: {path!r} is missing: its snapshot has expired, or the file must be restored",
            path=path,
        ) from error
    except UnsupportedError as error:
        raise UnsupportedError(error.kind, f"{ctx.identifier}: {path!r}: {error.message}", path=path) from error
    except HosuError:
        raise
    except Exception as error:  # a decoder meets damage in any way
        raise CorruptError(
            ErrorKind.CORRUPT_TABLE, f"{ctx.identifier}: {path!r} cannot be read: {error!r}; restore it", path=path
        ) from error
