"""Options: read as Paimon reads them, and refused by name where hosu does not have them."""

import pytest

from hosu.kernel.errors import ErrorKind, InvalidInputError, UnsupportedError
from hosu.kernel.limits import GIB, KIB, MIB
from hosu.tables.optionregistry import Status, check_options, registry
from hosu.tables.options import ChangelogProducer, MergeEngine, Options
from hosu.tables.optionvalues import parse_duration_ms, parse_size_bytes
from hosu.tables.upkeep.retention import changelogs_stay


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 h", 3_600_000),
        ("2d", 172_800_000),
        (" 5 MIN ", 300_000),
        ("7 s", 7_000),
        ("12", 12),
        ("3 millis", 3),
        ("1500 micros", 1),
        ("2000000 ns", 2),
        ("0 ms", 0),
    ],
)
def test_durations_are_read_with_and_without_units(text: str, expected: int) -> None:
    assert parse_duration_ms(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("128 mb", 128 * MIB), ("1g", GIB), ("64 KB", 64 * KIB), ("500 bytes", 500), ("17", 17), ("2 tb", 2048 * GIB)],
)
def test_sizes_are_read_with_and_without_units(text: str, expected: int) -> None:
    assert parse_size_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "h", "1 fortnight", "-1 s", "1.5 h", "1 h 3 min"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"unit|number"):
        parse_duration_ms(text)


@pytest.mark.parametrize("text", ["", "mb", "1 pb", "9999999999 tb", "1.5 mb"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"unit|number|64 bits"):
        parse_size_bytes(text)


def test_defaults_are_paimons() -> None:
    options = Options({})

    assert options.bucket == -1
    assert options.merge_engine is MergeEngine.DEDUPLICATE
    assert options.changelog_producer is ChangelogProducer.NONE
    assert options.snapshot_time_retained == 3_600_000
    assert options.snapshot_num_retained_min == 10
    assert options.compression == "zstd"
    assert options.num_levels == 6
    assert options.num_sorted_run_stop_trigger == 8
    assert options.file_format_per_level == {}
    assert options.target_file_size == 256 * MIB
    assert Options({}, has_primary_key=True).target_file_size == 128 * MIB


def test_given_values_count_and_follow_each_other() -> None:
    options = Options(
        {
            "num-sorted-run.compaction-trigger": "9",
            "sequence.field": "a, b",
            "sequence.field.sort-order": "DESCENDING",
            "merge-engine": "Partial-Update",
            "file.format.per.level": "0:avro,5:orc",
            "changelog.time-retained": "5 h",
            "metadata.stats-mode.per.level": "0:none",
            "fields.a.stats-mode": "full",
        }
    )

    assert (options.num_levels, options.num_sorted_run_stop_trigger) == (10, 12)
    assert options.sequence_fields == ("a", "b")
    assert options.sequence_descending
    assert options.merge_engine is MergeEngine.PARTIAL_UPDATE
    assert [options.file_format_at(level) for level in (0, 1, 5)] == ["avro", "parquet", "orc"]
    assert changelogs_stay(options)
    assert not changelogs_stay(Options({}))
    assert [options.stats_mode("a", 0), options.stats_mode("b", 0), options.stats_mode("b", 1)] == [
        "full",
        "none",
        "truncate(16)",
    ]


def test_an_option_is_known_by_its_older_keys() -> None:
    assert Options({"write.compaction-skip": "true"}).write_only
    assert Options({"partial-update.ignore-delete": "true"}).ignore_delete
    assert Options({"log.scan.timestamp-millis": "7"}).scan_timestamp_millis == 7
    check_options({"delete-file.thread-num": "3"})


@pytest.mark.parametrize(
    ("given", "mode"),
    [
        ({}, "latest-full"),
        ({"scan.mode": "full"}, "latest-full"),
        ({"scan.mode": "compacted-full"}, "compacted-full"),
        ({"scan.timestamp-millis": "1"}, "from-timestamp"),
        ({"scan.timestamp": "2026-01-01"}, "from-timestamp"),
        ({"scan.snapshot-id": "1"}, "from-snapshot"),
        ({"scan.tag-name": "x"}, "from-snapshot"),
        ({"scan.watermark": "1"}, "from-snapshot"),
        ({"incremental-between": "1,2"}, "incremental"),
        ({"scan.mode": "from-snapshot-full", "scan.snapshot-id": "1"}, "from-snapshot-full"),
    ],
)
def test_where_a_read_begins_follows_from_what_is_given(given: dict[str, str], mode: str) -> None:
    assert Options(given).scan_mode == mode


def test_options_of_columns_are_found() -> None:
    options = Options(
        {
            "fields.a.aggregate-function": "sum",
            "fields.a.ignore-retract": "true",
            "fields.g,h.sequence-group": "x,y",
            "fields.l.list-agg-delimiter": ";",
            "fields.n.nested-key": "k1, k2",
            "fields.n.count-limit": "3",
            "fields.c.distinct": "true",
        }
    )

    assert options.aggregate_function("a") == "sum"
    assert options.aggregate_function("b") is None
    assert options.ignore_retract("a")
    assert not options.ignore_retract("b")
    assert options.sequence_groups == {("g", "h"): ("x", "y")}
    assert (options.list_agg_delimiter("l"), options.list_agg_delimiter("a")) == (";", ",")
    assert options.nested_key("n") == ("k1", "k2")
    assert options.count_limit("n") == 3
    assert options.distinct("c")


def test_the_present_key_of_an_option_counts_before_its_older_ones() -> None:
    for keys in (("write-only", "write.compaction-skip"), ("write.compaction-skip", "write-only")):
        assert Options({key: "true" if key == "write-only" else "false" for key in keys}).write_only
    assert not Options({"write-only": "true"}).merged({"write.compaction-skip": "false"}).write_only


def test_options_put_over_others_win_and_change_nothing_of_them() -> None:
    base = Options({"bucket": "4"}, has_primary_key=True)

    over = base.merged({"scan.snapshot-id": "3"})

    assert (over.bucket, over.scan_snapshot_id, over.has_primary_key) == (4, 3, True)
    assert base.scan_snapshot_id is None


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("bucket", "x", "whole number"),
        ("bucket", "99999999999", "between"),
        ("write-only", "yes", "true nor false"),
        ("merge-engine", "last", "none of deduplicate"),
        ("snapshot.time-retained", "1 fortnight", "unit"),
        ("target-file-size", "big", "number"),
        ("compaction.delete-ratio-threshold", "half", "no number"),
        ("file.format.per.level", "avro", "no pair"),
        ("sink.parallelism", "x", "whole number"),
        ("bucket", "1_0", "whole number"),
        ("bucket", " 2 ", "whole number"),
        ("write-only", " true ", "true nor false"),
        ("merge-engine", "FIRST_ROW", "none of deduplicate"),
        ("changelog-producer", " input ", "none of none"),
        ("compaction.delete-ratio-threshold", "nan", "no number"),
        ("compaction.delete-ratio-threshold", "0_1", "no number"),
        ("snapshot.time-retained", "1 h 30 min", "no number with a unit"),
        ("snapshot.time-retained", "99999999999999999999 s", "64 bits"),
        ("target-file-size", "1.5 gb", "no number with a unit"),
    ],
)
def test_a_wrong_value_is_named_with_its_option(key: str, value: str, reason: str) -> None:
    with pytest.raises(InvalidInputError, match=reason) as caught:
        check_options({key: value})

    assert caught.value.kind is ErrorKind.TABLE_INVALID
    assert repr(key) in caught.value.message


