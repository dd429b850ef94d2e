"""Which runs universal compaction takes: sizes and levels in, sizes and the output level out."""

import pytest

from hosu.tables.compaction.levels import Levels
from hosu.tables.compaction.picking import Policy, Unit, drops_deletes, oldest_part, pick, pick_full
from hosu.tables.records import DataFile, Stats

NO_STATS = Stats(b"", b"", ())
NOW_MS = 1_000_000


def data_file(number: int, level: int, size: int, *, created_ms: int = 0) -> DataFile:
    return DataFile(
        file_name=f"f{number}",
        file_size=size,
        row_count=1,
        min_key=b"\x00",
        max_key=b"\xff",
        key_stats=NO_STATS,
        value_stats=NO_STATS,
        min_sequence_number=1_000 - number,
        max_sequence_number=1_000 - number,
        schema_id=0,
        level=level,
        creation_time_ms=created_ms,
    )


def levels_of(*runs: tuple[int, int], count: int = 6) -> Levels:
    """Make levels of (level, size), the newest first."""
    files = [data_file(number, level, size) for number, (level, size) in enumerate(runs)]
    return Levels.of(files, count, lambda key: (key,))


def picked(levels: Levels, policy: Policy, *, now_ms: int = NOW_MS, hour: int = 0) -> tuple[list[int], int] | None:
    unit = pick(levels, policy, now_ms=now_ms, hour=hour)
    return None if unit is None else ([file.file_size for file in unit.files], unit.output_level)


def test_fewer_runs_than_the_trigger_are_left_alone() -> None:
    assert picked(levels_of((0, 1), (0, 1), (0, 1), (0, 1)), Policy()) is None


def test_a_bucket_without_files_is_left_alone() -> None:
    assert picked(levels_of(), Policy(forces_level_0=True)) is None


def test_newer_runs_larger_than_the_amplification_allows_are_compacted_with_the_oldest() -> None:
    levels = levels_of((0, 1), (0, 2), (0, 3), (0, 3), count=3)

    assert picked(levels, Policy(trigger=3, max_amplification_percent=25)) == ([1, 2, 3, 3], 2)


def test_runs_of_like_size_are_compacted_into_the_level_below_the_next() -> None:
    levels = levels_of((0, 1), (1, 1), (2, 1), (3, 50), count=4)

    assert picked(levels, Policy(trigger=3, max_amplification_percent=25)) == ([1, 1, 1], 2)


def test_too_many_runs_are_compacted_though_none_is_of_like_size() -> None:
    levels = levels_of((0, 1), (1, 2), (2, 3), (3, 50), count=4)

    assert picked(levels, Policy(trigger=3, max_amplification_percent=25)) == ([1, 2, 3], 2)


def test_level_0_is_never_written() -> None:
    levels = levels_of((0, 1), (0, 1), (0, 1), (0, 1024), (0, 1024 * 1024))

    assert picked(levels, Policy()) == ([1, 1, 1, 1024, 1024 * 1024], 5)


def test_a_pick_by_number_takes_the_level_in_with_which_none_is_left_to_write() -> None:
    levels = levels_of((0, 10), (0, 20), (1, 97), (2, 100), count=3)

    assert picked(levels, Policy(trigger=3)) == ([10, 20, 97], 1)


def test_a_pick_by_number_leaves_out_larger_runs_of_level_0_only_if_a_level_is_left_to_write() -> None:
    levels = levels_of((0, 3), (0, 2), (0, 68), (0, 55), (0, 7), (2, 54), (5, 204), (6, 488), count=8)

    assert picked(levels, Policy(max_amplification_percent=103)) == ([3, 2, 68, 55, 7, 54], 2)


@pytest.mark.parametrize(
    ("runs", "taken"),
    [
        ([(0, 4), (1, 379), (2, 77)], ([4, 379, 77], 6)),
        ([(0, 99), (0, 1), (1, 116), (4, 448)], ([99, 1, 116], 3)),
        ([(0, 4), (2, 379), (3, 77)], ([4], 1)),
    ],
)
def test_level_1_goes_along_where_level_0_must_go(runs: list[tuple[int, int]], taken: tuple[list[int], int]) -> None:
    policy = Policy(max_amplification_percent=1_000, forces_level_0=True)

    assert picked(levels_of(*runs, count=7), policy) == taken


@pytest.mark.parametrize(("percent", "taken"), [(10, None), (20, [8, 9, 10])])
def test_the_size_ratio_says_what_like_size_is(percent: int, taken: list[int] | None) -> None:
    policy = Policy(trigger=3, max_amplification_percent=1_000, size_ratio_percent=percent)

    result = picked(levels_of((0, 8), (0, 9), (0, 10)), policy)

    assert (result and result[0]) == taken


@pytest.mark.parametrize(("hour", "is_due"), [(1, True), (23, True), (5, False), (6, False), (12, False), (22, True)])
def test_off_peak_hours_may_pass_midnight_and_widen_the_ratio(hour: int, *, is_due: bool) -> None:
    policy = Policy(trigger=3, max_amplification_percent=1_000, size_ratio_percent=10, off_peak=(22, 5, 10))

    assert (picked(levels_of((0, 8), (0, 9), (0, 10)), policy, hour=hour) is not None) == is_due


