"""The rules that templates bring: every value of the smart door's, made once, never over what is there."""

from pathlib import Path

import pytest

import hosu
from hosu.kernel.errors import ErrorKind, HosuError
from hosu.lake import Versioning
from hosu.lake.templates import Outcome, load_template
from hosu.objects.protected import ProtectedPrefix
from hosu.rules.capacity import CapacityRule
from hosu.rules.lifecycle.model import Filter, Lifecycle, Rule, Transition
from hosu.rules.merit import MeritRule

DOOR = "ai-door-system"
RULES = ("versioning", "lifecycle", "merit", "protection", "capacity")


def states(outcome: Outcome) -> dict[str, list[tuple[str, str]]]:
    """Return state and reason of each rule's steps by kind."""
    found: dict[str, list[tuple[str, str]]] = {}
    for step in outcome.steps:
        if step.kind in RULES:
            found.setdefault(step.kind, []).append((step.state.value, step.reason))
    return found


def test_the_smart_door_has_every_rule_of_its_system(tmp_path: Path) -> None:
    with hosu.open(tmp_path / "lake") as lake:
        lake.apply_template("smart-door", backup=str(tmp_path / "backup"))
        rules = lake.rules
        assert rules.capacity() == CapacityRule(quota_bytes=100 * 10**9, high_water=0.8, keep=(f"{DOOR}/models/",))
        assert rules.merit() == (
            MeritRule(
                id="experiments", bucket=DOOR, prefix="models/training/", path="map50", best=5, grace_days=30
            ),
        )  # fmt: skip
        assert rules.protected() == (ProtectedPrefix(DOOR, "models/production/", str(tmp_path / "backup")),)
        lifecycle = rules.lifecycle(DOOR)
        assert lifecycle is not None
        assert lifecycle.rules == (
            Rule("raw-images-30-days", filter=Filter(prefix="images/raw/"), expire_days=30),
            Rule(
                "classified-images-compressed", filter=Filter(prefix="images/processed/"),
                transitions=(Transition("COLD", days=30),),
            ),
            Rule("uploads-never-completed", filter=Filter(prefix=""), abort_days=7),
        )  # fmt: skip


def test_the_medallion_keeps_old_versions_for_a_while(tmp_path: Path) -> None:
    with hosu.open(tmp_path / "lake") as lake:
        lake.apply_template("medallion")
        for name in ("bronze", "silver", "gold"):
            assert lake.bucket(name).versioning is Versioning.ENABLED
            found = lake.rules.lifecycle(name)
            assert found is not None
            assert [(rule.noncurrent_days, rule.abort_days, rule.removes_markers) for rule in found.rules] == [
                (30, 7, True)
            ]


def test_a_second_run_makes_nothing_and_a_place_for_copies_may_come_later(tmp_path: Path) -> None:
    with hosu.open(tmp_path / "lake") as lake:
        first = states(lake.apply_template("smart-door"))
        assert first["protection"] == [("made", "no second copy")]
        assert {state for steps in first.values() for state, _ in steps} == {"made"}
        again = states(lake.apply_template("smart-door"))
        assert again["protection"] == [("kept", "no second copy")]
        assert {state for steps in again.values() for state, _ in steps} == {"kept"}
        later = states(lake.apply_template("smart-door", backup=str(tmp_path / "backup")))
        assert later["protection"] == [("made", "")]
        assert lake.rules.protected()[0].copy == str(tmp_path / "backup")
        (other,) = states(lake.apply_template("smart-door", backup=str(tmp_path / "other")))["protection"]
        assert other == ("kept", f"its copies are in {tmp_path / 'backup'}")


def test_what_has_been_changed_since_is_kept_and_said(tmp_path: Path) -> None:
    with hosu.open(tmp_path / "lake") as lake:
        lake.apply_template("smart-door")
        rules = lake.rules
        capacity = CapacityRule(quota_bytes=1_000, high_water=0.5)
        lifecycle = Lifecycle((Rule("raw-images-30-days", filter=Filter(prefix="images/raw/"), expire_days=1),))
        merit = MeritRule(id="experiments", bucket=DOOR, prefix="models/training/", path="loss", order="min")
        rules.set_capacity(capacity)
        rules.set_lifecycle(DOOR, lifecycle)
        rules.put_merit(merit)
        found = states(lake.apply_template("smart-door"))
        differs = ("kept", "it differs from the template's")
        assert (found["capacity"], found["merit"]) == ([differs], [differs])
        assert found["lifecycle"] == [differs, ("made", ""), ("made", "")]
        assert (rules.capacity(), rules.merit()) == (capacity, (merit,))
        after = rules.lifecycle(DOOR)
        assert after is not None
        assert after.rules[0] == lifecycle.rules[0]


def test_a_quota_that_is_passed_already_is_left_out_and_said(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "template.toml").write_text("summary = 'x'\n[[buckets]]\nname = 'abc'\n[capacity]\nquota_bytes = 10\n")
    with hosu.open(tmp_path / "lake") as lake:
        lake.create_bucket("abc").put("a", b"x" * 11)
        assert states(lake.apply_template(load_template(own)))["capacity"] == [
            ("skipped", "the lake holds 11 bytes already")
        ]
        assert lake.rules.capacity() is None


def test_what_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    with hosu.open(tmp_path / "lake") as lake:
        lake.create_bucket(DOOR)
        lake.rules.put_merit(MeritRule(id="mine", bucket=DOOR, prefix="models/production/", path="loss"))
        with pytest.raises(HosuError, match="rule 'mine' of bucket"):
            lake.apply_template("smart-door")
        assert (lake.users.list(), lake.rules.capacity()) == ([], None)
        with pytest.raises(HosuError) as refusal:
            lake.apply_template("smart-door", backup=str(tmp_path / "lake" / "copies"))
        assert refusal.value.kind is ErrorKind.LOCATION_INVALID
        assert not (tmp_path / "lake" / "copies").exists()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[capacity]\n", "neither a quota nor a high mark"),
        ("[capacity]\nquota_bytes = -1", "quota of -1"),
        ("[capacity]\nquota = 5", "quota"),
        ("[capacity]\nhigh_water = 80", "high_water 80"),
        ("[capacity]\nhigh_water = 0.8\nkeep = ['other/a/']", "names the bucket 'other'"),
        ("[[merit]]\nid = 'a'\nbucket = 'abc'\nprefix = 'm'\npath = 'x'", "end it with '/'"),
        ("[[merit]]\nid = 'a'\nbucket = 'other'\nprefix = 'm/'\npath = 'x'", "names the bucket 'other'"),
        ("[[merit]]\nid = 'a'\nbucket = 'abc'\nprefix = 'm/'\npath = 'x['", "JMESPath"),
        ("[[merit]]\nid = 'a'\nbucket = 'abc'\nprefix = 'm/'\npath = 'x'\norder = 'best'", "order"),
        ("[[protection]]\nbucket = 'other'\nprefix = 'm/'", "names the bucket 'other'"),
        ("[[protection]]\nbucket = 'abc'", "prefix"),
        ("[[buckets.lifecycle]]\nid = 'a'", "'a'"),
        ("[[buckets.lifecycle]]\nid = 'a'\nexpire_days = 0", "'Days'"),
        ("[[buckets.lifecycle]]\nid = 'a'\nexpire_day = 1", "expire_day"),
    ],
)
def test_rules_that_are_wrong_are_refused_before_anything_is_made(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "template.toml").write_text(f"summary = 'x'\n[[buckets]]\nname = 'abc'\n{text}\n")
    with pytest.raises(HosuError) as refusal:
        load_template(tmp_path)
    assert named.strip("'") in refusal.value.message
