"""Which lake key a lake is under: found out before anything is changed, kept beside the lake or outside of it."""

import shutil
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from hosu.kernel.errors import ConflictError, ErrorKind, HosuError, UnsupportedError
from hosu.kernel.lakekey import LakeKey
from hosu.objects.encryption import Encryption, EncryptionMode
from hosu.objects.encryption.lakekeys import INSIDE_FILE, HeldKey, load_inside_key, settle_lake_key
from hosu.objects.store import ObjectStore
from hosu.objects.transaction import Tx

ONE, OTHER = LakeKey(bytes(range(32))), LakeKey(bytes(32))


def content_of(lake: Path) -> dict[str, bytes]:
    """Return all files but the index of the log, which is memory that processes share and rebuilt by the first."""
    files = [path for path in sorted(lake.rglob("*")) if path.is_file() and path.name != "lake.db-shm"]
    return {str(path.relative_to(lake)): path.read_bytes() for path in files}


def refused(lake: Path, key: LakeKey | None) -> ConflictError:
    """Open a lake with the wrong key; nothing of it may change."""
    before = content_of(lake)
    with pytest.raises(ConflictError) as error:
        ObjectStore(lake, lake_key=key)
    assert content_of(lake) == before
    return error.value


def seal(lake: Path, key: LakeKey | None) -> bytes:
    with ObjectStore(lake, lake_key=key) as store:
        return store.keys.seal("hosu-test", b"secret", b"context")


def unseal(lake: Path, key: LakeKey | None, sealed: bytes) -> bytes:
    with ObjectStore(lake, lake_key=key) as store:
        return store.keys.unseal("hosu-test", sealed, b"context")


def test_a_lake_without_a_key_makes_one_at_first_need(lake: Path) -> None:
    with ObjectStore(lake) as store:
        assert not (lake / "meta" / INSIDE_FILE).exists()
        assert store.keys.fingerprint == ""
        sealed = store.keys.seal("hosu-test", b"secret", b"context")
        assert not store.keys.is_outside
    mode = (lake / "meta" / INSIDE_FILE).stat().st_mode
    assert stat.S_IMODE(mode) == 0o600
    assert unseal(lake, None, sealed) == b"secret"


def test_a_lake_with_a_key_from_outside_keeps_none(lake: Path) -> None:
    sealed = seal(lake, ONE)
    assert not (lake / "meta" / INSIDE_FILE).exists()
    assert unseal(lake, ONE, sealed) == b"secret"


def test_objects_are_not_encrypted_under_a_key_beside_them(lake: Path) -> None:
    with ObjectStore(lake) as store:
        for mode in (EncryptionMode.SSE_S3, EncryptionMode.SSE_KMS):
            for stage in (lambda it: store.stage(b"body", it), store.new_blob, store.keys.facts_of):
                with pytest.raises(UnsupportedError) as error:
                    stage(Encryption(mode))
                assert error.value.kind is ErrorKind.KEY_NOT_CONFIGURED
                assert "HOSU_LAKE_KEY" in error.value.message
        assert list((lake / "blobs").rglob("*/*")) == []


def test_encrypting_by_default_needs_a_key_from_outside(lake: Path) -> None:
    with pytest.raises(UnsupportedError) as error:
        ObjectStore(lake, default_encryption=True)
    assert error.value.kind is ErrorKind.KEY_NOT_CONFIGURED
    ObjectStore(lake, default_encryption=True, lake_key=ONE).close()


def test_a_wrong_key_is_refused_and_nothing_changes(lake: Path) -> None:
    seal(lake, ONE)
    error = refused(lake, OTHER)
    assert error.kind is ErrorKind.LAKE_KEY_WRONG
    assert ONE.fingerprint in error.message
    assert OTHER.fingerprint in error.message


def test_a_missing_key_is_refused_and_nothing_changes(lake: Path) -> None:
    sealed = seal(lake, ONE)
    error = refused(lake, None)
    assert error.kind is ErrorKind.LAKE_KEY_MISSING
    assert ONE.fingerprint in error.message
    assert unseal(lake, ONE, sealed) == b"secret"


def test_a_lost_key_of_the_lakes_own_is_refused_and_nothing_changes(lake: Path) -> None:
    seal(lake, None)
    (lake / "meta" / INSIDE_FILE).unlink()
    assert refused(lake, None).kind is ErrorKind.LAKE_KEY_MISSING
    assert refused(lake, ONE).kind is ErrorKind.LAKE_KEY_WRONG


@pytest.mark.parametrize("content", [b"", b"not a key", b"\xff" * 31])
def test_a_damaged_key_of_the_lakes_own_is_refused_and_nothing_changes(lake: Path, content: bytes) -> None:
    seal(lake, None)
    (lake / "meta" / INSIDE_FILE).write_bytes(content)
    assert refused(lake, None).kind is ErrorKind.LAKE_KEY_WRONG


def test_a_lake_of_a_killed_process_is_refused_without_touching_its_log(lake: Path, tmp_path: Path) -> None:
    with ObjectStore(lake, lake_key=ONE) as store:
        sealed = store.keys.seal("hosu-test", b"secret", b"context")
        shutil.copytree(lake, tmp_path / "killed")
    killed = tmp_path / "killed"
    assert (killed / "meta" / "lake.db-wal").stat().st_size
    assert refused(killed, OTHER).kind is ErrorKind.LAKE_KEY_WRONG
    assert refused(killed, None).kind is ErrorKind.LAKE_KEY_MISSING
    assert unseal(killed, ONE, sealed) == b"secret"


