"""Paimon for Java reads the schemas that hosu makes, and hosu knows every option and aggregator that Java has."""

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from py4j.protocol import Py4JJavaError
from tests.support.flink import Flink, require_flink

from hosu.tables.aggregators import AGGREGATORS
from hosu.tables.creation import new_schema
from hosu.tables.evolution import AddColumn, RenameColumn, SetOption, UpdateType, apply_changes
from hosu.tables.optionregistry import Status, canonical_key, registry
from hosu.tables.schemas import TableSchema
from hosu.tables.types import STRING, DataField, parse_type
from hosu.tables.validation import IMMUTABLE_OPTIONS

pytestmark = [pytest.mark.needs("java"), pytest.mark.timeout(300)]

TYPES = """BOOLEAN|TINYINT|SMALLINT|INT|BIGINT|FLOAT|DOUBLE|DECIMAL(38, 18)|CHAR(3)|VARCHAR(5)|STRING|BINARY(3)
    |VARBINARY(5)|BYTES|DATE|TIME(3)|TIMESTAMP(0)|TIMESTAMP(9)|TIMESTAMP(3) WITH LOCAL TIME ZONE|VARIANT
    |ARRAY<INT NOT NULL>|MAP<STRING, ARRAY<ROW<`a` INT, `b c` STRING>>>|MULTISET<STRING>|ROW<`x` ROW<`y` BYTES>>"""
COLUMNS = [
    DataField(0, "k", parse_type("INT")),
    DataField(0, "p", parse_type("STRING"), "where it lies"),
    *(DataField(0, f"c{place}", parse_type(sql.strip())) for place, sql in enumerate(TYPES.split("|"))),
]
OPTIONS: list[dict[str, str]] = [
    {"bucket": "4"},
    {"bucket": "-1"},
    {"bucket": "2", "bucket-key": "k", "changelog-producer": "input", "hosu.changelog-fill": "lookup"},
    {"bucket": "1", "merge-engine": "first-row", "changelog-producer": "lookup"},
    {"bucket": "1", "merge-engine": "aggregation", "fields.c3.aggregate-function": "sum"},
    {
        "bucket": "1",
        "merge-engine": "partial-update",
        "fields.c3,c4.sequence-group": "c5,c10",
        "fields.c10.aggregate-function": "listagg",
        "partial-update.remove-record-on-sequence-group": "c3",
    },
    {"bucket": "1", "deletion-vectors.enabled": "true", "sequence.field": "c16"},
    {"bucket": "1", "changelog-producer": "full-compaction", "full-compaction.delta-commits": "1"},
    {"bucket": "1", "record-level.expire-time": "1 h", "record-level.time-field": "c4"},
]


@pytest.fixture(scope="module")
def jvm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    require_flink()
    with Flink(tmp_path_factory.mktemp("java")) as flink:
        yield flink._java
        # Objects of Java say goodbye to it when they are collected, which must be before it ends.
        gc.collect()


@pytest.fixture
def java(jvm: Any) -> Any:
    return jvm.org.apache.paimon


def make(options: dict[str, str]) -> TableSchema:
    return new_schema(
        COLUMNS, partition_keys=["p"], primary_keys=["p", "k"], options=options, comment="all sorts", time_millis=7
    )


def read_by(java: Any, schema: TableSchema) -> str:
    """Return the schema as Java writes it after reading and checking it."""
    read = java.schema.TableSchema.fromJson(schema.to_json())
    java.schema.SchemaValidation.validateTableSchema(read)
    return str(read.toString())


@pytest.mark.parametrize("options", OPTIONS, ids=",".join)
def test_java_reads_and_accepts_what_hosu_makes(java: Any, options: dict[str, str]) -> None:
    schema = make(options)

    assert TableSchema.from_json(read_by(java, schema), "java") == schema


def test_the_bytes_are_those_of_java(java: Any) -> None:
    schema = make({"bucket": "4"})

    assert read_by(java, schema) == schema.to_json()


def test_java_reads_a_schema_that_was_changed(java: Any) -> None:
    schema = apply_changes(
        make({"bucket": "4"}),
        [
            AddColumn("n", STRING, "new", default="none", after="k"),
            RenameColumn("c3", "number"),
            UpdateType("number", parse_type("BIGINT")),
            AddColumn(("c21", "value", "element", "z"), parse_type("TIME(3)")),
            SetOption("snapshot.time-retained", "3 h"),
        ],
    )

    assert TableSchema.from_json(read_by(java, schema), "java") == schema


def test_java_refuses_what_hosu_refuses(java: Any) -> None:
    broken = TableSchema(id=0, fields=make({}).fields, highest_field_id=40, options={"bucket": "0"})

    with pytest.raises(Py4JJavaError):
        read_by(java, broken)


@pytest.mark.parametrize("name", ["CoreOptions", "flink.FlinkConnectorOptions"])
def test_every_option_of_java_is_in_the_registry_under_all_its_keys(java: Any, name: str) -> None:
    declared = java.flink.FlinkConnectorOptions if name.startswith("flink") else java.CoreOptions
    options = list(declared.getOptions())

    assert len(options) > 50
    for option in options:
        key = str(option.key())
        assert key in registry(), key
        for older in option.fallbackKeys():
            if older.getKey() not in registry():
                assert canonical_key(older.getKey()) == key


def test_what_java_keeps_fixed_is_fixed_or_refused_here(java: Any) -> None:
    fixed = {str(key) for key in java.CoreOptions.IMMUTABLE_OPTIONS}

    assert {key for key in fixed if registry()[key].status is not Status.REFUSED} <= IMMUTABLE_OPTIONS
    assert fixed >= IMMUTABLE_OPTIONS


def test_every_aggregator_of_java_is_known(jvm: Any) -> None:
    find = jvm.java.lang.Class.forName
    aggregators = find("org.apache.paimon.mergetree.compact.aggregate.factory.FieldAggregatorFactory")
    factories = jvm.java.util.ServiceLoader.load(find("org.apache.paimon.factories.Factory")).iterator()

    found = set()
    while factories.hasNext():
        factory = factories.next()
        if aggregators.isInstance(factory):
            found.add(str(factory.identifier()))

    assert found == set(AGGREGATORS)
