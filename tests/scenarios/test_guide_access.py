"""The commands of docs/guides/access.md and the Python of docs/guides/python.md, run as they stand there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.server import isolated_environment

import hosu

GUIDES = Path(__file__).parents[2] / "docs" / "guides"

DENIED = "aws:SourceIp=192.0.2.1"
"""The guide asks once for what is denied, which the exit status says."""


@pytest.fixture
def shell(tmp_path: Path) -> dict[str, str]:
    """An environment whose `hosu` is the one under test."""
    command = tmp_path / "bin" / "hosu"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m hosu "$@"\n')
    command.chmod(0o755)
    (tmp_path / "work").mkdir()
    return isolated_environment() | {"PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}"}


def blocks(guide: str, language: str) -> list[str]:
    text = (GUIDES / guide).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def test_the_commands_of_the_guide_to_access_work(tmp_path: Path, shell: dict[str, str]) -> None:
    lines = "".join(blocks("access.md", "sh"))
    assert lines.count("hosu ") > 15
    script = lines.replace(f"--context {DENIED}\n", f"--context {DENIED} && exit 9 || true\n")
    assert script != lines
    done = subprocess.run(
        ["bash", "-euc", script],
        cwd=tmp_path / "work",
        env=shell,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "allowed: bob, s3:GetObject, images/raw/a.jpg\n  by read-images, Statement[1] (ReadAtWork)\n" in done.stdout
    assert "denied: bob, s3:GetObject, images/raw/a.jpg\n  because nothing allows it\n" in done.stdout
    with hosu.open(tmp_path / "work" / "lake", create=False) as lake:
        assert lake.users.get("tenant-a").policies == ("tenant-a",)
        assert lake.bucket("images").alias("raw/current/").show() is not None
        assert not lake.keys.get("nightly").is_enabled
        assert lake.users.get("door-training").policies == ("door-training",)


def test_the_python_of_the_guide_makes_what_it_says(tmp_path: Path, shell: dict[str, str]) -> None:
    (code,) = [block for block in blocks("python.md", "python") if "lake.users.add" in block]
    done = subprocess.run(
        [sys.executable, "-c", f"import hosu\n{code}"],
        cwd=tmp_path / "work",
        env=shell,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    alice, answer = done.stdout.splitlines()
    assert alice.split()[0] == "alice"
    assert answer == "False nothing allows it"
