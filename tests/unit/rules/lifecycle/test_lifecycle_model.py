"""Rules that are refused, and rules that come back as they were."""

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import pytest

from hosu.kernel.errors import CorruptError, ErrorKind, InvalidInputError, NotFoundError
from hosu.objects.buckets import create_bucket, delete_bucket, set_document
from hosu.objects.protected import ProtectedPrefix, set_protected
from hosu.objects.store import ObjectStore
from hosu.rules.lifecycle.keeping import expires_below, get_lifecycle, set_lifecycle
from hosu.rules.lifecycle.model import (
    ALL_FROM_128K,
    DAY_MS,
    DOCUMENT,
    Filter,
    Lifecycle,
    NoncurrentTransition,
    Rule,
    Transition,
    check_lifecycle,
    decode_lifecycle,
    encode_lifecycle,
)

BUCKET = "images"
Set = Callable[..., None]
ARGUMENT, REQUEST = ErrorKind.INVALID_ARGUMENT, ErrorKind.REQUEST_MALFORMED


def test_a_lifecycle_is_kept_as_it_was_said() -> None:
    rules = (
        Rule("all", filter=Filter(prefix="a/", tags={"k": "v"}, size_above=1, form="and"), expire_days=3),
        Rule("old", is_enabled=False, noncurrent_days=1, noncurrent_keep=2),
        Rule(
            "cold", transitions=(Transition("COLD", days=1),), noncurrent_transitions=(NoncurrentTransition("COLD", 2),)
        ),
    )
    lifecycle = Lifecycle(rules, 7, ALL_FROM_128K)
    check_lifecycle(lifecycle)
    assert decode_lifecycle(encode_lifecycle(lifecycle), BUCKET) == lifecycle


def test_a_document_that_cannot_be_read_names_its_bucket() -> None:
    with pytest.raises(CorruptError, match="images"):
        decode_lifecycle("{", BUCKET)


def test_rules_are_remembered_with_the_time_they_were_set(store: ObjectStore, rule: Set, clock: Any) -> None:
    rule(Rule("r", expire_days=1))
    found = get_lifecycle(store.view(), BUCKET)
    assert found is not None
    assert found.updated_ms == clock.now_ms()
    store.commit(partial(set_lifecycle, bucket_name=BUCKET, lifecycle=None))
    assert get_lifecycle(store.view(), BUCKET) is None


def test_every_process_hears_of_new_rules(store: ObjectStore, rule: Set) -> None:
    before = store.generation.number()
    rule(Rule("r", expire_days=1))
    assert store.generation.number() > before


@pytest.mark.parametrize(
    ("rules", "kind", "what"),
    [
        ((), ARGUMENT, "1 to 1000 rules"),
        ((Rule("r", expire_days=1),) * 2, ARGUMENT, "Rule ID must be unique"),
        ((Rule("r" * 256, expire_days=1),), ARGUMENT, "255"),
        ((Rule("r"),), REQUEST, "At least one action"),
        ((Rule("r", expire_days=0),), ARGUMENT, "'Days' for Expiration action must be a positive integer"),
        ((Rule("r", expire_days=1 << 31),), ARGUMENT, "'Days' for Expiration"),
        ((Rule("r", expire_at_ms=DAY_MS + 1),), ARGUMENT, "midnight"),
        ((Rule("r", expire_days=1, expire_at_ms=DAY_MS),), ARGUMENT, "takes one of"),
        ((Rule("r", expire_days=1, removes_markers=True),), ARGUMENT, "takes one of"),
        ((Rule("r", abort_days=0),), ARGUMENT, "DaysAfterInitiation"),
        ((Rule("r", noncurrent_days=0),), ARGUMENT, "NoncurrentDays"),
        ((Rule("r", noncurrent_days=1, noncurrent_keep=-1),), ARGUMENT, "NewerNoncurrentVersions"),
        ((Rule("r", filter=Filter(tags={"k": "v"}), removes_markers=True),), REQUEST, "Tags"),
        ((Rule("r", filter=Filter(tags={"k": "v"}), abort_days=1),), REQUEST, "Tags"),
        ((Rule("r", filter=Filter(size_above=1), abort_days=1),), REQUEST, "Object Size"),
        ((Rule("r", filter=Filter(size_above=-1), expire_days=1),), ARGUMENT, "ObjectSizeGreaterThan"),
        ((Rule("r", filter=Filter(size_above=8, size_below=8), expire_days=1),), ARGUMENT, "no object"),
        ((Rule("r", transitions=(Transition("COLD"),)),), ARGUMENT, "one of Days and Date"),
        ((Rule("r", transitions=(Transition("COLD", days=-1),)),), ARGUMENT, "nonnegative"),
        ((Rule("r", transitions=(Transition("COLD", at_ms=1),)),), ARGUMENT, "midnight"),
        ((Rule("r", transitions=(Transition("STANDARD", days=1),)),), ARGUMENT, "'STANDARD'"),
        ((Rule("r", expire_days=2, transitions=(Transition("COLD", days=2),)),), ARGUMENT, "greater than"),
        ((Rule("r", expire_days=2, transitions=(Transition("COLD", at_ms=DAY_MS),)),), REQUEST, "mixed"),
        ((Rule("r", transitions=(Transition("COLD", days=1), Transition("COLD", days=2))),), REQUEST, "StorageClass"),
        (
            (Rule("r", noncurrent_days=1, noncurrent_transitions=(NoncurrentTransition("COLD", 1),)),),
            ARGUMENT,
            "NoncurrentDays",
        ),
    ],
)
def test_rules_that_cannot_be_are_refused_with_the_reason(rules: tuple[Rule, ...], kind: ErrorKind, what: str) -> None:
    with pytest.raises(InvalidInputError, match=what) as refused:
        check_lifecycle(Lifecycle(rules))
    assert refused.value.kind == kind


