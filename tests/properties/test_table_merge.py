"""Merging by the column gives what merging row by row does, for every engine and function."""

from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.properties.profiles import IS_NIGHTLY

from hosu.kernel.errors import HosuError
from hosu.tables.merging import MergeSpec, fold, merge_stream, sort_run
from hosu.tables.options import Options
from hosu.tables.records import SEQUENCE_NUMBER, VALUE_KIND, RowKind

INSERT, BEFORE, AFTER, DELETE = RowKind.INSERT, RowKind.UPDATE_BEFORE, RowKind.UPDATE_AFTER, RowKind.DELETE
SCHEMA = pa.schema(
    [
        pa.field("k", pa.int64()),
        pa.field("s", pa.int64()),
        pa.field("g", pa.int64()),
        pa.field("i", pa.int64()),
        pa.field("t", pa.string()),
        pa.field("f", pa.float64()),
        pa.field("b", pa.bool_()),
        pa.field("l", pa.list_(pa.int64())),
        pa.field("m", pa.map_(pa.string(), pa.int64())),
        pa.field(SEQUENCE_NUMBER, pa.int64()),
        pa.field(VALUE_KIND, pa.int8()),
    ]
)
NAMES = ["k", "s", "g", "i", "t", "f", "b", "l", "m"]
VALUES = NAMES[3:]
ANY = ["last_value", "last_non_null_value", "first_value", "first_non_null_value"]
FUNCTIONS = {
    "i": [*ANY, "sum", "max", "min", "product"],
    "t": [*ANY, "listagg", "max", "min"],
    "f": [*ANY, "max", "min", "sum"],
    "b": [*ANY, "bool_and", "bool_or"],
    "l": [*ANY, "collect"],
    "m": [*ANY, "merge_map"],
}


