"""Times of INT96, as Java has those finer than a microsecond: what nanoseconds of 64 bits do not hold is refused."""

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hosu.kernel.errors import UnsupportedError
from hosu.tables.files.parquet import ParquetFileReader


def reader(moments: list[str], wrap: str) -> ParquetFileReader:
    values: Any = pa.array(np.array([*moments, "NaT"], dtype="datetime64[us]"))
    if wrap == "row":
        values = pa.StructArray.from_arrays([values], ["x"])
    elif wrap == "array":
        values = pa.ListArray.from_arrays(pa.array(range(len(values) + 1), pa.int32()), values)
    elif wrap == "map":
        values = pa.MapArray.from_arrays(
            pa.array(range(len(values) + 1), pa.int32()), pa.array(range(len(values))), values
        )
    sink = io.BytesIO()
    table = pa.table({"at": values, "other": range(len(values))})
    pq.write_table(table, sink, use_deprecated_int96_timestamps=True, row_group_size=2)
    return ParquetFileReader(pa.BufferReader(sink.getvalue()))


@pytest.mark.parametrize("wrap", ["", "row", "array", "map"])
@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59", "2554-07-21T23:34:34", "1677-09-21T00:12:43", "0001-01-01"])
def test_a_time_that_arrow_would_make_another_is_refused(wrap: str, moment: str) -> None:
    file = reader(["2026-01-31", "2026-02-01", moment], wrap)

    with pytest.raises(UnsupportedError, match=r"column 'at' has the time .*TIMESTAMP\(6\)"):
        file.read(["other", "at"], None)
    with pytest.raises(UnsupportedError, match="column 'at'"):
        list(file.batches(["at"], None, 10))
    assert file.read(["other"], None).num_rows == 4
    assert file.read(["at"], [0]).num_rows == 2


def test_times_within_are_read_as_they_are() -> None:
    moments = ["2262-04-11T23:47:15.999999", "1677-09-21T00:12:44.5", "2026-01-31T09:00:00.123456"]

    found = reader(moments, "").read(["at"], None).column("at").cast(pa.timestamp("us")).to_numpy()

    assert [str(value) for value in found[:-1]] == [str(np.datetime64(moment, "us")) for moment in moments]
