"""Changelogs that outlive their snapshots, and go in their turn."""

from dataclasses import replace

import pytest
from tests.support.upkeep import HOUR_MS, QUIET_OPTIONS, Line, keys_of

from hosu.kernel.errors import NotFoundError
from hosu.tables.manifests import live_entries
from hosu.tables.options import Options
from hosu.tables.snapshots import branches, changelogs, consumers, find, leases, tags
from hosu.tables.upkeep.changelogs import expire as expire_changelogs
from hosu.tables.upkeep.expiry import expire
from hosu.tables.upkeep.orphans import YOUNG_MS, clean_orphans
from hosu.tables.upkeep.run import upkeep_table
from hosu.tables.upkeep.tagged import delete_tag

LONG = {"snapshot.time-retained": "0 ms", "changelog.time-retained": "1 h", "changelog.num-retained.min": "1"}


@pytest.mark.parametrize("producer", ["input", "none"])
def test_changelogs_stay_longer_than_their_snapshots_and_then_go(producer: str) -> None:
    line = Line.new(options={**LONG, "changelog-producer": producer})
    for _ in range(3):
        line.append(changelog=producer == "input")
    line.compact()
    line.append(partition="b", changelog=producer == "input")
    shown = list(find.snapshots(line.ctx))
    line.clock.advance(1)
    planned = upkeep_table(line.ctx, dry_run=True)
    done = upkeep_table(line.ctx)
    assert planned.files == done.files
    assert done.snapshots == done.changelogs == [1, 2, 3, 4]
    assert changelogs.ids(line.ctx) == [1, 2, 3, 4]
    kept = [changelogs.load(line.ctx, known) for known in (1, 2, 3)]
    assert [found.id for found in kept if found is not None] == [1, 2, 3]
    if producer == "input":
        line.check_changelogs(shown)
    else:
        for snapshot in (found for found in kept if found is not None):
            for entry in live_entries(line.fresh(), snapshot, which="delta"):
                assert line.ctx.files.exists(line.ctx.layout.data_file(("a",), 0, entry.file.file_name))
    line.clock.advance(2 * YOUNG_MS)
    assert clean_orphans(line.ctx).files == []
    line.check()
    line.append(partition="b", changelog=producer == "input")
    line.append(partition="b", changelog=producer == "input")
    line.clock.advance(1)
    gone = upkeep_table(line.ctx)
    assert set(range(1, 5)) <= set(gone.changelogs)
    line.clock.advance(2 * HOUR_MS)
    upkeep_table(line.ctx)
    line.check()
    left = changelogs.ids(line.ctx)
    assert left in ([], [6])
    line.clock.advance(2 * YOUNG_MS)
    orphans = clean_orphans(line.ctx).files
    assert not [key for key in orphans if "/bucket-" in key]


def test_a_consumer_keeps_changelogs_it_has_not_read() -> None:
    line = Line.new(options={**LONG, "changelog-producer": "input"})
    for _ in range(5):
        line.append(changelog=True)
    line.clock.advance(1)
    expire(line.ctx)
    line.clock.advance(3 * HOUR_MS)
    consumers.reset(line.ctx, "reader", 3)
    assert expire_changelogs(line.ctx, dry_run=True).changelogs == [1, 2]
    assert expire_changelogs(line.ctx).changelogs == [1, 2]
    assert changelogs.ids(line.ctx) == [3, 4]


def test_a_changelog_that_is_read_stays_until_the_read_ends() -> None:
    line = Line.new(options={**LONG, "changelog-producer": "input"})
    for _ in range(4):
        line.append(changelog=True)
    line.clock.advance(1)
    expire(line.ctx)
    line.clock.advance(3 * HOUR_MS)
    second = changelogs.load(line.ctx, 2)
    assert second is not None
    with leases.hold(line.ctx, second):
        assert expire_changelogs(line.ctx).changelogs == [1]
        line.check_changelogs([second])
    assert expire_changelogs(line.ctx).changelogs == [2, 3]
    with pytest.raises(NotFoundError), leases.hold(line.ctx, second):
        pass


