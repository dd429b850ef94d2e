"""What another writer did meanwhile that forbids a commit, and what does not."""

from dataclasses import dataclass

import pytest
from tests.support.tables import change, data_file, open_context

from hosu.kernel.errors import ConflictError, ErrorKind
from hosu.kernel.fileio import MemoryFileIO
from hosu.tables.commit import commit, overwrite
from hosu.tables.context import TableContext
from hosu.tables.manifests import live, live_entries
from hosu.tables.records import BucketChange, IndexFile, Snapshot, VectorRange
from hosu.tables.snapshots import find
from hosu.tables.upkeep.expiry import expire


@dataclass
class Two:
    """Two writers of one table, and the snapshot that both have seen."""

    mine: TableContext
    theirs: TableContext
    seen: Snapshot

    def they(self, *changes: BucketChange) -> Snapshot:
        return commit(self.theirs, changes, identifier=1, check_from=find.latest(self.theirs))[-1]

    def i(self, *changes: BucketChange) -> Snapshot:
        return commit(self.mine, changes, identifier=1, check_from=self.seen)[-1]

    def i_cannot(self, pattern: str, *changes: BucketChange) -> None:
        before = sorted(entry.key for entry in self.mine.files.list(self.mine.layout.manifest("")[:-1]))
        latest = find.latest_id(self.mine)
        with pytest.raises(ConflictError, match=pattern) as caught:
            self.i(*changes)
        assert caught.value.kind is ErrorKind.COMMIT_CONFLICT
        assert "d.t" in caught.value.message
        assert find.latest_id(self.mine) == latest
        after = sorted(entry.key for entry in self.mine.files.list(self.mine.layout.manifest("")[:-1]))
        assert after == before, "no manifest of a refused commit stays"


@pytest.fixture
def two() -> Two:
    files = MemoryFileIO()
    mine, theirs = open_context(files), open_context(files)
    low = change(mine, data_file(mine, (0, 9), file_name="low"))
    high = change(mine, data_file(mine, (0, 9), level=5, file_name="high"), bucket=1)
    return Two(mine, theirs, commit(mine, [low, high], identifier=0, check_from=None)[-1])


def low(two: Two, name: str = "low") -> BucketChange:
    (entry,) = live_entries(two.theirs, two.seen, file_filter=lambda file: file.file_name == name)
    return change(two.theirs, deleted_files=[entry.file], bucket=entry.bucket)


def vectors(name: str, *data_files: str) -> IndexFile:
    ranges = tuple(VectorRange(data, 1, 20) for data in data_files)
    return IndexFile(index_type="DELETION_VECTORS", file_name=name, file_size=9, row_count=1, vectors=ranges)


def test_writers_of_one_bucket_do_not_disturb_one_another(two: Two) -> None:
    two.they(change(two.mine, data_file(two.mine)))
    assert two.i(change(two.mine, data_file(two.mine))).id == 3


def test_a_file_that_is_gone_cannot_be_taken_out_again(two: Two) -> None:
    gone = low(two)
    two.they(gone)
    two.i_cannot("'low' is not there any more.*dt=a.*|dt=a.*'low' is not there any more", gone)


def test_two_compactions_of_one_file_cannot_both_be(two: Two) -> None:
    (file,) = low(two).deleted_files
    two.they(change(two.mine, compact_before=[file], compact_after=[data_file(two.mine, level=4)]))
    two.i_cannot("not there any more", change(two.mine, compact_before=[file], compact_after=[data_file(two.mine)]))


def test_files_of_one_level_may_not_overlap(two: Two) -> None:
    two.they(change(two.mine, compact_after=[data_file(two.mine, (20, 29), level=5)]))
    overlapping = change(two.mine, compact_after=[data_file(two.mine, (29, 40), level=5)])
    two.i_cannot("overlap", overlapping)
    beside = change(two.mine, compact_after=[data_file(two.mine, (30, 40), level=5)])
    assert two.i(beside).id == 3


def test_a_file_that_is_taken_out_makes_room_in_its_level(two: Two) -> None:
    two.they(change(two.mine, data_file(two.mine), partition="b"))
    (high,) = low(two, "high").deleted_files
    again = change(two.mine, compact_before=[high], compact_after=[data_file(two.mine, (0, 20), level=5)], bucket=1)
    assert two.i(again).id == 3


def test_the_number_of_buckets_changes_by_overwriting_alone(two: Two) -> None:
    two.they(change(two.mine, data_file(two.mine), partition="b", total_buckets=4))
    two.i_cannot("has 4 buckets, the commit writes 2", change(two.mine, data_file(two.mine), partition="b"))
    wide = change(two.mine, data_file(two.mine), partition="b", total_buckets=8)
    assert overwrite(two.mine, [wide], [("b",)])[-1].id == 3


