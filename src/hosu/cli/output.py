"""What a command says: rows and events for people or one JSON object a line, and progress bars on a terminal."""

import contextlib
import json
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, TextIO

from hosu.kernel.errors import HosuError
from hosu.kernel.limits import KIB

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

BAR_BYTES_MIN = 4 * KIB * KIB
"""Smallest transfer with a progress bar of its own; smaller ones move only the bar of the total."""


def human_bytes(size_bytes: int) -> str:
    """Spell a size as people read it: 1536 is `1.5 KiB`."""
    if size_bytes < KIB:
        return f"{size_bytes} B"
    size = float(size_bytes)
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        size /= KIB
        if size < KIB:
            return f"{size:.1f} {unit}"
    return f"{size / KIB:.1f} PiB"


def printable(text: str) -> str:
    """Show control characters of a name as escapes, so that no name can move the cursor or fake a line."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


class Bar:
    """The progress of one transfer; `advance` takes what came, and gives back (negative) what was lost."""

    def __init__(self, screen: "Screen | None", task: "TaskID | None") -> None:
        self._screen = screen
        self._task = task

    def advance(self, count_bytes: int) -> None:
        """Move by so many bytes."""
        if self._screen is not None:
            self._screen.advance(self._task, count_bytes)

    def done(self) -> None:
        """Take the bar off the screen."""
        if self._screen is not None:
            self._screen.remove(self._task)


class Screen:
    """The bars of one command on a terminal."""

    def __init__(self, progress: "Progress", title: str) -> None:
        self._progress = progress
        self._total_bytes = 0
        self._lock = threading.Lock()
        self._whole = progress.add_task(title, total=None)

    def bar(self, name: str, size_bytes: int | None) -> Bar:
        """Open the bar of one transfer."""
        with self._lock:
            self._total_bytes += size_bytes or 0
            self._progress.update(self._whole, total=self._total_bytes)
        task = None
        if size_bytes is None or size_bytes >= BAR_BYTES_MIN:
            task = self._progress.add_task(_short(printable(name)), total=size_bytes)
        return Bar(self, task)

    def advance(self, task: "TaskID | None", count_bytes: int) -> None:
        """Move one bar and the total."""
        self._progress.update(self._whole, advance=count_bytes)
        if task is not None:
            self._progress.update(task, advance=count_bytes)

    def remove(self, task: "TaskID | None") -> None:
        """Take one bar off."""
        if task is not None:
            self._progress.remove_task(task)

    def print(self, text: str) -> None:
        """Print a line above the bars."""
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)


def _short(name: str, width: int = 40) -> str:
    return name if len(name) <= width else f"…{name[1 - width :]}"


class Output:
    """The voice of one command; safe for threads."""

    def __init__(
        self,
        *,
        json_lines: bool = False,
        quiet: bool = False,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
    ) -> None:
        self.json_lines = json_lines
        self.quiet = quiet
        self._stdout = stdout if stdout is not None else sys.stdout
        self._stderr = stderr if stderr is not None else sys.stderr
        self._lock = threading.Lock()
        self._screen: Screen | None = None

    def row(self, fields: Mapping[str, object], text: str) -> None:
        """Say a part of the answer, which `--quiet` keeps."""
        self._say({"status": "ok", **fields}, text)

    def row_lines(self, fields: Mapping[str, object], text: str) -> None:
        """Say a part of the answer that is several lines, each made printable by the caller."""
        if self.json_lines:
            self.row(fields, "")
        else:
            self._print(self._stdout, text)

    def event(self, fields: Mapping[str, object], text: str) -> None:
        """Say that something was done, which `--quiet` leaves out of the text (never out of the JSON)."""
        if self.json_lines or not self.quiet:
            self._say({"status": "ok", **fields}, text)

    def failure(self, error: HosuError, operation: str, address: str = "") -> None:
        """Say what failed: on standard error, or as a JSON object between the others."""
        fields = {
            "status": "error",
            "operation": operation,
            "address": address,
            "kind": str(error.kind),
            "message": error.message,
        }
        if self.json_lines:
            self._say(fields, "")
        else:
            self._print(self._stderr, f"hosu {operation}: {printable(error.message)}")

    def note(self, text: str) -> None:
        """Say something in passing, to people only."""
        if not self.json_lines and not self.quiet:
            self._print(self._stderr, text)

    def complaint(self, text: str) -> None:
        """Say more about failures, which `--quiet` keeps; JSON carries them in its own objects."""
        if not self.json_lines:
            self._print(self._stderr, printable(text))

    def _say(self, fields: Mapping[str, object], text: str) -> None:
        self._print(self._stdout, json.dumps(fields, ensure_ascii=False) if self.json_lines else printable(text))

    def _print(self, stream: TextIO, text: str) -> None:
        with self._lock:
            if self._screen is not None and stream.isatty():
                self._screen.print(text)
            else:
                stream.write(f"{text}\n")
                stream.flush()

    @contextlib.contextmanager
    def bars(self, title: str) -> Iterator["Screen | None"]:
        """Show progress bars while the block runs; None (no bars) unless standard error is a terminal for people."""
        if self.json_lines or self.quiet or not self._stderr.isatty():
            yield None
            return
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(file=self._stderr), transient=True) as progress:
            self._screen = Screen(progress, title)
            try:
                yield self._screen
            finally:
                self._screen = None
