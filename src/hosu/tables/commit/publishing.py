"""The protocol of a commit: metadata files first, the snapshot last, and only where no other has its number.

1. Read the latest snapshot, N, and let the caller say what the next one changes: it checks for conflicts.
2. Make the manifest of the changes, its list, the list of all manifests before it, and an index manifest where indexes
   change; put them side by side and wait until they are durable.
3. Put `snapshot-(N+1)` if it is absent. From then on readers see the commit.
4. Where it was not absent, someone else was faster: begin again at 1 after a pause, with what 2 made for the changes.
5. Write `LATEST` in the background.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final
from uuid import uuid4

import msgspec
from tenacity import RetryCallState, Retrying, retry_if_result, wait_random_exponential

from hosu.kernel.errors import CorruptError, ErrorKind, HosuError, PreconditionFailedError, UnavailableError
from hosu.kernel.log import get_logger
from hosu.tables.commit.changes import FileChanges
from hosu.tables.commit.outcomes import UncertainCommitError
from hosu.tables.context import TableContext
from hosu.tables.manifests.live import take_over
from hosu.tables.manifests.merging import merge_manifests
from hosu.tables.manifests.writing import ManifestWriter
from hosu.tables.records import CommitKind, FileKind, IndexEntry, ManifestEntry, ManifestFile, Snapshot
from hosu.tables.snapshots import find

RETRIES_MAX: Final = 200
"""How often a commit begins again unless `commit.max-retries` says otherwise. Whenever one loses its number another has
won it, so that a table always moves on; Paimon's own 10 lose commits when a handful of writers are busy."""

PAUSE_MS_MAX: Final = 250
"""How long a commit pauses at most, unless `commit.max-retry-wait` says otherwise: a commit takes a part of that."""

READ_BACK_ATTEMPTS: Final = 4
"""How often a snapshot is looked for whose put was not answered, and put again."""

READ_BACK_PAUSE_S: Final = 0.2

_LOG = get_logger("tables")

OPERATIONS: Final = frozenset(
    {
        "WRITE",
        "OVERWRITE",
        "DELETE",
        "TRUNCATE",
        "UPDATE",
        "MERGE",
        "CREATE_TABLE_AS_SELECT",
        "REPLACE_TABLE_AS_SELECT",
        "CREATE_OR_REPLACE_TABLE_AS_SELECT",
    }
)
"""What `operation` of a snapshot may say."""

Provide = Callable[[Snapshot | None], FileChanges]
"""Says what the snapshot after the given one changes; raises ConflictError when that can no longer be."""


class Commit(msgspec.Struct, kw_only=True, frozen=True):
    """What a snapshot says of who made it and why."""

    user: str
    identifier: int
    kind: CommitKind
    watermark: int | None = None
    properties: Mapping[str, str] | None = None
    operation: str | None = None
    statistics: str | None = None
    """The file of new statistics; without, those of the snapshot before stay while its schema does."""

    since: int | None = None
    """A try before may have stored this commit, after the snapshot of this number: it is looked for."""

    def __post_init__(self) -> None:
        """Refuse an operation whose name other engines could not read: the snapshot would be lost to them."""
        assert self.operation is None or self.operation in OPERATIONS, f"{self.operation} is no operation of Paimon's"


class AlreadyCommittedError(Exception):
    """A try before has stored the commit: nothing more is to be done."""


class _Files(msgspec.Struct, kw_only=True):
    """Metadata files that are made already, for the next attempt."""

    changes: FileChanges
    delta_list: tuple[str, int]
    changelog_list: tuple[str, int] | None
    base_list: str = ""
    index_manifest: str | None = None
    merged: tuple[Sequence[ManifestFile], Sequence[ManifestFile]] | None = None
    """Manifests before and after they were merged."""


