"""The doctor finds what records and files say against each other, repairs what can be, and gives nothing up unasked."""

import pytest
from tests.unit.objects.conftest import BUCKET, Commit, Put, Stage
from tests.unit.rules.protection.harm import Harm, ProtectedPrefix, put_parts, read, run_copies

from hosu.objects import multipart
from hosu.objects.aliases import set_alias
from hosu.objects.audit import read_outbox
from hosu.objects.delete import delete_object
from hosu.objects.multipart import add_part, create_upload
from hosu.objects.read import find
from hosu.objects.records import Attributes, Versioning
from hosu.objects.store import ObjectStore
from hosu.objects.sweep import ORPHAN_MS, sweep
from hosu.rules.copy_job import LocationKeeper
from hosu.rules.doctor_files import diagnose, treat
from hosu.testing.lake_check import find_faults, read_contents
from hosu.testing.manual_clock import ManualClock

BODY = b"model" * 10_000
OTHER = b"other" * 10_000
PART = 40_000


def damage(store: ObjectStore, *statements: str) -> None:
    """Change records as only a fault would."""
    for statement in statements:
        store.commit(lambda tx, statement=statement: tx.run(statement).close())  # type: ignore[misc]


def kinds(store: ObjectStore) -> list[str]:
    return sorted(finding.kind for finding in diagnose(store))


@pytest.fixture
def filled(
    store: ObjectStore, put: Put, commit: Commit, stage: Stage, versioned: None, monkeypatch: pytest.MonkeyPatch
) -> ObjectStore:
    """A lake with something of everything: versions, markers, parts, an upload, an alias."""
    assert versioned is None
    put("a", BODY)
    put("a", BODY + b"2")
    put("b", OTHER)
    put("b", b"small")
    commit(delete_object, BUCKET, "b")
    put("folder/c", b"small too")
    monkeypatch.setattr(multipart, "PART_BYTES_MIN", 1)
    put_parts(store, stage, "composed", [b"1" * PART, b"2" * PART, b"three"])
    upload = commit(create_upload, BUCKET, "under way", attributes=Attributes())
    commit(add_part, BUCKET, "under way", upload.upload_id, 1, stage(b"part" * 10_000), etag="e")
    commit(set_alias, BUCKET, "shown/", "folder/")
    return store


def test_a_sound_lake_has_nothing(filled: ObjectStore) -> None:
    assert kinds(filled) == []
    visit = treat(filled)
    assert (visit.repaired, visit.left) == (0, [])


REPAIRED: dict[str, tuple[list[str], list[str]]] = {
    "usage": (["UPDATE bucket SET object_count = 77, version_bytes = -1"], ["usage"]),
    "parts": (["UPDATE bucket SET part_bytes = 0"], ["usage"]),
    "aliases": (["UPDATE bucket SET alias_count = 0"], ["usage"]),
    "too many references": (["UPDATE blob SET refs = refs + 3 WHERE id % 2 = 0"], ["references"]),
    "too few references": (["UPDATE blob SET refs = 0 WHERE refs = 1 AND kind = 1"], ["references", "unreferenced"]),
    "blob of nobody": (
        [
            """INSERT INTO blob (id, kind, is_corrupt, refs, size_bytes, verified_ms, inode, ctime_ns, body)
            VALUES (1, 0, 0, 0, 1, 0, 0, 0, x'00')"""
        ],
        ["unreferenced"],
    ),
    "garbage in use": (["INSERT INTO garbage SELECT id, 0 FROM blob"], ["garbage"]),
    "garbage that is gone": (["INSERT INTO garbage VALUES (123456, 0)"], ["garbage"]),
    "part of no upload": (["DELETE FROM upload"], ["upload-missing", "usage"]),
    "rows of no bucket": (
        ["INSERT INTO alias VALUES (99, 'a/', 'b/', 1)", "INSERT INTO bucket_document VALUES (99, 'cors', 'x')"],
        ["bucket-leftover"],
    ),
    "no current object": (
        [
            """INSERT INTO version SELECT bucket_id, key, 0, seq, version_id, size_bytes, etag, modified_ms, blob_id,
            storage_class, checksum_algorithm, checksum_type, checksum_value, part_count, attributes FROM object
            WHERE key = 'a'""",
            "DELETE FROM object WHERE key = 'a'",
        ],
        ["usage", "version-hidden"],
    ),
    "order": (["UPDATE object SET seq = 1 WHERE key = 'a'"], ["version-number", "version-order"]),
    "ids": (["UPDATE version SET version_id = 'null'", "UPDATE object SET version_id = 'null'"], ["version-twice"]),
    "blob numbers": (["UPDATE counter SET value = 4096 WHERE name = 'blob'"], ["blob-numbers"]),
    "event numbers": (["DELETE FROM event"], ["event-numbers"]),
    "protected": (["UPDATE bucket SET protected = 2"], ["protected-count"]),
    "segments of nothing": (["INSERT INTO segment SELECT 77, 1, 0, 0, 1, min(id), 0, NULL FROM blob"], ["references"]),
}


