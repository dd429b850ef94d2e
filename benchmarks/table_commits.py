"""What a commit to a table costs beside the disk's own syncs, and whether history makes it dearer.

`python -m benchmarks.table_commits [--quick] [--folder DIR]`, from the root of the repository. Commits carry one small
file each and take the one before it out, as a stream with compaction does; no rows are written, so what is measured is
the commit alone. Syncs and commits are interleaved: a ratio holds for the minute it was taken in.
"""

import argparse
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from uuid import uuid4

from hosu.kernel.clock import SystemClock
from hosu.kernel.fileio import FolderFileIO
from hosu.tables.commit import commit
from hosu.tables.context import Identifier, TableContext
from hosu.tables.layout import Layout
from hosu.tables.options import Options
from hosu.tables.records import BucketChange, DataFile, FileSource, Snapshot, Stats
from hosu.tables.rows import EMPTY_ROW, encode_serialised
from hosu.tables.schemas import Schemas, TableSchema
from hosu.tables.snapshots import find
from hosu.tables.snapshots.cache import MetadataCache
from hosu.tables.types import DataField, parse_type

ROUNDS, COMMITS = 10, 10
FSYNCS_MAX, EXTRA_MS_MAX, HISTORY_RATIO_MAX = 6, 5.0, 1.2
"""What was asked of a commit."""


@dataclass(frozen=True)
class Line:
    """A history of so many snapshots: milliseconds of a commit, of a sync beside it, of a first look at the table."""

    snapshots: int
    commit_ms: float
    fsync_ms: float
    open_ms: float


class Stream:
    """A table in a folder, and commits to it."""

    def __init__(self, root: Path, pool: ThreadPoolExecutor) -> None:
        self._root = root
        self._pool = pool
        self._ctx = self.open()
        self._seen: Snapshot | None = None
        self._last: DataFile | None = None
        self._count = 0

    def open(self) -> TableContext:
        """Open the table as a new process does."""
        fields = (DataField(0, "id", parse_type("BIGINT NOT NULL")), DataField(1, "price", parse_type("DOUBLE")))
        schema = TableSchema(0, fields, 1, primary_keys=("id",), options={"bucket": "1"})
        files, layout = FolderFileIO(self._root), Layout("bench.db/ticks")
        schemas = Schemas(files, layout)
        if schemas.latest() is None:
            schemas.commit(schema)
        return TableContext(
            files=files,
            identifier=Identifier("bench", "ticks"),
            layout=layout,
            schema=schema,
            schemas=schemas,
            options=Options(schema.options, has_primary_key=True),
            clock=SystemClock(),
            pool=self._pool,
            cache=MetadataCache(),
            commit_user=str(uuid4()),
        )

    def commits(self, count: int) -> list[float]:
        """Commit so many times; return the milliseconds that each took."""
        taken = []
        for _ in range(count):
            started = time.perf_counter()
            gone = [] if self._last is None else [self._last]
            self._last = self._file()
            change = BucketChange(partition=(), bucket=0, total_buckets=1, new_files=[self._last], deleted_files=gone)
            self._seen = commit(self._ctx, [change], identifier=self._count, check_from=self._seen)[-1]
            self._count += 1
            taken.append((time.perf_counter() - started) * 1000)
        return taken

    def fsync_ms(self) -> float:
        """Return the milliseconds that a sync of a small new file takes."""
        path = self._root / f"probe-{uuid4()}"
        with path.open("wb") as file:
            file.write(bytes(2000))
            file.flush()
            started = time.perf_counter()
            os.fsync(file.fileno())
            taken = (time.perf_counter() - started) * 1000
        path.unlink()
        return taken

    def measure(self) -> Line:
        """Measure commits at the history there is."""
        find.settle(self._ctx)
        commits: list[float] = []
        syncs: list[float] = []
        for _ in range(ROUNDS):
            commits += self.commits(COMMITS)
            syncs += [self.fsync_ms() for _ in range(COMMITS)]
        find.settle(self._ctx)
        started = time.perf_counter()
        find.latest(self.open())
        return Line(self._count, median(commits), median(syncs), (time.perf_counter() - started) * 1000)

    def _file(self) -> DataFile:
        key = encode_serialised([self._count], [parse_type("BIGINT")])
        none = Stats(EMPTY_ROW, EMPTY_ROW)
        return DataFile(
            file_name=f"data-{uuid4()}-0.parquet",
            file_size=4096,
            row_count=100,
            min_key=key,
            max_key=key,
            key_stats=Stats(key, key, (0,)),
            value_stats=none,
            min_sequence_number=self._count,
            max_sequence_number=self._count,
            schema_id=0,
            level=0,
            delete_row_count=0,
            file_source=FileSource.APPEND,
        )


def run(folder: Path, histories: tuple[int, ...]) -> list[Line]:
    """Return a line for each length of history."""
    lines = []
    with tempfile.TemporaryDirectory(dir=folder) as root, ThreadPoolExecutor(4) as pool:
        stream = Stream(Path(root), pool)
        done = 0
        for history in histories:
            stream.commits(history - done)
            lines.append(stream.measure())
            done = history + ROUNDS * COMMITS
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="1,000 snapshots instead of 10,000")
    parser.add_argument("--folder", type=Path, default=Path(), help="where the table is made; on the disk to measure")
    given = parser.parse_args()
    lines = run(given.folder, (10, 1_000 if given.quick else 10_000))
    print("| snapshots | commit ms | sync ms | commit / sync | first look ms |")
    print("|---|---|---|---|---|")
    for line in lines:
        syncs = line.commit_ms / line.fsync_ms
        print(f"| {line.snapshots:,} | {line.commit_ms:.2f} | {line.fsync_ms:.2f} | {syncs:.1f} | {line.open_ms:.2f} |")
    for line in lines:
        limit_ms = FSYNCS_MAX * line.fsync_ms + EXTRA_MS_MAX
        verdict = "kept" if line.commit_ms <= limit_ms else "missed"
        print(f"at {line.snapshots:,}: {line.commit_ms:.2f} ms of {limit_ms:.2f} ms allowed: {verdict}")
    ratio = lines[-1].commit_ms / lines[0].commit_ms
    print(f"history: × {ratio:.2f}, {'kept' if ratio <= HISTORY_RATIO_MAX else 'missed'} (× {HISTORY_RATIO_MAX})")


if __name__ == "__main__":
    main()
