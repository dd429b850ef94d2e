import contextlib
import dataclasses
import hashlib
import io
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from hosu.cli import download as downloads
from hosu.cli import upload as uploads
from hosu.cli.addresses import ObjectAddress
from hosu.cli.digests import expected_digest, file_has_etag, multipart_etag
from hosu.cli.faults import FileChangedError, as_hosu_error, is_transient
from hosu.cli.localfiles import PART_SUFFIX, part_path, walk
from hosu.cli.parts import FileParts
from hosu.cli.profiles import Profile, Profiles
from hosu.cli.retry import RetryPolicy
from hosu.cli.session import Session
from hosu.cli.upload import PutOptions, guess_content_type, part_bytes_for
from hosu.kernel.errors import ConflictError, CorruptError, UnavailableError
from hosu.kernel.limits import GIB, MIB, OBJECT_BYTES_MAX, PART_NUMBER_MAX

LARGE_BYTES = 17 * MIB + 123
"""Just over what goes in one request: three parts, the last one short."""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large") / "large.bin"
    path.write_bytes(os.urandom(LARGE_BYTES))
    return path


@pytest.fixture
def flaky(session: Session, proxy: Any) -> Session:
    """The session, with a profile `flaky` that goes through the proxy."""
    Profiles.of_user().save("flaky", Profile(proxy.url, "k", "s"))
    return session


def nothing(_count_bytes: int) -> None:
    pass


def open_uploads(s3: Any, bucket: str) -> list[str]:
    return [item["UploadId"] for item in s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])]


def test_a_failed_upload_is_tried_again_three_times_with_growing_waits(hosu: Any, proxy: Any, tmp_path: Path) -> None:
    Profiles.of_user().save("flaky", Profile(proxy.url, "k", "s"))
    proxy.always = ("up", 100)
    (tmp_path / "f").write_bytes(b"x" * 1000)
    result = hosu("cp", tmp_path / "f", "hosu://flaky/bucket/f")
    assert result.exit_code == 1
    assert "the endpoint did not answer" in result.stderr
    assert proxy.cuts == 4
    assert len(hosu.waits) == 3
    for wait_s, least in zip(hosu.waits, (0.5, 1.0, 2.0), strict=True):
        assert least <= wait_s <= least + 0.5


def test_an_endpoint_that_refuses_connections_is_tried_again_and_named(hosu: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    Profiles.of_user().save("gone", Profile(f"http://127.0.0.1:{port}", "k", "s"))
    (row,) = hosu.json("ls", "hosu://gone/bucket")
    assert (row["kind"], len(hosu.waits)) == ("endpoint-unavailable", 3)


def test_an_upload_succeeds_on_its_last_try(flaky: Session, proxy: Any, s3: Any, bucket: str, tmp_path: Path) -> None:
    proxy.faults.extend([("up", 100)] * 3)
    (tmp_path / "f").write_bytes(b"whole")
    uploads.upload_file(flaky, tmp_path / "f", ObjectAddress("flaky", bucket, "f"), PutOptions(), nothing)
    assert s3.get_object(Bucket=bucket, Key="f")["Body"].read() == b"whole"
    assert proxy.cuts == 3


def test_what_cannot_be_mended_is_not_tried_again(hosu: Any, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    result = hosu("cp", tmp_path / "f", "hosu://lab/no-such-bucket-at-all/f")
    assert result.exit_code == 1
    assert "hosu mb" in result.stderr
    assert hosu.waits == []


def test_one_failing_file_does_not_stop_the_others(hosu: Any, s3: Any, bucket: str, tmp_path: Path) -> None:
    for name in ("a", "c"):
        (tmp_path / name).write_bytes(b"x")
    rows = hosu.json("cp", tmp_path / "a", tmp_path / "missing", tmp_path / "c", f"hosu://lab/{bucket}/")
    assert [row["address"] for row in rows if row["status"] == "error"] == [str(tmp_path / "missing")]
    assert (rows[-1]["done"], rows[-1]["failed"]) == (2, 1)
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 2


def test_a_large_file_goes_in_parts_and_comes_back_whole(
    session: Session, s3: Any, bucket: str, large: Path, tmp_path: Path
) -> None:
    moved: list[int] = []
    address = ObjectAddress("lab", bucket, "large")
    etag, size_bytes = uploads.upload_file(session, large, address, PutOptions(), moved.append)
    assert etag.endswith("-3")
    assert sum(moved) == size_bytes == LARGE_BYTES
    assert file_has_etag(large, etag, 8 * MIB)
    downloads.download(session, address, tmp_path / "back", nothing)
    assert (tmp_path / "back").read_bytes() == large.read_bytes()
    assert open_uploads(s3, bucket) == []
    assert list((tmp_path / "journals").iterdir()) == []


def test_an_interrupted_upload_is_invisible_and_its_stored_parts_are_not_sent_again(
    flaky: Session, proxy: Any, s3: Any, bucket: str, large: Path
) -> None:
    address = ObjectAddress("flaky", bucket, "large")
    once = dataclasses.replace(flaky, jobs=1, retry=RetryPolicy(sleep=nothing_s, retries=0))
    proxy.faults.append(("up", 9 * MIB))
    with pytest.raises(Exception, match=r"\w") as cut:
        uploads.upload_file(once, large, address, PutOptions(), nothing)
    assert is_transient(cut.value)
    once.close()
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)
    (upload_id,) = open_uploads(s3, bucket)
    stored = s3.list_parts(Bucket=bucket, Key="large", UploadId=upload_id)["Parts"]
    assert [part["PartNumber"] for part in stored] == [1]

    sent: list[int] = []
    client = flaky.endpoints.client(address)
    client.meta.events.register("before-call.s3.UploadPart", lambda params, **_: sent.append(params["url_path"]))
    uploads.upload_file(flaky, large, address, PutOptions(), nothing)
    assert len(sent) == 2
    assert s3.get_object(Bucket=bucket, Key="large")["Body"].read() == large.read_bytes()
    assert open_uploads(s3, bucket) == []


def nothing_s(_seconds: float) -> None:
    pass


def test_a_part_of_another_content_is_sent_again(session: Session, s3: Any, bucket: str, large: Path) -> None:
    address = ObjectAddress("lab", bucket, "large")
    with large.open("rb") as file:
        source = FileParts(large, file)
        arguments = PutOptions().arguments(large.name)
        upload_id = s3.create_multipart_upload(Bucket=bucket, Key="large")["UploadId"]
        s3.upload_part(Bucket=bucket, Key="large", UploadId=upload_id, PartNumber=1, Body=b"\0" * (8 * MIB))
        with session.journals.claim("upload", session.endpoints.label(address), str(address), source.name) as journal:
            assert journal is not None
            header = {"identity": source.identity, "part_bytes": 8 * MIB, "arguments": repr(arguments)}
            journal.start({**header, "upload_id": upload_id})
    uploads.upload_file(session, large, address, PutOptions(), nothing)
    assert s3.get_object(Bucket=bucket, Key="large")["Body"].read() == large.read_bytes()


def test_a_file_that_changes_while_it_is_sent_is_not_stored(
    session: Session, s3: Any, bucket: str, tmp_path: Path
) -> None:
    path = tmp_path / "growing"
    path.write_bytes(bytes(LARGE_BYTES))

    def grow(_count_bytes: int) -> None:
        with path.open("ab") as file:
            file.write(b"more")

    with pytest.raises(FileChangedError):
        uploads.upload_file(session, path, ObjectAddress("lab", bucket, "g"), PutOptions(), grow)
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)
    assert open_uploads(s3, bucket) == []


