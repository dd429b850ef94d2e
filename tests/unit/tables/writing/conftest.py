"""A catalog in memory, and tables of it."""

from collections.abc import Iterator

import pytest
from tests.support.table_rows import MakeTable, table_maker

from hosu.kernel.fileio.memory import MemoryFileIO
from hosu.tables.catalog import Catalog
from hosu.tables.context import TableContext
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
    return table_maker(catalog)


@pytest.fixture
def context(make: MakeTable) -> TableContext:
    """A table of ticks by id, in one bucket."""
    return make()
