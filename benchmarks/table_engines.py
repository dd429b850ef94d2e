"""One engine of tables in a process of its own: `python table_engines.py ENGINE PLACE`, commands in, seconds out.

Each line that comes in is JSON: `do` names a step, `rows` an Arrow file. Each line that goes out has `seconds`, what
the step alone took once its rows were in memory, and `count`, the rows that went through it. It runs in environments
that have nothing of this project, so it imports an engine only when asked for it.
"""

import itertools
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

KEY = "trade_id"
NUMBERS = itertools.count()
BUCKETS = 4
QUIET_S = 90.0
"""After so long without a change of its files a table is taken to be at rest."""

OPTIONS = {"bucket": str(BUCKETS)}
EVERY_ROW_WRITTEN = {"full-compaction.delta-commits": "1"}


def load(path: str) -> pa.Table:
    """Return the rows of an Arrow file, in memory."""
    with pa.OSFile(path, "rb") as source:
        return pa.ipc.open_file(source).read_all()


class Hosu:
    """hosu's engine, over a folder or over an S3 endpoint."""

    def __init__(self, place: str, *, options: dict[str, str] | None = None) -> None:
        """Open the warehouse at a path, or at `s3://|FOLDER|BUCKET|ENDPOINT|USER|PASSWORD`."""
        from hosu.kernel.clock import SystemClock
        from hosu.kernel.fileio.folder import FolderFileIO
        from hosu.kernel.fileio.s3 import S3FileIO
        from hosu.kernel.fileio.s3_store import S3Place
        from hosu.tables.catalog import Catalog

        folder = ""
        if place.startswith("s3://"):
            _, folder, bucket, endpoint, user, password = place.split("|")
            files: Any = S3FileIO(
                S3Place(bucket, endpoint=endpoint, access_key_id=user, secret_access_key=password), clock=SystemClock()
            )
        else:
            Path(place).mkdir(parents=True, exist_ok=True)
            files = FolderFileIO(place)
        self._catalog = Catalog(files, folder, clock=SystemClock())
        self._root = Path(place)
        self._options = OPTIONS | (options or {})
        self._table: Any = None

    def create(self, schema: pa.Schema) -> None:
        """Make an empty table."""
        from hosu.tables.table import Table

        self._catalog.create_database("b", exist_ok=True)
        name = f"b.t{next(NUMBERS)}"
        self._catalog.create_table(name, with_key(schema), primary_keys=[KEY], options=self._options)
        self._table = Table(self._catalog, name)

    def write(self, rows: pa.Table) -> int:
        """Commit rows."""
        self._table.upsert(rows)
        return int(rows.num_rows)

    upsert = write

    def read(self) -> int:
        """Read all rows."""
        return int(self._table.scan().to_arrow().num_rows)

    def compact(self) -> int:
        """Fold everything into one run; the rows are those that were read, none where it is one already."""
        count = sum(entry.file.row_count for entry in self._entries())
        return count if self._table.compact(full=True) else 0

    def plain(self) -> int:
        """Let pyarrow read the files of the table as they are."""
        import pyarrow.parquet as pq

        layout, names = self._table.context.layout, self._table.schema.names
        paths = [self._root / layout.data_file((), each.bucket, each.file.file_name) for each in self._entries()]
        return sum(len(pq.read_table(path, columns=list(names), partitioning=None)) for path in paths)

    def small(self, rows: pa.Table, *, commits: int) -> int:
        """Commit rows in as many commits. Who keeps the table in order is the server, where it is in its warehouse."""
        each = rows.num_rows // commits
        for number in range(commits):
            self._table.upsert(rows.slice(number * each, each))
        return int(each * commits)

    def rest(self) -> int:
        """Wait until the server has compacted each bucket into one run, or no bucket has changed for long."""
        runs, quiet_s, pause_s = 0, 0.0, 0.5
        while quiet_s < QUIET_S:
            found = len(self._entries())
            if found <= BUCKETS:
                break
            quiet_s = quiet_s + pause_s if found == runs else 0.0
            runs = found
            time.sleep(pause_s)
        return 0

    def _entries(self) -> list[Any]:
        from hosu.tables.manifests.live import live_entries

        return list(live_entries(self._table.context, self._table.latest()))


