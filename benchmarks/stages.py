"""What is measured on hosu alone, outside the rounds: memory, start-up, the first read, growth."""

import shutil
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.cells import LARGE, SMALL, Runner, Sample
from benchmarks.fill import BODY_BYTES, start_filled
from benchmarks.flows import MIB, Job
from benchmarks.peers import Server, memory_mib

STARTS = 3
MEMORY_CONNECTIONS = 64
MEMORY_DISK_BYTES = 3 * MEMORY_CONNECTIONS * LARGE
"""Free space asked for before 64 connections each put 64 MiB: twice what they write, and some."""

IDLE_S = 2.0


@dataclass
class Stages:
    """Figures by name; growth by number of keys, then by operation."""

    memory_mib: dict[str, float] = field(default_factory=dict)
    start_s: dict[str, float] = field(default_factory=dict)
    first_read_mib_s: dict[str, float] = field(default_factory=dict)
    growth: dict[str, dict[str, float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def idle_memory(server: Server, stages: Stages) -> None:
    """Note the memory of a server that was started a moment ago and serves nobody."""
    time.sleep(IDLE_S)
    stages.memory_mib |= {f"idle {kind}": value for kind, value in memory_mib(server).items()}


def loaded_memory(runner: Runner, server: Server, folder: Path, stages: Stages) -> None:
    """Put one 64 MiB object over each of 64 connections at once and note the most memory held."""
    free = shutil.disk_usage(folder).free
    if free < MEMORY_DISK_BYTES:
        stages.notes.append(f"memory under load not measured: {free // MIB} MiB of disk free")
        return
    job = Job(
        server.target, "put", server.bucket, "memory/", LARGE, keys=MEMORY_CONNECTIONS, connections=MEMORY_CONNECTIONS,
        seconds=0.5,
    )  # fmt: skip
    sample = runner.measure(server, job, "memory")
    if sample.errors or sample.rss_mib is None:
        stages.notes.append(f"memory under load not measured: {sample.first_error}")
        return
    stages.memory_mib["64 x PUT 64 MiB rss"] = sample.rss_mib


def restarts(server: Server, label: str, stages: Stages) -> Server:
    """Stop and start a server several times; note the median time until it is ready and return the last one."""
    times = []
    for _ in range(STARTS):
        restart = server.restart
        assert restart is not None
        server.stop()
        server = restart()
        times.append(server.start_s)
    stages.start_s[label] = median(times)
    return server


def first_read(runner: Runner, server: Server, stages: Stages) -> None:
    """Read 64 MiB right after a restart, then again: the difference is what verifying costs."""
    job = Job(server.target, "get", server.bucket, f"get/{LARGE}/", LARGE, keys=1, once=True)
    for label in ("first", "second"):
        sample = runner.measure(server, job, f"{label} read")
        if sample.errors:
            stages.notes.append(f"first read not measured: {sample.first_error}")
            return
        stages.first_read_mib_s[label] = sample.mib_per_s


def growth(runner: Runner, lakes: Path, sizes: list[int], seconds: float, rounds: int, stages: Stages) -> None:
    """Run the same operations on lakes of different size in turn, all started, each idle while another works."""
    with ExitStack() as stack:
        servers: dict[int, Server] = {}
        for keys in sizes:
            server = restarts(start_filled(lakes, keys), f"{keys} objects", stages)
            servers[keys] = stack.enter_context(server)
        samples: dict[tuple[int, str], list[Sample]] = {}
        for number in range(rounds):
            for op in ("get", "put", "list", "delimiter"):
                for keys, server in servers.items():
                    sample = runner.measure(server, _growth_job(server, op, keys, number, seconds), f"{op} at {keys:,}")
                    samples.setdefault((keys, op), []).append(sample)
    for (keys, op), found in samples.items():
        if errors := [sample.first_error for sample in found if sample.errors]:
            stages.notes.append(f"growth: {op} at {keys:,} keys failed: {errors[0]}")
            continue
        of_size = stages.growth.setdefault(str(keys), {})
        of_size[f"{op}_per_s"] = median(sample.ops_per_s for sample in found)
        if all(sample.cpu_s_per_1000 is not None for sample in found):
            of_size[f"{op}_cpu_s_per_1000"] = median(sample.cpu_s_per_1000 or 0.0 for sample in found)


def _growth_job(server: Server, op: str, keys: int, number: int, seconds: float) -> Job:
    bucket = server.bucket + "-list"
    if op == "get":
        return Job(server.target, "get-listed", bucket, "list/", BODY_BYTES, keys, 16, seconds, warm_s=seconds / 2)
    if op == "put":
        # Beside the listed prefix, in the same bucket: listings of later rounds stay what they are.
        return Job(server.target, "put", bucket, f"put/{number}/", SMALL, 0, 16, seconds, warm_s=seconds / 4)
    return Job(server.target, op, bucket, "list/", connections=1, seconds=seconds, warm_s=seconds / 4, list_keys=keys)
