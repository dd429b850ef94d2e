"""The audit log's outbox: who changed what, written in the change's own transaction.

Whoever submits a verb on behalf of a request says so with an `Origin`; the verb's changes become one row. A verb
without one is audited by the events it records, one row each, under the actor it names; upkeep, which records no
events, leaves no row. Rows wait until `hosu.objects.audit_files` has carried them to the log's files.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from hosu.kernel.auth import IN_PROCESS
from hosu.objects.views import View

if TYPE_CHECKING:
    from hosu.objects.transaction import Tx

IN_PROCESS_PREFIX = "in-process:"
"""Before the event's name, where nobody said which operation of which protocol it was."""

ACCESS_CHANGED = "AccessChanged"
"""Stands for the event of a verb that changes access and records none."""

ALLOWED, DENIED = "allowed", "denied"

Row = tuple[Any, ...]


class Origin(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """On whose behalf a verb runs. `operation` names the protocol too: `s3:PutObject`, `admin:CreateUser`.

    `action` is the permission that was asked for, `status` what the client is told when the verb has succeeded.
    Its fields are some of `AuditLine`.
    """

    request_id: str
    operation: str
    principal: str
    access_key: str = ""
    source_ip: str = ""
    bucket: str = ""
    key: str = ""
    user_agent: str = ""
    action: str = ""
    status: int = 0
    reason: str = ""
    """Why a rule did it, in words."""


class AuditLine(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """One line of the audit log, as JSON. Empty fields are left out.

    `statement` is the one of a policy that decided, `error` the code a refused client was told, `bytes` the size of
    a body.
    """

    time: str
    id: str = ""
    request_id: str = ""
    principal: str
    access_key: str = ""
    source_ip: str = ""
    user_agent: str = ""
    operation: str
    action: str = ""
    bucket: str = ""
    key: str = ""
    version_id: str = ""
    status: int = 0
    reason: str = ""
    decision: str = ALLOWED
    statement: str = ""
    error: str = ""
    bytes: int = 0


ENCODER = msgspec.json.Encoder()


def format_time(milliseconds: int) -> str:
    """Render a time by RFC 3339, to the millisecond: 2026-01-31T23:59:59.999Z."""
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03d}Z"


def outbox_rows(
    origin: Origin | None, events: Sequence[Row], time: str, *, has_changed_access: bool
) -> Iterable[bytes]:
    """Yield what a verb that has changed something leaves in the outbox; events are rows of the change feed."""
    if origin is not None:
        yield _row_of(origin, events[-1] if events else None, time)
        return
    for _, _, kind, bucket, key, version_id, size_bytes, _, actor, *_ in events:
        yield ENCODER.encode(
            AuditLine(
                time=time,
                principal=actor or IN_PROCESS.name,
                operation=IN_PROCESS_PREFIX + kind,
                bucket=bucket,
                key=key,
                version_id="" if version_id == "null" else version_id,
                bytes=size_bytes,
            )
        )
    if has_changed_access and not events:
        yield ENCODER.encode(
            AuditLine(time=time, principal=IN_PROCESS.name, operation=IN_PROCESS_PREFIX + ACCESS_CHANGED)
        )


def _row_of(origin: Origin, last: Row | None, time: str) -> bytes:
    """Return the row of a request: its origin as it is, and what the last of its events adds."""
    rest = b""
    if last is not None:
        _, _, _, bucket, key, version_id, size_bytes, *_ = last
        if not origin.bucket:
            origin = msgspec.structs.replace(origin, bucket=bucket, key=origin.key or key)
        if version_id not in {"", "null"}:
            rest = b',"version_id":' + ENCODER.encode(version_id)
        if size_bytes:
            rest += b',"bytes":%d' % size_bytes
    return b'{"time":"%b",%b%b}' % (time.encode(), ENCODER.encode(origin)[1:-1], rest)


class OutboxRow(msgspec.Struct, frozen=True, gc=False):
    """A row that waits; ids grow, and none is given twice."""

    id: int
    body: bytes

    def line(self) -> bytes:
        """Return the row as it stands in the log, without a line end: its id first, so that readers drop repeats."""
        return b'{"id":"%d",%b' % (self.id, self.body[1:])


def read_outbox(view: View, after: int, limit: int) -> list[OutboxRow]:
    """Return up to limit rows whose ids come after `after`, in order."""
    rows = view.rows("SELECT id, body FROM audit_outbox WHERE id > ? ORDER BY id LIMIT ?", (after, limit))
    return [OutboxRow(row_id, body) for row_id, body in rows]


def count_outbox(view: View) -> int:
    """Return how many rows wait; ids may have gaps, so this is at most too many."""
    row = view.row("SELECT min(id), max(id) FROM audit_outbox")
    return 0 if row is None or row[0] is None else int(row[1] - row[0] + 1)


def next_outbox_id(view: View) -> int:
    """Return the id of the next row: larger than every one before, those that were removed included.

    SQLite's AUTOINCREMENT would write one page more with each commit; this number is written with removals alone.
    """
    latest = view.value("SELECT max(id) FROM audit_outbox")
    if latest is None:
        latest = view.value("SELECT value FROM counter WHERE name = 'audit'") or 0
    return int(latest) + 1


def remove_outbox(tx: "Tx", upto: int) -> None:
    """Remove the rows up to an id: they are in the log's files, durably."""
    tx.run("DELETE FROM audit_outbox WHERE id <= ?", (upto,))
    tx.run(
        "INSERT INTO counter VALUES ('audit', ?) ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)",
        (upto,),
    )
