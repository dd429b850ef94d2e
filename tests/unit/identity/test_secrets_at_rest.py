"""No secret can be read from the lake's files, nor from what identity shows or says."""

from pathlib import Path

import pytest
from tests.unit.identity.conftest import Commit, People

from hosu.identity.keys import create_key, get_key, list_keys, rotate_secret
from hosu.identity.sessions import issue_session
from hosu.identity.users import get_user, list_users, put_user, set_password
from hosu.kernel.errors import CorruptError
from hosu.objects.audit import read_outbox
from hosu.objects.store import ObjectStore

GIVEN = ("first-secret-of-alice", "secret-of-the-robot-1", "password-of-alice-1", "newer-secret-of-alice")


def files_of(lake: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(lake.rglob("*")) if path.is_file())


def test_no_file_of_the_lake_holds_a_secret_or_token(people: People, store: ObjectStore, commit: Commit) -> None:
    vault = people.authority.vault
    commit(put_user, vault, "alice", GIVEN[0])
    commit(create_key, vault, "alice", access_key="robot", secret=GIVEN[1])
    commit(set_password, "alice", GIVEN[2])
    commit(rotate_secret, vault, "alice", secret=GIVEN[3], overlap_ms=1000)
    session = commit(issue_session, vault, "alice")
    generated = commit(create_key, vault, "alice")
    secrets = [*GIVEN, session.secret, session.token, generated.secret]
    assert people.authority.secrets("alice") == (GIVEN[3], GIVEN[0])
    held = files_of(store.path)
    store.close()
    held += files_of(store.path)
    assert b"alice" in held, "what may be read is found this way"
    assert [secret for secret in secrets if secret.encode() in held] == []


def test_nothing_that_is_shown_holds_a_secret_or_token(people: People, store: ObjectStore, commit: Commit) -> None:
    vault = people.authority.vault
    commit(put_user, vault, "alice", GIVEN[0])
    commit(set_password, "alice", GIVEN[2])
    key = commit(create_key, vault, "alice", access_key="robot", secret=GIVEN[1])
    session = commit(issue_session, vault, "alice")
    view, authority = store.view(), people.authority
    account = authority._now().account("robot")
    assert account is not None
    assert account.secret == GIVEN[1]
    shown = repr(
        [
            key, session, get_user(view, "alice"), list_users(view), get_key(view, "robot"), list_keys(view), authority,
            vault, account, account.principal, account.rights, authority.explain("robot", "s3:GetObject", "images/a"),
            [row.body for row in read_outbox(view, 0, 100)],
        ]
    )  # fmt: skip
    assert "robot" in shown
    assert [secret for secret in (*GIVEN, session.secret, session.token) if secret in shown] == []


def test_a_sealed_secret_opens_for_its_own_access_key_alone(people: People, store: ObjectStore, commit: Commit) -> None:
    for name in ("alice", "mallory"):
        people.add(name)
    commit(
        lambda tx: tx.run(
            "UPDATE identity_user SET secret = (SELECT secret FROM identity_user WHERE name = 'mallory') "
            "WHERE name = 'alice'"
        )
    )
    commit(lambda tx: tx.change_access())
    with pytest.raises(CorruptError):
        people.authority.secrets("alice")
    assert people.authority.secrets("mallory")
    assert store.view().value("SELECT count(*) FROM identity_user") == 2


def test_verbs_leave_a_line_for_the_audit_log(people: People, store: ObjectStore, commit: Commit) -> None:
    vault = people.authority.vault
    before = read_outbox(store.view(), 0, 1000)
    commit(put_user, vault, "alice", GIVEN[0])
    session = commit(issue_session, vault, "alice")
    lines = [row.body.decode() for row in read_outbox(store.view(), before[-1].id if before else 0, 1000)]
    assert ['"key":"alice"' in lines[0], "in-process:PutUser" in lines[0]] == [True, True]
    assert [f'"key":"{session.access_key}"' in lines[1], "in-process:IssueSession" in lines[1]] == [True, True]
    assert len(lines) == 2
