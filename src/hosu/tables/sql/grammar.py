"""How statements are understood: sqlglot with DuckDB's grammar, in which functions stay as they are written."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import sqlglot
from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.errors import ParseError, SqlglotError
from sqlglot.parsers.duckdb import DuckDBParser

from hosu.kernel.errors import ErrorKind, InvalidInputError, UnsupportedError
from hosu.tables.sql.lexing import fault
from hosu.tables.sql.marking import SEPARATOR

DIALECT: Final = "duckdb"
"""What expressions are written in for DuckDB."""


class Grammar(DuckDB):
    """DuckDB's grammar, without sqlglot's knowledge of functions.

    With it, functions of other databases would be put into DuckDB's words, not always with the same meaning: what
    DuckDB lacks is to be refused by DuckDB.
    """

    class Parser(DuckDBParser):
        """What finds tables, columns and stars in a statement."""

        FUNCTIONS = {name: DuckDBParser.FUNCTIONS[name] for name in ("COLUMNS", "COUNT")}  # noqa: RUF012 - of sqlglot


def parsed(sql: str) -> exp.Expr:
    """Return a statement as sqlglot understands it; raise InvalidInputError QUERY_INVALID."""
    try:
        found: exp.Expr = sqlglot.parse_one(sql, dialect=Grammar)
    except ParseError as error:
        raise _misread(error) from error
    except (SqlglotError, RecursionError) as error:
        raise fault(f"the statement cannot be read: {str(error).splitlines()[0]}") from error
    return found


def _misread(error: ParseError) -> InvalidInputError:
    first: Mapping[str, Any] = error.errors[0] if error.errors else {}
    what = str(first.get("description") or str(error).splitlines()[0]).rstrip(".")
    near = f"{first.get('highlight') or ''}{first.get('end_context') or ''}"
    return fault(f"the statement cannot be read: {what}", near, 0) if near else fault(what)


def check_query(tree: exp.Expr) -> None:
    """Refuse anything but a query, and other statements within one; raise UnsupportedError."""
    if not isinstance(tree, exp.Query | exp.Values):
        remedy = ": write WITH behind it, where its query begins" if tree.args.get("with_") else ""
        raise UnsupportedError(
            ErrorKind.UNSUPPORTED, f"{tree.key.upper()} is no query, and cannot be where one is expected{remedy}"
        )
    for found in tree.find_all(exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Describe, exp.Summarize):
        raise UnsupportedError(
            ErrorKind.UNSUPPORTED, f"{found.key.upper()} within a query is not supported: run it as a statement"
        )
    into = tree.find(exp.Into)
    if into is not None:
        raise UnsupportedError(
            ErrorKind.UNSUPPORTED, "SELECT … INTO is not supported: write CREATE TABLE … AS SELECT", statement="INTO"
        )


def check_marks(tree: exp.Expr) -> None:
    """Refuse time travel behind anything but the name of a table; raise UnsupportedError."""
    for identifier in tree.find_all(exp.Identifier):
        if SEPARATOR in identifier.name and not (
            isinstance(identifier.parent, exp.Table) and identifier.arg_key == "this"
        ):
            name = identifier.name.partition(SEPARATOR)[0]
            remedy = ": write it before the alias" if isinstance(identifier.parent, exp.TableAlias) else ""
            raise UnsupportedError(
                ErrorKind.UNSUPPORTED,
                f"a time or a hint stands behind {name!r}, which is no table here{remedy}",
                name=name,
            )


def check_case(tree: exp.Expr, names: Sequence[str], table: str) -> None:
    """Refuse names of columns that differ from others of their table in case alone: DuckDB would take any of them."""
    by_lower: dict[str, list[str]] = {}
    for name in names:
        by_lower.setdefault(name.lower(), []).append(name)
    twins = {lower: found for lower, found in by_lower.items() if len(found) > 1}
    if not twins:
        return
    for identifier in tree.find_all(exp.Identifier):
        found = twins.get(identifier.name.lower())
        if found is not None and not isinstance(identifier.parent, exp.Table | exp.TableAlias):
            raise fault(
                f"columns {' and '.join(map(repr, found))} of {table} differ in case alone, which SQL cannot tell "
                f"apart: ALTER TABLE {table} RENAME one of them, or read it with scan([…]) of Python"
            )


def unqualified(tree: exp.Expr, known: Collection[tuple[str, str]]) -> exp.Expr:
    """Return a statement in which columns of known tables, by database and name, have no database before them."""

    def change(part: exp.Expr) -> exp.Expr:
        if isinstance(part, exp.Column) and (part.db.lower(), part.table.lower()) in known:
            return exp.column(part.this.copy(), table=part.args["table"].copy())
        return part

    return tree.transform(change)
