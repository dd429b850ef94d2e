"""Verbs on groups."""

import pytest
from tests.unit.identity.conftest import Commit, People, allow, deny, document

from hosu.identity.groups import (
    add_members,
    get_group,
    list_groups,
    remove_group,
    remove_members,
    set_group_enabled,
)
from hosu.identity.policies import attach, put_policy
from hosu.identity.records import Group
from hosu.identity.users import get_user
from hosu.kernel.errors import ConflictError, ErrorKind, InvalidInputError, NotFoundError
from hosu.objects.store import ObjectStore
from hosu.testing.manual_clock import ManualClock


@pytest.fixture(autouse=True)
def alice_and_bob(people: People) -> None:
    people.add("alice")
    people.add("bob")


def test_members_come_and_go(store: ObjectStore, commit: Commit, clock: ManualClock) -> None:
    commit(add_members, "readers", ["bob"])
    commit(add_members, "readers", ["alice", "bob"])
    assert get_group(store.view(), "readers") == Group(
        "readers", is_enabled=True, policies=(), members=("alice", "bob"), updated_ms=clock.now_ms()
    )
    assert get_user(store.view(), "alice").groups == ("readers",)
    commit(remove_members, "readers", ["bob", "nobody"])
    assert get_group(store.view(), "readers").members == ("alice",)
    assert list_groups(store.view()) == ["readers"]


def test_a_group_may_be_empty(store: ObjectStore, commit: Commit) -> None:
    commit(add_members, "readers", [])
    assert get_group(store.view(), "readers").members == ()


def test_a_stranger_cannot_be_a_member_and_makes_no_group(store: ObjectStore, commit: Commit) -> None:
    with pytest.raises(NotFoundError) as missing:
        commit(add_members, "readers", ["alice", "nobody"])
    assert missing.value.kind is ErrorKind.USER_NOT_FOUND
    assert list_groups(store.view()) == []


def test_a_group_goes_when_it_is_empty(store: ObjectStore, commit: Commit) -> None:
    commit(add_members, "readers", ["alice"])
    commit(attach, ["readonly"], group="readers")
    with pytest.raises(ConflictError) as held:
        commit(remove_group, "readers")
    assert held.value.kind is ErrorKind.GROUP_NOT_EMPTY
    commit(remove_members, "readers", ["alice"])
    commit(remove_group, "readers")
    assert list_groups(store.view()) == []
    commit(add_members, "readers", ["alice"])
    assert get_group(store.view(), "readers").policies == (), "a new group does not inherit"


@pytest.mark.parametrize(
    "verb",
    [
        remove_group,
        lambda tx, group: remove_members(tx, group, ["alice"]),
        lambda tx, group: set_group_enabled(tx, group, is_enabled=False),
        get_group,
    ],
)
def test_verbs_on_a_group_that_is_not_there(commit: Commit, verb: object) -> None:
    with pytest.raises(NotFoundError) as missing:
        commit(verb, "readers")
    assert missing.value.kind is ErrorKind.GROUP_NOT_FOUND


@pytest.mark.parametrize("name", ["", "a/b", "a,b"])
def test_bad_names_make_no_group(store: ObjectStore, commit: Commit, name: str) -> None:
    with pytest.raises(InvalidInputError):
        commit(add_members, name, ["alice"])
    assert list_groups(store.view()) == []


def test_members_have_the_groups_policies_while_it_is_enabled(people: People, commit: Commit) -> None:
    commit(add_members, "readers", ["alice"])
    commit(put_policy, "read", document(allow("s3:GetObject", "images/*")))
    commit(attach, ["read"], group="readers")
    assert people.may("alice", "s3:GetObject", "images/a")
    assert not people.may("bob", "s3:GetObject", "images/a")
    commit(set_group_enabled, "readers", is_enabled=False)
    assert not people.may("alice", "s3:GetObject", "images/a")
    commit(set_group_enabled, "readers", is_enabled=True)
    assert people.may("alice", "s3:GetObject", "images/a")
    commit(remove_members, "readers", ["alice"])
    assert not people.may("alice", "s3:GetObject", "images/a")


def test_conditions_see_the_groups_that_are_enabled(people: People, commit: Commit) -> None:
    team = {"StringEquals": {"aws:groups": "team"}}
    people.set_bucket_policy(allow("s3:GetObject", "images/*", Principal="*", Condition=team))
    commit(add_members, "team", ["alice"])
    commit(add_members, "others", ["alice", "bob"])
    assert people.may("alice", "s3:GetObject", "images/a")
    assert not people.may("bob", "s3:GetObject", "images/a")
    commit(set_group_enabled, "team", is_enabled=False)
    assert not people.may("alice", "s3:GetObject", "images/a")


def test_a_denial_of_one_group_outweighs_what_another_allows(people: People, commit: Commit) -> None:
    for group, statement in (("readers", allow("s3:GetObject")), ("suspects", deny("s3:GetObject", "images/secret/*"))):
        commit(add_members, group, ["alice"])
        commit(put_policy, group, document(statement))
        commit(attach, [group], group=group)
    assert people.may("alice", "s3:GetObject", "images/a")
    assert not people.may("alice", "s3:GetObject", "images/secret/a")
