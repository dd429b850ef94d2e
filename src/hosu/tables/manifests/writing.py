"""Manifests, their lists and index manifests, made and put."""

from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final
from uuid import uuid4

import msgspec

from hosu.kernel.errors import HosuError
from hosu.kernel.limits import MIB
from hosu.tables.context import TableContext
from hosu.tables.manifests import avro
from hosu.tables.manifests.partitions import Partitions
from hosu.tables.manifests.reader import ManifestReader
from hosu.tables.manifests.rows import entry_row, index_entry_row, manifest_row
from hosu.tables.manifests.shapes import (
    INDEX_ENTRY,
    INDEX_ENTRY_ROWS,
    MANIFEST_ENTRY,
    MANIFEST_ENTRY_ROWS,
    MANIFEST_FILE,
    MANIFEST_FILE_ROWS,
)
from hosu.tables.pooling import run_all
from hosu.tables.records import FileKind, IndexEntry, ManifestEntry, ManifestFile, Stats
from hosu.tables.rows import EMPTY_ROW

STAGED_BYTES_MAX: Final = 64 * MIB
"""What may wait in memory for the next `flush`."""


NO_STATS: Final = Stats(EMPTY_ROW, EMPTY_ROW)


class ManifestWriter:
    """Makes the metadata files of one commit, under names of its own.

    Files are made in memory, where their sizes become known, and put by `flush`, all at once: so that a commit waits
    for the disk once and not once for each file.
    """

    def __init__(self, ctx: TableContext) -> None:
        self._ctx = ctx
        self._id = uuid4()
        self._numbers = {"manifest": 0, "manifest-list": 0, "index-manifest": 0}
        self._codec = avro.codec_of(ctx.options.manifest_compression)
        self._drops_stats = ctx.options.manifest_delete_file_drop_stats
        self._staged: list[tuple[str, bytes]] = []
        self._put: list[str] = []
        self.partitions = Partitions(ctx)
        self.reader = ManifestReader(ctx)

    def entries(self, entries: Sequence[ManifestEntry]) -> list[ManifestFile]:
        """Make manifests of entries, a new one whenever one has reached `manifest.target-file-size`."""
        made: list[ManifestFile] = []
        target_bytes = self._ctx.options.manifest_target_file_size
        head, sync = avro.header(MANIFEST_ENTRY, self._codec)
        pieces, size_bytes, first = [head], len(head), 0
        for start in range(0, len(entries), avro.BLOCK_ROWS):
            end = min(start + avro.BLOCK_ROWS, len(entries))
            block = avro.encode(
                MANIFEST_ENTRY_ROWS, [entry_row(self._stored(entry)) for entry in entries[start:end]], self._codec, sync
            )
            pieces.append(block)
            size_bytes += len(block)
            if size_bytes >= target_bytes or end == len(entries):
                made.append(self._manifest(entries[first:end], b"".join(pieces)))
                head, sync = avro.header(MANIFEST_ENTRY, self._codec)
                pieces, size_bytes, first = [head], len(head), end
        return made

    def list(self, manifests: Sequence[ManifestFile]) -> tuple[str, int]:
        """Make a manifest list and return its name and size in bytes."""
        rows = [manifest_row(manifest) for manifest in manifests]
        name = self._stage("manifest-list", avro.write_file(MANIFEST_FILE, MANIFEST_FILE_ROWS, rows, self._codec))
        self.reader.remember_list(name, manifests)
        return name, len(self._staged[-1][1])

    def index(self, entries: Sequence[IndexEntry]) -> str:
        """Make an index manifest and return its name."""
        rows = [index_entry_row(entry) for entry in entries]
        name = self._stage("index-manifest", avro.write_file(INDEX_ENTRY, INDEX_ENTRY_ROWS, rows, self._codec))
        self.reader.remember_index(name, entries)
        return name

    def flush(self) -> None:
        """Put what was made; on return it is durable."""
        staged, self._staged = self._staged, []
        self._put += [key for key, _ in staged]
        put = self._ctx.files.put
        run_all(self._ctx.pool, [partial(put, key, data) for key, data in staged])

    def discard(self, names: Iterable[str] | None = None) -> None:
        """Delete what was put, or the files of these names, as far as that works: nothing refers to them."""
        keys = self._put if names is None else [self._ctx.layout.manifest(name) for name in names]
        self._staged = [] if names is None else [item for item in self._staged if item[0] not in keys]
        doomed = [key for key in keys if key in self._put]
        self._put = [key for key in self._put if key not in doomed]
        with suppress(HosuError, OSError):
            self._ctx.files.delete_many(doomed)

    def keep_only(self, names: Collection[str]) -> None:
        """Delete what was put but for the files of these names, as far as that works."""
        kept = {self._ctx.layout.manifest(name) for name in names}
        doomed = [key for key in self._put if key not in kept]
        if doomed:
            with suppress(HosuError, OSError):
                self._ctx.files.delete_many(doomed)

    def _stored(self, entry: ManifestEntry) -> ManifestEntry:
        """Return an entry as it is stored: with `manifest.delete-file-drop-stats` a DELETE has no statistics."""
        if entry.kind is FileKind.ADD or not self._drops_stats:
            return entry
        bare = msgspec.structs.replace(entry.file, value_stats=NO_STATS, value_stats_cols=())
        return msgspec.structs.replace(entry, file=bare)

    def _manifest(self, entries: Sequence[ManifestEntry], data: bytes) -> ManifestFile:
        name = self._stage("manifest", data)
        self.reader.remember_entries(name, entries)
        added = sum(entry.kind is FileKind.ADD for entry in entries)
        buckets = [entry.bucket for entry in entries]
        levels = [entry.file.level for entry in entries]
        return ManifestFile(
            file_name=name,
            file_size=len(data),
            num_added_files=added,
            num_deleted_files=len(entries) - added,
            partition_stats=self.partitions.stats(entry.partition for entry in entries),
            schema_id=self._ctx.schema.id,
            min_bucket=min(buckets),
            max_bucket=max(buckets),
            min_level=min(levels),
            max_level=max(levels),
        )

    def _stage(self, kind: str, data: bytes) -> str:
        if sum(len(waiting) for _, waiting in self._staged) + len(data) > STAGED_BYTES_MAX:
            self.flush()
        name = f"{kind}-{self._id}-{self._numbers[kind]}"
        self._numbers[kind] += 1
        self._staged.append((self._ctx.layout.manifest(name), data))
        return name
