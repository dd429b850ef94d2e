"""The power goes at every step of a change of identity: afterwards all of it counts, or none of it does."""

from functools import partial

import pytest
from tests.crash.lakes import STEPS_MAX, Operation, Workshop, attempt, opened

from hosu.identity.authority import Authority
from hosu.identity.keys import create_key, rotate_secret
from hosu.identity.users import put_user, remove_user
from hosu.objects.store import ObjectStore
from hosu.testing.durable_tree import Survival
from hosu.testing.faulty_disk import Fault

# SQLite reports a second failure of the dead disk, while it cleans up after the first, to nobody.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in. None:pytest.PytestUnraisableExceptionWarning")

OUTCOMES = [(Survival.SYNCED, 0), (Survival.WRITTEN, 0), (Survival.CHANCE, 1)]
OLD, NEW = "the-old-secret", "the-new-secret"


def authority(store: ObjectStore) -> Authority:
    return Authority(store, ("root-name", "root-secret"))


def setting(secret: str) -> Operation:
    return lambda store: store.commit(
        partial(put_user, vault=authority(store).vault, name="alice", secret=secret)
    )  # fmt: skip


def adding_key(store: ObjectStore) -> None:
    vault = authority(store).vault
    store.commit(partial(create_key, vault=vault, parent="alice", access_key="robot", secret=OLD))


def rotating(store: ObjectStore) -> None:
    vault = authority(store).vault
    store.commit(partial(rotate_secret, vault=vault, access_key="alice", secret=NEW, overlap_ms=3_600_000))


def removing(store: ObjectStore) -> None:
    store.commit(partial(remove_user, name="alice"))


def secrets(store: ObjectStore) -> tuple[tuple[str, ...], ...]:
    """Return what alice and the robot may sign with."""
    known = authority(store)
    return tuple(tuple(known.secrets(name)) for name in ("alice", "robot"))


@pytest.mark.parametrize(
    ("setup", "operation", "old", "new"),
    [
        ((), setting(NEW), ((), ()), ((NEW,), ())),
        ((setting(OLD),), setting(NEW), ((OLD,), ()), ((NEW,), ())),
        ((setting(OLD),), rotating, ((OLD,), ()), ((NEW, OLD), ())),
        ((setting(OLD), adding_key), removing, ((OLD,), (OLD,)), ((), ())),
    ],
    ids=["first-user-of-a-lake", "another-secret", "rotation", "removal"],
)
def test_a_crash_at_any_step_leaves_the_old_or_the_new_secrets(
    workshop: Workshop,
    setup: tuple[Operation, ...],
    operation: Operation,
    old: tuple[tuple[str, ...], ...],
    new: tuple[tuple[str, ...], ...],
) -> None:
    prepared = workshop.prepare(*setup)
    seen = set()
    for step in range(1, STEPS_MAX):
        with workshop.disk(prepared) as disk, opened(disk) as store:
            disk.fail_at(step, Fault.CRASH)
            stopped = attempt(disk, partial(operation, store))
            if not disk.has_crashed:
                assert stopped is None
                assert secrets(store) == new
                break
            for survival, seed in OUTCOMES:
                with workshop.restarted(disk, survival, seed=seed) as after:
                    found = secrets(after)
                    assert found in (old, new), f"step {step}, {survival}"
                    assert stopped is not None or found == new, f"step {step}: an acknowledged change was lost"
                    seen.add(found)
                    setting("a-secret-of-later")(after)
                    assert secrets(after)[0] == ("a-secret-of-later",), "the lake goes on"
    else:
        pytest.fail("the operation never ran to its end")
    assert seen == {old, new}
