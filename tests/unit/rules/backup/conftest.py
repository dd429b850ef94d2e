"""A lake with something of everything, and the place its backups go to."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

import hosu
from hosu.kernel.fileio import FolderFileIO
from hosu.lake import Lake
from hosu.objects.buckets import set_document
from hosu.rules.backup.repository import Repository
from hosu.testing.manual_clock import ManualClock

LARGE = bytes(range(256)) * 100


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def lake(tmp_path: Path, clock: ManualClock) -> Iterator[Lake]:
    """Open a lake with small, large and empty objects, versions, markers, tags, an alias, a policy and a user."""
    with hosu.open(tmp_path / "lake", clock=clock) as opened:
        images = opened.create_bucket("images")
        images.put("a", b"first")
        images.put("empty", b"")
        images.put("large", LARGE, metadata={"camera": "3"}, tags={"team": "vision"})
        images.enable_versioning()
        images.put("a", b"second")
        images.put("gone", b"hidden")
        images.delete("gone")
        images.put("v1/model", b"weights")
        images.alias("current/").set("v1/")
        opened.store.commit(partial(set_document, name="images", kind="cors", body="<CORS/>"))
        opened.create_bucket("models").put("m", b"model")
        opened.users.add("alice", "correct-horse-battery")
        yield opened


@pytest.fixture
def location(tmp_path: Path) -> str:
    return str(tmp_path / "backup")


@pytest.fixture
def repository(lake: Lake, location: str, clock: ManualClock) -> Repository:
    """Open the backup once `lake` has been backed up to it."""
    lake.backup(location)
    return Repository.open(FolderFileIO(location, clock=clock), clock)
