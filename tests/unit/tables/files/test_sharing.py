"""Memory shared out among runs that are read side by side, and batches that keep to their share."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hosu.tables.files.parquet import ParquetFileReader
from hosu.tables.files.sharing import READ_STAGES, are_open_within, open_bytes, shares_of, usable
from hosu.tables.files.statistics import EMPTY_STATS
from hosu.tables.records import DataFile

MIB = 1 << 20


def file(rows: int, size_bytes: int) -> DataFile:
    return DataFile(
        file_name="f",
        file_size=size_bytes,
        row_count=rows,
        min_key=b"",
        max_key=b"",
        key_stats=EMPTY_STATS,
        value_stats=EMPTY_STATS,
        min_sequence_number=0,
        max_sequence_number=rows - 1,
        schema_id=0,
        level=0,
    )


def test_the_more_runs_are_open_the_less_is_left_for_rows_and_never_nothing() -> None:
    runs = [[file(1_000_000, 50 * MIB)]] * 64
    held = [shares_of(runs[:n], 10, 128 * MIB, of_leaves=10, stages=READ_STAGES).held_bytes for n in (2, 8, 64)]
    assert held[0] > held[1] > held[2] == 128 * MIB // 4 // READ_STAGES


def test_row_groups_are_fetched_whole_where_that_is_little() -> None:
    small, large = [[file(10_000, MIB)]] * 4, [[file(1_000_000, 100 * MIB)]] * 4
    assert shares_of(small, 10, 128 * MIB, of_leaves=10, stages=READ_STAGES).buffer_bytes is None
    buffer_bytes = shares_of(large, 10, 128 * MIB, of_leaves=10, stages=READ_STAGES).buffer_bytes
    assert buffer_bytes is not None
    assert 4 * 10 * buffer_bytes < 128 * MIB // 4


def test_runs_that_would_take_a_third_of_the_memory_are_not_open_together() -> None:
    runs = [[file(1_000_000, 50 * MIB)]] * 8
    memory = 3 * 8 * open_bytes(runs[0], 10, of_leaves=10)
    assert are_open_within(runs, 10, memory)
    assert not are_open_within(runs, 10, memory - 3)


def test_some_memory_is_set_aside_but_at_most_half() -> None:
    assert usable(256 * MIB) == 224 * MIB
    assert usable(10) == 5


@pytest.mark.parametrize("dictionaries", [["text"], []])
def test_batches_keep_to_their_bytes_however_well_text_compresses(dictionaries: list[str]) -> None:
    texts = pa.array([f"{number} " * 500 for number in range(20)])
    rows = pa.table({"id": np.arange(50_000), "text": texts.take(pa.array(np.arange(50_000) % 20))})
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, use_dictionary=dictionaries or False, row_group_size=25_000, compression="zstd")
    stored = sink.getvalue()
    assert stored.size < 2 * MIB

    reader = ParquetFileReader(pa.BufferReader(stored))
    batches = list(reader.batches(["id", "text"], None, 65_536, MIB))

    assert max(batch.nbytes for batch in batches) < 1.5 * MIB
    assert len(batches) < 2 * rows.nbytes / MIB
    assert pa.Table.from_batches(batches).equals(rows.combine_chunks())


def test_batches_keep_to_their_bytes_where_the_first_rows_are_short() -> None:
    texts = pa.array([None, *(f"{number} " * 5_000 for number in range(5))])
    places = np.concatenate([np.zeros(1_000, np.int64), 1 + np.arange(9_000) % 5])
    rows = pa.table({"text": texts.take(pa.array(places))})
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, use_dictionary=["text"], compression="zstd")

    batches = list(ParquetFileReader(pa.BufferReader(sink.getvalue())).batches(["text"], None, 65_536, MIB))

    assert max(batch.nbytes for batch in batches) < 1.5 * MIB
    assert pa.Table.from_batches(batches).equals(rows.combine_chunks())


def test_looking_how_large_rows_are_does_not_fetch_them_twice() -> None:
    class Counting(io.BytesIO):
        fetched = 0

        def read(self, size: int | None = -1, /) -> bytes:
            found = super().read(size)
            self.fetched += len(found)
            return found

    texts = pa.array([f"value {number}" for number in range(2_000)])
    rows = pa.table({"text": texts.take(pa.array(np.random.default_rng(5).integers(0, 2_000, 400_000)))})
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, use_dictionary=["text"], row_group_size=200_000)
    stored = Counting(sink.getvalue())

    reader = ParquetFileReader(pa.PythonFile(stored, mode="r"))
    assert sum(batch.num_rows for batch in reader.batches(["text"], None, 65_536, MIB)) == rows.num_rows

    assert stored.fetched < 1.6 * len(stored.getvalue())
