"""Signatures of version 2 made by botocore and by AWS's examples, and requests changed after signing."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import pytest
from botocore.auth import HmacV1Auth, HmacV1QueryAuth  # type: ignore[import-untyped,unused-ignore]
from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped,unused-ignore]
from botocore.credentials import Credentials  # type: ignore[import-untyped,unused-ignore]
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hosu.kernel.errors import ErrorKind
from hosu.server.s3.request_errors import S3RequestError
from hosu.server.s3.routes import OPERATIONS
from hosu.server.s3.signing import format_date, parse_date
from hosu.server.s3.sigv2 import SUB_RESOURCES, sign, string_to_sign
from hosu.server.s3.sigv4 import SKEW_MS_MAX, PayloadKind, Verified, verify

ACCESS_KEY, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
NOW_MS = 1_700_000_000_000
NOW_DATE = b"Tue, 14 Nov 2023 22:13:20 GMT"
HOST = {b"host": b"lake:9000"}
EXPIRES_S = NOW_MS // 1000 + 60

UNSIGNED_ROUTING = {"events", "list-type"}
"""Parameters that pick a handler and that clients do not sign: both are listings of the same bucket."""


def secrets_of(access_key: str) -> Sequence[str]:
    return (SECRET,) if access_key == ACCESS_KEY else ()


def check(
    headers: Mapping[bytes, bytes],
    method: str = "GET",
    path: bytes = b"/b/k",
    query: bytes = b"",
    now_ms: int = NOW_MS,
    virtual_bucket: str = "",
) -> Verified:
    verified = verify(method, path, query, headers, secrets_of, now_ms, virtual_bucket=virtual_bucket)
    assert verified is not None
    return verified


def refusal(
    headers: Mapping[bytes, bytes],
    method: str = "GET",
    path: bytes = b"/b/k",
    query: bytes = b"",
    now_ms: int = NOW_MS,
    virtual_bucket: str = "",
) -> S3RequestError:
    with pytest.raises(S3RequestError) as refused:
        check(headers, method, path, query, now_ms, virtual_bucket)
    return refused.value


def signed(
    method: str = "GET",
    resource: bytes = b"/b/k",
    extra: Mapping[bytes, bytes] | None = None,
    date: bytes | None = None,
) -> dict[bytes, bytes]:
    """Return headers of a request dated now whose signature has this resource, and `date` in its date's line."""
    headers = HOST | {b"date": NOW_DATE} | dict(extra or {})
    message = string_to_sign(method, headers[b"date"] if date is None else date, headers, resource)
    return headers | {b"authorization": b"AWS %b:%b" % (ACCESS_KEY.encode(), sign(SECRET, message))}


def presigned(
    method: str = "GET",
    resource: bytes = b"/b/k",
    query: bytes = b"",
    headers: Mapping[bytes, bytes] = HOST,
    expires: bytes = b"%d" % EXPIRES_S,
) -> bytes:
    """Return the query of a URL with these headers and this resource signed."""
    signature = quote(sign(SECRET, string_to_sign(method, expires, headers, resource)), "").encode()
    auth = b"AWSAccessKeyId=%b&Expires=%b&Signature=%b" % (ACCESS_KEY.encode(), expires, signature)
    return query + b"&" + auth if query else auth


def lower_headers(request: Any) -> dict[bytes, bytes]:
    headers = {
        name.lower().encode(): (value if isinstance(value, bytes) else value.encode("latin-1")).strip()
        for name, value in request.headers.items()
    }
    return HOST | headers


keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
header_values = st.text("ab  ,;%\"'=:", max_size=12)
sub_resources = st.lists(
    st.tuples(
        st.sampled_from(["versionId", "response-content-type", "uploadId", "partNumber", "prefix", "list-type"]),
        st.text("ab =+%/é한~;", max_size=8),
    ),
    max_size=4,
)


def botocore_url(key: str, query: list[tuple[str, str]]) -> str:
    url = f"http://lake:9000/bucket/{quote(key, '/~')}"
    return url + "?" + urlencode(query, quote_via=quote, safe="~") if query else url


