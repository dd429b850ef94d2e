"""Looking whether a backup could be restored: that every file is there, and has the bytes that its name says."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import msgspec

from hosu.kernel.errors import CorruptError, HosuError
from hosu.rules.backup.needs import needed_files
from hosu.rules.backup.repository import KINDS, Repository, Snapshot, is_damage, key_of

THREADS = 6


class Verified(msgspec.Struct, frozen=True):
    """What was looked at, and what is wrong: one line each, that names the file or the snapshot."""

    snapshots: int
    files: int
    bytes: int
    faults: tuple[str, ...]


def verify(repository: Repository, *, reads_all: bool = False) -> Verified:
    """Check the newest snapshot: its records are read, of all else it is asked whether it is there.

    With reads_all every snapshot is checked, and every file read and hashed.
    """
    keys = repository.snapshot_keys()
    chosen = keys if reads_all else keys[-1:]
    faults: list[str] = []
    needed: set[tuple[str, str]] = set()
    snapshots: list[Snapshot] = []
    for key in chosen:
        with _noting(key, faults):
            snapshots.append(repository.load(key))
    try:
        needed.update(needed_files(repository, snapshots))
    except CorruptError:
        for snapshot in snapshots:  # one by one, to find out which of them it concerns
            needed.update(snapshot.needed())
            with _noting(snapshot.key, faults):
                needed.update(needed_files(repository, [snapshot]))
    size_bytes = _read(repository, needed, faults) if reads_all else _look(repository, needed, faults)
    return Verified(len(chosen), len(needed), size_bytes, tuple(sorted(set(faults))))


@contextmanager
def _noting(key: str, faults: list[str]) -> Iterator[None]:
    """Note what is damaged, and go on."""
    try:
        yield
    except HosuError as error:
        if not is_damage(error):
            raise
        faults.append(f"{key}: {error.message}")


def _look(repository: Repository, needed: set[tuple[str, str]], faults: list[str]) -> int:
    there = {(kind, name): stat.size_bytes for kind in KINDS for name, stat in repository.list_files(kind)}
    faults += [f"{key_of(*name)} is missing" for name in needed - there.keys()]
    return sum(there.get(name, 0) for name in needed)


def _read(repository: Repository, needed: set[tuple[str, str]], faults: list[str]) -> int:
    def read(name: tuple[str, str]) -> int:
        try:
            return repository.check(*name)
        except CorruptError as error:
            faults.append(error.message)
            return 0

    with ThreadPoolExecutor(THREADS, thread_name_prefix="hosu-verify") as pool:
        return sum(pool.map(read, sorted(needed)))
