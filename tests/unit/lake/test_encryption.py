"""Encryption in Python: the key comes from where the server's comes from, and every way of writing uses it."""

import base64
from pathlib import Path
from typing import Any

import fsspec
import pytest

import hosu
from hosu.kernel.errors import ConflictError, ErrorKind, InvalidInputError, UnsupportedError
from hosu.objects.buckets import set_document
from hosu.objects.encryption import EncryptionMode
from hosu.objects.encryption.defaults import DOCUMENT, BucketEncryption, encode_bucket_encryption
from hosu.objects.read import find

KEY = base64.b64encode(bytes(range(32))).decode()
OTHER = base64.b64encode(bytes(32)).decode()
BODY = b"plaintext-that-must-not-be-found" * 5_000


@pytest.fixture(autouse=True)
def _no_key_of_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOSU_LAKE_KEY", "HOSU_LAKE_KEY_FILE", "HOSU_LAKE_KEY_COMMAND", "HOSU_DEFAULT_ENCRYPTION"):
        monkeypatch.delenv(name, raising=False)
    for name in ("MINIO_KMS_SECRET_KEY", "MINIO_KMS_SECRET_KEY_FILE", "MINIO_KMS_AUTO_ENCRYPTION"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "lake"


@pytest.fixture
def encrypting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOSU_LAKE_KEY", KEY)
    monkeypatch.setenv("HOSU_DEFAULT_ENCRYPTION", "on")


def mode_of(lake: Any, bucket: str, key: str) -> EncryptionMode | None:
    encryption = find(lake.store.view(), bucket, key).attributes.encryption
    return None if encryption is None else encryption.mode


@pytest.mark.usefixtures("encrypting")
def test_every_way_of_writing_encrypts(folder: Path) -> None:
    with hosu.open(folder) as lake:
        bucket = lake.create_bucket("images")
        bucket.put("put", BODY)
        bucket.fileio().put("fileio", BODY)
        bucket.copy("put", "copy")
    with fsspec.filesystem("hosu", lake=str(folder), skip_instance_cache=True).open("images/fsspec", "wb") as file:
        file.write(BODY)
    with hosu.open(folder) as lake:
        bucket = lake.bucket("images")
        for key in ("put", "fileio", "copy", "fsspec"):
            assert mode_of(lake, "images", key) == EncryptionMode.SSE_S3
            assert bucket.get(key) == BODY
            assert bucket.get(key, range=(65_530, 65_540)) == BODY[65_530:65_540]
            with bucket.open(key) as opened:
                opened.seek(100_000)
                assert opened.read(7) == BODY[100_000:100_007]
    for path in folder.rglob("*"):
        assert not path.is_file() or BODY[:32] not in path.read_bytes(), path


def test_a_copy_takes_the_encryption_of_its_bucket(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOSU_LAKE_KEY", KEY)
    document = encode_bucket_encryption(BucketEncryption(EncryptionMode.SSE_KMS, "mine"))
    with hosu.open(folder) as lake:
        lake.store.keys.create_key("mine")
        plain, sealed = lake.create_bucket("plain"), lake.create_bucket("sealed")
        lake.store.commit(lambda tx: set_document(tx, "sealed", DOCUMENT, document))
        plain.put("k", BODY, metadata={"a": "b"}, tags={"c": "d"})
        made = sealed.copy("k", "k", source_bucket=plain)
        assert (made.metadata, made.tags) == ({"a": "b"}, {"c": "d"})
        assert mode_of(lake, "sealed", "k") == EncryptionMode.SSE_KMS
        plain.copy("k", "back", source_bucket=sealed)
        assert mode_of(lake, "plain", "back") is None
        assert plain.get("back") == sealed.get("k") == BODY


@pytest.mark.usefixtures("encrypting")
def test_a_lake_does_not_open_without_its_key(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with hosu.open(folder) as lake:
        lake.create_bucket("images").put("k", BODY)
    monkeypatch.setenv("HOSU_LAKE_KEY", OTHER)
    with pytest.raises(ConflictError) as error:
        hosu.open(folder)
    assert error.value.kind is ErrorKind.LAKE_KEY_WRONG
    monkeypatch.delenv("HOSU_LAKE_KEY")
    monkeypatch.delenv("HOSU_DEFAULT_ENCRYPTION")
    with pytest.raises(ConflictError) as error:
        hosu.open(folder)
    assert error.value.kind is ErrorKind.LAKE_KEY_MISSING


def test_a_lake_that_is_to_encrypt_needs_a_key(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIO_KMS_AUTO_ENCRYPTION", "on")
    with pytest.raises(UnsupportedError) as error:
        hosu.open(folder)
    assert error.value.kind is ErrorKind.KEY_NOT_CONFIGURED


def test_a_file_named_in_the_lakes_settings_holds_the_key(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    hosu.open(folder).close()
    (folder / "hosu.toml").write_text(f'lake_key_file = "{tmp_path / "key"}"\ndefault_encryption = "on"\n')
    with hosu.open(folder) as lake:
        lake.create_bucket("images").put("k", BODY)
        assert mode_of(lake, "images", "k") == EncryptionMode.SSE_S3
    (folder / "hosu.toml").write_text('lake_key_file = "hosu.toml"\n')
    with pytest.raises(InvalidInputError) as error:
        hosu.open(folder)
    assert error.value.kind is ErrorKind.INVALID_SETTING
