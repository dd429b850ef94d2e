"""Nobody waits for others: small GETs are answered while large PUTs and long LISTs run.

Only counts are held, against the same machine a moment before; the waiting times are printed for people.
"""

import http.client
import io
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.config import Config
from tests.support.clients import S3Client, boto3_client, patterned
from tests.support.http import signed_headers
from tests.support.server import Endpoint

MIB = 1024 * 1024
PUT_BYTES = 64 * MIB
PUTS = 4
LISTERS = 2
FOLDERS = 300
SHARE_MIN = 1 / 100
"""Of the idle rate, which is thousands a second: two cores are shared by the load, its clients and other tests."""

pytestmark = pytest.mark.conformance("s3", "GetObject")


class SmallReader:
    """Reads one small object again and again over one connection, and remembers how long each read took."""

    def __init__(self, server: Endpoint, path: str, body: bytes) -> None:
        self._connection = http.client.HTTPConnection(server.host, timeout=60)
        self._path, self._body = path, body
        self._headers = signed_headers(server, "GET", path)

    def read_while(self, condition: Callable[[], bool]) -> list[float]:
        waits = []
        while condition():
            began = time.perf_counter()
            self._connection.request("GET", self._path, headers=self._headers)
            answer = self._connection.getresponse()
            assert (answer.status, answer.read()) == (200, self._body)
            waits.append(time.perf_counter() - began)
        return waits

    def close(self) -> None:
        self._connection.close()


def told(name: str, waits: list[float]) -> str:
    cuts = statistics.quantiles(waits, n=100)
    return f"{name}: {len(waits)} GETs, p50 {cuts[49] * 1000:.2f} ms, p99 {cuts[98] * 1000:.2f} ms"


def test_small_gets_go_on_while_large_puts_and_long_listings_run(server: Endpoint, s3: S3Client, bucket: str) -> None:
    small = patterned(4096)
    s3.put_object(Bucket=bucket, Key="small", Body=small)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: s3.put_object(Bucket=bucket, Key=f"f{n:04}/a/b", Body=b""), range(FOLDERS)))
    reader = SmallReader(server, f"/{bucket}/small", small)
    heavy = boto3_client(
        server, Config(max_pool_connections=PUTS + LISTERS, request_checksum_calculation="when_required")
    )
    large = patterned(PUT_BYTES)
    stored = threading.Event()
    pages = []

    def put(number: int) -> None:
        heavy.put_object(Bucket=bucket, Key=f"large/{number}", Body=io.BytesIO(large))

    def list_folders(_: int) -> None:
        while not stored.is_set():
            page = heavy.list_objects_v2(Bucket=bucket, Delimiter="/")
            assert len(page["CommonPrefixes"]) >= FOLDERS
            pages.append(page["KeyCount"])

    with ThreadPoolExecutor(PUTS + LISTERS) as pool:
        puts = [pool.submit(put, number) for number in range(PUTS)]
        lists = [pool.submit(list_folders, number) for number in range(LISTERS)]
        began = time.perf_counter()
        busy = reader.read_while(lambda: not all(future.done() for future in puts))
        busy_s = time.perf_counter() - began
        stored.set()
        for future in [*puts, *lists]:
            future.result()
    ended = time.perf_counter() + busy_s / 4
    idle = reader.read_while(lambda: time.perf_counter() < ended)
    reader.close()
    heavy.close()
    print(f"\n{told('idle', idle)}\n{told('busy', busy)}; {PUTS} PUTs of 64 MiB, {len(pages)} pages")  # noqa: T201
    assert len(pages) > 0
    assert len(busy) >= 4 * len(idle) * SHARE_MIN
    for number in range(PUTS):
        facts = s3.head_object(Bucket=bucket, Key=f"large/{number}")
        assert facts["ContentLength"] == PUT_BYTES
