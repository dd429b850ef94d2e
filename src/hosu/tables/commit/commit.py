"""Commits of what writers and compactions have done."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TypeAlias

from hosu.kernel.errors import HosuError
from hosu.tables.commit.changes import FileChanges, appended, compacted
from hosu.tables.commit.conflicts import Bucket, ConflictCheck
from hosu.tables.commit.outcomes import PartialCommitError, UncertainCommitError
from hosu.tables.commit.publishing import AlreadyCommittedError, Commit, publish
from hosu.tables.context import TableContext, new_user
from hosu.tables.manifests.partitions import Partitions
from hosu.tables.records import BucketChange, CommitKind, Snapshot
from hosu.tables.snapshots import find

Guard: TypeAlias = Callable[[Snapshot], None]
"""Looks at the latest snapshot, where it is not the one the changes were made from, and raises to forbid the commit."""

Resequence: TypeAlias = Callable[[BucketChange, int], BucketChange]
"""Writes the new files of a change again, with sequence numbers above the one given, and returns the new change.

No snapshot has the files it replaces, nor ever will: it may delete them."""


def commit(
    ctx: TableContext,
    changes: Sequence[BucketChange],
    *,
    identifier: int,
    watermark: int | None = None,
    properties: Mapping[str, str] | None = None,
    check_from: Snapshot | None,
    operation: str | None = None,
    resequence: Resequence | None = None,
    guard: Guard | None = None,
    allows_empty: bool = False,
    since: int | None = None,
) -> list[Snapshot]:
    """Commit changes of buckets and return the snapshots that this made: none, one, or two.

    What was written becomes an APPEND snapshot, or an OVERWRITE one where it takes files or rows out; what was
    compacted becomes a COMPACT snapshot after it. `check_from` is the snapshot that the changes were made from: what
    others have committed since is checked. With `resequence`, changes whose new files carry sequence numbers that
    others have used meanwhile are written again; a `guard` is asked before each attempt that follows others' commits.
    With `allows_empty` a commit without changes is one too.
    `identifier` tells a user's commits apart, and grows. With `since` an earlier try may have committed this after the
    snapshot of that number: what it has committed is not committed again, and not among what is returned.

    Raises ConflictError COMMIT_CONFLICT when the changes do not fit what is there any more, UnavailableError when
    others were faster too often or the files cannot be reached; UncertainCommitError when nobody knows whether it
    happened, PartialCommitError when only what was written did. The files of the changes themselves are the caller's.
    """
    partitions = Partitions(ctx)
    user = ctx.commit_user or new_user(ctx.options)
    made: list[Snapshot] = []
    written = appended(changes, partitions)
    merged = compacted(changes, partitions)
    level_buckets = [(partitions.encode(change.partition), change.bucket) for change in changes if change.checks_levels]

    def describe(kind: CommitKind) -> Commit:
        return Commit(
            user=user,
            identifier=identifier,
            kind=kind,
            watermark=watermark,
            properties=properties,
            operation=operation,
            since=since,
        )

    options = ctx.options
    allows_empty = allows_empty or options.commit_force_create_snapshot or options.snapshot_ignore_empty_commit is False
    if written or (allows_empty and not merged):
        check = ConflictCheck(ctx, check_from)
        provider = _Written(changes, written, check, level_buckets, resequence, guard, partitions)
        kind = CommitKind.OVERWRITE if written.takes_out else CommitKind.APPEND
        with suppress(AlreadyCommittedError):
            made.append(publish(ctx, provider, describe(kind)))
    if merged:
        seen = check_from
        if made and made[-1].id == (check_from.id if check_from else 0) + 1:
            seen = made[-1]
        check = ConflictCheck(ctx, seen)

        def provide(latest: Snapshot | None) -> FileChanges:
            check.check(latest, merged, level_buckets=level_buckets)
            return merged

        with suppress(AlreadyCommittedError), _told_apart(ctx, is_second=bool(written)):
            made.append(publish(ctx, provide, describe(CommitKind.COMPACT)))
    return made


@contextmanager
def _told_apart(ctx: TableContext, *, is_second: bool) -> Iterator[None]:
    """Raise PartialCommitError for an error of the second of two snapshots."""
    try:
        yield
    except HosuError as error:
        if not is_second:
            raise
        done = "may be" if isinstance(error, UncertainCommitError) else "is not"
        raise PartialCommitError(
            error.kind,
            f"{ctx.identifier}: what was written is committed, what was compacted {done} ({error.message}): compact "
            "again, and do not write the rows again",
            **error.details,
        ) from error


def filter_committed(ctx: TableContext, identifiers: Collection[int]) -> list[int]:
    """Return the identifiers, in order, that this context's user has not committed.

    For a writer that begins again after a failure of which it does not know whether its commit happened. Looks back
    through the snapshots to the user's latest one.
    """
    latest = find.of_user(ctx, ctx.commit_user) if identifiers and ctx.commit_user else None
    return sorted(number for number in identifiers if latest is None or number > latest.commit_identifier)


class _Written:
    """Says what was written, with sequence numbers of its own at each attempt."""

    def __init__(
        self,
        changes: Sequence[BucketChange],
        written: FileChanges,
        check: ConflictCheck,
        level_buckets: Sequence[Bucket],
        resequence: Resequence | None,
        guard: Guard | None,
        partitions: Partitions,
    ) -> None:
        self._changes = list(changes)
        self._written = written
        self._check = check
        self._level_buckets = level_buckets
        self._resequence = resequence
        self._guard = guard
        self._partitions = partitions

    def __call__(self, latest: Snapshot | None) -> FileChanges:
        self._check.check(latest, self._written, level_buckets=self._level_buckets)
        if self._guard is not None and latest is not None and not self._check.is_seen(latest):
            self._guard(latest)
        if self._resequence is not None and latest is not None and not self._check.is_seen(latest):
            self._renumber(latest, self._resequence)
        return self._written

    def _renumber(self, latest: Snapshot, resequence: Resequence) -> None:
        places = [(self._partitions.encode(change.partition), change.bucket) for change in self._changes]
        taken = self._check.max_sequence_numbers(latest, places)
        changed = False
        for position, (place, change) in enumerate(zip(places, self._changes, strict=True)):
            greatest = taken.get(place)
            if greatest is None or not change.new_files:
                continue
            if min(file.min_sequence_number for file in change.new_files) <= greatest:
                self._changes[position] = resequence(change, greatest)
                changed = True
        if changed:
            self._written = appended(self._changes, self._partitions)
