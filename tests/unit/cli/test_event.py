"""`hosu event` on a lake of this machine."""

from functools import partial

import pytest
from tests.support.lakecli import LakeCli

from hosu.objects.feed import Event
from hosu.rules.events.config import Rule, arn_of, set_rules
from hosu.rules.events.records import Origin, make_message
from hosu.rules.events.undelivered import bury

TARGET = "webhook:primary"


@pytest.fixture
def cli(lake_cli: LakeCli) -> LakeCli:
    with lake_cli.opened() as lake:
        lake.create_bucket("images")
        rule = Rule("r1", TARGET, arn_of(TARGET), ("s3:ObjectCreated:*",), "in/", ".jpg")
        lake.store.commit(partial(set_rules, bucket="images", rules=[rule]))
        messages = [
            make_message(
                lake.store.view(),
                Event(seq, 1_795_000_000_000, "ObjectCreated:Put", "images", f"in/{seq}.jpg", "null", 1, "e", "alice"),
                "s3:ObjectCreated:Put",
                Origin(),
            )
            for seq in (101, 102, 103)
        ]
        lake.store.commit(partial(bury, target=TARGET, messages=messages, reason="it answered 400"))
    return lake_cli


def dead(cli: LakeCli) -> list[int]:
    return [line["seq"] for line in cli.lines("event", "dead")]


def test_rules_and_targets_are_listed(cli: LakeCli) -> None:
    rule, target = cli.lines("event", "list")
    assert (rule["bucket"], rule["target"], rule["prefix"], rule["suffix"]) == ("images", TARGET, "in/", ".jpg")
    assert (target["target"], target["dead"]) == (TARGET, 3)
    assert "images/in/*.jpg  s3:ObjectCreated:*  to webhook:primary" in cli.text("event", "list")


def test_dead_letters_are_shown_with_their_reason_oldest_first(cli: LakeCli) -> None:
    lines = cli.lines("event", "dead", "--target", TARGET)
    assert [line["seq"] for line in lines] == [101, 102, 103]
    assert lines[0]["reason"] == "it answered 400"
    assert lines[0]["event"] == "s3:ObjectCreated:Put"
    assert "images/in/101.jpg  (it answered 400)" in cli.text("event", "dead")
    assert [line["seq"] for line in cli.lines("event", "dead", "--limit", "1")] == [101]


def test_dead_letters_are_replayed_one_or_all(cli: LakeCli) -> None:
    assert cli.lines("event", "replay", "--seq", "102")[0]["replayed"] == 1
    assert dead(cli) == [101, 103]
    assert cli.lines("event", "replay", "--all", "--target", TARGET)[0]["replayed"] == 2
    assert dead(cli) == []
    assert cli.lines("event", "list")[1]["waiting"] >= 3


def test_dead_letters_are_forgotten_one_or_all(cli: LakeCli) -> None:
    assert cli.lines("event", "forget", "--seq", "101", "--seq", "7")[0]["forgotten"] == 1
    assert dead(cli) == [102, 103]
    cli.text("event", "forget", "--all")
    assert dead(cli) == []


def test_what_is_to_be_replayed_has_to_be_said(cli: LakeCli) -> None:
    assert "--seq NUMBER, or --all" in cli.run("event", "replay").stderr
    assert "--seq NUMBER, or --all" in cli.run("event", "forget", "--all", "--seq", "1").stderr
    assert "there are webhook:primary" in cli.run("event", "dead", "--target", "webhook:other").stderr
    assert dead(cli) == [101, 102, 103]


def test_what_was_replayed_or_forgotten_is_in_the_audit_log(cli: LakeCli) -> None:
    cli.text("event", "replay", "--seq", "101")
    cli.text("event", "forget", "--all")
    told = [(line["line"]["operation"], line["line"].get("key")) for line in cli.lines("audit", "query")]
    assert told[-2:] == [("in-process:ReplayEvents", TARGET), ("in-process:ForgetEvents", TARGET)]
