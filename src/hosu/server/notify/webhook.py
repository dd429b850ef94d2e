"""Events to webhooks: one POST each, as MinIO sends them.

Each lane keeps a connection of its own with the standard library's client: with a pool that lanes share half as many
events a second arrive.
"""

import http.client
import ssl
import threading
from base64 import b64encode
from collections.abc import Sequence
from urllib.parse import unquote, urlsplit

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
_FAILURES = (http.client.HTTPException, OSError, ValueError)


class WebhookSender:
    """Implements `hosu.rules.events.sending.Sender`."""

    lanes = LANES
    batch = 1

    def __init__(self, target: WebhookTarget) -> None:
        self._target = target
        url = urlsplit(target.endpoint)
        self._is_secure = url.scheme == "https"
        self._host, self._port = url.hostname or "", url.port
        self._path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        self._headers = {"Content-Type": "application/json", "User-Agent": f"hosu/{__version__}"}
        if target.auth_token:
            token = target.auth_token
            self._headers["Authorization"] = token if " " in token else f"Bearer {token}"
        elif url.username is not None:
            pair = f"{unquote(url.username)}:{unquote(url.password or '')}"
            self._headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        self._local = threading.local()
        self._lock = threading.Lock()
        self._connections: list[http.client.HTTPConnection] = []
        self._tls: ssl.SSLContext | None = None

    def send(self, messages: Sequence[Message]) -> None:
        """Post events, one after the other. Raises DeliveryError unless the answer is a 2xx."""
        for message in messages:
            try:
                status = self._post(message.body())
            except _FAILURES as error:
                raise DeliveryError(f"{_cause(error)}") from error
            if status not in _OK:
                raise DeliveryError(f"it answered {status}", is_final=status in FINAL_STATUSES)

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            for connection in self._connections:
                connection.close()

    def _post(self, body: bytes) -> int:
        """Post a body and return the status of the answer; a connection that the endpoint has left is made anew."""
        connection = self._connection()
        is_used = connection.sock is not None
        try:
            return self._try(connection, body)
        except ConnectionError:
            if not is_used:
                raise
        return self._try(connection, body)

    def _try(self, connection: http.client.HTTPConnection, body: bytes) -> int:
        try:
            connection.request("POST", self._path, body, self._headers)
            answer = connection.getresponse()
            is_whole = len(answer.read(ANSWER_BYTES_MAX + 1)) <= ANSWER_BYTES_MAX
        except BaseException:
            connection.close()
            raise
        if not is_whole:
            connection.close()
        return answer.status

    def _connection(self) -> http.client.HTTPConnection:
        """Return this thread's connection; it connects when it is used, and again after it was closed."""
        found: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if found is not None:
            return found
        timeout_s = self._target.timeout_s
        if self._is_secure:
            made: http.client.HTTPConnection = http.client.HTTPSConnection(
                self._host, self._port, timeout=timeout_s, context=self._tls_context()
            )
        else:
            made = http.client.HTTPConnection(self._host, self._port, timeout=timeout_s)
        self._local.connection = made
        with self._lock:
            self._connections.append(made)
        return made

    def _tls_context(self) -> ssl.SSLContext:
        """Return what TLS goes by. Its files are read when the first event is sent: only then a target can fail."""
        target = self._target
        with self._lock:
            if self._tls is None:
                context = ssl.create_default_context(cafile=target.ca_file or None)
                if target.client_cert:
                    context.load_cert_chain(target.client_cert, target.client_key or None)
                self._tls = context
            return self._tls


def _cause(error: BaseException) -> str:
    """Say what went wrong without the URL, which may hold a secret."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
