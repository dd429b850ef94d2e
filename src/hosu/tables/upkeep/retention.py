"""How long snapshots and changelogs are kept: a table's options, and hosu's own rule where they say nothing."""

from dataclasses import dataclass, replace
from typing import Final, Self

from hosu.kernel.errors import ErrorKind, InvalidInputError
from hosu.tables.options import Options

SNAPSHOTS_MS: Final = 2 * 3_600_000
"""Snapshots are kept this long where `snapshot.time-retained` is not given. Paimon's hour lets nobody travel back an
hour for sure: an expiry that runs a moment before the read takes away what the read asks for."""


@dataclass(frozen=True)
class Retention:
    """What is kept whatever else: so many of the latest, and those younger than `time_ms`; never more than `count_max`.

    `deletes_max` bounds how many go at a time.
    """

    count_min: int
    count_max: int
    time_ms: int
    deletes_max: int

    def __post_init__(self) -> None:
        for name, value, least in (
            ("num-retained.min", self.count_min, 1),
            ("num-retained.max", self.count_max, self.count_min),
            ("time-retained", self.time_ms, 0),
            ("expire.limit", self.deletes_max, 1),
        ):
            if value < least:
                raise InvalidInputError(
                    ErrorKind.TABLE_INVALID, f"snapshot.{name} is {value}: give {least} or more", option=name
                )

    def changed(
        self, *, retain_min: int | None, retain_max: int | None, time_ms: int | None, max_deletes: int | None
    ) -> Self:
        """Return these with what a caller said instead."""
        return replace(
            self,
            count_min=self.count_min if retain_min is None else retain_min,
            count_max=self.count_max if retain_max is None else retain_max,
            time_ms=self.time_ms if time_ms is None else time_ms,
            deletes_max=self.deletes_max if max_deletes is None else max_deletes,
        )


def of_snapshots(options: Options) -> Retention:
    """Return how long a table keeps its snapshots. Raises InvalidInputError TABLE_INVALID."""
    given = options.snapshot_time_retained
    return Retention(
        options.snapshot_num_retained_min,
        options.snapshot_num_retained_max,
        given if options.has("snapshot.time-retained") else max(given, SNAPSHOTS_MS),
        options.snapshot_expire_limit,
    )


def of_changelogs(options: Options) -> Retention:
    """Return how long a table keeps its changelogs. Raises InvalidInputError TABLE_INVALID."""
    given = options.changelog_time_retained
    return Retention(
        options.changelog_num_retained_min,
        options.changelog_num_retained_max,
        of_snapshots(options).time_ms if given is None else given,
        options.snapshot_expire_limit,
    )


def changelogs_stay(options: Options) -> bool:
    """Whether changelogs outlive their snapshots."""
    changelogs, snapshots = of_changelogs(options), of_snapshots(options)
    return (
        changelogs.count_max > snapshots.count_max
        or changelogs.time_ms > snapshots.time_ms
        or changelogs.count_min > snapshots.count_min
    )
