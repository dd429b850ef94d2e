"""Memory that was let go given back: allocators keep it for a while, and a merge would seem to grow by it."""

from collections.abc import Iterable

import pyarrow as pa


class Releasing:
    """Has Arrow's allocator give back what is free, each time as many rows have passed as a merge may hold."""

    def __init__(self, memory_bytes: int) -> None:
        self._memory_bytes = memory_bytes
        self._bytes = 0

    def passed(self, tables: Iterable[pa.Table]) -> None:
        """Count rows that are about to be merged."""
        self._bytes += sum(table.nbytes for table in tables)
        if self._bytes >= self._memory_bytes:
            self._bytes = 0
            pa.default_memory_pool().release_unused()
