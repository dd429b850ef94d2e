"""Deletion vectors: their bytes, their index files, and what is wrong with them."""

import re
import zlib
from typing import Any

import msgspec
import numpy as np
import pytest
from pyroaring import BitMap, BitMap64
from tests.support.table_files import open_table

from hosu.kernel.errors import CorruptError, ErrorKind, InvalidInputError, UnsupportedError
from hosu.kernel.fileio import FileIO, MemoryFileIO
from hosu.tables.records import VectorRange
from hosu.tables.vectors import (
    DELETION_VECTORS,
    Vector,
    decode_vector,
    encode_vector,
    new_vector,
    read_vectors,
    write_vectors,
)

JAVA_32 = bytes.fromhex("000000185e43f2d03a30000001000000000001001000000001000200")
"""What Java's BitmapDeletionVector has of rows 1 and 2 but its CRC."""


@pytest.fixture
def files() -> MemoryFileIO:
    return MemoryFileIO()


def test_the_form_of_32_bits_is_that_of_java() -> None:
    data, length = encode_vector(BitMap([1, 2]))
    assert data[: len(JAVA_32)] == JAVA_32
    assert data[len(JAVA_32) :] == zlib.crc32(JAVA_32[4:]).to_bytes(4, "big")
    assert length == 0x18
    assert decode_vector(b"before" + data, 6, length) == BitMap([1, 2])


def test_the_form_of_64_bits_is_that_of_java() -> None:
    data, length = encode_vector(BitMap64([1, 2, 1 << 33]))
    size = int.from_bytes(data[:4], "big")
    assert data[4:8] == (1681511377).to_bytes(4, "little")
    assert data[8:16] == (2).to_bytes(8, "little"), "two bitmaps of 32 bits"
    assert data[16:20] == (0).to_bytes(4, "little"), "the upper half of the first"
    assert length == len(data) == size + 8
    assert decode_vector(data, 0, length) == BitMap64([1, 2, 1 << 33])


@pytest.mark.parametrize("vector", [BitMap(), BitMap64(), BitMap(range(100_000)), BitMap64(range(0, 200_000, 3))])
def test_vectors_come_back_as_they_were_and_of_their_kind(vector: Vector) -> None:
    data, length = encode_vector(vector)
    found = decode_vector(data, 0, length)
    assert found == vector
    assert type(found) is type(vector)


def test_index_files_keep_the_vectors_of_several_files(files: FileIO) -> None:
    ctx = open_table(files, {"x": "INT"})
    vectors: dict[str, Vector] = {"a": BitMap([0, 7]), "b": BitMap64([3]), "c": BitMap(range(5000))}
    index = write_vectors(ctx, (), 0, vectors)
    assert (index.index_type, index.row_count) == (DELETION_VECTORS, 3)
    assert index.file_size == files.head(ctx.layout.index(index.file_name)).size_bytes
    assert files.read(ctx.layout.index(index.file_name), 0, 1) == b"\x01"
    assert index.vectors is not None
    assert [(held.data_file, held.offset, held.cardinality) for held in index.vectors][:1] == [("a", 1, 2)]
    assert read_vectors(ctx, index) == vectors


def test_no_vectors_are_an_empty_index_file(files: FileIO) -> None:
    ctx = open_table(files, {"x": "INT"})
    index = write_vectors(ctx, (), 0, {})
    assert (index.file_size, index.row_count, index.vectors) == (1, 0, ())
    assert read_vectors(ctx, index) == {}


def test_the_option_says_which_kind_a_new_vector_is_of(files: FileIO) -> None:
    ctx = open_table(files, {"x": "INT"})
    assert new_vector(ctx, np.array([1, 5])) == BitMap([1, 5])
    wide = ctx.with_schema(ctx.schema, ctx.options.merged({"deletion-vectors.bitmap64": "true"}))
    found = new_vector(wide, [1, 5])
    assert found == BitMap64([1, 5])
    assert isinstance(found, BitMap64)


def test_a_row_that_java_could_not_read_is_refused(files: FileIO) -> None:
    ctx = open_table(files, {"x": "INT"})
    with pytest.raises(InvalidInputError, match=r"2147483648.*bitmap64"):
        write_vectors(ctx, (), 0, {"a": BitMap([2**31])})
    assert not list(files.list("w/d.db/t/index"))


@pytest.mark.parametrize("damage", ["version", "magic", "checksum", "cut", "length", "offset", "gone"])
def test_a_broken_index_file_is_named(files: FileIO, damage: str) -> None:
    ctx = open_table(files, {"x": "INT"})
    index = write_vectors(ctx, (), 0, {"a": BitMap([1, 2, 3])})
    key = ctx.layout.index(index.file_name)
    data = bytearray(files.read(key))
    assert index.vectors is not None
    held = index.vectors[0]
    more: dict[str, Any] = {}
    if damage == "version":
        data[0] = 2
    elif damage == "magic":
        data[5] ^= 1
        data[-4:] = zlib.crc32(data[5:-4]).to_bytes(4, "big")
    elif damage == "checksum":
        data[-6] ^= 1
    elif damage == "cut":
        del data[-7:]
    elif damage == "length":
        more = {"length": held.length + 1}
    elif damage == "offset":
        more = {"offset": held.offset + 1000}
    if damage == "gone":
        files.delete_many([key])
    else:
        files.put(key, data)
    index = msgspec.structs.replace(index, vectors=(msgspec.structs.replace(held, **more),))
    with pytest.raises(CorruptError, match=re.escape(key)) as caught:
        read_vectors(ctx, index)
    assert caught.value.kind is ErrorKind.CORRUPT_TABLE


def test_an_index_file_elsewhere_is_refused_by_name(files: FileIO) -> None:
    ctx = open_table(files, {"x": "INT"})
    index = msgspec.structs.replace(
        write_vectors(ctx, (), 0, {}), external_path="oss://x/index-1", vectors=(VectorRange("a", 1, 2),)
    )
    with pytest.raises(UnsupportedError, match="oss://x/index-1"):
        read_vectors(ctx, index)
