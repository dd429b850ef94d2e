"""How files of a bucket are arranged."""

import random
from itertools import pairwise

import pytest

from hosu.tables.compaction.levels import Key, Levels, comparable, sections
from hosu.tables.records import DataFile, Stats

NO_STATS = Stats(b"", b"", ())


def data_file(name: str, low: int, high: int, *, level: int = 0, sequence: int = 0, created_ms: int = 0) -> DataFile:
    return DataFile(
        file_name=name,
        file_size=1,
        row_count=1,
        min_key=b"%03d" % low,
        max_key=b"%03d" % high,
        key_stats=NO_STATS,
        value_stats=NO_STATS,
        min_sequence_number=sequence,
        max_sequence_number=sequence,
        schema_id=0,
        level=level,
        creation_time_ms=created_ms,
    )


def key_of(key: bytes) -> Key:
    return (int(key),)


def names(found: list[list[tuple[DataFile, ...]]]) -> list[list[list[str]]]:
    return [sorted([file.file_name for file in run] for run in section) for section in found]


def test_files_of_level_0_are_runs_of_their_own_the_newest_first() -> None:
    files = [data_file("a", 0, 9, sequence=1), data_file("b", 0, 9, sequence=3), data_file("c", 0, 9, sequence=2)]

    levels = Levels.of(files, 6, key_of)

    assert [[file.file_name for file in run.files] for run in levels.runs] == [["b"], ["c"], ["a"]]


def test_files_of_one_sequence_number_are_all_kept() -> None:
    files = [data_file("a", 0, 9), data_file("b", 0, 9), data_file("c", 0, 9, created_ms=1)]

    assert len(Levels.of(files, 6, key_of).runs) == 3


def test_another_level_is_one_run_in_the_order_of_keys() -> None:
    files = [data_file("b", 5, 9, level=2), data_file("a", 0, 4, level=2), data_file("c", 0, 9, level=1)]

    levels = Levels.of(files, 6, key_of)

    assert [(run.level, [file.file_name for file in run.files]) for run in levels.runs] == [(1, ["c"]), (2, ["a", "b"])]
    assert levels.highest == 2
    assert levels.max_level == 5
    assert [run.level for run in levels.above(1)] == [2]


def test_a_file_above_the_number_of_levels_is_kept() -> None:
    levels = Levels.of([data_file("a", 0, 9, level=7)], 3, key_of)

    assert levels.max_level == 7


def test_files_that_share_no_key_are_sections_of_their_own() -> None:
    found = sections([data_file("b", 5, 9), data_file("a", 0, 4), data_file("c", 10, 12)], key_of)

    assert names(found) == [[["a"]], [["b"]], [["c"]]]


def test_files_that_share_a_key_are_of_one_section() -> None:
    found = sections([data_file("a", 0, 4), data_file("b", 4, 9), data_file("c", 10, 12)], key_of)

    assert names(found) == [[["a"], ["b"]], [["c"]]]


def test_a_section_has_as_few_runs_as_its_files_allow() -> None:
    files = [data_file("long", 0, 20), data_file("a", 0, 4), data_file("b", 5, 9), data_file("c", 10, 20)]

    assert names(sections(files, key_of)) == [[["a", "b", "c"], ["long"]]]


@pytest.mark.parametrize("seed", range(20))
def test_sections_hold_every_file_once_in_runs_that_do_not_overlap(seed: int) -> None:
    chance = random.Random(seed)
    files = []
    for number in range(60):
        low = chance.randrange(900)
        files.append(data_file(f"f{number}", low, low + chance.randrange(40)))

    found = sections(files, key_of)

    assert sorted(file.file_name for section in found for run in section for file in run) == sorted(
        file.file_name for file in files
    )
    for section in found:
        for run in section:
            assert all(left.max_key < right.min_key for left, right in pairwise(run))
    for before, after in pairwise(found):
        assert max(f.max_key for run in before for f in run) < min(f.min_key for run in after for f in run)


def test_floats_compare_as_java_compares_them() -> None:
    values = [float("-inf"), -1.5, -0.0, 0.0, 1.5, float("inf"), float("nan")]

    keys = [comparable((value,)) for value in values]

    assert keys == sorted(keys)
    assert len(set(keys)) == len(values)
