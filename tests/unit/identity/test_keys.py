"""Verbs on service accounts, and rotation of secrets."""

from typing import Any

import pytest
from tests.unit.identity.conftest import ROOT, SECRET, Commit, People, allow, deny, document

from hosu.identity.keys import (
    EXPIRES_MS_MAX,
    create_key,
    get_key,
    list_keys,
    remove_key,
    rotate_secret,
    update_key,
)
from hosu.identity.records import AccessKey
from hosu.identity.sessions import issue_session
from hosu.identity.users import put_user
from hosu.kernel.errors import ConflictError, ErrorKind, HosuError, InvalidInputError, NotFoundError
from hosu.objects.store import ObjectStore
from hosu.testing.manual_clock import ManualClock

HOUR_MS = 3_600_000
READ_ONE = document(allow("s3:GetObject", "images/one/*"))


@pytest.fixture(autouse=True)
def alice(people: People) -> None:
    people.add("alice", allow("s3:GetObject", "images/*"))


def test_a_key_is_generated_and_has_its_parents_rights(people: People, commit: Commit) -> None:
    made = commit(create_key, people.authority.vault, "alice")
    assert (len(made.access_key), len(made.secret), made.token) == (20, 40, "")
    assert people.authority.secrets(made.access_key) == (made.secret,)
    principal = people.principal(made.access_key)
    assert (principal.name, principal.access_key, principal.parent, principal.is_root) == (
        "alice",
        made.access_key,
        "alice",
        False,
    )
    assert people.may(principal, "s3:GetObject", "images/two/a")
    assert not people.may(principal, "s3:PutObject", "images/two/a")


def test_what_is_given_is_kept(people: People, store: ObjectStore, commit: Commit, clock: ManualClock) -> None:
    expires_ms = clock.now_ms() + HOUR_MS
    commit(
        create_key, people.authority.vault, "alice", access_key="robot", secret=SECRET, policy=READ_ONE, name="nightly",
        description="reads one", expires_ms=expires_ms,
    )  # fmt: skip
    assert get_key(store.view(), "robot") == AccessKey(
        "robot", "alice", "service", "nightly", "reads one", READ_ONE,
        is_enabled=True, expires_ms=expires_ms, created_ms=clock.now_ms(),
    )  # fmt: skip
    assert people.authority.secrets("robot") == (SECRET,)


def test_a_policy_cuts_rights_and_never_adds(people: People, commit: Commit) -> None:
    policy = document(allow("s3:*", "images/one/*"))
    commit(create_key, people.authority.vault, "alice", access_key="robot", policy=policy)
    assert people.may("robot", "s3:GetObject", "images/one/a")
    assert not people.may("robot", "s3:GetObject", "images/two/a"), "the cut is silent"
    assert not people.may("robot", "s3:PutObject", "images/one/a"), "the parent may not"


def test_a_key_of_root_acts_as_root_cut_by_its_policy(people: People, commit: Commit) -> None:
    vault = people.authority.vault
    commit(create_key, vault, ROOT, access_key="whole")
    commit(create_key, vault, ROOT, access_key="part", policy=READ_ONE)
    assert people.principal("whole").is_root
    assert people.may("whole", "s3:DeleteBucket", "images")
    assert not people.principal("part").is_root
    assert people.may("part", "s3:GetObject", "images/one/a")
    assert not people.may("part", "s3:DeleteBucket", "images")


def test_a_key_stops_when_it_expires(people: People, commit: Commit, clock: ManualClock) -> None:
    commit(create_key, people.authority.vault, "alice", access_key="robot", expires_ms=clock.now_ms() + HOUR_MS)
    clock.advance(HOUR_MS - 1)
    assert people.authority.secrets("robot")
    clock.advance(1)
    assert people.authority.secrets("robot") == ()
    assert "expired" in people.authority.explain("robot", "s3:GetObject", "images/a").reason


