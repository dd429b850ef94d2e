"""Writers in several processes commit to one table at once, wherever its files are: no commit is lost."""

import itertools
import multiprocessing
import random
import sys
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest
from tests.properties.profiles import IS_NIGHTLY
from tests.support.clients import boto3_client
from tests.support.server import Endpoint
from tests.support.tables import change, data_file, open_context

from hosu.kernel.errors import ConflictError
from hosu.kernel.fileio import FileIO, FolderFileIO, MemoryFileIO, S3FileIO, S3Place
from hosu.lake import open_lake
from hosu.tables.commit import commit
from hosu.tables.context import TableContext
from hosu.tables.manifests import live_entries
from hosu.tables.records import BucketChange, Snapshot
from hosu.tables.snapshots import find
from hosu.testing.fileio_races import run_in_threads

WRITERS = 4
COMMITS = 200 if IS_NIGHTLY else 50
STEPS = 200 if IS_NIGHTLY else 40

Opener = Callable[[], FileIO]


def open_object_files(root: Path) -> FileIO:
    """Open a bucket of a lake, which stays open until the process ends."""
    return open_lake(root).bucket("tables").fileio()


def _later(ctx: TableContext, old: BucketChange, greatest: int) -> BucketChange:
    count = len(old.new_files)
    new = [data_file(ctx, min_sequence_number=greatest + 1, max_sequence_number=greatest + 1) for _ in range(count)]
    return change(ctx, *new, partition=old.partition[0])


def _greatest(ctx: TableContext, seen: Snapshot | None, partition: str) -> int:
    files = [] if seen is None else live_entries(ctx, seen, partitions=[(partition,)])
    return max((entry.file.max_sequence_number for entry in files), default=-1)


def _write(opener: Opener, number: int, barrier: Barrier, outcomes: Any) -> None:
    ctx = open_context(opener(), user=f"writer-{number}")
    barrier.wait(60)
    seen: Snapshot | None = None
    reached: dict[str, int] = {}
    ids = []
    for identifier in range(COMMITS):
        partition = "ab"[identifier % 2]
        if identifier % 10 == 0:
            seen, reached = find.latest(ctx), {}
        first = 1 + (reached[partition] if partition in reached else _greatest(ctx, seen, partition))
        new = data_file(ctx, min_sequence_number=first, max_sequence_number=first)
        made = commit(
            ctx,
            [change(ctx, new, partition=partition)],
            identifier=identifier,
            check_from=seen,
            resequence=partial(_later, ctx),
        )
        ids.append(made[-1].id)
        if made[-1].id == (seen.id if seen else 0) + 1:
            seen, reached[partition] = made[-1], first
    find.settle(ctx)
    outcomes.put((number, ids))


def race(opener: Opener) -> None:
    """Let writers race, then see that each snapshot is one commit and that each commit is there."""
    context = multiprocessing.get_context("spawn")
    barrier, outcomes = context.Barrier(WRITERS), context.SimpleQueue()
    writers = [context.Process(target=_write, args=(opener, number, barrier, outcomes)) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(110)
        assert writer.exitcode == 0, f"{writer.name} ended with {writer.exitcode}"
    won = dict(outcomes.get() for _ in writers)

    ctx = open_context(opener())
    latest = find.latest(ctx)
    assert latest is not None
    assert latest.id == WRITERS * COMMITS
    assert sorted(number for ids in won.values() for number in ids) == list(range(1, latest.id + 1))
    assert latest.total_record_count == WRITERS * COMMITS * 10
    entries = live_entries(ctx, latest)
    assert len(entries) == len({entry.file.file_name for entry in entries}) == WRITERS * COMMITS
    commits = {(snapshot.commit_user, snapshot.commit_identifier) for snapshot in find.snapshots(ctx)}
    assert commits == {(f"writer-{number}", step) for number in range(WRITERS) for step in range(COMMITS)}
    for partition in "ab":
        numbers = [entry.file.min_sequence_number for entry in live_entries(ctx, latest, partitions=[(partition,)])]
        assert len(set(numbers)) == len(numbers), "no two writers used one sequence number in a bucket"


def test_all_commits_are_there_in_a_folder(tmp_path: Path) -> None:
    race(partial(FolderFileIO, tmp_path))


def test_all_commits_are_there_in_a_lake(tmp_path: Path) -> None:
    with open_lake(tmp_path / "lake") as lake:
        lake.create_bucket("tables")
    race(partial(open_object_files, tmp_path / "lake"))


@pytest.fixture
def place(server: Endpoint) -> Iterator[S3Place]:
    bucket = f"tables-{uuid.uuid4().hex[:8]}"
    client = boto3_client(server)
    client.create_bucket(Bucket=bucket)
    yield S3Place(
        bucket,
        endpoint=server.url,
        region=server.region,
        access_key_id=server.access_key,
        secret_access_key=server.secret_key,
    )
    client.close()


def test_all_commits_are_there_on_the_s3_of_a_server(place: S3Place) -> None:
    race(partial(S3FileIO, place))


def test_whatever_is_appended_and_compacted_at_once_is_there_once() -> None:
    """Threads put files together that others are putting together too: what loses begins again."""
    files = MemoryFileIO()
    holds: dict[str, frozenset[int]] = {}
    rows = itertools.count()
    lost = itertools.count()

    def append(number: int) -> None:
        ctx = open_context(files, user=f"appender-{number}")
        for identifier in range(STEPS):
            row = next(rows)
            new = data_file(ctx, (row, row))
            holds[new.file_name] = frozenset({row})
            commit(ctx, [change(ctx, new)], identifier=identifier, check_from=find.latest(ctx))

    def compact(number: int) -> None:
        ctx, chance = open_context(files, user=f"compactor-{number}"), random.Random(number)
        for identifier in range(STEPS):
            seen = find.latest(ctx)
            assert seen is not None
            there = live_entries(ctx, seen)
            old = [entry.file for entry in chance.sample(there, min(3, len(there)))]
            held = frozenset[int]().union(*(holds[file.file_name] for file in old))
            new = data_file(ctx, (min(held), max(held)), row_count=len(held))
            holds[new.file_name] = held
            merged = change(ctx, compact_before=old, compact_after=[new])
            try:
                commit(ctx, [merged], identifier=identifier, check_from=seen)
            except ConflictError:
                next(lost)

    append(-1)
    # Threads that take turns every few bytecodes meet in places where, left alone, they would rarely meet.
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        run_in_threads(lambda number: append(number) if number % 2 else compact(number), 6)
    finally:
        sys.setswitchinterval(interval_s)
    ctx = open_context(files)
    assert next(lost) > 0, "nobody was in anybody's way: the test is too easy"
    expected = 4 * STEPS
    for snapshot in find.snapshots(ctx):
        held_rows = [row for entry in live_entries(ctx, snapshot) for row in holds[entry.file.file_name]]
        assert len(held_rows) == len(set(held_rows)) == snapshot.total_record_count
    latest = find.latest(ctx)
    assert latest is not None
    assert latest.total_record_count == expected == next(rows)