def test_any_key_opens_a_lake_in_which_nothing_is_sealed(lake: Path) -> None:
    for key in (ONE, None, OTHER):
        ObjectStore(lake, lake_key=key).close()


def test_a_key_from_outside_takes_the_place_of_the_lakes_own(lake: Path) -> None:
    sealed = seal(lake, None)
    assert unseal(lake, ONE, sealed) == b"secret"
    assert not (lake / "meta" / INSIDE_FILE).exists()
    assert refused(lake, None).kind is ErrorKind.LAKE_KEY_MISSING
    with ObjectStore(lake, lake_key=ONE) as store:
        assert store.keys.is_outside


def test_a_key_of_the_lakes_own_that_nothing_needs_is_removed_late(lake: Path) -> None:
    seal(lake, None)
    kept = (lake / "meta" / INSIDE_FILE).read_bytes()
    ObjectStore(lake, lake_key=ONE).close()
    (lake / "meta" / INSIDE_FILE).write_bytes(kept)  # as when the process was killed before it removed the file
    ObjectStore(lake, lake_key=ONE).close()
    assert not (lake / "meta" / INSIDE_FILE).exists()


def test_a_store_that_was_open_meanwhile_refuses_to_go_on_under_the_former_key(lake: Path) -> None:
    with ObjectStore(lake) as before:
        before.keys.seal("hosu-test", b"secret", b"context")
        with ObjectStore(lake, lake_key=ONE) as after:
            after.keys.create_key("later")
            with pytest.raises(ConflictError) as error:
                before.keys.create_key("mine")
            assert error.value.kind is ErrorKind.LAKE_KEY_WRONG
            with pytest.raises(ConflictError):
                before.keys.seal("later", b"", b"")
            assert after.keys.key_names() == ["hosu-test", "later"]


def test_two_processes_of_a_new_lake_agree_on_one_key(lake: Path) -> None:
    with ObjectStore(lake) as one, ObjectStore(lake) as other:
        sealed = one.keys.seal("hosu-test", b"secret", b"context")
        assert other.keys.unseal("hosu-test", sealed, b"context") == b"secret"
        assert one.keys.unseal("hosu-more", other.keys.seal("hosu-more", b"more", b""), b"") == b"more"


@pytest.mark.parametrize("changed", ["wrapped = zeroblob(72)", "name = 'hosu-other'", "version = 2"])
def test_a_changed_record_of_a_key_does_not_open(lake: Path, changed: str) -> None:
    sealed = seal(lake, ONE)
    with closing(apsw.Connection(str(lake / "meta" / "lake.db"))) as connection:
        connection.execute(f"UPDATE named_key SET {changed}")
    with pytest.raises(HosuError) as error:
        unseal(lake, ONE, sealed)
    assert error.value.kind in {ErrorKind.CORRUPT_LAKE, ErrorKind.NAMED_KEY_NOT_FOUND}


def test_nothing_in_the_lake_holds_a_key_from_outside_or_a_secret(lake: Path) -> None:
    seal(lake, ONE)
    for name, data in content_of(lake).items():
        assert ONE.secret not in data, name
        assert b"secret" not in data, name


def test_the_service_shows_no_key(lake: Path) -> None:
    with ObjectStore(lake, lake_key=ONE) as store:
        store.keys.seal("hosu-test", b"secret", b"context")
        assert repr(store.keys) == "KeyService(is_outside=True)"
        key = store.keys.new_blob_key(Encryption(EncryptionMode.SSE_S3))
        assert repr(key.data_key) not in repr(key)


def seal_and_fail(store: ObjectStore) -> None:
    """Make the lake's own key in a transaction that is taken back."""

    def verb(_: Tx) -> None:
        store.keys.seal("hosu-test", b"secret", b"context")
        raise ValueError("taken back")

    with pytest.raises(ValueError, match="taken back"):
        store.commit(verb)


def test_nothing_is_sealed_under_a_key_that_another_process_has_removed(lake: Path) -> None:
    with ObjectStore(lake) as store:
        seal_and_fail(store)
        assert (lake / "meta" / INSIDE_FILE).exists()
        ObjectStore(lake, lake_key=ONE).close()
        assert not (lake / "meta" / INSIDE_FILE).exists()
        sealed = store.keys.seal("hosu-test", b"secret", b"context")
    assert unseal(lake, None, sealed) == b"secret"


def test_a_key_that_is_needed_since_just_now_is_not_removed(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process without a key from outside wraps its first key between another one's look and that one's settling."""
    sealed = []

    def settle(held: HeldKey, commit: Callable[[Callable[[Tx], int]], int]) -> None:
        sealed.append(store.keys.seal("hosu-test", b"secret", b"context"))
        settle_lake_key(held, commit)

    with ObjectStore(lake) as store:
        seal_and_fail(store)
        with monkeypatch.context() as patched:
            patched.setattr("hosu.objects.store.settle_lake_key", settle)
            ObjectStore(lake, lake_key=ONE).close()
    assert not (lake / "meta" / INSIDE_FILE).exists()
    assert unseal(lake, ONE, sealed[0]) == b"secret"


def test_two_processes_may_take_a_lake_from_its_own_key_at_once(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of them has seen which key is needed, and finds that key gone: the other was first."""
    sealed = seal(lake, None)

    def overtaken(folder: Path) -> LakeKey | None:
        patched.undo()
        ObjectStore(lake, lake_key=ONE).close()
        return load_inside_key(folder)

    with monkeypatch.context() as patched:
        patched.setattr("hosu.objects.encryption.lakekeys.load_inside_key", overtaken)
        assert unseal(lake, ONE, sealed) == b"secret"
