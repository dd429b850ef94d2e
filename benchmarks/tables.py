"""Engines of tables side by side: write, upsert, merge read, compaction, small commits.

`python -m benchmarks.tables [--quick]`, from the root of the repository. Each engine is a process of its own on the
same rows; every step is done by one engine after the other, in turn forwards and backwards, so that a busy minute
meets all of them. Rows are in memory before a step begins, and a read ends with all rows in memory. Ratios are of the
medians.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from benchmarks import table_memory
from benchmarks.table_engines import BUCKETS
from tests.support.clients import boto3_client
from tests.support.flink import LIBRARIES
from tests.support.server import ServerProcess, isolated_environment

ROOT = Path(__file__).parents[1]
PAIMON_PYTHON = ROOT / ".venv-scenarios" / "paimon" / "bin" / "python"
FOREIGN = ("pypaimon", "pypaimon-rust")
SLOW = ("pypaimon", "Flink")
"""Engines that get a twentieth of the rows: the whole would take them minutes a step."""

KEPT = "hosu with upkeep"
"""Small commits into the warehouse of a server, which looks after the tables there."""

ON_S3 = {"hosu on S3": "s3://||tables", KEPT: "s3://|warehouse|paimon"}
"""Of engines on the server's S3: the folder and the bucket."""

SLOW_SHARE = 20
WRITES = 3
UPSERTS = 10
SMALL_COMMITS = 1_000
SMALL_ROWS = 100
MEMORY, MEMORY_QUICK = 256 << 20, 128 << 20
"""What a compaction and a read may take of memory; the rows are ten times as large."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything."""

    rows: int
    upserted: int
    small_commits: int
    rounds: int


FULL = Sizes(2_000_000, 100_000, SMALL_COMMITS, 3)
QUICK = Sizes(400_000, 20_000, 100, 1)


def ticks(keys: np.ndarray[Any, Any], seed: int) -> pa.Table:
    """Return ticks with these trade numbers: ten columns."""
    random = np.random.default_rng(seed)
    count = len(keys)
    symbols = pa.array([f"KRW-{number:03d}" for number in range(200)])
    sides = pa.array(["ask", "bid"])
    return pa.table(
        {
            "trade_id": pa.array(keys, pa.int64()),
            "symbol": symbols.take(pa.array(random.integers(0, 200, count))),
            "side": sides.take(pa.array(random.integers(0, 2, count))),
            "price": pa.array(random.random(count) * 1e5),
            "volume": pa.array(random.random(count) * 10),
            "change_rate": pa.array(random.random(count) - 0.5),
            "sequence": pa.array(np.arange(count, dtype=np.int64) + seed * count),
            "trade_timestamp": pa.array(random.integers(1_700_000_000_000, 1_800_000_000_000, count)).cast(
                pa.timestamp("ms")
            ),
            "is_buyer_maker": pa.array(random.integers(0, 2, count).astype(bool)),
            "note": pa.array([f"n{number}" for number in random.integers(0, 50_000, count)]),
        }
    )


