"""Retention by merit: the best stay, and what an alias shows, and what is protected; the rest goes after its grace."""

import json
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import hosu
from hosu.kernel.errors import ConflictError, CorruptError, ErrorKind, HosuError
from hosu.kernel.settings import Settings
from hosu.lake import Bucket, Lake
from hosu.objects.aliases import set_alias
from hosu.objects.audit import read_outbox
from hosu.objects.bodies import open_body
from hosu.objects.protected import ProtectedPrefix
from hosu.objects.records import ObjectRecord
from hosu.objects.store import ObjectStore
from hosu.objects.transaction import Tx
from hosu.objects.views import View
from hosu.rules import ranking
from hosu.rules.keeping import Keep
from hosu.rules.merit import MeritRule, list_merit, put_merit, remove_merit
from hosu.rules.merit_job import MeritJob
from hosu.rules.protection import protect
from hosu.rules.ranking import Fate, expire, plan_merit, rank
from hosu.rules.wanted import WANTED
from hosu.testing.lake_check import find_faults
from hosu.testing.manual_clock import ManualClock

SETTINGS = Settings()
DAY_MS = 24 * 3600 * 1000
PREFIX = "models/training/"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def lake(tmp_path: Path, clock: ManualClock) -> Iterator[Lake]:
    with hosu.open(tmp_path / "lake", clock=clock) as opened:
        yield opened


@pytest.fixture
def bucket(lake: Lake) -> Bucket:
    return lake.create_bucket("door")


def train(bucket: Bucket, clock: ManualClock, version: str, metrics: object = None, **values: object) -> str:
    """Store a model with what its metrics say."""
    clock.advance(1000)
    folder = f"{PREFIX}{version}/"
    bucket.put(f"{folder}best.pt", version.encode() * 10)
    text = metrics if isinstance(metrics, bytes) else json.dumps(values).encode()
    bucket.put(f"{folder}metrics.json", text)
    return folder


def rule_of(lake: Lake, **fields: Any) -> MeritRule:
    given: dict[str, Any] = {"id": "models", "bucket": "door", "prefix": PREFIX, "path": "map50", "best": 2}
    rule = MeritRule(**given | fields)
    lake.store.commit(partial(put_merit, rule=rule))
    return rule


def test_models_among_tables_stay(lake: Lake, clock: ManualClock) -> None:
    bucket = lake.create_bucket("paimon")
    for version in ("a", "b", "c"):
        clock.advance(1000)
        bucket.put(f"warehouse/{version}/metrics.json", json.dumps({"map50": 0.5}).encode())
    rule = rule_of(lake, bucket="paimon", prefix="warehouse/", best=1, grace_days=0)
    clock.advance(10 * DAY_MS)

    assert set(fates(lake, rule).values()) == {"keep"}
    assert expire(lake.store, rule, SETTINGS)
    assert len(list(bucket.list())) == 3


def fates(lake: Lake, rule: MeritRule) -> dict[str, str]:
    return {
        verdict.folder.removeprefix(PREFIX)[:-1]: verdict.fate.value for verdict in rank(lake.store, rule, SETTINGS)
    }


def gone(lake: Lake, rule: MeritRule) -> list[str]:
    """Run the rule; check that exactly what the dry run named went, and return the keys."""
    named = [(each.key, each.version_id) for each in plan_merit(lake.store, rule, SETTINGS)]
    went: list[tuple[str, str]] = []
    assert expire(lake.store, rule, SETTINGS, done=lambda record: went.append((record.key, record.version_id)))
    assert [(key, "" if version == "null" else version) for key, version in went] == named
    return [key for key, _ in went]


def models(bucket: Bucket) -> list[str]:
    return sorted({entry.key.removeprefix(PREFIX).split("/")[0] for entry in bucket.list(PREFIX)})


def test_the_best_stay_and_the_rest_goes_for_good(lake: Lake, bucket: Bucket, clock: ManualClock) -> None:
    for number, version in enumerate(("a", "b", "c", "d")):
        train(bucket, clock, version, map50=(0.5, 0.9, 0.1, 0.7)[number])
    bucket.put(f"{PREFIX}README", b"beside the folders")
    rule = rule_of(lake)
    assert fates(lake, rule) == {"b": "keep", "d": "keep", "a": "expire", "c": "expire"}
    assert gone(lake, rule) == [
        f"{PREFIX}{name}" for name in ("a/best.pt", "a/metrics.json", "c/best.pt", "c/metrics.json")
    ]
    assert models(bucket) == ["README", "b", "d"]
    assert gone(lake, rule) == []
    assert find_faults(lake.store) == []


