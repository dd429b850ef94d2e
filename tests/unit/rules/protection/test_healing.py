"""Corrupt bytes are restored while they are read: from a second copy or a twin; what cannot be is named."""

import os
from functools import partial
from pathlib import Path

import pytest
from tests.unit.objects.conftest import BUCKET, Commit, Put
from tests.unit.rules.protection.harm import Harm, ProtectedPrefix, read, run_copies

from hosu.kernel.errors import CorruptError
from hosu.objects.alerts import Alert, list_alerts
from hosu.objects.aliases import set_alias
from hosu.objects.audit import read_outbox
from hosu.objects.blobs import VERIFIED_MS_MAX
from hosu.objects.delete import delete_object
from hosu.objects.healing import Owner, find_owners
from hosu.objects.read import find
from hosu.objects.store import ObjectStore
from hosu.objects.views import View
from hosu.rules import healing
from hosu.rules.copy_job import LocationKeeper
from hosu.rules.healing import RETRY_S, install_healer
from hosu.testing.lake_check import find_faults, find_orphans
from hosu.testing.manual_clock import ManualClock

BODY = b"model" * 10_000
SMALL = b"small model"
HARMS = ["flip", "truncate", "lengthen", "zero", "unlink"]


def alerts(store: ObjectStore, kind: str) -> list[Alert]:
    return [alert for alert in list_alerts(store.view()) if alert.kind == kind]


def audit_lines(store: ObjectStore) -> list[str]:
    return [row.body.decode() for row in read_outbox(store.view(), 0, 1_000)]


@pytest.mark.parametrize("what", HARMS)
def test_a_corrupt_file_is_restored_from_its_copy_while_it_is_read(
    store: ObjectStore, put: Put, harm: Harm, protected: ProtectedPrefix, copying: LocationKeeper, what: str
) -> None:
    put("models/a", BODY)
    run_copies(store, copying)
    harm.do(what, "models/a")
    assert read(store, "models/a") == BODY
    assert harm.path("models/a").read_bytes() == BODY
    assert find_faults(store) == []
    assert find_orphans(store) == set()
    (alert,) = alerts(store, "restored-object")
    assert protected.copy in alert.message
    assert alerts(store, "corrupt-object") == []
    assert any("protection:Restore" in line and "second copy" in line for line in audit_lines(store))


def test_corrupt_inline_bytes_are_restored_from_their_copy(
    store: ObjectStore, put: Put, harm: Harm, copying: LocationKeeper
) -> None:
    put("models/a", SMALL)
    run_copies(store, copying)
    harm.inline("models/a")
    assert read(store, "models/a") == SMALL
    assert find_faults(store) == []


def test_a_corrupt_file_is_restored_from_another_blob_with_its_bytes(
    store: ObjectStore,
    put: Put,
    harm: Harm,
) -> None:
    put("a", BODY)
    harm.do("unlink", "a")
    put("b", BODY)  # its bytes do not rely on a file that is gone
    assert harm.row("a").id != harm.row("b").id
    assert read(store, "a") == BODY
    assert find_faults(store) == []


def test_what_cannot_be_restored_is_refused_and_named(
    store: ObjectStore, put: Put, harm: Harm, clock: ManualClock
) -> None:
    put("a", BODY)
    put("same", BODY)
    harm.do("flip", "a")
    for key in ("a", "same"):
        with pytest.raises(CorruptError):
            read(store, key)
    (alert,) = alerts(store, "corrupt-object")
    assert alert.subject == f"blob/{harm.row('a').id}"
    assert f"{BUCKET}/a, {BUCKET}/same" in alert.message
    assert alert.count == 1, "it is not looked for again at once"
    clock.advance(round(RETRY_S * 1000))
    with pytest.raises(CorruptError):
        read(store, "a")
    assert alerts(store, "corrupt-object")[0].count == 2


