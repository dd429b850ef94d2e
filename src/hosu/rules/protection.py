"""Protection: which prefixes are kept from services and rules, and where their second copies are.

What is below a protected prefix is removed or replaced only by root, in process, or by whom a policy allows
`hosu:ChangeProtected`; `hosu.objects.protected` holds that in every transaction. Here the list is changed, which only
root does.
"""

from hosu.kernel.errors import ConflictError, ErrorKind, InvalidInputError, NotFoundError
from hosu.objects.names import check_key
from hosu.objects.protected import ProtectedPrefix, list_protected, set_protected
from hosu.objects.transaction import Tx
from hosu.rules.lifecycle.keeping import expires_below
from hosu.rules.merit import judges_below

ENTRIES_MAX = 1_000
"""The list is read whole, and looked through for each object written in its buckets."""


def protect(tx: Tx, entry: ProtectedPrefix, *, actor: str = "") -> None:
    """Protect a prefix, or give a protected one another place for its copies.

    The place has been checked by who calls. Raises `NotFoundError` for a bucket that is missing, `InvalidInputError`
    for a prefix that cannot be, and `ConflictError` for one that overlaps another, or that a rule would delete from.
    """
    tx.bucket(entry.bucket)
    _check_prefix(entry.prefix)
    others = [one for one in list_protected(tx) if (one.bucket, one.prefix) != (entry.bucket, entry.prefix)]
    if len(others) >= ENTRIES_MAX:
        raise ConflictError(
            ErrorKind.INVALID_ARGUMENT, f"{ENTRIES_MAX} prefixes are protected, the most there can be: end one first"
        )
    for other in others:
        if other.bucket == entry.bucket and _overlap(other.prefix, entry.prefix):
            raise ConflictError(
                ErrorKind.INVALID_ARGUMENT,
                f"prefix {entry.prefix!r} overlaps {other.prefix!r}, which is protected: end that protection first",
                bucket=entry.bucket,
                prefix=entry.prefix,
            )
    for kind, rule in (
        ("lifecycle", expires_below(tx, entry.bucket, entry.prefix)),
        ("merit", judges_below(tx, entry.bucket, entry.prefix)),
    ):
        if rule is not None:
            raise ConflictError(
                ErrorKind.INVALID_ARGUMENT,
                f"the {kind} rule {rule!r} of bucket {entry.bucket!r} would remove what is below {entry.prefix!r}: "
                "change that rule first",
                bucket=entry.bucket,
                prefix=entry.prefix,
            )
    set_protected(tx, [*others, entry], actor=actor)


def unprotect(tx: Tx, bucket: str, prefix: str, *, actor: str = "") -> ProtectedPrefix:
    """End the protection of a prefix; its copies stay for as long as their grace time says."""
    entries = list_protected(tx)
    for entry in entries:
        if (entry.bucket, entry.prefix) == (bucket, prefix):
            set_protected(tx, [one for one in entries if one is not entry], actor=actor)
            return entry
    named = ", ".join(repr(one.prefix) for one in entries if one.bucket == bucket) or "none"
    raise NotFoundError(
        ErrorKind.INVALID_ARGUMENT, f"prefix {prefix!r} of bucket {bucket!r} is not protected; protected there: {named}"
    )


def _check_prefix(prefix: str) -> None:
    if not prefix:
        return  # the whole bucket
    check_key(prefix)
    if "\x00" in prefix:
        raise InvalidInputError(ErrorKind.INVALID_ARGUMENT, f"prefix {prefix!r} must not contain NUL")
    if prefix.startswith("/"):
        raise InvalidInputError(
            ErrorKind.INVALID_ARGUMENT, f"prefix {prefix!r} begins with '/', as keys seldom do: leave it out"
        )


def _overlap(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)
