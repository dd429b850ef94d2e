"""`hosu serve` and `hosu server`: what they print, refuse and survive."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from tests.support.clients import boto3_client, patterned
from tests.support.http import send, signed_headers
from tests.support.server import Endpoint, ServerProcess, free_port, isolated_environment
from typer.testing import CliRunner, Result

from hosu.cli.main import build_app
from hosu.kernel.errors import ErrorKind, UnavailableError
from hosu.kernel.settings import Settings
from hosu.objects.lock import LakeLock
from hosu.objects.schema import FORMAT
from hosu.objects.store import ObjectStore

MIB = 1024 * 1024
ANY = ["--address", "127.0.0.1:0", "--console-address", "127.0.0.1:0"]


def serve(lake: Path, *options: str, **environment: str) -> Result:
    """Run `hosu serve` in this process: for what it refuses before it serves."""
    return CliRunner(env=environment).invoke(build_app(), ["serve", str(lake), *(options or ANY)])


def told(result: Result) -> str:
    """Return the one line that a refusal prints."""
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("hosu: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


def until(condition: Callable[[], bool], why: str = "") -> None:
    for _ in range(2000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError(why or "never came true")


# Refusals


def test_a_port_in_use_is_told_with_whose_it_would_be(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        taken = f"127.0.0.1:{held.getsockname()[1]}"
        message = told(serve(tmp_path / "a", "--address", taken, "--console-address", "127.0.0.1:0"))
        assert f"cannot serve S3 on {taken}: Address already in use" in message
        message = told(serve(tmp_path / "a", "--address", "127.0.0.1:0", "--console-address", taken))
        assert f"cannot serve the status page on {taken}: Address already in use" in message


def test_a_folder_with_other_things_in_it_is_no_lake_and_stays_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    assert "is not a lake and not empty" in told(serve(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert "is a file; name a folder" in told(serve(tmp_path / "file"))


def test_a_folder_that_cannot_be_written_is_told() -> None:
    told(serve(Path("/proc/hosu-lake")))  # nobody can write there, not even root


def test_a_folder_below_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    told(serve(tmp_path / "file" / "lake"))


def test_metadata_that_cannot_be_opened_is_told_with_its_name(tmp_path: Path) -> None:
    ObjectStore(tmp_path / "lake", space_reserve_bytes=0).close()
    (tmp_path / "lake" / "meta" / "server.lock").mkdir()
    assert "server.lock cannot be used: Is a directory" in told(serve(tmp_path / "lake"))


def test_a_lake_of_a_newer_format_is_told(tmp_path: Path) -> None:
    ObjectStore(tmp_path / "lake", space_reserve_bytes=0).close()
    (tmp_path / "lake" / "format").write_text(json.dumps({"format": FORMAT + 1}))
    message = told(serve(tmp_path / "lake"))
    assert f"has format {FORMAT + 1}" in message
    assert "install a newer hosu" in message


def test_a_second_server_is_told_who_serves_the_lake(tmp_path: Path) -> None:
    ObjectStore(tmp_path / "lake", space_reserve_bytes=0).close()
    lock = LakeLock(tmp_path / "lake")
    assert f"process {os.getpid()} on {socket.gethostname()} already serves" in told(serve(tmp_path / "lake"))
    lock.release()


def test_a_wrong_setting_is_told(tmp_path: Path) -> None:
    assert "is not host:port" in told(serve(tmp_path / "lake", "--address", "9000"))
    assert "did you mean HOSU_REGION" in told(serve(tmp_path / "lake", HOSU_REGIO="eu"))


@pytest.mark.parametrize(
    ("verb", "addresses", "root"),
    [
        ("serve", ("127.0.0.1:9000", "127.0.0.1:9001"), None),
        ("server", (":9000", ":9001"), ("minioadmin", "minioadmin")),
    ],
)
def test_where_a_lake_is_served_unless_told_otherwise(
    verb: str, addresses: tuple[str, str], root: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []

    class Refusing:
        def __init__(
            self, lake: Path, settings: Settings, *, default_root: tuple[str, str] | None, lake_key: object
        ) -> None:
            assert lake_key is None
            built.append((lake, settings.address, settings.console_address, default_root))
            raise UnavailableError(ErrorKind.SHUTTING_DOWN, "not today")

    monkeypatch.setattr("hosu.server.app.Server", Refusing)
    assert CliRunner().invoke(build_app(), [verb, str(tmp_path)]).exit_code == 1
    assert built == [(tmp_path, *addresses, root)]


# A server that runs


@contextlib.contextmanager
def started(tmp_path: Path, *command: str, **settings: str) -> Iterator[tuple["subprocess.Popen[bytes]", list[str]]]:
    """Run the command line until it has greeted; yield the process and the lines of the greeting."""
    with subprocess.Popen(
        [sys.executable, "-m", "hosu", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=isolated_environment() | settings,
        cwd=tmp_path,
    ) as process:
        assert process.stdout is not None
        lines: list[str] = []
        while not lines or "status" not in lines[-1]:
            lines.append(process.stdout.readline().decode().rstrip())
            assert lines[-1], lines
        try:
            yield process, lines
        finally:
            process.send_signal(signal.SIGTERM)
            lines += process.stdout.read().decode().splitlines()
            assert process.wait(30) in {0, -signal.SIGTERM, -signal.SIGKILL}


def test_new_credentials_are_shown_at_the_first_start_only(tmp_path: Path) -> None:
    with started(tmp_path, "serve", "lake", *ANY) as (_, lines):
        pass
    stored = json.loads((tmp_path / "lake" / "meta" / "root.json").read_text())
    shown = "\n".join(lines)
    assert f"access key  {stored['access_key']}" in shown
    assert f"secret      {stored['secret']}" in shown
    with started(tmp_path, "serve", "lake", *ANY) as (_, lines):
        pass
    assert stored["secret"] not in "\n".join(lines)
    assert stored["access_key"] not in "\n".join(lines)


def test_server_has_minios_defaults(tmp_path: Path) -> None:
    port, console = free_port(), free_port()
    ports = ["--address", f":{port}", "--console-address", f":{console}"]
    with started(tmp_path, "server", "lake", *ports) as (_, lines):
        s3 = boto3_client(Endpoint(f"http://127.0.0.1:{port}", "minioadmin", "minioadmin"))
        s3.create_bucket(Bucket="there")
        s3.close()
        assert send("GET", f"http://127.0.0.1:{console}/").status == 200
    assert lines[1].endswith(f"http://127.0.0.1:{port}")
    assert "WARNING: root is minioadmin:minioadmin" in lines[-1]
    assert not (tmp_path / "lake" / "meta" / "root.json").exists()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path / "lake", tmp_path / "server.log") as process:
        yield process


def processes(running: ServerProcess) -> list[int]:
    return [child.pid for child in psutil.Process(running.pid).children()]


def test_a_killed_s3_process_is_started_again_behind_the_same_port(running: ServerProcess) -> None:
    s3 = boto3_client(running.endpoint)
    s3.create_bucket(Bucket="kept")
    (first,) = processes(running)
    os.kill(first, signal.SIGKILL)
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == ["kept"]
    s3.close()
    (second,) = processes(running)
    assert second != first
    assert f'"pid": {first}' in running.log_tail()


def test_after_the_parent_was_killed_its_processes_end_and_the_lake_is_free(running: ServerProcess) -> None:
    children = processes(running)
    os.kill(running.pid, signal.SIGKILL)
    until(lambda: not any(psutil.pid_exists(pid) for pid in children), "the processes outlived their parent")
    LakeLock(running.directory).release()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_requests_under_way_are_finished_before_it_stops(number: signal.Signals, running: ServerProcess) -> None:
    s3 = boto3_client(running.endpoint)
    s3.create_bucket(Bucket="slow")
    body = patterned(8 * MIB)
    s3.put_object(Bucket="slow", Key="down", Body=body)
    half = len(body) // 2
    with raw(running) as getting, raw(running) as putting:
        request(getting, running, "GET", "/slow/down")
        received = getting.recv(1024)
        request(putting, running, "PUT", "/slow/up", {"Content-Length": str(len(body))})
        putting.sendall(body[:half])
        supervisor = psutil.Process(running.pid)
        # Ctrl-C reaches every process of the terminal, SIGTERM the first one only.
        os.killpg(running.pid, number) if number == signal.SIGINT else supervisor.send_signal(number)
        until(lambda: not accepts(running), "it went on to accept connections")
        putting.sendall(body[half:])
        assert putting.recv(4096).startswith(b"HTTP/1.1 200 ")
        while part := getting.recv(MIB):
            received += part
        assert received.partition(b"\r\n\r\n")[2] == body
    assert running._process is not None
    assert running._process.wait(30) == 0
    s3.close()


def raw(running: ServerProcess) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)  # so that a download waits for its reader
    sock.settimeout(20)
    sock.connect(("127.0.0.1", running.port))
    return sock


def request(
    sock: socket.socket, running: ServerProcess, method: str, path: str, headers: dict[str, str] | None = None
) -> None:
    signed = signed_headers(running.endpoint, method, path, None, headers)
    lines = [f"{method} {path} HTTP/1.1", f"Host: {running.endpoint.host}", *(f"{k}: {v}" for k, v in signed.items())]
    sock.sendall("\r\n".join([*lines, "", ""]).encode())


def accepts(running: ServerProcess) -> bool:
    try:
        socket.create_connection(("127.0.0.1", running.port), timeout=5).close()
    except OSError:
        return False
    return True


def test_secrets_are_in_no_log_page_argument_or_variable_of_ours(tmp_path: Path) -> None:
    settings = {"HOSU_LOG_LEVEL": "DEBUG", "HOSU_ROOT_USER": "", "HOSU_ROOT_PASSWORD": ""}
    with started(tmp_path, "serve", "lake", *ANY, **settings) as (process, lines):
        console = lines[-1].split()[-1]
        page = send("GET", console + "/").data.decode()
        stored = json.loads((tmp_path / "lake" / "meta" / "root.json").read_text())
        for known in [psutil.Process(process.pid), *psutil.Process(process.pid).children()]:
            assert stored["secret"] not in " ".join(known.cmdline())
            assert stored["secret"] not in str(known.environ())
        assert stored["secret"] not in page


def test_a_failed_sign_in_leaves_no_secret_in_the_log(running: ServerProcess) -> None:
    wrong = Endpoint(running.endpoint.url, running.access_key, "not-the-secret")
    s3 = boto3_client(wrong)
    with pytest.raises(s3.exceptions.ClientError, match="SignatureDoesNotMatch"):
        s3.list_buckets()
    s3.close()
    os.kill(processes(running)[0], signal.SIGKILL)
    until(lambda: "started again" in running.log_tail())
    assert running.secret_key not in running.log_tail()


def test_an_idle_lake_holds_no_module_twice(running: ServerProcess) -> None:
    """The supervisor has imported neither the command line nor the engine."""
    libraries = {Path(region.path).name.split(".")[0] for region in psutil.Process(running.pid).memory_maps()}
    assert not libraries & {"_core", "apsw", "__init__", "blake3", "loop", "_awscrt"}
    (served,) = processes(running)
    held = {Path(region.path).name.split(".")[0] for region in psutil.Process(served).memory_maps()}
    assert "loop" in held
