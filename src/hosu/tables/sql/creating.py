"""CREATE TABLE, as Flink and Spark write it and as DuckDB does."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa

from hosu.kernel.errors import ConflictError, ErrorKind, UnsupportedError
from hosu.tables.identifiers import check_database
from hosu.tables.sql.columntypes import read_type
from hosu.tables.sql.duck import Parameters
from hosu.tables.sql.lexing import NAME, NUMBER, TEXT, WORD, Words, fault
from hosu.tables.sql.marking import check_place
from hosu.tables.sql.results import Result
from hosu.tables.sql.showing import open_table, table_name
from hosu.tables.types import DataField
from hosu.tables.writing import verbs

if TYPE_CHECKING:
    from hosu.tables.sql.session import Session


@dataclass
class Columns:
    """What is between the brackets of CREATE TABLE."""

    fields: list[DataField] = field(default_factory=list)
    primary_keys: list[str] = field(default_factory=list)


def read_column(words: Words, keys: list[str] | None = None) -> DataField:
    """Go past a column: its name, type, default and comment. `keys` takes the name where it says PRIMARY KEY."""
    name = words.name("the name of a column")
    _refuse_more(name, words)
    kind = read_type(words)
    default, comment = None, None
    while True:
        if keys is not None and words.skip("PRIMARY", "KEY"):
            words.skip("NOT", "ENFORCED")
            if keys:
                raise fault(f"there is a PRIMARY KEY already: write PRIMARY KEY ({', '.join([*keys, name])}) once")
            keys.append(name)
        elif words.skip("DEFAULT"):
            default = read_constant(words)
        elif words.skip("COMMENT"):
            comment = words.text()
        elif words.skip("NOT", "NULL"):
            kind = kind.as_nullable(nullable=False)
        else:
            break
    _refuse_more(name, words)
    return DataField(0, name, kind, comment, default)


def _refuse_more(name: str, words: Words) -> None:
    if words.peek().word in {"AS", "METADATA", "GENERATED", "CHECK", "UNIQUE", "REFERENCES", "COLLATE"}:
        raise UnsupportedError(
            ErrorKind.UNSUPPORTED, f"column {name!r}: {words.peek().word} is not supported", column=name
        )


def read_constant(words: Words) -> str:
    """Go past a constant, and return its text."""
    sign = "-" if words.skip("-") else ""
    token = words.next()
    if token.kind not in {TEXT, NUMBER} and token.word not in {"TRUE", "FALSE"}:
        raise fault("a constant is expected as default", words.sql, token.start)
    return sign + (token.value if token.kind in {TEXT, NUMBER} else token.value.lower())


def read_columns(words: Words) -> Columns:
    """Go past the columns of a table in brackets, and its primary key."""
    found = Columns()
    words.need("(")
    while not words.skip(")"):
        if words.is_next("CONSTRAINT"):
            words.next()
            words.name("the name of a constraint")
        if words.peek().kind == WORD and words.skip("PRIMARY", "KEY"):
            if found.primary_keys:
                raise fault(
                    "there is a PRIMARY KEY already: write one, of all its columns", words.sql, words.peek().start
                )
            found.primary_keys += words.names()
            words.skip("NOT", "ENFORCED")
        elif words.peek().word in {"WATERMARK", "UNIQUE", "FOREIGN", "CHECK", "INDEX"}:
            raise UnsupportedError(ErrorKind.UNSUPPORTED, f"{words.peek().word} in CREATE TABLE is not supported")
        elif words.peek().kind in {WORD, NAME}:
            found.fields.append(read_column(words, found.primary_keys))
        else:
            raise words.unexpected("the name of a column")
        if not words.is_next(")"):
            words.need(",")
    return found


@dataclass
class _Clauses:
    """What follows the brackets of CREATE TABLE."""

    partitions: list[str] = field(default_factory=list)
    options: dict[str, str] = field(default_factory=dict)
    comment: str | None = None


def _clauses(words: Words) -> _Clauses:
    found = _Clauses()
    while not words.is_over and not words.is_next("AS"):
        start = words.peek().start
        is_twice = False
        if words.skip("PARTITIONED", "BY"):
            is_twice = bool(found.partitions)
            found.partitions = words.names()
        elif words.skip("COMMENT"):
            is_twice = found.comment is not None
            found.comment = words.text()
        elif words.skip("WITH") or words.skip("TBLPROPERTIES") or words.skip("OPTIONS"):
            pairs = words.pairs()
            is_twice = bool(found.options.keys() & pairs.keys())
            found.options |= pairs
        elif words.skip("USING"):
            if words.name().lower() != "paimon":
                raise fault("tables are of the format Paimon: leave out USING", words.sql)
        elif words.is_next("LIKE"):
            raise UnsupportedError(
                ErrorKind.UNSUPPORTED, "CREATE TABLE … LIKE is not supported: SHOW CREATE TABLE says the statement"
            )
        else:
            words.end()
        if is_twice:
            raise fault("this is given twice", words.sql, start)
    if found.options.get("connector") == "paimon":
        del found.options["connector"]
    check_place(found.options)
    return found


def create_table(session: "Session", words: Words, parameters: Parameters) -> Result:
    """Run CREATE TABLE, after these two words."""
    exist_ok = words.skip("IF", "NOT", "EXISTS")
    name = table_name(session, words)
    columns = read_columns(words) if words.is_next("(") else Columns()
    clauses = _clauses(words)
    check_database(name.partition(".")[0])
    if words.skip("AS"):
        if columns.fields:
            raise fault("columns come from the query: leave them out, or its AS", words.sql)
        return _create_as(session, name, words.rest(), parameters, clauses, exist_ok=exist_ok)
    if parameters:
        raise fault("CREATE TABLE takes no parameters")
    session.catalog.create_table(
        name, columns.fields, partition_keys=clauses.partitions, primary_keys=columns.primary_keys,
        options=clauses.options, comment=clauses.comment, exist_ok=exist_ok,
    )  # fmt: skip
    return Result(did=f"created {name}")


def _create_as(
    session: "Session",
    name: str,
    query: str,
    parameters: Parameters,
    clauses: _Clauses,
    *,
    exist_ok: bool,
) -> Result:
    if session.catalog.has_table(name):
        if exist_ok:
            return Result(rows_changed=0, did=f"{name} is there")
        raise ConflictError(ErrorKind.TABLE_EXISTS, f"table {name!r} exists", table=name)
    with_rows = session.query(query, parameters)
    try:
        session.catalog.create_table(
            name,
            with_rows.schema,
            partition_keys=clauses.partitions,
            options=clauses.options,
            comment=clauses.comment,
        )
        table = open_table(session, name)
        try:
            done = verbs.insert(table.context, (pa.Table.from_batches([batch]) for batch in with_rows.batches()))
        except BaseException:
            session.catalog.drop_table(name, missing_ok=True)
            raise
    finally:
        with_rows.close()
    return Result(rows_changed=done.rows, did=f"created {name} with {done.rows} rows")
