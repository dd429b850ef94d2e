"""What a statement returns: rows, or how many it changed."""

import contextlib
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

import duckdb
import numpy as np
import pyarrow as pa

from hosu.kernel.errors import ConflictError, ErrorKind, HosuError, InvalidInputError, UnavailableError
from hosu.tables.pyvalues import python_values
from hosu.tables.reading.outputs import library

if TYPE_CHECKING:
    import polars as pl

SHOWN_ROWS = 40
"""How many rows a result shows of itself."""

SHOWN_CHARACTERS = 60
"""As long as a value is shown."""

Failures: TypeAlias = list[BaseException]
"""What went wrong while tables were read: DuckDB would tell it in its own words."""


def translated(error: BaseException, failures: Failures) -> HosuError:
    """Return what DuckDB or Arrow raised as an error of hosu's; what a table raised is told as it was."""
    for failure in failures:
        if isinstance(failure, HosuError):
            return failure
    if isinstance(error, duckdb.InterruptException) or str(error).startswith("INTERRUPT"):
        return UnavailableError(ErrorKind.SHUTTING_DOWN, "the query was interrupted")
    if isinstance(error, duckdb.OutOfMemoryException):
        return UnavailableError(ErrorKind.STORE_UNAVAILABLE, f"the query needs more memory: {_told(error)}")
    return InvalidInputError(ErrorKind.QUERY_INVALID, _told(error))


def _told(error: BaseException) -> str:
    """Return the message of an error on one line, without the kind that DuckDB puts before it."""
    text = str(error)
    head, _, rest = text.partition(" Error: ")
    if rest and head.replace(" ", "").isalpha():
        text = rest
    message, _, _ = text.partition("\n\nLINE ")
    return "; ".join(line.strip() for line in message.split("\n") if line.strip())


