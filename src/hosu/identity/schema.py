"""The tables of identity, made when the first user, group, policy or key is; before that, reads find nothing."""

from collections.abc import Sequence
from typing import Any

import apsw

from hosu.kernel.auth import IN_PROCESS
from hosu.objects.audit import IN_PROCESS_PREFIX, Origin
from hosu.objects.transaction import Tx
from hosu.objects.views import View

DDL = """
CREATE TABLE IF NOT EXISTS identity_user (
  name TEXT PRIMARY KEY,
  is_enabled INTEGER NOT NULL,
  secret BLOB NOT NULL,            -- sealed
  old_secret BLOB,                 -- sealed; signs until old_until_ms
  old_until_ms INTEGER NOT NULL,
  password TEXT NOT NULL,          -- Argon2id; empty for none
  updated_ms INTEGER NOT NULL
) WITHOUT ROWID, STRICT;

CREATE TABLE IF NOT EXISTS identity_group (
  name TEXT PRIMARY KEY,
  is_enabled INTEGER NOT NULL,
  updated_ms INTEGER NOT NULL
) WITHOUT ROWID, STRICT;

CREATE TABLE IF NOT EXISTS identity_member (
  group_name TEXT NOT NULL,
  user_name TEXT NOT NULL,
  PRIMARY KEY (group_name, user_name)
) WITHOUT ROWID, STRICT;
CREATE INDEX IF NOT EXISTS identity_member_by_user ON identity_member (user_name);

CREATE TABLE IF NOT EXISTS identity_policy (
  name TEXT PRIMARY KEY,
  text TEXT NOT NULL,              -- as it was given
  created_ms INTEGER NOT NULL,
  updated_ms INTEGER NOT NULL
) WITHOUT ROWID, STRICT;

CREATE TABLE IF NOT EXISTS identity_attachment (
  kind TEXT NOT NULL,              -- 'user' or 'group'
  entity TEXT NOT NULL,
  policy TEXT NOT NULL,
  PRIMARY KEY (kind, entity, policy)
) WITHOUT ROWID, STRICT;
CREATE INDEX IF NOT EXISTS identity_attachment_by_policy ON identity_attachment (policy);

CREATE TABLE IF NOT EXISTS identity_key (
  access_key TEXT PRIMARY KEY,
  parent TEXT NOT NULL,
  kind TEXT NOT NULL,              -- 'service' or 'session'
  name TEXT NOT NULL,
  description TEXT NOT NULL,
  policy TEXT NOT NULL,            -- cuts the parent's rights; empty to leave them whole
  policies TEXT NOT NULL,          -- JSON list of names: the rights of a session that has no parent here
  claims TEXT NOT NULL,            -- JSON object: what an identity provider says about a session
  is_enabled INTEGER NOT NULL,
  secret BLOB NOT NULL,            -- sealed
  old_secret BLOB,                 -- sealed; signs until old_until_ms
  old_until_ms INTEGER NOT NULL,
  token BLOB NOT NULL,             -- BLAKE3 of a session's token; empty for service keys
  expires_ms INTEGER NOT NULL,     -- 0 for never
  created_ms INTEGER NOT NULL
) WITHOUT ROWID, STRICT;
CREATE INDEX IF NOT EXISTS identity_key_by_parent ON identity_key (parent, kind);
CREATE INDEX IF NOT EXISTS identity_key_by_expiry ON identity_key (expires_ms) WHERE expires_ms > 0;
"""

_LAST = "identity_key_by_expiry"


def begin(tx: Tx, verb: str, subject: str) -> None:
    """Make the tables where they are missing, and name the verb for the audit log unless its caller has.

    Every verb that writes begins with this. `subject` is the name of what it is about.
    """
    if tx.origin is None:
        tx.origin = Origin("", IN_PROCESS_PREFIX + verb, IN_PROCESS.name, key=subject)
    if tx.value("SELECT 1 FROM sqlite_schema WHERE name = ?", (_LAST,)) is None:
        tx.run(DDL)


def rows(view: View, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Return all rows; none before the tables are made."""
    try:
        return view.rows(statement, values)
    except apsw.SQLError as error:
        if _is_unmade(error):
            return []
        raise


def row(view: View, statement: str, values: Sequence[Any] = ()) -> tuple[Any, ...] | None:
    """Return the first row, or None; None before the tables are made."""
    try:
        return view.row(statement, values)
    except apsw.SQLError as error:
        if _is_unmade(error):
            return None
        raise


def value(view: View, statement: str, values: Sequence[Any] = ()) -> Any:  # noqa: ANN401 - a database value
    """Return the first column of the first row, or None; None before the tables are made."""
    found = row(view, statement, values)
    return None if found is None else found[0]


def _is_unmade(error: apsw.SQLError) -> bool:
    return "no such table: identity_" in str(error)
