"""Times, documents and queries as clients of the admin API write them."""

import msgspec
import pytest

from hosu.server.minio_admin.call import NEVER_EXPIRES, NEVER_UPDATED, document, parse_query, parse_time, rfc3339
from hosu.server.minio_admin.errors import AdminError


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        (None, 0), ("", 0), (NEVER_EXPIRES, 0), (NEVER_UPDATED, 0), ("2030-01-31T12:00:00Z", 1_896_091_200_000),
        ("2030-01-31T13:00:00+01:00", 1_896_091_200_000), ("2030-01-31T12:00:00", 1_896_091_200_000),
        ("2030-01-31T12:00:00.5Z", 1_896_091_200_500), ("2030-01-31", 1_896_048_000_000),
        ("1969-12-31T23:59:59Z", -1_000),
    ],
)  # fmt: skip
def test_times_are_read_as_clients_write_them(text: str | None, milliseconds: int) -> None:
    assert parse_time(text, "expiration") == milliseconds


@pytest.mark.parametrize("text", ["tomorrow", "2030-13-01T00:00:00Z", "1896091200"])
def test_what_is_no_time_is_refused_by_the_name_of_its_field(text: str) -> None:
    with pytest.raises(AdminError, match="expiration"):
        parse_time(text, "expiration")


def test_a_time_that_is_written_reads_as_it_was() -> None:
    assert parse_time(rfc3339(1_896_091_200_123), "x") == 1_896_091_200_123
    assert (rfc3339(0), rfc3339(0, NEVER_EXPIRES)) == (NEVER_UPDATED, NEVER_EXPIRES)


@pytest.mark.parametrize("raw", [b"", b"null", b"{}", b'{"Version":"","Statement":null}', b'{"Statement":[]}'])
def test_a_policy_that_says_nothing_is_none(raw: bytes) -> None:
    assert document(msgspec.Raw(raw)) == ""


def test_a_policy_is_kept_as_it_is() -> None:
    text = '{"Version": "2012-10-17", "Statement": []}'
    assert document(msgspec.Raw(text.encode())) == text


def test_a_query_keeps_empty_and_repeated_values() -> None:
    assert parse_query(b"key=&user=a&user=b%20c") == {"key": [""], "user": ["a", "b c"]}
    for bad in (b"user=%ff", "user=ü".encode()):
        with pytest.raises(AdminError):
            parse_query(bad)
