"""The cells of the table: one operation at one size over so many connections, run on one server at a time."""

from dataclasses import dataclass, replace
from itertools import count

from benchmarks.flows import KIB, MIB, Job, ahead, body_of
from benchmarks.load import LoadError, Outcome, Pool
from benchmarks.peers import Meter, Server

SMALL, MEDIUM, LARGE = 4 * KIB, 256 * KIB, 64 * MIB
SIZE_NAMES = {SMALL: "4 KiB", MEDIUM: "256 KiB", LARGE: "64 MiB"}
READ_KEYS = {SMALL: 1000, MEDIUM: 32, LARGE: 2}
WRITE_KEYS = {SMALL: 0, MEDIUM: 200, LARGE: 4}
"""How many keys a worker writes before it goes round: large objects are overwritten, to bound the disk."""

BOTO3 = "boto3-"
_serial = count(1)


@dataclass(frozen=True)
class Cell:
    """One line of the plan."""

    op: str
    size_bytes: int
    connections: int

    @property
    def name(self) -> str:
        """Return what the table calls it."""
        if self.op in {"list", "delimiter"}:
            return {"list": "LIST 1,000 keys", "delimiter": "LIST delimiter"}[self.op]
        verb = self.op.replace(BOTO3, "boto3 ") if self.op.startswith(BOTO3) else self.op.upper()
        return f"{verb} {SIZE_NAMES.get(self.size_bytes, f'{self.size_bytes} B')}"

    @property
    def family(self) -> str:
        """Return the operation a server must know: one of `Server.ops`."""
        return "boto3" if self.op.startswith(BOTO3) else self.op


@dataclass(frozen=True)
class Sample:
    """What one run of a cell on one server gave. CPU is in seconds per 1,000 operations; None where not seen."""

    server: str
    cell: str
    connections: int
    ops_per_s: float
    mib_per_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    cpu_s_per_1000: float | None
    load_cpu_s_per_1000: float
    rss_mib: float | None
    errors: int
    first_error: str


def plan(*, quick: bool, only: frozenset[str]) -> list[Cell]:
    """Return the cells of a run, deletes right after the puts they undo; `only` keeps these operations."""
    small, large = ((16,), (8,)) if quick else ((1, 16, 64), (1, 8))
    cells = [Cell(op, SMALL, n) for n in small for op in ("put", "delete", "get", "head", "list", "delimiter", "mixed")]
    cells += [Cell(op, MEDIUM, n) for n in small for op in ("put", "get")]
    cells += [Cell(op, LARGE, n) for n in large for op in ("put", "multipart", "get")]
    if quick:
        cells.append(Cell("get", LARGE, 1))
    cells += [Cell(BOTO3 + op, SMALL, 1) for op in ("put", "get")]
    cells += [Cell(BOTO3 + op, LARGE, 1) for op in ("upload", "download")]
    return [cell for cell in cells if not only or cell.op in only or cell.family in only]


