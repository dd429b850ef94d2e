"""Schemas: the text of their files, what older ones leave out, and how they are stored."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hosu.kernel.errors import (
    ConflictError,
    CorruptError,
    ErrorKind,
    HosuError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
)
from hosu.kernel.fileio import FileStat, MemoryFileIO
from hosu.tables.layout import Layout
from hosu.tables.schemas import DROPPED, Schemas, TableSchema
from hosu.tables.types import DataField, parse_type

PIECES = [
    b"",
    b"0",
    b'"',
    b"{",
    b"[",
    b"null",
    b"-1",
    b"1e999",
    b"9" * 5000,
    b"\\ud800",
    b"\xff",
    b"NOT NULL",
    b"ROW",
    b",",
]
LAYOUT = Layout("wh/db.db/t")
FIELDS = (
    DataField(0, "a", parse_type("INT NOT NULL"), 'say "é"'),
    DataField(1, "r", parse_type({"type": "ROW", "fields": [{"id": 2, "name": "x", "type": "STRING"}]})),
    DataField(3, "p", parse_type("STRING NOT NULL"), default_value="x"),
)
SCHEMA = TableSchema(
    id=0,
    fields=FIELDS,
    highest_field_id=3,
    partition_keys=("p",),
    primary_keys=("a", "p"),
    options={"bucket": "4"},
    comment="c",
    time_millis=5,
)
JAVA_TEXT = """{
  "version" : 3,
  "id" : 0,
  "fields" : [ {
    "id" : 0,
    "name" : "a",
    "type" : "INT NOT NULL",
    "description" : "say \\"é\\""
  }, {
    "id" : 1,
    "name" : "r",
    "type" : {
      "type" : "ROW",
      "fields" : [ {
        "id" : 2,
        "name" : "x",
        "type" : "STRING"
      } ]
    }
  }, {
    "id" : 3,
    "name" : "p",
    "type" : "STRING NOT NULL",
    "defaultValue" : "x"
  } ],
  "highestFieldId" : 3,
  "partitionKeys" : [ "p" ],
  "primaryKeys" : [ "a", "p" ],
  "options" : {
    "bucket" : "4"
  },
  "comment" : "c",
  "timeMillis" : 5
}"""


def test_the_text_is_what_java_writes_byte_for_byte() -> None:
    assert SCHEMA.to_json() == JAVA_TEXT
    assert TableSchema.from_json(JAVA_TEXT, "x") == SCHEMA


def test_empty_lists_and_options_are_written_as_java_writes_them() -> None:
    text = TableSchema(id=0, fields=FIELDS[:1], highest_field_id=0).to_json()

    assert '"partitionKeys" : [ ],\n  "primaryKeys" : [ ],\n  "options" : { },\n  "timeMillis" : 0' in text


def test_keys_and_their_columns_are_known() -> None:
    assert SCHEMA.trimmed_keys == ("a",)
    assert SCHEMA.bucket_keys == ("a",)
    assert [field.name for field in SCHEMA.key_fields] == ["a"]
    assert [field.name for field in SCHEMA.partition_fields] == ["p"]
    assert SCHEMA.is_primary_key_table
    assert not SCHEMA.is_cross_partition
    assert SCHEMA.arrow.names == ["a", "r", "p"]


@pytest.mark.parametrize(
    ("version", "options"),
    [
        (None, {"bucket": "1", "file.format": "orc"}),
        (1, {"bucket": "1", "file.format": "orc"}),
        (2, {"file.format": "orc"}),
        (3, {}),
    ],
)
def test_what_older_schemas_leave_out_is_read_as_it_was_meant_then(
    version: int | None, options: dict[str, str]
) -> None:
    document = json.loads(JAVA_TEXT) | {"options": {}, "version": version}
    if version is None:
        del document["version"]

    assert TableSchema.from_json(json.dumps(document), "x").options == options


def test_what_an_older_schema_says_counts_before_the_old_default() -> None:
    document = json.loads(JAVA_TEXT) | {"version": 1, "options": {"file.format": "avro", "bucket": "7"}}

    assert TableSchema.from_json(json.dumps(document), "x").options == {"file.format": "avro", "bucket": "7"}


def test_unknown_members_of_a_schema_are_passed_over() -> None:
    document = json.loads(JAVA_TEXT) | {"new": [1]}

    assert TableSchema.from_json(json.dumps(document), "x") == SCHEMA


def test_a_schema_of_a_later_version_is_refused_with_its_path() -> None:
    document = json.loads(JAVA_TEXT) | {"version": 4}

    with pytest.raises(UnsupportedError, match=r"wh/schema-0: .*version 4"):
        TableSchema.from_json(json.dumps(document), "wh/schema-0")


def test_a_schema_with_a_refused_type_is_refused_with_its_path() -> None:
    with pytest.raises(UnsupportedError, match=r"wh/schema-0: .*BLOB"):
        TableSchema.from_json(JAVA_TEXT.replace('"INT NOT NULL"', '"BLOB"'), "wh/schema-0")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[: len(text) // 2],
        lambda _: "",
        lambda _: "[]",
        lambda _: "\x00\xff",
        lambda text: text.replace('"INT NOT NULL"', '"WORD"'),
        lambda text: text.replace('"id" : 3,', '"id" : 0,'),
        lambda text: text.replace('"name" : "r"', '"name" : "a"'),
        lambda text: text.replace('[ "p" ]', '[ "q" ]'),
        lambda text: text.replace('[ "p" ]', '"p"'),
        lambda text: text.replace('"highestFieldId" : 3', '"highestFieldId" : null'),
        lambda text: text.replace('"bucket" : "4"', '"bucket" : 4'),
        lambda text: text.replace('"fields" : [ {', '"fields" : [ 1, {', 1),
        lambda text: text.replace('"INT NOT NULL"', "[" * 5000 + "]" * 5000),
    ],
)
def test_what_is_no_schema_is_corrupt_and_named_by_its_path(spoil: Callable[[str], str]) -> None:
    with pytest.raises(CorruptError, match="wh/schema-0") as caught:
        TableSchema.from_json(spoil(JAVA_TEXT), "wh/schema-0")

    assert caught.value.kind is ErrorKind.CORRUPT_TABLE


@settings(deadline=None)
@given(st.data())
def test_whatever_is_wrong_with_a_file_is_an_error_with_its_path(data: st.DataObject) -> None:
    text = JAVA_TEXT.encode()
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        end = min(len(text), at + data.draw(st.integers(0, 8)))
        text = text[:at] + data.draw(st.sampled_from(PIECES)) + text[end:]

    found: TableSchema | HosuError
    try:
        found = TableSchema.from_json(text, "wh/schema-0")
    except HosuError as error:
        found = error

    if isinstance(found, TableSchema):
        assert TableSchema.from_json(found.to_json(), "again") == found
    else:
        assert isinstance(found, CorruptError | UnsupportedError)
        assert "wh/schema-0" in found.message


def test_bytes_that_are_no_text_are_corrupt() -> None:
    with pytest.raises(CorruptError, match="wh/schema-0"):
        TableSchema.from_json(b"\xff\xfe\xfa{", "wh/schema-0")


def test_schemas_are_listed_by_number_and_read_once() -> None:
    files = MemoryFileIO()
    for schema_id in (0, 2, 10):
        text = JAVA_TEXT.replace('"id" : 0,\n  "fields"', f'"id" : {schema_id},\n  "fields"')
        files.put(LAYOUT.schema(schema_id), text.encode())
    files.put(LAYOUT.schemas + "schema-x", b"")
    files.put(LAYOUT.schemas + "schema-1.tmp", b"")
    schemas = Schemas(files, LAYOUT)

    assert schemas.ids() == [0, 2, 10]
    assert (latest := schemas.latest()) is not None
    assert latest.id == 10
    files.delete_many([LAYOUT.schema(10)])
    assert schemas.get(10) is latest


def test_another_table_in_the_place_of_one_that_was_known_is_seen() -> None:
    files = MemoryFileIO()
    replaced: list[bool] = []
    schemas = Schemas(files, LAYOUT, lambda: replaced.append(True))
    schemas.commit(SCHEMA)
    assert schemas.latest() == SCHEMA
    Schemas(files, LAYOUT).change(lambda old: next_of(old, more="1"))
    assert (latest := schemas.latest()) is not None
    assert (latest.id, replaced) == (1, [])
    files.delete_many([LAYOUT.schema(0), LAYOUT.schema(1)])
    other = TableSchema(id=0, fields=FIELDS[:1], highest_field_id=0)
    Schemas(files, LAYOUT).commit(other)

    assert schemas.latest() == other
    assert schemas.get(0) == other
    assert replaced == [True]
    assert schemas.latest() == other
    assert replaced == [True]


def test_a_schema_that_is_gone_or_under_a_wrong_number_is_corrupt() -> None:
    files = MemoryFileIO()
    files.put(LAYOUT.schema(1), JAVA_TEXT.encode())

    with pytest.raises(CorruptError, match=r"schema-0 is gone"):
        Schemas(files, LAYOUT).get(0)
    with pytest.raises(CorruptError, match="its id is 0"):
        Schemas(files, LAYOUT).get(1)


def test_of_two_that_take_a_number_one_gets_it() -> None:
    files = MemoryFileIO()
    Schemas(files, LAYOUT).commit(SCHEMA)

    with pytest.raises(ConflictError) as caught:
        Schemas(files, LAYOUT).commit(TableSchema(id=0, fields=FIELDS, highest_field_id=3, time_millis=6))

    assert caught.value.kind is ErrorKind.COMMIT_CONFLICT
    assert Schemas(files, LAYOUT).get(0) == SCHEMA


class LosesAnswers(MemoryFileIO):
    """Puts, and then says that it could not tell."""

    def _put(self, key: str, view: memoryview, *, if_absent: bool, if_match: str | None) -> FileStat:
        super()._put(key, view, if_absent=if_absent, if_match=if_match)
        raise UnavailableError(ErrorKind.STORE_UNAVAILABLE, "the answer was lost")


class Unreachable(MemoryFileIO):
    """Puts nothing."""

    def _put(self, key: str, view: memoryview, *, if_absent: bool, if_match: str | None) -> FileStat:  # noqa: ARG002
        raise UnavailableError(ErrorKind.STORE_UNAVAILABLE, "nobody there")


def test_a_put_whose_answer_was_lost_is_known_for_done() -> None:
    files = LosesAnswers()

    Schemas(files, LAYOUT).commit(SCHEMA)

    assert Schemas(files, LAYOUT).get(0) == SCHEMA
    with pytest.raises(UnavailableError):
        Schemas(Unreachable(), LAYOUT).commit(SCHEMA)


def next_of(old: TableSchema, **options: str) -> TableSchema:
    return TableSchema.from_json(
        json.dumps(json.loads(old.to_json()) | {"id": old.id + 1, "options": dict(old.options) | options}), "x"
    )


def test_a_change_that_others_came_before_is_made_upon_theirs() -> None:
    files = MemoryFileIO()
    mine, theirs = Schemas(files, LAYOUT), Schemas(files, LAYOUT)
    mine.commit(SCHEMA)
    seen: list[int] = []

    def change(old: TableSchema) -> TableSchema:
        seen.append(old.id)
        if len(seen) < 3:
            theirs.change(lambda other: next_of(other, **{f"their{len(seen)}": "1"}))
        return next_of(old, mine="1")

    found = mine.change(change)

    assert seen == [0, 1, 2]
    assert found.id == 3
    assert Schemas(files, LAYOUT).get(3).options == {"bucket": "4", "their1": "1", "their2": "1", "mine": "1"}


def test_a_change_of_nothing_stores_nothing() -> None:
    schemas = Schemas(MemoryFileIO(), LAYOUT)
    schemas.commit(SCHEMA)

    assert schemas.change(lambda old: old) == SCHEMA
    assert schemas.ids() == [0]


def test_a_table_being_dropped_has_no_schemas() -> None:
    files = MemoryFileIO()
    schemas = Schemas(files, LAYOUT)
    schemas.commit(SCHEMA)
    files.put(LAYOUT.schemas + DROPPED, b"")

    assert schemas.ids() == []
    assert schemas.latest() is None
    with pytest.raises(NotFoundError):
        schemas.change(lambda old: old)


def test_schemas_of_a_branch_are_its_own() -> None:
    files = MemoryFileIO()
    branch = Schemas(files, Layout("wh/db.db/t", branch="b"))
    branch.commit(SCHEMA)

    assert branch.ids() == [0]
    assert Schemas(files, LAYOUT).ids() == []
    entries: list[Any] = list(files.list("wh/db.db/t/branch/branch-b/schema/"))
    assert [entry.key for entry in entries] == ["wh/db.db/t/branch/branch-b/schema/schema-0"]
