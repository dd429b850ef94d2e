"""Verbs on users."""

import hmac
from functools import cache
from typing import TYPE_CHECKING

from hosu.identity import schema
from hosu.identity.names import check_secret
from hosu.identity.records import User
from hosu.identity.vault import Vault
from hosu.kernel.errors import ConflictError, ErrorKind, NotFoundError
from hosu.objects.transaction import Tx
from hosu.objects.views import View

if TYPE_CHECKING:
    from argon2 import PasswordHasher


def put_user(tx: Tx, vault: Vault, name: str, secret: str, *, is_enabled: bool = True) -> User:
    """Make a user, or replace the secret of one; policies, groups, password and keys stay.

    A secret that was replaced stops at once; `rotate_secret` lets both be valid for a while.
    """
    vault.check_new(name, "user")
    check_secret(secret)
    schema.begin(tx, "PutUser", name)
    if tx.value("SELECT 1 FROM identity_key WHERE access_key = ?", (name,)):
        raise ConflictError(
            ErrorKind.ACCESS_KEY_EXISTS, f"user {name!r}: a service account or session has this access key", name=name
        )
    _check_not_root_once(tx, name)
    tx.run(
        "INSERT INTO identity_user VALUES (?, ?, ?, NULL, 0, '', ?) ON CONFLICT (name) DO UPDATE SET "
        "is_enabled = excluded.is_enabled, secret = excluded.secret, old_secret = NULL, old_until_ms = 0, "
        "updated_ms = excluded.updated_ms",
        (name, is_enabled, vault.seal(name, secret), tx.now_ms),
    )
    tx.change_access()
    return get_user(tx, name)


def has_secret(view: View, vault: Vault, name: str, secret: str) -> bool:
    """Whether a user is there and has this secret; one that was rotated out does not count."""
    sealed = schema.value(view, "SELECT secret FROM identity_user WHERE name = ?", (name,))
    if sealed is None or not secret:
        return False
    return hmac.compare_digest(vault.unseal(name, sealed).encode(), secret.encode())


def set_user_enabled(tx: Tx, name: str, is_enabled: bool) -> None:  # noqa: FBT001 - the verb names it
    """Let a user's keys and sessions in again, or refuse all of them from now on."""
    _begin(tx, "EnableUser" if is_enabled else "DisableUser", name)
    tx.run("UPDATE identity_user SET is_enabled = ?, updated_ms = ? WHERE name = ?", (is_enabled, tx.now_ms, name))
    tx.change_access()


def remove_user(tx: Tx, name: str) -> None:
    """Remove a user with its keys, sessions, memberships and attached policies."""
    _begin(tx, "RemoveUser", name)
    tx.run("DELETE FROM identity_key WHERE parent = ?", (name,))
    tx.run("DELETE FROM identity_member WHERE user_name = ?", (name,))
    tx.run("DELETE FROM identity_attachment WHERE kind = 'user' AND entity = ?", (name,))
    tx.run("DELETE FROM identity_user WHERE name = ?", (name,))
    tx.change_access()


def get_user(view: View, name: str) -> User:
    """Return a user; raises `NotFoundError`."""
    row = schema.row(
        view, "SELECT name, is_enabled, updated_ms, password <> '' FROM identity_user WHERE name = ?", (name,)
    )
    if row is None:
        raise user_not_found(name)
    policies = view.rows(
        "SELECT policy FROM identity_attachment WHERE kind = 'user' AND entity = ? ORDER BY policy", (name,)
    )
    groups = view.rows("SELECT group_name FROM identity_member WHERE user_name = ? ORDER BY group_name", (name,))
    return User(
        row[0],
        bool(row[1]),
        tuple(policy for (policy,) in policies),
        tuple(group for (group,) in groups),
        row[2],
        bool(row[3]),
    )


def list_users(view: View) -> list[User]:
    """Return all users by name."""
    policies: dict[str, list[str]] = {}
    groups: dict[str, list[str]] = {}
    with view.snapshot():
        users = schema.rows(
            view, "SELECT name, is_enabled, updated_ms, password <> '' FROM identity_user ORDER BY name"
        )
        for name, policy in schema.rows(
            view, "SELECT entity, policy FROM identity_attachment WHERE kind = 'user' ORDER BY entity, policy"
        ):
            policies.setdefault(name, []).append(policy)
        for name, group in schema.rows(
            view, "SELECT user_name, group_name FROM identity_member ORDER BY user_name, group_name"
        ):
            groups.setdefault(name, []).append(group)
    return [
        User(
            name,
            bool(is_enabled),
            tuple(policies.get(name, ())),
            tuple(groups.get(name, ())),
            updated_ms,
            bool(has_password),
        )
        for name, is_enabled, updated_ms, has_password in users
    ]


def list_user_names(view: View) -> list[str]:
    """Return the names of all users."""
    return [name for (name,) in schema.rows(view, "SELECT name FROM identity_user")]


def hash_password(password: str) -> str:
    """Return the Argon2id hash of a password, for `set_password`. Takes some 50 ms of CPU: not in a transaction."""
    check_secret(password, "password")
    return _hasher().hash(password)


def set_password(tx: Tx, name: str, password: str) -> None:
    """Set the password a user signs in to the console with; empty to remove it."""
    store_password(tx, name, hash_password(password) if password else "")


def store_password(tx: Tx, name: str, password_hash: str) -> None:
    """As `set_password`, with what `hash_password` returned, so that no other write waits for the hashing."""
    _begin(tx, "SetPassword", name)
    tx.run("UPDATE identity_user SET password = ?, updated_ms = ? WHERE name = ?", (password_hash, tx.now_ms, name))
    tx.change_access()


def check_password(view: View, name: str, password: str) -> bool:
    """Say whether this is the password of a user who is enabled. Takes the same time whoever is asked for."""
    from argon2.exceptions import InvalidHashError, VerificationError  # noqa: PLC0415 - as below

    row = schema.row(view, "SELECT password, is_enabled FROM identity_user WHERE name = ?", (name,))
    stored = row[0] if row is not None and row[0] else ""
    try:
        _hasher().verify(stored or _nobody(), password)
    except (VerificationError, InvalidHashError):
        return False
    return bool(stored) and row is not None and bool(row[1])


@cache
def _hasher() -> "PasswordHasher":
    """Return Argon2id with the library's own costs: some 50 ms and 64 MiB for each password tried."""
    from argon2 import PasswordHasher  # noqa: PLC0415 - most processes never see a password

    return PasswordHasher()


@cache
def _nobody() -> str:
    """Return a hash for those who have no password, so that the time taken does not tell who has one."""
    return _hasher().hash("")


def _check_not_root_once(tx: Tx, name: str) -> None:
    """Refuse a new user with the name of a former root whose keys are still there: they would be the user's."""
    is_new = tx.value("SELECT 1 FROM identity_user WHERE name = ?", (name,)) is None
    if is_new and tx.value("SELECT 1 FROM identity_key WHERE parent = ? LIMIT 1", (name,)):
        raise ConflictError(
            ErrorKind.ACCESS_KEY_EXISTS,
            f"user {name!r}: access keys of a former root of this name are still there: remove them first",
            name=name,
        )


def _begin(tx: Tx, verb: str, name: str) -> None:
    """Begin a verb about a user who is there."""
    schema.begin(tx, verb, name)
    if tx.value("SELECT 1 FROM identity_user WHERE name = ?", (name,)) is None:
        raise user_not_found(name)


def user_not_found(name: str) -> NotFoundError:
    """Return the error for a user that is not there."""
    return NotFoundError(ErrorKind.USER_NOT_FOUND, f"there is no user {name!r}", name=name)
