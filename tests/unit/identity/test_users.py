"""Verbs on users."""

import pytest
from tests.unit.identity.conftest import ROOT, SECRET, Commit, People, allow

from hosu.identity.authority import Authority
from hosu.identity.groups import add_members, get_group
from hosu.identity.keys import create_key, list_keys
from hosu.identity.policies import attach, policy_entities
from hosu.identity.records import User
from hosu.identity.sessions import issue_session
from hosu.identity.users import (
    check_password,
    get_user,
    hash_password,
    list_users,
    put_user,
    remove_user,
    set_password,
    set_user_enabled,
    store_password,
)
from hosu.identity.vault import Vault
from hosu.kernel.auth import NO_CONTEXT
from hosu.kernel.errors import ConflictError, ErrorKind, InvalidInputError, NotFoundError
from hosu.objects.store import ObjectStore
from hosu.testing.manual_clock import ManualClock


def test_a_lake_begins_without_users(store: ObjectStore) -> None:
    assert list_users(store.view()) == []
    with pytest.raises(NotFoundError) as missing:
        get_user(store.view(), "alice")
    assert missing.value.kind is ErrorKind.USER_NOT_FOUND
    assert check_password(store.view(), "alice", "whatever-it-is") is False


def test_a_user_is_made_and_found(store: ObjectStore, vault: Vault, commit: Commit, clock: ManualClock) -> None:
    made = commit(put_user, vault, "alice", SECRET)
    assert (
        made
        == User("alice", is_enabled=True, policies=(), groups=(), updated_ms=clock.now_ms(), has_password=False)
        == get_user(store.view(), "alice")
    )
    assert list_users(store.view()) == [made]


def test_made_twice_a_user_has_the_new_secret_and_keeps_all_else(
    authority: Authority, store: ObjectStore, commit: Commit
) -> None:
    commit(put_user, authority.vault, "alice", SECRET)
    commit(attach, ["readonly"], user="alice")
    commit(add_members, "readers", ["alice"])
    commit(set_password, "alice", "password-of-alice")
    commit(put_user, authority.vault, "alice", "another-secret")
    assert authority.secrets("alice") == ("another-secret",)
    user = get_user(store.view(), "alice")
    assert (user.policies, user.groups, user.has_password) == (("readonly",), ("readers",), True)


def test_a_user_can_be_made_disabled(authority: Authority, commit: Commit) -> None:
    assert commit(put_user, authority.vault, "alice", SECRET, is_enabled=False).is_enabled is False
    assert authority.secrets("alice") == ()


def test_nobody_takes_roots_name(vault: Vault, store: ObjectStore, commit: Commit) -> None:
    with pytest.raises(ConflictError) as taken:
        commit(put_user, vault, ROOT, SECRET)
    assert taken.value.kind is ErrorKind.ACCESS_KEY_EXISTS
    assert list_users(store.view()) == []


def test_nobody_takes_the_access_key_of_a_service_account(people: People, commit: Commit) -> None:
    people.add("alice")
    commit(create_key, people.authority.vault, "alice", access_key="robot")
    with pytest.raises(ConflictError, match="robot"):
        commit(put_user, people.authority.vault, "robot", SECRET)


@pytest.mark.parametrize(("name", "secret"), [("al", SECRET), ("a/b", SECRET), ("alice", "short"), ("alice", "")])
def test_bad_input_makes_nobody(vault: Vault, store: ObjectStore, commit: Commit, name: str, secret: str) -> None:
    with pytest.raises(InvalidInputError):
        commit(put_user, vault, name, secret)
    assert list_users(store.view()) == []


