"""A large run that is looked up in gives what folding all rows gives."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from hosu.tables.merging import MergeSpec, fold, sort_run
from hosu.tables.merging.overlay import SLICE_ROWS_MIN, Overlay, newest_wins, search
from hosu.tables.options import Options
from hosu.tables.records import SEQUENCE_NUMBER, VALUE_KIND, RowKind

ENGINES: dict[str, dict[str, str]] = {
    "deduplicate": {},
    "sequence field": {"sequence.field": "s"},
    "descending": {"sequence.field": "s", "sequence.field.sort-order": "descending"},
    "ignoring deletes": {"ignore-delete": "true"},
    "first-row": {"merge-engine": "first-row", "ignore-delete": "true"},
    "partial-update": {"merge-engine": "partial-update", "partial-update.remove-record-on-delete": "true"},
    "partial-update that ignores deletes": {"merge-engine": "partial-update", "ignore-delete": "true"},
    "sequence group": {"merge-engine": "partial-update", "fields.s.sequence-group": "v"},
    "aggregation": {"merge-engine": "aggregation", "fields.v.aggregate-function": "sum"},
    "removing aggregation": {
        "merge-engine": "aggregation",
        "fields.v.aggregate-function": "sum",
        "aggregation.remove-record-on-delete": "true",
    },
}

KEYS: dict[str, tuple[pa.DataType, Callable[[int], Any]]] = {
    "BIGINT": (pa.int64(), lambda number: (number - 30) << (number % 57)),
    "DOUBLE": (pa.float64(), lambda number: [float("nan"), -0.0, 0.0, float("-inf")][number] if number < 4 else number),
    "STRING": (pa.string(), lambda number: "é" * (number % 5) + "\0" * (number % 3) + str(number // 7)),
    "long STRING": (pa.string(), lambda number: "same beginning of all of them " * 5 + str(number)),
    "DECIMAL": (pa.decimal128(38, 2), lambda number: Decimal(number - 20) * 10**20),
    "TIMESTAMP": (pa.timestamp("ns"), lambda number: (number - 30) * 10**15 + number),
}


def spec_of(options: Mapping[str, str], keys: list[str]) -> MergeSpec:
    return MergeSpec.from_options(Options(options, has_primary_key=True), keys, keys, [*keys, "s", "v"])


def rows_of(random: np.random.Generator, ids: list[int], kind: str, *, first: int, deletes: bool) -> pa.Table:
    """Return rows of these keys, whose numbers begin with `first`, some of them NULL, and some deletes."""
    arrow_type, make = KEYS[kind]
    count = len(ids)
    values = [None if random.random() < 0.2 else int(random.integers(100)) for _ in ids]
    places = [None if random.random() < 0.2 else int(random.integers(5)) for _ in ids]
    kinds = random.choice([0, 2, 3], count, p=[0.5, 0.2, 0.3]) if deletes else np.zeros(count)
    return pa.table(
        {
            "j": pa.array([number % 3 for number in ids], pa.int32()),
            "k": pa.array([make(number) for number in ids], arrow_type),
            "s": pa.array(places, pa.int64()),
            "v": pa.array(values, pa.int64()),
            SEQUENCE_NUMBER: pa.array(np.arange(count) + first, pa.int64()),
            VALUE_KIND: pa.array(kinds.astype(np.int8)),
        }
    )


def shown(table: pa.Table) -> list[str]:
    """Return rows in an order of their own; -0.0 and NaN are told from others."""
    plain = table.select(["j", "k", "s", "v"])
    if pa.types.is_timestamp(plain.schema.field("k").type):
        plain = plain.set_column(1, "k", plain["k"].cast(pa.int64()))
    return sorted(repr(row) for row in plain.to_pylist())


def over(overlay: Overlay, base: pa.Table, piece: int | None) -> list[str]:
    if piece is None:
        parts = [overlay.over(base, is_last=True)]
    else:
        parts = [overlay.over(base.slice(at, piece)) for at in range(0, base.num_rows, piece)]
    return shown(pa.concat_tables([part.select(["j", "k", "s", "v"]) for part in (*parts, overlay.rest())]))


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("name", ENGINES)
def test_what_lies_over_a_run_gives_what_folding_gives(name: str, kind: str) -> None:
    keys = ["k"] if kind == "BIGINT" else ["j", "k"]
    spec = spec_of(ENGINES[name], keys)
    for seed in range(4):
        random = np.random.default_rng([seed, len(name), len(kind)])
        size = int(random.integers(1, 60))
        before, deletes = bool(seed % 2), bool(seed // 2 % 2)
        ids = random.permutation(60)[:size].tolist()
        base = fold(
            [rows_of(random, ids, kind, first=0 if before else 40, deletes=deletes)],
            spec,
            keep_deletes=True,
            sorted_output=True,
        )
        newer = [
            sort_run(
                rows_of(random, random.permutation(70)[:count].tolist(), kind, first=100 + 10 * n, deletes=True), spec
            )
            for n, count in enumerate(random.integers(0, 12, 3))
        ]
        if not before:  # numbers of newer runs reach below those of the base
            newer[0] = newer[0].set_column(4, SEQUENCE_NUMBER, pa.array(np.arange(newer[0].num_rows) * 9))
        expected = shown(fold([base, *newer], spec, keep_deletes=False, sorted_output=False))
        for piece in (None, 7):
            replaces = before and newest_wins(spec)
            assert over(Overlay(newer, spec, replaces=replaces), base, piece) == expected, (seed, piece)
            assert over(Overlay(newer, spec, replaces=False), base, piece) == expected, (seed, piece)
            if before and not deletes:
                plain = base.drop_columns([SEQUENCE_NUMBER, VALUE_KIND])
                assert over(Overlay(newer, spec, replaces=replaces), plain, piece) == expected, (seed, piece)


def test_a_run_that_is_not_sorted_is_looked_up_in_too() -> None:
    random = np.random.default_rng(3)
    spec = spec_of({}, ["k"])
    base = rows_of(random, random.permutation(50).tolist(), "TIMESTAMP", first=0, deletes=False)
    newer = rows_of(random, [3, 60, 11], "TIMESTAMP", first=100, deletes=False)
    expected = shown(fold([base, newer], spec, keep_deletes=False, sorted_output=False))
    assert over(Overlay([newer], spec, replaces=True), base, None) == expected


def test_a_batch_without_rows_says_nothing_of_those_after_it() -> None:
    random = np.random.default_rng(4)
    spec = spec_of({}, ["k"])
    base = rows_of(random, list(range(20)), "DECIMAL", first=0, deletes=False)
    newer = rows_of(random, [3, 11], "DECIMAL", first=100, deletes=False)
    overlay = Overlay([newer], spec, replaces=True)
    assert [overlay.over(base.slice(0, count)).num_rows for count in (0, 20)] == [0, 18]


def test_long_stretches_without_newer_rows_are_not_copied() -> None:
    count = 4 * SLICE_ROWS_MIN
    base = pa.table({"k": pa.array(np.arange(count)), "v": pa.array(np.arange(count))})
    gone = [1, 5, 6, 2 * SLICE_ROWS_MIN, count - 1]
    newer = pa.table(
        {
            "k": pa.array(gone, pa.int64()),
            "v": pa.array([0] * len(gone), pa.int64()),
            SEQUENCE_NUMBER: pa.array(range(len(gone)), pa.int64()),
            VALUE_KIND: pa.array([int(RowKind.DELETE)] * len(gone), pa.int8()),
        }
    )
    overlay = Overlay([newer], spec_of({}, ["k"]), replaces=True)
    found = overlay.over(base, is_last=True)
    assert found["k"].to_pylist() == sorted(set(range(count)) - set(gone))
    before = base["v"].chunk(0).buffers()[1]
    assert sum(chunk.buffers()[1].address == before.address for chunk in found["v"].chunks) == 2
    assert overlay.rest().num_rows == 0


def test_rows_of_a_key_that_repeats_are_all_found() -> None:
    within = [np.array([1, 1, 2, 2, 2, 9], np.uint64), np.array([5, 5, 1, 3, 3, 0], np.uint64)]
    sought = [np.array([2, 1, 2, 9, 2], np.uint64), np.array([3, 5, 2, 1, 3], np.uint64)]
    places, met = search(within, sought)
    assert places.tolist() == [0, 1, 3, 4]
    assert met.tolist() == [True, True, False, False, True]
    places, met = search(within[:1], [np.array([2, 2, 7], np.uint64)])
    assert places.tolist() == [2, 3, 4]
    assert met.tolist() == [True, True, False]
