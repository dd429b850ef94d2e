"""DuckDB, shut in: it sees the tables that a statement names, no files, no network and no other data of the process."""

import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any, TypeAlias
from weakref import WeakSet, finalize

import duckdb
import pyarrow as pa

from hosu.kernel.errors import ErrorKind, UnavailableError
from hosu.kernel.limits import MIB
from hosu.tables.sql.results import Failures, Result, translated
from hosu.tables.sql.scratch import Scratch

Parameters: TypeAlias = Sequence[Any] | Mapping[str, Any] | None

BATCH_ROWS = 65_536
"""Rows that a query hands out at once."""

_MEMORY_SHARE = 4
"""What a query may hold beside the merges of its tables, in units of what one merge may."""

_MEMORY_BYTES_MIN = 512 * MIB


_END_TRIES = 100
_END_WAIT_S = 0.05


class _Life:
    """What a database lives as long as: it is held by the session, and by each connection."""


class Duck:
    """A database in memory for the queries of a session. Safe between threads."""

    def __init__(self, memory_bytes: int) -> None:
        self._memory_bytes = max(_MEMORY_SHARE * memory_bytes, _MEMORY_BYTES_MIN)
        self._lock = threading.Lock()
        self._database: duckdb.DuckDBPyConnection | None = None
        self._open: WeakSet[Connection] = WeakSet()
        self._life = _Life()

    def connection(self) -> "Connection":
        """Return a connection of its own for one statement."""
        with self._lock:
            if self._database is None:
                self._database = self._started()
            made = Connection(self._database.cursor(), self._life)
            self._open.add(made)
            return made

    def _started(self) -> duckdb.DuckDBPyConnection:
        # What does not fit into memory goes to a folder that is gone with the session.
        scratch = Scratch()
        database = duckdb.connect(
            ":memory:",
            config={
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "memory_limit": f"{self._memory_bytes // MIB}MiB",
                "temp_directory": str(scratch.path),
                "python_enable_replacements": "false",
            },
        )
        finalize(self._life, _end, database, scratch, self._open)
        # Text without a zone is UTC, as in conditions on tables: GLOBAL, or cursors would have the machine's.
        database.execute("SET GLOBAL TimeZone = 'UTC'")
        database.execute("SET enable_external_access = false")
        database.execute("SET lock_configuration = true")
        return database

    def interrupt(self) -> None:
        """Stop the queries that run."""
        with self._lock:
            running = list(self._open)
        for connection in running:
            connection.interrupt()


def _end(database: duckdb.DuckDBPyConnection, scratch: Scratch, connections: "WeakSet[Connection]") -> None:
    # Rows that nobody has read to the end hold on to DuckDB, which complains of that when the interpreter ends.
    for connection in list(connections):
        connection.end()
    database.close()
    scratch.close()


class Stream:
    """Rows that DuckDB may scan as often as its plan needs: each scan begins a read of its own."""

    def __init__(
        self,
        schema: pa.Schema,
        read: Callable[[], pa.RecordBatchReader],
        failures: Failures,
        stopped: threading.Event,
    ) -> None:
        self._schema = schema
        self._read = read
        self._failures = failures
        self._stopped = stopped

    def __arrow_c_schema__(self) -> object:
        """Return the columns, as Arrow's capsules have them."""
        return self._schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Begin a read, as Arrow's capsules have it; other threads than DuckDB's do it, as `Scan.to_reader` says."""
        made = pa.RecordBatchReader.from_batches(self._schema, self._batches())
        return made.__arrow_c_stream__(requested_schema)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        try:
            for batch in self._read():
                if self._stopped.is_set():
                    raise UnavailableError(ErrorKind.SHUTTING_DOWN, "the query was interrupted")  # noqa: TRY301 - told below
                yield batch
        except Exception as error:
            self._failures.append(error)
            raise


class Connection:
    """One statement's view of the database: tables registered here are seen by nobody else."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection, life: _Life) -> None:
        self._cursor = cursor
        self._life = life  # rows may outlive the session that was asked
        self.held = ExitStack()
        """What is let go of when the connection is closed."""

        self.failures: Failures = []
        self.stopped = threading.Event()
        self._result: weakref.ref[Result] | None = None

    def result(self, reader: pa.RecordBatchReader) -> Result:
        """Return rows as a result, with which the connection closes."""
        made = Result(reader, failures=self.failures, close=self.close)
        self._result = weakref.ref(made)
        return made

    def end(self) -> None:
        """Stop what runs and let go of all, also of rows that are still held by who asked for them."""
        held = self._result() if self._result is not None else None
        for _ in range(_END_TRIES):
            self.interrupt()
            try:
                if held is not None:
                    held.end()
                self.close()
            except duckdb.Error:  # another thread is still in a query, which the interrupt ends
                time.sleep(_END_WAIT_S)
            else:
                return

    def interrupt(self) -> None:
        """Stop what runs; may be called by another thread."""
        self.stopped.set()
        with suppress(duckdb.ConnectionException):  # it was closed meanwhile
            self._cursor.interrupt()

    def begin(self) -> None:
        """Let all queries from here on be of one moment."""
        self._cursor.begin()

    def close(self) -> None:
        """Let go of the tables."""
        self._cursor.close()
        self.held.close()

    def register(self, name: str, rows: object) -> None:
        """Make rows a table of a name, in place of those it had."""
        self._cursor.register(name, rows)

    def stream(self, name: str, schema: pa.Schema, read: Callable[[], pa.RecordBatchReader]) -> None:
        """Make what is read a table of a name."""
        self.register(name, Stream(schema, read, self.failures, self.stopped))

    def reader(self, sql: str, parameters: Parameters = None) -> pa.RecordBatchReader:
        """Begin a query; a reader that is open keeps the connection. Raises HosuError."""
        try:
            relation = self._cursor.sql(sql, params=_given(parameters))
            reader: pa.RecordBatchReader = relation.to_arrow_reader(BATCH_ROWS)
        except (duckdb.Error, pa.ArrowException, OSError, RuntimeError) as error:
            raise translated(error, self.failures) from error
        return reader

    def types(self, sql: str, parameters: Parameters = None) -> list[str]:
        """Return the types of a query's columns in DuckDB's words, without running it. Raises HosuError."""
        try:
            relation = self._cursor.sql(sql, params=_given(parameters))
            return [str(kind) for kind in relation.types]
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise translated(error, self.failures) from error

    def columns(self, sql: str, parameters: Parameters = None) -> list[str]:
        """Return the names of a query's columns, without running it. Raises HosuError."""
        try:
            relation = self._cursor.sql(sql, params=_given(parameters))
            return list(relation.columns)
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise translated(error, self.failures) from error

    def rows(self, sql: str, parameters: Parameters = None) -> pa.Table:
        """Return all rows of a query. Raises HosuError."""
        reader = self.reader(sql, parameters)
        try:
            return reader.read_all()
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise translated(error, self.failures) from error

    def keep(self, name: str, sql: str, parameters: Parameters = None) -> None:
        """Make the rows of a query a table that stays, spilled to disk where they are many. Raises HosuError."""
        try:
            self._cursor.execute(f"CREATE OR REPLACE TEMP TABLE {quoted(name)} AS {sql}", _given(parameters))
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise translated(error, self.failures) from error


def _given(parameters: Parameters) -> Any:  # noqa: ANN401 - as DuckDB takes them
    if not parameters:
        return None
    return dict(parameters) if isinstance(parameters, Mapping) else list(parameters)


def quoted(name: str) -> str:
    """Return a name as SQL quotes it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return text as SQL quotes it."""
    return "'" + text.replace("'", "''") + "'"
