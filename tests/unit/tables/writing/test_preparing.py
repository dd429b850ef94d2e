"""Rows as callers have them: what is filled in, and what is refused by name."""

import numpy as np
import pyarrow as pa
import pytest
from tests.support.table_rows import MakeTable

from hosu.kernel.errors import ErrorKind, InvalidInputError
from hosu.tables.context import TableContext
from hosu.tables.types import DataField, parse_type
from hosu.tables.writing.preparing import key_rows, prepared


def ticks(**columns: object) -> pa.Table:
    given = {"id": [1, 2], "price": [1.5, None], "note": ["a", "b"]} | columns
    return pa.table({name: values for name, values in given.items() if values is not None})


def test_rows_without_kinds_are_inserts(context: TableContext) -> None:
    rows, kinds = prepared(context, ticks())
    assert kinds is None
    assert rows.column_names == ["id", "price", "note"]


def test_columns_come_in_the_order_of_the_table(context: TableContext) -> None:
    rows, _ = prepared(context, ticks().select(["note", "id", "price"]))
    assert rows.column_names == ["id", "price", "note"]


@pytest.mark.parametrize(
    "given", [pa.array(["+U", "-D"]), pa.array([2, 3]), pa.array(["+U", "-D"]).dictionary_encode()]
)
def test_kinds_are_symbols_or_numbers(context: TableContext, given: pa.Array) -> None:
    _, kinds = prepared(context, ticks(), given)
    assert kinds is not None
    assert kinds.tolist() == [2, 3]


def test_a_column_of_kinds_is_taken_out_of_the_rows(context: TableContext) -> None:
    rows, kinds = prepared(context, ticks(_ROW_KIND=["-U", "+U"]))
    assert kinds is not None
    assert kinds.tolist() == [1, 2]
    assert "_ROW_KIND" not in rows.column_names


def test_rowkind_field_names_the_column_of_kinds_and_keeps_it(make: MakeTable) -> None:
    context = make(options={"rowkind.field": "note"})
    rows, kinds = prepared(context, ticks(note=["+I", "-D"]))
    assert kinds is not None
    assert kinds.tolist() == [0, 3]
    assert rows.column("note").to_pylist() == ["+I", "-D"]


@pytest.mark.parametrize("given", [pa.array(["+I", "insert"]), pa.array([0, 4]), pa.array(["+I", None])])
def test_what_is_no_kind_is_refused_naming_the_row(context: TableContext, given: pa.Array) -> None:
    with pytest.raises(InvalidInputError, match=r"row 1: .* is no kind of row") as caught:
        prepared(context, ticks(), given)
    assert caught.value.kind is ErrorKind.ROWS_INVALID


def test_too_few_kinds_are_refused(context: TableContext) -> None:
    with pytest.raises(InvalidInputError, match="1 kinds for 2 rows"):
        prepared(context, ticks(), pa.array(["+I"]))


def test_a_null_in_the_key_is_refused_naming_column_and_row(context: TableContext) -> None:
    with pytest.raises(InvalidInputError, match=r"column 'id', row 1: NULL") as caught:
        prepared(context, ticks(id=[1, None]))
    assert caught.value.kind is ErrorKind.ROWS_INVALID


def test_a_missing_key_is_refused(context: TableContext) -> None:
    with pytest.raises(InvalidInputError, match="'id' is missing") as caught:
        prepared(context, ticks(id=None))
    assert caught.value.kind is ErrorKind.COLUMN_INVALID


def test_ignored_deletes_are_left_out(make: MakeTable) -> None:
    context = make(options={"ignore-delete": "true"})
    rows, kinds = prepared(context, ticks(), pa.array(["-D", "+U"]))
    assert kinds is not None
    assert (kinds.tolist(), rows.column("id").to_pylist()) == ([2], [2])


def test_a_delete_is_refused_where_there_is_no_key_or_the_first_row_wins(make: MakeTable) -> None:
    kinds = pa.array(["+I", "-D"])
    with pytest.raises(InvalidInputError, match=r"row 1 is a -D, and .* has no primary key"):
        prepared(make(()), ticks(), kinds)
    with pytest.raises(InvalidInputError, match="first-row"):
        prepared(make(options={"merge-engine": "first-row"}), ticks(), kinds)


