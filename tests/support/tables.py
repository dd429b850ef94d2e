"""Tables without a catalog, and data files that are only names: what commits and manifests need."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import count
from typing import Any
from uuid import uuid4

from hosu.kernel.clock import Clock
from hosu.kernel.errors import ConflictError
from hosu.kernel.fileio import FileIO
from hosu.tables.context import Identifier, TableContext
from hosu.tables.layout import Layout
from hosu.tables.options import Options
from hosu.tables.records import BucketChange, DataFile, FileSource, Stats
from hosu.tables.rows import EMPTY_ROW, encode_serialised
from hosu.tables.schemas import Schemas, TableSchema
from hosu.tables.snapshots.cache import MetadataCache
from hosu.tables.types import DataField, parse_type
from hosu.testing import manual_clock

NO_STATS = Stats(EMPTY_ROW, EMPTY_ROW)
NUMBERS = count()


@cache
def pool() -> ThreadPoolExecutor:
    """Return the threads of every table of the process."""
    return ThreadPoolExecutor(4, thread_name_prefix="tables")


def open_context(
    files: FileIO,
    *,
    partition_keys: Sequence[str] = ("dt",),
    primary_keys: Sequence[str] = ("dt", "id"),
    options: Mapping[str, str] | None = None,
    user: str = "",
    path: str = "w/d.db/t",
    clock: Clock | None = None,
    cache_: MetadataCache | None = None,
    **more: Any,
) -> TableContext:
    """Open a table of columns id, name and dt; its schema is stored if it is not there yet."""
    schema = TableSchema(
        id=0,
        fields=(
            DataField(0, "id", parse_type("BIGINT NOT NULL")),
            DataField(1, "name", parse_type("STRING")),
            DataField(2, "dt", parse_type("STRING NOT NULL")),
        ),
        highest_field_id=2,
        partition_keys=tuple(partition_keys),
        primary_keys=tuple(primary_keys),
        options={"bucket": "2", **(options or {})},
    )
    layout = Layout(path, tuple(partition_keys))
    schemas = Schemas(files, layout)
    if schemas.latest() is None:
        try:
            schemas.commit(schema)
        except ConflictError:
            assert schemas.latest() is not None, "another opener was first"
    return TableContext(
        files=files,
        identifier=Identifier("d", "t"),
        layout=layout,
        schema=schema,
        schemas=schemas,
        options=Options(schema.options, has_primary_key=bool(primary_keys)),
        clock=clock or manual_clock.ManualClock(),
        pool=pool(),
        cache=cache_ or MetadataCache(),
        commit_user=user or str(uuid4()),
        **more,
    )


def data_file(ctx: TableContext, keys: tuple[int, int] = (0, 9), **more: Any) -> DataFile:
    """Return a data file that nobody wrote, with ids from the first key to the second."""
    types = [field.type for field in ctx.schema.key_fields]
    least, greatest = ((key,) if types else () for key in keys)
    fields: dict[str, Any] = {
        "file_name": f"data-{next(NUMBERS)}-{uuid4()}.parquet",
        "file_size": 1000,
        "row_count": keys[1] - keys[0] + 1,
        "min_key": encode_serialised(least, types),
        "max_key": encode_serialised(greatest, types),
        "key_stats": NO_STATS,
        "value_stats": NO_STATS,
        "min_sequence_number": 0,
        "max_sequence_number": 9,
        "schema_id": 0,
        "level": 0,
        "creation_time_ms": ctx.clock.now_ms(),
        "delete_row_count": 0,
        "file_source": FileSource.APPEND,
    }
    return DataFile(**(fields | more))


def change(ctx: TableContext, *new: DataFile, partition: str = "a", bucket: int = 0, **more: Any) -> BucketChange:
    """Return what a writer did to a bucket: new files, unless told otherwise."""
    values = (partition,) if ctx.schema.partition_keys else ()
    fields: dict[str, Any] = {"total_buckets": 2, "new_files": list(new)}
    return BucketChange(partition=values, bucket=bucket, **(fields | more))
