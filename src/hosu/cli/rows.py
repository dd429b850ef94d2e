"""Rows of tables, as a command says them: aligned for people, JSON lines and CSV for programs."""

import csv
import json
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    import pyarrow as pa

PAGE_ROWS = 1_000
"""Rows whose widths are looked at before they are shown."""

CELL_CHARACTERS = 60
"""As long as a value is shown to people."""


class Form(StrEnum):
    """How rows are said."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def say_rows(
    batches: "Iterator[pa.RecordBatch]",
    columns: Sequence[str],
    form: Form,
    *,
    stream: TextIO | None = None,
    rows_max: int | None = None,
) -> int:
    """Say rows as they come, at most rows_max of them; return how many were said, one more where there are more."""
    out = stream if stream is not None else sys.stdout
    if form is Form.TABLE:
        return _say_table(batches, columns, out, rows_max)
    writer = csv.writer(out, lineterminator="\n") if form is Form.CSV else None
    if writer is not None:
        writer.writerow(columns)
    names = _unlike(columns)
    count = 0
    for batch in batches:
        for row in _tuples(batch):
            if writer is not None:
                writer.writerow([_csv_value(value) for value in row])
            else:
                out.write(json.dumps(dict(zip(names, map(plain, row), strict=True)), ensure_ascii=False) + "\n")
        count += batch.num_rows
    out.flush()
    return count


def _unlike(columns: Sequence[str]) -> list[str]:
    """Return names that are all different, as an object of JSON needs them: `a`, `a_1`."""
    taken = set(columns)
    names: list[str] = []
    for column in columns:
        name, number = column, 0
        while name in names or (number and name in taken):
            number += 1
            name = f"{column}_{number}"
        names.append(name)
    return names


def _tuples(batch: "pa.RecordBatch") -> Iterator[tuple[Any, ...]]:
    from hosu.tables.pyvalues import python_values

    return zip(*(python_values(column, _wide_iso) for column in batch.columns), strict=True)


def _wide_iso(exact: object, zone: str) -> str:
    return f"{exact}{zone}"


def _say_table(batches: "Iterator[pa.RecordBatch]", columns: Sequence[str], out: TextIO, rows_max: int | None) -> int:
    from hosu.tables.pyvalues import python_values
    from hosu.tables.sql.results import text_of, wide_text

    widths: list[int] = []
    right: list[bool] = [False] * len(columns)
    is_tall = False
    count: int = 0
    for page in _pages(batches):
        shown = page if rows_max is None else page.slice(0, rows_max - count)
        cells = [
            [text_of(value, CELL_CHARACTERS) for value in python_values(column, wide_text)] for column in shown.columns
        ]
        if not widths:
            right = [_is_number(kind) for kind in page.schema.types]
            widths = _widths(columns, cells)
            is_tall = _is_too_wide(widths, out)
            if not is_tall:
                _say_head(columns, widths, right, out)
        rows = zip(*cells, strict=True)
        if is_tall:
            out.writelines(_records(columns, rows, count))
        else:
            out.writelines(_line(row, widths, right) + "\n" for row in rows)
        count += int(shown.num_rows)
        if shown.num_rows < page.num_rows:
            out.flush()
            return count + 1
    if not widths and columns:
        _say_head(columns, _widths(columns, [[] for _ in columns]), right, out)
    out.flush()
    return count


def _is_too_wide(widths: Sequence[int], out: TextIO) -> bool:
    """Whether rows would be broken at the edge of a terminal."""
    return out.isatty() and sum(widths) + 2 * (len(widths) - 1) > shutil.get_terminal_size().columns


def _records(columns: Sequence[str], rows: Iterable[Sequence[str]], before: int) -> Iterator[str]:
    """Yield rows one below the other, each with a line for every column."""
    width = max(_wide(name) for name in columns)
    for number, row in enumerate(rows, start=before + 1):
        yield f"── {number} ──\n"
        for name, cell in zip(columns, row, strict=True):
            yield f"{name}{' ' * (width - _wide(name))}  {cell}\n"


def _pages(batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.Table]":
    """Yield rows in pages, of which all but the last are as long: their widths are chosen by all of their rows."""
    import pyarrow as pa

    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        start = 0
        while rows + batch.num_rows - start >= PAGE_ROWS:
            piece = batch.slice(start, PAGE_ROWS - rows)
            start += piece.num_rows
            yield pa.Table.from_batches([*waiting, piece])
            waiting, rows = [], 0
        if start < batch.num_rows:
            waiting.append(batch.slice(start))
            rows += batch.num_rows - start
    if waiting:
        yield pa.Table.from_batches(waiting)


def _is_number(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _widths(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> list[int]:
    return [max([_wide(name), *map(_wide, values)]) for name, values in zip(columns, cells, strict=True)]


def _wide(text: str) -> int:
    """Return how many places a text takes on a terminal: characters of East Asia take two."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return int(cell_len(text))


def _say_head(columns: Sequence[str], widths: Sequence[int], right: Sequence[bool], out: TextIO) -> None:
    out.write(_line(columns, widths, right) + "\n")
    out.write("  ".join("─" * width for width in widths) + "\n")


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    parts = []
    for cell, width, is_right in zip(cells, widths, right, strict=True):
        blank = " " * max(0, width - _wide(cell))
        parts.append(blank + cell if is_right else cell + blank)
    return "  ".join(parts).rstrip()


def plain(value: object) -> Any:  # noqa: ANN401 - what JSON has
    """Return a value as JSON has it: times as ISO text, exact numbers as text, bytes in hexadecimal."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else str(value)  # noqa: PLR0124 - NaN is unequal
    if isinstance(value, datetime | time):
        # No more digits than there are: a TIMESTAMP(3) is read again as one.
        return value.isoformat(timespec="auto" if value.microsecond % 1000 or not value.microsecond else "milliseconds")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return _interval(value) if hasattr(value, "months") else [plain(inner) for inner in value]
    return str(value) if isinstance(value, Decimal | timedelta) else repr(value)


def _interval(value: Any) -> str:  # noqa: ANN401 - Arrow's, which is imported where rows are
    from hosu.tables.sql.results import interval_text

    return interval_text(value)


def _csv_value(value: object) -> object:
    if value is None:
        return ""
    simple = plain(value)
    if isinstance(simple, bool):
        return "true" if simple else "false"
    return json.dumps(simple, ensure_ascii=False) if isinstance(simple, dict | list) else simple
