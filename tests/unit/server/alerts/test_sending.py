"""Alerts reach people: by webhook, by mail over STARTTLS with a password, and by what is left when one is down."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from tests.unit.server.alerts.conftest import PASSWORD, USER, Hook, MailServer

from hosu.kernel.settings import Settings
from hosu.objects.alerts import Severity, list_alerts, raise_alert, resolve_alert
from hosu.objects.store import ObjectStore
from hosu.rules.keeping import Keep
from hosu.server.alerts.job import RETRY_MS_MIN, AlertJob
from hosu.server.alerts.sending import SendError, make_targets, send_with_retries
from hosu.server.alerts.wording import Batch, headline, trial_batch
from hosu.testing.manual_clock import ManualClock

MakeServer = Callable[..., MailServer]


def mailing(server: MailServer, **settings: Any) -> Settings:
    known = {"smtp_security": "none", "alert_email_from": "lake@example.com", "alert_email_to": "ops@example.com"}
    return Settings(smtp_host="127.0.0.1", smtp_port=server.port, **(known | settings))


def alarm(store: ObjectStore, subject: str, message: str = "its bytes changed") -> None:
    store.commit(
        partial(raise_alert, kind="corrupt-object", subject=subject, severity=Severity.CRITICAL, message=message)
    )


class Work:
    """A job of the keeper, its numbers, and no patience."""

    def __init__(self, store: ObjectStore, settings: Settings) -> None:
        self.counts: dict[str, int] = {}
        self.job = AlertJob(Keep(store, settings, self._count))
        self._stop = threading.Event()
        self._stop.wait = lambda _timeout=None: False  # type: ignore[method-assign,assignment]

    def _count(self, name: str, number: int) -> None:
        self.counts[name] = self.counts.get(name, 0) + number

    def __call__(self) -> dict[str, int]:
        self.job.run(self._stop)
        return self.counts


def test_a_mail_goes_out_over_starttls_with_a_password(store: ObjectStore, mail_server: MakeServer) -> None:
    server = mail_server(auth=True)
    settings = mailing(
        server, smtp_security="starttls", smtp_user=USER, smtp_password=PASSWORD, smtp_ca_file=str(server.certificate)
    )
    alarm(store, "models/best.pt")
    assert Work(store, settings)() == {"alerts_sent/email": 1}
    (mail,) = server.mails
    assert server.logins == [USER]
    assert (mail["To"], mail["From"]) == ("ops@example.com", "lake@example.com")
    assert mail["Subject"] == "[hosu] CRITICAL: corrupt-object models/best.pt"
    assert mail["Auto-Submitted"] == "auto-generated"
    text = mail.get_content()
    assert "its bytes changed" in text
    assert str(store.path) in text


def test_tls_from_the_first_byte_and_several_recipients(store: ObjectStore, mail_server: MakeServer) -> None:
    server = mail_server(tls=True)
    settings = mailing(
        server, smtp_security="tls", smtp_ca_file=str(server.certificate), alert_email_to="a@example.com, b@example.com"
    )
    alarm(store, "a")
    assert Work(store, settings)() == {"alerts_sent/email": 1}
    assert server.mails[0]["To"] == "a@example.com, b@example.com"


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"smtp_password": "wrong-password"}, "refuses smtp_user"),
        ({"smtp_ca_file": ""}, "certificate is not trusted"),
        ({"smtp_security": "none", "smtp_user": "", "smtp_password": ""}, "answered 530"),
    ],
)
def test_what_a_mail_server_refuses_is_said_without_the_password(
    store: ObjectStore, mail_server: MakeServer, settings: dict[str, Any], reason: str
) -> None:
    server = mail_server(auth=True)
    known = {
        "smtp_security": "starttls", "smtp_user": USER, "smtp_password": PASSWORD,
        "smtp_ca_file": str(server.certificate),
    }  # fmt: skip
    (target,) = make_targets(mailing(server, **(known | settings)))
    with pytest.raises(SendError, match=reason) as refusal:
        target.send(trial_batch(store.path, 1))
    assert PASSWORD not in str(refusal.value)
    assert "wrong-password" not in str(refusal.value)
    assert server.mails == []


def test_a_server_without_starttls_gets_neither_mail_nor_password(store: ObjectStore, mail_server: MakeServer) -> None:
    server = mail_server()
    (target,) = make_targets(mailing(server, smtp_security="starttls"))
    with pytest.raises(SendError, match="smtp_security"):
        target.send(trial_batch(store.path, 1))
    assert server.mails == []


def test_one_recipient_that_is_unknown_does_not_keep_the_others_from_hearing(
    store: ObjectStore, mail_server: MakeServer, capfd: pytest.CaptureFixture[str]
) -> None:
    server = mail_server()
    server.refuses = {"gone@example.com"}
    alarm(store, "a")
    work = Work(store, mailing(server, alert_email_to="gone@example.com,ops@example.com"))
    assert work() == {"alerts_failed/email": 1}
    assert len(server.mails) == 1
    work()
    assert len(server.mails) == 1
    assert "gone@example.com" in capfd.readouterr().err


def test_a_webhook_gets_everything_at_once_with_its_token(store: ObjectStore, hook: Hook) -> None:
    for subject in ("a", "b\nc"):
        alarm(store, subject)
    work = Work(store, Settings(alert_webhook=hook.url, alert_webhook_token="token-secret"))
    assert work() == {"alerts_sent/webhook": 2}
    (post,) = hook.posts
    assert hook.headers[0]["Authorization"] == "Bearer token-secret"
    assert [(it["event"], it["kind"], it["subject"], it["severity"]) for it in post["alerts"]] == [
        ("raised", "corrupt-object", "a", "critical"),
        ("raised", "corrupt-object", "b\nc", "critical"),
    ]
    assert post["text"].startswith("hosu: alerts: 2 new\n")
    store.commit(partial(resolve_alert, kind="corrupt-object", subject="a"))
    work()
    assert [(it["event"], it["subject"]) for it in hook.posts[1]["alerts"]] == [("resolved", "a")]


def test_a_target_that_fails_for_now_is_tried_again_at_once_and_then_later(
    store: ObjectStore, clock: ManualClock, hook: Hook, capfd: pytest.CaptureFixture[str]
) -> None:
    alarm(store, "a")
    work = Work(store, Settings(alert_webhook=hook.url))
    hook.statuses = [503, 500]
    assert work() == {"alerts_sent/webhook": 1}  # the third attempt
    alarm(store, "b")
    hook.statuses = [503] * 4
    assert work()["alerts_failed/webhook"] == 1
    assert len(hook.posts) == 6
    work()
    assert len(hook.posts) == 6, "left alone for a while"
    clock.advance(RETRY_MS_MIN)
    assert work()["alerts_sent/webhook"] == 2
    assert hook.posts[-1]["alerts"][0]["subject"] == "b"
    assert "SECRET-PATH" not in capfd.readouterr().err


def test_a_target_that_is_down_does_not_keep_the_other_from_hearing(
    store: ObjectStore, hook: Hook, mail_server: MakeServer
) -> None:
    server = mail_server()
    alarm(store, "a")
    settings = mailing(server, alert_webhook=f"http://127.0.0.1:1/x,{hook.url}")
    counts = Work(store, settings)()
    assert counts == {"alerts_failed/webhook": 1, "alerts_sent/webhook": 1, "alerts_sent/email": 1}
    assert len(server.mails) == len(hook.posts) == 1
    assert list_alerts(store.view())[0].sent_ms > 0


def test_many_alerts_come_as_a_digest(store: ObjectStore, mail_server: MakeServer) -> None:
    server = mail_server()
    for number in range(250):
        alarm(store, f"object {number}")
    assert Work(store, mailing(server))() == {"alerts_sent/email": 250}
    assert len(server.mails) == 3
    assert server.mails[0]["Subject"] == "[hosu] alerts: 100 new, 150 more"
    assert "And 150 more: `hosu alerts list`" in server.mails[0].get_content()


def test_a_name_with_line_breaks_makes_no_header(store: ObjectStore, mail_server: MakeServer) -> None:
    server = mail_server()
    alarm(store, "a\r\nBcc: victim@example.com", "one\nRAISED critical fake: line")
    Work(store, mailing(server))()
    (mail,) = server.mails
    assert mail["Bcc"] is None
    assert mail["Subject"] == "[hosu] CRITICAL: corrupt-object a  Bcc: victim@example.com"
    assert "\nRAISED critical fake" not in mail.get_content()


def test_a_stopping_keeper_does_not_wait_for_a_target(store: ObjectStore) -> None:
    stop = threading.Event()
    stop.set()
    alarm(store, "a")
    counts: list[str] = []
    AlertJob(Keep(store, Settings(alert_webhook="http://127.0.0.1:1/"), lambda name, _: counts.append(name))).run(stop)
    assert counts == []


def test_a_headline_is_one_line_of_bounded_length(store: ObjectStore) -> None:
    batch = trial_batch(store.path, 1)
    assert headline(batch) == "INFO: test hosu alerts test"
    assert len(headline(Batch("l", batch.notices * 3, 7))) < 160


def test_attempts_end(hook: Hook, store: ObjectStore) -> None:
    hook.statuses = [500] * 9
    pauses: list[float] = []
    (target,) = make_targets(Settings(alert_webhook=hook.url))
    with pytest.raises(SendError, match="500"):
        send_with_retries(target, trial_batch(store.path, 1), pauses.append)
    assert len(hook.posts) == 3
    assert len(pauses) == 2
