"""What a process counts: plain numbers on the way of every request, added up when somebody asks.

A process publishes its numbers in a file of the lake's `tmp`, so that each can tell of all. One that is started again
goes on from what it had published: sums over processes never fall while a server runs, and Prometheus sees no reset.
"""

import contextlib
import os
from bisect import bisect_left
from pathlib import Path

import msgspec

TTFB_BOUNDS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the histogram of times to the first byte; MinIO's."""

BUCKET_COUNTS_MAX = 10_000
"""Pairs of operation and bucket with numbers of their own; what goes beyond is counted without its bucket."""

REJECTIONS = ("auth", "header", "timestamp", "invalid")
"""Why a request did not come as far as its operation."""

FOLDER = Path("tmp") / "metrics"
CLIENT_ERROR, SERVER_ERROR, CLIENT_LEFT = 400, 500, 499


class Counts(msgspec.Struct):
    """Numbers of one operation on one bucket. `ttfb` has a place for each bound and one for what took longer."""

    operation: str
    bucket: str
    requests: int = 0
    errors_4xx: int = 0
    errors_5xx: int = 0
    canceled: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0
    ttfb_s: float = 0.0
    ttfb: list[int] = msgspec.field(default_factory=lambda: [0] * (len(TTFB_BOUNDS_S) + 1))

    def count(self, status: int, received_bytes: int, sent_bytes: int, ttfb_s: float) -> None:
        """Count a request that has ended."""
        self.requests += 1
        if status >= CLIENT_ERROR:
            if status == CLIENT_LEFT:
                self.canceled += 1
                self.received_bytes += received_bytes
                return  # no first byte, or not the last
            if status >= SERVER_ERROR:
                self.errors_5xx += 1
            else:
                self.errors_4xx += 1
        self.received_bytes += received_bytes
        self.sent_bytes += sent_bytes
        self.ttfb_s += ttfb_s
        self.ttfb[0 if ttfb_s <= TTFB_BOUNDS_S[0] else bisect_left(TTFB_BOUNDS_S, ttfb_s)] += 1

    def add(self, other: "Counts") -> None:
        """Add another's numbers."""
        self.requests += other.requests
        self.errors_4xx += other.errors_4xx
        self.errors_5xx += other.errors_5xx
        self.canceled += other.canceled
        self.received_bytes += other.received_bytes
        self.sent_bytes += other.sent_bytes
        self.ttfb_s += other.ttfb_s
        self.ttfb = [mine + theirs for mine, theirs in zip(self.ttfb, other.ttfb, strict=True)]


class Snapshot(msgspec.Struct):
    """All numbers of one process. `run` tells servers apart that ran on the lake one after the other."""

    run: int
    process: str
    counts: list[Counts] = []
    codes: dict[str, int] = {}
    rejected: dict[str, int] = {}
    totals: dict[str, int] = {}
    in_flight: dict[str, int] = {}
    pid: int = 0


class Meter:
    """The numbers of this process. Counting is for one thread, the event loop's; reading for any."""

    def __init__(self, lake: Path, *, run: int, process: str) -> None:
        self.run = run
        self.process = process
        self.folder = lake / FOLDER
        self.counts: dict[tuple[str, str], Counts] = {}
        """Numbers by operation and bucket."""
        self.codes: dict[str, int] = {}
        """Refused requests by S3's code."""
        self.rejected = dict.fromkeys(REJECTIONS, 0)
        self.totals: dict[str, int] = {}
        """Other numbers, by names of our own."""
        self._resume()

    def open(self, operation: str, bucket: str) -> Counts:
        """Return the numbers of a pair that is counted for the first time."""
        if len(self.counts) >= BUCKET_COUNTS_MAX:
            bucket = ""
        return self.counts.setdefault((operation, bucket), Counts(operation, bucket))

    def snapshot(self) -> Snapshot:
        """Return the numbers of now."""
        return Snapshot(
            self.run, self.process, list(self.counts.values()), dict(self.codes), dict(self.rejected),
            dict(self.totals), pid=os.getpid(),
        )  # fmt: skip

    # Between processes

    @property
    def _path(self) -> Path:
        return self.folder / f"{self.process}.json"

    def _resume(self) -> None:
        """Go on from what the process before this one had published, if it ran under the same server."""
        before = _read(self._path)
        if before is None or before.run != self.run:
            return
        self.counts = {(counts.operation, counts.bucket): counts for counts in before.counts}
        self.codes = before.codes
        self.rejected |= before.rejected
        self.totals = before.totals

    def publish(self, in_flight: dict[str, int]) -> None:
        """Write the numbers to this process's file, whole or not at all; raises OSError."""
        snapshot = self.snapshot()
        snapshot.in_flight = in_flight
        write_whole(self._path, msgspec.json.encode(snapshot))

    def others(self) -> list[Snapshot]:
        """Return what the other processes of this server have published."""
        found = [_read(path) for path in sorted(self.folder.glob("*.json")) if path != self._path]
        return [snapshot for snapshot in found if snapshot is not None and snapshot.run == self.run]


def write_whole(path: Path, data: bytes) -> None:
    """Replace a small file that need not survive a power loss; raises OSError."""
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.new")
    temporary.write_bytes(data)
    temporary.replace(path)


def _read(path: Path) -> Snapshot | None:
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode(path.read_bytes(), type=Snapshot)
    return None


def sum_up(snapshots: list[Snapshot]) -> Snapshot:
    """Return the sums over processes, with a row of counts for each pair of operation and bucket."""
    whole = Snapshot(snapshots[0].run, "all", [], {}, dict.fromkeys(REJECTIONS, 0), {}, {})
    counts: dict[tuple[str, str], Counts] = {}
    for snapshot in snapshots:
        for row in snapshot.counts:
            key = (row.operation, row.bucket)
            counts.setdefault(key, Counts(row.operation, row.bucket)).add(row)
        for target, source in (
            (whole.codes, snapshot.codes), (whole.rejected, snapshot.rejected),
            (whole.totals, snapshot.totals), (whole.in_flight, snapshot.in_flight),
        ):  # fmt: skip
            for name, number in source.items():
                target[name] = target.get(name, 0) + number
    whole.counts = [counts[key] for key in sorted(counts)]
    return whole
