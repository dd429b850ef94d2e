"""The keeper's job that watches how full the lake is, makes room at the mark, and says so when none can be made."""

import threading
from functools import partial

from hosu.kernel.settings import Settings
from hosu.objects.alerts import Severity, raise_alert, resolve_alert
from hosu.objects.listing import prefix_end
from hosu.objects.retention import LOCKED
from hosu.objects.transaction import Tx
from hosu.objects.views import View
from hosu.rules.capacity import ALERT_KIND, ALERT_SUBJECT, CapacityRule, Gauge, get_capacity, kept_prefixes, measure
from hosu.rules.days import days_ms
from hosu.rules.keeping import Keep
from hosu.rules.making_room import RULE, Doomed, make_room
from hosu.rules.sparing import outermost, spared_prefixes

LOOK_PERIOD_S = 1.0
"""How soon it is noticed that the mark is reached: the sums of all buckets are added up."""

STUCK_PERIOD_S = 60.0
"""How long nothing is tried after everything that may go has gone: to find that out is a walk over all records."""

TELL_PERIOD_MS = 60_000
"""How soon an alert that stands is noticed again."""

CALM_DAYS = 1
"""An alert stands until no room had to be made for this long."""

NAMED_MAX = 5
"""Places that an alert names as those that hold the space."""


class CapacityJob:
    """Keeps what is used below the mark."""

    name = RULE

    def __init__(self, keep: Keep) -> None:
        self._keep = keep

    def run(self, stop: threading.Event) -> float:
        """Make room if the mark is reached."""
        keep = self._keep
        view = keep.store.view()
        rule = get_capacity(view)
        if rule is None or not rule.high_water:
            return STUCK_PERIOD_S
        gauge = measure(keep.store, view, rule)
        standing = _standing(view)
        if not gauge.is_high:
            self._calm_down(standing, gauge)
            return LOOK_PERIOD_S
        is_told = standing is not None and view.now_ms - standing[1] < TELL_PERIOD_MS
        if not is_told and (standing is None or standing[0] != Severity.CRITICAL):
            keep.store.commit(partial(_warn, gauge=gauge))
        freed = make_room(keep.store, keep.settings, stop=stop, done=self._count)
        if freed.is_enough or freed.deletions or freed.aborts or stop.is_set():
            return LOOK_PERIOD_S
        self._say_stuck(rule)
        return STUCK_PERIOD_S

    def _calm_down(self, standing: tuple[str, int] | None, gauge: Gauge) -> None:
        """Let the alert go when no room had to be made for a day: a lake that is always full tells once."""
        store, settings = self._keep.store, self._keep.settings
        if standing is None:
            return
        if standing[0] == Severity.CRITICAL:
            store.commit(partial(_warn, gauge=gauge))
        elif store.clock.now_ms() - standing[1] >= days_ms(settings, CALM_DAYS):
            store.commit(partial(resolve_alert, kind=ALERT_KIND, subject=ALERT_SUBJECT))

    def _count(self, doomed: Doomed) -> None:
        if doomed.upload_id:
            self._keep.count(f"rule_actions/{RULE}/AbortUpload", 1)
            self._keep.count(f"rule_bytes/{RULE}/AbortUpload", doomed.freed_bytes)
        else:
            self._keep.count(f"rule_actions/{RULE}/Delete", len(doomed.records))
            self._keep.count(f"rule_bytes/{RULE}/Delete", doomed.freed_bytes)

    def _say_stuck(self, rule: CapacityRule) -> None:
        keep = self._keep
        gauge = measure(keep.store, keep.store.view(), rule)
        found = holders(keep.store.view(), rule, gauge, keep.settings)
        told = ", ".join(f"{what} ({size_bytes} bytes)" for what, size_bytes in found)
        message = (
            f"{gauge.used_bytes} of {gauge.limit_bytes} bytes of {gauge.what} are used, room is made from "
            f"{gauge.high_bytes}, and nothing more may go: {told or 'nothing is stored'}. Delete something, raise the "
            "quota or the mark, or protect and keep less"
        )
        keep.store.commit(
            partial(
                raise_alert, kind=ALERT_KIND, subject=ALERT_SUBJECT, severity=Severity.CRITICAL, message=message
            )
        )  # fmt: skip


def _standing(view: View) -> tuple[str, int] | None:
    """Return severity and latest time of the alert that stands, or None."""
    row: tuple[str, int] | None = view.row(
        "SELECT severity, last_ms FROM alert WHERE kind = ? AND subject = ? AND resolved_ms = 0",
        (ALERT_KIND, ALERT_SUBJECT),
    )
    return row


def _warn(tx: Tx, gauge: Gauge) -> None:
    raise_alert(
        tx,
        ALERT_KIND,
        ALERT_SUBJECT,
        Severity.WARNING,
        f"{gauge.used_bytes} of {gauge.limit_bytes} bytes of {gauge.what} are used: from {gauge.high_bytes} on the "
        f"oldest goes until less than {gauge.low_bytes} are",
    )


def holders(view: View, rule: CapacityRule, gauge: Gauge, settings: Settings) -> list[tuple[str, int]]:
    """Return what holds the space that no rule may free, by size: walks over all records."""
    found: list[tuple[str, int]] = []
    everything_bytes = 0
    for name, bucket_id, held_bytes, part_bytes in view.rows(
        "SELECT name, id, object_bytes + version_bytes, part_bytes FROM bucket ORDER BY name"
    ):
        everything_bytes += held_bytes + part_bytes
        if part_bytes:
            found.append((f"uploads in progress in {name}", part_bytes))
        if rule.buckets and name not in rule.buckets:
            found.append((f"bucket {name}, which the rule leaves alone", held_bytes))
            continue
        spared = spared_prefixes(view, view.bucket(name), settings)
        spared |= dict.fromkeys(kept_prefixes(rule, name), "the rule keeps it")
        rest_bytes = held_bytes
        for prefix in outermost(spared):
            below_bytes = _bytes_below(view, bucket_id, prefix)
            rest_bytes -= below_bytes
            found.append((f"{name}/{prefix}: {spared[prefix]}", below_bytes))
        locked_bytes = min(rest_bytes, _locked_bytes(view, bucket_id))
        found += [
            (f"locked versions in {name}", locked_bytes),
            (f"what else bucket {name} holds", rest_bytes - locked_bytes),
        ]
    if gauge.is_disk:
        found.append(("what is not the lake's own on its disk", max(gauge.used_bytes - everything_bytes, 0)))
    found.sort(key=lambda each: -each[1])
    return [each for each in found if each[1] > 0][:NAMED_MAX]


def _bytes_below(view: View, bucket_id: int, prefix: str) -> int:
    end = prefix_end(prefix)
    below = "key >= ?" if end is None else "key >= ? AND key < ?"
    values = (bucket_id, prefix) if end is None else (bucket_id, prefix, end)
    return sum(
        int(view.value(f"SELECT ifnull(sum(size_bytes), 0) FROM {table} WHERE bucket_id = ? AND {below}", values))
        for table in ("object", "version")
    )


def _locked_bytes(view: View, bucket_id: int) -> int:
    return sum(
        int(
            view.value(
                f"SELECT ifnull(sum(size_bytes), 0) FROM {table} WHERE bucket_id = ? AND instr(attributes, ?) > 0",
                (bucket_id, LOCKED),
            )
        )
        for table in ("object", "version")
    )
