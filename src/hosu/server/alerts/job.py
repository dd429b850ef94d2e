"""The keeper's job that tells people of alerts."""

import threading

from hosu.kernel.log import get_logger
from hosu.objects.transaction import Tx
from hosu.rules.alerting import Event, Notice, note_told, read_due
from hosu.rules.keeping import Keep
from hosu.server.alerts.sending import SendError, Target, make_targets, send_with_retries
from hosu.server.alerts.wording import Batch, lake_name

PERIOD_S = 15.0
"""What comes within this time is told together."""

RETRY_MS_MIN, RETRY_MS_MAX = 60_000, 15 * 60_000
"""How long a target that could not be reached is left alone; doubled each time."""

_LOG = get_logger("alerts")


class AlertJob:
    """Implements `hosu.rules.keeping.Job`."""

    name = "alerts"

    def __init__(self, keep: Keep, targets: list[Target] | None = None) -> None:
        self._keep = keep
        self._targets = make_targets(keep.settings) if targets is None else targets
        self._retry: dict[str, tuple[int, int]] = {}
        """By target: when it is tried again, and how long it is left alone the next time."""

    def run(self, stop: threading.Event) -> float:
        """Tell each target what it is to be told; return when to look again."""
        for target in self._targets:
            while not stop.is_set() and self._tell(target, stop):
                pass
        return PERIOD_S

    def _tell(self, target: Target, stop: threading.Event) -> bool:
        """Tell a target one batch; say whether there is more that it would take now."""
        keep = self._keep
        view = keep.store.view()
        now_ms = view.now_ms
        retry_ms, pause_ms = self._retry.get(target.name, (0, RETRY_MS_MIN))
        if now_ms < retry_ms:
            return False
        notices, more = read_due(view, keep.settings, target.name)
        if not notices:
            return False
        batch = Batch(lake_name(keep.store.path), tuple(notices), more, now_ms)
        try:
            send_with_retries(target, batch, stop.wait)
        except SendError as error:
            keep.count(f"alerts_failed/{target.kind}", 1)
            _LOG.error("an alert could not be sent", target=target.name, alerts=len(notices), error=str(error))
            if not error.is_final:
                self._retry[target.name] = now_ms + pause_ms, min(2 * pause_ms, RETRY_MS_MAX)
                return False
        else:
            keep.count(f"alerts_sent/{target.kind}", len(notices))
        self._retry.pop(target.name, None)
        self._note(target, notices)
        return more > 0

    def _note(self, target: Target, notices: list[Notice]) -> None:
        def note(tx: Tx) -> None:
            note_told(tx, target.name, notices)

        self._keep.store.commit(note)
        for notice in notices:
            if notice.event is not Event.STANDING:
                alert = notice.alert
                _LOG.info("alert", target=target.name, what=notice.event.value, kind=alert.kind, subject=alert.subject)
