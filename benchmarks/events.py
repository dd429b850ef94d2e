"""How fast events reach a webhook: deliveries per second, and how long after a put.

`python -m benchmarks.events`, from the root of the repository. The receiver is a process of its own that does nothing
but count, so that what is measured is the sender. With the null sender beside it the cost of reading, matching and
wording an event shows without any network.
"""

import argparse
import asyncio
import multiprocessing
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from hashlib import md5
from multiprocessing.connection import Connection
from pathlib import Path

import httptools
import uvloop
from tests.support.clients import boto3_client
from tests.support.server import ServerProcess

from hosu.kernel.notify import WebhookTarget
from hosu.objects.blobs import stage_inline
from hosu.objects.buckets import create_bucket
from hosu.objects.put import PutRequest, put_object
from hosu.objects.store import ObjectStore
from hosu.objects.transaction import Tx
from hosu.rules.events.config import Rule, arn_of, set_rules
from hosu.rules.events.delivery import Delivery, Limits
from hosu.rules.events.records import Message, Origin
from hosu.server.notify.webhook import WebhookSender

BUCKET, TARGET = "events", "webhook:bench"
BATCH = 256
ROUNDS = 3
DAY_MS = 86_400_000


class Counter(asyncio.Protocol):
    """Answers 200 to every request, and notes when each came."""

    times: list[float]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        """Parse."""
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Count a request."""
        Counter.times.append(time.time())
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")  # type: ignore[attr-defined]


def receive(pipe: Connection) -> None:
    """Serve until told to stop; answer `times` with the times since the question before."""

    async def main() -> None:
        Counter.times = []
        server = await asyncio.get_running_loop().create_server(Counter, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        while True:
            question = await asyncio.to_thread(pipe.recv)
            if question == "stop":
                return
            if question == "count":
                pipe.send(len(Counter.times))
            else:
                pipe.send(Counter.times)
                Counter.times = []

    uvloop.run(main())


@contextmanager
def receiver() -> Iterator[tuple[int, Connection]]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=receive, args=(theirs,), daemon=True)
    process.start()
    yield ours.recv(), ours
    ours.send("stop")
    process.join(5)


class NullSender:
    """Takes everything at once."""

    lanes = 1
    batch = 512

    def __init__(self) -> None:
        self.taken = 0

    def send(self, messages: Sequence[Message]) -> None:
        """Word them."""
        for message in messages:
            message.body()
        self.taken += len(messages)

    def close(self) -> None:
        """Do nothing."""


def fill(store: ObjectStore, count: int) -> None:
    """Put small objects, many in a transaction."""

    def put_some(tx: Tx, first: int) -> None:
        for number in range(first, min(first + BATCH, count)):
            body = b"%d" % number
            key = f"folder-{number % 100}/{number:09}.json"
            put_object(tx, PutRequest(BUCKET, key, stage_inline(body), md5(body).hexdigest(), actor="bench"))

    for first in range(0, count, BATCH):
        store.commit(partial(put_some, first=first))


def make_lake(folder: Path) -> ObjectStore:
    store = ObjectStore(folder, space_reserve_bytes=0)
    rule = Rule("bench", TARGET, arn_of(TARGET), ("s3:ObjectCreated:*",))
    store.commit(partial(create_bucket, name=BUCKET))
    store.commit(partial(set_rules, bucket=BUCKET, rules=[rule]))
    return store


def deliver(folder: str, url: str, stop: "threading.Event") -> None:
    """Deliver in a process of its own, as the keeper does."""
    with ObjectStore(Path(folder), space_reserve_bytes=0) as store:
        sender = WebhookSender(WebhookTarget(endpoint=url))
        limits = Limits(queue_limit=10_000_000, retry_ms=DAY_MS)
        Delivery(store, TARGET, sender, Origin("http://lake", "", "root"), limits, lambda *_: None).run(stop)


def rate_to_webhook(count: int) -> float:
    """Return events a second from the first that arrives to the last."""
    with tempfile.TemporaryDirectory() as scratch, receiver() as (port, pipe):
        folder = Path(scratch) / "lake"
        with make_lake(folder) as store:
            fill(store, count)
        stop = multiprocessing.Event()
        process = multiprocessing.Process(target=deliver, args=(str(folder), f"http://127.0.0.1:{port}/", stop))
        process.start()
        while True:
            time.sleep(0.1)
            pipe.send("count")
            if pipe.recv() >= count:
                break
        stop.set()
        process.join()
        pipe.send("times")
        times: list[float] = pipe.recv()
        return (len(times) - 1) / (times[-1] - times[0])


def rate_without_network(count: int) -> float:
    with tempfile.TemporaryDirectory() as scratch, make_lake(Path(scratch) / "lake") as store:
        fill(store, count)
        sender, stop = NullSender(), threading.Event()
        limits = Limits(queue_limit=10_000_000, retry_ms=DAY_MS)
        delivery = Delivery(store, TARGET, sender, Origin("http://lake", "", "root"), limits, lambda *_: None)
        thread = threading.Thread(target=delivery.run, args=(stop,))
        started_s = time.perf_counter()
        thread.start()
        while sender.taken < count:
            time.sleep(0.005)
        took_s = time.perf_counter() - started_s
        stop.set()
        thread.join()
        return count / took_s


def latencies_ms(count: int) -> list[float]:
    """Return how long after its put began each event arrived, from a server with its keeper."""
    with tempfile.TemporaryDirectory() as scratch, receiver() as (port, pipe):
        settings = {
            "MINIO_NOTIFY_WEBHOOK_ENABLE_BENCH": "on",
            "MINIO_NOTIFY_WEBHOOK_ENDPOINT_BENCH": f"http://127.0.0.1:{port}/",
        }
        with ServerProcess(Path(scratch) / "lake", Path(scratch) / "log", settings=settings) as server:
            s3 = boto3_client(server.endpoint)
            s3.create_bucket(Bucket=BUCKET)
            queue = {"QueueArn": "arn:minio:sqs::BENCH:webhook", "Events": ["s3:ObjectCreated:*"]}
            s3.put_bucket_notification_configuration(
                Bucket=BUCKET, NotificationConfiguration={"QueueConfigurations": [queue]}
            )
            found: list[float] = []
            for number in range(count + 1):
                started = time.time()
                s3.put_object(Bucket=BUCKET, Key=f"{number}", Body=b"x")
                times: list[float] = []
                while not times:
                    time.sleep(0.001)
                    pipe.send("times")
                    times = pipe.recv()
                found.append((times[0] - started) * 1000)
            s3.close()
            return found[1:]  # the first waits for the keeper to start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--puts", type=int, default=300)
    options = parser.parse_args()
    webhook, null = [], []
    for _ in range(ROUNDS):
        webhook.append(rate_to_webhook(options.events))
        null.append(rate_without_network(options.events))
    times = sorted(latencies_ms(options.puts))
    print(f"{os.cpu_count()} processors, {options.events} events, median of {ROUNDS} rounds (least to most)")
    for name, rates in (("to a webhook", webhook), ("without network", null)):
        rates.sort()
        print(f"{name:<20} {statistics.median(rates):>9,.0f}/s   ({rates[0]:,.0f} to {rates[-1]:,.0f})")
    print(
        f"{'put to webhook':<20} {statistics.median(times):>9.0f} ms  (p99 {times[int(len(times) * 0.99) - 1]:.0f} ms)"
    )


if __name__ == "__main__":
    main()
