"""Checksums against published answers, combined from parts, and as requests name them."""

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hosu.objects.records import ChecksumType
from hosu.server.s3 import checksums
from hosu.server.s3.checksums import ChecksumAlgorithm, ChecksumRequest
from hosu.server.s3.request_errors import S3RequestError

CRCS = [ChecksumAlgorithm.CRC32, ChecksumAlgorithm.CRC32C, ChecksumAlgorithm.CRC64NVME]
SHAS = [ChecksumAlgorithm.SHA1, ChecksumAlgorithm.SHA256]

CHECK_VALUES = {
    ChecksumAlgorithm.CRC32: "cbf43926",
    ChecksumAlgorithm.CRC32C: "e3069283",
    ChecksumAlgorithm.CRC64NVME: "ae8b14860a799888",
    ChecksumAlgorithm.SHA1: "f7c3bc1d808e04732adf679965ccc34ca7ae3441",
    ChecksumAlgorithm.SHA256: "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
}
"""Of the nine bytes "123456789", as catalogues of CRCs and the SHA tools give them."""


def refusal(call: Callable[[], object]) -> S3RequestError:
    with pytest.raises(S3RequestError) as refused:
        call()
    return refused.value


@pytest.mark.parametrize("algorithm", list(ChecksumAlgorithm))
def test_known_answers_whatever_buffer_they_come_in(algorithm: ChecksumAlgorithm) -> None:
    checksum = checksums.new_checksum(algorithm)
    for piece in (b"12", bytearray(b"345"), memoryview(b"x67x")[1:3], b"", memoryview(bytearray(b"89"))):
        checksum.update(piece)
    assert checksum.digest().hex() == CHECK_VALUES[algorithm]
    assert checksum.base64() == b64encode(bytes.fromhex(CHECK_VALUES[algorithm])).decode()
    assert len(checksum.digest()) == algorithm.digest_bytes


@settings(max_examples=60)
@given(algorithm=st.sampled_from(CRCS), parts=st.lists(st.binary(max_size=50), min_size=1, max_size=6))
def test_parts_combine_to_the_checksum_of_the_whole(algorithm: ChecksumAlgorithm, parts: list[bytes]) -> None:
    digests = [(b64decode(checksums.checksum_base64(algorithm, part)), len(part)) for part in parts]
    assert checksums.combine_full(algorithm, digests) == checksums.checksum_base64(algorithm, b"".join(parts))


@pytest.mark.parametrize("algorithm", SHAS)
def test_a_composite_is_the_checksum_of_the_parts_digests(algorithm: ChecksumAlgorithm) -> None:
    digests = [hashlib.new(algorithm.value, part).digest() for part in (b"one", b"two")]
    whole = b64encode(hashlib.new(algorithm.value, b"".join(digests)).digest()).decode()
    assert checksums.composite(algorithm, digests) == f"{whole}-2"
    assert checksums.parse_composite(algorithm, f"{whole}-2") == (whole, 2)
    assert checksums.parse_composite(algorithm, whole) == (whole, None)
    for bad in (f"{whole}-", f"{whole}-x", f"{whole}-123456", "-2", "AAAA-2"):
        assert refusal(lambda bad=bad: checksums.parse_composite(algorithm, bad)).code == "InvalidRequest"  # type: ignore[misc]


def test_which_types_a_multipart_checksum_may_have() -> None:
    full, parts = ChecksumType.FULL_OBJECT, ChecksumType.COMPOSITE
    defaults = {algorithm: checksums.multipart_type(algorithm, None) for algorithm in ChecksumAlgorithm}
    assert [algorithm for algorithm, kind in defaults.items() if kind is full] == [ChecksumAlgorithm.CRC64NVME]
    allowed = {(ChecksumAlgorithm.CRC64NVME, full)}
    allowed |= {(algorithm, kind) for algorithm in CRCS[:2] for kind in (full, parts)}
    allowed |= {(algorithm, parts) for algorithm in SHAS}
    for algorithm in ChecksumAlgorithm:
        for kind in ChecksumType:
            if (algorithm, kind) in allowed:
                assert checksums.multipart_type(algorithm, kind.value.lower()) is kind
                continue
            with pytest.raises(S3RequestError, match="cannot be used"):
                checksums.multipart_type(algorithm, kind.value)
    assert refusal(lambda: checksums.multipart_type(ChecksumAlgorithm.CRC32, "HALF")).code == "InvalidRequest"


