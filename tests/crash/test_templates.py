"""The power goes at every step of making a template: afterwards all of it is there, or none of it is."""

from functools import partial

import pytest
from tests.crash.lakes import STEPS_MAX, Workshop, attempt, opened

from hosu.identity.policies import list_policies
from hosu.identity.users import list_users
from hosu.identity.vault import Vault
from hosu.lake.templates import apply_template, load_template
from hosu.objects.buckets import list_buckets
from hosu.objects.store import ObjectStore
from hosu.testing.durable_tree import Survival
from hosu.testing.faulty_disk import Fault

# SQLite reports a second failure of the dead disk, while it cleans up after the first, to nobody.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in. None:pytest.PytestUnraisableExceptionWarning")

OUTCOMES = [(Survival.SYNCED, 0), (Survival.WRITTEN, 0), (Survival.CHANCE, 1)]
TEMPLATE = load_template("smart-door")


def make(store: ObjectStore) -> None:
    store.commit(partial(apply_template, vault=Vault(store), template=TEMPLATE))


def made(store: ObjectStore) -> tuple[int, ...]:
    """Return how many buckets, objects, aliases, policies and users there are."""
    view = store.view()
    stored = [policy for policy in list_policies(view) if not policy.is_builtin]
    objects = [bucket.usage.object_count for bucket in list_buckets(view)]
    aliases = [bucket.alias_count for bucket in list_buckets(view)]
    return len(objects), sum(objects), sum(aliases), len(stored), len(list_users(view))


NOTHING, EVERYTHING = (0, 0, 0, 0, 0), (1, 7, 2, 6, 6)


def test_a_crash_at_any_step_leaves_all_of_a_template_or_nothing(workshop: Workshop) -> None:
    prepared = workshop.prepare()
    seen = set()
    for step in range(1, STEPS_MAX):
        with workshop.disk(prepared) as disk, opened(disk) as store:
            disk.fail_at(step, Fault.CRASH)
            stopped = attempt(disk, partial(make, store))
            if not disk.has_crashed:
                assert stopped is None
                assert made(store) == EVERYTHING
                break
            for survival, seed in OUTCOMES:
                with workshop.restarted(disk, survival, seed=seed) as after:
                    found = made(after)
                    assert found in {NOTHING, EVERYTHING}, f"step {step}, {survival}"
                    assert stopped is not None or found == EVERYTHING, f"step {step}: what was told is lost"
                    seen.add(found)
                    make(after)
                    assert made(after) == EVERYTHING, "a second run makes what is missing"
    else:
        pytest.fail("the operation never ran to its end")
    assert seen == {NOTHING, EVERYTHING}
