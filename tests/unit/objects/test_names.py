import pytest

from hosu.kernel.errors import ErrorKind, InvalidInputError
from hosu.kernel.limits import KEY_BYTES_MAX, METADATA_BYTES_MAX, TAGS_PER_OBJECT_MAX
from hosu.objects.names import check_attributes, check_bucket_name, check_key, check_tags
from hosu.objects.records import Attributes


@pytest.mark.parametrize("name", ["abc", "a-b", "a.b", "0ab", "a" * 63, "1.2.3", "256x"])
def test_bucket_names_that_s3_takes_are_taken(name: str) -> None:
    check_bucket_name(name)


@pytest.mark.parametrize(
    "name",
    ["", "ab", "a" * 64, "Abc", "a_b", "-ab", "ab-", ".ab", "ab.", "a..b", "a.-b", "a-.b", "192.168.0.1", "a b",
     "é" * 3, "abc\n", "xn--abc", "sthree-abc", "abc-s3alias", "abc--ol-s3", "abc.mrap", "abc--x-s3", "minio"],
)  # fmt: skip
def test_bucket_names_that_s3_refuses_are_refused(name: str) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        check_bucket_name(name)
    assert refusal.value.kind == ErrorKind.BUCKET_NAME_INVALID


@pytest.mark.parametrize(
    "key", ["k", "k" * KEY_BYTES_MAX, "é" * (KEY_BYTES_MAX // 2), "..", "a//b", "\x00", "\U0010ffff"]
)
def test_any_utf8_up_to_the_limit_is_a_key(key: str) -> None:
    check_key(key)


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("", ErrorKind.KEY_INVALID),
        ("\ud800", ErrorKind.KEY_INVALID),
        ("k" * (KEY_BYTES_MAX + 1), ErrorKind.KEY_TOO_LONG),
        ("é" * (KEY_BYTES_MAX // 2) + "k", ErrorKind.KEY_TOO_LONG),
    ],
)
def test_keys_that_are_empty_not_text_or_too_long_are_refused(key: str, kind: ErrorKind) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        check_key(key)
    assert refusal.value.kind == kind


def test_user_metadata_is_limited_in_bytes_of_names_and_values() -> None:
    check_attributes(Attributes(metadata={"ab": "é" * (METADATA_BYTES_MAX // 2 - 1)}))
    with pytest.raises(InvalidInputError) as refusal:
        check_attributes(Attributes(metadata={"abc": "é" * (METADATA_BYTES_MAX // 2 - 1)}))
    assert refusal.value.kind == ErrorKind.METADATA_TOO_LARGE


@pytest.mark.parametrize(
    "tags",
    [{str(number): "" for number in range(TAGS_PER_OBJECT_MAX + 1)}, {"": "v"}, {"k" * 129: ""}, {"k": "v" * 257},
     {"aws:k": ""}, {"AWS:k": ""}],
)  # fmt: skip
def test_tags_that_s3_refuses_are_refused(tags: dict[str, str]) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        check_tags(tags, TAGS_PER_OBJECT_MAX)
    assert refusal.value.kind == ErrorKind.TAG_INVALID


def test_tags_at_their_limits_are_taken() -> None:
    check_tags({f"{number}" + "k" * 127: "v" * 256 for number in range(TAGS_PER_OBJECT_MAX)}, TAGS_PER_OBJECT_MAX)
