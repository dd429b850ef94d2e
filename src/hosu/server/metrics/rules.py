"""Numbers of what runs by itself: rules, events, backups, alerts. Jobs of the keeper count them as `family/label/…`."""

from typing import NamedTuple

from hosu.server.metrics.families import COUNTER, GAUGE, Spec, Values
from hosu.server.metrics.state import State

GROUP = "hosu"


class Family(NamedTuple):
    """How the numbers of one family are shown: as which metric, and under which labels."""

    spec: Spec

    @property
    def labels(self) -> int:
        """How many parts a name has after its family."""
        return len(self.spec.labels)


def _family(name: str, text: str, *labels: str) -> Family:
    return Family(Spec(f"hosu_{name}_total", COUNTER, GROUP, text, labels))


FAMILIES: dict[str, Family] = {
    "alerts_failed": _family("alerts_failed", "Attempts to send alerts that failed", "target"),
    "alerts_sent": _family("alerts_sent", "Alerts sent", "target"),
    "backup_bytes": _family("backup_bytes", "Bytes of backups", "what"),
    "backup_pruned": _family("backup_pruned", "What was removed from backups as they aged", "what"),
    "backup_runs": _family("backup_runs", "Backups by how they ended", "outcome"),
    "events_dead": _family("events_dead", "Events that could not be delivered", "target"),
    "events_failed": _family("events_failed", "Attempts to deliver events that failed", "target"),
    "events_sent": _family("events_sent", "Events delivered", "target"),
    "rule_actions": _family("rule_actions", "What rules have done, by rule and action", "rule", "action"),
    "rule_bytes": _family("rule_bytes", "Bytes of what rules have done it to", "rule", "action"),
    "rule_errors": _family("rule_errors", "What rules could not do", "rule"),
    "rule_spared": _family("rule_spared", "What rules left alone since it is protected or locked", "rule"),
}
"""By what a job calls the family."""

SPECS: tuple[Spec, ...] = (
    Spec("hosu_alerts", GAUGE, GROUP, "Alerts that stand", ("kind", "severity")),
    Spec("hosu_backup_due_timestamp_seconds", GAUGE, GROUP, "When the next scheduled backup is due", ()),
    Spec("hosu_backup_last_bytes", GAUGE, GROUP, "Bytes that the last backup added", ()),
    Spec("hosu_backup_last_success_timestamp_seconds", GAUGE, GROUP, "When a backup ended well last", ()),
    Spec("hosu_events_dead_letters", GAUGE, GROUP, "Dead letters that are kept", ("target",)),
    Spec("hosu_events_oldest_seconds", GAUGE, GROUP, "Age of the oldest event that waits", ("target",)),
    Spec("hosu_events_waiting", GAUGE, GROUP, "Events that wait to be delivered, at most", ("target",)),
    *(FAMILIES[name].spec for name in sorted(FAMILIES)),
)


BACKUPS = (
    ("backup_due_ms", "hosu_backup_due_timestamp_seconds", 1000),
    ("backup_written_bytes", "hosu_backup_last_bytes", 1),
    ("backup_success_ms", "hosu_backup_last_success_timestamp_seconds", 1000),
)
"""Counter of the lake, metric, and how many of the one are one of the other."""


def collect(values: Values, state: State) -> None:
    """Add the values."""
    for kind, severity, number in state.alerts:
        values.add("hosu_alerts", number, kind, severity)
    for name, metric, unit in BACKUPS:
        if name in state.backups:
            values.add(metric, state.backups[name] / unit)
    for target in state.targets:
        age_s = max(state.now_ms - target.oldest_ms, 0) / 1000 if target.oldest_ms else 0
        values.add("hosu_events_dead_letters", target.dead, target.target)
        values.add("hosu_events_oldest_seconds", age_s, target.target)
        values.add("hosu_events_waiting", target.waiting, target.target)
    for name, number in sorted(state.numbers.totals.items()):
        family, _, labels = name.partition("/")
        shown = FAMILIES.get(family)
        if shown is not None:
            values.add(shown.spec.name, number, *labels.split("/", shown.labels - 1))
