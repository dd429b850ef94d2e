"""Tables that pypaimon 2.1 wrote, kept in tests/data with pypaimon's own answers."""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.paimon_rows import plain_rows
from tests.support.paimon_steps import DATA, Answers, open_catalog, told, unpack

from hosu.tables.catalog import Catalog
from hosu.tables.table import Table

ARCHIVE = "paimon-pypaimon.tar.xz"
CUT = ("keys",)
"""Tables of which pypaimon reads less than it wrote, no nanoseconds: Flink's answer to the same rows counts."""


def names() -> list[str]:
    """Return the tables that pypaimon could write and read."""
    with tarfile.open(DATA / ARCHIVE) as archive:
        member = archive.extractfile("answers.json")
        assert member is not None, "it is in the archive"
        return sorted(json.load(member))


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Answers]:
    """Unpack pypaimon's tables once."""
    folder = tmp_path_factory.mktemp("pypaimon")
    return folder, unpack(ARCHIVE, folder)


@pytest.fixture(scope="module")
def catalog(unpacked: tuple[Path, Answers]) -> Iterator[Catalog]:
    """Open pypaimon's tables."""
    with open_catalog(unpacked[0]) as opened:
        yield opened


@pytest.mark.parametrize("name", names())
def test_rows_are_those_that_pypaimon_reads(catalog: Catalog, unpacked: tuple[Path, Answers], name: str) -> None:
    answers = told() if name in CUT else unpacked[1]
    assert plain_rows(Table(catalog, f"pyp.{name}").scan().to_arrow()) == answers.rows(name)
