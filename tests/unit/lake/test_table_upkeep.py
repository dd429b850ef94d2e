"""The keeper's job that looks after tables: what wakes it, what it does, and what it leaves alone."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import hosu
from hosu.kernel.fileio import FolderFileIO
from hosu.kernel.settings import Settings
from hosu.lake import Lake, table_upkeep
from hosu.lake.table_upkeep import (
    AGE_MS,
    COMMITS,
    FOLLOW_S,
    FOLLOW_S_MIN,
    IDLE_S,
    OTHERS_MS,
    REST,
    REST_QUIET,
    RETRY_S,
    TURN_S,
    TablesJob,
)
from hosu.objects.alerts import list_alerts
from hosu.objects.audit import read_outbox
from hosu.objects.fileio import ObjectFileIO
from hosu.rules import wanted
from hosu.rules.keeping import Keep
from hosu.rules.wanted import TABLES_DUE, WANTED, split_warehouse
from hosu.tables.catalog import Catalog
from hosu.tables.compaction import compacting
from hosu.tables.compaction.buckets import compact_bucket
from hosu.tables.compaction.claims import claimed
from hosu.tables.context import TableContext
from hosu.tables.manifests import live_entries
from hosu.tables.reading import Scan
from hosu.tables.snapshots import branches, find, tags
from hosu.tables.writing.writer import TableWriter
from hosu.testing.manual_clock import ManualClock

SETTINGS = Settings(warehouse="paimon/warehouse")
SCHEMA = pa.schema([pa.field("id", pa.int64(), nullable=False), pa.field("v", pa.int64())])


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def lake(tmp_path: Path, clock: ManualClock) -> Iterator[Lake]:
    with hosu.open(tmp_path / "lake", clock=clock) as opened:
        opened.create_bucket("paimon")
        yield opened


@pytest.fixture
def catalog(lake: Lake, clock: ManualClock) -> Iterator[Catalog]:
    with Catalog(ObjectFileIO(lake.store, "paimon", actor="flink"), "warehouse", clock=clock) as catalog:
        catalog.create_database("d")
        yield catalog


@pytest.fixture
def counted() -> dict[str, int]:
    return {}


@pytest.fixture(autouse=True)
def idle_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have looks keep the processor busy for no time, whatever else the machine does."""
    monkeypatch.setattr(table_upkeep, "process_time", lambda: 0.0)


@pytest.fixture
def job(lake: Lake, counted: dict[str, int]) -> TablesJob:
    def count(name: str, number: int) -> None:
        counted[name] = counted.get(name, 0) + number

    return TablesJob(Keep(store=lake.store, settings=SETTINGS, count=count))


def make(catalog: Catalog, name: str = "d.t", **options: str) -> TableContext:
    options = {key.replace("__", "-"): value for key, value in options.items()}
    catalog.create_table(name, SCHEMA, primary_keys=["id"], options={"bucket": "1", "write-only": "true", **options})
    return catalog.open(name)


def upsert(ctx: TableContext, *, commits: int = 1, user: str | None = None) -> None:
    for number in range(commits):
        with TableWriter(ctx, commit_user=user and f"{user}-{number}") as writer:
            writer.write(pa.table({"id": [number, 1_000], "v": [number, number]}, SCHEMA))
            writer.commit()


def runs(ctx: TableContext) -> int:
    snapshot = find.latest(ctx)
    assert snapshot is not None
    return len(live_entries(ctx, snapshot))


def is_wanted(lake: Lake, settings: Settings = SETTINGS) -> bool:
    return WANTED["tables"](lake.store.view(), settings)


def run(job: TablesJob) -> float:
    return job.run(threading.Event())


def audited(lake: Lake) -> list[str]:
    lines = b"\n".join(row.line() for row in read_outbox(lake.store.view(), 0, 10_000)).decode()
    return [line for line in lines.splitlines() if '"hosu:tables"' in line and '"operation":"tables:' in line]


