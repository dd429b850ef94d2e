"""`hosu import`: everything of another store, into a lake."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hosu.cli import lakes, options
from hosu.cli.faults import UsageFault

if TYPE_CHECKING:
    from hosu.cli.output import Output
    from hosu.cli.profiles import Profile
    from hosu.lake import Lake
    from hosu.lake.importing.planning import Options
    from hosu.lake.importing.report import BucketReport, Item, Report
    from hosu.lake.importing.source import Source, SourceBucket

app = typer.Typer(help="Move another store's objects, users and rules into a lake.", no_args_is_help=True)

CONNECTIONS_PER_JOB = 2
EXIT_INCOMPLETE = 1


def register(typer_app: typer.Typer) -> None:
    """Add the verbs."""
    typer_app.add_typer(app, name="import")


@app.command("minio")
def minio(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="A data folder of MinIO's, its URL, or hosu://PROFILE.", show_default=False
        ),
    ],
    lake: Annotated[
        Path, typer.Argument(metavar="LAKE", help="The lake's folder; made if missing.", show_default=False)
    ],
    bucket: Annotated[
        list[str] | None, typer.Option("--bucket", metavar="NAME", help="This bucket alone; may be given again.")
    ] = None,
    prefix: Annotated[str, typer.Option("--prefix", metavar="PREFIX", help="Keys below this prefix alone.")] = "",
    is_dry: Annotated[bool, typer.Option("--dry-run", help="Say what would be moved, and what not.")] = False,
    into_existing: Annotated[
        bool, typer.Option("--into-existing", help="Move into buckets that hold other objects, replacing none.")
    ] = False,
    replace_older: Annotated[
        bool,
        typer.Option("--replace-older", help="Objects without versions give way to newer ones of the source."),
    ] = False,
    with_accounts: Annotated[
        bool, typer.Option("--accounts/--no-accounts", help="Move users, groups, policies and keys too.")
    ] = True,
    source_root: Annotated[
        str, typer.Option("--source-root", metavar="NAME", help="Root of the source: its keys become this root's.")
    ] = "",
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs", "-j", min=1, max=options.JOBS_MAX, help="Threads; twice as many as processors by default."
        ),
    ] = None,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Move a MinIO's buckets, versions, users and rules into a lake; the source is only read.

    Every body is compared with its ETag before it counts. Run again, it goes on where it ended, and moves what is new.
    The exit status is 1 when something was not moved: each such thing is named, with the reason.
    """
    with options.explained("import minio", json_lines=json_lines):
        from hosu.cli.output import Output
        from hosu.lake.importing.planning import JOBS_DEFAULT, Options, chosen_buckets

        chosen = Options(
            buckets=tuple(bucket or ()),
            prefix=prefix,
            dry_run=is_dry,
            into_existing=into_existing,
            replace_older=replace_older,
            with_accounts=with_accounts,
            source_root=source_root,
            jobs=jobs or JOBS_DEFAULT,
        )
        output = Output(json_lines=json_lines, quiet=quiet)
        with _opened_source(source, lake, chosen.jobs) as opened:
            buckets = chosen_buckets(opened, chosen)  # what is wrong shows before a lake is made
            with _opened_lake(lake, is_dry=is_dry) as target:
                report = _run(output, opened, target, chosen, buckets)
        _say(output, report)
        if not report.is_clean:
            raise typer.Exit(EXIT_INCOMPLETE)


@contextlib.contextmanager
def _opened_source(text: str, lake: Path, jobs: int) -> Iterator["Source"]:
    """Open a folder or a server; which it is shows in how it is written."""
    if "://" not in text:
        from hosu.lake.importing.minio_folder import Drive

        folder = Path(text)
        _refuse_overlap(folder.resolve(), lake.resolve())
        yield Drive(folder)
        return
    from hosu.cli.importing.minio_remote import RemoteMinio

    with RemoteMinio(_profile(text), connections=CONNECTIONS_PER_JOB * jobs + 1) as remote:
        yield remote


def _refuse_overlap(source: Path, lake: Path) -> None:
    """Refuse a lake in the source's folder, and the reverse: nothing is ever written there."""
    if source == lake or source in lake.parents or lake in source.parents:
        raise UsageFault(f"the lake {lake} and the source {source} overlap: put the lake elsewhere")


def _profile(text: str) -> "Profile":
    """Return how a server is reached: by a profile, or as root of MinIO's variables."""
    from hosu.cli.profiles import Profile, Profiles, check_profile

    if text.startswith("hosu://"):
        name = text.removeprefix("hosu://").strip("/")
        if not name or "/" in name:
            raise UsageFault(f"{text!r} is no server: write hosu://PROFILE, and name buckets with --bucket")
        return Profiles.of_user().get(name)
    user, password = os.environ.get("MINIO_ROOT_USER", ""), os.environ.get("MINIO_ROOT_PASSWORD", "")
    if not (user and password):
        raise UsageFault(
            f"{text}: whose credentials? Set MINIO_ROOT_USER and MINIO_ROOT_PASSWORD, or write hosu://PROFILE after "
            "`hosu profile set PROFILE`"
        )
    profile = Profile(text, user, password)
    check_profile("source", profile)
    return profile


