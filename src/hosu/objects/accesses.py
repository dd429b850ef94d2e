"""Reads in the change feed, for those who asked to be told of them: written after the fact, and not audited here."""

from collections.abc import Sequence

import msgspec

from hosu.kernel.errors import HosuError
from hosu.objects.read import find
from hosu.objects.transaction import EVENT_COLUMNS, Tx


class Access(msgspec.Struct, frozen=True, gc=False):
    """A read that was answered. Without a `version_id` it was of the current object."""

    at_ms: int
    kind: str
    bucket: str
    key: str
    version_id: str | None
    actor: str
    request_id: str
    source_ip: str


def record_accesses(tx: Tx, accesses: Sequence[Access]) -> None:
    """Add reads to the change feed, with what is known of the object by now."""
    rows = []
    for access in accesses:
        try:
            record = find(tx, access.bucket, access.key, access.version_id)
            told = (record.version_id, record.size_bytes, record.etag)
        except HosuError:  # gone meanwhile: it was read all the same
            told = (access.version_id or "", 0, "")
        rows.append(
            (
                tx.next_seq(), access.at_ms, access.kind, access.bucket, access.key, *told,
                access.actor, access.request_id, access.source_ip,
            )
        )  # fmt: skip
    tx.touches += 1
    # Not by `record_event`: nothing has changed that others remember, and the audit log has its own switch for reads.
    tx.connection.executemany(f"INSERT INTO event ({EVENT_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?)", rows)
