from functools import partial
from pathlib import Path

import pytest

from hosu.objects import buckets
from hosu.objects.store import ObjectStore
from hosu.objects.transaction import Tx


@pytest.fixture
def other(store: ObjectStore) -> ObjectStore:
    return ObjectStore(Path(store.path))


def test_a_change_of_access_moves_the_number_in_every_process(store: ObjectStore, other: ObjectStore) -> None:
    store.commit(partial(buckets.create_bucket, name="photos"))
    before = other.generation.number()
    store.commit(partial(buckets.set_document, name="photos", kind="tagging", body="{}"))
    assert other.generation.number() == before
    store.commit(partial(buckets.set_document, name="photos", kind="policy", body="{}"))
    assert other.generation.number() > before
    other.close()


def test_whoever_reads_between_the_move_and_the_commit_reads_again(store: ObjectStore) -> None:
    seen: list[int] = []

    def change(tx: Tx) -> None:
        tx.change_access()
        tx.after_commit(lambda: seen.append(store.generation.number()))

    before = store.generation.number()
    store.commit(change)
    assert before < seen[0] == store.generation.number()


def test_opening_a_lake_moves_the_number(store: ObjectStore) -> None:
    before = store.generation.number()
    ObjectStore(store.path).close()
    assert store.generation.number() > before
