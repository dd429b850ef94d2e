"""The contract suite over moto, and what is particular to S3: probing, lost answers, parts, foreign keys."""

import logging
import pickle
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import boto3
import pytest
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

from hosu.kernel.errors import (
    AccessDeniedError,
    ErrorKind,
    InvalidInputError,
    NotFoundError,
    PreconditionFailedError,
    UnavailableError,
    UnsupportedError,
)
from hosu.kernel.fileio import FileIO, Prefix, S3FileIO, S3Place
from hosu.kernel.fileio.s3_store import PART_BYTES
from hosu.kernel.limits import MIB
from hosu.testing.fileio_contract import FileIOContract


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def client(endpoint: str) -> Iterator[Any]:
    client = boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id="a", aws_secret_access_key="b", region_name="us-east-1"
    )
    yield client
    client.close()


@pytest.fixture
def place(endpoint: str, client: Any) -> S3Place:
    bucket = f"b{uuid.uuid4().hex[:16]}"
    client.create_bucket(Bucket=bucket)
    return S3Place(bucket, "a prefix", endpoint=endpoint, access_key_id="a", secret_access_key="b", retries_max=0)


class TestS3FileIO(FileIOContract):
    examples_max = 4

    @pytest.fixture
    def fileio(self, place: S3Place) -> FileIO:
        return S3FileIO(place)

    @pytest.fixture(autouse=True)
    def _behind(self, client: Any) -> None:
        self.client = client

    def stored(self, fileio: FileIO, key: str) -> bytes | None:
        assert isinstance(fileio, S3FileIO)
        try:
            found = self.client.get_object(Bucket=fileio.place.bucket, Key=f"a prefix/{key}")
        except self.client.exceptions.NoSuchKey:
            return None
        body = found["Body"].read()
        assert isinstance(body, bytes)
        return body

    def store(self, fileio: FileIO, key: str, data: bytes) -> None:
        assert isinstance(fileio, S3FileIO)
        self.client.put_object(Bucket=fileio.place.bucket, Key=f"a prefix/{key}", Body=data)

    def store_many(self, fileio: FileIO, keys: list[str]) -> None:
        assert isinstance(fileio, S3FileIO)
        backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
        for key in keys:
            backend.put_object(fileio.place.bucket, f"a prefix/{key}", b"1")


def uploads(client: Any, place: S3Place) -> list[Any]:
    return list(client.list_multipart_uploads(Bucket=place.bucket).get("Uploads", []))


