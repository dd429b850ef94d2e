"""Temporary credentials: an access key, a secret and a token that stop by themselves."""

import json
from collections.abc import Mapping, Sequence

from blake3 import blake3

from hosu.identity import schema
from hosu.identity.keys import check_free, check_parent, check_policy
from hosu.identity.names import check_text, new_access_key, new_secret, new_token
from hosu.identity.records import NewKey
from hosu.identity.vault import Vault
from hosu.kernel.errors import ErrorKind, InvalidInputError
from hosu.objects.transaction import Tx
from hosu.objects.views import View

DURATION_S_MIN, DURATION_S_MAX = 900, 7 * 24 * 3600
DURATION_S = 3600
"""How long credentials last when nobody says."""

EXPIRED_AT_ONCE = 1_000
"""Expired sessions removed in one transaction: other writes wait for it."""


def issue_session(
    tx: Tx,
    vault: Vault,
    parent: str,
    *,
    duration_s: int = DURATION_S,
    policy: str = "",
    claims: Mapping[str, str | Sequence[str]] | None = None,
    policies: Sequence[str] = (),
    name: str = "",
) -> NewKey:
    """Return temporary credentials that borrow the rights of a user or of root, cut by `policy` if it is given.

    With `policies` they have the rights of those instead, and the parent need not be anybody here: so an identity
    provider's users come in. `claims` are what it says of them, for conditions on `jwt:…`. Lasts 900 s to 7 days.
    """
    if not DURATION_S_MIN <= duration_s <= DURATION_S_MAX:
        raise InvalidInputError(
            ErrorKind.INVALID_ARGUMENT,
            f"duration of {duration_s} s: give {DURATION_S_MIN} to {DURATION_S_MAX} (15 minutes to 7 days)",
        )
    check_policy(policy)
    check_text(name, "session name")
    access_key, secret, token = new_access_key(), new_secret(), new_token()
    schema.begin(tx, "IssueSession", access_key)
    if not policies:
        check_parent(tx, vault, parent)
    check_free(tx, access_key)
    expires_ms = tx.now_ms + duration_s * 1000
    # No change of access is announced: nobody remembers that a key is nobody's, so nobody has anything to forget.
    tx.run(
        "INSERT INTO identity_key VALUES (?, ?, 'session', ?, '', ?, ?, ?, 1, ?, NULL, 0, ?, ?, ?)",
        (
            access_key,
            parent,
            name,
            policy,
            json.dumps(list(policies)) if policies else "",
            json.dumps(dict(claims)) if claims else "",
            vault.seal(access_key, secret),
            token_digest(token),
            expires_ms,
            tx.now_ms,
        ),
    )
    return NewKey(access_key, secret, token, expires_ms)


def has_expired(view: View) -> bool:
    """Say whether there are sessions to remove, so that nothing is written where there are none."""
    return (
        schema.value(
            view,
            "SELECT 1 FROM identity_key WHERE expires_ms > 0 AND expires_ms <= ? AND kind = 'session' LIMIT 1",
            (view.now_ms,),
        )
        is not None
    )


def remove_expired(tx: Tx, *, limit: int = EXPIRED_AT_ONCE) -> int:
    """Remove up to limit sessions whose time is over; return how many went. They had stopped by themselves."""
    if not has_expired(tx):
        return 0
    rows = tx.rows(
        "DELETE FROM identity_key WHERE access_key IN (SELECT access_key FROM identity_key "
        "WHERE expires_ms > 0 AND expires_ms <= ? AND kind = 'session' LIMIT ?) RETURNING 1",
        (tx.now_ms, limit),
    )
    return len(rows)


def token_digest(token: str) -> bytes:
    """Return what is kept of a session's token. It is random, so a plain hash says nothing about it."""
    return blake3(token.encode("utf-8", "surrogatepass")).digest()
