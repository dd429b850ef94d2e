"""Named keys: versions, context, and keys made in the middle of a transaction."""

import threading
from pathlib import Path

import pytest

from hosu.kernel.errors import ConflictError, CorruptError, ErrorKind, InvalidInputError, NotFoundError
from hosu.kernel.lakekey import LakeKey
from hosu.objects.encryption.keys import DEFAULT_KEY, sealed_version
from hosu.objects.store import ObjectStore
from hosu.objects.transaction import Tx
from hosu.testing.manual_clock import ManualClock


def test_a_secret_opens_under_its_key_and_context_only(store: ObjectStore) -> None:
    keys = store.keys
    keys.create_key("mine")
    keys.create_key("other")
    sealed = keys.seal("mine", b"secret", b"alice")
    assert keys.unseal("mine", sealed, b"alice") == b"secret"
    for name, context in (("mine", b"bob"), ("other", b"alice")):
        with pytest.raises(CorruptError):
            keys.unseal(name, sealed, context)


def test_a_changed_or_cut_secret_does_not_open(store: ObjectStore) -> None:
    sealed = store.keys.seal("hosu-test", b"secret", b"alice")
    for place in range(len(sealed)):
        with pytest.raises((CorruptError, NotFoundError)):
            store.keys.unseal("hosu-test", sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :], b"alice")
        with pytest.raises(CorruptError):
            store.keys.unseal("hosu-test", sealed[:place], b"alice")


def test_the_lakes_own_keys_are_made_at_first_need_and_others_are_not(store: ObjectStore) -> None:
    store.keys.seal("hosu-test", b"", b"")
    store.keys.seal(DEFAULT_KEY, b"", b"")
    with pytest.raises(NotFoundError) as error:
        store.keys.seal("mine", b"", b"")
    assert error.value.kind is ErrorKind.NAMED_KEY_NOT_FOUND
    assert store.keys.key_names() == [DEFAULT_KEY, "hosu-test"]


def test_a_key_of_minios_spelling_is_the_default_one(lake: Path) -> None:
    with ObjectStore(lake, lake_key=LakeKey(bytes(32), "my-key")) as store:
        assert store.keys.default_key == "my-key"
        store.keys.seal("my-key", b"", b"")
        assert store.keys.key_names() == ["my-key"]


def test_a_key_is_described_and_listed(store: ObjectStore, clock: ManualClock) -> None:
    store.keys.create_key("b")
    store.keys.create_key("a")
    begun = store.keys.describe("a").created_ms
    clock.advance(1000)
    store.keys.rotate_key("a")
    found = store.keys.describe("a")
    assert (found.name, found.version, found.created_ms, found.rotated_ms) == ("a", 2, begun, begun + 1000)
    assert store.keys.key_names() == ["a", "b"]


def test_a_name_is_taken_once(store: ObjectStore) -> None:
    store.keys.create_key("mine")
    with pytest.raises(ConflictError) as error:
        store.keys.create_key("mine")
    assert error.value.kind is ErrorKind.NAMED_KEY_EXISTS


@pytest.mark.parametrize("name", ["", "-a", "a/b", "a b", "ä", "a" * 81, "a\n", "hosu-identity", "hosu-x"])
def test_a_name_that_is_none_is_refused(store: ObjectStore, name: str) -> None:
    with pytest.raises(InvalidInputError) as error:
        store.keys.create_key(name)
    assert error.value.kind is ErrorKind.NAMED_KEY_INVALID
    assert store.keys.key_names() == []


def test_a_missing_key_is_told(store: ObjectStore) -> None:
    for verb in (store.keys.describe, store.keys.rotate_key, store.keys.check_exists):
        with pytest.raises(NotFoundError) as error:
            verb("none")
        assert error.value.kind is ErrorKind.NAMED_KEY_NOT_FOUND


def test_rotation_seals_anew_and_opens_the_old(store: ObjectStore) -> None:
    before = store.keys.seal("hosu-test", b"secret", b"")
    store.keys.rotate_key("hosu-test")
    after = store.keys.seal("hosu-test", b"secret", b"")
    assert (sealed_version(before), sealed_version(after)) == (1, 2)
    assert store.keys.unseal("hosu-test", before, b"") == store.keys.unseal("hosu-test", after, b"") == b"secret"


def test_another_process_learns_of_a_rotation(lake: Path, store: ObjectStore) -> None:
    with ObjectStore(lake, lake_key=LakeKey(bytes(range(32)))) as other:
        other.keys.seal("hosu-test", b"", b"")
        store.keys.rotate_key("hosu-test")
        assert sealed_version(other.keys.seal("hosu-test", b"", b"")) == 2


def test_a_verb_seals_within_its_transaction(store: ObjectStore) -> None:
    def verb(tx: Tx) -> tuple[bytes, bytes]:
        assert tx.now_ms
        return store.keys.seal("hosu-test", b"one", b""), store.keys.seal("hosu-test", b"two", b"")

    one, two = store.commit(verb)
    assert store.keys.unseal("hosu-test", one, b"") == b"one"
    assert store.keys.unseal("hosu-test", two, b"") == b"two"


def test_a_key_made_by_a_verb_that_failed_is_never_used(store: ObjectStore) -> None:
    sealed: list[bytes] = []

    def verb(_: Tx) -> None:
        sealed.append(store.keys.seal("hosu-test", b"lost", b""))
        sealed.append(store.keys.seal("hosu-test", b"lost too", b""))
        raise ConflictError(ErrorKind.BUCKET_EXISTS, "no")

    with pytest.raises(ConflictError):
        store.commit(verb)
    assert store.keys.key_names() == []
    kept = store.keys.seal("hosu-test", b"kept", b"")
    assert store.keys.unseal("hosu-test", kept, b"") == b"kept"
    for lost in sealed:
        with pytest.raises(CorruptError):
            store.keys.unseal("hosu-test", lost, b"")


def test_a_version_added_by_a_verb_that_failed_is_never_used(lake: Path, store: ObjectStore) -> None:
    store.keys.create_key("mine")

    def verb(_: Tx) -> None:
        store.keys.rotate_key("mine")
        store.keys.seal("mine", b"", b"")
        raise ConflictError(ErrorKind.BUCKET_EXISTS, "no")

    with pytest.raises(ConflictError):
        store.commit(verb)
    assert sealed_version(store.keys.seal("mine", b"", b"")) == 1
    store.keys.rotate_key("mine")
    sealed = store.keys.seal("mine", b"secret", b"")
    with ObjectStore(lake, lake_key=LakeKey(bytes(range(32)))) as other:
        assert other.keys.unseal("mine", sealed, b"") == b"secret"


def test_threads_that_need_a_new_key_at_once_get_one(store: ObjectStore) -> None:
    sealed: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: sealed.append(store.keys.seal("hosu-test", b"secret", b""))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {store.keys.unseal("hosu-test", one, b"") for one in sealed} == {b"secret"}
    assert store.keys.describe("hosu-test").version == 1
    assert len(sealed) == 8
