"""How a table spreads a partition's rows over buckets."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from hosu.tables.rows import bucket_of_rows, row_hashes
from hosu.tables.validation import check_spreading
from hosu.tables.writing.routing import Ints, Part, array_of
from hosu.tables.writing.states import BucketStates

if TYPE_CHECKING:
    from hosu.tables.context import TableContext

BucketOf = Callable[[pa.Table, Part], Ints]
"""Returns the bucket of each of a partition's rows."""

DYNAMIC = -1


def is_dynamic(ctx: "TableContext") -> bool:
    """Whether the table's keys find their buckets by an index."""
    return ctx.schema.is_primary_key_table and ctx.options.bucket == DYNAMIC


def is_unaware(ctx: "TableContext") -> bool:
    """Whether the table is of rows without keys, all in bucket 0."""
    return not ctx.schema.is_primary_key_table and ctx.options.bucket == DYNAMIC


def bucket_function(ctx: "TableContext", states: BucketStates) -> BucketOf:
    """Return what finds the buckets of rows; with dynamic buckets it takes new keys into the states' indexes.

    Raises UnsupportedError for a table of others whose way hosu does not go.
    """
    schema, options = ctx.schema, ctx.options
    check_spreading(schema, options.bucket)
    if is_unaware(ctx) or options.bucket == 1:
        return lambda rows, _part: np.zeros(rows.num_rows, np.int32)
    names = schema.trimmed_keys if is_dynamic(ctx) else schema.bucket_keys
    types = [schema.field(name).type for name in names]

    def fixed(rows: pa.Table, _part: Part) -> Ints:
        columns = [array_of(rows.column(name)) for name in names]
        return bucket_of_rows(columns, types, options.bucket, options.bucket_function)

    def dynamic(rows: pa.Table, part: Part) -> Ints:
        hashes = row_hashes([array_of(rows.column(name)) for name in names], types)
        target = options.dynamic_bucket_target_row_num
        return states.index(part).assign(hashes, target, options.dynamic_bucket_max_buckets)

    return dynamic if is_dynamic(ctx) else fixed
