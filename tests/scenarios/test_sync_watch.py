"""S1.9: a folder mirrored into `bronze/raw_data_source1/` while it changes, across restarts, as its owner runs it."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

ROOT = Path(__file__).parents[2]
PREFIX = "raw_data_source1/"
WAIT_S = 30.0
"""Longest wait for something to appear: a bound for a broken program, not a claim about a working one."""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


class Lab:
    """The bucket, the folder, and the watching process."""

    def __init__(self, endpoint: str, tmp_path: Path) -> None:
        self.s3 = boto3.client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id="admin",
            aws_secret_access_key="admin123",
            region_name="us-east-1",
        )
        self.bucket = f"bronze-{os.urandom(4).hex()}"
        self.s3.create_bucket(Bucket=self.bucket)
        self.folder = tmp_path / "local"
        self.folder.mkdir()
        self._environment = {
            **os.environ,
            "HOME": str(tmp_path),
            "XDG_STATE_HOME": str(tmp_path / "state"),
            "AWS_ACCESS_KEY_ID": "admin",
            "AWS_SECRET_ACCESS_KEY": "admin123",
            "PYTHONPATH": str(ROOT / "src"),
        }
        self._endpoint = endpoint
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        target = f"s3://{self.bucket}/{PREFIX}"
        command = [sys.executable, "-m", "hosu.cli.main", "sync", "--watch", "--settle", "0.2"]
        command += ["--endpoint-url", self._endpoint, *options, f"{self.folder}/", target]
        self.process = subprocess.Popen(
            command, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def stop(self, number: int = signal.SIGINT) -> tuple[int, str]:
        assert self.process is not None
        self.process.send_signal(number)
        said, _ = self.process.communicate(timeout=WAIT_S)
        code = self.process.returncode
        self.process = None
        return code, said.decode()

    def stored(self) -> dict[str, bytes]:
        listed = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=PREFIX).get("Contents", [])
        found = {}
        for item in listed:
            # The watcher may delete a key between the listing and the read.
            with contextlib.suppress(self.s3.exceptions.NoSuchKey):
                body = self.s3.get_object(Bucket=self.bucket, Key=item["Key"])["Body"].read()
                found[item["Key"].removeprefix(PREFIX)] = body
        return found

    def until(self, holds: Callable[[dict[str, bytes]], bool]) -> dict[str, bytes]:
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            stored = self.stored()
            if holds(stored):
                return stored
            assert self.process is not None
            assert self.process.poll() is None, self.process.communicate()[0].decode()
            time.sleep(0.05)
        pytest.fail(f"never came to hold: {sorted(self.stored())}")


@pytest.fixture
def lab(endpoint: str, tmp_path: Path) -> Iterator[Lab]:
    made = Lab(endpoint, tmp_path)
    yield made
    if made.process is not None:
        made.process.kill()
        made.process.communicate()
    made.s3.close()


def test_a_folder_is_mirrored_while_it_changes_and_after_a_restart(lab: Lab) -> None:
    (lab.folder / "before.csv").write_bytes(b"1")
    lab.start("--delete")
    lab.until(lambda stored: stored == {"before.csv": b"1"})
    (lab.folder / "day" / "deep").mkdir(parents=True)
    (lab.folder / "day" / "deep" / "new.csv").write_bytes(b"2")
    (lab.folder / "before.csv").rename(lab.folder / "after.csv")
    lab.until(lambda stored: stored == {"after.csv": b"1", "day/deep/new.csv": b"2"})
    code, said = lab.stop()
    assert code == 0, said

    (lab.folder / "while-stopped.csv").write_bytes(b"3")
    (lab.folder / "after.csv").unlink()
    lab.start("--delete")
    lab.until(lambda stored: stored == {"day/deep/new.csv": b"2", "while-stopped.csv": b"3"})
    assert lab.stop(signal.SIGTERM)[0] == 0


def test_a_file_written_slowly_is_stored_only_whole(lab: Lab) -> None:
    lab.start()
    (lab.folder / "first").write_bytes(b"x")
    lab.until(lambda stored: "first" in stored)
    seen: list[bytes | None] = []
    whole = b""
    with (lab.folder / "slow").open("wb") as file:
        for number in range(12):
            piece = f"line {number}\n".encode()
            whole += piece
            file.write(piece)
            file.flush()
            time.sleep(0.05)
            seen.append(lab.stored().get("slow"))
    lab.until(lambda stored: stored.get("slow") == whole)
    assert set(seen) <= {None, whole}
    assert lab.stop()[0] == 0


def test_a_missing_bucket_ends_the_watch_with_its_reason(lab: Lab) -> None:
    lab.s3.delete_bucket(Bucket=lab.bucket)
    lab.start()
    assert lab.process is not None
    said, _ = lab.process.communicate(timeout=WAIT_S)
    assert lab.process.returncode == 1
    assert b"hosu mb" in said
    assert b"Traceback" not in said
    lab.process = None


def test_a_prefix_is_followed_into_a_folder(lab: Lab, tmp_path: Path) -> None:
    down = tmp_path / "down"
    command: list[Any] = [sys.executable, "-m", "hosu.cli.main", "sync", "--watch", "--interval", "0.1"]
    command += ["--endpoint-url", lab._endpoint, f"s3://{lab.bucket}/{PREFIX}", down]
    lab.process = subprocess.Popen(command, env=lab._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    lab.s3.put_object(Bucket=lab.bucket, Key=f"{PREFIX}a", Body=b"x")
    lab.until(lambda _stored: (down / "a").exists())
    lab.s3.put_object(Bucket=lab.bucket, Key=f"{PREFIX}b", Body=b"y")
    lab.until(lambda _stored: (down / "b").exists())
    assert (down / "b").read_bytes() == b"y"
    assert lab.stop()[0] == 0
