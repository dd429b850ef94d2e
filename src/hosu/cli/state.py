"""What interrupted transfers left to continue from: one small journal per transfer under the XDG state folder."""

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def state_folder(environment: Mapping[str, str]) -> Path:
    """Return where transfer journals are kept, as the XDG base directories say."""
    base = environment.get("XDG_STATE_HOME", "")
    # The XDG rule: a relative value is invalid and must be ignored.
    folder = Path(base) if base.startswith("/") else Path.home() / ".local" / "state"
    return folder / "hosu" / "transfers"


class Journal:
    """The claimed journal of one transfer: JSON lines, of which a torn last one is ignored."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    def lines(self) -> list[dict[str, Any]]:
        """Return what was recorded, oldest first; empty for a transfer that starts."""
        body = os.pread(self._descriptor, os.fstat(self._descriptor).st_size, 0)
        lines = []
        for raw in body.split(b"\n")[:-1]:
            try:
                line = json.loads(raw)
            except ValueError:
                break
            if not isinstance(line, dict):
                break
            lines.append(line)
        return lines

    def start(self, header: Mapping[str, Any]) -> None:
        """Forget what was recorded and begin with `header`."""
        os.ftruncate(self._descriptor, 0)
        self.add(header)

    def add(self, line: Mapping[str, Any]) -> None:
        """Record one more fact, durably."""
        end = os.fstat(self._descriptor).st_size
        os.pwrite(self._descriptor, json.dumps(line).encode() + b"\n", end)
        os.fsync(self._descriptor)

    def discard(self) -> None:
        """Remove the journal: the transfer is done, or cannot be continued."""
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()


class Journals:
    """The journals of one person."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextlib.contextmanager
    def claim(self, *names: str) -> Iterator[Journal | None]:
        """Claim the journal of the transfer that `names` tell apart; None while another process holds it."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        mark = hashlib.sha256("\0".join(names).encode(errors="surrogatepass")).hexdigest()
        path = self._folder / f"{mark[:40]}.jsonl"
        descriptor = self._lock(path)
        if descriptor is None:
            yield None
            return
        journal = Journal(path, descriptor)
        try:
            yield journal
        finally:
            if not journal.lines():
                journal.discard()
            os.close(descriptor)

    @staticmethod
    def _lock(path: Path) -> int | None:
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(descriptor)
                return None
            # The holder before us may have removed the file between our open and our lock.
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_ino == os.fstat(descriptor).st_ino:
                    return descriptor
            os.close(descriptor)
