"""Paimon's own tests between Java and Python: they read what hosu wrote, and hosu reads what they write."""

import subprocess
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.support.foreign import ENVIRONMENT, HOW
from tests.support.paimon_steps import open_catalog
from tests.support.server import isolated_environment

from hosu.kernel.errors import UnsupportedError
from hosu.tables.catalog import Catalog
from hosu.tables.table import Table
from hosu.tables.types import DataField, parse_type

LIBRARIES = ENVIRONMENT / "paimon-tests"
SECONDS_MAX = 240.0
FORMATS = ("parquet", "orc", "avro")
OPENED = ("java.base/java.lang", "java.base/java.nio", "java.base/java.util")

GOODS = (
    (1, "Apple", "Fruit", 1.5, "store1", "Beijing", "China"),
    (2, "Banana", "Fruit", 0.8, "store1", "Shanghai", "China"),
    (3, "Carrot", "Vegetable", 0.6, "store2", "Tokyo", "Japan"),
    (4, "Broccoli", "Vegetable", 1.2, "store2", "Seoul", "Korea"),
    (5, "Chicken", "Meat", 5.0, "store3", "NewYork", "USA"),
    (6, "Beef", "Meat", 8.0, "store3", "London", "UK"),
)
"""What `testReadPkTable` expects to read."""

COLUMNS = {
    "id": "INT NOT NULL",
    "name": "STRING",
    "category": "STRING NOT NULL",
    "value": "DOUBLE",
    "ts": "TIMESTAMP(6)",
    "ts_ltz": "TIMESTAMP(6) WITH LOCAL TIME ZONE",
    "t": "TIME(0)",
    "metadata": "ROW<source STRING, created_at BIGINT, location ROW<city STRING, country STRING>>",
}

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a folder that looks to Paimon's tests like its own checkout."""
    if not list(LIBRARIES.glob("paimon-core-*-tests.jar")):
        pytest.skip(HOW)
    (tmp_path / "paimon-core").mkdir()
    warehouse_of(tmp_path).mkdir(parents=True)
    return tmp_path


@pytest.fixture
def catalog(home: Path) -> Iterator[Catalog]:
    """Open the warehouse of Paimon's tests."""
    with open_catalog(warehouse_of(home)) as opened:
        opened.create_database("default")
        yield opened


def warehouse_of(home: Path) -> Path:
    return home / "paimon-python" / "pypaimon" / "tests" / "e2e" / "warehouse"


def judge(home: Path, *methods: str) -> None:
    """Run methods of Paimon's test class; raise AssertionError with what they say if one fails."""
    command = ["java", "-Xmx1g", "-Duser.timezone=UTC", "-Drun.e2e.tests=true", "-Dpython.version=3.11"]
    for package in OPENED:
        command += ["--add-opens", f"{package}=ALL-UNNAMED"]
    command += ["-cp", f"{LIBRARIES}/*", "org.junit.platform.console.ConsoleLauncher", "--details=tree"]
    for method in methods:
        command += ["-m", f"org.apache.paimon.JavaPyE2ETest#{method}"]
    done = subprocess.run(
        command,
        cwd=home / "paimon-core",
        env=isolated_environment() | {"HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    assert f"{len(methods)} tests successful" in done.stdout, done.stdout[-3000:]


def goods(schema: pa.Schema) -> pa.Table:
    """Return the rows of the table with a primary key."""
    rows = [
        {
            "id": number,
            "name": name,
            "category": category,
            "value": value,
            "ts": EPOCH.replace(tzinfo=None) + timedelta(milliseconds=1_000_000 + number - 1),
            "ts_ltz": EPOCH + timedelta(milliseconds=2_000_000 + number - 1),
            "t": time(0, 0, number),
            "metadata": {"source": store, "created_at": 1000 + number, "location": {"city": city, "country": country}},
        }
        for number, name, category, value, store, city, country in GOODS
    ]
    return pa.Table.from_pylist(rows, schema=schema)


def make(catalog: Catalog, name: str, columns: dict[str, str], keys: Sequence[str] = (), **options: Any) -> Table:
    """Make a table of the database that Paimon's tests read, and open it."""
    fields = [DataField(number, column, parse_type(kind)) for number, (column, kind) in enumerate(columns.items())]
    full = f"default.{name}"
    catalog.create_table(
        full, fields, primary_keys=keys, partition_keys=options.pop("partitions", ()), options=options["options"]
    )
    return Table(catalog, full)


@pytest.mark.needs("java")
@pytest.mark.timeout(300)
def test_paimons_own_tests_read_what_hosu_wrote(home: Path, catalog: Catalog) -> None:
    for form in FORMATS:
        appended = make(
            catalog,
            f"mixed_test_append_tablep_{form}",
            {"id": "INT", "name": "STRING", "value": "DOUBLE"},
            options={"file.format": form},
        )
        appended.append(pa.table({"id": pa.array([1, 2], pa.int32()), "name": ["a", None], "value": [1.0, 2.5]}))
        keyed = make(
            catalog,
            f"mixed_test_pk_tablep_{form}",
            COLUMNS,
            keys=["id", "category"],
            partitions=["category"],
            options={"file.format": form, "bucket": "2"},
        )
        rows = goods(keyed.arrow_schema)
        keyed.upsert(rows.slice(0, 4))
        keyed.upsert(rows.slice(2))
    judge(home, "testReadAppendTable", "testReadPkTable")


@pytest.mark.needs("java")
@pytest.mark.timeout(300)
def test_hosu_reads_what_paimons_own_tests_wrote(home: Path, catalog: Catalog) -> None:
    judge(
        home,
        "testJavaWriteReadPkTable",
        "testPKDeletionVectorWrite",
        "testPKDeletionVectorWriteMultiBatch",
        "testBtreeIndexWrite",
        "testJavaWriteCompressedTextAppendTable",
        "testBlobWriteAlterCompact",
    )
    read = []
    for form in FORMATS:
        rows = Table(catalog, f"default.mixed_test_pk_tablej_{form}").scan().to_arrow()
        read.append(sorted(rows.to_pylist(), key=lambda row: row["id"]))
    assert [row["id"] for row in read[0]] == list(range(1, 8))
    assert read[0][0]["name"] == "Apple"
    assert read[1] == read[0]
    assert read[2] == read[0]

    vectors = Table(catalog, "default.test_pk_dv").scan().to_arrow().to_pylist()
    assert {(row["pt"], row["a"], row["b"]) for row in vectors} == {(1, 10, 1000), (2, 21, 20001), (2, 22, 202)}
    assert Table(catalog, "default.test_pk_dv_multi_batch").scan().count() == 9_999

    for name, reason in (
        ("test_btree_index_int", "data-evolution.enabled"),
        ("mixed_test_append_tablej_csv_gz", "file.format"),
        ("blob_alter_compact_test", "BLOB"),
    ):
        with pytest.raises(UnsupportedError, match=reason):
            Table(catalog, f"default.{name}")
