"""Starting the processes of `tests.crash.child`, and reading what they say."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import hosu

ROOT = Path(__file__).parents[2]
SECONDS_MAX = 60


class Child:
    """One process on a lake. It waits for `start` after it has opened the lake."""

    def __init__(self, lake: Path, task: str, name: str) -> None:
        source = Path(hosu.__file__).parents[1]
        path = os.pathsep.join([str(ROOT), str(source), os.environ.get("PYTHONPATH", "")])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.child", str(lake), task, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": path},
        )
        assert self.read_line() == ["ready"]

    def read_line(self) -> Any:
        """Return the next thing the process says."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return json.loads(line) if line else None

    def start(self) -> None:
        """Let the process go on."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()

    def kill(self) -> list[Any]:
        """End the process as a power cut of its own would, and return all that it had said by then."""
        self._process.kill()
        output, _ = self._process.communicate(timeout=SECONDS_MAX)
        # The last line may be cut short: the process did not live to say it.
        return [json.loads(line) for line in output.splitlines(keepends=True) if line.endswith(b"\n")]

    def finish(self) -> list[Any]:
        """Wait for the process to end well, and return what it said."""
        output, errors = self._process.communicate(timeout=SECONDS_MAX)
        assert self._process.returncode == 0, errors.decode()
        return [json.loads(line) for line in output.splitlines()]
