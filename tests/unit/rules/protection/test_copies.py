"""Second copies: every version of what is protected is in the location, and only that, verified and listed."""

import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from blake3 import blake3
from tests.support.clients import S3Client
from tests.support.server import Endpoint
from tests.unit.objects.conftest import BUCKET, Commit, Put
from tests.unit.rules.protection.harm import Harm, ProtectedPrefix, read, run_copies

from hosu.kernel.errors import ConflictError, HosuError
from hosu.kernel.settings import Settings
from hosu.objects.alerts import Alert, Severity, list_alerts
from hosu.objects.aliases import set_alias
from hosu.objects.audit import read_outbox
from hosu.objects.delete import delete_object
from hosu.objects.store import ObjectStore
from hosu.rules import copies
from hosu.rules.copies import plan_copies
from hosu.rules.copy_job import BEHIND_MS_MAX, MANIFEST_PERIOD_MS, RETRY_S_MAX, CopyJob, LocationKeeper
from hosu.rules.copy_job import run_copies as make_copies
from hosu.rules.copy_places import MARKER, accept_location, make_place
from hosu.rules.keeping import Keep
from hosu.rules.locations import ACCESS_KEY, SECRET_KEY
from hosu.rules.protection import protect, unprotect
from hosu.rules.wanted import WANTED
from hosu.testing.manual_clock import ManualClock

BODY = b"model" * 10_000
DAY_MS = 86_400_000


def copies_in(location: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in location.glob("blobs/??/*")}


def hash_of(body: bytes) -> str:
    return blake3(body).hexdigest()


def missing_alerts(store: ObjectStore) -> list[Alert]:
    return [alert for alert in list_alerts(store.view()) if alert.kind == "copy-missing"]


@pytest.mark.usefixtures("versioned")
def test_every_version_below_the_prefix_is_copied_and_nothing_else(
    store: ObjectStore, put: Put, copying: LocationKeeper, location: Path
) -> None:
    bodies = [BODY, BODY + b"2", b"small"]
    for body in bodies:
        put("models/a", body)
    put("models/empty", b"")
    put("elsewhere", b"other" * 10_000)
    planned = {planned.size_bytes for planned in plan_copies(store, Settings())}
    run_copies(store, copying)
    assert copies_in(location) == {hash_of(body): body for body in bodies}
    assert planned == {len(body) for body in bodies}
    assert list(plan_copies(store, Settings())) == []
    assert missing_alerts(store) == []


def test_what_is_put_later_is_copied_too(store: ObjectStore, put: Put, copying: LocationKeeper, location: Path) -> None:
    run_copies(store, copying)
    put("models/a", BODY)
    put("elsewhere", b"other" * 10_000)
    run_copies(store, copying)
    assert copies_in(location) == {hash_of(BODY): BODY}
    lines = [row.body for row in read_outbox(store.view(), 0, 100) if b"protection:Copy" in row.body]
    assert len(lines) == 1
    assert b'"key":"models/a"' in lines[0]


def test_the_target_of_an_alias_below_the_prefix_is_copied(
    store: ObjectStore, put: Put, commit: Commit, copying: LocationKeeper, location: Path
) -> None:
    put("trained/7/a", BODY)
    run_copies(store, copying)
    assert copies_in(location) == {}
    commit(set_alias, BUCKET, "models/live/", "trained/7/")
    run_copies(store, copying)
    assert copies_in(location) == {hash_of(BODY): BODY}


def test_events_that_are_gone_are_made_up_for(
    store: ObjectStore, put: Put, copying: LocationKeeper, location: Path
) -> None:
    run_copies(store, copying)
    put("models/a", BODY)
    put("other", BODY + b"2")
    statement = "DELETE FROM event WHERE seq < (SELECT max(seq) FROM event)"
    store.commit(lambda tx: tx.run(statement).close())
    run_copies(store, copying)
    assert copies_in(location) == {hash_of(BODY): BODY}


