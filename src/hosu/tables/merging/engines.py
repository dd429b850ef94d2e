"""The merge engines that make a new row of several: aggregation and partial-update."""

import numpy as np
import pyarrow as pa

from hosu.kernel.errors import ErrorKind, InvalidInputError
from hosu.tables.merging.aggregates import evaluate
from hosu.tables.merging.grouping import Kinds, kinds_of, retracts
from hosu.tables.merging.keys import one_array
from hosu.tables.merging.operations import Operation, Operations
from hosu.tables.merging.retracting import NO_RETRACTS
from hosu.tables.merging.segments import Segments, take_or_null
from hosu.tables.merging.sequences import grouped_steps
from hosu.tables.merging.spec import LAST_NON_NULL, Aggregator, MergeSpec
from hosu.tables.merging.steps import Steps, filled, without_retracts
from hosu.tables.options import MergeEngine
from hosu.tables.records import SEQUENCE_NUMBER, VALUE_KIND, RowKind


def merge_groups(rows: pa.Table, segments: Segments, spec: MergeSpec) -> pa.Table:
    """Return one row for each segment of rows, of which each has at least two in the order they came about."""
    kinds = kinds_of(rows)
    if spec.engine is MergeEngine.AGGREGATION:
        steps = _aggregation(kinds, segments, spec)
    elif spec.groups:
        steps = grouped_steps(rows, kinds, segments, spec)
    else:
        steps = _partial_update(kinds, segments, spec)
    columns = []
    for name in rows.column_names:
        if name == VALUE_KIND:
            columns.append(pa.array(steps.kinds, pa.int8()))
        elif name == SEQUENCE_NUMBER:
            columns.append(take_or_null(one_array(rows.column(name)), steps.newest))
        else:
            aggregator, operations = steps.of(name)
            columns.append(evaluate(name, aggregator, one_array(rows.column(name)), operations, segments))
    return pa.table(columns, schema=rows.schema)


def _aggregation(kinds: Kinds, segments: Segments, spec: MergeSpec) -> Steps:
    operations = filled(segments.count, Operation.AGGREGATE)
    operations[retracts(kinds)] = Operation.RETRACT
    results = np.full(segments.groups, RowKind.INSERT, np.int8)
    if spec.remove_record_on_delete:
        deleted = kinds == RowKind.DELETE
        operations[deleted] = Operation.SET
        results[deleted[segments.ends - 1]] = RowKind.DELETE
    kept = without_retracts(operations)

    def of(name: str) -> tuple[Aggregator, Operations]:
        aggregator = spec.aggregators.get(name, LAST_NON_NULL)
        return aggregator, kept if aggregator.ignore_retract else operations

    return Steps(of, results, segments.ends - 1)


def _partial_update(kinds: Kinds, segments: Segments, spec: MergeSpec) -> Steps:
    gone = retracts(kinds)
    operations = filled(segments.count, Operation.AGGREGATE)
    results = np.full(segments.groups, RowKind.INSERT, np.int8)
    newest = segments.ends - 1
    if gone.any():
        if not (spec.ignore_delete or spec.remove_record_on_delete):
            raise InvalidInputError(ErrorKind.ROWS_INVALID, NO_RETRACTS)
        operations[gone] = Operation.SKIP
        leading = gone[segments.starts]
        operations[segments.starts[leading]] = Operation.SET
        results[~segments.any(~gone)] = RowKind.DELETE
        if spec.ignore_delete:
            inserts = segments.last_where(~gone)
            newest = np.where(inserts < 0, newest, inserts)
        else:
            deleted = kinds == RowKind.DELETE
            operations[deleted] = Operation.SET
            results[deleted[segments.ends - 1]] = RowKind.DELETE

    def of(_name: str) -> tuple[Aggregator, Operations]:
        return LAST_NON_NULL, operations

    return Steps(of, results, newest)
