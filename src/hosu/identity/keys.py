"""Verbs on access keys: service accounts, which borrow the rights of a user or of root, and rotation of secrets."""

from typing import Any

from hosu.identity import schema
from hosu.identity.names import check_secret, check_text, new_access_key, new_secret
from hosu.identity.policy import PolicyKind, parse_policy
from hosu.identity.records import AccessKey, KeyKind, NewKey
from hosu.identity.users import user_not_found
from hosu.identity.vault import Vault
from hosu.kernel.errors import ConflictError, ErrorKind, InvalidInputError, NotFoundError
from hosu.objects.transaction import Tx
from hosu.objects.views import View

OVERLAP_MS_MAX = 365 * 24 * 3600 * 1000
"""Longest that a replaced secret goes on: what is longer is no rotation."""

EXPIRES_MS_MAX = 253_402_300_799_999
"""The end of the year 9999: nobody could write down, or list, a later time."""

COLUMNS = "access_key, parent, kind, name, description, policy, is_enabled, expires_ms, created_ms"


def create_key(
    tx: Tx,
    vault: Vault,
    parent: str,
    *,
    access_key: str = "",
    secret: str = "",
    policy: str = "",
    name: str = "",
    description: str = "",
    expires_ms: int = 0,
) -> NewKey:
    """Make a service account of a user, or of root. What is left empty is generated; `policy` cuts the parent's rights.

    Raises `ConflictError` when the access key is taken, `NotFoundError` for a parent who is not there.
    """
    if access_key:
        vault.check_new(access_key)
    if secret:
        check_secret(secret)
    check_policy(policy)
    check_text(name, "name")
    check_text(description, "description")
    check_expiry(tx, expires_ms)
    access_key = access_key or new_access_key()
    schema.begin(tx, "CreateKey", access_key)
    check_parent(tx, vault, parent)
    secret = secret or new_secret()
    check_free(tx, access_key)
    tx.run(
        "INSERT INTO identity_key VALUES (?, ?, 'service', ?, ?, ?, '', '', 1, ?, NULL, 0, x'', ?, ?)",
        (access_key, parent, name, description, policy, vault.seal(access_key, secret), expires_ms, tx.now_ms),
    )
    tx.change_access()
    return NewKey(access_key, secret, expires_ms=expires_ms)


def update_key(
    tx: Tx,
    vault: Vault,
    access_key: str,
    *,
    secret: str | None = None,
    policy: str | None = None,
    is_enabled: bool | None = None,
    name: str | None = None,
    description: str | None = None,
    expires_ms: int | None = None,
) -> AccessKey:
    """Change what is given of a service account. A secret that was replaced stops at once."""
    if secret is not None:
        check_secret(secret)
    check_policy(policy or "")
    check_text(name or "", "name")
    check_text(description or "", "description")
    check_expiry(tx, expires_ms or 0)
    schema.begin(tx, "UpdateKey", access_key)
    _check_service(tx, access_key)
    changes: dict[str, object] = {
        "policy": policy, "is_enabled": is_enabled, "name": name, "description": description, "expires_ms": expires_ms,
    }  # fmt: skip
    if secret is not None:
        changes |= {"secret": vault.seal(access_key, secret), "old_until_ms": 0}
    given = {column: value for column, value in changes.items() if value is not None}
    for column, value in given.items():
        tx.run(f"UPDATE identity_key SET {column} = ? WHERE access_key = ?", (value, access_key))
    if secret is not None:
        tx.run("UPDATE identity_key SET old_secret = NULL WHERE access_key = ?", (access_key,))
    tx.change_access()
    return get_key(tx, access_key)


def remove_key(tx: Tx, access_key: str) -> None:
    """Remove a service account, or end a session."""
    schema.begin(tx, "RemoveKey", access_key)
    removed = tx.value("DELETE FROM identity_key WHERE access_key = ? RETURNING 1", (access_key,))
    if removed is None:
        raise key_not_found(access_key)
    tx.change_access()


def get_key(view: View, access_key: str) -> AccessKey:
    """Return a service account or session; raises `NotFoundError`."""
    row = schema.row(view, f"SELECT {COLUMNS} FROM identity_key WHERE access_key = ?", (access_key,))
    if row is None:
        raise key_not_found(access_key)
    return _from_row(row)


