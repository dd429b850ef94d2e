"""What queries leave behind at their end, whatever the end is: nothing."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from hosu.kernel.errors import UnavailableError
from hosu.tables.sql.scratch import PREFIX, Scratch, sweep

SESSION = """
import sys
import pyarrow as pa
from hosu.tables.sql.duck import Duck

duck = Duck(1 << 20)
connection = duck.connection()
schema = pa.schema([("n", pa.int64())])
batches = [pa.record_batch({"n": [n]}) for n in range(5000)]
connection.stream("t", schema, lambda: pa.RecordBatchReader.from_batches(schema, iter(batches)))
result = connection.result(connection.reader("SELECT * FROM t"))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def left(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_folder_is_its_owners_alone_and_goes_with_it(folder: Path) -> None:
    scratch = Scratch()
    assert scratch.path.parent == folder
    assert scratch.path.stat().st_mode & 0o777 == 0o700
    (scratch.path / "spilled").write_bytes(b"rows")
    sweep()
    assert scratch.path.is_dir()
    scratch.close()
    scratch.close()
    assert left(folder) == []


def test_the_folder_of_a_killed_process_goes_with_the_next_one(folder: Path) -> None:
    code = "import sys, time\nfrom hosu.tables.sql.scratch import Scratch\nscratch = Scratch()\n"
    code += "(scratch.path / 'spilled').write_bytes(b'rows')\nprint(flush=True)\ntime.sleep(600)"
    command = [sys.executable, "-c", code]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "TMPDIR": str(folder)})
    assert process.stdout is not None
    process.stdout.readline()
    kept = left(folder)
    sweep()
    assert left(folder) == kept != []
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert left(folder) == kept
    (folder / f"{PREFIX}file").touch()
    scratch = Scratch()
    assert sorted(left(folder)) == sorted([scratch.path.name, f"{PREFIX}file"])
    scratch.close()


@pytest.mark.parametrize("held", ["", "rows = result.reader()", "rows = result.reader(); rows.read_next_batch()"])
def test_rows_that_nobody_reads_to_the_end_are_no_leak_at_the_end(folder: Path, held: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SESSION + held],
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("", "")
    assert left(folder) == []


def test_folders_that_cannot_be_locked_are_told_and_not_left(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(UnavailableError, match="TMPDIR"):
        Scratch()
    assert left(folder) == []