SEARCH = settings(
    max_examples=2_000 if IS_NIGHTLY else 250, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


POOL = ThreadPoolExecutor(2)


class Refused(Exception):  # noqa: N818 - not an error of the model
    """The engine takes no such row."""


@dataclass
class Function:
    """One column of one key, value by value."""

    name: str
    distinct: bool = False
    ignore_retract: bool = False
    begun: bool = False

    def agg(self, acc: Any, x: Any) -> Any:
        name = self.name
        if name in {"last_value", "primary-key"}:
            return x
        if name == "last_non_null_value":
            return acc if x is None else x
        if name.startswith("first"):
            if self.begun or (x is None and name != "first_value"):
                return acc
            self.begun = True
            return x
        if name == "listagg":
            return self._listagg(acc, x)
        if name == "collect":
            return self._collect(acc, x)
        if acc is None or x is None:
            return x if acc is None else acc
        if name == "merge_map":
            return list((dict(acc) | dict(x)).items())
        return {
            "sum": lambda: acc + x,
            "product": lambda: acc * x,
            "max": lambda: max(acc, x),
            "min": lambda: min(acc, x),
            "bool_and": lambda: acc and x,
            "bool_or": lambda: acc or x,
        }[name]()

    def _listagg(self, acc: Any, x: Any) -> Any:
        if x is None or not x.strip():
            return acc
        if acc is None or not acc.strip():
            return x
        if not self.distinct:
            return acc + "," + x
        for part in x.split(","):
            if part.strip() and part not in acc.split(","):
                acc += "," + part
        return acc

    def _collect(self, acc: Any, x: Any) -> Any:
        if not self.distinct:
            return (x if acc is None else acc) if acc is None or x is None else acc + x
        if acc is None and x is None:
            return None
        return sorted({*(acc or ()), *(x or ())})

    def reverse(self, acc: Any, x: Any) -> Any:
        return self.agg(acc, x) if self.name == "collect" and not self.ignore_retract else self.agg(x, acc)

    def retract(self, acc: Any, x: Any) -> Any:  # noqa: C901 - a line each
        name = self.name
        if self.ignore_retract:
            return acc
        if name == "primary-key":
            return x
        if name == "last_value":
            return None
        if name == "last_non_null_value":
            return acc if x is None else None
        if name == "sum":
            return acc if x is None else -x if acc is None else acc - x
        if name == "product":
            if acc is None or x is None:
                return acc
            if x == 0:
                raise Refused
            return abs(acc) // abs(x) * (1 if (acc < 0) == (x < 0) else -1)
        if name == "collect":
            left = list(x or ())
            return None if acc is None else [e for e in acc if not (e in left and not left.remove(e))]  # type: ignore[func-returns-value]
        if name == "merge_map":
            return None if acc is None else [pair for pair in acc if pair[0] not in dict(x or ())]
        raise Refused


@dataclass
class Model:
    """The engines, row by row."""

    engine: str
    sequence: bool = False
    descending: bool = False
    ignore_delete: bool = False
    remove: bool = False
    group: bool = False
    removing: bool = False
    functions: dict[str, str] = field(default_factory=dict)
    distinct: bool = False
    ignoring: frozenset[str] = frozenset()

    def options(self) -> dict[str, str]:
        found = {"merge-engine": self.engine}
        if self.sequence:
            found |= {
                "sequence.field": "s",
                "sequence.field.sort-order": "descending" if self.descending else "ascending",
            }
        if self.ignore_delete:
            found["ignore-delete"] = "true"
        if self.remove:
            prefix = "aggregation" if self.engine == "aggregation" else "partial-update"
            found[f"{prefix}.remove-record-on-delete"] = "true"
        if self.group:
            found["fields.g.sequence-group"] = ",".join(VALUES)
            if self.removing:
                found["partial-update.remove-record-on-sequence-group"] = "g"
        for name, function in self.functions.items():
            found[f"fields.{name}.aggregate-function"] = function
            found[f"fields.{name}.distinct"] = str(self.distinct).lower()
            if name in self.ignoring:
                found[f"fields.{name}.ignore-retract"] = "true"
        return found

    def spec(self) -> MergeSpec:
        return MergeSpec.from_options(Options(self.options(), has_primary_key=True), ["k"], ["k"], NAMES)

    def merge(self, rows: list[dict[str, Any]]) -> dict[int, tuple[bool, dict[str, Any]]]:
        """Return of each key whether it is gone, and its values."""
        found = {}
        for key in {row["k"] for row in rows}:
            mine = sorted((row for row in rows if row["k"] == key), key=self._age)
            merged = (mine[0]["kind"], mine[0]) if len(mine) == 1 else self._merge(mine)
            if merged is not None:
                found[key] = (merged[0] in {BEFORE, DELETE}, {name: merged[1][name] for name in NAMES})
        return found

    def _age(self, row: dict[str, Any]) -> tuple[Any, ...]:
        if not self.sequence:
            return (row["seq"],)
        value = row["s"] or 0
        return (row["s"] is not None, -value if self.descending else value, row["seq"])

    def _merge(self, rows: list[dict[str, Any]]) -> tuple[int, dict[str, Any]] | None:
        gone = [row for row in rows if row["kind"] in {BEFORE, DELETE}]
        if self.engine in {"deduplicate", "first-row"}:
            if self.engine == "first-row" and gone and not self.ignore_delete:
                raise Refused
            kept = [row for row in rows if row not in gone] if self.ignore_delete else rows
            chosen = kept[: 1 if kept else 0] if self.engine == "first-row" else kept[-1:]
            return (chosen[0]["kind"], chosen[0]) if chosen else None
        return self._aggregate(rows) if self.engine == "aggregation" else self._update(rows)

    def _function(self, name: str, default: str) -> Function:
        chosen = self.functions.get(name, default)
        return Function(chosen, self.distinct, name in self.ignoring)

    def _aggregate(self, rows: list[dict[str, Any]]) -> tuple[int, dict[str, Any]]:
        functions = {name: self._function(name, "last_non_null_value") for name in NAMES}
        functions["k"] = Function("primary-key")
        if self.sequence:
            functions["s"] = Function("last_value")
        acc: dict[str, Any] = dict.fromkeys(NAMES)
        kind = INSERT
        for row in rows:
            kind = DELETE if self.remove and row["kind"] == DELETE else INSERT
            if kind == DELETE:
                acc = {name: row[name] for name in NAMES}
                continue
            for name, function in functions.items():
                act = function.retract if row["kind"] in {BEFORE, DELETE} else function.agg
                acc[name] = act(acc[name], row[name])
        return kind, acc

    def _update(self, rows: list[dict[str, Any]]) -> tuple[int, dict[str, Any]]:
        acc: dict[str, Any] = dict.fromkeys(NAMES)
        filled = inserted = False
        deleted = False
        functions = {name: self._function(name, "") for name in self.functions}
        for row in rows:
            deleted = False
            if row["kind"] in {BEFORE, DELETE}:
                if not filled:
                    acc, filled = {name: row[name] for name in NAMES}, True
                if self.ignore_delete:
                    continue
                if self.group:
                    deleted, acc = self._retract_group(acc, row, functions)
                elif self.remove:
                    if row["kind"] == DELETE:
                        deleted, acc = True, {name: row[name] for name in NAMES}
                else:
                    raise Refused
                continue
            filled = inserted = True
            self._insert(acc, row, functions)
        return (DELETE if deleted or not inserted else INSERT), acc

    def _insert(self, acc: dict[str, Any], row: dict[str, Any], functions: dict[str, Function]) -> None:
        newer = self._newer(acc, row)
        for name in NAMES:
            if not self.group or name not in {"g", *VALUES}:
                acc[name] = acc[name] if row[name] is None else row[name]
            elif row["g"] is None:
                continue
            elif newer:
                acc[name] = functions[name].agg(acc[name], row[name]) if name in functions else row[name]
            elif name in functions:
                acc[name] = functions[name].reverse(acc[name], row[name])

    def _newer(self, acc: dict[str, Any], row: dict[str, Any]) -> bool:
        return row["g"] is not None and (acc["g"] is None or row["g"] >= acc["g"])

    def _retract_group(
        self, acc: dict[str, Any], row: dict[str, Any], functions: dict[str, Function]
    ) -> tuple[bool, dict[str, Any]]:
        newer = self._newer(acc, row)
        if row["g"] is None:
            return False, acc
        if newer and row["kind"] == DELETE and self.removing:
            return True, {name: row[name] for name in NAMES}
        for name in VALUES:
            if name in functions:
                acc[name] = functions[name].retract(acc[name], row[name])
            elif newer:
                acc[name] = None
        if newer:
            acc["g"] = row["g"]
        return False, acc


def _maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), values)


