"""Forms of whatever bytes are read, or refused by name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hosu.server.sts.answers import StsError
from hosu.server.sts.service import _duration, _read_form


@given(body=st.binary(max_size=200), query=st.binary(max_size=100))
def test_any_bytes_are_a_form_or_refused(body: bytes, query: bytes) -> None:
    code, parameters = "", dict[str, str]()
    try:
        parameters = _read_form(body, query)
    except StsError as refused:
        code = refused.code
    assert code in {"", "MalformedInput"}
    assert isinstance("".join([*parameters, *parameters.values()]).encode(), bytes), "it can be written again"


def test_body_and_query_are_one_form() -> None:
    assert _read_form(b"Action=AssumeRole&Policy=%7B%7D", b"Version=2011-06-15") == {
        "Action": "AssumeRole",
        "Policy": "{}",
        "Version": "2011-06-15",
    }
    with pytest.raises(StsError, match="twice"):
        _read_form(b"Action=AssumeRole", b"Action=GetSessionToken")


@pytest.mark.parametrize(
    "given", ["-900", "899", "604801", "9" * 40, "0900".zfill(5_000), "1e3", "٩٠٠", "900.0", " 900"]
)
def test_durations_that_are_none(given: str) -> None:
    with pytest.raises(StsError, match="900 to 604800"):
        _duration({"DurationSeconds": given}, 3600)


def test_durations_that_are_some() -> None:
    assert [_duration({"DurationSeconds": text}, 1) for text in ("900", "604800", "")] == [900, 604_800, 1]
