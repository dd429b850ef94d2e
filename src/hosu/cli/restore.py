"""`hosu restore`: a lake out of a backup, in a new folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hosu.cli import lakes, options
from hosu.cli.backup import Location, moment_of, place

if TYPE_CHECKING:
    from hosu.cli.output import Output
    from hosu.rules.backup.restoring import Restored


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("restore")(restore)


def restore(
    location: Location,
    lake: Annotated[Path, typer.Argument(metavar="NEWLAKE", help="A new or empty folder.", show_default=False)],
    to_time: Annotated[
        str | None,
        typer.Option("--to-time", metavar="TIME", help="The newest snapshot at or before; a time or a span as 3d."),
    ] = None,
    snapshot: Annotated[str, typer.Option("--snapshot", metavar="ID", help="This snapshot.")] = "",
    bucket: Annotated[str, typer.Option("--bucket", metavar="NAME", help="Of the buckets only this one.")] = "",
    prefix: Annotated[str, typer.Option("--prefix", metavar="TEXT", help="Only keys that begin so.")] = "",
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Make a lake of a backup: of its newest snapshot unless told otherwise. Run again, it goes on where it stopped."""
    with options.explained("restore", json_lines=json_lines):
        from hosu.cli.faults import UsageFault
        from hosu.cli.output import Output
        from hosu.rules.backup.restoring import restore_backup

        if prefix and not bucket:
            raise UsageFault("--prefix is of one bucket: name it with --bucket")
        if snapshot and to_time is not None:
            raise UsageFault("--snapshot and --to-time both choose a snapshot: give one")
        restored = restore_backup(
            place(location), lake, snapshot_id=snapshot, to_ms=moment_of(to_time), bucket=bucket, prefix=prefix
        )
        _say(Output(json_lines=json_lines, quiet=quiet), lake, restored)
        if restored.damaged:
            raise typer.Exit(1)


def _say(output: "Output", lake: Path, restored: "Restored") -> None:
    from hosu.cli.output import human_bytes

    taken = lakes.shown_time(restored.snapshot.at_ms)
    fields = {
        "operation": "restore",
        "lake": str(lake),
        "snapshot": restored.snapshot.id,
        "time": taken,
        "objects": restored.objects,
        "versions": restored.versions,
        "bytes": restored.bytes,
        "damaged": list(restored.damaged),
        "notes": list(restored.notes),
    }
    counted = f"{restored.objects} objects, {restored.versions} older versions, {human_bytes(restored.bytes)}"
    origin = f"{restored.snapshot.lake} of {taken} (snapshot {restored.snapshot.id})"
    output.event({**fields, "origin": restored.snapshot.lake}, f"{lake} is the lake {origin}: {counted}")
    for note in restored.notes:
        output.note(f"note: {note}")
    for name in restored.damaged:
        output.complaint(f"damaged in the backup: {name}")
