"""Which files of append tables are made one."""

from hosu.tables.compaction.packing import Packing, pack, pack_ordered
from hosu.tables.records import DataFile, Stats

NO_STATS = Stats(b"", b"", ())
RULES = Packing(target_bytes=100, small_bytes=70, open_cost_bytes=4, file_number_min=5)


def file(number: int, size: int, rows: int = 100) -> DataFile:
    return DataFile(
        file_name=f"f{number}",
        file_size=size,
        row_count=rows,
        min_key=b"",
        max_key=b"",
        key_stats=NO_STATS,
        value_stats=NO_STATS,
        min_sequence_number=number,
        max_sequence_number=number,
        schema_id=0,
        level=0,
    )


def numbers(packs: list[list[DataFile]]) -> list[list[int]]:
    return [[int(each.file_name[1:]) for each in pack_] for pack_ in packs]


def test_too_few_small_files_wait() -> None:
    assert pack([file(n, 1) for n in range(4)], RULES, deleted={}) == []


def test_enough_small_files_are_made_one() -> None:
    assert numbers(pack([file(n, 1) for n in range(5)], RULES, deleted={})) == [[0, 1, 2, 3, 4]]


def test_all_small_files_are_made_one_when_asked() -> None:
    assert numbers(pack([file(n, 1) for n in range(2)], RULES, deleted={}, full=True)) == [[0, 1]]
    assert pack([file(0, 1)], RULES, deleted={}, full=True) == []


def test_large_files_stay() -> None:
    files = [file(0, 70), *[file(n, 1) for n in range(1, 6)]]

    assert numbers(pack(files, RULES, deleted={})) == [[1, 2, 3, 4, 5]]


def test_a_pack_is_full_at_twice_the_target() -> None:
    assert numbers(pack([file(n, 60) for n in range(9)], RULES, deleted={})) == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_a_file_that_lost_many_rows_is_rewritten_whatever_its_size() -> None:
    assert numbers(pack([file(0, 500), file(1, 500)], RULES, deleted={"f0": (21, "i"), "f1": (20, "i")})) == [[0]]


def test_files_of_one_index_file_stay_together() -> None:
    deleted = {"f0": (1, "a"), "f1": (1, "b"), "f2": (1, "a")}
    files = [file(0, 65), file(1, 65), file(2, 69), file(3, 65)]

    assert sorted(sorted(each) for each in numbers(pack(files, RULES, deleted=deleted))) == [[0, 1, 2]]


def test_all_files_are_rewritten_when_the_table_says_so() -> None:
    rules = Packing(target_bytes=100, small_bytes=70, rewrites_all=True)

    assert numbers(pack([file(0, 500)], rules, deleted={}, full=True)) == [[0]]


def test_files_of_a_bucket_are_made_one_in_the_order_of_writing() -> None:
    files = [file(n, 1) for n in (4, 2, 0, 1, 3)]

    assert numbers(pack_ordered(files, RULES, deleted={})) == [[0, 1, 2, 3, 4]]


def test_a_large_file_parts_neighbours() -> None:
    files = [file(0, 1), file(1, 1), file(2, 200), *[file(n, 1) for n in range(3, 6)]]

    assert pack_ordered(files, RULES, deleted={}) == []
    assert numbers(pack_ordered(files, RULES, deleted={}, full=True)) == [[0, 1], [3, 4, 5]]


def test_a_file_of_a_bucket_that_lost_many_rows_is_rewritten() -> None:
    files = [file(0, 1), file(1, 500), file(2, 1)]

    assert numbers(pack_ordered(files, RULES, deleted={"f1": (50, "i")})) == [[0, 1]]