class Runner:
    """Prepares servers and runs cells on them."""

    def __init__(self, pool: Pool, *, seconds: float, warm_s: float, list_keys: int) -> None:
        self._pool = pool
        self._seconds = seconds
        self._warm_s = warm_s
        self._list_keys = list_keys
        self._written: dict[tuple[str, int], Job] = {}

    def prepare(self, server: Server, cells: list[Cell]) -> None:
        """Create buckets and the objects that reads need, and read each once, so that blobs are verified."""
        if server.ops == frozenset({"get"}) or server.name == "null":
            return
        server.make_bucket(server.bucket)
        server.make_bucket(server.bucket + "-list")
        sizes = {
            cell.size_bytes for cell in cells if cell.op in {"get", "head", "mixed", BOTO3 + "get", BOTO3 + "download"}
        }
        for size in sorted(sizes):
            fill = Job(server.target, "fill", server.bucket, f"get/{size}/", size, READ_KEYS[size], 16, once=True)
            self._must(fill)
            self._must(replace(fill, op="get"))
            self._check_content(server, f"/{server.bucket}/get/{size}/{0:09d}", size)
        if any(cell.op in {"list", "delimiter", "mixed"} for cell in cells):
            self.fill_listed(server, self._list_keys, 0, self._list_keys)

    def fill_listed(self, server: Server, total: int, first: int, keys: int, size_bytes: int = 128) -> None:
        """Put a share of the objects that listings walk through."""
        self._must(
            Job(
                server.target,
                "fill-list",
                server.bucket + "-list",
                "list/",
                size_bytes,
                keys,
                64,
                once=True,
                first=first,
                list_keys=total,
            )
        )

    def run(self, server: Server, cell: Cell) -> Sample:
        """Run one cell; a failure is a sample with errors, never an exception."""
        job = self._job(server, cell)
        if cell.op == "delete":
            try:
                written = self._written.pop((server.name, cell.connections), None) or self._write(server, cell)
            except LoadError as error:
                return _failed(server, cell, str(error))
            job = replace(job, prefix=written.prefix, limits=written.limits)
        meter = Meter(server)
        try:
            outcome = self._pool.run(job, on_start=meter.start, tick=meter.sample)
        except (LoadError, OSError) as error:
            return _failed(server, cell, str(error))
        meter.stop()
        if cell.op == "put" and cell.size_bytes == SMALL:
            self._written[server.name, cell.connections] = _with_limits(job, outcome)
        return _sample(server, cell, outcome, meter)

    def measure(self, server: Server, job: Job, name: str) -> Sample:
        """Run a job that is not a cell of the table, for about the seconds it says."""
        meter = Meter(server)
        cell = Cell(job.op, job.size_bytes, job.connections)
        try:
            outcome = self._pool.run(job, on_start=meter.start, tick=meter.sample)
        except (LoadError, OSError) as error:
            return _failed(server, cell, str(error), name=name)
        meter.stop()
        return replace(_sample(server, cell, outcome, meter), cell=name)

    def _job(self, server: Server, cell: Cell) -> Job:
        reads = cell.op in {"get", "head", "mixed", BOTO3 + "get", BOTO3 + "download"}
        puts = cell.op == "put"
        prefix = f"get/{cell.size_bytes}/" if reads and cell.op != "mixed" else f"{cell.op}/{next(_serial)}/"
        if cell.size_bytes > SMALL and not reads:
            prefix = f"{cell.op}/{cell.size_bytes}/"
        return Job(
            server.target,
            cell.op,
            server.bucket,
            prefix,
            cell.size_bytes,
            keys=READ_KEYS[cell.size_bytes] if reads else WRITE_KEYS[cell.size_bytes] if puts else 0,
            connections=cell.connections,
            seconds=self._seconds,
            # One large object warms nothing that the ones put before the first round did not.
            warm_s=0.0 if cell.size_bytes == LARGE else self._warm_s,
            list_bucket=server.bucket + "-list",
            list_keys=self._list_keys,
        )

    def _write(self, server: Server, cell: Cell) -> Job:
        """Put what a delete cell needs when no put cell ran before it."""
        job = self._job(server, replace(cell, op="put"))
        return _with_limits(job, self._pool.run(job))

    def _must(self, job: Job) -> None:
        outcome = self._pool.run(job)
        if outcome.errors:
            raise LoadError(f"preparing ({job.op}, {job.size_bytes} bytes): {outcome.first_error}")

    def _check_content(self, server: Server, path: str, size: int) -> None:
        """Compare content once per size: the load generator itself compares lengths only."""
        status, body = server.request("GET", path)
        if status != 200 or len(body) != size or body[16:] != body_of(size):
            raise LoadError(f"{server.name}: GET {path} answered {status} with {len(body)} bytes, not what was put")


def _with_limits(job: Job, outcome: Outcome) -> Job:
    """Return the put job with how many different keys each worker wrote."""
    return replace(job, limits=tuple(min(result.issued, ahead(job)) for result in outcome.results))


def _sample(server: Server, cell: Cell, outcome: Outcome, meter: Meter) -> Sample:
    ops, elapsed_s = outcome.ops, outcome.elapsed_s
    if outcome.errors or not ops or not elapsed_s:
        return _failed(server, cell, outcome.first_error or "no operation completed", outcome.errors)
    times = outcome.percentiles_ms()
    return Sample(
        server.name,
        cell.name,
        cell.connections,
        ops / elapsed_s,
        outcome.payload_bytes / MIB / elapsed_s,
        times["p50"],
        times["p95"],
        times["p99"],
        None if meter.cpu_s is None else meter.cpu_s / ops * 1000,
        outcome.load_cpu_s / ops * 1000,
        meter.rss_mib_max,
        0,
        "",
    )


def _failed(server: Server, cell: Cell, reason: str, errors: int = 1, *, name: str = "") -> Sample:
    return Sample(
        server.name, name or cell.name, cell.connections, 0, 0, 0, 0, 0, None, 0, None, max(1, errors), reason
    )