@settings(max_examples=60, deadline=None)
@given(key=keys, query=sub_resources, value=header_values, method=st.sampled_from(["GET", "PUT", "DELETE"]))
def test_what_botocore_signs_in_headers_is_accepted(
    key: str, query: list[tuple[str, str]], value: str, method: str
) -> None:
    url = botocore_url(key, query)
    headers = {"x-amz-meta-b": value, "x-amz-meta-a": "1", "content-type": "text/plain", "content-md5": "abc="}
    request = AWSRequest(method, url, headers=headers, data=b"body")
    HmacV1Auth(Credentials(ACCESS_KEY, SECRET)).add_auth(request)
    sent = lower_headers(request)
    _, now_ms = parse_date(sent[b"date"])
    parts = urlsplit(url)
    verified = check(sent, method, parts.path.encode(), parts.query.encode(), now_ms)
    assert (verified.access_key, verified.payload, verified.payload_sha256) == (ACCESS_KEY, PayloadKind.UNSIGNED, None)
    assert not verified.presigned


@settings(max_examples=40, deadline=None)
@given(key=keys, query=sub_resources)
def test_what_botocore_presigns_is_accepted_until_it_expires(key: str, query: list[tuple[str, str]]) -> None:
    request = AWSRequest("GET", botocore_url(key, query))
    HmacV1QueryAuth(Credentials(ACCESS_KEY, SECRET), expires=60).add_auth(request)
    parts = urlsplit(str(request.url))
    path, raw_query = parts.path.encode(), parts.query.encode()
    expires_ms = int(parts.query.rpartition("Expires=")[2]) * 1000
    assert check(HOST, path=path, query=raw_query, now_ms=expires_ms).presigned
    late = refusal(HOST, path=path, query=raw_query, now_ms=expires_ms + 1)
    assert (late.code, late.message) == ("AccessDenied", "Request has expired")


def test_headers_that_botocore_presigns_must_be_sent() -> None:
    headers = {"content-type": "text/plain", "x-amz-meta-a": "b"}
    request = AWSRequest("PUT", "http://lake:9000/b/k", headers=headers)
    HmacV1QueryAuth(Credentials(ACCESS_KEY, SECRET), expires=60).add_auth(request)
    query = urlsplit(str(request.url)).query.encode()
    now_ms = int(query.rpartition(b"Expires=")[2]) * 1000
    sent = HOST | {b"content-type": b"text/plain", b"x-amz-meta-a": b"b"}
    check(sent, "PUT", query=query, now_ms=now_ms)
    for name in (b"content-type", b"x-amz-meta-a"):
        fewer = {other: value for other, value in sent.items() if other != name}
        assert refusal(fewer, "PUT", query=query, now_ms=now_ms).code == "SignatureDoesNotMatch"


def test_a_security_token_is_signed_in_a_header_or_in_the_url() -> None:
    credentials = Credentials(ACCESS_KEY, SECRET, "a+token/=")
    in_header = AWSRequest("GET", "http://lake:9000/b/k")
    HmacV1Auth(credentials).add_auth(in_header)
    headers = lower_headers(in_header)
    _, now_ms = parse_date(headers[b"date"])
    assert check(headers, now_ms=now_ms).session_token == "a+token/="
    in_url = AWSRequest("GET", "http://lake:9000/b/k")
    HmacV1QueryAuth(credentials, expires=60).add_auth(in_url)
    query = urlsplit(str(in_url.url)).query.encode()
    assert check(HOST, query=query, now_ms=now_ms).session_token == "a+token/="
    other = query.replace(b"a%2Btoken", b"b%2Btoken")
    assert other != query
    assert refusal(HOST, query=other, now_ms=now_ms).code == "SignatureDoesNotMatch"
    sent_too = HOST | {b"x-amz-security-token": b"another"}
    assert refusal(sent_too, query=query, now_ms=now_ms).code == "SignatureDoesNotMatch"


