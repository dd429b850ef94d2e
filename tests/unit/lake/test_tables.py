"""The tables of a lake as Python uses them: what is made, what is refused, and what that leaves behind."""

import pickle
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.support.torch import read_share, stand_in

from hosu.kernel.errors import ErrorKind, HosuError, InvalidInputError, NotFoundError
from hosu.lake import Lake, open_lake

SCHEMA = pa.schema([("id", pa.int64()), ("note", pa.string())])


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with open_lake(tmp_path / "lake") as opened:
        yield opened


@pytest.mark.parametrize(
    ("name", "keys"),
    [("ticks", ["id"]), ("market.ticks", ["nothing"]), ("-.ticks", ["id"])],
    ids=["name", "key", "database"],
)
def test_a_table_that_is_refused_leaves_no_database_behind(lake: Lake, name: str, keys: list[str]) -> None:
    with pytest.raises(InvalidInputError):
        lake.tables.create(name, SCHEMA, primary_keys=keys)
    assert lake.tables.databases() == []


def test_what_is_no_columns_is_named(lake: Lake) -> None:
    with pytest.raises(InvalidInputError, match="a dict is no columns") as refusal:
        lake.tables.create("market.ticks", {"id": pa.int64()})
    assert refusal.value.kind is ErrorKind.TABLE_INVALID


def test_a_table_that_was_dropped_takes_no_rows_and_gives_none(lake: Lake) -> None:
    ticks = lake.tables.create("market.ticks", SCHEMA, primary_keys=["id"])
    ticks.upsert([{"id": 1, "note": "a"}])
    lake.tables.drop("market.ticks")

    with pytest.raises(NotFoundError) as written:
        ticks.upsert([{"id": 2, "note": "b"}])
    with pytest.raises(NotFoundError) as read:
        ticks.scan()

    assert {written.value.kind, read.value.kind} == {ErrorKind.TABLE_NOT_FOUND}
    again = lake.tables.create("market.ticks", SCHEMA, primary_keys=["id"])
    assert again.scan().count() == 0


def test_a_table_that_was_made_anew_does_not_take_rows_for_the_old_one(lake: Lake) -> None:
    old = lake.tables.create("market.ticks", SCHEMA, primary_keys=["id"])
    lake.tables.drop("market.ticks")
    new = lake.tables.create("market.ticks", SCHEMA, primary_keys=["id"], options={"bucket": "3"})
    with pytest.raises(NotFoundError, match="open it again"):
        old.upsert([{"id": 1, "note": "a"}])
    assert new.scan().count() == 0


def test_no_rows_are_no_commit(lake: Lake) -> None:
    ticks = lake.tables.create("market.ticks", SCHEMA, primary_keys=["id"])
    nothing: list[Any] = [[], {}, iter(())]
    assert [ticks.upsert(rows).snapshots for rows in nothing] == [[], [], []]
    assert ticks.delete([]).snapshots == ticks.delete(iter(())).snapshots == []


def test_a_moment_that_is_none_is_named(lake: Lake) -> None:
    ticks = lake.tables.create("market.ticks", SCHEMA)
    with pytest.raises(HosuError, match="a float is no moment"):
        ticks.scan(at=1.5)  # type: ignore[arg-type]


def test_workers_of_a_loader_open_the_lake_themselves(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = lake.tables.create("market.ticks", SCHEMA, primary_keys=["id"], options={"bucket": "3"})
    ticks.upsert([{"id": number, "note": "a"} for number in range(90)])
    before = ticks.latest()
    assert before is not None
    ticks.delete(where="id < 50")
    monkeypatch.setitem(sys.modules, "torch", stand_in())
    pickled = pickle.dumps(ticks.scan(["id"], "id < 70", at=before.id).to_torch())
    with ProcessPoolExecutor(2, get_context("spawn")) as workers:
        shares = [workers.submit(read_share, pickled, number, 2).result() for number in range(2)]
    assert sorted(shares[0] + shares[1]) == list(range(70)), "as the table was then"
    assert all(shares)