def save(rows: pa.Table, path: Path) -> str:
    """Write rows to an Arrow file and return its path."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, rows.schema) as writer:
        writer.write_table(rows)
    return str(path)


@dataclass(slots=True)
class Data:
    """The Arrow files of a run: all rows, the upserts, half of which overlap what is there, and the small commits."""

    base: str
    upserts: list[str]
    small: str

    @classmethod
    def make(cls, folder: Path, sizes: Sizes, share: int) -> "Data":
        """Write the files; `share` makes them smaller by so much."""
        folder.mkdir()
        count, each = sizes.rows // share, sizes.upserted // share
        random = np.random.default_rng(7)
        base = save(ticks(random.permutation(count).astype(np.int64), 1), folder / "base.arrow")
        upserts = []
        for number in range(UPSERTS):
            old = random.choice(count, each // 2, replace=False)
            new = np.arange(each - each // 2) + count + number * each
            keys = random.permutation(np.concatenate([old, new])).astype(np.int64)
            upserts.append(save(ticks(keys, 2 + number), folder / f"upsert-{number}.arrow"))
        keys = random.integers(0, count, sizes.small_commits * SMALL_ROWS).astype(np.int64)
        return cls(base, upserts, save(ticks(keys, 99), folder / "small.arrow"))


@dataclass(slots=True)
class Engine:
    """An engine's process."""

    name: str
    process: subprocess.Popen[str]
    data: Data
    samples: dict[str, list[float]] = field(default_factory=dict)
    peak_mib: float = 0.0
    failed: str = ""

    def do(self, label: str | None, verb: str, **more: object) -> float:
        """Do a step; under a label its rate counts. Returns rows a second, 0 for a step that failed."""
        if self.failed:
            return 0.0
        assert self.process.stdin is not None, "asked for"
        assert self.process.stdout is not None, "asked for"
        self.process.stdin.write(json.dumps({"do": verb, **more}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline() or '{"error": "the process ended"}')
        if "error" in answer:
            self.failed = f"{verb}: {answer['error']}"
            return 0.0
        if self.name != "Flink":  # whose memory is that of a child
            self.peak_mib = max(self.peak_mib, answer["peak_mib"])
        rate = float(answer["count"] / answer["seconds"]) if answer["count"] else 0.0
        if label is not None:
            self.samples.setdefault(label, []).append(rate)
        return rate


@contextmanager
def running(name: str, place: str, data: Data, log: Path) -> Iterator[Engine]:
    """Start an engine on an empty place."""
    python = str(PAIMON_PYTHON) if name in FOREIGN else sys.executable
    with log.open("ab") as errors:
        process = subprocess.Popen(
            [python, str(ROOT / "benchmarks" / "table_engines.py"), name, place],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=isolated_environment() | {"RUST_LOG": "error"} | ({"PYTHONPATH": str(ROOT)} if name == "Flink" else {}),
            text=True,
        )
    try:
        yield Engine(name, process, data)
    finally:
        assert process.stdin is not None, "asked for"
        process.stdin.close()
        process.wait()


def turns(engines: Sequence[Engine]) -> Iterator[list[Engine]]:
    """Return the engines forwards, backwards, and so on."""
    forwards = True
    while True:
        yield list(engines) if forwards else list(reversed(engines))
        forwards = not forwards


def race(engines: Sequence[Engine], rounds: int) -> None:
    """Let all engines do all steps, each step by all of them before the next; each write makes a new table."""
    order = turns(engines)
    for _ in range(WRITES):
        for engine in next(order):
            engine.do(None, "create", rows=engine.data.base)
            engine.do("write", "write", rows=engine.data.base)
    for number in range(UPSERTS):
        for engine in next(order):
            engine.do("upsert", "upsert", rows=engine.data.upserts[number])
    for _ in range(rounds):
        for engine in next(order):
            engine.do("merge read", "read")


def compacted(engines: Sequence[Engine], rounds: int) -> None:
    """Let those that compact do so, and read again."""
    for engine in engines:
        engine.do("compaction", "compact")
    for _ in range(rounds):
        for engine in engines:
            engine.do("compacted read", "read")
            if engine.name == "hosu":
                engine.do("pyarrow on the same files", "plain")


def small_commits(engines: Sequence[Engine], sizes: Sizes, rounds: int) -> None:
    """Let hosu make many small commits into a table that a server keeps in order, then read: at once, and at rest."""
    for engine in engines:
        engine.do(None, "create", rows=engine.data.base)
        engine.do(None, "write", rows=engine.data.base)
        engine.do(None, "rest")
        for _ in range(rounds):
            engine.do("read before small commits", "read")
        engine.do("small commits", "small", rows=engine.data.small, commits=sizes.small_commits)
        for _ in range(rounds):
            engine.do("read right after small commits", "read")
        engine.do(None, "rest")
        for _ in range(rounds):
            engine.do("read once upkeep rests", "read")
        engine.do(None, "compact")
        for _ in range(rounds):
            engine.do("compacted read", "read")


def report(engines: Sequence[Engine]) -> dict[str, Any]:
    """Print the medians as a table with the ratio of each to hosu's; return them."""
    medians = {
        engine.name: {label: statistics.median(rates) for label, rates in engine.samples.items()} for engine in engines
    }
    labels = list(dict.fromkeys(label for engine in engines for label in engine.samples))
    medians.setdefault("hosu", {})
    print(f"| rows a second (hosu ÷ it) | {' | '.join(engine.name for engine in engines)} |")
    print("|---|" + "---|" * len(engines))
    for label in labels:
        first = medians["hosu"].get(label)
        cells = []
        for engine in engines:
            rate = medians[engine.name].get(label)
            ratio = f" ({first / rate:.2f})" if first and rate and engine.name != "hosu" else ""
            cells.append(f"{rate:,.0f}{ratio}" if rate else "–")
        print(f"| {label} | {' | '.join(cells)} |")
    peaks = [f"{engine.peak_mib:,.0f}" if engine.peak_mib else "–" for engine in engines]
    print(f"| peak memory, MiB | {' | '.join(peaks)} |")
    for engine in engines:
        if engine.failed:
            print(f"\n{engine.name} failed: {engine.failed}")
    return medians


def verdicts(medians: dict[str, dict[str, float]]) -> None:
    """Print what was asked for beside what was reached."""
    ours, native, kept = medians["hosu"], medians.get("pypaimon-rust", {}), medians.get(KEPT, {})
    asked = [
        ("write ≥ 1.5 × pypaimon-rust", ours.get("write"), native.get("write"), 1.5),
        ("upsert ≥ 1.1 × pypaimon-rust", ours.get("upsert"), native.get("upsert"), 1.1),
        ("merge read ≥ 1.5 × pypaimon-rust", ours.get("merge read"), native.get("merge read"), 1.5),
        ("compacted read ≥ 0.8 × pyarrow", ours.get("compacted read"), ours.get("pyarrow on the same files"), 0.8),
        ("compaction ≥ 1,000,000 rows/s", ours.get("compaction"), 1e6, 1.0),
        *(
            (f"{label} ≥ 0.5 × compacted", kept.get(label), kept.get("compacted read"), 0.5)
            for label in ("read right after small commits", "read once upkeep rests")
        ),
    ]
    print("\n| asked | reached | |\n|---|---|---|")
    for text, reached, against, factor in asked:
        if not reached or not against:
            print(f"| {text} | – | not measured |")
            continue
        print(f"| {text} | {reached / against:.2f} × | {'PASS' if reached >= factor * against else 'short'} |")


def json_of(path: Path) -> dict[str, Any]:
    """Return what a run before has left in a file."""
    return json.loads(path.read_text()) if path.exists() else {}


def main() -> None:
    """Run all engines and print tables."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="a fifth of the rows, 100 small commits, one round")
    options.add_argument("--without", default="", help="engines to leave out, with commas between")
    options.add_argument("--folder", type=Path, help="where to work; its disk is what is measured")
    options.add_argument(
        "--memory", type=int, metavar="BYTES", help="only measure what the process grows by, with so much allowed"
    )
    options.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "local" / "tables.json")
    chosen = options.parse_args()
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    if chosen.memory is not None:
        with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
            found = table_memory.run(f"{folder}/memory", chosen.memory)
        chosen.out.write_text(json.dumps(json_of(chosen.out) | {"memory": found}, indent=1))
        sys.exit(0 if all(each["pass"] for each in found) else 1)
    sizes = QUICK if chosen.quick else FULL
    left_out = {name.strip() for name in chosen.without.split(",")}
    names = ["hosu", *ON_S3, "hosu copy-on-write", "pypaimon-rust", "pypaimon", "delta-rs", "DuckDB", "Flink"]
    if not list(PAIMON_PYTHON.parents[1].glob("lib/python*/site-packages/pypaimon_rust")):
        print("pypaimon and pypaimon-rust are not installed: make bench-tables\n")
        left_out |= set(FOREIGN)
    if not list(LIBRARIES.glob("lib/paimon-flink-*.jar")):
        print("Flink is not installed: make scenarios-venv\n")
        left_out.add("Flink")
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder, ExitStack() as stack:
        root = Path(folder)
        data = Data.make(root / "data", sizes, 1)
        few = Data.make(root / "few", sizes, SLOW_SHARE)
        server = stack.enter_context(ServerProcess(root / "lake", root / "server.log"))
        client = boto3_client(server.endpoint)
        for place in ON_S3.values():
            client.create_bucket(Bucket=place.rpartition("|")[2])
        engines = []
        for name in names:
            if name in left_out:
                continue
            place = str(root / name.replace(" ", "-"))
            if name in ON_S3:
                end = server.endpoint
                place = f"{ON_S3[name]}|{end.url}|{end.access_key}|{end.secret_key}"
            rows = few if name in SLOW else data
            engines.append(stack.enter_context(running(name, place, rows, root / "engines.log")))
        print(f"{sizes.rows:,} rows × 10 columns, {UPSERTS} upserts of {sizes.upserted:,}, {BUCKETS} buckets, ", end="")
        print(f"{os.cpu_count()} processors; {' and '.join(SLOW)} have a {SLOW_SHARE}th of the rows\n", flush=True)
        racing = [engine for engine in engines if engine.name != KEPT]
        race(racing, sizes.rounds)
        compacted([engine for engine in racing if engine.name.startswith("hosu")], sizes.rounds)
        small_commits([engine for engine in engines if engine.name == KEPT], sizes, sizes.rounds)
        medians = report(engines)
        verdicts(medians)
        memory = table_memory.run(str(root / "memory"), MEMORY_QUICK if chosen.quick else MEMORY)
        samples = {engine.name: engine.samples for engine in engines}
        chosen.out.write_text(
            json.dumps({"sizes": str(sizes), "medians": medians, "samples": samples, "memory": memory}, indent=1)
        )


if __name__ == "__main__":
    main()
