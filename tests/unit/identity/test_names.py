"""Which names and secrets are allowed."""

import pytest

from hosu.identity.names import (
    check_access_key,
    check_name,
    check_secret,
    check_text,
    new_access_key,
    new_secret,
    new_token,
)
from hosu.kernel.errors import ErrorKind, InvalidInputError


@pytest.mark.parametrize("name", ["abc", "x" * 128, "alice@example.org", "a.b-c_d+e", "앨리스", "two words"])
def test_access_keys_may_be(name: str) -> None:
    check_access_key(name)


@pytest.mark.parametrize(
    "name",
    ["", "ab", "x" * 129, "a/b", "a,bc", "a=bc", "a*b", "a?b", "a:bc", 'a"bc', "a\\b",
     " abc", "abc ", "a\nbc", "a\0bc", "a\ud800bc"],
)  # fmt: skip
def test_access_keys_may_not_be(name: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        check_access_key(name, "user")
    assert refused.value.kind is ErrorKind.IDENTITY_NAME_INVALID
    assert "user" in refused.value.message


@pytest.mark.parametrize("name", ["anonymous", "in-process"])
def test_nobody_has_a_name_that_logs_use_for_somebody_else(name: str) -> None:
    with pytest.raises(InvalidInputError, match="means something else"):
        check_access_key(name)


@pytest.mark.parametrize("name", ["", "a/b", "a,b", "x" * 129])
def test_names_of_policies_and_groups_may_not_be(name: str) -> None:
    with pytest.raises(InvalidInputError, match="policy"):
        check_name(name, "policy")


@pytest.mark.parametrize("secret", ["", "1234567", "x" * 129, "12345\n678", "12345\ud800678"])
def test_a_secret_that_is_refused_is_not_shown(secret: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        check_secret(secret)
    assert refused.value.kind is ErrorKind.SECRET_INVALID
    assert not secret or secret not in str(refused.value)


def test_texts_of_keys_are_printable_and_short() -> None:
    check_text("for the nightly job", "description")
    for text in ("x" * 257, "two\nlines"):
        with pytest.raises(InvalidInputError, match="description"):
            check_text(text, "description")


def test_new_ones_are_long_all_different_and_allowed() -> None:
    keys, secrets, tokens = ({make() for _ in range(50)} for make in (new_access_key, new_secret, new_token))
    assert len(keys) == len(secrets) == len(tokens) == 50
    for key in keys:
        check_access_key(key)
    for secret in secrets:
        check_secret(secret)
    assert {len(key) for key in keys} == {20}
    assert {len(secret) for secret in secrets} == {40}
    assert {len(token) for token in tokens} == {64}
