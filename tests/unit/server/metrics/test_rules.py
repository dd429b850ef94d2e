"""What runs by itself, as a scrape shows it: no number that a job counts is left out."""

import re
from functools import partial
from pathlib import Path

import msgspec

import hosu
from hosu.objects.alerts import Severity, raise_alert, resolve_alert
from hosu.objects.store import ObjectStore
from hosu.server.metrics import own
from hosu.server.metrics.meter import Meter
from hosu.server.metrics.rules import FAMILIES
from hosu.server.metrics.state import Sources

SOURCE = Path(hosu.__file__).parent
COUNTED = re.compile(r"count\(\s*f?\"([a-z_]+)/([^\"]*)\"")


def counted() -> dict[str, set[int]]:
    """Return the families that jobs count, and how many labels they give each."""
    found: dict[str, set[int]] = {}
    for path in sorted([*(SOURCE / "rules").rglob("*.py"), *(SOURCE / "server").rglob("*.py")]):
        for family, labels in COUNTED.findall(path.read_text(encoding="utf-8")):
            found.setdefault(family, set()).add(len(re.sub(r"\{[^}]*\}", "x", labels).split("/")))
    return found


def test_every_number_that_a_job_counts_is_shown_under_as_many_labels_as_it_gives() -> None:
    found = counted()
    assert {"rule_actions", "events_sent", "backup_runs", "alerts_sent"} <= found.keys()
    assert found == {family: {FAMILIES[family].labels} for family in found}
    assert found.keys() == FAMILIES.keys()


def test_numbers_and_alerts_that_stand_are_told(tmp_path: Path) -> None:
    with ObjectStore(tmp_path / "lake", space_reserve_bytes=0) as store:
        for subject in ("a", "b", "c"):
            verb = partial(
                raise_alert, kind="corrupt-object", subject=subject, severity=Severity.CRITICAL, message="changed"
            )
            store.commit(verb)
        store.commit(partial(resolve_alert, kind="corrupt-object", subject="c"))
        meter = Meter(store.path, run=1, process="s3-0")
        sources = Sources(store, meter, is_ready=lambda: True, in_flight=dict, lines_waiting=lambda: 0)
        state = sources.read()
    totals = {"rule_actions/lifecycle/Expire": 3, "events_sent/webhook:ci/cd": 7, "of_another_kind": 1, "unknown/x": 2}
    state = msgspec.structs.replace(state, numbers=msgspec.structs.replace(state.numbers, totals=totals))
    lines = own.collect(state).render().decode().splitlines()
    assert 'hosu_alerts{kind="corrupt-object",severity="critical"} 2.0' in lines
    assert 'hosu_rule_actions_total{action="Expire",rule="lifecycle"} 3.0' in lines
    assert 'hosu_events_sent_total{target="webhook:ci/cd"} 7.0' in lines
    assert not any("unknown" in line for line in lines)