def test_a_disabled_user_is_out_with_every_key_and_back_in_when_enabled(people: People, commit: Commit) -> None:
    people.add("alice", allow("s3:GetObject"))
    authority, vault = people.authority, people.authority.vault
    keys = [
        "alice",
        commit(create_key, vault, "alice").access_key,
        commit(issue_session, vault, "alice").access_key,
    ]
    signed_in = people.principal("alice")
    commit(set_user_enabled, "alice", is_enabled=False)
    assert [authority.secrets(key) for key in keys] == [(), (), ()]
    assert not people.may(signed_in, "s3:GetObject", "images/a")
    commit(set_user_enabled, "alice", is_enabled=True)
    assert all(authority.secrets(key) for key in keys)
    assert people.may(signed_in, "s3:GetObject", "images/a")


def test_with_a_user_go_keys_sessions_memberships_and_attachments(
    people: People, store: ObjectStore, commit: Commit
) -> None:
    people.add("alice", allow("s3:GetObject"))
    commit(create_key, people.authority.vault, "alice")
    session = commit(issue_session, people.authority.vault, "alice")
    commit(add_members, "readers", ["alice"])
    commit(remove_user, "alice")
    view = store.view()
    assert people.authority.secrets("alice") == people.authority.secrets(session.access_key) == ()
    assert list_keys(view) == []
    assert get_group(view, "readers").members == ()
    assert policy_entities(view).policies == ()
    people.add("alice")
    assert get_user(store.view(), "alice").policies == ()


@pytest.mark.parametrize("verb", [remove_user, lambda tx, name: set_user_enabled(tx, name, is_enabled=True)])
def test_verbs_on_somebody_who_is_not_there(commit: Commit, verb: object) -> None:
    with pytest.raises(NotFoundError) as missing:
        commit(verb, "nobody")
    assert missing.value.kind is ErrorKind.USER_NOT_FOUND


def test_a_password_is_checked_and_kept_as_argon2id_alone(people: People, store: ObjectStore, commit: Commit) -> None:
    people.add("alice")
    commit(set_password, "alice", "password-of-alice")
    view = store.view()
    assert view.value("SELECT password FROM identity_user").startswith("$argon2id$")
    assert check_password(view, "alice", "password-of-alice")
    assert not check_password(view, "alice", "password-of-carol")
    assert not check_password(view, "alice", "")
    commit(set_user_enabled, "alice", is_enabled=False)
    assert not check_password(store.view(), "alice", "password-of-alice")


def test_a_password_hashed_before_is_as_good_and_can_be_removed(
    people: People, store: ObjectStore, commit: Commit
) -> None:
    people.add("alice")
    commit(store_password, "alice", hash_password("password-of-alice"))
    assert check_password(store.view(), "alice", "password-of-alice")
    commit(set_password, "alice", "")
    assert not check_password(store.view(), "alice", "password-of-alice")
    assert not check_password(store.view(), "alice", "")
    assert get_user(store.view(), "alice").has_password is False


def test_passwords_for_nobody_and_short_ones_are_refused(people: People, commit: Commit) -> None:
    people.add("alice")
    with pytest.raises(NotFoundError):
        commit(set_password, "nobody", "password-of-nobody")
    with pytest.raises(InvalidInputError, match="password has 5 characters"):
        commit(set_password, "alice", "short")


def test_a_new_user_does_not_inherit_the_keys_of_a_former_root(store: ObjectStore, commit: Commit) -> None:
    former = Authority(store, ("admin", "secret-of-admin"))
    commit(create_key, former.vault, "admin", access_key="robot")
    now = Authority(store, (ROOT, "secret-of-root"))
    assert now.secrets("robot") == ()
    with pytest.raises(ConflictError, match="former root"):
        commit(put_user, now.vault, "admin", SECRET)


def test_root_under_a_users_name_does_not_lend_its_rights_to_the_users_keys(people: People, commit: Commit) -> None:
    people.add("alice", allow("s3:GetObject"))
    key = commit(create_key, people.authority.vault, "alice")
    renamed = Authority(people.authority._store, ("alice", "secret-of-root"))
    robot = renamed.principal(key.access_key, None)
    assert not robot.is_root
    assert not renamed.is_allowed(robot, "s3:DeleteBucket", "images", NO_CONTEXT)
    assert renamed.secrets("alice") == ("secret-of-root",)
