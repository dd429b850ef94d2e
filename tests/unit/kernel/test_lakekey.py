"""The lake key: where it may come from, how mistakes are told, and that nothing shows it."""

import base64
import os
import sys
from pathlib import Path

import msgspec
import pytest

from hosu.kernel.errors import CorruptError, ErrorKind, InvalidInputError
from hosu.kernel.lakekey import VARIABLES, LakeKey, decode_key, encode_key, load_lake_key
from hosu.kernel.settings import Settings

SECRET = bytes(range(32))
BASE64 = base64.b64encode(SECRET).decode()


def refusal(
    settings: Settings | None = None, environment: dict[str, str] | None = None, lake: Path | None = None
) -> str:
    with pytest.raises(InvalidInputError) as refused:
        load_lake_key(settings or Settings(), environment or {}, lake)
    assert refused.value.kind is ErrorKind.INVALID_SETTING
    assert BASE64 not in refused.value.message
    assert SECRET.hex() not in refused.value.message
    return refused.value.message


def test_without_a_source_there_is_no_key() -> None:
    assert load_lake_key(Settings(), {"HOSU_LAKE_KEY": "", "MINIO_KMS_SECRET_KEY": ""}) is None


@pytest.mark.parametrize("text", [BASE64, BASE64.rstrip("="), f" {BASE64}\n", SECRET.hex(), SECRET.hex().upper()])
def test_a_variable_holds_the_key_in_base64_or_hexadecimal(text: str) -> None:
    assert load_lake_key(Settings(), {"HOSU_LAKE_KEY": text}) == LakeKey(SECRET)


def test_url_safe_base64_is_read_too() -> None:
    secret = b"\xfb\xff" * 16
    assert decode_key(base64.urlsafe_b64encode(secret), "it") == secret


@pytest.mark.parametrize("content", [SECRET, BASE64.encode(), SECRET.hex().encode() + b"\n"])
def test_a_file_holds_the_key_as_text_or_as_bytes(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    assert load_lake_key(Settings(lake_key_file=str(file)), {}) == LakeKey(SECRET)


def test_a_command_prints_the_key() -> None:
    command = f"{sys.executable} -c \"print('{BASE64}')\""
    assert load_lake_key(Settings(lake_key_command=command), {}) == LakeKey(SECRET)


def test_minios_variable_brings_the_name_of_the_default_key() -> None:
    found = load_lake_key(Settings(), {"MINIO_KMS_SECRET_KEY": f"my-key:{BASE64}"})
    assert found == LakeKey(SECRET, "my-key")


def test_minios_file_brings_the_name_of_the_default_key(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"my-key:{BASE64}\n")
    assert load_lake_key(Settings(), {"MINIO_KMS_SECRET_KEY_FILE": str(file)}) == LakeKey(SECRET, "my-key")


def test_two_sources_are_refused_by_name() -> None:
    message = refusal(Settings(lake_key_file="/k"), {"HOSU_LAKE_KEY": BASE64})
    assert "HOSU_LAKE_KEY and lake_key_file" in message


@pytest.mark.parametrize("text", ["short", BASE64[:-8], BASE64 + "AAAA", "x" * 64, "ä" * 20])
def test_what_is_no_key_is_refused_without_showing_it(text: str) -> None:
    message = refusal(environment={"HOSU_LAKE_KEY": text})
    assert "HOSU_LAKE_KEY" in message
    assert text not in message


@pytest.mark.parametrize("text", [BASE64, f":{BASE64}", "name:short"])
def test_what_is_no_key_of_minios_is_refused(text: str) -> None:
    assert "MINIO_KMS_SECRET_KEY" in refusal(environment={"MINIO_KMS_SECRET_KEY": text})


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in refusal(Settings(lake_key_file=str(tmp_path / "none")))


def test_a_file_in_the_lake_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "lake" / "key"
    file.parent.mkdir()
    file.write_bytes(SECRET)
    (tmp_path / "link").symlink_to(file)
    for name in (file, tmp_path / "link", tmp_path / "lake" / ".." / "lake" / "key"):
        assert "within the lake's folder" in refusal(Settings(lake_key_file=str(name)), lake=tmp_path / "lake")


@pytest.mark.parametrize(
    ("command", "reason"),
    [("false", "status 1"), ("/no/such/program", "cannot be run"), ("'", "cannot be run"), (" ", "cannot be run")],
)
def test_a_command_that_fails_is_told(command: str, reason: str) -> None:
    assert reason in refusal(Settings(lake_key_command=command))


def test_what_a_command_prints_is_never_told() -> None:
    assert "secret-output" not in refusal(Settings(lake_key_command="echo secret-output"))


def test_a_key_shows_its_fingerprint_only() -> None:
    key = LakeKey(SECRET, "name")
    for shown in (repr(key), str(key), f"{key}", repr([key]), str(list(key.__rich_repr__()))):
        assert key.fingerprint in shown
        assert BASE64 not in shown
        assert repr(SECRET) not in shown


def test_fingerprints_tell_keys_apart_and_do_not_hold_them() -> None:
    key = LakeKey(SECRET)
    assert key.fingerprint == LakeKey(SECRET, "other name").fingerprint
    assert key.fingerprint != LakeKey(os.urandom(32)).fingerprint
    assert len(key.fingerprint) == 32
    assert key.fingerprint not in SECRET.hex()


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_key_has_32_bytes(size: int) -> None:
    with pytest.raises(InvalidInputError):
        LakeKey(bytes(size))


def test_a_key_travels_as_json_and_keeps_its_fingerprint() -> None:
    key = LakeKey(SECRET, "name")
    assert msgspec.json.decode(msgspec.json.encode(key), type=LakeKey) == key


def test_what_one_key_wraps_no_other_opens() -> None:
    key, context = LakeKey(SECRET), b"context"
    wrapped = key.wrap(b"named key", context)
    assert key.unwrap(wrapped, context) == b"named key"
    for opener, about in ((LakeKey(os.urandom(32)), context), (key, b"other")):
        with pytest.raises(CorruptError):
            opener.unwrap(wrapped, about)


def test_a_stored_key_is_read_again() -> None:
    assert decode_key(encode_key(SECRET), "file") == SECRET


def test_the_variables_that_hold_keys_are_named() -> None:
    assert set(VARIABLES) == {"HOSU_LAKE_KEY", "MINIO_KMS_SECRET_KEY", "MINIO_KMS_SECRET_KEY_FILE"}