_SMALL = st.integers(-3, 3)
_ROWS = st.fixed_dictionaries(
    {
        "k": st.integers(0, 3),
        "s": _maybe(st.integers(0, 3)),
        "g": _maybe(st.integers(0, 3)),
        "i": _maybe(_SMALL),
        "t": _maybe(st.sampled_from(["", " ", "a", "b", "a,b", "é"])),
        "f": _maybe(_SMALL.map(float)),
        "b": _maybe(st.booleans()),
        "l": _maybe(st.lists(_SMALL, max_size=3)),
        "m": _maybe(st.dictionaries(st.sampled_from("xy"), _SMALL, max_size=2).map(lambda found: list(found.items()))),
        "kind": st.sampled_from([INSERT, INSERT, AFTER, INSERT, BEFORE, DELETE]),
    }
)


@st.composite
def _models(draw: st.DrawFn) -> Model:
    engine = draw(st.sampled_from(["deduplicate", "first-row", "aggregation", "partial-update"]))
    model = Model(engine, sequence=engine != "first-row" and draw(st.booleans()), descending=draw(st.booleans()))
    choice = draw(st.sampled_from(["ignore", "remove", "none"]))
    model.ignore_delete = choice == "ignore" and engine != "aggregation"
    model.group = engine == "partial-update" and draw(st.booleans())
    model.remove = choice == "remove" and engine in {"aggregation", "partial-update"} and not model.group
    model.removing = model.group and choice == "remove"
    if engine == "aggregation" or model.group:
        for name in VALUES:
            if draw(st.booleans()):
                model.functions[name] = draw(st.sampled_from(FUNCTIONS[name]))
        model.distinct = draw(st.booleans())
        if not model.remove:
            model.ignoring = frozenset(draw(st.sets(st.sampled_from(VALUES), max_size=4))) & model.functions.keys()
    return model


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    columns = {name: [row[name] for row in rows] for name in NAMES}
    columns[SEQUENCE_NUMBER] = [row["seq"] for row in rows]
    columns[VALUE_KIND] = [int(row["kind"]) for row in rows]
    return pa.table(columns, schema=SCHEMA)


