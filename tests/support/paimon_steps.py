"""The tables of `tests.support.paimon` as hosu makes them, and the answers that Flink gave."""

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.foreign import ROOT
from tests.support.paimon import Alter, Case, Compact, Delete, Insert, Overwrite, Step, Tag, Update
from tests.support.paimon_rows import Row, alike, arrow_rows, decoded, plain_rows

from hosu.kernel.clock import SystemClock
from hosu.kernel.fileio.folder import FolderFileIO
from hosu.tables.catalog import Catalog
from hosu.tables.compaction.compacting import compact
from hosu.tables.context import TableContext
from hosu.tables.predicates import parse_where
from hosu.tables.reading.changes import changes
from hosu.tables.snapshots import find, tags
from hosu.tables.table import Table
from hosu.tables.types import DataField, parse_type
from hosu.tables.writing.verbs import delete_where, insert, overwrite, update_where

DATA = ROOT / "tests" / "data"
DATABASE = "java"
"""What the database is called in each warehouse of these tests."""


def open_catalog(warehouse: Path) -> Catalog:
    """Return the catalog of a local warehouse, which is made if need be."""
    warehouse.mkdir(parents=True, exist_ok=True)
    return Catalog(FolderFileIO(warehouse), "", clock=SystemClock())


def make(catalog: Catalog, case: Case) -> None:
    """Make the table of a case, empty."""
    catalog.create_database(DATABASE, exist_ok=True)
    catalog.create_table(
        f"{DATABASE}.{case.name}",
        [DataField(number, name, parse_type(kind)) for number, (name, kind) in enumerate(case.columns.items())],
        partition_keys=case.partitions,
        primary_keys=case.keys,
        options=case.options,
    )


def play(catalog: Catalog, case: Case) -> None:
    """Make the table of a case and do its steps."""
    make(catalog, case)
    columns = dict(case.columns)
    for step in case.steps:
        if isinstance(step, Alter):
            columns = dict(step.columns)
        do(catalog, case.name, columns, step)


def do(catalog: Catalog, name: str, columns: dict[str, str], step: Step) -> None:
    """Do one step."""
    ctx = catalog.open(f"{DATABASE}.{name}")
    match step:
        case Insert(rows):
            insert(ctx, arrow_rows(columns, rows))
        case Delete(where):
            delete_where(ctx, parse_where(where, ctx.schema))
        case Update(assignments, where):
            values = {column: value.strip("'") for column, value in assignments.items()}
            update_where(ctx, values, parse_where(where, ctx.schema))
        case Overwrite(partition, rows):
            rest = {column: kind for column, kind in columns.items() if column not in partition}
            overwrite(ctx, arrow_rows(rest, rows), partition=partition)
        case Compact():
            compact(ctx, full=True)
        case Alter(changes=made):
            catalog.alter_table(f"{DATABASE}.{name}", made)
        case Tag(tag):
            tags.create(ctx, tag)


def context(catalog: Catalog, name: str) -> TableContext:
    """Open the table of a case."""
    return catalog.open(f"{DATABASE}.{name}")


def rows_of(catalog: Catalog, name: str, *, at: Any = None, where: str | None = None) -> list[Row]:
    """Return the rows of a table as hosu reads them, plain and sorted."""
    return plain_rows(Table(catalog, f"{DATABASE}.{name}").scan(where=where, at=at).to_arrow())


def changes_of(catalog: Catalog, name: str) -> list[list[Row]]:
    """Return the changes of each snapshot that has some, kind first, as hosu reads them."""
    ctx = context(catalog, name)
    latest = find.latest(ctx)
    assert latest is not None, "the table has rows"
    found: dict[int, list[Row]] = {}
    for batch in changes(ctx, 1, latest.id):
        rows = batch.rows.select(["_ROW_KIND", *ctx.schema.names])
        found.setdefault(batch.snapshot_id, []).extend(plain_rows(rows))
    return [alike(rows) for rows in found.values() if rows]


@dataclass(frozen=True, slots=True)
class Answers:
    """What Flink, or pypaimon, read of the tables that it wrote."""

    tables: dict[str, Any]

    def rows(self, name: str) -> list[Row]:
        """Return the rows of a table."""
        return alike(decoded(self.tables[name]["rows"]))

    def history(self, name: str) -> dict[int, list[Row]]:
        """Return the rows of a table at each snapshot."""
        return {int(number): alike(decoded(rows)) for number, rows in self.tables[name].get("history", {}).items()}

    def changes(self, name: str) -> list[list[Row]]:
        """Return the changes of each snapshot that has some, kind first."""
        each = self.tables[name].get("changes", {})
        return [alike(decoded(each[number])) for number in sorted(each, key=int) if each[number]]

    def tags(self, name: str) -> dict[str, list[Row]]:
        """Return the rows of a table at each tag."""
        return {tag: alike(decoded(rows)) for tag, rows in self.tables[name].get("tags", {}).items()}


def unpack(name: str, folder: Path) -> Answers:
    """Unpack tables of tests/data into a folder, which is then a warehouse, and return the answers beside them."""
    with tarfile.open(DATA / name) as archive:
        archive.extractall(folder, filter="data")
    return Answers(json.loads((folder / "answers.json").read_text()))


def told() -> Answers:
    """Return Flink's answers alone."""
    with tarfile.open(DATA / "paimon-java.tar.xz") as archive:
        member = archive.extractfile("answers.json")
        assert member is not None, "it is in the archive"
        return Answers(json.load(member))


__all__ = [
    "DATABASE", "Answers", "changes_of", "context", "do", "make", "open_catalog", "play", "rows_of", "told", "unpack",
]  # fmt: skip
