"""Listeners to events: who hears what, and what becomes of who does not keep up."""

import asyncio
import json
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest
from tests.support.hook import until

from hosu.kernel.errors import AccessDeniedError, ErrorKind
from hosu.objects.blobs import stage_inline
from hosu.objects.buckets import create_bucket
from hosu.objects.put import PutRequest, put_object
from hosu.objects.store import ObjectStore
from hosu.rules.events.names import expand
from hosu.rules.events.records import Origin
from hosu.server.s3 import listeners as module
from hosu.server.s3.listeners import BLANK, EMPTY_LINE, Listener, Listeners, Stream

CREATED = expand("s3:ObjectCreated:*")
SECONDS_MAX = 10.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ObjectStore]:
    with ObjectStore(tmp_path / "lake", space_reserve_bytes=0) as opened:
        for name in ("images", "private"):
            opened.commit(partial(create_bucket, name=name))
        yield opened


def put(store: ObjectStore, key: str, bucket: str = "images") -> None:
    store.commit(partial(put_object, request=PutRequest(bucket, key, stage_inline(b"x"), md5(b"x").hexdigest())))


def everything(_: str) -> bool:
    return True


def keys(chunk: bytes) -> list[str]:
    return [json.loads(line)["Records"][0]["s3"]["object"]["key"] for line in chunk.splitlines()]


def run(store: ObjectStore, scene: Callable[[Listeners], Any]) -> None:
    """Play a scene on an event loop."""

    async def main() -> None:
        made = Listeners(store, asyncio.get_running_loop(), Origin())
        try:
            await scene(made)
        finally:
            made.close()

    asyncio.run(main())


async def following(stream: Stream) -> bytes:
    return await asyncio.wait_for(anext(stream), SECONDS_MAX)


def test_each_hears_of_what_he_asked_for_from_then_on(store: ObjectStore) -> None:
    async def scene(made: Listeners) -> None:
        put(store, "before")
        one = made.add(Listener(CREATED, everything, bucket="images", prefix="in/", suffix=".jpg"))
        every = made.add(Listener(CREATED, everything))
        for key in ("in/a.jpg", "in/a.png", "out/a.jpg"):
            put(store, key)
        put(store, "in/b.jpg", "private")
        assert keys(await following(one)) == ["in%2Fa.jpg"]
        heard: list[str] = []
        while len(heard) < 4:
            heard += keys(await following(every))
        assert heard == ["in%2Fa.jpg", "in%2Fa.png", "out%2Fa.jpg", "in%2Fb.jpg"]

    run(store, scene)


def test_nobody_hears_of_a_bucket_that_is_not_for_him(store: ObjectStore) -> None:
    async def scene(made: Listeners) -> None:
        stream = made.add(Listener(CREATED, lambda bucket: bucket == "images"))
        put(store, "secret", "private")
        put(store, "open")
        assert keys(await following(stream)) == ["open"]

    run(store, scene)


def test_a_listener_whose_key_is_gone_is_let_go(store: ObjectStore) -> None:
    def may_hear(_: str) -> bool:
        raise AccessDeniedError(ErrorKind.ACCESS_DENIED, "the key was removed")

    async def scene(made: Listeners) -> None:
        stream = made.add(Listener(CREATED, may_hear))
        put(store, "a")
        assert json.loads(await following(stream))["Error"] == {
            "Code": "AccessDenied", "Message": "the key was removed",
        }  # fmt: skip
        with pytest.raises(StopAsyncIteration):
            await following(stream)
        assert made.count == 0

    run(store, scene)


def test_a_listener_that_does_not_keep_up_is_let_go_with_a_line(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LAG_BYTES_MAX", 2_000)

    async def scene(made: Listeners) -> None:
        listener = Listener(CREATED, everything)
        stream = made.add(listener)
        for number in range(10):
            put(store, f"k{number}")
        await asyncio.to_thread(until, lambda: listener.end_line is not None)
        assert listener.lag_bytes <= 2_000 + 1_000
        line = json.loads(await following(stream))
        assert (line["Records"], line["Error"]["Code"]) == (None, "SlowDown")
        with pytest.raises(StopAsyncIteration):
            await following(stream)

    run(store, scene)


def test_what_waits_for_a_listener_is_sent_in_pieces(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TAKEN_BYTES_MAX", 2_000)

    async def scene(made: Listeners) -> None:
        listener = Listener(CREATED, everything)
        stream = made.add(listener)
        for number in range(10):
            put(store, f"k{number}")
        await asyncio.to_thread(until, lambda: len(listener.lines) == 10)
        heard: list[str] = []
        while len(heard) < 10:
            piece = await following(stream)
            assert len(piece) <= 2_000
            heard += keys(piece)
        assert heard == [f"k{number}" for number in range(10)]
        assert listener.lag_bytes == 0

    run(store, scene)


def test_silence_is_filled_with_blanks_or_with_lines(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLANK_PERIOD_S", 0.05)

    async def scene(made: Listeners) -> None:
        assert await following(made.add(Listener(CREATED, everything))) == BLANK
        assert await following(made.add(Listener(CREATED, everything, ping_s=1))) == EMPTY_LINE

    run(store, scene)


def test_a_stop_ends_every_stream_and_no_new_one_begins(store: ObjectStore) -> None:
    async def scene(made: Listeners) -> None:
        stream = made.add(Listener(CREATED, everything))
        made.close()
        assert await following(stream) == b""
        with pytest.raises(StopAsyncIteration):
            await following(stream)
        assert await following(made.add(Listener(CREATED, everything))) == b""

    run(store, scene)


def test_the_feed_is_read_only_while_somebody_listens(store: ObjectStore) -> None:
    async def scene(made: Listeners) -> None:
        stream = made.add(Listener(CREATED, everything))
        thread = made._thread
        assert thread is not None
        waiting = asyncio.create_task(following(stream))
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await stream.aclose()
        assert made.count == 0
        await asyncio.to_thread(thread.join, SECONDS_MAX)
        assert not thread.is_alive()
        put(store, "meanwhile")
        again = made.add(Listener(CREATED, everything))
        put(store, "now")
        assert keys(await following(again)) == ["now"]

    run(store, scene)


def test_a_stream_that_nobody_began_to_read_is_forgotten_when_it_is_closed(store: ObjectStore) -> None:
    async def scene(made: Listeners) -> None:
        stream = made.add(Listener(CREATED, everything))
        await stream.aclose()
        assert made.count == 0

    run(store, scene)


def test_reads_are_wanted_where_somebody_listens_to_them(store: ObjectStore) -> None:
    async def scene(made: Listeners) -> None:
        made.add(Listener(CREATED, everything, bucket="images"))
        assert not made.want_access("images")
        made.add(Listener(expand("s3:ObjectAccessed:*"), everything, bucket="images"))
        assert made.want_access("images")
        assert not made.want_access("private")

    run(store, scene)
