"""Alerts in words: a webhook's JSON, and a mail."""

import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from hosu._version import __version__
from hosu.kernel.settings import Settings
from hosu.objects.alerts import Alert, Severity
from hosu.rules.alerting import Event, Notice

if TYPE_CHECKING:
    from email.message import EmailMessage

SUBJECT_CHARACTERS_MAX = 160


class Batch(msgspec.Struct, frozen=True):
    """What is told at once; `more` is how many alerts did not fit."""

    lake: str
    notices: tuple[Notice, ...]
    more: int = 0
    now_ms: int = 0


def lake_name(path: Path) -> str:
    """Return what a lake is called in messages: its folder, and the host it is on."""
    return f"{path} on {socket.gethostname()}"


def iso(milliseconds: int) -> str:
    """Render a time as UTC, to the second."""
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def headline(batch: Batch) -> str:
    """Return all of it in one line."""
    if len(batch.notices) == 1 and not batch.more:
        notice = batch.notices[0]
        alert = notice.alert
        state = {Event.RAISED: alert.severity.upper(), Event.STANDING: f"still {alert.severity.upper()}"}
        text = f"{state.get(notice.event, 'resolved')}: {alert.kind} {alert.subject}"
    else:
        words = []
        for event, word in ((Event.RAISED, "new"), (Event.STANDING, "standing"), (Event.RESOLVED, "resolved")):
            count = sum(notice.event is event for notice in batch.notices)
            if count:
                words.append(f"{count} {word}")
        if batch.more:
            words.append(f"{batch.more} more")
        text = f"alerts: {', '.join(words)}"
    return _one_line(text)[:SUBJECT_CHARACTERS_MAX]


def _one_line(text: str) -> str:
    return "".join(it if it.isprintable() else " " for it in text)


def lines_of(notice: Notice) -> list[str]:
    """Return a paragraph about one alert."""
    alert = notice.alert
    times = "" if alert.count == 1 else f", noticed {alert.count:,} times, at last {iso(alert.last_ms)}"
    over = f", over since {iso(alert.resolved_ms)}" if alert.resolved_ms else ""
    return [
        f"{notice.event.upper()} {alert.severity} {alert.kind}: {_one_line(alert.subject)}",
        f"  {_one_line(alert.message)}",
        f"  since {iso(alert.first_ms)}{times}{over}",
    ]


def text_of(batch: Batch) -> str:
    """Return all of it as plain text."""
    lines = [f"Lake: {batch.lake}", ""]
    for notice in batch.notices:
        lines += [*lines_of(notice), ""]
    if batch.more:
        lines += [f"And {batch.more:,} more: `hosu alerts list` shows them all.", ""]
    return "\n".join(lines)


def payload(batch: Batch) -> bytes:
    """Return the JSON that webhooks get; `text` is what chat services show."""
    return msgspec.json.encode(
        {
            "text": f"hosu: {headline(batch)}\n{text_of(batch)}",
            "lake": batch.lake,
            "time": iso(batch.now_ms),
            "more": batch.more,
            "alerts": [
                {
                    "event": notice.event,
                    "kind": notice.alert.kind,
                    "subject": notice.alert.subject,
                    "severity": notice.alert.severity,
                    "message": notice.alert.message,
                    "count": notice.alert.count,
                    "first": iso(notice.alert.first_ms),
                    "last": iso(notice.alert.last_ms),
                    "resolved": iso(notice.alert.resolved_ms) if notice.alert.resolved_ms else None,
                }
                for notice in batch.notices
            ],
        }
    )


def mail(batch: Batch, settings: Settings) -> "EmailMessage":
    """Return the mail."""
    from email.message import EmailMessage  # noqa: PLC0415 - slow to import, and most processes send no mail
    from email.utils import format_datetime, make_msgid  # noqa: PLC0415 - as above

    sender = settings.alert_email_from or f"hosu@{socket.gethostname()}"
    message = EmailMessage()
    message["Subject"] = f"[hosu] {headline(batch)}"
    message["From"] = sender
    message["To"] = ", ".join(settings.alert_addresses)
    message["Date"] = format_datetime(datetime.fromtimestamp(batch.now_ms / 1000, UTC))
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"
    message["X-Mailer"] = f"hosu {__version__}"
    message.set_content(text_of(batch))
    return message


def trial_batch(lake: Path, now_ms: int) -> Batch:
    """Return what `hosu alerts test` sends."""
    alert = Alert(
        "test", "hosu alerts test", Severity.INFO, "a test: nothing is wrong, and alerts of this lake arrive here", 1,
        now_ms, now_ms, 0, 0,
    )  # fmt: skip
    return Batch(lake_name(lake), (Notice(Event.RAISED, alert),), 0, now_ms)
