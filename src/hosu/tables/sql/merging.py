"""MERGE INTO … USING … ON … WHEN …: what becomes of each row of the table, and what is inserted."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from hosu.kernel.errors import ErrorKind, UnsupportedError
from hosu.tables.predicates import Predicate, conjunction
from hosu.tables.predicates.parsing import among
from hosu.tables.sql.duck import Parameters, quoted
from hosu.tables.sql.fitting import fitted
from hosu.tables.sql.grammar import DIALECT
from hosu.tables.sql.lexing import fault
from hosu.tables.sql.marking import SEPARATOR, Marked
from hosu.tables.sql.queries import Binder, Given
from hosu.tables.sql.targets import (
    POSITION,
    TARGET,
    Target,
    assignment,
    by_name,
    check_asked_again,
    check_settled,
    check_steady,
    filled,
    state_read,
)
from hosu.tables.table import Table
from hosu.tables.types import cast_rows
from hosu.tables.writing.looking import range_of

if TYPE_CHECKING:
    from hosu.tables.sql.session import Session

SOURCE: Final = "__hosu_source"
ROW: Final = "__hosu_row"
_ACT: Final = "__hosu_act"
_MATCHED: Final = "__hosu_matched"
_VALUES_MAX: Final = 1000
"""More values than this are told to the table as a range."""

_RANGED: Final = frozenset({"TINYINT", "SMALLINT", "INT", "BIGINT", "VARCHAR", "CHAR", "DATE"})
Mask = npt.NDArray[np.bool_]


@dataclass
class _Clause:
    """One WHEN."""

    condition: str
    """Of SQL; empty for all rows."""

    is_matched: bool = True
    """Whether it is of rows that the source has; else of those it lacks."""

    is_delete: bool = False
    values: dict[str, str] = field(default_factory=dict)
    """Expressions of SQL by the column that gets them; of an INSERT, in the order of its columns."""


class MergeInto:
    """A MERGE that is being run."""

    def __init__(
        self,
        session: "Session",
        table: Table,
        alias: str,
        tree: exp.Expr,
        marked: Marked,
        parameters: Parameters,
    ) -> None:
        self._session = session
        self._table = table
        self._alias = alias
        self._parameters = parameters
        self._travels = marked.travels
        self._lock = threading.Lock()
        self._matched: list[npt.NDArray[np.int64]] = []
        self._using = tree.args["using"].sql(DIALECT)
        self._source = _source_alias(tree.args["using"], marked)
        if self._source.lower() == alias.lower():
            raise fault(f"the table and the source of MERGE are both called {alias!r}: write USING … AS another name")
        self._on = tree.args["on"]
        check_steady(self._on)
        self._target: Target | None = None
        self._insert_sql: list[tuple[str, Parameters]] = []
        self._is_new = True
        self._connection = session.connect(steady=True)
        try:
            columns = self._begin_source()
            self._changes, self._inserts = self._clauses(tree.args["whens"].expressions, columns)
            self._is_by_source = any(not clause.is_matched for clause in self._changes)
            self._prepare()
            self.where = None if self._is_by_source else self._bounds(columns)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the source."""
        self._connection.close()

    def begin(self) -> None:
        """Read the source anew, unless nothing was done with it."""
        if self._is_new:
            self._is_new = False
            return
        self.close()
        self._matched = []
        self._connection = self._session.connect(steady=True)
        self._begin_source()
        self._prepare()

    def _binder(self) -> Binder:
        return self._session.binder(self._connection)

    def _begin_source(self) -> list[str]:
        bound = self._binder().bind(f"SELECT * FROM {self._using}", self._parameters, Given(travels=self._travels))
        self._read = state_read(bound, self._table.context)
        self._connection.keep(
            SOURCE,
            f"SELECT *, row_number() OVER () AS {ROW} FROM ({bound.sql}\n)",
            bound.parameters,
        )
        return [name for name in self._connection.columns(f"SELECT * FROM {SOURCE}") if name != ROW]

    def _clauses(self, whens: Sequence[exp.Expr], columns: Sequence[str]) -> tuple[list[_Clause], list[_Clause]]:
        changes: list[_Clause] = []
        inserts: list[_Clause] = []
        for when in whens:
            then = when.args["then"]
            given = when.args.get("condition")
            check_steady(given)
            clause = _Clause("" if given is None else given.sql(DIALECT))
            _check_when(when)
            if isinstance(then, exp.Insert):
                clause.values = self._inserted(then, columns)
                inserts.append(clause)
                continue
            clause.is_matched = bool(when.args.get("matched"))
            if isinstance(then, exp.Update):
                clause.values = self._updated(then, columns)
            elif isinstance(then, exp.Var) and then.name.upper() == "DELETE":
                clause.is_delete = True
            else:
                raise UnsupportedError(ErrorKind.UNSUPPORTED, f"THEN {then.sql(DIALECT)} in MERGE is not supported")
            changes.append(clause)
        return changes, inserts

    def _updated(self, then: exp.Expr, columns: Sequence[str]) -> dict[str, str]:
        schema = self._table.schema
        given = then.expressions
        if not given:
            raise fault("UPDATE in MERGE says nothing: write UPDATE SET *, which is by name, or what is set")
        if isinstance(given[0], exp.Star):
            wanted = [name for name in schema.names if name not in schema.primary_keys]
            return self._same(wanted, columns)
        values: dict[str, str] = {}
        for one in given:
            name, value = assignment(schema, self._alias, one)
            if name in values:
                raise fault(f"column {name!r} is set twice")
            values[name] = value.sql(DIALECT)
        return values

    def _inserted(self, then: exp.Expr, columns: Sequence[str]) -> dict[str, str]:
        names, values = then.this, then.args.get("expression")
        if isinstance(names, exp.Star):
            return self._same(self._table.schema.names, columns)
        if not isinstance(values, exp.Expr):
            raise fault("INSERT in MERGE lacks its values: write INSERT *, which is by name, or INSERT (…) VALUES (…)")
        if any(value.name.upper() == "DEFAULT" for value in values.find_all(exp.Var)):
            raise UnsupportedError(
                ErrorKind.UNSUPPORTED, "DEFAULT in MERGE is not supported: leave the column out of the list"
            )
        listed = (
            [by_name(self._table.schema, one.name) for one in names.expressions]
            if isinstance(names, exp.Tuple)
            else [by_name(self._table.schema, names.name)]
            if names is not None
            else list(self._table.schema.names)
        )
        given = values.expressions if isinstance(values, exp.Tuple) else [values.unnest()]
        if len(set(listed)) != len(listed):
            raise fault(f"a column is given twice: {', '.join(listed)}")
        if len(given) != len(listed):
            raise fault(f"there are {len(given)} values for {len(listed)} columns: {', '.join(listed)}")
        return {name: value.sql(DIALECT) for name, value in zip(listed, given, strict=True)}

    def _same(self, wanted: Sequence[str], columns: Sequence[str]) -> dict[str, str]:
        by_lower = {name.lower(): name for name in columns}
        missing = [name for name in wanted if name.lower() not in by_lower]
        if missing:
            raise fault(f"the source has no column {missing[0]!r}: it has {', '.join(columns)}; name what is set")
        return {name: f"{quoted(self._source)}.{quoted(by_lower[name.lower()])}" for name in wanted}

    def _prepare(self) -> None:
        target = self._target = Target(self._connection, self._table.schema)
        alias, source = quoted(self._alias), quoted(self._source)
        row = f"{source}.{ROW}"
        tests = []
        for clause in self._changes:
            test = f"{row} IS {'NOT ' if clause.is_matched else ''}NULL"
            tests.append(f"{test} AND ({clause.condition})" if clause.condition else test)
        selected = [
            f"{alias}.{POSITION} AS {POSITION}",
            f"{row} AS {ROW}",
            f"{_case(tests, _numbers(tests), '0')} AS {_ACT}",
        ]
        names: list[str | None] = [None, None, None]
        outputs = [POSITION, ROW, _ACT]
        for number, clause in enumerate(self._changes):
            # Each clause has columns of its own: in one CASE with others, its values would become of their type.
            before = ["NULL"] * number
            for name, value in clause.values.items():
                selected.append(_case(tests[: number + 1], [*before, value], "NULL"))
                names.append(name)
                outputs.append(_output(number, name))
        join = "LEFT JOIN" if self._is_by_source else "JOIN"
        sql = (
            f"SELECT {', '.join(selected)} FROM {TARGET} AS {alias} {join} {SOURCE} AS {source} "
            f"ON {self._on.sql(DIALECT)}"
        )
        given = Given({TARGET: TARGET, SOURCE: SOURCE}, self._travels, kept=True)
        bound = self._binder().bind(sql, self._parameters, given)
        known = [read for read in (self._read, state_read(bound, self._table.context)) if read is not None]
        self._read = min(known, default=None)
        target.prepare(
            fitted(self._connection, self._table.schema, bound.sql, bound.parameters, names, outputs),
            bound.parameters,
        )
        self._insert_sql = [self._insert(number, given) for number in range(len(self._inserts))]

    def _insert(self, number: int, given: Given) -> tuple[str, Parameters]:
        clause = self._inserts[number]
        source = quoted(self._source)
        tests = [f"{source}.{ROW} NOT IN (SELECT {ROW} FROM {_MATCHED})"]
        tests += [
            f"({before.condition}) IS NOT TRUE" if before.condition else "FALSE" for before in self._inserts[:number]
        ]
        tests += [f"({clause.condition})"] if clause.condition else []
        values = ", ".join(f"{value} AS {quoted(name)}" for name, value in clause.values.items())
        sql = f"SELECT {values} FROM {SOURCE} AS {source} WHERE {' AND '.join(tests)}"
        self._show_matched()
        locals_ = {**given.locals, _MATCHED: _MATCHED}
        bound = self._binder().bind(sql, self._parameters, Given(locals_, self._travels, kept=True))
        names = list(clause.values)
        return fitted(self._connection, self._table.schema, bound.sql, bound.parameters, names), bound.parameters

    def _show_matched(self) -> None:
        rows = np.unique(np.concatenate([np.zeros(0, np.int64), *self._matched]))
        self._connection.register(_MATCHED, pa.table({ROW: rows}))

    def _bounds(self, columns: Sequence[str]) -> Predicate | None:
        """Return what the rows that the source may match have to meet, from the equations of ON."""
        parts: list[Predicate] = []
        on = self._on.unnest()
        for equation in on.flatten() if isinstance(on, exp.And) else [on]:
            pair = self._equated(equation.unnest(), columns)
            if pair is not None:
                found = self._bound(*pair)
                parts += [found] if found is not None else []
        return conjunction(parts) if parts else None

    def _equated(self, node: exp.Expr, columns: Sequence[str]) -> tuple[str, str] | None:
        if not isinstance(node, exp.EQ):
            return None
        sides = [node.this.unnest(), node.expression.unnest()]
        if not all(isinstance(side, exp.Column) and side.table for side in sides):
            return None
        by_alias = {side.table.lower(): side.name for side in sides}
        own, other = by_alias.get(self._alias.lower()), by_alias.get(self._source.lower())
        if own is None or other is None or other.lower() not in {name.lower() for name in columns}:
            return None
        return own, other

    def _bound(self, own: str, other: str) -> Predicate | None:
        schema = self._table.schema
        field_ = schema.field(by_name(schema, own))
        if field_.type.root not in _RANGED:
            return None
        sql = f"SELECT DISTINCT {quoted(other)} AS v FROM {SOURCE} WHERE v IS NOT NULL"
        values = self._connection.rows(sql).column("v")
        kind = schema.arrow.field(field_.name).type
        if values.type != kind:
            if not (pa.types.is_integer(values.type) and pa.types.is_integer(kind)):
                return None
            try:
                values = values.cast(kind)
            except pa.ArrowInvalid:
                return None
        if len(values) <= _VALUES_MAX:
            return among(field_, values.to_pylist())
        return range_of(pa.table({field_.name: values}), [field_.name])

    def _computed(self, rows: pa.Table) -> pa.Table:
        assert self._target is not None
        with self._lock:
            return self._target.computed(rows)

    def pick(self, rows: pa.Table) -> Mask:
        """Say which rows a clause is about, and remember which rows of the source they match."""
        computed = self._computed(rows)
        known = computed.column(ROW).drop_null().to_numpy()
        with self._lock:
            self._matched.append(np.unique(known))
        acted = computed.filter(pc.greater(computed.column(_ACT), 0))
        positions = acted.column(POSITION).to_numpy()
        mask = np.zeros(rows.num_rows, np.bool_)
        mask[positions] = True
        if len(positions) != int(mask.sum()):
            (twice,) = np.nonzero(np.bincount(positions, minlength=rows.num_rows) > 1)
            row = {name: rows.column(name)[int(twice[0])].as_py() for name in rows.column_names}
            raise fault(f"MERGE: several rows of the source match the same row of {self._table.name}: {row!r}")
        return mask

    def remake(self, rows: pa.Table) -> pa.Table:
        """Return the rows that are updated, with their new values."""
        computed = self._computed(rows)
        check_asked_again(rows, int(pc.sum(pc.greater(computed.column(_ACT), 0)).as_py() or 0))
        changed, positions = [], []
        for number, clause in enumerate(self._changes):
            if clause.is_delete:
                continue
            mine = computed.filter(pc.equal(computed.column(_ACT), number + 1))
            remade = rows.take(mine.column(POSITION))
            for name in clause.values:
                remade = remade.set_column(remade.column_names.index(name), name, mine.column(_output(number, name)))
            changed.append(cast_rows(remade, self._table.schema.fields))
            positions.append(mine.column(POSITION).to_numpy())
        if not changed:
            return rows.slice(0, 0)
        return pa.concat_tables(changed).take(pa.array(np.argsort(np.concatenate(positions))))

    def inserts(self) -> pa.Table | None:
        """Return the rows of the source that matched none of the table."""
        check_settled(self._table.context, self._read)
        if not self._inserts:
            return None
        self._show_matched()
        found = [self._connection.rows(sql, parameters) for sql, parameters in self._insert_sql]
        found = [filled(self._table.schema, rows) for rows in found if rows.num_rows]
        if not found:
            return None
        return found[0] if len(found) == 1 else pa.concat_tables(found, promote_options="permissive")