# From "Signing and authenticating REST requests" of the S3 reference; the bucket is in the host's name.
AWS_EXAMPLES = [
    ("GET", b"/photos/puppy.jpg", b"", {b"date": b"Tue, 27 Mar 2007 19:36:42 +0000"}, b"bWq2s1WEIj+Ydj0vQ697zp+IXMU="),
    (
        "PUT",
        b"/photos/puppy.jpg",
        b"",
        {b"date": b"Tue, 27 Mar 2007 21:15:45 +0000", b"content-type": b"image/jpeg", b"content-length": b"94328"},
        b"MyyxeRY7whkBe+bq8fHCL/2kKUg=",
    ),
    (
        "GET",
        b"/",
        b"prefix=photos&max-keys=50&marker=puppy",
        {b"date": b"Tue, 27 Mar 2007 19:42:41 +0000"},
        b"htDYFYduRNen8P9ZfE/s9SuKy0U=",
    ),
    ("GET", b"/", b"acl", {b"date": b"Tue, 27 Mar 2007 19:44:46 +0000"}, b"c2WLPFtWHVgbEmeEG93a4cG37dM="),
]
UPLOAD_EXAMPLE = {
    b"date": b"Tue, 27 Mar 2007 21:06:08 +0000",
    b"x-amz-acl": b"public-read",
    b"content-type": b"application/x-download",
    b"content-md5": b"4gJE4saaMU4BqNR0kLY+lw==",
    b"x-amz-meta-reviewedby": b"joe@johnsmith.net,jane@johnsmith.net",
    b"x-amz-meta-filechecksum": b"0x02661779",
    b"x-amz-meta-checksumalgorithm": b"crc32",
    b"authorization": b"AWS AKIAIOSFODNN7EXAMPLE:ilyl83RwaSoYIEdixDQcA4OnAnc=",
}


@pytest.mark.parametrize(("method", "path", "query", "extra", "signature"), AWS_EXAMPLES)
def test_the_examples_of_the_aws_reference_are_accepted_as_printed(
    method: str, path: bytes, query: bytes, extra: dict[bytes, bytes], signature: bytes
) -> None:
    _, now_ms = parse_date(extra[b"date"])
    headers = extra | {
        b"host": b"johnsmith.s3.amazonaws.com",
        b"authorization": b"AWS AKIAIOSFODNN7EXAMPLE:" + signature,
    }
    assert check(headers, method, path, query, now_ms, "johnsmith").signature == signature
    assert refusal(headers, method, path, query, now_ms, "another").code == "SignatureDoesNotMatch"
    assert refusal(headers, method, path, query, now_ms).code == "SignatureDoesNotMatch"


def test_the_upload_and_the_presigned_example_of_the_aws_reference_are_accepted_as_printed() -> None:
    _, now_ms = parse_date(UPLOAD_EXAMPLE[b"date"])
    check(UPLOAD_EXAMPLE, "PUT", b"/db-backup.dat.gz", b"", now_ms, "static.johnsmith.net")
    query = b"AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D&Expires=1175139620"
    check({}, "GET", b"/photos/puppy.jpg", query, 1_175_139_620_000, "johnsmith")


@settings(max_examples=40)
@given(key=keys)
def test_a_bucket_in_the_host_is_signed_like_one_in_the_path(key: str) -> None:
    path = b"/" + quote(key).encode()
    headers = signed(resource=b"/b" + path)
    check(headers, path=path, virtual_bucket="b")
    check(headers, path=b"/b" + path)


def test_a_bucket_alone_may_be_signed_with_or_without_its_slash() -> None:
    for resource in (b"/b", b"/b/"):
        check(signed("PUT", resource), "PUT", path=b"/b")
    check(signed(resource=b"/b/?acl"), path=b"/b", query=b"acl")
    check(signed(resource=b"/b/"), path=b"/", virtual_bucket="b")
    check(signed(resource=b"/"), path=b"/")
    assert refusal(signed(resource=b"/b/k/")).code == "SignatureDoesNotMatch"
    assert refusal(signed(resource=b"/b/k/"), path=b"/k", virtual_bucket="b").code == "SignatureDoesNotMatch"
    assert refusal(signed(resource=b"//"), path=b"/").code == "SignatureDoesNotMatch"


