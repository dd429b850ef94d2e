"""How fast the object store is: hosu, its peers and the machine's own limits, interleaved in one run.

`python -m benchmarks.objects --quick`, from the root of the repository; how to read it: docs/reference/benchmarks.md.
"""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from benchmarks import machine, report, stages
from benchmarks.cells import BOTO3, LARGE, READ_KEYS, SMALL, Cell, Runner, Sample, plan
from benchmarks.flows import MIB
from benchmarks.load import LoadError, Pool
from benchmarks.peers import Server, ServerError, parse_peer, start_hosu, start_moto, start_null, start_sendfile

QUICK_BUDGET_S, FULL_BUDGET_S = 60.0, 420.0
"""What the rounds should take together; moto, memory, start-up, filling and growth come on top."""

ROUNDS_S_MAX = 600.0
"""No further round is begun when the rounds would take longer than this in the end."""

CELL_S_MIN, CELL_S_MAX = 0.4, 3.0
OVERHEAD_S = 0.35
"""What a run of a cell takes beside its seconds: signing, connecting, finishing what is under way."""

WARM_SHARE = 0.25
DISK_BYTES_MIN = 8 * 1024 * MIB
BUILT_IN = ("hosu", "moto", "null", "sendfile")


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="about two minutes instead of a quarter of an hour")
    parser.add_argument(
        "--only", default="", help="operations, as put,get,boto3; leaves out stages not named: start,memory,growth"
    )
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=URL,ACCESS,SECRET")
    parser.add_argument("--without", default="", help=f"servers to leave out, of {','.join(BUILT_IN)}")
    parser.add_argument("--keys", default="", help="sizes of the growth lakes, as 10000,1000000,10000000")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, help="of each run of a cell; by default what the time allows")
    parser.add_argument("--processes", type=int, default=2, help="load generator processes")
    parser.add_argument(
        "--dir", type=Path, help="where lakes and files lie while it runs; its disk is what is measured"
    )
    parser.add_argument("--filled", type=Path, help="keep filled lakes here for later runs")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/local/objects.json"))
    return parser.parse_args(argv)


def start_all(options: argparse.Namespace, folder: Path, stack: ExitStack) -> list[Server]:
    """Start every server of the run; those given by address are only looked up."""
    left_out = set(options.without.split(","))
    starters: dict[str, Callable[[], Server]] = {
        "hosu": lambda: start_hosu(folder / "lake", folder),
        "moto": lambda: start_moto(folder),
        "null": lambda: start_null(folder),
        "sendfile": lambda: start_sendfile(folder),
    }
    servers = []
    for name, start in starters.items():
        if name not in left_out:
            server = start()
            stack.callback(server.stop)
            servers.append(server)
    return [*servers, *(parse_peer(text) for text in options.peer)]


def takes_part(server: Server, cell: Cell, number: int = 0) -> bool:
    """Return whether a server runs a cell in this round.

    The limits only do what they are a limit for: small reads the null server, large ones sendfile. moto answers a few
    hundred requests a second, so it runs once, and not over 64 connections: waiting for it would take most of the time.
    """
    if server.name == "null" and cell.op in {"get", "head"}:
        return cell.size_bytes == SMALL
    if server.name == "sendfile":
        return cell.op == "get" and cell.size_bytes == LARGE
    if server.name == "moto" and (number or cell.connections > 16):
        return False
    return cell.family in server.ops


def cell_seconds(options: argparse.Namespace, runs: int) -> float:
    """Return how long each run of a cell may take so that all rounds stay in their budget."""
    if options.seconds is not None:
        return float(options.seconds)
    budget = QUICK_BUDGET_S if options.quick else FULL_BUDGET_S
    each = budget / max(1, runs * int(options.rounds)) - OVERHEAD_S
    return min(CELL_S_MAX, max(CELL_S_MIN, each / (1 + WARM_SHARE)))


