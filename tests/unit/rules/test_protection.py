"""The list of protected prefixes: what may stand in it, and what may not beside it."""

from functools import partial

import pytest
from tests.unit.objects.conftest import BUCKET, Commit, clock, commit, lake, put, stage, store

from hosu.kernel.errors import ConflictError, HosuError, NotFoundError
from hosu.objects.protected import ProtectedPrefix, list_protected
from hosu.objects.store import ObjectStore
from hosu.rules.lifecycle.keeping import set_lifecycle
from hosu.rules.lifecycle.model import Filter, Lifecycle, Rule
from hosu.rules.merit import MeritRule, put_merit, remove_merit
from hosu.rules.protection import protect, unprotect

__all__ = ["clock", "commit", "lake", "put", "stage", "store"]


def expiring(prefix: str) -> Lifecycle:
    return Lifecycle(rules=(Rule(id="tidy", filter=Filter(prefix=prefix), expire_days=30),))


def test_a_prefix_is_protected_and_no_longer(store: ObjectStore, commit: Commit) -> None:
    models = ProtectedPrefix(BUCKET, "models/", "/mnt/copies")
    commit(protect, models)
    commit(protect, ProtectedPrefix(BUCKET, "keep/"))
    moved = ProtectedPrefix(BUCKET, "models/", "/mnt/elsewhere")
    commit(protect, moved)
    assert list_protected(store.view()) == (ProtectedPrefix(BUCKET, "keep/"), moved)
    assert commit(unprotect, BUCKET, "models/") == moved
    assert [entry.prefix for entry in list_protected(store.view())] == ["keep/"]
    assert store.view().bucket(BUCKET).protected == 1


@pytest.mark.parametrize("prefix", ["models/production/", "models", "", "models/"])
def test_prefixes_do_not_hold_each_other(commit: Commit, prefix: str) -> None:
    commit(protect, ProtectedPrefix(BUCKET, "models/"))
    if prefix == "models/":
        commit(protect, ProtectedPrefix(BUCKET, prefix))
        return
    with pytest.raises(ConflictError, match="overlaps"):
        commit(protect, ProtectedPrefix(BUCKET, prefix))


@pytest.mark.parametrize("prefix", ["/models/", "a\x00b", "x" * 1_025, "\ud800"])
def test_a_prefix_that_no_key_has_is_refused(store: ObjectStore, commit: Commit, prefix: str) -> None:
    with pytest.raises(HosuError):
        commit(protect, ProtectedPrefix(BUCKET, prefix))
    assert list_protected(store.view()) == ()


def test_a_bucket_that_is_missing_is_named(commit: Commit) -> None:
    with pytest.raises(NotFoundError, match="nowhere"):
        commit(protect, ProtectedPrefix("nowhere", "a/"))


def test_what_is_not_protected_cannot_stop_being_so(commit: Commit) -> None:
    commit(protect, ProtectedPrefix(BUCKET, "models/"))
    with pytest.raises(NotFoundError, match="models/"):
        commit(unprotect, BUCKET, "model/")


@pytest.mark.parametrize(
    ("rule_prefix", "prefix"), [("", "models/"), ("models/", "models/a/"), ("models/a/", "models/")]
)
def test_a_rule_that_would_delete_what_is_protected_and_its_protection_exclude_each_other(
    store: ObjectStore, commit: Commit, rule_prefix: str, prefix: str
) -> None:
    commit(set_lifecycle, BUCKET, expiring(rule_prefix))
    with pytest.raises(ConflictError, match="tidy"):
        commit(protect, ProtectedPrefix(BUCKET, prefix))
    commit(set_lifecycle, BUCKET, None)
    commit(protect, ProtectedPrefix(BUCKET, prefix))
    with pytest.raises(HosuError, match="protected prefix"):
        store.commit(partial(set_lifecycle, bucket_name=BUCKET, lifecycle=expiring(rule_prefix)))
    commit(set_lifecycle, BUCKET, expiring("elsewhere/"))


@pytest.mark.parametrize(
    ("rule_prefix", "prefix"), [("models/", "models/a/"), ("models/a/", "models/"), ("", "models/")]
)
def test_a_rule_of_merit_and_protection_exclude_each_other_too(commit: Commit, rule_prefix: str, prefix: str) -> None:
    rule = MeritRule(id="best", bucket=BUCKET, prefix=rule_prefix, path="map50")
    commit(put_merit, rule)
    with pytest.raises(ConflictError, match="best"):
        commit(protect, ProtectedPrefix(BUCKET, prefix))
    commit(remove_merit, "best")
    commit(protect, ProtectedPrefix(BUCKET, prefix))
    with pytest.raises(ConflictError, match="protected prefix"):
        commit(put_merit, rule)