def test_a_lost_answer_to_a_completion_is_recognised_as_success(session: Session, s3: Any, bucket: str) -> None:
    address = ObjectAddress("lab", bucket, "k")
    upload_id = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="k", UploadId=upload_id, PartNumber=1, Body=b"body")
    parts = {1: {"PartNumber": 1, "ETag": part["ETag"]}}
    first = uploads.complete_upload(session, address, upload_id, parts)
    assert uploads.complete_upload(session, address, upload_id, parts) == first


def test_a_stream_of_unknown_length_goes_in_parts(session: Session, s3: Any, bucket: str) -> None:
    body = os.urandom(9 * MIB)
    address = ObjectAddress("lab", bucket, "s")
    assert uploads.upload_stream(session, io.BytesIO(body), address, PutOptions(), nothing)[1] == len(body)
    assert s3.get_object(Bucket=bucket, Key="s")["Body"].read() == body


def test_a_stream_that_breaks_leaves_no_object_and_no_upload(session: Session, s3: Any, bucket: str) -> None:
    class Breaking(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            piece = super().read(size)
            if not piece:
                raise OSError("the pipe broke")
            return piece

    with pytest.raises(OSError, match="pipe"):
        uploads.upload_stream(
            session, Breaking(bytes(9 * MIB)), ObjectAddress("lab", bucket, "s"), PutOptions(), nothing
        )
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)
    assert open_uploads(s3, bucket) == []


def test_an_interrupted_download_goes_on_where_it_stopped(
    flaky: Session, proxy: Any, s3: Any, bucket: str, large: Path, tmp_path: Path
) -> None:
    s3.put_object(Bucket=bucket, Key="large", Body=large.read_bytes())
    address = ObjectAddress("flaky", bucket, "large")
    target = tmp_path / "got"
    once = dataclasses.replace(flaky, jobs=1, retry=RetryPolicy(sleep=nothing_s, retries=0))
    proxy.faults.append(("down", 9 * MIB))
    with pytest.raises(Exception, match=r"\w") as cut:
        downloads.download(once, address, target, nothing)
    assert is_transient(cut.value)
    once.close()
    assert not target.exists()
    assert part_path(target, str(address)).exists()

    ranges: list[str] = []
    client = flaky.endpoints.client(address)
    client.meta.events.register(
        "before-call.s3.GetObject", lambda params, **_: ranges.append(params["headers"]["Range"])
    )
    downloads.download(flaky, address, target, nothing)
    assert sorted(ranges) == sorted([f"bytes={8 * MIB}-{16 * MIB - 1}", f"bytes={16 * MIB}-{LARGE_BYTES - 1}"])
    assert target.read_bytes() == large.read_bytes()
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(PART_SUFFIX)] == []