@pytest.mark.parametrize(("sent", "resource"), [(b"/b/a(1)", b"/b/a%281%29"), (b"/b/%e1", b"/b/%E1")])
def test_a_path_escaped_another_way_than_it_was_signed_is_accepted(sent: bytes, resource: bytes) -> None:
    check(signed(resource=resource), path=sent)


def test_an_empty_sub_resource_is_signed_with_or_without_its_equals_sign() -> None:
    for resource in (b"/b/k?uploads", b"/b/k?uploads="):
        check(signed("POST", resource), "POST", query=b"uploads=")
    check(signed("POST", b"/b/k?uploads"), "POST", query=b"uploads")


def test_sub_resources_are_signed_decoded_and_by_name() -> None:
    check(signed("PUT", b"/b/k?partNumber=3&uploadId=a b/c"), "PUT", query=b"uploadId=a+b%2Fc&x-id=X&partNumber=3")


def changed(value: bytes) -> bytes:
    return value[:-1] + (b"0" if value[-1:] != b"0" else b"1")


@pytest.mark.parametrize("name", [b"x-amz-meta-a", b"content-md5", b"content-type", b"authorization"])
def test_a_changed_signed_header_is_refused(name: bytes) -> None:
    headers = signed(extra={b"x-amz-meta-a": b"v", b"content-md5": b"abcd", b"content-type": b"text/plain"})
    check(headers)
    refused = refusal(headers | {name: changed(headers[name])})
    assert (refused.code, refused.kind) == ("SignatureDoesNotMatch", ErrorKind.ACCESS_DENIED)
    removed = {other: value for other, value in headers.items() if other != name}
    if name != b"authorization":
        assert refusal(removed).code == "SignatureDoesNotMatch"


@pytest.mark.parametrize("name", [b"x-amz-acl", b"x-amz-copy-source", b"x-amz-security-token", b"content-type"])
def test_a_header_added_to_a_signed_request_is_refused(name: bytes) -> None:
    assert refusal(signed("PUT") | {name: b"/b/secret"}, "PUT").code == "SignatureDoesNotMatch"
    query = presigned("PUT")
    check(HOST, "PUT", query=query)
    assert refusal(HOST | {name: b"/b/secret"}, "PUT", query=query).code == "SignatureDoesNotMatch"


def test_a_changed_method_path_or_time_is_refused() -> None:
    headers = signed()
    check(headers)
    for changes in ({"method": "PUT"}, {"path": b"/b/K"}, {"path": b"/b//k"}, {"path": b"/c/k"}):
        assert refusal(headers, **changes).code == "SignatureDoesNotMatch"
    later = headers | {b"date": NOW_DATE.replace(b":20 GMT", b":21 GMT")}
    assert refusal(later).code == "SignatureDoesNotMatch"


@pytest.mark.parametrize("name", sorted(SUB_RESOURCES))
def test_a_sub_resource_added_to_a_signed_request_is_refused(name: bytes) -> None:
    escaped = b"%%%02x" % name[0] + name[1:]
    for added in (name, name + b"=7", escaped + b"=7"):
        assert refusal(signed(), query=added).code == "SignatureDoesNotMatch"
        assert refusal(HOST, query=presigned() + b"&" + added).code == "SignatureDoesNotMatch"


def test_every_parameter_that_picks_an_operation_is_signed() -> None:
    routing = {name for operation in OPERATIONS for name in operation.parameters}
    assert routing - UNSIGNED_ROUTING <= {name.decode() for name in SUB_RESOURCES}


def test_a_value_that_reads_as_a_parameter_more_is_refused() -> None:
    headers = signed(resource=b"/b/k?response-content-type=a&versionId=7")
    check(headers, query=b"response-content-type=a&versionId=7")
    assert refusal(headers, query=b"response-content-type=a%26versionId%3D7").code == "SignatureDoesNotMatch"
    check(signed(resource=b"/b/k?response-content-type=R&D=1"), query=b"response-content-type=R%26D%3D1")