class Result:
    """The rows of a query, or what a statement has done. Rows of a query are read when they are asked for.

    `reader()` hands them out once, batch by batch; all else keeps them. Raises HosuError as reading tables does.
    """

    def __init__(
        self,
        rows: pa.Table | pa.RecordBatchReader | None = None,
        *,
        rows_changed: int | None = None,
        did: str = "",
        failures: Failures | None = None,
        close: Callable[[], object] | None = None,
    ) -> None:
        self._table = rows if isinstance(rows, pa.Table) else None
        self._reader = rows if isinstance(rows, pa.RecordBatchReader) else None
        self._schema: pa.Schema = pa.schema([]) if rows is None else rows.schema
        self._failures = failures if failures is not None else []
        self._close = close
        self._reading: weakref.ref[Generator[pa.RecordBatch, None, None]] | None = None
        self.rows_changed = rows_changed
        """Rows that were inserted, updated or deleted; None where nothing was, or they were not counted."""

        self.did = did
        """What a statement without rows has done, for people; empty for a query."""

    @property
    def schema(self) -> pa.Schema:
        """The columns."""
        return self._schema

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return list(self._schema.names)

    def close(self) -> None:
        """Let go of what was not read."""
        self._reader = None
        close, self._close = self._close, None
        if close is not None:
            close()

    def end(self) -> None:
        """Let go of all rows, also where reading them has begun; one that another thread reads right now goes on."""
        reading = self._reading() if self._reading is not None else None
        if reading is not None:
            with contextlib.suppress(ValueError):
                reading.close()
        self.close()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows batch by batch, once: they are not kept."""
        made = self._batches()
        self._reading = weakref.ref(made)
        return made

    def _batches(self) -> Generator[pa.RecordBatch, None, None]:
        if self._table is not None:
            yield from self._table.to_batches()
            return
        reader, self._reader = self._reader, None
        if reader is None:
            if not self.did:
                raise ConflictError(ErrorKind.METHOD_NOT_ALLOWED, "the rows were read already: run the query again")
            return
        try:
            yield from reader
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise translated(error, self._failures) from error
        finally:
            del reader
            self.close()

    def reader(self) -> pa.RecordBatchReader:
        """Return the rows batch by batch, once, in bounded memory."""
        return pa.RecordBatchReader.from_batches(self._schema, self.batches())

    def arrow(self) -> pa.Table:
        """Return all rows."""
        if self._table is None:
            self._table = pa.Table.from_batches(list(self.batches()), self._schema)
        return self._table

    def df(self) -> Any:  # noqa: ANN401 - pandas has no types of its own
        """Return a pandas DataFrame; pandas has to be installed."""
        library("pandas")
        return self.arrow().to_pandas()

    def pl(self) -> "pl.DataFrame":
        """Return a Polars DataFrame; polars has to be installed."""
        frame: pl.DataFrame = library("polars").from_arrow(self.arrow())
        return frame

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return all rows as tuples; a moment that `datetime` cannot hold is a numpy.datetime64."""
        return list(self)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """Yield rows as tuples."""
        for batch in self.arrow().to_batches():
            yield from zip(*(python_values(column) for column in batch.columns), strict=True)

    def __len__(self) -> int:
        return int(self.arrow().num_rows)

    def __repr__(self) -> str:
        if self.did:
            return f"Result({self.did!r})"
        return f"Result({', '.join(self.columns)})"

    def __str__(self) -> str:
        """Show the rows as a table, the first of them."""
        if self.did:
            return self.did
        rows = self.arrow()
        if rows.shape == (1, 1) and pa.types.is_string(rows.schema[0].type) and rows.column(0).null_count == 0:
            return str(rows.column(0)[0])
        shown = rows.slice(0, SHOWN_ROWS)
        cells = [[text_of(value) for value in python_values(column, wide_text)] for column in shown.columns]
        widths = [
            max(len(name), *map(len, column)) if column else len(name)
            for name, column in zip(rows.column_names, cells, strict=True)
        ]
        lines = ["  ".join(name.ljust(width) for name, width in zip(rows.column_names, widths, strict=True)).rstrip()]
        lines += [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in zip(*cells, strict=True)
        ]
        if rows.num_rows > SHOWN_ROWS:
            lines.append(f"… {rows.num_rows} rows")
        return "\n".join(lines)


def text_of(value: object, characters: int = SHOWN_CHARACTERS) -> str:
    """Return a value as people read it, on one line."""
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        text = value.hex()
    elif isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, datetime) and value.microsecond:
        head, _, rest = str(value).partition(".")
        text = f"{head}.{rest[:6].rstrip('0')}{rest[6:]}"
    elif isinstance(value, Mapping):
        text = _braced((name, value[name]) for name in value)
    elif isinstance(value, pa.MonthDayNano):
        text = interval_text(value)
    elif isinstance(value, list | tuple):
        is_map = bool(value) and all(isinstance(one, tuple) for one in value)
        text = _braced(value) if is_map else f"[{', '.join(text_of(one, characters) for one in value)}]"
    else:
        text = str(value)
    text = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
    return text if len(text) <= characters else f"{text[: characters - 1]}…"


def _braced(pairs: Iterable[tuple[Any, Any]]) -> str:
    return f"{{{', '.join(f'{text_of(name)}: {text_of(value)}' for name, value in pairs)}}}"


def wide_text(exact: np.datetime64, zone: str) -> str:
    """Return a moment beyond what `datetime` holds as people read it."""
    return f"{str(exact).replace('T', ' ')}{zone}"


def interval_text(value: pa.MonthDayNano) -> str:
    """Return an INTERVAL as ISO 8601 has it, such as P1M2DT0.5S."""
    whole, rest = divmod(abs(value.nanoseconds), 1_000_000_000)
    seconds = f"{'-' if value.nanoseconds < 0 else ''}{whole}{f'.{rest:09}'.rstrip('0') if rest else ''}"
    return f"P{value.months}M{value.days}DT{seconds}S"
