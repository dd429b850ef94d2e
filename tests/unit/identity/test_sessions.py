"""Temporary credentials."""

from typing import Any

import pytest
from tests.unit.identity.conftest import ROOT, Commit, People, allow, document

from hosu.identity.keys import list_keys, remove_key
from hosu.identity.policies import put_policy, remove_policy
from hosu.identity.sessions import has_expired, issue_session, remove_expired
from hosu.kernel.auth import FixedContext
from hosu.kernel.errors import AccessDeniedError, ErrorKind, HosuError
from hosu.objects.store import ObjectStore
from hosu.server.processes import end_sessions
from hosu.testing.manual_clock import ManualClock

HOUR_MS = 3_600_000


@pytest.fixture(autouse=True)
def alice(people: People) -> None:
    people.add("alice", allow("s3:GetObject", "images/*"))


def test_a_session_has_its_parents_rights_with_its_token_alone(
    people: People, commit: Commit, clock: ManualClock
) -> None:
    made = commit(issue_session, people.authority.vault, "alice", duration_s=3600)
    assert made.expires_ms == clock.now_ms() + HOUR_MS
    assert people.authority.secrets(made.access_key) == (made.secret,)
    principal = people.principal(made.access_key, made.token)
    assert (principal.name, principal.parent) == ("alice", "alice")
    assert people.may(principal, "s3:GetObject", "images/a")
    assert not people.may(principal, "s3:PutObject", "images/a")


@pytest.mark.parametrize("wrong", [None, "", "something-else", "token-of-another", "\ud800"])
def test_without_its_own_token_a_session_is_nobody(people: People, commit: Commit, wrong: str | None) -> None:
    made = commit(issue_session, people.authority.vault, "alice")
    if wrong == "token-of-another":
        wrong = commit(issue_session, people.authority.vault, "alice").token
    with pytest.raises(AccessDeniedError) as refused:
        people.authority.principal(made.access_key, wrong)
    assert refused.value.kind is ErrorKind.SESSION_TOKEN_INVALID


def test_a_token_with_a_key_that_needs_none_is_refused(people: People) -> None:
    for access_key in ("alice", ROOT):
        with pytest.raises(AccessDeniedError) as refused:
            people.authority.principal(access_key, "some-token")
        assert refused.value.kind is ErrorKind.SESSION_TOKEN_INVALID


def test_a_session_ends_by_itself_and_upkeep_removes_it(
    people: People, store: ObjectStore, commit: Commit, clock: ManualClock
) -> None:
    vault = people.authority.vault
    short = commit(issue_session, vault, "alice", duration_s=900)
    long = commit(issue_session, vault, "alice", duration_s=7 * 24 * 3600)
    assert end_sessions(store) == 0
    clock.advance(900_000)
    assert people.authority.secrets(short.access_key) == ()
    assert people.authority.secrets(long.access_key)
    assert [key.access_key for key in list_keys(store.view())] == [long.access_key]
    assert has_expired(store.view())
    assert end_sessions(store) == 1
    assert not has_expired(store.view())
    assert people.authority.secrets(long.access_key) == (long.secret,)


def test_upkeep_removes_a_bounded_number_at_a_time(people: People, commit: Commit, clock: ManualClock) -> None:
    for _ in range(5):
        commit(issue_session, people.authority.vault, "alice", duration_s=900)
    clock.advance(HOUR_MS)
    assert [commit(remove_expired, limit=2) for _ in range(4)] == [2, 2, 1, 0]


def test_upkeep_of_a_lake_without_identity_writes_nothing(store: ObjectStore, commit: Commit) -> None:
    number = store.generation.number()
    assert end_sessions(store) == commit(remove_expired) == 0
    assert store.generation.number() == number


def test_a_session_can_be_ended_early(people: People, commit: Commit) -> None:
    made = commit(issue_session, people.authority.vault, "alice")
    assert people.authority.secrets(made.access_key)
    commit(remove_key, made.access_key)
    assert people.authority.secrets(made.access_key) == ()


def test_a_policy_cuts_a_session(people: People, commit: Commit) -> None:
    policy = document(allow("s3:*", "images/one/*"))
    made = commit(issue_session, people.authority.vault, "alice", policy=policy)
    principal = people.principal(made.access_key, made.token)
    assert people.may(principal, "s3:GetObject", "images/one/a")
    assert not people.may(principal, "s3:GetObject", "images/two/a")
    assert not people.may(principal, "s3:PutObject", "images/one/a")


def test_a_session_of_root_acts_as_root(people: People, commit: Commit) -> None:
    made = commit(issue_session, people.authority.vault, ROOT)
    principal = people.principal(made.access_key, made.token)
    assert principal.is_root
    assert people.may(principal, "admin:CreateUser", "")


def test_whom_a_provider_vouches_for_has_the_rights_of_the_policies_it_names(people: People, commit: Commit) -> None:
    commit(put_policy, "read-one", document(allow("s3:GetObject", "images/one/*")))
    made = commit(issue_session, people.authority.vault, "oidc:42", policies=["read-one", "writeonly"])
    principal = people.principal(made.access_key, made.token)
    assert principal.name == "oidc:42"
    assert people.may(principal, "s3:GetObject", "images/one/a")
    assert people.may(principal, "s3:PutObject", "images/a")
    assert not people.may(principal, "s3:GetObject", "images/two/a")
    commit(remove_policy, "read-one")
    assert not people.may(principal, "s3:GetObject", "images/one/a"), "what a policy gave goes with it"


def test_claims_are_conditions_that_no_circumstance_replaces(people: People, commit: Commit) -> None:
    team = {"StringEquals": {"jwt:groups": "vision"}}
    commit(put_policy, "team", document(allow("s3:GetObject", "images/${jwt:sub}/*", Condition=team)))
    keys = {
        group: commit(
            issue_session, people.authority.vault, "oidc:42", policies=["team"],
            claims={"sub": "42", "groups": ["all", group]},
        )
        for group in ("vision", "audio")
    }  # fmt: skip
    forged = FixedContext({"jwt:groups": ("vision",), "jwt:sub": ("42",)})
    for group, key in keys.items():
        principal = people.principal(key.access_key, key.token)
        assert people.may(principal, "s3:GetObject", "images/42/a", forged) == (group == "vision")
        assert not people.may(principal, "s3:GetObject", "images/43/a", forged)


def test_nobody_from_a_provider_passes_for_a_user(people: People, commit: Commit) -> None:
    people.set_bucket_policy(allow("s3:PutObject", "images/*", Principal={"AWS": ["arn:aws:iam:::user/alice"]}))
    made = commit(issue_session, people.authority.vault, "oidc:alice", policies=["diagnostics"])
    assert people.may("alice", "s3:PutObject", "images/a")
    assert not people.may(people.principal(made.access_key, made.token), "s3:PutObject", "images/a")


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"duration_s": 899}, ErrorKind.INVALID_ARGUMENT),
        ({"duration_s": 7 * 24 * 3600 + 1}, ErrorKind.INVALID_ARGUMENT),
        ({"policy": "{}"}, ErrorKind.POLICY_INVALID),
        ({"parent": "nobody"}, ErrorKind.USER_NOT_FOUND),
        ({"name": "two\nlines"}, ErrorKind.INVALID_ARGUMENT),
    ],
)
def test_bad_input_issues_nothing(
    people: People, store: ObjectStore, commit: Commit, given: dict[str, Any], kind: ErrorKind
) -> None:
    with pytest.raises(HosuError) as refused:
        commit(issue_session, people.authority.vault, **{"parent": "alice"} | given)
    assert refused.value.kind is kind
    assert list_keys(store.view()) == []
