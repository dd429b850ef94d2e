"""What each operation sends: requests signed before the clock starts, as flows that connections draw from."""

import functools
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle

from benchmarks.sign import Signer
from benchmarks.wire import STAMP_BYTES, Flow, Request, Response, WireError

KIB = 1024
MIB = 1024 * KIB
PART_BYTES = 8 * MIB
LIST_KEYS = 1000
LIST_PREFIXES = 10
"""Listed keys lie under so many common prefixes whatever their number: a delimiter listing that
scanned instead of skipping would cost a hundred times more at a hundred times the keys."""

REQUESTS_MAX = 20_000
"""Most requests one process signs ahead: longer jobs go round, which overwrites."""

REQUESTS_PER_SECOND_MAX = 15_000
"""No process sends more than this; shorter jobs sign less."""


@dataclass(frozen=True)
class Target:
    """An S3 endpoint with the root key."""

    host: str
    port: int
    access: str
    secret: str


@dataclass(frozen=True)
class Job:
    """One operation by one or more processes for some seconds. `keys` counts objects that exist for reads."""

    target: Target
    op: str
    bucket: str
    prefix: str = ""
    size_bytes: int = 4 * KIB
    keys: int = 0
    connections: int = 1
    seconds: float = 1.0
    warm_s: float = 0.0
    once: bool = False
    """Send each request once and stop, however long it takes: filling and reading all."""
    list_bucket: str = ""
    list_keys: int = 0
    limits: tuple[int, ...] = ()
    """How many of its own keys each worker deletes."""
    first: int = 0
    """Number of the first key of a fill."""
    worker: int = 0
    workers: int = 1


