"""What the stock clients need: settings for each, and runners for those that are programs."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs
import pytest
from tests.support.clients import S3Client, boto3_client
from tests.support.server import Endpoint

PROGRAM_SECONDS_MAX = 60
TABLE_ROWS = 20_000


@pytest.fixture
def versioned(s3: S3Client, bucket: str) -> str:
    """Make a bucket that keeps versions."""
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return bucket


@pytest.fixture
def other_s3(server: Endpoint) -> Iterator[S3Client]:
    """Hand over a second client with connections of its own."""
    client = boto3_client(server)
    yield client
    client.close()


@pytest.fixture
def storage_options(server: Endpoint) -> dict[str, str]:
    """Say where the server is, as clients built on Rust's object_store (Polars, delta-rs) want it said."""
    return {
        "aws_endpoint_url": server.url,
        "aws_access_key_id": server.access_key,
        "aws_secret_access_key": server.secret_key,
        "aws_region": server.region,
        "aws_allow_http": "true",
    }


@pytest.fixture
def filesystem(server: Endpoint) -> Any:
    return pyarrow.fs.S3FileSystem(
        access_key=server.access_key,
        secret_key=server.secret_key,
        endpoint_override=server.host,
        region=server.region,
        scheme="http",
    )


@pytest.fixture
def table() -> Any:
    return pa.table(
        {
            "id": range(TABLE_ROWS),
            "day": [f"2025-08-{i % 3 + 1:02}" for i in range(TABLE_ROWS)],
            "value": [i * 0.5 for i in range(TABLE_ROWS)],
        }
    )


class Program:
    """A command-line client, run as a process; `run` returns what it printed and fails on any other exit status."""

    def __init__(self, command: list[str], environment: dict[str, str], folder: Path) -> None:
        self._command = command
        self._environment = environment
        self._folder = folder

    def finish(self, *arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run to the end, whatever the exit status."""
        return subprocess.run(
            [*self._command, *map(str, arguments)],
            check=False,
            capture_output=True,
            input=stdin,
            text=True,
            timeout=PROGRAM_SECONDS_MAX,
            env=os.environ | self._environment,
            cwd=self._folder,
        )

    def run(self, *arguments: str | Path, stdin: str = "") -> str:
        """Run, and return standard output."""
        done = self.finish(*arguments, stdin=stdin)
        assert done.returncode == 0, f"{arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def json(self, *arguments: str | Path) -> Any:
        """Run, and return standard output parsed."""
        return json.loads(self.run(*arguments))


@pytest.fixture
def aws(server: Endpoint, tmp_path: Path) -> Program:
    """Hand over the AWS command line, its settings untouched but for the endpoint."""
    return Program([sys.executable, "-m", "awscli"], server.environment(), tmp_path)


@pytest.fixture
def rclone(server: Endpoint, tmp_path: Path) -> Program:
    """Hand over rclone with one remote, `lake:`."""
    remote = {
        "RCLONE_CONFIG_LAKE_TYPE": "s3",
        "RCLONE_CONFIG_LAKE_PROVIDER": "Minio",
        "RCLONE_CONFIG_LAKE_ENDPOINT": server.url,
        "RCLONE_CONFIG_LAKE_ACCESS_KEY_ID": server.access_key,
        "RCLONE_CONFIG_LAKE_SECRET_ACCESS_KEY": server.secret_key,
        "RCLONE_CONFIG_LAKE_REGION": server.region,
    }
    return Program(["rclone"], remote, tmp_path)
