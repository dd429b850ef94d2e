"""aws-chunked bodies from botocore, from an encoder of the tests' own, and from AWS's example."""

import hashlib
import hmac
import io
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import pytest
from botocore.httpchecksum import AwsChunkedWrapper, Crc32Checksum  # type: ignore[import-untyped,unused-ignore]
from hypothesis import given, settings
from hypothesis import strategies as st

from hosu.server.s3.chunked import LINE_BYTES_MAX, AwsChunkedDecoder, decoder_for
from hosu.server.s3.request_errors import S3RequestError
from hosu.server.s3.signing import signing_key
from hosu.server.s3.sigv4 import PayloadKind, Verified

SIGNED, SIGNED_TRAILER = PayloadKind.STREAMING_SIGNED, PayloadKind.STREAMING_SIGNED_TRAILER
UNSIGNED_TRAILER = PayloadKind.STREAMING_UNSIGNED_TRAILER
SECRET, DATE, SCOPE = "a secret", b"20231114T221320Z", b"20231114/us-east-1/s3/aws4_request"
SEED = b"5" * 64
CRC = "x-amz-checksum-crc32"


def verified(kind: PayloadKind) -> Verified:
    key = signing_key(SECRET, b"20231114", "us-east-1", "s3")
    return Verified("AK", kind, None, SCOPE, DATE, SEED, key)


def raw_key() -> bytes:
    key = ("AWS4" + SECRET).encode()
    for part in SCOPE.decode().split("/"):
        key = hmac.new(key, part.encode(), "sha256").digest()
    return key


def sign(what: str, previous: str, *digests: str) -> str:
    lines = "\n".join([what, DATE.decode(), SCOPE.decode(), previous, *digests])
    return hmac.new(raw_key(), lines.encode(), "sha256").hexdigest()


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def encode_signed(chunks: Iterable[bytes], trailers: str | None = None, *, line_end: str = "\r\n") -> bytes:
    """Encode as clients do; trailers are `name:value` lines, each signed with a newline behind."""
    previous, out = SEED.decode(), b""
    for chunk in [*chunks, b""]:
        previous = sign("AWS4-HMAC-SHA256-PAYLOAD", previous, sha(b""), sha(chunk))
        out += f"{len(chunk):x};chunk-signature={previous}\r\n".encode() + (chunk + b"\r\n" if chunk else b"")
    if trailers is None:
        return out + b"\r\n"
    signature = sign("AWS4-HMAC-SHA256-TRAILER", previous, sha(trailers.encode()))
    sent = trailers.replace("\n", line_end)
    return out + f"{sent}x-amz-trailer-signature:{signature}\r\n\r\n".encode()


def decode(
    kind: PayloadKind,
    pieces: Iterable[bytes | bytearray | memoryview],
    length: int,
    announced: Sequence[str] = (),
) -> tuple[bytes, dict[str, str]]:
    decoder = AwsChunkedDecoder(kind, length, verified=verified(kind), announced=announced)
    out = b"".join(bytes(part) for piece in pieces for part in decoder.feed(piece))
    decoder.finish()
    return out, decoder.trailers


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(S3RequestError) as refused:
        call()
    return refused.value.code


SIGNED_BODY = encode_signed([b"first chunk", b"x" * 300, b"last"])
SIGNED_DATA = b"first chunk" + b"x" * 300 + b"last"
TRAILED_BODY = encode_signed([b"hello", b"\r\n0\r\n"], f"{CRC}:AAAAAA==\n")
UNSIGNED_BODY = b"5\r\nhello\r\n6\r\n world\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n"


@pytest.mark.parametrize(
    ("kind", "body", "data", "announced"),
    [
        (SIGNED, SIGNED_BODY, SIGNED_DATA, []),
        (SIGNED_TRAILER, TRAILED_BODY, b"hello\r\n0\r\n", [CRC]),
        (UNSIGNED_TRAILER, UNSIGNED_BODY, b"hello world", [CRC]),
    ],
)
def test_a_body_cut_at_every_boundary_decodes_the_same(
    kind: PayloadKind, body: bytes, data: bytes, announced: list[str]
) -> None:
    whole = decode(kind, [body], len(data), announced)
    assert whole[0] == data
    for cut in range(1, len(body)):
        assert decode(kind, [body[:cut], memoryview(body)[cut:]], len(data), announced) == whole
    assert decode(kind, [body[at : at + 1] for at in range(len(body))], len(data), announced) == whole


