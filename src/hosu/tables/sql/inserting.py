"""INSERT INTO and INSERT OVERWRITE: DuckDB computes the rows, the engine writes them, as one commit."""

from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from hosu.kernel.errors import ErrorKind, UnsupportedError
from hosu.tables.schemas import TableSchema
from hosu.tables.sql.duck import Connection, Parameters
from hosu.tables.sql.fitting import fitted
from hosu.tables.sql.lexing import HINT, NAME, NUMBER, TEXT, WORD, Words, fault
from hosu.tables.sql.marking import hint_options
from hosu.tables.sql.results import Result
from hosu.tables.sql.showing import table_name
from hosu.tables.sql.targets import by_name, check_written, counted, filled
from hosu.tables.table import Table
from hosu.tables.writing import verbs

if TYPE_CHECKING:
    from hosu.tables.sql.session import Session

_BRACKETS: Final = {"(": 1, "[": 1, ")": -1, "]": -1}
_TYPED: Final = frozenset({"DATE", "TIMESTAMP", "TIME"})


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
    table = _table(session, words)
    constants = _partition(table, words) if words.skip("PARTITION") else {}
    names = _listed(words)
    is_by_name = words.skip("BY", "NAME")
    words.skip("BY", "POSITION")
    if is_by_name and names is not None:
        raise fault("BY NAME takes the names of the query: leave out those before it", words.sql)
    query = words.rest()
    if not query:
        raise words.unexpected("VALUES or SELECT")
    _refuse_more(Words(query))
    connection = session.connect()
    try:
        bound = session.binder(connection).bind(query, parameters)
        if is_by_name:
            names = connection.columns(bound.sql, bound.parameters)
        elif names is None:
            names = [name for name in table.schema.names if name not in constants]
        for name in names:
            if by_name(table.schema, name) in constants:
                raise fault(f"column {name!r} has its value in PARTITION already: leave it out of the rows", words.sql)
        sql = fitted(connection, table.schema, bound.sql, bound.parameters, names)
        rows = _with_constants(table, connection.reader(sql, bound.parameters), connection, constants)
        if overwrites:
            done = verbs.overwrite(table.context, rows, partition=constants or None)
        else:
            done = verbs.insert(table.context, rows)
    finally:
        connection.close()
    what = "overwrote" if overwrites else "inserted"
    return Result(rows_changed=done.rows, did=f"{what} {counted(done.rows)}")


def _table(session: "Session", words: Words) -> Table:
    name = table_name(session, words)
    options = hint_options(words.next()) if words.peek().kind == HINT else {}
    if words.is_next("FOR") or words.is_next("AT", "("):
        raise fault("the past of a table cannot be changed: leave out the time", words.sql, words.peek().start)
    check_written(options)
    return Table(session.catalog, name, options=options or None)


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
        given = words.name("a partition key")
        name = next((key for key in table.schema.partition_keys if key.lower() == given.lower()), None)
        if name is None:
            keys = ", ".join(table.schema.partition_keys) or "none"
            raise fault(f"{given!r} is no partition key of {table.name}: those are {keys}")
        if words.skip("="):
            if words.peek().word in _TYPED and words.peek(1).kind == TEXT:
                words.next()
            sign = "-" if words.skip("-") else ""
            token = words.next()
            if token.kind not in ({NUMBER} if sign else {TEXT, NUMBER}):
                raise fault("the value of a partition key is expected", words.sql, token.start)
            if name in found:
                raise fault(f"partition key {name!r} is given twice", words.sql, token.start)
            found[name] = _typed(table.schema, name, sign + token.value)
        if not words.is_next(")"):
            words.need(",")
    return found


def _typed(schema: TableSchema, name: str, text: str) -> Any:  # noqa: ANN401 - a value of any type
    kind = schema.arrow.field(name).type
    try:
        if pa.types.is_decimal(kind):
            return pa.scalar(Decimal(text), kind).as_py()
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


def _refuse_more(words: Words) -> None:
    """Refuse what other databases have behind INSERT, and DEFAULT; raise UnsupportedError."""
    depth = 0
    before = ""
    while not words.is_over:
        token = words.next()
        depth += _BRACKETS.get(token.text, 0)
        # A database may be called DEFAULT: a value is that which stands alone.
        is_value = before in {"(", ","} and words.peek().text in {",", ")"}
        refused = "DEFAULT" if token.word == "DEFAULT" and (is_value or words.is_next("VALUES")) else ""
        if not depth:
            refused = "RETURNING" if token.word == "RETURNING" else refused
            refused = "ON CONFLICT" if token.word == "ON" and words.is_next("CONFLICT") else refused
        if refused:
            remedy = "leave the column out of the list" if refused == "DEFAULT" else "leave it out"
            raise UnsupportedError(ErrorKind.UNSUPPORTED, f"{refused} of INSERT is not supported: {remedy}")
        before = token.text