def test_a_refused_lifecycle_leaves_the_one_before(store: ObjectStore, rule: Set) -> None:
    rule(Rule("r", expire_days=1))
    with pytest.raises(InvalidInputError):
        rule(Rule("s", expire_days=0))
    found = get_lifecycle(store.view(), BUCKET)
    assert found is not None
    assert [one.id for one in found.rules] == ["r"]


def test_a_bucket_that_is_missing_has_no_lifecycle_to_set_or_read(store: ObjectStore) -> None:
    with pytest.raises(NotFoundError):
        get_lifecycle(store.view(), "missing")
    with pytest.raises(NotFoundError):
        store.commit(partial(set_lifecycle, bucket_name="missing", lifecycle=Lifecycle((Rule("r", expire_days=1),))))


def test_a_bucket_made_again_has_no_rules_of_the_one_before(store: ObjectStore, rule: Set) -> None:
    rule(Rule("r", expire_days=1))
    store.commit(partial(delete_bucket, name=BUCKET))
    store.commit(partial(create_bucket, name=BUCKET))
    assert get_lifecycle(store.view(), BUCKET) is None


PROTECTED = "models/production/"


@pytest.mark.parametrize("prefix", ["", "models/", PROTECTED, f"{PROTECTED}current/", None])
@pytest.mark.parametrize("what", [{"expire_days": 1}, {"expire_at_ms": DAY_MS}, {"noncurrent_days": 1}])
def test_rules_that_would_remove_what_is_protected_are_refused(
    store: ObjectStore, rule: Set, prefix: str | None, what: dict[str, int]
) -> None:
    store.commit(partial(set_protected, entries=[ProtectedPrefix(BUCKET, PROTECTED)]))
    unsafe = msgspec.structs.replace(Rule("r", filter=Filter(prefix=prefix)), **what)
    with pytest.raises(InvalidInputError, match=PROTECTED) as refused:
        rule(unsafe)
    assert refused.value.kind == ARGUMENT
    assert get_lifecycle(store.view(), BUCKET) is None
    rule(msgspec.structs.replace(unsafe, is_enabled=False))
    assert expires_below(store.view(), BUCKET, PROTECTED) is None


def test_rules_that_remove_nothing_protected_are_let_be(store: ObjectStore, rule: Set) -> None:
    store.commit(partial(set_protected, entries=[ProtectedPrefix(BUCKET, PROTECTED)]))
    rule(
        Rule("elsewhere", filter=Filter(prefix="models/training/"), expire_days=1),
        Rule("uploads", filter=Filter(prefix=PROTECTED), abort_days=1),
        Rule("cold", filter=Filter(prefix=PROTECTED), transitions=(Transition("COLD", days=1),)),
    )
    view = store.view()
    assert expires_below(view, BUCKET, PROTECTED) is None
    assert expires_below(view, BUCKET, "models/training/v1/") == "elsewhere"
    assert expires_below(view, BUCKET, "models/") == "elsewhere"
    assert expires_below(view, BUCKET, "other/") is None


def test_a_lifecycle_that_cannot_be_read_is_an_error_not_none(store: ObjectStore) -> None:
    store.commit(partial(set_document, name=BUCKET, kind=DOCUMENT, body="{"))
    with pytest.raises(CorruptError):
        expires_below(store.view(), BUCKET, "a/")
