"""Fixtures of the crash tests."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.crash.lakes import Workshop

from hosu.objects import multipart

MEMORY = Path("/dev/shm")
"""Where folders cost nothing: simulated disks come and go by the thousand."""


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    """Make disks in memory where there is such a place, else below the test's own folder."""
    is_fast = MEMORY.is_dir() and os.access(MEMORY, os.W_OK)
    with tempfile.TemporaryDirectory(prefix="hosu-", dir=MEMORY if is_fast else tmp_path) as folder:
        yield Workshop(Path(folder))


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multipart, "PART_BYTES_MIN", 1)
