"""Programs of others, run in the environment that `make scenarios-venv` makes."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.support.server import Endpoint, isolated_environment

ROOT = Path(__file__).parents[2]
ENVIRONMENT = ROOT / ".venv-scenarios"
JARS = ENVIRONMENT / "jars"
SCRIPTS = ROOT / "tests" / "scenarios" / "foreign"
SECONDS_MAX = 280.0
HOW = "needs the programs of the scenarios: make scenarios-venv"

QUIET = {
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PYSPARK_SUBMIT_ARGS": "--driver-memory 1g pyspark-shell",
    "SPARK_LOCAL_IP": "127.0.0.1",
}
"""Nobody is told of what runs here, and nothing listens but on loopback."""


def require(module: str) -> None:
    """Skip a test whose programs are not installed; on CI, where they are, that is a failure."""
    if not list(ENVIRONMENT.glob(f"lib/python*/site-packages/{module}")):
        pytest.skip(HOW)


def run_script(name: str, endpoint: Endpoint, home: Path, *arguments: str, **variables: str) -> Any:
    """Run a script against a server, and return what it says on its last line."""
    environment = isolated_environment() | endpoint.environment() | QUIET | variables
    environment |= {"AWS_ENDPOINT_URL": endpoint.url, "HOME": str(home), "PREFECT_HOME": str(home / "prefect")}
    environment["MLFLOW_S3_ENDPOINT_URL"] = endpoint.url
    done = subprocess.run(
        [str(ENVIRONMENT / "bin" / "python"), str(SCRIPTS / name), *arguments],
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, f"{name} failed\n{done.stdout[-4000:]}\n{done.stderr[-8000:]}"
    return json.loads(done.stdout.strip().rpartition("\n")[2])


__all__ = ["JARS", "ROOT", "require", "run_script"]
