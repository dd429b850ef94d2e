"""Threads that Python did not start, as Arrow has them, read from a lake and end as they like."""

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import ctypes
import sys
from hosu.lake import open_lake

libc = ctypes.CDLL(None)
seen = []

with open_lake(sys.argv[1]) as lake:
    lake.create_bucket("files").put("a", b"1")

    @ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
    def read(_):
        seen.append(lake.bucket("files").get("a"))

    for _ in range(20):
        thread = ctypes.c_ulong()
        assert libc.pthread_create(ctypes.byref(thread), None, read, None) == 0
        assert libc.pthread_join(thread, None) == 0
print(len(seen))
"""


def test_a_thread_of_a_library_may_read_and_end(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "lake")], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "20\n"), done.stderr
