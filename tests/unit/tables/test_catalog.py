"""Databases and tables: made, found, changed and taken away, over every FileIO."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from hosu.kernel.errors import (
    ConflictError,
    ErrorKind,
    HosuError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
)
from hosu.kernel.fileio import FileIO, FolderFileIO, MemoryFileIO
from hosu.objects.buckets import create_bucket
from hosu.objects.fileio import ObjectFileIO
from hosu.objects.store import ObjectStore
from hosu.tables.catalog import Catalog
from hosu.tables.evolution import AddColumn, SetOption
from hosu.tables.identifiers import parse_identifier
from hosu.tables.layout import Layout
from hosu.tables.schemas import DROPPED
from hosu.tables.types import STRING, DataField, parse_type
from hosu.testing.manual_clock import ManualClock

SCHEMA = pa.schema(
    [
        pa.field("symbol", pa.string()),
        pa.field("price", pa.float64(), metadata={"comment": "in won"}),
        pa.field("dt", pa.string()),
    ]
)
KEYS: Mapping[str, Any] = {"primary_keys": ["symbol", "dt"], "partition_keys": ["dt"], "options": {"bucket": "4"}}


@pytest.fixture(params=["memory", "folder", "objects", "root of memory"])
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Catalog]:
    with ExitStack() as stack:
        files: FileIO = MemoryFileIO()
        if request.param == "folder":
            files = FolderFileIO(tmp_path)
        elif request.param == "objects":
            store = stack.enter_context(ObjectStore(tmp_path / "lake", clock=ManualClock(), space_reserve_bytes=0))
            store.commit(partial(create_bucket, name="paimon"))
            files = ObjectFileIO(store, "paimon")
        warehouse = "" if "root" in request.param else "lake/warehouse"
        yield stack.enter_context(Catalog(files, warehouse, clock=ManualClock()))


@pytest.fixture
def memory() -> Iterator[Catalog]:
    with Catalog(MemoryFileIO(), "wh", clock=ManualClock()) as found:
        found.create_database("db")
        yield found


def keys(catalog: Catalog) -> list[str]:
    return [entry.key for entry in catalog.files.list("")]


def make(catalog: Catalog, name: str = "db.t", **changes: Any) -> None:
    catalog.create_table(name, SCHEMA, **(dict(KEYS) | changes))


def test_a_new_catalog_is_empty(catalog: Catalog) -> None:
    assert catalog.databases() == []


def test_databases_are_made_listed_and_taken_away(catalog: Catalog) -> None:
    catalog.create_database("upbit")
    catalog.create_database("archive")
    catalog.create_database("upbit", exist_ok=True)

    assert catalog.databases() == ["archive", "upbit"]
    assert catalog.tables("upbit") == []
    with pytest.raises(ConflictError) as caught:
        catalog.create_database("upbit")
    assert caught.value.kind is ErrorKind.DATABASE_EXISTS
    catalog.drop_database("upbit")
    assert catalog.databases() == ["archive"]
    with pytest.raises(NotFoundError) as missing:
        catalog.tables("upbit")
    assert missing.value.kind is ErrorKind.DATABASE_NOT_FOUND


def test_tables_are_made_listed_opened_and_taken_away(catalog: Catalog) -> None:
    catalog.create_database("upbit")
    made = catalog.create_table("upbit.ticker", SCHEMA, comment="ticks", **KEYS)
    make(catalog, "upbit.orders")

    assert catalog.tables("upbit") == ["orders", "ticker"]
    context = catalog.open("upbit.ticker")
    assert context.schema == made
    assert (context.schema.comment, context.options.bucket, context.options.has_primary_key) == ("ticks", 4, True)
    assert context.layout.path.endswith("upbit.db/ticker")
    assert context.layout.partition_keys == ("dt",)
    assert made.field("price").description == "in won"
    assert [made.field(name).type.nullable for name in made.names] == [False, True, False]
    catalog.drop_table("upbit.ticker")
    assert catalog.tables("upbit") == ["orders"]
    with pytest.raises(NotFoundError) as caught:
        catalog.open("upbit.ticker")
    assert caught.value.kind is ErrorKind.TABLE_NOT_FOUND


def test_the_schema_file_is_where_paimon_looks_for_it(memory: Catalog) -> None:
    make(memory)

    text = memory.files.read("wh/db.db/t/schema/schema-0")
    assert json.loads(text)["primaryKeys"] == ["symbol", "dt"]


def test_a_table_that_is_there_is_left_alone(memory: Catalog) -> None:
    make(memory)
    before = memory.files.read("wh/db.db/t/schema/schema-0")

    with pytest.raises(ConflictError) as caught:
        memory.create_table("db.t", SCHEMA)
    assert caught.value.kind is ErrorKind.TABLE_EXISTS
    assert memory.create_table("db.t", pa.schema([("x", pa.int32())]), exist_ok=True).names == ("symbol", "price", "dt")
    assert memory.files.read("wh/db.db/t/schema/schema-0") == before


def test_of_many_that_make_one_table_one_does(memory: Catalog) -> None:
    def attempt(number: int) -> bool:
        own = Catalog(memory.files, "wh", clock=memory.clock)
        try:
            own.create_table("db.t", SCHEMA, comment=str(number), **KEYS)
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(attempt, range(16)))

    assert won.count(True) == 1
    assert memory.schema("db.t").comment == str(won.index(True))


def test_many_that_change_one_table_all_do(memory: Catalog) -> None:
    make(memory)

    def attempt(number: int) -> None:
        own = Catalog(memory.files, "wh", clock=memory.clock)
        own.alter_table("db.t", [AddColumn(f"c{number}", STRING)])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(attempt, range(12)))

    schema = memory.schema("db.t")
    assert schema.id == 12
    assert set(schema.names) == {"symbol", "price", "dt"} | {f"c{number}" for number in range(12)}
    assert len({field.id for field in schema.fields}) == 15


def test_keys_may_be_given_as_options_as_sql_does(memory: Catalog) -> None:
    made = memory.create_table("db.t", SCHEMA, options={"primary-key": "symbol, dt", "partition": "dt", "bucket": "1"})

    assert (made.primary_keys, made.partition_keys, made.options) == (("symbol", "dt"), ("dt",), {"bucket": "1"})
    with pytest.raises(InvalidInputError, match="given twice"):
        memory.create_table("db.u", SCHEMA, primary_keys=["symbol"], options={"primary-key": "symbol"})


def test_columns_may_be_fields_whose_ids_are_given_anew(memory: Catalog) -> None:
    made = memory.create_table(
        "db.t", [DataField(7, "a", parse_type("ROW<x INT, y INT>")), DataField(7, "b", parse_type("VARIANT"))]
    )

    assert [field.id for field in made.fields] == [0, 3]
    assert [field.id for field in made.field("a").type.fields] == [1, 2]
    assert made.highest_field_id == 3


@pytest.mark.parametrize(
    "name", ["", "_x", ".x", "-x", "a/b", "a$b", "a.b.c", "a b ", "a\n", "a*", "x" * 201, "a%20", "a\ud800"]
)
def test_names_that_no_folder_should_have_are_refused(memory: Catalog, name: str) -> None:
    before = keys(memory)

    with pytest.raises(HosuError) as database:
        memory.create_database(name)
    with pytest.raises(HosuError) as table:
        memory.create_table(f"db.{name}", SCHEMA)

    assert database.value.kind is ErrorKind.TABLE_INVALID
    assert table.value.kind in {ErrorKind.TABLE_INVALID, ErrorKind.UNSUPPORTED}
    assert keys(memory) == before


@pytest.mark.parametrize("name", ["ticker", "시세", "ticker-2026", "a b", "T"])
def test_other_names_are_fine(catalog: Catalog, name: str) -> None:
    catalog.create_database(name)
    make(catalog, f"{name}.{name}")

    assert catalog.databases() == [name]
    assert catalog.tables(name) == [name]


def test_a_name_says_its_branch_and_system_table() -> None:
    plain = parse_identifier("db.t")
    branch = parse_identifier("db.t$branch_dev")
    both = parse_identifier("db.t$branch_dev$snapshots")

    assert (str(plain.identifier), plain.system) == ("db.t", None)
    assert (branch.identifier.branch, branch.system) == ("dev", None)
    assert (both.identifier.branch, both.system, str(both.identifier)) == ("dev", "snapshots", "db.t$branch_dev")
    assert parse_identifier("db.t$files", branch="b").identifier.branch == "b"
    for wrong in ("t", "db.", ".t", "db.t$", "db.t$a$b", "db.t$branch_", "db.t$branch_a$branch_b"):
        with pytest.raises(InvalidInputError):
            parse_identifier(wrong)


def test_folders_that_others_made_are_databases_and_no_tables(memory: Catalog) -> None:
    memory.files.put("wh/spark.db/", b"")
    memory.files.put("wh/db.db/notes/readme.txt", b"")
    memory.files.put("wh/plain/x", b"")
    memory.files.put("wh/.db/x", b"")

    assert memory.databases() == ["db", "spark"]
    assert memory.tables("spark") == []
    assert memory.tables("db") == []
    make(memory, "spark.t")
    assert memory.tables("spark") == ["t"]


def test_the_database_of_every_catalog_is_not_to_be_made(memory: Catalog) -> None:
    with pytest.raises(InvalidInputError, match="sys"):
        memory.create_database("sys")


def test_system_tables_are_not_opened_as_tables(memory: Catalog) -> None:
    make(memory)

    with pytest.raises(UnsupportedError, match=r"db\.t\$snapshots"):
        memory.open("db.t$snapshots")


def test_a_missing_table_database_or_branch_is_named_with_what_is_near(memory: Catalog) -> None:
    make(memory, "db.ticker")

    with pytest.raises(NotFoundError, match="did you mean 'ticker'"):
        memory.open("db.tickers")
    with pytest.raises(NotFoundError, match="did you mean 'db'") as database:
        memory.open("dbx.ticker")
    assert database.value.kind is ErrorKind.DATABASE_NOT_FOUND
    with pytest.raises(NotFoundError, match="no branch 'dev'") as branch:
        memory.open("db.ticker", branch="dev")
    assert branch.value.kind is ErrorKind.BRANCH_NOT_FOUND
    with pytest.raises(NotFoundError):
        memory.create_table("nowhere.t", SCHEMA)


def test_a_branch_is_opened_with_its_own_schema(memory: Catalog) -> None:
    make(memory)
    text = memory.files.read("wh/db.db/t/schema/schema-0")
    memory.files.put("wh/db.db/t/branch/branch-dev/schema/schema-0", text)

    memory.alter_table("db.t", [AddColumn("n", STRING)], branch="dev")

    assert memory.open("db.t", branch="dev").schema.names[-1] == "n"
    assert memory.open("db.t$branch_dev").layout.branch == "dev"
    assert memory.open("db.t", options={"branch": "dev"}).schema.names[-1] == "n"
    assert memory.open("db.t").schema.names[-1] == "dt"


def test_options_are_put_over_those_of_the_table_for_one_opening(memory: Catalog) -> None:
    make(memory)

    assert memory.open("db.t", options={"scan.snapshot-id": "5"}).options.scan_snapshot_id == 5
    assert memory.open("db.t").options.scan_snapshot_id is None
    with pytest.raises(InvalidInputError, match="bucket"):
        memory.open("db.t", options={"bucket": "5"})
    with pytest.raises(InvalidInputError, match=r"partition\.legacy-name"):
        memory.open("db.t", options={"partition.legacy-name": "false"})
    with pytest.raises(InvalidInputError, match="merge-engine"):
        memory.open("db.t", options={"merge-engine": "first-row"})
    with pytest.raises(UnsupportedError, match="unheard-of"):
        memory.open("db.t", options={"unheard-of": "5"})
    with pytest.raises(InvalidInputError, match="given too"):
        memory.open("db.t", options={"scan.snapshot-id": "5", "scan.tag-name": "x"})


def test_an_option_of_another_writers_that_is_not_supported_is_refused_when_the_table_is_opened(
    memory: Catalog,
) -> None:
    make(memory)
    document = json.loads(memory.files.read("wh/db.db/t/schema/schema-0")) | {"id": 1}
    document["options"]["row-tracking.enabled"] = "true"
    memory.files.put("wh/db.db/t/schema/schema-1", json.dumps(document).encode())

    with pytest.raises(UnsupportedError, match=r"row-tracking\.enabled"):
        memory.open("db.t")


def test_each_opening_commits_under_a_user_of_its_own(memory: Catalog) -> None:
    make(memory, options={"bucket": "4", "commit.user-prefix": "etl"})

    first, second = memory.open("db.t").commit_user, memory.open("db.t").commit_user
    assert first != second
    assert first.startswith("etl_")


def test_a_database_with_tables_is_dropped_only_with_them(catalog: Catalog) -> None:
    catalog.create_database("db")
    make(catalog, "db.t")
    make(catalog, "db.u")

    with pytest.raises(ConflictError) as caught:
        catalog.drop_database("db")
    assert caught.value.kind is ErrorKind.DATABASE_NOT_EMPTY
    assert catalog.tables("db") == ["t", "u"]
    catalog.drop_database("db", cascade=True)
    assert catalog.databases() == []
    assert keys(catalog) == []


def test_a_rename_is_refused_with_what_to_do(memory: Catalog) -> None:
    make(memory)

    with pytest.raises(UnsupportedError, match="create the new table"):
        memory.rename_table("db.t", "db.u")
    assert memory.tables("db") == ["t"]


class Stops(Exception):  # noqa: N818 - a stop, not an error of ours
    """The machine stops."""


class StoppingFiles(MemoryFileIO):
    """Stops before the n-th change of files."""

    def __init__(self, left: int) -> None:
        super().__init__()
        self.left: int | None = None
        self.start = left

    def arm(self) -> None:
        self.left = self.start

    def _step(self) -> None:
        if self.left is not None:
            if self.left == 0:
                raise Stops
            self.left -= 1

    def _put(self, key: str, view: memoryview, *, if_absent: bool, if_match: str | None) -> Any:
        self._step()
        return super()._put(key, view, if_absent=if_absent, if_match=if_match)

    def _delete_many(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._step()
            super()._delete_many([key])


@pytest.mark.parametrize("left", range(12))
def test_a_drop_that_stops_midway_leaves_the_table_whole_or_to_be_dropped_again(left: int) -> None:
    files = StoppingFiles(left)
    with Catalog(files, "wh", clock=ManualClock()) as catalog:
        catalog.create_database("db")
        make(catalog)
        catalog.alter_table("db.t", [AddColumn("n", STRING)])
        layout = Layout("wh/db.db/t")
        for key in (layout.snapshot(1), layout.snapshot(2), layout.manifest("m"), f"{layout.path}/bucket-0/data-1"):
            files.put(key, b"x")
        before = keys(catalog)
        files.arm()
        try:
            catalog.drop_table("db.t")
            stopped = False
        except Stops:
            stopped = True
        files.left = None

    with Catalog(files, "wh", clock=ManualClock()) as after:
        if after.has_table("db.t"):
            assert stopped
            assert keys(after) == before
        elif stopped and after.files.exists(layout.schemas + DROPPED):
            assert after.tables("db") == []
            with pytest.raises(ConflictError, match="drop it again"):
                make(after)
            after.drop_table("db.t")
        assert not after.has_table("db.t") or stopped
        after.drop_table("db.t", missing_ok=True)
        make(after)
        assert after.schema("db.t").id == 0
        assert [key for key in keys(after) if "/t/" in key] == [layout.schema(0)]


def test_a_table_that_is_not_there_is_dropped_only_when_that_is_fine(memory: Catalog) -> None:
    with pytest.raises(NotFoundError):
        memory.drop_table("db.t")
    memory.drop_table("db.t", missing_ok=True)


def test_a_change_of_options_is_checked_against_what_is_stored(memory: Catalog) -> None:
    make(memory)
    memory.alter_table("db.t", [SetOption("merge-engine", "partial-update")])
    memory.files.put(Layout("wh/db.db/t").snapshot(1), b"{}")

    with pytest.raises(UnsupportedError, match="merge-engine"):
        memory.alter_table("db.t", [SetOption("merge-engine", "deduplicate")])
    assert memory.schema("db.t").options["merge-engine"] == "partial-update"


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"primary_keys": ["nothing"]}, "nothing"),
    ({"partition_keys": ["nothing"]}, "nothing"),
    ({"primary_keys": ["symbol", "symbol"]}, "twice"),
    ({"primary_keys": ["dt"], "partition_keys": ["dt"]}, "partition keys only"),
    ({"primary_keys": ["tags", "dt"]}, "MAP"),
    ({"options": {"bucket": "0"}}, "bucket"),
    ({"options": {"bucket": "-3"}}, "bucket"),
    ({"options": {"bucket": "-1", "bucket-key": "symbol"}}, "bucket-key"),
    ({"options": {"bucket": "2", "bucket-key": "price"}}, "primary key"),
    ({"options": {"bucket": "2", "bucket-key": "dt"}}, "bucket-key"),
    ({"primary_keys": [], "options": {"bucket": "2"}}, "bucket-key"),
    ({"primary_keys": [], "options": {"bucket": "2", "bucket-key": "tags"}}, "nested"),
    ({"primary_keys": [], "options": {"merge-engine": "aggregation"}}, "primary key"),
    ({"primary_keys": [], "options": {"changelog-producer": "input"}}, "primary key"),
    ({"primary_keys": [], "options": {"sequence.field": "price"}}, "primary key"),
    ({"options": {"sequence.field": "nothing"}}, "nothing"),
    ({"options": {"sequence.field": "price,price"}}, "twice"),
    ({"options": {"sequence.field": "price", "merge-engine": "first-row"}}, "first-row"),
    ({"options": {"sequence.field": "price", "fields.price.aggregate-function": "sum"}}, "aggregate"),
    ({"options": {"merge-engine": "first-row", "changelog-producer": "input"}}, "first-row"),
    ({"options": {"merge-engine": "first-row", "deletion-vectors.enabled": "true"}}, "first-row"),
    ({"options": {"deletion-vectors.enabled": "true", "changelog-producer": "full-compaction"}}, "deletion vectors"),
    ({"options": {"changelog-producer": "lookup", "full-compaction.delta-commits": "1"}}, "full-compaction"),
    ({"options": {"fields.nothing.aggregate-function": "sum"}}, "nothing"),
    ({"options": {"merge-engine": "aggregation", "fields.price.aggregate-function": "average"}}, "average"),
    ({"options": {"fields.price.sequence-group": "tags"}}, "partial-update"),
    ({"options": {"merge-engine": "partial-update", "fields.price.sequence-group": "symbol"}}, "primary key"),
    (
        {
            "options": {
                "merge-engine": "partial-update",
                "ignore-delete": "true",
                "partial-update.remove-record-on-delete": "true",
            }
        },
        "opposite",
    ),
    ({"options": {"rowkind.field": "nothing"}}, "rowkind"),
    ({"options": {"record-level.expire-time": "1 h"}}, "time-field"),
    ({"options": {"record-level.expire-time": "1 h", "record-level.time-field": "price"}}, "BIGINT"),
    ({"options": {"partition.expiration-time": "1 d"}, "partition_keys": []}, "partition keys"),
    ({"options": {"hosu.changelog-fill": "lookup"}}, "input"),
    (
        {
            "options": {
                "changelog-producer": "input",
                "hosu.changelog-fill": "lookup",
                "merge-engine": "aggregation",
                "aggregation.remove-record-on-delete": "true",
            }
        },
        "leave one of them out",
    ),
    ({"options": {"snapshot.num-retained.min": "5", "snapshot.num-retained.max": "3"}}, "less"),
    ({"options": {"num-levels": "1"}}, "2 at least"),
    ({"options": {"scan.mode": "from-snapshot"}}, "scan.snapshot-id"),
    ({"options": {"scan.mode": "latest", "scan.snapshot-id": "1"}}, "does not go with"),
    ({"options": {"scan.timestamp-millis": "5", "scan.snapshot-id": "1"}}, "scan.snapshot-id"),
    ({"options": {"scan.tag-name": "x", "scan.snapshot-id": "1"}}, "given too"),
    ({"primary_keys": [], "options": {"bucket": "2", "bucket-key": "symbol,symbol"}}, "twice"),
    ({"options": {"merge-engine": "partial-update", "fields.price.sequence-group": " "}}, "one at least"),
    (
        {
            "primary_keys": ["symbol"],
            "partition_keys": [],
            "options": {
                "merge-engine": "partial-update",
                "fields.price.sequence-group": "dt",
                "fields.dt.sequence-group": "tags",
            },
        },
        "'dt' is in several groups",
    ),
    ({"options": {"file.format.per.level": "x:avro"}}, "no level"),
    ({"options": {"file.format.per.level": "0:csv"}}, "hosu writes"),
    ({"options": {"file.compression": "lzo"}}, "files of parquet"),
    ({"options": {"file.format.per.level": "0:avro", "file.compression.per.level": "0:lz4"}}, "files of avro"),
    ({"options": {"changelog-file.format": "orc", "changelog-file.compression": "brotli"}}, "files of orc"),
    ({"options": {"metadata.stats-mode": "most"}}, "truncate"),
    ({"options": {"metadata.stats-mode.per.level": "0:most"}}, "truncate"),
    ({"options": {"fields.price.stats-mode": "most"}}, "fields.price.stats-mode"),
    ({"options": {"fields.price.distinct": "maybe"}}, "fields.price.distinct"),
    ({"options": {"data-file.prefix": "../x"}}, "folder"),
    ({"options": {"changelog-file.prefix": "a\\b"}}, "folder"),
    ({"options": {"sink.watermark-time-zone": "Nowhere"}}, "time zone"),
    ({"options": {"dynamic-bucket.max-buckets": "0"}}, "-1 for no limit"),
    ({"options": {"compaction.offpeak.start.hour": "25"}}, "hour"),
    ({"options": {"tag.creation-period-duration": "0 s"}}, "1 at least"),
    ({"options": {"changelog-producer.row-deduplicate-ignore-fields": "nothing"}}, "nothing"),
]


@pytest.mark.parametrize(("changes", "word"), WRONG, ids=lambda value: value if isinstance(value, str) else "")
def test_a_wrong_table_is_named_with_what_is_wrong_and_not_made(
    memory: Catalog, changes: dict[str, Any], word: str
) -> None:
    before = keys(memory)
    schema = SCHEMA.append(pa.field("tags", pa.map_(pa.string(), pa.string())))

    with pytest.raises(InvalidInputError, match=word) as caught:
        memory.create_table("db.t", schema, **(dict(KEYS) | changes))

    assert caught.value.kind is ErrorKind.TABLE_INVALID
    assert keys(memory) == before


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("TIMESTAMP(9)", {"file.format": "avro"}),
        ("ARRAY<TIMESTAMP(9)>", {"file.format.per.level": "0:avro"}),
        ("ROW<v VARIANT>", {"file.format": "orc"}),
        ("VARIANT", {"changelog-file.format": "orc"}),
        ("STRING", {"manifest.compression": "rar"}),
    ],
)
def test_what_files_of_a_format_do_not_hold_is_refused_before_a_row_is(
    memory: Catalog, kind: str, options: dict[str, str]
) -> None:
    before = keys(memory)
    fields = [DataField(0, "symbol", STRING), DataField(1, "v", parse_type(kind))]
    with pytest.raises(UnsupportedError):
        memory.create_table("db.t", fields, options=options)
    assert keys(memory) == before


def test_ways_of_spreading_rows_that_are_not_written_are_refused_by_name(memory: Catalog) -> None:
    with pytest.raises(UnsupportedError, match="-2"):
        make(memory, options={"bucket": "-2"})
    with pytest.raises(UnsupportedError, match="every partition"):
        make(memory, primary_keys=["symbol"], options={"bucket": "-1"})
    make(memory, primary_keys=["symbol"], options={"bucket": "1"})


@pytest.mark.parametrize(
    ("function", "wrong", "right"),
    [
        ("sum", "STRING", "DECIMAL(10, 2)"),
        ("listagg", "INT", "STRING"),
        ("bool_or", "INT", "BOOLEAN"),
        ("collect", "INT", "ARRAY<INT>"),
        ("merge_map", "ARRAY<INT>", "MAP<STRING, INT>"),
        ("nested_update", "ARRAY<INT>", "ARRAY<ROW<k INT, v INT>>"),
        ("rbm32", "STRING", "BYTES"),
        ("max", "MAP<STRING, INT>", "TIMESTAMP(3)"),
    ],
)
def test_an_aggregator_takes_columns_of_its_types(memory: Catalog, function: str, wrong: str, right: str) -> None:
    def create(sql: str) -> None:
        columns = [DataField(0, "k", parse_type("INT")), DataField(1, "v", parse_type(sql))]
        options = {"bucket": "1", "merge-engine": "aggregation", "fields.v.aggregate-function": function}
        memory.create_table("db.t", columns, primary_keys=["k"], options=options)

    with pytest.raises(InvalidInputError, match=f"'v' is .*'{function}'"):
        create(wrong)
    create(right)


@pytest.mark.parametrize("function", ["hll_sketch", "theta_sketch", "rbm64"])
def test_aggregators_that_hosu_does_not_have_are_refused_by_name(memory: Catalog, function: str) -> None:
    with pytest.raises(UnsupportedError, match=function):
        make(
            memory, options={"bucket": "1", "merge-engine": "aggregation", "fields.price.aggregate-function": function}
        )


@pytest.mark.parametrize(
    "columns",
    [
        [],
        [("a", "INT"), ("a", "INT")],
        [("_SEQUENCE_NUMBER", "INT")],
        [("_KEY_a", "INT")],
        [("", "INT")],
        [("a ", "INT")],
        [("a\ud800", "INT")],
    ],
)
def test_wrong_columns_are_named_and_the_table_not_made(memory: Catalog, columns: list[tuple[str, str]]) -> None:
    with pytest.raises(InvalidInputError):
        memory.create_table("db.t", [DataField(0, name, parse_type(sql)) for name, sql in columns])
    assert memory.tables("db") == []


@pytest.mark.parametrize("zone", [None, "UTC"])
def test_partitions_finer_than_a_microsecond_are_refused_by_name(memory: Catalog, zone: str | None) -> None:
    def schema_of(unit: str) -> pa.Schema:
        return pa.schema([pa.field("id", pa.int64(), nullable=False), ("at", pa.timestamp(unit, zone))])

    with pytest.raises(UnsupportedError, match=r"partition key 'at' .*\(9\).*use TIMESTAMP.*\(6\)"):
        memory.create_table("db.t", schema_of("ns"), partition_keys=["at"])
    memory.create_table("db.t", schema_of("us"), partition_keys=["at"])


def test_columns_of_types_that_no_table_has_are_refused_by_name(memory: Catalog) -> None:
    with pytest.raises(UnsupportedError, match="duration"):
        memory.create_table("db.t", pa.schema([("a", pa.duration("s"))]))


def lose(_: Any) -> None:
    raise UnavailableError(ErrorKind.STORE_UNAVAILABLE, "nobody there")


@pytest.mark.parametrize(
    "call",
    [
        lambda catalog: catalog.databases(),
        lambda catalog: catalog.open("db.t"),
        lambda catalog: catalog.create_table("db.u", SCHEMA),
    ],
)
def test_a_store_that_is_away_is_an_error_and_no_empty_catalog(
    memory: Catalog, monkeypatch: pytest.MonkeyPatch, call: Callable[[Catalog], object]
) -> None:
    make(memory)
    monkeypatch.setattr(memory.files, "list", lambda *_, **__: lose(_))

    with pytest.raises(UnavailableError):
        call(memory)
