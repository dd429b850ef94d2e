"""Statements that show what there is: SHOW and DESCRIBE."""

from typing import TYPE_CHECKING, Final

import pyarrow as pa

from hosu.tables.identifiers import parse_identifier
from hosu.tables.sql.duck import Parameters, literal
from hosu.tables.sql.lexing import Words, fault
from hosu.tables.sql.results import Result
from hosu.tables.table import Table
from hosu.tables.types import DataField, type_sql
from hosu.tables.upkeep.system import system_table

if TYPE_CHECKING:
    from hosu.tables.sql.session import Session


QUERIES: Final = frozenset({"SELECT", "WITH", "FROM", "VALUES", "("})
"""What queries begin with."""


def full_name(session: "Session", parts: list[str]) -> str:
    """Return DATABASE.TABLE of a name, in the database in use where it lacks one."""
    if len(parts) == 1:
        if session.database is None:
            raise fault(f"table {parts[0]!r} lacks its database: write it as DATABASE.TABLE, or USE one")
        return f"{session.database}.{parts[0]}"
    if len(parts) != 2:  # noqa: PLR2004 - a database and a table
        raise fault(f"{'.'.join(parts)!r} is no name of a table: write it as DATABASE.TABLE")
    return ".".join(parts)


def table_name(session: "Session", words: Words) -> str:
    """Go past the name of a table, and return it with its database."""
    return full_name(session, words.dotted())


def open_table(session: "Session", name: str) -> Table:
    """Open a table or a branch of it. Raises NotFoundError."""
    return Table(session.catalog, name)


def table(session: "Session", words: Words) -> Table:
    """Go past the name of a table, and open it."""
    return open_table(session, table_name(session, words))


def show(session: "Session", words: Words, _: Parameters) -> Result:
    """Run SHOW DATABASES, SHOW TABLES, SHOW CREATE TABLE, SHOW PARTITIONS or SHOW COLUMNS."""
    what = words.next().word
    if what in {"DATABASES", "SCHEMAS"}:
        words.end()
        return _names("database", session.catalog.databases())
    if what == "TABLES":
        database = words.name("the name of a database") if words.skip("FROM") or words.skip("IN") else session.database
        words.end()
        if database is None:
            raise fault("no database is in use: SHOW TABLES FROM one, or USE it")
        return _names("table", session.catalog.tables(database))
    if what == "CREATE":
        words.need("TABLE")
        shown = table(session, words)
        words.end()
        return _names("create_table", [create_text(shown)])
    if what == "PARTITIONS":
        shown = table(session, words)
        words.end()
        return Result(system_table(shown.context, "partitions").select(["partition", "record_count", "file_count"]))
    if what == "COLUMNS" and (words.skip("FROM") or words.skip("IN")):
        return describe(session, words, None)
    raise fault("SHOW DATABASES, TABLES, COLUMNS, PARTITIONS or CREATE TABLE is expected", words.sql, 0)


def describe(session: "Session", words: Words, parameters: Parameters) -> Result:
    """Run DESCRIBE: the columns of a table, or of a query with the types that DuckDB gives them."""
    if (words.peek().word or words.peek().text) in QUERIES:
        connection = session.connect()
        try:
            bound = session.binder(connection).bind(words.rest(), parameters)
            names = connection.columns(bound.sql, bound.parameters)
            kinds = connection.types(bound.sql, bound.parameters)
        finally:
            connection.close()
        return Result(pa.table({"column": pa.array(names, pa.string()), "type": pa.array(kinds, pa.string())}))
    words.skip("TABLE")
    name = table_name(session, words)
    words.end()
    parsed = parse_identifier(name)
    if parsed.system is not None:
        opened = open_table(session, str(parsed.identifier))
        schema = system_table(opened.context, parsed.system).schema
        return Result(pa.table({"column": schema.names, "type": [str(kind) for kind in schema.types]}))
    opened = open_table(session, name)
    schema_ = opened.schema
    keys = dict.fromkeys(schema_.primary_keys, "primary")
    keys |= {key: "partition" if key not in keys else "primary, partition" for key in schema_.partition_keys}
    text = pa.string()
    return Result(
        pa.table(
            {
                "column": pa.array(schema_.names, text),
                "type": pa.array([type_sql(field.type.as_nullable()) for field in schema_.fields], text),
                "null": pa.array(["YES" if field.type.nullable else "NO" for field in schema_.fields], text),
                "key": pa.array([keys.get(field.name, "") for field in schema_.fields], text),
                "default": pa.array([field.default_value for field in schema_.fields], text),
                "comment": pa.array([field.description for field in schema_.fields], text),
            }
        )
    )


def create_text(shown: Table) -> str:
    """Return the statement that makes a table like this one; Flink understands it too, but for defaults."""
    schema = shown.schema
    lines = [_column_text(field, is_key=field.name in schema.primary_keys) for field in schema.fields]
    if schema.primary_keys:
        lines.append(f"PRIMARY KEY ({_list(schema.primary_keys)}) NOT ENFORCED")
    identifier = shown.context.identifier
    text = f"CREATE TABLE {_quoted(identifier.database)}.{_quoted(identifier.table)} (\n  "
    text += ",\n  ".join(lines) + "\n)"
    if schema.comment:
        text += f"\nCOMMENT {literal(schema.comment)}"
    if schema.partition_keys:
        text += f"\nPARTITIONED BY ({_list(schema.partition_keys)})"
    if schema.options:
        pairs = [f"{literal(key)} = {literal(value)}" for key, value in sorted(schema.options.items())]
        text += "\nWITH (\n  " + ",\n  ".join(pairs) + "\n)"
    return text


def _column_text(field: DataField, *, is_key: bool) -> str:
    # Columns of the primary key are NOT NULL by being so.
    kind = field.type.as_nullable() if is_key else field.type
    text = f"{_quoted(field.name)} {type_sql(kind)}"
    if field.default_value is not None:
        text += f" DEFAULT {literal(field.default_value)}"
    return text + (f" COMMENT {literal(field.description)}" if field.description else "")


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(map(_quoted, names))


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _names(column: str, names: list[str]) -> Result:
    return Result(pa.table({column: pa.array(names, pa.string())}))
