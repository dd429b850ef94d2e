"""Avro container files: every codec, damage anywhere, and what a stock reader makes of ours."""

import io
import json
from typing import Any, cast

import fastavro
import pytest

from hosu.kernel.errors import ErrorKind, UnsupportedError
from hosu.tables.manifests import avro

SCHEMA = {
    "type": "record",
    "name": "record",
    "fields": [
        {"name": "n", "type": "long"},
        {"name": "s", "type": ["null", "string"], "default": None},
        {"name": "t", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}], "default": None},
    ],
}
ROWS = avro.array_of(SCHEMA)
RECORDS = [{"n": n - 5, "s": None if n % 3 else f"text {n}", "t": n * 1000} for n in range(2500)]


@pytest.mark.parametrize("codec", sorted(set(avro.CODECS.values())))
def test_what_is_written_with_a_codec_is_read_back(codec: str) -> None:
    assert avro.read_file(avro.write_file(SCHEMA, ROWS, RECORDS, codec)) == RECORDS


@pytest.mark.parametrize("codec", ["null", "deflate", "zstandard", "bzip2", "xz"])
def test_a_stock_reader_reads_what_is_written(codec: str) -> None:
    data = avro.write_file(SCHEMA, ROWS, RECORDS, codec)
    found = cast("list[dict[str, Any]]", list(fastavro.reader(io.BytesIO(data))))
    assert [row["n"] for row in found] == [row["n"] for row in RECORDS]
    assert [row["s"] for row in found] == [row["s"] for row in RECORDS]


@pytest.mark.parametrize("codec", ["null", "deflate", "zstandard"])
def test_what_a_stock_writer_wrote_is_read(codec: str) -> None:
    buffer = io.BytesIO()
    fastavro.writer(buffer, SCHEMA, RECORDS, codec=codec, sync_interval=1000)
    assert avro.read_file(buffer.getvalue()) == RECORDS


def test_a_file_without_rows_has_a_header_alone() -> None:
    assert avro.read_file(avro.write_file(SCHEMA, ROWS, [], "zstandard")) == []


def test_the_header_holds_the_schema_with_its_logical_types() -> None:
    data = avro.write_file(SCHEMA, ROWS, [], "zstandard")
    assert json.loads(fastavro.reader(io.BytesIO(data)).metadata["avro.schema"]) == SCHEMA


def test_a_file_cut_anywhere_is_refused_or_ends_before_a_block() -> None:
    data = avro.write_file(SCHEMA, ROWS, RECORDS[:3], "deflate")
    start = len(avro.write_file(SCHEMA, ROWS, [], "deflate"))
    for size in range(len(data)):
        if size == start:
            assert avro.read_file(data[:size]) == []
        else:
            with pytest.raises(Exception):  # noqa: B017, PT011 - the reader of manifests takes whatever comes
                avro.read_file(data[:size])


def test_a_damaged_snappy_block_is_refused() -> None:
    data = bytearray(avro.write_file(SCHEMA, ROWS, RECORDS[:3], "snappy"))
    data[-20] ^= 1
    with pytest.raises(ValueError, match="checksum"):
        avro.read_file(bytes(data))


def test_an_unknown_codec_is_named() -> None:
    data = avro.write_file(SCHEMA, ROWS, RECORDS[:3], "null").replace(b"\x08null", b"\x08lzma", 1)
    with pytest.raises(ValueError, match="lzma"):
        avro.read_file(data)


def test_a_compression_that_is_not_written_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedError, match="lz4") as caught:
        avro.codec_of("lz4")
    assert caught.value.kind is ErrorKind.UNSUPPORTED


def test_a_number_without_an_end_is_refused() -> None:
    with pytest.raises(ValueError, match="within a number"):
        avro.read_file(avro.MAGIC + b"\xff" * 1_000_000)
