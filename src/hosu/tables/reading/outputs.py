"""Rows of a scan in the form of other libraries, each imported only where it is asked for."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from importlib import import_module
from types import new_class
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from hosu.kernel.errors import ErrorKind, UnsupportedError
from hosu.tables.reading.splits import Split

if TYPE_CHECKING:
    import duckdb

    from hosu.tables.reading.scan import Scan


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

    def __init__(self, scan: "Callable[[], AbstractContextManager[Scan]] | Scan", batch_rows: int) -> None:
        self._scan = scan
        self._batch_rows = batch_rows

    def __reduce__(self) -> tuple[Callable[..., "TorchRows"], tuple[object, ...]]:
        return torch_rows, (self._elsewhere(), self._batch_rows)

    def _elsewhere(self) -> "Callable[[], AbstractContextManager[Scan]]":
        return self._scan if callable(self._scan) else self._scan.elsewhere()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        torch = library("torch")
        worker = torch.utils.data.get_worker_info()
        if worker is None and not callable(self._scan):
            yield from self._batches(self._scan, self._scan.splits(), torch)
            return
        # A worker that was forked has neither the threads nor the locks of the process it comes from.
        with self._elsewhere()() as scan:
            splits = scan.splits()
            yield from self._batches(scan, splits if worker is None else splits[worker.id :: worker.num_workers], torch)

    def _batches(self, scan: "Scan", splits: list[Split], torch: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401
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


def torch_rows(scan: "Callable[[], AbstractContextManager[Scan]] | Scan", batch_rows: int) -> TorchRows:
    """Return the rows of a scan, or of one to be opened, as what PyTorch knows as an iterable dataset."""
    torch = library("torch")
    made: TorchRows = new_class("TorchRows", (TorchRows, torch.utils.data.IterableDataset))(scan, batch_rows)
    return made


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
