"""The power goes while a lake's keys are made or moved: whatever was sealed opens afterwards, or was never there."""

import contextlib
from functools import partial

import pytest
from tests.crash.lakes import BUCKET, LAKE_KEY, STEPS_MAX, Workshop, abandon, attempt, open_store, opened
from tests.crash.scenarios import create_bucket

from hosu.kernel.errors import ConflictError
from hosu.kernel.lakekey import LakeKey
from hosu.objects.buckets import get_document, set_document
from hosu.objects.encryption.lakekeys import INSIDE_FILE, rewrap_keys
from hosu.objects.store import ObjectStore
from hosu.testing.durable_tree import Survival
from hosu.testing.faulty_disk import Fault

# SQLite reports a second failure of the dead disk, while it cleans up after the first, to nobody.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in. None:pytest.PytestUnraisableExceptionWarning")

OUTCOMES = [(Survival.SYNCED, 0), (Survival.WRITTEN, 0), (Survival.CHANCE, 1), (Survival.CHANCE, 2)]
KEY, SECRET = "hosu-test", b"a secret"
NEW = LakeKey(b"n" * 32)


def keep_secret(store: ObjectStore) -> None:
    """Seal a secret and store it, as one verb."""
    store.commit(lambda tx: set_document(tx, BUCKET, "secret", store.keys.seal(KEY, SECRET, b"").hex()))


def secret_of(store: ObjectStore) -> bytes | None:
    text = get_document(store.view(), BUCKET, "secret")
    return None if text is None else store.keys.unseal(KEY, bytes.fromhex(text), b"")


@pytest.mark.parametrize("lake_key", [None, LAKE_KEY], ids=["own", "outside"])
def test_a_crash_at_any_step_of_the_first_seal_leaves_a_secret_that_opens_or_none(
    workshop: Workshop, lake_key: LakeKey | None
) -> None:
    prepared = workshop.prepare(create_bucket, lake_key=lake_key)
    seen = set()
    for step in range(1, STEPS_MAX):
        with workshop.disk(prepared) as disk, opened(disk, None, lake_key) as store:
            disk.fail_at(step, Fault.CRASH)
            stopped = attempt(disk, partial(keep_secret, store))
            if not disk.has_crashed:
                assert stopped is None
                break
            for survival, seed in OUTCOMES:
                with workshop.restarted(disk, survival, seed=seed, lake_key=lake_key) as after:
                    found = secret_of(after)
                    assert found in {None, SECRET}, f"step {step}, {survival}"
                    assert stopped is not None or found == SECRET, f"step {step}: an acknowledged secret was lost"
                    seen.add(found)
                    keep_secret(after)
                    assert secret_of(after) == SECRET
    else:
        pytest.fail("the seal never ran to its end")
    assert seen == {None, SECRET}


def test_a_crash_at_any_step_of_moving_out_leaves_a_lake_that_the_new_key_opens(workshop: Workshop) -> None:
    prepared = workshop.prepare(create_bucket, keep_secret, lake_key=None)
    for step in range(1, STEPS_MAX):
        with workshop.disk(prepared) as disk:
            disk.fail_at(step, Fault.CRASH)
            made: list[ObjectStore] = []
            attempt(disk, lambda: made.append(open_store(disk)))  # noqa: B023 - called at once
            for store in made:
                abandon(store)
            if not disk.has_crashed:
                assert made
                assert not (disk.root / "lake" / "meta" / INSIDE_FILE).exists()
                return
            for survival, seed in OUTCOMES:
                with workshop.restarted(disk, survival, seed=seed, lake_key=LAKE_KEY) as after:
                    assert secret_of(after) == SECRET, f"step {step}, {survival}"
                    assert not (after.path / "meta" / INSIDE_FILE).exists()
    pytest.fail("opening never ran to its end")


def test_a_crash_at_any_step_of_a_change_of_the_lake_key_leaves_one_key_that_opens_all(workshop: Workshop) -> None:
    def more_secrets(store: ObjectStore) -> None:
        for name in ("one", "two", "three"):
            store.keys.create_key(name)

    prepared = workshop.prepare(create_bucket, keep_secret, more_secrets)
    opens = set()
    for step in range(1, STEPS_MAX):
        with workshop.disk(prepared) as disk, opened(disk) as store:
            disk.fail_at(step, Fault.CRASH)
            stopped = attempt(disk, lambda: store.commit(partial(rewrap_keys, old=LAKE_KEY, new=NEW)))
            if not disk.has_crashed:
                assert stopped is None
                break
            for survival, seed in OUTCOMES:
                works = []
                for lake_key in (LAKE_KEY, NEW):
                    with (
                        contextlib.suppress(ConflictError),
                        workshop.restarted(disk, survival, seed=seed, lake_key=lake_key) as after,
                    ):
                        assert secret_of(after) == SECRET
                        for name in ("one", "two", "three"):
                            after.keys.unseal(name, after.keys.seal(name, b"", b""), b"")
                        works.append(lake_key.fingerprint)
                assert len(works) == 1, f"step {step}, {survival}"
                assert stopped is not None or works == [NEW.fingerprint]
                opens.add(works[0])
    else:
        pytest.fail("the change never ran to its end")
    assert opens == {LAKE_KEY.fingerprint, NEW.fingerprint}
