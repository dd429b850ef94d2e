"""Which partitions, buckets and files cannot hold rows that match: told from metadata alone."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import pyarrow as pa

from hosu.tables.context import TableContext
from hosu.tables.files.evolving import same_type
from hosu.tables.predicates import Bounds, Compare, In, Predicate, bounds_of_row, split
from hosu.tables.records import ManifestEntry, Partition
from hosu.tables.rows import bucket_of_rows, decode_serialised, encode_serialised
from hosu.tables.schemas import TableSchema
from hosu.tables.types import DataField, arrow_type

_KEYS_MAX = 1000
"""More keys or partitions than this are not worth naming each: then every one is asked whether it may match."""


class PartitionFilter:
    """The part of a predicate that partitions decide. Manifests are pruned by it, too."""

    def __init__(self, predicate: Predicate, fields: Sequence[DataField]) -> None:
        self._predicate = predicate
        self._fields = fields
        self._types = [field.type for field in fields]

    def __call__(self, values: Partition, /) -> bool:
        """Whether rows of a partition match."""
        return self._predicate.may_match(bounds_of_row(self._fields, self._raw(values)))

    def named(self) -> list[Partition] | None:
        """Return the partitions that the predicate names one by one; None when it leaves some of their values open.

        Some of them may not match: the predicate may ask for more.
        """
        fields = self._fields
        if any(field.type.root.startswith(("TIME", "FLOAT", "DOUBLE")) for field in fields):
            return None
        named = _named_values(self._predicate, fields)
        return None if named is None else [tuple(value.as_py() for value in row) for row in named]

    def may_match_range(self, least: Partition, greatest: Partition, null_counts: Sequence[int | None], /) -> bool:
        """Whether a partition between two may match."""
        ends = zip(self._fields, self._raw(least), self._raw(greatest), null_counts, strict=False)
        # NULLs are counted by file of a partition: how many rows there are is not known.
        known = {
            field.name: Bounds(low, high, 0 if nulls == 0 else None, may_have_nan=True)
            for field, low, high, nulls in ends
            if low is not None and high is not None
        }
        return self._predicate.may_match(known)

    def _raw(self, values: Partition) -> tuple[Any, ...]:
        return decode_serialised(encode_serialised(values, self._types), self._types, raw=True)


class BucketFilter:
    """The buckets of the keys that a predicate names, of tables whose rows are in the bucket of their hash."""

    def __init__(self, ctx: TableContext, predicate: Predicate) -> None:
        self._ctx = ctx
        self._keys = _named_keys(ctx.schema, predicate) if ctx.options.bucket > 0 else None
        self._types = [field.type for field in ctx.schema.bucket_fields]
        self._had_types: dict[int, bool] = {ctx.schema.id: True}
        self._function = ctx.options.bucket_function
        self._buckets: dict[int, frozenset[int]] = {}

    def __call__(self, entry: ManifestEntry) -> bool:
        """Whether rows of an entry's bucket may match."""
        if self._keys is None or entry.total_buckets <= 0 or not self._has_types(entry.file.schema_id):
            return True
        wanted = self._buckets.get(entry.total_buckets)
        if wanted is None:
            numbers = bucket_of_rows(self._keys, self._types, entry.total_buckets, self._function)
            wanted = self._buckets[entry.total_buckets] = frozenset(numbers.tolist())
        return entry.bucket in wanted

    def _has_types(self, schema_id: int) -> bool:
        """Whether keys had the types of now when a file was written: others have other hashes."""
        found = self._had_types.get(schema_id)
        if found is None:
            types = [field.type for field in self._ctx.schemas.get(schema_id).bucket_fields]
            found = len(types) == len(self._types) and all(map(same_type, types, self._types))
            self._had_types[schema_id] = found
        return found


def _named_keys(schema: TableSchema, predicate: Predicate) -> list[pa.Array] | None:
    """Return all combinations of the values that a predicate allows of bucket keys; None when it leaves one open."""
    fields = schema.bucket_fields
    # Of what is equal there, two zeros and many NaNs, each has a hash of its own.
    if any(field.type.root in {"FLOAT", "DOUBLE"} for field in fields):
        return None
    rows = _named_values(predicate, fields)
    if rows is None:
        return None
    return [_array([row[place] for row in rows], arrow_type(field.type)) for place, field in enumerate(fields)]


def _named_values(predicate: Predicate, fields: Sequence[DataField]) -> list[tuple[pa.Scalar, ...]] | None:
    """Return all combinations of the values that a predicate allows of columns; None when it leaves one open."""
    named: dict[str, tuple[pa.Scalar, ...]] = {}
    for part in predicate.conjuncts():
        if isinstance(part, Compare) and part.operator == "=":
            named.setdefault(part.column, (part.value,))
        elif isinstance(part, In) and not part.is_negated:
            named.setdefault(part.column, part.values)
    if not fields or any(field.name not in named for field in fields):
        return None
    count = 1
    for field in fields:
        count *= len(named[field.name])
    if count > _KEYS_MAX:
        return None
    return list(product(*(named[field.name] for field in fields)))


def _array(values: Sequence[pa.Scalar], kind: pa.DataType) -> pa.Array:
    if not pa.types.is_temporal(kind):
        return pa.array([value.as_py() for value in values], kind)
    narrow = pa.int32() if kind.bit_width == 32 else pa.int64()  # noqa: PLR2004 - bits
    return pa.array([value.value for value in values], narrow).cast(kind)


def divide(
    schema: TableSchema, predicate: Predicate | None
) -> tuple[Predicate | None, Predicate | None, Predicate | None]:
    """Return the parts of a predicate that partitions decide, that keys decide before rows are merged, and the rest."""
    by_partition, rest = split(predicate, schema.partition_keys)
    if not schema.is_primary_key_table:
        return by_partition, rest, None
    by_key, by_value = split(rest, schema.primary_keys)
    return by_partition, by_key, by_value
