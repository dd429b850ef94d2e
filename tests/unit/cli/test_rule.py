"""`hosu rule` on a lake of this machine."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import hosu
from hosu.cli.faults import UsageFault
from hosu.cli.main import build_app
from hosu.cli.rule import parse_share, parse_size
from hosu.kernel.errors import HosuError
from hosu.rules.capacity import CapacityRule
from hosu.rules.lifecycle.model import Filter, Lifecycle, Rule, Transition
from hosu.rules.merit import MeritRule
from hosu.testing.manual_clock import ManualClock

TRAINING = "models/training/"


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lake of models and images stored on the first of January 2026."""
    monkeypatch.setenv("LOGNAME", "ann")
    with hosu.open(tmp_path / "lake", clock=ManualClock()) as opened:
        door = opened.create_bucket("door")
        for version, value in (("a", 0.1), ("b", 0.9)):
            door.put(f"{TRAINING}{version}/metrics.json", json.dumps({"map50": value}).encode())
        door.put("images/raw/1.jpg", b"x" * 100)
    return tmp_path / "lake"


def run(*words: object, stdin: str | None = None) -> Result:
    return CliRunner().invoke(build_app(), ["rule", *map(str, words)], input=stdin)


def lines(*words: object, stdin: str | None = None) -> list[dict[str, Any]]:
    result = run(*words, "--json", stdin=stdin)
    return [json.loads(line) for line in result.stdout.splitlines()]


def fault(*words: object) -> tuple[str, int]:
    """Run a verb that must fail; return its error's kind and the exit status."""
    result = run(*words, "--json")
    (line,) = [json.loads(line) for line in result.stdout.splitlines()]
    assert line["status"] == "error"
    return line["kind"], result.exit_code


def test_every_kind_of_rule_is_set_listed_and_removed(lake: Path) -> None:
    assert run("list", lake).stdout == ""
    assert (
        run("capacity", "set", lake, "--quota", "100GB", "--high-water", "80%", "--keep", "door/models/").exit_code == 0
    )
    assert run("merit", "set", lake, "door", TRAINING, "map50", "--best", 1, "--id", "models").exit_code == 0
    assert run("protection", "set", lake, "door", "models/production/").exit_code == 0
    assert run("lifecycle", "set", lake, "door", "--prefix", "images/raw/", "--expire-days", 30).exit_code == 0
    with hosu.open(lake) as opened:
        rules = opened.rules
        assert rules.capacity() == CapacityRule(quota_bytes=100 * 10**9, high_water=0.8, keep=("door/models/",))
        assert rules.merit() == (
            MeritRule(id="models", bucket="door", prefix=TRAINING, path="map50", best=1, grace_days=30),
        )
        assert [entry.prefix for entry in rules.protected()] == ["models/production/"]
        found = rules.lifecycle("door")
        assert found is not None
        assert found.rules == (Rule("images-raw", filter=Filter(prefix="images/raw/"), expire_days=30),)
    assert [line["kind"] for line in lines("list", lake)] == ["capacity", "merit", "protection", "lifecycle"]
    told = run("list", lake).stdout
    for text in ("quota 100000000000 bytes", "from 80%", "never door/models/", "the best 1 by map50", "after 30 days"):
        assert text in told
    assert run("merit", "rm", lake, "models").exit_code == 0
    assert run("protection", "rm", lake, "door", "models/production/").exit_code == 0
    assert run("lifecycle", "rm", lake, "door", "images-raw").exit_code == 0
    assert lines("capacity", "rm", lake)[0]["removed"] is True
    assert lines("capacity", "rm", lake)[0]["removed"] is False
    assert run("list", lake).stdout == ""


