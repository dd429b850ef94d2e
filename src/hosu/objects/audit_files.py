"""The files of the audit log: `DIR/audit/audit-YYYYMMDD.jsonl`, then `audit-YYYYMMDD-1.jsonl` and on.

Each line is an object of JSON. Several processes append to the same file; each call writes whole lines in one piece.
Rows of the outbox are removed only once their lines are durable, so a crash may repeat lines and never loses one;
readers drop repeats.
"""

import os
import re
import threading
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

from hosu.kernel.disk import Disk
from hosu.kernel.limits import MIB
from hosu.objects.audit import read_outbox, remove_outbox
from hosu.objects.blobs import disk_error
from hosu.objects.store import ObjectStore

FOLDER = "audit"
FILE_BYTES_MAX = 64 * MIB
"""A file from this size on is followed by the next: small enough for an editor."""

ROWS_PER_DRAIN = 1_000
"""Rows carried over at a time: bounds the memory for them, and how long their removal holds the writer."""

_NAME = re.compile(r"audit-(\d{8})(?:-(\d+))?\.jsonl\Z")


class AuditFile(NamedTuple):
    """One file of the log; they sort in the order they were begun."""

    day: str
    number: int
    path: Path


def list_files(folder: Path) -> list[AuditFile]:
    """Return the files of a log, oldest first; none where there is no such folder."""
    try:
        matches = [(match, path) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name)) is not None]
    except FileNotFoundError:
        return []
    return sorted(AuditFile(match[1], int(match[2] or 0), path) for match, path in matches)


class AuditFiles:
    """Appends to a lake's audit log; safe to use from several threads and from several processes at once."""

    def __init__(self, store: ObjectStore, *, file_bytes_max: int = FILE_BYTES_MAX) -> None:
        self.folder = store.path / FOLDER
        self._disk: Disk = store.disk
        self._clock = store.clock
        self._file_bytes_max = file_bytes_max
        self._lock = threading.Lock()
        self._descriptor = -1
        self._path = self.folder
        self._day = ""
        self.carried: frozenset[bytes] = frozenset()
        """Lines of the outbox that are durable, though their rows could not be removed yet."""

    def append(self, lines: bytes, *, durable: bool) -> None:
        """Append whole lines, each with its line end; raises OSError, and then some of them may be there."""
        with self._lock:
            try:
                self._open()
                if not _ends_with_line(self._path):
                    lines = b"\n" + lines  # what a crash cut off, another process's too, stays a line of its own
                self._disk.write(self._descriptor, lines)
                if durable:
                    self._disk.sync(self._descriptor)
            except BaseException:
                self._close()  # looked at afresh next time: the end of the file may be half a line
                raise

    def expire(self, keep_days: int) -> list[str]:
        """Remove the files of days that ended more than keep_days ago, and return their names; 0 keeps all."""
        if keep_days <= 0:
            return []
        oldest = _day(self._clock.now_ms(), back_days=keep_days)
        with self._lock:
            expired = [file.path for file in list_files(self.folder) if file.day < oldest]
            for path in expired:
                self._disk.unlink(path)
        return [path.name for path in expired]

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            self._disk.close(descriptor)

    def _open(self) -> None:
        """Have the file open that the next lines belong into."""
        day = _day(self._clock.now_ms())
        if self._descriptor >= 0 and day == self._day and _size_bytes(self._path) in range(self._file_bytes_max):
            return
        self._close()
        if not self.folder.is_dir():
            self._disk.make_directory(self.folder)
            self._disk.sync_directory(self.folder.parent)
        numbers = [file.number for file in list_files(self.folder) if file.day == day]
        number = max(numbers, default=0)
        if numbers and _size_bytes(self._name(day, number)) >= self._file_bytes_max:
            number += 1
        self._path, self._day = self._name(day, number), day
        is_new = not self._path.exists()
        self._descriptor = self._disk.append(self._path)
        if is_new:
            self._disk.sync_directory(self.folder)

    def _name(self, day: str, number: int) -> Path:
        return self.folder / (f"audit-{day}-{number}.jsonl" if number else f"audit-{day}.jsonl")


def drain(store: ObjectStore, files: AuditFiles) -> int:
    """Carry every row of the outbox to the log's files, and return how many.

    Only the holder of the lake's lock calls it. Raises UnavailableError when the disk refuses; the rows then wait.
    """
    count = 0
    while rows := read_outbox(store.view(), 0, ROWS_PER_DRAIN):
        # Where rows cannot be removed, their lines must not fill the disk with repeats.
        lines = [row.line() + b"\n" for row in rows]
        if fresh := [line for line in lines if line not in files.carried]:
            try:
                files.append(b"".join(fresh), durable=True)
            except OSError as error:
                raise disk_error(error) from error
        files.carried = frozenset(lines)
        store.commit(partial(remove_outbox, upto=rows[-1].id))
        files.carried = frozenset()
        count += len(rows)
    return count


def _day(milliseconds: int, *, back_days: int = 0) -> str:
    return f"{datetime.fromtimestamp(milliseconds // 1000, UTC) - timedelta(days=back_days):%Y%m%d}"


def _size_bytes(path: Path) -> int:
    """Return the size of a file, -1 when somebody has taken it away."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def _ends_with_line(path: Path) -> bool:
    with path.open("rb") as file:
        size_bytes = file.seek(0, os.SEEK_END)
        if size_bytes == 0:
            return True
        file.seek(size_bytes - 1)
        return file.read(1) == b"\n"