@pytest.mark.parametrize("name", REPAIRED)
def test_what_can_be_repaired_is_found_and_repaired(filled: ObjectStore, name: str) -> None:
    statements, expected = REPAIRED[name]
    before = find_faults(filled)
    assert before == []
    damage(filled, *statements)
    found = kinds(filled)
    assert set(expected) <= set(found)
    explained = list(diagnose(filled))
    assert all(finding.where and finding.what and finding.why and finding.repair for finding in explained)
    assert not any(finding.loses for finding in explained)
    assert kinds(filled) == found, "looking changes nothing"
    visit = treat(filled)
    assert visit.left == []
    assert visit.repaired > 0
    assert find_faults(filled) == []
    assert read(filled, "a") == BODY + b"2"
    assert read(filled, "composed")[-5:] == b"three"
    lines = [row.body for row in read_outbox(filled.view(), 0, 10_000) if b'"operation":"doctor:' in row.body]
    assert lines


def test_repairs_change_nothing_that_users_see(filled: ObjectStore) -> None:
    before = read_contents(filled)
    damage(filled, "UPDATE blob SET refs = refs + 1", "UPDATE bucket SET object_bytes = 0, marker_count = 9")
    treat(filled)
    assert read_contents(filled) == before


@pytest.mark.parametrize("knows_its_name", ["events", "none"])
def test_objects_of_a_bucket_that_is_gone_get_one(filled: ObjectStore, knows_its_name: str) -> None:
    damage(filled, "DELETE FROM bucket", *(["DELETE FROM event"] if knows_its_name == "none" else []))
    assert "bucket-missing" in kinds(filled)
    assert treat(filled).left == []
    (name,) = filled.view().rows("SELECT name FROM bucket")[0]
    assert name == BUCKET if knows_its_name == "events" else name.startswith("recovered-")
    assert filled.view().bucket(name).versioning == Versioning.ENABLED
    assert find(filled.view(), name, "a").size_bytes == len(BODY) + 1
    assert [fault for fault in find_faults(filled) if "no event" not in fault] == []


def test_a_lost_record_of_bytes_is_made_again_from_their_file(filled: ObjectStore, clock: ManualClock) -> None:
    blob_id = find(filled.view(), BUCKET, "a").blob_id
    damage(filled, f"DELETE FROM blob WHERE id = {blob_id}")
    (finding,) = [finding for finding in diagnose(filled) if finding.kind == "blob-missing"]
    assert not finding.loses
    # Files without a record go after a while, but not while an object needs them.
    import os

    old_s = clock.now_ms() / 1000 - 2 * ORPHAN_MS / 1000
    os.utime(filled.files.path(blob_id or 0), (old_s, old_s))
    assert sweep(filled).orphans == 0
    assert treat(filled).left == []
    assert read(filled, "a") == BODY + b"2"
    assert find_faults(filled) == []


@pytest.mark.parametrize("what", ["inline", "file gone", "file changed"])
def test_bytes_that_are_lost_are_given_up_only_when_asked(filled: ObjectStore, put: Put, harm: Harm, what: str) -> None:
    first = put("lost", OTHER + b"1")
    if what == "inline":
        put("lost", b"small one")
    else:
        put("lost", OTHER + b"2")
        harm.do("unlink" if what == "file gone" else "flip", "lost")
    blob_id = find(filled.view(), BUCKET, "lost").blob_id
    damage(filled, f"DELETE FROM blob WHERE id = {blob_id}")
    visit = treat(filled)
    (finding,) = [finding for finding in visit.left if finding.kind == "blob-missing"]
    assert finding.loses
    assert f"{BUCKET}/lost" in finding.where
    before = find(filled.view(), BUCKET, "lost")
    treat(filled, ["parts-broken"])
    assert find(filled.view(), BUCKET, "lost") == before
    assert treat(filled, ["blob-missing"]).left == []
    assert find(filled.view(), BUCKET, "lost").version_id == first.version_id
    assert find_faults(filled) == []


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM segment WHERE start > 0 AND start < 50000",
        "DELETE FROM segment WHERE start = 0",
        "DELETE FROM blob WHERE id = (SELECT min(child_id) FROM segment)",
        "UPDATE segment SET child_start = 100 WHERE start = 0",
        "UPDATE segment SET size_bytes = size_bytes - 1 WHERE start = 0",
    ],
)
def test_an_object_that_lacks_parts_is_named_and_given_up_only_when_asked(filled: ObjectStore, statement: str) -> None:
    damage(filled, statement)
    left = [finding for finding in treat(filled).left if finding.kind == "parts-broken"]
    assert [finding.where for finding in left] == [f"{BUCKET}/composed"]
    assert left[0].loses
    assert treat(filled, ["parts-broken"]).left == []
    sweep(filled, grace_ms=0)
    assert find_faults(filled) == []


