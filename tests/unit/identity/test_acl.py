"""What ACLs allow, whose things are, and when what was read of a bucket is read again."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec
import pytest

from hosu.identity.acl import (
    ACL,
    ALL_USERS,
    AUTHENTICATED_USERS,
    BUCKET_PERMISSIONS,
    ENFORCED,
    FULL_CONTROL,
    GROUP,
    OBJECT_PERMISSIONS,
    OWNER_ACTIONS,
    OWNERSHIP,
    PERMISSIONS,
    PUBLIC_ACCESS_BLOCK,
    READ,
    ROOT,
    ROOT_ID,
    USER,
    WRITE,
    WRITER,
    Acls,
    PublicAccessBlock,
    canonical_id,
    default_acl,
    display_name,
    is_public,
)
from hosu.identity.users import list_user_names, put_user, remove_user
from hosu.identity.vault import Vault
from hosu.kernel.auth import ANONYMOUS, FixedContext, Principal
from hosu.objects.blobs import stage_inline
from hosu.objects.buckets import create_bucket, delete_bucket, set_document
from hosu.objects.put import PutRequest, put_object, set_acl
from hosu.objects.records import Acl, Attributes, Grant
from hosu.objects.store import ObjectStore
from hosu.objects.views import View

OWNER, OTHER = "owner@lake", "other"
EVERYTHING = sorted({*BUCKET_PERMISSIONS, *OBJECT_PERMISSIONS, *OWNER_ACTIONS})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ObjectStore]:
    with ObjectStore(tmp_path / "lake") as opened:
        opened.commit(partial(create_bucket, name="bucket", owner=OWNER))
        opened.commit(partial(set_document, name="bucket", kind=OWNERSHIP, body=WRITER))
        put(opened, "k")
        yield opened


@pytest.fixture
def acls(store: ObjectStore) -> Acls:
    return Acls(store, root="admin")


def put(store: ObjectStore, key: str, acl: Acl | None = None) -> None:
    request = PutRequest("bucket", key, stage_inline(b"x"), "e", attributes=Attributes(acl=acl))
    store.commit(partial(put_object, request=request))


def set_bucket_acl(store: ObjectStore, *grants: Grant) -> None:
    body = msgspec.json.encode(Acl(OWNER, grants)).decode()
    store.commit(partial(set_document, name="bucket", kind=ACL, body=body))


def allowed(acls: Acls, account: str | None) -> set[str]:
    """Return every action that ACLs decide and allow on the bucket, or on its object."""
    found = set()
    for action in EVERYTHING:
        is_about_key = action in OBJECT_PERMISSIONS or "Object" in action or "Upload" in action
        resource = "bucket/k" if is_about_key and action != "s3:ListBucketMultipartUploads" else "bucket"
        if acls.allows(account, action, resource):
            found.add(action)
    return found


def test_without_an_acl_the_owner_may_do_what_acls_decide_and_nobody_else_anything(acls: Acls) -> None:
    assert allowed(acls, OWNER) == set(EVERYTHING)
    assert allowed(acls, OTHER) == allowed(acls, None) == allowed(acls, ROOT) == set()


@pytest.mark.parametrize("permission", PERMISSIONS)
def test_each_permission_on_a_bucket_gives_its_own_actions(store: ObjectStore, acls: Acls, permission: str) -> None:
    set_bucket_acl(store, Grant(USER, OTHER, permission))
    expected = {action for action, needed in BUCKET_PERMISSIONS.items() if permission in {needed, FULL_CONTROL}}
    assert allowed(acls, OTHER) == expected
    assert allowed(acls, None) == set()


@pytest.mark.parametrize("permission", PERMISSIONS)
def test_each_permission_on_an_object_gives_its_own_actions(store: ObjectStore, acls: Acls, permission: str) -> None:
    put(store, "k", Acl(OWNER, (Grant(USER, OTHER, permission),)))
    expected = {action for action, needed in OBJECT_PERMISSIONS.items() if permission in {needed, FULL_CONTROL}}
    assert allowed(acls, OTHER) == expected


def test_groups_are_everybody_and_everybody_with_a_key(store: ObjectStore, acls: Acls) -> None:
    set_bucket_acl(store, Grant(GROUP, AUTHENTICATED_USERS, READ))
    assert acls.allows(OTHER, "s3:ListBucket", "bucket")
    assert not acls.allows(None, "s3:ListBucket", "bucket")
    set_bucket_acl(store, Grant(GROUP, ALL_USERS, READ))
    assert acls.allows(OTHER, "s3:ListBucket", "bucket")
    assert acls.allows(None, "s3:ListBucket", "bucket")
    assert not acls.allows(None, "s3:PutObject", "bucket/k")


def test_a_user_of_a_groups_name_is_no_group(store: ObjectStore, acls: Acls) -> None:
    set_bucket_acl(store, Grant(USER, ALL_USERS, READ))
    assert acls.allows(ALL_USERS, "s3:ListBucket", "bucket")
    assert not acls.allows(OTHER, "s3:ListBucket", "bucket")
    assert not acls.allows(None, "s3:ListBucket", "bucket")


def test_a_grant_to_root_lets_in_nobody_without_a_key(store: ObjectStore, acls: Acls) -> None:
    set_bucket_acl(store, Grant(USER, ROOT, FULL_CONTROL))
    assert acls.allows(ROOT, "s3:ListBucket", "bucket")
    assert allowed(acls, None) == set()


def test_an_owner_without_a_grant_may_still_mend_the_acl(store: ObjectStore, acls: Acls) -> None:
    set_bucket_acl(store)
    put(store, "k", Acl(OTHER, ()))
    assert allowed(acls, OWNER) == {"s3:GetBucketAcl", "s3:PutBucketAcl"}
    assert allowed(acls, OTHER) == {
        "s3:GetObjectAcl",
        "s3:GetObjectVersionAcl",
        "s3:PutObjectAcl",
        "s3:PutObjectVersionAcl",
    }


def test_versions_are_deleted_by_the_owner_of_the_bucket_alone(store: ObjectStore, acls: Acls) -> None:
    set_bucket_acl(store, Grant(GROUP, ALL_USERS, WRITE), Grant(USER, OWNER, FULL_CONTROL))
    assert acls.allows(OTHER, "s3:DeleteObject", "bucket/k")
    assert not acls.allows(OTHER, "s3:DeleteObjectVersion", "bucket/k")
    assert not acls.allows(None, "s3:DeleteObjectVersion", "bucket/k")
    assert acls.allows(OWNER, "s3:DeleteObjectVersion", "bucket/k")


def test_where_acls_do_not_count_they_allow_nothing(store: ObjectStore, acls: Acls) -> None:
    set_bucket_acl(store, Grant(GROUP, ALL_USERS, FULL_CONTROL))
    put(store, "k", Acl(OTHER, (Grant(GROUP, ALL_USERS, FULL_CONTROL),)))
    store.commit(partial(set_document, name="bucket", kind=OWNERSHIP, body=ENFORCED))
    assert allowed(acls, OWNER) == allowed(acls, OTHER) == allowed(acls, None) == set()
    assert acls.owner_of("s3:GetObject", "bucket", "k", None) == OWNER
    store.commit(partial(set_document, name="bucket", kind=OWNERSHIP, body=None))
    assert allowed(acls, None) == set(), "the lake's own ownership counts"
    assert allowed(Acls(store, ownership=WRITER), None) != set()


def test_ignored_public_acls_leave_those_that_name_users(store: ObjectStore, acls: Acls) -> None:
    set_bucket_acl(store, Grant(GROUP, ALL_USERS, READ), Grant(USER, OTHER, READ))
    block = msgspec.json.encode(PublicAccessBlock(ignore_public_acls=True)).decode()
    store.commit(partial(set_document, name="bucket", kind=PUBLIC_ACCESS_BLOCK, body=block))
    assert not acls.allows(None, "s3:ListBucket", "bucket")
    assert not acls.allows("a third", "s3:ListBucket", "bucket")
    assert acls.allows(OTHER, "s3:ListBucket", "bucket")


def test_what_is_not_there_is_allowed_to_nobody(acls: Acls) -> None:
    assert acls.facts("none") is None
    assert not acls.allows(OWNER, "s3:ListBucket", "none")
    assert not acls.allows(OWNER, "s3:GetObject", "bucket/none")
    assert not acls.allows(OWNER, "s3:GetObject", "bucket/k", FixedContext({"s3:versionid": ("0" * 32,)}))
    assert not acls.allows(OWNER, "s3:DeleteBucket", "bucket")
    assert not acls.allows(OWNER, "s3:NoSuchAction", "bucket")
    assert acls.owner_of("s3:GetObject", "none", "k", None) is None


def test_an_object_belongs_to_its_writer_for_what_its_acl_decides(store: ObjectStore, acls: Acls) -> None:
    put(store, "k", default_acl(OTHER))
    assert acls.owner_of("s3:GetObject", "bucket", "k", None) == OTHER
    assert acls.owner_of("s3:DeleteObject", "bucket", "k", None) == OWNER
    assert acls.owner_of("s3:ListBucket", "bucket", "", None) == OWNER
    assert acls.owner_of("s3:GetObject", "bucket", "none", None) == OWNER


def test_a_change_counts_at_once_also_by_another_process(tmp_path: Path, store: ObjectStore, acls: Acls) -> None:
    assert not acls.allows(OTHER, "s3:ListBucket", "bucket")
    with ObjectStore(tmp_path / "lake") as beside:
        set_bucket_acl(beside, Grant(USER, OTHER, READ))
    assert acls.allows(OTHER, "s3:ListBucket", "bucket")
    store.commit(partial(set_acl, bucket_name="bucket", key="k", version_id=None, acl=default_acl(OTHER)))
    assert acls.allows(OTHER, "s3:GetObject", "bucket/k")


def test_a_bucket_made_again_has_nothing_of_the_one_before(store: ObjectStore, acls: Acls) -> None:
    store.commit(partial(create_bucket, name="again", owner=OTHER))
    store.commit(partial(set_document, name="again", kind=OWNERSHIP, body=WRITER))
    assert acls.allows(OTHER, "s3:ListBucket", "again")
    store.commit(partial(delete_bucket, name="again"))
    assert acls.facts("again") is None
    store.commit(partial(create_bucket, name="again"))
    facts = acls.facts("again")
    assert facts is not None
    assert (facts.owner, facts.is_ownership_set, facts.acl) == (ROOT, False, default_acl(ROOT))


def test_facts_read_in_a_past_moment_are_not_kept(store: ObjectStore, acls: Acls) -> None:
    view = store.view()
    with view.snapshot():
        view.bucket("bucket")
        set_bucket_acl(store, Grant(USER, OTHER, READ))
        assert not acls.allows(OTHER, "s3:ListBucket", "bucket")
    assert acls.allows(OTHER, "s3:ListBucket", "bucket")


@pytest.mark.parametrize(
    ("principal", "account"),
    [
        (Principal("admin", "admin", is_root=True), ROOT),
        (Principal("admin", "service key", parent="admin"), ROOT),
        (Principal("alice", "alice"), "alice"),
        (Principal("alice", "service key", parent="alice"), "alice"),
        (ANONYMOUS, None),
    ],
    ids=["root", "root's key", "user", "user's key", "anonymous"],
)
def test_keys_and_sessions_stand_for_their_parents(acls: Acls, principal: Principal, account: str | None) -> None:
    assert acls.account_of(principal) == account


def test_an_id_names_a_user_as_long_as_there_is_one(store: ObjectStore, acls: Acls) -> None:
    vault = Vault(store)
    assert acls.user_with_id(canonical_id(OTHER)) is None
    store.commit(partial(put_user, vault=vault, name=OTHER, secret="a-secret-of-the-tests"))
    assert acls.user_with_id(canonical_id(OTHER)) == OTHER
    assert acls.user_with_id(ROOT_ID) is None
    store.commit(partial(remove_user, name=OTHER))
    assert acls.user_with_id(canonical_id(OTHER)) is None


def test_users_are_looked_up_once_however_many_grants_name_them(
    store: ObjectStore, acls: Acls, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.commit(partial(put_user, vault=Vault(store), name=OTHER, secret="a-secret-of-the-tests"))
    looks = []

    def look(view: View) -> list[str]:
        looks.append(view)
        return list_user_names(view)

    monkeypatch.setattr("hosu.identity.acl.list_user_names", look)
    assert {acls.user_with_id(canonical_id(name)) for name in (OTHER, "nobody") * 50} == {OTHER, None}
    assert len(looks) == 1


def test_accounts_have_ids_that_stay_and_differ() -> None:
    assert canonical_id(ROOT) == ROOT_ID
    assert display_name(ROOT) == "hosu"
    ids = {canonical_id(name) for name in (ROOT, "a", "b", "hosu")}
    assert len(ids) == 4
    assert {len(name) for name in ids} == {64}


def test_public_is_what_lets_in_a_group() -> None:
    assert is_public(Acl("a", (Grant(GROUP, ALL_USERS, READ),)))
    assert is_public(Acl("a", (Grant(GROUP, AUTHENTICATED_USERS, READ),)))
    assert not is_public(Acl("a", (Grant(USER, ALL_USERS, READ),)))
