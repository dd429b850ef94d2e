from dataclasses import replace

from benchmarks.cells import Cell, Sample, plan
from benchmarks.report import PASS, SHORT, UNKNOWN, medians, render, verdicts
from benchmarks.stages import Stages

GET = Sample("hosu", "GET 4 KiB", 16, 20_000, 80, 1, 2, 3, 0.03, 0.01, 40, 0, "")
LIMITS = {"fsync_per_s": 1000.0}


def reached(samples: list[Sample], stages: Stages | None = None) -> dict[str, str]:
    return {found.target: found.verdict for found in verdicts(medians(samples), LIMITS, stages or Stages())}


def test_figures_are_medians_over_rounds() -> None:
    (line,) = medians([replace(GET, ops_per_s=value) for value in (1, 100, 7)])
    assert line.values["ops_per_s"] == 7


def test_one_failed_round_fails_the_cell() -> None:
    samples = [GET, replace(GET, errors=1, first_error="status 503"), replace(GET, server="null")]
    assert medians(samples)[0].failed == "status 503"
    assert reached(samples)["GET 4 KiB / null server"] == UNKNOWN
    assert "FAILED: status 503" in render(medians(samples), LIMITS, Stages(), [])


def test_targets_are_judged_against_the_limits_of_the_same_run() -> None:
    null = replace(GET, server="null", ops_per_s=40_000)
    assert reached([GET, null])["GET 4 KiB / null server"] == PASS
    assert reached([GET, replace(null, ops_per_s=40_001)])["GET 4 KiB / null server"] == SHORT
    put = replace(GET, cell="PUT 4 KiB", ops_per_s=3000)
    assert reached([put])["PUT 4 KiB, 16 connections, per s"] == PASS
    assert reached([replace(put, ops_per_s=2999)])["PUT 4 KiB, 16 connections, per s"] == SHORT


def test_page_cost_grows_by_at_most_three_tenths() -> None:
    stages = Stages(growth={"10000": {"list_per_s": 130.0}, "1000000": {"list_per_s": 100.0}})
    assert reached([], stages)["LIST page cost, 10^6 / 10^4 keys"] == PASS
    stages.growth["1000000"]["list_per_s"] = 99.0
    assert reached([], stages)["LIST page cost, 10^6 / 10^4 keys"] == SHORT


def test_ratio_of_a_peer_is_hosu_over_it() -> None:
    text = render(medians([GET, replace(GET, server="moto", ops_per_s=500)]), LIMITS, Stages(), [])
    assert "40.00x" in next(line for line in text.splitlines() if "moto" in line)


def test_every_delete_follows_the_put_that_makes_its_keys() -> None:
    for quick in (False, True):
        cells = plan(quick=quick, only=frozenset())
        for at, cell in enumerate(cells):
            if cell.op == "delete":
                assert cells[at - 1] == Cell("put", cell.size_bytes, cell.connections)
