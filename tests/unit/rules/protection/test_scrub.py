"""The scrub reads everything stored, restores what is corrupt, and goes on where it was stopped."""

import os
import threading
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import pytest
from tests.unit.objects.conftest import BUCKET, Commit, Put, Stage
from tests.unit.rules.protection.harm import Harm, ProtectedPrefix, put_parts, read, run_copies

from hosu.kernel.errors import CorruptError, UnavailableError
from hosu.kernel.limits import MIB
from hosu.kernel.settings import Settings
from hosu.objects import multipart
from hosu.objects.alerts import list_alerts
from hosu.objects.blobs import BlobRow
from hosu.objects.delete import delete_object
from hosu.objects.store import ObjectStore
from hosu.objects.sweep import sweep
from hosu.rules import scrub
from hosu.rules.copy_job import LocationKeeper
from hosu.rules.keeping import Keep
from hosu.rules.protection import protect
from hosu.rules.scrub import Finding, Pace, Scrubber, all_blobs, read_past_cache
from hosu.rules.scrub_job import ScrubJob
from hosu.rules.scrub_times import Due, Number, read_numbers
from hosu.rules.wanted import WANTED
from hosu.testing.lake_check import find_faults
from hosu.testing.manual_clock import ManualClock

BODY = b"model" * 10_000
DAY_MS = 86_400_000


def scrubber(store: ObjectStore, findings: list[Finding], *, is_dry: bool = False) -> Scrubber:
    pace = Pace(store.clock, 0, lambda _: None)
    return Scrubber(store, pace, on_finding=findings.append, is_dry=is_dry)


def named(findings: Iterable[Finding]) -> dict[str, str]:
    return {owner.key: finding.outcome for finding in findings for owner in finding.owners}


def run_job(keep: Keep) -> float:
    return ScrubJob(keep).run(threading.Event())


def test_everything_corrupt_is_found_restored_or_named(
    store: ObjectStore, put: Put, harm: Harm, protected: ProtectedPrefix, copying: LocationKeeper
) -> None:
    for name in ("flip", "truncate", "lengthen", "zero", "unlink"):
        put(f"models/{name}", BODY + name.encode())
        put(f"lost/{name}", BODY + name.encode() * 2)
    put("models/small", b"small")
    put("sound", BODY)
    run_copies(store, copying)
    for name in ("flip", "truncate", "lengthen", "zero", "unlink"):
        harm.do(name, f"models/{name}")
        harm.do(name, f"lost/{name}")
    harm.inline("models/small")
    findings: list[Finding] = []
    once = scrubber(store, findings)
    assert once.scrub(all_blobs(store.view()))
    assert once.report.blobs == 12
    assert (once.report.restored, once.report.lost) == (6, 5)
    outcomes = named(findings)
    assert outcomes.pop("models/small") == "restored"
    assert outcomes == {
        f"{prefix}/{name}": "restored" if prefix == "models" else "lost"
        for prefix in ("models", "lost")
        for name in ("flip", "truncate", "lengthen", "zero", "unlink")
    }
    assert read(store, "models/zero") == BODY + b"zero"
    assert all(protected.copy in finding.source for finding in findings if finding.outcome == "restored")
    assert {alert.kind for alert in list_alerts(store.view())} == {"corrupt-object", "restored-object"}


def test_a_dry_run_says_what_would_be_done_and_does_nothing(
    store: ObjectStore, put: Put, harm: Harm, copying: LocationKeeper
) -> None:
    put("models/a", BODY)
    put("lost", BODY + b"2")
    run_copies(store, copying)
    harm.do("flip", "models/a")
    harm.do("unlink", "lost")
    before = harm.path("models/a").read_bytes()
    findings: list[Finding] = []
    scrubber(store, findings, is_dry=True).scrub(all_blobs(store.view()))
    assert named(findings) == {"models/a": "would be restored", "lost": "would be lost"}
    assert harm.path("models/a").read_bytes() == before
    assert list_alerts(store.view()) == []
    assert not harm.row("lost").is_corrupt