def test_the_smallest_is_the_best_where_the_rule_says_so_and_the_newer_of_two_equals(
    lake: Lake, bucket: Bucket, clock: ManualClock
) -> None:
    for version, loss in (("a", 3), ("b", 1), ("c", 2), ("d", 2)):
        train(bucket, clock, version, loss=loss)
    rule = rule_of(lake, path="loss", order="min")
    assert [verdict.folder for verdict in rank(lake.store, rule, SETTINGS)] == [
        f"{PREFIX}{name}/" for name in ("b", "d", "c", "a")
    ]
    assert fates(lake, rule) == {"b": "keep", "d": "keep", "c": "expire", "a": "expire"}


def test_a_grace_begins_with_the_newest_object_and_ends_at_midnight(
    lake: Lake, bucket: Bucket, clock: ManualClock
) -> None:
    for version, value in (("a", 0.1), ("b", 0.2)):
        train(bucket, clock, version, map50=value)
    rule = rule_of(lake, best=1, grace_days=7)
    assert fates(lake, rule) == {"b": "keep", "a": "wait"}
    clock.advance(3 * DAY_MS)
    bucket.put(f"{PREFIX}a/last.pt", b"trained on")
    clock.advance(7 * DAY_MS)
    assert fates(lake, rule)["a"] == "wait", "the day has not ended"
    assert gone(lake, rule) == []
    clock.advance(DAY_MS)
    assert len(gone(lake, rule)) == 3


def test_short_days_are_not_rounded(lake: Lake, bucket: Bucket, clock: ManualClock) -> None:
    train(bucket, clock, "a", map50=0.1)
    train(bucket, clock, "b", map50=0.2)
    rule = rule_of(lake, best=1, grace_days=2)
    clock.advance(3000)
    assert [verdict.fate for verdict in rank(lake.store, rule, Settings(day_seconds=1))] == [Fate.KEEP, Fate.EXPIRE]


@pytest.mark.parametrize(
    ("metrics", "why"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"{}", "map50 is missing"),
        (b"[]", "map50 is missing"),
        (b'{"map50": "0.9"}', "not a number"),
        (b'{"map50": true}', "not a number"),
        (b'{"map50": {"a": 1}}', "not a number"),
        (b'{"map50": NaN}', "map50 is nan"),
        (b'{"map50": Infinity}', "map50 is inf"),
        (b'{"map50": 1e999}', "map50 is inf"),
        (b'{"map50": ' + b"9" * 400 + b"}", "too large a number"),
        (b"[" * 100_000, "is not JSON"),
        (b" " * (ranking.FILE_BYTES_MAX + 1), "bytes, more than"),
    ],
)
def test_a_folder_without_a_number_stays_named_unless_the_rule_says_otherwise(
    lake: Lake, bucket: Bucket, clock: ManualClock, metrics: bytes, why: str
) -> None:
    train(bucket, clock, "odd", metrics)
    train(bucket, clock, "a", map50=0.5)
    rule = rule_of(lake, best=1)
    verdicts = rank(lake.store, rule, SETTINGS)
    assert [(verdict.fate, verdict.rank) for verdict in verdicts] == [(Fate.KEEP, 1), (Fate.KEEP, 0)]
    assert why in verdicts[1].reason
    assert gone(lake, rule) == []
    rule = rule_of(lake, best=1, unranked="expire")
    assert len(gone(lake, rule)) == 2
    assert models(bucket) == ["a"]


@pytest.mark.parametrize("path", ["max(map50)", "length(map50)", "max_by(@, &map50)", "sort(@)[0]"])
def test_a_path_that_does_not_apply_to_a_file_leaves_it_without_a_number(
    lake: Lake, bucket: Bucket, clock: ManualClock, path: str
) -> None:
    train(bucket, clock, "odd", map50=1)
    (verdict,) = rank(lake.store, rule_of(lake, path=path), SETTINGS)
    assert (verdict.fate, verdict.value) == (Fate.KEEP, None)
    assert "does not apply" in verdict.reason


@pytest.mark.parametrize(
    ("path", "metrics"),
    [
        ("floor(map50)", b'{"map50": Infinity}'),
        ("sum(map50)", b'{"map50": [1' + b"0" * 400 + b", 0.5]}"),
        ("avg(map50)", b'{"map50": [1' + b"0" * 400 + b"]}"),
    ],
)
def test_numbers_that_cannot_be_reckoned_with_keep_no_other_folder_from_being_ranked(
    lake: Lake, bucket: Bucket, clock: ManualClock, path: str, metrics: bytes
) -> None:
    train(bucket, clock, "odd", metrics)
    (verdict,) = rank(lake.store, rule_of(lake, path=path), SETTINGS)
    assert (verdict.fate, verdict.value) == (Fate.KEEP, None)
    assert "does not apply" in verdict.reason