def test_a_dry_run_prints_what_the_run_then_does(lake: Path) -> None:
    run("merit", "set", lake, "door", TRAINING, "map50", "--best", 1, "--grace-days", 30, "--id", "models")
    run("lifecycle", "set", lake, "door", "--prefix", "images/raw/", "--expire-days", 30, "--id", "raw")
    run("capacity", "set", lake, "--quota", 1000, "--high-water", "10%", "--keep", "door/models/")
    planned = lines("run", lake, "--dry-run")
    assert [(line["rule"], line["action"], line["key"]) for line in planned] == [
        ("lifecycle:raw", "Expire", "images/raw/1.jpg"),
        ("merit:models", "Expire", f"{TRAINING}a/metrics.json"),
        ("capacity", "Delete", "images/raw/1.jpg"),
    ]
    assert all(line["reason"] and line["dry_run"] for line in planned)
    told = run("run", lake, "merit", "--dry-run")
    assert f"would Expire door/{TRAINING}a/metrics.json" in told.stdout
    assert "number 2 by map50 (0.1)" in told.stdout
    assert "this was a dry run" in told.stderr
    assert [(line["rule"], line["action"], line["count"]) for line in lines("run", lake, "merit", "capacity")] == [
        ("merit:models", "Expire", 1),
        ("capacity", "Delete", 1),
    ]
    assert run("run", lake).stdout == ""
    with hosu.open(lake) as opened:
        assert [entry.key for entry in opened.bucket("door").list()] == [f"{TRAINING}b/metrics.json"]


def test_show_tells_how_full_the_lake_is_and_how_folders_rank(lake: Path) -> None:
    run("capacity", "set", lake, "--quota", 1000)
    run("merit", "set", lake, "door", TRAINING, "map50", "--best", 1)
    first, *verdicts = lines("show", lake)
    assert (first["kind"], first["limit_bytes"]) == ("capacity", 1000)
    assert [(line["folder"], line["rank"], line["fate"]) for line in verdicts] == [
        (f"{TRAINING}b/", 1, "keep"),
        (f"{TRAINING}a/", 2, "expire"),
    ]
    assert "of 1000 bytes of the lake's quota are used" in run("show", lake).stdout


def test_a_quota_below_use_is_refused_unless_forced(lake: Path) -> None:
    assert fault("capacity", "set", lake, "--quota", 10) == ("quota-exceeded", 1)
    assert fault("quota", lake, "door", 10) == ("quota-exceeded", 1)
    assert run("list", lake).stdout == ""
    assert run("quota", lake, "door", "10B", "--force").exit_code == 0
    assert run("capacity", "set", lake, "--quota", 10, "--force").exit_code == 0
    with hosu.open(lake) as opened:
        assert opened.bucket("door").quota == 10
        with pytest.raises(HosuError):
            opened.bucket("door").put("more", b"x")
    assert run("quota", lake, "door", "0").exit_code == 0


def test_rules_that_would_delete_what_is_protected_are_refused_and_so_is_the_lake_as_a_place_for_copies(
    lake: Path,
) -> None:
    assert run("protection", "set", lake, "door", "models/").exit_code == 0
    assert fault("merit", "set", lake, "door", TRAINING, "map50") == ("invalid-argument", 1)
    assert fault("lifecycle", "set", lake, "door", "--prefix", "models/", "--expire-days", 1)[1] == 1
    assert fault("lifecycle", "set", lake, "door", "--expire-days", 1)[1] == 1
    assert fault("protection", "set", lake, "door", "images/", "--copy", lake / "copies") == ("location-invalid", 1)
    assert [line["kind"] for line in lines("list", lake)] == ["protection"]


def test_a_document_of_s3_is_imported_as_xml_and_as_json_of_the_aws_tools(lake: Path, tmp_path: Path) -> None:
    xml = tmp_path / "rules.xml"
    xml.write_text(
        "<LifecycleConfiguration><Rule><ID>raw</ID><Status>Enabled</Status><Filter><Prefix>images/</Prefix></Filter>"
        "<Transition><Days>30</Days><StorageClass>COLD</StorageClass></Transition></Rule></LifecycleConfiguration>"
    )
    document = {
        "Rules": [
            {
                "ID": "raw",
                "Status": "Enabled",
                "Filter": {"Prefix": "images/"},
                "Transitions": [{"Days": 30, "StorageClass": "COLD"}],
            }
        ]
    }
    expected = (Rule("raw", filter=Filter(prefix="images/"), transitions=(Transition("COLD", days=30),)),)
    for file, stdin in ((xml, None), ("-", json.dumps(document))):
        assert lines("lifecycle", "import", lake, "door", file, stdin=stdin)[0]["rules"] == 1
        with hosu.open(lake) as opened:
            found = opened.rules.lifecycle("door")
            assert found is not None
            assert found.rules == expected
            opened.rules.set_lifecycle("door", None)
    for text in ("{", "[]", "<Lifecycle", '{"Rules": [{"Status": "Enabled", "No such": 1}]}', '{"Rules": []}'):
        xml.write_text(text)
        assert fault("lifecycle", "import", lake, "door", xml)[1] in {1, 2}
    with hosu.open(lake) as opened:
        assert opened.rules.lifecycle("door") is None


