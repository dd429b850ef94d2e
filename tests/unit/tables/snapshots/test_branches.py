"""Branches: other lines of snapshots over the same files."""

from collections.abc import Callable

import pytest
from tests.support.upkeep import Line

from hosu.kernel.errors import ErrorKind, HosuError, InvalidInputError, NotFoundError
from hosu.tables.snapshots import branches, find, rollback, tags
from hosu.tables.upkeep.expiry import expire
from hosu.tables.upkeep.tagged import delete_tag


@pytest.fixture
def line() -> Line:
    line = Line.new()
    for _ in range(2):
        line.append()
    tags.create(line.ctx, "start")
    return line


def test_a_branch_begins_as_its_tag_and_goes_its_own_way(line: Line) -> None:
    branches.create(line.ctx, "b", "start")
    branch = line.at("b")
    branch.append()
    line.compact()
    assert branches.branches(line.ctx) == branches.branches(branch.ctx) == ["b"]
    assert branch.ctx.identifier.branch == "b"
    assert len(branch.made[3]) == 3
    assert len(line.made[3]) == 1
    branch.check()
    line.check()


def test_a_branch_without_a_tag_is_empty_with_the_same_columns(line: Line) -> None:
    branches.create(line.ctx, "empty")
    there = branches.at(line.ctx, "empty")
    assert find.latest(there) is None
    assert there.schema == line.ctx.schemas.latest()


def test_what_a_branch_needs_outlives_the_tag_it_came_from(line: Line) -> None:
    branches.create(line.ctx, "b", "start")
    branch = line.at("b")
    branch.append()
    line.compact()
    line.append()
    line.clock.advance(1)
    delete_tag(line.ctx, "start")
    assert expire(line.ctx).snapshots == [1, 2, 3]
    branch.check()
    delete_tag(branch.ctx, "start")
    branch.check()
    branch.compact()
    line.clock.advance(1)
    expire(branch.ctx)
    branch.check()
    line.check()


def test_a_branchs_expiry_leaves_what_main_needs(line: Line) -> None:
    branches.create(line.ctx, "b", "start")
    branch = line.at("b")
    delete_tag(branch.ctx, "start")
    delete_tag(line.ctx, "start")
    branch.compact()
    branch.append()
    line.clock.advance(1)
    expire(branch.ctx)
    branch.check()
    line.check()


def test_main_becomes_what_a_branch_is(line: Line) -> None:
    branches.create(line.ctx, "b", "start")
    branch = line.at("b")
    branch.append()
    branch.compact()
    tags.create(branch.ctx, "there")
    line.append()
    tags.create(line.ctx, "lost")
    branches.fast_forward(line.ctx, "b")
    line.made |= branch.made
    assert [snapshot.id for snapshot in find.snapshots(line.fresh())] == [1, 2, 3, 4]
    assert tags.names(line.ctx) == ["start", "there"]
    line.check()
    line.append()
    line.clock.advance(1)
    expire(line.ctx)
    branch.check()
    line.check()


def test_main_that_had_expired_becomes_an_older_branch_too(line: Line) -> None:
    branches.create(line.ctx, "b", "start")
    branch = line.at("b")
    branch.append()
    for _ in range(4):
        line.append()
    line.clock.advance(1)
    expire(line.ctx)
    branches.fast_forward(line.ctx, "b")
    line.made |= branch.made
    assert [snapshot.id for snapshot in find.snapshots(line.fresh())] == [2, 3]
    line.check()


def test_a_branch_whose_making_was_stopped_is_made_whole(line: Line) -> None:
    branches.create(line.ctx, "b", "start")
    line.ctx.files.delete_many([line.ctx.layout.path + "/branch/branch-b/schema/schema-0"])
    with pytest.raises(NotFoundError):
        branches.at(line.ctx, "b")
    branches.create(line.ctx, "b", "start")
    line.at("b").check()


def test_a_deleted_branch_is_gone_and_its_name_free(line: Line) -> None:
    branches.create(line.ctx, "b", "start")
    line.at("b").append()
    branches.delete(line.ctx, "b")
    assert branches.branches(line.ctx) == []
    with pytest.raises(NotFoundError) as caught:
        branches.at(line.ctx, "b")
    assert caught.value.kind is ErrorKind.BRANCH_NOT_FOUND
    branches.create(line.ctx, "b")
    assert find.latest(branches.at(line.ctx, "b")) is None
    line.check()


@pytest.mark.parametrize("name", ["", " ", "main", "12", "a/b", "a$b"])
def test_what_is_no_name_is_refused(line: Line, name: str) -> None:
    with pytest.raises(InvalidInputError):
        branches.create(line.ctx, name)
    assert branches.branches(line.ctx) == []


def test_what_cannot_be_is_said(line: Line) -> None:
    branches.create(line.ctx, "b", "start")
    branches.create(line.ctx, "b", exist_ok=True)
    branches.create(line.ctx, "empty")
    branch = line.at("b").ctx
    calls: list[tuple[Callable[[], object], ErrorKind]] = [
        (lambda: branches.create(line.ctx, "b"), ErrorKind.BRANCH_EXISTS),
        (lambda: branches.create(line.ctx, "c", "no-tag"), ErrorKind.TABLE_TAG_NOT_FOUND),
        (lambda: branches.delete(line.ctx, "c"), ErrorKind.BRANCH_NOT_FOUND),
        (lambda: branches.fast_forward(line.ctx, "c"), ErrorKind.BRANCH_NOT_FOUND),
        (lambda: branches.fast_forward(line.ctx, "empty"), ErrorKind.COMMIT_CONFLICT),
        (lambda: branches.delete(branch, "b"), ErrorKind.INVALID_ARGUMENT),
    ]
    for call, kind in calls:
        with pytest.raises(HosuError) as caught:
            call()
        assert caught.value.kind is kind
    assert not branches.exists(line.ctx, "c")


def test_rollback_takes_back_what_came_later(line: Line) -> None:
    for _ in range(3):
        line.append()
    tags.create(line.ctx, "later")
    rollback.rollback_to(line.ctx, 3)
    assert [snapshot.id for snapshot in find.snapshots(line.fresh())] == [1, 2, 3]
    assert tags.names(line.ctx) == ["start"]
    assert find.latest_id(line.ctx) == find.latest_id(line.fresh()) == 3
    line.check()
    assert line.append().id == 4
    line.check()


def test_rollback_to_a_tag_whose_snapshot_has_expired_brings_it_back(line: Line) -> None:
    for _ in range(3):
        line.append()
    line.clock.advance(1)
    expire(line.ctx)
    assert rollback.rollback_to(line.ctx, "start").id == 2
    assert [snapshot.id for snapshot in find.snapshots(line.fresh())] == [2]
    assert line.append().id == 3
    line.check()
    with pytest.raises(NotFoundError):
        rollback.rollback_to(line.ctx, 1)
    with pytest.raises(NotFoundError, match="no snapshot to go back to"):
        rollback.rollback_to(Line.new().ctx, None)
