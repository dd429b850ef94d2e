"""The rows of one bucket, sorted, folded and written as files."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import pyarrow as pa

from hosu.kernel.limits import MIB
from hosu.tables.files.writing import write_files
from hosu.tables.merging.fold import fold, picked_positions, sort_run
from hosu.tables.merging.spec import MergeSpec
from hosu.tables.pooling import run_all
from hosu.tables.records import SEQUENCE_NUMBER, VALUE_KIND, DataFile
from hosu.tables.writing.kinds import Kinds
from hosu.tables.writing.routing import Ints, Share, taken

if TYPE_CHECKING:
    from hosu.tables.context import TableContext

PIECE_BYTES = 16 * MIB
"""A run is cut into pieces, which are written side by side, when each is at least this large: a smaller file would cost
its readers more than the writer saves."""

_Piece: TypeAlias = tuple[pa.Table, int]
"""Rows, and the sequence number of the first."""

_CORES = os.cpu_count() or 1


@dataclass
class Written:
    """The files of one bucket that are written and not committed."""

    data: list[DataFile] = field(default_factory=list)
    changelog: list[DataFile] = field(default_factory=list)


@dataclass(frozen=True)
class Run:
    """What is to be written of one bucket."""

    share: Share
    data: pa.Table
    changelog: pa.Table | None
    first: int = 0
    """The sequence number of the first row, of tables without keys: their files do not say."""


def keyed_run(
    spec: MergeSpec, share: Share, rows: pa.Table, kinds: Kinds | None, first: int, *, with_changelog: bool
) -> Run:
    """Return the run of a bucket's rows, one row per key, whose sequence numbers begin at `first`.

    Its changelog, when asked for, has every row.
    """
    if spec.picks and not with_changelog and share.rows is not None:
        return Run(share, _picked_run(spec, share.rows, rows, kinds, first), None)
    own = taken(rows, share.rows)
    own_kinds = kinds if kinds is None or share.rows is None else kinds[share.rows]
    own = _numbered(own, np.arange(first, first + own.num_rows, dtype=np.int64), own_kinds)
    if not with_changelog:
        return Run(share, fold([own], spec, keep_deletes=True, sorted_output=True), None)
    ordered = sort_run(own, spec)
    return Run(share, fold([ordered], spec, keep_deletes=True, sorted_output=True), ordered)


def _picked_run(spec: MergeSpec, share: Ints, rows: pa.Table, kinds: Kinds | None, first: int) -> pa.Table:
    """Choose by the key columns alone, so that the others are copied once."""
    own_kinds = None if kinds is None else kinds[share]
    numbers = np.arange(first, first + len(share), dtype=np.int64)
    heads = _numbered(
        taken(rows.select(list(dict.fromkeys([*spec.keys, *spec.sequence_fields]))), share), numbers, own_kinds
    )
    chosen = picked_positions(heads, spec, keep_deletes=True)
    return _numbered(taken(rows, share[chosen]), numbers[chosen], None if own_kinds is None else own_kinds[chosen])


def _numbered(rows: pa.Table, numbers: Ints, kinds: Kinds | None) -> pa.Table:
    """Add the system columns; without kinds all rows are inserts."""
    rows = rows.append_column(SEQUENCE_NUMBER, pa.array(numbers))
    return rows.append_column(VALUE_KIND, pa.array(np.zeros(len(numbers), np.int8) if kinds is None else kinds))


def appended_run(share: Share, rows: pa.Table, first: int) -> Run:
    """Return the rows of a bucket of a table without keys, in their order, from the sequence number `first` on."""
    return Run(share, taken(rows, share.rows), None, first)


def write_runs(ctx: "TableContext", runs: Sequence[Run], written: Callable[[Share], Written]) -> None:
    """Write runs as files of level 0, and their changelogs; what is written is added to what `written` returns.

    That is so for each file that was written when this fails, too: the caller discards them.
    """
    tasks: list[Callable[[], None]] = []
    for run in runs:
        place = written(run.share)
        pieces = _pieces(run, len(runs))
        tasks += [_writing(ctx, run.share, piece, place.data, "data") for piece in pieces]
        if run.changelog is not None and run.changelog.num_rows:
            tasks.append(_writing(ctx, run.share, (run.changelog, 0), place.changelog, "changelog"))
    if tasks:
        run_all(ctx.pool, tasks)


def _writing(
    ctx: "TableContext", share: Share, piece: _Piece, into: list[DataFile], kind: Literal["data", "changelog"]
) -> Callable[[], None]:
    rows, first = piece

    def write() -> None:
        into.extend(write_files(ctx, share.part.partition, share.bucket, rows, kind=kind, first_sequence=first))

    return write


def _pieces(run: Run, buckets: int) -> list[_Piece]:
    """Cut a run for as many cores as the other buckets leave idle."""
    rows = run.data
    if rows.num_rows == 0:
        return []
    count = min(_CORES // max(buckets, 1), rows.nbytes // PIECE_BYTES)
    size = -(-rows.num_rows // max(count, 1))
    return [(rows.slice(start, size), run.first + start) for start in range(0, rows.num_rows, size)]
