"""`hosu audit` on a lake of this machine."""

import json

import pytest
from tests.support.lakecli import LakeCli

SECRET = "correct-horse-battery"


@pytest.fixture
def cli(lake_cli: LakeCli) -> LakeCli:
    with lake_cli.opened() as lake:
        images = lake.create_bucket("images")
        images.put("raw/a.jpg", b"a")
        images.put("other/b.jpg", b"b")
    lake_cli.text("user", "add", "alice", SECRET)
    return lake_cli


def operations(cli: LakeCli, *words: str) -> list[str]:
    return [line["line"]["operation"] for line in cli.lines("audit", "query", *words)]


def test_what_was_changed_is_told_by_whom_oldest_first(cli: LakeCli) -> None:
    assert operations(cli) == [
        "in-process:BucketCreated",
        "in-process:ObjectCreated:Put",
        "in-process:ObjectCreated:Put",
        "in-process:PutUser",
    ]
    last = cli.text("audit", "query").splitlines()[-1]
    assert last.split("  ")[1:] == ["ann", "in-process:PutUser", "alice"]
    assert SECRET not in json.dumps(cli.lines("audit", "query"))


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (("--bucket", "images"), 3),
        (("--bucket", "images", "--prefix", "raw/"), 1),
        (("--operation", "in-process:PutUser"), 1),
        (("--operation", "in-process:Object*"), 2),
        (("--principal", "ann"), 1),
        (("--since", "1h"), 4),
        (("--until", "1h"), 0),
        (("--since", "2001-01-01", "--until", "2001-01-02T00:00:00+09:00"), 0),
        (("--denied",), 0),
    ],
)
def test_lines_are_chosen_by_what_is_given(cli: LakeCli, words: tuple[str, ...], count: int) -> None:
    assert len(operations(cli, *words)) == count


def test_reads_of_a_bucket_are_switched_on_and_off(cli: LakeCli) -> None:
    assert cli.text("audit", "reads", "images") == "reads of images are not written to the audit log\n"
    assert cli.text("audit", "reads", "images", "on") == "reads of images are written to the audit log\n"
    assert cli.lines("audit", "reads", "images") == [
        {"status": "ok", "operation": "audit reads", "bucket": "images", "reads": "on"}
    ]
    cli.text("audit", "reads", "images", "off")
    assert cli.lines("audit", "reads", "images")[0]["reads"] == "off"


@pytest.mark.parametrize(
    ("words", "kind", "status"),
    [
        (("reads", "nowhere"), "bucket-not-found", 1),
        (("reads", "nowhere", "on"), "bucket-not-found", 1),
        (("query", "--since", "lately"), "invalid-argument", 2),
    ],
)
def test_what_cannot_be_is_named_with_its_kind(cli: LakeCli, words: tuple[str, ...], kind: str, status: int) -> None:
    verb, *rest = words
    assert cli.fault("audit", verb, *rest) == (kind, status)


def test_a_switch_is_on_or_off(cli: LakeCli) -> None:
    assert cli.run("audit", "reads", "images", "maybe").exit_code == 2


def test_a_folder_that_is_no_lake_is_refused(cli: LakeCli) -> None:
    assert LakeCli(cli.folder.parent / "typo").fault("audit", "query") == ("not-a-lake", 1)
