"""Compaction by the writer itself, after its commit: where a table's options ask for it, or nobody else has done it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hosu.tables.compaction.compacting import FULL_PROPERTY, Outcome, run_compaction
from hosu.tables.manifests import live_entries
from hosu.tables.options import ChangelogProducer
from hosu.tables.records import BucketChange, CommitKind, Snapshot
from hosu.tables.snapshots import find

if TYPE_CHECKING:
    from hosu.tables.context import TableContext

_MEMORY_BYTES = 200


def after_commit(ctx: "TableContext", changes: Sequence[BucketChange], snapshots: Sequence[Snapshot]) -> list[Snapshot]:
    """Compact what a commit has made due, and return the snapshots of it.

    That is, unless the table is `write-only`: level 0 where rows are seen only above it, or a changelog is made by
    looking up (`lookup-wait`); everything with each commit that `full-compaction.delta-commits` counts out; what the
    universal strategy picks with `commit.force-compact`, and in buckets that have more runs than
    `num-sorted-run.stop-trigger`, because nothing else has kept up with the writer.
    """
    if ctx.options.write_only or not snapshots or not ctx.schema.is_primary_key_table:
        return []
    touched = [change for change in changes if change.bucket >= 0 and (change.new_files or change.deleted_files)]
    if not touched:
        return []
    if is_full_due(ctx, snapshots[-1]):
        return _snapshots(run_compaction(ctx, full=True, gives_up=True))
    wanted = touched
    if not _compacts_at_once(ctx):
        wanted = _overdue(ctx, snapshots[-1], touched)
    if not wanted:
        return []
    return _snapshots(
        run_compaction(
            ctx,
            partitions={change.partition for change in wanted},
            buckets={change.bucket for change in wanted},
            gives_up=True,
        )
    )


def _snapshots(outcome: Outcome) -> list[Snapshot]:
    """Return the snapshots of a run; raise for a bucket that could not be read, now that the others are compacted."""
    if outcome.broken is not None:
        raise outcome.broken
    return outcome.snapshots


def is_full_due(ctx: "TableContext", snapshot: Snapshot) -> bool:
    """Say whether `full-compaction.delta-commits` commits have come since the last full compaction."""
    commits = full_compaction_commits(ctx)
    return commits is not None and _commits_since_full(ctx, snapshot, commits) >= commits


def _commits_since_full(ctx: "TableContext", snapshot: Snapshot, enough: int) -> int:
    """Count back from a snapshot; from where the count is known from the last time, that is taken over."""
    memory = ("commits since full", ctx.layout.branch_path)
    known_id, known = ctx.cache.peek(memory) or (0, 0)
    count = 0
    for snapshot_id in range(snapshot.id, 0, -1):
        if snapshot_id == known_id:
            count += known
            break
        found = snapshot if snapshot_id == snapshot.id else find.try_load(ctx, snapshot_id)
        if found is None or (found.properties or {}).get(FULL_PROPERTY) == "true":
            break
        if found.commit_kind not in {CommitKind.COMPACT, CommitKind.ANALYZE}:
            count += 1
        if count >= enough:
            break
    ctx.cache.put(memory, (snapshot.id, count), _MEMORY_BYTES)
    return count


def full_compaction_commits(ctx: "TableContext") -> int | None:
    """Return after how many commits a table is compacted whole; None when commits do not decide that."""
    commits: int | None = ctx.options.full_compaction_delta_commits
    if commits is None and ctx.options.changelog_producer is ChangelogProducer.FULL_COMPACTION:
        return 1
    return None if commits is None else max(commits, 1)


def _compacts_at_once(ctx: "TableContext") -> bool:
    options = ctx.options
    return (options.needs_lookup and options.lookup_wait) or options.commit_force_compact


def _overdue(ctx: "TableContext", snapshot: Snapshot, changes: Sequence[BucketChange]) -> list[BucketChange]:
    """Return the changes of buckets that have more runs than a writer may leave behind."""
    entries = live_entries(
        ctx,
        snapshot,
        partitions={change.partition for change in changes},
        buckets={change.bucket for change in changes},
    )
    runs: dict[tuple[bytes, int], set[str]] = {}
    for entry in entries:
        name = entry.file.file_name if entry.file.level == 0 else str(entry.file.level)
        runs.setdefault((entry.partition, entry.bucket), set()).add(name)
    stop = ctx.options.num_sorted_run_stop_trigger
    full = {bucket for (_, bucket), names in runs.items() if len(names) > stop}
    return [change for change in changes if change.bucket in full]
