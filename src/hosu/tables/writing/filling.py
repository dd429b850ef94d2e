"""A changelog for a feed of plain upserts: what was there is looked up, so that updates get their before.

With `changelog-producer = input` the changelog is what writers say, and a feed of +I alone says nothing of what it
replaces. With `hosu.changelog-fill = lookup` hosu's writers find it out.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from hosu.tables.compaction.changelogs import changelog, value_columns
from hosu.tables.compaction.folding import without_outdated
from hosu.tables.compaction.matching import is_in
from hosu.tables.files.pruning import file_filter
from hosu.tables.files.reading import read_file
from hosu.tables.manifests import live_entries
from hosu.tables.merging.fold import fold
from hosu.tables.merging.spec import MergeEngine, MergeSpec
from hosu.tables.records import SEQUENCE_NUMBER, DataFile, Snapshot
from hosu.tables.vectors import vectors_of
from hosu.tables.writing.looking import range_of
from hosu.tables.writing.routing import Share

if TYPE_CHECKING:
    from hosu.tables.context import TableContext

LOOKUP = "lookup"

_ONE_WINS = frozenset({MergeEngine.DEDUPLICATE, MergeEngine.FIRST_ROW})
"""Engines that keep one of the rows of a key as it is."""


def fills_changelog(ctx: "TableContext") -> bool:
    """Whether the changelog is made by looking up what is there."""
    options = ctx.options
    return (
        ctx.schema.is_primary_key_table and options.changelog_producer == "input" and options.changelog_fill == LOOKUP
    )


def net_changes(
    ctx: "TableContext",
    spec: MergeSpec,
    snapshot: Snapshot | None,
    written: Sequence[DataFile],
    share: Share,
    run: pa.Table,
) -> pa.Table:
    """Return the changelog of a folded run on top of a snapshot and of what the writer has `written` since.

    One change for each key of the run: +I, -U and +U, or -D, and none for a key that is deleted and was not there, or
    whose row in the table wins by its sequence field.
    """
    # Deletes too: one that is stored yet may win over what comes, by its sequence field.
    known = rows_of_keys(ctx, spec, snapshot, written, share, run)
    before = fold(known, spec, keep_deletes=True, sorted_output=True) if known else run.slice(0, 0)
    # With what is stored, not with what that comes to: a row may have its place among those, by its sequence field.
    after = fold([*known, run], spec, keep_deletes=True, sorted_output=True) if known else run
    if spec.engine in _ONE_WINS:
        first = pc.min(run.column(SEQUENCE_NUMBER))
        after = after.filter(pc.greater_equal(after.column(SEQUENCE_NUMBER), first))
    options = ctx.options
    compared = value_columns(run.column_names, options.changelog_row_deduplicate_ignore_fields)
    return changelog(before, after, spec.keys, compared if options.changelog_row_deduplicate else None)


def rows_of_keys(
    ctx: "TableContext",
    spec: MergeSpec,
    snapshot: Snapshot | None,
    written: Sequence[DataFile],
    share: Share,
    run: pa.Table,
) -> list[pa.Table]:
    """Return what a bucket has of the keys of `run`, the oldest first: rows that count, deletes among them."""
    partition, bucket = share.part.partition, share.bucket
    files = list(written)
    vectors = {}
    if snapshot is not None:
        entries = live_entries(ctx, snapshot, partitions=[partition], buckets={bucket})
        files += [entry.file for entry in entries]
        if ctx.options.deletion_vectors:
            vectors = vectors_of(ctx, snapshot, partition, bucket)
    inside = range_of(run, spec.keys)
    found: list[tuple[int, pa.Table]] = []
    for file in sorted(filter(file_filter(ctx, inside), files), key=_age):
        rows = read_file(ctx, partition, bucket, file, predicate=inside, vector=vectors.get(file.file_name))
        own = rows.filter(pa.array(is_in(rows, run, spec.keys)))
        if own.num_rows:
            found.append((file.level, own))
    return without_outdated(spec.keys, found) if ctx.options.needs_lookup else [own for _, own in found]


def _age(file: DataFile) -> tuple[int, int]:
    """Return what sorts files of a bucket from the oldest to the newest."""
    return -file.level, file.min_sequence_number