def run_rounds(
    runner: Runner, servers: list[Server], cells: list[Cell], folder: Path, options: argparse.Namespace
) -> tuple[list[Sample], dict[str, float]]:
    """Run every cell on every server in turn, several rounds; a server that fails a cell is not asked for it again."""
    samples: list[Sample] = []
    limits: dict[str, list[float]] = {}
    broken: set[tuple[str, Cell]] = set()
    first = time.monotonic()
    for number in range(options.rounds):
        begun = time.monotonic()
        if number and (begun - first) / number * (number + 1) > ROUNDS_S_MAX:
            print(f"  stopped after {number} rounds: another would not end in time")
            break
        for name, value in machine.limits(folder, 0.3 if options.quick else 1.0).items():
            limits.setdefault(name, []).append(value)
        for cell in cells:
            if cell.size_bytes == LARGE and shutil.disk_usage(folder).free < DISK_BYTES_MIN:
                print(f"  {cell.name} left out: less than {DISK_BYTES_MIN // MIB} MiB of disk free")
                continue
            for server in servers:
                if takes_part(server, cell, number) and (server.name, cell) not in broken:
                    sample = runner.run(server, cell)
                    samples.append(sample)
                    if sample.errors:
                        broken.add((server.name, cell))
        print(f"  round {number + 1} of {options.rounds}: {time.monotonic() - begun:.0f} s", flush=True)
    return samples, {name: median(values) for name, values in limits.items()}


def run_stages(
    runner: Runner, hosu: Server, folder: Path, options: argparse.Namespace, found: stages.Stages, *, large_read: bool
) -> None:
    """Measure what concerns hosu alone; every server but this one is idle meanwhile."""
    only = set(filter(None, options.only.split(",")))
    if not only or "memory" in only:
        stages.loaded_memory(runner, hosu, folder, found)
    if hosu.restart is not None and large_read:
        restart = hosu.restart
        hosu.stop()
        with restart() as again:
            stages.first_read(runner, again, found)
    sizes = [int(text) for text in options.keys.split(",") if text] or (
        [10_000] if options.quick else [10_000, 1_000_000]
    )
    if not only or "growth" in only:
        lakes = options.filled or folder / "filled"
        seconds = 0.5 if options.quick else 1.5
        stages.growth(runner, lakes, sizes, seconds, options.rounds, found)


def run(options: argparse.Namespace, folder: Path) -> int:
    """Do the whole run in a folder; return the exit status: 1 when a cell of hosu failed."""
    only = frozenset(filter(None, options.only.split(",")))
    cells = plan(quick=options.quick, only=only)
    found = stages.Stages()
    facts = machine.facts(folder)
    with ExitStack() as stack:
        servers = start_all(options, folder, stack)
        hosu = next((server for server in servers if server.name == "hosu"), None)
        if hosu is not None:
            if not only or "start" in only:
                stack.callback((hosu := stages.restarts(hosu, "0 objects", found)).stop)
                servers[0] = hosu
            stages.idle_memory(hosu, found)
        pool = Pool(options.processes)
        stack.callback(pool.close)
        runs = sum(takes_part(server, cell, 1) for server in servers for cell in cells)
        seconds = cell_seconds(options, runs)
        list_keys = 3_000 if options.quick else 5_000
        runner = Runner(pool, seconds=seconds, warm_s=seconds * WARM_SHARE, list_keys=list_keys)
        print(f"{runs} runs of {seconds:.2f} s in each of {options.rounds} rounds on {facts['cpu']}", flush=True)
        for server in servers:
            runner.prepare(server, cells)
        samples, limits = run_rounds(runner, servers, cells, folder, options)
        if hosu is not None:
            large = any(cell.size_bytes == LARGE and cell.op in {"get", BOTO3 + "download"} for cell in cells)
            try:
                run_stages(runner, hosu, folder, options, found, large_read=large)
            except (ServerError, LoadError) as error:
                # The rounds are done by now and worth keeping.
                found.notes.append(f"stopped: {error}")
    lines = report.medians(samples)
    verdicts = report.verdicts(lines, limits, found)
    settings = {"quick": options.quick, "rounds": options.rounds, "seconds": seconds, "processes": options.processes}
    settings |= {"list_keys": list_keys, "read_keys": READ_KEYS, "only": sorted(only)}
    report.save(options.out, facts, settings, samples, limits, found, verdicts)
    print(report.render(lines, limits, found, verdicts))
    print(f"\nwritten to {options.out}")
    return int(any(line.failed for line in lines if line.server == "hosu"))


def main() -> int:
    options = arguments(sys.argv[1:])
    # A terminated run still ends the servers it started: SystemExit unwinds through them.
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
