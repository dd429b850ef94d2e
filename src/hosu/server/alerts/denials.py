"""Who is denied again and again: counted by source and access key, in windows of five minutes."""

from collections.abc import Callable
from functools import partial

import msgspec

from hosu.objects.alerts import Severity, raise_alert
from hosu.objects.transaction import Tx

KIND = "access-errors"
WINDOW_MS = 5 * 60 * 1000
SOURCES_MAX = 4_096
"""Sources counted at once; who goes beyond is counted together with all others like it."""

ALERTED_MAX = 20
"""Sources with an alert of their own in a window; a thousand addresses of one attacker make one more."""

OTHERS = "many sources"


class _Window(msgspec.Struct):
    begun_ms: int
    count: int = 0
    last: str = ""
    is_told: bool = False


class Denials:
    """Counts on the event loop; a thread takes what is to be alerted. Each process counts what it answers itself."""

    def __init__(self, least: int) -> None:
        self._least = least
        self._windows: dict[str, _Window] = {}
        self._due: dict[str, str] = {}
        self._begun_ms = 0
        self._alerted = 0

    def count(self, source_ip: str, access_key: str, what: str, now_ms: int) -> None:
        """Count a denied request; `what` says what was asked for."""
        if not self._least:
            return
        if not 0 <= now_ms - self._begun_ms < WINDOW_MS:
            self._begun_ms, self._alerted = now_ms, 0
            self._windows = {}
        name = f"{access_key or 'anonymous'} from {source_ip}"
        if name not in self._windows and len(self._windows) >= SOURCES_MAX:
            name = OTHERS
        window = self._windows.get(name)
        if window is None:
            window = self._windows[name] = _Window(now_ms)
        window.count += 1
        window.last = what
        if window.count < self._least or window.is_told:
            return
        window.is_told = True
        self._alerted += 1
        subject = name if self._alerted <= ALERTED_MAX else OTHERS
        minutes = WINDOW_MS // 60_000
        self._due[subject] = f"{name} was denied {window.count} requests within {minutes} minutes, the latest {what}"

    def take(self) -> list[Callable[[Tx], None]]:
        """Return the verbs that raise what is due, once."""
        verbs: list[Callable[[Tx], None]] = []
        while self._due:  # which the event loop may add to meanwhile
            subject, message = self._due.popitem()
            verbs.append(partial(raise_alert, kind=KIND, subject=subject, severity=Severity.WARNING, message=message))
        return verbs