def test_parts_are_found_by_the_objects_they_are_in(
    store: ObjectStore, stage: Stage, harm: Harm, copying: LocationKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multipart, "PART_BYTES_MIN", 1)
    parts = [bytes([number]) * 40_000 for number in range(3)]
    put_parts(store, stage, "models/composed", parts)
    put_parts(store, stage, "lost", [part + b"2" for part in parts])
    run_copies(store, copying)
    children = store.view().rows("SELECT child_id FROM segment ORDER BY blob_id, start")
    for child in (children[1][0], children[3][0]):
        harm.flip(store.files.path(child))
    findings: list[Finding] = []
    scrubber(store, findings).scrub(all_blobs(store.view()))
    assert named(findings) == {"models/composed": "restored", "lost": "lost"}
    assert read(store, "models/composed") == b"".join(parts)
    with pytest.raises(CorruptError):
        read(store, "lost")


def test_what_was_removed_meanwhile_is_no_finding(store: ObjectStore, put: Put, commit: Commit, harm: Harm) -> None:
    put("a", BODY)
    rows = list(all_blobs(store.view()))
    harm.do("unlink", "a")
    commit(delete_object, BUCKET, "a")
    findings: list[Finding] = []
    scrubber(store, findings).scrub(rows)
    assert findings == []


def test_a_file_that_was_read_counts_as_verified(store: ObjectStore, put: Put, harm: Harm, clock: ManualClock) -> None:
    put("a", BODY)
    clock.advance(10 * DAY_MS)
    scrubber(store, []).scrub(all_blobs(store.view()))
    assert harm.row("a").verified_ms == clock.now_ms()


