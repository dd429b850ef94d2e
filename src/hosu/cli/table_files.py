"""`hosu table import` and `export`: files of rows into tables, and rows of tables into files."""

import contextlib
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hosu.cli import lakes, options
from hosu.cli.faults import UsageFault

if TYPE_CHECKING:
    import pyarrow as pa

    from hosu.tables.schemas import TableSchema
    from hosu.tables.table import Table

BATCH_ROWS = 65_536
JSON_BLOCK_BYTES = 8 * 1024 * 1024
"""The longest line of a file of JSON lines."""

TableName = Annotated[str, typer.Argument(metavar="TABLE", help="DATABASE.TABLE.")]
ColumnNames = Annotated[str, typer.Option("--columns", "-c", metavar="A,B", help="These columns; all unless given.")]
Where = Annotated[str | None, typer.Option("--where", "-w", metavar="SQL", help="Rows for which this holds.")]
Moment = Annotated[
    str | None,
    typer.Option(
        "--at", metavar="WHEN", help="As they were: a snapshot's number, a tag, a time, or a span before now: 1h."
    ),
]


def moment_of(table: "Table", text: str | None) -> "str | datetime | None":
    """Return what `--at` says: a span such as `1h` is that long ago, unless a tag has the name."""
    if text is None or not lakes.is_span(text) or any(tag.name == text for tag in table.tags()):
        return text
    now_ms = table.context.clock.now_ms()
    return datetime.fromtimestamp(lakes.parse_moment(text, "--at", now_ms, is_past=True) / 1000, UTC)


class Kind(StrEnum):
    """Kinds of files."""

    PARQUET = "parquet"
    CSV = "csv"
    JSON = "json"


KindOption = Annotated[Kind | None, typer.Option("--format", help="What the files are; else their names say it.")]
_SUFFIXES = {
    ".parquet": Kind.PARQUET,
    ".pq": Kind.PARQUET,
    ".csv": Kind.CSV,
    ".json": Kind.JSON,
    ".jsonl": Kind.JSON,
    ".ndjson": Kind.JSON,
}


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command("import")(import_)
    app.command("export")(export)


def _kind(file: Path, given: Kind | None) -> Kind:
    kind = given if given is not None else _SUFFIXES.get(file.suffix.lower())
    if kind is None:
        raise UsageFault(f"the name of {file} does not say what it is: give --format parquet, csv or json")
    return kind


def schema_of(file: Path) -> "pa.Schema":
    """Return the columns of a Parquet file."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return parquet.read_schema(file)
    except (pa.ArrowException, OSError) as error:
        raise UsageFault(f"{file} cannot be read as Parquet: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def import_(
    lake: lakes.Folder,
    table: TableName,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Parquet, CSV or JSON lines; `-` is standard input.")
    ],
    kind: KindOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Put the rows in place of all that is there.")] = False,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Read files into a table, all of them in one commit; rows of a key that is there are merged with it."""
    with lakes.opened("table import", lake, json_lines, quiet) as (opened, output):
        from hosu.tables.writing import verbs

        kinds = [_kind(file, kind) for file in files]
        found = opened.table(table)
        rows = _rows(found.schema, list(zip(files, kinds, strict=True)))
        write = partial(verbs.overwrite, dynamic=False) if overwrite else verbs.insert
        done = write(found.context, rows)
        snapshot_id = done.snapshots[-1].id if done.snapshots else None
        fields = {"operation": "table import", "table": table, "rows": done.rows, "snapshot_id": snapshot_id}
        output.event(fields, f"imported {done.rows} rows into {table}")


