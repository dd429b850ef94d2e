"""A person's or a program's conversation with the tables: one statement after the other."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from hosu.kernel.errors import InvalidInputError
from hosu.tables.sql.duck import Connection, Duck, Parameters
from hosu.tables.sql.lexing import Words, single
from hosu.tables.sql.queries import Binder, with_columns
from hosu.tables.sql.results import Result

if TYPE_CHECKING:
    from hosu.tables.catalog import Catalog

__all__ = ["Parameters", "Result", "Session"]


class Session:
    """Runs statements of SQL on the tables of a catalog, and remembers which database is in use.

    `create_database(name, exist_ok=…)` makes a database, for catalogs that have something to prepare.
    """

    def __init__(self, catalog: "Catalog", *, create_database: Callable[..., None] | None = None) -> None:
        self.catalog = catalog
        self.create_database = create_database or catalog.create_database
        self.database: str | None = None
        """The database in use; None: names need theirs."""

        self._duck = Duck(catalog.memory_bytes)

    def run(self, query: str, parameters: Parameters = None) -> Result:
        """Run one statement, and return its rows or what it did.

        Parameters are `?` or `$1` in a sequence, or `$name` in a mapping. Raises InvalidInputError QUERY_INVALID for
        what is no statement, UnsupportedError by name for one that hosu does not run, and what the engine raises.
        """
        from hosu.tables.sql.statements import run  # noqa: PLC0415 - it needs this module

        sql = single(query)
        return run(self, Words(sql), parameters)

    def query(self, sql: str, parameters: Parameters = None) -> Result:
        """Run a query."""
        connection = self.connect()
        bound = None
        try:
            bound = self.binder(connection).bind(sql, parameters)
            reader = connection.reader(bound.sql, bound.parameters)
        except InvalidInputError as error:
            connection.close()
            raise with_columns(error, bound) from error
        except BaseException:
            connection.close()
            raise
        return connection.result(reader)

    def connect(self, *, steady: bool = False) -> Connection:
        """Return a connection to DuckDB for one statement; close it. To a steady one `now()` is always the same."""
        connection = self._duck.connection()
        if steady:
            connection.begin()
        return connection

    def binder(self, connection: Connection) -> Binder:
        """Return what finds tables for the names of a statement."""
        return Binder(self.catalog, self.database, connection)

    def use(self, database: str) -> None:
        """Take a database as that of names without one; raise NotFoundError DATABASE_NOT_FOUND."""
        self.catalog.tables(database)
        self.database = database

    def interrupt(self) -> None:
        """Stop the queries that run, from another thread."""
        self._duck.interrupt()
