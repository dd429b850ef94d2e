"""Avro container files, decoded and encoded a block at a time.

A block's rows are, but for a count before and a zero after them, an Avro array: so fastavro decodes a block in one call
that does no work in Python per row, and logical types stay the plain numbers that manifests want.
"""

import bz2
import json
import lzma
import secrets
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from io import BytesIO
from typing import Any, Final, TypeAlias, cast

import fastavro
import pyarrow as pa

from hosu.kernel.errors import ErrorKind, UnsupportedError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAGIC: Final = b"Obj\x01"
SYNC_BYTES: Final = 16
BLOCK_ROWS: Final = 1000
"""Rows per block, after which a writer looks whether its file is full."""

ZSTD_LEVEL: Final = 1
CHECKSUM_BYTES: Final = 4
LONG_SHIFT_MAX: Final = 63

Row: TypeAlias = dict[str, Any]
Schema: TypeAlias = dict[str, Any]

CODECS: Final = {
    "zstd": "zstandard",
    "zstandard": "zstandard",
    "none": "null",
    "null": "null",
    "uncompressed": "null",
    "deflate": "deflate",
    "snappy": "snappy",
    "bzip2": "bzip2",
    "xz": "xz",
}
"""Avro's names of the values that `manifest.compression` may have."""


def codec_of(compression: str) -> str:
    """Return Avro's name of a compression; raise UnsupportedError for one that is not written."""
    try:
        return CODECS[compression.lower()]
    except KeyError:
        raise UnsupportedError(
            ErrorKind.UNSUPPORTED,
            f"manifest.compression = {compression!r} is not supported: use one of {', '.join(sorted(CODECS))}",
            option="manifest.compression",
        ) from None


def array_of(schema: Schema) -> Schema:
    """Return the parsed schema of an array of a record's rows, without logical types."""
    return cast("Schema", fastavro.parse_schema({"type": "array", "items": _plain(schema)}))


def encode(rows: Schema, records: Sequence[Row], codec: str, sync: bytes) -> bytes:
    """Return one block of records. `rows` is what `array_of` makes of their schema."""
    if not records:
        return b""
    buffer = BytesIO()
    fastavro.schemaless_writer(buffer, rows, records)
    count = _long(len(records))
    body = _COMPRESS[codec](bytes(memoryview(buffer.getbuffer())[len(count) : -1]))
    return b"".join((count, _long(len(body)), body, sync))


def header(schema: Schema, codec: str) -> tuple[bytes, bytes]:
    """Return the header of a new file and the mark that ends each of its blocks."""
    sync = secrets.token_bytes(SYNC_BYTES)
    text = _schema_text(json.dumps(schema))
    pieces = [MAGIC, _long(2)]
    for name, value in ((b"avro.codec", codec.encode()), (b"avro.schema", text)):
        pieces += [_long(len(name)), name, _long(len(value)), value]
    return b"".join([*pieces, _long(0), sync]), sync


def write_file(schema: Schema, rows: Schema, records: Sequence[Row], codec: str) -> bytes:
    """Return a whole file of records."""
    head, sync = header(schema, codec)
    blocks = (records[start : start + BLOCK_ROWS] for start in range(0, len(records), BLOCK_ROWS))
    return b"".join([head, *(encode(rows, block, codec, sync) for block in blocks)])


def read_file(data: bytes) -> list[Row]:
    """Return the records of a file; raise ValueError, or what a decoder raises, when it is cut or is none."""
    if data[:4] != MAGIC:
        raise ValueError("it is no Avro file")
    position = 4
    metadata: dict[str, bytes] = {}
    while True:
        number, position = _read_long(data, position)
        if number == 0:
            break
        if number < 0:  # then the size of the block comes before its entries
            _, position = _read_long(data, position)
        for _ in range(abs(number)):
            name, position = _read_bytes(data, position)
            metadata[name.decode()], position = _read_bytes(data, position)
    codec = metadata.get("avro.codec", b"null").decode()
    if codec not in _DECOMPRESS:
        raise ValueError(f"its codec {codec!r} is not supported")
    sync = data[position : position + SYNC_BYTES]
    rows = _rows_schema(metadata["avro.schema"])
    found: list[Row] = []
    for block in _blocks(data, position + SYNC_BYTES, sync, _DECOMPRESS[codec]):
        found += cast("list[Row]", fastavro.schemaless_reader(BytesIO(block), rows, None))
    return found


