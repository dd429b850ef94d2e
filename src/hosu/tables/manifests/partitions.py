"""The partitions that manifests are of: their values, and what statistics say about where they are."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

from hosu.tables.context import TableContext
from hosu.tables.records import ManifestFile, Partition, Stats
from hosu.tables.rows import decode_serialised, encode_serialised, stats_row


@runtime_checkable
class PartitionPredicate(Protocol):
    """A condition on partitions that knows what statistics rule out."""

    def __call__(self, values: Partition, /) -> bool:
        """Whether a partition is wanted."""
        ...

    def may_match_range(self, least: Partition, greatest: Partition, null_counts: Sequence[int | None], /) -> bool:
        """Whether a partition may be wanted of which each value lies within its range, or is NULL where it counts."""
        ...


PartitionFilter: TypeAlias = Collection[Partition] | Callable[[Partition], bool]
"""Which partitions: those of a collection, or those a condition accepts; a PartitionPredicate prunes manifests too."""


class Partitions:
    """A table's partitions as bytes and as values, each converted once."""

    def __init__(self, ctx: TableContext) -> None:
        self.types = [field.type for field in ctx.schema.partition_fields]
        self._values: dict[bytes, Partition] = {}

    def values(self, data: bytes) -> Partition:
        """Return the values of a partition in its serialised form."""
        found = self._values.get(data)
        if found is None:
            found = self._values[data] = decode_serialised(data, self.types)
        return found

    def encode(self, values: Partition) -> bytes:
        """Return the serialised form of a partition."""
        return encode_serialised(values, self.types)

    def stats(self, partitions: Iterable[bytes]) -> Stats:
        """Return the statistics of the partitions that the entries of a manifest are of, one for each entry."""
        counts: dict[bytes, int] = {}
        for data in partitions:
            counts[data] = counts.get(data, 0) + 1
        least, greatest, nulls = [], [], []
        for position in range(len(self.types)):
            column = [(self.values(data)[position], count) for data, count in counts.items()]
            present = sorted({value for value, _ in column if value is not None}, key=order_key)
            least.append(present[0] if present else None)
            greatest.append(present[-1] if present else None)
            nulls.append(sum(count for value, count in column if value is None))
        return Stats(stats_row(least, self.types), stats_row(greatest, self.types), tuple(nulls))

    def matcher(self, wanted: PartitionFilter | None) -> Callable[[bytes], bool] | None:
        """Return what tells whether a partition in its serialised form is wanted; None when all are."""
        if wanted is None:
            return None
        if isinstance(wanted, Collection):
            chosen = {self.encode(values) for values in wanted}
            return chosen.__contains__
        known: dict[bytes, bool] = {}

        def matches(data: bytes) -> bool:
            found = known.get(data)
            if found is None:
                found = known[data] = bool(wanted(self.values(data)))
            return found

        return matches

    def may_hold(self, manifest: ManifestFile, wanted: PartitionFilter | None) -> bool:
        """Whether a manifest may have entries of the partitions that are wanted, as its statistics tell."""
        if wanted is None or not self.types:
            return True
        stats = manifest.partition_stats
        if not stats.null_counts:
            return True
        least = decode_serialised(stats.min_values, self.types)
        greatest = decode_serialised(stats.max_values, self.types)
        if isinstance(wanted, Collection):
            return any(_within(values, least, greatest, stats.null_counts) for values in wanted)
        if isinstance(wanted, PartitionPredicate):
            return wanted.may_match_range(least, greatest, stats.null_counts)
        return True


def order_key(value: Any) -> Any:  # noqa: ANN401 - a value of any type
    """Return what sorts a value as Paimon does: NaN after all other numbers, -0.0 before 0.0."""
    if isinstance(value, float):
        if value != value:  # noqa: PLR0124 - NaN alone differs from itself
            return (2, 0.0, 0)
        return (1, value, 0 if value == 0 and str(value)[0] == "-" else 1)
    return value


def _within(values: Partition, least: Partition, greatest: Partition, null_counts: Sequence[int | None]) -> bool:
    for value, low, high, nulls in zip(values, least, greatest, null_counts, strict=False):
        if value is None:
            if nulls == 0:
                return False
        elif low is None or high is None or order_key(value) < order_key(low) or order_key(high) < order_key(value):
            return False
    return True
