"""Whom alerts are sent to: webhooks and a mail server. What goes wrong is said without a URL or a password."""

import smtplib
import ssl
from collections.abc import Callable
from typing import Protocol

import urllib3
from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential
from urllib3.exceptions import HTTPError

from hosu._version import __version__
from hosu.kernel.settings import Settings
from hosu.rules.alerting import EMAIL, target_names
from hosu.server.alerts.wording import Batch, mail, payload

TIMEOUT_S = 20.0
ATTEMPTS = 3
PAUSE_S_MAX = 8.0
ANSWER_BYTES_MAX = 64 * 1024
DEFAULT_PORTS = {"starttls": 587, "tls": 465, "none": 25}
_OK = range(200, 300)
_FINAL = frozenset({400, 413, 414, 415, 422})
"""Answers about the message rather than about the endpoint."""


class SendError(Exception):
    """A target did not take a message; `is_final` when it will not take this one either next time."""

    def __init__(self, reason: str, *, is_final: bool = False) -> None:
        super().__init__(reason)
        self.is_final = is_final


class Target(Protocol):
    """Somebody to tell."""

    name: str
    kind: str
    """`webhook` or `email`: what metrics and logs say."""

    def send(self, batch: Batch) -> None:
        """Tell everything at once. Raises SendError."""
        ...


class Webhook:
    """An HTTP endpoint that takes a POST."""

    kind = "webhook"

    def __init__(self, name: str, url: str, token: str) -> None:
        self.name = name
        self._url = url
        self._headers = {"Content-Type": "application/json", "User-Agent": f"hosu/{__version__}"}
        if token:
            self._headers["Authorization"] = token if " " in token else f"Bearer {token}"

    def send(self, batch: Batch) -> None:
        """Post the batch; a 2xx is success."""
        with urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(total=TIMEOUT_S)) as pool:
            try:
                answer = pool.request(
                    "POST", self._url, body=payload(batch), headers=self._headers, redirect=False, preload_content=False
                )
                answer.read(ANSWER_BYTES_MAX)
                answer.release_conn()
            except (HTTPError, OSError, ValueError) as error:
                raise SendError(_cause(error)) from error
        if answer.status not in _OK:
            raise SendError(f"it answered {answer.status}", is_final=answer.status in _FINAL)


class Mail:
    """A mail server."""

    kind = EMAIL
    name = EMAIL

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def send(self, batch: Batch) -> None:
        """Hand the mail over; recipients that the server does not know are a failure only when it knows none."""
        settings = self._settings
        message = mail(batch, settings)
        try:
            with self._connect() as client:
                if settings.smtp_security == "starttls":
                    client.starttls(context=self._context())
                if settings.smtp_user:
                    client.login(settings.smtp_user, settings.smtp_password)
                refused = client.send_message(message)
        except smtplib.SMTPAuthenticationError as error:
            raise SendError("the mail server refuses smtp_user and its password") from error
        except smtplib.SMTPNotSupportedError as error:
            raise SendError(f"the mail server cannot do what smtp_security or smtp_user asks: {error}") from error
        except smtplib.SMTPRecipientsRefused as error:
            raise SendError(f"the mail server refuses every recipient: {', '.join(error.recipients)}") from error
        except smtplib.SMTPResponseException as error:
            raise SendError(f"the mail server answered {error.smtp_code}") from error
        except (smtplib.SMTPException, OSError) as error:
            raise SendError(_cause(error)) from error
        if refused:
            raise SendError(f"the mail server refuses {', '.join(refused)}; others got the mail", is_final=True)

    def _connect(self) -> smtplib.SMTP:
        settings = self._settings
        port = settings.smtp_port or DEFAULT_PORTS[settings.smtp_security]
        if settings.smtp_security == "tls":
            return smtplib.SMTP_SSL(settings.smtp_host, port, timeout=TIMEOUT_S, context=self._context())
        return smtplib.SMTP(settings.smtp_host, port, timeout=TIMEOUT_S)

    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self._settings.smtp_ca_file or None)


def make_targets(settings: Settings) -> list[Target]:
    """Return everybody who is to be told."""
    names = target_names(settings)
    targets: list[Target] = [
        Webhook(name, url, settings.alert_webhook_token)
        for name, url in zip(names, settings.alert_webhooks, strict=False)
    ]
    return [*targets, Mail(settings)] if settings.alert_addresses else targets


def send_with_retries(target: Target, batch: Batch, sleep: Callable[[float], object]) -> None:
    """Send, and again a moment later when that fails for now. Raises SendError with the last reason."""

    def pause(seconds: float) -> None:
        sleep(seconds)

    retrying = Retrying(
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_exponential(multiplier=1, max=PAUSE_S_MAX),
        retry=retry_if_exception_type(_TransientError),
        sleep=pause,
    )

    def attempt() -> None:
        try:
            target.send(batch)
        except SendError as error:
            if error.is_final:
                raise
            raise _TransientError(str(error)) from error

    try:
        retrying(attempt)
    except RetryError as error:
        raise SendError(str(error.last_attempt.exception())) from error


class _TransientError(Exception):
    """Worth another attempt."""


def _cause(error: BaseException) -> str:
    """Say what went wrong without a URL, which may hold a secret."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {cause.verify_message}"
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__
