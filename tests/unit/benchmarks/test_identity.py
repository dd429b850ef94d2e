"""The benchmark of identity: its crowd gets in where it should, and its figures compare what they say."""

from pathlib import Path

import pytest
from benchmarks import identity
from benchmarks.cells import Sample
from benchmarks.identity import KEY, PLAIN, READER, SEALED, SHARED, SHARED_READER, Way, lines_of, verdicts, ways

import hosu
from hosu.objects.audit_switch import buckets_with_reads


def sample(way: Way, ops_per_s: float, cpu_us: float) -> tuple[Way, Sample]:
    return way, Sample(way.server, way.cell, way.connections, ops_per_s, 1.0, 0, 0, 0, cpu_us / 1000, 0, None, 0, "")


def test_the_users_that_are_measured_may_read_what_they_read_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "USERS", 30)
    monkeypatch.setattr(identity, "POLICIES", 20)
    monkeypatch.setattr(identity, "DECISIONS", 1)
    monkeypatch.setenv("HOSU_LAKE_KEY", "00" * 32)
    with hosu.open(tmp_path / "lake") as lake:
        identity.populate(lake)
        assert set(identity.decision_times(lake)) == {"root", "user", "service account, cut", "bucket policy"}
        assert len(lake.users.list()) == 32
        for name, bucket in ((READER, PLAIN), (KEY, PLAIN), (SHARED_READER, SHARED)):
            assert lake.policies.explain(name, "s3:GetObject", f"{bucket}/get/4096/000000000").is_allowed
        assert not lake.policies.explain(SHARED_READER, "s3:GetObject", f"{PLAIN}/get/4096/000000000").is_allowed
        assert not lake.policies.explain(KEY, "s3:GetObject", f"{PLAIN}/put/1").is_allowed
        lake.bucket(SEALED).put("a", b"a" * 100)
        assert lake.bucket(SEALED).get("a") == b"a" * 100
        assert buckets_with_reads(lake.store.view()) == {identity.READS}


def test_each_way_is_compared_with_the_first_of_its_cell() -> None:
    samples = [sample(way, 1000.0 + place, 40.0 + place) for place, way in enumerate(ways())]
    lines = lines_of(samples)
    assert [line.way for line in lines[:3]] == ["root", "user of 10,000", "service account, cut"]
    assert (lines[0].ratio, lines[0].cpu_added_us) == (1.0, 0.0)
    assert lines[2].ratio == pytest.approx(1002 / 1000)
    assert lines[2].cpu_added_us == pytest.approx(2.0)
    firsts = [line for line in lines if line.ratio == 1.0]
    assert [(line.cell, line.connections) for line in firsts] == [
        ("GET 4 KiB", 16),
        ("PUT 4 KiB", 16),
        ("GET 64 MiB", 1),
        ("GET 64 MiB", 8),
        ("PUT 64 MiB", 8),
    ]


@pytest.mark.parametrize(("added_us", "holds"), [(3.9, True), (4.1, False)])
def test_what_is_asked_of_a_decision_is_held_against_the_larger_bound(added_us: float, *, holds: bool) -> None:
    samples = [
        sample(way, 1000.0, 30.0 + (added_us if way.cell == "GET 4 KiB" and way.name != "root" else 0.0))
        for way in ways()
    ]
    found = {name: ok for name, _, _, ok in verdicts(lines_of(samples), {"user": 5.0})}
    assert found["GET 4 KiB, bucket policy: CPU added, us"] is holds
    assert found["one decision, user, us"] is False
    assert found["GET 64 MiB SSE-S3 / plain, 8 conn."] is True
