"""Each folder of examples/ runs as its reader would run it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.server import free_port, isolated_environment

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/run.sh"))
SAID = {
    "medallion": "ingest may not delete what is raw: AccessDenied",
    "smart-door": "door-inference     may not read images/raw/2025-08-08/capture_001.jpg: AccessDenied",
    "streaming": "the analyst may not read checkpoints: True",
}


def test_every_example_is_run_and_listed() -> None:
    assert set(SAID) == set(NAMES)
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert [name for name in NAMES if f"]({name}/)" not in text] == []


@pytest.mark.parametrize("name", NAMES)
def test_an_example_runs_and_leaves_nothing(name: str, tmp_path: Path) -> None:
    port, console = free_port(), free_port()
    environment = isolated_environment() | {
        "PYTHON": sys.executable,
        "EXAMPLE_ADDRESS": f"127.0.0.1:{port}",
        "EXAMPLE_CONSOLE_ADDRESS": f"127.0.0.1:{console}",
        "TMPDIR": str(tmp_path),
        "PATH": os.environ["PATH"],
    }
    done = subprocess.run(
        [EXAMPLES / name / "run.sh"], env=environment, capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert SAID[name] in done.stdout
    assert list(tmp_path.glob("tmp.*")) == []
