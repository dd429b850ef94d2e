"""Tags: made, found, renamed, and read as Java writes them."""

import json
from typing import Any

import pytest
from tests.support.upkeep import HOUR_MS, Line

from hosu.kernel.errors import ConflictError, CorruptError, ErrorKind, HosuError, InvalidInputError, NotFoundError
from hosu.tables.snapshots import find, tags
from hosu.tables.upkeep.expiry import expire


@pytest.fixture
def line() -> Line:
    line = Line.new()
    for _ in range(3):
        line.append()
    return line


def test_a_tag_repeats_its_snapshots_file(line: Line) -> None:
    tags.create(line.ctx, "now")
    tags.create(line.ctx, "first", 1)
    assert [(tag.name, tag.snapshot.id) for tag in tags.tags(line.ctx)] == [("first", 1), ("now", 3)]
    assert tags.names(line.ctx) == ["first", "now"]
    stored = [json.loads(line.ctx.files.read(key)) for key in (line.ctx.layout.tag("now"), line.ctx.layout.snapshot(3))]
    assert stored[0] == stored[1]


def test_what_a_newer_writer_put_into_a_snapshot_is_in_its_tag_too(line: Line) -> None:
    key = line.ctx.layout.snapshot(3)
    document = json.loads(line.ctx.files.read(key)) | {"fromTheFuture": [1, {"a": None}]}
    line.ctx.files.put(key, json.dumps(document).encode())
    tags.create(line.ctx, "t", retained_ms=1500)
    tagged = json.loads(line.ctx.files.read(line.ctx.layout.tag("t")))
    assert tagged.pop("tagTimeRetained") == 1.5
    assert len(tagged.pop("tagCreateTime")) == 7
    assert tagged == document


def test_how_long_a_tag_stays_is_read_back(line: Line) -> None:
    made = tags.create(line.ctx, "t", retained_ms=HOUR_MS)
    assert b'"tagTimeRetained" : 3600.000000000' in line.ctx.files.read(line.ctx.layout.tag("t"))
    found = tags.get(line.ctx, "t")
    assert found.retained_ms == made.retained_ms == HOUR_MS
    assert found.created_ms == line.clock.now_ms()
    assert not found.is_due(line.clock.now_ms() + HOUR_MS)
    assert found.is_due(line.clock.now_ms() + HOUR_MS + 1)


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [([2026, 1, 2, 3, 4], 0), ([2026, 1, 2, 3, 4, 5], 5), ([2026, 1, 2, 3, 4, 5, 6_000_000], 5.006)],
)
def test_times_of_java_may_leave_out_their_end(line: Line, fields: list[int], seconds: float) -> None:
    document = json.loads(line.ctx.files.read(line.ctx.layout.snapshot(1)))
    line.ctx.files.put(
        line.ctx.layout.tag("j"), json.dumps(document | {"tagCreateTime": fields, "tagTimeRetained": 60}).encode()
    )
    found = tags.get(line.ctx, "j")
    assert found.created_ms is not None
    assert tags.local_fields(found.created_ms)[:5] == [2026, 1, 2, 3, 4]
    assert found.created_ms % 60_000 == seconds * 1000
    assert found.retained_ms == 60_000


def test_a_tag_can_be_made_from_what_another_tag_keeps(line: Line) -> None:
    tags.create(line.ctx, "first", 1)
    line.clock.advance(1)
    expire(line.ctx)
    tags.create(line.ctx, "again", 1)
    tags.rename(line.ctx, "first", "renamed")
    assert tags.names(line.ctx) == ["again", "renamed"]
    line.check()
    with pytest.raises(NotFoundError, match="it has 3 to 3"):
        tags.create(line.ctx, "gone", 2)


def test_a_name_is_taken_once_unless_it_may_be_replaced(line: Line) -> None:
    tags.create(line.ctx, "t", 1)
    with pytest.raises(ConflictError) as caught:
        tags.create(line.ctx, "t")
    assert caught.value.kind is ErrorKind.TABLE_TAG_EXISTS
    assert tags.create(line.ctx, "t", exist_ok=True).snapshot.id == 1
    assert tags.create(line.ctx, "t", replace=True).snapshot.id == 3
    tags.create(line.ctx, "u")
    with pytest.raises(ConflictError):
        tags.rename(line.ctx, "u", "t")


@pytest.mark.parametrize("name", ["", "  ", "a/b", "a\\b", "a\nb", "x" * 201])
def test_what_is_no_name_is_refused(line: Line, name: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        tags.create(line.ctx, name)
    assert caught.value.kind is ErrorKind.INVALID_ARGUMENT
    assert tags.tags(line.ctx) == []
    assert tags.try_get(line.ctx, name) is None


def test_what_is_not_there_is_said(line: Line) -> None:
    for call in (lambda: tags.get(line.ctx, "t"), lambda: tags.rename(line.ctx, "t", "u")):
        with pytest.raises(NotFoundError) as caught:
            call()
        assert caught.value.kind is ErrorKind.TABLE_TAG_NOT_FOUND
    with pytest.raises(NotFoundError, match="no snapshot yet"):
        tags.create(Line.new().ctx, "t")
    with pytest.raises(InvalidInputError, match="0 ms"):
        tags.create(line.ctx, "t", retained_ms=0)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"id": 1}'])
def test_a_broken_tag_is_named(line: Line, text: str) -> None:
    line.ctx.files.put(line.ctx.layout.tag("bad"), text.encode())
    calls: list[Any] = [lambda: tags.tags(line.ctx), lambda: tags.get(line.ctx, "bad"), lambda: expire(line.ctx)]
    line.clock.advance(1)
    for call in calls:
        with pytest.raises(HosuError, match="tag-bad") as caught:
            call()
        assert isinstance(caught.value, CorruptError)
    assert find.load(line.ctx, 1).id == 1