@pytest.mark.parametrize("unranked", ["keep", "expire"])
def test_a_folder_whose_number_cannot_be_read_now_stays_in_any_case(
    lake: Lake, bucket: Bucket, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, unranked: str
) -> None:
    train(bucket, clock, "best", map50=0.9)
    train(bucket, clock, "a", map50=0.5)
    train(bucket, clock, "b", map50=0.1)

    def failing(store: ObjectStore, bucket_name: str, key: str) -> Any:
        if "/best/" in key:
            raise CorruptError(ErrorKind.CORRUPT_BLOB, "its bytes changed")
        return open_body(store, bucket_name, key)

    monkeypatch.setattr(ranking, "open_body", failing)
    rule = rule_of(lake, best=1, unranked=unranked)
    assert fates(lake, rule) == {"a": "keep", "b": "expire", "best": "keep"}
    assert "metrics.json cannot be read: its bytes changed" in rank(lake.store, rule, SETTINGS)[-1].reason
    gone(lake, rule)
    assert models(bucket) == ["a", "best"]


def test_a_folder_without_the_file_has_no_number(lake: Lake, bucket: Bucket) -> None:
    bucket.put(f"{PREFIX}v1/.keep", b"")
    (verdict,) = rank(lake.store, rule_of(lake), SETTINGS)
    assert (verdict.fate, verdict.reason) == (Fate.KEEP, "it has no rank: there is no metrics.json")


@pytest.mark.parametrize(
    ("path", "metrics"),
    [
        ("map50", {"map50": 0.5}),
        ("$.map50", {"map50": 0.5}),
        ("metrics.map50", {"metrics": {"map50": 0.5}}),
        ("$.runs[0].map50", {"runs": [{"map50": 0.5}]}),
        ("runs[-1].map50", {"runs": [{"map50": 0.1}, {"map50": 0.5}]}),
        ('metrics."mAP50-95"', {"metrics": {"mAP50-95": 0.5}}),
        ('"metrics/mAP50(B)"', {"metrics/mAP50(B)": 0.5}),
        ("$[1]", [0, 0.5]),
        ("@", 0.5),
        ("max(runs[].map50)", {"runs": [{"map50": 0.5}, {"map50": 0.1}]}),
    ],
)
def test_paths_lead_to_the_number(lake: Lake, bucket: Bucket, clock: ManualClock, path: str, metrics: object) -> None:
    train(bucket, clock, "a", json.dumps(metrics).encode())
    (verdict,) = rank(lake.store, rule_of(lake, path=path), SETTINGS)
    assert (verdict.value, verdict.rank) == (0.5, 1)


def test_what_an_alias_points_to_or_into_stays_whatever_its_rank(
    lake: Lake, bucket: Bucket, clock: ManualClock
) -> None:
    for version, value in (("a", 0.1), ("b", 0.2), ("c", 0.3), ("d", 0.4)):
        train(bucket, clock, version, map50=value)
    bucket.put(f"{PREFIX}b/deep/x.pt", b"x")
    bucket.alias("models/production/current/").set(f"{PREFIX}a/")
    bucket.alias("models/deep/").set(f"{PREFIX}b/deep/")
    rule = rule_of(lake, best=1)
    assert fates(lake, rule) == {"d": "keep", "c": "expire", "b": "keep", "a": "keep"}
    gone(lake, rule)
    assert models(bucket) == ["a", "b", "d"]
    bucket.alias("models/production/current/").set(f"{PREFIX}d/")
    gone(lake, rule)
    assert models(bucket) == ["b", "d"]


