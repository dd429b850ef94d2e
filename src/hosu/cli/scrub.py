"""`hosu scrub`: read what a lake stores, compare it with its hash, and restore what is corrupt."""

import re
import threading
from typing import TYPE_CHECKING, Annotated

import typer

from hosu.cli import lakes, options
from hosu.cli.faults import UsageFault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hosu.cli.output import Output
    from hosu.lake import Lake
    from hosu.objects.blobs import BlobRow
    from hosu.rules.scrub import Finding, Scrubber

_RATE = re.compile(r"(\d{1,9})(?:\.(\d))?\s*([kKMG]?)(i?)B(?:/s)?")
_POWERS = {"": 0, "k": 1, "K": 1, "M": 2, "G": 3}


def register(typer_app: typer.Typer) -> None:
    """Add the verb."""
    typer_app.command("scrub")(scrub)


def parse_rate(text: str) -> int:
    """Return the bytes per second of a rate such as 200MB/s or 64MiB/s."""
    match = _RATE.fullmatch(text.strip())
    if match is None:
        raise UsageFault(f"--rate {text!r} is not a rate: write 200MB/s or 64MiB/s")
    unit: int = (1024 if match[4] else 1000) ** _POWERS[match[3]]
    rate = int(match[1]) * unit + int(match[2] or 0) * unit // 10
    if not rate:
        raise UsageFault(f"--rate {text!r} would never end: leave it out for no limit")
    return rate


def scrub(
    lake: lakes.Folder,
    rate: Annotated[
        str | None, typer.Option("--rate", metavar="RATE", help="Read at most so much, such as 200MB/s.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="SPAN", help="Pass over files read within a span, such as 7d.")
    ] = None,
    prefix: Annotated[str, typer.Option("--prefix", metavar="BUCKET[/PREFIX]", help="Only what is stored below.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and tell; restore and record nothing.")] = False,
    accept_location: Annotated[
        str,
        typer.Option(
            "--accept-location",
            metavar="LOCATION",
            help="Take a location of second copies for this lake's, after its disk was replaced; scrub nothing.",
        ),
    ] = "",
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Read everything stored, second copies too, and restore what is corrupt; exit status 1 if anything is lost."""
    with lakes.opened("scrub", lake, json_lines, quiet) as (opened, output):
        if accept_location:
            _accept(opened, output, accept_location)
            return
        from hosu.rules.scrub import Pace, Scrubber

        store, stop = opened.store, threading.Event()
        now_ms = store.clock.now_ms()
        since_ms = None if since is None else now_ms - lakes.parse_span(since, "--since")
        pace = Pace(store.clock, 0 if rate is None else parse_rate(rate), stop.wait)
        scrubber = Scrubber(store, pace, on_finding=_teller(output), is_dry=dry_run)
        scrubber.scrub(_rows(opened, prefix), since_ms=since_ms)
        problems = [] if prefix else _scrub_copies(scrubber, now_ms if since_ms is None else since_ms)
        for problem in problems:
            output.complaint(f"second copies cannot be read: {problem}")
        _say_end(output, scrubber, dry_run, problems)


def _rows(opened: "Lake", prefix: str) -> "Iterator[BlobRow]":
    from hosu.rules.scrub import all_blobs, blobs_below

    view = opened.store.view()
    if not prefix:
        return all_blobs(view)
    bucket, _, below = prefix.partition("/")
    view.bucket(bucket)  # one that is missing is an error
    return blobs_below(view, bucket, [below])


def _scrub_copies(scrubber: "Scrubber", before_ms: int) -> list[str]:
    from hosu.kernel.errors import HosuError

    try:
        scrubber.scrub_copies(before_ms)
    except HosuError as error:
        return [error.message]
    return []


def _teller(output: "Output") -> "Callable[[Finding], None]":
    from hosu.rules.healing import names_of

    def tell(finding: "Finding") -> None:
        owners = [f"{owner.bucket}/{owner.key}" for owner in finding.owners]
        fields = {
            "operation": "scrub",
            "blob": finding.blob_id,
            "size_bytes": finding.size_bytes,
            "problem": finding.problem,
            "outcome": finding.outcome,
            "source": finding.source,
            "objects": owners,
            "versions": [owner.version_id for owner in finding.owners],
        }
        source = f" from {finding.source}" if finding.source else ""
        text = f"{finding.problem}: {finding.outcome}{source}; needed by {names_of(list(finding.owners))}"
        output.row(fields, text)

    return tell


def _say_end(output: "Output", scrubber: "Scrubber", is_dry: bool, problems: list[str]) -> None:
    import msgspec

    from hosu.cli.output import human_bytes

    report = scrubber.report
    fields = {"operation": "scrub", "dry_run": is_dry, **msgspec.structs.asdict(report)}
    verb = "would be " if is_dry else ""
    text = (
        f"read {report.blobs} blobs ({human_bytes(report.bytes)}) and {report.copies} second copies "
        f"({human_bytes(report.copy_bytes)}); {report.restored} {verb}restored, {report.lost} {verb}lost, "
        f"{report.copies_lost} copies were not right"
    )
    output.event(fields, text)
    if report.lost or problems or (is_dry and (report.restored or report.copies_lost)):
        raise typer.Exit(1)


def _accept(opened: "Lake", output: "Output", location: str) -> None:
    from hosu.objects.protected import list_protected
    from hosu.rules.copy_places import accept_location

    if location not in {entry.copy for entry in list_protected(opened.store.view())}:
        raise UsageFault(f"no protected prefix has its copies in {location!r}: see `hosu rule list`")
    accept_location(opened.store, location)
    fields = {"operation": "scrub", "location": location}
    output.event(fields, f"copies are kept in {location} from now on; a server copies what is missing there")
