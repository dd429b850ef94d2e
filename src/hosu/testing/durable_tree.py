"""What a disk holds and what of it would survive a power loss: the model behind `FaultyDisk`.

A file remembers its bytes at the last sync and every write since; a directory entry survives once its
directory was synced. After a failed sync what it should have synced is lost to every later one, as on Linux,
unless it is written again. Nothing here touches a real file but `load` and `store`.
"""

import itertools
import random
from enum import StrEnum
from pathlib import Path

SECTOR_BYTES = 512
"""What a disk writes whole or not at all."""


CERTAIN = random.Random(0)  # noqa: S311 - never asked: everything survives
"""Stands where chance decides nothing."""


class Survival(StrEnum):
    """What becomes of writes, names and removals that were not synced when the power went."""

    SYNCED = "nothing of them survives"
    WRITTEN = "all of them survive, as after kill -9"
    CHANCE = "each name and each sector survives or not, by a seeded choice"


class FileModel:
    """The bytes of one file."""

    def __init__(self, durable: bytes = b"") -> None:
        self.durable = durable
        self._pending: list[tuple[int, bytes | None]] = []

    def write(self, offset: int, data: bytes) -> None:
        """Remember a write that is not synced."""
        self._pending.append((offset, data))

    def truncate(self, size_bytes: int) -> None:
        """Remember a change of size that is not synced."""
        self._pending.append((size_bytes, None))

    def sync(self) -> None:
        """Make every write so far durable."""
        self.durable = self.surviving(Survival.WRITTEN, CERTAIN)
        self._pending.clear()

    def lose(self) -> None:
        """Let a sync fail: the system forgets the writes it should have synced, and no later sync brings them back."""
        self._pending.clear()

    def surviving(self, survival: Survival, chance: random.Random) -> bytes:
        """Return the bytes that a power loss would leave now."""
        content = bytearray(self.durable)
        for place, data in [] if survival == Survival.SYNCED else self._pending:
            if data is None:
                if survival == Survival.WRITTEN or chance.random() < 1 / 2:
                    _resize(content, place)
                continue
            for start, end in _sectors(place, len(data)):
                if survival == Survival.WRITTEN or chance.random() < 1 / 2:
                    if len(content) < end:
                        _resize(content, end)
                    content[start:end] = data[start - place : end - place]
        return bytes(content)


def _resize(content: bytearray, size_bytes: int) -> None:
    del content[size_bytes:]
    content.extend(bytes(size_bytes - len(content)))


def _sectors(offset: int, size_bytes: int) -> list[tuple[int, int]]:
    """Cut a run of bytes where the disk's sectors end."""
    end = offset + size_bytes
    borders = [offset, *range(offset - offset % SECTOR_BYTES + SECTOR_BYTES, end, SECTOR_BYTES), end]
    return list(itertools.pairwise(borders))


class DurableTree:
    """Files and directories below a root, by path; None stands for a directory. The root itself always survives."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.live: dict[Path, FileModel | None] = {}
        self._durable: dict[Path, FileModel | None] = {}
        self._lost: set[Path] = set()

    def load(self) -> None:
        """Take what the root holds on the real disk as durable."""
        for path in sorted(self.root.rglob("*")):
            self.live[path] = None if path.is_dir() else FileModel(path.read_bytes())
        self._durable = dict(self.live)

    def file(self, path: Path) -> FileModel:
        """Return the file at path, made when it is missing."""
        found = self.live.get(path)
        if found is None:
            found = self.live[path] = FileModel()
            self._lost.discard(path)
        return found

    def sync_directory(self, directory: Path) -> None:
        """Make the names in a directory durable, removals included."""
        for path in [path for path in self._durable if path.parent == directory and path not in self.live]:
            del self._durable[path]
        self._durable.update(
            {path: node for path, node in self.live.items() if path.parent == directory and path not in self._lost}
        )

    def lose_names(self, directory: Path) -> None:
        """Let a sync of a directory fail: names that it should have made durable never are."""
        self._lost.update(path for path in self.live if path.parent == directory and path not in self._durable)

    def store(self, root: Path, survival: Survival, seed: int) -> None:
        """Write what survives to an empty folder of the real disk."""
        chance = random.Random(seed)  # noqa: S311 - repeatable chance is the point
        for path, node in sorted(self._surviving_names(survival, chance).items()):
            target = root / path.relative_to(self.root)
            if not target.parent.is_dir():
                continue  # its directory was lost, and it with it
            if node is None:
                target.mkdir()
            elif survival == Survival.WRITTEN:
                target.write_bytes(path.read_bytes())
            else:
                target.write_bytes(node.surviving(survival, chance))

    def _surviving_names(self, survival: Survival, chance: random.Random) -> dict[Path, FileModel | None]:
        if survival == Survival.WRITTEN:
            return self.live
        names = dict(self._durable)
        if survival == Survival.SYNCED:
            return names
        for path in sorted(self.live.keys() | self._durable.keys()):
            if path in self.live and path in self._durable and self.live[path] is self._durable[path]:
                continue
            if chance.random() < 1 / 2:
                if path in self.live:
                    names[path] = self.live[path]
                else:
                    del names[path]
        return names
