"""A picture that its library cannot stomach ends the process that works on it, and nothing else."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.pictures import photo

from hosu.objects.coding.jpeg import from_jxl
from hosu.rules import transcoding
from hosu.rules.transcoding import PictureCoder

PICTURE = photo()


@pytest.fixture
def coder() -> Iterator[PictureCoder]:
    made = PictureCoder()
    yield made
    made.close()


def pid_of(coder: PictureCoder) -> int:
    assert coder._process is not None
    return coder._process.pid


def in_its_place(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """Have another program started instead of ours."""
    real = subprocess.Popen

    def start(_command: list[str], **named: object) -> subprocess.Popen[bytes]:
        return real([sys.executable, "-c", program], **named)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(subprocess, "Popen", start)


def test_pictures_come_back_one_after_the_other_from_one_process(coder: PictureCoder) -> None:
    pids = set()
    for seed in range(3):
        plain = photo(320, 240, seed)
        coded = coder(plain)
        assert coded is not None
        assert from_jxl(coded, len(plain), 1) == plain
        pids.add(pid_of(coder))
    assert len(pids) == 1


def test_what_is_no_picture_stays_as_it_is_and_the_process_goes_on(coder: PictureCoder) -> None:
    assert coder(b"\xff\xd8\xffno picture") is None
    pid = pid_of(coder)
    assert coder(PICTURE) is not None
    assert pid_of(coder) == pid


def test_a_picture_of_many_megabytes_passes(coder: PictureCoder) -> None:
    plain = PICTURE + os.urandom(3_000_000)
    coded = coder(plain)
    assert coded is None or from_jxl(coded, len(plain), 1) == plain


def test_a_process_that_was_killed_is_started_again(coder: PictureCoder) -> None:
    assert coder(PICTURE) is not None
    os.kill(pid_of(coder), signal.SIGKILL)
    assert coder._process is not None
    coder._process.wait()
    assert coder(PICTURE) is not None


@pytest.mark.parametrize(
    "program",
    [
        "import os; os.read(0, 8); os.abort()",
        "import os; os.abort()",
        "import os; os.write(1, b'short'); os._exit(1)",
        "import os; os.write(1, (1 << 40).to_bytes(8, 'little')); os.read(0, 1 << 20)",
    ],
    ids=["dies of it", "dies at once", "dies answering", "answers too much"],
)
def test_a_process_that_dies_leaves_the_picture_as_it_is(
    coder: PictureCoder, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    with monkeypatch.context() as patch:
        in_its_place(patch, program)
        assert coder(PICTURE) is None
    assert coder(PICTURE) is not None


def test_a_process_that_hangs_is_ended(coder: PictureCoder, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(transcoding, "SECONDS_MAX", 0.1)
        in_its_place(patch, "import time; time.sleep(100)")
        assert coder(PICTURE) is None
    assert coder._process is None


def test_a_process_that_has_gone_to_rest_is_started_again_for_the_next_picture(
    coder: PictureCoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[None] = []
    real = subprocess.Popen

    def start(command: list[str], **named: object) -> subprocess.Popen[bytes]:
        starts.append(None)
        chosen = [sys.executable, "-c", "import os; os.read(0, 8)"] if len(starts) == 1 else command
        return real(chosen, **named)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(subprocess, "Popen", start)
    assert coder(PICTURE) is not None
    assert len(starts) == 2


def test_the_process_does_not_see_what_is_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HOSU_LAKE_KEY", "MINIO_ROOT_PASSWORD", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "secret")
    seen = tmp_path / "seen"
    program = f"import os; open({str(seen)!r}, 'w').write(' '.join(os.environ)); os._exit(1)"
    in_its_place(monkeypatch, program)
    coder = PictureCoder()
    assert coder(PICTURE) is None
    names = seen.read_text().split()
    assert "OPENBLAS_NUM_THREADS" in names
    assert not [name for name in names if name.startswith(("HOSU_", "MINIO_", "AWS_"))]


def test_idleness_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcoding, "IDLE_S", 0.01)
    source, other = os.pipe()
    try:
        transcoding.serve(source, other)
    finally:
        os.close(source)
        os.close(other)