def test_setting_a_lifecycle_rule_leaves_the_others_and_replaces_its_own(lake: Path) -> None:
    with hosu.open(lake) as opened:
        opened.rules.set_lifecycle("door", Lifecycle((Rule("one", expire_days=1), Rule("two", expire_days=2))))
    run("lifecycle", "set", lake, "door", "--id", "one", "--noncurrent-days", 5, "--noncurrent-keep", 2)
    run("lifecycle", "set", lake, "door", "--abort-days", 7, "--cold-days", 3)
    with hosu.open(lake) as opened:
        found = opened.rules.lifecycle("door")
        assert found is not None
        assert [(rule.id, rule.expire_days, rule.noncurrent_days, rule.abort_days) for rule in found.rules] == [
            ("one", None, 5, None),
            ("two", 2, None, None),
            ("all", None, None, 7),
        ]
    assert fault("lifecycle", "rm", lake, "door", "three")[1] == 1
    assert run("lifecycle", "rm", lake, "door").exit_code == 0


@pytest.mark.parametrize(
    "words",
    [
        ("capacity", "set", "LAKE"),
        ("capacity", "set", "LAKE", "--quota", "lots"),
        ("capacity", "set", "LAKE", "--high-water", "180%"),
        ("capacity", "set", "LAKE", "--quota", "1GB", "--keep", "door"),
        ("merit", "set", "LAKE", "door", "models", "map50"),
        ("merit", "set", "LAKE", "door", TRAINING, "map50", "--order", "best"),
        ("merit", "set", "LAKE", "door", TRAINING, "map50", "--unranked", "maybe"),
        ("merit", "set", "LAKE", "nowhere", TRAINING, "map50"),
        ("merit", "rm", "LAKE", "nothing"),
        ("protection", "set", "LAKE", "nowhere", "a/"),
        ("protection", "rm", "LAKE", "door", "a/"),
        ("lifecycle", "set", "LAKE", "door"),
        ("lifecycle", "set", "LAKE", "nowhere", "--expire-days", "1"),
        ("lifecycle", "import", "LAKE", "door", "nothing.xml"),
        ("run", "LAKE", "everything"),
        ("quota", "LAKE", "door", "-"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_changes_nothing(lake: Path, words: tuple[str, ...]) -> None:
    kind, status = fault(*(lake if word == "LAKE" else word for word in words))
    assert kind
    assert status in {1, 2}
    assert run("list", lake).stdout == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", 0), ("100", 100), ("1KB", 1000), ("1KiB", 1024), ("1.5kib", 1536), ("100GB", 10**11), ("2 TiB", 2**41)],
)
def test_sizes(text: str, expected: int) -> None:
    assert parse_size(text, "SIZE") == expected


@pytest.mark.parametrize(("text", "expected"), [("80%", 0.8), ("0.8", 0.8), ("100%", 1.0), ("0", 0.0), ("1", 1.0)])
def test_shares(text: str, expected: float) -> None:
    assert parse_share(text, "SHARE") == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "GB", "1XB", "1,5GB", "-1", "1e9", "٣"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageFault):
        parse_size(text, "SIZE")


@pytest.mark.parametrize("text", ["", "%", "80 %%", "101%", "1.1", "-0.1", "80"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(UsageFault):
        parse_share(text, "SHARE")
