"""Everything over TLS: stock clients, renewed certificates, and what refuses to start."""

import fcntl
import http.client
import json
import os
import pty
import signal
import socket
import ssl
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import urllib3
from boto3.s3.transfer import TransferConfig
from tests.support.certificates import make_certificate
from tests.support.clients import MIB, S3Client, boto3_client, patterned, refused
from tests.support.server import READY_PATH, Endpoint, ServerProcess, answers_ok, free_port, isolated_environment

BODY = patterned(9 * MIB + 17, 5)
CHANGE_SECONDS_MAX = 30
"""Files are looked at every few seconds."""


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder as MinIO has it."""
    folder = tmp_path_factory.mktemp("certs")
    make_certificate(folder)
    return folder


@pytest.fixture(scope="module")
def secure(
    isolated_shell: None,  # noqa: ARG001 - the server inherits the cleaned environment
    certs: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ServerProcess]:
    scratch = tmp_path_factory.mktemp("secure")
    with ServerProcess(scratch / "lake", scratch / "server.log", {"HOSU_CERTS_DIR": str(certs)}) as process:
        yield process


@pytest.fixture(scope="module")
def s3(secure: ServerProcess, certs: Path) -> Iterator[S3Client]:
    """Hand over a boto3 client that trusts the server's certificate and no other."""
    client = boto3_client(secure.endpoint, verify=str(certs / "public.crt"))
    yield client
    client.close()


