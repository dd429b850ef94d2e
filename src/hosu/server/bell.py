"""The keeper's bell: a socket in the lake's folder; who connects has the supervisor start the keeper."""

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from hosu.kernel.settings import Settings
from hosu.objects.store import ObjectStore
from hosu.rules.wanted import has_new_snapshots, is_any_wanted

FOLDER, NAME = "tmp", "keeper.sock"
ASK_PERIOD_S = 60.0
"""How often it is asked whether anything is to be done though nothing has changed."""

TABLES_PERIOD_S = 10.0
"""How long it does not ring again for tables: the keeper that was rung for reads on by itself."""


class Bell:
    """Rings when a job is wanted. Looks at the generation, and asks only when it has moved, or tables have changed."""

    def __init__(self, store: ObjectStore, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._seen = -1
        self._asked_s = -ASK_PERIOD_S
        self._tables_s = -TABLES_PERIOD_S
        self._read_seq: int | None = None

    def look(self) -> None:
        """Ring if there may be something to do; next to nothing where nothing has changed."""
        generation, now_s = self._store.generation.number(), time.monotonic()
        has_changed_tables = self._has_changed_tables(now_s)
        if generation == self._seen and now_s - self._asked_s < ASK_PERIOD_S:
            if has_changed_tables:
                ring(self._store.path)
            return
        self._seen, self._asked_s = generation, now_s
        if has_changed_tables or is_any_wanted(self._store.view(), self._settings):
            ring(self._store.path)

    def _has_changed_tables(self, now_s: float) -> bool:
        """Read on in the change feed: a table that is written to is not to wait for its upkeep."""
        if now_s - self._tables_s < TABLES_PERIOD_S:
            return False
        view = self._store.view()
        latest = view.value("SELECT max(seq) FROM event") or 0
        before, self._read_seq = self._read_seq, latest
        if before is None or before >= latest or not has_new_snapshots(view, self._settings, before, latest):
            return False
        self._tables_s = now_s
        return True


def ring(lake: Path) -> None:
    """Have the supervisor start the keeper, unless it runs."""
    with (
        contextlib.suppress(OSError),
        _address(lake) as address,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as bell,
    ):
        bell.settimeout(1.0)
        bell.connect(address)


def hang_bell(lake: Path) -> socket.socket:
    """Return the socket, for the supervisor to hold and the keeper to answer; raises OSError."""
    path = lake / FOLDER / NAME
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _address(lake) as address:
            listener.bind(address)
        path.chmod(0o600)
        listener.listen(8)
    except OSError:
        listener.close()
        raise
    listener.settimeout(0)
    return listener


@contextlib.contextmanager
def _address(lake: Path) -> Iterator[str]:
    """Yield the socket's path by way of its folder's descriptor: addresses of sockets have 107 bytes at most."""
    folder = os.open(lake / FOLDER, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{NAME}"
    finally:
        os.close(folder)
