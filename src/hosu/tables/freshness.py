"""Tables whose columns others have changed since they were opened.

Who writes again what is there has to do it with the columns it has by now: under the older schema, the values of
columns that came later would be lost.
"""

from typing import TYPE_CHECKING

from hosu.tables.options import Options
from hosu.tables.snapshots import find

if TYPE_CHECKING:
    from hosu.tables.context import TableContext
    from hosu.tables.records import Snapshot


def up_to(ctx: "TableContext", snapshot: "Snapshot | None") -> "TableContext":
    """Return a table under the schema of a snapshot, where that is newer than the one it was opened with."""
    if snapshot is None or snapshot.schema_id <= ctx.schema.id:
        return ctx
    schema = ctx.schemas.get(snapshot.schema_id)
    own = ctx.schema.options
    given = {key: value for key, value in ctx.options.raw.items() if own.get(key) != value}
    return ctx.with_schema(schema, Options(schema.options, has_primary_key=schema.is_primary_key_table).merged(given))


def current(ctx: "TableContext") -> "TableContext":
    """Return a table under the schema of its latest snapshot, where that is newer than the one it was opened with."""
    return up_to(ctx, find.latest(ctx))