@pytest.mark.parametrize("what", ["gone", "shorter"])
def test_a_copy_that_has_gone_is_made_again_within_a_day(
    store: ObjectStore,
    put: Put,
    harm: Harm,
    copying: LocationKeeper,
    location: Path,
    clock: ManualClock,
    what: str,
) -> None:
    put("models/a", BODY)
    run_copies(store, copying)
    path = harm.copy_path(location, "models/a")
    path.unlink() if what == "gone" else path.write_bytes(b"short")
    clock.advance(DAY_MS)
    run_copies(store, copying)
    assert copies_in(location) == {hash_of(BODY): BODY}


def test_copies_that_nothing_needs_go_after_their_grace(
    store: ObjectStore,
    put: Put,
    commit: Commit,
    copying: LocationKeeper,
    location: Path,
    clock: ManualClock,
) -> None:
    put("models/a", BODY)
    put("models/b", BODY + b"2")
    run_copies(store, copying)
    commit(delete_object, BUCKET, "models/a")
    for _ in range(copies.GRACE_DAYS):
        clock.advance(DAY_MS)
        run_copies(store, copying)
        assert len(copies_in(location)) == 2
    clock.advance(DAY_MS)
    assert [planned.action for planned in plan_copies(store, Settings())] == ["RemoveCopy"]
    run_copies(store, copying)
    assert copies_in(location) == {hash_of(BODY + b"2"): BODY + b"2"}


def test_a_copy_that_is_needed_again_in_time_stays(
    store: ObjectStore,
    put: Put,
    commit: Commit,
    copying: LocationKeeper,
    location: Path,
    clock: ManualClock,
) -> None:
    put("models/a", BODY)
    run_copies(store, copying)
    commit(delete_object, BUCKET, "models/a")
    clock.advance(DAY_MS)
    run_copies(store, copying)
    put("models/b", BODY)
    for _ in range(2 * copies.GRACE_DAYS):
        clock.advance(DAY_MS)
        run_copies(store, copying)
    assert copies_in(location) == {hash_of(BODY): BODY}


def test_a_location_that_no_rule_names_is_emptied_and_forgotten(
    store: ObjectStore,
    put: Put,
    commit: Commit,
    copying: LocationKeeper,
    location: Path,
    clock: ManualClock,
) -> None:
    put("models/a", BODY)
    run_copies(store, copying)
    commit(unprotect, BUCKET, "models/")
    for _ in range(copies.GRACE_DAYS + 1):
        assert WANTED["copies"](store.view(), Settings())
        run_copies(store, copying)
        clock.advance(DAY_MS)
    assert [path for path in location.rglob("*") if path.is_file() and ".hosu-tmp" not in path.parts] == []
    assert not WANTED["copies"](store.view(), Settings())


def test_a_corrupt_blob_is_never_copied_and_the_rest_is(
    store: ObjectStore, put: Put, harm: Harm, copying: LocationKeeper, location: Path
) -> None:
    put("models/a", BODY)
    put("models/b", BODY + b"2")
    harm.do("flip", "models/a")
    run_copies(store, copying)
    assert copies_in(location) == {hash_of(BODY + b"2"): BODY + b"2"}
    assert len(missing_alerts(store)) == 1


