"""What compacting and reading a table that is much larger than the memory allowed makes a process grow by.

Run as a script, `python table_memory.py PLACE VERB BYTES`, it does one of both and prints how many rows went through
it, the seconds it took, and the growth: the most that was resident while it went on, less what was before it began.
"""

import gc
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
from benchmarks.table_engines import KEY, with_key

TIMES = 10
"""How many times larger than the budget the rows of the table are at least."""

RUNS = 12
VERBS = ("compact", "read")
SAMPLE_S = 0.002
OPTIONS = {"bucket": "1", "write-only": "true"}


def build(place: str, budget_bytes: int) -> tuple[int, int]:
    """Make a table of overlapping runs, none of them compacted; return how many rows it has, and how large they are."""
    from benchmarks.tables import ticks

    table = _opened(place, 1 << 30, ticks(np.arange(1), 0).schema)
    random = np.random.default_rng(5)
    row_bytes = ticks(np.arange(1000), 0).nbytes // 1000
    each = TIMES * budget_bytes // row_bytes // RUNS + 1
    size_bytes = 0
    for number in range(RUNS):
        rows = ticks(random.choice(each * RUNS * 2 // 3, each, replace=False).astype(np.int64), number)
        table.upsert(rows)
        size_bytes += rows.nbytes
    return each * RUNS, size_bytes


def measured(place: str, verb: str, budget_bytes: int) -> dict[str, Any]:
    """Let a process of its own do one thing, with the allocator that hosu's own processes have."""
    done = subprocess.run(
        [sys.executable, __file__, place, verb, str(budget_bytes)],
        stdout=subprocess.PIPE,
        env={**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system", "PYTHONPATH": str(Path(__file__).parents[1])},
        text=True,
        check=True,
    )
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def run(place: str, budget_bytes: int) -> list[dict[str, Any]]:
    """Measure both on a table made for it; print a row of each, and return them."""
    rows, size_bytes = build(place, budget_bytes)
    mib = budget_bytes / (1 << 20)
    print(f"\n{rows:,} rows of {size_bytes / (1 << 20):,.0f} MiB in memory, {RUNS} runs, a budget of {mib:,.0f} MiB\n")
    print("| within the budget | grew by, MiB | rows a second | |\n|---|---|---|---|")
    found = []
    for verb in reversed(VERBS):  # a compacted table has nothing left to merge
        growth = measured(place, verb, budget_bytes)
        within = growth["growth_bytes"] <= budget_bytes
        growth |= {"verb": verb, "budget_bytes": budget_bytes, "rows": rows, "rows_bytes": size_bytes, "pass": within}
        rate = rows / growth["seconds"]
        print(f"| {verb} | {growth['growth_bytes'] / (1 << 20):,.0f} | {rate:,.0f} | {'PASS' if within else 'FAIL'} |")
        found.append(growth)
    return found


def _opened(place: str, memory_bytes: int, schema: pa.Schema | None = None) -> Any:  # noqa: ANN401 - of hosu
    from hosu.kernel.clock import SystemClock
    from hosu.kernel.fileio.folder import FolderFileIO
    from hosu.tables.catalog import Catalog
    from hosu.tables.table import Table

    Path(place).mkdir(parents=True, exist_ok=True)
    catalog = Catalog(FolderFileIO(place), "", clock=SystemClock(), memory_bytes=memory_bytes)
    if schema is not None:
        catalog.create_database("b")
        catalog.create_table("b.t", with_key(schema), primary_keys=[KEY], options=OPTIONS)
    return Table(catalog, "b.t")


def _do(place: str, verb: str, memory_bytes: int) -> int:
    table = _opened(place, memory_bytes)
    if verb == "compact":
        return len(table.compact(full=True))
    return sum(batch.num_rows for batch in table.scan().to_reader())


def _warmed_up(place: str) -> None:
    """Do everything once with a few rows, so that libraries are loaded."""
    from benchmarks.tables import ticks

    small = f"{place}-{os.getpid()}"
    table = _opened(small, 1 << 26, ticks(np.arange(1), 0).schema)
    for number in range(3):
        table.upsert(ticks(np.arange(1000), number))
    for verb in reversed(VERBS):
        _do(small, verb, 1 << 26)
    gc.collect()
    pa.default_memory_pool().release_unused()


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class _Growth:
    """The most that this process grows by while it is watched."""

    def __init__(self) -> None:
        self.bytes = 0
        self._idle = _resident_bytes()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            self.bytes = max(self.bytes, _resident_bytes() - self._idle)


def main() -> None:
    """Do what the arguments say, and tell what it took."""
    place, verb, budget = sys.argv[1], sys.argv[2], int(sys.argv[3])
    _warmed_up(place)
    with _Growth() as growth:
        began = time.perf_counter()
        _do(place, verb, budget)
        took = time.perf_counter() - began
    print(json.dumps({"growth_bytes": growth.bytes, "seconds": took}))


if __name__ == "__main__":
    main()
