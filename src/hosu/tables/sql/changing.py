"""INSERT, UPDATE, DELETE and MERGE: DuckDB computes rows, the engine writes them, each statement as one commit."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sqlglot import exp

from hosu.kernel.errors import ErrorKind, UnsupportedError
from hosu.tables.schemas import TableSchema
from hosu.tables.sql.duck import Connection, Parameters, quoted
from hosu.tables.sql.lexing import HINT, NAME, NUMBER, TEXT, WORD, Words, fault
from hosu.tables.sql.marking import SEPARATOR, Marked, hint_options, mark
from hosu.tables.sql.merging import MergeInto
from hosu.tables.sql.pushing import Source, push_down
from hosu.tables.sql.queries import DIALECT, Given, check_marks, parsed
from hosu.tables.sql.results import Result
from hosu.tables.sql.showing import full_name, open_table, table_name
from hosu.tables.sql.targets import (
    POSITION,
    TARGET,
    Target,
    by_name,
    check_asked_again,
    check_settled,
    check_steady,
    check_values,
    filled,
    fitted,
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
_BRACKETS: Final = {"(": 1, "[": 1, ")": -1, "]": -1}


def insert(session: "Session", words: Words, parameters: Parameters) -> Result:
    """Run INSERT INTO or INSERT OVERWRITE, after the word INSERT."""
    overwrites = words.skip("OVERWRITE")
    if words.is_next("OR"):
        raise UnsupportedError(
            ErrorKind.UNSUPPORTED,
            "INSERT OR REPLACE is not supported: INSERT INTO a table with a primary key replaces rows of the same key",
        )
    if not words.skip("INTO") and not overwrites:
        raise words.unexpected("INTO")
    words.skip("TABLE")
    name = table_name(session, words)
    options = hint_options(words.next()) if words.peek().kind == HINT else None
    table = Table(session.catalog, name, options=options)
    constants = _partition(table, words) if words.skip("PARTITION") else {}
    names = _listed(words)
    is_by_name = words.skip("BY", "NAME")
    query = words.rest()
    if not query:
        raise words.unexpected("VALUES or SELECT")
    _refuse_endings(Words(query))
    connection = session.connect()
    try:
        bound = session.binder(connection).bind(query, parameters)
        if is_by_name:
            names = connection.columns(bound.sql, bound.parameters)
        elif names is None:
            names = [name for name in table.schema.names if name not in constants]
        sql = fitted(connection, table.schema, bound.sql, bound.parameters, names)
        rows = _with_constants(table, connection.reader(sql, bound.parameters), connection, constants)
        if overwrites:
            done = verbs.overwrite(table.context, rows, partition=constants or None)
        else:
            done = verbs.insert(table.context, rows)
    finally:
        connection.close()
    what = "overwrote" if overwrites else "inserted"
    return Result(rows_changed=done.rows, did=f"{what} {_rows(done.rows)}")


def _rows(count: int | None) -> str:
    return "rows" if count is None else "1 row" if count == 1 else f"{count} rows"


def _listed(words: Words) -> list[str] | None:
    if not words.is_next("(") or words.peek(1).kind not in {WORD, NAME}:
        return None
    if words.peek(1).word in {"SELECT", "WITH", "VALUES", "FROM"} and words.peek(2).text not in {",", ")"}:
        return None
    return words.names()


def _partition(table: Table, words: Words) -> dict[str, Any]:
    """Go past (key = 'value', other_key), and return the values; keys without one come from the rows."""
    found: dict[str, Any] = {}
    words.need("(")
    while not words.skip(")"):
        name = words.name("a partition key")
        if name not in table.schema.partition_keys:
            keys = ", ".join(table.schema.partition_keys) or "none"
            raise fault(f"{name!r} is no partition key of {table.name}: those are {keys}")
        if words.skip("="):
            token = words.next()
            if token.kind not in {TEXT, NUMBER}:
                raise fault("the value of a partition key is expected", words.sql, token.start)
            if name in found:
                raise fault(f"partition key {name!r} is given twice", words.sql, token.start)
            found[name] = _typed(table.schema, name, token.value)
        if not words.is_next(")"):
            words.need(",")
    return found


def _typed(schema: TableSchema, name: str, text: str) -> Any:  # noqa: ANN401 - a value of any type
    kind = schema.arrow.field(name).type
    try:
        if pa.types.is_decimal(kind):
            return Decimal(text)
        return pa.scalar(text).cast(kind).as_py()
    except (pa.ArrowException, InvalidOperation) as error:
        raise fault(f"partition key {name!r} is {schema.field(name).type}, not {text!r}") from error


def _with_constants(
    table: Table, reader: pa.RecordBatchReader, connection: Connection, constants: Mapping[str, Any]
) -> Iterator[pa.Table]:
    result = Result(reader, failures=connection.failures)
    for batch in result.batches():
        rows = pa.Table.from_batches([batch])
        for name, value in constants.items():
            kind = table.schema.arrow.field(name).type
            rows = rows.append_column(name, pa.repeat(pa.scalar(value, kind), rows.num_rows))
        yield filled(table.schema, rows)


def _refuse_endings(words: Words) -> None:
    depth = 0
    while not words.is_over:
        token = words.next()
        depth += _BRACKETS.get(token.text, 0)
        if depth:
            continue
        ending = "RETURNING" if token.word == "RETURNING" else ""
        ending = "ON CONFLICT" if token.word == "ON" and words.is_next("CONFLICT") else ending
        if ending:
            raise UnsupportedError(ErrorKind.UNSUPPORTED, f"{ending} of INSERT is not supported: leave it out")


def _parsed(words: Words, kind: type[exp.Expr]) -> tuple[exp.Expr, Marked]:
    marked = mark(words.sql)
    tree = parsed(marked.sql)
    if not isinstance(tree, kind):
        raise fault(f"this is no {words.tokens[0].text}", words.sql, 0)
    check_marks(tree)
    return tree, marked


def _numbered(words: Words, parameters: Parameters) -> Parameters:
    """Return parameters by name, since not every query that a statement becomes has all of them."""
    if not parameters or isinstance(parameters, Mapping):
        return parameters
    found = words.tokens
    numbers = [int(two.text) for one, two in pairwise(found) if one.text == "$" and two.text.isdecimal()]
    wanted = max([sum(one.text == "?" for one in found), *numbers])
    if len(parameters) != wanted:
        raise fault(f"there are {len(parameters)} parameters for the {wanted} that the statement has")
    return {str(number): value for number, value in enumerate(parameters, 1)}


def target_of(session: "Session", node: exp.Expr) -> tuple[Table, str]:
    """Return the table that a statement changes, and the name that it has in it. The past cannot be changed."""
    if not isinstance(node, exp.Table) or not isinstance(node.this, exp.Identifier) or node.args.get("joins"):
        raise fault(f"{node.sql(DIALECT)!r} is no table that can be changed")
    if SEPARATOR in node.name:
        raise fault("the past of a table cannot be changed: leave out the time, or CALL sys.rollback")
    more = [part for part, given in node.args.items() if given and part not in _TARGET_PARTS]
    if more or (node.args.get("alias") is not None and node.args["alias"].args.get("columns")):
        raise fault(f"{node.sql(DIALECT)!r} is not a table alone: say with WHERE which rows are meant")
    name = full_name(session, [part for part in (node.catalog, node.db, node.name) if part])
    return open_table(session, name), node.alias or node.name


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
    table, alias = target_of(session, tree.this)
    assigned = [assignment(table.schema, alias, one) for one in tree.expressions]
    names = [name for name, _ in assigned]
    check_values([value for _, value in assigned])
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
    return Result(rows_changed=done.rows, did=f"updated {_rows(done.rows)}")


def assignment(schema: TableSchema, alias: str, node: exp.Expr) -> tuple[str, exp.Expr]:
    """Return the column that an assignment sets, and the value."""
    if not isinstance(node, exp.EQ) or not isinstance(node.this, exp.Column):
        raise fault(f"{node.sql(DIALECT)!r} sets no column")
    column = node.this
    if column.table and column.table.lower() != alias.lower():
        raise fault(f"{column.sql(DIALECT)!r} is no column of {alias}")
    return by_name(schema, column.name), node.expression


def delete(session: "Session", words: Words, parameters: Parameters) -> Result:
    """Run DELETE FROM."""
    tree, marked = _parsed(words, exp.Delete)
    parameters = _numbered(words, parameters)
    _refuse(tree, "DELETE", **_REMEDIES)
    table, alias = target_of(session, tree.this)
    changes = _Changes(session, table, alias, tree.args.get("where"), marked, parameters, [], [])
    try:
        if changes.is_told_all:
            done = verbs.delete_where(table.context, changes.where)
        else:
            done = merge(table.context, changes, changes.where)
    finally:
        changes.close()
    return Result(rows_changed=done.rows, did=f"deleted {_rows(done.rows)}")


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
        connection = self._session.connect()
        target = self._target = Target(connection, self._table.schema)
        binder = self._session.binder(connection)
        bound = binder.bind(self._sql, self._parameters, Given({TARGET: TARGET}, self._marked.travels, kept=True))
        self.reads_tables = bool(bound.references)
        self._read = state_read(bound, self._table.context)
        sql = fitted(connection, self._table.schema, bound.sql, bound.parameters, [POSITION, *self._names])
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
    table, alias = target_of(session, tree.this)
    merging = MergeInto(session, table, alias, tree, marked, parameters)
    try:
        done = merge(table.context, merging, merging.where)
    finally:
        merging.close()
    return Result(rows_changed=done.rows, did=f"merged {_rows(done.rows)}")
