"""`hosu alerts` on a lake of this machine."""

from functools import partial

import pytest
from tests.support.lakecli import LakeCli

from hosu.objects.alerts import Severity, raise_alert


@pytest.fixture
def cli(lake_cli: LakeCli) -> LakeCli:
    with lake_cli.opened() as lake:
        for message in ("blob 7 is corrupt", "blob 7 is corrupt,\nstill"):
            noticed = partial(
                raise_alert, kind="corrupt-object", subject="blob/7", severity=Severity.CRITICAL, message=message
            )
            lake.store.commit(noticed)
    return lake_cli


def test_what_stands_is_shown_in_two_lines_whatever_the_message_holds(cli: LakeCli) -> None:
    first, second = cli.text("alerts", "list").splitlines()
    assert first.startswith("critical  corrupt-object  blob/7  since ")
    assert first.endswith("(2 times)")
    assert second.strip() == r"blob 7 is corrupt,\nstill"


def test_every_field_is_told_as_json(cli: LakeCli) -> None:
    (line,) = cli.lines("alerts", "list")
    assert (line["kind"], line["subject"], line["severity"]) == ("corrupt-object", "blob/7", "critical")
    assert line["count"] == 2


def test_what_is_over_is_shown_only_when_asked_for(cli: LakeCli) -> None:
    cli.lines("alerts", "resolve", "corrupt-object", "blob/7")
    assert cli.lines("alerts", "list") == []
    assert ", over since " in cli.text("alerts", "list", "--all")
