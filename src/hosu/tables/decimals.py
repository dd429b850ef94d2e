"""Decimals of one scale brought to another."""

import pyarrow as pa


def rescaled(values: pa.Array, target: pa.Decimal128Type) -> pa.Array:
    """Return decimals under another precision and scale; raise pa.ArrowInvalid for one that does not fit whole.

    A cast of Arrow's alone multiplies first, and where that leaves 128 bits the result is another number: so what has
    too many digits before the point is found out before.
    """
    scale = values.type.scale
    if scale < target.scale:
        values = values.cast(pa.decimal256(max(1, target.precision - target.scale + scale), scale))
    return values.cast(target)