def test_a_lake_without_a_warehouse_wants_nothing(tmp_path: Path, job: TablesJob, lake: Lake) -> None:
    with hosu.open(tmp_path / "other") as other:
        other.create_bucket("door").put("models/a.snapshot/snapshot-1", b"")

        assert not is_wanted(other)

    assert not is_wanted(lake)
    assert run(job) == FOLLOW_S


def test_objects_that_are_no_snapshots_want_nothing(lake: Lake) -> None:
    lake.bucket("paimon").put("warehouse/d.db/t/manifest/manifest-1", b"")
    lake.bucket("paimon").put("checkpoints/d.db/t/snapshot/snapshot-1", b"")
    lake.bucket("paimon").put("warehouse-old/d.db/t/snapshot/snapshot-1", b"")
    lake.bucket("paimon").put("warehouse/notes/schema/schema-1.json", b"")
    lake.create_bucket("other").put("warehouse/d.db/t/snapshot/snapshot-1", b"")

    assert not is_wanted(lake)


def test_a_snapshot_that_somebody_commits_wants_a_look(lake: Lake, catalog: Catalog, job: TablesJob) -> None:
    upsert(make(catalog))
    assert is_wanted(lake)

    assert run(job) == FOLLOW_S

    assert not is_wanted(lake)


def test_commits_that_come_fast_are_followed_sooner(catalog: Catalog, job: TablesJob) -> None:
    ctx = make(catalog)
    upsert(ctx, commits=2)
    assert run(job) == FOLLOW_S
    upsert(ctx, commits=2 * COMMITS)
    assert run(job) == pytest.approx(FOLLOW_S / 2)
    upsert(ctx, commits=2 * COMMITS)
    assert run(job) == pytest.approx(FOLLOW_S / 4)
    for _ in range(9):
        upsert(ctx, commits=2 * COMMITS)
        pause_s = run(job)
    assert pause_s == FOLLOW_S_MIN

    assert run(job) == FOLLOW_S, "nothing has come"


def test_a_look_that_takes_much_of_the_processor_is_followed_by_a_rest(
    catalog: Catalog, job: TablesJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    times_s = iter([100.0, 107.0])
    monkeypatch.setattr(table_upkeep, "process_time", lambda: next(times_s))
    upsert(make(catalog), commits=9 * COMMITS)

    assert run(job) == 7.0


def test_many_events_want_a_look_that_forgets_them(
    lake: Lake, catalog: Catalog, job: TablesJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wanted, "TABLES_EVENTS", 3)
    upsert(make(catalog))
    run(job)
    bucket = lake.create_bucket("other")
    for number in range(4):
        bucket.put(str(number), b"")
    assert is_wanted(lake)

    run(job)

    assert not is_wanted(lake)


def test_what_is_due_is_compacted_with_a_line_of_the_audit_log(
    lake: Lake, catalog: Catalog, job: TablesJob, counted: dict[str, int]
) -> None:
    ctx = make(catalog)
    upsert(ctx, commits=7)
    assert runs(ctx) == 7

    run(job)

    assert runs(ctx) == 1
    assert Scan(ctx, find.latest(ctx)).to_arrow().num_rows == 8
    assert counted["rule_actions/tables/Compact"] == 1
    assert counted["rule_bytes/tables/Compact"] > 0
    (line,) = audited(lake)
    assert '"operation":"tables:Compact"' in line
    assert '"key":"warehouse/d.db/t/bucket-0/"' in line
    assert "7 files became 1, 14 rows read" in line


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch, clock: ManualClock) -> int:
    """Have a run over a table take so many milliseconds."""
    run_compaction = compacting.run_compaction

    def slowly(*given: Any, **more: Any) -> compacting.Outcome:
        clock.advance(500)
        return run_compaction(*given, **more)

    monkeypatch.setattr(compacting, "run_compaction", slowly)
    return 500


def test_small_buckets_that_were_compacted_whole_rest_while_commits_go_on(
    lake: Lake, catalog: Catalog, clock: ManualClock, job: TablesJob, slow: int
) -> None:
    ctx = make(catalog)
    upsert(ctx, commits=2)
    run(job)
    assert runs(ctx) == 1

    upsert(ctx, commits=2)
    assert run(job) == FOLLOW_S
    assert runs(ctx) == 3
    clock.advance(2000)
    assert 0 < run(job) < REST_QUIET * slow / 1000
    assert not is_wanted(lake)
    clock.advance(REST_QUIET * slow)
    assert is_wanted(lake)
    run(job)

    assert runs(ctx) == 1
    assert not is_wanted(lake)


