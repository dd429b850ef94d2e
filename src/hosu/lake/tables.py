"""The tables of a lake, as Python uses them.

    lake.tables.create("upbit.ticker", schema, primary_keys=["symbol", "dt"], partition_keys=["dt"])
    ticker = lake.table("upbit.ticker")
    ticker.upsert(frame)
    lake.sql("SELECT symbol, price FROM upbit.ticker WHERE dt = '2026-01-31'").arrow()

They are in the lake's warehouse (setting `warehouse`), in the layout of Apache Paimon: Flink, Spark and pypaimon read
and write the same files.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from hosu.kernel.errors import ErrorKind, NotFoundError
from hosu.lake.opening import lake_settings, open_lake
from hosu.lake.warehouses import open_warehouse
from hosu.tables.catalog import Catalog
from hosu.tables.context import MEMORY_BYTES
from hosu.tables.evolution import SchemaChange
from hosu.tables.identifiers import parse_table
from hosu.tables.layout import MAIN_BRANCH
from hosu.tables.table import Table
from hosu.tables.types import DataField

if TYPE_CHECKING:
    from hosu.lake.opening import Lake
    from hosu.tables.sql.session import Result, Session


class Tables:
    """Databases and tables of an open lake. Raises what `hosu.tables.catalog` raises."""

    def __init__(self, lake: "Lake", *, memory_bytes: int = MEMORY_BYTES) -> None:
        self._lake = lake
        warehouse = open_warehouse(lake_settings(lake.path).warehouse, lake.store, actor=lake.actor)
        self._bucket = warehouse.bucket
        self.catalog = Catalog(
            warehouse.files, warehouse.folder, clock=lake.store.clock, memory_bytes=memory_bytes,
            reopen=partial(_reopened, lake.path, lake.actor),
        )  # fmt: skip
        """The catalog below."""

        self._session: Session | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        """Wait for what is written in the background, and let go of all files."""
        self.catalog.close()

    def create_database(self, name: str, *, exist_ok: bool = False) -> None:
        """Make a database, and the bucket of the warehouse where there is none."""
        if self._bucket is not None:
            self._lake.create_bucket(self._bucket, exist_ok=True)
        self.catalog.create_database(name, exist_ok=exist_ok)

    def drop_database(self, name: str, *, cascade: bool = False) -> None:
        """Drop a database; with cascade the tables it holds too."""
        self.catalog.drop_database(name, cascade=cascade)

    def databases(self) -> list[str]:
        """Return the names of all databases, in order."""
        try:
            return self.catalog.databases()
        except NotFoundError as error:
            if self._bucket is None or error.kind is not ErrorKind.BUCKET_NOT_FOUND:
                raise
            return []

    def create(
        self,
        name: str,
        schema: pa.Schema | Sequence[DataField],
        *,
        primary_keys: Sequence[str] = (),
        partition_keys: Sequence[str] = (),
        options: Mapping[str, str] | None = None,
        comment: str | None = None,
        exist_ok: bool = False,
    ) -> Table:
        """Make the table DATABASE.NAME, and its database where there is none, and open it.

        Raises ConflictError TABLE_EXISTS, InvalidInputError TABLE_INVALID, UnsupportedError for an option by name.
        """
        make = partial(
            self.catalog.create_table, name, schema, primary_keys=primary_keys, partition_keys=partition_keys,
            options=options, comment=comment, exist_ok=exist_ok,
        )  # fmt: skip
        try:
            make()
        except NotFoundError as error:
            # By now it is known that there is nothing wrong with the table itself.
            if error.kind not in {ErrorKind.DATABASE_NOT_FOUND, ErrorKind.BUCKET_NOT_FOUND}:
                raise
            self.create_database(parse_table(name).database, exist_ok=True)
            make()
        return self.open(name)

    def open(self, name: str, *, branch: str = MAIN_BRANCH, options: Mapping[str, str] | None = None) -> Table:
        """Open the table DATABASE.NAME, or a branch of it; options count over its own. Raises TABLE_NOT_FOUND."""
        return Table(self.catalog, name, branch=branch, options=options)

    def list(self, database: str) -> list[str]:
        """Return the names of a database's tables, in order."""
        return self.catalog.tables(database)

    def alter(self, name: str, *changes: SchemaChange) -> None:
        """Change the schema or the options of a table: all of the changes, or none."""
        self.catalog.alter_table(name, changes)

    def rename(self, name: str, new_name: str) -> None:
        """Give a table another name."""
        self.catalog.rename_table(name, new_name)

    def drop(self, name: str, *, missing_ok: bool = False) -> None:
        """Drop a table with all of its files."""
        self.catalog.drop_table(name, missing_ok=missing_ok)

    def sql(self, query: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None) -> "Result":
        """Run one statement of SQL over these tables."""
        return self.session().run(query, parameters)

    def session(self) -> "Session":
        """Return the SQL session of this lake: it knows which database is in use."""
        from hosu.tables.sql.session import Session  # noqa: PLC0415 - DuckDB takes long to load

        with self._lock:
            if self._session is None:
                self._session = Session(self.catalog, create_database=self.create_database)
            return self._session


@contextmanager
def _reopened(path: Path, actor: str) -> Iterator[Catalog]:
    with open_lake(path, actor=actor) as lake:
        yield lake.tables.catalog
