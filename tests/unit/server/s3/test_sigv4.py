"""Signatures made by botocore, by hosu's own signer and by AWS's examples, and requests changed after signing."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth  # type: ignore[import-untyped,unused-ignore]
from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped,unused-ignore]
from botocore.credentials import Credentials  # type: ignore[import-untyped,unused-ignore]
from hypothesis import given, settings
from hypothesis import strategies as st

from hosu.kernel.errors import ErrorKind
from hosu.server.s3.request_errors import S3RequestError
from hosu.server.s3.signing import (
    canonical_query,
    canonical_request,
    format_date,
    parse_date,
    presign,
    sign_headers,
    signing_key,
    sorted_query,
    string_to_sign,
)
from hosu.server.s3.sigv4 import SKEW_MS_MAX, PayloadKind, Verified, verify

ACCESS_KEY, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
NOW_MS = 1_700_000_000_000
HOST = {b"host": b"lake:9000"}


def secrets_of(access_key: str) -> Sequence[str]:
    return (SECRET,) if access_key == ACCESS_KEY else ()


def lower_headers(request: Any) -> dict[bytes, bytes]:
    headers = {}
    for name, value in request.headers.items():
        text = value if isinstance(value, str) else value.decode()
        headers[name.lower().encode()] = text.encode("latin-1").strip()
    headers.setdefault(b"host", urlsplit(str(request.url)).netloc.encode())
    return headers


def own(
    method: str = "GET", path: bytes = b"/b/k", query: bytes = b"", extra: Mapping[bytes, bytes] | None = None
) -> dict[bytes, bytes]:
    return sign_headers(method, path, query, {**HOST, **(extra or {})}, ACCESS_KEY, SECRET, NOW_MS)


def check(
    headers: Mapping[bytes, bytes],
    method: str = "GET",
    path: bytes = b"/b/k",
    query: bytes = b"",
    now_ms: int = NOW_MS,
    region: str | None = None,
) -> Verified:
    verified = verify(method, path, query, headers, secrets_of, now_ms, region=region)
    assert verified is not None
    return verified


def refusal(
    headers: Mapping[bytes, bytes],
    method: str = "GET",
    path: bytes = b"/b/k",
    query: bytes = b"",
    now_ms: int = NOW_MS,
    region: str | None = None,
) -> S3RequestError:
    with pytest.raises(S3RequestError) as refused:
        check(headers, method, path, query, now_ms, region)
    return refused.value


keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
pairs = st.lists(
    st.tuples(st.text("abz-~ &=+%/Xé", min_size=1, max_size=6), st.text("ab &=+%/é한~", max_size=8)), max_size=4
)
header_values = st.text("ab  \t,;%\"'=", max_size=12)


@settings(max_examples=60, deadline=None)
@given(key=keys, query=pairs, value=header_values, method=st.sampled_from(["GET", "PUT", "DELETE"]))
def test_what_botocore_signs_in_headers_is_accepted(
    key: str, query: list[tuple[str, str]], value: str, method: str
) -> None:
    url = f"http://lake:9000/bucket/{quote(key, '/~')}"
    if query:
        url += "?" + urlencode(query, quote_via=quote, safe="~")
    request = AWSRequest(method, url, headers={"x-amz-meta-x": value, "content-type": "text/plain"}, data=b"body")
    S3SigV4Auth(Credentials(ACCESS_KEY, SECRET), "s3", "us-east-1").add_auth(request)
    headers = lower_headers(request)
    parts = urlsplit(url)
    _, now_ms = parse_date(headers[b"x-amz-date"])
    verified = check(headers, method, parts.path.encode(), parts.query.encode(), now_ms, "us-east-1")
    assert verified.access_key == ACCESS_KEY
    assert verified.payload is PayloadKind.SIGNED_HASH
    assert verified.payload_sha256 == headers[b"x-amz-content-sha256"].decode()


@settings(max_examples=40, deadline=None)
@given(key=keys, query=pairs)
def test_what_botocore_presigns_is_accepted_until_it_expires(key: str, query: list[tuple[str, str]]) -> None:
    url = f"http://lake:9000/bucket/{quote(key, '/~')}"
    request = AWSRequest("GET", url, params=dict(query))
    S3SigV4QueryAuth(Credentials(ACCESS_KEY, SECRET), "s3", "eu-west-1", expires=60).add_auth(request)
    parts = urlsplit(str(request.url))
    date = dict(item.partition("=")[::2] for item in parts.query.split("&"))["X-Amz-Date"]
    _, signed_ms = parse_date(date.encode())
    path, raw_query = parts.path.encode(), parts.query.encode()
    assert check(HOST, path=path, query=raw_query, now_ms=signed_ms + 60_000).presigned
    late = refusal(HOST, path=path, query=raw_query, now_ms=signed_ms + 60_001)
    assert (late.code, late.message) == ("AccessDenied", "Request has expired")


AWS_EXAMPLES = [
    (
        "GET",
        b"/test.txt",
        b"",
        {b"range": b"bytes=0-9"},
        b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        b"f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    ),
    (
        "PUT",
        b"/test%24file.text",
        b"",
        {b"date": b"Fri, 24 May 2013 00:00:00 GMT", b"x-amz-storage-class": b"REDUCED_REDUNDANCY"},
        b"44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
        b"98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    ),
    (
        "GET",
        b"/",
        b"lifecycle",
        {},
        b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        b"fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
    ),
    (
        "GET",
        b"/",
        b"max-keys=2&prefix=J",
        {},
        b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        b"34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    ),
]


@pytest.mark.parametrize(("method", "path", "query", "extra", "payload", "signature"), AWS_EXAMPLES)
def test_the_examples_of_the_aws_reference_come_out_as_printed(
    method: str, path: bytes, query: bytes, extra: dict[bytes, bytes], payload: bytes, signature: bytes
) -> None:
    _, now_ms = parse_date(b"20130524T000000Z")
    headers = {b"host": b"examplebucket.s3.amazonaws.com", **extra}
    signed = sign_headers(method, path, query, headers, ACCESS_KEY, SECRET, now_ms, payload_sha256=payload)
    assert signed[b"authorization"].endswith(b"Signature=" + signature)
    assert check(signed, method, path, query, now_ms).signature == signature


def test_the_presigned_example_of_the_aws_reference_comes_out_as_printed() -> None:
    _, now_ms = parse_date(b"20130524T000000Z")
    headers = {b"host": b"examplebucket.s3.amazonaws.com"}
    query = presign("GET", b"/test.txt", b"", headers, ACCESS_KEY, SECRET, now_ms, expires_s=86400)
    assert query.endswith(b"X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404")
    assert check(headers, path=b"/test.txt", query=query, now_ms=now_ms).payload is PayloadKind.UNSIGNED


@settings(max_examples=60)
@given(key=keys, query=pairs)
def test_what_hosu_signs_hosu_accepts(key: str, query: list[tuple[str, str]]) -> None:
    path, raw_query = b"/b/" + quote(key).encode(), urlencode(query, quote_via=quote).encode()
    check(own(path=path, query=raw_query), path=path, query=raw_query)
    presigned = presign("GET", path, raw_query, HOST, ACCESS_KEY, SECRET, NOW_MS, expires_s=1)
    check(HOST, path=path, query=presigned)


@pytest.mark.parametrize(
    ("sent", "signed"), [(b"/b/a(1)+b!", b"/b/a%281%29%2Bb%21"), (b"/b/%e1", b"/b/%E1"), (b"/b/a%2Fb", b"/b/a/b")]
)
def test_a_path_escaped_another_way_than_it_was_signed_is_accepted(sent: bytes, signed: bytes) -> None:
    check(own(path=signed), path=sent)


def test_a_plus_in_a_query_is_a_space_that_clients_sign_as_either() -> None:
    check(own(query=b"prefix=a%20b"), query=b"prefix=a+b")


def test_query_items_are_ordered_by_name_then_value() -> None:
    check(own(query=b"a-b=1&a=2&a=1"), query=b"a=1&a-b=1&a=2")


def test_repeated_names_may_be_signed_in_the_order_sent_as_clients_in_go_do() -> None:
    query = b"events=s3%3AObjectRemoved%3A%2A&a=1&events=s3%3AObjectCreated%3A%2A"
    by_name = b"a=1&events=s3%3AObjectRemoved%3A%2A&events=s3%3AObjectCreated%3A%2A"
    assert canonical_query(query, by_name=True) == by_name
    headers = HOST | {b"x-amz-date": format_date(NOW_MS), b"x-amz-content-sha256": b"UNSIGNED-PAYLOAD"}
    names = b"host;x-amz-content-sha256;x-amz-date"
    block = b"".join(b"%b:%b\n" % (name, headers[name]) for name in names.split(b";")) + b"\n" + names
    date, scope = format_date(NOW_MS), format_date(NOW_MS)[:8] + b"/us-east-1/s3/aws4_request"
    request = canonical_request(b"GET", b"/b/k", by_name, block, b"UNSIGNED-PAYLOAD")
    signature = signing_key(SECRET, date[:8], "us-east-1", "s3").sign(string_to_sign(request, date, scope))
    headers[b"authorization"] = b"AWS4-HMAC-SHA256 Credential=%b/%b, SignedHeaders=%b, Signature=%b" % (
        ACCESS_KEY.encode(), scope, names, signature,
    )  # fmt: skip
    check(headers, query=query)
    assert refusal(headers, query=query.replace(b"a=1", b"a=2")).code == "SignatureDoesNotMatch"


def test_a_query_signed_as_it_is_sent_is_accepted_too() -> None:
    assert sorted_query(b"uploads&b=a+b&a-b=%2f&a=2&a=1&") == b"a=1&a=2&a-b=%2f&b=a+b&uploads="
    assert sorted_query(b"uploads") == b"uploads="


def test_runs_of_blanks_in_values_count_as_one() -> None:
    headers = own(extra={b"x-amz-meta-a": b"one  two\tthree"})
    check(headers | {b"x-amz-meta-a": b"one two three"})


def changed(flip: bytes) -> bytes:
    return flip[:-1] + (b"0" if flip[-1:] != b"0" else b"1")


@pytest.mark.parametrize("name", [b"host", b"x-amz-meta-a", b"range", b"authorization", b"x-amz-content-sha256"])
def test_a_changed_signed_header_is_refused(name: bytes) -> None:
    headers = own(extra={b"x-amz-meta-a": b"v0", b"range": b"bytes=0-5"})
    check(headers)
    refused = refusal(headers | {name: changed(headers[name])})
    assert (refused.code, refused.kind) == ("SignatureDoesNotMatch", ErrorKind.ACCESS_DENIED)


def test_a_changed_method_path_query_or_time_is_refused() -> None:
    headers = own()
    for changes in ({"method": "PUT"}, {"path": b"/b/K"}, {"path": b"/b//k"}, {"query": b"acl"}):
        assert refusal(headers, **changes).code == "SignatureDoesNotMatch"
    later = headers | {b"x-amz-date": format_date(NOW_MS + 1000)}
    assert refusal(later).code == "SignatureDoesNotMatch"


@settings(max_examples=60)
@given(st.data())
def test_a_presigned_query_changed_anywhere_is_refused(data: st.DataObject) -> None:
    query = presign("GET", b"/b/k", b"versionId=7", HOST, ACCESS_KEY, SECRET, NOW_MS, expires_s=60)
    position = data.draw(st.integers(0, len(query) - 1))
    byte = data.draw(st.sampled_from(b"abcXYZ019_.").filter(lambda drawn: drawn != query[position]))
    tampered = query[:position] + bytes([byte]) + query[position + 1 :]
    # Escapes may be spelt in either case: then the query still says the same.
    if tampered.lower() == query.lower() and query[position - 2 : position + 1].count(b"%"):
        return
    try:
        verified = verify("GET", b"/b/k", tampered, HOST, secrets_of, NOW_MS)
    except S3RequestError:
        return
    assert verified is None


def test_a_secret_being_rotated_is_accepted_beside_the_new_one() -> None:
    def both(_: str) -> Sequence[str]:
        return ("the new secret", SECRET)

    verified = verify("GET", b"/b/k", b"", own(), both, NOW_MS)
    assert verified is not None
    new = sign_headers("GET", b"/b/k", b"", HOST, ACCESS_KEY, "the new secret", NOW_MS)
    other = verify("GET", b"/b/k", b"", new, both, NOW_MS)
    assert other is not None
    assert other.signing_key is not verified.signing_key


def test_an_unknown_access_key_is_refused_by_name() -> None:
    headers = sign_headers("GET", b"/b/k", b"", HOST, "NOBODY", SECRET, NOW_MS)
    assert refusal(headers).code == "InvalidAccessKeyId"


def test_an_access_key_may_hold_slashes() -> None:
    headers = sign_headers("GET", b"/b/k", b"", HOST, "a/b", SECRET, NOW_MS)
    verified = verify("GET", b"/b/k", b"", headers, lambda _: (SECRET,), NOW_MS)
    assert verified is not None
    assert verified.access_key == "a/b"


@pytest.mark.parametrize("skew_ms", [SKEW_MS_MAX + 1000, -SKEW_MS_MAX - 1000])
def test_a_clock_too_far_off_is_refused(skew_ms: int) -> None:
    assert refusal(own(), now_ms=NOW_MS + skew_ms).code == "RequestTimeTooSkewed"
    check(own(), now_ms=NOW_MS + skew_ms // 2)


@pytest.mark.parametrize("date", [None, b"", b"Bad Date", b"20231399T000000Z", b"Tue, 07 Jul 1950 21:53:04 GMT"])
def test_without_a_date_that_can_be_read_access_is_denied(date: bytes | None) -> None:
    headers = own()
    headers.pop(b"x-amz-date")
    if date is not None:
        headers[b"x-amz-date"] = date
    assert refusal(headers).code == "AccessDenied"


def test_an_http_date_counts_where_there_is_no_amz_date() -> None:
    headers = own()
    block = headers | {b"date": b"Tue, 14 Nov 2023 22:13:20 GMT"}
    block.pop(b"x-amz-date")
    assert refusal(block).code == "SignatureDoesNotMatch"
    http_date = headers | {b"x-amz-date": b"Tue, 14 Nov 2023 22:13:20 GMT"}
    assert "\n20231114T221320Z\n" in str(refusal(http_date).details["string_to_sign"])


def test_a_region_is_only_wrong_where_one_is_set() -> None:
    for region in ("eu-west-1", ""):
        headers = sign_headers("GET", b"/b/k", b"", HOST, ACCESS_KEY, SECRET, NOW_MS, region=region)
        check(headers)
        refused = refusal(headers, region="us-east-1")
        assert (refused.code, refused.details["region"]) == ("AuthorizationHeaderMalformed", "us-east-1")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"/s3/", b"/ec2/"),
        (b"aws4_request", b"aws3_request"),
        (b"/20231114/", b"/20231113/"),
        (b"/20231114/", b"/2023-11-14/"),
        (b"/us-east-1/", b"/" + b"r" * 65 + b"/"),
        (b"Credential=", b"Credentials="),
        (b"SignedHeaders=host;", b"SignedHeaders="),
        (b"SignedHeaders=host;", b"SignedHeaders=host;Host;"),
        (b"SignedHeaders=host;", b"SignedHeaders=host;host;"),
        (b"Signature=", b"Sig="),
        (b", Signature=", b", Credential=x, Signature="),
        (b"AKIAIOSFODNN7EXAMPLE/", b"\xff/"),
    ],
)
def test_a_malformed_authorization_header_is_refused(old: bytes, new: bytes) -> None:
    headers = own()
    assert old in headers[b"authorization"]
    refused = refusal(headers | {b"authorization": headers[b"authorization"].replace(old, new)})
    assert refused.code == "AuthorizationHeaderMalformed"


def test_the_fields_of_the_header_may_come_in_any_order_and_spacing() -> None:
    headers = own()
    scheme, fields = headers[b"authorization"].split(b" ", 1)
    shuffled = b",".join(reversed(fields.split(b", ")))
    check(headers | {b"authorization": scheme + b" " + shuffled})


def test_every_amz_header_must_be_signed() -> None:
    refused = refusal(own() | {b"x-amz-acl": b"public-read"})
    assert (refused.code, refused.details["headers_not_signed"]) == ("AccessDenied", "x-amz-acl")
    query = presign("PUT", b"/b/k", b"", HOST, ACCESS_KEY, SECRET, NOW_MS, expires_s=9)
    assert refusal(HOST | {b"x-amz-acl": b"public-read"}, "PUT", query=query).code == "AccessDenied"


def test_the_payload_header_is_required_and_checked() -> None:
    headers = own()
    del headers[b"x-amz-content-sha256"]
    assert refusal(headers).code == "InvalidRequest"
    odd = sign_headers("GET", b"/b/k", b"", HOST, ACCESS_KEY, SECRET, NOW_MS, payload_sha256=b"z" * 64)
    assert refusal(odd).code == "InvalidArgument"
    for kind in PayloadKind:
        if kind is not PayloadKind.SIGNED_HASH:
            word = kind.value.encode()
            said = sign_headers("GET", b"/b/k", b"", HOST, ACCESS_KEY, SECRET, NOW_MS, payload_sha256=word)
            assert check(said).payload is kind


@pytest.mark.parametrize(
    ("authorization", "query", "code"),
    [
        (b"AWS", b"", "InvalidArgument"),
        (b"Bearer token", b"", "InvalidArgument"),
        (b"AWS4-HMAC-SHA256", b"", "AuthorizationHeaderMalformed"),
        (b"AWS4-HMAC-SHA256 x", b"X-Amz-Algorithm=AWS4-HMAC-SHA256", "InvalidArgument"),
        (b"AWS4-HMAC-SHA256 x", b"AWSAccessKeyId=AKIA&Expires=1&Signature=c2ln", "InvalidArgument"),
    ],
)
def test_other_schemes_are_refused_clearly(authorization: bytes, query: bytes, code: str) -> None:
    assert refusal(HOST | {b"authorization": authorization}, query=query).code == code


def test_a_request_without_any_signature_is_anonymous() -> None:
    for headers in (HOST, HOST | {b"authorization": b""}):
        assert verify("GET", b"/b/k", b"prefix=X-Amz-Algorithm=", headers, secrets_of, NOW_MS) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"X-Amz-Expires=60", b"X-Amz-Expires=604801"),
        (b"X-Amz-Expires=60", b"X-Amz-Expires=-7"),
        (b"X-Amz-Expires=60", b"X-Amz-Expires=ten"),
        (b"X-Amz-Expires=60", b"X-Amz-Expires="),
        (b"X-Amz-Expires=60&", b""),
        (b"X-Amz-Expires=60", b"X-Amz-Expires=60&X-Amz-Expires=60"),
        (b"X-Amz-Algorithm=AWS4-HMAC-SHA256", b"X-Amz-Algorithm=AWS4-ECDSA-P256-SHA256"),
        (b"X-Amz-Date=2023", b"X-Amz-Date=x023"),
        (b"X-Amz-Date=20231114", b"X-Amz-Date=20231115"),
        (b"%2Fs3%2F", b"%2Fiam%2F"),
        (b"%2Faws4_request", b""),
        (b"X-Amz-SignedHeaders=host", b"X-Amz-SignedHeaders=range"),
    ],
)
def test_malformed_presigned_parameters_are_refused(old: bytes, new: bytes) -> None:
    query = presign("GET", b"/b/k", b"", HOST, ACCESS_KEY, SECRET, NOW_MS, expires_s=60)
    assert old in query
    assert refusal(HOST, query=query.replace(old, new)).code == "AuthorizationQueryParametersError"


def test_a_presigned_url_of_no_time_or_of_the_future_is_denied() -> None:
    none = presign("GET", b"/b/k", b"", HOST, ACCESS_KEY, SECRET, NOW_MS, expires_s=0)
    assert refusal(HOST, query=none).message == "Request has expired"
    future = presign("GET", b"/b/k", b"", HOST, ACCESS_KEY, SECRET, NOW_MS, expires_s=60)
    assert refusal(HOST, query=future, now_ms=NOW_MS - SKEW_MS_MAX - 1).message == "Request is not yet valid"


def test_a_presigned_url_can_fix_the_body_it_is_for() -> None:
    digest = b"a" * 64
    headers = HOST | {b"x-amz-content-sha256": digest}
    query = presign("PUT", b"/b/k", b"X-Amz-Content-Sha256=" + digest, HOST, ACCESS_KEY, SECRET, NOW_MS, expires_s=60)
    assert refusal(headers, "PUT", query=query).code == "AccessDenied"
    request = AWSRequest("PUT", "http://lake:9000/b/k", params={"X-Amz-Content-Sha256": digest.decode()})

    class FixedBodyAuth(S3SigV4QueryAuth):
        def payload(self, _request: AWSRequest) -> str:
            return digest.decode()

    FixedBodyAuth(Credentials(ACCESS_KEY, SECRET), "s3", "us-east-1", expires=60).add_auth(request)
    parts = urlsplit(str(request.url))
    date = dict(item.partition("=")[::2] for item in parts.query.split("&"))["X-Amz-Date"]
    _, now_ms = parse_date(date.encode())
    assert check(HOST, "PUT", query=parts.query.encode(), now_ms=now_ms).payload_sha256 == digest.decode()


@settings(max_examples=200)
@given(
    authorization=st.binary(max_size=60) | st.binary(max_size=40).map(lambda tail: b"AWS4-HMAC-SHA256 " + tail),
    query=st.binary(max_size=60) | st.binary(max_size=40).map(lambda tail: b"X-Amz-Algorithm=" + tail),
    path=st.binary(max_size=20),
    date=st.binary(max_size=20) | st.text("0123456789TZ", max_size=16).map(str.encode),
)
def test_garbage_is_refused_or_anonymous_never_accepted(
    authorization: bytes, query: bytes, path: bytes, date: bytes
) -> None:
    headers = HOST | {b"authorization": authorization, b"x-amz-date": date, b"x-amz-content-sha256": b"x"}
    with suppress(S3RequestError):
        assert verify("GET", path, query, headers, secrets_of, NOW_MS) is None
    good = own() | {b"x-amz-date": date}
    assert refusal(good).code in {"AccessDenied", "RequestTimeTooSkewed"}


def test_a_mismatch_shows_what_was_signed_without_the_secrets_in_it() -> None:
    key = b"x-amz-server-side-encryption-customer-key"
    secrets = {
        key: b"key-of-a-client",
        key.replace(b"x-amz", b"x-amz-copy-source"): b"key-of-a-source",
        b"x-amz-security-token": b"token-of-a-session",
    }
    shown = {**secrets, key + b"-md5": b"shown-md5", b"x-amz-meta-a": b"shown-value"}
    query = b"X-Amz-Security-Token=token-in-a-query&prefix=shown-prefix"
    signed = own(query=query, extra=shown)
    signed[b"authorization"] = signed[b"authorization"][:-1] + b"x"
    version_2 = {**HOST, **shown, b"date": b"Tue, 14 Nov 2023 22:13:20 GMT"}
    version_2[b"authorization"] = b"AWS " + ACCESS_KEY.encode() + b":" + b"A" * 27 + b"="
    for headers, asked in ((signed, query), (version_2, b"")):
        with pytest.raises(S3RequestError) as refused:
            verify("GET", b"/b/k", asked, headers, secrets_of, NOW_MS)
        assert refused.value.code == "SignatureDoesNotMatch"
        told = str(refused.value.details)
        assert "(hidden)" in told
        assert "shown-md5" in told
        assert "shown-value" in told
        assert ("shown-prefix" in told) == bool(asked)
        for secret in ("key-of-a-client", "key-of-a-source", "token-of-a-session", "token-in-a-query"):
            assert secret not in told
