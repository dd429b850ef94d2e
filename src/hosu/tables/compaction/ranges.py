"""Sorted runs side by side, a range of keys at a time, in bounded memory.

What belongs together for a key comes together: that is what merges, looks up and compares whole columns at a time.
"""

from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa

from hosu.tables.compaction.levels import Key, comparable

SHARE = 8
"""A range takes this part of the memory allowed: one is read, one merged, one waits and one is written at a time."""

BYTES_MIN = 256 << 10
"""Of each run at least so much is held, however little memory is allowed: less is slow."""

_CHUNKS_MAX = 64


def key_ranges(
    sources: Sequence[Iterable[pa.RecordBatch]], schema: pa.Schema, keys: Sequence[str], *, memory_bytes: int
) -> Iterator[list[pa.Table]]:
    """Yield ranges of keys in order, each as one table per source, in the order of sources; some of them are empty.

    Each source is sorted by its keys; a key may come several times in it. All rows of a key are in one range.
    """
    share_bytes = max(memory_bytes // SHARE // max(len(sources), 1), BYTES_MIN)
    cursors = [_Cursor(iter(source), schema, keys, share_bytes) for source in sources]
    while True:
        for cursor in cursors:
            cursor.fill()
        ends = [cursor.end for cursor in cursors if cursor.end is not None]
        if not ends:
            last = [cursor.take_all() for cursor in cursors]
            if any(table.num_rows for table in last):
                yield last
            return
        # What lies at the end itself may go on in what was not read yet.
        bound = min(ends)
        found = [cursor.take_below(bound) for cursor in cursors]
        if any(table.num_rows for table in found):
            yield found
        else:
            for cursor in cursors:
                cursor.widen(bound)


class _Cursor:
    """One source, as far as it was read."""

    def __init__(
        self, batches: Iterator[pa.RecordBatch], schema: pa.Schema, keys: Sequence[str], share_bytes: int
    ) -> None:
        self._batches: Iterator[pa.RecordBatch] | None = batches
        self._keys = keys
        self._share_bytes = share_bytes
        self._wanted_bytes = share_bytes
        self._held = schema.empty_table()
        self.end: Key | None = None
        """The last key that was read; None when there is nothing more to read."""

    def fill(self) -> None:
        """Read on until so much is held as is wanted."""
        parts: list[pa.RecordBatch] = []
        held_bytes = self._held.nbytes
        while self._batches is not None and held_bytes < self._wanted_bytes:
            batch = next(self._batches, None)
            if batch is None:
                self._batches = None
            elif batch.num_rows:
                parts.append(batch)
                held_bytes += batch.nbytes
        if parts:
            added = pa.Table.from_batches(parts, self._held.schema)
            self._held = pa.concat_tables([self._held, added]) if self._held.num_rows else added
            if self._held.column(0).num_chunks > _CHUNKS_MAX:
                self._held = self._held.combine_chunks()
        is_done = self._batches is None or not self._held.num_rows
        self.end = None if is_done else self._key(self._held.num_rows - 1)

    def widen(self, bound: Key) -> None:
        """Want more, where one key fills all that is held."""
        if self.end == bound:
            self._wanted_bytes = self._held.nbytes + self._share_bytes

    def take_all(self) -> pa.Table:
        """Give what is held."""
        return self._take(self._held.num_rows)

    def take_below(self, bound: Key) -> pa.Table:
        """Give the rows whose keys come before bound."""
        low, high = 0, self._held.num_rows
        while low < high:
            middle = (low + high) // 2
            if self._key(middle) < bound:
                low = middle + 1
            else:
                high = middle
        return self._take(low)

    def _take(self, count: int) -> pa.Table:
        taken, self._held = self._held.slice(0, count), self._held.slice(count)
        if count:
            self._wanted_bytes = self._share_bytes
        return taken

    def _key(self, row: int) -> Key:
        return key_at(self._held, self._keys, row)


def key_at(table: pa.Table, keys: Sequence[str], row: int) -> Key:
    """Return the key of a row as one that compares as Paimon compares it."""
    return comparable(_value(table[name][row]) for name in keys)


def _value(scalar: pa.Scalar) -> object:
    kind = scalar.type
    return scalar.value if pa.types.is_temporal(kind) else scalar.as_py()