def test_small_buckets_rest_longer_while_commits_keep_coming(
    catalog: Catalog, clock: ManualClock, job: TablesJob, slow: int
) -> None:
    ctx = make(catalog)
    upsert(ctx, commits=2)
    run(job)
    for _ in range(2):
        upsert(ctx, commits=1)
        clock.advance(REST_QUIET * slow)
        assert run(job) == FOLLOW_S
        assert runs(ctx) > 1
    upsert(ctx, commits=1)
    clock.advance(REST * slow)
    run(job)
    assert runs(ctx) == 1


def test_runs_are_kept_few_while_small_buckets_rest(catalog: Catalog, job: TablesJob, slow: int) -> None:
    ctx = make(catalog)
    upsert(ctx, commits=2)
    run(job)
    for _ in range(4):
        upsert(ctx, commits=6)
        run(job)

        assert slow
        assert runs(ctx) <= 5


def test_buckets_that_rested_are_compacted_whole_though_the_keeper_began_anew(
    lake: Lake, catalog: Catalog, clock: ManualClock, job: TablesJob, slow: int
) -> None:
    ctx = make(catalog)
    for _ in range(2):
        upsert(ctx, commits=2)
        run(job)
    assert runs(ctx) == 3
    clock.advance(REST * slow)

    run(TablesJob(Keep(store=lake.store, settings=SETTINGS, count=lambda *_: None)))

    assert runs(ctx) == 1
    assert not is_wanted(lake)


def test_a_table_that_is_dropped_while_it_rests_is_forgotten(
    lake: Lake, catalog: Catalog, clock: ManualClock, job: TablesJob, slow: int
) -> None:
    ctx = make(catalog)
    for _ in range(2):
        upsert(ctx, commits=2)
        run(job)
    catalog.drop_table("d.t")
    clock.advance(REST * slow)

    run(job)
    assert not is_wanted(lake)


def test_its_own_commits_do_not_keep_it_awake(lake: Lake, catalog: Catalog, job: TablesJob) -> None:
    upsert(make(catalog), commits=7)
    seen = lake.store.view().value("SELECT max(seq) FROM event")

    run(job)

    assert lake.store.view().value("SELECT max(seq) FROM event") > seen
    assert not is_wanted(lake)
    assert not job._feed.changed().tables


def test_a_table_may_ask_to_be_left_alone(lake: Lake, catalog: Catalog, job: TablesJob) -> None:
    ctx = make(catalog, **{"hosu.upkeep": "false"})
    upsert(ctx, commits=7)

    run(job)

    assert runs(ctx) == 7
    assert audited(lake) == []


def test_snapshots_expire_once_they_are_old_though_nothing_is_written(
    lake: Lake, catalog: Catalog, clock: ManualClock, job: TablesJob, counted: dict[str, int]
) -> None:
    ctx = make(catalog, **{"snapshot.num-retained.min": "1", "snapshot.time-retained": "3 h"})
    upsert(ctx, commits=3)
    run(job)
    assert find.earliest_id(ctx) == 1
    assert not is_wanted(lake)
    clock.advance(4 * 3600 * 1000)
    assert is_wanted(lake)

    run(job)

    ctx.cache.clear()
    assert find.earliest_id(ctx) == find.latest_id(ctx)
    assert counted["rule_actions/tables/ExpireSnapshot"] >= 2
    assert any('"operation":"tables:ExpireSnapshot"' in line for line in audited(lake))
    assert not is_wanted(lake)


def test_a_table_in_which_nothing_grows_old_is_not_looked_at_again(
    lake: Lake, catalog: Catalog, clock: ManualClock, job: TablesJob
) -> None:
    upsert(make(catalog))
    run(job)

    clock.advance(100 * AGE_MS)

    assert not is_wanted(lake)
    assert lake.store.view().value("SELECT 1 FROM counter WHERE name = ?", (TABLES_DUE,)) is None


