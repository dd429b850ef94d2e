"""A write transaction, as the verbs of this engine see it."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw

from hosu.kernel.errors import ConflictError, ErrorKind, NotFoundError
from hosu.objects.audit import Origin, format_time, next_outbox_id, outbox_rows
from hosu.objects.blobs import FILE_COLUMNS, IDS_PER_DIRECTORY, BlobFiles, BlobRow, StagedBlob
from hosu.objects.generation import Generation
from hosu.objects.lake_quota import LakeQuota
from hosu.objects.records import BlobKind, Bucket
from hosu.objects.views import View

EVENT_COLUMNS = "seq, at_ms, kind, bucket, key, version_id, size_bytes, etag, actor, request_id, source_ip"


class Effects:
    """What a transaction may touch beside the database: blob files, and the ids this process has reserved."""

    def __init__(self, files: BlobFiles, generation: Generation, *, is_audited: bool = True) -> None:
        self.files = files
        self.generation = generation
        self.lake_quota = LakeQuota(generation)
        self.inline_ids = (0, 0)
        self.is_audited = is_audited


class Tx(View):
    """One batch's transaction. Verbs run one after the other and see each other's changes.

    Events and usage are gathered and written in `prepare`, in one statement each. `touches` counts what is
    gathered so far: a verb that fails after it changed rows or touches must take the batch down.
    """

    def __init__(self, connection: apsw.Connection, now_ms: int, effects: Effects) -> None:
        super().__init__(connection, now_ms)
        self.effects = effects
        self.touches = 0
        self.origin: Origin | None = None
        """On whose behalf the present verb runs; a verb may say it better than its caller did."""
        self.spares_protected = False
        """Whether the present verb must leave alone what is below protected prefixes."""
        self._audit: list[bytes] = []
        self._audit_time = ""
        self._audited_events = self._audited_access = self._audited_touches = 0
        self._inline_ids = effects.inline_ids
        self._buckets: dict[str, Bucket] = {}
        self._events: list[tuple[Any, ...]] = []
        self._usage: dict[int, list[int]] = {}
        self._lake_held_bytes: int | None = None
        self._directories: set[Path] = set()
        self._after_commit: list[Callable[[], None]] = []
        self._seq = 0
        self._access_changes = 0

    def bucket(self, name: str) -> Bucket:
        """Return a bucket; read once per transaction."""
        found = self._buckets.get(name)
        if found is None:
            found = self._buckets[name] = super().bucket(name)
        return found

    def forget_bucket(self, name: str) -> None:
        """Read the bucket again next time: its record was changed."""
        self._buckets.pop(name, None)

    def next_seq(self) -> int:
        """Return the sequence number of the next event: larger than every one before, in the whole lake."""
        if self._seq == 0:
            self._seq = self.value("SELECT max(seq) FROM event") or 0
        self._seq += 1
        return self._seq

    def record_event(
        self, seq: int, kind: str, bucket: str, key: str, version_id: str, size_bytes: int, etag: str, actor: str
    ) -> None:
        """Add a mutation to the change feed."""
        self.touches += 1
        origin = self.origin
        asked = ("", "") if origin is None else (origin.request_id, origin.source_ip)
        self._events.append((seq, self.now_ms, kind, bucket, key, version_id, size_bytes, etag, actor, *asked))

    def count(
        self,
        bucket_id: int,
        *,
        objects: int = 0,
        object_bytes: int = 0,
        versions: int = 0,
        version_bytes: int = 0,
        markers: int = 0,
        part_bytes: int = 0,
    ) -> None:
        """Change a bucket's usage by these differences."""
        self.touches += 1
        usage = self._usage.setdefault(bucket_id, [0, 0, 0, 0, 0, 0])
        for place, difference in enumerate((objects, object_bytes, versions, version_bytes, markers, part_bytes)):
            usage[place] += difference

    def held_bytes(self, bucket: Bucket) -> int:
        """Return what counts towards a bucket's quota, the changes of this transaction included."""
        _, object_bytes, _, version_bytes, _, part_bytes = self._usage.get(bucket.id, (0, 0, 0, 0, 0, 0))
        return bucket.usage.held_bytes + object_bytes + version_bytes + part_bytes

    def lake_held_bytes(self) -> int:
        """Return what counts towards the lake's quota, the changes of this transaction included."""
        if self._lake_held_bytes is None:
            self._lake_held_bytes = super().lake_held_bytes()
        return self._lake_held_bytes + sum(usage[1] + usage[3] + usage[5] for usage in self._usage.values())

    def forget_usage(self, bucket_id: int) -> None:
        """Leave out what was gathered for a bucket: its record is gone."""
        self._usage.pop(bucket_id, None)
        self._lake_held_bytes = None

    def reserve_ids(self) -> tuple[int, int]:
        """Reserve one directory's worth of blob ids for this process, for ever."""
        first = self.value("SELECT value FROM counter WHERE name = 'blob'") or IDS_PER_DIRECTORY
        end = first + IDS_PER_DIRECTORY
        self.run("INSERT OR REPLACE INTO counter (name, value) VALUES ('blob', ?)", (end,))
        return first, end

    def new_inline_id(self) -> int:
        """Return a fresh id for a blob that has no file."""
        first, end = self._inline_ids
        if first == end:
            first, end = self.reserve_ids()
        self._inline_ids = (first + 1, end)
        return first

    def next_upload(self) -> int:
        """Return the number of the next upload: larger than every one before."""
        latest = self.value("SELECT seq FROM sqlite_sequence WHERE name = 'upload'") or 0
        return int(latest) + 1

    # Blob references

    def add_blob(self, staged: StagedBlob) -> int | None:
        """Give a staged body its record with one reference, or one more reference to the same bytes stored before."""
        if staged.size_bytes == 0:
            if staged.kind == BlobKind.FILE:
                self.after_commit(lambda: self.effects.files.unlink(staged.id))
            return None
        if staged.kind == BlobKind.INLINE:
            blob_id = self.new_inline_id()
            self.run(
                "INSERT INTO blob VALUES (?, 0, 0, 1, ?, ?, ?, 0, 0, ?, ?, ?, ?, NULL, ?)",
                (
                    blob_id, staged.size_bytes, staged.digest, self.now_ms, staged.coding, staged.coded_bytes,
                    staged.plain_hash, staged.sealed, staged.body,
                ),
            )  # fmt: skip
            return blob_id
        twin = find_twin(self, staged)
        if twin is not None and self.effects.files.is_intact(twin, self.now_ms):
            self.add_reference(twin.id)
            self.after_commit(lambda: self.effects.files.unlink(staged.id))
            return twin.id
        self.effects.files.check_staged(staged)
        self.run(
            "INSERT INTO blob VALUES (?, 1, 0, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)",
            (
                staged.id, staged.size_bytes, staged.digest, self.now_ms, staged.inode, staged.ctime_ns,
                staged.coding, staged.coded_bytes, staged.plain_hash, staged.sealed, staged.content_hash,
            ),
        )  # fmt: skip
        self._directories.add(self.effects.files.path(staged.id).parent)
        return staged.id

    def add_composed(self, size_bytes: int) -> int:
        """Record a blob made of segments, which the caller adds; one reference."""
        blob_id = self.new_inline_id()
        self.run(
            "INSERT INTO blob VALUES (?, 2, 0, 1, ?, NULL, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL)",
            (blob_id, size_bytes),
        )
        return blob_id

    def add_reference(self, blob_id: int | None) -> None:
        """Count one more record that refers to the blob."""
        if blob_id is None:
            return
        self.run("UPDATE blob SET refs = refs + 1 WHERE id = ?", (blob_id,))
        if self.changes() != 1:
            raise ConflictError(ErrorKind.CORRUPT_LAKE, f"blob {blob_id} has no record; run a scrub")
        self.run("DELETE FROM garbage WHERE blob_id = ?", (blob_id,))

    def drop_reference(self, blob_id: int | None) -> None:
        """Count one record less; what nothing refers to goes: inline bytes now, files and segments with the sweep."""
        if blob_id is None:
            return
        self.run("DELETE FROM blob WHERE id = ? AND kind = 0 AND refs = 1", (blob_id,))
        if self.changes():
            return
        refs = self.value("UPDATE blob SET refs = refs - 1 WHERE id = ? RETURNING refs", (blob_id,))
        if refs == 0:
            self.run("INSERT OR REPLACE INTO garbage VALUES (?, ?)", (blob_id, self.now_ms))

    def change_access(self) -> None:
        """Say that this transaction changes what decides about access, so that every process reads it again."""
        self.touches += 1
        self._access_changes += 1

    @property
    def has_changed_access(self) -> bool:
        """Whether `change_access` was called: what others remember is not what this transaction would read."""
        return self._access_changes > 0

    def after_commit(self, effect: Callable[[], None]) -> None:
        """Run effect once the transaction is durable."""
        self.touches += 1
        self._after_commit.append(effect)

    def act_as(self, origin: Origin) -> None:
        """Audit what the present verb has changed so far, and what it changes from here on as done for `origin`.

        So a rule that acts on many objects in one transaction leaves a line with a reason for each of them.
        """
        spares = self.spares_protected
        if self.touches != self._audited_touches:
            self.end_verb()
        self.begin_verb(origin)
        self.spares_protected = spares

    # Called by the writer

    def begin_verb(self, origin: Origin | None) -> None:
        """Say on whose behalf the next verb runs."""
        self.origin = origin
        self.spares_protected = False
        self._audited_events = len(self._events)
        self._audited_access = self._access_changes
        self._audited_touches = self.touches

    def end_verb(self) -> None:
        """Audit a verb that has changed something."""
        events = self._events[self._audited_events :]
        has_changed_access = self._access_changes != self._audited_access
        if not self.effects.is_audited or not (events or has_changed_access or self.origin is not None):
            return
        if not self._audit_time:
            self._audit_time = format_time(self.now_ms)
        self._audit += outbox_rows(self.origin, events, self._audit_time, has_changed_access=has_changed_access)

    def touched(self) -> list[tuple[str, str]] | None:
        """Return bucket and key of every object changed, None when a whole bucket was."""
        names = []
        for _, _, kind, bucket, key, *_ in self._events:
            if not key or kind == "AliasSwitched":
                return None
            names.append((bucket, key))
        return names

    def prepare(self) -> None:
        """Write what was gathered, and sync the directories that new blob files are in, before the commit."""
        if self._events:
            self.connection.executemany(
                f"INSERT INTO event ({EVENT_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?)", self._events
            )
        if self._audit:
            first = next_outbox_id(self)
            self.connection.executemany("INSERT INTO audit_outbox VALUES (?, ?)", enumerate(self._audit, first))
        for bucket_id, usage in self._usage.items():
            self.run(
                "UPDATE bucket SET object_count = object_count + ?, object_bytes = object_bytes + ?, "
                "version_count = version_count + ?, version_bytes = version_bytes + ?, "
                "marker_count = marker_count + ?, part_bytes = part_bytes + ? WHERE id = ?",
                (*usage, bucket_id),
            )
        for directory in self._directories:
            self.effects.files.sync_directory(directory)
        if self._access_changes:
            self.effects.generation.move()

    def announce(self) -> None:
        """Tell every process of the commit, while it is still this one's turn."""
        if self._access_changes:
            self.effects.generation.move()

    def finish(self) -> None:
        """Keep what was reserved and run the effects that had to wait for the commit."""
        self.effects.inline_ids = self._inline_ids
        for effect in self._after_commit:
            with contextlib.suppress(OSError):
                effect()


def find_twin(view: View, staged: StagedBlob) -> BlobRow | None:
    """Return a file stored before that holds the bytes of a staged one, under the same key if they are encrypted."""
    if staged.sealed is None:
        # Whoever has the stored bytes of an encrypted file, from a stolen disk say, must not get them opened by a put.
        where, digest = "hash = ? AND sealed IS NULL", staged.digest
    elif staged.content_hash is not None:
        where, digest = "content_hash = ?", staged.content_hash
    else:
        return None
    row = view.row(
        f"SELECT {FILE_COLUMNS} FROM blob WHERE {where} AND kind = 1 AND is_corrupt = 0 AND id <> ? AND coding IS ?",
        (digest, staged.id, staged.coding),  # bytes that stand for others are not those that stand for themselves
    )
    return None if row is None else BlobRow(*row)


def object_not_found(key: str) -> NotFoundError:
    """Return the error for a key that has no current object."""
    return NotFoundError(ErrorKind.OBJECT_NOT_FOUND, f"there is no object {key!r}", key=key)
