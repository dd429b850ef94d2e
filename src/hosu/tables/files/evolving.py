"""Rows of an older schema, as the table's schema of now has them: columns are the same where their ids are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hosu.kernel.errors import ErrorKind, InvalidInputError, UnsupportedError
from hosu.tables.files.casts import cast_values
from hosu.tables.types import DataField, DataType, arrow_type


@dataclass(frozen=True)
class Source:
    """Where the values of a column come from: a column of the file, or nowhere (None), which makes them NULL."""

    field: DataField
    stored: DataField | None

    @property
    def is_plain(self) -> bool:
        """Whether the values are as they were stored."""
        return self.stored is not None and same_type(self.stored.type, self.field.type)


def refuse_shredded(name: str, kind: DataType, stored: pa.DataType) -> None:
    """Refuse a column whose variants have parts in columns of their own: raise UnsupportedError naming it."""
    if kind.root == "VARIANT":
        if stored.num_fields != len(arrow_type(kind)):
            raise UnsupportedError(
                ErrorKind.UNSUPPORTED,
                f"column {name!r} has shredded variants, which hosu does not put together: write the table without "
                "'variant.shreddingSchema' and 'variant.inferShreddingSchema'",
                column=name,
            )
        return
    for field in kind.fields:
        refuse_shredded(name, field.type, stored.field(field.name).type)
    if pa.types.is_map(stored):
        if kind.key is not None:
            refuse_shredded(name, kind.key, stored.key_type)
        if kind.element is not None and kind.root == "MAP":
            refuse_shredded(name, kind.element, stored.item_type)
    elif pa.types.is_list(stored) and kind.element is not None:
        refuse_shredded(name, kind.element, stored.value_type)


def sources(wanted: Sequence[DataField], stored: Sequence[DataField]) -> list[Source]:
    """Return for each wanted column the stored one of the same id."""
    by_id = {field.id: field for field in stored}
    return [Source(field, by_id.get(field.id)) for field in wanted]


def same_type(one: DataType, other: DataType) -> bool:
    """Whether values of two types are the same: whatever they say about NULL."""
    if one.root != other.root or (one.length, one.precision, one.scale) != (other.length, other.precision, other.scale):
        return False
    if (one.element is None) != (other.element is None) or (one.key is None) != (other.key is None):
        return False
    if one.element is not None and other.element is not None and not same_type(one.element, other.element):
        return False
    if one.key is not None and other.key is not None and not same_type(one.key, other.key):
        return False
    return len(one.fields) == len(other.fields) and all(
        left.id == right.id and left.name == right.name and same_type(left.type, right.type)
        for left, right in zip(one.fields, other.fields, strict=True)
    )


def evolve(values: pa.Array, stored: DataType, wanted: DataType) -> pa.Array:
    """Return stored values as those of a wanted type.

    Raises UnsupportedError for a change of type that has no cast, InvalidInputError ROWS_INVALID as `cast_values`.
    """
    target = arrow_type(wanted)
    if same_type(stored, wanted):
        return values if values.type == target else values.cast(target)
    if stored.root == wanted.root == "ROW":
        return _evolve_row(values, stored, wanted)
    if stored.root == wanted.root and stored.root in {"ARRAY", "MAP", "MULTISET"}:
        return _evolve_elements(values, stored, wanted)
    plain = arrow_type(stored)
    return cast_values(values if values.type == plain else values.cast(plain), stored, wanted)


def _evolve_row(values: pa.StructArray, stored: DataType, wanted: DataType) -> pa.Array:
    children = []
    places = {field.id: place for place, field in enumerate(stored.fields)}
    for field in wanted.fields:
        place = places.get(field.id)
        if place is None:
            children.append(pa.nulls(len(values), arrow_type(field.type)))
        else:
            # The parent's NULLs count too: what lies below one may be any bytes.
            children.append(evolve(values.flatten()[place], stored.fields[place].type, field.type))
    mask = values.is_null() if values.null_count else None
    fields = [pa.field(field.name, child.type) for field, child in zip(wanted.fields, children, strict=True)]
    return pa.StructArray.from_arrays(children, fields=fields, mask=mask)


def _evolve_elements(values: pa.Array, stored: DataType, wanted: DataType) -> pa.Array:
    assert stored.element is not None
    assert wanted.element is not None
    if values.offset or values.null_count:
        # Offsets of a slice begin anywhere, and those of a NULL may hide elements.
        values = pa.concat_arrays([values.slice(0, 0), values])
    offsets = _offsets_with_nulls(values)
    if wanted.root == "ARRAY":
        return pa.ListArray.from_arrays(offsets, evolve(values.values, stored.element, wanted.element)).cast(
            arrow_type(wanted)
        )
    keys, items = values.keys, values.items
    if wanted.root == "MULTISET":
        return pa.MapArray.from_arrays(offsets, evolve(keys, stored.element, wanted.element), items)
    assert stored.key is not None
    assert wanted.key is not None
    evolved_keys = evolve(keys, stored.key, wanted.key)
    return pa.MapArray.from_arrays(offsets, evolved_keys, evolve(items, stored.element, wanted.element))


def _offsets_with_nulls(values: pa.Array) -> pa.Array:
    """Return the offsets of lists or maps, NULL where the list is: what `from_arrays` reads NULLs from."""
    offsets = values.offsets
    if not values.null_count:
        return offsets
    mask = np.append(values.is_null().to_numpy(zero_copy_only=False), False)
    return pa.array(offsets.to_numpy(zero_copy_only=False), pa.int32(), mask=mask)


def evolve_rows(rows: pa.Table | pa.RecordBatch, wanted: Sequence[Source]) -> pa.Table | pa.RecordBatch:
    """Return the wanted columns of stored rows, under their names and types of now."""
    columns = [_column(rows, source) for source in wanted]
    schema = pa.schema([pa.field(source.field.name, arrow_type(source.field.type)) for source in wanted])
    if not columns:
        # A table or batch without columns still has rows.
        return rows.select([])
    kind = pa.Table if isinstance(rows, pa.Table) else pa.RecordBatch
    return kind.from_arrays(columns, schema=schema)


def _column(rows: pa.Table | pa.RecordBatch, source: Source) -> pa.Array | pa.ChunkedArray:
    target = arrow_type(source.field.type)
    if source.stored is None:
        nulls = pa.nulls(rows.num_rows, target)
        return pa.chunked_array([nulls]) if isinstance(rows, pa.Table) else nulls
    values = rows.column(source.stored.name)
    if values.type == target and source.is_plain:
        return values
    stored, wanted = source.stored.type, source.field.type
    try:
        if isinstance(values, pa.ChunkedArray):
            return pa.chunked_array([evolve(chunk, stored, wanted) for chunk in values.chunks], target)
        return evolve(values, stored, wanted)
    except (InvalidInputError, UnsupportedError) as error:
        name = source.field.name
        raise type(error)(
            error.kind, f"column {name!r}: {error.message}", **(error.details | {"column": name})
        ) from error