def test_what_one_table_is_due_is_not_forgotten_over_another(
    lake: Lake, catalog: Catalog, clock: ManualClock, job: TablesJob
) -> None:
    old = make(catalog, "d.old", **{"snapshot.num-retained.min": "1", "snapshot.time-retained": "3 h"})
    upsert(old, commits=3)
    run(job)
    new = make(catalog, "d.new")
    upsert(new)
    run(job)

    clock.advance(4 * 3600 * 1000)
    assert is_wanted(lake)
    run(job)

    old.cache.clear()
    assert find.earliest_id(old) == find.latest_id(old)
    assert find.earliest_id(new) == 1


def test_a_bucket_that_somebody_is_at_is_looked_at_again(
    lake: Lake, catalog: Catalog, clock: ManualClock, job: TablesJob
) -> None:
    ctx = make(catalog)
    upsert(ctx, commits=7)
    with claimed(ctx, (), 0):
        run(job)
        assert runs(ctx) == 7
    assert not is_wanted(lake)

    clock.advance(AGE_MS)
    assert is_wanted(lake)
    run(job)

    assert runs(ctx) == 1


def test_a_broken_table_does_not_keep_others_from_their_upkeep(
    lake: Lake, catalog: Catalog, job: TablesJob, counted: dict[str, int]
) -> None:
    broken, whole = make(catalog, "d.a"), make(catalog, "d.b")
    upsert(broken, commits=7)
    upsert(whole, commits=7)
    snapshot = find.latest(broken)
    assert snapshot is not None
    for entry in live_entries(broken, snapshot):
        lake.bucket("paimon").put(broken.layout.data_file((), 0, entry.file.file_name), b"?")

    run(job)

    assert runs(whole) == 1
    assert runs(broken) == 7
    assert counted["rule_errors/tables"] == 1


def break_files(lake: Lake, ctx: TableContext) -> None:
    snapshot = find.latest(ctx)
    assert snapshot is not None
    for entry in live_entries(ctx, snapshot):
        lake.bucket("paimon").put(ctx.layout.data_file((), entry.bucket, entry.file.file_name), b"?")


def alerts(lake: Lake) -> list[tuple[str, str]]:
    return [(alert.subject, alert.message) for alert in list_alerts(lake.store.view()) if alert.kind == "table-upkeep"]


def test_a_broken_bucket_keeps_neither_others_nor_expiry_from_being_done(
    lake: Lake, catalog: Catalog, job: TablesJob
) -> None:
    ctx = make(catalog, **{"bucket": "2", "snapshot.num-retained.min": "1", "snapshot.num-retained.max": "2"})
    upsert(ctx, commits=7)
    snapshot = find.latest(ctx)
    assert snapshot is not None
    before = live_entries(ctx, snapshot)
    for entry in before:
        if entry.bucket == 0:
            lake.bucket("paimon").put(ctx.layout.data_file((), 0, entry.file.file_name), b"?")

    run(job)

    snapshot = find.latest(ctx)
    assert snapshot is not None
    after = live_entries(ctx, snapshot)
    assert [entry.bucket for entry in after].count(0) == [entry.bucket for entry in before].count(0)
    assert [entry.bucket for entry in after].count(1) == 1 < [entry.bucket for entry in before].count(1)
    ctx.cache.clear()
    assert find.earliest_id(ctx) == snapshot.id - 1


def test_a_broken_table_is_left_alone_for_ever_longer_and_people_are_told(
    lake: Lake, catalog: Catalog, clock: ManualClock, job: TablesJob, counted: dict[str, int]
) -> None:
    ctx = make(catalog)
    upsert(ctx, commits=7)
    break_files(lake, ctx)
    run(job)
    assert counted["rule_errors/tables"] == 1
    assert alerts(lake) == [], "once may be an accident"

    for times in (2, 3, 4):
        upsert(ctx)
        run(job)
        assert counted["rule_errors/tables"] == times - 1, "commits do not have it tried again"
        clock.advance(int(RETRY_S * 1000) * 2 ** (times - 2))
        run(job)
        assert counted["rule_errors/tables"] == times

    ((subject, message),) = alerts(lake)
    assert subject == "d.t"
    assert "bucket-0/data-" in message
    clock.advance(AGE_MS)
    catalog.drop_table("d.t")
    run(job)
    assert alerts(lake) == []


