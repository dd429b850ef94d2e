"""A writer of one table: rows are collected, sorted and folded by bucket, written as files, and committed together.

    with TableWriter(ctx) as writer:
        writer.write(rows)
        writer.write(changes, kinds=pa.array(["-U", "+U"]))
        writer.commit()

What is written and not committed is in no snapshot: a crash leaves files that orphan cleaning finds. A commit that
others were faster than goes on: rows get sequence numbers after theirs, or, where what is in the table decided what was
written, are looked at anew.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Self

import pyarrow as pa

from hosu.kernel.errors import ConflictError, ErrorKind, HosuError
from hosu.kernel.log import get_logger
from hosu.tables.commit import UncertainCommitError, commit, filter_committed, is_definite
from hosu.tables.compaction.inline import after_commit
from hosu.tables.context import new_user
from hosu.tables.merging.spec import MergeSpec
from hosu.tables.pooling import run_all
from hosu.tables.records import BucketChange, Snapshot
from hosu.tables.rows_in import Rows, batches_of
from hosu.tables.snapshots import find
from hosu.tables.writing.attempts import is_conflict, retrying
from hosu.tables.writing.bucketing import bucket_function, is_dynamic, is_unaware
from hosu.tables.writing.filling import fills_changelog, net_changes
from hosu.tables.writing.kinds import Kinds
from hosu.tables.writing.pending import Pending, discard_pending, first_number, joined_kinds, write_indexes
from hosu.tables.writing.preparing import prepared
from hosu.tables.writing.resequencing import StaleWriteError, discard, files_apart, read_back, resequenced
from hosu.tables.writing.routing import Share, partition_key, parts, shares
from hosu.tables.writing.runs import Run, appended_run, keyed_run, write_runs
from hosu.tables.writing.states import BucketStates, check_same

if TYPE_CHECKING:
    from hosu.tables.context import TableContext

_LOG = get_logger("tables")

_BUFFER_SHARE = 2
"""Rows are written once they take this part of the memory allowed: sorting takes as much again."""


class TableWriter:
    """Writes rows to a table. Not for two threads at once.

    With `fresh` the table counts as empty: what is there is about to be replaced. With `strict` a commit fails with
    StaleWriteError when others changed its buckets since `snapshot`, for rows that were made of what the table held.
    """

    def __init__(
        self, ctx: "TableContext", *, commit_user: str | None = None, fresh: bool = False, strict: bool = False
    ) -> None:
        user = commit_user or new_user(ctx.options)
        self._ctx = ctx if ctx.commit_user == user else replace(ctx, commit_user=user)
        self._keyed = ctx.schema.is_primary_key_table
        self._spec = MergeSpec.of(ctx) if self._keyed else None
        self._fresh, self._strict = fresh, strict
        self._dynamic, self._unaware = is_dynamic(ctx), is_unaware(ctx)
        self._fills = fills_changelog(ctx) and not fresh
        self._says_all = ctx.options.changelog_producer == "input" and not fresh
        self._states = BucketStates(self._ctx, fresh=fresh)
        self._bucket_of = bucket_function(self._ctx, self._states)
        self._buffer: list[tuple[pa.Table, Kinds | None]] = []
        self._buffered_bytes = 0
        self._pending: dict[tuple[bytes, int], Pending] = {}
        self._identifier = 0
        self._named = commit_user is not None
        self._may_be_known = self._named
        """Whether what comes next may have been committed by a writer before this one."""

        self._since: int | None = None
        """The snapshot after which what comes next may have been committed; None: it was not."""

        self._counted = 0
        """The number that the writer gave its last try; 0: the caller gave one."""

        self._is_unsure = False
        """Whether a commit ended without anybody knowing how: its files must stay."""

        self._has_failed = False
        self._based = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.abort()

    @property
    def context(self) -> "TableContext":
        """The table as this writer commits to it."""
        return self._ctx

    @property
    def commit_user(self) -> str:
        """Who commits: the same user's commits of the same identifier count once."""
        return self._ctx.commit_user

    @property
    def snapshot(self) -> Snapshot | None:
        """The state of the table that what is written rests on."""
        return self._states.snapshot

    def write(self, rows: Rows, kinds: pa.Array | None = None) -> None:
        """Take rows in, as `batches_of` takes them; files are written once they fill half of the memory allowed.

        kinds are those of one table of rows.
        Raises InvalidInputError, as `prepared` does, and takes none of the rows of that table or batch then;
        ConflictError COMMIT_CONFLICT while nobody knows how the last commit ended: commit again, or abort, first.
        """
        self._check_usable(takes_rows=True)
        for batch in batches_of(rows, self._ctx.schema.arrow):
            self._take(*prepared(self._ctx, batch, kinds))

    def take(self, rows: pa.Table, kinds: Kinds | None) -> None:
        """Take in rows that are in the table's own types already: what was read from it, or made by `key_rows`."""
        self._check_usable(takes_rows=True)
        self._take(rows, kinds)

    def rest(self) -> Snapshot | None:
        """Look at the table as it is now, and rest what is written next on that; return the snapshot.

        Raises NotFoundError TABLE_NOT_FOUND for a table that was dropped, or made anew, since it was opened.
        """
        self._states.refresh()
        self._based = True
        return self._states.snapshot

    def flush(self) -> None:
        """Write what was taken in as files. When that fails, all that is not committed is discarded."""
        if not self._buffer:
            return
        if not self._based:
            self.rest()
        rows = pa.concat_tables([rows for rows, _ in self._buffer])
        kinds = joined_kinds(self._buffer)
        self._buffer.clear()
        self._buffered_bytes = 0
        try:
            self._write(rows, kinds)
        except BaseException:
            self._fail()
            raise

    def prepare(self) -> list[BucketChange]:
        """Write what was taken in, and return what a commit of it changes. The writer keeps it until `commit`."""
        self._check_usable()
        self.flush()
        if self._dynamic:
            write_indexes(self._ctx, self._states, self._pending)
        return [pending.change() for pending in self._pending.values() if pending]

    def commit(
        self, identifier: int | None = None, watermark: int | None = None, properties: Mapping[str, str] | None = None
    ) -> list[Snapshot]:
        """Make what was written part of the table, at once, and return the snapshots of it: none when there is nothing.

        Without an identifier the writer counts. With one, and a `commit_user` that the caller named, what that user has
        committed already under it or a greater one is discarded: a job that begins anew may commit its last step again.
        Raises ConflictError COMMIT_CONFLICT when others changed the table in a way that forbids it, and discards the
        files then. After UnavailableError the outcome is unknown: commit again, with the same identifier if one was
        given; what turns out to have happened does not happen twice.
        """
        changes = self.prepare()
        if not changes and identifier is None:
            return []
        number = self._next_identifier() if identifier is None else identifier
        self._counted = number if identifier is None else 0
        if self._may_be_known and self._since is None:
            looked_through = find.latest_id(self._ctx) or 0
            if not filter_committed(self._ctx, [number]):
                self._drop_known(number)
                return []
            self._since = looked_through
        try:
            if self._strict:
                return self._publish(changes, number, watermark, properties)
            return self._publish_anew(changes, number, watermark, properties)
        except HosuError as error:
            if is_conflict(error):
                self._fail()
            raise

    def commit_by(self, publish: Callable[[list[BucketChange]], list[Snapshot]]) -> list[Snapshot]:
        """Have what was written committed by somebody else, and return what they do; raises as `commit`."""
        changes = self.prepare()
        self._is_unsure = True
        try:
            snapshots = publish(changes)
        except BaseException as error:
            self._is_unsure = not is_definite(error)
            self._fail()
            raise
        return self._committed(snapshots, changes)

    def abort(self) -> None:
        """Discard what was taken in, and written and not committed. What may have been committed stays."""
        self._buffer.clear()
        self._buffered_bytes = 0
        if self._is_unsure:
            self._pending.clear()
            if self._counted:  # what is written next has another number
                self._identifier, self._since = max(self._identifier, self._counted), None
        discard_pending(self._ctx, self._pending)
        self._states.forget_indexes()
        self._has_failed = self._is_unsure = False

    def _publish_anew(
        self, changes: list[BucketChange], number: int, watermark: int | None, properties: Mapping[str, str] | None
    ) -> list[Snapshot]:
        """Publish, writing what is pending over after each conflict."""
        is_stale = False

        def attempt() -> list[Snapshot]:
            nonlocal is_stale
            if is_stale:
                self._write_over()
            ready = self.prepare() if is_stale else changes
            is_stale = True
            return self._publish(ready, number, watermark, properties)

        snapshots: list[Snapshot] = retrying(self._ctx, lambda: not self._has_failed)(attempt)
        return snapshots

    def _publish(
        self, changes: Sequence[BucketChange], number: int, watermark: int | None, properties: Mapping[str, str] | None
    ) -> list[Snapshot]:
        was_unsure, self._is_unsure = self._is_unsure, True
        try:
            snapshots = commit(
                self._ctx,
                changes,
                identifier=number,
                watermark=watermark,
                properties=properties,
                check_from=self._states.snapshot,
                resequence=self._resequence,
                guard=self.check_base,
                since=self._since,
            )
        except BaseException as error:
            # A conflict comes after a look at what took the number that an earlier try may have had.
            self._is_unsure = not is_definite(error) or (was_unsure and not is_conflict(error))
            if self._is_unsure and self._since is None:
                tried = error.details.get("snapshot") if isinstance(error, UncertainCommitError) else None
                self._since = tried - 1 if isinstance(tried, int) else self._states.snapshot_id
            raise
        if self._since is not None and not snapshots and changes:
            self._is_unsure = was_unsure
            self._drop_known(number)
            return []
        self._identifier = max(self._identifier, number)
        return self._committed(snapshots, changes)

    def _committed(self, snapshots: list[Snapshot], changes: Sequence[BucketChange]) -> list[Snapshot]:
        self._states.committed(snapshots, changes)
        self._pending.clear()
        self._based = self._is_unsure = self._may_be_known = False
        self._since = None
        return [*snapshots, *self._compact(changes, snapshots)]

    def _next_identifier(self) -> int:
        if self._named and not self._identifier:
            last = find.of_user(self._ctx, self._ctx.commit_user)
            self._identifier = 0 if last is None else last.commit_identifier
            self._may_be_known = False
        return self._identifier + 1

    def _drop_known(self, number: int) -> None:
        """Let go of what was committed already, by this writer, which did not learn of it, or by one before it."""
        if self._is_unsure:
            self._pending.clear()
        self.abort()
        self._identifier, self._since = max(self._identifier, number), None
        self._may_be_known = self._based = False

    def _fail(self) -> None:
        self.abort()
        self._has_failed = True

    def _check_usable(self, *, takes_rows: bool = False) -> None:
        """Refuse to go on after an error, and rows whose commit might pass for one that happened without them."""
        reason = "what this writer had was discarded after an error; abort it, and write the rows again"
        if not self._has_failed:
            if not (takes_rows and self._is_unsure):
                return
            reason = "nobody knows yet whether the last commit happened: commit again, or abort, and write then"
        raise ConflictError(ErrorKind.COMMIT_CONFLICT, f"{self._ctx.identifier}: {reason}")

    def _compact(self, changes: Sequence[BucketChange], snapshots: Sequence[Snapshot]) -> list[Snapshot]:
        """Compact what the commit has made due. That it fails does not undo the commit: the next one tries again."""
        try:
            return after_commit(self._ctx, changes, snapshots)
        except HosuError as error:
            _LOG.warning("a compaction after a commit failed", table=str(self._ctx.identifier), reason=error.message)
            return []

    def _take(self, rows: pa.Table, kinds: Kinds | None) -> None:
        self._check_usable()
        if rows.num_rows == 0:
            return
        size = rows.num_rows
        limit = self._ctx.memory_bytes
        if rows.nbytes > limit:
            size = max(size * (limit // _BUFFER_SHARE) // rows.nbytes, 1)
        for start in range(0, rows.num_rows, size):
            piece = rows.slice(start, size)
            self._buffer.append((piece, None if kinds is None else kinds[start : start + size]))
            self._buffered_bytes += piece.nbytes
            if self._buffered_bytes >= limit // _BUFFER_SHARE:
                self.flush()

    def _write(self, rows: pa.Table, kinds: Kinds | None) -> None:
        split = parts(self._ctx, rows)
        self._states.load(split)
        totals = {part.key: self._states.total(part) for part in split}
        found = shares(rows, split, self._bucket_of)
        if len(found) > 1:
            rows = rows.combine_chunks()  # taking rows from one chunk is several times faster than from many
        tasks = []
        for share in found:
            pending = self._place(share)
            pending.total = totals[share.part.key]
            tasks.append(self._run_of(share, rows, kinds, pending))
            pending.reached += share.count
        write_runs(self._ctx, run_all(self._ctx.pool, tasks), self._place)

    def _run_of(self, share: Share, rows: pa.Table, kinds: Kinds | None, pending: Pending) -> Callable[[], Run]:
        first = pending.reached + 1
        spec, ctx = self._spec, self._ctx
        if spec is None:
            return lambda: appended_run(share, rows, first)
        if not self._fills:
            return lambda: keyed_run(spec, share, rows, kinds, first, with_changelog=self._says_all)
        snapshot = self._states.snapshot
        before = list(pending.data)

        def filled() -> Run:
            run = keyed_run(spec, share, rows, kinds, first, with_changelog=False)
            return replace(run, changelog=net_changes(ctx, spec, snapshot, before, share, run.data))

        return filled

    def _place(self, share: Share) -> Pending:
        place = (share.part.key, share.bucket)
        found = self._pending.get(place)
        if found is None:
            reached = -1 if self._unaware else self._states.reached(share.part, share.bucket)
            found = self._pending[place] = Pending(share=share, reached=reached)
        return found

    def check_base(self, latest: Snapshot) -> None:
        """Look at what came since the writer looked: raise NotFoundError where that is another table by now.

        Raises StaleWriteError where rows were made of what was there, and others than compactions changed a bucket of
        theirs, or rolled the table back.
        """
        check_same(self._ctx)
        if not (self._fills or self._strict):
            return
        touched = self._states.touched(latest)
        for place in self._pending if touched is None else touched & set(self._pending):
            share = self._pending[place].share
            raise StaleWriteError.of(self._ctx, share.part.partition, share.bucket)

    def _resequence(self, change: BucketChange, reached: int) -> BucketChange:
        """Move a change behind what others have committed to its bucket meanwhile, up to the number `reached`."""
        moved = resequenced(self._ctx, change, reached)
        pending = self._pending[partition_key(self._ctx, change.partition), change.bucket]
        pending.data = list(moved.new_files)
        discard(self._ctx, change.partition, change.bucket, files_apart(change.new_files, moved.new_files))
        return moved

    def _write_over(self) -> None:
        """Write what is pending anew, on top of what others have committed meanwhile."""
        old, self._pending = self._pending, {}
        try:
            self._states.forget_indexes()
            self.rest()
            for pending in old.values():
                files = pending.changelog if pending.changelog and not self._fills else pending.data
                for file in sorted(files, key=first_number):
                    self._take(*read_back(self._ctx, pending.share.part.partition, pending.share.bucket, file))
            self.flush()
        finally:
            discard_pending(self._ctx, old)
