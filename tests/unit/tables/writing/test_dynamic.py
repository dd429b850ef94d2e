"""Buckets of keys whose number grows: which one a hash gets, and the index files that say so."""

import numpy as np
import pytest

from hosu.kernel.errors import CorruptError, InvalidInputError
from hosu.tables.context import TableContext
from hosu.tables.records import IndexFile
from hosu.tables.writing.dynamic import PartitionIndex, load_index, write_index

NO_LIMIT = -1


def hashes(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def test_new_hashes_fill_a_bucket_in_the_order_they_come_then_the_next() -> None:
    index = PartitionIndex({})
    assert index.assign(hashes(50, -7, 50, 3, 9), 2, NO_LIMIT).tolist() == [0, 0, 0, 1, 1]
    assert index.modified == {0, 1}


def test_a_hash_keeps_its_bucket_when_others_have_room() -> None:
    index = PartitionIndex({3: hashes(5, 6), 0: hashes(1)})
    assert index.assign(hashes(6, 2, 1, 5), 10, NO_LIMIT).tolist() == [3, 0, 0, 3]
    assert index.modified == {0}


def test_the_first_bucket_with_room_is_filled_up_before_another_is_opened() -> None:
    index = PartitionIndex({0: hashes(1, 2, 3), 1: hashes(4)})
    assert index.assign(hashes(10, 11, 12), 3, NO_LIMIT).tolist() == [1, 1, 2]


def test_a_number_left_out_is_the_next_new_bucket() -> None:
    index = PartitionIndex({0: hashes(1), 2: hashes(2)})
    assert index.assign(hashes(8), 1, NO_LIMIT).tolist() == [1]


def test_beyond_the_limit_of_buckets_new_hashes_are_spread_over_those_there_are_the_same_way_each_time() -> None:
    fresh = np.arange(-500, 500, dtype=np.int32)
    first, second = (PartitionIndex({}).assign(fresh, 100, 2) for _ in range(2))
    assert set(first.tolist()) == {0, 1}
    assert (first == second).all()
    assert 300 < (first == 0).sum() < 700


def test_more_buckets_than_the_index_can_number_are_refused_naming_the_option() -> None:
    index = PartitionIndex({bucket: hashes(bucket) for bucket in range(32767)})
    with pytest.raises(InvalidInputError, match=r"dynamic-bucket.target-row-num"):
        index.assign(hashes(-1), 1, NO_LIMIT)


def test_hashes_of_a_bucket_are_all_it_ever_got() -> None:
    index = PartitionIndex({0: hashes(7, -9)})
    index.assign(hashes(4, 7, 8), 3, NO_LIMIT)
    assert sorted(index.of_bucket(0).tolist()) == [-9, 4, 7]
    assert index.of_bucket(1).tolist() == [8]


def test_many_assignments_agree_with_a_dict() -> None:
    random = np.random.default_rng(11)
    index = PartitionIndex({})
    known: dict[int, int] = {}
    counts: dict[int, int] = {}
    for _ in range(30):
        batch = random.integers(-300, 300, random.integers(1, 80), dtype=np.int32)
        found = index.assign(batch, 17, NO_LIMIT)
        for value in batch.tolist():
            if value not in known:
                bucket = next(number for number in range(1000) if counts.get(number, 0) < 17)
                known[value] = bucket
                counts[bucket] = counts.get(bucket, 0) + 1
        assert found.tolist() == [known[value] for value in batch.tolist()]


def test_an_index_file_is_the_hashes_as_big_endian_numbers(context: TableContext) -> None:
    file = write_index(context, hashes(1, -2))
    assert context.files.read(context.layout.index(file.file_name)) == b"\x00\x00\x00\x01\xff\xff\xff\xfe"
    assert (file.index_type, file.file_size, file.row_count) == ("HASH", 8, 2)
    assert load_index(context, [(4, file)]).assign(hashes(-2, 1), 5, NO_LIMIT).tolist() == [4, 4]


def test_an_index_file_that_is_missing_or_cut_is_named(context: TableContext) -> None:
    gone = IndexFile(index_type="HASH", file_name="index-gone-0", file_size=4, row_count=1)
    with pytest.raises(CorruptError, match="index-gone-0"):
        load_index(context, [(0, gone)])
    context.files.put(context.layout.index("index-cut-0"), b"\x00\x00\x01")
    cut = IndexFile(index_type="HASH", file_name="index-cut-0", file_size=3, row_count=1)
    with pytest.raises(CorruptError, match="3 bytes"):
        load_index(context, [(0, cut)])