def _found(table: pa.Table, *, distinct: frozenset[str]) -> dict[int, tuple[bool, dict[str, Any]]]:
    found = {}
    for row in table.to_pylist():
        assert row["k"] not in found
        values = {
            name: sorted(row[name]) if name in distinct and row[name] is not None else row[name] for name in NAMES
        }
        if values["m"] is not None:
            values["m"] = dict(values["m"])
        found[row["k"]] = (row[VALUE_KIND] in {BEFORE, DELETE}, values)
    return found


def _as_found(
    merged: dict[int, tuple[bool, dict[str, Any]]], distinct: frozenset[str]
) -> dict[int, tuple[bool, dict[str, Any]]]:
    for _, values in merged.values():
        values["m"] = None if values["m"] is None else dict(values["m"])
        for name in distinct:
            values[name] = None if values[name] is None else sorted(values[name])
    return merged


@SEARCH
@given(_models(), st.lists(_ROWS, min_size=1, max_size=14), st.data())
def test_merging_runs_is_merging_row_by_row(model: Model, rows: list[dict[str, Any]], data: st.DataObject) -> None:
    for number, row in enumerate(rows):
        row["seq"] = number
    cuts = sorted(data.draw(st.sets(st.integers(0, len(rows)), max_size=3)))
    runs = [_table(rows[low:high]) for low, high in zip([0, *cuts], [*cuts, len(rows)], strict=True)]
    spec = model.spec()
    if data.draw(st.booleans()):
        runs = [sort_run(run, spec) for run in runs]
    distinct = frozenset({"l"}) if model.functions.get("l") == "collect" and model.distinct else frozenset()
    try:
        wanted = _as_found(model.merge(rows), distinct)
    except Refused:
        with pytest.raises(HosuError):
            fold(runs, spec, keep_deletes=True, sorted_output=True)
        return
    merged = fold(runs, spec, keep_deletes=True, sorted_output=True)
    assert merged.column("k").to_pylist() == sorted(merged.column("k").to_pylist())
    assert _found(merged, distinct=distinct) == wanted
    without = fold(runs, spec, keep_deletes=False, sorted_output=False)
    assert _found(without, distinct=distinct) == {key: row for key, row in wanted.items() if not row[0]}


@SEARCH
@given(
    _models(),
    st.lists(st.lists(_ROWS, max_size=12), min_size=1, max_size=4),
    st.integers(1, 3),
    st.integers(1, 1000),
    st.sampled_from([None, POOL]),
)
def test_merging_streams_is_folding_whole_runs(
    model: Model, parts: list[list[dict[str, Any]]], batch_rows: int, held_bytes: int, pool: Executor | None
) -> None:
    spec = model.spec()
    runs = []
    for number, part in enumerate(parts):
        for place, row in enumerate(part):
            row["seq"] = number * 100 + place
        runs.append(sort_run(_table(part), spec))
    try:
        wanted = fold(runs, spec, keep_deletes=True, sorted_output=True)
    except HosuError:
        return
    sources = [lambda run=run: iter(run.to_batches(max_chunksize=batch_rows)) for run in runs]
    batches = list(merge_stream(sources, SCHEMA, spec, held_bytes=held_bytes, keep_deletes=True, pool=pool))
    assert pa.Table.from_batches(batches, SCHEMA).to_pylist() == wanted.to_pylist()
