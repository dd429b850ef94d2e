"""What a compaction makes of a range of keys does not hang on where one range ends and the next begins."""

import pyarrow as pa
import pytest

from hosu.tables.compaction.folding import Folding, Producing
from hosu.tables.merging.spec import MergeEngine, MergeSpec, SequenceGroup
from hosu.tables.records import RowKind

PLUS = int(RowKind.INSERT)
SCHEMA = pa.schema([*((name, pa.int64()) for name in ("k", "s", "v", "_SEQUENCE_NUMBER")), ("_VALUE_KIND", pa.int8())])
SPEC = MergeSpec(("k",), MergeEngine.PARTIAL_UPDATE, groups=(SequenceGroup(("s",), ("v",)),))
LOOKING_UP = Folding(SPEC, Producing.LOOKUP, makes_changelog=True, compared=None, max_level=5)


def run(*rows: tuple[int, int | None, int | None]) -> pa.Table:
    return pa.Table.from_pylist(
        [{"k": k, "s": s, "v": v, "_SEQUENCE_NUMBER": k, "_VALUE_KIND": PLUS} for k, s, v in rows], SCHEMA
    )


@pytest.mark.parametrize("fresh", [run(), run((2, 1, 8))], ids=["alone", "beside a new row of another key"])
def test_a_lone_row_of_a_higher_level_is_merged_into_nothing(fresh: pa.Table) -> None:
    rows, said = LOOKING_UP.fold([(5, run((1, None, 7))), (0, fresh)], drops_deletes=True)

    assert rows.select(["k", "s", "v"]).to_pylist()[0] == {"k": 1, "s": None, "v": None}
    assert (said is None or said["k"].to_pylist()) == (fresh.num_rows == 0 or [2])