def test_of_a_repeated_parameter_the_first_stays_the_first() -> None:
    headers = signed(resource=b"/b/k?versionId=1&versionId=2")
    check(headers, query=b"versionId=1&versionId=2")
    assert refusal(headers, query=b"versionId=2&versionId=1").code == "SignatureDoesNotMatch"


@settings(max_examples=100)
@given(st.data())
def test_a_presigned_query_changed_anywhere_is_refused(data: st.DataObject) -> None:
    query = presigned(resource=b"/b/k?versionId=7", query=b"versionId=7")
    check(HOST, query=query)
    position = data.draw(st.integers(0, len(query) - 1))
    byte = data.draw(st.sampled_from(b"abcXYZ019_.").filter(lambda drawn: drawn != query[position]))
    tampered = query[:position] + bytes([byte]) + query[position + 1 :]
    # Escapes may be spelt in either case: then the query still says the same.
    assume(tampered.lower() != query.lower() or b"%" not in query[position - 2 : position + 1])
    try:
        verified = verify("GET", b"/b/k", tampered, HOST, secrets_of, NOW_MS)
    except S3RequestError:
        return
    assert verified is None


@settings(max_examples=60)
@given(access_key=st.text(st.characters(codec="utf-8"), min_size=1), secret=st.text(max_size=80), key=keys)
def test_any_key_and_secret_sign_and_another_secret_does_not(access_key: str, secret: str, key: str) -> None:
    path = b"/b/" + quote(key).encode()
    message = string_to_sign("GET", b"%d" % EXPIRES_S, HOST, path)
    query = urlencode({"AWSAccessKeyId": access_key, "Expires": EXPIRES_S, "Signature": sign(secret, message)})
    raw_query = query.replace("+", "%20").encode()
    verified = verify("GET", path, raw_query, HOST, lambda name: (secret,) if name == access_key else (), NOW_MS)
    assert verified is not None
    assert verified.access_key == access_key
    with pytest.raises(S3RequestError):
        verify("GET", path, raw_query, HOST, lambda _: (secret + "x",), NOW_MS)


def test_a_secret_being_rotated_is_accepted_beside_the_new_one() -> None:
    verified = verify("GET", b"/b/k", b"", signed(), lambda _: ("the new secret", SECRET), NOW_MS)
    assert verified is not None
    assert verified.access_key == ACCESS_KEY


def test_an_unknown_access_key_is_refused_by_name() -> None:
    headers = signed()
    nobody = {b"authorization": headers[b"authorization"].replace(ACCESS_KEY.encode(), b"NOBODY")}
    assert refusal(headers | nobody).code == "InvalidAccessKeyId"
    assert refusal(HOST, query=presigned().replace(ACCESS_KEY.encode(), b"%FF%00")).code == "InvalidAccessKeyId"