CRC32_VALUE = b"y/Q5Jg=="


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({b"content-type": b"x"}, None),
        ({b"x-amz-checksum-mode": b"ENABLED"}, None),
        (
            {b"x-amz-checksum-crc32": CRC32_VALUE},
            ChecksumRequest(ChecksumAlgorithm.CRC32, "y/Q5Jg==", in_trailer=False),
        ),
        (
            {b"x-amz-trailer": b"x-amz-checksum-crc64nvme", b"x-amz-sdk-checksum-algorithm": b"CRC64NVME"},
            ChecksumRequest(ChecksumAlgorithm.CRC64NVME, None, in_trailer=True),
        ),
        (
            {b"x-amz-sdk-checksum-algorithm": b"sha256"},
            ChecksumRequest(ChecksumAlgorithm.SHA256, None, in_trailer=False),
        ),
        ({b"x-amz-trailer": b"x-custom"}, None),
    ],
)
def test_what_headers_ask_for(headers: Mapping[bytes, bytes], expected: ChecksumRequest | None) -> None:
    assert checksums.requested_checksum(headers) == expected


@pytest.mark.parametrize(
    "headers",
    [
        {b"x-amz-checksum-crc32": CRC32_VALUE, b"x-amz-checksum-crc32c": CRC32_VALUE},
        {b"x-amz-checksum-crc32": CRC32_VALUE, b"x-amz-trailer": b"x-amz-checksum-sha1"},
        {b"x-amz-trailer": b"x-amz-checksum-sha1, x-amz-checksum-crc32"},
        {b"x-amz-checksum-crc32": b"bad"},
        {b"x-amz-checksum-crc32": b""},
        {b"x-amz-checksum-crc32": b"y/Q5Jg==\xff"},
        {b"x-amz-checksum-sha256": CRC32_VALUE},
        {b"x-amz-checksum-crc32": CRC32_VALUE, b"x-amz-sdk-checksum-algorithm": b"SHA1"},
        {b"x-amz-trailer": b"x-amz-checksum-crc32", b"x-amz-sdk-checksum-algorithm": b"SHA1"},
        {b"x-amz-sdk-checksum-algorithm": b"MD4"},
        {b"x-amz-checksum-md4": b"AAAA"},
        {b"x-amz-trailer": b"x-amz-checksum-md4"},
    ],
)
def test_contradicting_or_malformed_headers_are_refused(headers: Mapping[bytes, bytes]) -> None:
    assert refusal(lambda: checksums.requested_checksum(headers)).code == "InvalidRequest"


def test_the_message_of_a_bad_value_names_the_header() -> None:
    refused = refusal(lambda: checksums.requested_checksum({b"x-amz-checksum-crc32": b"bad"}))
    assert refused.message == "Value for x-amz-checksum-crc32 header is invalid."


def test_content_md5_is_read_and_compared() -> None:
    digest = hashlib.md5(b"body").digest()
    assert checksums.parse_content_md5({}) is None
    assert checksums.parse_content_md5({b"content-md5": b64encode(digest)}) == digest
    for bad in (b"", b"AWS HAHAHA", b64encode(b"short"), b64encode(digest) + b"!", b"\xff"):
        assert refusal(lambda bad=bad: checksums.parse_content_md5({b"content-md5": bad})).code == "InvalidDigest"  # type: ignore[misc]
    checksums.check_content_md5(digest, digest)
    checksums.check_content_md5(None, digest)
    assert refusal(lambda: checksums.check_content_md5(digest, b"\0" * 16)).code == "BadDigest"


def test_a_checksum_that_differs_is_a_bad_digest() -> None:
    checksums.check_checksum(ChecksumAlgorithm.CRC32, "y/Q5Jg==", "y/Q5Jg==")
    assert (
        refusal(lambda: checksums.check_checksum(ChecksumAlgorithm.CRC32, "y/Q5Jg==", "AAAAAA==")).code == "BadDigest"
    )


names = st.sampled_from([algorithm.header.encode() for algorithm in ChecksumAlgorithm])
names |= st.sampled_from([b"x-amz-trailer", b"x-amz-sdk-checksum-algorithm", b"content-md5", b"x-amz-checksum-"])


@settings(max_examples=200)
@given(st.dictionaries(names, st.binary(max_size=44) | names | st.binary(max_size=32).map(b64encode), max_size=3))
def test_garbage_is_refused_or_names_a_digest_of_the_right_length(headers: dict[bytes, bytes]) -> None:
    try:
        asked = checksums.requested_checksum(headers)
        md5 = checksums.parse_content_md5(headers)
    except S3RequestError:
        return
    if asked is not None and asked.expected is not None:
        assert len(b64decode(asked.expected)) == asked.algorithm.digest_bytes
    assert md5 is None or len(md5) == 16