def test_buckets_of_one_commit_agree_on_their_number(two: Two) -> None:
    narrow = change(two.mine, data_file(two.mine))
    wide = change(two.mine, data_file(two.mine), total_buckets=3, bucket=1)
    two.i_cannot("files of 2 and of 3 buckets", narrow, wide)


def test_one_commit_names_a_file_once(two: Two) -> None:
    file = data_file(two.mine)
    two.i_cannot("twice", change(two.mine, file, file))
    two.i_cannot("twice", change(two.mine, file, deleted_files=[file]))


@pytest.mark.parametrize("checks", [True, False])
def test_files_above_level_0_that_a_writer_did_not_know_can_stop_it(two: Two, checks: bool) -> None:  # noqa: FBT001 - parametrized
    two.they(change(two.mine, compact_after=[data_file(two.mine, (50, 59), level=3)]))
    written = change(two.mine, data_file(two.mine), checks_levels=checks)
    if checks:
        two.i_cannot("of level 3 was made meanwhile", written)
    else:
        assert two.i(written).id == 3


def test_files_above_level_0_that_were_known_stop_nobody(two: Two) -> None:
    two.they(change(two.mine, data_file(two.mine), partition="b"))
    assert two.i(change(two.mine, data_file(two.mine), bucket=1, checks_levels=True)).id == 3


@pytest.mark.parametrize("index_type", ["HASH", "DELETION_VECTORS"])
def test_an_index_that_changed_is_not_replaced(two: Two, index_type: str) -> None:
    def indexed(name: str) -> BucketChange:
        file = IndexFile(index_type=index_type, file_name=name, file_size=9, row_count=1)
        return change(two.mine, data_file(two.mine), new_indexes=[file])

    two.they(indexed("theirs"))
    two.i_cannot(f"index of type {index_type} was changed", indexed("mine"))


def test_an_index_of_another_bucket_is_no_conflict(two: Two) -> None:
    two.they(change(two.mine, data_file(two.mine), new_indexes=[vectors("theirs", "low")]))
    assert two.i(change(two.mine, bucket=1, new_indexes=[vectors("mine", "high")])).id == 3


def test_a_file_of_which_rows_were_deleted_meanwhile_is_not_taken_out(two: Two) -> None:
    gone = low(two)
    two.they(change(two.mine, new_indexes=[vectors("theirs", "low")]))
    two.i_cannot("rows of file 'low' were deleted", gone)


def test_rows_of_a_file_that_is_gone_are_not_deleted(two: Two) -> None:
    two.they(low(two))
    two.i_cannot("'low', of which rows are deleted, is not there", change(two.mine, new_indexes=[vectors("m", "low")]))


def test_rows_of_a_file_of_the_same_commit_may_be_deleted(two: Two) -> None:
    two.they(change(two.mine, data_file(two.mine), partition="b"))
    file = data_file(two.mine)
    assert two.i(change(two.mine, file, new_indexes=[vectors("mine", file.file_name)])).id == 3


def test_a_writer_that_has_seen_nothing_knows_no_index(two: Two) -> None:
    two.they(change(two.mine, new_indexes=[vectors("theirs", "low")]))
    with pytest.raises(ConflictError, match="was changed"):
        commit(two.mine, [change(two.mine, new_indexes=[vectors("m", "low")])], identifier=1, check_from=None)


def test_a_snapshot_of_the_same_number_is_not_the_one_that_was_seen(two: Two) -> None:
    gone = low(two)
    seen = two.they(change(two.mine, data_file(two.mine)))
    two.mine.files.delete_many([two.mine.layout.snapshot(seen.id)])  # a roll-back
    replaced = two.they(gone)
    assert replaced.id == seen.id
    with pytest.raises(ConflictError, match="not there"):
        commit(two.mine, [gone], identifier=1, check_from=seen)


def test_files_of_one_level_may_not_overlap_even_when_nobody_came_between(two: Two) -> None:
    two.i_cannot("overlap", change(two.mine, compact_after=[data_file(two.mine, (5, 12), level=5)], bucket=1))


def test_conflicts_are_found_in_tables_too_big_to_be_kept_whole(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "WHOLE_ENTRIES_MAX", 0)
    gone = low(two)
    two.they(gone)
    two.i_cannot("not there any more", gone)
    assert two.i(low(two, "high")).id == 3


def test_a_change_whose_snapshot_has_expired_with_its_indexes_is_to_be_repeated(two: Two) -> None:
    their = vectors("v1", "low")
    two.seen = two.they(change(two.theirs, new_indexes=[their]))
    two.they(change(two.theirs, data_file(two.theirs)))
    two.they(change(two.theirs, new_indexes=[vectors("v2", "low")]))
    two.mine.clock.advance(1000)  # type: ignore[attr-defined]
    expire(two.theirs, older_than_ms=two.mine.clock.now_ms(), retain_min=1, retain_max=1)
    two.mine.cache.clear()
    two.i_cannot(f"snapshot {two.seen.id}, .* has expired", change(two.mine, new_indexes=[vectors("v3", "low")]))
