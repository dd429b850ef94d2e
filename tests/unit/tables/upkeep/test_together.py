"""Writers, readers and an expiry at once: nobody sees a file that is gone."""

import threading
from collections.abc import Callable

import pyarrow as pa
import pytest

from hosu.kernel.clock import SystemClock
from hosu.kernel.errors import ErrorKind, HosuError
from hosu.kernel.fileio.memory import MemoryFileIO
from hosu.tables.catalog import Catalog
from hosu.tables.context import TableContext
from hosu.tables.reading.scan import Scan
from hosu.tables.snapshots import find, tags
from hosu.tables.upkeep.run import upkeep_table
from hosu.tables.upkeep.tagged import delete_tag
from hosu.tables.writing.verbs import upsert

COMMITS = 12
COLUMNS = pa.schema([("id", pa.int64()), ("v", pa.int64())])
OPTIONS = {"bucket": "1", "snapshot.time-retained": "0 ms", "snapshot.num-retained.min": "2"}


class Others:
    """Threads, each with a catalog of its own, that do something over and over."""

    def __init__(self, files: MemoryFileIO) -> None:
        self._files = files
        self._done = threading.Event()
        self._threads: list[threading.Thread] = []
        self._failures: list[BaseException] = []

    def start(self, act: Callable[[TableContext], object]) -> None:
        thread = threading.Thread(target=self._run, args=(act,))
        self._threads.append(thread)
        thread.start()

    def end(self) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()
        if self._failures:
            raise self._failures[0]

    def _run(self, act: Callable[[TableContext], object]) -> None:
        try:
            with Catalog(self._files, "w", clock=SystemClock()) as catalog:
                while not self._done.is_set():
                    try:
                        act(catalog.open("d.t"))
                    except HosuError as error:
                        if error.kind is not ErrorKind.SNAPSHOT_NOT_FOUND:
                            raise
        except BaseException as error:  # noqa: BLE001 - raised again by `end`
            self._failures.append(error)


def test_readers_see_whole_states_while_everything_expires_behind_them(monkeypatch: pytest.MonkeyPatch) -> None:
    # As between processes: the expiry has only the files to go by.
    monkeypatch.setattr("hosu.tables.snapshots.leases.held_here", lambda _: None)
    files, states = MemoryFileIO(), []

    def read(ctx: TableContext) -> None:
        snapshot = find.latest(ctx)
        if snapshot is not None:
            rows = Scan(ctx, snapshot).to_arrow()
            assert set(rows["v"].to_pylist()) == {rows.num_rows}
            states.append(rows.num_rows)

    def tag(ctx: TableContext) -> None:
        made = tags.create(ctx, "now", exist_ok=True)
        Scan(ctx, made.snapshot).to_arrow()
        delete_tag(ctx, "now")

    others = Others(files)
    with Catalog(files, "w", clock=SystemClock()) as catalog:
        catalog.create_database("d")
        catalog.create_table("d.t", COLUMNS, primary_keys=["id"], options=OPTIONS)
        for act in (read, read, tag, upkeep_table):
            others.start(act)
        try:
            ctx = catalog.open("d.t")
            for number in range(1, COMMITS + 1):
                upsert(ctx, pa.table({"id": list(range(number)), "v": [number] * number}))
        finally:
            others.end()
        assert len(set(states)) > 1
        assert Scan(ctx, find.latest(ctx)).to_arrow().num_rows == COMMITS