def test_changes_take_effect_at_once(people: People, store: ObjectStore, commit: Commit, clock: ManualClock) -> None:
    vault = people.authority.vault
    commit(create_key, vault, "alice", access_key="robot", secret=SECRET)
    signed_in = people.principal("robot")
    changed = commit(update_key, vault, "robot", policy=READ_ONE, name="new", description="newer")
    assert (changed.policy, changed.name, changed.description) == (READ_ONE, "new", "newer")
    assert not people.may(signed_in, "s3:GetObject", "images/two/a")
    commit(update_key, vault, "robot", policy="")
    assert people.may(signed_in, "s3:GetObject", "images/two/a")
    commit(update_key, vault, "robot", secret="a-newer-secret")
    assert people.authority.secrets("robot") == ("a-newer-secret",)
    commit(update_key, vault, "robot", is_enabled=False)
    assert people.authority.secrets("robot") == ()
    assert not people.may(signed_in, "s3:GetObject", "images/one/a")
    commit(update_key, vault, "robot", is_enabled=True, expires_ms=clock.now_ms() + HOUR_MS)
    assert get_key(store.view(), "robot").expires_ms == clock.now_ms() + HOUR_MS
    commit(update_key, vault, "robot", expires_ms=0)
    clock.advance(2 * HOUR_MS)
    assert people.authority.secrets("robot") == ("a-newer-secret",)
    commit(remove_key, "robot")
    assert people.authority.secrets("robot") == ()


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"access_key": "ab"}, ErrorKind.IDENTITY_NAME_INVALID),
        ({"access_key": "alice"}, ErrorKind.ACCESS_KEY_EXISTS),
        ({"access_key": ROOT}, ErrorKind.ACCESS_KEY_EXISTS),
        ({"secret": "short"}, ErrorKind.SECRET_INVALID),
        ({"policy": "{}"}, ErrorKind.POLICY_INVALID),
        ({"name": "two\nlines"}, ErrorKind.INVALID_ARGUMENT),
        ({"description": "x" * 300}, ErrorKind.INVALID_ARGUMENT),
        ({"expires_ms": 1}, ErrorKind.INVALID_ARGUMENT),
        ({"expires_ms": EXPIRES_MS_MAX + 1}, ErrorKind.INVALID_ARGUMENT),
        ({"parent": "nobody"}, ErrorKind.USER_NOT_FOUND),
        ({"parent": ""}, ErrorKind.USER_NOT_FOUND),
    ],
)
def test_bad_input_makes_no_key(
    people: People, store: ObjectStore, commit: Commit, given: dict[str, Any], kind: ErrorKind
) -> None:
    with pytest.raises(HosuError) as refused:
        commit(create_key, people.authority.vault, **{"parent": "alice"} | given)
    assert refused.value.kind is kind
    assert list_keys(store.view()) == []


@pytest.mark.parametrize("change", [{"secret": "short"}, {"policy": "{}"}, {"name": "\n"}, {"expires_ms": 1 << 62}])
def test_a_bad_change_changes_nothing(
    people: People, store: ObjectStore, commit: Commit, change: dict[str, Any]
) -> None:
    commit(create_key, people.authority.vault, "alice", access_key="robot", secret=SECRET)
    before = get_key(store.view(), "robot")
    with pytest.raises(InvalidInputError):
        commit(update_key, people.authority.vault, "robot", **{"description": "new"} | change)
    assert get_key(store.view(), "robot") == before
    assert people.authority.secrets("robot") == (SECRET,)


def test_an_access_key_is_given_once(people: People, commit: Commit) -> None:
    commit(create_key, people.authority.vault, "alice", access_key="robot")
    with pytest.raises(ConflictError) as taken:
        commit(create_key, people.authority.vault, "alice", access_key="robot")
    assert taken.value.kind is ErrorKind.ACCESS_KEY_EXISTS


