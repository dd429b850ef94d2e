"""What identity, encryption and the audit log cost: each beside the same request without it, interleaved in one run.

`python -m benchmarks.identity`, from the root of the repository; how to read it: docs/reference/benchmarks.md.
"""

import argparse
import base64
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks import machine
from benchmarks.cells import LARGE, READ_KEYS, SMALL, Cell, Runner, Sample
from benchmarks.flows import Job, Target
from benchmarks.load import LoadError, Pool
from benchmarks.peers import ACCESS, Server, ServerError, start_hosu

import hosu
from hosu.identity.authority import Authority
from hosu.identity.policies import attach, put_policy
from hosu.identity.users import put_user
from hosu.identity.vault import Vault
from hosu.kernel.auth import NO_CONTEXT
from hosu.objects.audit_switch import set_reads
from hosu.objects.buckets import set_document
from hosu.objects.encryption.defaults import DOCUMENT, BucketEncryption, encode_bucket_encryption
from hosu.objects.records import EncryptionMode
from hosu.objects.transaction import Tx

USERS, POLICIES = 10_000, 1_000
STATEMENTS = 5
"""Statements of each policy that is there to be in the way."""

POLICIES_OF_A_USER = 3
USERS_PER_TRANSACTION = 2_000
SECRET = "benchmarks-secret-of-a-user"
READER, SHARED_READER, KEY = "user-reader", "user-shared", "key-of-reader"
PLAIN, SHARED, READS, SEALED = "bench", "bench-shared", "bench-reads", "bench-sealed"
BUCKETS = (PLAIN, SHARED, READS, SEALED)

CPU_ADDED_US_MAX, CPU_ADDED_SHARE_MAX = 4.0, 0.10
"""What a decision may add to the CPU of GET 4 KiB: the larger of the two."""

SEALED_SHARE_MIN = 0.7
DECISIONS = 20_000


@dataclass(frozen=True)
class Way:
    """One request done in one way. The first way of a cell is what the others are compared with."""

    name: str
    cell: str
    op: str
    size_bytes: int
    connections: int
    bucket: str = PLAIN
    access: str = ""
    server: str = "hosu"


def ways() -> list[Way]:
    """Return all ways, those of one cell side by side."""
    get, put = partial(Way, op="get", connections=16), partial(Way, op="put", connections=16)
    small: list[Way] = [
        get("root", "GET 4 KiB", size_bytes=SMALL),
        get(f"user of {USERS:,}", "GET 4 KiB", size_bytes=SMALL, access=READER),
        get("service account, cut", "GET 4 KiB", size_bytes=SMALL, access=KEY),
        get("bucket policy", "GET 4 KiB", size_bytes=SMALL, bucket=SHARED, access=SHARED_READER),
        get("root, reads audited", "GET 4 KiB", size_bytes=SMALL, bucket=READS),
        put("no audit", "PUT 4 KiB", size_bytes=SMALL, server="hosu, no audit"),
        put("audit", "PUT 4 KiB", size_bytes=SMALL),
        put("audit, SSE-S3", "PUT 4 KiB", size_bytes=SMALL, bucket=SEALED),
    ]
    large = [
        Way(name, f"{op.upper()} 64 MiB", op, LARGE, connections, bucket)
        for op, connections in (("get", 1), ("get", 8), ("put", 8))
        for name, bucket in (("plain", PLAIN), ("SSE-S3", SEALED))
    ]
    return small + large


# The lake