def publish(
    ctx: TableContext, provide: Provide, commit: Commit, *, sleep: Callable[[float], None] = time.sleep
) -> Snapshot:
    """Commit what `provide` says after the latest snapshot and return the new one.

    Raises what `provide` raises; UnavailableError COMMIT_CONFLICT when others were faster each time
    (`commit.max-retries`, `commit.timeout`), UncertainCommitError when nobody can say whether the snapshot was stored,
    AlreadyCommittedError for a commit that is there. Nothing of one that fails stays, but for UncertainCommitError.
    """
    attempt = _Attempt(ctx, provide, commit, sleep)
    started = ctx.clock.monotonic()
    options = ctx.options
    timeout_ms = options.commit_timeout
    retries_max = options.commit_max_retries if options.has("commit.max-retries") else RETRIES_MAX
    pause_ms_max = options.commit_max_retry_wait if options.has("commit.max-retry-wait") else PAUSE_MS_MAX

    def exhausted(state: RetryCallState) -> bool:
        elapsed_ms = (ctx.clock.monotonic() - started) * 1000
        return state.attempt_number > retries_max or (timeout_ms is not None and elapsed_ms > timeout_ms)

    def give_up(state: RetryCallState) -> Snapshot:
        attempt.discard()
        raise UnavailableError(
            ErrorKind.COMMIT_CONFLICT,
            f"{ctx.identifier}: others committed first {state.attempt_number} times: try again, raise "
            "commit.max-retries, or let fewer writers commit at once",
            attempts=state.attempt_number,
        )

    retrying = Retrying(
        retry=retry_if_result(lambda found: found is None),
        stop=exhausted,
        wait=wait_random_exponential(multiplier=options.commit_min_retry_wait / 1000, max=pause_ms_max / 1000),
        sleep=sleep,
        retry_error_callback=give_up,
    )
    try:
        snapshot = retrying(attempt)
    except UncertainCommitError:
        raise
    except Exception:
        attempt.discard()
        raise
    assert snapshot is not None, "an attempt without result is repeated"
    ctx.cache.saw_latest(ctx.layout.snapshots, snapshot.id, ctx.clock.monotonic())
    find.write_hint(ctx, find.LATEST, snapshot.id)
    _tell(ctx)
    return snapshot


def _tell(ctx: TableContext) -> None:
    """Tell upkeep of a commit; whatever becomes of that, the commit has happened."""
    if ctx.on_commit is None:
        return
    try:
        ctx.on_commit(ctx)
    except Exception as error:  # noqa: BLE001 - what upkeep makes of it is not the writer's
        _LOG.warning("upkeep could not be told of a commit", table=str(ctx.identifier), reason=str(error))


