"""`hosu alias`: prefixes that read as other prefixes, in a lake on this machine, beside its server or without one."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from hosu.cli import lakes, options

if TYPE_CHECKING:
    from hosu.cli.output import Output
    from hosu.lake import AliasHandle, Bucket

T = TypeVar("T")

app = typer.Typer(help="Prefixes that read as other prefixes of their bucket.", no_args_is_help=True)

BucketName = Annotated[str, typer.Argument(metavar="BUCKET", help="Name of the bucket.", show_default=False)]
Prefix = Annotated[
    str, typer.Argument(metavar="PREFIX", help="Such as models/production/current/.", show_default=False)
]


def register(typer_app: typer.Typer) -> None:
    """Add the verbs."""
    typer_app.add_typer(app, name="alias")


@app.command("set")
def set_(
    lake: lakes.Folder,
    bucket: BucketName,
    prefix: Prefix,
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="Such as models/training/v1.0.0/.", show_default=False)
    ],
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Make PREFIX read as TARGET, or switch it there: every reader sees all of the old target or all of the new."""
    with _opened("set", lake, bucket, json_lines, quiet) as (opened, output):
        _say_switch(output, "set", opened.alias(prefix), lambda handle: handle.set(target).target)


@app.command("revert")
def revert(
    lake: lakes.Folder,
    bucket: BucketName,
    prefix: Prefix,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Switch PREFIX back to where it pointed before its last switch."""
    with _opened("revert", lake, bucket, json_lines, quiet) as (opened, output):
        _say_switch(output, "revert", opened.alias(prefix), lambda handle: handle.revert().target)


@app.command("rm")
def remove(
    lake: lakes.Folder,
    bucket: BucketName,
    prefix: Prefix,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Remove an alias; the objects below its target stay."""
    with _opened("rm", lake, bucket, json_lines, quiet) as (opened, output):
        opened.alias(prefix).remove()
        output.event({"operation": "alias rm", "prefix": prefix}, f"removed {prefix}")


@app.command("show")
def show(
    lake: lakes.Folder,
    bucket: BucketName,
    prefix: Annotated[
        str | None, typer.Argument(metavar="PREFIX", help="One alias; else all.", show_default=False)
    ] = None,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Show where the aliases of a bucket point."""
    with _opened("show", lake, bucket, json_lines, quiet) as (opened, output):
        found = [alias for alias in opened.aliases() if prefix in {None, alias.prefix}]
        if prefix is not None and not found:
            raise _no_alias(bucket, prefix)
        for alias in found:
            fields = {"operation": "alias show", "prefix": alias.prefix, "target": alias.target}
            output.row(fields, f"{alias.prefix} -> {alias.target}")


@app.command("history")
def history(
    lake: lakes.Folder,
    bucket: BucketName,
    prefix: Prefix,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Show so many switches.")] = 100,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Show who switched an alias when, from what, to what; the latest first."""
    with _opened("history", lake, bucket, json_lines, quiet) as (opened, output):
        from datetime import UTC, datetime

        switches = opened.alias(prefix).history(limit=limit)
        if not switches:
            raise _no_alias(bucket, prefix)
        for switch in switches:
            moment = datetime.fromtimestamp(switch.at_ms / 1000, UTC).isoformat(timespec="milliseconds")
            fields = {
                "operation": "alias history",
                "prefix": prefix,
                "source": switch.source,
                "target": switch.target,
                "at": moment,
                "actor": switch.actor,
            }
            output.row(fields, f"{moment}  {switch.actor}  {switch.source or '(none)'} -> {switch.target or '(none)'}")


@contextlib.contextmanager
def _opened(verb: str, folder: Path, bucket: str, json_lines: bool, quiet: bool) -> Iterator[tuple["Bucket", "Output"]]:
    with options.explained(f"alias {verb}", json_lines=json_lines):
        from hosu.cli.output import Output
        from hosu.lake import open_lake

        with open_lake(folder, create=False, actor=lakes.who()) as lake:
            yield lake.bucket(bucket), Output(json_lines=json_lines, quiet=quiet)


def _say_switch(output: "Output", verb: str, alias: "AliasHandle", switch: Callable[["AliasHandle"], str]) -> None:
    target = switch(alias)
    source = alias.history(limit=1)[0].source
    fields = {"operation": f"alias {verb}", "prefix": alias.prefix, "source": source, "target": target}
    output.event(fields, f"{alias.prefix} -> {target}" + (f" (was {source})" if source else ""))


def _no_alias(bucket: str, prefix: str) -> Exception:
    from hosu.kernel.errors import ErrorKind, NotFoundError

    return NotFoundError(ErrorKind.ALIAS_NOT_FOUND, f"bucket {bucket!r} has no alias {prefix!r}")
