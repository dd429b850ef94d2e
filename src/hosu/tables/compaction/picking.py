"""Which runs of a bucket are compacted next: Paimon's universal compaction.

A pick is of runs, never of single files, and always of the newest ones: what is left out is older than what is taken.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hosu.tables.compaction.levels import Levels, Run, strung
from hosu.tables.records import DataFile

if TYPE_CHECKING:
    from hosu.tables.options import Options

FULL = "full"
SIZE_AMPLIFICATION = "size amplification"
SIZE_RATIO = "size ratio"
FILE_NUMBER = "number of runs"
LEVEL_0 = "files of level 0"
INTERVAL = "interval of full compactions"
TOTAL_SIZE = "small bucket"
INCREMENTAL_SIZE = "size above the top level"


@dataclass(frozen=True)
class Policy:
    """When a bucket is compacted: the options of a table."""

    trigger: int = 5
    """Runs from which on a bucket is looked at: `num-sorted-run.compaction-trigger`."""

    size_ratio_percent: int = 1
    max_amplification_percent: int = 200
    interval_ms: int | None = None
    """A full compaction after so long: `compaction.optimization-interval`."""

    total_size_bytes: int | None = None
    """A bucket below this size is always compacted whole."""

    incremental_size_bytes: int | None = None
    """A bucket is compacted whole once so much lies above its top level."""

    forces_level_0: bool = False
    """Whether files of level 0 never stay: what looks up older rows sees them only once they are compacted."""

    off_peak: tuple[int, int, int] | None = None
    """First hour, hour after the last, and percent that the size ratio then grows by."""


def policy_of(options: "Options", *, small_bytes: int | None = None) -> Policy:
    """Return the policy of a table's options; `small_bytes` is the size of a small bucket where they do not say it."""
    start, end = options.compaction_off_peak_start_hour, options.compaction_off_peak_end_hour
    has_off_peak = -1 not in {start, end} and start != end
    trigger = options.num_sorted_run_compaction_trigger
    total_bytes = options.compaction_total_size_threshold
    return Policy(
        trigger=trigger,
        size_ratio_percent=options.compaction_size_ratio,
        max_amplification_percent=options.compaction_max_size_amplification_percent,
        interval_ms=options.compaction_optimization_interval,
        total_size_bytes=small_bytes if total_bytes is None else total_bytes,
        incremental_size_bytes=options.compaction_incremental_size_threshold,
        forces_level_0=options.needs_lookup or options.compaction_force_up_level_0,
        off_peak=(start, end, options.compaction_off_peak_ratio) if has_off_peak else None,
    )


@dataclass(frozen=True)
class Unit:
    """What one compaction takes in, and the level that it writes."""

    output_level: int
    files: tuple[DataFile, ...]
    reason: str
    is_rewrite: bool = False
    """Whether each file is rewritten for itself: those of the top level that deletion vectors or expiry touch."""

    @property
    def size_bytes(self) -> int:
        """What is read."""
        return sum(file.file_size for file in self.files)


def pick(levels: Levels, policy: Policy, *, now_ms: int, hour: int = 0) -> Unit | None:
    """Return what the universal strategy would compact now, or None; `hour` is that of the local day, for off-peak."""
    unit = _pick(levels, policy, now_ms, hour)
    if unit is None and policy.forces_level_0:
        fresh = sum(1 for run in levels.runs if run.level == 0)
        unit = _by_ratio(levels, policy, hour, _with_level_1(levels, fresh), LEVEL_0, is_forced=True) if fresh else None
    if unit is None or not unit.files:
        return None
    is_idle = len(unit.files) == 1 and unit.files[0].level == unit.output_level
    return None if is_idle else unit


def pick_full(
    levels: Levels, *, rewritten: Collection[str] = (), rewrites_all: bool = False, reason: str = FULL
) -> Unit | None:
    """Return a unit of all files of a bucket, or None where only the top level has any.

    Of those, `rewritten` names the files that are rewritten nevertheless, and `rewrites_all` says that all are.
    """
    if not levels.runs:
        return None
    if len(levels.runs) == 1 and levels.runs[0].level == levels.max_level:
        files = tuple(file for file in levels.files if rewrites_all or file.file_name in rewritten)
        return Unit(levels.max_level, files, reason, is_rewrite=True) if files else None
    return Unit(levels.max_level, levels.files, reason)


