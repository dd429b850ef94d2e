"""A real server process on loopback, or the endpoint that HOSU_TEST_ENDPOINT names."""

import contextlib
import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

READY_PATH = "/minio/health/ready"
READY_SECONDS_MAX = 20.0
STOP_SECONDS_MAX = 15.0
START_ATTEMPTS_MAX = 3
LOG_TAIL_CHARACTERS = 8_000

ROOT_USER = "conformance"
ROOT_PASSWORD = "conformance-secret"  # of servers that live as long as a test run, on loopback
REGION = "us-east-1"

LEAKING_PREFIXES = ("AWS_", "MINIO_", "HOSU_LAKE_", "HOSU_ROOT_", "RCLONE_", "DUCKDB_", "S3_")
LEAKING_NAMES = {"http_proxy", "https_proxy", "all_proxy", "no_proxy"}
ISOLATION = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "RCLONE_CONFIG": os.devnull,
}
"""What keeps a client from reading its user's own settings or asking a cloud's metadata address."""


class ServerFailedError(Exception):
    """The server did not start, did not become ready or did not stop; the message ends with its log."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an S3 server answers, and the key that opens it."""

    url: str
    access_key: str
    secret_key: str
    region: str = REGION

    @property
    def host(self) -> str:
        """Return `host:port`, as minio-py and raw sockets want it."""
        return urlsplit(self.url).netloc

    def environment(self) -> dict[str, str]:
        """Return what command-line clients read from their environment."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ENDPOINT_URL": self.url,
        }


def leaks(name: str) -> bool:
    """Say whether this variable of the caller's shell would change what a client or the server does."""
    return name.startswith(LEAKING_PREFIXES) or name.lower() in LEAKING_NAMES


def isolated_environment(base: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment for clients and servers: the caller's, less credentials, proxies and profiles."""
    source = os.environ if base is None else base
    return {name: value for name, value in source.items() if not leaks(name)} | ISOLATION


def free_port() -> int:
    """Return a port that was free a moment ago; whoever binds it must cope with losing the race."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(slots=True)
class ServerProcess:
    """`python -m hosu serve DIRECTORY` in a process group of its own, started and stopped as an operator would.

    `settings` is added to the server's environment. Leaving the context stops the server.
    """

    directory: Path
    log_path: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    access_key: str = ROOT_USER
    secret_key: str = ROOT_PASSWORD
    port: int = 0
    console_port: int = 0
    _process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> Endpoint:
        """Return the address and key of the running server."""
        return Endpoint(f"{self.scheme}://127.0.0.1:{self.port}", self.access_key, self.secret_key)

    @property
    def scheme(self) -> str:
        """Return `https` if the server was given certificates, else `http`."""
        return "https" if self.settings.keys() & {"HOSU_CERTIFICATE_FILE", "HOSU_CERTS_DIR"} else "http"

    @property
    def pid(self) -> int:
        """Return the process id of the server's first process."""
        assert self._process is not None, "not started"
        return self._process.pid

    def start(self) -> Self:
        """Start on free ports and wait until the server says it is ready."""
        for attempt in range(1, START_ATTEMPTS_MAX + 1):
            self.port, self.console_port = free_port(), free_port()
            self._spawn()
            try:
                self._wait_until_ready()
            except ServerFailedError:
                died = self._process is not None and self._process.poll() is not None
                self.kill()
                # Another worker may have taken the port between the probe and the bind.
                if attempt == START_ATTEMPTS_MAX or not died or "in use" not in self.log_tail():
                    raise
            else:
                return self
        raise AssertionError("the last attempt returns or raises")

    def stop(self) -> int:
        """Ask the server to stop, as a service manager does, and return its exit status."""
        assert self._process is not None, "not started"
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ServerFailedError(
                f"server {self.pid} ignored SIGTERM for {STOP_SECONDS_MAX} s\n{self.log_tail()}"
            ) from None

    def kill(self) -> None:
        """End the server and its workers at once, as a power cut would."""
        assert self._process is not None, "not started"
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(STOP_SECONDS_MAX)

    def log_tail(self) -> str:
        """Return the end of what the server wrote to its standard output and error."""
        if not self.log_path.exists():
            return ""
        return self.log_path.read_text(errors="replace")[-LOG_TAIL_CHARACTERS:]

    def _spawn(self) -> None:
        command = [sys.executable, "-m", "hosu", "serve", str(self.directory)]
        command += ["--address", f"127.0.0.1:{self.port}", "--console-address", f"127.0.0.1:{self.console_port}"]
        environment = isolated_environment() | {
            "HOSU_ROOT_USER": self.access_key,
            "HOSU_ROOT_PASSWORD": self.secret_key,
            "PYTHONUNBUFFERED": "1",
        }
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment | dict(self.settings),
                start_new_session=True,  # so that kill() reaches the workers as well
            )

    def _wait_until_ready(self) -> None:
        assert self._process is not None, "not started"
        deadline = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise ServerFailedError(f"server ended with status {self._process.returncode}\n{self.log_tail()}")
            if answers_ok(f"127.0.0.1:{self.port}", READY_PATH, is_secure=self.scheme == "https"):
                return
            time.sleep(0.02)
        raise ServerFailedError(f"server not ready within {READY_SECONDS_MAX} s\n{self.log_tail()}")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_exception: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self.stop()


def answers_ok(host: str, path: str, *, is_secure: bool = False) -> bool:
    """Say whether a GET of path answers 200; over TLS, whatever the certificate."""
    connection = http.client.HTTPConnection(host, timeout=5)
    if is_secure:
        trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(host, timeout=5, context=trusting)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def external_endpoint() -> Endpoint | None:
    """Return the endpoint that the environment names for this run, so that any S3 server can be put to the tests."""
    url = os.environ.get("HOSU_TEST_ENDPOINT")
    if not url:
        return None
    access_key = os.environ.get("HOSU_TEST_ACCESS_KEY", ROOT_USER)
    return Endpoint(url.rstrip("/"), access_key, os.environ.get("HOSU_TEST_SECRET_KEY", ROOT_PASSWORD))


@contextlib.contextmanager
def serving(scratch: Path) -> Iterator[tuple[Endpoint, ServerProcess | None]]:
    """Yield an endpoint to test: the one the environment names, else a new server on an empty lake in scratch."""
    external = external_endpoint()
    if external is not None:
        yield external, None
        return
    with ServerProcess(scratch / "lake", scratch / "server.log") as process:
        yield process.endpoint, process