@pytest.mark.parametrize("skew_ms", [SKEW_MS_MAX + 1000, -SKEW_MS_MAX - 1000])
def test_a_clock_too_far_off_is_refused(skew_ms: int) -> None:
    assert refusal(signed(), now_ms=NOW_MS + skew_ms).code == "RequestTimeTooSkewed"
    check(signed(), now_ms=NOW_MS + skew_ms // 2)


@pytest.mark.parametrize(
    ("date", "code"),
    [
        (b"", "AccessDenied"),
        (b"Bad Date", "AccessDenied"),
        (b"1700000000", "AccessDenied"),
        (b"Tue, 07 Jul 1950 21:53:04 GMT", "AccessDenied"),
        (b"Tue, 07 Jul 2010 21:53:04 GMT", "RequestTimeTooSkewed"),
        (b"Tue, 07 Jul 2030 21:53:04 GMT", "RequestTimeTooSkewed"),
        (b"Tue, 07 Jul 9999 21:53:04 GMT", "RequestTimeTooSkewed"),
    ],
)
def test_a_date_that_is_none_or_not_now_is_refused_in_either_header(date: bytes, code: str) -> None:
    assert refusal(signed(extra={b"x-amz-date": date})).code == code
    assert refusal(signed(extra={b"date": date})).code == code


def test_without_a_date_access_is_denied() -> None:
    headers = signed(date=b"")
    del headers[b"date"]
    assert refusal(headers).code == "AccessDenied"


@pytest.mark.parametrize("amz_date", [NOW_DATE, format_date(NOW_MS)])
def test_beside_an_amz_date_the_date_is_signed_as_empty_or_as_it_is_sent(amz_date: bytes) -> None:
    check(signed(extra={b"x-amz-date": amz_date}, date=b""))
    check(signed(extra={b"x-amz-date": amz_date}))
    alone = signed(extra={b"x-amz-date": amz_date}, date=b"")
    del alone[b"date"]
    check(alone)
    assert refusal(signed(date=b"")).code == "SignatureDoesNotMatch"


@pytest.mark.parametrize("authorization", [b"AWS HAHAHA", b"AWS :c2ln", b"AWS AKIA:", b"AWS :", b"AWS AKIA x:c2ln"])
def test_a_malformed_authorization_header_is_refused(authorization: bytes) -> None:
    assert refusal(signed() | {b"authorization": authorization}).code == "InvalidArgument"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"&Signature=", b"&Sig="),
        (b"&Expires=", b"&Exp="),
        (b"AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE", b"AWSAccessKeyId="),
        (b"&Expires=", b"&Expires=&E="),
        (b"&Expires=", b"&Expires=x"),
        (b"&Expires=", b"&Expires=-"),
        (b"&Expires=", b"&Expires=" + b"1" * 20),
        (b"&Expires=", b"&Expires=9&Expires="),
    ],
)
def test_malformed_presigned_parameters_are_denied(old: bytes, new: bytes) -> None:
    query = presigned()
    assert old in query
    assert refusal(HOST, query=query.replace(old, new)).code == "AccessDenied"


def test_an_unescaped_plus_of_a_signature_is_read_as_one() -> None:
    paths = (b"/b/%d" % number for number in range(1000))
    path, query = next((path, query) for path in paths if b"%2B" in (query := presigned(resource=path)))
    check(HOST, path=path, query=query.replace(b"%2B", b"+"))


def test_a_later_expiry_than_was_signed_is_refused() -> None:
    query = presigned()
    later = query.replace(b"Expires=%d" % EXPIRES_S, b"Expires=%d" % (EXPIRES_S + 1))
    assert refusal(HOST, query=later).code == "SignatureDoesNotMatch"


def test_one_request_is_signed_one_way() -> None:
    assert refusal(signed(), query=presigned()).code == "InvalidArgument"


def test_an_aws_chunked_body_is_refused_before_it_is_taken_as_it_comes() -> None:
    for kind in (PayloadKind.STREAMING_SIGNED, PayloadKind.STREAMING_UNSIGNED_TRAILER):
        headers = signed("PUT", extra={b"x-amz-content-sha256": kind.value.encode()})
        assert refusal(headers, "PUT").code == "InvalidRequest"


def test_services_other_than_s3_do_not_know_this_version() -> None:
    with pytest.raises(S3RequestError) as refused:
        verify("GET", b"/b/k", b"", signed(), secrets_of, NOW_MS, services=frozenset({"sts"}))
    assert refused.value.code == "InvalidArgument"
    assert verify("GET", b"/b/k", presigned(), HOST, secrets_of, NOW_MS, services=frozenset({"sts"})) is None


@settings(max_examples=200)
@given(
    authorization=st.binary(max_size=40).map(lambda tail: b"AWS " + tail),
    query=st.binary(max_size=60).map(lambda tail: b"AWSAccessKeyId=" + tail),
    path=st.binary(max_size=20),
    date=st.binary(max_size=20) | st.just(NOW_DATE),
)
def test_garbage_is_never_accepted(authorization: bytes, query: bytes, path: bytes, date: bytes) -> None:
    with suppress(S3RequestError):
        assert (
            verify("GET", path, b"", HOST | {b"authorization": authorization, b"date": date}, secrets_of, NOW_MS)
            is None
        )
    with suppress(S3RequestError):
        assert verify("GET", path, query, HOST | {b"date": date}, secrets_of, NOW_MS) is None
