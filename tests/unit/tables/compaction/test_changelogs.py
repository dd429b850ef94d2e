"""What became of each key."""

from typing import Any

import pyarrow as pa

from hosu.tables.compaction.changelogs import adds_only, changelog, value_columns
from hosu.tables.records import RowKind

PLUS, MINUS = RowKind.INSERT, RowKind.DELETE
SCHEMA = pa.schema(
    [("k", pa.int64()), ("v", pa.string()), ("_SEQUENCE_NUMBER", pa.int64()), ("_VALUE_KIND", pa.int8())]
)


def run(*rows: tuple[int, str | None, int, int]) -> pa.Table:
    names = SCHEMA.names
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows], SCHEMA)


def said(table: pa.Table) -> list[tuple[Any, ...]]:
    return [
        (RowKind(row["_VALUE_KIND"]).symbol, row["k"], row["v"], row["_SEQUENCE_NUMBER"]) for row in table.to_pylist()
    ]


def test_a_key_that_was_not_there_is_inserted() -> None:
    assert said(changelog(run(), run((1, "a", 5, PLUS)), ["k"], None)) == [("+I", 1, "a", 5)]


def test_a_key_that_was_there_is_updated() -> None:
    found = changelog(run((1, "a", 5, PLUS)), run((1, "b", 6, RowKind.UPDATE_AFTER)), ["k"], None)

    assert said(found) == [("-U", 1, "a", 5), ("+U", 1, "b", 6)]


def test_a_key_that_is_gone_is_deleted_with_the_values_it_had() -> None:
    assert said(changelog(run((1, "a", 5, PLUS)), run((1, None, 6, MINUS)), ["k"], None)) == [("-D", 1, "a", 5)]


def test_a_delete_of_what_was_not_there_is_nothing() -> None:
    assert said(changelog(run(), run((1, "a", 6, MINUS)), ["k"], None)) == []


def test_a_retract_is_no_row_to_begin_with() -> None:
    assert said(changelog(run((1, "a", 5, MINUS)), run((1, "b", 6, PLUS)), ["k"], None)) == [("+I", 1, "b", 6)]


def test_rows_that_did_not_change_are_left_out_when_asked() -> None:
    before, after = run((1, "a", 5, PLUS), (2, None, 5, PLUS)), run((1, "a", 6, PLUS), (2, "x", 6, PLUS))

    assert len(said(changelog(before, after, ["k"], None))) == 4
    assert said(changelog(before, after, ["k"], ["k", "v"])) == [("-U", 2, None, 5), ("+U", 2, "x", 6)]


def test_it_comes_in_the_order_of_keys_each_pair_together() -> None:
    before = run((1, "a", 1, PLUS), (3, "c", 1, PLUS), (4, "d", 1, PLUS))
    after = run((1, "A", 2, PLUS), (2, "B", 2, PLUS), (3, None, 2, MINUS), (4, "D", 2, PLUS))

    found = said(changelog(before, after, ["k"], None))

    assert [(kind, key) for kind, key, *_ in found] == [
        ("-U", 1),
        ("+U", 1),
        ("+I", 2),
        ("-D", 3),
        ("-U", 4),
        ("+U", 4),
    ]


def test_retracts_are_left_out() -> None:
    rows = run((1, "a", 1, PLUS), (2, "b", 1, MINUS), (3, "c", 1, RowKind.UPDATE_BEFORE), (4, "d", 1, PLUS))

    assert adds_only(rows)["k"].to_pylist() == [1, 4]


def test_system_columns_and_ignored_ones_are_not_compared() -> None:
    assert value_columns(SCHEMA.names, ["v"]) == ["k"]