def test_the_example_of_the_aws_reference_is_accepted() -> None:
    secret, scope = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", b"20130524/us-east-1/s3/aws4_request"
    seed = b"4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
    key = signing_key(secret, b"20130524", "us-east-1", "s3")
    request = Verified("AKIAIOSFODNN7EXAMPLE", SIGNED, None, scope, b"20130524T000000Z", seed, key)
    body = (
        b"10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n"
        + b"a" * 65536
        + b"\r\n400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n"
        + b"a" * 1024
        + b"\r\n0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n"
    )
    decoder = AwsChunkedDecoder(SIGNED, 66560, verified=request)
    assert b"".join(decoder.feed(body)) == b"a" * 66560
    decoder.finish()


@settings(max_examples=30)
@given(data=st.binary(max_size=300), chunk=st.integers(1, 100), cut=st.integers(1, 50))
def test_what_botocore_wraps_decodes_to_the_same(data: bytes, chunk: int, cut: int) -> None:
    checksum = Crc32Checksum()
    wrapper = AwsChunkedWrapper(
        io.BytesIO(data), checksum_cls=cast("Any", lambda: checksum), checksum_name=CRC, chunk_size=chunk
    )
    body = wrapper.read()
    pieces = [body[at : at + cut] for at in range(0, len(body), cut)]
    decoded, trailers = decode(UNSIGNED_TRAILER, pieces, len(data), [CRC])
    assert decoded == data
    assert trailers == {CRC: checksum.b64digest()}


def test_the_empty_line_that_minio_clients_put_before_the_signature_is_accepted() -> None:
    body = encode_signed([b"hello"], f"{CRC}:AAAAAA==\n", line_end="\n\r\n")
    assert decode(SIGNED_TRAILER, [body], 5, [CRC]) == (b"hello", {CRC: "AAAAAA=="})
    unsigned = b"5\r\nhello\r\n0\r\n" + f"{CRC}:AAAAAA==\n\r\n\r\n".encode()
    assert decode(UNSIGNED_TRAILER, [unsigned], 5, [CRC]) == (b"hello", {CRC: "AAAAAA=="})


def test_data_is_handed_out_without_copies() -> None:
    body = memoryview(bytearray(UNSIGNED_BODY))
    pieces = AwsChunkedDecoder(UNSIGNED_TRAILER, 11, announced=[CRC]).feed(body)
    body[3:8] = b"HELLO"
    assert b"".join(pieces) == b"HELLO world"


@pytest.mark.parametrize(
    ("kind", "body", "announced"), [(SIGNED, SIGNED_BODY, []), (SIGNED_TRAILER, TRAILED_BODY, [CRC])]
)
def test_any_changed_byte_of_a_signed_body_is_refused(kind: PayloadKind, body: bytes, announced: list[str]) -> None:
    length = len(SIGNED_DATA) if kind is SIGNED else 10
    decode(kind, [body], length, announced)
    for position in range(len(body)):
        changed = body[:position] + bytes([body[position] ^ 1]) + body[position + 1 :]
        code = refusal(lambda changed=changed: decode(kind, [changed], length, announced))  # type: ignore[misc]
        assert code in {"SignatureDoesNotMatch", "InvalidRequest", "IncompleteBody", "MalformedTrailerError"}


def test_chunks_swapped_or_dropped_are_refused() -> None:
    chunks = [b"a" * 5, b"b" * 5]
    body = encode_signed(chunks)
    size = (len(body) - len(encode_signed([]))) // 2
    swapped = body[size : 2 * size] + body[:size] + body[2 * size :]
    assert refusal(lambda: decode(SIGNED, [swapped], 10)) == "SignatureDoesNotMatch"
    assert refusal(lambda: decode(SIGNED, [body[size:]], 5)) == "SignatureDoesNotMatch"


def test_a_bad_signature_raises_before_the_body_has_ended() -> None:
    body = encode_signed([b"data"]).replace(b"data", b"DATA")
    decoder = AwsChunkedDecoder(SIGNED, 4, verified=verified(SIGNED))
    first_chunk_end = body.index(b"DATA") + len(b"DATA\r\n")
    assert refusal(lambda: decoder.feed(body[:first_chunk_end])) == "SignatureDoesNotMatch"


