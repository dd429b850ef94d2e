"""What clients rely on below their API: health, keep-alive, 100-continue, chunked bodies, virtual hosts."""

import http.client
import socket
from pathlib import Path

import pytest
from tests.support.clients import S3Client, boto3_client
from tests.support.http import error_of, send, signed_headers
from tests.support.server import Endpoint, ServerProcess

DOMAIN = "lake.test"


def connect(server: Endpoint) -> socket.socket:
    host, port = server.host.split(":")
    return socket.create_connection((host, int(port)), timeout=5)


def receive_head(connection: socket.socket) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(4096)
        assert piece, f"closed after {received!r}"
        received += piece
    return received


def raw_request(server: Endpoint, method: str, path: str, headers: dict[str, str]) -> bytes:
    lines = [
        f"{method} {path} HTTP/1.1",
        f"Host: {server.host}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode()


@pytest.mark.parametrize("path", ["/minio/health/live", "/minio/health/ready", "/minio/health/cluster"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_health_answers_without_a_signature(server: Endpoint, method: str, path: str) -> None:
    answer = send(method, server.url + path)
    assert (answer.status, answer.data) == (200, b"")


def test_the_body_is_asked_for_only_after_the_head_was_accepted(server: Endpoint, s3: S3Client, bucket: str) -> None:
    path, body = f"/{bucket}/k", b"sent after 100"
    headers = signed_headers(server, "PUT", path, body) | {"Expect": "100-continue", "Content-Length": str(len(body))}
    with connect(server) as connection:
        connection.sendall(raw_request(server, "PUT", path, headers))
        assert receive_head(connection).startswith(b"HTTP/1.1 100")
        connection.sendall(body)
        assert receive_head(connection).startswith(b"HTTP/1.1 200")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == body


def test_a_refusal_comes_instead_of_100(server: Endpoint, bucket_name: str) -> None:
    path = f"/{bucket_name}-none/k"
    headers = signed_headers(server, "PUT", path, b"x") | {"Expect": "100-continue", "Content-Length": "1"}
    with connect(server) as connection:
        connection.sendall(raw_request(server, "PUT", path, headers))
        assert receive_head(connection).startswith(b"HTTP/1.1 404")


def test_a_chunked_body_of_unknown_length_is_stored(server: Endpoint, s3: S3Client, bucket: str) -> None:
    path = f"/{bucket}/k"
    pieces = [bytes([number]) * 50_000 for number in range(5)]
    headers = signed_headers(server, "PUT", path, body=None)
    assert send("PUT", server.url + path, iter(pieces), headers).status == 200
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"".join(pieces)


def test_a_connection_serves_many_requests(server: Endpoint, bucket: str) -> None:
    connection = http.client.HTTPConnection(server.host, timeout=5)
    connection.connect()
    first = connection.sock
    for number in range(5):
        path = f"/{bucket}/{number}"
        for method, body, expected in (("PUT", b"b", 200), ("GET", b"", 200), ("DELETE", b"", 204), ("GET", b"", 404)):
            connection.request(method, path, body or None, signed_headers(server, method, path, body))
            answer = connection.getresponse()
            answer.read()
            assert (answer.status, connection.sock) == (expected, first), (method, number)
    connection.close()


def test_a_put_without_a_length_is_refused(server: Endpoint, bucket: str) -> None:
    path = f"/{bucket}/k"
    with connect(server) as connection:
        connection.sendall(raw_request(server, "PUT", path, signed_headers(server, "PUT", path)))
        assert receive_head(connection).startswith(b"HTTP/1.1 411")


def test_a_host_that_is_not_the_domain_is_path_style(server: Endpoint, bucket: str) -> None:
    path = f"/{bucket}"
    for host in ("minio:9000", "localhost", f"{bucket}.example.com"):
        headers = signed_headers(server, "GET", path, headers={"Host": host})
        assert send("GET", server.url + path, headers=headers).status == 200, host


def test_a_domain_makes_the_host_name_the_bucket(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "lake", tmp_path / "log", {"MINIO_DOMAIN": DOMAIN}) as process:
        server = process.endpoint
        s3 = boto3_client(server)
        s3.create_bucket(Bucket="photos")
        s3.put_object(Bucket="photos", Key="dir/k", Body=b"body")
        s3.close()
        host = f"photos.{DOMAIN}:{process.port}"
        answer = send(
            "GET", f"{server.url}/dir/k", headers=signed_headers(server, "GET", "/dir/k", headers={"Host": host})
        )
        assert (answer.status, answer.data) == (200, b"body")
        missing = send(
            "GET", f"{server.url}/none", headers=signed_headers(server, "GET", "/none", headers={"Host": host})
        )
        assert error_of(missing) == (404, "NoSuchKey")
        path_style = signed_headers(server, "GET", "/photos/dir/k", headers={"Host": f"{DOMAIN}:{process.port}"})
        assert send("GET", f"{server.url}/photos/dir/k", headers=path_style).status == 200


def test_a_region_is_demanded_only_when_one_is_set(server: Endpoint, bucket: str, tmp_path: Path) -> None:
    client = boto3_client(server, region_name="ap-northeast-2")
    assert client.head_bucket(Bucket=bucket)["ResponseMetadata"]["HTTPStatusCode"] == 200
    with ServerProcess(tmp_path / "lake", tmp_path / "log", {"MINIO_REGION": "eu-west-1"}) as process:
        endpoint = process.endpoint
        refusal = send("GET", endpoint.url, headers=signed_headers(endpoint, "GET", "/"))
        assert error_of(refusal) == (400, "AuthorizationHeaderMalformed")
        at_home = Endpoint(endpoint.url, endpoint.access_key, endpoint.secret_key, "eu-west-1")
        assert send("GET", endpoint.url, headers=signed_headers(at_home, "GET", "/")).status == 200


def test_sigterm_stops_the_server_cleanly_and_the_lake_opens_again(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "lake", tmp_path / "log") as process:
        s3 = boto3_client(process.endpoint)
        s3.create_bucket(Bucket="kept")
        s3.put_object(Bucket="kept", Key="k", Body=b"body")
        assert process.stop() == 0
        s3.close()
    with ServerProcess(tmp_path / "lake", tmp_path / "log") as process:
        s3 = boto3_client(process.endpoint)
        assert s3.get_object(Bucket="kept", Key="k")["Body"].read() == b"body"
        s3.close()


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_header_comes_back_in_the_bytes_it_came_in(
    server: Endpoint, s3: S3Client, bucket: str, encoding: str
) -> None:
    # http.client shows the bytes of headers as Latin-1, both ways.
    sent = 'attachment; filename="Strandhütte.jpg"'.encode(encoding).decode("latin-1")
    path = f"/{bucket}/k"
    headers = signed_headers(server, "PUT", path, b"body") | {"Content-Disposition": sent}
    assert send("PUT", server.url + path, b"body", headers).status == 200
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "k"})
    for method, read in (("GET", path), ("HEAD", path), ("GET", f"/{bucket}/copy")):
        answer = send(method, server.url + read, headers=signed_headers(server, method, read))
        assert answer.headers["Content-Disposition"] == sent
