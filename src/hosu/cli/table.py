"""`hosu table`: the tables of a lake on this machine: what there is, its rows, its upkeep."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hosu.cli import lakes, options, table_files, table_history, table_upkeep
from hosu.cli.faults import UsageFault

if TYPE_CHECKING:
    from hosu.cli.output import Output
    from hosu.lake import Lake
    from hosu.tables.table import Table

app = typer.Typer(help="Tables: what there is, rows in and out, history, upkeep.", no_args_is_help=True)

HEAD_ROWS = 10
Name = Annotated[str, typer.Argument(metavar="TABLE", help="DATABASE.TABLE, with $branch_NAME behind it for a branch.")]


def register(typer_app: typer.Typer) -> None:
    """Add the verbs."""
    table_history.register(app)
    table_files.register(app)
    table_upkeep.register(app)
    typer_app.add_typer(app, name="table")


@contextlib.contextmanager
def opened_table(
    verb: str, lake: Path, name: str, json_lines: bool, quiet: bool
) -> "Iterator[tuple[Table, Output, Lake]]":
    """Open a table of a lake for one verb."""
    with lakes.opened(f"table {verb}", lake, json_lines, quiet) as (opened, output):
        yield opened.tables.open(name), output, opened


@app.command("ls")
def list_(
    lake: lakes.Folder,
    database: Annotated[str | None, typer.Argument(metavar="DATABASE", help="This one; else all.")] = None,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """List tables."""
    with lakes.opened("table ls", lake, json_lines, quiet) as (opened, output):
        tables = opened.tables
        for found in [database] if database is not None else tables.databases():
            for name in tables.list(found):
                output.row({"operation": "table ls", "database": found, "table": name}, f"{found}.{name}")


@app.command("create")
def create(
    lake: lakes.Folder,
    name: Name,
    columns: Annotated[
        str | None,
        typer.Option("--columns", metavar="SQL", help='Such as "id BIGINT NOT NULL, price DECIMAL(20, 8)".'),
    ] = None,
    like: Annotated[Path | None, typer.Option("--like", metavar="FILE", help="The columns of a Parquet file.")] = None,
    primary_key: Annotated[str, typer.Option("--primary-key", metavar="A,B", help="Columns of the primary key.")] = "",
    partition_by: Annotated[str, typer.Option("--partition-by", metavar="A,B", help="Columns of the partition.")] = "",
    given: Annotated[
        list[str] | None, typer.Option("--option", "-o", metavar="KEY=VALUE", help="An option; repeatable.")
    ] = None,
    comment: Annotated[str | None, typer.Option("--comment", metavar="TEXT", help="What it is.")] = None,
    ignore_existing: Annotated[bool, typer.Option("--ignore-existing", help="Accept one that is there.")] = False,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Make a table, and its database where there is none; `hosu sql` takes CREATE TABLE."""
    with lakes.opened("table create", lake, json_lines, quiet) as (opened, output):
        from hosu.tables.sql.creating import read_columns
        from hosu.tables.sql.lexing import Words

        if (columns is None) == (like is None):
            raise UsageFault("say what columns the table has: --columns or --like, and one of them")
        keys = _listed(primary_key)
        if columns is not None:
            words = Words(f"({columns})")
            read = read_columns(words)
            words.end()
            keys = keys or read.primary_keys
            schema = read.fields
        else:
            assert like is not None
            schema = table_files.schema_of(like)
        made = opened.tables.create(
            name, schema, primary_keys=keys, partition_keys=_listed(partition_by), options=_pairs(given or []),
            comment=comment, exist_ok=ignore_existing,
        )  # fmt: skip
        output.event({"operation": "table create", "table": made.name}, f"created {made.name}")


