"""UPDATE, DELETE and MERGE: DuckDB computes rows, the engine writes them, each statement as one commit."""

import threading
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sqlglot import exp

from hosu.kernel.errors import ErrorKind, UnsupportedError
from hosu.tables.sql.duck import Parameters, quoted
from hosu.tables.sql.fitting import fitted
from hosu.tables.sql.grammar import DIALECT, check_case, check_marks, parsed, unqualified
from hosu.tables.sql.lexing import Words, fault
from hosu.tables.sql.marking import Marked, mark
from hosu.tables.sql.merging import MergeInto
from hosu.tables.sql.pushing import Source, push_down
from hosu.tables.sql.queries import Given
from hosu.tables.sql.results import Result
from hosu.tables.sql.showing import full_name
from hosu.tables.sql.targets import (
    POSITION,
    TARGET,
    Target,
    assignment,
    check_asked_again,
    check_settled,
    check_steady,
    check_written,
    counted,
    state_read,
)
from hosu.tables.table import Table
from hosu.tables.types import cast_rows
from hosu.tables.writing import verbs
from hosu.tables.writing.merge import merge

if TYPE_CHECKING:
    from hosu.tables.context import TableContext
    from hosu.tables.predicates import Predicate
    from hosu.tables.sql.session import Session

Mask = npt.NDArray[np.bool_]


def _parsed(words: Words, kind: type[exp.Expr]) -> tuple[exp.Expr, Marked]:
    marked = mark(words.sql)
    tree = parsed(marked.sql)
    if not isinstance(tree, kind):
        raise fault(f"this is no {words.tokens[0].text}", words.sql, 0)
    check_marks(tree)
    return tree, marked


def _numbered(words: Words, parameters: Parameters) -> Parameters:
    """Return parameters by name, since not every query that a statement becomes has all of them."""
    found = words.tokens
    if isinstance(parameters, Mapping):
        names = {two.text for one, two in pairwise(found) if one.text == "$"}
        for name in parameters:
            if str(name) not in names:
                raise fault(f"there is a value for parameter ${name}, which the statement does not have")
        return parameters
    if not parameters:
        return parameters
    numbers = [int(two.text) for one, two in pairwise(found) if one.text == "$" and two.text.isdecimal()]
    wanted = max([sum(one.text == "?" for one in found), *numbers])
    if len(parameters) != wanted:
        raise fault(f"there are {len(parameters)} parameters for the {wanted} that the statement has")
    return {str(number): value for number, value in enumerate(parameters, 1)}


def _target(session: "Session", tree: exp.Expr, marked: Marked) -> tuple[Table, str, exp.Expr]:
    """Return the table that a statement changes, the name that it has there, and the statement without its database.

    The past cannot be changed.
    """
    node = tree.this
    if not isinstance(node, exp.Table) or not isinstance(node.this, exp.Identifier) or node.args.get("joins"):
        raise fault(f"{node.sql(DIALECT)!r} is no table that can be changed")
    plain, travel = marked.split(node.name)
    if travel.version is not None or travel.timestamp is not None:
        raise fault("the past of a table cannot be changed: leave out the time, or CALL sys.rollback")
    check_written(travel.options)
    more = [part for part, given in node.args.items() if given and part not in _TARGET_PARTS]
    if more or (node.args.get("alias") is not None and node.args["alias"].args.get("columns")):
        raise fault(f"{node.sql(DIALECT)!r} is not a table alone: say with WHERE which rows are meant")
    name = full_name(session, [part for part in (node.catalog, node.db, plain) if part])
    table = Table(session.catalog, name, options=travel.options or None)
    known = set() if node.alias else {(name.partition(".")[0].lower(), plain.lower())}
    using = tree.args.get("using")
    if isinstance(using, exp.Table) and using.db and not using.alias:
        known.add((using.db.lower(), marked.split(using.name)[0].lower()))
    changed = unqualified(tree, known)
    check_case(changed, table.schema.names, table.name)
    return table, node.alias or plain, changed


_TARGET_PARTS: Final = frozenset({"this", "db", "catalog", "alias"})


def _refuse(tree: exp.Expr, verb: str, **parts: str) -> None:
    for part, remedy in parts.items():
        if tree.args.get(part):
            name = part.rstrip("_").upper()
            raise UnsupportedError(ErrorKind.UNSUPPORTED, f"{name} in {verb} is not supported: {remedy}")


_REMEDIES: Final = {
    "from_": "write MERGE INTO … USING …",
    "using": "write MERGE INTO … USING …",
    "returning": "leave it out",
    "order": "leave it out",
    "limit": "say with WHERE which rows are meant",
    "with_": "write the query where it is used",
    "tables": "name one table, behind FROM",
}


def update(session: "Session", words: Words, parameters: Parameters) -> Result:
    """Run UPDATE."""
    tree, marked = _parsed(words, exp.Update)
    parameters = _numbered(words, parameters)
    _refuse(tree, "UPDATE", **_REMEDIES)
    table, alias, tree = _target(session, tree, marked)
    if not tree.expressions:
        raise fault("UPDATE lacks SET: write UPDATE … SET column = value", words.sql)
    assigned = [assignment(table.schema, alias, one) for one in tree.expressions]
    names = [name for name, _ in assigned]
    check_steady(tree.args.get("where"))
    if len(set(names)) != len(names):
        raise fault(f"a column is set twice: {', '.join(names)}")
    for name in names:
        if name in table.schema.primary_keys:
            raise fault(
                f"column {name!r} is part of the key of {table.name}, which an update cannot change: delete the rows "
                "and insert new ones"
            )
    values = [f"{value.sql(DIALECT)} AS {quoted(name)}" for name, value in assigned]
    changes = _Changes(session, table, alias, tree.args.get("where"), marked, parameters, values, names)
    try:
        if changes.is_told_all and not changes.reads_tables:
            done = verbs.update_where(table.context, changes.remake, changes.where)
        else:
            done = merge(table.context, changes, changes.where)
    finally:
        changes.close()
    return Result(rows_changed=done.rows, did=f"updated {counted(done.rows)}")


