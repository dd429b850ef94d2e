"""`hosu backup`: the lake in another place, of which each run writes what has changed."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hosu.cli import lakes, options

if TYPE_CHECKING:
    from hosu.cli.output import Output
    from hosu.rules.backup.pruning import Retention
    from hosu.rules.backup.repository import Repository, Snapshot
    from hosu.rules.backup.schedule import Schedule
    from hosu.rules.backup.taking import Report

app = typer.Typer(help="Backups of the whole lake, in a folder or any S3.", no_args_is_help=True)

Location = Annotated[
    str,
    typer.Argument(metavar="LOCATION", help="A folder, or s3://BUCKET/PREFIX?endpoint=URL.", show_default=False),
]
ExcludeKeys = Annotated[bool, typer.Option("--exclude-keys", help="Leave out the lake's own key and root's.")]
KeepLast = Annotated[int, typer.Option("--keep-last", metavar="N", min=0, help="Keep the N latest snapshots.")]
KeepDaily = Annotated[int, typer.Option("--keep-daily", metavar="N", min=0, help="Keep the last one of N days.")]
KeepWeekly = Annotated[int, typer.Option("--keep-weekly", metavar="N", min=0, help="Keep the last one of N weeks.")]


def register(typer_app: typer.Typer) -> None:
    """Add the verbs."""
    typer_app.add_typer(app, name="backup")


@app.command("run")
def run(
    lake: lakes.Folder,
    location: Location,
    exclude_keys: ExcludeKeys = False,
    is_full: Annotated[bool, typer.Option("--full", help="Write all records again, not those that changed.")] = False,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Back a lake up, beside its server or without one."""
    with lakes.opened("backup run", lake, json_lines, quiet) as (opened, output):
        report = opened.backup(place(location), exclude_keys=exclude_keys, is_full=is_full)
        _say_report(output, report)
        if report.damaged:
            raise typer.Exit(1)


def _say_report(output: "Output", report: "Report") -> None:
    from hosu.cli.output import human_bytes

    snapshot = report.snapshot
    fields = {
        "operation": "backup run",
        "snapshot": snapshot.id,
        "time": lakes.shown_time(snapshot.at_ms),
        "objects": snapshot.objects,
        "changed_keys": report.changed_keys,
        "is_base": report.is_base,
        "written_files": snapshot.written_files,
        "written_bytes": snapshot.written_bytes,
        "damaged": list(report.damaged),
    }
    what = "all records" if report.is_base else f"records of {report.changed_keys} changed keys"
    size = human_bytes(snapshot.written_bytes)
    output.event(fields, f"snapshot {snapshot.id}: {snapshot.objects} objects; wrote {what}, {size}")
    for name in report.damaged:
        output.complaint(f"damaged in the lake, and not in the backup: {name}")


@app.command("list")
def list_snapshots(location: Location, json_lines: options.Json = False, quiet: options.Quiet = False) -> None:
    """List the snapshots of a backup, the oldest first."""
    with options.explained("backup list", json_lines=json_lines):
        from hosu.cli.output import Output, human_bytes

        output = Output(json_lines=json_lines, quiet=quiet)
        for snapshot in open_backup(location).snapshots():
            fields = {**snapshot_fields(snapshot), "operation": "backup list"}
            size, written = human_bytes(snapshot.object_bytes), human_bytes(snapshot.written_bytes)
            text = f"{fields['time']}  {snapshot.id}  {snapshot.objects} objects, {size}; wrote {written}"
            output.row(fields, text + (f"; {len(snapshot.damaged)} blobs damaged" if snapshot.damaged else ""))


def snapshot_fields(snapshot: "Snapshot") -> dict[str, object]:
    """Return what programs are told of a snapshot."""
    return {
        "snapshot": snapshot.id,
        "time": lakes.shown_time(snapshot.at_ms),
        "lake": snapshot.lake,
        "objects": snapshot.objects,
        "object_bytes": snapshot.object_bytes,
        "versions": snapshot.versions,
        "written_bytes": snapshot.written_bytes,
        "damaged_blobs": len(snapshot.damaged),
    }


