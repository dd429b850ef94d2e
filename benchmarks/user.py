"""What a user feels: the same operations through boto3 with its default settings, one client in one process."""

import io
import time
from collections.abc import Callable, Iterator
from typing import IO

from benchmarks.flows import Job, payload, read_key
from benchmarks.load import Result


class _Sink(io.RawIOBase):
    """Counts what is downloaded and forgets it; boto3 writes parts at their offsets."""

    def __init__(self) -> None:
        super().__init__()
        self.received_bytes = 0

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, _whence: int = 0) -> int:
        return offset

    def write(self, data: bytes) -> int:  # type: ignore[override]  # boto3 hands over bytes only
        self.received_bytes += len(data)
        return len(data)


def run(job: Job, wait_for_go: Callable[[], None]) -> Result:
    """Repeat one operation for the seconds of the job, one at a time; transfers use boto3's own threads."""
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=f"http://{job.target.host}:{job.target.port}",
        aws_access_key_id=job.target.access,
        aws_secret_access_key=job.target.secret,
        region_name="us-east-1",
    )
    body = bytes(payload(job.size_bytes))

    def put(number: int) -> None:
        client.put_object(Bucket=job.bucket, Key=f"{job.prefix}{number % 1000}", Body=_stamped(body, number))

    def get(number: int) -> None:
        answer = client.get_object(Bucket=job.bucket, Key=read_key(job.prefix, number % job.keys))
        assert len(answer["Body"].read()) == job.size_bytes

    def upload(number: int) -> None:
        source: IO[bytes] = io.BytesIO(_stamped(body, number))
        client.upload_fileobj(source, job.bucket, f"{job.prefix}{number % 2}")

    def download(number: int) -> None:
        sink = _Sink()
        client.download_fileobj(job.bucket, read_key(job.prefix, number % job.keys), sink)
        assert sink.received_bytes == job.size_bytes

    operation = {"boto3-put": put, "boto3-get": get, "boto3-upload": upload, "boto3-download": download}[job.op]
    result = Result()
    operation(0)
    wait_for_go()
    begun, cpu_begun = time.perf_counter(), time.process_time()
    for number in _until(begun + job.seconds):
        started_ns = time.perf_counter_ns()
        operation(number)
        result.latencies_ns.append(time.perf_counter_ns() - started_ns)
        result.ops += 1
        result.payload_bytes += job.size_bytes
    result.elapsed_s = time.perf_counter() - begun
    result.load_cpu_s = time.process_time() - cpu_begun
    return result


def _until(end: float) -> Iterator[int]:
    number = 1
    while time.perf_counter() < end:
        yield number
        number += 1


def _stamped(body: bytes, number: int) -> bytes:
    """Return the body with a beginning of its own, so that no server stores it as a copy."""
    stamp = time.time_ns().to_bytes(8, "big") + number.to_bytes(8, "big")
    return stamp + body[16:]
