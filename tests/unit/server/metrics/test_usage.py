"""The distributions of sizes and versions, against what was stored."""

import hashlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from hosu.objects.blobs import stage_inline
from hosu.objects.buckets import create_bucket, set_versioning
from hosu.objects.delete import delete_object
from hosu.objects.put import PutRequest, put_object
from hosu.objects.records import Versioning
from hosu.objects.store import ObjectStore
from hosu.server.metrics.usage import SIZE_RANGES, VERSION_RANGES, Usage, walk
from hosu.testing.manual_clock import ManualClock


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ObjectStore]:
    with ObjectStore(tmp_path / "lake", clock=ManualClock(1_000), space_reserve_bytes=0) as opened:
        for name in ("plain", "kept"):
            opened.commit(partial(create_bucket, name=name))
        opened.commit(partial(set_versioning, name="kept", versioning=Versioning.ENABLED))
        yield opened


def put(store: ObjectStore, bucket: str, key: str, size_bytes: int = 1) -> None:
    body = b"x" * size_bytes
    request = PutRequest(bucket, key, stage_inline(body), hashlib.md5(body).hexdigest())
    store.commit(partial(put_object, request=request))


def shown(ranges: object) -> dict[str, int]:
    assert isinstance(ranges, dict)
    return {name: count for name, count in ranges.items() if count}


def test_every_size_is_in_one_range_and_those_below_a_mebibyte_in_the_wide_one_too(store: ObjectStore) -> None:
    for number, size_bytes in enumerate((0, 1, 1023, 1024, 65_535, 65_536, 262_144, 524_288, 1_048_575, 1_048_576)):
        put(store, "plain", str(number), size_bytes)
    found = walk(store.view(), 5)
    assert shown(found.sizes["plain"]) == {
        "LESS_THAN_1024_B": 3, "BETWEEN_1024_B_AND_64_KB": 2, "BETWEEN_64_KB_AND_256_KB": 1,
        "BETWEEN_256_KB_AND_512_KB": 1, "BETWEEN_512_KB_AND_1_MB": 2, "BETWEEN_1024B_AND_1_MB": 6,
        "BETWEEN_1_MB_AND_10_MB": 1,
    }  # fmt: skip
    assert shown(found.sizes["kept"]) == {}
    assert found.at_ms == 5


def test_old_versions_count_with_their_sizes_and_markers_do_not(store: ObjectStore) -> None:
    put(store, "kept", "a", 2_000)
    put(store, "kept", "a", 10)
    store.commit(partial(delete_object, bucket_name="kept", key="a"))
    assert shown(walk(store.view(), 0).sizes["kept"]) == {
        "LESS_THAN_1024_B": 1, "BETWEEN_1024_B_AND_64_KB": 1, "BETWEEN_1024B_AND_1_MB": 1,
    }  # fmt: skip


def test_keys_count_by_how_many_versions_they_have(store: ObjectStore) -> None:
    put(store, "plain", "a")
    put(store, "plain", "b")
    put(store, "kept", "once")
    for _ in range(3):
        put(store, "kept", "thrice")
    for _ in range(10):
        put(store, "kept", "ten")
    found = walk(store.view(), 0).versions
    assert shown(found["plain"]) == {"UNVERSIONED": 2}
    assert shown(found["kept"]) == {"SINGLE_VERSION": 1, "BETWEEN_2_AND_10": 1, "BETWEEN_10_AND_100": 1}


def test_ranges_cover_everything_without_a_gap() -> None:
    narrow = [row for row in SIZE_RANGES if row[0] != "BETWEEN_1024B_AND_1_MB"]
    for ranges in (narrow, list(VERSION_RANGES)):
        assert [row[1] for row in ranges][1:] == [row[2] for row in ranges][:-1]
        assert ranges[0][1] == 0


def test_a_walk_is_not_done_again_before_fifty_times_its_cost(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock(1_000)
    walks = []

    def slow(view: object, now_ms: int) -> object:
        walks.append(now_ms)
        clock.advance(2_000)
        return walk(view, now_ms)  # type: ignore[arg-type]

    monkeypatch.setattr("hosu.server.metrics.usage.walk", slow)
    usage = Usage(clock)
    usage.distribution(store.view())
    clock.advance(99_000)
    usage.distribution(store.view())
    assert len(walks) == 1
    clock.advance(1_001)
    usage.distribution(store.view())
    assert len(walks) == 2
