import pytest
from tests.unit.objects.conftest import BUCKET, Commit, Put

from hosu.kernel.errors import ConflictError, ErrorKind, InvalidInputError, NotFoundError
from hosu.objects import aliases, buckets, multipart
from hosu.objects.delete import delete_object
from hosu.objects.records import Attributes, Usage, Versioning
from hosu.objects.store import ObjectStore


def test_a_name_is_given_once(commit: Commit) -> None:
    with pytest.raises(ConflictError) as refusal:
        commit(buckets.create_bucket, BUCKET)
    assert refusal.value.kind == ErrorKind.BUCKET_EXISTS


def test_a_bad_name_is_refused(commit: Commit) -> None:
    with pytest.raises(InvalidInputError):
        commit(buckets.create_bucket, "Bad")


def test_a_missing_bucket_is_named(store: ObjectStore) -> None:
    with pytest.raises(NotFoundError, match="'other'") as refusal:
        store.view().bucket("other")
    assert refusal.value.kind == ErrorKind.BUCKET_NOT_FOUND


def test_buckets_are_listed_by_name_in_pages(store: ObjectStore, commit: Commit) -> None:
    for name in ("b-2", "b-1", "a-1", "b.1"):
        commit(buckets.create_bucket, name)
    names = [it.name for it in buckets.list_buckets(store.view())]
    assert names == ["a-1", "b-1", "b-2", "b.1", BUCKET]
    page = buckets.list_buckets(store.view(), prefix="b", after="b-1", limit=1)
    assert [it.name for it in page] == ["b-2"]


@pytest.mark.parametrize("held", ["objects", "versions", "uploads in progress"])
def test_a_bucket_that_holds_something_stays(commit: Commit, put: Put, held: str) -> None:
    if held == "uploads in progress":
        commit(multipart.create_upload, BUCKET, "k", attributes=Attributes())
    else:
        commit(buckets.set_versioning, BUCKET, Versioning.ENABLED)
        put("k")
    if held == "versions":
        commit(delete_object, BUCKET, "k")
    with pytest.raises(ConflictError) as refusal:
        commit(buckets.delete_bucket, BUCKET)
    assert refusal.value.kind == ErrorKind.BUCKET_NOT_EMPTY
    assert refusal.value.details["held"] == held


def test_a_deleted_bucket_leaves_nothing_to_one_of_the_same_name(store: ObjectStore, commit: Commit, put: Put) -> None:
    put("t/1")
    commit(buckets.set_document, BUCKET, "cors", "<x/>")
    commit(aliases.set_alias, BUCKET, "a/", "t/")
    commit(delete_object, BUCKET, "t/1")
    commit(buckets.delete_bucket, BUCKET)
    bucket = commit(buckets.create_bucket, BUCKET)
    assert bucket.usage == Usage(0, 0, 0, 0, 0)
    assert buckets.get_document(store.view(), BUCKET, "cors") is None
    assert aliases.list_aliases(store.view(), bucket) == []
    assert aliases.alias_history(store.view(), BUCKET, "a/") == []


def test_versions_can_be_suspended_but_not_taken_back(store: ObjectStore, commit: Commit) -> None:
    for versioning in (Versioning.ENABLED, Versioning.SUSPENDED):
        commit(buckets.set_versioning, BUCKET, versioning)
        assert store.view().bucket(BUCKET).versioning == versioning
        with pytest.raises(ConflictError) as refusal:
            commit(buckets.set_versioning, BUCKET, Versioning.NEVER)
        assert refusal.value.kind == ErrorKind.BUCKET_VERSIONING_INVALID


def test_a_document_is_set_replaced_and_removed(store: ObjectStore, commit: Commit) -> None:
    assert buckets.get_document(store.view(), BUCKET, "tagging") is None
    for body in ("<one/>", "<two/>", None):
        commit(buckets.set_document, BUCKET, "tagging", body)
        assert buckets.get_document(store.view(), BUCKET, "tagging") == body


def test_two_buckets_of_one_batch_see_each_other(store: ObjectStore) -> None:
    def create_and_delete(tx: object) -> None:
        buckets.create_bucket(tx, "other")  # type: ignore[arg-type]
        buckets.delete_bucket(tx, "other")  # type: ignore[arg-type]
        buckets.create_bucket(tx, "other", region="eu")  # type: ignore[arg-type]

    store.commit(create_and_delete)
    assert store.view().bucket("other").region == "eu"
