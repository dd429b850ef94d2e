"""Sorted runs, a range of keys at a time."""

import random
from collections.abc import Iterator
from datetime import date
from itertools import pairwise

import pyarrow as pa
import pytest

from hosu.tables.compaction.lookups import key_at
from hosu.tables.merging.ranges import key_ranges

SCHEMA = pa.schema([("a", pa.string()), ("b", pa.int64()), ("v", pa.int64())])
Row = tuple[str, int, int]


def batches(rows: list[Row], size: int) -> Iterator[pa.RecordBatch]:
    for start in range(0, len(rows), size):
        columns = zip(*rows[start : start + size], strict=True)
        yield pa.record_batch([pa.array(column) for column in columns], schema=SCHEMA)


def rows_of(table: pa.Table) -> list[Row]:
    return list(zip(*(table[name].to_pylist() for name in SCHEMA.names), strict=True))


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("held_bytes", [1, 500, 1 << 20])
def test_every_row_comes_once_and_no_key_is_in_two_ranges(seed: int, held_bytes: int) -> None:
    chance = random.Random(seed)
    runs = []
    for _ in range(chance.randrange(1, 5)):
        count = chance.randrange(60)
        runs.append(sorted((chance.choice("abcß"), chance.randrange(12), chance.randrange(99)) for _ in range(count)))

    found = list(
        key_ranges([batches(run, chance.randrange(1, 9)) for run in runs], SCHEMA, ["a", "b"], held_bytes=held_bytes)
    )

    for number, run in enumerate(runs):
        got = [row for tables in found for row in rows_of(tables[number])]
        assert sorted(got) == run
        assert [row[:2] for row in got] == [row[:2] for row in run]
    keys = [{row[:2] for table in tables for row in rows_of(table)} for tables in found]
    for before, after in pairwise(keys):
        assert before
        assert max(before) < min(after)


def test_a_key_with_more_rows_than_memory_allows_comes_whole() -> None:
    run: list[Row] = [("a", 1, number) for number in range(1_000)]

    found = list(key_ranges([batches(run, 10), batches([("a", 2, 0)], 1)], SCHEMA, ["a", "b"], held_bytes=1))

    assert [[table.num_rows for table in tables] for tables in found] == [[1_000, 0], [0, 1]]


def test_what_is_held_stays_within_the_memory_allowed() -> None:
    run: list[Row] = [("key", number, number) for number in range(20_000)]
    held_bytes = 20_000

    found = list(key_ranges([batches(run, 100), batches(run, 100)], SCHEMA, ["a", "b"], held_bytes=held_bytes))

    assert len(found) > 10
    assert max(sum(table.nbytes for table in tables) for tables in found) < 2 * held_bytes


def test_no_sources_and_empty_ones_have_no_ranges() -> None:
    assert list(key_ranges([], SCHEMA, ["a"], held_bytes=1)) == []
    assert list(key_ranges([iter(()), iter(())], SCHEMA, ["a"], held_bytes=1)) == []


def test_times_compare_to_the_last_nanosecond() -> None:
    moments = pa.array([1_700_000_000_000_000_001, 1_700_000_000_000_000_002], pa.timestamp("ns"))
    table = pa.table({"at": moments, "day": pa.array([date(2026, 1, 1), date(2026, 1, 2)], pa.date32())})

    assert key_at(table, ["at", "day"], 0) < key_at(table, ["at", "day"], 1)
    assert key_at(table, ["at"], 0) == (1_700_000_000_000_000_001,)