def _listed(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _pairs(given: list[str]) -> dict[str, str]:
    found = {}
    for pair in given:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise UsageFault(f"--option {pair!r}: write KEY=VALUE, such as bucket=4")
        found[key.strip()] = value
    return found


@app.command("show")
def show(lake: lakes.Folder, name: Name, json_lines: options.Json = False, quiet: options.Quiet = False) -> None:
    """Show a table: columns, options, snapshots, sizes."""
    with opened_table("show", lake, name, json_lines, quiet) as (table, output, _):
        from hosu.cli.output import human_bytes, printable
        from hosu.tables.snapshots import find
        from hosu.tables.sql.showing import create_text
        from hosu.tables.types import type_sql
        from hosu.tables.upkeep.system import system_table

        schema, latest = table.schema, table.latest()
        sums = system_table(table.context, "partitions")
        files, size = sum(sums.column("file_count").to_pylist()), sum(sums.column("file_size_in_bytes").to_pylist())
        records = sum(sums.column("record_count").to_pylist())
        fields: dict[str, object] = {
            "operation": "table show",
            "table": table.name,
            "columns": [
                {"name": field.name, "type": type_sql(field.type), "comment": field.description}
                for field in schema.fields
            ],
            "primary_keys": list(schema.primary_keys),
            "partition_keys": list(schema.partition_keys),
            "options": dict(schema.options),
            "comment": schema.comment,
            "schema_id": schema.id,
            "earliest_snapshot": find.earliest_id(table.context),
            "latest_snapshot": None if latest is None else latest.id,
            "updated": "" if latest is None else lakes.shown_time(latest.time_millis),
            "partitions": sums.num_rows,
            "files": files,
            "records_in_files": records,
            "size_bytes": size,
            "path": table.context.layout.path,
        }
        lines = [
            ("path", fields["path"]),
            ("schema", f"{schema.id}"),
            ("snapshots", "none" if latest is None else f"{fields['earliest_snapshot']} to {latest.id}"),
            ("updated", fields["updated"]),
            ("partitions", sums.num_rows if schema.partition_keys else ""),
            ("files", f"{files}, {human_bytes(size)}, {records} rows before merging"),
        ]
        statement = "\n".join(printable(line) for line in create_text(table).splitlines())
        output.row_lines(fields, f"{statement}\n\n{lakes.shown(lines)}")


@app.command("snapshots")
def snapshots(
    lake: lakes.Folder,
    name: Name,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="As many of the latest.")] = 50,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """List the snapshots that are kept, the latest first."""
    with opened_table("snapshots", lake, name, json_lines, quiet) as (table, output, _):
        from hosu.tables.snapshots import find

        latest, earliest = table.latest(), find.earliest_id(table.context)
        if latest is None or earliest is None:
            return
        output.note(f"{'snapshot':>10}  {'committed':<25}  {'kind':<9}  {'rows':>12}  {'change':>10}")
        for snapshot_id in range(latest.id, max(earliest - 1, latest.id - limit), -1):
            one = latest if snapshot_id == latest.id else find.try_load(table.context, snapshot_id)
            if one is None:
                continue
            fields = {
                "operation": "table snapshots",
                "snapshot_id": one.id,
                "schema_id": one.schema_id,
                "committed": lakes.shown_time(one.time_millis),
                "kind": str(one.commit_kind),
                "total_record_count": one.total_record_count,
                "delta_record_count": one.delta_record_count,
                "commit_user": one.commit_user,
                "watermark": one.watermark,
            }
            output.row(
                fields,
                f"{one.id:>10}  {fields['committed']:<25}  {fields['kind']:<9}  {one.total_record_count:>12}  "
                f"{one.delta_record_count or 0:>+10}",
            )


@app.command("scan")
def scan(
    lake: lakes.Folder,
    name: Name,
    columns: table_files.ColumnNames = "",
    where: table_files.Where = None,
    at: table_files.Moment = None,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=0, help="At most so many rows.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    json_lines: Annotated[bool, typer.Option("--json", help="Print one JSON object per row.")] = False,
) -> None:
    """Print rows, in any order, now or as they were."""
    _print_rows("scan", lake, name, columns, where, at, limit, as_csv, json_lines)


@app.command("head")
def head(
    lake: lakes.Folder,
    name: Name,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="So many rows.")] = HEAD_ROWS,
    at: table_files.Moment = None,
    json_lines: Annotated[bool, typer.Option("--json", help="Print one JSON object per row.")] = False,
) -> None:
    """Print a few rows."""
    _print_rows("head", lake, name, "", None, at, limit, False, json_lines)


def _print_rows(
    verb: str,
    lake: Path,
    name: str,
    columns: str,
    where: str | None,
    at: str | None,
    limit: int | None,
    as_csv: bool,
    json_lines: bool,
) -> None:
    with opened_table(verb, lake, name, json_lines, False) as (table, _, _):
        from hosu.cli.rows import Form, say_rows

        if as_csv and json_lines:
            raise UsageFault("give --json or --csv, not both")
        rows = table.scan(_listed(columns) or None, where, at=table_files.moment_of(table, at), limit=limit)
        form = Form.JSON if json_lines else Form.CSV if as_csv else Form.TABLE
        say_rows(iter(rows.to_reader()), rows.columns, form)


@app.command("alter")
def alter(
    lake: lakes.Folder,
    name: Name,
    change: Annotated[
        str,
        typer.Argument(metavar="CHANGE", help="What follows ALTER TABLE name: ADD note STRING, SET ('key' = 'value')."),
    ],
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Change columns or options."""
    with lakes.opened("table alter", lake, json_lines, quiet) as (opened, output):
        from hosu.tables.sql.duck import quoted

        dotted = ".".join(quoted(part) for part in name.split(".", 1))
        done = opened.tables.session().run(f"ALTER TABLE {dotted} {change}")
        output.event({"operation": "table alter", "table": name}, done.did)


@app.command("drop")
def drop(
    lake: lakes.Folder,
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Drop a table with all of its files."""
    with lakes.opened("table drop", lake, json_lines, quiet) as (opened, output):
        if not yes:
            options.confirmed(f"drop {name} and all of its files?")
        opened.tables.drop(name)
        output.event({"operation": "table drop", "table": name}, f"dropped {name}")


@app.command("rollback")
def rollback(
    lake: lakes.Folder,
    name: Name,
    to: Annotated[str, typer.Argument(metavar="TO", help="A snapshot's number, a tag, a time, or a span before now.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Take a table back; what came later is gone."""
    with opened_table("rollback", lake, name, json_lines, quiet) as (table, output, _):
        from hosu.tables.snapshots.travel import resolve

        moment = table_files.moment_of(table, to)
        wanted = resolve(table.context, moment)
        if not yes and wanted is not None:
            options.confirmed(f"take {table.name} back to snapshot {wanted.id}? What came later is gone.")
        done = table.rollback(moment)
        fields = {"operation": "table rollback", "table": table.name, "snapshot_id": done.id}
        output.event(fields, f"{table.name} is at snapshot {done.id}")