def policy_of(actions: Sequence[str], resources: Iterable[str], **more: object) -> str:
    """Return a policy that allows actions on resources."""
    arns = [f"arn:aws:s3:::{resource}" for resource in resources]
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": arns, **more}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def other_policy(number: int) -> str:
    """Return a policy about somebody else's buckets."""
    statements = [
        {
            "Effect": "Allow" if index else "Deny",
            "Action": ["s3:GetObject", "s3:PutObject"],
            "Resource": f"arn:aws:s3:::tenant-{number}-{index}/*",
        }
        for index in range(STATEMENTS)
    ]
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def populate(lake: hosu.Lake) -> None:
    """Make the buckets, and a crowd of users and policies around the two users that are measured."""
    for name in BUCKETS:
        lake.create_bucket(name)
        lake.create_bucket(f"{name}-list")
    chance, vault = random.Random(1), Vault(lake.store)
    names = [f"policy-{number}" for number in range(POLICIES)]

    def put_policies(tx: Tx) -> None:
        for number, name in enumerate(names):
            put_policy(tx, name, other_policy(number))

    def put_users(tx: Tx, first: int, end: int) -> None:
        for number in range(first, end):
            put_user(tx, vault, f"user-{number}", SECRET)
            attach(tx, chance.sample(names, POLICIES_OF_A_USER), user=f"user-{number}")

    lake.store.commit(put_policies)
    for first in range(0, USERS, USERS_PER_TRANSACTION):
        lake.store.commit(partial(put_users, first=first, end=min(USERS, first + USERS_PER_TRANSACTION)))
    lake.policies.put("read", policy_of(["s3:GetObject"], [f"{PLAIN}/*"]))
    lake.users.add(READER, SECRET, policies=["read", *names[: POLICIES_OF_A_USER - 1]])
    lake.users.add(SHARED_READER, SECRET, policies=names[:POLICIES_OF_A_USER])
    lake.keys.create(READER, access_key=KEY, secret=SECRET, policy=policy_of(["s3:*"], [f"{PLAIN}/get/*"]))
    shared = policy_of(["s3:GetObject"], [f"{SHARED}/*"], Principal={"AWS": [f"arn:aws:iam:::user/{SHARED_READER}"]})
    sealed = encode_bucket_encryption(BucketEncryption(EncryptionMode.SSE_S3))
    lake.store.commit(partial(set_document, name=SHARED, kind="policy", body=shared))
    lake.store.commit(partial(set_document, name=SEALED, kind=DOCUMENT, body=sealed))
    lake.store.commit(partial(set_reads, bucket=READS, is_on=True))


def decision_times(lake: hosu.Lake) -> dict[str, float]:
    """Return microseconds of one decision, asked again and again in this process; the best of five runs."""
    authority = Authority(lake.store, (ACCESS, "benchmarks-root"))
    asked = {
        "root": (ACCESS, PLAIN),
        "user": (READER, PLAIN),
        "service account, cut": (KEY, PLAIN),
        "bucket policy": (SHARED_READER, SHARED),
    }
    found = {}
    for name, (access, bucket) in asked.items():
        principal, resource = authority.principal(access, None), f"{bucket}/get/{SMALL}/{0:09d}"
        times = []
        for _ in range(5):
            begun = time.perf_counter()
            for _ in range(DECISIONS):
                authority.authorize(principal, "s3:GetObject", resource, NO_CONTEXT)
            times.append((time.perf_counter() - begun) / DECISIONS * 1e6)
        found[name] = min(times)
    return found


# The run


def prepare(runner: Runner, server: Server) -> None:
    """Put what the reads of this server ask for into each bucket."""
    for bucket in BUCKETS:
        sizes = [SMALL] if bucket in {SHARED, READS} else [SMALL, LARGE]
        server.bucket = bucket
        runner.prepare(server, [Cell("get", size, 16) for size in sizes])


def job_of(way: Way, server: Server, seconds: float) -> Job:
    """Return the job of a way."""
    target = server.target
    if way.access:
        target = Target(target.host, target.port, way.access, SECRET)
    is_read = way.op == "get"
    return Job(
        target,
        way.op,
        way.bucket,
        f"{way.op}/{way.size_bytes}/",
        way.size_bytes,
        keys=READ_KEYS[way.size_bytes] if is_read else 4 if way.size_bytes == LARGE else 0,
        connections=way.connections,
        seconds=seconds,
        warm_s=0.0 if way.size_bytes == LARGE else seconds / 4,
    )


def measure(runner: Runner, servers: dict[str, Server], rounds: int, seconds: float) -> list[tuple[Way, Sample]]:
    """Run all ways in turn, several rounds; the order within a cell turns around every other round."""
    samples = []
    for number in range(rounds):
        for way in ways()[:: -1 if number % 2 else 1]:
            server = servers[way.server]
            sample = runner.measure(server, job_of(way, server, seconds), f"{way.cell}: {way.name}")
            if sample.errors:
                raise LoadError(f"{way.cell}, {way.name}: {sample.first_error}")
            samples.append((way, replace(sample, server=way.server)))
        print(f"  round {number + 1} of {rounds}", flush=True)
    return samples


@dataclass(frozen=True)
class Line:
    """The medians of one way, and how they compare with the first way of its cell."""

    cell: str
    connections: int
    way: str
    ops_per_s: float
    mib_per_s: float
    cpu_us: float
    ratio: float
    cpu_added_us: float