def test_unreadable_attributes_are_given_up_only_when_asked(filled: ObjectStore) -> None:
    damage(filled, "UPDATE object SET attributes = '{\"headers\": 5' WHERE key = 'a'")
    (finding,) = treat(filled).left
    assert finding.kind == "attributes-unreadable"
    assert finding.loses
    assert treat(filled, ["attributes-unreadable"]).left == []
    assert find(filled.view(), BUCKET, "a").attributes == Attributes()


@pytest.mark.parametrize("table", ["object", "blob", "inline"])
def test_sizes_are_what_the_hash_vouches_for(filled: ObjectStore, harm: Harm, table: str) -> None:
    row = harm.row("folder/c" if table == "inline" else "a")
    statement = (
        "UPDATE object SET size_bytes = 5 WHERE key = 'a'"
        if table == "object"
        else f"UPDATE blob SET size_bytes = 5 WHERE id = {row.id}"
    )
    damage(filled, statement)
    assert "size" in kinds(filled)
    assert treat(filled).left == []
    assert find_faults(filled) == []
    assert read(filled, "a") == BODY + b"2"


def test_a_hash_that_changed_is_told_from_bytes_that_did(filled: ObjectStore, harm: Harm) -> None:
    row = harm.row("a")
    damage(filled, f"UPDATE blob SET hash = zeroblob(32), is_corrupt = 1 WHERE id = {row.id}")
    assert "blob-hash" in kinds(filled)
    assert treat(filled).left == []
    assert read(filled, "a") == BODY + b"2"
    assert harm.row("a").digest == row.digest


@pytest.mark.parametrize("what", ["unlink", "truncate", "flip"])
def test_files_are_restored_where_they_can_be_and_named_where_not(
    store: ObjectStore, put: Put, harm: Harm, protected: ProtectedPrefix, copying: LocationKeeper, what: str
) -> None:
    put("models/a", BODY)
    put("lost", OTHER)
    run_copies(store, copying)
    for key in ("models/a", "lost"):
        harm.do(what, key)
        if what == "flip":
            damage(store, f"UPDATE blob SET is_corrupt = 1 WHERE id = {harm.row(key).id}")
    kind = {"unlink": "file-missing", "truncate": "file-size", "flip": "blob-corrupt"}[what]
    assert kinds(store) == [kind, kind]
    (finding,) = treat(store).left
    assert f"{BUCKET}/lost" in finding.where
    assert read(store, "models/a") == BODY
    assert protected.copy


def test_files_without_a_record_are_counted_and_removed(filled: ObjectStore, clock: ManualClock) -> None:
    import os

    strays = [filled.files.path(blob_id) for blob_id in (4_000, 4_001)]
    strays[0].parent.mkdir(exist_ok=True)
    for stray in strays:
        stray.write_bytes(b"stray")
        old_s = clock.now_ms() / 1000 - 2 * ORPHAN_MS / 1000
        os.utime(stray, (old_s, old_s))
    (finding,) = diagnose(filled)
    assert "2 files (10 bytes)" in finding.what
    assert treat(filled).left == []
    assert not any(stray.exists() for stray in strays)


def test_an_alias_that_shows_nothing_and_an_unreadable_rule_are_named(filled: ObjectStore) -> None:
    damage(
        filled,
        "UPDATE alias SET target = 'nowhere/'",
        "INSERT INTO lake_document VALUES ('capacity', '{')",
    )
    assert kinds(filled) == ["alias-target", "document-unreadable"]
    assert len(treat(filled).left) == 2


def test_many_faults_at_once_are_all_repaired(filled: ObjectStore) -> None:
    damage(filled, *(statement for statements, _ in REPAIRED.values() for statement in statements))
    treat(filled)
    assert [finding.kind for finding in treat(filled).left] == []
    assert find_faults(filled) == []
    assert read(filled, "a") == BODY + b"2"
