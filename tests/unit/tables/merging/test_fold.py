"""What is left of rows of the same key."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from pyroaring import BitMap

from hosu.kernel.errors import ErrorKind, HosuError, InvalidInputError, UnsupportedError
from hosu.tables.merging import MergeSpec, fold, merge_stream, sort_run
from hosu.tables.options import Options
from hosu.tables.records import SEQUENCE_NUMBER, VALUE_KIND, RowKind

INSERT, BEFORE, AFTER, DELETE = RowKind.INSERT, RowKind.UPDATE_BEFORE, RowKind.UPDATE_AFTER, RowKind.DELETE


def spec_of(options: Mapping[str, str], names: Sequence[str] = ("k", "v")) -> MergeSpec:
    return MergeSpec.from_options(Options(options, has_primary_key=True), ["k"], ["k"], names)


def run(*rows: tuple[Any, ...], kind: pa.DataType | None = None, first: int = 0) -> pa.Table:
    """Return rows of (key, value, kind) as a run, numbered from `first`."""
    return pa.table(
        {
            "k": pa.array([row[0] for row in rows], pa.int64()),
            "v": pa.array([row[1] for row in rows], kind or pa.int64()),
            SEQUENCE_NUMBER: pa.array(range(first, first + len(rows)), pa.int64()),
            VALUE_KIND: pa.array([int(row[2]) if len(row) > 2 else 0 for row in rows], pa.int8()),
        }
    )


def values(table: pa.Table) -> dict[int, Any]:
    found = dict(zip(table.column("k").to_pylist(), table.column("v").to_pylist(), strict=True))
    assert len(found) == table.num_rows
    return found


def merged(options: Mapping[str, str], *runs: pa.Table) -> dict[int, Any]:
    return values(fold(runs, spec_of(options), keep_deletes=False, sorted_output=False))


def aggregated(function: str, kind: pa.DataType, *of_key: Any, **options: str) -> Any:
    """Return what a function makes of the values of one key."""
    given = {f"fields.v.{name.replace('_', '-')}": value for name, value in options.items()}
    rows = [
        row if isinstance(row, tuple) and len(row) == 2 and isinstance(row[1], RowKind) else (row, INSERT)
        for row in of_key
    ]
    table = run(*((1, value, row_kind) for value, row_kind in rows), kind=kind)
    return merged({"merge-engine": "aggregation", "fields.v.aggregate-function": function, **given}, table)[1]


def test_the_latest_row_of_a_key_stays_and_deleted_keys_go() -> None:
    old, new = run((1, 10), (2, 20), (3, 30)), run((2, 21), (3, None, DELETE), (4, 40), first=3)
    assert merged({}, old, new) == {1: 10, 2: 21, 4: 40}
    kept = fold([old, new], spec_of({}), keep_deletes=True, sorted_output=True)
    assert kept.column("k").to_pylist() == [1, 2, 3, 4]
    assert kept.column(VALUE_KIND).to_pylist() == [0, 0, 3, 0]


def test_sequence_numbers_decide_and_not_the_order_of_runs() -> None:
    assert merged({}, run((1, 99), first=7), run((1, 1), first=0)) == {1: 99}


def test_sequence_fields_decide_before_sequence_numbers() -> None:
    late, early = run((1, 5), first=0), run((1, 4), first=9)
    assert merged({"sequence.field": "v"}, late, early) == {1: 5}
    assert merged({"sequence.field": "v", "sequence.field.sort-order": "descending"}, late, early) == {1: 4}
    for order in ("ascending", "descending"):  # NULL is the oldest in both, as in Java
        by_order = {"sequence.field": "v", "sequence.field.sort-order": order}
        assert merged(by_order, late, run((1, None), first=9)) == {1: 5}


def test_a_row_that_is_alone_is_merged_too_where_that_is_asked_for() -> None:
    spec = spec_of({"merge-engine": "aggregation", "fields.v.aggregate-function": "sum"})
    rows = run((1, 10), (2, 5, DELETE), (3, 1), (3, 2))
    as_it_is = fold([rows], spec, keep_deletes=True, sorted_output=True)
    made = fold([rows], spec, keep_deletes=True, sorted_output=True, merges_lone=True)
    assert as_it_is.column("v").to_pylist() == [10, 5, 3]
    assert as_it_is.column(VALUE_KIND).to_pylist() == [0, DELETE, 0]
    assert made.column("v").to_pylist() == [10, -5, 3]
    assert made.column(VALUE_KIND).to_pylist() == [0, 0, 0]


def test_runs_without_common_keys_are_handed_out_as_they_are() -> None:
    table = run((1, 1), (2, 2))
    assert fold([table], spec_of({}), keep_deletes=False, sorted_output=True).column("v").chunk(0).buffers()[
        1
    ].address == (table.column("v").chunk(0).buffers()[1].address)


def test_no_rows_give_no_rows_with_their_columns() -> None:
    empty = run()
    assert fold([empty, empty], spec_of({}), keep_deletes=True, sorted_output=True).schema == empty.schema


def test_ignored_deletes_leave_the_row_before_them() -> None:
    rows = run((1, 10), (1, None, DELETE), (2, 20, DELETE))
    assert merged({"ignore-delete": "true"}, rows) == {1: 10}


def test_first_row_keeps_the_first_and_takes_no_deletes() -> None:
    assert merged({"merge-engine": "first-row"}, run((1, 10), (1, 11))) == {1: 10}
    with pytest.raises(InvalidInputError, match="ignore-delete") as caught:
        merged({"merge-engine": "first-row"}, run((1, 10), (1, 11, DELETE)))
    assert caught.value.kind is ErrorKind.ROWS_INVALID


def test_partial_update_keeps_what_is_not_null() -> None:
    assert merged({"merge-engine": "partial-update"}, run((1, 10), (1, None))) == {1: 10}
    with pytest.raises(InvalidInputError, match="remove-record-on-delete"):
        merged({"merge-engine": "partial-update"}, run((1, 10), (1, 11, DELETE)))


@pytest.mark.parametrize(
    ("function", "kind", "rows", "result"),
    [
        ("sum", pa.int64(), [1, None, 2, (1, BEFORE)], 2),
        ("sum", pa.int8(), [100, (50, DELETE), 77], 127),
        ("sum", pa.float32(), [0.5, 0.25], 0.75),
        ("sum", pa.int64(), [None, None], None),
        ("sum", pa.int64(), [(3, BEFORE), 5], 2),
        ("product", pa.int64(), [6, 7, (2, DELETE)], 21),
        ("max", pa.string(), ["a", "é", "b"], "é"),
        ("min", pa.float64(), [2.0, float("nan"), 1.0], 1.0),
        ("bool_and", pa.bool_(), [True, None, False], False),
        ("bool_or", pa.bool_(), [None, False, True], True),
        ("first_value", pa.int64(), [None, 1], None),
        ("first_non_null_value", pa.int64(), [None, 1, 2], 1),
        ("last_value", pa.int64(), [1, None], None),
        ("last_non_null_value", pa.int64(), [1, None], 1),
        ("listagg", pa.string(), ["a", " ", "b"], "a,b"),
        ("collect", pa.list_(pa.int64()), [[1], None, [2, 1]], [1, 2, 1]),
        ("collect", pa.list_(pa.int64()), [[1, 2, 1], ([1], BEFORE)], [2, 1]),
        ("merge_map", pa.map_(pa.string(), pa.int64()), [[("a", 1)], [("a", 2), ("b", 3)]], [("a", 2), ("b", 3)]),
    ],
)
def test_functions_make_one_value_of_several(function: str, kind: pa.DataType, rows: list[Any], result: Any) -> None:
    assert aggregated(function, kind, *rows) == result


def test_decimals_add_up_exactly_and_are_null_once_too_large() -> None:
    from decimal import Decimal

    assert aggregated("sum", pa.decimal128(4, 2), Decimal("1.10"), Decimal("2.20")) == Decimal("3.30")
    assert aggregated("sum", pa.decimal128(3, 0), Decimal(600), Decimal(600)) is None
    assert aggregated("sum", pa.decimal128(38, 0), Decimal(10**30), Decimal(1)) == Decimal(10**30 + 1)
    assert aggregated("product", pa.decimal128(4, 2), Decimal("1.50"), Decimal("1.50")) == Decimal("2.25")


@pytest.mark.parametrize(("kind", "value"), [(pa.int8(), 100), (pa.int64(), 2**62)])
def test_sums_that_do_not_fit_are_refused_with_the_column(kind: pa.DataType, value: int) -> None:
    with pytest.raises(InvalidInputError, match="column 'v'") as caught:
        aggregated("sum", kind, value, value)
    assert caught.value.kind is ErrorKind.ROWS_INVALID


def test_functions_that_cannot_take_back_say_so() -> None:
    with pytest.raises(UnsupportedError, match=r"'max' of column 'v'.*fields\.v\.ignore-retract"):
        aggregated("max", pa.int64(), 1, (1, DELETE))
    assert aggregated("max", pa.int64(), 1, (9, DELETE), ignore_retract="true") == 1


def test_lists_of_rows_are_tables_of_their_own() -> None:
    kind = pa.list_(pa.struct([("id", pa.int64()), ("at", pa.int64()), ("x", pa.string())]))
    one, two = {"id": 1, "at": 5, "x": "a"}, {"id": 2, "at": 1, "x": "b"}
    older = {"id": 1, "at": 4, "x": "old"}
    assert aggregated("nested_update", kind, [one], [two, older], nested_key="id") == [older, two]
    assert aggregated("nested_update", kind, [one], [older], nested_key="id", nested_sequence_field="at") == [one]
    assert aggregated("nested_update", kind, [one], [two], nested_key="id", count_limit="1") == [one]
    assert aggregated("nested_update", kind, [one, two], ([one], DELETE), nested_key="id") == [two]
    assert aggregated("nested_update", kind, [one], [one, two], count_limit="2") == [one, one]
    patch = {"id": 1, "at": None, "x": "c"}
    assert aggregated("nested_partial_update", kind, [one], [patch], nested_key="id") == [{"id": 1, "at": 5, "x": "c"}]
    nameless = {"id": None, "at": 0, "x": "d"}
    strategy = {"nested_key": "id", "nested_key_null_strategy": "ignore"}
    assert aggregated("nested_update", kind, [one], [nameless], **strategy) == [one]
    strategy["nested_key_null_strategy"] = "error"
    with pytest.raises(InvalidInputError, match="id"):
        aggregated("nested_update", kind, [one], [nameless], **strategy)


def test_maps_of_rows_keep_the_later_row_of_each_key() -> None:
    kind = pa.map_(pa.string(), pa.struct([("x", pa.int64()), ("ts", pa.string())]))
    old = [("a", {"x": 1, "ts": "2"}), ("b", {"x": 2, "ts": "2"}), ("c", {"x": 3, "ts": "2"})]
    new = [("a", {"x": 9, "ts": "1"}), ("b", {"x": 9, "ts": "3"}), ("c", None)]
    assert aggregated("merge_map_with_keytime", kind, old, new) == [
        ("a", {"x": 1, "ts": "2"}),
        ("b", {"x": 9, "ts": "3"}),
    ]


def test_roaring_bitmaps_are_joined_in_the_portable_format() -> None:
    joined = aggregated("rbm32", pa.binary(), BitMap([1, 2]).serialize(), BitMap([2, 99]).serialize())
    assert list(BitMap.deserialize(joined)) == [1, 2, 99]
    with pytest.raises(InvalidInputError, match="roaring bitmap"):
        aggregated("rbm32", pa.binary(), b"no", b"bitmap")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"merge-engine": "aggregation", "fields.v.aggregate-function": "hll_sketch"}, "hll_sketch"),
        ({"merge-engine": "aggregation", "fields.v.aggregate-function": "rbm64"}, "rbm64"),
        ({"merge-engine": "aggregation", "fields.v.aggregate-function": "summ"}, "summ"),
        ({"merge-engine": "aggregation", "fields.default-aggregate-function": "summ"}, "summ"),
        ({"merge-engine": "partial-update", "fields.v.aggregate-function": "sum"}, "sequence group"),
        ({"merge-engine": "partial-update", "fields.v.sequence-group": "w"}, "'w'"),
        ({"merge-engine": "partial-update", "fields.v.sequence-group": "k"}, "primary key"),
        (
            {
                "merge-engine": "partial-update",
                "ignore-delete": "true",
                "partial-update.remove-record-on-delete": "true",
            },
            "contradict",
        ),
        ({"merge-engine": "partial-update", "partial-update.remove-record-on-sequence-group": "v"}, "v"),
        (
            {
                "merge-engine": "aggregation",
                "aggregation.remove-record-on-delete": "true",
                "fields.v.ignore-retract": "true",
            },
            "contradict",
        ),
        ({"merge-engine": "aggregation", "fields.v.aggregate-function": "nested_partial_update"}, "nested-key"),
    ],
)
def test_options_that_cannot_be_are_refused_by_name(options: dict[str, str], message: str) -> None:
    with pytest.raises(HosuError, match=message):
        spec_of(options)


def test_reading_some_columns_reads_what_merging_them_takes() -> None:
    names = ["k", "a", "b", "g", "s"]
    spec = spec_of({"merge-engine": "partial-update", "fields.g.sequence-group": "a", "sequence.field": "s"}, names)
    assert set(spec.needed(["b"])) == {"b", "k", "s"}
    assert set(spec.needed(["a"])) == {"a", "k", "s", "g"}


def test_sorting_keeps_every_row() -> None:
    table = sort_run(run((2, 1), (1, 2), (2, 3)), spec_of({}))
    assert table.column("v").to_pylist() == [2, 1, 3]


def test_a_stream_reads_of_its_runs_no_more_than_its_memory_allows() -> None:
    rows, batch_rows = 4000, 100
    read: list[int] = []

    def source(offset: int) -> Iterator[pa.RecordBatch]:
        for start in range(0, rows, batch_rows):
            read.append(start)
            keys = [(key * 2 + offset, key) for key in range(start, start + batch_rows)]
            yield run(*keys, first=start).to_batches()[0]

    whole = run(*[(key, key) for key in range(batch_rows)])
    one_batch, schema = whole.nbytes, whole.schema
    sources = [lambda: source(0), lambda: source(1)]
    keys: list[int] = []
    held_most = 0
    for batch in merge_stream(sources, schema, spec_of({}), held_bytes=one_batch * 4, keep_deletes=False):
        held_most = max(held_most, len(read) * batch_rows - len(keys))
        keys += batch.column(0).to_pylist()
    assert keys == list(range(2 * rows))
    assert held_most <= 8 * batch_rows


def test_all_digits_of_decimals_count() -> None:
    kind = pa.decimal128(38, 10)
    most = Decimal("9999999999999999999999999999.9999999999")
    number = Decimal("1234567890123456789012345678.1234567891")
    assert aggregated("product", kind, most, Decimal(1)) == most
    assert aggregated("sum", kind, number, (number, DELETE)) == 0
    assert aggregated("sum", kind, None, (number, DELETE)) == number.copy_negate()
