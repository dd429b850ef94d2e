"""Paimon's own classes in the process of Flink: for what its SQL does not reach."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.flink import Flink

Runs = Sequence[tuple[int, int]]
"""Sorted runs of a bucket, the newest first: the level and the size of each."""


class PaimonCore:
    """Paimon's Java interface, by reflection: what it hands out is of classes that only Java may look into."""

    def __init__(self, flink: Flink) -> None:
        """Use the process of Flink as long as that runs."""
        self._gateway = flink.gateway
        self.paimon = flink.gateway.jvm.org.apache.paimon

    def call(self, interface: str, target: Any, name: str, *arguments: Any, of: str = "") -> Any:
        """Call a method of an interface, by the number of its parameters, and by the type of the first if need be."""
        found = self._gateway.jvm.java.lang.Class.forName(f"org.apache.paimon.{interface}").getMethods()
        for method in found:
            kinds = [kind.getSimpleName() for kind in method.getParameterTypes()]
            if method.getName() == name and len(kinds) == len(arguments) and (not of or kinds[0] == of):
                given = self._gateway.new_array(self._gateway.jvm.java.lang.Object, len(arguments))
                for place, argument in enumerate(arguments):
                    given[place] = argument
                return method.invoke(target, given)
        raise AssertionError(f"{interface} has no {name} of {len(arguments)}")

    def table(self, folder: Path) -> Any:
        """Open the table in a folder."""
        files = self.paimon.fs.local.LocalFileIO.create()
        return self.paimon.table.FileStoreTableFactory.create(files, self.paimon.fs.Path(str(folder)))

    def rows(self, table: Any) -> list[Any]:
        """Return the rows of a table as Java has them."""
        builder = self.call("table.Table", table, "newReadBuilder")
        plan = self.call("table.source.TableScan", self.call("table.source.ReadBuilder", builder, "newScan"), "plan")
        read = self.call("table.source.ReadBuilder", builder, "newRead")
        found = []
        for split in self.call("table.source.TableScan$Plan", plan, "splits"):
            reader = self.call("table.source.TableRead", read, "createReader", split, of="Split")
            rows = self.call("reader.RecordReader", reader, "toCloseableIterator")
            while rows.hasNext():
                found.append(rows.next())
        return found

    def write(self, table: Any, *values: Any) -> None:
        """Commit one row."""
        row = self.paimon.data.GenericRow(len(values))
        for place, value in enumerate(values):
            row.setField(place, value)
        builder = self.call("table.Table", table, "newBatchWriteBuilder")
        write = self.call("table.sink.BatchWriteBuilder", builder, "newWrite")
        self.call("table.sink.TableWrite", write, "write", row)
        messages = self.call("table.sink.BatchTableWrite", write, "prepareCommit")
        commit = self.call("table.sink.BatchWriteBuilder", builder, "newCommit")
        self.call("table.sink.BatchTableCommit", commit, "commit", messages)

    def picked(
        self, runs: Runs, levels: int, *, trigger: int, size_ratio: int, amplification: int, forces_level_0: bool
    ) -> tuple[int, list[int]] | None:
        """Return what universal compaction takes of runs: the level it writes, and the sizes that it reads."""
        tree = self.paimon.mergetree
        given = [
            tree.LevelSortedRun(level, tree.SortedRun.fromSorted([self._file(number, level, size)]))
            for number, (level, size) in enumerate(runs)
        ]
        strategy = tree.compact.UniversalCompaction(amplification, size_ratio, trigger, None, None)
        if forces_level_0:
            strategy = tree.compact.ForceUpLevel0Compaction(strategy, None)
        unit = strategy.pick(levels, given)
        if not unit.isPresent() or not unit.get().files():
            return None
        found, level = list(unit.get().files()), int(unit.get().outputLevel())
        if len(found) == 1 and found[0].level() == level:
            return None
        return level, [int(file.fileSize()) for file in found]

    def _file(self, number: int, level: int, size: int) -> Any:
        statistics = self.paimon.stats.SimpleStats.EMPTY_STATS
        absent = [None] * 6
        file = self.paimon.io.DataFileMeta.forAppend(f"f{number}", size, 1, statistics, 0, 0, 0, [], *absent)
        return file.upgrade(level) if level else file
