"""New schemas: from an Arrow schema or fields, with keys and options, to what a table may be made of."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

import pyarrow as pa

from hosu.kernel.errors import ErrorKind, InvalidInputError
from hosu.tables.options import Options
from hosu.tables.optionvalues import check_texts, split_names
from hosu.tables.schemas import TableSchema
from hosu.tables.types import DataField, number_fields, type_of_arrow
from hosu.tables.validation import check_schema
from hosu.tables.valuerules import check_files

Columns: TypeAlias = pa.Schema | Sequence[DataField]
"""The columns of a new table; the ids of fields are given anew."""

DESCRIPTION = b"comment"
"""Metadata of a field of an Arrow schema that becomes the comment of the column."""


def fields_of(columns: Columns) -> list[DataField]:
    """Return columns as fields; raise UnsupportedError for a type of Arrow's that no column has."""
    if not isinstance(columns, pa.Schema):
        given = list(columns) if isinstance(columns, Sequence) else [columns]
        for column in given:
            if not isinstance(column, DataField):
                raise InvalidInputError(
                    ErrorKind.TABLE_INVALID,
                    f"a {type(column).__name__} is no columns: give an Arrow schema, or a list of DataField",
                )
        return given
    fields = []
    for place, column in enumerate(columns):
        comment = (column.metadata or {}).get(DESCRIPTION)
        fields.append(
            DataField(
                place,
                column.name,
                type_of_arrow(column.type, column.nullable),
                None if comment is None else comment.decode(),
            )
        )
    return fields


def _keys(what: str, given: Sequence[str], options: dict[str, str], key: str) -> tuple[str, ...]:
    """Return keys from an argument or from the option that means the same, which is taken out."""
    if isinstance(given, str):
        given = split_names(given)
    in_options = options.pop(key, None)
    if in_options is None:
        return tuple(given)
    if given:
        raise InvalidInputError(
            ErrorKind.TABLE_INVALID,
            f"the {what} is given twice: leave out option {key!r}",
            option=key,
            value=in_options,
        )
    return split_names(in_options)


def new_schema(
    columns: Columns,
    *,
    partition_keys: Sequence[str] = (),
    primary_keys: Sequence[str] = (),
    options: Mapping[str, str],
    comment: str | None = None,
    time_millis: int,
) -> TableSchema:
    """Return the first schema of a table; columns of the primary key become NOT NULL.

    Raises InvalidInputError TABLE_INVALID and UnsupportedError, as `check_schema` does.
    """
    check_texts(options)
    kept = dict(options)
    partitions = _keys("partitioning", partition_keys, kept, "partition")
    keys = _keys("primary key", primary_keys, kept, "primary-key")
    fields, highest = number_fields(fields_of(columns))
    fields = tuple(
        replace(column, type=column.type.as_nullable(nullable=False)) if column.name in keys else column
        for column in fields
    )
    schema = TableSchema(
        id=0,
        fields=fields,
        highest_field_id=highest,
        partition_keys=partitions,
        primary_keys=keys,
        options=kept,
        comment=comment,
        time_millis=time_millis,
    )
    check_schema(schema)
    check_files(schema, Options(kept, has_primary_key=bool(keys)))
    return schema
