"""All the upkeep that a table is due, but for its compaction."""

from collections.abc import Sequence
from typing import Final, Protocol

from hosu.kernel.errors import HosuError
from hosu.tables.context import TableContext
from hosu.tables.snapshots import consumers
from hosu.tables.upkeep import changelogs
from hosu.tables.upkeep.expiry import expire
from hosu.tables.upkeep.partitions import expire_partitions
from hosu.tables.upkeep.report import Report
from hosu.tables.upkeep.tagged import expire_tags
from hosu.tables.upkeep.tagging import create_due_tags

_ROUNDS_MAX: Final = 200
"""How often snapshots expire in one go, `snapshot.expire.limit` of them at a time."""


class _Step(Protocol):
    def __call__(self, ctx: TableContext, *, dry_run: bool) -> Report: ...


def upkeep_table(ctx: TableContext, *, dry_run: bool = False) -> Report:
    """Do what is due: tags, partitions, consumers, snapshots and changelogs. Return what was done.

    A step that fails does not keep the others from being done; then the first error is raised. Each step is done again
    by the next call where it was stopped.
    """
    report = Report("upkeep", dry_run)
    error: HosuError | None = None
    for step in _STEPS:
        try:
            report.add(step(ctx, dry_run=dry_run))
        except HosuError as failure:
            error = error or failure
    if error is not None:
        raise error
    return report


def _partitions(ctx: TableContext, *, dry_run: bool) -> Report:
    due = _is_due(ctx)
    return expire_partitions(ctx, dry_run=dry_run) if due else Report("expire partitions", dry_run)


def _tags(ctx: TableContext, *, dry_run: bool) -> Report:
    enabled = ctx.options.tag_time_expire_enabled
    return expire_tags(ctx, dry_run=dry_run) if enabled else Report("expire tags", dry_run)


def _snapshots(ctx: TableContext, *, dry_run: bool) -> Report:
    return _repeated(expire, ctx, dry_run=dry_run)


def _changelogs(ctx: TableContext, *, dry_run: bool) -> Report:
    return _repeated(changelogs.expire, ctx, dry_run=dry_run)


def _repeated(step: _Step, ctx: TableContext, *, dry_run: bool) -> Report:
    """Do a step until nothing more is due: what goes at a time is bounded, what came since the last time is not."""
    report = step(ctx, dry_run=dry_run)
    more = report
    for _ in range(_ROUNDS_MAX):
        if dry_run or more.is_empty:
            break
        more = step(ctx, dry_run=dry_run)
        report.add(more)
    return report


def expire_consumers(ctx: TableContext, *, dry_run: bool = False) -> Report:
    """Delete the consumers that have not moved for `consumer.expiration-time`, and leases that nobody renews."""
    report = Report("expire consumers", dry_run)
    expired = consumers.expired(ctx, ctx.clock.now_ms(), ctx.options.consumer_expiration_time)
    for consumer in expired:
        report.consumers_deleted.append(consumer.name)
        if not dry_run:
            consumers.delete(ctx, consumer.name)
    return report


def _is_due(ctx: TableContext) -> bool:
    """Whether partitions were last looked at `partition.expiration-check-interval` ago, as far as is remembered."""
    key = ("partitions checked", ctx.layout.branch_path)
    now = ctx.clock.monotonic()
    last: float | None = ctx.cache.peek(key)
    if last is not None and now - last < ctx.options.partition_expiration_check_interval / 1000:
        return False
    ctx.cache.put(key, now, 100)
    return True


# Tags before snapshots: what is tagged now must not expire first.
_STEPS: Final[Sequence[_Step]] = (create_due_tags, _partitions, _tags, expire_consumers, _snapshots, _changelogs)
