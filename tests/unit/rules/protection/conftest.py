"""Fixtures: a lake whose corrupt blobs are restored, a location of copies, and ways to harm both."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.unit.objects.conftest import BUCKET, Put, clock, commit, lake, put, stage
from tests.unit.rules.protection.harm import Harm

from hosu.kernel.settings import Settings
from hosu.objects.buckets import create_bucket, set_versioning
from hosu.objects.protected import ProtectedPrefix
from hosu.objects.records import Versioning
from hosu.objects.store import ObjectStore
from hosu.rules.copy_job import LocationKeeper
from hosu.rules.healing import install_healer
from hosu.rules.keeping import Keep
from hosu.rules.protection import protect
from hosu.testing.manual_clock import ManualClock

__all__ = ["BUCKET", "Put", "clock", "commit", "lake", "put", "stage"]


@pytest.fixture
def store(lake: Path, clock: ManualClock) -> Iterator[ObjectStore]:
    with ObjectStore(lake, clock=clock, space_reserve_bytes=0) as opened:
        opened.commit(partial(create_bucket, name=BUCKET))
        install_healer(opened)
        yield opened


@pytest.fixture
def location(tmp_path: Path) -> Path:
    folder = tmp_path / "copies"
    folder.mkdir()
    return folder


@pytest.fixture
def counts() -> dict[str, int]:
    return {}


@pytest.fixture
def keep(store: ObjectStore, counts: dict[str, int]) -> Keep:
    def count(name: str, number: int) -> None:
        counts[name] = counts.get(name, 0) + number

    return Keep(store=store, settings=Settings(), count=count)


@pytest.fixture
def protected(store: ObjectStore, location: Path) -> ProtectedPrefix:
    """Protect the prefix `models/` of the bucket, with copies in the location."""
    entry = ProtectedPrefix(BUCKET, "models/", str(location))
    store.commit(partial(protect, entry=entry))
    return entry


@pytest.fixture
def versioned(store: ObjectStore) -> None:
    store.commit(partial(set_versioning, name=BUCKET, versioning=Versioning.ENABLED))


Copy = Callable[[], None]


@pytest.fixture
def copying(keep: Keep, protected: ProtectedPrefix) -> LocationKeeper:
    return LocationKeeper(keep, protected.copy)


@pytest.fixture
def harm(store: ObjectStore) -> Harm:
    return Harm(store)