def test_an_alert_ends_once_the_bytes_are_right_again(
    store: ObjectStore, put: Put, harm: Harm, clock: ManualClock
) -> None:
    put("a", BODY)
    path = harm.path("a")
    harm.do("flip", "a")
    with pytest.raises(CorruptError):
        read(store, "a")
    harm.flip(path)
    clock.advance(round(RETRY_S * 1000))
    assert read(store, "a") == BODY
    assert alerts(store, "corrupt-object") == []


def test_a_copy_that_rotted_too_restores_nothing(
    store: ObjectStore,
    put: Put,
    harm: Harm,
    copying: LocationKeeper,
    location: Path,
) -> None:
    put("models/a", BODY)
    run_copies(store, copying)
    harm.flip(harm.copy_path(location, "models/a"))
    harm.do("flip", "models/a")
    with pytest.raises(CorruptError):
        read(store, "models/a")
    assert "second copy" in alerts(store, "corrupt-object")[0].message


@pytest.mark.usefixtures("protected", "versioned")
def test_a_protected_object_goes_back_to_the_version_before(
    store: ObjectStore,
    put: Put,
    harm: Harm,
) -> None:
    first = put("models/a", BODY)
    second = put("models/a", BODY + b"2")
    third = put("models/a", BODY + b"3")
    harm.flip(store.files.path(second.blob_id or 0))
    harm.do("flip", "models/a")
    with pytest.raises(CorruptError):  # whoever had opened it before gets an error …
        read(store, "models/a")
    assert read(store, "models/a") == BODY  # … and who asks now the newest version that is sound
    record = find(store.view(), BUCKET, "models/a")
    assert record.etag == first.etag
    assert record.version_id not in {first.version_id, second.version_id, third.version_id}
    for version in (second, third):
        with pytest.raises(CorruptError):
            read(store, "models/a", version.version_id)
    assert find(store.view(), BUCKET, "models/a", third.version_id).seq == third.seq, "it is kept"
    went_back = [alert for alert in alerts(store, "restored-object") if alert.subject == f"object/{BUCKET}/models/a"]
    assert third.version_id in went_back[0].message
    assert any("protection:GoBack" in line and third.version_id in line for line in audit_lines(store))


