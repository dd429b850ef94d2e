"""Those who listen to events as they happen: one thread reads the change feed for all of a process's listeners.

It reads only while somebody listens. A listener that does not keep up is let go, with a line that says so.
"""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Self

import msgspec

from hosu.kernel.errors import HosuError
from hosu.kernel.log import get_logger
from hosu.objects.feed import Event, read_events
from hosu.objects.store import ObjectStore
from hosu.rules.events.names import ACCESSED, name_of
from hosu.rules.events.records import Origin, make_message

LISTENERS_MAX = 512
"""At once in one process."""

POLL_S = 0.05
PAGE = 512
LAG_BYTES_MAX = 4 * 1024 * 1024
"""Of lines that a listener has not taken."""

TAKEN_BYTES_MAX = 256 * 1024
"""Joined into one piece: what waits is shared by all who listen to it, what is being sent is not."""

BLANK_PERIOD_S = 10.0
"""How often something is sent while nothing happens, so that proxies keep the connection: a blank …"""

BLANK, EMPTY_LINE = b" ", b'{"Records":null}\n'
"""… or, for listeners that ask for it, a line."""

_LOG = get_logger("listeners")


class Listener:
    """Who listens to what. `bucket` is empty for all of them, of which `may_hear` says which he may hear of."""

    def __init__(
        self,
        names: frozenset[str],
        may_hear: Callable[[str], bool],
        *,
        bucket: str = "",
        prefix: str = "",
        suffix: str = "",
        ping_s: int = 0,
    ) -> None:
        self.names = names
        self.may_hear = may_hear
        self.bucket = bucket
        self.prefix = prefix
        self.suffix = suffix
        self.ping_s = ping_s
        self.wants_accesses = any(name.startswith(ACCESSED) for name in names)
        self.since_seq = 0
        """He hears of what comes after."""
        self.lines: deque[bytes] = deque()
        self.lag_bytes = 0
        self.end_line: bytes | None = None
        """The last one he is told, once he is let go."""
        self.wake = asyncio.Event()

    def matches(self, event: Event, name: str) -> bool:
        """Say whether he listens to an event, unless he may not."""
        return (
            name in self.names
            and event.seq > self.since_seq
            and self.bucket in {"", event.bucket}
            and event.key.startswith(self.prefix)
            and event.key.endswith(self.suffix)
        )

    def hear(self, bucket: str, line: bytes) -> None:
        """Take a line."""
        if self.end_line is not None:
            return
        try:
            if not self.may_hear(bucket):
                return
        except HosuError as error:
            self.let_go(_last_line("AccessDenied", error.message))
            return
        self.lines.append(line)
        self.lag_bytes += len(line)
        if self.lag_bytes > LAG_BYTES_MAX:
            self.lines.clear()
            self.lag_bytes = 0
            self.let_go(_last_line("SlowDown", "events came faster than this listener took them: some are lost"))
        self.wake.set()

    def let_go(self, line: bytes = b"") -> None:
        """End the stream with a line."""
        if self.end_line is None:
            self.end_line = line
        self.wake.set()

    def take(self) -> bytes:
        """Return what there is to send, or the first of it."""
        taken: list[bytes] = []
        taken_bytes = 0
        while self.lines and (not taken or taken_bytes + len(self.lines[0]) <= TAKEN_BYTES_MAX):
            taken.append(self.lines.popleft())
            taken_bytes += len(taken[-1])
        self.lag_bytes -= taken_bytes
        return b"".join(taken)


class Stream:
    """What a listener is sent, for as long as he listens; closed, he is no listener any more."""

    def __init__(self, listener: Listener, remove: Callable[[], None]) -> None:
        self._listener = listener
        self._remove = remove
        self._pause_s = listener.ping_s or BLANK_PERIOD_S
        self._is_over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """Return lines, the last one, or something to fill the silence with."""
        listener = self._listener
        if self._is_over:
            raise StopAsyncIteration
        try:
            if not listener.lines and listener.end_line is None:
                listener.wake.clear()
                await asyncio.wait_for(listener.wake.wait(), self._pause_s)
        except TimeoutError:
            return EMPTY_LINE if listener.ping_s else BLANK
        if listener.lines:
            return listener.take()
        await self.aclose()
        return listener.end_line or b""

    async def aclose(self) -> None:
        """End it."""
        self._is_over = True
        self._remove()


class Listeners:
    """All of a process. Made and called on its event loop, but for the thread's own part."""

    def __init__(self, store: ObjectStore, loop: asyncio.AbstractEventLoop, origin: Origin) -> None:
        self._store = store
        self._loop = loop
        self._origin = origin
        self._listeners: tuple[Listener, ...] = ()
        self.access_count = 0
        """How many of them listen to reads."""
        self._thread: threading.Thread | None = None
        self._ending = threading.Event()
        self._is_closed = False

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._listeners)

    def want_access(self, bucket: str) -> bool:
        """Say whether anybody listens to reads of a bucket."""
        return any(each.wants_accesses and each.bucket in {"", bucket} for each in self._listeners)

    def add(self, listener: Listener) -> Stream:
        """Have somebody hear of all that happens from now on; return what he is to be sent."""
        if self._is_closed:
            listener.let_go()
        listener.since_seq = self._store.view().value("SELECT max(seq) FROM event") or 0
        self._set((*self._listeners, listener))
        if self._thread is None:
            self._ending = threading.Event()
            self._thread = threading.Thread(
                target=self._read, args=(listener.since_seq, self._ending), name="hosu-listeners", daemon=True
            )
            self._thread.start()
        return Stream(listener, partial(self._remove, listener))

    def close(self) -> None:
        """Let everybody go: the server stops."""
        self._is_closed = True
        for listener in self._listeners:
            listener.let_go()
        self._ending.set()
        if self._thread is not None:
            self._thread.join()

    def _set(self, listeners: tuple[Listener, ...]) -> None:
        self._listeners = listeners
        self.access_count = sum(each.wants_accesses for each in listeners)

    def _remove(self, listener: Listener) -> None:
        self._set(tuple(each for each in self._listeners if each is not listener))
        if not self._listeners and self._thread is not None:
            self._ending.set()
            self._thread = None  # it ends by itself; the next listener's begins at that time's end of the feed

    # The thread's

    def _read(self, after_seq: int, ending: threading.Event) -> None:
        while not ending.wait(POLL_S):
            try:
                while events := read_events(self._store.view(), after_seq=after_seq, limit=PAGE):
                    after_seq = events[-1].seq
                    if ending.is_set():
                        return
                    self._hand_on(events)
            except Exception as error:  # noqa: BLE001 - whatever it was, the next look tries again
                _LOG.error("events cannot be read", error=f"{type(error).__name__}: {error}")

    def _hand_on(self, events: list[Event]) -> None:
        heard: list[tuple[Listener, str, bytes]] = []
        for event in events:
            name = name_of(event)
            if name is None:
                continue
            ears = [each for each in self._listeners if each.matches(event, name)]
            if ears:
                message = make_message(self._store.view(), event, name, self._origin)
                line = b'{"Records":[%b]}\n' % bytes(message.record)
                heard += [(ear, event.bucket, line) for ear in ears]
        if heard:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(_tell, heard)


def _tell(heard: list[tuple[Listener, str, bytes]]) -> None:
    for listener, bucket, line in heard:
        listener.hear(bucket, line)


def _last_line(code: str, message: str) -> bytes:
    return msgspec.json.encode({"Records": None, "Error": {"Code": code, "Message": message}}) + b"\n"
