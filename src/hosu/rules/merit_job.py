"""The keeper's job that judges models by merit."""

import threading

from hosu.kernel.errors import NotFoundError
from hosu.kernel.log import get_logger
from hosu.objects.records import ObjectRecord
from hosu.rules.keeping import Keep
from hosu.rules.merit import list_merit
from hosu.rules.ranking import RULE, expire

PASSES_PER_DAY = 24
AGAIN_S = 5.0
"""Before folders are ranked again that somebody changed meanwhile."""

_LOG = get_logger("merit")


class MeritJob:
    """Removes what its rules do not keep."""

    name = RULE

    def __init__(self, keep: Keep) -> None:
        self._keep = keep

    def run(self, stop: threading.Event) -> float:
        """Judge the folders of every rule."""
        keep = self._keep
        period_s = max(keep.settings.day_seconds / PASSES_PER_DAY, 1.0)
        for rule in list_merit(keep.store.view()):
            try:
                is_done = expire(keep.store, rule, keep.settings, stop=stop, done=self._count)
            except NotFoundError:
                _LOG.warning("the bucket of a rule is gone", rule=rule.id, bucket=rule.bucket)
                continue
            if not is_done:
                period_s = min(period_s, AGAIN_S)
        return period_s

    def _count(self, record: ObjectRecord) -> None:
        self._keep.count(f"rule_actions/{RULE}/Expire", 1)
        self._keep.count(f"rule_bytes/{RULE}/Expire", record.size_bytes)