@pytest.mark.parametrize("size", [1, 4095, 4096, MIB - 1, MIB, MIB + 1, 3 * MIB, 3 * MIB + 4096, 3 * MIB + 5])
@pytest.mark.parametrize("way", ["direct", "cached"])
def test_reading_past_the_cache_returns_every_byte(
    tmp_path: Path, size: int, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = os.urandom(size)
    (tmp_path / "file").write_bytes(body)
    if way == "cached":
        monkeypatch.setattr(scrub, "_set_direct", lambda _descriptor, *, wanted: False)  # noqa: ARG005
    descriptor = os.open(tmp_path / "file", os.O_RDONLY)
    try:
        assert b"".join(bytes(piece) for piece in read_past_cache(descriptor)) == body
    finally:
        os.close(descriptor)


def test_the_pace_is_kept_by_waiting(clock: ManualClock) -> None:
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        clock.advance(round(seconds * 1000))

    began_s = clock.monotonic()
    pace = Pace(clock, 10 * MIB, wait)
    for _ in range(50):
        pace.spend(MIB)
    assert clock.monotonic() - began_s == pytest.approx(5.0, abs=0.1)
    assert len(waits) == 50
    unlimited = Pace(clock, 0, wait)
    unlimited.spend(100 * MIB)
    assert len(waits) == 50


# In the background


def test_nothing_is_due_in_a_new_lake(store: ObjectStore, put: Put) -> None:
    put("a", BODY)
    assert not WANTED["scrub"](store.view(), Settings())


def test_everything_is_read_every_so_many_days(
    store: ObjectStore, put: Put, keep: Keep, clock: ManualClock, counts: dict[str, int]
) -> None:
    put("a", BODY)
    put("b", b"small")
    clock.advance(29 * DAY_MS)
    assert not WANTED["scrub"](store.view(), Settings())
    clock.advance(DAY_MS)
    assert WANTED["scrub"](store.view(), Settings())
    assert not WANTED["scrub"](store.view(), Settings(scrub_days=0))
    assert run_job(keep) == 3600
    assert counts["rule_actions/scrub/Read"] == 2
    assert not WANTED["scrub"](store.view(), Settings())
    numbers = read_numbers(store.view())
    assert numbers[Number.CHECKED] == 2
    assert numbers[Number.CHECKED_BYTES] == len(BODY) + 5
    clock.advance(30 * DAY_MS)
    assert WANTED["scrub"](store.view(), Settings())


def test_a_walk_that_was_stopped_goes_on_where_it_was(
    store: ObjectStore, put: Put, keep: Keep, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        put(f"{number}", BODY + bytes([number]))
    clock.advance(30 * DAY_MS)
    monkeypatch.setattr(scrub, "ROWS_PER_BATCH", 1)
    reads: list[int] = []
    real = Scrubber._read

    def reading(self: Scrubber, row: BlobRow) -> tuple[int, int] | None:
        reads.append(row.id)
        if len(reads) == 3:
            stop.set()
        return real(self, row)

    monkeypatch.setattr(Scrubber, "_read", reading)
    stop = threading.Event()
    ScrubJob(keep).run(stop)
    assert len(reads) == 3
    clock.advance(1)
    assert WANTED["scrub"](store.view(), Settings())
    run_job(keep)
    assert len(reads) == len(set(reads)) == 6
    assert not WANTED["scrub"](store.view(), Settings())


def test_what_is_protected_is_read_every_day(
    store: ObjectStore, put: Put, keep: Keep, clock: ManualClock, harm: Harm,
    copying: LocationKeeper, counts: dict[str, int],
) -> None:  # fmt: skip
    put("models/a", BODY)
    put("b", BODY + b"2")
    run_copies(store, copying)
    clock.advance(DAY_MS)
    harm.do("flip", "models/a")
    harm.do("flip", "b")
    assert WANTED["scrub"](store.view(), Settings())
    run_job(keep)
    assert counts["rule_actions/scrub/Read"] == 1
    assert counts["rule_actions/scrub/Restored"] == 1
    assert harm.path("models/a").read_bytes() == BODY
    assert not WANTED["scrub"](store.view(), Settings())
    clock.advance(DAY_MS)
    assert WANTED["scrub"](store.view(), Settings())


def test_copies_are_read_every_week_and_made_again(
    store: ObjectStore, put: Put, keep: Keep, clock: ManualClock, harm: Harm,
    copying: LocationKeeper, location: Path, counts: dict[str, int],
) -> None:  # fmt: skip
    put("models/a", BODY)
    put("models/b", BODY + b"2")
    run_copies(store, copying)
    path = harm.copy_path(location, "models/a")
    harm.flip(path)
    assert Due(store.view(), Settings()).copies is not None
    clock.advance(7 * DAY_MS)
    run_job(keep)
    assert counts["rule_actions/scrub/CopyLost"] == 1
    assert not path.exists()
    run_copies(store, copying)
    assert path.read_bytes() == BODY


def test_alerts_end_when_a_later_walk_finds_everything_sound(
    store: ObjectStore, put: Put, commit: Commit, keep: Keep, clock: ManualClock, harm: Harm,
    copying: LocationKeeper,
) -> None:  # fmt: skip
    put("models/a", BODY)
    put("lost", BODY + b"2")
    run_copies(store, copying)
    harm.do("flip", "models/a")
    harm.do("flip", "lost")
    clock.advance(30 * DAY_MS)
    run_job(keep)
    assert sorted(alert.kind for alert in list_alerts(store.view())) == ["corrupt-object", "restored-object"]
    commit(delete_object, BUCKET, "lost")
    clock.advance(30 * DAY_MS)
    run_job(keep)
    assert list_alerts(store.view()) == []
    sweep(store, grace_ms=0)
    assert find_faults(store) == []


def test_damaged_records_are_alerted(
    store: ObjectStore, put: Put, keep: Keep, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("a", b"small")
    clock.advance(30 * DAY_MS)
    view = store.view()
    real = type(view).rows

    def rows(self: object, statement: str, values: object = ()) -> object:
        if statement.startswith("PRAGMA quick_check"):
            return [("Tree 5 page 7: btreeInitPage() returns error code 11",)]
        return real(self, statement, values)  # type: ignore[arg-type]

    monkeypatch.setattr(type(view), "rows", rows)
    run_job(keep)
    assert [alert.subject for alert in list_alerts(store.view())] == ["meta/lake.db"]
    monkeypatch.undo()
    clock.advance(30 * DAY_MS)
    run_job(keep)
    assert list_alerts(store.view()) == []


def test_copies_are_read_though_another_location_is_out_of_reach(
    store: ObjectStore, put: Put, harm: Harm, keep: Keep, copying: LocationKeeper, location: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    store.commit(partial(protect, entry=ProtectedPrefix(BUCKET, "other/", str(other))))
    put("models/a", BODY)
    put("other/a", BODY + b"2")
    run_copies(store, copying)
    run_copies(store, LocationKeeper(keep, str(other)))
    location.rename(location.with_name("away"))
    harm.flip(harm.copy_path(other, "other/a"))
    reading = scrubber(store, [])
    with pytest.raises(UnavailableError):
        reading.scrub_copies(store.clock.now_ms() + 1)
    assert reading.report.copies_lost == 1
