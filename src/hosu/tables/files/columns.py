"""What a data file holds: its columns, in the order and under the names and ids that Paimon gives them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from hosu.tables.records import KEY_PREFIX, SEQUENCE_NUMBER, VALUE_KIND
from hosu.tables.types import DataField, DataType, arrow_type

if TYPE_CHECKING:
    from hosu.tables.schemas import TableSchema

_INT_MAX: Final = 2**31 - 1
_KEY_ID_START: Final = _INT_MAX // 2
_NESTED_ID_BASE: Final = _INT_MAX // 4
_NESTED_IDS: Final = 1 << 10

SEQUENCE_FIELD: Final = DataField(_INT_MAX - 1, SEQUENCE_NUMBER, DataType("BIGINT", nullable=False))
KIND_FIELD: Final = DataField(_INT_MAX - 2, VALUE_KIND, DataType("TINYINT", nullable=False))
SYSTEM_FIELDS: Final = (SEQUENCE_FIELD, KIND_FIELD)


def file_fields(schema: "TableSchema", *, is_run: bool, is_thin: bool = False) -> tuple[DataField, ...]:
    """Return the columns of a new data file: of a run with its system columns, and its key again unless it is thin."""
    if not is_run:
        return tuple(schema.fields)
    keys = () if is_thin else key_columns(schema)
    return (*keys, *SYSTEM_FIELDS, *schema.fields)


def key_columns(schema: "TableSchema") -> tuple[DataField, ...]:
    """Return the key as a run repeats it before its values."""
    return tuple(
        DataField(_KEY_ID_START + field.id, KEY_PREFIX + field.name, field.type)
        for field in (schema.field(name) for name in schema.trimmed_keys)
    )


def stored_schema(fields: Sequence[DataField], required: frozenset[str]) -> pa.Schema:
    """Return the Arrow schema that is written as Paimon's Parquet schema; `required` columns never hold NULL.

    Other columns that are NOT NULL are stored as those that allow it: the row of a delete has its key alone.
    """
    return pa.schema(
        [
            _stored_field(field.name, field.type, field.id, field.id, 0, nullable=field.name not in required)
            for field in fields
        ]
    )


def required_columns(schema: "TableSchema", fields: Sequence[DataField]) -> frozenset[str]:
    """Name those of fields that hold no NULL in any row."""
    keys = {*schema.trimmed_keys, *(KEY_PREFIX + name for name in schema.trimmed_keys)}
    return frozenset(field.name for field in fields if field.name in keys or field in SYSTEM_FIELDS)


def _stored_field(name: str, kind: DataType, field_id: int, own_id: int, depth: int, *, nullable: bool) -> pa.Field:
    # The ids of elements are counted from the id of the column around them: Paimon's own scheme.
    return pa.field(
        name,
        _stored_type(kind, field_id, depth),
        nullable=nullable,
        metadata={"PARQUET:field_id": str(own_id)},
    )


def _stored_type(kind: DataType, field_id: int, depth: int) -> pa.DataType:
    root = kind.root
    offset = field_id * _NESTED_IDS + depth + 1
    if root == "ROW":
        return pa.struct(
            [
                _stored_field(field.name, field.type, field.id, field.id, 0, nullable=field.type.nullable)
                for field in kind.fields
            ]
        )
    if root == "ARRAY":
        assert kind.element is not None
        return pa.list_(_inner("element", kind.element, field_id, _NESTED_ID_BASE + offset, depth))
    if root in {"MAP", "MULTISET"}:
        assert kind.element is not None
        key, value = (kind.key, kind.element) if root == "MAP" else (kind.element, DataType("INT", nullable=False))
        assert key is not None
        return pa.map_(
            _inner("key", key.as_nullable(nullable=False), field_id, _NESTED_ID_BASE - offset, depth),
            _inner("value", value, field_id, _NESTED_ID_BASE + offset, depth),
        )
    if root == "VARIANT":
        return pa.struct(
            [
                pa.field("value", pa.binary(), nullable=False, metadata={"PARQUET:field_id": "0"}),
                pa.field("metadata", pa.binary(), nullable=False, metadata={"PARQUET:field_id": "1"}),
            ]
        )
    return arrow_type(kind)


def _inner(name: str, kind: DataType, field_id: int, own_id: int, depth: int) -> pa.Field:
    return _stored_field(name, kind, field_id, own_id, depth + 1, nullable=kind.nullable)


def leaf_count(kind: pa.DataType) -> int:
    """Return how many columns of a Parquet file a column takes."""
    if pa.types.is_nested(kind):
        return sum(leaf_count(kind.field(index).type) for index in range(kind.num_fields))
    return 1
