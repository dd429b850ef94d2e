"""`hosu cp` and `hosu mv`: moving bytes between this machine and endpoints, and between endpoints."""

import contextlib
import sys
from typing import Annotated

import typer

from hosu.cli import options

Sources = Annotated[list[str], typer.Argument(metavar="SOURCE...", help="Files, objects, or - for standard input.")]
Target = Annotated[
    str, typer.Argument(metavar="TARGET", help="A file, an object, a folder ending in /, or - to print.")
]
ContentType = Annotated[str | None, typer.Option("--content-type", help="Media type to store, instead of a guess.")]
Metadata = Annotated[list[str] | None, typer.Option("--metadata", metavar="NAME=VALUE", help="User metadata to store.")]
StorageClass = Annotated[str | None, typer.Option("--storage-class", help="Storage class to store in.")]
NoResume = Annotated[bool, typer.Option("--no-resume", help="Start over, and leave nothing behind to continue from.")]


def copy(
    sources: Sources,
    target: Target,
    recursive: options.Recursive = False,
    content_type: ContentType = None,
    metadata: Metadata = None,
    storage_class: StorageClass = None,
    no_resume: NoResume = False,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
    endpoint_url: options.Endpoint = None,
    profile: options.AwsProfile = None,
    jobs: options.Jobs = options.JOBS_DEFAULT,
) -> None:
    """Copy files and objects."""
    _transfer(
        "cp", sources, target, recursive, content_type, metadata, storage_class, no_resume, json_lines, quiet,
        endpoint_url, profile, jobs,
    )  # fmt: skip


def move(
    sources: Sources,
    target: Target,
    recursive: options.Recursive = False,
    content_type: ContentType = None,
    metadata: Metadata = None,
    storage_class: StorageClass = None,
    no_resume: NoResume = False,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
    endpoint_url: options.Endpoint = None,
    profile: options.AwsProfile = None,
    jobs: options.Jobs = options.JOBS_DEFAULT,
) -> None:
    """Move files and objects: copy, then remove each source that arrived."""
    _transfer(
        "mv", sources, target, recursive, content_type, metadata, storage_class, no_resume, json_lines, quiet,
        endpoint_url, profile, jobs,
    )  # fmt: skip


def _transfer(
    operation: str,
    sources: list[str],
    target: str,
    recursive: bool,
    content_type: str | None,
    metadata: list[str] | None,
    storage_class: str | None,
    no_resume: bool,
    json_lines: bool,
    quiet: bool,
    endpoint_url: str | None,
    profile: str | None,
    jobs: int,
) -> None:
    with options.running(
        operation,
        json_lines=json_lines,
        quiet=quiet,
        endpoint_url=endpoint_url,
        profile=profile,
        jobs=jobs,
        resume=not no_resume,
    ) as session:
        from hosu.cli.addresses import ObjectAddress, StreamAddress, parse_address
        from hosu.cli.faults import UsageFault
        from hosu.cli.listing import read_object
        from hosu.cli.transfer import plan, removing_source, report, run_transfers
        from hosu.cli.upload import PutOptions

        put = PutOptions(content_type, _metadata(metadata or []), storage_class)
        origins, goal = [parse_address(text) for text in sources], parse_address(target)
        if isinstance(goal, StreamAddress):
            if operation == "mv" or recursive or json_lines or len(origins) > 1:
                raise UsageFault("standard output takes one object: write `hosu cp SOURCE -`, or `hosu cat`")
            if not isinstance(origins[0], ObjectAddress) or not origins[0].key:
                raise UsageFault(f"{origins[0]} is not an object: write hosu://PROFILE/BUCKET/KEY")
            with contextlib.closing(read_object(session, origins[0])) as pieces:  # type: ignore[type-var]
                for piece in pieces:
                    sys.stdout.buffer.write(piece)
            sys.stdout.flush()
            return
        if operation == "mv" and any(isinstance(origin, StreamAddress) for origin in origins):
            raise UsageFault("standard input cannot be moved: use `hosu cp - TARGET`")
        planned = plan(session, origins, goal, recursive=recursive)
        after = removing_source(session, origins) if operation == "mv" else None
        raise typer.Exit(report(session, operation, run_transfers(session, operation, planned, put, after)))


def _metadata(pairs: list[str]) -> dict[str, str]:
    from hosu.cli.faults import UsageFault

    metadata = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise UsageFault(f"--metadata {pair!r} is not NAME=VALUE")
        metadata[name] = value
    return metadata
