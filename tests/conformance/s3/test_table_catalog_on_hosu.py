"""The catalog of tables over a started server's S3: what one conditional put promises."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest
from tests.support.server import Endpoint

from hosu.kernel.errors import ConflictError
from hosu.kernel.fileio import FileIO, S3FileIO, S3Place
from hosu.tables.catalog import Catalog
from hosu.tables.evolution import AddColumn
from hosu.tables.types import STRING
from hosu.testing.manual_clock import ManualClock

SCHEMA = pa.schema([("id", pa.int64()), ("name", pa.string())])


@pytest.fixture
def files(server: Endpoint, bucket: str) -> FileIO:
    return S3FileIO(
        S3Place(
            bucket,
            endpoint=server.url,
            region=server.region,
            access_key_id=server.access_key,
            secret_access_key=server.secret_key,
        )
    )


@pytest.fixture
def catalog(files: FileIO) -> Iterator[Catalog]:
    with Catalog(files, "warehouse", clock=ManualClock()) as found:
        found.create_database("db")
        yield found


@pytest.mark.conformance("s3", "PutObject")
def test_tables_are_made_changed_and_dropped(catalog: Catalog) -> None:
    catalog.create_table("db.t", SCHEMA, primary_keys=["id"], options={"bucket": "2"})
    catalog.alter_table("db.t", [AddColumn("n", STRING)])

    assert catalog.tables("db") == ["t"]
    assert catalog.open("db.t").schema.names == ("id", "name", "n")
    catalog.drop_database("db", cascade=True)
    assert catalog.databases() == []
    assert list(catalog.files.list("")) == []


@pytest.mark.conformance("s3", "PutObject")
def test_of_many_that_make_one_table_one_does_and_all_changes_are_kept(catalog: Catalog) -> None:
    def create(number: int) -> bool:
        try:
            catalog.create_table("db.t", SCHEMA, comment=str(number))
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(create, range(8)))
        list(pool.map(lambda number: catalog.alter_table("db.t", [AddColumn(f"c{number}", STRING)]), range(8)))

    assert won.count(True) == 1
    schema = catalog.schema("db.t")
    assert schema.comment == str(won.index(True))
    assert len(schema.fields) == 10
