"""The shell of `hosu sql` on a terminal: what a person types, and what comes back."""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.lakecli import make_lake

DEADLINE_S = 30
_ESCAPES = re.compile(rb"\x1b(?:\[[0-9;?]*[A-Za-z]|[=>])")
_ASKS_FOR_CURSOR = b"\x1b[6n"


class Terminal:
    """A process on a terminal of 100 columns."""

    def __init__(self, *words: str, state: Path) -> None:
        self.pid, self._handle = pty.fork()
        if not self.pid:
            os.execve(
                sys.executable,
                [sys.executable, "-m", "hosu", *words],
                {**os.environ, "TERM": "xterm", "XDG_STATE_HOME": str(state)},
            )
        fcntl.ioctl(self._handle, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        self._said = b""

    def until(self, text: str) -> str:
        """Return what is said up to a text."""
        while (place := self._plain().find(text)) < 0:
            ready, _, _ = select.select([self._handle], [], [], DEADLINE_S)
            read = b""
            if ready:
                with contextlib.suppress(OSError):  # the other side is gone
                    read = os.read(self._handle, 65536)
            if not read:
                raise AssertionError(f"{text!r} does not come after {self._plain()!r}")
            if _ASKS_FOR_CURSOR in read:
                os.write(self._handle, b"\x1b[1;1R")
            self._said += read
        said = self._plain()
        self._said = said[place + len(text) :].encode()
        return said[:place]

    def _plain(self) -> str:
        return _ESCAPES.sub(b"", self._said).replace(b"\r", b"").decode("utf-8", "replace")

    def type(self, keys: str) -> None:
        os.write(self._handle, keys.encode())

    def end(self) -> tuple[int, str]:
        """Wait for the end, and return the exit status and what was said last."""
        with contextlib.suppress(OSError):  # the other side is gone
            while select.select([self._handle], [], [], DEADLINE_S)[0] and (read := os.read(self._handle, 65536)):
                self._said += read
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1]), self._plain()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._handle)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    cli = make_lake(tmp_path / "lake")
    with cli.opened() as lake:
        for statement in ("CREATE DATABASE d", "CREATE TABLE d.ticker (symbol STRING, price DOUBLE)"):
            lake.sql(statement)
    opened = Terminal("sql", str(cli.folder), state=tmp_path / "state")
    yield opened
    opened.kill()


def test_a_conversation(terminal: Terminal, tmp_path: Path) -> None:
    terminal.until("lake>")
    terminal.type("\\c d\r")
    terminal.until("using d")
    terminal.until("d>")
    terminal.type("INSERT INTO tick\t")  # one table begins so
    terminal.until("er")  # what is new on the screen may be all that is drawn
    terminal.type("\rVALUES ('KRW-BTC', 1.5);\r")  # Enter goes on to the next line before the `;`
    terminal.until("inserted 1 row")
    terminal.until("d>")
    terminal.type("SELECT 'be' || 'gun' AS x; SELECT count(*) FROM range(1000000000000);\r")
    terminal.until("begun")
    terminal.type("\x03")
    terminal.until("stopped")
    terminal.until("d>")
    terminal.type("SELECT nope FROM ticker;\r")
    terminal.until("hosu sql: ")
    terminal.until("d>")
    terminal.type("SELECT half of it\x03")  # a statement that is not wanted after all
    terminal.until("d>")
    terminal.type("SELECT symbol FROM ticker;\r")
    terminal.until("KRW-BTC")
    terminal.until("(1 row)")
    terminal.until("d>")
    terminal.type("\x04")
    status, said = terminal.end()
    assert status == 0, said
    history = (tmp_path / "state" / "hosu" / "sql-history").read_text()
    assert "+INSERT INTO ticker\n+VALUES ('KRW-BTC', 1.5);\n" in history
    assert "half of it" not in history