def test_an_alias_that_is_switched_between_the_ranking_and_the_removal_is_respected(
    lake: Lake, bucket: Bucket, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version, value in (("a", 0.1), ("b", 0.2), ("c", 0.3)):
        train(bucket, clock, version, map50=value)
    rule = rule_of(lake, best=1)
    remove_some = ranking._remove_some

    def late(tx: Tx, **given: Any) -> Any:
        if not tx.bucket("door").alias_count:
            set_alias(tx, "door", "models/production/current/", f"{PREFIX}b/")
        return remove_some(tx, **given)

    monkeypatch.setattr(ranking, "_remove_some", late)
    assert not expire(lake.store, rule, SETTINGS), "the folders are ranked again"
    assert models(bucket) == ["a", "b", "c"]
    assert expire(lake.store, rule, SETTINGS)
    assert models(bucket) == ["b", "c"]


@pytest.mark.parametrize("change", ["better metrics", "another leader goes", "rule", "protection"])
def test_what_changes_between_the_ranking_and_the_removal_has_all_ranked_again(
    lake: Lake, bucket: Bucket, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    for version, value in (("a", 0.1), ("b", 0.2)):
        train(bucket, clock, version, map50=value)
    rule = rule_of(lake, best=1)
    ranked = ranking.rank

    def changed(*given: Any) -> Any:
        verdicts = ranked(*given)
        if change == "better metrics":
            bucket.put(f"{PREFIX}a/metrics.json", b'{"map50": 0.9}')
        elif change == "another leader goes":
            bucket.delete(f"{PREFIX}b/metrics.json")
        elif change == "rule":
            rule_of(lake, best=2)
        else:
            lake.store.commit(partial(remove_merit, rule_id="models"))
            lake.store.commit(partial(protect, entry=ProtectedPrefix("door", f"{PREFIX}a/")))
        return verdicts

    monkeypatch.setattr(ranking, "rank", changed)
    assert not expire(lake.store, rule, SETTINGS)
    assert "a" in models(bucket)


def test_a_large_folder_goes_in_several_transactions_its_number_last(
    lake: Lake, bucket: Bucket, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "CHANGES_PER_TRANSACTION", 4)
    train(bucket, clock, "a", map50=0.1)
    train(bucket, clock, "b", map50=0.2)
    for number in range(9):
        bucket.put(f"{PREFIX}a/z{number}", b"x")
    rule = rule_of(lake, best=1)
    keys = gone(lake, rule)
    assert (len(keys), keys[-1]) == (11, f"{PREFIX}a/metrics.json")
    assert models(bucket) == ["b"]


def test_each_transaction_reads_no_more_of_a_large_folder_than_it_removes(
    lake: Lake, bucket: Bucket, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "CHANGES_PER_TRANSACTION", 4)
    bucket.enable_versioning()
    train(bucket, clock, "a", map50=0.1)
    train(bucket, clock, "b", map50=0.2)
    for number in range(30):
        bucket.put(f"{PREFIX}a/z{number % 7}", str(number).encode())
    bucket.delete(f"{PREFIX}a/z3")
    rule = rule_of(lake, best=1)
    read: list[int] = []
    stored = ranking._stored

    def counted(view: View, *values: Any) -> list[ObjectRecord]:
        found = stored(view, *values)
        if isinstance(view, Tx):
            read.append(len(found))
        return found

    monkeypatch.setattr(ranking, "_stored", counted)
    assert len(gone(lake, rule)) == 33
    assert max(read) <= 2 * 4  # as many of each table
    assert find_faults(lake.store) == []


def test_in_a_versioned_bucket_every_version_goes_and_no_marker_is_left(
    lake: Lake, bucket: Bucket, clock: ManualClock
) -> None:
    bucket.enable_versioning()
    train(bucket, clock, "a", map50=0.9)
    train(bucket, clock, "a", map50=0.1)
    train(bucket, clock, "b", map50=0.2)
    bucket.put(f"{PREFIX}a/old.pt", b"old")
    bucket.delete(f"{PREFIX}a/old.pt")
    rule = rule_of(lake, best=1)
    assert len(gone(lake, rule)) == 6
    assert {info.key for info in bucket.versions()} == {f"{PREFIX}b/best.pt", f"{PREFIX}b/metrics.json"}
    assert find_faults(lake.store) == []


def test_locked_versions_keep_their_folder(lake: Lake, bucket: Bucket, clock: ManualClock) -> None:
    from hosu.objects.records import LockMode
    from hosu.objects.retention import BucketLock, set_bucket_lock

    bucket.enable_versioning()
    lake.store.commit(partial(set_bucket_lock, name="door", lock=BucketLock(LockMode.GOVERNANCE, days=1)))
    train(bucket, clock, "a", map50=0.1)
    train(bucket, clock, "b", map50=0.2)
    rule = rule_of(lake, best=1)
    assert "locked" in rank(lake.store, rule, SETTINGS)[1].reason
    assert gone(lake, rule) == []
    clock.advance(2 * DAY_MS)
    assert len(gone(lake, rule)) == 2


def test_every_removal_has_an_audit_line_with_its_reason(lake: Lake, bucket: Bucket, clock: ManualClock) -> None:
    train(bucket, clock, "a", map50=0.1)
    train(bucket, clock, "b", map50=0.2)
    rule = rule_of(lake, best=1)
    latest = max(row.id for row in read_outbox(lake.store.view(), 0, 100))
    gone(lake, rule)
    rows = [row.body.decode() for row in read_outbox(lake.store.view(), latest, 100)]
    assert [f'"key":"{PREFIX}a/{name}"' in row for name, row in zip(("best.pt", "metrics.json"), rows, strict=True)]
    assert all('"merit:Expire"' in row and "number 2 by map50 (0.1)" in row for row in rows)


# The rules


def test_rules_that_would_remove_what_is_protected_are_refused_and_so_is_the_protection(
    lake: Lake, bucket: Bucket, clock: ManualClock
) -> None:
    assert bucket.name
    train(bucket, clock, "a", map50=0.1)
    lake.store.commit(partial(protect, entry=ProtectedPrefix("door", f"{PREFIX}a/")))
    with pytest.raises(ConflictError, match="protected prefix 'models/training/a/'"):
        rule_of(lake)
    assert list_merit(lake.store.view()) == ()
    rule_of(lake, prefix="models/other/")
    with pytest.raises(ConflictError, match="rule 'models' of bucket"):
        lake.store.commit(partial(protect, entry=ProtectedPrefix("door", "models/other/x/")))


def test_rules_do_not_overlap_and_are_replaced_by_id(lake: Lake, bucket: Bucket) -> None:
    assert bucket.name
    rule_of(lake)
    with pytest.raises(ConflictError, match="overlaps with 'models/training/'"):
        rule_of(lake, id="other", prefix="models/")
    rule_of(lake, id="other", prefix="runs/")
    assert [rule.id for rule in list_merit(lake.store.view())] == ["models", "other"]
    assert rule_of(lake, best=5).best == 5
    assert lake.store.commit(partial(remove_merit, rule_id="models")).best == 5
    with pytest.raises(HosuError, match="there are 'other'"):
        lake.store.commit(partial(remove_merit, rule_id="models"))


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"id": ""}, "id ''"),
        ({"id": "a\nb"}, "printable"),
        ({"bucket": "nowhere"}, "nowhere"),
        ({"prefix": "models"}, "end it with '/'"),
        ({"prefix": "x" * 1024 + "/"}, "1024"),
        ({"file": ""}, "file ''"),
        ({"file": "/metrics.json"}, "name a file"),
        ({"path": ""}, "path ''"),
        ({"path": "mAP50-95"}, 'metrics."mAP50-95"'),
        ({"path": "a["}, "JMESPath"),
        ({"best": 0}, "best 0"),
        ({"grace_days": -1}, "grace_days -1"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_changes_nothing(
    lake: Lake, bucket: Bucket, fields: dict[str, Any], named: str
) -> None:
    assert bucket.name
    with pytest.raises(HosuError) as refusal:
        rule_of(lake, **fields)
    assert named in refusal.value.message
    assert list_merit(lake.store.view()) == ()


def test_a_prefix_below_an_alias_is_refused(lake: Lake, bucket: Bucket, clock: ManualClock) -> None:
    train(bucket, clock, "a", map50=0.1)
    bucket.alias("now/").set(PREFIX)
    with pytest.raises(HosuError) as refusal:
        rule_of(lake, prefix="now/models/")
    assert refusal.value.kind is ErrorKind.INVALID_ARGUMENT


def test_the_job_counts_what_goes_and_goes_on_when_a_bucket_is_gone(
    lake: Lake, bucket: Bucket, clock: ManualClock
) -> None:
    counted: dict[str, int] = {}

    def count(name: str, number: int) -> None:
        counted[name] = counted.get(name, 0) + number

    job = MeritJob(Keep(store=lake.store, settings=SETTINGS, count=count))
    assert not WANTED["merit"](lake.store.view(), SETTINGS)
    lake.create_bucket("gone")
    rule_of(lake, id="first", bucket="gone")
    lake.delete_bucket("gone")
    rule_of(lake, best=1)
    train(bucket, clock, "a", map50=0.1)
    train(bucket, clock, "b", map50=0.2)
    assert WANTED["merit"](lake.store.view(), SETTINGS)
    assert job.run(threading.Event()) == 3600
    assert counted["rule_actions/merit/Expire"] == 2
    assert models(bucket) == ["b"]
