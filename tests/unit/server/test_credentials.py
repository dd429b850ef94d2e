"""Root's credentials: whose they are, who may read them, and how often they are made."""

import json
import os
from pathlib import Path

import pytest

from hosu.kernel.errors import ConflictError, ErrorKind
from hosu.kernel.settings import Settings
from hosu.server.credentials import MINIO_DEFAULT, root_credentials

GIVEN = Settings(root_user="operator", root_password="operators-secret")


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    (tmp_path / "meta").mkdir()
    return tmp_path


def test_they_are_generated_once_and_kept(lake: Path) -> None:
    first = root_credentials(lake, Settings())
    again = root_credentials(lake, Settings())
    assert first.is_new
    assert not again.is_new
    assert again[:2] == first[:2]
    assert len(first.access_key) == 20
    assert len(first.secret) >= 40


def test_two_lakes_have_different_ones(lake: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "meta").mkdir(parents=True)
    mine, theirs = root_credentials(lake, Settings()), root_credentials(other, Settings())
    assert mine.access_key != theirs.access_key
    assert mine.secret != theirs.secret


def test_only_the_owner_may_read_the_file_whatever_the_umask(lake: Path) -> None:
    umask = os.umask(0)
    try:
        root_credentials(lake, Settings())
    finally:
        os.umask(umask)
    assert (lake / "meta" / "root.json").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (lake / "meta").iterdir()] == ["root.json"]


def test_what_a_crash_left_half_written_is_replaced(lake: Path) -> None:
    (lake / "meta" / "root.new").write_text("{half")
    assert root_credentials(lake, Settings()).is_new


def test_the_operators_override_the_lakes_own_and_are_not_stored(lake: Path) -> None:
    own = root_credentials(lake, Settings())
    given = root_credentials(lake, GIVEN)
    assert given == ("operator", "operators-secret", False, None)
    assert "operator" not in (lake / "meta" / "root.json").read_text()
    assert root_credentials(lake, Settings())[:2] == own[:2]


def test_the_operators_leave_no_file_behind(lake: Path) -> None:
    root_credentials(lake, GIVEN)
    assert list((lake / "meta").iterdir()) == []


def test_a_default_counts_only_where_the_lake_has_none_of_its_own(lake: Path) -> None:
    assert root_credentials(lake, Settings(), default=MINIO_DEFAULT) == (*MINIO_DEFAULT, False, None)
    assert list((lake / "meta").iterdir()) == []
    own = root_credentials(lake, Settings())
    assert root_credentials(lake, Settings(), default=MINIO_DEFAULT)[:2] == own[:2]
    assert root_credentials(lake, GIVEN, default=MINIO_DEFAULT)[:2] == ("operator", "operators-secret")


@pytest.mark.parametrize("content", [b"", b"[]", b'{"access_key": "x"}', b"\xff"])
def test_a_damaged_file_is_told_and_never_replaced(content: bytes, lake: Path) -> None:
    path = lake / "meta" / "root.json"
    path.write_bytes(content)
    with pytest.raises(ConflictError, match="HOSU_ROOT_USER") as refused:
        root_credentials(lake, Settings())
    assert refused.value.kind is ErrorKind.CORRUPT_LAKE
    assert path.read_bytes() == content


def test_the_file_is_json_that_an_operator_can_read(lake: Path) -> None:
    made = root_credentials(lake, Settings())
    assert json.loads((lake / "meta" / "root.json").read_text()) == {
        "access_key": made.access_key,
        "secret": made.secret,
    }
