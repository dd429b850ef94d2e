"""Aliases: reads look through them, writes below them are refused, and they never hold each other."""

from collections.abc import Callable

import pytest
from tests.unit.objects.conftest import BUCKET, Commit, Put

from hosu.kernel.errors import ConflictError, ErrorKind, HosuError, InvalidInputError, NotFoundError
from hosu.objects import aliases, multipart
from hosu.objects.delete import delete_object
from hosu.objects.listing import ListRequest, list_objects
from hosu.objects.put import CopyRequest, copy_object, set_tags
from hosu.objects.read import find, find_with_blob
from hosu.objects.records import Attributes
from hosu.objects.store import ObjectStore


@pytest.fixture(autouse=True)
def _models(put: Put, commit: Commit) -> None:
    for key in ("v1/a", "v1/b", "v2/a", "z"):
        put(key, key.encode())
    commit(aliases.set_alias, BUCKET, "now/", "v1/", actor="ci")


def test_reads_below_an_alias_answer_with_its_target(store: ObjectStore, commit: Commit) -> None:
    view = store.view()
    for target in ("v1/", "v2/"):
        if target == "v2/":
            commit(aliases.set_alias, BUCKET, "now/", target)
        record, blob = find_with_blob(view, BUCKET, "now/a")
        assert blob is not None
        assert (record.key, blob.body) == ("now/a", f"{target}a".encode())
    with pytest.raises(NotFoundError, match="'now/b'"):
        find(view, BUCKET, "now/b")


@pytest.mark.parametrize("verb", ["put", "copy", "delete", "tag", "upload"])
def test_writes_below_an_alias_are_refused(put: Put, commit: Commit, verb: str) -> None:
    verbs: dict[str, Callable[[], object]] = {
        "put": lambda: put("now/a"),
        "copy": lambda: commit(copy_object, CopyRequest(BUCKET, "z", BUCKET, "now/a")),
        "delete": lambda: commit(delete_object, BUCKET, "now/a"),
        "tag": lambda: commit(set_tags, BUCKET, "now/a", None, {}),
        "upload": lambda: commit(multipart.create_upload, BUCKET, "now/a", attributes=Attributes()),
    }
    with pytest.raises(ConflictError, match="v1/") as refusal:
        verbs[verb]()
    assert refusal.value.kind == ErrorKind.ALIAS_READ_ONLY


def test_keys_beside_an_alias_are_written_as_ever(put: Put) -> None:
    for key in ("now", "nowhere", "now0", "no"):
        put(key)


def test_a_listing_that_goes_on_keeps_the_targets_it_began_with(store: ObjectStore, commit: Commit) -> None:
    first = list_objects(store.view(), ListRequest(BUCKET, prefix="now/", limit=1))
    commit(aliases.set_alias, BUCKET, "now/", "v2/")
    second = list_objects(store.view(), ListRequest(BUCKET, prefix="now/", after=first.last, aliases=first.aliases))
    assert [it.key for it in first.entries + second.entries] == ["now/a", "now/b"]
    assert [it.key for it in list_objects(store.view(), ListRequest(BUCKET, prefix="now/")).entries] == ["now/a"]


def test_history_says_who_switched_what_and_revert_goes_back(store: ObjectStore, commit: Commit) -> None:
    commit(aliases.set_alias, BUCKET, "now/", "v2/", actor="me")
    assert commit(aliases.revert_alias, BUCKET, "now/").target == "v1/"
    history = aliases.alias_history(store.view(), BUCKET, "now/")
    assert [(it.source, it.target, it.actor) for it in history] == [
        ("v2/", "v1/", ""), ("v1/", "v2/", "me"), (None, "v1/", "ci")
    ]  # fmt: skip


def test_a_first_target_cannot_be_reverted(commit: Commit) -> None:
    with pytest.raises(ConflictError):
        commit(aliases.revert_alias, BUCKET, "now/")


def test_an_alias_is_not_reverted_to_a_target_that_another_alias_has_taken(commit: Commit, put: Put) -> None:
    commit(aliases.set_alias, BUCKET, "now/", "v2/")
    put("other/k")
    commit(aliases.set_alias, BUCKET, "v1/x/", "other/")
    with pytest.raises(ConflictError):
        commit(aliases.revert_alias, BUCKET, "now/")


def test_a_removed_alias_leaves_its_target(store: ObjectStore, commit: Commit) -> None:
    commit(aliases.remove_alias, BUCKET, "now/")
    assert store.view().bucket(BUCKET).alias_count == 0
    assert find(store.view(), BUCKET, "v1/a").size_bytes == 4
    with pytest.raises(NotFoundError):
        find(store.view(), BUCKET, "now/a")
    for verb in (aliases.remove_alias, aliases.revert_alias):
        with pytest.raises(NotFoundError) as refusal:
            commit(verb, BUCKET, "now/")
        assert refusal.value.kind == ErrorKind.ALIAS_NOT_FOUND


@pytest.mark.parametrize(
    ("prefix", "target", "error"),
    [
        ("x", "v1/", InvalidInputError),
        ("x/", "v1", InvalidInputError),
        ("x/", "x/y/", InvalidInputError),
        ("x/y/", "x/", InvalidInputError),
        pytest.param("x\x00/", "v1/", InvalidInputError, id="NUL"),
        ("", "v1/", InvalidInputError),
        ("x/", "none/", NotFoundError),
        ("v2/", "v1/", ConflictError),  # objects are stored there
        ("now/", "v1/", ConflictError),  # it points there already
        ("now/x/", "v2/", ConflictError),  # below an alias
        ("x/", "now/", ConflictError),  # to an alias
        ("x/", "now/a/", ConflictError),
        ("v1/x/", "v2/", ConflictError),  # in the target of another
    ],
)
def test_aliases_that_would_hold_each_other_or_hide_objects_are_refused(
    store: ObjectStore, commit: Commit, prefix: str, target: str, error: type[HosuError]
) -> None:
    with pytest.raises(error):
        commit(aliases.set_alias, BUCKET, prefix, target)
    assert [it.prefix for it in aliases.list_aliases(store.view(), store.view().bucket(BUCKET))] == ["now/"]
