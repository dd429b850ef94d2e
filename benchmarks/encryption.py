"""What encryption at rest costs: GET and PUT of 64 MiB, 256 KiB and 4 KiB, in a plain bucket and in one with SSE-S3.

`python -m benchmarks.encryption`, from the root of the repository. One server holds both buckets, which take turns in
each round. `--ciphers` measures the sealing itself instead, by size of segment: what the format was chosen by.
"""

import argparse
import os
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import boto3
import psutil
from benchmarks.sign import Signer
from blake3 import blake3
from botocore.config import Config
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from tests.support.server import ServerProcess

from hosu.kernel.lakekey import LakeKey, decode_key, encode_key
from hosu.objects.buckets import set_document
from hosu.objects.encryption.defaults import DOCUMENT, BucketEncryption, encode_bucket_encryption
from hosu.objects.encryption.sealing import Sealer, Unsealer, stored_size
from hosu.objects.records import EncryptionMode
from hosu.objects.store import ObjectStore

KIB, MIB = 1024, 1024 * 1024
SIZES = {"64 MiB": 64 * MIB, "256 KiB": 256 * KIB, "4 KiB": 4 * KIB}
BYTES_PER_TURN = 512 * MIB
REQUESTS_PER_TURN_MAX = 1_000
CONNECTIONS = {"64 MiB": 8, "256 KiB": 8, "4 KiB": 16}
RECEIVE_BYTES = MIB
SEGMENTS_KIB = (16, 64, 256, 1024)
WAYS = ("plain", "sealed")


