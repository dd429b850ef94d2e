"""Text of a few values: read as numbers into dictionaries, and looked up."""

import io
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hosu.tables.files import parquet
from hosu.tables.files.parquet import ALONE_ROWS, ParquetFileReader


def test_text_in_dictionaries_is_read_as_the_values_it_stands_for(monkeypatch: pytest.MonkeyPatch) -> None:
    count = ALONE_ROWS + 5_000
    words = ["ä", "", "word", None]
    rows = pa.table(
        {
            "repeats": pa.array([words[number % 4] for number in range(count)]),
            "bytes": pa.array([[b"\0", b"\xff\xfe"][number % 2] for number in range(count)]),
            "nothing": pa.nulls(count, pa.string()),
            "differs": pa.array([f"value {number}" for number in range(count)]),
            "number": pa.array(range(count), pa.int32()),
        }
    )
    sink = io.BytesIO()
    pq.write_table(
        rows, sink, row_group_size=7_000, dictionary_pagesize_limit=1_000, store_schema=False, write_page_checksum=True
    )
    coded = []
    before = ParquetFileReader._coded

    def noting(self: ParquetFileReader, names: Sequence[str], groups: Sequence[int]) -> list[str]:
        coded.append(before(self, names, groups))
        return coded[-1]

    monkeypatch.setattr(ParquetFileReader, "_coded", noting)
    reader = ParquetFileReader(pa.BufferReader(sink.getvalue()))
    names = ["number", "repeats", "differs", "bytes", "nothing"]
    assert reader.read(names, None).equals(rows.select(names))
    assert reader.read(["repeats"], [3, 1]).equals(
        pa.concat_tables([rows.slice(21_000, 7_000), rows.slice(7_000, 7_000)]).select(["repeats"])
    )
    assert reader.read(names, []).equals(rows.select(names).slice(0, 0))
    monkeypatch.setattr(parquet, "_TEXT_BYTES_MAX", 4_000)  # then an array of text holds 1,000 words
    pieces = reader.read(["repeats"], None)
    assert pieces.equals(rows.select(["repeats"]))
    assert pieces["repeats"].num_chunks == count // 1_000
    assert [sorted(set(names) - {"nothing"}) for names in coded] == [["bytes", "repeats"], ["repeats"], [], ["repeats"]]
