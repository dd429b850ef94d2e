"""Tables of any columns without a catalog: what data files need."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tests.support.tables import pool

from hosu.kernel.fileio import FileIO
from hosu.tables.context import Identifier, TableContext
from hosu.tables.layout import Layout
from hosu.tables.options import Options
from hosu.tables.schemas import Schemas, TableSchema
from hosu.tables.snapshots.cache import MetadataCache
from hosu.tables.types import DataField, DataType, highest_id, parse_type
from hosu.testing import manual_clock


def fields_of(columns: Mapping[str, str | tuple[int, str | DataType]]) -> tuple[DataField, ...]:
    """Return columns by name: a type, or an id and a type."""
    found = []
    for place, (name, given) in enumerate(columns.items()):
        number, text = given if isinstance(given, tuple) else (place, given)
        found.append(DataField(number, name, text if isinstance(text, DataType) else parse_type(text)))
    return tuple(found)


def open_table(
    files: FileIO,
    columns: Mapping[str, str | tuple[int, str | DataType]],
    *,
    primary_keys: Sequence[str] = (),
    partition_keys: Sequence[str] = (),
    options: Mapping[str, str] | None = None,
) -> TableContext:
    """Open a table whose schema 0 has these columns, and store the schema."""
    fields = fields_of(columns)
    schema = TableSchema(
        id=0,
        fields=fields,
        highest_field_id=highest_id(fields),
        partition_keys=tuple(partition_keys),
        primary_keys=tuple(primary_keys),
        options=dict(options or {}),
    )
    layout = Layout("w/d.db/t", tuple(partition_keys))
    schemas = Schemas(files, layout)
    schemas.commit(schema)
    return TableContext(
        files=files,
        identifier=Identifier("d", "t"),
        layout=layout,
        schema=schema,
        schemas=schemas,
        options=Options(schema.options, has_primary_key=bool(primary_keys)),
        clock=manual_clock.ManualClock(),
        pool=pool(),
        cache=MetadataCache(),
        commit_user="tests",
    )


def evolved(ctx: TableContext, columns: Mapping[str, tuple[int, str | DataType]]) -> TableContext:
    """Return the same table under its next schema, of these columns by name: an id and a type."""
    fields = fields_of(columns)
    schema = replace(ctx.schema, id=ctx.schema.id + 1, fields=fields, highest_field_id=highest_id(fields))
    ctx.schemas.commit(schema)
    return ctx.with_schema(schema, ctx.options)
