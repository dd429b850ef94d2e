"""How the sizes of objects and the numbers of their versions are distributed: a walk over all records.

It is dear, so it is done when somebody asks for metrics and the last one is old enough for what it cost.
"""

import threading
from collections.abc import Mapping

import msgspec

from hosu.kernel.clock import Clock
from hosu.kernel.limits import KIB, MIB
from hosu.objects.views import View

SIZE_RANGES: tuple[tuple[str, int, int], ...] = (
    ("LESS_THAN_1024_B", 0, KIB),
    ("BETWEEN_1024_B_AND_64_KB", KIB, 64 * KIB),
    ("BETWEEN_64_KB_AND_256_KB", 64 * KIB, 256 * KIB),
    ("BETWEEN_256_KB_AND_512_KB", 256 * KIB, 512 * KIB),
    ("BETWEEN_512_KB_AND_1_MB", 512 * KIB, MIB),
    ("BETWEEN_1024B_AND_1_MB", KIB, MIB),
    ("BETWEEN_1_MB_AND_10_MB", MIB, 10 * MIB),
    ("BETWEEN_10_MB_AND_64_MB", 10 * MIB, 64 * MIB),
    ("BETWEEN_64_MB_AND_128_MB", 64 * MIB, 128 * MIB),
    ("BETWEEN_128_MB_AND_512_MB", 128 * MIB, 512 * MIB),
    ("GREATER_THAN_512_MB", 512 * MIB, 2**63),
)
"""MinIO's names of ranges, first byte and end. One of them covers four others, so that older dashboards go on."""

VERSION_RANGES: tuple[tuple[str, int, int], ...] = (
    ("UNVERSIONED", 0, 1),
    ("SINGLE_VERSION", 1, 2),
    ("BETWEEN_2_AND_10", 2, 10),
    ("BETWEEN_10_AND_100", 10, 100),
    ("BETWEEN_100_AND_1000", 100, 1_000),
    ("BETWEEN_1000_AND_10000", 1_000, 10_000),
    ("GREATER_THAN_10000", 10_000, 2**63),
)
"""MinIO's names of ranges of versions per key; keys of buckets that never had versions are the first."""

COST_SHARE = 50
"""A walk that took a second is not done again for this many."""


class Distribution(msgspec.Struct, frozen=True):
    """Numbers of objects by bucket and range."""

    at_ms: int
    sizes: Mapping[str, Mapping[str, int]]
    versions: Mapping[str, Mapping[str, int]]


class Usage:
    """The latest walk's result, and the next walk when it is due. Used by threads; one walks, others wait."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._latest: Distribution | None = None
        self._due_s = 0.0

    def distribution(self, view: View) -> Distribution:
        """Return the distribution of now, or of a while ago."""
        with self._lock:
            began_s = self._clock.monotonic()
            if self._latest is None or began_s >= self._due_s:
                self._latest = walk(view, self._clock.now_ms())
                ended_s = self._clock.monotonic()
                self._due_s = ended_s + COST_SHARE * (ended_s - began_s)
            return self._latest


def walk(view: View, now_ms: int) -> Distribution:
    """Count all objects and versions by size, and all keys by their number of versions."""
    with view.snapshot():
        names: dict[int, str] = {row[0]: row[1] for row in view.rows("SELECT id, name FROM bucket")}
        versioned = {row[0] for row in view.rows("SELECT id FROM bucket WHERE versioning <> 0")}
        sizes = {name: dict.fromkeys((row[0] for row in SIZE_RANGES), 0) for name in names.values()}
        bounds = sorted({end for _, _, end in SIZE_RANGES})
        steps = " ".join(f"WHEN size_bytes < {end} THEN {place}" for place, end in enumerate(bounds))
        for table, condition in (("object", ""), ("version", "WHERE NOT is_marker")):
            for bucket_id, place, count in view.rows(
                f"SELECT bucket_id, CASE {steps} END, count(*) FROM {table} {condition} GROUP BY 1, 2"  # noqa: S608
            ):
                end = bounds[place]
                for name, first, last in SIZE_RANGES:
                    if first < end <= last:
                        sizes[names[bucket_id]][name] += count
        versions = {name: dict.fromkeys((row[0] for row in VERSION_RANGES), 0) for name in names.values()}
        for bucket_id, count, keys in view.rows(
            "SELECT bucket_id, versions, count(*) FROM ("
            "  SELECT bucket_id, key, count(*) AS versions FROM ("
            "    SELECT bucket_id, key FROM object UNION ALL SELECT bucket_id, key FROM version"
            "  ) GROUP BY bucket_id, key) GROUP BY 1, 2"
        ):
            number = count if bucket_id in versioned else 0
            range_name = next(name for name, first, end in VERSION_RANGES if first <= number < end)
            versions[names[bucket_id]][range_name] += keys
    return Distribution(now_ms, sizes, versions)
