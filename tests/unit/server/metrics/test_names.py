"""Names of metrics: those of MinIO's documents, those of ours, of the dashboard and of the alerts."""

import json
import re
import subprocess
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from hosu.server.metrics import minio_v2, minio_v3, own
from hosu.server.metrics.families import HISTOGRAM, Spec

ROOT = Path(__file__).parents[4]
PAGE = ROOT / "docs" / "reference" / "metrics.md"
DOCUMENTED_BY_MINIO = frozenset((Path(__file__).parent / "minio_documented.txt").read_text().split())
ALERTS, ALERTS_TEST = (ROOT / "deploy" / "prometheus" / name for name in ("alerts.yml", "alerts_test.yml"))
DASHBOARD = ROOT / "deploy" / "grafana" / "hosu.json"


def section(heading: str) -> list[list[str]]:
    text = PAGE.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:3] == "| `"]
    assert rows, heading
    return rows


def absent() -> list[str]:
    return [name for row in section("What is absent") for name in re.findall(r"`([^`]+)`", row[0])]


def row_of(spec: Spec, shown_by: str | None) -> list[str]:
    labels = " ".join(f"`{name}`" for name in spec.labels)
    return [f"`{spec.name}`", spec.kind, *([] if shown_by is None else [shown_by]), spec.help, labels]


def paths_of(spec: Spec) -> str:
    return " ".join(path for path in minio_v2.SHOWN if spec in minio_v2.specs_of(path))


def test_every_name_of_minios_documents_is_real_or_absent_with_a_reason() -> None:
    real = {spec.name for spec in (*minio_v2.SPECS, *minio_v3.SPECS)}
    explained = {name for name in DOCUMENTED_BY_MINIO if any(fnmatchcase(name, pattern) for pattern in absent())}
    assert DOCUMENTED_BY_MINIO - explained == real
    assert all(row[1] for row in section("What is absent"))


def test_no_reason_is_given_for_names_that_minio_does_not_have() -> None:
    unused = [name for name in absent() if not any(fnmatchcase(known, name) for known in DOCUMENTED_BY_MINIO)]
    assert unused == []


def test_the_page_lists_what_is_shown_as_it_is() -> None:
    assert section("hosu's own") == [row_of(spec, None) for spec in own.SPECS]
    assert section("MinIO's, version 2") == [row_of(spec, paths_of(spec)) for spec in minio_v2.SPECS]
    assert section("MinIO's, version 3") == [row_of(spec, f"`{spec.group}`") for spec in minio_v3.SPECS]


@pytest.mark.parametrize("specs", [minio_v2.SPECS, minio_v3.SPECS, own.SPECS])
def test_no_name_is_there_twice(specs: tuple[Spec, ...]) -> None:
    names = [spec.name for spec in specs]
    assert len(set(names)) == len(names)


def own_series() -> set[str]:
    plain = {spec.name for spec in own.SPECS if spec.kind != HISTOGRAM}
    return plain | {
        f"{spec.name}_{end}" for spec in own.SPECS if spec.kind == HISTOGRAM for end in ("bucket", "sum", "count")
    }


def names_in(path: Path) -> set[str]:
    return set(re.findall(r"\b(?:hosu|minio)_[a-z0-9_]+", path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", [ALERTS, ALERTS_TEST, DASHBOARD], ids=lambda path: path.name)
def test_dashboard_and_alerts_name_series_that_there_are(path: Path) -> None:
    named = names_in(path)
    assert named
    assert named <= own_series()


def test_the_dashboard_asks_with_labels_that_the_series_have() -> None:
    labels = {spec.name: set(spec.labels) for spec in own.SPECS}
    scraped = {"job", "instance", "le"}
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    assert len(expressions) > 20
    for expression in expressions:
        for name, selector in re.findall(r"\b(hosu_[a-z_]+)\{([^}]*)\}", expression):
            used = set(re.findall(r"([a-z_]+)(?:=~|!=|=)", selector))
            assert used - scraped <= labels[re.sub(r"_(bucket|sum|count)$", "", name) if name not in labels else name]


def test_panels_of_the_dashboard_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = ["promtool", *map(str, arguments)]
    return subprocess.run(command, cwd=ALERTS.parent, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.needs("promtool")
@pytest.mark.parametrize("arguments", [("check", "rules", ALERTS), ("test", "rules", ALERTS_TEST)])
def test_alert_rules_are_right_and_fire_when_they_should(arguments: tuple[str | Path, ...]) -> None:
    done = promtool(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_put_to_the_test() -> None:
    alerts = set(re.findall(r"alert: (\w+)", ALERTS.read_text(encoding="utf-8")))
    fired = set(re.findall(r"alertname: (\w+)\n\s+exp_alerts:\n", ALERTS_TEST.read_text(encoding="utf-8")))
    assert alerts == fired