@app.command("verify")
def verify(
    location: Location,
    reads_all: Annotated[bool, typer.Option("--all", help="Read every file of every snapshot.")] = False,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Check that the newest snapshot could be restored; exit status 1 when something is wrong."""
    with options.explained("backup verify", json_lines=json_lines):
        from hosu.cli.output import Output, human_bytes
        from hosu.rules.backup.verifying import verify as check

        output = Output(json_lines=json_lines, quiet=quiet)
        found = check(open_backup(location), reads_all=reads_all)
        fields = {
            "operation": "backup verify",
            "snapshots": found.snapshots,
            "files": found.files,
            "bytes": found.bytes,
            "faults": list(found.faults),
        }
        how = "read" if reads_all else "there"
        text = f"{found.snapshots} snapshots, {found.files} files {how}, {human_bytes(found.bytes)}"
        output.event(fields, f"{text}: {len(found.faults) or 'no'} faults")
        for fault in found.faults:
            output.complaint(fault)
        if found.faults:
            raise typer.Exit(1)


@app.command("prune")
def prune(
    location: Location,
    keep_last: KeepLast = 0,
    keep_daily: KeepDaily = 0,
    keep_weekly: KeepWeekly = 0,
    is_dry: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed.")] = False,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Remove snapshots that no --keep option keeps (none without one), and files that no snapshot needs."""
    with options.explained("backup prune", json_lines=json_lines):
        from hosu.cli.output import Output, human_bytes
        from hosu.rules.backup.pruning import prune as remove

        output = Output(json_lines=json_lines, quiet=quiet)
        done = remove(open_backup(location), retention_of(keep_last, keep_daily, keep_weekly), is_dry=is_dry)
        verb = "would remove" if is_dry else "removed"
        for snapshot in done.snapshots:
            fields = {**snapshot_fields(snapshot), "operation": "backup prune", "dry_run": is_dry}
            output.row(fields, f"{verb} {lakes.shown_time(snapshot.at_ms)}  {snapshot.id}")
        fields = {"operation": "backup prune", "kept": done.kept, "files": done.files, "bytes": done.bytes}
        text = f"{verb} {len(done.snapshots)} snapshots and {done.files} files, {human_bytes(done.bytes)}"
        output.event({**fields, "dry_run": is_dry}, f"{text}; {done.kept} snapshots stay")


@app.command("schedule")
def schedule(
    lake: lakes.Folder,
    location: Annotated[
        str | None, typer.Argument(metavar="LOCATION", help="Show the schedule if left out.", show_default=False)
    ] = None,
    cron: Annotated[str, typer.Option("--cron", metavar="FIELDS", help="When: minute hour day month weekday.")] = (
        "0 2 * * *"
    ),
    timezone: Annotated[str, typer.Option("--timezone", metavar="NAME", help="Of these times.")] = "UTC",
    keep_last: KeepLast = 0,
    keep_daily: KeepDaily = 0,
    keep_weekly: KeepWeekly = 0,
    exclude_keys: ExcludeKeys = False,
    is_off: Annotated[bool, typer.Option("--off", help="End the schedule.")] = False,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Have the lake's server take backups by itself, show when it does, or end that."""
    with lakes.opened("backup schedule", lake, json_lines, quiet) as (opened, output):
        from hosu.cli.faults import UsageFault
        from hosu.rules.backup.schedule import Schedule, get_schedule

        if is_off and location is not None:
            raise UsageFault("--off ends the schedule, and a location sets one: give one of them")
        if is_off:
            opened.schedule_backups(None)
        elif location is not None:
            keep = retention_of(keep_last, keep_daily, keep_weekly)
            opened.schedule_backups(Schedule(place(location), cron, timezone, keep, exclude_keys))
        _say_schedule(output, get_schedule(opened.store.view()), opened.backup_times())


def _say_schedule(output: "Output", found: "Schedule | None", times: dict[str, int]) -> None:
    import msgspec

    if found is None:
        output.row({"operation": "backup schedule", "schedule": None}, "the lake has no schedule of backups")
        return
    shown = {name: lakes.shown_time(times.get(name, 0)) for name in ("backup_due_ms", "backup_success_ms")}
    keep = msgspec.to_builtins(found.keep)
    fields = {"operation": "backup schedule", "schedule": msgspec.to_builtins(found)}
    lines = [
        ("location", found.location),
        ("cron", f"{found.cron} ({found.timezone})"),
        ("keep", ", ".join(f"{count} {name}" for name, count in keep.items()) or "all"),
        ("next run", shown["backup_due_ms"]),
        ("last success", shown["backup_success_ms"]),
    ]
    lakes.say_record(output, {**fields, "next": shown["backup_due_ms"], "last": shown["backup_success_ms"]}, lines)


def place(text: str) -> str:
    """Return a location as rules want it: a folder by its absolute path."""
    return text if text.startswith("s3://") else str(Path(text).absolute())


def open_backup(location: str) -> "Repository":
    """Open the backup in a location."""
    from hosu.kernel.clock import SystemClock
    from hosu.rules.backup.repository import Repository
    from hosu.rules.locations import open_location

    clock = SystemClock()
    return Repository.open(open_location(place(location), store_path=None, clock=clock), clock)


def retention_of(last: int, daily: int, weekly: int) -> "Retention":
    """Return what the --keep options say."""
    from hosu.rules.backup.pruning import Retention

    return Retention(last, daily, weekly)


def moment_of(text: str | None) -> int | None:
    """Return the milliseconds of a time that the command line names."""
    now_ms = round(datetime.now(UTC).timestamp() * 1000)
    return None if text is None else lakes.parse_moment(text, "--to-time", now_ms, is_past=True)
