"""Reading the audit log: its files and what still waits in the outbox, each line once."""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import msgspec

from hosu.kernel.disk import RealDisk
from hosu.kernel.errors import ConflictError, ErrorKind
from hosu.kernel.log import get_logger
from hosu.objects.audit import DENIED, AuditLine, format_time, read_outbox
from hosu.objects.audit_files import FOLDER, AuditFile, list_files
from hosu.objects.database import connect
from hosu.objects.store import FORMAT_NAME, check_format
from hosu.objects.views import View

ROWS_PER_READ = 10_000

_DECODER = msgspec.json.Decoder(AuditLine)
_LOG = get_logger("audit")


def query(
    lake_path: Path,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    principal: str = "",
    bucket: str = "",
    prefix: str = "",
    operation: str = "",
    denied_only: bool = False,
) -> Iterator[AuditLine]:
    """Yield the lines of a lake's audit log that match all that is given, about in the order of time.

    `since` counts, `until` does not. `operation` is a whole name (`s3:PutObject`), or one that ends with `*`;
    `principal` a user or an access key. Works beside a running server. Raises ConflictError NOT_A_LAKE.
    """
    path = Path(lake_path)
    if not (path / FORMAT_NAME).is_file():
        raise ConflictError(ErrorKind.NOT_A_LAKE, f"{path} is not a lake: name a lake's folder")
    check_format(path / FORMAT_NAME)
    first = _bound(since)
    wanted = _Wanted(first, _bound(until), principal, bucket, prefix, operation, denied_only)
    waiting = _waiting(path)  # before the files: what is carried over meanwhile is then seen at least once
    seen: set[AuditLine] = set()
    repeated = set(waiting)
    for line in _lines(path / FOLDER, _first_day(since)):
        if line in repeated:
            seen.add(line)
        if wanted.matches(line):
            yield line
    for line in waiting:
        if line not in seen and wanted.matches(line):
            yield line


def _bound(moment: datetime | None) -> str:
    if moment is None:
        return ""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return format_time(round(moment.timestamp() * 1000))


def _first_day(since: datetime | None) -> str:
    """Return the first day whose files may hold lines of a time: the day before too, as clocks may be set back."""
    return "" if since is None else _bound(since - timedelta(days=1))[:10].replace("-", "")


def _waiting(path: Path) -> list[AuditLine]:
    """Return what waits in the outbox of a lake, which another process may be writing."""
    found: list[AuditLine] = []
    with contextlib.closing(connect(path / "meta" / "lake.db", RealDisk())) as connection:
        connection.execute("PRAGMA query_only=1")
        view = View(connection, 0)
        if not view.value("SELECT 1 FROM sqlite_master WHERE name = 'audit_outbox'"):
            return found
        with view.snapshot():
            after = 0
            while rows := read_outbox(view, after, ROWS_PER_READ):
                found += [_DECODER.decode(row.line()) for row in rows]
                after = rows[-1].id
    return found


def _lines(folder: Path, first_day: str) -> Iterator[AuditLine]:
    """Yield the lines of the files from a day on; repeats, which stand close to each other, once.

    An id alone does not make a repeat: of a database that was restored from a backup, they go on from there.
    """
    recent: dict[AuditLine, None] = {}
    for file in list_files(folder):
        if file.day < first_day:
            continue
        for line in _lines_of(file):
            if line in recent:
                continue
            recent[line] = None
            if len(recent) > ROWS_PER_READ:
                del recent[next(iter(recent))]
            yield line


def _lines_of(file: AuditFile) -> Iterator[AuditLine]:
    try:
        opened = file.path.open("rb")
    except FileNotFoundError:
        return  # it expired meanwhile
    with opened:
        for number, text in enumerate(opened, 1):
            if text.isspace():
                continue
            try:
                yield _DECODER.decode(text)
            except msgspec.MsgspecError:
                if text.endswith(b"\n"):  # else it is being written just now
                    _LOG.warning("a line of the audit log is cut off", file=file.path.name, line=number)


class _Wanted(NamedTuple):
    first: str
    end: str
    principal: str
    bucket: str
    prefix: str
    operation: str
    denied_only: bool

    def matches(self, line: AuditLine) -> bool:
        if line.time < self.first or (self.end and line.time >= self.end):
            return False
        if self.principal and self.principal not in {line.principal, line.access_key}:
            return False
        if (self.bucket and line.bucket != self.bucket) or not line.key.startswith(self.prefix):
            return False
        if self.operation.endswith("*"):
            if not line.operation.startswith(self.operation[:-1]):
                return False
        elif self.operation and line.operation != self.operation:
            return False
        return not self.denied_only or line.decision == DENIED
