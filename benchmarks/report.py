"""Figures into a table with ratios, the targets with their verdicts, and JSON."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from benchmarks.cells import Sample
from benchmarks.stages import Stages

PASS, SHORT, UNKNOWN = "PASS", "short", "not measured"
FSYNC_FACTOR = 3
PUT_PER_S_ENOUGH = 4000


@dataclass(frozen=True)
class Line:
    """The median of a cell on a server over all rounds; `failed` holds the reason of a cell that had errors."""

    server: str
    cell: str
    connections: int
    values: dict[str, float | None]
    failed: str = ""


@dataclass(frozen=True)
class Verdict:
    """One target: what was reached, what was asked for."""

    target: str
    reached: float | None
    bound: float | None
    at_least: bool

    @property
    def verdict(self) -> str:
        """Return PASS, short, or not measured."""
        if self.reached is None or self.bound is None:
            return UNKNOWN
        good = self.reached >= self.bound if self.at_least else self.reached <= self.bound
        return PASS if good else SHORT


NUMBERS = (
    "ops_per_s",
    "mib_per_s",
    "p50_ms",
    "p95_ms",
    "p99_ms",
    "cpu_s_per_1000",
    "load_cpu_s_per_1000",
    "rss_mib",
)


def medians(samples: list[Sample]) -> list[Line]:
    """Return one line per cell and server, in the order they first ran."""
    groups: dict[tuple[str, int, str], list[Sample]] = {}
    cells: dict[tuple[str, int], None] = {}
    for sample in samples:
        cells[sample.cell, sample.connections] = None
        groups.setdefault((sample.cell, sample.connections, sample.server), []).append(sample)
    lines = []
    for cell, connections in cells:
        for (name, number, server), group in groups.items():
            if (name, number) == (cell, connections):
                failed = next((sample.first_error for sample in group if sample.errors), "")
                lines.append(Line(server, cell, connections, {k: _median(group, k) for k in NUMBERS}, failed))
    return lines


def _median(group: list[Sample], name: str) -> float | None:
    values = [value for sample in group if (value := getattr(sample, name)) is not None]
    return median(values) if values else None


class Figures:
    """Looks up medians by cell, connections and server."""

    def __init__(self, lines: list[Line]) -> None:
        self._lines = {(line.cell, line.connections, line.server): line for line in lines}

    def get(self, cell: str, connections: int, name: str, server: str = "hosu") -> float | None:
        """Return a figure, or None if that cell did not run or failed."""
        line = self._lines.get((cell, connections, server))
        return None if line is None or line.failed else line.values[name]


def verdicts(lines: list[Line], limits: dict[str, float], stages: Stages) -> list[Verdict]:
    """Return every target with what this run reached."""
    figures = Figures(lines)
    found = []
    null_get = figures.get("GET 4 KiB", 16, "ops_per_s", "null")
    for verb in ("GET", "HEAD"):
        null = figures.get(f"{verb} 4 KiB", 16, "ops_per_s", "null") or null_get
        reached = figures.get(f"{verb} 4 KiB", 16, "ops_per_s")
        found.append(Verdict(f"{verb} 4 KiB / null server", _ratio(reached, null), 0.5, at_least=True))
        cpu = figures.get(f"{verb} 4 KiB", 16, "cpu_s_per_1000")
        found.append(Verdict(f"{verb} 4 KiB, CPU s per 1,000", cpu, 0.05, at_least=False))
    fsync = limits.get("fsync_per_s")
    bound = None if fsync is None else min(FSYNC_FACTOR * fsync, PUT_PER_S_ENOUGH)
    for verb in ("PUT", "DELETE"):
        reached = figures.get(f"{verb} 4 KiB", 16, "ops_per_s")
        found.append(Verdict(f"{verb} 4 KiB, 16 connections, per s", reached, bound, at_least=True))
        cpu = figures.get(f"{verb} 4 KiB", 16, "cpu_s_per_1000")
        found.append(Verdict(f"{verb} 4 KiB, CPU s per 1,000", cpu, 0.2, at_least=False))
    cpu = figures.get("LIST 1,000 keys", 16, "cpu_s_per_1000")
    found.append(Verdict("LIST pages per CPU second", _ratio(1000.0, cpu), 500, at_least=True))
    found += _growth_verdicts(stages)
    for connections in (1, 8):
        raw = figures.get("GET 64 MiB", connections, "mib_per_s", "sendfile")
        reached = figures.get("GET 64 MiB", connections, "mib_per_s")
        name = f"GET 64 MiB / raw sendfile, {connections} conn."
        found.append(Verdict(name, _ratio(reached, raw), 0.9, at_least=True))
    null = figures.get("PUT 64 MiB", 8, "mib_per_s", "null")
    reached = figures.get("PUT 64 MiB", 8, "mib_per_s")
    found.append(Verdict("PUT 64 MiB / null server, 8 conn.", _ratio(reached, null), 0.8, at_least=True))
    found.append(Verdict("memory idle, MiB", stages.memory_mib.get("idle rss"), 60, at_least=False))
    loaded = stages.memory_mib.get("64 x PUT 64 MiB rss")
    found.append(Verdict("memory, 64 x PUT 64 MiB, MiB", loaded, 250, at_least=False))
    found.append(Verdict("start with 1,000,000 objects, s", stages.start_s.get("1000000 objects"), 0.5, at_least=False))
    return found


def _growth_verdicts(stages: Stages) -> list[Verdict]:
    """Compare the time of a page at 10^6 keys with that at 10^4, over one connection."""
    found = []
    small, large = stages.growth.get("10000", {}), stages.growth.get("1000000", {})
    for op, name in (("list", "LIST page"), ("delimiter", "delimiter page")):
        ratio = _ratio(small.get(f"{op}_per_s"), large.get(f"{op}_per_s"))
        found.append(Verdict(f"{name} cost, 10^6 / 10^4 keys", ratio, 1.3, at_least=False))
    return found


def _ratio(one: float | None, other: float | None) -> float | None:
    return None if one is None or not other else one / other


def render(lines: list[Line], limits: dict[str, float], stages: Stages, found: list[Verdict]) -> str:
    """Return everything a reader wants on a terminal."""
    figures = Figures(lines)
    width = max([len(line.server) for line in lines], default=6)
    head = (
        f"{'operation':<22}{'conn.':>5}  {'server':<{width}}{'ops/s':>11}{'MiB/s':>10}{'p50 ms':>9}{'p95':>9}{'p99':>9}"
    )
    out = [head + f"{'CPU s/1k':>10}{'load CPU':>10}{'RSS MiB':>9}  hosu/this"]
    previous = None
    for line in lines:
        if previous not in {None, (line.cell, line.connections)}:
            out.append("")
        previous = (line.cell, line.connections)
        start = f"{line.cell:<22}{line.connections:>5}  {line.server:<{width}}"
        if line.failed:
            out.append(f"{start}   FAILED: {line.failed[:90]}")
            continue
        ours = figures.get(line.cell, line.connections, "ops_per_s")
        ratio = None if line.server == "hosu" else _ratio(ours, line.values["ops_per_s"])
        out.append(start + _columns(line) + (f"{ratio:>10.2f}x" if ratio is not None else ""))
    out += ["", "limits of the machine"] + [f"  {name:<22}{value:>12,.0f}" for name, value in limits.items()]
    out += _section("memory, MiB", stages.memory_mib, ",.0f") + _section("start until ready, s", stages.start_s, ".3f")
    out += _section("GET 64 MiB after a restart, MiB/s", stages.first_read_mib_s, ",.0f")
    for keys, values in stages.growth.items():
        out += _section(f"growth at {int(keys):,} keys", values, ",.3f")
    out += ["", *(f"note: {note}" for note in stages.notes)] if stages.notes else []
    out += ["", f"{'target':<40}{'reached':>12}{'asked':>14}  verdict"]
    for verdict in found:
        sign = ">=" if verdict.at_least else "<="
        asked = "-" if verdict.bound is None else f"{sign} {verdict.bound:,.2f}"
        out.append(f"{verdict.target:<40}{_show(verdict.reached, ',.2f', 12)}{asked:>14}  {verdict.verdict}")
    return "\n".join(out)


def _columns(line: Line) -> str:
    formats = (",.0f", ",.1f", ".3f", ".3f", ".3f", ".3f", ".3f", ",.0f")
    widths = (11, 10, 9, 9, 9, 10, 10, 9)
    shown: Callable[[str, str, int], str] = lambda name, how, wide: _show(line.values[name], how, wide)  # noqa: E731 - one use
    return "".join(shown(name, how, wide) for name, how, wide in zip(NUMBERS, formats, widths, strict=True))


def _show(value: float | None, how: str, width: int) -> str:
    return f"{'-' if value is None else format(value, how):>{width}}"


def _section(title: str, values: dict[str, float], how: str) -> list[str]:
    return ["", title, *(f"  {name:<26}{value:>12{how}}" for name, value in values.items())] if values else []


def save(
    path: Path,
    machine: dict[str, object],
    settings: dict[str, object],
    samples: list[Sample],
    limits: dict[str, float],
    stages: Stages,
    found: list[Verdict],
) -> None:
    """Write the run as JSON: facts, settings, medians, verdicts, and every sample they come from."""
    document = {
        "machine": machine,
        "settings": settings,
        "cells": [asdict(line) for line in medians(samples)],
        "limits": limits,
        "stages": asdict(stages),
        "targets": [asdict(verdict) | {"verdict": verdict.verdict} for verdict in found],
        "samples": [asdict(sample) for sample in samples],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