def test_a_retry_of_a_download_asks_only_for_the_bytes_that_are_missing(
    flaky: Session, proxy: Any, s3: Any, bucket: str, large: Path, tmp_path: Path
) -> None:
    s3.put_object(Bucket=bucket, Key="large", Body=large.read_bytes())
    proxy.faults.extend([("down", 5 * MIB), ("down", 3 * MIB)])
    moved: list[int] = []
    downloads.download(flaky, ObjectAddress("flaky", bucket, "large"), tmp_path / "got", moved.append)
    assert (tmp_path / "got").read_bytes() == large.read_bytes()
    assert proxy.cuts == 2
    assert sum(moved) == LARGE_BYTES


def test_an_object_that_changed_since_the_interruption_is_fetched_anew(
    flaky: Session, proxy: Any, s3: Any, bucket: str, large: Path, tmp_path: Path
) -> None:
    s3.put_object(Bucket=bucket, Key="large", Body=large.read_bytes())
    address = ObjectAddress("flaky", bucket, "large")
    once = dataclasses.replace(flaky, jobs=1, retry=RetryPolicy(sleep=nothing_s, retries=0))
    proxy.faults.append(("down", 9 * MIB))
    with contextlib.suppress(Exception):
        downloads.download(once, address, tmp_path / "got", nothing)
    once.close()
    other = bytes(LARGE_BYTES)
    s3.put_object(Bucket=bucket, Key="large", Body=other)
    downloads.download(flaky, address, tmp_path / "got", nothing)
    assert (tmp_path / "got").read_bytes() == other


def test_a_download_with_other_bytes_than_the_etag_says_is_not_stored(
    session: Session, s3: Any, bucket: str, tmp_path: Path
) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"honest")
    address = ObjectAddress("lab", bucket, "k")
    client = session.endpoints.client(address)

    def lie(parsed: dict[str, Any], **_: object) -> None:
        parsed["ETag"] = f'"{hashlib.md5(b"other").hexdigest()}"'
        for name in [name for name in parsed if name.startswith("Checksum")]:
            del parsed[name]

    client.meta.events.register("after-call.s3.GetObject", lie)
    with pytest.raises(CorruptError, match="MD5"):
        downloads.download(session, address, tmp_path / "k", nothing)
    assert [path.name for path in tmp_path.iterdir() if path.name not in {"home", "journals"}] == []


def test_two_downloads_of_one_file_do_not_write_into_each_other(
    session: Session, s3: Any, bucket: str, tmp_path: Path
) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    address = ObjectAddress("lab", bucket, "k")
    part = part_path(tmp_path / "k", str(address))
    with downloads._claimed(part, tmp_path / "k"), pytest.raises(ConflictError, match="another process"):
        downloads.download(session, address, tmp_path / "k", nothing)


def test_part_sizes_stay_within_the_limits_of_s3() -> None:
    assert part_bytes_for(17 * MIB) == 8 * MIB
    for size_bytes in (80 * GIB, OBJECT_BYTES_MAX):
        assert -(-size_bytes // part_bytes_for(size_bytes)) <= PART_NUMBER_MAX


def test_types_are_guessed_and_compressed_files_are_what_they_are() -> None:
    assert guess_content_type("a.jpg") == "image/jpeg"
    assert guess_content_type("a.csv.gz") == "application/gzip"
    assert guess_content_type("a.no-such-ending") == "application/octet-stream"


def test_digests_are_taken_only_where_they_speak_of_the_whole() -> None:
    md5 = hashlib.md5(b"x").hexdigest()
    assert expected_digest({"ETag": f'"{md5}"'}) == ("MD5", bytes.fromhex(md5))
    assert expected_digest({"ETag": f'"{md5}-3"'}) is None
    assert expected_digest({"ETag": f'"{md5}"', "ServerSideEncryption": "aws:kms"}) is None
    assert expected_digest({"ChecksumCRC32": "AAAAAA==-3", "ChecksumType": "COMPOSITE"}) is None
    assert expected_digest({"ChecksumCRC32": "AAAAAA=="}) == ("ChecksumCRC32", bytes(4))
    assert multipart_etag([bytes(16)]).endswith("-1")


def test_files_are_walked_in_key_order_without_loops_and_downloads_under_way(tmp_path: Path) -> None:
    for name in ("a/b", "a-b", "a.b", "ab", f"x{PART_SUFFIX}", "é", "z"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    found = [item.relative for item in walk(tmp_path) if hasattr(item, "relative")]
    assert found == ["a-b", "a.b", "a/b", "ab", "z", "é"]
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    assert [item.path.name for item in walk(tmp_path) if not hasattr(item, "relative")] == ["dangling"]


def test_disk_errors_name_the_path_and_network_errors_the_address() -> None:
    full = as_hosu_error(OSError(28, "No space left on device", "/x"), "/x")
    assert (str(full.kind), "make room" in full.message) == ("disk-full", True)
    assert isinstance(as_hosu_error(ConnectionResetError("reset"), "s3://b/k"), UnavailableError)
