"""Retention: which snapshots stay, and the removal of files that none of them needs."""

from collections.abc import Callable, Hashable, Sequence
from typing import Final

import msgspec

from hosu.kernel.errors import ErrorKind, InvalidInputError
from hosu.rules.backup.lease import leased
from hosu.rules.backup.needs import needed_files
from hosu.rules.backup.repository import KINDS, Repository, Snapshot, key_of

GRACE_MS: Final = 60 * 60 * 1000
"""Younger files stay though no snapshot needs them: a writer that was taken for dead may still be at work."""

DELETED_PER_CALL: Final = 500
KEEP_MAX: Final = 10_000


class Retention(msgspec.Struct, frozen=True, omit_defaults=True):
    """How many snapshots of each lake stay: the latest ones, and the last of each of so many days and weeks (UTC).

    0 is no rule. With no rule at all every snapshot stays. The newest of each lake always does.
    """

    last: int = 0
    daily: int = 0
    weekly: int = 0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if not 0 <= getattr(self, name) <= KEEP_MAX:
                raise InvalidInputError(
                    ErrorKind.INVALID_ARGUMENT, f"keep {name}: {getattr(self, name)} is not 0 to {KEEP_MAX}"
                )


class Pruned(msgspec.Struct, frozen=True):
    """What a run has removed, or in a dry run would remove."""

    snapshots: tuple[Snapshot, ...]
    kept: int
    files: int
    bytes: int


def outdated(snapshots: Sequence[Snapshot], retention: Retention) -> list[Snapshot]:
    """Return the snapshots that no rule keeps, the oldest first."""
    if retention == Retention():
        return []
    newest_first = sorted(snapshots, key=lambda snapshot: snapshot.at_ms, reverse=True)
    kept: set[str] = set()
    for lake in {snapshot.lake for snapshot in snapshots}:
        own = [snapshot for snapshot in newest_first if snapshot.lake == lake]
        kept |= {snapshot.id for snapshot in own[: max(retention.last, 1)]}
        kept |= _last_of(own, lambda snapshot: snapshot.at.date(), retention.daily)
        kept |= _last_of(own, lambda snapshot: snapshot.at.isocalendar()[:2], retention.weekly)
    return [snapshot for snapshot in reversed(newest_first) if snapshot.id not in kept]


def _last_of(newest_first: Sequence[Snapshot], period: Callable[[Snapshot], Hashable], count: int) -> set[str]:
    found: dict[Hashable, str] = {}
    for snapshot in newest_first:
        if len(found) < count:
            found.setdefault(period(snapshot), snapshot.id)
    return set(found.values())


def prune(
    repository: Repository,
    retention: Retention,
    *,
    is_dry: bool = False,
    grace_ms: int = GRACE_MS,
    collects: bool = True,
) -> Pruned:
    """Remove the snapshots that no rule keeps, then with `collects` every file that no snapshot needs.

    Raises ConflictError BACKUP_BUSY while another process writes to the backup, and CorruptError BACKUP_CORRUPT when
    what a snapshot needs cannot be found out: then no file is removed.
    """
    with leased(repository, "prune") as lease:
        snapshots = repository.snapshots()
        gone = outdated(snapshots, retention)
        kept = [snapshot for snapshot in snapshots if snapshot not in gone]
        files, size_bytes, doomed = 0, 0, list[str]()
        if collects:
            needed = needed_files(repository, kept)
            oldest_ms = repository.clock.now_ms() - grace_ms
            for kind in KINDS:
                for name, stat in repository.list_files(kind):
                    if (kind, name) not in needed and stat.modified_ms <= oldest_ms:
                        doomed.append(key_of(kind, name))
                        files, size_bytes = files + 1, size_bytes + stat.size_bytes
        if not is_dry:
            lease.check()
            # Snapshots first: one without its files is worse than files without a snapshot.
            repository.files.delete_many([snapshot.key for snapshot in gone])
            for start in range(0, len(doomed), DELETED_PER_CALL):
                lease.check()
                repository.files.delete_many(doomed[start : start + DELETED_PER_CALL])
        return Pruned(tuple(gone), len(kept), files, size_bytes)