class Pypaimon:
    """pypaimon, all Python."""

    def __init__(self, place: str) -> None:
        """Open a warehouse."""
        from pypaimon import CatalogFactory

        self._catalog = CatalogFactory.create({"warehouse": place})
        self._name = ""
        self._table: Any = None

    def create(self, schema: pa.Schema) -> None:
        """Make an empty table."""
        from pypaimon import Schema

        self._catalog.create_database("b", ignore_if_exists=True)
        made = Schema.from_pyarrow_schema(with_key(schema), primary_keys=[KEY], options=OPTIONS)
        self._name = f"b.t{next(NUMBERS)}"
        self._catalog.create_table(self._name, made, ignore_if_exists=False)
        self._table = self._catalog.get_table(self._name)

    def write(self, rows: pa.Table) -> int:
        """Commit rows."""
        builder = self._table.new_batch_write_builder()
        writer, commit = builder.new_write(), builder.new_commit()
        writer.write_arrow(rows.cast(with_key(rows.schema)))
        commit.commit(writer.prepare_commit())
        writer.close()
        commit.close()
        return int(rows.num_rows)

    upsert = write

    def read(self) -> int:
        """Read all rows."""
        builder = self._table.new_read_builder()
        return int(builder.new_read().to_arrow(builder.new_scan().plan().splits()).num_rows)


class PypaimonRust(Pypaimon):
    """pypaimon-rust, native; tables are made by pypaimon."""

    def create(self, schema: pa.Schema) -> None:
        """Make an empty table, and open it anew."""
        from pypaimon_rust.datafusion import PaimonCatalog

        super().create(schema)
        warehouse = self._catalog.warehouse
        self._table = PaimonCatalog({"warehouse": warehouse}).get_table(self._name)

    def write(self, rows: pa.Table) -> int:
        """Commit rows."""
        builder = self._table.new_batch_write_builder()
        writer, commit = builder.new_write(), builder.new_commit()
        for batch in rows.cast(with_key(rows.schema)).to_batches():
            writer.write_arrow(batch)
        commit.commit(writer.prepare_commit())
        writer.close()
        commit.close()
        return int(rows.num_rows)

    upsert = write

    def read(self) -> int:
        """Read all rows."""
        builder = self._table.new_read_builder()
        splits = builder.new_scan().plan().splits()
        return sum(len(batch) for batch in builder.new_read().read(splits))


class DeltaRs:
    """Delta Lake by delta-rs."""

    def __init__(self, place: str) -> None:
        """Remember the folder of tables."""
        self._root = self._place = place

    def create(self, schema: pa.Schema) -> None:
        """Make an empty table."""
        from deltalake import write_deltalake

        self._place = f"{self._root}/t{next(NUMBERS)}"
        write_deltalake(self._place, schema.empty_table())

    def write(self, rows: pa.Table) -> int:
        """Append rows."""
        from deltalake import write_deltalake

        write_deltalake(self._place, rows, mode="append")
        return int(rows.num_rows)

    def upsert(self, rows: pa.Table) -> int:
        """Merge rows by the key."""
        from deltalake import DeltaTable

        merge = DeltaTable(self._place).merge(rows, predicate=f"s.{KEY} = t.{KEY}", source_alias="s", target_alias="t")
        merge.when_matched_update_all().when_not_matched_insert_all().execute()
        return int(rows.num_rows)

    def read(self) -> int:
        """Read all rows."""
        import polars as pl

        return int(pl.read_delta(self._place).height)


