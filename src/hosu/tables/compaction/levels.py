"""The levels of a bucket of a primary-key table: sorted runs, and sections of them that no key joins.

Every file of level 0 is a run of its own, the newest first; every other level is one run. What a run of a lower
number holds is newer than what those after it hold.
"""

import heapq
import math
import struct
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, TypeAlias

from hosu.tables.records import DataFile

Key: TypeAlias = tuple[Any, ...]
"""A key that compares as Paimon compares it."""

KeyOf = Callable[[bytes], Key]
"""Turns a serialised key of a file's metadata into one that compares."""

_SIGN = 1 << 63


def comparable(values: Iterable[Any]) -> Key:
    """Return decoded values as a key whose parts compare as Java compares them: -0.0 < 0.0, NaN after everything."""
    return tuple(_ordered(value) if isinstance(value, float) else value for value in values)


def _ordered(value: float) -> int:
    bits: int = struct.unpack(">q", struct.pack(">d", math.nan if math.isnan(value) else value))[0]
    return bits if bits >= 0 else -(bits + _SIGN) - 1


@dataclass(frozen=True)
class Run:
    """Files whose keys do not overlap, in the order of their keys."""

    level: int
    files: tuple[DataFile, ...]

    @property
    def size_bytes(self) -> int:
        """The size of all files."""
        return sum(file.file_size for file in self.files)


@dataclass(frozen=True)
class Levels:
    """The live files of one bucket."""

    runs: tuple[Run, ...]
    """The newest first: the files of level 0 one by one, then the levels that are not empty."""

    count: int
    """How many levels the bucket has, level 0 included."""

    key_of: KeyOf = field(repr=False, compare=False)

    @classmethod
    def of(cls, files: Iterable[DataFile], count: int, key_of: KeyOf) -> "Levels":
        """Arrange the files of a bucket; `count` is `num-levels`, and files of higher levels than that are kept."""
        levels: dict[int, list[DataFile]] = {}
        for file in files:
            levels.setdefault(file.level, []).append(file)
        runs = [Run(0, (file,)) for file in sorted(levels.pop(0, []), key=_newest_first)]
        runs += [
            Run(level, tuple(sorted(levels[level], key=lambda file: key_of(file.min_key)))) for level in sorted(levels)
        ]
        highest = max(levels, default=0)
        return cls(tuple(runs), max(count, highest + 1), key_of)

    @property
    def max_level(self) -> int:
        """The level that a full compaction writes."""
        return self.count - 1

    @property
    def highest(self) -> int:
        """The highest level that has files; -1 without files."""
        return self.runs[-1].level if self.runs else -1

    @property
    def files(self) -> tuple[DataFile, ...]:
        """All files, those of the newest run first."""
        return tuple(file for run in self.runs for file in run.files)

    def above(self, level: int) -> tuple[Run, ...]:
        """Return the runs of higher levels than this, the newest first."""
        return tuple(run for run in self.runs if run.level > level)


def strung(runs: Sequence[Run], key_of: KeyOf) -> list[Run]:
    """Put neighbours of level 0 whose keys do not overlap into one run: a large commit leaves such files.

    Runs come and go in the order of age, which says nothing of files that have no key in common.
    """
    found: list[tuple[int, list[tuple[Key, Key, DataFile]]]] = []
    for run in runs:
        links = [(key_of(file.min_key), key_of(file.max_key), file) for file in run.files]
        if run.level == 0 and len(links) == 1 and found and found[-1][0] == 0 and _fits_in(found[-1][1], links[0]):
            continue
        found.append((run.level, links))
    return [Run(level, tuple(file for _, _, file in links)) for level, links in found]


def _fits_in(chain: list[tuple[Key, Key, DataFile]], link: tuple[Key, Key, DataFile]) -> bool:
    """Put a file where it belongs in the order of keys, unless it overlaps others."""
    low, high, _ = link
    at = bisect_left(chain, low, key=itemgetter(0))
    if (at > 0 and chain[at - 1][1] >= low) or (at < len(chain) and chain[at][0] <= high):
        return False
    chain.insert(at, link)
    return True


def _newest_first(file: DataFile) -> tuple[int, int, int, str]:
    return (-file.max_sequence_number, file.min_sequence_number, file.creation_time_ms or 0, file.file_name)


def sections(files: Sequence[DataFile], key_of: KeyOf) -> list[list[tuple[DataFile, ...]]]:
    """Divide files into sections, in the order of their keys, each into as few runs as its files allow.

    No key is in two sections. Within a section the order of the runs means nothing.
    """
    spans = sorted(
        ((key_of(file.min_key), key_of(file.max_key), number) for number, file in enumerate(files)),
    )
    found: list[list[tuple[DataFile, ...]]] = []
    section: list[tuple[Key, Key, int]] = []
    bound: Key | None = None
    for span in spans:
        if bound is not None and span[0] > bound:
            found.append(_runs(section, files))
            section, bound = [], None
        section.append(span)
        bound = span[1] if bound is None or span[1] > bound else bound
    if section:
        found.append(_runs(section, files))
    return found


def _runs(section: Sequence[tuple[Key, Key, int]], files: Sequence[DataFile]) -> list[tuple[DataFile, ...]]:
    """Put each file behind the run that ends first, if that ends before the file begins."""
    runs: list[list[DataFile]] = []
    ends: list[tuple[Key, int]] = []
    for low, high, number in section:
        if ends and ends[0][0] < low:
            _, run = heapq.heapreplace(ends, (high, ends[0][1]))
            runs[run].append(files[number])
        else:
            heapq.heappush(ends, (high, len(runs)))
            runs.append([files[number]])
    return [tuple(run) for run in runs]