def oldest_part(unit: Unit, levels: Levels, fits: Callable[[Sequence[Run]], bool]) -> Unit:
    """Return a unit of the oldest runs of another: as many as `fits` says can be read side by side, two at least.

    What is left for the next is newer than what it takes. Runs of level 0 go to a level of their own as long as there
    is one below those that have files, so that rows are written twice, and not once for each part.
    """
    if unit.is_rewrite:
        return unit
    names = {file.file_name for file in unit.files}
    runs = strung([run for run in levels.runs if run.files[0].file_name in names], levels.key_of)
    if len(runs) <= 2 or fits(runs):  # noqa: PLR2004 - fewer would merge nothing
        return unit
    lowest = min((run.level for run in levels.runs if run.level > 0), default=None)
    fresh = [run for run in runs if run.level == 0]
    if lowest is None or lowest == 1 or len(fresh) <= 1:
        return _unit(unit.output_level, _oldest(runs, fits), unit.reason)
    return _unit(min(lowest - 1, unit.output_level), _oldest(fresh, fits), unit.reason)


def _oldest(runs: Sequence[Run], fits: Callable[[Sequence[Run]], bool]) -> Sequence[Run]:
    count = 2
    while count < len(runs) and fits(runs[-count - 1 :]):
        count += 1
    return runs[-count:]


def drops_deletes(unit: Unit, levels: Levels, *, has_vectors: bool) -> bool:
    """Say whether nothing older than the unit's output is left that a delete would have to cover."""
    return unit.output_level != 0 and (has_vectors or unit.output_level >= levels.highest)


def _pick(levels: Levels, policy: Policy, now_ms: int, hour: int) -> Unit | None:
    runs = levels.runs
    early = _early_full(levels, policy, now_ms)
    if early is not None:
        return early
    if len(runs) < policy.trigger or not runs:
        return None
    newer_bytes = sum(run.size_bytes for run in runs[:-1])
    if newer_bytes * 100 > policy.max_amplification_percent * runs[-1].size_bytes:
        return _unit(levels.max_level, runs, SIZE_AMPLIFICATION)
    unit = _by_ratio(levels, policy, hour, 1, SIZE_RATIO)
    if unit is None and len(runs) > policy.trigger:
        unit = _by_ratio(levels, policy, hour, len(runs) - policy.trigger + 1, FILE_NUMBER)
    return unit


def _early_full(levels: Levels, policy: Policy, now_ms: int) -> Unit | None:
    runs = levels.runs
    if len(runs) <= 1:
        return None
    if policy.interval_ms is not None:
        tops = (file.creation_time_ms or 0 for file in levels.files if file.level == levels.max_level)
        last_ms = max(tops, default=None)
        if last_ms is None or now_ms - last_ms > policy.interval_ms:
            return _unit(levels.max_level, runs, INTERVAL)
    if policy.total_size_bytes is not None and sum(run.size_bytes for run in runs) < policy.total_size_bytes:
        return _unit(levels.max_level, runs, TOTAL_SIZE)
    if policy.incremental_size_bytes is not None:
        newer_bytes = sum(run.size_bytes for run in runs if run.level != levels.max_level)
        if newer_bytes > policy.incremental_size_bytes:
            return _unit(levels.max_level, runs, INCREMENTAL_SIZE)
    return None


def _by_ratio(
    levels: Levels, policy: Policy, hour: int, count: int, reason: str, *, is_forced: bool = False
) -> Unit | None:
    """Take the newest `count` runs, and on as long as the next is not much larger than all before it together."""
    runs = levels.runs
    size_bytes = sum(run.size_bytes for run in runs[:count])
    is_due = is_forced or count > 1
    percent = 100.0 + policy.size_ratio_percent + _off_peak_percent(policy, hour)
    for run in runs[count:]:
        if size_bytes * percent / 100.0 < run.size_bytes:
            break
        size_bytes += run.size_bytes
        count += 1
        is_due = True
    return _of_newest(levels, count, reason) if is_due else None


def _with_level_1(levels: Levels, fresh: int) -> int:
    """Count in the run of level 1, if there is one: there is no level between it and level 0 to write."""
    return fresh + 1 if len(levels.runs) > fresh and levels.runs[fresh].level == 1 else fresh


def _of_newest(levels: Levels, count: int, reason: str) -> Unit:
    """Make a unit that writes the level below the next run; never level 0, for which it takes more runs in."""
    runs = levels.runs
    output_level = levels.max_level if count == len(runs) else max(0, runs[count].level - 1)
    if output_level == 0:
        for run in runs[count:]:
            count += 1
            if run.level != 0:
                output_level = run.level
                break
    if count == len(runs):
        output_level = levels.max_level
    return _unit(output_level, runs[:count], reason)


def _off_peak_percent(policy: Policy, hour: int) -> int:
    if policy.off_peak is None:
        return 0
    start, end, percent = policy.off_peak
    is_off_peak = start <= hour < end if start <= end else hour < end or start <= hour
    return percent if is_off_peak else 0


def _unit(output_level: int, runs: Sequence[Run], reason: str) -> Unit:
    return Unit(output_level, tuple(file for run in runs for file in run.files), reason)
