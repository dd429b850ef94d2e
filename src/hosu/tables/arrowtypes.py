"""What Arrow calls the types of columns: how rows are in memory."""

from collections.abc import Iterable

import pyarrow as pa

from hosu.kernel.errors import ErrorKind, UnsupportedError
from hosu.tables.datatypes import BYTES, STRING, DataField, DataType

_FIXED: dict[str, pa.DataType] = {
    "BIGINT": pa.int64(),
    "BINARY": pa.binary(),
    "BOOLEAN": pa.bool_(),
    "CHAR": pa.string(),
    "DATE": pa.date32(),
    "DOUBLE": pa.float64(),
    "FLOAT": pa.float32(),
    "INT": pa.int32(),
    "SMALLINT": pa.int16(),
    "TIME": pa.time32("ms"),
    "TINYINT": pa.int8(),
    "VARBINARY": pa.binary(),
    "VARCHAR": pa.string(),
    "VARIANT": pa.struct([pa.field("value", pa.binary()), pa.field("metadata", pa.binary())]),
}
_MILLISECONDS = 3
_MICROSECONDS = 6
_DIGITS = {"s": 0, "ms": _MILLISECONDS, "us": _MICROSECONDS, "ns": 9}


def timestamp_unit(precision: int) -> str:
    """Return Arrow's unit of a TIMESTAMP: ms, us or ns."""
    if precision <= _MILLISECONDS:
        return "ms"
    return "us" if precision <= _MICROSECONDS else "ns"


def arrow_type(data_type: DataType) -> pa.DataType:
    """Return the Arrow type of a column's values in memory: the same whether NULL is allowed or not."""
    root = data_type.root
    if root in _FIXED:
        return _FIXED[root]
    if root == "DECIMAL":
        return pa.decimal128(data_type.precision, data_type.scale)
    if root in {"TIMESTAMP", "TIMESTAMP_LTZ"}:
        assert data_type.precision is not None
        return pa.timestamp(timestamp_unit(data_type.precision), "UTC" if root == "TIMESTAMP_LTZ" else None)
    if root == "ROW":
        return pa.struct([pa.field(field.name, arrow_type(field.type)) for field in data_type.fields])
    assert data_type.element is not None
    element = arrow_type(data_type.element)
    if root == "ARRAY":
        return pa.list_(element)
    if root == "MULTISET":
        return pa.map_(element, pa.int32())
    assert data_type.key is not None
    return pa.map_(arrow_type(data_type.key), element)


def arrow_schema(fields: Iterable[DataField]) -> pa.Schema:
    """Return the Arrow schema of rows with these columns; every column allows NULL, as rows of deletes need."""
    return pa.schema([pa.field(field.name, arrow_type(field.type)) for field in fields])


def _unsupported(arrow: pa.DataType) -> UnsupportedError:
    return UnsupportedError(
        ErrorKind.UNSUPPORTED, f"no type of a column is Arrow's {arrow}: cast it to another first", type=str(arrow)
    )


def _numeric(arrow: pa.DataType) -> DataType | None:
    kinds = pa.types
    if kinds.is_decimal(arrow):
        if arrow.scale < 0 or arrow.precision > 38:  # noqa: PLR2004 - as wide as decimals of Paimon are
            return None
        return DataType("DECIMAL", precision=arrow.precision, scale=arrow.scale)
    roots = {
        pa.bool_(): "BOOLEAN",
        pa.int8(): "TINYINT",
        pa.int16(): "SMALLINT",
        pa.int32(): "INT",
        pa.int64(): "BIGINT",
        pa.uint8(): "SMALLINT",
        pa.uint16(): "INT",
        pa.uint32(): "BIGINT",
        pa.float16(): "FLOAT",
        pa.float32(): "FLOAT",
        pa.float64(): "DOUBLE",
        pa.date32(): "DATE",
        pa.date64(): "DATE",
    }
    if arrow in roots:
        return DataType(roots[arrow])
    return DataType("DECIMAL", precision=20, scale=0) if arrow == pa.uint64() else None


def _temporal(arrow: pa.DataType) -> DataType | None:
    if pa.types.is_time(arrow):
        return DataType("TIME", precision=min(_DIGITS[arrow.unit], _MILLISECONDS))
    if pa.types.is_timestamp(arrow):
        root = "TIMESTAMP" if arrow.tz is None else "TIMESTAMP_LTZ"
        return DataType(root, precision=_DIGITS[arrow.unit])
    return None


def _text(arrow: pa.DataType) -> DataType | None:
    kinds = pa.types
    if kinds.is_string(arrow) or kinds.is_large_string(arrow) or kinds.is_string_view(arrow):
        return STRING
    if kinds.is_fixed_size_binary(arrow):
        return DataType("BINARY", length=arrow.byte_width) if arrow.byte_width else None
    if kinds.is_binary(arrow) or kinds.is_large_binary(arrow) or kinds.is_binary_view(arrow):
        return BYTES
    return None


def _nested(arrow: pa.DataType) -> DataType | None:
    kinds = pa.types
    if kinds.is_map(arrow):
        return DataType(
            "MAP", key=type_of_arrow(arrow.key_type), element=type_of_arrow(arrow.item_type, arrow.item_field.nullable)
        )
    if kinds.is_struct(arrow):
        if arrow.num_fields == 0:
            return None
        return DataType(
            "ROW",
            fields=tuple(
                DataField(place, inner.name, type_of_arrow(inner.type, inner.nullable))
                for place, inner in enumerate(arrow.field(at) for at in range(arrow.num_fields))
            ),
        )
    if (
        kinds.is_list(arrow)
        or kinds.is_large_list(arrow)
        or kinds.is_fixed_size_list(arrow)
        or kinds.is_list_view(arrow)
        or kinds.is_large_list_view(arrow)
    ):
        return DataType("ARRAY", element=type_of_arrow(arrow.value_type, arrow.value_field.nullable))
    return None


def type_of_arrow(arrow: pa.DataType, nullable: bool = True) -> DataType:  # noqa: FBT001, FBT002 - reads as a sentence
    """Return the type of a column that keeps values of an Arrow type whole.

    Raises UnsupportedError for a type that no column keeps.
    """
    if pa.types.is_dictionary(arrow):
        return type_of_arrow(arrow.value_type, nullable)
    if isinstance(arrow, pa.BaseExtensionType):
        return type_of_arrow(arrow.storage_type, nullable)
    found = _numeric(arrow) or _temporal(arrow) or _text(arrow) or _nested(arrow)
    if found is None:
        raise _unsupported(arrow)
    return found.as_nullable(nullable)
