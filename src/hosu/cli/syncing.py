"""`hosu sync`: one folder or prefix made like another, once or for as long as it runs."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from hosu.cli import options

if TYPE_CHECKING:
    from hosu.cli.addresses import Address
    from hosu.cli.session import Session
    from hosu.cli.sync import SyncOptions
    from hosu.cli.transfer import Summary

Globs = Annotated[list[str] | None, typer.Option("--exclude", metavar="GLOB", help="Leave alone, on both sides.")]


def sync(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A folder or a prefix.")],
    target: Annotated[str, typer.Argument(metavar="TARGET", help="A folder or a prefix.")],
    delete: Annotated[bool, typer.Option("--delete", help="Delete from the target what the source lacks.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen.")] = False,
    checksum: Annotated[bool, typer.Option("--checksum", help="Compare content, not times.")] = False,
    exclude: Globs = None,
    include: Annotated[
        list[str] | None,
        typer.Option("--include", metavar="GLOB", help="Take part in spite of --exclude; alone: only these."),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on until stopped, following changes.")] = False,
    settle: Annotated[
        float, typer.Option("--settle", min=0.0, metavar="SECONDS", help="How long a watched file must be still.")
    ] = 1.0,
    interval: Annotated[
        float | None,
        typer.Option("--interval", min=0.1, metavar="SECONDS", help="Between whole comparisons (30; 600 for folders)."),
    ] = None,
    storage_class: Annotated[str | None, typer.Option("--storage-class", help="Storage class to store in.")] = None,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
    endpoint_url: options.Endpoint = None,
    profile: options.AwsProfile = None,
    jobs: options.Jobs = options.JOBS_DEFAULT,
) -> None:
    """Make a folder or prefix like another."""
    with options.running(
        "sync", json_lines=json_lines, quiet=quiet, endpoint_url=endpoint_url, profile=profile, jobs=jobs
    ) as session:
        from hosu.cli.addresses import parse_address
        from hosu.cli.faults import UsageFault
        from hosu.cli.sync import SyncOptions, refuse_pointless, run_sync
        from hosu.cli.transfer import report
        from hosu.cli.upload import PutOptions

        if watch and dry_run:
            raise UsageFault("--watch and --dry-run exclude each other: a dry run ends")
        origin, goal = parse_address(source), parse_address(target)
        refuse_pointless(session, origin, goal)
        wishes = SyncOptions(
            delete=delete,
            dry_run=dry_run,
            checksum=checksum,
            exclude=tuple(exclude or ()),
            include=tuple(include or ()),
            put=PutOptions(storage_class=storage_class),
        )
        if watch:
            summary = _watch(session, origin, goal, wishes, settle, interval)
        else:
            summary = run_sync(session, origin, goal, wishes)
        raise typer.Exit(report(session, "sync", summary))


def _watch(
    session: "Session",
    source: "Address",
    target: "Address",
    wishes: "SyncOptions",
    settle_s: float,
    interval_s: float | None,
) -> "Summary":
    from hosu.cli import watch
    from hosu.cli.addresses import LocalAddress, ObjectAddress
    from hosu.kernel.clock import SystemClock

    with stopped_by_signals(session) as stop:
        if not isinstance(source, LocalAddress):
            return watch.watch_prefix(session, source, target, wishes, interval_s=interval_s or watch.POLL_S, stop=stop)
        assert isinstance(target, ObjectAddress)
        with watch.folder_feed(source.path) as feed:
            follower = watch.FolderWatch(
                session,
                source,
                target,
                wishes,
                clock=SystemClock(),
                feed=feed,
                settle_s=settle_s,
                rescan_s=interval_s or watch.RESCAN_S,
            )
            session.output.note(f"watching {source}; Ctrl-C finishes what is under way and stops")
            return follower.run(stop)


@contextlib.contextmanager
def stopped_by_signals(session: "Session") -> Iterator[threading.Event]:
    """Let the first Ctrl-C or SIGTERM set the event, which ends a watch in order; a second one gives up at once."""
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            session.cancel.set()
        stop.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
