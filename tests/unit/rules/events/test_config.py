"""Rules of notifications: names, ARNs, overlaps, and which events they meet."""

from functools import partial

import msgspec
import pytest
from tests.unit.rules.events.conftest import BUCKET, TARGET, delete, put, rule

from hosu.kernel.errors import ErrorKind, InvalidInputError, NotFoundError
from hosu.objects.feed import Event
from hosu.objects.notifications import read_notifications
from hosu.objects.store import ObjectStore
from hosu.rules.events.config import (
    Rule,
    Rules,
    arn_of,
    check_rules,
    get_rules,
    parse_arn,
    read_rules,
    set_rules,
    wanted_events,
)
from hosu.rules.events.names import FAMILIES, expand, name_of


def event(kind: str = "ObjectCreated:Put", key: str = "k", seq: int = 10, actor: str = "alice") -> Event:
    return Event(seq, 0, kind, BUCKET, key, "null", 1, "etag", actor)


def refused(rules: list[Rule]) -> str:
    with pytest.raises(InvalidInputError) as error:
        check_rules(rules)
    assert error.value.kind is ErrorKind.INVALID_ARGUMENT
    return error.value.message


def test_a_star_stands_for_a_family() -> None:
    assert expand("s3:ObjectRemoved:*") == {"s3:ObjectRemoved:Delete", "s3:ObjectRemoved:DeleteMarkerCreated"}
    assert expand("s3:ObjectCreated:Put") == {"s3:ObjectCreated:Put"}
    assert all(expand(f"{family}:*") for family in FAMILIES)


def test_other_names_of_events_mean_the_same() -> None:
    assert expand("s3:LifecycleTransition") == expand("s3:ObjectTransition:Complete")
    assert expand("s3:ObjectCreated:PutTagging") == expand("s3:ObjectTagging:Put")


@pytest.mark.parametrize(
    "name", ["", "s3:*", "ObjectCreated:Put", "s3:ObjectCreated", "s3:ObjectCreated:", "s3:ObjectCreated:*:*",
             "s3:Replication:*", "s3:ReducedRedundancyLostObject"],
)  # fmt: skip
def test_what_is_no_event_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError):
        expand(name)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("ObjectCreated:Put", "s3:ObjectCreated:Put"),
        ("ObjectRemoved:DeleteMarkerCreated", "s3:ObjectRemoved:DeleteMarkerCreated"),
        ("ObjectAccessed:Get", "s3:ObjectAccessed:Get"),
        ("BucketCreated", "s3:BucketCreated:*"),
        ("BucketDocument:policy", None),
        ("LakeDocument:merit", None),
        ("AliasSwitched", None),
    ],
)
def test_events_of_the_feed_have_names_where_anybody_may_hear_of_them(kind: str, name: str | None) -> None:
    assert name_of(event(kind)) == name


def test_what_lifecycle_removes_is_told_as_such() -> None:
    assert name_of(event("ObjectRemoved:Delete", actor="hosu:lifecycle")) == "s3:LifecycleExpiration:Delete"
    assert name_of(event("ObjectRemoved:Delete", actor="hosu:merit")) == "s3:ObjectRemoved:Delete"


def test_an_arn_names_a_target() -> None:
    assert parse_arn("arn:minio:sqs::ID:webhook") == "webhook:ID"
    assert parse_arn("arn:minio:sqs:here:ID:redis", "here") == "redis:ID"
    assert parse_arn("arn:minio:sqs::ID:kafka", "here") == "kafka:ID"
    assert arn_of("kafka:ID", "here") == "arn:minio:sqs:here:ID:kafka"
    for wrong in (
        "",
        "arn:minio:sqs::ID",
        "arn:minio:sqs::ID:nats",
        "arn:minio:sqs:there:ID:kafka",
        "arn:aws:sqs::a:b",
    ):
        with pytest.raises(InvalidInputError):
            parse_arn(wrong, "here")


