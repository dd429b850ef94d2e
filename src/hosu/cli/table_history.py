"""`hosu table tag`, `branch` and `consumer`: what of a table's history is kept, and for whom."""

from typing import TYPE_CHECKING, Annotated

import typer

from hosu.cli import lakes, options

if TYPE_CHECKING:
    from hosu.tables.table import Table

tag_app = typer.Typer(help="Tags: snapshots kept under a name.", no_args_is_help=True)
branch_app = typer.Typer(help="Branches: tables beside a table.", no_args_is_help=True)
consumer_app = typer.Typer(help="Consumers: who reads changes, and how far.", no_args_is_help=True)

TableName = Annotated[str, typer.Argument(metavar="TABLE", help="DATABASE.TABLE.")]
TagName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the tag.")]
BranchName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the branch.")]
ConsumerName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the consumer.")]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.add_typer(tag_app, name="tag")
    app.add_typer(branch_app, name="branch")
    app.add_typer(consumer_app, name="consumer")


@tag_app.command("ls")
def tag_list(
    lake: lakes.Folder, table: TableName, json_lines: options.Json = False, quiet: options.Quiet = False
) -> None:
    """List tags."""
    with lakes.opened("table tag ls", lake, json_lines, quiet) as (opened, output):
        for tag in opened.table(table).tags():
            fields = {
                "operation": "table tag ls",
                "table": table,
                "tag": tag.name,
                "snapshot_id": tag.snapshot.id,
                "committed": lakes.shown_time(tag.snapshot.time_millis),
                "retained_ms": tag.retained_ms,
            }
            output.row(fields, f"{tag.name:<24} snapshot {tag.snapshot.id:>6}  {fields['committed']}")


@tag_app.command("create")
def tag_create(
    lake: lakes.Folder,
    table: TableName,
    name: TagName,
    snapshot: Annotated[int | None, typer.Option("--snapshot", metavar="N", help="This one; else the latest.")] = None,
    keep: Annotated[str, typer.Option("--keep", metavar="SPAN", help="For so long: 12h, 30d; else for ever.")] = "",
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Keep a snapshot under a name."""
    with lakes.opened("table tag create", lake, json_lines, quiet) as (opened, output):
        keep_ms = lakes.parse_span(keep, "--keep") if keep else None
        made = opened.table(table).create_tag(name, snapshot_id=snapshot, keep_ms=keep_ms)
        fields = {"operation": "table tag create", "table": table, "tag": name, "snapshot_id": made.snapshot.id}
        output.event(fields, f"tag {name} keeps snapshot {made.snapshot.id}")


@tag_app.command("rm")
def tag_remove(
    lake: lakes.Folder, table: TableName, name: TagName, json_lines: options.Json = False, quiet: options.Quiet = False
) -> None:
    """Delete a tag, and the files that nothing else needs."""
    with lakes.opened("table tag rm", lake, json_lines, quiet) as (opened, output):
        done = opened.table(table).delete_tag(name)
        fields = {"operation": "table tag rm", "table": table, "tag": name, "files": done.files}
        output.event(fields, f"deleted tag {name}" + (f" and {len(done.files)} files" if done.files else ""))


@branch_app.command("ls")
def branch_list(
    lake: lakes.Folder, table: TableName, json_lines: options.Json = False, quiet: options.Quiet = False
) -> None:
    """List branches."""
    with lakes.opened("table branch ls", lake, json_lines, quiet) as (opened, output):
        for name in opened.table(table).branches():
            output.row({"operation": "table branch ls", "table": table, "branch": name}, name)


@branch_app.command("create")
def branch_create(
    lake: lakes.Folder,
    table: TableName,
    name: BranchName,
    tag: Annotated[str | None, typer.Option("--tag", metavar="TAG", help="With the rows of a tag; else empty.")] = None,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Begin a branch."""
    with lakes.opened("table branch create", lake, json_lines, quiet) as (opened, output):
        opened.table(table).create_branch(name, tag=tag)
        fields = {"operation": "table branch create", "table": table, "branch": name, "tag": tag}
        output.event(fields, f"made branch {name}: open it as {table}$branch_{name}")


@branch_app.command("rm")
def branch_remove(
    lake: lakes.Folder,
    table: TableName,
    name: BranchName,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Delete a branch."""
    with lakes.opened("table branch rm", lake, json_lines, quiet) as (opened, output):
        opened.table(table).delete_branch(name)
        output.event({"operation": "table branch rm", "table": table, "branch": name}, f"deleted branch {name}")


@branch_app.command("fast-forward")
def branch_fast_forward(
    lake: lakes.Folder,
    table: TableName,
    name: BranchName,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Make the table what a branch is; what the table got since the branch began is gone."""
    with lakes.opened("table branch fast-forward", lake, json_lines, quiet) as (opened, output):
        found = opened.table(table)
        if not yes:
            options.confirmed(f"make {table} what branch {name} is? What it got since is gone.")
        found.fast_forward(name)
        fields = {"operation": "table branch fast-forward", "table": table, "branch": name}
        output.event(fields, f"{table} is what branch {name} was")


@consumer_app.command("ls")
def consumer_list(
    lake: lakes.Folder, table: TableName, json_lines: options.Json = False, quiet: options.Quiet = False
) -> None:
    """List consumers, and reads of hosu's own that go on for long."""
    with lakes.opened("table consumer ls", lake, json_lines, quiet) as (opened, output):
        for found in opened.table(table).consumers():
            fields = {
                "operation": "table consumer ls",
                "table": table,
                "consumer": found.name,
                "next_snapshot": found.next_snapshot,
                "is_lease": found.is_lease,
                "moved": lakes.shown_time(found.modified_ms),
            }
            kind = "  a read under way" if found.is_lease else ""
            output.row(fields, f"{found.name:<24} from snapshot {found.next_snapshot:>6}  {fields['moved']}{kind}")


@consumer_app.command("reset")
def consumer_reset(
    lake: lakes.Folder,
    table: TableName,
    name: ConsumerName,
    snapshot: Annotated[int, typer.Argument(metavar="SNAPSHOT", help="The first that it is to read.", min=1)],
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Say from which snapshot on a consumer reads; it is made if there is none."""
    with lakes.opened("table consumer reset", lake, json_lines, quiet) as (opened, output):
        from hosu.tables.snapshots import consumers

        consumers.reset(opened.table(table).context, name, snapshot)
        fields = {"operation": "table consumer reset", "table": table, "consumer": name, "next_snapshot": snapshot}
        output.event(fields, f"consumer {name} reads on from snapshot {snapshot}")


@consumer_app.command("rm")
def consumer_remove(
    lake: lakes.Folder,
    table: TableName,
    name: ConsumerName,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Forget a consumer: snapshots are not kept for it any more."""
    with lakes.opened("table consumer rm", lake, json_lines, quiet) as (opened, output):
        from hosu.tables.snapshots import consumers

        found = opened.table(table)
        _need_consumer(found, name)
        consumers.delete(found.context, name)
        output.event({"operation": "table consumer rm", "table": table, "consumer": name}, f"forgot consumer {name}")


def _need_consumer(table: "Table", name: str) -> None:
    from hosu.kernel.errors import ErrorKind, NotFoundError

    there = [found.name for found in table.consumers()]
    if name not in there:
        raise NotFoundError(
            ErrorKind.SNAPSHOT_NOT_FOUND,
            f"{table.name} has no consumer {name!r}: it has {', '.join(there) or 'none'}",
            consumer=name,
        )