def test_keys_are_listed_by_parent_and_kind(people: People, store: ObjectStore, commit: Commit) -> None:
    vault = people.authority.vault
    people.add("bob")
    for parent, key in (("bob", "robot-3"), ("alice", "robot-2"), ("alice", "robot-1")):
        commit(create_key, vault, parent, access_key=key)
    session = commit(issue_session, vault, "alice").access_key
    view = store.view()
    assert [key.access_key for key in list_keys(view, kind="service")] == ["robot-1", "robot-2", "robot-3"]
    assert [key.access_key for key in list_keys(view, "alice", "session")] == [session]
    assert {key.access_key for key in list_keys(view, "alice")} == {"robot-1", "robot-2", session}
    assert list_keys(view, "nobody") == []


def test_verbs_on_a_key_that_is_not_there(people: People, commit: Commit) -> None:
    vault = people.authority.vault
    attempts: list[tuple[Any, ...]] = [(remove_key,), (update_key, vault), (rotate_secret, vault)]
    for attempt in attempts:
        with pytest.raises(NotFoundError) as missing:
            commit(*attempt, "robot")
        assert missing.value.kind is ErrorKind.ACCESS_KEY_NOT_FOUND


def test_a_session_stays_as_it_was_issued(people: People, commit: Commit) -> None:
    vault = people.authority.vault
    session = commit(issue_session, vault, "alice")
    for verb in (update_key, rotate_secret):
        with pytest.raises(ConflictError, match="session"):
            commit(verb, vault, session.access_key)


@pytest.mark.parametrize("access_key", ["alice", "robot"])
def test_two_secrets_are_valid_for_the_chosen_time(
    people: People, commit: Commit, clock: ManualClock, access_key: str
) -> None:
    vault, secrets = people.authority.vault, people.authority.secrets
    commit(create_key, vault, "alice", access_key="robot", secret=SECRET)
    made = commit(rotate_secret, vault, access_key, overlap_ms=HOUR_MS)
    assert secrets(access_key) == (made.secret, SECRET)
    clock.advance(HOUR_MS - 1)
    assert secrets(access_key) == (made.secret, SECRET)
    clock.advance(1)
    assert secrets(access_key) == (made.secret,)


def test_without_an_overlap_the_old_secret_stops_at_once(people: People, commit: Commit) -> None:
    made = commit(rotate_secret, people.authority.vault, "alice", secret="chosen-secret")
    assert made.secret == "chosen-secret"
    assert people.authority.secrets("alice") == ("chosen-secret",)


def test_a_second_rotation_ends_the_first_secret(people: People, commit: Commit) -> None:
    vault = people.authority.vault
    first = commit(rotate_secret, vault, "alice", overlap_ms=HOUR_MS)
    second = commit(rotate_secret, vault, "alice", overlap_ms=HOUR_MS)
    assert people.authority.secrets("alice") == (second.secret, first.secret)


@pytest.mark.parametrize("replace", ["user", "key"])
def test_a_secret_that_is_set_ends_both(people: People, commit: Commit, replace: str) -> None:
    vault = people.authority.vault
    name = "alice" if replace == "user" else "robot"
    commit(create_key, vault, "alice", access_key="robot")
    commit(rotate_secret, vault, name, overlap_ms=HOUR_MS)
    if replace == "user":
        commit(put_user, vault, name, "the-only-secret")
    else:
        commit(update_key, vault, name, secret="the-only-secret")
    assert people.authority.secrets(name) == ("the-only-secret",)


@pytest.mark.parametrize("given", [{"overlap_ms": -1}, {"overlap_ms": 366 * 24 * HOUR_MS}, {"secret": "short"}])
def test_a_bad_rotation_changes_nothing(people: People, commit: Commit, given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        commit(rotate_secret, people.authority.vault, "alice", **given)
    assert people.authority.secrets("alice") == (SECRET,)


def test_a_denial_of_the_parents_holds_for_its_keys(people: People, commit: Commit) -> None:
    people.add("bob", allow("s3:GetObject"), deny("s3:GetObject", "images/secret/*"))
    commit(create_key, people.authority.vault, "bob", access_key="robot", policy=document(allow("s3:GetObject")))
    assert people.may("robot", "s3:GetObject", "images/a")
    assert not people.may("robot", "s3:GetObject", "images/secret/a")
