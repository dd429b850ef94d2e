"""Rows of a scan in the form of other libraries, each imported only where it is asked for."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from hosu.kernel.errors import ErrorKind, UnsupportedError
from hosu.tables.context import TableContext

if TYPE_CHECKING:
    import duckdb

    from hosu.tables.reading.scan import Scan

_WORKER_THREADS = 2


def library(name: str) -> Any:  # noqa: ANN401 - a module
    """Return a library that hosu does without; raise UnsupportedError where it is not installed."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise UnsupportedError(
            ErrorKind.UNSUPPORTED, f"rows in the form of {name} need the package {name}: pip install {name}"
        ) from error


def register(rows: pa.Table, connection: "duckdb.DuckDBPyConnection | None", name: str) -> "duckdb.DuckDBPyRelation":
    """Return rows as a relation, and let the connection know them by a name."""
    target = library("duckdb").connect() if connection is None else connection
    target.register(name, rows)
    return target.table(name)


class TorchRows:
    """Batches of rows as tensors, from the start each time they are iterated; for `DataLoader(…, batch_size=None)`."""

    def __init__(self, scan: "Scan", ctx: TableContext, batch_rows: int) -> None:
        self._scan = scan
        self._ctx = ctx
        self._batch_rows = batch_rows

    def __iter__(self) -> Iterator[dict[str, Any]]:
        torch = library("torch")
        worker = torch.utils.data.get_worker_info()
        splits = self._scan.splits()
        scan = self._scan
        if worker is not None:
            splits = splits[worker.id :: worker.num_workers]
            # Threads do not come along into the worker's process.
            scan = scan.within(replace(self._ctx, pool=ThreadPoolExecutor(_WORKER_THREADS)))
        held: list[pa.RecordBatch] = []
        rows = 0
        for batch in scan.batches(splits):
            held.append(batch)
            rows += batch.num_rows
            while rows >= self._batch_rows:
                table = pa.Table.from_batches(held)
                yield _tensors(table.slice(0, self._batch_rows), torch)
                held = table.slice(self._batch_rows).to_batches()
                rows -= self._batch_rows
        if rows:
            yield _tensors(pa.Table.from_batches(held), torch)


def _tensors(rows: pa.Table, torch: Any) -> dict[str, Any]:  # noqa: ANN401 - a module
    """Return columns as tensors; those that are no numbers, or have NULLs, as lists."""
    found: dict[str, Any] = {}
    for name, column in zip(rows.column_names, rows.columns, strict=True):
        kind = column.type
        is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
        if is_number and not column.null_count:
            found[name] = torch.from_numpy(column.to_numpy().copy())
        else:
            found[name] = column.to_pylist()
    return found
