"""The types of columns: Paimon's, their Arrow counterparts, and rows brought to them."""

from hosu.tables.arrowtypes import arrow_schema, arrow_type, timestamp_unit, type_of_arrow
from hosu.tables.casting import cast_column, cast_rows, default_of, rows_error
from hosu.tables.datatypes import (
    BYTES,
    KEYLESS_ROOTS,
    LENGTH_MAX,
    REFUSED_ROOTS,
    STRING,
    DataField,
    DataType,
    field_json,
    highest_id,
    number_fields,
    type_json,
    type_sql,
)
from hosu.tables.typeparsing import parse_field, parse_type

__all__ = [
    "BYTES",
    "KEYLESS_ROOTS",
    "LENGTH_MAX",
    "REFUSED_ROOTS",
    "STRING",
    "DataField",
    "DataType",
    "arrow_schema",
    "arrow_type",
    "cast_column",
    "cast_rows",
    "default_of",
    "field_json",
    "highest_id",
    "number_fields",
    "parse_field",
    "parse_type",
    "rows_error",
    "timestamp_unit",
    "type_json",
    "type_of_arrow",
    "type_sql",
]
