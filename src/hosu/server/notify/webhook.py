"""Events to webhooks: one POST each, as MinIO sends them."""

from collections.abc import Sequence

import urllib3
from urllib3.exceptions import HTTPError

from hosu._version import __version__
from hosu.kernel.notify import WebhookTarget
from hosu.rules.events.records import Message
from hosu.rules.events.sending import DeliveryError

LANES = 16
"""Requests under way at once."""

ANSWER_BYTES_MAX = 64 * 1024
"""Read of an answer, so that its connection can be used again."""

FINAL_STATUSES = frozenset({400, 413, 414, 415, 422})
"""Answers about the event rather than about the endpoint."""

_OK = range(200, 300)


class WebhookSender:
    """Implements `hosu.rules.events.sending.Sender`."""

    lanes = LANES
    batch = 1

    def __init__(self, target: WebhookTarget) -> None:
        self._url = target.endpoint
        self._headers = {"Content-Type": "application/json", "User-Agent": f"hosu/{__version__}"}
        if target.auth_token:
            token = target.auth_token
            self._headers["Authorization"] = token if " " in token else f"Bearer {token}"
        self._pool = urllib3.PoolManager(
            maxsize=LANES,
            retries=False,
            timeout=urllib3.Timeout(total=target.timeout_s),
            cert_file=target.client_cert or None,
            key_file=target.client_key or None,
            ca_certs=target.ca_file or None,
        )

    def send(self, messages: Sequence[Message]) -> None:
        """Post events, one after the other. Raises DeliveryError unless the answer is a 2xx."""
        for message in messages:
            try:
                answer = self._pool.request(
                    "POST", self._url, body=message.body(), headers=self._headers, preload_content=False
                )
                _finish(answer)
            except (HTTPError, OSError, ValueError) as error:
                raise DeliveryError(f"{_cause(error)}") from error
            if answer.status not in _OK:
                raise DeliveryError(f"it answered {answer.status}", is_final=answer.status in FINAL_STATUSES)

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()


def _finish(answer: urllib3.BaseHTTPResponse) -> None:
    """Read an answer to its end, so that its connection can be used again; close it where that would take long."""
    try:
        is_whole = len(answer.read(ANSWER_BYTES_MAX + 1)) <= ANSWER_BYTES_MAX
    except BaseException:
        answer.close()
        raise
    if is_whole:
        answer.release_conn()
    else:
        answer.close()


def _cause(error: BaseException) -> str:
    """Say what went wrong without the URL, which may hold a secret."""
    names = {"NewConnectionError": "no connection", "ConnectTimeoutError": "no connection in time",
             "ReadTimeoutError": "no answer in time", "NameResolutionError": "its host has no address"}  # fmt: skip
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return names.get(type(error).__name__, type(error).__name__)
