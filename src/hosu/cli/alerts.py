"""`hosu alerts`: what is wrong with a lake on this machine, and whether those who should hear of it can be reached."""

import os
from typing import TYPE_CHECKING, Annotated

import typer

from hosu.cli import lakes, options

if TYPE_CHECKING:
    from hosu.objects.alerts import Alert

app = typer.Typer(help="Alerts: what is wrong, and who is told.", no_args_is_help=True)


def register(typer_app: typer.Typer) -> None:
    """Add the verbs."""
    typer_app.add_typer(app, name="alerts")


@app.command("list")
def list_all(
    lake: lakes.Folder,
    everything: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Show the alerts that stand, the latest first."""
    with lakes.opened("alerts list", lake, json_lines, quiet) as (opened, output):
        from hosu.objects.alerts import list_alerts

        for alert in list_alerts(opened.store.view(), resolved=everything, limit=-1):
            output.row_lines(_fields(alert), _text(alert))


def _fields(alert: "Alert") -> dict[str, object]:
    import msgspec

    return {"operation": "alerts list", **msgspec.to_builtins(alert)}


def _text(alert: "Alert") -> str:
    from hosu.cli.output import printable
    from hosu.server.alerts.wording import iso

    times = f" ({alert.count:,} times)" if alert.count > 1 else ""
    over = f", over since {iso(alert.resolved_ms)}" if alert.resolved_ms else ""
    return (
        f"{alert.severity:<8}  {alert.kind}  {printable(alert.subject)}  "
        f"since {iso(alert.first_ms)}{times}{over}\n"
        f"          {printable(alert.message)}"
    )


@app.command("resolve")
def resolve(
    lake: lakes.Folder,
    kind: Annotated[str, typer.Argument(metavar="KIND", help="Of the alert.", show_default=False)],
    subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="What it is about.", show_default=False)],
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Take an alert as over; what is still wrong is noticed again."""
    with lakes.opened("alerts resolve", lake, json_lines, quiet) as (opened, output):
        from functools import partial

        from hosu.cli.output import printable
        from hosu.kernel.errors import ErrorKind, NotFoundError
        from hosu.objects.alerts import resolve_alert

        if not opened.store.commit(partial(resolve_alert, kind=kind, subject=subject)):
            raise NotFoundError(
                ErrorKind.INVALID_ARGUMENT,
                f"no alert {kind!r} about {subject!r} stands: `hosu alerts list` shows those that do",
            )
        fields = {"operation": "alerts resolve", "kind": kind, "subject": subject}
        output.event(fields, f"resolved {kind} {printable(subject)}")


@app.command("test")
def send_trial(
    lake: lakes.Folder,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Send a test to everybody who is told of alerts, with the settings that a server of this lake would have."""
    with lakes.opened("alerts test", lake, json_lines, quiet) as (opened, output):
        from hosu.cli.faults import UsageFault
        from hosu.kernel.clock import SystemClock
        from hosu.kernel.settings import load_settings
        from hosu.server.alerts.sending import SendError, make_targets
        from hosu.server.alerts.wording import trial_batch

        targets = make_targets(load_settings(opened.path, os.environ, {}))
        if not targets:
            raise UsageFault("nobody is told of alerts: set alert_webhook, or alert_email_to and smtp_host")
        failed = 0
        for target in targets:
            fields = {"operation": "alerts test", "target": target.name}
            try:
                target.send(trial_batch(opened.path, SystemClock().now_ms()))
            except SendError as error:
                failed += 1
                output.row(fields | {"sent": False, "reason": str(error)}, f"{target.name}: failed: {error}")
            else:
                output.row(fields | {"sent": True}, f"{target.name}: sent")
        if failed:
            raise typer.Exit(1)
