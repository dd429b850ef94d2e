"""Every kind of error has S3's answer, and the answer is an error of HTTP."""

import xml.etree.ElementTree as ET

import pytest

from hosu.kernel.errors import AccessDeniedError, ErrorKind, HosuError, InvalidInputError, NotFoundError
from hosu.server.s3.errors import PROTOCOL_CODES, S3_CODES, STATUS_OF_CODE, error_response, protocol_error, s3_code
from hosu.server.s3.request_errors import S3RequestError


def element(body: object, name: str) -> str | None:
    assert isinstance(body, bytes)
    return ET.fromstring(body).findtext(name)


@pytest.mark.parametrize("kind", ErrorKind)
def test_every_kind_has_a_code_and_an_error_status(kind: ErrorKind) -> None:
    code, status = S3_CODES[kind]
    assert code.replace(".", "").isalnum()
    assert 400 <= status < 600


def test_a_code_has_one_status_wherever_it_comes_from() -> None:
    differing = {
        code: (status, STATUS_OF_CODE.get(code, 400))
        for code, status in S3_CODES.values()
        if status != STATUS_OF_CODE.get(code, 400)
    }
    # These are found by the engine only, never raised by name.
    assert differing == {
        code: (status, 400)
        for code, status in {
            "AliasReadOnly": 409,
            "BucketAlreadyOwnedByYou": 409,
            "BucketNotEmpty": 409,
            "InvalidBucketState": 409,
            "InvalidRequest": 409,
            "NoSuchAlias": 404,
            "NoSuchBucket": 404,
            "NoSuchKey": 404,
            "NoSuchVersion": 404,
            "XMinioAdminNoSuchGroup": 404,
            "XMinioAdminNoSuchPolicy": 404,
            "XMinioAdminNoSuchUser": 404,
            "XMinioKMSKeyAlreadyExists": 409,
            "XMinioStorageFull": 507,
        }.items()
    }


def test_a_request_error_answers_with_its_own_code() -> None:
    assert s3_code(S3RequestError("NoSuchTagSet", "none")) == ("NoSuchTagSet", 404)
    assert s3_code(S3RequestError("MalformedXML", "bad")) == ("MalformedXML", 400)


def test_a_refused_permission_is_access_denied() -> None:
    assert s3_code(AccessDeniedError(ErrorKind.ACCESS_DENIED, "no")) == ("AccessDenied", 403)


@pytest.mark.parametrize(
    ("version_id", "expected"),
    [
        ("0" * 32, ("NoSuchVersion", 404)),
        ("null", ("NoSuchVersion", 404)),
        ("not-a-version", ("InvalidArgument", 400)),
        ("z" * 32, ("InvalidArgument", 400)),
    ],
)
def test_a_version_that_could_not_be_one_is_a_bad_argument(version_id: str, expected: tuple[str, int]) -> None:
    error = NotFoundError(ErrorKind.VERSION_NOT_FOUND, "no such version", version_id=version_id)
    assert s3_code(error) == expected


def test_too_many_tags_are_a_bad_request_and_bad_ones_invalid_tags() -> None:
    assert s3_code(InvalidInputError(ErrorKind.TAG_INVALID, "bad")) == ("InvalidTag", 400)
    assert s3_code(InvalidInputError(ErrorKind.TAG_INVALID, "many", too_many=True)) == ("BadRequest", 400)


def test_an_error_names_its_resource_request_and_details() -> None:
    error = NotFoundError(ErrorKind.OBJECT_NOT_FOUND, "there is no <k>", key="a&b")
    answer = error_response(error, "/images/a&b", "R1", is_head=False)
    assert answer.status == 404
    assert (b"x-amz-request-id", b"R1") in answer.headers
    expected = {"Code": "NoSuchKey", "Message": "there is no <k>", "Resource": "/images/a&b", "RequestId": "R1"}
    assert {name: element(answer.body, name) for name in expected} == expected
    assert element(answer.body, "Key") == "a&b"


def test_a_hidden_object_shows_the_marker_that_hides_it() -> None:
    error = NotFoundError(ErrorKind.OBJECT_NOT_FOUND, "hidden", key="k", marker_version_id="7")
    headers = error_response(error, "/b/k", "R1", is_head=False).headers
    assert (b"x-amz-delete-marker", b"true") in headers
    assert (b"x-amz-version-id", b"7") in headers


def test_a_range_outside_tells_the_size() -> None:
    error = InvalidInputError(ErrorKind.RANGE_INVALID, "outside", size_bytes=12)
    answer = error_response(error, "/b/k", "R1", is_head=False)
    assert answer.status == 416
    assert (b"Content-Range", b"bytes */12") in answer.headers


def test_the_answer_to_a_head_has_no_body() -> None:
    error: HosuError = NotFoundError(ErrorKind.OBJECT_NOT_FOUND, "none", key="k")
    assert not error_response(error, "/b/k", "R1", is_head=True).body


@pytest.mark.parametrize("status", [*PROTOCOL_CODES, 418])
def test_what_the_protocol_refuses_has_a_code_too(status: int) -> None:
    answer = protocol_error(status, "because", "R1")
    assert answer.status == status
    assert element(answer.body, "Code") == PROTOCOL_CODES.get(status, "BadRequest")