def _check_when(when: exp.Expr) -> None:
    """Refuse what a WHEN cannot do to the rows that it is of; raise InvalidInputError."""
    then = when.args["then"]
    is_matched, is_of_target = bool(when.args.get("matched")), bool(when.args.get("source"))
    if not isinstance(then, exp.Var) and then.args.get("where"):
        raise fault(f"WHERE in WHEN is not understood: write WHEN … AND {then.args['where'].this.sql(DIALECT)} THEN")
    if isinstance(then, exp.Insert):
        if is_matched or is_of_target:
            raise fault("INSERT is of rows that the table lacks: write WHEN NOT MATCHED THEN INSERT …")
    elif not is_matched and not is_of_target:
        raise fault(
            "WHEN NOT MATCHED is of rows that the table lacks, and only inserts: WHEN NOT MATCHED BY SOURCE is of rows "
            "that the source lacks"
        )


def _source_alias(using: exp.Expr, marked: Marked) -> str:
    if using.alias:
        return str(using.alias)
    if isinstance(using, exp.Table) and using.name:
        return marked.split(using.name)[0] if SEPARATOR in using.name else str(using.name)
    raise fault("the source of MERGE needs a name: write USING (…) AS s")


def _output(number: int, name: str) -> str:
    """Return what the value of a column is called that a clause gives it."""
    return f"{number}:{name}"


def _numbers(tests: Sequence[str]) -> list[str]:
    return [str(number) for number in range(1, len(tests) + 1)]


def _case(tests: Sequence[str], values: Sequence[str], otherwise: str) -> str:
    if not tests:
        return otherwise
    whens = " ".join(f"WHEN {test} THEN {value}" for test, value in zip(tests, values, strict=True))
    return f"CASE {whens} ELSE {otherwise} END"