@functools.cache
def payload(size_bytes: int) -> memoryview:
    """Return incompressible bytes, the same in every process, so that what is read can be compared."""
    return memoryview(random.Random(1).randbytes(MIB) * -(-size_bytes // MIB))[:size_bytes]


def body_of(size_bytes: int) -> memoryview:
    """Return what follows the stamp in a body of this size."""
    assert size_bytes >= STAMP_BYTES
    return payload(size_bytes)[STAMP_BYTES:]


def read_key(prefix: str, number: int) -> str:
    """Name an object that reads ask for."""
    return f"{prefix}{number:09d}"


def listed_key(prefix: str, number: int, total: int) -> str:
    """Name the object at this place of a listing of `total` keys."""
    return f"{prefix}p{number * LIST_PREFIXES // total}/{number:09d}"


def written_key(job: Job, number: int) -> str:
    """Name an object that one worker writes and may delete again."""
    return f"{job.prefix}{job.worker}/{number:08d}"


def build(job: Job) -> list[Flow]:
    """Return one flow per connection; simple operations share one, so no key is drawn twice in a lap."""
    signer = Signer(f"{job.target.host}:{job.target.port}", job.target.access, job.target.secret)
    if job.op == "multipart":
        return [_multipart(job, signer, number) for number in range(job.connections)]
    if job.op.startswith("fill"):
        flow = _draw(_fill(job, signer))
    else:
        requests = BUILDERS[job.op](job, signer)
        flow = _draw(iter(requests) if job.once or job.op == "delete" else cycle(requests))
    return [flow] * job.connections


def _draw(requests: Iterator[Request]) -> Flow:
    for request in requests:  # noqa: UP028 - what is sent in is an answer, which an iterator cannot take
        yield request


def ahead(job: Job) -> int:
    """Return how many requests a worker signs before the clock starts."""
    return min(REQUESTS_MAX, int((job.seconds + job.warm_s) * REQUESTS_PER_SECOND_MAX) + job.connections)


def _numbers(job: Job) -> list[int]:
    """Return which keys this worker reads: all of its share when each is read once, else a sample in random order."""
    share = range(job.worker, job.keys, job.workers)
    if job.once:
        return list(share)
    return random.Random(job.worker).sample(share, min(len(share), ahead(job)))


def _put(job: Job, signer: Signer) -> list[Request]:
    keys = job.keys or ahead(job)
    return [_put_request(job, signer, written_key(job, number)) for number in range(keys)]


def _put_request(job: Job, signer: Signer, key: str) -> Request:
    head = signer.head("PUT", f"/{job.bucket}/{key}", content_bytes=job.size_bytes)
    return Request(head, body_of(job.size_bytes), payload_bytes=job.size_bytes)


def _fill(job: Job, signer: Signer) -> Iterator[Request]:
    """Yield a put of each key of this worker's share, signed as it is drawn: a fill may be long."""
    for number in range(job.first + job.worker, job.first + job.keys, job.workers):
        if job.op == "fill-list":
            yield _put_request(job, signer, listed_key(job.prefix, number, job.list_keys))
        else:
            yield _put_request(job, signer, read_key(job.prefix, number))


def _get(job: Job, signer: Signer) -> list[Request]:
    size = job.size_bytes
    return [
        Request(signer.head("GET", f"/{job.bucket}/{read_key(job.prefix, n)}"), payload_bytes=size, expect_bytes=size)
        for n in _numbers(job)
    ]


def _get_listed(job: Job, signer: Signer) -> list[Request]:
    size = job.size_bytes
    return [
        Request(
            signer.head("GET", f"/{job.bucket}/{listed_key(job.prefix, n, job.keys)}"),
            payload_bytes=size,
            expect_bytes=size,
        )
        for n in _numbers(job)
    ]


def _head(job: Job, signer: Signer) -> list[Request]:
    return [
        Request(
            signer.head("HEAD", f"/{job.bucket}/{read_key(job.prefix, n)}"),
            expect_bytes=job.size_bytes,
            bodiless=True,
        )
        for n in _numbers(job)
    ]


def _delete(job: Job, signer: Signer) -> list[Request]:
    return [
        Request(signer.head("DELETE", f"/{job.bucket}/{written_key(job, n)}")) for n in range(job.limits[job.worker])
    ]


def _list(job: Job, signer: Signer) -> list[Request]:
    """Return full pages that differ from each other: each begins at a key of its own."""
    starts = range(job.list_keys - LIST_KEYS)
    chosen = random.Random(job.worker).sample(starts, min(len(starts), 2_000))
    return [
        _list_request(job, signer, (("start-after", listed_key("list/", number, job.list_keys)),)) for number in chosen
    ]


def _delimiter(job: Job, signer: Signer) -> list[Request]:
    """Return pages of common prefixes, each starting at another key of the first prefix."""
    first = range(job.list_keys // LIST_PREFIXES - 1)
    chosen = random.Random(job.worker).sample(first, min(len(first), 2_000))
    return [
        _list_request(job, signer, (("delimiter", "/"), ("start-after", listed_key("list/", number, job.list_keys))))
        for number in chosen
    ]


def _list_request(job: Job, signer: Signer, more: tuple[tuple[str, str], ...]) -> Request:
    query = (("list-type", "2"), ("max-keys", str(LIST_KEYS)), ("prefix", "list/"), *more)
    return Request(signer.head("GET", f"/{job.list_bucket or job.bucket}", query))


def _mixed(job: Job, signer: Signer) -> list[Request]:
    """Return blocks of 14 GET, 4 PUT, 1 DELETE of a key put a block before, and 1 LIST, each block shuffled."""
    blocks = max(2, ahead(job) // 20)
    chance = random.Random(job.worker)
    lists = cycle(_list(job, signer))
    # Mixed reads the objects of the 4 KiB GET cells; what it writes has a prefix of its own.
    reads = [
        Request(
            signer.head("GET", f"/{job.bucket}/{read_key(f'get/{job.size_bytes}/', n)}"),
            payload_bytes=job.size_bytes,
            expect_bytes=job.size_bytes,
        )
        for n in _numbers(job)
    ]
    requests: list[Request] = []
    for block in range(blocks):
        some = [chance.choice(reads) for _ in range(14)]
        some += [_put_request(job, signer, written_key(job, block * 4 + n)) for n in range(4)]
        before = (block - 1) % blocks
        some.append(Request(signer.head("DELETE", f"/{job.bucket}/{written_key(job, before * 4)}")))
        some.append(next(lists))
        chance.shuffle(some)
        requests += some
    return requests


def _multipart(job: Job, signer: Signer, connection: int) -> Flow:
    """Upload an object in parts, again and again. Only here is a head signed while the clock runs: one per 8 MiB."""
    path = f"/{job.bucket}/{job.prefix}{job.worker}-{connection}"
    part = body_of(PART_BYTES)
    while True:
        begun = yield Request(signer.head("POST", path, (("uploads", ""),), content_bytes=0), collect=True, last=False)
        upload = _between(begun, rb"<UploadId>([^<]+)</UploadId>").decode()
        complete = "<CompleteMultipartUpload>"
        for number in range(1, job.size_bytes // PART_BYTES + 1):
            query = (("partNumber", str(number)), ("uploadId", upload))
            head = signer.head("PUT", path, query, content_bytes=PART_BYTES)
            stored = yield Request(head, part, payload_bytes=PART_BYTES, collect=True, last=False)
            tag = _between(stored, rb"(?i)\r\netag: *([^\r]+)\r\n").decode()
            complete += f"<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>"
        xml = (complete + "</CompleteMultipartUpload>").encode()
        head = signer.head("POST", path, (("uploadId", upload),), content_bytes=len(xml))
        done = yield Request(head, memoryview(xml), collect=True, stamped=False)
        _between(done, rb"(<CompleteMultipartUploadResult)")


def _between(response: Response | None, pattern: bytes) -> bytes:
    assert response is not None
    found = re.search(pattern, response.head + b"\r\n" + response.body)
    if found is None:
        raise WireError(f"answer {response.status} lacks {pattern!r}: {response.body[:200]!r}")
    return found[1]


BUILDERS: dict[str, Callable[[Job, Signer], list[Request]]] = {
    "put": _put,
    "get": _get,
    "get-listed": _get_listed,
    "head": _head,
    "delete": _delete,
    "list": _list,
    "delimiter": _delimiter,
    "mixed": _mixed,
}