def test_a_blob_that_is_lost_is_tried_again_alone_and_the_rest_goes_on_being_copied(
    store: ObjectStore,
    put: Put,
    harm: Harm,
    copying: LocationKeeper,
    location: Path,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put("models/a", BODY)
    harm.do("flip", "models/a")
    walks, walk = [], LocationKeeper.walk

    def counted(self: LocationKeeper, prefixes: dict[str, tuple[str, ...]], stop: threading.Event) -> bool:
        walks.append(prefixes)
        return walk(self, prefixes, stop)

    monkeypatch.setattr(LocationKeeper, "walk", counted)
    for number in range(3):
        put(f"models/b{number}", BODY + bytes([number]))
        run_copies(store, copying)
        clock.advance(round(RETRY_S_MAX * 1000))
    assert copies_in(location).keys() == {hash_of(BODY + bytes([number])) for number in range(3)}
    assert len((location / "manifest" / f"{BUCKET}.jsonl").read_text().splitlines()) == 4
    assert len(missing_alerts(store)) == 1
    harm.do("flip", "models/a")  # back
    run_copies(store, copying)
    assert len(copies_in(location)) == 4
    assert missing_alerts(store) == []
    assert len(walks) == 1


def test_a_location_out_of_reach_is_alerted_tried_again_and_forgiven(
    store: ObjectStore,
    put: Put,
    copying: LocationKeeper,
    location: Path,
    clock: ManualClock,
) -> None:
    put("models/a", BODY)
    away = location.with_name("away")
    location.rename(away)
    run_copies(store, copying)
    (alert,) = missing_alerts(store)
    assert alert.severity == Severity.WARNING
    assert str(location) in alert.message
    clock.advance(BEHIND_MS_MAX + 1)
    run_copies(store, copying)
    (alert,) = missing_alerts(store)
    assert alert.severity == Severity.CRITICAL
    away.rename(location)
    clock.advance(round(RETRY_S_MAX * 1000))
    run_copies(store, copying)
    assert missing_alerts(store) == []
    assert copies_in(location) == {hash_of(BODY): BODY}


def test_an_empty_folder_in_the_place_of_the_disk_gets_no_copies(
    store: ObjectStore,
    put: Put,
    copying: LocationKeeper,
    location: Path,
    clock: ManualClock,
) -> None:
    put("models/a", BODY)
    run_copies(store, copying)
    shutil.rmtree(location)
    location.mkdir()
    put("models/b", BODY + b"2")
    run_copies(store, copying)
    assert copies_in(location) == {}
    (alert,) = missing_alerts(store)
    assert "mounted" in alert.message
    accept_location(store, str(location))
    clock.advance(DAY_MS)
    run_copies(store, copying)
    assert copies_in(location) == {hash_of(body): body for body in (BODY, BODY + b"2")}


def test_a_location_with_copies_of_another_lake_is_left_alone(
    store: ObjectStore, put: Put, copying: LocationKeeper, location: Path, tmp_path: Path
) -> None:
    with ObjectStore(tmp_path / "other") as other:
        make_place(other, str(location))
    put("models/a", BODY)
    run_copies(store, copying)
    assert copies_in(location) == {}
    assert str(tmp_path / "other") in missing_alerts(store)[0].message
    with pytest.raises(ConflictError):
        make_place(store, str(location))


def test_two_jobs_may_take_a_new_location_at_once(store: ObjectStore, tmp_path: Path) -> None:
    location = tmp_path / "fresh"
    location.mkdir()
    with ThreadPoolExecutor(8) as threads:
        places = list(threads.map(lambda _: make_place(store, str(location)), range(8)))
    assert len({place.number for place in places}) == 1
    assert (location / MARKER).is_file()


def test_a_copy_that_is_there_already_is_read_not_written(
    store: ObjectStore, put: Put, harm: Harm, copying: LocationKeeper, location: Path
) -> None:
    put("models/a", BODY)
    run_copies(store, copying)
    inode = harm.copy_path(location, "models/a").stat().st_ino
    accept_location(store, str(location))
    again = LocationKeeper(copying._keep, str(location))
    run_copies(store, again)
    assert harm.copy_path(location, "models/a").stat().st_ino == inode
    assert list(plan_copies(store, Settings())) == []


@pytest.mark.usefixtures("versioned")
def test_objects_can_be_rebuilt_from_the_list_beside_their_copies(
    store: ObjectStore, put: Put, copying: LocationKeeper, location: Path,
    clock: ManualClock,
) -> None:  # fmt: skip
    records = [put("models/a", BODY), put("models/a", b"small"), put("models/b", BODY * 2)]
    run_copies(store, copying)
    lines = [json.loads(line) for line in (location / f"manifest/{BUCKET}.jsonl").read_text().splitlines()]
    found = {}
    for line in lines:
        body = b""
        for piece in line["pieces"]:
            stored = (location / f"blobs/{piece['hash'][:2]}/{piece['hash']}").read_bytes()
            body += stored[piece["start"] : piece["start"] + piece["size_bytes"]]
        found[line["version_id"]] = (line["key"], line["etag"], body)
    wanted = {
        record.version_id: (record.key, record.etag, read(store, record.key, record.version_id)) for record in records
    }
    assert found == wanted
    put("models/c", b"later")
    clock.advance(MANIFEST_PERIOD_MS)
    run_copies(store, copying)
    assert '"models/c"' in (location / f"manifest/{BUCKET}.jsonl").read_text()


@pytest.mark.usefixtures("versioned")
def test_many_versions_of_one_key_are_all_copied(
    store: ObjectStore, put: Put, copying: LocationKeeper, location: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(copies, "ROWS_PER_PAGE", 3)
    bodies = [f"body {number}".encode() for number in range(9)]
    for number, body in enumerate(bodies):
        put(f"models/{number % 2}", body)
        put(f"models/{number}/x", body + b"x")
    run_copies(store, copying)
    wanted = {*bodies, *(body + b"x" for body in bodies)}
    assert set(copies_in(location).values()) == wanted


@pytest.mark.usefixtures("protected")
def test_the_job_keeps_every_location_until_it_is_stopped(
    store: ObjectStore, put: Put, commit: Commit, keep: Keep, tmp_path: Path,
    counts: dict[str, int], location: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    second = tmp_path / "second"
    second.mkdir()
    commit(protect, ProtectedPrefix(BUCKET, "keep/", str(second)))
    put("models/a", BODY)
    put("keep/a", BODY + b"2")
    stop, looks = threading.Event(), []

    def wait(_seconds: float) -> bool:
        looks.append(1)
        stop.set()
        return True

    monkeypatch.setattr(stop, "wait", wait)
    assert WANTED["copies"](store.view(), Settings())
    CopyJob(keep).run(stop)
    assert looks == [1]
    assert copies_in(location) == {hash_of(BODY): BODY}
    assert copies_in(second) == {hash_of(BODY + b"2"): BODY + b"2"}
    assert counts["rule_actions/protection/Copy"] == 2
    assert json.loads((second / MARKER).read_text())["format"] == 1


def test_copies_in_an_s3_bucket_restore_what_is_corrupt(
    store: ObjectStore, put: Put, commit: Commit, keep: Keep, harm: Harm, server: Endpoint, s3: S3Client, bucket: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv(ACCESS_KEY, server.access_key)
    monkeypatch.setenv(SECRET_KEY, server.secret_key)
    place = f"s3://{bucket}/second?endpoint={server.url}"
    commit(protect, ProtectedPrefix(BUCKET, "models/", place))
    put("models/a", BODY)
    put("models/b", b"small")
    run_copies(store, LocationKeeper(keep, place))
    found = {entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]}
    hashes = {hash_of(BODY), hash_of(b"small")}
    assert found == {
        f"second/{MARKER}", f"second/manifest/{BUCKET}.jsonl", *(f"second/blobs/{it[:2]}/{it}" for it in hashes)
    }  # fmt: skip
    harm.do("unlink", "models/a")
    harm.inline("models/b")
    assert (read(store, "models/a"), read(store, "models/b")) == (BODY, b"small")


def test_copies_are_made_once_when_asked(
    store: ObjectStore, put: Put, protected: ProtectedPrefix, location: Path
) -> None:
    put("models/a", BODY)
    (done,) = make_copies(store, Settings())
    assert (done.action, done.key) == ("Copy", "models/a")
    assert protected.copy in done.reason
    assert copies_in(location) == {hash_of(BODY): BODY}
    assert make_copies(store, Settings()) == []
    shutil.rmtree(location)
    put("models/b", BODY + b"2")
    with pytest.raises(HosuError, match="mount"):
        make_copies(store, Settings())
