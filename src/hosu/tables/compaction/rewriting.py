"""Carrying out a unit of compaction of a primary-key table: files read, merged and written a level higher."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa

from hosu.kernel.errors import HosuError
from hosu.tables.compaction.ahead import ahead
from hosu.tables.compaction.expiring import Expiring
from hosu.tables.compaction.folding import Folding, Producing, folding_of
from hosu.tables.compaction.levels import Levels, Run, sections, strung
from hosu.tables.compaction.lookups import Older
from hosu.tables.compaction.picking import Unit
from hosu.tables.files.columns import leaf_count
from hosu.tables.files.reading import read_file
from hosu.tables.files.sharing import WRITE_STAGES, Shares, shares_of, usable
from hosu.tables.files.writing import write_files
from hosu.tables.merging.ranges import key_ranges
from hosu.tables.merging.releasing import Releasing
from hosu.tables.merging.spec import MergeEngine, MergeSpec
from hosu.tables.records import SEQUENCE_NUMBER, VALUE_KIND, DataFile, FileSource, Partition
from hosu.tables.vectors import Vector

if TYPE_CHECKING:
    from hosu.tables.context import TableContext

Section = list[tuple[DataFile, ...]]

_AHEAD_BYTES = 4 << 20
"""From this size on, files are read and merged in one thread and written in another."""

_CHANGELOG_SHARE = 16
"""Of the memory allowed, how much changelog is gathered before a file of it is written."""

_GROUP_SHARE = 8
"""Of the memory allowed, how much of rows is gathered for a row group."""


@dataclass
class Rewritten:
    """What a compaction has done so far."""

    before: list[DataFile] = field(default_factory=list)
    after: list[DataFile] = field(default_factory=list)
    changelog: list[DataFile] = field(default_factory=list)
    written: list[DataFile] = field(default_factory=list)
    """The files that were made: of data and of changelog."""

    rows: int = 0
    """How many rows were read."""


class Rewriter:
    """Carries out units of one bucket, with the deletion vectors that it had."""

    def __init__(
        self,
        ctx: "TableContext",
        partition: Partition,
        bucket: int,
        levels: Levels,
        vectors: Mapping[str, Vector],
        *,
        memory_bytes: int,
        beat: Callable[[], None] | None = None,
    ) -> None:
        self._beat = beat
        self._ctx = ctx
        self._partition = partition
        self._bucket = bucket
        self._levels = levels
        self._vectors = vectors
        self._memory_bytes = usable(memory_bytes)
        self._spec = MergeSpec.of(ctx)
        self._expiring = Expiring.of(ctx)
        self._output_level = 0
        self.schema = run_schema(ctx)
        self.result = Rewritten()
        self.has_vectors: bool = ctx.options.deletion_vectors

    def run(self, unit: Unit, *, drops_deletes: bool) -> Folding:
        """Compact the files of a unit; `result` then has them, and what came of them.

        Files are durable on return and referenced by nothing; those of a failed run are deleted if that goes.
        """
        self._output_level = unit.output_level
        how = folding_of(
            self._ctx.options,
            self._spec,
            self.schema.names,
            max_level=self._levels.max_level,
            older=self._older(unit.output_level),
            has_vectors=self.has_vectors,
        )
        try:
            if unit.is_rewrite:
                for file in unit.files:
                    self._merge([[(file,)]], unit.output_level, how, drops_deletes=drops_deletes)
            else:
                self._sections(unit, how, drops_deletes=drops_deletes)
        except BaseException:
            self.discard()
            raise
        return how

    def discard(self) -> None:
        """Delete the files that were made, as far as that goes."""
        layout = self._ctx.layout
        names = [layout.data_file(self._partition, self._bucket, file.file_name) for file in self.result.written]
        with suppress(HosuError):
            self._ctx.files.delete_many(names)

    def _older(self, output_level: int) -> Older:
        return Older(
            ctx=self._ctx,
            partition=self._partition,
            bucket=self._bucket,
            runs=self._levels.above(output_level),
            vectors=self._vectors,
            key_of=self._levels.key_of,
            schema=self.schema,
            memory_bytes=self._memory_bytes,
        )

    def _sections(self, unit: Unit, how: Folding, *, drops_deletes: bool) -> None:
        """Merge what overlaps, and what is small along with its neighbours; lift what is large to the new level."""
        small_bytes = _small_bytes(self._ctx)
        waiting: list[Section] = []

        def merge_waiting() -> None:
            if len(waiting) == 1 and len(waiting[0]) == 1:
                for file in waiting[0][0]:
                    self._lift(file, unit.output_level, how, drops_deletes=drops_deletes)
            elif waiting:
                self._merge(waiting, unit.output_level, how, drops_deletes=drops_deletes)
            waiting.clear()

        for section in sections(unit.files, self._levels.key_of):
            if len(section) > 1:
                waiting.append(section)
                continue
            for file in section[0]:
                if file.file_size < small_bytes:
                    waiting.append([(file,)])
                else:
                    merge_waiting()
                    self._lift(file, unit.output_level, how, drops_deletes=drops_deletes)
        merge_waiting()

    def _lift(self, file: DataFile, output_level: int, how: Folding, *, drops_deletes: bool) -> None:
        """Move a file to the new level as it is, unless something about it has to be written anew."""
        is_top = output_level == self._levels.max_level
        is_old = self._expiring is not None and self._expiring.may_hold_old(file)
        if (is_top and has_deletes(file)) or is_old:
            self._merge([[(file,)]], output_level, how, drops_deletes=drops_deletes)
            return
        if file.level == output_level:
            return
        if self._must_rewrite(file, output_level, how):
            self._merge([[(file,)]], output_level, how, drops_deletes=self.has_vectors)
            return
        if self._is_told(file, output_level, how):
            self._read_only(file, output_level, how)
        self.result.before.append(file)
        self.result.after.append(msgspec.structs.replace(file, level=output_level))

    def _must_rewrite(self, file: DataFile, output_level: int, how: Folding) -> bool:
        if file.level != 0 or how.producing not in {Producing.LOOKUP, Producing.FIRST_ROW}:
            return False
        if self.has_vectors and has_deletes(file):
            return True
        if output_level == self._levels.max_level:
            return False
        # Rows of other engines hold what came before them only once they are written anew.
        return self._spec.engine is not MergeEngine.DEDUPLICATE or bool(self._spec.sequence_fields)

    def _is_told(self, file: DataFile, output_level: int, how: Folding) -> bool:
        """Say whether the rows of a file that is lifted have a changelog, or outdate rows of higher levels."""
        if how.producing is Producing.FULL:
            return output_level == self._levels.max_level
        has_older = how.older is not None and bool(how.older.runs)
        return file.level == 0 and how.producing is not Producing.PLAIN and (how.makes_changelog or has_older)

    def _read_only(self, file: DataFile, output_level: int, how: Folding) -> None:
        is_full = how.producing is Producing.FULL and output_level == self._levels.max_level
        for _ in self._folded([[(file,)]], how, drops_deletes=is_full or self.has_vectors):
            pass

    def _merge(self, merged: Sequence[Section], output_level: int, how: Folding, *, drops_deletes: bool) -> None:
        """Read sections in the order of keys, and write what is left of them to the new level."""
        files = [file for section in merged for run in section for file in run]
        rows = self._folded(merged, how, drops_deletes=drops_deletes)
        if sum(file.file_size for file in files) < _AHEAD_BYTES:
            written = self._write(rows, output_level)
        else:
            with ahead(rows) as made:
                written = self._write(made, output_level)
        self.result.written += written
        self.result.before += files
        self.result.after += written

    def _write(self, rows: Iterator[pa.Table], output_level: int) -> list[DataFile]:
        return write_files(
            self._ctx,
            self._partition,
            self._bucket,
            (batch for table in rows for batch in table.to_batches()),
            level=output_level,
            source=FileSource.COMPACT,
            group_bytes=self._memory_bytes // _GROUP_SHARE,
        )

    def _folded(self, merged: Sequence[Section], how: Folding, *, drops_deletes: bool) -> Iterator[pa.Table]:
        """Yield the rows that are left, in the order of keys; write the changelog meanwhile."""
        said: list[pa.Table] = []
        said_bytes = 0
        releasing = Releasing(self._memory_bytes)
        for section in merged:
            for levels, tables in self._ranges(section, how):
                if self._beat is not None:
                    self._beat()
                runs = list(zip(levels, tables, strict=True))
                self.result.rows += sum(table.num_rows for table in tables)
                releasing.passed(tables)
                rows, changes = how.fold(runs, drops_deletes=drops_deletes)
                if changes is not None and changes.num_rows:
                    said.append(changes)
                    said_bytes += changes.nbytes
                    if said_bytes >= self._memory_bytes // _CHANGELOG_SHARE:
                        self._write_changelog(said)
                        said, said_bytes = [], 0
                if rows.num_rows:
                    yield rows
        if said:
            self._write_changelog(said)

    def _ranges(self, section: Section, how: Folding) -> Iterator[tuple[list[int], list[pa.Table]]]:
        """Yield ranges of keys of a section: tables by run, the oldest first, and the runs' levels."""
        names = {file.file_name for run in section for file in run}
        kept = [(run.level, tuple(file for file in run.files if file.file_name in names)) for run in self._levels.runs]
        runs = strung([Run(level, files) for level, files in kept if files], self._levels.key_of)[::-1]
        levels = [run.level for run in runs]
        leaves = sum(leaf_count(column.type) for column in self.schema)
        files = [run.files for run in runs]
        shares = shares_of(files, leaves, self._memory_bytes, of_leaves=leaves, stages=WRITE_STAGES)
        sources = [self._batches(each, shares) for each in files]
        keys = self._ctx.schema.trimmed_keys
        looks_up = how.older is not None and bool(how.older.runs)
        if len(sources) == 1 and not looks_up:  # a lookup is for as many keys at once as memory allows
            for batch in sources[0]:
                yield levels, [pa.Table.from_batches([batch], self.schema)]
            return
        for tables in key_ranges(sources, self.schema, keys, held_bytes=shares.held_bytes):
            yield levels, tables

    def _batches(self, files: Sequence[DataFile], shares: Shares) -> Iterator[pa.RecordBatch]:
        for file in files:
            reader = read_file(
                self._ctx,
                self._partition,
                self._bucket,
                file,
                None,
                vector=self._vectors.get(file.file_name),
                with_system=True,
                as_reader=True,
                batch_bytes=shares.batch_bytes,
                buffer_bytes=shares.buffer_bytes,
            )
            for batch in reader:
                rows = batch if self._expiring is None else self._expiring.alive(batch)
                if rows.num_rows:
                    yield rows.select(self.schema.names)

    def _write_changelog(self, said: Sequence[pa.Table]) -> None:
        rows = pa.concat_tables(said)
        written = write_files(
            self._ctx,
            self._partition,
            self._bucket,
            iter(rows.to_batches()),
            level=self._output_level,
            source=FileSource.COMPACT,
            kind="changelog",
        )
        self.result.written += written
        self.result.changelog += written


def run_schema(ctx: "TableContext") -> pa.Schema:
    """Return the columns of a run: the table's, then the system columns."""
    return pa.schema([*ctx.schema.arrow, pa.field(SEQUENCE_NUMBER, pa.int64()), pa.field(VALUE_KIND, pa.int8())])


def has_deletes(file: DataFile) -> bool:
    """Say whether a file may have rows that only say that their key is gone."""
    return file.delete_row_count is None or file.delete_row_count > 0


def _small_bytes(ctx: "TableContext") -> int:
    target: int = ctx.options.target_file_size
    return int(target * ctx.options.compaction_small_file_ratio)
