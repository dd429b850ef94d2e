"""Rows split by partition and bucket."""

from datetime import date

import numpy as np
import pyarrow as pa
from tests.support.table_rows import MakeTable

from hosu.tables.rows import bucket_of_rows
from hosu.tables.writing.bucketing import bucket_function
from hosu.tables.writing.routing import parts, shares, taken
from hosu.tables.writing.states import BucketStates

DAYS = pa.schema([("id", pa.int64()), ("day", pa.date32()), ("place", pa.string())])


def rows() -> pa.Table:
    days = [date(2026, 1, 1), date(2026, 1, 2), None, date(2026, 1, 1), date(2026, 1, 2), None]
    places = ["a", "b", None, "b", "b", None]
    return pa.table({"id": range(6), "day": days, "place": places}, schema=DAYS)


def test_rows_are_split_by_all_partition_keys_in_the_order_in_which_partitions_come(make: MakeTable) -> None:
    context = make((), partitions=("day", "place"), schema=DAYS)
    found = parts(context, rows())
    assert [part.partition for part in found] == [
        (date(2026, 1, 1), "a"),
        (date(2026, 1, 2), "b"),
        (None, None),
        (date(2026, 1, 1), "b"),
    ]
    assert [taken(rows(), part.rows).column("id").to_pylist() for part in found] == [[0], [1, 4], [2, 5], [3]]


def test_a_single_partition_takes_all_rows_as_they_are(make: MakeTable) -> None:
    context = make((), partitions=("day",), schema=DAYS)
    (part,) = parts(context, rows().slice(1, 1))
    assert part.rows is None
    (whole,) = parts(make(), pa.table({"id": [1]}))
    assert (whole.partition, whole.rows) == ((), None)


def test_no_rows_are_no_parts(make: MakeTable) -> None:
    assert parts(make(), pa.table({"id": pa.array([], pa.int64())})) == []
    context = make((), partitions=("day",), schema=DAYS)
    assert parts(context, rows().slice(0, 0)) == []


def test_shares_hold_each_row_once_in_the_bucket_of_its_key_and_in_their_order(make: MakeTable) -> None:
    context = make(options={"bucket": "7"})
    random = np.random.default_rng(3)
    table = pa.table({"id": random.integers(-(10**15), 10**15, 5_000), "at": np.arange(5_000)})
    split = parts(context, table)
    found = shares(table, split, bucket_function(context, BucketStates(context)))
    assert sum(share.count for share in found) == 5_000
    seen = np.concatenate([share.rows for share in found if share.rows is not None])
    assert (np.sort(seen) == np.arange(5_000)).all()
    kind = context.schema.field("id").type
    expected = bucket_of_rows([table.column("id").combine_chunks()], [kind], 7)
    for share in found:
        assert share.rows is not None
        assert (expected[share.rows] == share.bucket).all()
        assert (np.diff(share.rows) > 0).all()


def test_rows_of_a_partition_whose_keys_share_a_bucket_are_not_split_further(make: MakeTable) -> None:
    context = make((), partitions=("day",), schema=DAYS)
    found = shares(rows(), parts(context, rows()), bucket_function(context, BucketStates(context)))
    assert [(share.bucket, share.count) for share in found] == [(0, 2), (0, 2), (0, 2)]
