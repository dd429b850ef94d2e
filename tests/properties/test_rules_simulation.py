"""Capacity and merit day by day, with a clock that a test moves, against a model that knows no tables."""

import json
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.properties.profiles import LISTINGS, scratch_folder

import hosu
from hosu.kernel.errors import ConflictError, HosuError
from hosu.kernel.settings import Settings
from hosu.lake import Bucket, Lake
from hosu.objects.protected import ProtectedPrefix
from hosu.rules.capacity import CapacityRule, set_capacity
from hosu.rules.making_room import make_room, plan_room
from hosu.rules.merit import MeritRule, put_merit
from hosu.rules.protection import protect
from hosu.rules.ranking import expire, plan_merit
from hosu.testing.lake_check import find_faults
from hosu.testing.manual_clock import ManualClock

DAY_MS = 24 * 3600 * 1000
SETTINGS = Settings()
QUOTA, HIGH, LOW = 300, 0.7, 0.5
CAPACITY = CapacityRule(quota_bytes=QUOTA, high_water=HIGH, low_water=LOW, keep=("door/kept/",))
MERIT = MeritRule(id="models", bucket="door", prefix="models/", path="score", best=2, grace_days=2)

FOLDERS = ("a", "b", "c", "d")
KEYS = ("images/1", "images/2", "images/3", "kept/1", "safe/1")
PUTS = st.tuples(st.just("put"), st.sampled_from(KEYS), st.sampled_from([0, 30, 60, 90]))
TRAININGS = st.tuples(st.just("train"), st.sampled_from(FOLDERS), st.sampled_from([0, 1, 2, 3, 3, "odd"]))
OTHERS = st.one_of(
    st.tuples(st.just("delete"), st.sampled_from(KEYS)),
    st.tuples(st.just("alias"), st.sampled_from(FOLDERS)),
    st.tuples(st.just("day"), st.integers(1, 3)),
)
STEPS = st.lists(st.one_of(PUTS, PUTS, TRAININGS, TRAININGS, OTHERS), min_size=12, max_size=40)
"""Enough of them that there is something to remove."""


@dataclass
class Version:
    """One version of a key, or a marker without a size."""

    at_ms: int
    order: int
    size: int | None
    value: Any = None


