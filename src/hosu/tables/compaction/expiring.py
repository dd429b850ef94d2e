"""Rows that compaction leaves out because of their age: `record-level.expire-time`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hosu.kernel.errors import ErrorKind, InvalidInputError
from hosu.tables.records import DataFile
from hosu.tables.rows import decode_serialised

if TYPE_CHECKING:
    from hosu.tables.context import TableContext
    from hosu.tables.types import DataField

MILLISECONDS_FROM = 1_000_000_000_000
"""A BIGINT from here on is milliseconds since 1970, a smaller one seconds."""

_UNITS_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


@dataclass(frozen=True)
class Expiring:
    """Which rows of a table are too old."""

    ctx: "TableContext"
    field: "DataField"
    before_s: int
    """Rows of a time before this one, in seconds since 1970, are left out."""

    @classmethod
    def of(cls, ctx: "TableContext") -> Self | None:
        """Return what a table's options say, None when its rows do not expire. Raises TABLE_INVALID."""
        expire_ms = ctx.options.record_level_expire_time
        if expire_ms is None:
            return None
        name = ctx.options.record_level_time_field
        if name is None:
            raise _invalid("record-level.time-field", "", "record-level.expire-time needs it: name a column of times")
        field = ctx.schema.field(name)
        if field.type.root not in {"INT", "BIGINT", "TIMESTAMP", "TIMESTAMP_LTZ"}:
            raise _invalid(
                "record-level.time-field", name, f"a column of {field.type.root}: use INT, BIGINT or TIMESTAMP"
            )
        return cls(ctx, field, ctx.clock.now_ms() // 1000 - expire_ms // 1000)

    def alive(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Return the rows that are not too old; those without a time stay."""
        column = rows.column(rows.schema.get_field_index(self.field.name))
        is_old = self._is_old(column)
        return rows.filter(pa.array(~is_old)) if is_old.any() else rows

    def may_hold_old(self, file: DataFile) -> bool:
        """Say whether the statistics of a file show a row that is too old."""
        if file.schema_id != self.ctx.schema.id:
            return False
        fields = self.ctx.schema.fields
        if file.value_stats_cols is not None:
            fields = tuple(self.ctx.schema.field(name) for name in file.value_stats_cols)
        names = [field.name for field in fields]
        if self.field.name not in names:
            return False
        least = decode_serialised(file.value_stats.min_values, [field.type for field in fields], raw=True)
        value = least[names.index(self.field.name)]
        if value is None:
            return False
        column = pa.array([value], pa.int64()).cast(self.ctx.schema.arrow.field(self.field.name).type)
        return bool(self._is_old(column)[0])

    def _is_old(self, column: pa.Array) -> npt.NDArray[np.bool_]:
        kind = column.type
        values = column.view(pa.int64()) if pa.types.is_timestamp(kind) else column.cast(pa.int64())
        numbers = pc.fill_null(values, np.iinfo(np.int64).max).to_numpy(zero_copy_only=False)
        if pa.types.is_timestamp(kind):
            seconds = numbers // _UNITS_PER_SECOND[kind.unit]
        elif pa.types.is_int64(kind):
            seconds = np.where(numbers >= MILLISECONDS_FROM, numbers // 1_000, numbers)
        else:
            seconds = numbers
        has_time = column.is_valid().to_numpy(zero_copy_only=False)
        is_old: npt.NDArray[np.bool_] = has_time & (seconds < self.before_s)
        return is_old


def _invalid(option: str, value: str, why: str) -> InvalidInputError:
    return InvalidInputError(ErrorKind.TABLE_INVALID, f"{option} {value!r}: {why}", option=option, value=value)
