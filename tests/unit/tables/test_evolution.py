"""Changes of a schema: what they make of it, and what rows that are there do not bear."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from hosu.kernel.errors import HosuError, InvalidInputError, UnsupportedError
from hosu.tables.creation import new_schema
from hosu.tables.evolution import (
    AddColumn,
    DropColumn,
    MoveColumn,
    RemoveOption,
    RenameColumn,
    SchemaChange,
    SetOption,
    UpdateComment,
    UpdateDefault,
    UpdateNullability,
    UpdateTableComment,
    UpdateType,
    apply_changes,
)
from hosu.tables.schemas import TableSchema
from hosu.tables.types import STRING, DataField, parse_type
from hosu.tables.widening import casts, widens

INT = parse_type("INT")
BIGINT = parse_type("BIGINT")


def table(**options: str) -> TableSchema:
    columns = {
        "id": "BIGINT",
        "dt": "STRING",
        "v": "INT",
        "price": "DECIMAL(10, 2)",
        "r": "ROW<x INT, y STRING>",
        "l": "ARRAY<ROW<z INT>>",
        "m": "MAP<STRING, SMALLINT>",
    }
    return new_schema(
        [DataField(0, name, parse_type(sql)) for name, sql in columns.items()],
        partition_keys=["dt"],
        primary_keys=["id", "dt"],
        options={"bucket": "2"} | options,
        time_millis=1,
    )


def change(*changes: SchemaChange, **options: str) -> TableSchema:
    return apply_changes(table(**options), changes, time_millis=9)


def test_a_change_makes_the_next_schema_and_leaves_the_old_one_alone() -> None:
    old = table()

    new = apply_changes(old, [AddColumn("n", STRING, "a comment")], time_millis=9)

    assert (new.id, new.time_millis) == (1, 9)
    assert new.names == (*old.names, "n")
    assert new.field("n").id == old.highest_field_id + 1 == new.highest_field_id
    assert new.field("n").description == "a comment"
    assert old == table()


def test_changes_that_change_nothing_make_no_schema() -> None:
    old = table()

    assert apply_changes(old, []) is old
    assert apply_changes(old, [SetOption("bucket", "2"), UpdateComment("v", None), RemoveOption("write-only")]) is old


@pytest.mark.parametrize(
    ("added", "names"),
    [
        (AddColumn("n", INT, first=True), ["n", "id", "dt", "v"]),
        (AddColumn("n", INT, after="id"), ["id", "n", "dt", "v"]),
        (AddColumn("n", INT, before="v"), ["id", "dt", "n", "v"]),
    ],
)
def test_a_column_is_added_where_it_was_asked_for(added: AddColumn, names: list[str]) -> None:
    assert list(change(added).names[:4]) == names


def test_a_column_goes_before_the_partition_keys_where_the_table_says_so() -> None:
    assert change(AddColumn("n", INT), **{"add-column-before-partition": "true"}).names[:3] == ("id", "n", "dt")


def test_ids_are_never_used_again() -> None:
    old = table()
    dropped = apply_changes(old, [AddColumn("n", parse_type("ROW<a INT>")), DropColumn("n")])

    again = apply_changes(dropped, [AddColumn("n", parse_type("ROW<a INT>"))])

    assert dropped.highest_field_id == old.highest_field_id + 2
    assert again.field("n").id == old.highest_field_id + 3
    assert again.field("n").type.fields[0].id == old.highest_field_id + 4


def test_a_renamed_column_keeps_its_id_and_options_follow() -> None:
    new = change(
        RenameColumn("v", "w"),
        **{
            "merge-engine": "partial-update",
            "fields.v.stats-mode": "full",
            "fields.v.sequence-group": "price,r",
            "fields.price.aggregate-function": "sum",
        },
    )

    assert new.field("w").id == table().field("v").id
    assert new.options == {
        "bucket": "2",
        "merge-engine": "partial-update",
        "fields.w.stats-mode": "full",
        "fields.w.sequence-group": "price,r",
        "fields.price.aggregate-function": "sum",
    }


def test_a_renamed_key_stays_the_key() -> None:
    new = change(RenameColumn("id", "key"), **{"bucket-key": "id"})

    assert new.primary_keys == ("key", "dt")
    assert new.options["bucket-key"] == "key"


def test_a_renamed_sequence_field_stays_the_sequence_field() -> None:
    assert change(RenameColumn("v", "w"), **{"sequence.field": "v,price"}).options["sequence.field"] == "w,price"


def test_columns_move() -> None:
    assert change(MoveColumn("v", first=True)).names[:3] == ("v", "id", "dt")
    assert change(MoveColumn("id", last=True)).names[-1] == "id"
    assert change(MoveColumn("id", after="v")).names[:3] == ("dt", "v", "id")
    assert change(MoveColumn("v", before="dt")).names[:3] == ("id", "v", "dt")


def test_parts_of_nested_columns_change_by_their_paths() -> None:
    new = change(
        AddColumn(("r", "n"), INT, first=True),
        RenameColumn(("r", "y"), "why"),
        UpdateType(("r", "x"), BIGINT),
        AddColumn(("l", "element", "k"), STRING),
        DropColumn(("l", "element", "z")),
        UpdateType(("m", "value"), INT),
    )

    assert str(new.field("r").type) == "ROW<`n` INT, `x` BIGINT, `why` STRING>"
    assert str(new.field("l").type) == "ARRAY<ROW<`k` STRING>>"
    assert str(new.field("m").type) == "MAP<STRING, INT>"
    assert [field.id for field in new.field("r").type.fields][1:] == [
        field.id for field in table().field("r").type.fields
    ]


def test_comments_and_defaults_change() -> None:
    new = change(UpdateComment("v", "how many"), UpdateDefault("v", "7"), UpdateTableComment("ticks"))

    assert (new.field("v").description, new.field("v").default_value, new.comment) == ("how many", "7", "ticks")
    assert apply_changes(new, [UpdateDefault("v", None)]).field("v").default_value is None


def test_a_column_may_hold_null_again_but_not_be_forbidden_to() -> None:
    with pytest.raises(UnsupportedError, match=r"alter-column-null-to-not-null\.disabled"):
        change(UpdateNullability("v", nullable=False))

    allowed = change(
        SetOption("alter-column-null-to-not-null.disabled", "false"),
    )
    strict = apply_changes(allowed, [UpdateNullability("v", nullable=False)])
    assert not strict.field("v").type.nullable
    assert apply_changes(strict, [UpdateNullability("v", nullable=True)]).field("v").type.nullable


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("TINYINT", "BIGINT"),
        ("INT", "DOUBLE"),
        ("SMALLINT", "FLOAT"),
        ("INT", "DECIMAL(12, 2)"),
        ("BIGINT", "STRING"),
        ("FLOAT", "DOUBLE"),
        ("DECIMAL(10, 2)", "DECIMAL(12, 4)"),
        ("CHAR(3)", "VARCHAR(3)"),
        ("VARCHAR(3)", "STRING"),
        ("BINARY(3)", "BYTES"),
        ("DATE", "TIMESTAMP(0)"),
        ("TIMESTAMP(3)", "TIMESTAMP(6)"),
    ],
)
def test_wider_types_are_taken(old: str, new: str) -> None:
    schema = apply_changes(table(), [AddColumn("n", parse_type(old))])

    assert apply_changes(schema, [UpdateType("n", parse_type(new))]).field("n").type == parse_type(new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("BIGINT", "INT"),
        ("BIGINT", "DOUBLE"),
        ("INT", "FLOAT"),
        ("DOUBLE", "FLOAT"),
        ("INT", "DECIMAL(10, 2)"),
        ("DECIMAL(10, 2)", "DECIMAL(12, 1)"),
        ("DECIMAL(10, 2)", "DECIMAL(10, 4)"),
        ("STRING", "VARCHAR(5)"),
        ("STRING", "INT"),
        ("TIMESTAMP(6)", "TIMESTAMP(3)"),
        ("TIMESTAMP(3)", "TIMESTAMP_LTZ(3)"),
        ("TIMESTAMP(3)", "DATE"),
    ],
)
def test_types_that_would_cut_values_are_taken_only_when_the_table_says_so(old: str, new: str) -> None:
    schema = apply_changes(table(), [AddColumn("n", parse_type(old))])

    with pytest.raises(UnsupportedError, match="disable-explicit-type-casting"):
        apply_changes(schema, [UpdateType("n", parse_type(new))])
    cut = apply_changes(schema, [SetOption("disable-explicit-type-casting", "false"), UpdateType("n", parse_type(new))])
    assert cut.field("n").type == parse_type(new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("BOOLEAN", "DATE"),
        ("BYTES", "INT"),
        ("INT", "ARRAY<INT>"),
        ("ARRAY<INT>", "ARRAY<BIGINT>"),
        ("VARIANT", "INT"),
        ("TIME(0)", "TIME(3)"),
        ("TIME(3)", "TIME(0)"),
        ("DATE", "VARCHAR(10)"),
        ("TIME(3)", "CHAR(12)"),
        ("TIMESTAMP(3)", "VARCHAR(30)"),
    ],
)
def test_types_without_a_cast_are_refused(old: str, new: str) -> None:
    schema = apply_changes(table(), [AddColumn("n", parse_type(old))])

    with pytest.raises(UnsupportedError, match="cannot become"):
        apply_changes(schema, [SetOption("disable-explicit-type-casting", "false"), UpdateType("n", parse_type(new))])


TYPES = """TINYINT SMALLINT INT BIGINT FLOAT DOUBLE BOOLEAN DATE STRING BYTES CHAR(5) BINARY(5) VARCHAR(30)
    DECIMAL(5,2) DECIMAL(38,10) TIME(3) TIMESTAMP(3) TIMESTAMP(9) TIMESTAMP_LTZ(3) VARIANT"""


def test_a_type_that_widens_is_one_that_casts() -> None:
    types = [parse_type(sql) for sql in TYPES.split()]

    for old in types:
        assert widens(old, old)
        for new in types:
            assert not widens(old, new) or casts(old, new)
            assert old == new or not (widens(old, new) and widens(new, old))


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ([DropColumn("dt")], "partition key"),
        ([DropColumn("id")], "primary key"),
        ([RenameColumn("dt", "day")], "partition key"),
        ([UpdateType("id", STRING)], "primary key"),
        ([UpdateType("dt", STRING)], "partition key"),
        ([UpdateNullability("id", nullable=True)], "primary key"),
        ([AddColumn("n", parse_type("INT NOT NULL"))], "NOT NULL"),
        ([DropColumn(("l", "element", "z"))], "last"),
        ([SetOption("merge-engine", "aggregation")], "merge-engine"),
        ([SetOption("bucket", "-1")], "bucket"),
        ([RemoveOption("bucket")], "bucket"),
        ([SetOption("deletion-vectors.enabled", "true")], "deletion-vectors"),
        ([SetOption("partition.default-name", "nowhere")], "partition.default-name"),
        ([SetOption("row-tracking.enabled", "true")], "row-tracking"),
        ([SetOption("unheard-of", "true")], "unheard-of"),
    ],
)
def test_what_rows_do_not_bear_is_refused_by_name(changes: Sequence[SchemaChange], word: str) -> None:
    with pytest.raises(UnsupportedError, match=word):
        change(*changes)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ([AddColumn("v", INT)], "'v'"),
        ([AddColumn("_KEY_x", INT)], "_KEY_x"),
        ([AddColumn("n", INT, default="x")], "default"),
        ([AddColumn("n", INT, after="nothing")], "nothing"),
        ([AddColumn("n", INT, first=True, after="v")], "one place"),
        ([AddColumn(("v", "x"), INT)], "no part"),
        ([AddColumn(("m", "element"), INT)], "'value'"),
        ([AddColumn(("m", "value"), INT)], "'value'|of this name"),
        ([AddColumn("", INT)], "empty"),
        ([RenameColumn("v", "price")], "price"),
        ([RenameColumn("nothing", "x")], "nothing"),
        ([RenameColumn(("m", "value"), "x")], "no name"),
        ([DropColumn("nothing")], "nothing"),
        ([DropColumn(("m", "value"))], "dropped"),
        ([UpdateDefault("v", "x")], "default"),
        ([MoveColumn("v")], "one place"),
        ([MoveColumn("v", after="v")], "beside itself"),
        ([SetOption("sequence.field", "nothing")], "nothing"),
        ([SetOption("bucket", "many")], "bucket"),
        ([SetOption("snapshot.num-retained.min", "0")], "1 at least"),
        ([SetOption("sequence.field", "v"), DropColumn("v")], "sequence.field"),
    ],
)
def test_a_wrong_change_is_named_with_what_is_wrong(changes: Sequence[SchemaChange], word: str) -> None:
    with pytest.raises(InvalidInputError, match=word):
        change(*changes)


def test_options_that_rows_depend_on_may_change_before_there_are_any() -> None:
    new = apply_changes(
        table(), [SetOption("merge-engine", "aggregation"), SetOption("bucket", "-1")], has_snapshots=False
    )

    assert new.options == {"bucket": "-1", "merge-engine": "aggregation"}


def test_an_option_under_an_older_key_takes_the_place_of_the_present_one() -> None:
    old = apply_changes(table(), [SetOption("write.compaction-skip", "true")])

    new = apply_changes(old, [SetOption("write-only", "false")])

    assert new.options == {"bucket": "2", "write-only": "false"}


def test_the_number_of_buckets_changes_between_fixed_numbers() -> None:
    assert change(SetOption("bucket", "8")).options["bucket"] == "8"


def test_an_option_that_passes_rows_over_is_not_taken_back() -> None:
    with pytest.raises(UnsupportedError, match="ignore-delete"):
        change(SetOption("ignore-delete", "false"), **{"ignore-delete": "true"})


def test_of_several_changes_all_are_made_or_none() -> None:
    old = table()

    with pytest.raises(HosuError):
        apply_changes(old, [AddColumn("n", INT), DropColumn("id")])
    assert old == table()


@pytest.mark.parametrize("has_snapshots", [True, False])
@pytest.mark.parametrize("option", ["primary-key", "partition", "path"])
def test_what_a_table_is_cannot_be_changed_by_an_option(option: str, has_snapshots: bool) -> None:  # noqa: FBT001 - a parameter
    with pytest.raises(UnsupportedError, match=option):
        apply_changes(table(), [SetOption(option, "v")], has_snapshots=has_snapshots)


@pytest.mark.parametrize("change", ["DROP COLUMN v", [DropColumn("v")], None])
def test_what_is_no_change_is_refused(change: Any) -> None:
    with pytest.raises(InvalidInputError, match="is no change of a schema"):
        apply_changes(table(), [change])


def test_types_may_be_given_as_text() -> None:
    changed = apply_changes(table(), [AddColumn("more", "INT"), UpdateType("more", "BIGINT")])
    assert str(changed.field("more").type) == "BIGINT"


def test_files_hold_what_a_change_adds_where_they_held_all_before() -> None:
    orc = apply_changes(table(), [SetOption("file.format", "orc")])

    with pytest.raises(UnsupportedError, match="ORC files with"):
        apply_changes(orc, [AddColumn("odd", "VARIANT")])
    with pytest.raises(UnsupportedError, match="ORC files with"):
        apply_changes(apply_changes(table(), [AddColumn("odd", "VARIANT")]), [SetOption("file.format", "orc")])
    foreign = replace(orc, fields=(*orc.fields, DataField(99, "odd", parse_type("VARIANT"))))
    assert apply_changes(foreign, [UpdateTableComment("read alone")]).comment == "read alone"