def test_a_body_that_ends_early_is_incomplete_wherever_it_ends() -> None:
    for cut in range(len(SIGNED_BODY)):
        assert refusal(lambda cut=cut: decode(SIGNED, [SIGNED_BODY[:cut]], len(SIGNED_DATA))) == "IncompleteBody"  # type: ignore[misc]


def test_the_decoded_length_must_be_what_was_said() -> None:
    assert refusal(lambda: decode(UNSIGNED_TRAILER, [UNSIGNED_BODY], 12, [CRC])) == "IncompleteBody"
    assert refusal(lambda: decode(UNSIGNED_TRAILER, [UNSIGNED_BODY], 10, [CRC])) == "InvalidRequest"


@pytest.mark.parametrize(
    "body",
    [
        b"\r\n",
        b"g\r\n",
        b"-1\r\n",
        b"+5\r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b"5 \r\nhello\r\n",
        b"5;ext=1\r\nhello\r\n",
        b"5\nhello\r\n",
        b"5\r\nhelloo\r\n",
        b"5\r\nhello\n",
        b"11111111111111111\r\n",
        b"5" * (LINE_BYTES_MAX + 1),
        b"5\r\nhello\r\n0\r\nno colon\r\n\r\n",
        b"5\r\nhello\r\n0\r\na:1\r\na:1\r\n\r\n",
        b"5\r\nhello\r\n0\r\na:\xff\r\n\r\n",
        b"5\r\nhello\r\n0\r\n" + b"".join(b"t%d:1\r\n" % count for count in range(9)),
        b"5\r\nhello\r\n0\r\n\r\nmore\r\n",
        b"5\r\nhello\r\n0\r\n\r\nmore",
    ],
)
def test_a_malformed_body_is_refused(body: bytes) -> None:
    assert refusal(lambda: decode(UNSIGNED_TRAILER, [body], 5)) == "InvalidRequest"


def test_trailers_are_those_announced() -> None:
    for announced in ([], ["x-amz-checksum-sha1"], [CRC, "x-amz-checksum-sha1"]):
        code = refusal(lambda announced=announced: decode(UNSIGNED_TRAILER, [UNSIGNED_BODY], 11, announced))  # type: ignore[misc]
        assert code == "MalformedTrailerError"


def test_trailers_of_a_kind_without_any_are_refused() -> None:
    body = encode_signed([b"hello"])[:-2] + b"x-amz-checksum-crc32:AAAAAA==\r\n\r\n"
    assert refusal(lambda: decode(SIGNED, [body], 5, [CRC])) == "InvalidRequest"


def test_signed_trailers_need_their_signature() -> None:
    body = encode_signed([b"hello"])[:-2] + b"x-amz-checksum-crc32:AAAAAA==\r\n\r\n"
    assert refusal(lambda: decode(SIGNED_TRAILER, [body], 5, [CRC])) == "IncompleteBody"
    assert refusal(lambda: decode(SIGNED_TRAILER, [encode_signed([b"hello"])], 5)) == "InvalidRequest"


def test_headers_say_which_decoder_is_needed() -> None:
    assert decoder_for(PayloadKind.UNSIGNED, None, {}) is None
    assert decoder_for(PayloadKind.SIGNED_HASH, None, {}) is None
    length = b"x-amz-decoded-content-length"
    decoder = decoder_for(UNSIGNED_TRAILER, None, {length: b"11", b"x-amz-trailer": b"X-Amz-Checksum-CRC32"})
    assert decoder is not None
    assert b"".join(decoder.feed(UNSIGNED_BODY)) == b"hello world"
    decoder.finish()
    assert refusal(lambda: decoder_for(UNSIGNED_TRAILER, None, {})) == "MissingContentLength"
    assert refusal(lambda: decoder_for(UNSIGNED_TRAILER, None, {length: b"-1"})) == "InvalidArgument"


@settings(max_examples=200)
@given(
    kind=st.sampled_from([SIGNED, SIGNED_TRAILER, UNSIGNED_TRAILER]),
    pieces=st.lists(
        st.binary(max_size=20)
        | st.sampled_from([b"\r\n", b"5\r\n", b"hello\r\n", b"0\r\n", b"a:b\r\n", b";chunk-signature=" + b"0" * 64]),
        max_size=8,
    ),
)
def test_garbage_is_refused_or_decodes_to_the_length_said(kind: PayloadKind, pieces: list[bytes]) -> None:
    try:
        data, _ = decode(kind, pieces, 5)
    except S3RequestError:
        return
    assert kind is UNSIGNED_TRAILER
    assert len(data) == 5
