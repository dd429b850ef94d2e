"""Tables that were opened before others added a column: what they write again keeps it."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.support.table_rows import TICKS

from hosu.kernel.fileio.memory import MemoryFileIO
from hosu.tables.catalog import Catalog
from hosu.tables.evolution import AddColumn
from hosu.tables.table import Table
from hosu.tables.types import parse_type
from hosu.testing.manual_clock import ManualClock

KINDS: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "keys": (("id",), {"bucket": "1"}),
    "keys and vectors": (("id",), {"bucket": "1", "deletion-vectors.enabled": "true"}),
    "append": ((), {}),
    "append and vectors": ((), {"deletion-vectors.enabled": "true"}),
}
VERBS: dict[str, Callable[[Table], Any]] = {
    "compact": lambda table: table.compact(full=True),
    "update": lambda table: table.update({"price": 7.0}, where="id = 2"),
    "delete": lambda table: table.delete(where="id = 3"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("verb", VERBS)
def test_what_is_written_again_keeps_columns_that_came_after_the_table_was_opened(kind: str, verb: str) -> None:
    keys, options = KINDS[kind]
    with Catalog(MemoryFileIO(), "w", clock=ManualClock()) as catalog:
        catalog.create_database("d")
        catalog.create_table("d.t", TICKS, primary_keys=keys, options=options)
        fresh, stale = Table(catalog, "d.t"), Table(catalog, "d.t")
        fresh.append([{"id": 1, "price": 1.0, "note": "a"}])
        fresh.alter(AddColumn("extra", parse_type("INT")))
        fresh.append([{"id": number, "price": 1.0, "note": "b", "extra": number} for number in (2, 3)])

        VERBS[verb](stale)

        found = {row["id"]: row["extra"] for row in fresh.scan().to_arrow().to_pylist()}
    assert found == {1: None, 2: 2} | ({} if verb == "delete" else {3: 3})
