"""Rows that take others back where no merge can: once written, they would keep a whole bucket from being read."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hosu.tables.merging.accumulators import takes_back
from hosu.tables.merging.keys import Mask
from hosu.tables.merging.spec import MergeEngine, MergeSpec
from hosu.tables.records import RowKind

NO_RETRACTS = (
    "merge engine partial-update takes no -U and -D rows as this table is: set its option ignore-delete or "
    "partial-update.remove-record-on-delete to true, or give its columns sequence groups"
)


def no_way_back(function: str, column: str) -> str:
    """Say that a function cannot take rows back."""
    return (
        f"aggregate function {function!r} of column {column!r} cannot take -U and -D rows back: "
        f"leave them out, or set fields.{column}.ignore-retract to true"
    )


def first_refused(spec: MergeSpec, rows: pa.Table, kinds: npt.NDArray[np.int8]) -> tuple[int, str] | None:
    """Return the first row that takes back what cannot be, and why; columns that rows lack are NULL."""
    deletes = kinds == RowKind.DELETE
    retracts = deletes | (kinds == RowKind.UPDATE_BEFORE)
    if not retracts.any() or spec.picks or spec.ignore_delete:
        return None
    if spec.engine is MergeEngine.PARTIAL_UPDATE and not spec.groups:
        return None if spec.remove_record_on_delete else (int(np.argmax(retracts)), NO_RETRACTS)
    if spec.remove_record_on_delete or spec.removing:
        retracts &= ~deletes
    for column, aggregator in spec.aggregators.items():
        if takes_back(aggregator):
            continue
        refused = retracts & _counts(spec, column, rows)
        if refused.any():
            return int(np.argmax(refused)), no_way_back(aggregator.name, column)
    return None


def _counts(spec: MergeSpec, column: str, rows: pa.Table) -> Mask:
    """Say which rows say anything of a column: of a sequence group, those with any of its fields."""
    groups = [group for group in spec.groups if column in group.protected]
    counts = np.full(rows.num_rows, not spec.groups)
    for name in (name for group in groups for name in group.fields):
        if name in rows.column_names:
            counts |= rows.column(name).is_valid().to_numpy()
    return counts