@contextlib.contextmanager
def _opened_lake(folder: Path, *, is_dry: bool) -> Iterator["Lake | None"]:
    """Open the lake, or make it; None for a dry run where there is none."""
    from hosu.lake import open_lake
    from hosu.objects.store import FORMAT_NAME

    if is_dry and not (folder / FORMAT_NAME).exists():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageFault(f"{folder} is not a lake and not empty: name a lake, or a new folder")
        yield None
        return
    with open_lake(folder, actor=lakes.who()) as opened:
        yield opened


def _run(
    output: "Output", source: "Source", lake: "Lake | None", chosen: "Options", buckets: "list[SourceBucket]"
) -> "Report":
    from hosu.lake.importing.moving import Move

    def watch(item: "Item") -> None:
        verb = "would move" if item.state == "moved" else "would not move"
        place = f"{item.bucket}/{item.name}" + (f" ({item.version_id})" if item.version_id != "null" else "")
        output.event(_fields(item, dry_run=True), f"{verb}  {place}" + (f": {item.reason}" if item.reason else ""))

    with contextlib.ExitStack() as held:
        apply = None
        if lake is not None:
            from hosu.cli.importing.documents import Documents

            apply = held.enter_context(Documents(lake)).put
        with output.bars("imported") as screen:
            bar = None if screen is None else screen.bar("", None)
            move = Move(lake, source, chosen, apply, watch if chosen.dry_run else None, buckets=buckets)
            if bar is not None:
                move.on_bytes = bar.advance
            return move.run()


def _say(output: "Output", report: "Report") -> None:
    """Say what became of everything: settings and accounts one by one, objects by their number, losses by name."""
    for item in report.accounts:
        _say_item(output, item, report)
    for bucket in report.buckets:
        _say_bucket(output, bucket, report)
    for note in report.notes:
        output.note(f"note: {note}")
    refused = report.refused
    total = {
        "operation": "import minio",
        "kind": "total",
        "source": report.source,
        "dry_run": report.dry_run,
        "moved": sum(bucket.moved for bucket in report.buckets),
        "moved_bytes": sum(bucket.moved_bytes for bucket in report.buckets),
        "moved_markers": sum(bucket.moved_markers for bucket in report.buckets),
        "present": sum(bucket.present for bucket in report.buckets),
        "refused": len(refused),
        "notes": report.notes,
    }
    ending = f"{len(refused)} were not moved, as named above" if refused else "nothing is missing"
    done = "would be moved" if report.dry_run else "moved"
    output.row(total, f"{total['moved']} versions and {total['moved_markers']} delete markers {done}; {ending}")


def _say_bucket(output: "Output", bucket: "BucketReport", report: "Report") -> None:
    from hosu.cli.output import human_bytes

    for item in bucket.items:
        _say_item(output, item, report)
    fields = {
        "operation": "import minio",
        "kind": "bucket",
        "bucket": bucket.name,
        "moved": bucket.moved,
        "moved_bytes": bucket.moved_bytes,
        "moved_markers": bucket.moved_markers,
        "present": bucket.present,
        "refused": len(bucket.refused),
        "dry_run": report.dry_run,
    }
    told = f"bucket {bucket.name}: {bucket.moved} versions ({human_bytes(bucket.moved_bytes)})"
    told += f", {bucket.moved_markers} delete markers" if bucket.moved_markers else ""
    told += f", {bucket.present} were there" if bucket.present else ""
    told += f", {len(bucket.refused)} NOT moved" if bucket.refused else ""
    output.row(fields, told)


def _say_item(output: "Output", item: "Item", report: "Report") -> None:
    if report.dry_run and item.kind == "object":
        return  # told as it was found
    place = f"{item.bucket}/{item.name}" if item.kind == "object" else item.name
    if item.kind == "object" and item.version_id not in {"", "null"}:
        place += f" ({item.version_id})"
    told = f"{item.kind} {place}" + (f": {item.reason}" if item.reason else "")
    if item.state == "refused":
        output.row(_fields(item, dry_run=report.dry_run), f"NOT moved  {told}")
    else:
        output.event(_fields(item, dry_run=report.dry_run), f"{item.state:<9}  {told}")


def _fields(item: "Item", *, dry_run: bool) -> dict[str, object]:
    return {
        "operation": "import minio",
        "kind": item.kind,
        "bucket": item.bucket,
        "name": item.name,
        "version_id": item.version_id,
        "size_bytes": item.size_bytes,
        "state": str(item.state),
        "reason": item.reason,
        "dry_run": dry_run,
    }
