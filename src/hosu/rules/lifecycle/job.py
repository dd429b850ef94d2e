"""The keeper's job that carries out the lifecycle of every bucket."""

import threading

from hosu.kernel.errors import ErrorKind, UnavailableError
from hosu.rules.keeping import Keep
from hosu.rules.lifecycle.acting import LifecyclePass

PASSES_PER_DAY = 24
PERIOD_S_MIN = 1.0
BUSY_S = 5.0
"""How soon it tries again while a pass that somebody started by hand is under way."""


class LifecycleJob:
    """One pass an hour, an hour being a part of the day that rules go by."""

    name = "lifecycle"

    def __init__(self, keep: Keep) -> None:
        self._pass = LifecyclePass(keep.store, keep.settings, keep.count)
        self._period_s = max(keep.settings.day_seconds / PASSES_PER_DAY, PERIOD_S_MIN)

    def run(self, stop: threading.Event) -> float:
        """Carry out a pass; return after how many seconds the next one is due."""
        try:
            report = self._pass.run(stop, gives_way=True)
        except UnavailableError as error:
            if error.kind != ErrorKind.LAKE_LOCKED:
                raise
            return BUSY_S
        return 0.0 if report.is_cut else self._period_s