class DuckDb:
    """DuckDB's own tables, with a primary key."""

    def __init__(self, place: str) -> None:
        """Open a database file."""
        import duckdb

        Path(place).mkdir(parents=True, exist_ok=True)
        self._connection = duckdb.connect(f"{place}/lake.duckdb")
        self._name = ""

    def create(self, schema: pa.Schema) -> None:
        """Make an empty table."""
        self._connection.register("empty", schema.empty_table())
        self._name = f"t{next(NUMBERS)}"
        self._connection.execute(f"CREATE TABLE {self._name} AS SELECT * FROM empty")
        self._connection.execute(f"ALTER TABLE {self._name} ADD PRIMARY KEY ({KEY})")

    def write(self, rows: pa.Table) -> int:
        """Insert rows, or replace those with the same key."""
        self._connection.register("rows", rows)
        self._connection.execute(f"INSERT OR REPLACE INTO {self._name} SELECT * FROM rows")
        return int(rows.num_rows)

    upsert = write

    def read(self) -> int:
        """Read all rows."""
        rows: pa.Table = self._connection.execute(f"SELECT * FROM {self._name}").to_arrow_table()
        return len(rows)


class FlinkSql:
    """Flink with Paimon for Java; its rows come from a table that hosu wrote before the step begins."""

    def __init__(self, place: str) -> None:
        """Start Java on an empty warehouse."""
        from tests.support.flink import Flink

        from hosu.kernel.clock import SystemClock
        from hosu.kernel.fileio.folder import FolderFileIO
        from hosu.tables.catalog import Catalog

        root = Path(place)
        (root / "warehouse").mkdir(parents=True)
        self._catalog = Catalog(FolderFileIO(root / "warehouse"), "", clock=SystemClock())
        self._flink = Flink(root / "home")
        self._catalog.create_database("b")
        self._flink.catalog(f"file:{root / 'warehouse'}", database="b")
        self._name = ""

    def create(self, schema: pa.Schema) -> None:
        """Make an empty table."""
        self._name = f"t{next(NUMBERS)}"
        self._catalog.create_table(f"b.{self._name}", with_key(schema), primary_keys=[KEY], options=OPTIONS)

    def write(self, rows: pa.Table) -> tuple[int, float]:
        """Commit rows; returns how many, and the seconds of Flink."""
        from hosu.tables.table import Table

        source = f"s{next(NUMBERS)}"
        self._catalog.create_table(f"b.{source}", rows.schema)
        Table(self._catalog, f"b.{source}").append(rows)
        began = time.perf_counter()
        self._flink.run(f"INSERT INTO `{self._name}` SELECT * FROM `{source}`")
        return int(rows.num_rows), time.perf_counter() - began

    upsert = write

    def read(self) -> int:
        """Read all rows, and all columns of them, into one sum."""
        names = self._catalog.schema(f"b.{self._name}").names
        counted = self._flink.rows(
            f"SELECT COUNT(*), {', '.join(f'MAX(`{name}`)' for name in names)} FROM `{self._name}`"
        )
        return int(counted[0][0])


ENGINES: dict[str, Callable[[str], Any]] = {
    "hosu": Hosu,
    "hosu on S3": Hosu,
    "hosu with upkeep": Hosu,
    "hosu copy-on-write": lambda place: Hosu(place, options=EVERY_ROW_WRITTEN),
    "pypaimon": Pypaimon,
    "pypaimon-rust": PypaimonRust,
    "delta-rs": DeltaRs,
    "DuckDB": DuckDb,
    "Flink": FlinkSql,
}


def with_key(schema: pa.Schema) -> pa.Schema:
    """Return a schema whose key cannot be NULL."""
    return pa.schema([field.with_nullable(field.name != KEY) for field in schema])


def step(engine: object, command: dict[str, Any]) -> dict[str, float]:
    """Do one step and time it."""
    more = {"commits": command["commits"]} if "commits" in command else {}
    rows = [load(command["rows"])] if "rows" in command else []
    if command["do"] == "create":
        rows = [rows[0].schema]
    began = time.perf_counter()
    count = getattr(engine, command["do"])(*rows, **more)
    took = time.perf_counter() - began
    if isinstance(count, tuple):
        count, took = count
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": took, "count": count or 0, "peak_mib": peak}


def main() -> None:
    """Answer commands until there are no more."""
    engine = ENGINES[sys.argv[1]](sys.argv[2])
    for line in sys.stdin:
        try:
            answer: dict[str, Any] = step(engine, json.loads(line))
        except Exception as error:  # noqa: BLE001 - an engine's failure is its figure
            answer = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
