"""A read of a table at one snapshot, described first and done when its rows are asked for."""

import os
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from copy import copy
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from hosu.kernel.errors import CorruptError, ErrorKind, InvalidInputError
from hosu.kernel.limits import MIB
from hosu.tables.context import TableContext
from hosu.tables.merging.begun import Begun
from hosu.tables.options import Options
from hosu.tables.predicates import Predicate
from hosu.tables.reading.ahead import Ahead
from hosu.tables.reading.outputs import TorchRows, library, register, torch_rows
from hosu.tables.reading.pruning import divide
from hosu.tables.reading.rows import SplitReader
from hosu.tables.reading.splits import Split, plan
from hosu.tables.records import Partition, Snapshot
from hosu.tables.schemas import TableSchema
from hosu.tables.snapshots import leases
from hosu.tables.types import arrow_schema

if TYPE_CHECKING:
    import duckdb
    import polars as pl

_AHEAD = 4
"""How many small splits are read ahead of the one whose rows are handed out."""

_SWELL = 6
"""How much larger than its file a split's rows are taken to be in memory."""

_ROW_BYTES = 8
"""What a value takes in memory at least."""

_MERGES = max(1, (os.cpu_count() or 1) // 4)
"""How many merges run side by side: one and the decoding of what it reads keep some processors busy already."""

_FOLD_ROWS = 2_000_000
"""Splits of more rows than this are merged while they are read: slower by a third, in a fraction of the memory."""

_HELD_BYTES_MAX = 128 * MIB
"""What such a merge holds at most, however much it may: memory that is used again is faster than new memory."""

_LIMIT_BYTES_MIN = 4 * MIB
"""What a read of few rows may hold at least."""


class Scan:
    """Some columns of the rows of a snapshot that match, at most `limit` of them, in any order.

    Nothing is read before one of its methods asks, and each of them reads anew. The snapshot's files are kept from
    expiring as long as that lasts. Without a snapshot, which is a table before its first commit, there are no rows.
    With `sees_all` rows are there too that readers do not see before they are compacted.
    """

    def __init__(
        self,
        ctx: TableContext,
        snapshot: Snapshot | None,
        columns: Sequence[str] | None = None,
        where: Predicate | None = None,
        limit: int | None = None,
        *,
        partitions: Collection[Partition] | None = None,
        buckets: Collection[int] | None = None,
        memory_bytes: int | None = None,
        sees_all: bool = False,
    ) -> None:
        if limit is not None and limit < 0:
            raise InvalidInputError(ErrorKind.QUERY_INVALID, f"limit is {limit}: give 0 or more")
        if columns is not None and (not columns or len(set(columns)) != len(columns)):
            raise InvalidInputError(
                ErrorKind.QUERY_INVALID, f"columns is {list(columns)}: name at least one, and each of them once"
            )
        self._ctx = ctx
        self.snapshot = snapshot
        self._fields = [ctx.schema.field(name) for name in (ctx.schema.names if columns is None else columns)]
        self._where = where
        self._limit = limit
        self._partitions = partitions
        self._buckets = buckets
        self._sees_all = sees_all
        self._memory_bytes = ctx.memory_bytes if memory_bytes is None else memory_bytes

    @property
    def context(self) -> TableContext:
        """The table, under the schema that it is read with."""
        return self._ctx

    @property
    def schema(self) -> pa.Schema:
        """The columns of the result, in the order asked for."""
        return arrow_schema(self._fields)

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return [field.name for field in self._fields]

    def splits(self) -> list[Split]:
        """Return what is read: files that belong together, which several readers may share out among them."""
        if self.snapshot is None or self._limit == 0:
            return []
        found = plan(
            self._ctx,
            self.snapshot,
            self._where,
            partitions=self._partitions,
            buckets=self._buckets,
            sees_all=self._sees_all,
        )
        return found if self._limit is None else self._enough(found, self._limit)

    def _enough(self, splits: list[Split], limit: int) -> list[Split]:
        """Leave out splits once those before them surely have as many rows as are wanted."""
        _, by_key, by_value = divide(self._ctx.schema, self._where)
        if by_key is not None or by_value is not None:
            return splits
        plain = sorted(splits, key=lambda split: split.needs_merge)
        rows = 0
        for number, split in enumerate(plain):
            if rows >= limit:
                return plain[:number]
            rows += 0 if split.needs_merge else split.row_count
        return plain

    def to_arrow(self) -> pa.Table:
        """Return all rows. CorruptError names the file that cannot be read, its partition and the snapshot."""
        if self._limit is not None:
            return pa.Table.from_batches([_fit(batch, self.schema) for batch in self.batches()], self.schema)
        tables = list(self._tables())
        if not tables:
            return self.schema.empty_table()
        found = pa.concat_tables(tables)
        # What may be NULL in a file may be declared otherwise in the table, and the other way round.
        return found if found.schema.equals(self.schema) else found.cast(self.schema)

    def _tables(self) -> Iterator[pa.Table]:
        """Yield the rows of each split: files are read and rows merged on the pool, several splits at a time."""
        if self.snapshot is None:
            return
        reader = SplitReader(self._ctx, self.columns, self._where)
        with leases.hold(self._ctx, self.snapshot), naming_the_snapshot(self.snapshot):
            splits = self.splits()
            large = [split for split in splits if _is_large(split)]
            yield from self._large(reader, large)
            pending: deque[tuple[Split, list[Begun[pa.Table]]]] = deque()
            merging: deque[Begun[pa.Table]] = deque()
            waiting = (split for split in splits if not _is_large(split))
            while True:
                pending.extend((split, reader.submit(split)) for split in islice(waiting, _AHEAD - len(pending)))
                if not pending:
                    break
                split, files = pending.popleft()
                tables = [file.result() for file in files]
                merging.append(Begun(self._ctx.pool, partial(reader.made, split, tables)))
                if len(merging) > _MERGES:
                    yield merging.popleft().result()
            while merging:
                yield merging.popleft().result()

    def _large(self, reader: SplitReader, splits: Sequence[Split]) -> Iterator[pa.Table]:
        """Yield the rows of splits that are merged while they are read, several at a time on many processors."""
        at_once = min(_MERGES, len(splits))
        memory_bytes = min(self._memory_bytes, _HELD_BYTES_MAX)
        if at_once <= 1:
            for split in splits:
                yield pa.Table.from_batches(list(reader.batches(split, memory_bytes)), self.schema)
            return
        share = memory_bytes // at_once
        merging: deque[Begun[pa.Table]] = deque()
        for split in splits:
            merging.append(Begun(self._ctx.pool, partial(reader.streamed, split, share)))
            if len(merging) == at_once:
                yield merging.popleft().result()
        while merging:
            yield merging.popleft().result()

    def to_reader(self) -> pa.RecordBatchReader:
        """Return the rows batch by batch: about `memory_bytes` of them are held, however many there are.

        They are read by a thread of their own, so that any thread may ask for them, those of DuckDB too.
        """
        schema = self.schema
        return pa.RecordBatchReader.from_batches(schema, iter(Ahead(lambda: self._fitted(schema))))

    def _fitted(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        for batch in self.batches():
            yield _fit(batch, schema)

    def batches(self, splits: Sequence[Split] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the rows of splits, of all of them for None, in bounded memory and at most `limit`."""
        left = self._limit
        if self.snapshot is None or left == 0:
            return
        with leases.hold(self._ctx, self.snapshot), naming_the_snapshot(self.snapshot):
            for batch in self._stream(self.splits() if splits is None else splits):
                if left is None:
                    yield batch
                    continue
                yield batch.slice(0, left)
                left -= min(left, batch.num_rows)
                if not left:
                    return

    def _stream(self, splits: Sequence[Split]) -> Iterator[pa.RecordBatch]:
        """Yield rows of splits in turn; small ones are read ahead on the pool, others by and by."""
        reader = SplitReader(self._ctx, self.columns, self._where)
        memory_bytes = self._memory_bytes
        if self._limit is not None:
            # What is held beyond the rows that are wanted was read in vain.
            memory_bytes = min(memory_bytes, max(_LIMIT_BYTES_MIN, self._limit * _ROW_BYTES * len(self._fields) * 2))
        share = memory_bytes // (2 * _AHEAD)
        ahead: deque[tuple[Split, Begun[pa.Table] | None]] = deque()
        waiting = iter(splits)
        swell = 0
        try:
            while True:
                # The first tells how much larger than its file rows are here: of text that repeats a thousandfold.
                for split in islice(waiting, (_AHEAD if swell else 1) - len(ahead)):
                    small = swell > 0 and self._weight(split, swell) <= share
                    ahead.append((split, Begun(self._ctx.pool, partial(reader.table, split)) if small else None))
                if not ahead:
                    return
                split, future = ahead.popleft()
                read = 0
                made = reader.batches(split, memory_bytes // 2) if future is None else future.result().to_batches()
                for batch in made:
                    read += batch.nbytes
                    if batch.num_rows:
                        yield batch
                swell = max(swell, _SWELL, read // max(split.size_bytes, 1))
        finally:
            for _, future in ahead:
                if future is not None:
                    future.cancel()

    def _weight(self, split: Split, swell: int) -> int:
        return max(split.size_bytes * swell, _rows(split) * _ROW_BYTES * len(self._fields))

    def count(self) -> int:
        """Return how many rows there are: from metadata alone where no rows have to be merged or looked at."""
        if self._limit == 0:
            return 0
        _, by_key, by_value = divide(self._ctx.schema, self._where)
        looks = by_key is not None or by_value is not None
        known, unknown = 0, []
        for split in self.splits():
            if looks or split.needs_merge:
                unknown.append(split)
            else:
                known += split.row_count
        if unknown:
            schema = self._ctx.schema
            least = (*schema.trimmed_keys[:1], *schema.names)[0]
            counted = Scan(self._ctx, self.snapshot, [least], self._where, memory_bytes=self._memory_bytes)
            known += sum(batch.num_rows for batch in counted.batches(unknown))
        return known if self._limit is None else min(known, self._limit)

    def to_pandas(self) -> Any:  # noqa: ANN401 - pandas has no types of its own
        """Return a pandas DataFrame; pandas has to be installed."""
        library("pandas")
        return self.to_arrow().to_pandas()

    def to_polars(self) -> "pl.DataFrame":
        """Return a Polars DataFrame; polars has to be installed."""
        frame: pl.DataFrame = library("polars").from_arrow(self.to_arrow())
        return frame

    def to_duckdb(self, connection: "duckdb.DuckDBPyConnection | None" = None, name: str = "scan") -> Any:  # noqa: ANN401
        """Return the rows as a relation of a DuckDB connection, where `name` is a view of them until it is replaced."""
        return register(self.to_arrow(), connection, name)

    def narrowed(self, columns: Sequence[str] | None, where: Predicate | None) -> "Scan":
        """Return the same read with other columns, all of them for None, and another condition."""
        made = copy(self)
        made._fields = [
            self._ctx.schema.field(name) for name in (self._ctx.schema.names if columns is None else columns)
        ]
        made._where = where  # noqa: SLF001 - of its own class
        return made

    def elsewhere(self) -> "Callable[[], AbstractContextManager[Scan]]":
        """Return what opens the same read in another process, where the table is opened anew; it can be pickled."""
        if self._ctx.reopen is None:
            raise TypeError("this table was not opened by a catalog, so that no other process can open it")
        make = partial(
            Scan, snapshot=self.snapshot, columns=self.columns, where=self._where, limit=self._limit,
            partitions=self._partitions, buckets=self._buckets, memory_bytes=self._memory_bytes,
            sees_all=self._sees_all,
        )  # fmt: skip
        return partial(_open_elsewhere, self._ctx.reopen, self._ctx.schema, self._ctx.options, make)

    def to_torch(self, batch_rows: int = 1024) -> TorchRows:
        """Return an iterable dataset for PyTorch: of each batch the columns, as tensors where they are numbers.

        For `DataLoader(…, batch_size=None)`, whose workers share the splits among them. PyTorch has to be installed.
        """
        return torch_rows(self, batch_rows)


@contextmanager
def _open_elsewhere(
    reopen: Callable[[], AbstractContextManager[TableContext]],
    schema: TableSchema,
    options: Options,
    make: Callable[[TableContext], Scan],
) -> Iterator[Scan]:
    with reopen() as ctx:
        yield make(ctx.with_schema(schema, options))


@contextmanager
def naming_the_snapshot(snapshot: Snapshot) -> Iterator[None]:
    """Say of which snapshot a file was that cannot be read."""
    try:
        yield
    except CorruptError as error:
        if "snapshot" in error.details:
            raise
        message = f"{error.message}; it is of snapshot {snapshot.id}: other partitions can still be read"
        raise CorruptError(error.kind, message, **error.details, snapshot=snapshot.id) from error


def _is_large(split: Split) -> bool:
    return split.needs_merge and _rows(split) > _FOLD_ROWS


def _rows(split: Split) -> int:
    return sum(file.row_count for file in split.files)


def _fit(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    if batch.schema.equals(schema):
        return batch
    return pa.RecordBatch.from_arrays(
        [batch.column(place).cast(field.type) for place, field in enumerate(schema)], schema=schema
    )
