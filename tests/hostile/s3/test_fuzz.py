"""Signed requests put together from odd parts: every answer is a well-formed one of S3's, and never our own fault."""

import urllib.parse

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.attack import Attacker

NAMES = st.sampled_from(
    [b"prey", b"prey/k", b"prey/k%2F..", b"prey//", b"none", b"none/k", b"", b"x" * 70, b"prey/%00"]
)
ODD = st.sampled_from(
    [
        "",
        "0",
        "-1",
        "1",
        "2",
        "10001",
        "9" * 30,
        "null",
        "true",
        "é",
        "\0",
        "a,b",
        "*",
        "2024-01-01",
        "url",
        "/",
        "%",
        "k",
    ]
) | st.text(max_size=20)
PARAMETERS = st.sampled_from(
    [
        *["acl", "attributes", "cors", "delete", "legal-hold", "lifecycle", "location", "object-lock", "policy"],
        *["replication", "restore", "retention", "select", "tagging", "torrent", "uploads", "versioning", "versions"],
        *["website", "list-type", "prefix", "delimiter", "marker", "start-after", "continuation-token", "max-keys"],
        *["encoding-type", "fetch-owner", "key-marker", "version-id-marker", "upload-id-marker", "max-uploads"],
        *["part-number-marker", "max-parts", "uploadId", "partNumber", "versionId", "response-content-type"],
        *["response-expires", "max-buckets", "X-Amz-Expires", "select-type", "unknown"],
    ]
)
HEADERS = st.sampled_from(
    [
        *[
            "range",
            "if-match",
            "if-none-match",
            "if-modified-since",
            "if-unmodified-since",
            "content-md5",
            "content-type",
        ],
        *["content-encoding", "cache-control", "expires", "origin", "access-control-request-method", "expect"],
        *["x-amz-acl", "x-amz-bypass-governance-retention", "x-amz-checksum-crc32", "x-amz-checksum-algorithm"],
        *["x-amz-checksum-type", "x-amz-checksum-mode", "x-amz-copy-source", "x-amz-copy-source-if-match"],
        *["x-amz-copy-source-range", "x-amz-decoded-content-length", "x-amz-meta-a", "x-amz-metadata-directive"],
        *[
            "x-amz-mp-object-size",
            "x-amz-object-attributes",
            "x-amz-object-lock-mode",
            "x-amz-optional-object-attributes",
        ],
        *["x-amz-sdk-checksum-algorithm", "x-amz-server-side-encryption", "x-amz-storage-class", "x-amz-tagging"],
        *["x-amz-tagging-directive", "x-amz-trailer", "x-amz-website-redirect-location", "x-amz-grant-read"],
        *["x-amz-expected-bucket-owner", "x-amz-write-offset-bytes", "x-amz-max-parts", "x-amz-part-number-marker"],
    ]
)
VALUES = ODD | st.sampled_from(
    [
        *[
            "bytes=0-",
            "bytes=-1",
            "bytes=5-2",
            "bytes=a-b",
            "bytes=0-1,3-4",
            '"etag"',
            'W/"x"',
            "prey/k",
            "/prey/k?versionId=null",
        ],
        *[
            "CRC32",
            "SHA256",
            "COMPOSITE",
            "FULL_OBJECT",
            "AAAAAA==",
            "REPLACE",
            "COPY",
            "a=b&c=d",
            "a=b&a=c",
            "ETag,Checksum",
        ],
        *[
            "STANDARD",
            "GLACIER",
            "private",
            "public-read",
            "AES256",
            "x-amz-checksum-crc32",
            "100-continue",
            "aws-chunked",
        ],
        *["Sat, 01 Jan 2000 00:00:00 GMT", "bytes=0-" + "9" * 40],
    ]
)
BODIES = st.binary(max_size=200) | st.sampled_from(
    [
        b"<Delete><Object><Key>k</Key></Object></Delete>",
        b"<Delete><Object><Key>k</Key><VersionId>x</VersionId><ETag>y</ETag><Size>z</Size></Object></Delete>",
        b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>",
        b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>x</ETag></Part></CompleteMultipartUpload>",
        b"<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin></CORSRule></CORSConfiguration>",
        b"<CreateBucketConfiguration><LocationConstraint>\xc3\xa9</LocationConstraint></CreateBucketConfiguration>",
        b"5\r\nhello\r\n0\r\n\r\n",
    ]
)
METHODS = st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH"])


def header_bytes(value: str) -> bytes:
    """Return a value that HTTP lets pass, so that S3 has to deal with it."""
    return "".join(character for character in value if character >= " " and character != "\x7f").strip().encode()


@settings(
    max_examples=400, deadline=None, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(
    METHODS,
    NAMES,
    st.dictionaries(PARAMETERS, ODD, max_size=3),
    st.dictionaries(HEADERS, VALUES, max_size=4),
    BODIES,
)
def test_whatever_is_asked_the_answer_is_s3s_own(
    attacker: Attacker, method: str, name: bytes, parameters: dict[str, str], headers: dict[str, str], body: bytes
) -> None:
    query = urllib.parse.urlencode(parameters, quote_via=urllib.parse.quote, errors="replace").encode()
    fields = {header.encode(): header_bytes(value) for header, value in headers.items()}
    answer = attacker.send(method, b"/" + name, query, fields, body)
    assert answer.status < 500 or answer.status == 501, (answer.status, answer.body)
    if answer.status >= 400 and method != "HEAD":
        assert answer.code
