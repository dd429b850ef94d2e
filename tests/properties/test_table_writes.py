"""Whatever is written, deleted, updated and overwritten, by one writer or by two at once: a table reads as a model."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pytest
from tests.properties.profiles import IS_NIGHTLY
from tests.support.table_rows import changelog_of

from hosu.kernel.fileio.memory import MemoryFileIO
from hosu.tables.catalog import Catalog
from hosu.tables.context import TableContext
from hosu.tables.predicates import parse_where
from hosu.tables.reading import Scan
from hosu.tables.snapshots import find
from hosu.tables.writing.verbs import delete_keys, delete_where, insert, overwrite, update_where
from hosu.tables.writing.writer import TableWriter
from hosu.testing.manual_clock import ManualClock

SEEDS = range(80 if IS_NIGHTLY else 3)
STEPS = 15
KEYS = 30
SCHEMA = pa.schema([("part", pa.string()), ("id", pa.int64()), ("v", pa.int64()), ("note", pa.string())])
Row = tuple[str, int, int | None, str | None]

TABLES: dict[str, tuple[tuple[str, ...], tuple[str, ...], dict[str, str]]] = {
    "one bucket": (("id",), (), {"bucket": "1"}),
    "buckets": (("part", "id"), ("part",), {"bucket": "3"}),
    "dynamic buckets": (("part", "id"), ("part",), {"bucket": "-1", "dynamic-bucket.target-row-num": "4"}),
    "bounded dynamic buckets": (
        ("id",),
        (),
        {"bucket": "-1", "dynamic-bucket.target-row-num": "5", "dynamic-bucket.max-buckets": "2"},
    ),
    "filled changelog": (
        ("id",),
        (),
        {"bucket": "2", "changelog-producer": "input", "hosu.changelog-fill": "lookup"},
    ),
    "sequence field": (("id",), (), {"bucket": "2", "sequence.field": "v"}),
    "vectors by key": (("id",), (), {"bucket": "1", "deletion-vectors.enabled": "true"}),
    "append": ((), ("part",), {"bucket": "-1"}),
    "append to buckets": ((), (), {"bucket": "2", "bucket-key": "id"}),
    "append with vectors": ((), ("part",), {"bucket": "-1", "deletion-vectors.enabled": "true"}),
}


@dataclass
class Model:
    """What a table should hold: by key, or as a list of rows that may be equal."""

    keys: tuple[str, ...]
    orders: bool
    """Whether a row loses against one of its key with a higher `v`."""

    by_key: dict[tuple[Any, ...], Row] = field(default_factory=dict)
    all: list[Row] = field(default_factory=list)

    def key(self, row: Row) -> tuple[Any, ...]:
        return tuple(row[SCHEMA.names.index(name)] for name in self.keys)

    def rows(self) -> list[Row]:
        return list(self.by_key.values()) if self.keys else self.all

    def put(self, rows: list[Row]) -> None:
        for row in rows:
            if not self.keys:
                self.all.append(row)
                continue
            known = self.by_key.get(self.key(row))
            if not self.orders or known is None or (row[2] or 0) >= (known[2] or 0):
                self.by_key[self.key(row)] = row

    def delete(self, matches: Callable[[Row], bool]) -> int:
        before = len(self.rows())
        self.all = [row for row in self.all if not matches(row)]
        self.by_key = {key: row for key, row in self.by_key.items() if not matches(row)}
        return before - len(self.rows())

    def update(self, matches: Callable[[Row], bool], change: Callable[[Row], Row]) -> None:
        self.all = [change(row) if matches(row) else row for row in self.all]
        self.by_key = {key: change(row) if matches(row) else row for key, row in self.by_key.items()}


def table_of(rows: list[Row]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [(), (), (), ()]
    return pa.table(dict(zip(SCHEMA.names, map(list, columns), strict=True)), schema=SCHEMA)


def read(ctx: TableContext) -> list[Row]:
    found = Scan(ctx, find.latest(ctx)).to_arrow()
    return sorted((tuple(row[name] for name in SCHEMA.names) for row in found.to_pylist()), key=repr)


class Play:
    """One random sequence of verbs on a table and on its model."""

    def __init__(self, name: str, seed: int) -> None:
        keys, partitions, options = TABLES[name]
        self.chance = random.Random(f"{name} {seed}")
        files = MemoryFileIO()
        catalog = Catalog(files, "w", clock=ManualClock())
        catalog.create_database("d")
        catalog.create_table("d.t", SCHEMA, partition_keys=partitions, primary_keys=keys, options=options)
        self.catalog = catalog
        self.ctx = catalog.open("d.t")
        self.partitions = partitions
        self.model = Model(keys, "sequence.field" in options)
        self.turn = 0

    def rows(self) -> list[Row]:
        self.turn += 1
        chance = self.chance
        made: list[Row] = []
        for number in range(chance.choice([1, 3, 12])):
            # With a sequence field, a value that is used once, so that no two rows of a key are equally late.
            value = chance.randrange(10_000) * 1_000 + self.turn * 13 + number if self.model.orders else self.turn
            made.append((chance.choice("ab"), chance.randrange(KEYS), value, chance.choice([None, "x", "yy"])))
        return made

    def put(self) -> None:
        rows = self.rows()
        insert(self.ctx, table_of(rows))
        self.model.put(rows)

    def put_in_parts(self) -> None:
        """Write so that every few rows are a file, and let somebody else commit between."""
        mine, theirs = [*self.rows(), *self.rows()], self.rows()
        with TableWriter(self.ctx) as writer:
            for start in range(0, len(mine), 4):
                writer.write(table_of(mine[start : start + 4]))
                writer.flush()
            insert(self.ctx, table_of(theirs))
            writer.commit()
        self.model.put(theirs)
        self.model.put(mine)

    def put_kinds(self) -> None:
        if not self.model.keys or self.model.orders:
            return
        rows = self.rows()
        kinds = [self.chance.choice(["+I", "+U", "-D", "-U"]) for _ in rows]
        insert(self.ctx, table_of(rows), kinds=pa.array(kinds))
        for row, kind in zip(rows, kinds, strict=True):
            if kind in {"+I", "+U"}:
                self.model.put([row])
            else:
                self.model.by_key.pop(self.model.key(row), None)

    def delete(self) -> None:
        if self.model.orders:
            return  # whether a late row of a deleted key is seen depends on whether the delete was compacted away
        below = self.chance.randrange(KEYS)
        done = delete_where(self.ctx, parse_where(f"id < {below} and note = 'x'", self.ctx.schema))
        assert done.rows == self.model.delete(lambda row: row[1] < below and row[3] == "x")

    def delete_named(self) -> None:
        if not self.model.keys or self.model.orders:
            return
        keys = [self.model.key(row) for row in self.rows()]
        given = {name: [key[place] for key in keys] for place, name in enumerate(self.model.keys)}
        delete_keys(self.ctx, pa.table(given))
        self.model.delete(lambda row: self.model.key(row) in keys)

    def update(self) -> None:
        above = self.chance.randrange(KEYS)
        update_where(self.ctx, {"note": "changed"}, parse_where(f"id >= {above}", self.ctx.schema))
        self.model.update(lambda row: row[1] >= above, lambda row: (*row[:3], "changed"))

    def overwrite(self) -> None:
        if self.chance.random() < 0.6 or "changelog-producer" in self.ctx.options.raw:
            return  # readers of a changelog see nothing of an overwrite
        rows = self.rows()
        overwrite(self.ctx, table_of(rows))
        touched = {row[0] for row in rows} if self.partitions else set("ab")
        self.model.delete(lambda row: row[0] in touched)
        self.model.put(rows)

    def step(self) -> None:
        verbs = [self.put, self.put, self.put_in_parts, self.put_kinds]
        verbs += [self.delete, self.delete_named, self.update, self.overwrite]
        self.chance.choice(verbs)()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", TABLES)
def test_a_table_reads_as_the_model_after_every_verb(name: str, seed: int) -> None:
    play = Play(name, seed)
    for number in range(STEPS):
        play.step()
        if find.latest(play.ctx) is not None:
            assert read(play.ctx) == sorted(play.model.rows(), key=repr), f"step {number}"
    play.catalog.close()
    if "changelog-producer" in play.ctx.options.raw:
        state: dict[int, Row] = {}
        for kind, *values in changelog_of(play.ctx):
            row = tuple(values)
            if kind in {"-U", "-D"}:
                assert state.pop(row[1]) == row
            else:
                assert row[1] not in state
                state[row[1]] = row
        assert state == {row[1]: row for row in play.model.rows()}
