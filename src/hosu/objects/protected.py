"""Protected prefixes: what is stored below one is removed or replaced by nobody who has not the right to just that.

The list is a document of the lake. An alias is looked through: where it stands below a protected prefix, what it shows
is protected where it is stored. `hosu.rules.protection` changes the list.
"""

import threading
from collections.abc import Callable, Sequence
from functools import lru_cache

import msgspec

from hosu.kernel.errors import ConflictError, CorruptError, ErrorKind
from hosu.objects.aliases import list_aliases
from hosu.objects.generation import Generation
from hosu.objects.lake_documents import get_lake_document, set_lake_document
from hosu.objects.records import Bucket
from hosu.objects.transaction import Tx
from hosu.objects.views import View

DOCUMENT = "protection"
"""Kind of the lake's document that lists them."""

CHANGE_PROTECTED = "hosu:ChangeProtected"
"""What policies call the right to remove and replace what is protected."""


class ProtectedPrefix(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entry of the list. `copy` is where a second copy is kept: a folder or an S3 URL; empty for none."""

    bucket: str
    prefix: str
    copy: str = ""


def list_protected(view: View) -> tuple[ProtectedPrefix, ...]:
    """Return the protected prefixes of the lake, by bucket and prefix."""
    text = get_lake_document(view, DOCUMENT)
    return () if text is None else _decode(text)


def set_protected(tx: Tx, entries: Sequence[ProtectedPrefix], *, actor: str = "") -> None:
    """Replace the list; the caller has checked it. Every bucket's count is made right in the same transaction."""
    before = {entry.bucket for entry in list_protected(tx)}
    ordered = sorted(entries, key=lambda entry: (entry.bucket, entry.prefix))
    set_lake_document(tx, DOCUMENT, msgspec.json.encode(ordered).decode() if ordered else None, actor=actor)
    for name in before | {entry.bucket for entry in ordered}:
        count = sum(entry.bucket == name for entry in ordered)
        tx.run("UPDATE bucket SET protected = ? WHERE name = ?", (count, name))
        tx.forget_bucket(name)


@lru_cache(maxsize=4)
def _decode(text: str) -> tuple[ProtectedPrefix, ...]:
    try:
        return tuple(msgspec.json.decode(text, type=list[ProtectedPrefix]))
    except msgspec.MsgspecError as error:
        raise CorruptError(ErrorKind.CORRUPT_LAKE, f"the list of protected prefixes cannot be read: {error}") from error


def protected_prefixes(view: View, bucket_name: str) -> tuple[str, ...]:
    """Return the prefixes of a bucket that the list names. No rule that removes may be made for what is below them."""
    return tuple(entry.prefix for entry in list_protected(view) if entry.bucket == bucket_name)


def guarded_prefixes(view: View, bucket: Bucket) -> tuple[str, ...]:
    """Return what is kept from rules and services: the prefixes of the list, and what aliases show below them."""
    return stored_prefixes(view, bucket, protected_prefixes(view, bucket.name)) if bucket.protected else ()


def stored_prefixes(view: View, bucket: Bucket, prefixes: Sequence[str]) -> tuple[str, ...]:
    """Return prefixes and, beside them, where that is stored which aliases show below them."""
    shown = []
    for alias in list_aliases(view, bucket):
        for prefix in prefixes:
            if alias.prefix.startswith(prefix):
                shown.append(alias.target)
            elif prefix.startswith(alias.prefix):
                shown.append(alias.target + prefix[len(alias.prefix) :])
    return tuple(dict.fromkeys((*prefixes, *shown)))


def find_guarded(view: View, bucket: Bucket, key: str) -> str | None:
    """Return the protected prefix that a stored key is below, or None."""
    return next((prefix for prefix in guarded_prefixes(view, bucket) if key.startswith(prefix)), None)


def check_may_change(tx: Tx, bucket: Bucket, key: str, what: str) -> None:
    """Refuse to do to a stored object what `what` says (`removed`, `replaced`) if its prefix is to be spared."""
    if not (tx.spares_protected and bucket.protected):
        return
    prefix = find_guarded(tx, bucket, key)
    if prefix is not None:
        raise ConflictError(
            ErrorKind.PROTECTED,
            f"{key!r} is below the protected prefix {prefix!r} and may not be {what}: only root may, and whom a "
            f"policy allows {CHANGE_PROTECTED} on arn:aws:s3:::{bucket.name}/{key}",
            bucket=bucket.name,
            key=key,
            prefix=prefix,
            action=CHANGE_PROTECTED,
        )


class ProtectedObjects:
    """Which objects are protected, read once until that may have changed; asked for every object read or written."""

    def __init__(self, view: Callable[[], View], generation: Generation) -> None:
        self._view = view
        self._generation = generation
        self._kept: tuple[int, dict[str, tuple[str, ...]]] = (-1, {})
        self._lock = threading.Lock()

    def covers(self, bucket: str, key: str) -> bool:
        """Say whether an object is protected, named by the key it is stored under or by one that an alias gives it."""
        number, prefixes = self._kept
        if number != self._generation.number():
            prefixes = self._read()
        if not prefixes:
            return False
        found = prefixes.get(bucket)
        return found is not None and key.startswith(found)

    def _read(self) -> dict[str, tuple[str, ...]]:
        with self._lock:
            number = self._generation.number()
            if number != self._kept[0]:
                view = self._view()
                is_past = view.connection.in_transaction  # a reader's moment, which may be before the last change
                with view.snapshot():
                    wanted = {entry.bucket for entry in list_protected(view)}
                    buckets = [view.bucket(name) for (name,) in view.rows("SELECT name FROM bucket") if name in wanted]
                    found = {bucket.name: _names(view, bucket) for bucket in buckets}
                if is_past:
                    return found
                self._kept = (number, found)
            return self._kept[1]


def _names(view: View, bucket: Bucket) -> tuple[str, ...]:
    """Return every prefix by which protected objects can be asked for."""
    guarded = guarded_prefixes(view, bucket)
    names = list(guarded)
    for alias in list_aliases(view, bucket):
        for prefix in guarded:
            if alias.target.startswith(prefix):
                names.append(alias.prefix)
            elif prefix.startswith(alias.target):
                names.append(alias.prefix + prefix[len(alias.target) :])
    return tuple(names)
