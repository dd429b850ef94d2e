"""Counting in one process, and summing over several and over restarts."""

from pathlib import Path

import pytest

from hosu.server.metrics import meter as module
from hosu.server.metrics.meter import TTFB_BOUNDS_S, Counts, Meter, sum_up


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    (tmp_path / "tmp").mkdir()
    return tmp_path


def counted(meter: Meter, times: int, operation: str = "GetObject", bucket: str = "images", **facts: float) -> Meter:
    counts = meter.counts.get((operation, bucket)) or meter.open(operation, bucket)
    for _ in range(times):
        counts.count(int(facts.get("status", 200)), 10, 20, facts.get("ttfb_s", 0.01))
    return meter


def requests(meter: Meter) -> int:
    return sum(counts.requests for counts in sum_up([meter.snapshot(), *meter.others()]).counts)


@pytest.mark.parametrize(
    ("status", "expected"),
    [(200, (0, 0, 0)), (304, (0, 0, 0)), (404, (1, 0, 0)), (403, (1, 0, 0)), (500, (0, 1, 0)), (499, (0, 0, 1))],
)
def test_an_answer_counts_by_its_status(status: int, expected: tuple[int, int, int]) -> None:
    counts = Counts("GetObject", "images")
    counts.count(status, 3, 5, 0.0)
    assert (counts.errors_4xx, counts.errors_5xx, counts.canceled) == expected
    assert (counts.requests, counts.received_bytes) == (1, 3)
    is_whole = status != 499
    assert (counts.sent_bytes, sum(counts.ttfb)) == (5 * is_whole, is_whole)


def test_times_fall_into_the_step_whose_bound_they_do_not_pass() -> None:
    counts = Counts("GetObject", "images")
    for seconds in (0.0, 0.05, 0.050001, 0.1, 10.0, 10.1, 1e9):
        counts.count(200, 0, 0, seconds)
    assert counts.ttfb == [2, 2, 0, 0, 0, 0, 0, 1, 2]
    assert len(counts.ttfb) == len(TTFB_BOUNDS_S) + 1


def test_each_process_sees_the_sum_of_all(lake: Path) -> None:
    first, second = Meter(lake, run=1, process="s3-0"), Meter(lake, run=1, process="s3-1")
    counted(first, 3).publish({"GetObject": 1})
    counted(second, 4, "PutObject").publish({})
    assert (requests(first), requests(second)) == (7, 7)
    assert sum_up(second.others()).in_flight == {"GetObject": 1}


def test_a_process_that_is_started_again_goes_on_from_what_it_had_told(lake: Path) -> None:
    first, second = Meter(lake, run=1, process="s3-0"), Meter(lake, run=1, process="s3-1")
    counted(first, 3)
    first.codes["NoSuchKey"], first.rejected["auth"], first.totals["audit_lines"] = 2, 1, 5
    first.publish({"GetObject": 9})
    again = counted(Meter(lake, run=1, process="s3-0"), 1)
    again.publish({})
    assert requests(second) == 4
    whole = sum_up(second.others())
    assert (whole.codes, whole.rejected["auth"], whole.totals, whole.in_flight) == (
        {"NoSuchKey": 2}, 1, {"audit_lines": 5}, {},
    )  # fmt: skip


def test_a_new_server_begins_at_nothing(lake: Path) -> None:
    counted(Meter(lake, run=1, process="s3-0"), 3).publish({})
    counted(Meter(lake, run=1, process="s3-1"), 3).publish({})
    assert requests(Meter(lake, run=2, process="s3-0")) == 0


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"run": "x"}', b"\xff"])
def test_a_damaged_file_counts_nothing(lake: Path, content: bytes) -> None:
    first = counted(Meter(lake, run=1, process="s3-0"), 3)
    first.publish({})
    (lake / module.FOLDER / "s3-1.json").write_bytes(content)
    assert requests(first) == 3
    assert requests(Meter(lake, run=1, process="s3-1")) == 3


def test_names_of_buckets_cannot_fill_the_memory(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUCKET_COUNTS_MAX", 3)
    meter = Meter(lake, run=1, process="s3-0")
    for number in range(10):
        counted(meter, 1, bucket=f"b{number}")
    assert [key[1] for key in meter.counts] == ["b0", "b1", "b2", ""]
    assert requests(meter) == 10
