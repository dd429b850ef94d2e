"""`hosu audit`: who did what, from the audit log of a lake on this machine."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from hosu.cli import lakes, options

if TYPE_CHECKING:
    from hosu.objects.audit import AuditLine

app = typer.Typer(help="The audit log: who changed what, who was denied.", no_args_is_help=True)


class Switch(StrEnum):
    """Whether a bucket's reads are written down."""

    ON = "on"
    OFF = "off"


def register(typer_app: typer.Typer) -> None:
    """Add the verbs."""
    typer_app.add_typer(app, name="audit")


@app.command("query")
def query(
    lake: lakes.Folder,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="From here on: a time, or a span such as 24h.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="Up to here, exclusive.")] = None,
    principal: Annotated[str, typer.Option("--principal", metavar="NAME", help="A user or an access key.")] = "",
    bucket: Annotated[str, typer.Option("--bucket", metavar="NAME", help="A bucket.")] = "",
    prefix: Annotated[str, typer.Option("--prefix", metavar="TEXT", help="Keys that begin so.")] = "",
    operation: Annotated[
        str, typer.Option("--operation", metavar="NAME", help="Such as s3:PutObject, or s3:Put*.")
    ] = "",
    denied: Annotated[bool, typer.Option("--denied", help="Only what was denied.")] = False,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Show what the audit log says, the oldest first; with --json, its own lines."""
    with options.explained("audit query", json_lines=json_lines):
        from hosu.cli.output import Output
        from hosu.kernel.clock import SystemClock
        from hosu.objects.audit_query import query as read

        now_ms = SystemClock().now_ms()
        output = Output(json_lines=json_lines, quiet=quiet)
        for line in read(
            lake,
            since=_moment(since, "--since", now_ms),
            until=_moment(until, "--until", now_ms),
            principal=principal,
            bucket=bucket,
            prefix=prefix,
            operation=operation,
            denied_only=denied,
        ):
            output.row(_fields(line) if json_lines else {}, "" if json_lines else _text(line))


def _moment(text: str | None, option: str, now_ms: int) -> datetime | None:
    if text is None:
        return None
    return datetime.fromtimestamp(lakes.parse_moment(text, option, now_ms, is_past=True) / 1000, UTC)


def _fields(line: "AuditLine") -> dict[str, object]:
    import msgspec

    # The log has an operation and a status of its own, which is what its readers look for.
    return {"operation": "audit query", "line": msgspec.to_builtins(line)}


def _text(line: "AuditLine") -> str:
    where = "/".join(part for part in (line.bucket, line.key) if part)
    verdict = "" if line.decision == "allowed" else f"{line.decision.upper()} "
    parts = (line.time, line.principal, f"{verdict}{line.operation}", where, line.source_ip, line.reason)
    return "  ".join(part for part in parts if part)


@app.command("reads")
def reads(
    lake: lakes.Folder,
    bucket: Annotated[str, typer.Argument(metavar="BUCKET", help="Name of the bucket.", show_default=False)],
    switch: Annotated[
        Switch | None, typer.Argument(metavar="on|off", help="Show the switch if left out.", show_default=False)
    ] = None,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write down who reads from a bucket, or stop doing so."""
    with lakes.opened("audit reads", lake, json_lines, quiet) as (opened, output):
        from functools import partial

        from hosu.objects.audit_switch import has_reads, set_reads

        opened.bucket(bucket)
        if switch is not None:
            verb = partial(set_reads, bucket=bucket, is_on=switch is Switch.ON, actor=opened.actor)
            opened.store.commit(verb)
        state = Switch.ON if has_reads(opened.store.view(), bucket) else Switch.OFF
        fields = {"operation": "audit reads", "bucket": bucket, "reads": str(state)}
        text = f"reads of {bucket} are {'' if state is Switch.ON else 'not '}written to the audit log"
        output.row(fields, text) if switch is None else output.event(fields, text)