@pytest.mark.parametrize(
    ("runs", "taken"),
    [
        ([(0, 1), (0, 2), (0, 2), (0, 2)], ([1, 2, 2, 2], 2)),
        ([(0, 1), (1, 2), (2, 2)], ([1, 2, 2], 2)),
        ([(0, 1), (2, 2)], ([1], 1)),
        ([(1, 1), (2, 2)], None),
    ],
)
def test_level_0_does_not_stay_where_older_rows_are_looked_up(
    runs: list[tuple[int, int]], taken: tuple[list[int], int] | None
) -> None:
    policy = Policy(trigger=3, max_amplification_percent=25, forces_level_0=True)

    assert picked(levels_of(*runs, count=3), policy) == taken


def test_an_interval_since_the_top_level_was_written_makes_a_full_compaction() -> None:
    files = [data_file(0, 0, 1), data_file(1, 5, 10, created_ms=NOW_MS - 1_000)]
    levels = Levels.of(files, 6, lambda key: (key,))

    assert picked(levels, Policy(interval_ms=1_000)) is None
    assert picked(levels, Policy(interval_ms=999)) == ([1, 10], 5)


def test_a_small_bucket_is_compacted_whole() -> None:
    assert picked(levels_of((0, 1), (5, 5)), Policy(total_size_bytes=7)) == ([1, 5], 5)
    assert picked(levels_of((0, 1), (5, 5)), Policy(total_size_bytes=6)) is None
    assert picked(levels_of((5, 5)), Policy(total_size_bytes=7)) is None


def test_much_above_the_top_level_makes_a_full_compaction() -> None:
    assert picked(levels_of((0, 3), (5, 50)), Policy(incremental_size_bytes=2)) == ([3, 50], 5)
    assert picked(levels_of((0, 3), (5, 50)), Policy(incremental_size_bytes=3)) is None


def test_a_full_compaction_takes_all_runs() -> None:
    unit = pick_full(levels_of((0, 1), (3, 5)))

    assert unit is not None
    assert ([file.file_size for file in unit.files], unit.output_level) == ([1, 5], 5)


def test_a_full_compaction_of_the_top_level_alone_rewrites_only_what_it_must() -> None:
    levels = levels_of((5, 1), (5, 2))

    assert pick_full(levels) is None
    chosen = pick_full(levels, rewritten={"f1"})
    assert chosen is not None
    assert [file.file_name for file in chosen.files] == ["f1"]
    assert chosen.is_rewrite
    everything = pick_full(levels, rewrites_all=True)
    assert everything is not None
    assert len(everything.files) == 2


@pytest.mark.parametrize(
    ("output_level", "has_vectors", "drops"), [(0, False, False), (2, False, False), (3, False, True), (2, True, True)]
)
def test_deletes_go_where_nothing_older_is_left(output_level: int, *, has_vectors: bool, drops: bool) -> None:
    levels = levels_of((0, 1), (3, 5))
    unit = Unit(output_level, levels.files[:1], "")

    assert drops_deletes(unit, levels, has_vectors=has_vectors) == drops


def test_commit_after_commit_the_number_of_runs_stays_below_trigger_and_one_more() -> None:
    policy = Policy()
    runs: list[tuple[int, int]] = []
    written = 0
    most = 0
    for _ in range(1_000):
        runs.insert(0, (0, 1))
        unit = pick(levels_of(*runs), policy, now_ms=NOW_MS)
        if unit is not None:
            written += unit.size_bytes
            runs = [(unit.output_level, unit.size_bytes), *runs[len(unit.files) :]]
        most = max(most, len(runs))

    assert most <= policy.trigger
    assert sum(size for _, size in runs) == 1_000
    assert written < 1_000 * 12


def test_two_runs_are_no_part_however_little_memory_there_is() -> None:
    levels = levels_of((0, 4), (3, 379))
    unit = pick_full(levels)
    assert unit is not None
    assert oldest_part(unit, levels, lambda runs: False) is unit  # noqa: ARG005


@pytest.mark.parametrize(
    ("runs", "taken"),
    [
        ([(0, 1), (0, 2), (0, 3)], ([2, 3], 5)),
        ([(0, 1), (0, 2), (0, 3), (4, 9)], ([2, 3], 3)),
        ([(0, 1), (0, 2), (1, 3), (4, 9)], ([3, 9], 5)),
        ([(0, 1), (2, 3), (4, 9)], ([3, 9], 5)),
    ],
)
def test_parts_are_the_oldest_runs(runs: list[tuple[int, int]], taken: tuple[list[int], int]) -> None:
    levels = levels_of(*runs)
    unit = pick_full(levels)
    assert unit is not None
    part = oldest_part(unit, levels, lambda held: len(held) <= 2)
    assert ([file.file_size for file in part.files], part.output_level) == taken
