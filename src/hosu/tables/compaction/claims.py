"""Claims on buckets: who compacts one says so in a file beside the table's, so that nobody else does the same work.

`upkeep/claim-…` below the table's folder holds the name of the holder and until when the claim counts. No reader or
cleaner of Paimon looks into that folder. A claim spares work and guards nothing: what guards a table is the check for
conflicts of each commit. So a claim that has run out is taken over, and a store without conditional puts has none.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from uuid import uuid4

import msgspec

from hosu.kernel.errors import HosuError, NotFoundError, PreconditionFailedError, UnsupportedError
from hosu.kernel.fileio import FileIO
from hosu.tables.records import Partition

if TYPE_CHECKING:
    from hosu.tables.context import TableContext

FOLDER = "upkeep"
CLAIM_MS = 3 * 60 * 1000
"""How long a claim counts unless it is renewed: so long nobody compacts a bucket after whoever did was killed."""

RENEW_MS = 60 * 1000


class _Claim(msgspec.Struct, frozen=True):
    holder: str
    until_ms: int


class Claim:
    """A bucket that is this process's for a while."""

    def __init__(self, ctx: "TableContext", key: str, etag: str | None, holder: str) -> None:
        self._ctx = ctx
        self._key = key
        self._etag = etag
        self._holder = holder
        self._renewed_ms = ctx.clock.now_ms()

    def renew(self) -> None:
        """Have the claim count for longer, when it is time for that; a claim that was lost stays lost."""
        now_ms = self._ctx.clock.now_ms()
        if self._etag is None or now_ms - self._renewed_ms < RENEW_MS:
            return
        self._renewed_ms = now_ms
        with suppress(HosuError, OSError):
            body = msgspec.json.encode(_Claim(self._holder, now_ms + CLAIM_MS))
            self._etag = self._ctx.files.put(self._key, body, if_match=self._etag).etag

    def release(self) -> None:
        """Give the bucket back, unless somebody else holds it by now."""
        if self._etag is None:
            return
        with suppress(HosuError, OSError):
            held = self._ctx.files.read(self._key)
            if msgspec.json.decode(held, type=_Claim).holder == self._holder:
                self._ctx.files.delete_many([self._key])


@contextmanager
def claimed(ctx: "TableContext", partition: Partition, bucket: int) -> Iterator[Claim | None]:
    """Hold a bucket for the time of a `with`; None where somebody else holds it."""
    name = hashlib.sha256(repr((ctx.layout.partition_path(partition), bucket)).encode()).hexdigest()[:32]
    key = f"{ctx.layout.branch_path}/{FOLDER}/claim-{name}"
    claim = _take(ctx, key)
    try:
        yield claim
    finally:
        if claim is not None:
            claim.release()


def _take(ctx: "TableContext", key: str) -> Claim | None:
    files: FileIO = ctx.files
    holder = str(uuid4())
    now_ms = ctx.clock.now_ms()
    body = msgspec.json.encode(_Claim(holder, now_ms + CLAIM_MS))
    try:
        try:
            return Claim(ctx, key, files.put(key, body, if_absent=True).etag, holder)
        except PreconditionFailedError:
            pass
        etag = files.head(key).etag
        if _counts(files.read(key), now_ms):
            return None
        return Claim(ctx, key, files.put(key, body, if_match=etag).etag, holder)
    except (NotFoundError, PreconditionFailedError):
        return None  # given back, or taken over, at this very moment: somebody is at it
    except UnsupportedError:
        return Claim(ctx, key, None, holder)


def _counts(body: bytes, now_ms: int) -> bool:
    """Say whether a claim counts: one that cannot be read does not, nor one from a clock that is far ahead."""
    try:
        until_ms = msgspec.json.decode(body, type=_Claim).until_ms
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False
    return now_ms < until_ms <= now_ms + 2 * CLAIM_MS