def delete(session: "Session", words: Words, parameters: Parameters) -> Result:
    """Run DELETE FROM."""
    tree, marked = _parsed(words, exp.Delete)
    parameters = _numbered(words, parameters)
    _refuse(tree, "DELETE", **_REMEDIES)
    table, alias, tree = _target(session, tree, marked)
    where = tree.args.get("where")
    # A row is asked once, so that random() may pick it. Queries are asked for some rows at a time, and again.
    for query in where.find_all(exp.Query) if where is not None else ():
        check_steady(query)
    changes = _Changes(session, table, alias, where, marked, parameters, [], [])
    try:
        if changes.is_told_all:
            done = verbs.delete_where(table.context, changes.where)
        else:
            done = merge(table.context, changes, changes.where)
    finally:
        changes.close()
    return Result(rows_changed=done.rows, did=f"deleted {counted(done.rows)}")


class _Changes:
    """What UPDATE or DELETE does to the rows of a table, some of them at a time."""

    def __init__(
        self,
        session: "Session",
        table: Table,
        alias: str,
        where: exp.Expr | None,
        marked: Marked,
        parameters: Parameters,
        values: Sequence[str],
        names: Sequence[str],
    ) -> None:
        self._session = session
        self._table = table
        self._names = list(names)
        self._marked = marked
        self._parameters = parameters
        self._lock = threading.Lock()
        condition = where.this.sql(DIALECT) if where is not None else ""
        selected = ", ".join([f"{quoted(alias)}.{quoted(POSITION)} AS {quoted(POSITION)}", *values])
        self._sql = f"SELECT {selected} FROM {quoted(TARGET)} AS {quoted(alias)}"
        self.where, self.is_told_all = _told(table.context, alias, condition, parameters)
        if condition and not self.is_told_all:
            self._sql += f" WHERE {condition}"
        self._target: Target | None = None
        self._is_new = False
        self.begin()
        self._is_new = True

    def close(self) -> None:
        if self._target is not None:
            self._target.connection.close()

    def begin(self) -> None:
        if self._is_new:
            self._is_new = False
            return
        self.close()
        connection = self._session.connect(steady=True)
        target = self._target = Target(connection, self._table.schema)
        binder = self._session.binder(connection)
        bound = binder.bind(self._sql, self._parameters, Given({TARGET: TARGET}, self._marked.travels, kept=True))
        self.reads_tables = bool(bound.references)
        self._read = state_read(bound, self._table.context)
        names = [None, *self._names]
        outputs = [POSITION, *self._names]
        sql = fitted(connection, self._table.schema, bound.sql, bound.parameters, names, outputs)
        target.prepare(sql, bound.parameters)

    def _computed(self, rows: pa.Table) -> pa.Table:
        assert self._target is not None
        with self._lock:
            return self._target.computed(rows)

    def pick(self, rows: pa.Table) -> Mask:
        mask = np.zeros(rows.num_rows, np.bool_)
        mask[self._computed(rows).column(POSITION).to_numpy()] = True
        return mask

    def remake(self, rows: pa.Table) -> pa.Table:
        if not self._names:
            return rows.slice(0, 0)
        computed = self._computed(rows).sort_by(POSITION)
        check_asked_again(rows, computed.num_rows)
        changed = rows.take(computed.column(POSITION))
        for name in self._names:
            changed = changed.set_column(changed.column_names.index(name), name, computed.column(name))
        return cast_rows(changed, self._table.schema.fields)

    def inserts(self) -> pa.Table | None:
        check_settled(self._table.context, self._read)
        return None


def _told(ctx: "TableContext", alias: str, condition: str, parameters: Parameters) -> "tuple[Predicate | None, bool]":
    """Return what of a condition the engine can be told, and whether that is all of it."""
    if not condition:
        return None, True
    tree = parsed(f"SELECT 1 FROM {quoted(TARGET)} AS {quoted(alias)} WHERE {condition}")
    (node,) = [node for node in tree.find_all(exp.Table) if node.name == TARGET]
    source = Source(ctx.schema, alias, is_plain=True)
    given = {str(number): value for number, value in enumerate(parameters or (), 1)}
    push_down(tree, {id(node): source}, dict(parameters) if isinstance(parameters, Mapping) else given)
    whole = tree.args["where"].this
    parts = list(whole.flatten()) if isinstance(whole, exp.And) else [whole]
    return source.where, len(parts) == len(source.pushed)


def merge_into(session: "Session", words: Words, parameters: Parameters) -> Result:
    """Run MERGE INTO."""
    tree, marked = _parsed(words, exp.Merge)
    parameters = _numbered(words, parameters)
    _refuse(tree, "MERGE", returning="leave it out", with_="write the query behind USING", using_cond="write ON")
    table, alias, tree = _target(session, tree, marked)
    merging = MergeInto(session, table, alias, tree, marked, parameters)
    try:
        done = merge(table.context, merging, merging.where)
    finally:
        merging.close()
    return Result(rows_changed=done.rows, did=f"merged {counted(done.rows)}")
