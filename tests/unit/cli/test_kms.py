"""`hosu kms` and `hosu lakekey` on a lake of this machine."""

import base64
from pathlib import Path

import pytest
from tests.support.lakecli import LakeCli
from typer.testing import CliRunner

from hosu.cli.main import build_app
from hosu.objects.lock import LakeLock

SECRET = "correct-horse-battery"


def new_key(file: Path) -> Path:
    made = CliRunner().invoke(build_app(), ["lakekey", "generate"])
    assert made.exit_code == 0
    file.write_text(made.stdout)
    return file


@pytest.fixture
def sealed(lake_cli: LakeCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LakeCli:
    """The command line on a lake whose key is outside."""
    monkeypatch.setenv("HOSU_LAKE_KEY_FILE", str(new_key(tmp_path / "first.key")))
    return lake_cli


def test_named_keys_are_created_rotated_and_listed(sealed: LakeCli) -> None:
    assert sealed.text("kms", "create", "archive") == "created archive\n"
    assert sealed.text("kms", "rotate", "archive") == "archive is at version 2\n"
    (listed,) = sealed.lines("kms", "list")
    assert (listed["name"], listed["version"]) == ("archive", 2)
    assert sealed.text("kms", "list").split()[:3] == ["archive", "version", "2"]


def test_blobs_are_wrapped_again_once(sealed: LakeCli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOSU_DEFAULT_ENCRYPTION", "on")
    with sealed.opened() as lake:
        lake.create_bucket("images").put("a.jpg", b"a" * 100)
        key = lake.store.keys.default_key
    sealed.text("kms", "rotate", key)
    (done,) = sealed.lines("kms", "rewrap", key)
    assert (done["rewrapped"], done["skipped"]) == (1, 0)
    assert sealed.text("kms", "rewrap", key).startswith("0 wrapped by the newest version")
    with sealed.opened() as lake:
        assert lake.bucket("images").get("a.jpg") == b"a" * 100


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (("rotate", "nothing"), "named-key-not-found"),
        (("rewrap", "nothing"), "named-key-not-found"),
        (("create", "a/b"), "named-key-invalid"),
        (("create", "twice"), "named-key-exists"),
    ],
)
def test_what_cannot_be_is_named_with_its_kind(sealed: LakeCli, words: tuple[str, ...], kind: str) -> None:
    sealed.text("kms", "create", "twice")
    assert sealed.fault("kms", *words) == (kind, 1)


def test_a_generated_lake_key_has_32_bytes_and_is_another_each_time(tmp_path: Path) -> None:
    keys = [base64.b64decode(new_key(tmp_path / name).read_text(), validate=False) for name in ("a", "b")]
    assert [len(key) for key in keys] == [32, 32]
    assert keys[0] != keys[1]


def test_the_status_says_where_the_lake_key_is_and_never_shows_it(
    lake_cli: LakeCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (status,) = lake_cli.lines("lakekey", "status")
    assert (status["place"], status["fingerprint"], status["named_keys"]) == ("none", "", 0)
    lake_cli.text("user", "add", "alice", SECRET)
    (status,) = lake_cli.lines("lakekey", "status")
    assert (status["place"], status["named_keys"]) == ("inside", 1)
    file = new_key(tmp_path / "lake.key")
    monkeypatch.setenv("HOSU_LAKE_KEY_FILE", str(file))
    (status,) = lake_cli.lines("lakekey", "status")
    assert status["place"] == "outside"
    shown = lake_cli.text("lakekey", "status")
    assert status["fingerprint"] in shown
    assert file.read_text().strip() not in shown


@pytest.mark.parametrize("is_outside", [True, False])
def test_a_lake_is_brought_under_another_key_and_opens_with_that_one_alone(
    lake_cli: LakeCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_outside: bool
) -> None:
    if is_outside:
        monkeypatch.setenv("HOSU_LAKE_KEY_FILE", str(new_key(tmp_path / "first.key")))
    lake_cli.text("user", "add", "alice", SECRET)
    file = new_key(tmp_path / "second.key")
    (done,) = lake_cli.lines("lakekey", "rotate", file)
    assert done["named_keys"] == 1
    assert lake_cli.fault("user", "add", "bob", "--secret-file", "-", stdin=SECRET)[1] == 1
    monkeypatch.setenv("HOSU_LAKE_KEY_FILE", str(file))
    (status,) = lake_cli.lines("lakekey", "status")
    assert (status["place"], status["fingerprint"]) == ("outside", done["fingerprint"])
    from hosu.identity.authority import Authority

    with lake_cli.opened() as lake:
        assert tuple(Authority(lake.store, ("", "")).secrets("alice")) == (SECRET,)


def test_a_lake_key_is_not_rotated_beside_a_server_nor_into_the_lake(sealed: LakeCli, tmp_path: Path) -> None:
    sealed.text("user", "add", "alice", SECRET)
    lock = LakeLock(sealed.folder)
    try:
        assert sealed.fault("lakekey", "rotate", new_key(tmp_path / "second.key")) == ("lake-locked", 1)
    finally:
        lock.release()
    assert sealed.fault("lakekey", "rotate", new_key(sealed.folder / "inside.key")) == ("invalid-setting", 1)
    assert sealed.fault("lakekey", "rotate", tmp_path / "first.key") == ("invalid-argument", 1)
    assert sealed.fault("lakekey", "rotate", "/nowhere") == ("invalid-setting", 1)


def test_a_lake_that_has_no_key_has_none_to_rotate(lake_cli: LakeCli, tmp_path: Path) -> None:
    assert lake_cli.fault("lakekey", "rotate", new_key(tmp_path / "new.key")) == ("lake-key-missing", 1)
    assert LakeCli(tmp_path / "typo").fault("lakekey", "rotate", tmp_path / "new.key") == ("not-a-lake", 1)
