"""Second copies of what is protected: which bytes need one, what is planned, and what is known of them.

Encrypted and compressed blobs are copied as they are stored.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from hosu.kernel.errors import NotFoundError
from hosu.kernel.settings import Settings
from hosu.objects.audit import Origin
from hosu.objects.blobs import FILE_COLUMNS, BlobRow
from hosu.objects.listing import prefix_end
from hosu.objects.protected import ProtectedPrefix, list_protected, stored_prefixes
from hosu.objects.records import BlobKind
from hosu.objects.store import ObjectStore
from hosu.objects.transaction import Tx
from hosu.objects.views import View
from hosu.rules.days import days_ms
from hosu.rules.planning import Planned

BLOBS: Final = "blobs/"
PRINCIPAL: Final = "hosu:protection"
RULE: Final = "protection"
GRACE_DAYS: Final = 7
"""How long a copy stays when nothing protected has its bytes any more."""

ROWS_PER_PAGE: Final = 1_000
"""Bounds how long one look at the records keeps the database's log from starting over."""


class Need(msgspec.Struct, frozen=True):
    """A stored blob that has to have a copy, and one version of an object that it belongs to."""

    blob: BlobRow
    bucket: str
    key: str
    version_id: str

    @property
    def digest(self) -> bytes:
        """BLAKE3 of the stored bytes: the copy's name."""
        return self.blob.digest or b""


def copy_key(digest: bytes) -> str:
    """Return the key of a copy in its location."""
    name = digest.hex()
    return f"{BLOBS}{name[:2]}/{name}"


# What needs a copy


def locations(view: View) -> dict[str, list[ProtectedPrefix]]:
    """Return the protected prefixes that have a location, by it."""
    found: dict[str, list[ProtectedPrefix]] = {}
    for entry in list_protected(view):
        if entry.copy:
            found.setdefault(entry.copy, []).append(entry)
    return found


def prefixes_of(view: View, entries: Iterable[ProtectedPrefix]) -> dict[str, tuple[str, ...]]:
    """Return by bucket below which prefixes entries have objects stored, those that aliases show included."""
    named: dict[str, list[str]] = {}
    for entry in entries:
        named.setdefault(entry.bucket, []).append(entry.prefix)
    found = {}
    for name, prefixes in named.items():
        with view.snapshot():
            try:
                found[name] = _outermost(stored_prefixes(view, view.bucket(name), prefixes))
            except NotFoundError:  # removed since
                continue
    return found


def _outermost(prefixes: Sequence[str]) -> tuple[str, ...]:
    return tuple(prefix for prefix in prefixes if not any(prefix != it and prefix.startswith(it) for it in prefixes))


def needs_below(view: View, bucket: str, prefixes: Sequence[str]) -> Iterator[Need]:
    """Yield what has to have a copy below prefixes: the blobs of every version. A blob may come more than once."""
    for prefix in prefixes:
        for _, record in versions_below(view, bucket, prefix):
            yield from _needs_of(view, bucket, *record)


def needs_of_key(view: View, bucket: str, key: str) -> Iterator[Need]:
    """Yield what has to have a copy of one key: the blobs of every version."""
    try:
        bucket_id = view.bucket(bucket).id
    except NotFoundError:
        return
    for table in ("object", "version"):
        statement = f"SELECT version_id, blob_id FROM {table} WHERE bucket_id = ? AND key = ?"
        for version_id, blob_id in view.rows(statement, (bucket_id, key)):
            if blob_id is not None:
                yield from _needs_of(view, bucket, key, version_id, blob_id)


def _needs_of(view: View, bucket: str, key: str, version_id: str, blob_id: int) -> Iterator[Need]:
    for blob in stored_blobs(view, blob_id):
        if blob.digest is not None:
            yield Need(blob, bucket, key, version_id)


def stored_blobs(view: View, blob_id: int) -> Iterator[BlobRow]:
    """Yield the blobs that have the bytes of a blob: itself, or those it is composed of; no bytes with them."""
    row = view.row(f"SELECT {FILE_COLUMNS} FROM blob WHERE id = ?", (blob_id,))
    if row is None:
        return
    found = BlobRow(*row)
    if found.kind != BlobKind.COMPOSED:
        yield found
        return
    children = view.rows("SELECT DISTINCT child_id FROM segment WHERE blob_id = ? ORDER BY 1", (blob_id,))
    for (child_id,) in children:
        child = view.row(f"SELECT {FILE_COLUMNS} FROM blob WHERE id = ?", (child_id,))
        if child is not None:
            yield BlobRow(*child)


