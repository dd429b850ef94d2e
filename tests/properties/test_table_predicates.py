"""Predicates against rows looked at one by one: pruning never loses a row, and SQL's three truth values hold."""

import math
from decimal import Decimal
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from tests.support.table_files import open_table

from hosu.kernel.fileio import MemoryFileIO
from hosu.tables.files import read_file, write_files
from hosu.tables.files.pruning import file_filter
from hosu.tables.predicates import (
    Bounds,
    Like,
    Predicate,
    among,
    bounds_of,
    compare,
    conjunction,
    disjunction,
)
from hosu.tables.predicates.bounds import rank
from hosu.tables.predicates.nodes import IsNull

COLUMNS = {"i": "TINYINT", "d": "DECIMAL(3, 1)", "x": "DOUBLE", "s": "STRING", "b": "BOOLEAN", "ts": "TIMESTAMP(9)"}
CTX = open_table(MemoryFileIO(), COLUMNS, options={"metadata.stats-mode": "truncate(2)", "file.compression": "none"})

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "i": st.integers(-3, 3),
    "d": st.integers(-30, 30).map(lambda n: Decimal(n) / 10),
    "x": st.sampled_from([-1.5, -0.0, 0.0, 1.0, 2.0, math.inf, -math.inf, math.nan]),
    "s": st.text("ab\U0010ffff%_", max_size=4),
    "b": st.booleans(),
    "ts": st.integers(-3, 3),
}
LITERALS = VALUES | {
    "i": VALUES["i"] | st.sampled_from([Decimal("0.5"), 1000, -1000]),
    "d": VALUES["d"] | st.sampled_from([Decimal("0.55"), 1000, -1000]),
    "ts": st.integers(-3, 3).map(lambda n: pa.scalar(n, pa.timestamp("ns"))),
}
ROWS = st.lists(
    st.fixed_dictionaries({name: st.none() | kind for name, kind in VALUES.items()}), min_size=1, max_size=6
)
Row = dict[str, Any]


class Model:
    """A predicate, and what it says of one row: True, False, or None for unknown."""

    def __init__(self, predicate: Predicate, says: Any) -> None:
        self.predicate = predicate
        self.says = says


def three_not(truth: bool | None) -> bool | None:  # noqa: FBT001
    return None if truth is None else not truth


def three_and(truths: list[bool | None]) -> bool | None:
    return False if False in truths else None if None in truths else True


def like(text: str, pattern: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "%":
        return any(like(text[start:], pattern[1:]) for start in range(len(text) + 1))
    return bool(text) and pattern[0] in {"_", text[0]} and like(text[1:], pattern[1:])


OPERATORS = {
    "=": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}


def of_row(row: Row, name: str) -> Any:
    return rank(row[name])


def plain(value: Any) -> Any:
    return rank(value.value if isinstance(value, pa.Scalar) else value)


@st.composite
def leaves(draw: st.DrawFn) -> Model:
    name = draw(st.sampled_from(list(COLUMNS)))
    field = CTX.schema.field(name)
    kind = draw(st.sampled_from(["compare", "in", "null", "like"]))
    if kind == "null":
        negated = draw(st.booleans())
        return Model(IsNull(name, negated), lambda row: (row[name] is None) != negated)
    if kind == "like" and name == "s":
        pattern, negated = draw(VALUES["s"]), draw(st.booleans())
        return Model(
            Like(name, pattern, negated),
            lambda row: None if row[name] is None else like(row[name], pattern) != negated,
        )
    if kind == "in":
        values, negated = draw(st.lists(LITERALS[name], min_size=1, max_size=3)), draw(st.booleans())
        found = [plain(value) for value in values]
        return Model(
            among(field, values, is_negated=negated),
            lambda row: None if row[name] is None else (of_row(row, name) in found) != negated,
        )
    operator: Any = draw(st.sampled_from(list(OPERATORS)))
    value = draw(LITERALS[name])
    return Model(
        compare(field, operator, value),
        lambda row: None if row[name] is None else OPERATORS[operator](of_row(row, name), plain(value)),
    )


def joined(parts: st.SearchStrategy[Model]) -> st.SearchStrategy[Model]:
    def conjoin(models: list[Model]) -> Model:
        return Model(
            conjunction([model.predicate for model in models]),
            lambda row: three_and([model.says(row) for model in models]),
        )

    def disjoin(models: list[Model]) -> Model:
        return Model(
            disjunction([model.predicate for model in models]),
            lambda row: three_not(three_and([three_not(model.says(row)) for model in models])),
        )

    several = st.lists(parts, min_size=1, max_size=3)
    return several.map(conjoin) | several.map(disjoin)


MODELS = st.recursive(leaves(), joined, max_leaves=5)


def table(rows: list[Row]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=CTX.schema.arrow)


def shown(rows: pa.Table) -> list[str]:
    """Return rows as text, in which NaN equals itself and the two zeros differ."""
    place = rows.schema.get_field_index("ts")
    return [repr(row) for row in rows.set_column(place, "ts", rows.column("ts").cast(pa.int64())).to_pylist()]


def row_bounds(row: Row) -> dict[str, Bounds]:
    return {name: Bounds(value, value, int(value is None), 1) for name, value in row.items()}


@given(MODELS, ROWS)
def test_a_predicate_says_of_each_row_what_sql_does(model: Model, rows: list[Row]) -> None:
    numbered = table(rows).append_column("#", pa.array(range(len(rows))))
    found = numbered.filter(model.predicate.to_arrow()).column("#").to_pylist()
    assert found == [place for place, row in enumerate(rows) if model.says(row) is True]
    for row in rows:
        assert model.predicate.may_match(row_bounds(row)) == (model.says(row) is True)


@given(MODELS, ROWS)
def test_statistics_never_leave_out_a_row_nor_promise_one_that_is_not(model: Model, rows: list[Row]) -> None:
    known = {}
    for field in CTX.schema.fields:
        values = sorted((row[field.name] for row in rows if row[field.name] is not None), key=rank)
        nulls = len(rows) - len(values)
        # Some writers leave NaN out of their statistics.
        values = [value for value in values if not (isinstance(value, float) and math.isnan(value))]
        ends = (values[0], values[-1]) if values else (None, None)
        known[field.name] = bounds_of(field, ends[0], ends[1], nulls, len(rows))
    says = [model.says(row) is True for row in rows]
    assert model.predicate.may_match(known) or not any(says)
    assert not model.predicate.must_match(known) or all(says)
    assert model.predicate.may_match({}) or not any(says)


@given(MODELS, ROWS)
def test_files_give_exactly_the_rows_that_match(model: Model, rows: list[Row]) -> None:
    (file,) = write_files(CTX, (), 0, table(rows))
    found = read_file(CTX, (), 0, file, predicate=model.predicate, exact=True)
    expected = table([row for row in rows if model.says(row) is True])
    assert found.schema == expected.schema
    assert shown(found) == shown(expected)
    assert file_filter(CTX, model.predicate)(file) or not expected.num_rows
    CTX.files.delete_many([CTX.layout.data_file((), 0, file.file_name)])