AGGREGATION = {"merge-engine": "aggregation", "fields.price.aggregate-function": "max"}
GROUPED = {
    "merge-engine": "partial-update",
    "fields.note.sequence-group": "price",
    "fields.price.aggregate-function": "max",
}


@pytest.mark.parametrize(
    ("options", "kind", "reason"),
    [
        (AGGREGATION, "-D", "'max' of column 'price' cannot take"),
        (AGGREGATION, "-U", "fields.price.ignore-retract"),
        ({**AGGREGATION, "aggregation.remove-record-on-delete": "true"}, "-U", "fields.price.ignore-retract"),
        ({"merge-engine": "partial-update"}, "-D", "ignore-delete"),
        (GROUPED, "-U", "'max' of column 'price' cannot take"),
        ({**GROUPED, "partial-update.remove-record-on-sequence-group": "note"}, "-U", "fields.price.ignore-retract"),
    ],
)
def test_what_no_merge_takes_back_is_refused_before_it_is_written(
    make: MakeTable, options: dict[str, str], kind: str, reason: str
) -> None:
    with pytest.raises(InvalidInputError, match=f"row 1 is a {kind}, and .*{reason}") as caught:
        prepared(make(options=options), ticks(), pa.array(["+I", kind]))
    assert caught.value.kind is ErrorKind.ROWS_INVALID


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({**AGGREGATION, "fields.price.ignore-retract": "true"}, "-U"),
        ({**AGGREGATION, "fields.price.aggregate-function": "sum"}, "-D"),
        ({**AGGREGATION, "aggregation.remove-record-on-delete": "true"}, "-D"),
        ({"merge-engine": "partial-update", "partial-update.remove-record-on-delete": "true"}, "-U"),
        ({**GROUPED, "partial-update.remove-record-on-sequence-group": "note"}, "-D"),
    ],
)
def test_what_can_be_taken_back_is(make: MakeTable, options: dict[str, str], kind: str) -> None:
    _, kinds = prepared(make(options=options), ticks(), pa.array(["+I", kind]))
    assert kinds is not None
    assert len(kinds) == 2


def test_a_row_that_says_nothing_of_a_sequence_group_takes_nothing_of_it_back(make: MakeTable) -> None:
    _, kinds = prepared(make(options=GROUPED), ticks(note=[None, None]), pa.array(["+I", "-U"]))
    assert kinds is not None


def test_defaults_fill_what_is_missing_or_null(make: MakeTable) -> None:
    fields = [
        DataField(0, "id", parse_type("BIGINT NOT NULL")),
        DataField(1, "price", parse_type("DOUBLE"), default_value="0.5"),
        DataField(2, "note", parse_type("STRING"), default_value="none"),
    ]
    context = make(schema=fields)
    rows, _ = prepared(context, ticks(note=None))
    assert rows.column("price").to_pylist() == [1.5, 0.5]
    assert rows.column("note").to_pylist() == ["none", "none"]


def test_rows_of_a_partial_update_may_leave_columns_out(make: MakeTable) -> None:
    rows, _ = prepared(make(options={"merge-engine": "partial-update"}), ticks(price=None))
    assert rows.column("price").to_pylist() == [None, None]
    with pytest.raises(InvalidInputError, match="'price'"):
        prepared(make(), ticks(price=None))


def test_rows_of_keys_hold_null_or_where_that_may_not_be_zero(make: MakeTable) -> None:
    fields = [
        DataField(0, "id", parse_type("BIGINT NOT NULL")),
        DataField(1, "price", parse_type("DOUBLE NOT NULL")),
        DataField(2, "name", parse_type("STRING NOT NULL")),
        DataField(3, "at", parse_type("TIMESTAMP(6) NOT NULL")),
        DataField(4, "sum", parse_type("DECIMAL(20, 3) NOT NULL")),
        DataField(5, "tags", parse_type("ARRAY<STRING> NOT NULL")),
        DataField(6, "note", parse_type("STRING")),
    ]
    rows = key_rows(make(schema=fields), pa.table({"id": np.array([7, 8], np.int32)}))
    assert rows.column("id").to_pylist() == [7, 8]
    assert rows.column("note").null_count == 2
    assert all(rows.column(field.name).null_count == 0 for field in fields[:-1])


def test_what_is_no_key_is_refused_in_keys(context: TableContext) -> None:
    with pytest.raises(InvalidInputError, match="'price' is no part of the primary key"):
        key_rows(context, pa.table({"id": [1], "price": [1.0]}))