def lines_of(samples: list[tuple[Way, Sample]]) -> list[Line]:
    """Return a line for each way. CPU is that of the server, in microseconds for each operation."""
    found: list[Line] = []
    firsts: dict[tuple[str, int], tuple[float, float]] = {}
    for way in ways():
        group = [sample for other, sample in samples if other == way]
        ops, mib = median(sample.ops_per_s for sample in group), median(sample.mib_per_s for sample in group)
        cpu = median((sample.cpu_s_per_1000 or 0.0) * 1000 for sample in group)
        first = firsts.setdefault((way.cell, way.connections), (ops, cpu))
        found.append(Line(way.cell, way.connections, way.name, ops, mib, cpu, ops / first[0], cpu - first[1]))
    return found


def verdicts(lines: list[Line], decisions: dict[str, float]) -> list[tuple[str, float, str, bool]]:
    """Return what was asked for: name, what was reached, the bound, and whether it holds."""
    found = []
    gets = [line for line in lines if line.cell == "GET 4 KiB"]
    bound = max(CPU_ADDED_US_MAX, gets[0].cpu_us * CPU_ADDED_SHARE_MAX)
    for line in gets[1:4]:
        name = f"GET 4 KiB, {line.way}: CPU added, us"
        found.append((name, line.cpu_added_us, f"<= {bound:.1f}", line.cpu_added_us <= bound))
    for name, time_us in decisions.items():
        found.append((f"one decision, {name}, us", time_us, f"<= {CPU_ADDED_US_MAX:.1f}", time_us <= CPU_ADDED_US_MAX))
    for line in lines:
        if line.cell.endswith("64 MiB") and line.way == "SSE-S3":
            name = f"{line.cell} SSE-S3 / plain, {line.connections} conn."
            found.append((name, line.ratio, f">= {SEALED_SHARE_MIN}", line.ratio >= SEALED_SHARE_MIN))
    return found


def render(lines: list[Line], found: list[tuple[str, float, str, bool]]) -> str:
    """Return the tables for a terminal."""
    out = [
        f"{'operation':<12}{'conn.':>6}  {'way':<22}{'ops/s':>9}{'MiB/s':>8}{'CPU us':>10}{'ratio':>7}{'added us':>10}"
    ]
    for line in lines:
        figures = f"{line.ops_per_s:>9,.0f}{line.mib_per_s:>8,.0f}{line.cpu_us:>10,.1f}{line.ratio:>7.2f}"
        out.append(f"{line.cell:<12}{line.connections:>6}  {line.way:<22}{figures}{line.cpu_added_us:>10,.1f}")
    out += ["", f"{'target':<48}{'reached':>10}{'asked':>10}  verdict"]
    out += [
        f"{name:<48}{value:>10.2f}{bound:>10}  {'PASS' if holds else 'short'}" for name, value, bound, holds in found
    ]
    return "\n".join(out)


def run(options: argparse.Namespace, folder: Path) -> int:
    """Do the whole run in a folder."""
    key = {"HOSU_LAKE_KEY": base64.b64encode(os.urandom(32)).decode()}
    os.environ |= key
    print(f"making {USERS:,} users and {POLICIES:,} policies on {machine.facts(folder)['cpu']}", flush=True)
    with hosu.open(folder / "lake") as lake:
        populate(lake)
        decisions = decision_times(lake)
    with hosu.open(folder / "unaudited") as lake:
        for name in BUCKETS:
            lake.create_bucket(name)
    with ExitStack() as stack:
        servers = {
            "hosu": start_hosu(folder / "lake", folder, "hosu", key),
            "hosu, no audit": start_hosu(folder / "unaudited", folder, "unaudited", {**key, "HOSU_AUDIT": "false"}),
        }
        for server in servers.values():
            stack.callback(server.stop)
        pool = Pool(2)
        stack.callback(pool.close)
        runner = Runner(pool, seconds=options.seconds, warm_s=options.seconds / 4, list_keys=0)
        prepare(runner, servers["hosu"])
        samples = measure(runner, servers, options.rounds, options.seconds)
    lines = lines_of(samples)
    found = verdicts(lines, decisions)
    print(render(lines, found))
    document = {
        "machine": machine.facts(folder),
        "settings": {"rounds": options.rounds, "seconds": options.seconds, "users": USERS, "policies": POLICIES},
        "decisions_us": decisions,
        "lines": [asdict(line) for line in lines],
        "targets": [
            {"target": name, "reached": value, "asked": bound, "holds": ok} for name, value, bound, ok in found
        ],
        "samples": [asdict(sample) for _, sample in samples],
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(f"\nwritten to {options.out}")
    return 0


def main() -> int:
    """Run, and leave nothing behind but the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each run of a way")
    parser.add_argument("--dir", type=Path, help="where the lakes lie while it runs; its disk is what is measured")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/local/identity.json"))
    options = parser.parse_args()
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