@pytest.mark.parametrize(
    ("first", "second", "overlaps"),
    [
        (("a/", ""), ("a/b/", ""), True),
        (("a/", ""), ("b/", ""), False),
        (("", ".jpg"), ("", "photo.jpg"), True),
        (("", ".jpg"), ("", ".png"), False),
        (("a/", ".jpg"), ("a/", ".png"), False),
        (("a/", ".jpg"), ("", ""), True),
    ],
)
def test_rules_overlap_where_a_key_can_meet_both(
    first: tuple[str, str], second: tuple[str, str], *, overlaps: bool
) -> None:
    rules = [rule(name="1", prefix=first[0], suffix=first[1]), rule(name="2", prefix=second[0], suffix=second[1])]
    if overlaps:
        assert "overlapping" in refused(rules)
    else:
        check_rules(rules)


def test_other_events_or_another_target_do_not_overlap() -> None:
    check_rules([rule(TARGET, "s3:ObjectCreated:*", name="1"), rule(TARGET, "s3:ObjectRemoved:*", name="2")])
    check_rules([rule(TARGET, name="1"), rule("redis:two", name="2")])
    assert "overlapping" in refused(
        [rule(TARGET, "s3:ObjectCreated:*", name="1"), rule(TARGET, "s3:ObjectCreated:Put", name="2")]
    )


def test_what_a_configuration_may_not_be_is_refused() -> None:
    assert "unique" in refused([rule(prefix="a"), rule(prefix="b")])
    assert "needs an Event" in refused([msgspec.structs.replace(rule(), events=())])
    assert "1024 bytes" in refused([rule(prefix="é" * 513)])
    assert "at most 255" in refused([rule(name="i" * 256)])
    assert "at most 100" in refused([rule(name=str(number), prefix=f"{number:03}") for number in range(101)])


def test_nothing_changes_where_rules_are_refused(store: ObjectStore) -> None:
    before = read_notifications(store.view())
    with pytest.raises(InvalidInputError):
        store.commit(partial(set_rules, bucket=BUCKET, rules=[rule(name="1"), rule(name="2")]))
    with pytest.raises(NotFoundError):
        store.commit(partial(set_rules, bucket="missing", rules=[rule()]))
    assert read_notifications(store.view()) == before
    assert get_rules(store.view(), BUCKET) == [rule()]


def test_each_event_is_met_by_the_rule_in_force_when_it_happened(store: ObjectStore) -> None:
    put(store, "a")
    store.commit(partial(set_rules, bucket=BUCKET, rules=[rule(TARGET, "s3:ObjectRemoved:*", name="r2", prefix="b")]))
    for key in "ab":
        put(store, key)
        delete(store, key)
    rules = read_rules(store.view(), TARGET)
    events = [Event(*row) for row in store.view().rows("SELECT * FROM event WHERE key <> '' ORDER BY seq")]
    met = [(each.kind, each.key, found[1].id) for each in events if (found := rules.find(each, TARGET)) is not None]
    assert met == [("ObjectCreated:Put", "a", "r1"), ("ObjectRemoved:Delete", "b", "r2")]


def test_rules_of_other_targets_and_buckets_meet_nothing(store: ObjectStore) -> None:
    rules = Rules(read_notifications(store.view()))
    assert rules.find(event(seq=100), TARGET) is not None
    assert rules.find(event(seq=100), "redis:two") is None
    assert rules.find(msgspec.structs.replace(event(seq=100), bucket="others"), TARGET) is None


def test_what_is_wanted_is_what_rules_in_force_ask_for(store: ObjectStore) -> None:
    store.commit(partial(set_rules, bucket=BUCKET, rules=[rule(TARGET, "s3:ObjectAccessed:Get")]))
    assert wanted_events(store.view()) == {BUCKET: {"s3:ObjectAccessed:Get"}}
    store.commit(partial(set_rules, bucket=BUCKET, rules=[]))
    assert wanted_events(store.view()) == {}
