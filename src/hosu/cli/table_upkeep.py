"""`hosu table compact`, `expire`, `orphans` and `analyze`: the upkeep of one table, done now."""

from typing import TYPE_CHECKING, Annotated

import typer

from hosu.cli import lakes, options

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hosu.cli.output import Output
    from hosu.tables.compaction.compacting import Planned
    from hosu.tables.table import Table
    from hosu.tables.upkeep.report import Report

NAMED_MAX = 20
"""How many files a dry run names."""

Name = Annotated[str, typer.Argument(metavar="TABLE", help="DATABASE.TABLE.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be deleted, and delete nothing.")]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    for verb in (compact, expire, orphans, analyze):
        app.command(verb.__name__)(verb)


def compact(
    lake: lakes.Folder,
    name: Name,
    full: Annotated[bool, typer.Option("--full", help="Merge everything, whether it is due or not.")] = False,
    partitions: Annotated[
        list[str] | None,
        typer.Option("--partition", metavar="KEY=VALUE[,…]", help="This partition; repeatable."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be merged, and why.")] = False,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Merge small files into larger ones."""
    with lakes.opened("table compact", lake, json_lines, quiet) as (opened, output):
        table = opened.table(name)
        from hosu.tables.sql.calling import partition_condition, partition_filter

        condition = partition_condition(";".join(partitions)) if partitions else None
        wanted = partition_filter(table, condition)
        if dry_run:
            _say_plan(output, table, table.plan_compaction(full=full, partitions=wanted))
            return
        made = table.compact(full=full, partitions=wanted)
        snapshot_id = made[-1].id if made else None
        text = f"compacted {table.name}: snapshot {snapshot_id}" if made else f"{table.name} needs no compaction"
        output.event({"operation": "table compact", "table": table.name, "snapshot_id": snapshot_id}, text)


def _say_plan(output: "Output", table: "Table", planned: "Iterable[Planned]") -> None:
    """Say of each bucket what a compaction would read, and why."""
    from hosu.cli.output import human_bytes
    from hosu.tables.layout import partition_text

    count = 0
    for one in planned:
        values = zip(table.schema.partition_keys, one.partition, strict=True)
        partition = {name: None if value is None else partition_text(value, "") for name, value in values}
        fields = {
            "operation": "table compact",
            "table": table.name,
            "dry_run": True,
            "partition": partition,
            "bucket": one.bucket,
            "reason": str(one.reason),
            "files": [file.file_name for file in one.files],
            "size_bytes": one.size_bytes,
            "output_level": one.output_level,
        }
        named = [f"{name}={'NULL' if value is None else value}" for name, value in partition.items()]
        place = ",".join([*named, f"bucket={one.bucket}"])
        what = f"{len(one.files)} file{'' if len(one.files) == 1 else 's'}, {human_bytes(one.size_bytes)}"
        output.row(fields, f"{place}: would merge {what} ({one.reason})")
        count += 1
    if not count:
        output.note(f"{table.name} needs no compaction")


def expire(
    lake: lakes.Folder,
    name: Name,
    retain_min: Annotated[int | None, typer.Option("--retain-min", min=1, help="Keep as many at least.")] = None,
    retain_max: Annotated[int | None, typer.Option("--retain-max", min=1, help="Keep as many at most.")] = None,
    older_than: Annotated[
        str | None, typer.Option("--older-than", metavar="WHEN", help="A time, or a span before now: 2h, 7d.")
    ] = None,
    dry_run: DryRun = False,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Delete snapshots that are not kept any more, by options of the table or these, and their files."""
    with lakes.opened("table expire", lake, json_lines, quiet) as (opened, output):
        table = opened.table(name)
        done = table.expire(
            older_than_ms=_moment(table, older_than), retain_min=retain_min, retain_max=retain_max, dry_run=dry_run
        )
        say_report(output, "table expire", table.name, done)


def orphans(
    lake: lakes.Folder,
    name: Name,
    older_than: Annotated[
        str | None, typer.Option("--older-than", metavar="WHEN", help="A time, or a span before now; 1d unless given.")
    ] = None,
    dry_run: DryRun = False,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Delete files that nothing refers to, such as those of writers that were killed."""
    with lakes.opened("table orphans", lake, json_lines, quiet) as (opened, output):
        table = opened.table(name)
        done = table.clean_orphans(older_than_ms=_moment(table, older_than), dry_run=dry_run)
        say_report(output, "table orphans", table.name, done)


def _moment(table: "Table", text: str | None) -> int | None:
    if text is None:
        return None
    return lakes.parse_moment(text, "--older-than", table.context.clock.now_ms(), is_past=True)


def say_report(output: "Output", operation: str, table: str, done: "Report") -> None:
    """Say what upkeep did, or would do."""
    from hosu.tables.sql.calling import told

    fields = {
        "operation": operation,
        "table": table,
        "dry_run": done.dry_run,
        "snapshots": done.snapshots,
        "files": done.files,
        "bytes_freed": done.bytes_freed,
        "notes": done.notes,
    }
    output.event(fields, f"{table}: {told(done)}")
    if done.dry_run and not output.json_lines:
        for file in done.files[:NAMED_MAX]:
            output.note(f"  {file}")
        if len(done.files) > NAMED_MAX:
            output.note(f"  … {len(done.files) - NAMED_MAX} more: --json names all")


def analyze(
    lake: lakes.Folder,
    name: Name,
    columns: Annotated[str, typer.Option("--columns", metavar="A,B", help="These columns; all unless given.")] = "",
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Read a table and store its statistics, which engines plan by."""
    with lakes.opened("table analyze", lake, json_lines, quiet) as (opened, output):
        table = opened.table(name)
        from hosu.tables.upkeep.statistics import analyze as store_statistics

        made = store_statistics(table.context, [one.strip() for one in columns.split(",") if one.strip()] or None)
        fields = {"operation": "table analyze", "table": table.name, "snapshot_id": made.id}
        output.event(fields, f"analysed {table.name}: snapshot {made.id}")
