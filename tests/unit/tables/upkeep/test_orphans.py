"""Orphans go, and nothing else does."""

import pytest
from tests.support.upkeep import HOUR_MS, Line

from hosu.kernel.errors import CorruptError, ErrorKind, InvalidInputError
from hosu.tables.manifests import ManifestReader
from hosu.tables.snapshots import branches, find, rollback, tags
from hosu.tables.upkeep.expiry import expire
from hosu.tables.upkeep.orphans import YOUNG_MS, clean_orphans

ORPHANS = (
    "dt=a/bucket-0/data-orphan.parquet",
    "dt=a/bucket-7/changelog-orphan.parquet",
    "manifest/manifest-orphan-0",
    "manifest/manifest-list-orphan-0",
    "index/index-orphan-0",
    "statistics/stats-orphan-0",
)
NOT_OURS = ("notes.txt", "dt=a/readme", "dt=a/bucket-0/deep/er", "bucket-0/data-of-no-partition", "snapshot/other")


def put(line: Line, *names: str) -> list[str]:
    keys = [f"{line.ctx.layout.path}/{name}" for name in names]
    for key in keys:
        line.ctx.files.put(key, b"12345")
    return keys


def test_old_files_that_nothing_refers_to_go_and_no_others() -> None:
    line = Line.new()
    line.append(changelog=True)
    orphans, others = put(line, *ORPHANS), put(line, *NOT_OURS)
    needed = {entry.key for entry in line.ctx.files.list()} - set(orphans)
    line.clock.advance(YOUNG_MS + 1)
    young = put(line, "dt=a/bucket-0/data-young.parquet")
    line.append()
    planned = clean_orphans(line.ctx, dry_run=True)
    assert all(line.ctx.files.exists(key) for key in orphans)
    done = clean_orphans(line.ctx)
    assert sorted(planned.files) == sorted(done.files) == sorted(orphans)
    assert done.bytes_freed == 5 * len(orphans)
    assert needed | set(young) | set(others) <= {entry.key for entry in line.ctx.files.list()}
    line.check()
    line.check_changelogs([find.load(line.ctx, 1)])


def test_tags_branches_and_changelogs_keep_their_files() -> None:
    line = Line.new()
    line.append(changelog=True)
    tags.create(line.ctx, "one")
    line.compact()
    tags.create(line.ctx, "two")
    branches.create(line.ctx, "b", "one")
    branch = line.at("b")
    branch.append(partition="b")
    branch.compact()
    for _ in range(3):
        line.append()
    line.clock.advance(2 * YOUNG_MS)
    expire(line.ctx)
    before = {entry.key for entry in line.ctx.files.list()}
    assert clean_orphans(line.ctx).files == []
    assert clean_orphans(branch.ctx).files == []
    assert {entry.key for entry in line.ctx.files.list()} == before
    line.check()
    branch.check()


def test_what_a_rollback_and_a_deleted_branch_leave_goes() -> None:
    line = Line.new()
    line.append()
    tags.create(line.ctx, "one")
    branches.create(line.ctx, "b", "one")
    branch = line.at("b")
    branch.append()
    line.append()
    line.compact()
    rollback.rollback_to(line.ctx, 1)
    branches.delete(line.ctx, "b")
    line.clock.advance(2 * YOUNG_MS)
    clean_orphans(line.ctx)
    line.check()
    assert line.stored() == line.needed()


def test_a_manifest_that_cannot_be_read_stops_the_cleaning_before_it_deletes() -> None:
    line = Line.new()
    snapshot = line.append()
    orphans = put(line, *ORPHANS)
    line.ctx.files.put(line.ctx.layout.manifest(snapshot.delta_manifest_list), b"Obj\x01 cut")
    line.clock.advance(2 * YOUNG_MS)
    with pytest.raises(CorruptError, match=snapshot.delta_manifest_list):
        clean_orphans(line.fresh())
    assert all(line.ctx.files.exists(key) for key in orphans)


@pytest.mark.parametrize("lost", ["base", "delta", "manifest"])
@pytest.mark.parametrize("keeper", ["snapshot", "tag", "branch"])
def test_a_manifest_that_is_missing_stops_the_cleaning_before_it_deletes(lost: str, keeper: str) -> None:
    line = Line.new()
    line.append(changelog=True)
    snapshot = line.append(changelog=True)
    if keeper != "snapshot":
        tags.create(line.ctx, "two")
        line.compact()
        line.append()
        expire(line.ctx)
    if keeper == "branch":
        branches.create(line.ctx, "b", "two")
        tags.delete_file(line.ctx, "two")
        tags.delete_file(branches.at(line.ctx, "b"), "two")
    line.clock.advance(2 * YOUNG_MS)
    assert clean_orphans(line.fresh()).files == []
    (manifest,) = ManifestReader(line.ctx).delta_manifests(snapshot)
    name = {
        "base": snapshot.base_manifest_list,
        "delta": snapshot.delta_manifest_list,
        "manifest": manifest.file_name,
    }[lost]
    line.ctx.files.delete_many([line.ctx.layout.manifest(name)])
    before = line.stored()
    with pytest.raises(CorruptError, match=name):
        clean_orphans(line.fresh())
    assert line.stored() == before


def test_a_branch_without_schemas_stops_the_cleaning() -> None:
    line = Line.new()
    line.append()
    orphans = put(line, *ORPHANS)
    put(line, "branch/branch-odd/snapshot/snapshot-1")
    line.clock.advance(2 * YOUNG_MS)
    with pytest.raises(CorruptError, match="'odd'"):
        clean_orphans(line.ctx)
    assert all(line.ctx.files.exists(key) for key in orphans)


def test_an_age_of_less_than_a_minute_is_refused() -> None:
    line = Line.new()
    with pytest.raises(InvalidInputError, match="a minute") as caught:
        clean_orphans(line.ctx, older_than_ms=line.clock.now_ms())
    assert caught.value.kind is ErrorKind.INVALID_ARGUMENT
    clean_orphans(line.ctx, older_than_ms=line.clock.now_ms() - HOUR_MS)
