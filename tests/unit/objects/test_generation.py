import fcntl
from functools import partial
from pathlib import Path

import pytest

from hosu.objects import buckets
from hosu.objects.generation import Generation
from hosu.objects.store import ObjectStore
from hosu.objects.transaction import Tx
from hosu.objects.turns import Turns


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


def is_somebodys_turn(lake: Path) -> bool:
    with (lake / "meta" / "turns").open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_the_number_is_moved_in_turn_only(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a move that was begun before another's could take the number back to one that somebody remembers."""
    in_turn: list[bool] = []
    move = Generation.move

    def watched(generation: Generation) -> None:
        in_turn.append(is_somebodys_turn(store.path))
        move(generation)

    monkeypatch.setattr(Generation, "move", watched)
    store.commit(Tx.change_access)
    assert in_turn == [True, True]
    ObjectStore(store.path).close()
    assert in_turn == [True, True, True]


def test_a_lake_opens_while_a_writer_keeps_its_turn(store: ObjectStore) -> None:
    turns = Turns(store.path / "meta" / "turns")
    turns.begin(1.0)
    before = store.generation.number()
    ObjectStore(store.path).close()
    assert store.generation.number() > before
    turns.end()
    turns.close()