def _rows(schema: "TableSchema", files: list[tuple[Path, Kind]]) -> "Iterator[pa.Table]":
    import pyarrow as pa

    from hosu.kernel.errors import ErrorKind, HosuError, InvalidInputError
    from hosu.tables.sql.targets import filled

    for file, kind in files:
        try:
            with _source(file, kind) as source:
                for rows in _tables(schema, source, kind):
                    yield filled(schema, rows)
        except UsageFault as fault:
            raise UsageFault(f"{file}: {fault.message}") from fault
        except HosuError as error:
            raise type(error)(error.kind, f"{file}: {error.message}", **error.details) from error
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise InvalidInputError(
                ErrorKind.ROWS_INVALID, f"{file} cannot be read as {kind}: {_first_line(error)}", file=str(file)
            ) from error


@contextlib.contextmanager
def _source(file: Path, kind: Kind) -> Iterator[Any]:
    import pyarrow as pa

    if file != Path("-"):
        with pa.OSFile(str(file)) as opened:
            yield opened
        return
    if kind is Kind.PARQUET:
        raise UsageFault("Parquet is not read from standard input: name a file")
    yield pa.PythonFile(sys.stdin.buffer, mode="r")


def _tables(schema: "TableSchema", source: Any, kind: Kind) -> "Iterator[pa.Table]":  # noqa: ANN401 - a file of Arrow's
    from hosu.cli.table_text import parsed, read_schema

    if kind is Kind.PARQUET:
        import pyarrow as pa
        from pyarrow import parquet

        with parquet.ParquetFile(source) as file:
            for batch in file.iter_batches(BATCH_ROWS):
                yield pa.Table.from_batches([batch])
    elif kind is Kind.CSV:
        from pyarrow import csv

        # Text stays as it is, even where it is empty; in other columns nothing is NULL, and nothing else is.
        types = {field.name: field.type for field in read_schema(schema.arrow, kind)}
        convert = csv.ConvertOptions(column_types=types, strings_can_be_null=False, null_values=[""])
        for batch in csv.open_csv(source, convert_options=convert):
            yield parsed(batch, schema.arrow, kind)
    else:
        from pyarrow import json

        explicit = read_schema(schema.arrow, kind)
        parse = json.ParseOptions(explicit_schema=explicit, unexpected_field_behavior="error")
        for batch in json.open_json(source, json.ReadOptions(block_size=JSON_BLOCK_BYTES), parse):
            yield parsed(batch, schema.arrow, kind)


def export(
    lake: lakes.Folder,
    table: TableName,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to; `-` is standard output.")],
    kind: KindOption = None,
    columns: ColumnNames = "",
    where: Where = None,
    at: Moment = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write rows into a file, now or as they were."""
    with lakes.opened("table export", lake, json_lines, quiet) as (opened, output):
        wanted = [name.strip() for name in columns.split(",") if name.strip()]
        to_stdout = file == Path("-")
        form = _kind(file, kind)
        found = opened.table(table)
        rows = found.scan(wanted or None, where, at=moment_of(found, at))
        if to_stdout:
            if form is Kind.PARQUET:
                raise UsageFault("Parquet is not written to standard output: name a file")
            _write(rows.to_reader(), None, form)
            return
        if file.exists() and not force:
            raise UsageFault(f"{file} is there: choose another name, or replace it with --force")
        # A file under its name is whole.
        part = file.with_name(f".{file.name}.part")
        try:
            count = _write(rows.to_reader(), part, form)
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)
        fields = {"operation": "table export", "table": table, "file": str(file), "rows": count}
        output.event(fields, f"exported {count} rows into {file}")


def _write(reader: "pa.RecordBatchReader", file: Path | None, kind: Kind) -> int:
    from hosu.cli.rows import Form, say_rows

    if kind is Kind.PARQUET:
        from pyarrow import parquet

        assert file is not None
        count = 0
        with parquet.ParquetWriter(file, reader.schema, compression="zstd") as writer:
            for batch in reader:
                writer.write_batch(batch)
                count += batch.num_rows
        return count
    form = Form.CSV if kind is Kind.CSV else Form.JSON
    if file is None:
        return say_rows(iter(reader), reader.schema.names, form)
    with file.open("w", encoding="utf-8", newline="") as stream:
        return say_rows(iter(reader), reader.schema.names, form, stream=stream)