def _blocks(data: bytes, position: int, sync: bytes, decompress: Callable[[bytes], bytes]) -> Iterator[bytes]:
    """Yield each block as an Avro array."""
    if len(sync) != SYNC_BYTES:
        raise ValueError("it ends within its header")
    while position < len(data):
        start = position
        _, position = _read_long(data, position)
        count = data[start:position]
        body, position = _read_bytes(data, position)
        if data[position : position + SYNC_BYTES] != sync:
            raise ValueError(f"it ends within its block at byte {start}")
        position += SYNC_BYTES
        yield b"".join((count, decompress(body), b"\0"))


@lru_cache(maxsize=64)
def _rows_schema(text: bytes) -> Any:  # noqa: ANN401 - fastavro's own
    return array_of(json.loads(text))


@lru_cache(maxsize=64)
def _schema_text(text: str) -> bytes:
    return json.dumps(json.loads(text), separators=(",", ":")).encode()


def _plain(schema: Any) -> Any:  # noqa: ANN401 - any JSON
    """Return a schema without logical types."""
    if isinstance(schema, dict):
        return {key: _plain(value) for key, value in schema.items() if key != "logicalType"}
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    return schema


def _long(number: int) -> bytes:
    value = (number << 1) ^ (number >> 63)
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits a byte
        out.append((value & 0x7F) | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_long(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(data) or shift > LONG_SHIFT_MAX:
            raise ValueError("it ends within a number")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the last byte has no high bit
            return (value >> 1) ^ -(value & 1), position
        shift += 7


def _read_bytes(data: bytes, position: int) -> tuple[bytes, int]:
    size_bytes, position = _read_long(data, position)
    if size_bytes < 0 or position + size_bytes > len(data):
        raise ValueError("it ends too early")
    return data[position : position + size_bytes], position + size_bytes


def _deflate(data: bytes) -> bytes:
    return zlib.compress(data, wbits=-15)


def _inflate(data: bytes) -> bytes:
    return zlib.decompress(data, wbits=-15)


def _snap(data: bytes) -> bytes:
    checksum = zlib.crc32(data).to_bytes(CHECKSUM_BYTES, "big")
    return bytes(pa.compress(data, codec="snappy", asbytes=True)) + checksum


def _unsnap(data: bytes) -> bytes:
    # Snappy begins with the size of what comes out: a number of seven bits a byte, without Avro's zigzag.
    size_bytes = shift = 0
    for byte in data:
        size_bytes |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:  # noqa: PLR2004 - the last byte has no high bit
            break
    body, checksum = data[:-CHECKSUM_BYTES], data[-CHECKSUM_BYTES:]
    plain = bytes(pa.decompress(body, decompressed_size=size_bytes, codec="snappy", asbytes=True))
    if zlib.crc32(plain).to_bytes(CHECKSUM_BYTES, "big") != checksum:
        raise ValueError("the checksum of a block does not match")
    return plain


_COMPRESS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "null": bytes,
    "deflate": _deflate,
    "zstandard": lambda data: zstd.compress(data, level=ZSTD_LEVEL),
    "snappy": _snap,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}

_DECOMPRESS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "null": bytes,
    "deflate": _inflate,
    "zstandard": zstd.decompress,
    "snappy": _unsnap,
    "bzip2": bz2.decompress,
    "xz": lzma.decompress,
}