def test_a_value_that_is_no_text_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="write it in quotes"):
        check_options({"bucket": 4})  # type: ignore[dict-item]


@pytest.mark.parametrize("key", ["bukcet", "hosu.speed", "fields.a.unheard-of", "fields", "x"])
def test_an_unknown_option_is_refused_by_name(key: str) -> None:
    with pytest.raises(UnsupportedError, match=key):
        check_options({key: "1"})


def test_a_slip_of_the_pen_gets_the_right_name() -> None:
    with pytest.raises(UnsupportedError, match="did you mean 'merge-engine'"):
        check_options({"merge-enigne": "deduplicate"})


REFUSED = [entry for entry in registry().values() if entry.status is Status.REFUSED]
OTHER_VALUES = {
    "bool": ("true", "false"),
    "text": ("x",),
    "int": ("7",),
    "long": ("7",),
    "double": ("7",),
    "duration": ("7 s",),
    "memory": ("7 kb",),
}


@pytest.mark.parametrize("entry", REFUSED, ids=lambda entry: entry.key)
def test_every_refused_option_is_refused_by_name_and_says_why(entry: object) -> None:
    known = registry()[entry.key]  # type: ignore[attr-defined]
    values = known.values or OTHER_VALUES[known.kind]
    other = next(value for value in values if value != known.default)

    with pytest.raises(UnsupportedError) as caught:
        check_options({known.key: other})

    assert repr(known.key) in caught.value.message
    assert known.note
    assert known.note in caught.value.message
    if known.default is not None:
        check_options({known.key: known.default})


def test_options_of_engines_are_kept_and_have_no_effect() -> None:
    check_options(
        {"sink.parallelism": "4", "write-buffer-size": "256 mb", "lookup.cache": "auto", "page-size": "32 kb"}
    )


@pytest.mark.parametrize("key", ["file-index.bloom-filter.columns", "schema.watermark.0.rowtime", "parquet.block.size"])
def test_families_of_harmless_options_are_kept(key: str) -> None:
    check_options({key: "a"})


def test_formats_that_are_not_written_are_refused_by_name() -> None:
    check_options({"file.format": "ORC"})
    with pytest.raises(UnsupportedError, match=r"file\.format"):
        check_options({"file.format": "csv"})
