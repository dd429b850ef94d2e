"""Verbs on policies, and on whom they are attached to."""

from typing import Any

import pytest
from tests.unit.identity.conftest import SECRET, Commit, People, allow, document

from hosu.identity.groups import add_members, get_group
from hosu.identity.policies import (
    attach,
    detach,
    get_policy,
    list_policies,
    policy_entities,
    put_policy,
    remove_policy,
    set_policies,
)
from hosu.identity.policy import BUILTIN_POLICIES
from hosu.identity.records import GroupPolicies, PolicyUses, StoredPolicy, UserPolicies
from hosu.identity.users import get_user, put_user
from hosu.kernel.errors import ConflictError, ErrorKind, InvalidInputError, NotFoundError
from hosu.objects.store import ObjectStore
from hosu.testing.manual_clock import ManualClock

TEXT = document(allow("s3:GetObject", "images/*"))


def test_a_lake_begins_with_the_built_in_policies(store: ObjectStore) -> None:
    found = list_policies(store.view())
    assert [policy.name for policy in found] == sorted(BUILTIN_POLICIES)
    assert all(policy.is_builtin and policy.text for policy in found)


def test_a_policy_is_kept_byte_for_byte(store: ObjectStore, commit: Commit, clock: ManualClock) -> None:
    text = f"  {TEXT}\n"
    made_ms = clock.now_ms()
    assert commit(put_policy, "read", text) == StoredPolicy("read", text, made_ms, made_ms, is_builtin=False)
    clock.advance(1000)
    commit(put_policy, "read", TEXT)
    assert get_policy(store.view(), "read") == StoredPolicy("read", TEXT, made_ms, made_ms + 1000, is_builtin=False)


@pytest.mark.parametrize("text", ["", "{}", "no json", document({"Effect": "Perhaps"}), document(allow("s3:NoSuch"))])
def test_a_wrong_policy_is_refused_and_changes_nothing(store: ObjectStore, commit: Commit, text: str) -> None:
    commit(put_policy, "read", TEXT)
    with pytest.raises(InvalidInputError) as refused:
        commit(put_policy, "read", text)
    assert refused.value.kind is ErrorKind.POLICY_INVALID
    assert get_policy(store.view(), "read").text == TEXT


@pytest.mark.parametrize("name", ["", "a/b", "a,b", " read"])
def test_a_wrong_name_is_refused(store: ObjectStore, commit: Commit, name: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        commit(put_policy, name, TEXT)
    assert refused.value.kind is ErrorKind.IDENTITY_NAME_INVALID
    assert len(list_policies(store.view())) == len(BUILTIN_POLICIES)


def test_a_policy_of_a_built_ins_name_replaces_it_until_it_is_removed(people: People, commit: Commit) -> None:
    people.add("alice")
    commit(attach, ["readonly"], user="alice")
    assert people.may("alice", "s3:GetObject", "other/a")
    commit(put_policy, "readonly", TEXT)
    assert not people.may("alice", "s3:GetObject", "other/a")
    assert people.may("alice", "s3:GetObject", "images/a")
    commit(remove_policy, "readonly")
    assert people.may("alice", "s3:GetObject", "other/a")
    assert get_policy(people.authority._store.view(), "readonly").is_builtin


def test_a_policy_in_use_stays(people: People, commit: Commit, store: ObjectStore) -> None:
    people.add("alice")
    commit(put_policy, "read", TEXT)
    commit(attach, ["read"], user="alice")
    with pytest.raises(ConflictError) as used:
        commit(remove_policy, "read")
    assert used.value.kind is ErrorKind.POLICY_IN_USE
    assert "alice" in used.value.message
    commit(detach, ["read"], user="alice")
    commit(remove_policy, "read")
    with pytest.raises(NotFoundError):
        get_policy(store.view(), "read")


def test_what_is_not_there_or_built_in_cannot_be_removed(commit: Commit) -> None:
    with pytest.raises(NotFoundError) as missing:
        commit(remove_policy, "read")
    assert missing.value.kind is ErrorKind.POLICY_NOT_FOUND
    with pytest.raises(ConflictError, match="built in"):
        commit(remove_policy, "readonly")


def test_attaching_tells_what_is_new_and_detaching_what_went(
    people: People, store: ObjectStore, commit: Commit
) -> None:
    people.add("alice")
    commit(put_policy, "read", TEXT)
    assert commit(attach, ["read", "readonly", "read"], user="alice") == ["read", "readonly"]
    assert commit(attach, ["readonly", "writeonly"], user="alice") == ["writeonly"]
    assert get_user(store.view(), "alice").policies == ("read", "readonly", "writeonly")
    assert commit(detach, ["readonly", "diagnostics"], user="alice") == ["readonly"]
    assert get_user(store.view(), "alice").policies == ("read", "writeonly")


def test_setting_replaces_what_was_attached(people: People, store: ObjectStore, commit: Commit) -> None:
    people.add("alice")
    commit(add_members, "readers", ["alice"])
    for whom in ({"user": "alice"}, {"group": "readers"}):
        commit(attach, ["readonly"], **whom)
        commit(set_policies, ["writeonly", "diagnostics"], **whom)
    assert get_user(store.view(), "alice").policies == ("diagnostics", "writeonly")
    assert get_group(store.view(), "readers").policies == ("diagnostics", "writeonly")
    commit(set_policies, [], user="alice")
    assert get_user(store.view(), "alice").policies == ()


@pytest.mark.parametrize("verb", [attach, detach, set_policies])
@pytest.mark.parametrize(
    ("names", "whom", "kind"),
    [
        (["readonly"], {"user": "nobody"}, ErrorKind.USER_NOT_FOUND),
        (["readonly"], {"group": "nobody"}, ErrorKind.GROUP_NOT_FOUND),
        (["readonly"], {}, ErrorKind.INVALID_ARGUMENT),
        (["readonly"], {"user": "alice", "group": "readers"}, ErrorKind.INVALID_ARGUMENT),
        (["writeonly", "nothing"], {"user": "alice"}, ErrorKind.POLICY_NOT_FOUND),
    ],
)
def test_wrong_attachments_change_nothing(
    people: People,
    store: ObjectStore,
    commit: Commit,
    verb: Any,
    names: list[str],
    whom: dict[str, str],
    kind: ErrorKind,
) -> None:
    people.add("alice")
    commit(attach, ["readonly"], user="alice")
    with pytest.raises((NotFoundError, InvalidInputError)) as refused:
        commit(verb, names, **whom)
    assert refused.value.kind is kind
    assert get_user(store.view(), "alice").policies == ("readonly",)


def test_who_has_which_policy_from_three_sides(people: People, store: ObjectStore, commit: Commit) -> None:
    for name in ("alice", "bob"):
        commit(put_user, people.authority.vault, name, SECRET)
    commit(add_members, "readers", ["alice"])
    commit(attach, ["readonly"], group="readers")
    commit(attach, ["writeonly"], user="alice")
    commit(attach, ["readonly"], user="bob")
    found = policy_entities(store.view(), users=["alice", "nobody"], groups=["readers"], policies=["readonly"])
    readers = GroupPolicies("readers", ("readonly",))
    assert found.users == (UserPolicies("alice", ("writeonly",), (readers,)),)
    assert found.groups == (readers,)
    assert found.policies == (PolicyUses("readonly", ("bob",), ("readers",)),)
    everything = policy_entities(store.view())
    assert (everything.users, everything.groups) == ((), ())
    assert [uses.policy for uses in everything.policies] == ["readonly", "writeonly"]