def versions_below(view: View, bucket: str, prefix: str) -> Iterator[tuple[str, tuple[str, str, int]]]:
    """Yield (table, (key, version id, blob id)) of all versions below a prefix that have bytes, a page at a time."""
    try:
        bucket_id = view.bucket(bucket).id
    except NotFoundError:
        return
    for table in ("object", "version"):
        lower = prefix
        while True:
            page = _page(view, table, bucket_id, lower, prefix_end(prefix))
            is_whole = len(page) < ROWS_PER_PAGE
            last = page[-1][0] if page else ""
            if not is_whole and page[0][0] == last:  # one key with so many versions
                statement = f"SELECT key, version_id, blob_id FROM {table} WHERE bucket_id = ? AND key = ?"
                page, lower = view.rows(statement, (bucket_id, last)), last + "\0"
            elif not is_whole:
                page, lower = [row for row in page if row[0] != last], last
            for key, version_id, blob_id in page:
                if blob_id is not None:
                    yield table, (key, version_id, blob_id)
            if is_whole:
                break


def _page(view: View, table: str, bucket_id: int, lower: str, upper: str | None) -> list[tuple[Any, ...]]:
    values: tuple[object, ...] = (bucket_id, lower) if upper is None else (bucket_id, lower, upper)
    below = "" if upper is None else "AND key < ?"
    statement = (
        f"SELECT key, version_id, blob_id FROM {table} WHERE bucket_id = ? AND key >= ? {below} "
        f"ORDER BY key LIMIT {ROWS_PER_PAGE}"
    )
    return view.rows(statement, values)


# Records of copies


def record_copies(tx: Tx, number: int, location: str, needs: Sequence[Need]) -> None:
    """Note copies that were written and read back, with a line of the audit log for each."""
    for position, need in enumerate(needs):
        _act(tx, "Copy", need.bucket, need.key, f"second copy of a protected object in {location}", position)
        tx.run(
            "INSERT OR REPLACE INTO copy VALUES (?, ?, ?, ?, 0)",
            (number, need.digest, need.blob.stored_bytes, tx.now_ms),
        )


def forget_copies(tx: Tx, number: int, digests: Sequence[bytes], reason: str) -> None:
    """Note that copies are no longer in a location, with a line of the audit log for each."""
    for position, digest in enumerate(digests):
        _act(tx, "RemoveCopy", "", copy_key(digest), reason, position)
        tx.run("DELETE FROM copy WHERE location_id = ? AND hash = ?", (number, digest))


def _act(tx: Tx, action: str, bucket: str, key: str, reason: str, position: int) -> None:
    if position:
        tx.end_verb()  # the writer ends the last one
    tx.begin_verb(Origin("", f"{RULE}:{action}", PRINCIPAL, bucket=bucket, key=key, reason=reason))


def known_copies(view: View, number: int) -> dict[bytes, tuple[int, int, int]]:
    """Return (size, verified, unneeded since) of a location's copies by hash."""
    statement = "SELECT hash, size_bytes, verified_ms, unneeded_ms FROM copy WHERE location_id = ?"
    return {row[0]: row[1:] for row in view.each(statement, (number,))}


# Plans


def plan_copies(store: ObjectStore, settings: Settings) -> Iterator[Planned]:
    """Yield what is to be copied, and which copies are to be removed; looks at the lake alone, not at locations."""
    view = store.view()
    for location, entries in locations(view).items():
        number = view.value("SELECT id FROM copy_location WHERE location = ?", (location,)) or 0
        known, planned = known_copies(view, number), set()
        for bucket, prefixes in prefixes_of(view, entries).items():
            for need in needs_below(view, bucket, prefixes):
                if need.digest in known or need.digest in planned:
                    continue
                planned.add(need.digest)
                yield Planned(
                    rule=RULE, action="Copy", bucket=bucket, key=need.key, version_id=need.version_id,
                    size_bytes=need.blob.stored_bytes, reason=f"protected, and {location} has no copy of it",
                )  # fmt: skip
    end_ms = store.clock.now_ms() - days_ms(settings, GRACE_DAYS)
    statement = (
        "SELECT location, hash, size_bytes FROM copy JOIN copy_location ON id = location_id "
        "WHERE unneeded_ms > 0 AND unneeded_ms <= ?"
    )
    for location, digest, size_bytes in view.rows(statement, (end_ms,)):
        yield Planned(
            rule=RULE, action="RemoveCopy", bucket="", key=copy_key(digest), size_bytes=size_bytes,
            reason=f"nothing protected has these bytes for {GRACE_DAYS} days; the copy is in {location}",
        )  # fmt: skip
