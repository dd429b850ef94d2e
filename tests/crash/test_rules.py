"""The power goes at every step of a rule that removes: what is left is what some whole transactions have left."""

import json
from collections.abc import Callable
from functools import partial

import pytest
from tests.crash.lakes import BUCKET, LARGE, STEPS_MAX, Workshop, attempt, opened, put
from tests.crash.scenarios import create_bucket

from hosu.kernel.settings import Settings
from hosu.objects.aliases import set_alias
from hosu.objects.buckets import set_versioning
from hosu.objects.protected import ProtectedPrefix
from hosu.objects.records import Versioning
from hosu.objects.store import ObjectStore
from hosu.rules import making_room, ranking
from hosu.rules.capacity import CapacityRule, set_capacity
from hosu.rules.lifecycle.acting import LifecyclePass
from hosu.rules.lifecycle.keeping import set_lifecycle
from hosu.rules.lifecycle.model import Filter, Lifecycle, Rule
from hosu.rules.making_room import make_room
from hosu.rules.merit import MeritRule, put_merit
from hosu.rules.protection import protect
from hosu.rules.ranking import expire
from hosu.testing.durable_tree import Survival
from hosu.testing.faulty_disk import Fault

# SQLite reports a second failure of the dead disk, while it cleans up after the first, to nobody.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in. None:pytest.PytestUnraisableExceptionWarning")

OUTCOMES = [(Survival.SYNCED, 0), (Survival.WRITTEN, 0), (Survival.CHANCE, 1)]
SETTINGS = Settings(day_seconds=1)
CAPACITY = CapacityRule(quota_bytes=10 * len(LARGE), high_water=0.3, keep=(f"{BUCKET}/kept/",))
MERIT = MeritRule(id="models", bucket=BUCKET, prefix="models/", path="score", best=1)
LIFECYCLE = Lifecycle((Rule("raw", filter=Filter(prefix="raw/"), noncurrent_days=1),))


def fill(store: ObjectStore) -> None:
    """Store versions, models and images, with every rule set."""
    store.commit(partial(set_versioning, name=BUCKET, versioning=Versioning.ENABLED))
    for key in ("raw/1", "raw/2", "raw/1", "raw/3", "kept/1", "safe/1"):
        put(store, key, LARGE)
    for name, score in (("a", 1), ("b", 2), ("c", 3)):
        put(store, f"models/{name}/best.pt", name.encode())
        put(store, f"models/{name}/metrics.json", json.dumps({"score": score}).encode())
    store.commit(partial(set_alias, bucket_name=BUCKET, prefix="now/", target="models/a/"))
    store.commit(partial(protect, entry=ProtectedPrefix(BUCKET, "safe/")))
    store.commit(partial(put_merit, rule=MERIT))
    store.commit(partial(set_capacity, rule=CAPACITY, allows_below_use=True))
    store.commit(partial(set_lifecycle, bucket_name=BUCKET, lifecycle=LIFECYCLE))


def merit(store: ObjectStore) -> None:
    assert expire(store, MERIT, SETTINGS)


def capacity(store: ObjectStore) -> None:
    assert make_room(store, SETTINGS).is_enough


def every_rule(store: ObjectStore) -> None:
    """Carry out all rules, as the keeper does."""
    LifecyclePass(store, SETTINGS).run()
    merit(store)
    capacity(store)


def stored(store: ObjectStore) -> tuple[str, ...]:
    """Return every key once for each of its versions."""
    rows = store.view().rows("SELECT key FROM object UNION ALL SELECT key FROM version ORDER BY key")
    return tuple(row[0] for row in rows)


def audited(store: ObjectStore) -> int:
    """Return how many lines there are of what rules did."""
    return int(store.view().value("SELECT count(*) FROM audit_outbox WHERE instr(body, '\"hosu:') > 0"))


@pytest.mark.parametrize("rule", [merit, capacity, every_rule])
def test_a_crash_at_any_step_loses_nothing_that_is_spared_and_a_second_run_ends_what_was_begun(
    workshop: Workshop, rule: Callable[[ObjectStore], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making_room, "CHANGES_PER_TRANSACTION", 1)
    monkeypatch.setattr(ranking, "CHANGES_PER_TRANSACTION", 1)
    prepared = workshop.prepare(create_bucket, fill)
    with workshop.disk(prepared) as disk, opened(disk) as store:
        before = stored(store)
        rule(store)
        expected = stored(store)
        assert len(expected) < len(before)
    seen = set()
    for step in range(1, STEPS_MAX):
        with workshop.disk(prepared) as disk, opened(disk) as store:
            disk.fail_at(step, Fault.CRASH)
            stopped = attempt(disk, partial(rule, store))
            if not disk.has_crashed:
                assert stopped is None
                break
            for survival, seed in OUTCOMES:
                with workshop.restarted(disk, survival, seed=seed) as after:
                    found = stored(after)
                    assert set(expected) <= set(found) <= set(before), f"step {step}, {survival}"
                    assert audited(after) == len(before) - len(found), "a line for each version that is gone"
                    seen.add(found)
                    rule(after)
                    assert stored(after) == expected, f"step {step}, {survival}: a second run"
    else:
        pytest.fail("the rule never ran to its end")
    assert {before, expected} <= seen
    assert len(seen) > 2, "some were stopped in the middle"