@dataclass
class Model:
    """What a lake with one bucket ought to hold: of each key its versions, the oldest first."""

    is_versioned: bool
    keys: dict[str, list[Version]] = field(default_factory=dict)
    alias: str = ""
    order: int = 0

    def held(self) -> int:
        return sum(version.size or 0 for versions in self.keys.values() for version in versions)

    def current(self, key: str) -> Version | None:
        versions = self.keys.get(key)
        return versions[-1] if versions and versions[-1].size is not None else None

    def add(self, key: str, at_ms: int, size: int | None, value: object = None) -> None:
        self.order += 1
        version = Version(at_ms, self.order, size, value)
        if self.is_versioned:
            self.keys.setdefault(key, []).append(version)
        elif size is None:
            self.keys.pop(key, None)
        else:
            self.keys[key] = [version]

    def room(self) -> list[tuple[str, int]]:
        """Make room; return key and order of everything that goes, in its order."""
        gone: list[tuple[str, int]] = []
        if self.held() < round(QUOTA * HIGH):
            return gone
        spared = ("kept/", "safe/", *((self.alias,) if self.alias else ()))
        for wants_old in (True, False):
            found = [
                (version.at_ms, version.order, key)
                for key, versions in self.keys.items()
                for version in versions
                if version.size and not key.startswith(spared) and (version is versions[-1]) is not wants_old
            ]
            for _, order, key in sorted(found):
                if self.held() < round(QUOTA * LOW):
                    return gone
                gone += [(key, each) for each in self._drop(key, order)]
        return gone

    def _drop(self, key: str, order: int) -> list[int]:
        """Drop a version, and with the last one that has bytes or is current what is left of its key."""
        versions = self.keys[key]
        (dropped,) = [version for version in versions if version.order == order]
        rest = [version for version in versions if version is not dropped]
        is_last = dropped is versions[-1] or (versions[-1].size is None and not any(each.size for each in rest))
        self.keys[key] = [] if is_last else rest
        if not self.keys[key]:
            del self.keys[key]
        others = [each.order for each in rest] if is_last else []
        return [*others, order] if dropped is versions[-1] else [order, *others]

    def judge(self, now_ms: int) -> set[str]:
        """Apply the rule of merit; return the folders that go."""
        values: dict[str, tuple[float, int]] = {}
        newest: dict[str, int] = {}
        for name in FOLDERS:
            found = self.current(f"models/{name}/metrics.json")
            below = [self.current(key) for key in self.keys if key.startswith(f"models/{name}/")]
            times = [version.at_ms for version in below if version is not None]
            if times:
                newest[name] = max(times)
            if found is not None and isinstance(found.value, int):
                values[name] = (found.value, newest[name])
        ranked = sorted(values, key=lambda name: (-values[name][0], -values[name][1], name))
        gone = set()
        for name in ranked[MERIT.best :]:
            due_ms = (newest[name] // DAY_MS + MERIT.grace_days) * DAY_MS
            due_ms += DAY_MS  # what is due in the course of a day is done when it has ended
            if due_ms <= now_ms and self.alias != f"models/{name}/":
                gone.add(f"models/{name}/")
        for key in [key for key in self.keys if key.startswith(tuple(gone))] if gone else []:
            del self.keys[key]
        return gone


def stored(bucket: Bucket) -> dict[str, list[int | None]]:
    """Return the sizes of the versions of each key, the oldest first; None for a marker."""
    found: dict[str, list[int | None]] = {}
    for info in bucket.versions():
        found.setdefault(info.key, []).insert(0, None if info.is_marker else info.size_bytes)
    return found


class Run:
    """A lake and its model, through the same days."""

    def __init__(self, lake: Lake, clock: ManualClock, *, is_versioned: bool) -> None:
        self.lake, self.clock = lake, clock
        self.bucket = lake.create_bucket("door")
        if is_versioned:
            self.bucket.enable_versioning()
        self.model = Model(is_versioned)
        for verb in (
            partial(set_capacity, rule=CAPACITY),
            partial(put_merit, rule=MERIT),
            partial(protect, entry=ProtectedPrefix("door", "safe/")),
        ):
            lake.store.commit(verb)

    def put(self, key: str, body: bytes, value: object = None) -> None:
        self.clock.advance(1)
        try:
            self.bucket.put(key, body)
        except ConflictError:  # the quota: what the model holds is checked every day
            return
        self.model.add(key, self.clock.now_ms(), len(body), value)

    def step(self, name: str, *given: Any) -> None:
        if name == "put":
            self.put(given[0], b"x" * given[1])
        elif name == "delete":
            self.clock.advance(1)
            self.bucket.delete(given[0])
            self.model.add(given[0], self.clock.now_ms(), None)
        elif name == "train":
            self.put(f"models/{given[0]}/best.pt", b"weights")
            self.put(f"models/{given[0]}/metrics.json", json.dumps({"score": given[1]}).encode(), given[1])
        elif name == "alias":
            self.point(f"models/{given[0]}/")
        else:
            for _ in range(given[0]):
                self.clock.advance(DAY_MS)
                self.day()

    def point(self, target: str) -> None:
        has_objects = any(key.startswith(target) and self.model.current(key) for key in self.model.keys)
        try:
            self.bucket.alias("now/").set(target)
        except HosuError:
            assert not has_objects or self.model.alias == target
            return
        assert has_objects
        self.model.alias = target

    def day(self) -> None:
        store = self.lake.store
        named = {each.key for each in plan_merit(store, MERIT, SETTINGS)}
        removed: set[str] = set()
        assert expire(store, MERIT, SETTINGS, done=lambda record: removed.add(record.key))
        assert removed == named
        before = set(self.model.keys)
        self.model.judge(self.clock.now_ms())
        assert removed == before - set(self.model.keys)
        planned = [
            each.key for doomed in plan_room(store, store.view(), CAPACITY, SETTINGS) for each in doomed.planned()
        ]
        went: list[str] = []
        make_room(store, SETTINGS, done=lambda doomed: went.extend(each.key for each in doomed.planned()))
        assert went == planned
        assert sorted(went) == sorted(key for key, _ in self.model.room())
        self.check()

    def check(self) -> None:
        expected = {key: [version.size for version in versions] for key, versions in self.model.keys.items()}
        assert stored(self.bucket) == expected
        assert self.lake.store.view().lake_held_bytes() == self.model.held()


@given(is_versioned=st.booleans(), steps=STEPS)
@LISTINGS
def test_rules_do_day_by_day_what_a_plain_model_does(is_versioned: bool, steps: list[tuple[Any, ...]]) -> None:  # noqa: FBT001 - hypothesis names it
    clock = ManualClock()
    with scratch_folder() as folder, hosu.open(Path(folder) / "lake", clock=clock) as lake:
        run = Run(lake, clock, is_versioned=is_versioned)
        for name, *values in steps:
            run.step(name, *values)
        run.step("day", 4)
        assert find_faults(lake.store) == []
