"""What rules cost: a lifecycle pass over a million objects, and what readers notice of it, interleaved in one run.

`python -m benchmarks.rules`, from the root of the repository; how to read it: docs/reference/benchmarks.md. The pass
runs as it does in the keeper: in a process of its own, beside a server that answers GETs meanwhile.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks import machine
from benchmarks.cells import READ_KEYS, SMALL, Cell, Runner, Sample
from benchmarks.flows import Job
from benchmarks.load import LoadError, Pool
from benchmarks.peers import Server, ServerError, start_hosu

from hosu.kernel.errors import UnavailableError
from hosu.kernel.settings import Settings
from hosu.objects.store import ObjectStore
from hosu.objects.transaction import Tx
from hosu.rules.lifecycle.acting import LifecyclePass
from hosu.rules.lifecycle.keeping import set_lifecycle
from hosu.rules.lifecycle.model import DAY_MS, Filter, Lifecycle, Rule
from hosu.server.processes import KEEPER_NICENESS

BUCKET, LISTED = "bench", "bench-list"
EXPIRE_DAYS, AGED_DAYS = 30, 100
SHARES = (0, 1, 100)
"""Percent of the objects that are due."""

CONNECTIONS = 16
PASS_S_MAX, P99_RATIO_MAX = 60.0, 2.0
"""What was asked of a pass over a million objects on two cores."""


@dataclass(frozen=True)
class Pass:
    """One pass: how many objects there were, how many went, how long it took, and its own CPU."""

    objects: int
    removed: int
    seconds: float
    cpu_s: float


@dataclass(frozen=True)
class Line:
    """A share of objects due: the pass, and GETs beside it and without it (medians; milliseconds)."""

    percent: int
    passes: list[Pass]
    p50_without_ms: float
    p50_with_ms: float
    p99_without_ms: float
    p99_with_ms: float

    @property
    def p99_ratio(self) -> float:
        """How much longer the slowest GETs take while a pass runs."""
        return self.p99_with_ms / self.p99_without_ms


def fill(lake: Path, objects: int) -> None:
    """Put the objects through the engine, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.bulk", str(lake), BUCKET, "0", str(objects), str(objects)]
    subprocess.run(command, check=True)


def change(store: ObjectStore, percent: int, number: int) -> None:
    """Make a share of the objects old enough to go, evenly spread over the keys, and then let the rule be there."""

    def work(tx: Tx) -> None:
        tx.run(
            "UPDATE object SET modified_ms = modified_ms - ? WHERE (seq + ?) % 100 < ? AND key LIKE 'list/%'",
            (AGED_DAYS * DAY_MS, number, percent),
        )

    rule = Rule("expire", filter=Filter(prefix="list/"), expire_days=EXPIRE_DAYS)
    if percent:
        store.commit(work)
    store.commit(partial(set_lifecycle, bucket_name=LISTED, lifecycle=Lifecycle((rule,))))


def carry_out(lake: Path, percent: int, number: int, seconds: float) -> None:
    """Say go, run passes one after the other for so many seconds at least, and say what the first one did, as JSON."""
    found: list[Pass] = []
    os.nice(KEEPER_NICENESS)
    with ObjectStore(lake) as store:
        change(store, percent, number)
        print("go", flush=True)
        end = time.perf_counter() + seconds
        while not found or time.perf_counter() < end:
            objects = store.view().bucket(LISTED).usage.object_count
            begun, cpu = time.perf_counter(), time.process_time()
            try:
                report = LifecyclePass(store, Settings()).run()
            except UnavailableError:  # the keeper of the server has heard of the rule, and makes a pass of its own
                time.sleep(0.01)
                continue
            removed = sum(report.counts.values())
            found.append(Pass(objects, removed, time.perf_counter() - begun, time.process_time() - cpu))
        # Without its rule the server's own keeper finds nothing to do.
        store.commit(partial(set_lifecycle, bucket_name=LISTED, lifecycle=None))
    print(json.dumps(asdict(found[0])))