@pytest.mark.usefixtures("protected", "versioned")
def test_nothing_goes_back_that_another_process_restores_meanwhile(
    store: ObjectStore, put: Put, harm: Harm, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("models/a", BODY)
    last = put("models/a", BODY + b"2")
    harm.do("flip", "models/a")

    def slowly(view: View, blob_ids: list[int]) -> dict[int, list[Owner]]:
        harm.do("flip", "models/a")  # back
        return find_owners(view, blob_ids)

    monkeypatch.setattr(healing, "find_owners", slowly)
    assert read(store, "models/a") == BODY + b"2"
    assert find(store.view(), BUCKET, "models/a").version_id == last.version_id
    assert alerts(store, "corrupt-object") == alerts(store, "restored-object") == []
    assert find_faults(store) == []


@pytest.mark.usefixtures("protected", "versioned")
@pytest.mark.parametrize("key", ["elsewhere/a", "models/deleted"])
def test_nothing_goes_back_where_that_would_bring_back_what_nobody_wants(
    store: ObjectStore, put: Put, commit: Commit, harm: Harm, key: str
) -> None:
    put(key, BODY)
    if key == "models/deleted":
        commit(delete_object, BUCKET, key)
    last = put(key, BODY + b"2")
    harm.do("flip", key)
    for _ in range(2):
        with pytest.raises(CorruptError):
            read(store, key)
    assert find(store.view(), BUCKET, key).version_id == last.version_id


@pytest.mark.usefixtures("protected")
def test_a_bucket_without_versions_keeps_its_corrupt_object(
    store: ObjectStore,
    put: Put,
    harm: Harm,
) -> None:
    put("models/a", BODY)
    harm.do("unlink", "models/a")
    with pytest.raises(CorruptError):
        read(store, "models/a")
    assert find(store.view(), BUCKET, "models/a").size_bytes == len(BODY)


@pytest.mark.usefixtures("protected", "versioned")
def test_what_an_alias_shows_below_a_protected_prefix_goes_back_too(
    store: ObjectStore,
    put: Put,
    commit: Commit,
    harm: Harm,
) -> None:
    put("trained/7/a", BODY)
    put("trained/7/a", BODY + b"2")
    commit(set_alias, BUCKET, "models/live/", "trained/7/")
    harm.do("flip", "trained/7/a")
    with pytest.raises(CorruptError):
        read(store, "models/live/a")
    assert read(store, "models/live/a") == BODY


def test_a_lake_without_a_healer_refuses_as_before(store: ObjectStore, put: Put, harm: Harm) -> None:
    store.healer = None
    put("a", BODY)
    harm.do("flip", "a")
    with pytest.raises(CorruptError):
        read(store, "a")
    assert alerts(store, "corrupt-object") == []


def test_a_file_the_disk_cannot_read_is_restored(
    store: ObjectStore,
    put: Put,
    harm: Harm,
    copying: LocationKeeper,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put("models/a", BODY)
    run_copies(store, copying)
    bad_inode, real = harm.path("models/a").stat().st_ino, os.pread

    def pread(descriptor: int, size: int, offset: int) -> bytes:
        if os.fstat(descriptor).st_ino == bad_inode:
            raise OSError(5, "Input/output error")
        return real(descriptor, size, offset)

    monkeypatch.setattr(os, "pread", pread)
    clock.advance(VERIFIED_MS_MAX)
    assert read(store, "models/a") == BODY
    assert harm.path("models/a").stat().st_ino != bad_inode


def test_readers_at_once_have_it_restored_once(
    store: ObjectStore, put: Put, harm: Harm, copying: LocationKeeper
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    counts: list[str] = []
    install_healer(store, lambda name, _number: counts.append(name))
    put("models/a", BODY)
    run_copies(store, copying)
    harm.do("zero", "models/a")
    with ThreadPoolExecutor(8) as pool:
        bodies = list(pool.map(partial(read, store), ["models/a"] * 24))
    assert bodies == [BODY] * 24
    assert counts.count("rule_actions/protection/Restore") == 1


def test_the_backup_has_bytes_that_no_copy_has(store: ObjectStore, put: Put, harm: Harm, tmp_path: Path) -> None:
    from hosu.rules.backup.schedule import Schedule, set_schedule
    from hosu.rules.backup.taking import take_backup

    location = tmp_path / "backup"
    location.mkdir()
    put("a", BODY)
    put("b", SMALL)
    take_backup(store, str(location))
    store.commit(partial(set_schedule, schedule=Schedule(location=str(location), cron="0 2 * * *")))
    harm.do("unlink", "a")
    harm.inline("b")
    assert read(store, "a") == BODY
    assert read(store, "b") == SMALL
    assert find_faults(store) == []


@pytest.mark.parametrize("who", ["server", "somebody else"])
@pytest.mark.usefixtures("versioned")
def test_only_a_server_goes_back_while_the_copies_are_out_of_reach(
    store: ObjectStore, put: Put, harm: Harm, copying: LocationKeeper, location: Path, clock: ManualClock, who: str
) -> None:
    install_healer(store, is_server=who == "server")
    put("models/a", BODY)
    put("models/a", BODY + b"2")
    run_copies(store, copying)
    away = location.with_name("away")
    location.rename(away)
    harm.do("flip", "models/a")
    with pytest.raises(CorruptError):
        read(store, "models/a")
    assert str(location) in alerts(store, "corrupt-object")[0].message
    if who == "server":
        assert read(store, "models/a") == BODY
        return
    away.rename(location)
    clock.advance(round(RETRY_S * 1000))
    assert read(store, "models/a") == BODY + b"2"
    assert alerts(store, "corrupt-object") == []
