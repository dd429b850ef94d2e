from pathlib import Path

import pytest

from hosu.cli.addresses import (
    LocalAddress,
    ObjectAddress,
    StreamAddress,
    parse_address,
    parse_bucket,
    parse_object,
    path_below,
)
from hosu.cli.faults import UsageFault
from hosu.kernel.errors import ErrorKind, InvalidInputError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("hosu://lab/b/k/x", ObjectAddress("lab", "b", "k/x")),
        ("hosu://lab", ObjectAddress("lab", "")),
        ("hosu://lab/b", ObjectAddress("lab", "b")),
        ("hosu://lab/b//k", ObjectAddress("lab", "b", "/k")),
        ("s3://b/a%20b", ObjectAddress(None, "b", "a%20b")),
        ("S3://b/", ObjectAddress(None, "b", "")),
        ("-", StreamAddress()),
        ("./a:b", LocalAddress(Path("a:b"))),
        ("nowhere/", LocalAddress(Path("nowhere"), is_folder=True)),
    ],
)
def test_addresses_are_read_as_written(text: str, address: object) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "ftp://x/y", "hosu:///b/k", "s3:///k", "a\0b"])
def test_what_is_no_address_is_a_usage_fault(text: str) -> None:
    with pytest.raises(UsageFault):
        parse_address(text)


def test_an_object_is_not_a_path_and_a_bucket_has_no_key() -> None:
    with pytest.raises(UsageFault, match="not at an S3 endpoint"):
        parse_object("a/b")
    with pytest.raises(UsageFault, match="not a bucket"):
        parse_bucket("s3://b/key")


def test_an_address_prints_as_it_is_written() -> None:
    for text in ("hosu://lab/b/k/x", "s3://b/k", "hosu://lab/"):
        assert str(parse_address(text)) == text


def test_a_prefix_does_not_match_its_longer_neighbours() -> None:
    assert ObjectAddress("lab", "b", "models").folder.key == "models/"
    assert ObjectAddress("lab", "b", "models").child("x").key == "models/x"
    assert ObjectAddress("lab", "b").child("x").key == "x"


@pytest.mark.parametrize("key", ["../x", "a/../../x", "/etc/passwd", "a//b", "a/./b", "a\0b", "", "..", "a/"])
def test_a_key_that_would_leave_the_folder_is_refused_by_name(tmp_path: Path, key: str) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        path_below(tmp_path, key)
    assert refusal.value.kind is ErrorKind.KEY_INVALID
    assert repr(key) in refusal.value.message


def test_a_link_inside_the_folder_does_not_lead_out(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "out").symlink_to(tmp_path)
    (root / "in").mkdir()
    with pytest.raises(InvalidInputError, match="symbolic link"):
        path_below(root, "out/x")
    assert path_below(root, "in/x") == root / "in" / "x"