def measure(runner: Runner, server: Server, lake: Path, percent: int, options: argparse.Namespace) -> Line:
    """Measure GETs without and beside a pass in turn; a pass that removes all is held up where it is not wanted."""
    job = Job(
        server.target, "get", BUCKET, f"get/{SMALL}/", SMALL,
        keys=READ_KEYS[SMALL], connections=CONNECTIONS, seconds=options.seconds, warm_s=0.2,
    )  # fmt: skip
    without: list[Sample] = []
    beside: list[Sample] = []
    passes: list[Pass] = []
    is_long = percent == SHARES[-1]
    for number in range(1 if is_long else options.rounds):
        command = [sys.executable, "-m", "benchmarks.rules", "--pass", str(lake), "--percent", str(percent)]
        command += ["--number", str(number), "--seconds", str(options.seconds + 0.5)]
        without.append(runner.measure(server, job, "GET 4 KiB"))
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            if process.stdout.readline() != "go\n":
                raise ServerError("a lifecycle pass did not begin")
            beside.append(runner.measure(server, job, "GET 4 KiB, pass"))
            held_s = 0.0
            for _ in range(options.rounds - 1 if is_long else 0):
                begun = time.perf_counter()
                process.send_signal(signal.SIGSTOP)
                without.append(runner.measure(server, job, "GET 4 KiB"))
                process.send_signal(signal.SIGCONT)
                held_s += time.perf_counter() - begun
                beside.append(runner.measure(server, job, "GET 4 KiB, pass"))
            found = Pass(**json.loads(process.stdout.readline()))
            passes.append(replace(found, seconds=found.seconds - held_s))
    for sample in (*without, *beside):
        if sample.errors:
            raise LoadError(f"GET: {sample.first_error}")
    return Line(
        percent,
        passes,
        median(sample.p50_ms for sample in without),
        median(sample.p50_ms for sample in beside),
        median(sample.p99_ms for sample in without),
        median(sample.p99_ms for sample in beside),
    )


def render(lines: list[Line]) -> str:
    """Return the table for a terminal."""
    head = f"{'due':>5}{'objects':>12}{'removed':>11}{'pass s':>9}{'CPU s':>8}"
    out = [f"{head}{'GET p50 ms':>13}{'beside':>9}{'p99 ms':>9}{'beside':>9}{'ratio':>7}"]
    for line in lines:
        seconds = median(found.seconds for found in line.passes)
        cpu_s = median(found.cpu_s for found in line.passes)
        first = line.passes[0]
        out.append(
            f"{line.percent:>4}%{first.objects:>12,}{first.removed:>11,}{seconds:>9.1f}{cpu_s:>8.1f}"
            f"{line.p50_without_ms:>13.2f}{line.p50_with_ms:>9.2f}{line.p99_without_ms:>9.2f}{line.p99_with_ms:>9.2f}"
            f"{line.p99_ratio:>7.2f}"
        )
    out.append("")
    for line in lines:
        seconds = median(found.seconds for found in line.passes)
        for name, value, bound in (("pass, s", seconds, PASS_S_MAX), ("GET p99 ratio", line.p99_ratio, P99_RATIO_MAX)):
            verdict = "PASS" if value <= bound else "short"
            out.append(f"{line.percent:>3}% due, {name:<14}{value:>8.2f}  asked <= {bound:<6}{verdict}")
    return "\n".join(out)


def run(options: argparse.Namespace, folder: Path) -> int:
    """Do the whole run in a folder."""
    filled = options.filled or folder / "filled"
    if not filled.exists():
        print(f"filling {options.objects:,} objects on {machine.facts(folder)['cpu']}", flush=True)
        fill(filled, options.objects)
    lines = []
    for percent in SHARES:
        lake = folder / f"lake-{percent}"
        shutil.copytree(filled, lake)
        with ExitStack() as stack:
            server = stack.enter_context(start_hosu(lake, folder, f"hosu-{percent}"))
            pool = Pool(2)
            stack.callback(pool.close)
            runner = Runner(pool, seconds=options.seconds, warm_s=options.seconds / 4, list_keys=0)
            server.bucket = BUCKET
            runner.prepare(server, [Cell("get", SMALL, CONNECTIONS)])
            lines.append(measure(runner, server, lake, percent, options))
        shutil.rmtree(lake)
        print(render(lines), flush=True)
    document = {
        "machine": machine.facts(folder),
        "settings": {"rounds": options.rounds, "seconds": options.seconds, "objects": options.objects},
        "lifecycle": [asdict(line) for line in lines],
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(f"\nwritten to {options.out}")
    return 0


def main() -> int:
    """Run, and leave nothing behind but the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each run of GETs")
    parser.add_argument("--objects", type=int, default=1_000_000)
    parser.add_argument("--filled", type=Path, help="a lake filled by benchmarks.bulk, kept for the next run")
    parser.add_argument("--dir", type=Path, help="where the lakes lie while it runs; its disk is what is measured")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/local/rules.json"))
    parser.add_argument("--pass", dest="lake", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--percent", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--number", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.lake is not None:
        carry_out(options.lake, options.percent, options.number, options.seconds)
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if options.dir is not None:
        options.dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="hosu-bench-", dir=options.dir) as folder:
        try:
            return run(options, Path(folder))
        except (ServerError, LoadError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main())