def list_keys(view: View, parent: str | None = None, kind: KeyKind | None = None) -> list[AccessKey]:
    """Return the keys of a parent, or of all of them, by parent and access key; expired sessions are left out."""
    rows = schema.rows(
        view,
        f"SELECT {COLUMNS} FROM identity_key WHERE (?1 IS NULL OR parent = ?1) AND (?2 IS NULL OR kind = ?2) "
        "AND (kind = 'service' OR expires_ms > ?3) ORDER BY parent, access_key",
        (parent, kind, view.now_ms),
    )
    return [_from_row(row) for row in rows]


def rotate_secret(tx: Tx, vault: Vault, access_key: str, *, secret: str = "", overlap_ms: int = 0) -> NewKey:
    """Give a user or service account a new secret, generated unless given; the old one goes on for `overlap_ms`.

    Rotated again within that time, the secret before the last stops at once.
    """
    if not 0 <= overlap_ms <= OVERLAP_MS_MAX:
        raise InvalidInputError(
            ErrorKind.INVALID_ARGUMENT, f"overlap of {overlap_ms} ms: give 0 to {OVERLAP_MS_MAX} (365 days)"
        )
    if secret:
        check_secret(secret)
    schema.begin(tx, "RotateSecret", access_key)
    table, column = "identity_user", "name"
    if tx.value("SELECT 1 FROM identity_user WHERE name = ?", (access_key,)) is None:
        _check_service(tx, access_key)
        table, column = "identity_key", "access_key"
    secret = secret or new_secret()
    until_ms = tx.now_ms + overlap_ms if overlap_ms else 0
    tx.run(
        f"UPDATE {table} SET old_secret = CASE WHEN ?1 > 0 THEN secret END, old_until_ms = ?1, secret = ?2 "
        f"WHERE {column} = ?3",
        (until_ms, vault.seal(access_key, secret), access_key),
    )
    tx.change_access()
    return NewKey(access_key, secret)


def check_policy(policy: str) -> None:
    """Refuse a policy that cuts rights and cannot be read."""
    if policy:
        parse_policy(policy, PolicyKind.IDENTITY)


def check_expiry(view: View, expires_ms: int) -> None:
    """Refuse an expiry that has passed; 0 is never."""
    if expires_ms and expires_ms <= view.now_ms:
        raise InvalidInputError(
            ErrorKind.INVALID_ARGUMENT,
            f"expiry {expires_ms} ms is not in the future: give a later time, or 0 for never",
        )
    if expires_ms > EXPIRES_MS_MAX:
        raise InvalidInputError(
            ErrorKind.INVALID_ARGUMENT,
            f"expiry {expires_ms} ms is past the year 9999: give an earlier time, or 0 for never",
        )


def check_parent(tx: Tx, vault: Vault, parent: str) -> None:
    """Refuse a parent who is neither root nor a user."""
    is_root = bool(parent) and parent == vault.root_name
    if not is_root and tx.value("SELECT 1 FROM identity_user WHERE name = ?", (parent,)) is None:
        raise user_not_found(parent)


def check_free(tx: Tx, access_key: str) -> None:
    """Refuse an access key that somebody has."""
    for table, column in (("identity_user", "name"), ("identity_key", "access_key")):
        if tx.value(f"SELECT 1 FROM {table} WHERE {column} = ?", (access_key,)):
            raise ConflictError(
                ErrorKind.ACCESS_KEY_EXISTS,
                f"access key {access_key!r} is taken: choose another",
                access_key=access_key,
            )


def _check_service(tx: Tx, access_key: str) -> None:
    kind = tx.value("SELECT kind FROM identity_key WHERE access_key = ?", (access_key,))
    if kind is None:
        raise key_not_found(access_key)
    if kind != "service":
        raise ConflictError(
            ErrorKind.INVALID_ARGUMENT,
            f"access key {access_key!r} is a session's: it stays as it was issued, and can only be removed",
        )


def _from_row(row: tuple[Any, ...]) -> AccessKey:
    access_key, parent, kind, name, description, policy, is_enabled, expires_ms, created_ms = row
    return AccessKey(access_key, parent, kind, name, description, policy, bool(is_enabled), expires_ms, created_ms)


def key_not_found(access_key: str) -> NotFoundError:
    """Return the error for an access key that is nobody's."""
    return NotFoundError(
        ErrorKind.ACCESS_KEY_NOT_FOUND, f"there is no access key {access_key!r}", access_key=access_key
    )
