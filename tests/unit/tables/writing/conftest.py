"""A catalog in memory, and tables of it."""

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
import pytest
from tests.support.table_rows import TICKS, MakeTable

from hosu.kernel.fileio.memory import MemoryFileIO
from hosu.tables.catalog import Catalog
from hosu.tables.context import TableContext
from hosu.tables.types import DataField
from hosu.testing.manual_clock import ManualClock


@pytest.fixture
def files() -> MemoryFileIO:
    """Files in memory."""
    return MemoryFileIO()


@pytest.fixture
def catalog(files: MemoryFileIO) -> Iterator[Catalog]:
    """A catalog with a database `d`."""
    catalog = Catalog(files, "w", clock=ManualClock())
    catalog.create_database("d")
    yield catalog
    catalog.close()


@pytest.fixture
def make(catalog: Catalog) -> MakeTable:
    """Return what makes a table and opens it."""
    made = 0

    def make(
        keys: Sequence[str] = ("id",),
        *,
        partitions: Sequence[str] = (),
        schema: pa.Schema | Sequence[DataField] = TICKS,
        options: Mapping[str, str] | None = None,
    ) -> TableContext:
        nonlocal made
        made += 1
        name = f"d.t{made}"
        given = {"bucket": "1" if keys else "-1", **(options or {})}
        catalog.create_table(name, schema, partition_keys=partitions, primary_keys=keys, options=given)
        return catalog.open(name)

    return make


@pytest.fixture
def context(make: MakeTable) -> TableContext:
    """A table of ticks by id, in one bucket."""
    return make()