def test_a_broken_table_whose_small_buckets_rested_does_not_keep_the_keeper_busy(
    lake: Lake, catalog: Catalog, clock: ManualClock, job: TablesJob, counted: dict[str, int], slow: int
) -> None:
    ctx = make(catalog)
    upsert(ctx, commits=2)
    run(job)
    upsert(ctx, commits=7)
    break_files(lake, ctx)
    run(job)
    assert counted["rule_errors/tables"] == 1
    clock.advance(REST_QUIET * slow)

    assert run(job) == FOLLOW_S


def test_a_table_that_is_whole_again_is_no_alert_any_more(
    lake: Lake, catalog: Catalog, clock: ManualClock, job: TablesJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx = make(catalog)
    upsert(ctx, commits=7)
    opened = Catalog.open
    monkeypatch.setattr(Catalog, "open", lambda *_, **__: 1 / 0)
    for _ in range(2):
        run(job)
        clock.advance(int(RETRY_S * 1000))
    assert [subject for subject, _ in alerts(lake)] == ["d.t"]
    monkeypatch.setattr(Catalog, "open", opened)
    clock.advance(AGE_MS)

    run(job)

    assert runs(ctx) == 1
    assert alerts(lake) == []


def test_one_table_does_not_keep_others_from_their_turn(
    catalog: Catalog, clock: ManualClock, job: TablesJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    large, small = make(catalog, "d.a", bucket="2"), make(catalog, "d.b")
    for ctx in (large, small):
        upsert(ctx, commits=7)
    before = runs(large)

    def slowly(ctx: TableContext, *given: Any, **more: Any) -> Any:
        clock.advance(int(TURN_S * 1000) if ctx.identifier.table == "a" else 0)
        return compact_bucket(ctx, *given, **more)

    monkeypatch.setattr(compacting, "compact_bucket", slowly)

    run(job)
    assert 2 < runs(large) < before
    assert runs(small) == 1
    clock.advance(int(REST * TURN_S * 1000))
    run(job)

    assert runs(large) == 2


def test_a_tag_with_a_time_expires_though_nothing_is_written(
    lake: Lake, catalog: Catalog, clock: ManualClock, job: TablesJob
) -> None:
    ctx = make(catalog)
    upsert(ctx)
    run(job)
    tags.create(ctx, "short", retained_ms=AGE_MS // 2)
    assert is_wanted(lake)
    run(job)
    assert not is_wanted(lake)

    clock.advance(AGE_MS)
    assert is_wanted(lake)
    run(job)

    assert tags.names(ctx) == []


def test_it_ends_when_it_is_told_to(lake: Lake, catalog: Catalog, job: TablesJob) -> None:
    ctx = make(catalog)
    upsert(ctx, commits=7)
    stop = threading.Event()
    stop.set()

    job.run(stop)

    assert runs(ctx) == 7
    assert is_wanted(lake)


def test_what_it_left_halfway_as_it_ended_is_done_the_next_time(
    lake: Lake, catalog: Catalog, job: TablesJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx = make(catalog)
    upsert(ctx, commits=7)
    stop = threading.Event()
    opened = Catalog.open

    def ends_now(*args: Any, **more: Any) -> TableContext:
        stop.set()
        return opened(*args, **more)

    monkeypatch.setattr(Catalog, "open", ends_now)
    job.run(stop)
    monkeypatch.undo()
    assert runs(ctx) == 7
    assert is_wanted(lake)

    run(job)

    assert runs(ctx) == 1


def test_a_table_that_breaks_a_library_does_not_keep_others_from_their_upkeep(
    catalog: Catalog, job: TablesJob, counted: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("d.a", "d.b"):
        upsert(make(catalog, name), commits=7)
    opened = Catalog.open

    def breaks(catalog: Catalog, name: str, **more: Any) -> TableContext:
        if name == "d.a":
            raise pa.ArrowInvalid("odd")
        return opened(catalog, name, **more)

    monkeypatch.setattr(Catalog, "open", breaks)

    run(job)

    monkeypatch.undo()
    assert runs(catalog.open("d.b")) == 1
    assert counted["rule_errors/tables"] == 1


def test_snapshots_of_a_branch_expire_by_age_too(
    lake: Lake, catalog: Catalog, clock: ManualClock, job: TablesJob
) -> None:
    ctx = make(catalog, **{"snapshot.num-retained.min": "1", "snapshot.time-retained": "3 h"})
    branches.create(ctx, "b")
    branch = catalog.open("d.t", branch="b")
    upsert(branch, commits=3)
    run(job)
    clock.advance(4 * 3600 * 1000)
    assert is_wanted(lake)

    run(job)

    branch.cache.clear()
    assert find.earliest_id(branch) == find.latest_id(branch)


def test_tables_that_changed_while_events_were_trimmed_are_found(lake: Lake, catalog: Catalog, job: TablesJob) -> None:
    ctx = make(catalog)
    run(job)
    upsert(ctx, commits=7)
    lake.store.commit(lambda tx: tx.run("DELETE FROM event WHERE seq < (SELECT max(seq) FROM event)"))
    lake.bucket("paimon").put("warehouse/x", b"")

    run(job)

    assert runs(ctx) == 1


def test_a_warehouse_in_a_folder_is_walked_over(tmp_path: Path, lake: Lake, clock: ManualClock) -> None:
    (tmp_path / "nas").mkdir()
    settings = Settings(warehouse=str(tmp_path / "nas"))
    with Catalog(FolderFileIO(tmp_path / "nas"), "", clock=clock) as catalog:
        catalog.create_database("d")
        ctx = make(catalog)
        upsert(ctx, commits=7)
        assert is_wanted(lake, settings)

        job = TablesJob(Keep(store=lake.store, settings=settings, count=lambda *_: None))
        assert run(job) == FOLLOW_S, "where something changes more may come"
        assert runs(ctx) == 1
        assert run(job) == IDLE_S

        upsert(ctx)
        run(job)
        assert runs(ctx) == 1


@pytest.mark.parametrize(
    ("place", "found"),
    [
        ("paimon/warehouse", ("paimon", "warehouse")),
        ("a/b/c/", ("a", "b/c")),
        ("/nas", (None, "")),
        ("s3://b/p", (None, "")),
    ],
)
def test_a_warehouse_is_a_bucket_and_a_folder_or_somewhere_else(place: str, found: tuple[str | None, str]) -> None:
    assert split_warehouse(place) == found


def test_a_writer_that_compacts_itself_is_left_to_do_so(catalog: Catalog, job: TablesJob, clock: ManualClock) -> None:
    ctx = make(catalog, write__only="false")
    upsert(ctx, commits=4, user="flink")
    run(job)
    assert runs(ctx) == 4

    upsert(ctx, user="spark")
    clock.advance(OTHERS_MS)
    run(job)
    assert runs(ctx) == 1, "it has ended"


def test_what_nobody_compacts_is_compacted_whoever_wrote_it(catalog: Catalog, job: TablesJob) -> None:
    triggers = {"num-sorted-run.compaction-trigger": "2", "num-sorted-run.stop-trigger": "50"}
    ctx = make(catalog, write__only="false", **triggers)
    pypaimon = catalog.open("d.t", options={"write-only": "true"})
    upsert(pypaimon, commits=3, user="pypaimon")
    run(job)
    assert runs(ctx) == 3
    upsert(pypaimon, user="pypaimon-again")
    run(job)
    assert runs(ctx) == 1


def test_tables_that_are_write_only_are_compacted_at_once(catalog: Catalog, job: TablesJob) -> None:
    ctx = make(catalog)
    upsert(ctx, commits=2, user="flink")
    run(job)
    assert runs(ctx) == 1