def trusting(certificate: Path | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=certificate)
    if certificate is None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def shown(port: int) -> bytes:
    """Return the certificate that a new connection is shown."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as sock,
        trusting().wrap_socket(sock) as connection,
    ):
        found = connection.getpeercert(binary_form=True)
        assert found is not None
        return found


def eventually(condition: Callable[[], bool]) -> None:
    """Wait for what another process does in its own time."""
    deadline = time.monotonic() + CHANGE_SECONDS_MAX
    while not condition():
        assert time.monotonic() < deadline, "never came true"
        time.sleep(0.05)


@pytest.mark.conformance("s3", "GetObject")
def test_boto3_moves_objects_of_any_size(s3: S3Client, bucket: str, tmp_path: Path) -> None:
    for size in (0, 1, 4096, 300_000, len(BODY)):
        s3.put_object(Bucket=bucket, Key=f"k{size}", Body=BODY[:size])
        assert s3.get_object(Bucket=bucket, Key=f"k{size}")["Body"].read() == BODY[:size]
    assert (
        s3.get_object(Bucket=bucket, Key=f"k{len(BODY)}", Range="bytes=777-5000000")["Body"].read() == BODY[777:5000001]
    )
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(BODY)
    parts = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_concurrency=4)
    s3.upload_file(str(source), bucket, "file", Config=parts)
    s3.download_file(bucket, "file", str(target), Config=parts)
    assert target.read_bytes() == BODY


@pytest.mark.conformance("s3", "GetObject")
def test_a_presigned_url_is_a_secure_one(s3: S3Client, bucket: str, certs: Path) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"body")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
    assert url.startswith("https://")
    with urllib3.PoolManager(ca_certs=str(certs / "public.crt")) as pool:
        assert pool.request("GET", url).data == b"body"


@pytest.mark.conformance("s3", "PutObject")
def test_minio_py(secure: ServerProcess, bucket: str, certs: Path, tmp_path: Path) -> None:
    from minio import Minio

    endpoint = secure.endpoint
    with urllib3.PoolManager(ca_certs=str(certs / "public.crt")) as pool:
        client = Minio(endpoint.host, endpoint.access_key, endpoint.secret_key, secure=True, http_client=pool)
        (tmp_path / "source").write_bytes(BODY)
        client.fput_object(bucket, "k", str(tmp_path / "source"), part_size=5 * MIB)
        client.fget_object(bucket, "k", str(tmp_path / "target"))
    assert (tmp_path / "target").read_bytes() == BODY


@pytest.mark.conformance("s3", "PutObject")
def test_awscli(secure: ServerProcess, bucket: str, certs: Path, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(BODY)
    aws = [sys.executable, "-m", "awscli", "--ca-bundle", str(certs / "public.crt"), "s3", "cp"]
    environment = isolated_environment() | secure.endpoint.environment()
    for source, target in (
        (str(tmp_path / "source"), f"s3://{bucket}/k"),
        (f"s3://{bucket}/k", str(tmp_path / "target")),
    ):
        subprocess.run([*aws, source, target], check=True, env=environment, capture_output=True, timeout=60)
    assert (tmp_path / "target").read_bytes() == BODY


@pytest.mark.conformance("s3", "PutObject")
def test_our_own_command_line(secure: ServerProcess, bucket: str, certs: Path, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(BODY)
    environment = isolated_environment() | {
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "AWS_CA_BUNDLE": str(certs / "public.crt"),
    }
    endpoint = secure.endpoint
    hosu = [sys.executable, "-m", "hosu"]
    secrets = ["--access-key", endpoint.access_key, "--secret-key", endpoint.secret_key]
    for command in (
        ["profile", "set", "lake", "--endpoint", endpoint.url, *secrets],
        ["cp", str(tmp_path / "source"), f"hosu://lake/{bucket}/k"],
        ["cp", f"hosu://lake/{bucket}/k", str(tmp_path / "target")],
    ):
        done = subprocess.run([*hosu, *command], check=False, env=environment, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr.decode()
    assert (tmp_path / "target").read_bytes() == BODY


def test_plain_http_is_told_what_to_do(secure: ServerProcess) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", secure.port, timeout=10)
    connection.request("GET", "/")
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (400, b"Client sent an HTTP request to an HTTPS server.\n")
    connection.close()


def test_the_status_page_is_encrypted_and_finds_s3_ready(secure: ServerProcess, certs: Path) -> None:
    connection = http.client.HTTPSConnection(
        "127.0.0.1", secure.console_port, timeout=20, context=trusting(certs / "public.crt")
    )
    connection.request("GET", "/")
    answer = connection.getresponse()
    page = answer.read().decode()
    connection.close()
    assert answer.status == 200
    assert "● ready" in page
    assert f"https://127.0.0.1:{secure.port}" in page
    assert f"http://127.0.0.1:{secure.port}" not in page


@pytest.mark.conformance("s3", "PutBucketPolicy")
def test_a_policy_may_ask_for_tls(s3: S3Client, bucket: str, server: Endpoint) -> None:
    plain = boto3_client(server)
    plain.create_bucket(Bucket=bucket)
    try:
        for client in (s3, plain):
            statement = {
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
            document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
            client.put_bucket_policy(Bucket=bucket, Policy=document)
        s3.put_object(Bucket=bucket, Key="k", Body=b"body")
        with refused("AccessDenied", 403):
            plain.put_object(Bucket=bucket, Key="k", Body=b"body")
    finally:
        plain.delete_bucket_policy(Bucket=bucket)
        plain.delete_bucket(Bucket=bucket)
        s3.delete_bucket_policy(Bucket=bucket)
        plain.close()


@pytest.fixture
def renewable(tmp_path: Path) -> Iterator[tuple[ServerProcess, Path, Path]]:
    """Serve with a pair of files in two processes; hand over the server and the files."""
    certificate, key = make_certificate(tmp_path / "pair", certificate="tls.crt", key="tls.key")
    settings = {"HOSU_CERTIFICATE_FILE": str(certificate), "HOSU_KEY_FILE": str(key), "HOSU_WORKERS": "2"}
    with ServerProcess(tmp_path / "lake", tmp_path / "server.log", settings) as process:
        yield process, certificate, key


def der(certificate: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(certificate.read_text())


def replace(certificate: Path, key: Path, scratch: Path) -> None:
    """Put another pair in the place of one, each file at once, as renewals do."""
    new = make_certificate(scratch)
    new[1].replace(key)
    new[0].replace(certificate)


def test_renewed_files_are_shown_to_new_connections_while_old_ones_go_on(
    renewable: tuple[ServerProcess, Path, Path], tmp_path: Path
) -> None:
    process, certificate, key = renewable
    first = der(certificate)
    old = http.client.HTTPSConnection("127.0.0.1", process.port, timeout=20, context=trusting(certificate))
    old.request("GET", "/minio/health/live")
    assert old.getresponse().read() == b""
    replace(certificate, key, tmp_path / "new")
    second = der(certificate)
    assert second != first
    eventually(lambda: {shown(process.port) for _ in range(8)} == {second})  # the kernel picks one of two processes
    eventually(lambda: shown(process.console_port) == second)
    old.request("GET", "/minio/health/live")
    assert old.getresponse().status == 200
    old.close()


def test_sighup_has_them_read_at_once_and_a_broken_pair_stays_out(
    renewable: tuple[ServerProcess, Path, Path], tmp_path: Path
) -> None:
    process, certificate, key = renewable
    good, first = key.read_bytes(), der(certificate)
    key.write_bytes(make_certificate(tmp_path / "other")[1].read_bytes())
    os.kill(process.pid, signal.SIGHUP)
    eventually(lambda: "is not the key of" in process.log_tail())
    assert {shown(process.port) for _ in range(8)} == {first}
    key.write_bytes(good)
    os.kill(process.pid, signal.SIGHUP)
    eventually(lambda: process.log_tail().count("certificates were replaced") >= 2)
    assert {shown(process.port) for _ in range(8)} == {first}
    assert process.stop() == 0


def test_a_server_without_tls_outlives_sighup(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "lake", tmp_path / "server.log") as process:
        client = boto3_client(process.endpoint)
        os.kill(process.pid, signal.SIGHUP)
        client.create_bucket(Bucket="after-hup")
        assert [bucket["Name"] for bucket in client.list_buckets()["Buckets"]] == ["after-hup"]
        client.close()
        assert process.stop() == 0


def test_a_server_whose_terminal_closes_stops(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()

    def take_terminal() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # tests may run under nohup
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    port = free_port()
    command = [sys.executable, "-m", "hosu", "serve", str(tmp_path / "lake"), "--address", f"127.0.0.1:{port}"]
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--console-address", "127.0.0.1:0"],
            stdin=theirs, stdout=log, stderr=log, env=isolated_environment(), preexec_fn=take_terminal,  # noqa: PLW1509 - no thread runs
        )  # fmt: skip
    try:
        eventually(lambda: answers_ok(f"127.0.0.1:{port}", READY_PATH))
        os.close(theirs)
        os.kill(process.pid, signal.SIGHUP)
        assert answers_ok(
            f"127.0.0.1:{port}", READY_PATH
        )  # the terminal is still there: nothing but a request to reload
        os.close(ours)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


def test_flags_and_messages_of_the_command(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path / "pair")
    wrong = make_certificate(tmp_path / "other")[1]
    command = [sys.executable, "-m", "hosu", "serve", str(tmp_path / "lake"), "--address", "127.0.0.1:0"]
    done = subprocess.run(
        [*command, "--certificate", str(certificate), "--key", str(wrong)],
        check=False, capture_output=True, text=True, env=isolated_environment(), timeout=30,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == f"hosu: TLS: {wrong} is not the key of {certificate}\n"
    assert not (tmp_path / "lake").exists()
    done = subprocess.run(
        [*command, "--certificate", str(certificate)],
        check=False, capture_output=True, text=True, env=isolated_environment(), timeout=30,
    )  # fmt: skip
    assert done.returncode == 1
    assert "certificate_file and key_file" in done.stderr
    assert key.exists()