def test_a_big_file_is_written_in_parts(client: Any, place: S3Place) -> None:
    fileio = S3FileIO(place)
    piece = bytes(range(256)) * (MIB // 256)
    with fileio.open_write("big") as writer:
        for _ in range(2 * PART_BYTES // MIB):
            writer.write(piece)
        writer.write(b"the end")
    assert writer.stat.size_bytes == 2 * PART_BYTES + 7
    assert writer.stat.etag == fileio.head("big").etag
    assert writer.stat.etag.endswith("-3")
    assert fileio.read("big", 2 * PART_BYTES - 1) == b"\xffthe end"
    assert fileio.read("big", PART_BYTES - 2, PART_BYTES + 2) == b"\xfe\xff\0\1"
    assert uploads(client, place) == []


def test_a_big_file_in_one_put_arrives_whole(place: S3Place) -> None:
    fileio = S3FileIO(place)
    stat = fileio.put("big", bytes(PART_BYTES + 1))
    assert (stat.size_bytes, stat.etag) == (PART_BYTES + 1, fileio.head("big").etag)


def test_a_discarded_upload_leaves_no_parts(client: Any, place: S3Place) -> None:
    fileio = S3FileIO(place)
    with pytest.raises(KeyError), fileio.open_write("big") as writer:  # noqa: PT012 - both matter
        writer.write(bytes(PART_BYTES + 1))
        raise KeyError
    assert uploads(client, place) == []
    assert list(fileio.list()) == []
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("hosu-upload")]


def test_a_failed_upload_is_reported_on_close(client: Any, place: S3Place) -> None:
    fileio = S3FileIO(place)
    writer = fileio.open_write("big")
    client.delete_bucket(Bucket=place.bucket)
    writer.write(bytes(PART_BYTES))
    with pytest.raises(NotFoundError) as refusal:
        writer.close()
    assert refusal.value.kind is ErrorKind.BUCKET_NOT_FOUND
    with pytest.raises(ValueError, match="not closed"):
        _ = writer.stat


def test_folder_markers_and_the_probe_are_not_listed(client: Any, place: S3Place) -> None:
    for key in ("dir", "dir.x", "dir/", "dir/x", "empty/", ".hosu-tmp/probe-1", "z"):
        client.put_object(Bucket=place.bucket, Key=f"a prefix/{key}", Body=b"")
    fileio = S3FileIO(place)
    assert [entry.key for entry in fileio.list()] == ["dir", "dir.x", "dir/x", "z"]
    assert [entry.key for entry in fileio.list(delimiter="/")] == ["dir", "dir.x", "dir/", "empty/", "z"]
    assert [entry.key for entry in fileio.list("dir/", delimiter="/")] == ["dir/x"]
    assert Prefix("empty/") in list(fileio.list(delimiter="/"))


def test_keys_that_are_no_path_stop_a_listing_instead_of_being_left_out(client: Any, place: S3Place) -> None:
    client.put_object(Bucket=place.bucket, Key="a prefix/a//b", Body=b"")
    with pytest.raises(UnsupportedError):
        list(S3FileIO(place).list())


def test_control_characters_are_refused(place: S3Place) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        S3FileIO(place).put("a\tb", b"")
    assert refusal.value.kind is ErrorKind.KEY_INVALID


def test_a_missing_bucket_is_named(place: S3Place) -> None:
    fileio = S3FileIO(S3Place("nobody-made-this", endpoint=place.endpoint, access_key_id="a", secret_access_key="b"))
    for call in (lambda: fileio.put("k", b""), lambda: fileio.read("k"), lambda: list(fileio.list())):
        with pytest.raises(NotFoundError) as refusal:
            call()
        assert refusal.value.kind is ErrorKind.BUCKET_NOT_FOUND


def test_it_opens_again_in_another_process(place: S3Place) -> None:
    S3FileIO(place).put("k", b"1")
    assert pickle.loads(pickle.dumps(S3FileIO(place))).read("k") == b"1"


def test_a_place_shows_no_secret_and_needs_a_bucket() -> None:
    assert "hush" not in repr(S3Place("b", secret_access_key="hush", session_token="hush"))
    with pytest.raises(InvalidInputError):
        S3Place("")
    with pytest.raises(InvalidInputError):
        S3Place("b", "a//b")


def test_a_virtual_host_holds_the_bucket() -> None:
    store = S3Place("b", endpoint="https://s3.example.org:9000", virtual_hosted=True).open_store()
    assert store.config["endpoint"] == "https://b.s3.example.org:9000"


class ScriptedEndpoint(BaseHTTPRequestHandler):
    """Answers puts from a script, and reads from what the puts left."""

    protocol_version = "HTTP/1.1"
    is_stored: ClassVar[bool] = True
    statuses: ClassVar[list[int]] = []
    metadata: ClassVar[dict[str, str]] = {}
    paths: ClassVar[list[str]] = []

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.paths.append(self.path)
        if self.is_stored:
            self.metadata.update(item for item in self.headers.items() if item[0].lower().startswith("x-amz-meta-"))
        self.answer(self.statuses.pop(0) if self.statuses else 200)

    def do_HEAD(self) -> None:
        self.answer(200)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        key = self.paths[-1].removeprefix("/b/")
        self.answer(200, f"<DeleteResult><Deleted><Key>{key}</Key></Deleted></DeleteResult>".encode())

    def answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in self.metadata.items():
            self.send_header(name, value)
        self.send_header("ETag", '"abc"')
        self.send_header("Last-Modified", "Sat, 01 Jan 2000 00:00:00 GMT")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def scripted() -> Iterator[S3FileIO]:
    ScriptedEndpoint.statuses, ScriptedEndpoint.metadata, ScriptedEndpoint.paths = [], {}, []
    ScriptedEndpoint.is_stored = True
    server = ThreadingHTTPServer(("127.0.0.1", 0), ScriptedEndpoint)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield S3FileIO(
        S3Place(
            "b",
            endpoint=f"http://127.0.0.1:{server.server_port}",
            access_key_id="a",
            secret_access_key="b",
            retries_max=1,
        )
    )
    server.shutdown()
    thread.join()
    server.server_close()


PROBE_KEPT = [200, 412, 412]


@pytest.mark.parametrize("condition", [{"if_absent": True}, {"if_match": "abc"}])
def test_an_endpoint_that_ignores_conditions_is_never_trusted(scripted: S3FileIO, condition: dict[str, Any]) -> None:
    for _ in range(2):
        with pytest.raises(UnsupportedError):
            scripted.put("k", b"", **condition)
    assert not [path for path in ScriptedEndpoint.paths if not path.startswith("/b/.hosu-tmp/probe-")]
    scripted.put("k", b"")
    assert ScriptedEndpoint.paths[-1] == "/b/k"


def test_an_endpoint_that_keeps_one_condition_is_trusted_with_that_one(scripted: S3FileIO) -> None:
    ScriptedEndpoint.statuses[:] = [200, 412, 200]
    scripted.put("k", b"", if_absent=True)
    with pytest.raises(UnsupportedError):
        scripted.put("k", b"", if_match="abc")


@pytest.mark.parametrize("condition", [{"if_absent": True}, {"if_match": "abc"}])
def test_a_put_whose_answer_was_lost_is_known_again(scripted: S3FileIO, condition: dict[str, Any]) -> None:
    # The first try is stored, though it answers 503; the client repeats it, and the object now stands in its way.
    ScriptedEndpoint.statuses[:] = [*PROBE_KEPT, 503, 412]
    assert scripted.put("k", b"mine", **condition).etag == "abc"


def test_a_put_that_another_writer_beat_is_refused(scripted: S3FileIO) -> None:
    ScriptedEndpoint.statuses[:] = PROBE_KEPT
    scripted.put("other", b"", if_absent=True)
    ScriptedEndpoint.statuses[:] = [412]
    ScriptedEndpoint.is_stored = False
    with pytest.raises(PreconditionFailedError):
        scripted.put("k", b"mine", if_absent=True)


@pytest.mark.parametrize(("status", "error"), [(403, AccessDeniedError), (500, UnavailableError), (404, NotFoundError)])
def test_answers_become_errors_of_the_contract(scripted: S3FileIO, status: int, error: type[Exception]) -> None:
    ScriptedEndpoint.statuses[:] = [status] * 3
    with pytest.raises(error):
        scripted.put("k", b"")


def test_nobody_there_is_unavailable() -> None:
    place = S3Place("b", endpoint="http://127.0.0.1:1", access_key_id="a", secret_access_key="b", retries_max=0)
    with pytest.raises(UnavailableError) as refusal:
        S3FileIO(place).read("k")
    assert refusal.value.kind is ErrorKind.STORE_UNAVAILABLE