class _Attempt:
    """One commit, tried until it is the first to take its number."""

    def __init__(self, ctx: TableContext, provide: Provide, commit: Commit, sleep: Callable[[float], None]) -> None:
        self._ctx = ctx
        self._provide = provide
        self._commit = commit
        self._sleep = sleep
        self._writer = ManifestWriter(ctx)
        self._files: _Files | None = None
        self._lost = self._committed = False
        self._looked_through = commit.since

    def __call__(self) -> Snapshot | None:
        """Return the snapshot, or None when another one took its number."""
        latest = find.latest(self._ctx)
        self._check_new(latest)
        changes = self._provide(latest)
        snapshot = self._prepare(latest, changes)
        self._writer.flush()
        if not self._put(snapshot):
            self._lost = True
            return None
        self._committed = True
        if self._lost:
            with suppress(HosuError, OSError):
                self._tidy(snapshot)
        return snapshot

    def discard(self) -> None:
        """Delete the metadata files that were made, unless a snapshot refers to them."""
        if not self._committed:
            self._writer.discard()

    def _check_new(self, latest: Snapshot | None) -> None:
        """Raise AlreadyCommittedError for a commit that an earlier try has stored after all.

        Its put may still be under way when the next try begins: so each attempt looks at what has come meanwhile.
        """
        since, commit = self._looked_through, self._commit
        if since is None or latest is None:
            return
        for number in range(since + 1, latest.id + 1):
            found = latest if number == latest.id else find.try_load(self._ctx, number)
            if found is None:
                raise UncertainCommitError(
                    ErrorKind.COMMIT_CONFLICT,
                    f"{self._ctx.identifier}: commit {commit.identifier} of user {commit.user} may have been snapshot "
                    f"{number}, which has expired: look for its rows before writing them again",
                    snapshot=number,
                )
            if (found.commit_user, found.commit_identifier, found.commit_kind) == (
                commit.user, commit.identifier, commit.kind
            ):  # fmt: skip
                raise AlreadyCommittedError
        self._looked_through = latest.id

    def _tidy(self, snapshot: Snapshot) -> None:
        """Delete what attempts that lost made and this snapshot does not refer to."""
        reader = self._writer.reader
        lists = [
            name
            for name in (snapshot.base_manifest_list, snapshot.delta_manifest_list, snapshot.changelog_manifest_list)
            if name is not None
        ]
        names = {manifest.file_name for name in lists for manifest in reader.list(name)}
        self._writer.keep_only(names | set(lists) | {snapshot.index_manifest or ""} - {""})

    def _prepare(self, latest: Snapshot | None, changes: FileChanges) -> Snapshot:
        """Make the metadata files of a snapshot, keeping of an earlier attempt what still holds."""
        writer, files = self._writer, self._files
        if files is None or files.changes is not changes:
            if files is not None:
                writer.discard()
            files = self._files = _Files(
                changes=changes,
                delta_list=writer.list(writer.entries(changes.entries)),
                changelog_list=writer.list(writer.entries(changes.changelog)) if changes.changelog else None,
                merged=None if files is None else ([], []),
            )
        else:
            writer.discard(name for name in (files.base_list, files.index_manifest) if name)
        before = [] if latest is None else writer.reader.data_manifests(latest)
        base_list = writer.list(self._base(files, before))
        files.base_list = base_list[0]
        kept_index = None if latest is None else latest.index_manifest
        files.index_manifest = self._index_manifest(kept_index, changes)
        return self._snapshot(latest, changes, files, base_list, files.index_manifest or kept_index)

    def _base(self, files: _Files, before: Sequence[ManifestFile]) -> Sequence[ManifestFile]:
        """Return the manifests before this commit: merged the first time, or as the first time merged them."""
        if files.merged is None:
            after = merge_manifests(self._ctx, self._writer, before)
            files.merged = (before, after)
        merged_from, merged_to = files.merged
        if not merged_from or list(before[: len(merged_from)]) != list(merged_from):
            return before
        found = [*merged_to, *before[len(merged_from) :]]
        if found != list(before):
            take_over(self._ctx, before, found)
        return found

    def _index_manifest(self, kept: str | None, changes: FileChanges) -> str | None:
        """Make an index manifest where indexes change; None: that of the snapshot before stays."""
        if not changes.indexes and not changes.cleared:
            return None
        places = {_place(entry) for entry in changes.indexes} | set(changes.cleared)
        gone = {entry.file.file_name for entry in changes.indexes if entry.kind is FileKind.DELETE}
        entries = [] if kept is None else self._writer.reader.index(kept)
        staying = [entry for entry in entries if _place(entry) not in places and entry.file.file_name not in gone]
        return self._writer.index(staying + [entry for entry in changes.indexes if entry.kind is FileKind.ADD])

    def _snapshot(
        self,
        latest: Snapshot | None,
        changes: FileChanges,
        files: _Files,
        base_list: tuple[str, int],
        index_manifest: str | None,
    ) -> Snapshot:
        ctx, commit = self._ctx, self._commit
        schema_id = ctx.schema.id if latest is None else max(ctx.schema.id, latest.schema_id)
        watermarks = [mark for mark in (commit.watermark, latest.watermark if latest else None) if mark is not None]
        total_count = (latest.total_record_count or 0) if latest else 0
        delta_count = _row_count(changes.entries)
        statistics = commit.statistics
        if statistics is None and latest is not None and latest.schema_id == schema_id:
            statistics = latest.statistics
        changelog = files.changelog_list
        return Snapshot(
            uuid=str(uuid4()),
            id=find.FIRST_ID if latest is None else latest.id + 1,
            schema_id=schema_id,
            base_manifest_list=base_list[0],
            base_manifest_list_size=base_list[1],
            delta_manifest_list=files.delta_list[0],
            delta_manifest_list_size=files.delta_list[1],
            changelog_manifest_list=changelog and changelog[0],
            changelog_manifest_list_size=changelog and changelog[1],
            index_manifest=index_manifest,
            commit_user=commit.user,
            commit_identifier=commit.identifier,
            commit_kind=commit.kind,
            time_millis=ctx.clock.now_ms(),
            total_record_count=total_count + delta_count,
            delta_record_count=delta_count,
            changelog_record_count=_row_count(changes.changelog) if changelog else None,
            watermark=max(watermarks) if watermarks else None,
            statistics=statistics,
            properties=dict(commit.properties) if commit.properties else None,
            next_row_id=latest.next_row_id if latest else 0,
            operation=commit.operation,
        )

    def _put(self, snapshot: Snapshot) -> bool:
        """Store a snapshot unless another has its number; tell whether it is this one that is stored."""
        path, data = self._ctx.layout.snapshot(snapshot.id), find.encode(snapshot)
        failure: Exception | None = None
        for number in range(READ_BACK_ATTEMPTS):
            if number:
                self._sleep(READ_BACK_PAUSE_S * 2**number)
            try:
                self._ctx.files.put(path, data, if_absent=True)
            except PreconditionFailedError:
                # Another's snapshot, or this one, stored by a put whose answer was lost.
                try:
                    return self._is_stored(snapshot)
                except CorruptError:
                    raise  # this one would be whole
                except (HosuError, OSError) as error:
                    failure = _graver(failure, error)
            except Exception as error:  # noqa: BLE001 - whatever a store's client raises, its request may have arrived
                failure = _graver(failure, error)
                if _kind_of(error) is not ErrorKind.STORE_UNAVAILABLE:
                    break
            else:
                return True
        assert failure is not None, "an attempt ends with an answer or an error"
        return self._after_failure(snapshot, failure)

    def _after_failure(self, snapshot: Snapshot, failure: Exception) -> bool:
        """Find out what became of a snapshot whose put failed; raise when that cannot be said."""
        kind = _kind_of(failure)
        try:
            stored = find.try_load(self._ctx, snapshot.id)
        except (HosuError, OSError):
            raise self._unknown(snapshot, kind, failure) from failure
        if stored is not None and stored.uuid != snapshot.uuid:
            return False
        if stored is None and kind is not ErrorKind.STORE_UNAVAILABLE:
            raise failure  # the store has refused, or a disk has failed before it was there: it never will be
        if stored is not None and not _is_of_disk(failure):
            return True
        raise self._unknown(snapshot, kind, failure) from failure

    def _unknown(self, snapshot: Snapshot, kind: ErrorKind, failure: Exception) -> UncertainCommitError:
        return UncertainCommitError(
            kind,
            f"{self._ctx.identifier}: nobody can say whether snapshot {snapshot.id} was stored ({failure}): "
            f"look whether commit {snapshot.commit_identifier} of user {snapshot.commit_user} is there before "
            "committing it again",
            snapshot=snapshot.id,
        )

    def _is_stored(self, snapshot: Snapshot) -> bool:
        stored = find.try_load(self._ctx, snapshot.id)
        return stored is not None and stored.uuid == snapshot.uuid


def _kind_of(failure: Exception) -> ErrorKind:
    return failure.kind if isinstance(failure, HosuError) else ErrorKind.STORE_UNAVAILABLE


def _graver(before: Exception | None, now: Exception) -> Exception:
    """Return the failure that says more: a request without an answer may arrive yet, though another was refused."""
    return now if before is None or _kind_of(now) is ErrorKind.STORE_UNAVAILABLE else before


def _is_of_disk(failure: Exception) -> bool:
    """Whether a disk failed: what it shows may be gone after a power cut."""
    return isinstance(failure, UnavailableError) and failure.kind is not ErrorKind.STORE_UNAVAILABLE


def _row_count(entries: Sequence[ManifestEntry]) -> int:
    return sum(entry.file.row_count * (1 if entry.kind is FileKind.ADD else -1) for entry in entries)


def _place(entry: IndexEntry) -> tuple[bytes, int, str]:
    return entry.partition, entry.bucket, entry.file.index_type
