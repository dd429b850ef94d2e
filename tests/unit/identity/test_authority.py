"""The one decision function."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.identity.conftest import BUCKET, ROOT, ROOT_SECRET, SECRET, Commit, People, allow, deny, document

from hosu.identity.acl import ROOT as ROOT_ACCOUNT
from hosu.identity.acl import Acls
from hosu.identity.authority import Authority
from hosu.identity.groups import add_members
from hosu.identity.keys import create_key
from hosu.identity.policies import attach, put_policy
from hosu.identity.policy import Effect
from hosu.identity.sessions import issue_session
from hosu.identity.users import put_user, remove_user, set_user_enabled
from hosu.kernel.auth import ANONYMOUS, IN_PROCESS, NO_CONTEXT, FixedContext, Principal
from hosu.kernel.errors import AccessDeniedError, CorruptError, ErrorKind, NotFoundError
from hosu.objects.buckets import create_bucket, delete_bucket, set_document
from hosu.objects.store import ObjectStore

EVERYONE: dict[str, Any] = {"Principal": "*"}
READ, WRITE = "s3:GetObject", "s3:PutObject"


def user(name: str) -> dict[str, Any]:
    """Name a user as a bucket policy does."""
    return {"Principal": {"AWS": [f"arn:aws:iam:::user/{name}"]}}


# Root, and Python in the lake's folder


def test_root_signs_and_may_do_everything(people: People) -> None:
    assert people.authority.secrets(ROOT) == (ROOT_SECRET,)
    assert people.principal(ROOT).is_root
    for action, resource in ((WRITE, "images/a"), ("admin:CreateUser", ""), ("kms:CreateKey", "key"), (READ, "no/a")):
        assert people.may(ROOT, action, resource)


def test_a_bucket_policy_denies_root_but_cannot_lock_it_out(people: People) -> None:
    people.set_bucket_policy(deny("s3:*", "images", **EVERYONE), deny("s3:*", "images/*", **EVERYONE))
    assert not people.may(ROOT, READ, "images/a")
    assert not people.may(ROOT, "s3:ListBucket", "images")
    for action in ("s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"):
        assert people.may(ROOT, action, "images")


def test_python_in_the_lakes_folder_is_held_by_nothing(people: People) -> None:
    people.set_bucket_policy(deny("s3:*", "images/*", **EVERYONE))
    assert people.may(IN_PROCESS, READ, "images/a")
    assert people.may(Principal("a-script", is_root=True), READ, "images/a")


def test_where_nobody_knows_who_root_is_nobody_signs_as_root(store: ObjectStore) -> None:
    authority = Authority(store, ("", ""))
    assert authority.secrets("") == ()
    with pytest.raises(NotFoundError):
        authority.explain("", READ, "images/a")


# Users and bucket policies


def test_a_user_without_policies_may_do_nothing(people: People) -> None:
    people.add("alice")
    for action, resource in ((READ, "images/a"), ("s3:ListAllMyBuckets", ""), ("admin:ServerInfo", "")):
        assert not people.may("alice", action, resource)


def test_an_unknown_access_key_has_no_secrets_and_no_rights(people: People) -> None:
    assert people.authority.secrets("nobody") == ()
    assert not people.may(Principal("nobody", "nobody"), READ, "images/a")
    with pytest.raises(AccessDeniedError):
        people.authority.principal("nobody", None)


def test_the_policies_of_user_groups_and_bucket_add_up(people: People, commit: Commit) -> None:
    people.add("alice", allow(READ, "images/own/*"))
    commit(put_policy, "of-group", document(allow(READ, "images/group/*")))
    commit(add_members, "readers", ["alice"])
    commit(attach, ["of-group"], group="readers")
    people.set_bucket_policy(allow(READ, "images/bucket/*", **user("alice")))
    people.add("bob")
    for place in ("own", "group", "bucket"):
        assert people.may("alice", READ, f"images/{place}/a")
        assert not people.may("bob", READ, f"images/{place}/a")
    assert not people.may("alice", READ, "images/other/a")


@pytest.mark.parametrize("where", ["own", "group", "bucket"])
def test_an_explicit_denial_anywhere_wins(people: People, commit: Commit, where: str) -> None:
    own = [allow(READ), *([deny(READ, "images/secret/*")] if where == "own" else [])]
    people.add("alice", *own)
    if where == "group":
        commit(put_policy, "of-group", document(deny(READ, "images/secret/*")))
        commit(add_members, "suspects", ["alice"])
        commit(attach, ["of-group"], group="suspects")
    if where == "bucket":
        people.set_bucket_policy(deny(READ, "images/secret/*", **user("alice")))
    assert people.may("alice", READ, "images/a")
    assert not people.may("alice", READ, "images/secret/a")


def test_what_a_bucket_policy_grants_the_parent_passes_the_cut_of_a_key(people: People, commit: Commit) -> None:
    people.add("alice")
    people.set_bucket_policy(allow("s3:*", "images/*", **user("alice")))
    vault = people.authority.vault
    commit(create_key, vault, "alice", access_key="whole")
    commit(create_key, vault, "alice", access_key="part", policy=document(allow(READ, "images/one/*")))
    assert people.may("whole", WRITE, "images/a")
    assert people.may("part", READ, "images/one/a")
    assert not people.may("part", READ, "images/two/a")
    assert not people.may("part", WRITE, "images/one/a")


def test_a_bucket_policy_holds_for_its_own_bucket(people: People, commit: Commit) -> None:
    commit(create_bucket, "other")
    people.add("alice")
    people.set_bucket_policy(allow(READ, "images/*", **user("alice")))
    assert people.may("alice", READ, "images/a")
    assert not people.may("alice", READ, "other/a")


def test_conditions_see_circumstances_and_who_asks(people: People, commit: Commit) -> None:
    near = {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}
    people.add("alice", allow(READ, "images/home/${aws:username}/*"), allow(WRITE, "images/*", Condition=near))
    commit(create_key, people.authority.vault, "alice", access_key="robot")
    inside, outside = (FixedContext({"aws:sourceip": (ip,)}) for ip in ("10.1.2.3", "192.0.2.1"))
    for who in ("alice", "robot"):
        assert people.may(who, READ, "images/home/alice/a")
        assert not people.may(who, READ, "images/home/robot/a")
        assert people.may(who, WRITE, "images/a", inside)
        assert not people.may(who, WRITE, "images/a", outside)


# Those who do not sign


def test_anonymous_may_what_a_bucket_policy_lets_everyone(people: People) -> None:
    assert not people.may(ANONYMOUS, READ, "images/a")
    people.set_bucket_policy(allow(READ, "images/public/*", **EVERYONE))
    assert people.may(ANONYMOUS, READ, "images/public/a")
    assert not people.may(ANONYMOUS, READ, "images/a")
    assert not people.may(ANONYMOUS, WRITE, "images/public/a")
    people.set_bucket_policy()
    assert not people.may(ANONYMOUS, READ, "images/public/a")


def test_a_policy_for_somebody_is_not_for_anonymous(people: People) -> None:
    people.set_bucket_policy(allow(READ, "images/*", **user("anonymous")))
    assert not people.may(ANONYMOUS, READ, "images/a")


def test_restricted_public_buckets_let_nobody_in_who_does_not_sign(people: People, commit: Commit) -> None:
    people.add("alice")
    people.set_bucket_policy(allow(READ, "images/*", **EVERYONE))
    assert people.may(ANONYMOUS, READ, "images/a")
    commit(set_document, BUCKET, "public-access-block", '{"RestrictPublicBuckets": true}')
    assert not people.may(ANONYMOUS, READ, "images/a")
    assert people.may("alice", READ, "images/a")
    commit(set_document, BUCKET, "public-access-block", '{"RestrictPublicBuckets": false, "BlockPublicPolicy": true}')
    assert people.may(ANONYMOUS, READ, "images/a")


# Refusals


def test_a_refusal_names_who_what_and_where(people: People) -> None:
    people.add("alice")
    with pytest.raises(AccessDeniedError, match="alice may not s3:GetObject on images/a") as refused:
        people.authority.authorize(people.principal("alice"), READ, "images/a", NO_CONTEXT)
    assert refused.value.kind is ErrorKind.ACCESS_DENIED
    assert refused.value.details == {"action": READ, "statement": ""}
    people.set_bucket_policy(allow(READ, "images/*", **EVERYONE), deny(READ, "images/a", **EVERYONE))
    with pytest.raises(AccessDeniedError) as refused:
        people.authority.authorize(people.principal("alice"), READ, "images/a", NO_CONTEXT)
    assert refused.value.details["statement"] == "bucket policy of images, Statement[1]"
    assert "policy" not in refused.value.message
    people.set_bucket_policy()
    people.authority.authorize(people.principal(ROOT), READ, "images/a", NO_CONTEXT)


def test_a_stored_policy_that_cannot_be_read_lets_nobody_in(people: People, commit: Commit) -> None:
    people.add("alice", allow("s3:*"))
    commit(set_document, BUCKET, "policy", "{}")
    alice, root = people.principal("alice"), people.principal(ROOT)
    for _ in range(2):
        with pytest.raises(CorruptError, match="store it again"):
            people.authority.is_allowed(alice, READ, "images/a", NO_CONTEXT)
    with pytest.raises(CorruptError):
        people.authority.is_allowed(root, READ, "images/a", NO_CONTEXT)
    assert people.authority.is_allowed(root, "s3:PutBucketPolicy", "images", NO_CONTEXT)


# Explanations


def test_explain_names_the_statement_and_all_that_was_asked(people: People, commit: Commit) -> None:
    people.add("alice", allow(READ, "images/*", Sid="Reads"), allow(WRITE, "images/drafts/*", Sid="Writes"))
    commit(add_members, "writers", ["alice"])
    commit(attach, ["writeonly"], group="writers")
    people.set_bucket_policy(deny(WRITE, "images/final/*", Sid="Final", **EVERYONE))
    found = people.authority.explain("alice", WRITE, "images/final/a")
    assert not found.is_allowed
    assert (found.reason, found.decision.statement, found.decision.sid) == ("bucket policy of images", 0, "Final")
    assert '"Sid": "Final"' in found.statement
    assert {(entry.policy, entry.effect) for entry in found.considered} == {
        ("alice", Effect.NONE),
        ("writeonly of group writers", Effect.ALLOW),
        ("bucket policy of images", Effect.DENY),
    }
    found = people.authority.explain("alice", WRITE, "images/drafts/a")
    assert (found.is_allowed, found.reason, found.decision.sid) == (True, "alice", "Writes")


def test_explain_tells_that_nothing_allows_and_what_root_is(people: People) -> None:
    people.add("alice")
    found = people.authority.explain("alice", READ, "images/a")
    assert (found.is_allowed, found.reason, found.statement) == (False, "nothing allows it", "")
    found = people.authority.explain(ROOT, READ, "images/a")
    assert (found.is_allowed, found.reason) == (True, "root")
    found = people.authority.explain("anonymous", READ, "images/a")
    assert (found.principal, found.is_allowed) == ("anonymous", False)


def test_explain_tells_that_a_key_was_cut(people: People, commit: Commit) -> None:
    people.add("alice", allow(READ))
    commit(
        create_key, people.authority.vault, "alice", access_key="robot", policy=document(allow(READ, "images/one/*"))
    )
    found = people.authority.explain("robot", READ, "images/two/a")
    assert (found.is_allowed, found.reason) == (False, "service policy of robot")
    assert found.decision.effect is Effect.DENY


def test_a_right_is_withheld_by_a_denial_and_by_what_a_key_was_cut_down_to(people: People, commit: Commit) -> None:
    people.add("alice", allow(READ), deny(READ, "images/secret"))
    cut = document(allow(READ, "images/one/*"))
    commit(create_key, people.authority.vault, "alice", access_key="robot", policy=cut)
    commit(create_key, people.authority.vault, "alice", access_key="whole")

    def withheld(who: str, action: str, resource: str) -> bool:
        return people.authority.withholds(people.principal(who), action, resource, NO_CONTEXT)

    for who in ("alice", "whole"):
        assert not withheld(who, READ, "images/a")
        assert not withheld(who, WRITE, "images/a"), "that nothing allows it is no reason"
        assert withheld(who, READ, "images/secret")
    assert not withheld("robot", READ, "images/one/a")
    assert withheld("robot", READ, "images/a")
    assert withheld("robot", WRITE, "images/one/a")
    people.set_bucket_policy(deny(WRITE, "images/*", **EVERYONE))
    assert withheld("whole", WRITE, "images/a")
    assert withheld(ROOT, WRITE, "images/a")
    assert not withheld(ROOT, READ, "images/a")
    robot = people.principal("robot")
    commit(remove_user, "alice")
    assert people.authority.withholds(robot, READ, "images/one/a", NO_CONTEXT)


def test_the_keys_of_a_user_whose_name_root_was_given_own_nothing_of_roots(
    store: ObjectStore, people: People, commit: Commit
) -> None:
    people.add("alice", allow(READ))
    commit(create_key, people.authority.vault, "alice", access_key="robot")
    authority, acls = Authority(store, ("alice", ROOT_SECRET)), Acls(store, root="alice")
    assert acls.account_of(authority.principal("alice", None)) == ROOT_ACCOUNT
    assert acls.account_of(authority.principal("robot", None)) == "alice"
    commit(create_key, people.authority.vault, ROOT, access_key="roots", policy=document(allow(READ)))
    assert Acls(store, root=ROOT).account_of(people.principal("roots")) == ROOT_ACCOUNT


def test_explain_of_those_who_cannot_sign(people: People, commit: Commit) -> None:
    people.add("alice", allow(READ))
    commit(create_key, people.authority.vault, "alice", access_key="robot")
    commit(set_user_enabled, "alice", is_enabled=False)
    assert people.authority.explain("alice", READ, "images/a").reason == "user alice is disabled"
    found = people.authority.explain("robot", READ, "images/a")
    assert (found.is_allowed, "parent alice" in found.reason) == (False, True)
    with pytest.raises(NotFoundError) as missing:
        people.authority.explain("nobody", READ, "images/a")
    assert missing.value.kind is ErrorKind.USER_NOT_FOUND


# Lists of buckets


def test_who_may_list_buckets_sees_all_and_others_those_they_may_look_at(people: People, commit: Commit) -> None:
    names = [BUCKET, "other", "third"]
    for name in names[1:]:
        commit(create_bucket, name)
    people.add("all", allow("s3:ListAllMyBuckets"))
    people.add("one", allow("s3:ListBucket", "other"))
    people.add("two", allow("s3:GetBucketLocation", "third"))
    people.add("none")
    people.set_bucket_policy(allow("s3:ListBucket", "third", **user("one")), bucket="third")

    def seen(who: str) -> Sequence[str]:
        return people.authority.visible_buckets(people.principal(who), names, NO_CONTEXT)

    assert seen(ROOT) == seen("all") == names
    assert seen("one") == ["other", "third"]
    assert seen("two") == ["third"]
    assert seen("none") == []


# What is remembered


def test_every_change_counts_for_principals_handed_out_before(people: People, commit: Commit) -> None:
    people.add("alice")
    alice = people.principal("alice")
    assert not people.may(alice, READ, "images/a")
    commit(attach, ["readonly"], user="alice")
    assert people.may(alice, READ, "images/a")
    people.set_bucket_policy(deny(READ, "images/*", **EVERYONE))
    assert not people.may(alice, READ, "images/a")
    people.set_bucket_policy()
    assert people.may(alice, READ, "images/a")
    commit(remove_user, "alice")
    assert not people.may(alice, READ, "images/a")


def test_a_new_bucket_does_not_inherit_the_policy_of_its_name(people: People, commit: Commit) -> None:
    people.set_bucket_policy(allow(READ, "images/*", **EVERYONE))
    assert people.may(ANONYMOUS, READ, "images/a")
    commit(delete_bucket, BUCKET)
    commit(create_bucket, BUCKET)
    assert not people.may(ANONYMOUS, READ, "images/a")


def test_another_process_hears_of_a_change_at_once(people: People, store: ObjectStore, commit: Commit) -> None:
    people.add("alice", allow(READ))
    with ObjectStore(store.path, clock=store.clock, space_reserve_bytes=0) as beside:
        other = Authority(beside, (ROOT, ROOT_SECRET))
        session = commit(issue_session, people.authority.vault, "alice")
        assert other.secrets("alice") == (SECRET,)
        assert other.secrets(session.access_key) == (session.secret,)
        alice = other.principal("alice", None)
        assert other.is_allowed(alice, READ, "images/a", NO_CONTEXT)
        commit(set_user_enabled, "alice", is_enabled=False)
        assert other.secrets("alice") == other.secrets(session.access_key) == ()
        assert not other.is_allowed(alice, READ, "images/a", NO_CONTEXT)


def test_a_reader_of_an_earlier_moment_leaves_nothing_behind(
    people: People, store: ObjectStore, commit: Commit
) -> None:
    people.add("alice", allow(READ))
    with store.view().snapshot():
        assert store.view().value("SELECT count(*) FROM identity_user") == 1  # the moment begins with the first read
        done = threading.Thread(target=lambda: commit(set_user_enabled, "alice", is_enabled=False))
        done.start()
        done.join()
        assert people.authority.secrets("alice") == (SECRET,), "this thread looks at the past"
    assert people.authority.secrets("alice") == ()


def test_strangers_do_not_push_out_those_who_are_known(people: People) -> None:
    people.add("alice")
    people.principal("alice")
    memory = people.authority._memory
    for number in range(50):
        assert people.authority.secrets(f"stranger-{number}") == ()
        assert not people.may(ANONYMOUS, READ, f"bucket-{number}/a")
    assert memory is people.authority._memory
    assert memory._account.cache_info().currsize == 1
    assert memory._bucket.cache_info().currsize == 0


def test_threads_ask_while_access_changes(people: People, commit: Commit) -> None:
    people.add("alice", allow(READ, "images/always/*"))
    alice = people.principal("alice")
    wrong: list[str] = []
    ending = threading.Event()

    def ask() -> None:
        while not ending.is_set():
            if not people.authority.is_allowed(alice, READ, "images/always/a", NO_CONTEXT):
                wrong.append("always")
            if people.authority.is_allowed(alice, WRITE, "images/never/a", NO_CONTEXT):
                wrong.append("never")

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(20):
        commit(put_policy, "unrelated", document(allow(READ, f"images/{number}/*")))
    ending.set()
    for thread in threads:
        thread.join()
    assert wrong == []


# Both ways of asking are one

ACTIONS, PLACES = (READ, WRITE, "s3:ListBucket", "s3:PutBucketPolicy"), ("images", "images/*", "images/a", "images/b/*")
STATEMENTS = st.lists(
    st.builds(
        lambda is_allow, action, place: (allow if is_allow else deny)(action, place),
        st.booleans(), st.sampled_from((*ACTIONS, "s3:*")), st.sampled_from((*PLACES, "*")),
    ),
    max_size=3,
)  # fmt: skip


def _objects(statement: dict[str, Any]) -> str:
    """Return what a statement says of objects: all of the bucket where it says nothing of the kind."""
    resource: str = statement["Resource"][0]
    return resource if "/" in resource else "arn:aws:s3:::images/*"


@given(own=STATEMENTS, bucket=STATEMENTS, cut=STATEMENTS, everyone=st.booleans(), is_restricted=st.booleans())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_fast_answer_is_the_explained_one(
    tmp_path_factory: pytest.TempPathFactory,
    own: list[dict[str, Any]],
    bucket: list[dict[str, Any]],
    cut: list[dict[str, Any]],
    everyone: bool,  # noqa: FBT001 - drawn by name
    is_restricted: bool,  # noqa: FBT001 - as above
) -> None:
    folder: Path = tmp_path_factory.mktemp("lake")
    with ObjectStore(folder / "lake", space_reserve_bytes=0) as store:
        authority = Authority(store, (ROOT, ROOT_SECRET))

        def write(tx: Any) -> None:
            create_bucket(tx, BUCKET)
            put_user(tx, authority.vault, "alice", SECRET)
            if own:
                put_policy(tx, "own", document(*own))
                attach(tx, ["own"], user="alice")
            if bucket:
                named = EVERYONE if everyone else user("alice")
                # Each statement is about the bucket and some of its objects: other pairs are refused when they are set.
                rows = [row | named | {"Resource": ["arn:aws:s3:::images", _objects(row)]} for row in bucket]
                set_document(tx, BUCKET, "policy", document(*rows))
            if is_restricted:
                set_document(tx, BUCKET, "public-access-block", '{"RestrictPublicBuckets": true}')
            policy = document(*cut) if cut else ""
            create_key(tx, authority.vault, "alice", access_key="robot", policy=policy)
            create_key(tx, authority.vault, ROOT, access_key="root-robot", policy=policy)

        store.commit(write)
        askers = [authority.principal(name, None) for name in (ROOT, "alice", "robot", "root-robot")]
        for principal in (*askers, ANONYMOUS, IN_PROCESS):
            for action in ACTIONS:
                for resource in ("images", "images/a", "images/b/c"):
                    fast = authority.is_allowed(principal, action, resource, NO_CONTEXT)
                    decision = authority.decide(principal, action, resource, NO_CONTEXT)
                    assert fast == (decision.effect is Effect.ALLOW), (principal.name, action, resource, decision)
