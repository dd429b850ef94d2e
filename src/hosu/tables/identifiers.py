"""Names of databases and tables, and what follows a `$` in them."""

import re
from dataclasses import dataclass

from hosu.kernel.errors import ErrorKind, HosuError, InvalidInputError, NotFoundError, UnsupportedError
from hosu.tables.context import Identifier
from hosu.tables.layout import MAIN_BRANCH

NAME_BYTES_MAX = 200
"""Longest name: with what is added to it, it is still one name of a folder."""

SYSTEM_DATABASE = "sys"
"""A database of Paimon's own, in every catalog."""

BRANCH_PREFIX = "branch_"
_FORBIDDEN = re.compile(r"""[\x00-\x1f\x7f\ud800-\udfff/\\$.%:*?"<>|`]""")


@dataclass(frozen=True)
class TableName:
    """A name as given: the table, and which of its system tables, if one is meant."""

    identifier: Identifier
    system: str | None = None


def check_name(kind: str, name: str) -> str:
    """Return the name of a database, table or branch; raise InvalidInputError TABLE_INVALID if no folder has such."""
    reason = None
    if not name or name != name.strip():
        reason = "it is empty, or has blanks around it"
    elif name[0] in "_-~":
        reason = f"it begins with {name[0]!r}, as hidden folders do"
    elif len(name.encode(errors="surrogatepass")) > NAME_BYTES_MAX:
        reason = f"it has more than {NAME_BYTES_MAX} bytes"
    else:
        found = _FORBIDDEN.search(name)
        if found is not None:
            reason = f"it holds {found[0]!r}"
    if reason is not None:
        raise InvalidInputError(
            ErrorKind.TABLE_INVALID,
            f"{kind} {name!r} cannot be named so: {reason}; use letters, digits and _",
            name=name,
        )
    return name


def check_database(name: str) -> str:
    """Return the name of a database that may be made; raise InvalidInputError TABLE_INVALID."""
    if name == SYSTEM_DATABASE:
        raise InvalidInputError(
            ErrorKind.TABLE_INVALID, f"database {name!r} is every catalog's own: choose another name", name=name
        )
    return check_name("database", name)


def parse_identifier(name: str | Identifier, *, branch: str = MAIN_BRANCH) -> TableName:
    """Return what `database.table`, with `$branch_NAME` or the name of a system table behind it, stands for.

    Raises InvalidInputError TABLE_INVALID.
    """
    if isinstance(name, Identifier):
        return TableName(name if branch == MAIN_BRANCH else Identifier(name.database, name.table, branch))
    database, dot, rest = name.partition(".")
    if not dot:
        raise InvalidInputError(
            ErrorKind.TABLE_INVALID, f"table {name!r} lacks its database: write it as DATABASE.TABLE", name=name
        )
    table, *extras = rest.split("$")
    system = None
    for extra in extras:
        if extra.startswith(BRANCH_PREFIX) and branch == MAIN_BRANCH and system is None:
            branch = check_name("branch", extra.removeprefix(BRANCH_PREFIX))
        elif extra and system is None and not extra.startswith(BRANCH_PREFIX):
            system = extra
        else:
            raise InvalidInputError(
                ErrorKind.TABLE_INVALID,
                f"table {name!r}: after the table come `$branch_NAME` and then one system table at most",
                name=name,
            )
    return TableName(Identifier(check_name("database", database), check_name("table", table), branch), system)


def parse_table(name: str | Identifier, *, branch: str = MAIN_BRANCH) -> Identifier:
    """Return the table a name stands for; raise UnsupportedError for that of a system table."""
    parsed = parse_identifier(name, branch=branch)
    if parsed.system is not None:
        raise UnsupportedError(
            ErrorKind.UNSUPPORTED,
            f"{name!r} is a system table: it can be queried, and neither opened nor changed as a table",
            name=str(name),
        )
    return parsed.identifier


def table_missing(identifier: Identifier, near: list[str]) -> HosuError:
    """Return the error of a table that is not there."""
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return NotFoundError(
        ErrorKind.TABLE_NOT_FOUND, f"there is no table {str(identifier)!r}{hint}", table=str(identifier)
    )