def test_what_a_tag_needs_stays_when_the_changelog_goes() -> None:
    line = Line.new(options=LONG)
    for _ in range(2):
        line.append()
    tags.create(line.ctx, "two")
    line.compact()
    line.append()
    for _ in range(3):
        line.clock.advance(2 * HOUR_MS)
        upkeep_table(line.ctx)
        line.check()


def test_options_that_no_longer_keep_changelogs_let_them_go() -> None:
    line = Line.new(options={**LONG, "changelog-producer": "input"})
    for _ in range(4):
        line.append(changelog=True)
    line.clock.advance(1)
    upkeep_table(line.ctx)
    assert changelogs.ids(line.ctx) == [1, 2, 3]
    line.ctx = line.ctx.with_schema(line.ctx.schema, Line.new().ctx.options)
    upkeep_table(line.ctx)
    assert changelogs.ids(line.ctx) == []
    line.check()


def test_a_changelog_that_is_read_from_data_files_outlives_a_tag_of_them() -> None:
    line = Line.new(options=LONG)
    first = line.append()
    tags.create(line.ctx, "one")
    line.append()
    line.compact()
    line.append()
    line.clock.advance(1)
    expire(line.ctx)
    assert 1 in changelogs.ids(line.ctx)
    delete_tag(line.fresh(), "one")
    changelog = changelogs.load(line.ctx, first.id)
    assert changelog is not None
    (entry,) = live_entries(line.fresh(), changelog, which="delta")
    assert line.ctx.files.exists(line.ctx.layout.data_file(("a",), 0, entry.file.file_name))
    for _ in range(2):
        line.clock.advance(2 * HOUR_MS)
        line.append(partition="b")
        upkeep_table(line.fresh())
    assert first.id not in changelogs.ids(line.ctx)
    assert not line.ctx.files.exists(line.ctx.layout.data_file(("a",), 0, entry.file.file_name))
    line.check()


@pytest.mark.parametrize("producer", ["input", "none"])
def test_what_a_branch_needs_stays_when_the_changelog_goes(producer: str) -> None:
    line = Line.new(options={**LONG, "changelog-producer": producer})
    line.append(changelog=producer == "input")
    tags.create(line.ctx, "one")
    branches.create(line.ctx, "b", "one")
    branch = line.at("b")
    delete_tag(line.ctx, "one")
    line.append(changelog=producer == "input")
    line.compact()
    for _ in range(3):
        line.append(changelog=producer == "input")
        line.clock.advance(2 * HOUR_MS)
        upkeep_table(line.fresh())
    assert not {1, 2, 3} & set(changelogs.ids(line.ctx))
    branch.check()
    branch.check_changelogs(find.snapshots(branch.ctx))
    line.check()


@pytest.mark.parametrize("producer", ["input", "none"])
def test_what_a_changelog_of_another_branch_needs_stays(producer: str) -> None:
    line = Line.new(options={**LONG, "changelog-producer": producer})
    line.append(changelog=producer == "input")
    tags.create(line.ctx, "one")
    branches.create(line.ctx, "b", "one")
    delete_tag(line.ctx, "one")
    line.append()
    line.compact()
    line.append()
    expire(line.ctx)
    changelog = changelogs.load(line.ctx, 1)
    assert changelog is not None
    branch = Line(branches.at(line.fresh(), "b"), line.clock)
    branch.append()
    branch.compact()
    branch.append()
    options = Options({**QUIET_OPTIONS, "bucket": "2"}, has_primary_key=True)
    quiet = replace(branch.ctx, options=options)
    delete_tag(quiet, "one")
    assert 1 in expire(quiet).snapshots
    fresh = line.fresh()
    entries = live_entries(fresh, changelog, which="changelog" if producer == "input" else "delta")
    for key in keys_of(fresh, entries):
        assert fresh.files.exists(key)
