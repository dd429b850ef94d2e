"""The switch of a bucket that has its reads written to the audit log: its document `audit`, `{"reads": true}`."""

import msgspec

from hosu.objects.buckets import get_document, set_document
from hosu.objects.transaction import Tx
from hosu.objects.views import View

KIND = "audit"


class Switch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the document says."""

    reads: bool = False


def set_reads(tx: Tx, bucket: str, *, is_on: bool, actor: str = "") -> None:
    """Switch the audit of a bucket's reads on or off; every process knows at its next request."""
    body = msgspec.json.encode(Switch(reads=True)).decode() if is_on else None
    set_document(tx, bucket, KIND, body, actor=actor)
    tx.change_access()


def has_reads(view: View, bucket: str) -> bool:
    """Say whether a bucket's own switch is on; raises NotFoundError."""
    return _is_on(get_document(view, bucket, KIND))


def buckets_with_reads(view: View) -> frozenset[str]:
    """Return the names of all buckets whose switch is on."""
    rows = view.rows(
        "SELECT name, body FROM bucket_document JOIN bucket ON bucket.id = bucket_id WHERE kind = ?", (KIND,)
    )
    return frozenset(name for name, body in rows if _is_on(body))


def _is_on(body: str | None) -> bool:
    return body is not None and msgspec.json.decode(body, type=Switch).reads
