"""Nested values under other words for the same: names of lists' parts, and parts that are never NULL."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def _filler(kind: pa.DataType) -> pa.Scalar:
    """Return any value of a type: it stands where nothing shows it."""
    if pa.types.is_struct(kind):
        return pa.scalar({field.name: _filler(field.type).as_py() for field in kind}, kind)
    if pa.types.is_list(kind) or pa.types.is_map(kind):
        return pa.scalar([], kind)
    if pa.types.is_boolean(kind):
        return pa.scalar(value=False)
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return pa.scalar(b"").cast(kind)
    return pa.scalar(0, pa.int64() if kind.bit_width > 32 else pa.int32()).cast(kind)  # noqa: PLR2004 - bits


def _part(values: pa.Array, target: pa.Field, shown: pa.Array) -> pa.Array:
    """Return the part of nested values; where no value shows it and the target is never NULL, any value stands."""
    if not target.nullable and values.null_count:
        values = pc.if_else(pc.or_(shown, values.is_valid()), values, _filler(values.type))
    return reshaped(values, target.type)


def reshaped(values: pa.Array, target: pa.DataType) -> pa.Array:
    """Return values under a type that says the same of them but for names within lists and NOT NULL within.

    A part that is NULL where the target says NOT NULL is fine under a NULL of what it is a part of; elsewhere it raises
    pa.ArrowInvalid, as a value does that does not fit.
    """
    if values.type.equals(target) or not pa.types.is_nested(target):
        return values if values.type.equals(target) else values.cast(target)
    mask = values.is_null() if values.null_count else None
    if pa.types.is_struct(target):
        shown = values.is_valid()
        parts = [_part(values.field(place), field, shown) for place, field in enumerate(target)]
        for field, part in zip(target, parts, strict=True):
            if not field.nullable and part.null_count:
                raise pa.ArrowInvalid(f"field {field.name!r} is NULL in a value that is not")
        return pa.StructArray.from_arrays(parts, fields=list(target), mask=mask)
    if values.offset or values.null_count:
        values = values.take(pa.array(np.arange(len(values))))
    offsets = values.offsets
    first, last = offsets[0].as_py(), offsets[-1].as_py()
    offsets = pc.subtract(offsets, first).cast(pa.int32())
    if pa.types.is_map(target):
        keys = reshaped(values.keys[first:last], target.key_type)
        items = reshaped(values.items[first:last], target.item_type)
        return pa.MapArray.from_arrays(offsets, keys, items, type=target, mask=mask)
    inner = reshaped(values.values[first:last], target.value_type)
    if not target.value_field.nullable and inner.null_count:
        raise pa.ArrowInvalid("an element is NULL in a list of elements that are not")
    return pa.ListArray.from_arrays(offsets, inner, type=target, mask=mask)
