"""The index files that hold deletion vectors: one for the data files of a bucket."""

import uuid
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from pyroaring import BitMap, BitMap64

from hosu.kernel.errors import CorruptError, ErrorKind, InvalidInputError, NotFoundError, UnsupportedError
from hosu.tables.manifests import index_entries
from hosu.tables.manifests.live import SLOT_BYTES
from hosu.tables.records import IndexFile, Partition, VectorRange
from hosu.tables.rows import encode_serialised
from hosu.tables.vectors.codec import Vector, decode_vector, encode_vector

if TYPE_CHECKING:
    from hosu.tables.context import TableContext
    from hosu.tables.records import Snapshot

DELETION_VECTORS: Final = "DELETION_VECTORS"
_VERSION: Final = b"\x01"


def new_vector(ctx: "TableContext", positions: Iterable[int]) -> Vector:
    """Return a vector of positions, of the kind that option `deletion-vectors.bitmap64` says."""
    numbers: Any = positions.tolist() if hasattr(positions, "tolist") else positions
    return BitMap64(numbers) if ctx.options.deletion_vectors_bitmap64 else BitMap(numbers)


def vectors_of(ctx: "TableContext", snapshot: "Snapshot", partition: Partition, bucket: int) -> dict[str, Vector]:
    """Return the deletion vectors of a bucket by the names of their data files.

    Raises CorruptError CORRUPT_TABLE naming the index file.
    """
    found: dict[str, Vector] = {}
    if snapshot.index_manifest is not None:
        types = [field.type for field in ctx.schema.partition_fields]
        place = (encode_serialised(partition, types), bucket)
        for file in _files_by_bucket(ctx, snapshot).get(place, ()):
            found |= read_vectors(ctx, file)
    return found


def _files_by_bucket(ctx: "TableContext", snapshot: "Snapshot") -> dict[tuple[bytes, int], list[IndexFile]]:
    """Return the files that hold vectors: looked through once, however many buckets are asked for."""

    def load() -> tuple[dict[tuple[bytes, int], list[IndexFile]], int]:
        found: dict[tuple[bytes, int], list[IndexFile]] = {}
        for entry in index_entries(ctx, snapshot, DELETION_VECTORS):
            found.setdefault((entry.partition, entry.bucket), []).append(entry.file)
        return found, SLOT_BYTES * (1 + len(found))

    return ctx.cache.get(("vectors", ctx.layout.path, snapshot.index_manifest), load)


def read_vectors(ctx: "TableContext", file: IndexFile) -> dict[str, Vector]:
    """Return the deletion vectors of one index file by the names of their data files; raises as `vectors_of`."""
    if file.external_path is not None:
        raise UnsupportedError(
            ErrorKind.UNSUPPORTED,
            f"index file {file.external_path!r} lies outside the table's folder, where hosu does not read",
            path=file.external_path,
        )
    key = ctx.layout.index(file.file_name)
    if not file.vectors:
        return {}
    try:
        data = _checked(ctx.files.read(key))
        return {held.data_file: decode_vector(data, held.offset, held.length) for held in file.vectors}
    except NotFoundError as error:
        raise CorruptError(
            ErrorKind.CORRUPT_TABLE, f"index file {key!r} is missing, which the table's manifests name", key=key
        ) from error
    except ValueError as error:
        raise CorruptError(
            ErrorKind.CORRUPT_TABLE, f"index file {key!r} of deletion vectors cannot be read: {error}", key=key
        ) from error


def _checked(data: bytes) -> bytes:
    if data[:1] != _VERSION:
        raise ValueError(f"its version is {data[:1].hex() or 'missing'}, hosu reads {_VERSION.hex()}")
    return data


def write_vectors(
    ctx: "TableContext",
    partition: Partition,  # noqa: ARG001 - an index file lies in one folder for all buckets
    bucket: int,  # noqa: ARG001 - as the partition
    vectors: Mapping[str, Vector],
) -> IndexFile:
    """Write the vectors of a bucket's data files, by their names, as one index file that is durable on return.

    It takes the place of the bucket's others once committed; without vectors it says that no row is gone any more.
    Raises InvalidInputError ROWS_INVALID for a position beyond what the kind of vector holds.
    """
    parts = [_VERSION]
    ranges = []
    offset = len(_VERSION)
    for name, vector in vectors.items():
        try:
            data, length = encode_vector(vector)
        except ValueError as error:
            raise InvalidInputError(
                ErrorKind.ROWS_INVALID,
                f"data file {name!r}: {error}; set 'deletion-vectors.bitmap64'",
                file=name,
            ) from error
        ranges.append(VectorRange(name, offset, length, len(vector)))
        parts.append(data)
        offset += len(data)
    name = f"index-{uuid.uuid4()}-0"
    ctx.files.put(ctx.layout.index(name), b"".join(parts))
    return IndexFile(
        index_type=DELETION_VECTORS, file_name=name, file_size=offset, row_count=len(ranges), vectors=tuple(ranges)
    )
