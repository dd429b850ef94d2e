"""The keys that files reach from and to."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from hosu.tables.manifests.partitions import order_key
from hosu.tables.records import ManifestEntry
from hosu.tables.rows import decode_serialised

if TYPE_CHECKING:
    from hosu.tables.types import DataType


def overlapping(
    entries: Iterable[ManifestEntry], types: "Sequence[DataType]"
) -> tuple[ManifestEntry, ManifestEntry] | None:
    """Return two files of which one begins before, or where, the other ends; None when all lie side by side."""

    def key(data: bytes) -> tuple[Any, ...]:
        return tuple(order_key(value) for value in decode_serialised(data, types, raw=True))

    ranges = sorted(((key(entry.file.min_key), key(entry.file.max_key), entry) for entry in entries), key=itemgetter(0))
    for (_, greatest, entry), (least, _, other) in pairwise(ranges):
        if greatest >= least:
            return entry, other
    return None