class Client:
    """One connection; the body of an answer is counted, not kept."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray(RECEIVE_BYTES)

    def ask(self, head: bytes, body: bytes, answer_bytes: int) -> None:
        """Send a request and take its answer, of a body of so many bytes."""
        self._socket.sendall(head)
        if body:
            self._socket.sendall(body)
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._socket.recv(64 * KIB)
        answer, _, first = received.partition(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 200"):
            raise ConnectionError(received.decode("latin-1"))
        left = answer_bytes - len(first)
        while left > 0:
            left -= self._socket.recv_into(self._buffer, min(left, RECEIVE_BYTES))


def cpu_s(pid: int) -> float:
    """Return the processor seconds that a process and its children have used."""
    found = psutil.Process(pid)
    return sum(sum(it.cpu_times()[:2]) for it in [found, *found.children(recursive=True)])


def turn(server: ServerProcess, verb: str, size: str, way: str, bodies: list[bytes]) -> tuple[float, float]:
    """Do as much of one thing as a turn has; return MiB per second and the server's CPU seconds per GiB."""
    size_bytes, connections = SIZES[size], CONNECTIONS[size]
    each = max(1, min(BYTES_PER_TURN // size_bytes, REQUESTS_PER_TURN_MAX) // connections)
    signer = Signer(server.endpoint.host, server.access_key, server.secret_key)
    clients = [Client(server.port) for _ in range(connections)]

    def work(index: int) -> None:
        for number in range(each):
            path = f"/{way}/{size.replace(' ', '')}-{index}"
            if verb == "PUT":
                # Bytes that differ each time: equal ones would be stored once.
                body = os.urandom(16) + bodies[(index + number) % len(bodies)][16:size_bytes]
                clients[index].ask(signer.head("PUT", path, content_bytes=size_bytes), body, 0)
            else:
                clients[index].ask(signer.head("GET", path), b"", size_bytes)

    before, begun = cpu_s(server.pid), time.perf_counter()
    threads = [threading.Thread(target=work, args=(index,)) for index in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spent, made = time.perf_counter() - begun, each * connections * size_bytes / MIB
    return made / spent, (cpu_s(server.pid) - before) / made * KIB


def run(rounds: int, sizes: list[str]) -> None:
    """Interleave plain and sealed, and print medians."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/tmp")) as scratch:
        key = encode_key(os.urandom(32)).decode().strip()
        server = ServerProcess(Path(scratch, "lake"), Path(scratch, "log"), {"HOSU_LAKE_KEY": key})
        with server:
            client = boto3.client(
                "s3", endpoint_url=server.endpoint.url, aws_access_key_id=server.access_key, region_name="us-east-1",
                aws_secret_access_key=server.secret_key, config=Config(s3={"addressing_style": "path"}),
            )  # fmt: skip
            for way in WAYS:
                client.create_bucket(Bucket=way)
            seal_bucket(server.directory, key)
            bodies = [os.urandom(max(SIZES[size] for size in sizes)) for _ in range(2)]
            found: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
            for _ in range(rounds):
                for size in sizes:
                    for verb in ("PUT", "GET"):
                        for way in WAYS:
                            found.setdefault((size, verb, way), []).append(turn(server, verb, size, way, bodies))
            for (size, verb, way), turns in found.items():
                rate = statistics.median(one[0] for one in turns)
                cpu = statistics.median(one[1] for one in turns)
                ratio = statistics.median(
                    one[0] / plain[0] for one, plain in zip(turns, found[size, verb, "plain"], strict=True)
                )
                print(f"{verb} {size:8} {way:7} {rate:8,.0f} MiB/s {ratio:5.2f} of plain  {cpu:6.2f} CPU s per GiB")


def seal_bucket(lake: Path, key: str) -> None:
    """Switch SSE-S3 on in a bucket, beside the running server."""
    document = encode_bucket_encryption(BucketEncryption(EncryptionMode.SSE_S3))
    with ObjectStore(lake, lake_key=LakeKey(decode_key(key.encode(), "key"))) as store:
        store.commit(partial(set_document, name="sealed", kind=DOCUMENT, body=document))


def per_second(work: Callable[[], object], made_bytes: int) -> float:
    """Return how many MiB a second one thread makes, the best of several tries."""
    best = 0.0
    for _ in range(5):
        begun = time.perf_counter()
        work()
        best = max(best, made_bytes / MIB / (time.perf_counter() - begun))
    return best


def ciphers() -> None:
    """Print what sealing and opening make by size of segment, and what stands beside them on the way of a body."""
    plain = os.urandom(64 * MIB)
    cipher = AESGCM(bytes(32))
    for segment_kib in SEGMENTS_KIB:
        size = segment_kib * KIB
        view, out, back = memoryview(plain), memoryview(bytearray(size + 16)), memoryview(bytearray(size))

        def seal(view: memoryview = view, out: memoryview = out, size: int = size) -> None:
            for start in range(0, len(view), size):
                cipher.encrypt_into(start.to_bytes(12, "big"), view[start : start + size], None, out)

        seal()
        last = (len(plain) - size).to_bytes(12, "big")

        def unseal(out: memoryview = out, back: memoryview = back, size: int = size, last: bytes = last) -> None:
            for _ in range(0, len(plain), size):
                cipher.decrypt_into(last, out, None, back)

        print(
            f"segments of {segment_kib:5} KiB: seal {per_second(seal, len(plain)):7,.0f} MiB/s, "
            f"open {per_second(unseal, len(plain)):7,.0f} MiB/s"
        )
    stored = bytearray()
    sealer = Sealer(bytes(32), stored.extend)
    sealer.update(plain)
    sealer.finish()
    assert len(stored) == stored_size(len(plain))

    def read(offset: int, buffer: memoryview) -> int:
        buffer[:] = stored[offset : offset + len(buffer)]
        return len(buffer)

    def discard(_: memoryview) -> None:
        return

    def whole() -> None:
        sealing = Sealer(bytes(32), discard)
        sealing.update(plain)
        sealing.finish()

    target = memoryview(bytearray(len(plain)))
    opener = Unsealer(1, bytes(32), len(plain), read)
    print(f"Sealer {per_second(whole, len(plain)):7,.0f} MiB/s")
    print(f"Unsealer {per_second(lambda: opener.read_into(0, target), len(plain)):7,.0f} MiB/s")
    print(f"BLAKE3 {per_second(lambda: blake3(plain).digest(), len(plain)):7,.0f} MiB/s")


def main() -> None:
    """Compare plain with sealed, or sizes of segments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--ciphers", action="store_true", help="measure the sealing itself")
    arguments = parser.parse_args()
    if arguments.ciphers:
        ciphers()
    else:
        run(arguments.rounds, arguments.sizes)


if __name__ == "__main__":
    main()
