"""Places for copies and backups: what is one, what lies in the lake itself, and what they may say of keys."""

import os
from pathlib import Path

import pytest
from tests.conftest import SERVER_KEY
from tests.support.clients import S3Client
from tests.support.server import Endpoint

from hosu.kernel.errors import ErrorKind, HosuError, InvalidInputError, UnavailableError
from hosu.kernel.fileio import FolderFileIO, S3FileIO
from hosu.objects.store import ObjectStore
from hosu.rules.locations import ACCESS_KEY, SECRET_KEY, check_location, open_location


@pytest.fixture
def served(server: Endpoint, request: pytest.FixtureRequest) -> Path:
    """Name the folder of the server's lake."""
    assert server.url
    if SERVER_KEY not in request.config.stash:
        pytest.skip("the server's folder is not at hand")
    return request.config.stash[SERVER_KEY].directory


def refusal(text: str, lake: Path) -> str:
    with pytest.raises(InvalidInputError) as refused:
        check_location(text, lake)
    assert refused.value.kind == ErrorKind.LOCATION_INVALID
    return refused.value.message


def test_a_folder_is_made_and_probed(store: ObjectStore, tmp_path: Path) -> None:
    folder = tmp_path / "disk" / "copies"
    assert "no folder" in refusal(str(folder), store.path)
    folder.parent.mkdir()
    files = check_location(str(folder), store.path)
    assert isinstance(files, FolderFileIO)
    assert list(files.list()) == []
    assert check_location(str(folder), store.path).put("k", b"v").size_bytes == 1


@pytest.mark.parametrize("text", ["", "copies", "./copies", "~/copies", "file:///copies", "a\0b"])
def test_what_is_no_absolute_path_is_refused(store: ObjectStore, text: str) -> None:
    assert "absolute path" in refusal(text, store.path)


def test_a_file_is_no_place(store: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert "not a folder" in refusal(str(tmp_path / "file"), store.path)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    assert "not a folder" in refusal(str(tmp_path / "dangling"), store.path)


@pytest.mark.parametrize(
    "below", ["", "copies", "blobs", "blobs/copies", "meta/x", "../lake/copies", "blobs/../copies"]
)
def test_a_place_in_the_lake_is_refused_by_any_name(store: ObjectStore, tmp_path: Path, below: str) -> None:
    assert "in the lake" in refusal(f"{store.path}/{below}", store.path)
    (tmp_path / "link").symlink_to(store.path)
    assert "in the lake" in refusal(f"{tmp_path}/link/{below}", store.path)
    assert not (store.path / "copies").exists()


def test_a_place_around_the_lake_is_refused(store: ObjectStore, tmp_path: Path) -> None:
    assert "holds the lake" in refusal(str(tmp_path), store.path)


def test_a_place_in_the_lake_is_never_opened(store: ObjectStore) -> None:
    with pytest.raises(InvalidInputError):
        open_location(str(store.path / "blobs"), store_path=store.path)


def test_a_folder_that_has_gone_is_unavailable(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="mount"):
        open_location(str(tmp_path / "gone"), store_path=store.path)


@pytest.mark.parametrize(
    "text",
    [
        "s3://",
        "s3:///prefix",
        "s3://bucket/a//b",
        "s3://bucket?endpoint=host:9000",
        "s3://bucket?secret_key=hunter2hunter2",
        "s3://AKIAXXXX:hunter2hunter2@bucket/prefix",
        "s3://bucket?endpoint=http://AKIAXXXX:hunter2hunter2@host:9000",
        "s3://bucket?virtual_hosted=maybe",
        "s3://bucket/prefix#here",
    ],
)
def test_an_s3_place_that_is_none_is_refused_without_its_secrets(store: ObjectStore, text: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        check_location(text, store.path)
    assert "hunter2" not in refused.value.message
    assert "hunter2" not in str(refused.value.details)


def test_keys_of_an_s3_place_come_from_the_environment(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ACCESS_KEY, "copier")
    with pytest.raises(InvalidInputError, match=SECRET_KEY):
        open_location("s3://bucket", store_path=store.path)
    monkeypatch.setenv(SECRET_KEY, "hunter2hunter2")
    files = open_location("s3://bucket/a/b?endpoint=https://host:9000&region=eu", store_path=store.path)
    assert isinstance(files, S3FileIO)
    assert (files.place.prefix, files.place.region, files.place.access_key_id) == ("a/b", "eu", "copier")
    assert "hunter2" not in repr(files.place)


@pytest.mark.parametrize("prefix", ["", "/copies/of"])
def test_a_bucket_of_the_lakes_own_server_is_refused(
    server: Endpoint, s3: S3Client, bucket: str, served: Path, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ACCESS_KEY, server.access_key)
    monkeypatch.setenv(SECRET_KEY, server.secret_key)
    assert "this lake itself" in refusal(f"s3://{bucket}{prefix}?endpoint={server.url}", served)
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_another_lakes_server_is_a_place(
    server: Endpoint, s3: S3Client, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ACCESS_KEY, server.access_key)
    monkeypatch.setenv(SECRET_KEY, server.secret_key)
    with ObjectStore(tmp_path / "mine") as mine:
        check_location(f"s3://{bucket}/copies?endpoint={server.url}", mine.path).put("k", b"v")
    assert s3.get_object(Bucket=bucket, Key="copies/k")["Body"].read() == b"v"


def test_a_place_out_of_reach_says_so(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    from hosu.kernel.fileio import s3_store

    monkeypatch.setenv(ACCESS_KEY, "copier")
    monkeypatch.setenv(SECRET_KEY, "hunter2hunter2")
    real = s3_store.S3Place.open_store
    monkeypatch.setattr(
        s3_store.S3Place,
        "open_store",
        lambda place: real(s3_store.S3Place(place.bucket, endpoint=place.endpoint, access_key_id="a",
                                            secret_access_key="b", retries_max=0)),
    )  # fmt: skip
    with pytest.raises(HosuError) as refused:
        check_location("s3://bucket?endpoint=http://127.0.0.1:9", store.path)
    assert refused.value.kind == ErrorKind.STORE_UNAVAILABLE
    assert os.environ[SECRET_KEY] not in refused.value.message


def test_a_location_is_told_from_the_lake_without_reading_the_folders_of_its_blobs(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (store.path / "blobs" / "00000001").mkdir(exist_ok=True)
    (store.path / "blobs" / "00000001" / "000000001000").write_bytes(b"")
    listed, scandir = [], os.scandir

    def note(path: str) -> object:
        listed.append(os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", note)
    check_location(str(tmp_path / "copies"), store.path)
    inside = [path for path in listed if path.startswith(f"{store.path}/")]
    assert f"{store.path}/blobs" in inside
    assert [path for path in inside if path.startswith(f"{store.path}/blobs/")] == []
    assert "in the lake" in refusal(f"{store.path}/blobs/00000001", store.path)


def test_what_is_written_to_a_folder_is_for_the_lakes_own_user_alone(store: ObjectStore, tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        files = check_location(str(tmp_path / "copies"), store.path)
        files.put("blobs/ab/put", b"key")
        with files.open_write("blobs/ab/written") as writer:
            writer.write(b"key")
    finally:
        os.umask(before)
    modes = {
        path.name: path.stat().st_mode & 0o077 for path in [tmp_path / "copies", *(tmp_path / "copies").rglob("*")]
    }
    assert {"copies", "blobs", "ab", "put", "written"} <= modes.keys()
    assert set(modes.values()) == {0}
