"""Times that Parquet files hold in INT96, as Java writes those finer than a microsecond."""

from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hosu.kernel.errors import ErrorKind, UnsupportedError

_SECONDS_MIN: Final = -((2**63 - 1) // 10**9)
_SECONDS_MAX: Final = 2**64 // 10**9
"""Java writes a time before 1970 as a day and nanoseconds below zero, which in seconds look like the 2^64 above: what
seems to be of the years 2262 to 2554 is taken for one of those."""


def int96_columns(metadata: pq.FileMetaData) -> frozenset[str]:
    """Name the columns of a file that have INT96 anywhere in them."""
    if not metadata.num_row_groups:
        return frozenset()
    leaves = (metadata.schema.column(place) for place in range(len(metadata.schema)))
    return frozenset(leaf.path.partition(".")[0] for leaf in leaves if leaf.physical_type == "INT96")


def refuse_far(name: str, values: pa.Array) -> None:
    """Raise UnsupportedError for a time, in seconds, which 64 bits of nanoseconds do not hold."""
    kind = values.type
    if pa.types.is_timestamp(kind):
        bounds = pc.min_max(values.cast(pa.int64()))
        least, greatest = bounds["min"].as_py(), bounds["max"].as_py()
        if least is not None and (least < _SECONDS_MIN or greatest > _SECONDS_MAX):
            far = least if least < _SECONDS_MIN else greatest
            raise UnsupportedError(
                ErrorKind.UNSUPPORTED,
                f"column {name!r} has the time {pa.scalar(far, pa.timestamp('s')).cast(pa.string())}, and nanoseconds "
                "of 64 bits go from 1677-09-21 to 2262-04-11: leave the column out, or have it written as TIMESTAMP(6)",
                column=name,
            )
    elif pa.types.is_struct(kind):
        for part in values.flatten():
            refuse_far(name, part)
    elif pa.types.is_map(kind):
        refuse_far(name, values.keys)
        refuse_far(name, values.items)
    elif pa.types.is_list(kind):
        refuse_far(name, values.values)
