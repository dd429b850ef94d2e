"""Encrypted objects through stock clients: every mode, every way in and out, and copies between all of them."""

import base64
import hashlib
import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
from botocore.config import Config
from tests.support.certificates import make_certificate
from tests.support.clients import MIB, S3Client, boto3_client, patterned, refused, refused_head
from tests.support.server import Endpoint, ServerProcess

from hosu.kernel.lakekey import load_lake_key
from hosu.kernel.settings import Settings
from hosu.objects.store import ObjectStore

LAKE_KEY = base64.b64encode(bytes(range(32))).decode()
CUSTOMER_KEY, OTHER_KEY = b"the client's own key, 32 bytes..", b"another key of the same client.."
MARK = b"this text is found by grep. "
SIZES = [0, 1, 16 * 1024, 64 * 1024, 64 * 1024 + 1, 3 * MIB + 5]
SSE_S3 = {"ServerSideEncryption": "AES256"}
SSE_KMS = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "key-1"}
SSE_KMS_2 = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "key-2"}


def customer(key: bytes) -> dict[str, Any]:
    return {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": key}


def of_source(key: bytes) -> dict[str, Any]:
    return {f"CopySource{name}": value for name, value in customer(key).items()}


SSE_C, SSE_C_2 = customer(CUSTOMER_KEY), customer(OTHER_KEY)

MODES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}, {}),
    "sse-s3": (SSE_S3, {}, {}),
    "sse-kms": (SSE_KMS, {}, {}),
    "sse-kms-2": (SSE_KMS_2, {}, {}),
    "sse-c": (SSE_C, SSE_C, of_source(CUSTOMER_KEY)),
    "sse-c-2": (SSE_C_2, SSE_C_2, of_source(OTHER_KEY)),
}
"""What writes, reads and copies of each mode say."""


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certs")
    make_certificate(folder)
    return folder


@pytest.fixture(scope="module")
def process(
    isolated_shell: None,  # noqa: ARG001 - the server inherits the cleaned environment
    certs: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ServerProcess]:
    """Serve a lake with a key of its own, and two named ones, over TLS."""
    scratch = tmp_path_factory.mktemp("encrypted")
    store = ObjectStore(scratch / "lake", lake_key=load_lake_key(Settings(), {"HOSU_LAKE_KEY": LAKE_KEY}))
    for name in ("key-1", "key-2"):
        store.keys.create_key(name)
    store.close()
    settings = {"HOSU_CERTS_DIR": str(certs), "HOSU_LAKE_KEY": LAKE_KEY, "HOSU_LOG_LEVEL": "DEBUG"}
    with ServerProcess(scratch / "lake", scratch / "server.log", settings) as running:
        yield running


@pytest.fixture(scope="module")
def s3(process: ServerProcess, certs: Path) -> Iterator[S3Client]:
    client = boto3_client(process.endpoint, verify=str(certs / "public.crt"))
    yield client
    client.close()


def said(answer: dict[str, Any]) -> dict[str, str]:
    """Return what an answer says of encryption, by the last words of its headers."""
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    prefix = "x-amz-server-side-encryption"
    return {name[len(prefix) :].lstrip("-"): value for name, value in headers.items() if name.startswith(prefix)}


def spelt(given: dict[str, Any]) -> dict[str, Any]:
    """Return a customer key as it travels, for operations in which boto3 does not translate it."""
    if not given:
        return given
    key = given["SSECustomerKey"]
    return given | {"SSECustomerKey": base64.b64encode(key).decode(), "SSECustomerKeyMD5": md5(key)}


def md5(key: bytes) -> str:
    return base64.b64encode(hashlib.md5(key, usedforsecurity=False).digest()).decode()


EXPECTED = {
    "plain": {},
    "sse-s3": {"": "AES256"},
    "sse-kms": {"": "aws:kms", "aws-kms-key-id": "key-1"},
    "sse-kms-2": {"": "aws:kms", "aws-kms-key-id": "key-2"},
    "sse-c": {"customer-algorithm": "AES256", "customer-key-md5": md5(CUSTOMER_KEY)},
    "sse-c-2": {"customer-algorithm": "AES256", "customer-key-md5": md5(OTHER_KEY)},
}


@pytest.mark.conformance("s3", "PutObject")
@pytest.mark.parametrize("mode", MODES)
def test_objects_come_back_whole_and_in_ranges_and_say_how_they_are_kept(s3: S3Client, bucket: str, mode: str) -> None:
    write, read, _ = MODES[mode]
    for size in SIZES:
        body = patterned(size, size)
        put = s3.put_object(Bucket=bucket, Key="k", Body=body, **write)
        assert put["ETag"] == f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
        got, head = s3.get_object(Bucket=bucket, Key="k", **read), s3.head_object(Bucket=bucket, Key="k", **read)
        assert got["Body"].read() == body
        assert got["ContentLength"] == head["ContentLength"] == size
        assert said(put) == said(got) == said(head) == EXPECTED[mode]
        for start, end in ((0, 0), (1, 9), (65_535, 65_537), (65_536, 131_071), (size - 1, size - 1), (5, size - 2)):
            if 0 <= start <= end < size:
                part = s3.get_object(Bucket=bucket, Key="k", Range=f"bytes={start}-{end}", **read)
                assert part["Body"].read() == body[start : end + 1]
        attributes = s3.get_object_attributes(
            Bucket=bucket, Key="k", ObjectAttributes=["ObjectSize", "ETag"], **spelt(read)
        )
        assert (attributes["ObjectSize"], f'"{attributes["ETag"]}"') == (size, put["ETag"])
        assert s3.list_objects_v2(Bucket=bucket)["Contents"][0]["Size"] == size


@pytest.mark.conformance("s3", "UploadPart")
@pytest.mark.parametrize("mode", MODES)
def test_uploads_in_parts(s3: S3Client, bucket: str, mode: str) -> None:
    write, read, _ = MODES[mode]
    bodies = [patterned(5 * MIB + 3, 1), patterned(5 * MIB, 2), patterned(10, 3)]
    named = {"Bucket": bucket, "Key": "k"}
    begun = s3.create_multipart_upload(**named, **write)
    named_upload = named | {"UploadId": begun["UploadId"]}
    done, parts = [begun], []
    for number, body in enumerate(bodies, 1):
        answer = s3.upload_part(**named_upload, PartNumber=number, Body=body, **read)
        done.append(answer)
        parts.append({"PartNumber": number, "ETag": answer["ETag"]})
    done.append(s3.complete_multipart_upload(**named_upload, MultipartUpload={"Parts": parts}, **read))
    got = s3.get_object(**named, **read)
    whole = b"".join(bodies)
    assert got["Body"].read() == whole
    assert [said(answer) for answer in (*done, got)] == [EXPECTED[mode]] * 6
    for number, body in enumerate(bodies, 1):
        part = s3.get_object(**named, PartNumber=number, **read)
        assert part["Body"].read() == body
    for start, end in ((5 * MIB, 5 * MIB + 5), (100, 10 * MIB + 5), (10 * MIB, 10 * MIB + 12)):
        assert s3.get_object(**named, Range=f"bytes={start}-{end}", **read)["Body"].read() == whole[start : end + 1]


@pytest.mark.conformance("s3", "CopyObject")
@pytest.mark.parametrize(("source", "target"), list(itertools.product(MODES, MODES)))
def test_copies_between_all_modes(s3: S3Client, bucket: str, source: str, target: str) -> None:
    for size in (0, 7, 300_001):
        body = patterned(size, size)
        s3.put_object(Bucket=bucket, Key="source", Body=body, Metadata={"a": "b"}, **MODES[source][0])
        where = {"Bucket": bucket, "Key": "target", "CopySource": {"Bucket": bucket, "Key": "source"}}
        copied = s3.copy_object(**where, **MODES[target][0], **MODES[source][2])
        got = s3.get_object(Bucket=bucket, Key="target", **MODES[target][1])
        assert (got["Body"].read(), got["Metadata"]) == (body, {"a": "b"})
        assert said(copied) == said(got) == EXPECTED[target]
        assert copied["CopyObjectResult"]["ETag"] == got["ETag"]
        s3.delete_object(Bucket=bucket, Key="source")
        assert s3.get_object(Bucket=bucket, Key="target", **MODES[target][1])["Body"].read() == body


@pytest.mark.conformance("s3", "UploadPartCopy")
@pytest.mark.parametrize(("source", "target"), list(itertools.product(MODES, MODES)))
def test_parts_copied_between_all_modes(s3: S3Client, bucket: str, source: str, target: str) -> None:
    body = patterned(6 * MIB, 6)
    s3.put_object(Bucket=bucket, Key="source", Body=body, **MODES[source][0])
    named = {"Bucket": bucket, "Key": "target"}
    begun = s3.create_multipart_upload(**named, **MODES[target][0])
    named_upload = named | {"UploadId": begun["UploadId"]}
    where = named_upload | {"CopySource": {"Bucket": bucket, "Key": "source"}}
    keys = MODES[target][1] | MODES[source][2]
    parts = []
    for number, (start, end) in enumerate(((3, 5 * MIB + 70_000), (65_530, 65_545)), 1):
        copied = s3.upload_part_copy(**where, PartNumber=number, CopySourceRange=f"bytes={start}-{end}", **keys)
        assert said(copied) == EXPECTED[target]
        parts.append({"PartNumber": number, "ETag": copied["CopyPartResult"]["ETag"]})
    s3.complete_multipart_upload(**named_upload, MultipartUpload={"Parts": parts}, **MODES[target][1])
    got = s3.get_object(**named, **MODES[target][1])
    assert got["Body"].read() == body[3 : 5 * MIB + 70_001] + body[65_530:65_546]
    assert said(got) == EXPECTED[target]


@pytest.mark.conformance("s3", "GetObject")
@pytest.mark.parametrize("size", [10, 300_000])
def test_without_the_clients_key_nothing_is_told(s3: S3Client, bucket: str, size: int) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=patterned(size), **SSE_C)
    named = {"Bucket": bucket, "Key": "k"}
    for wrong in ({}, SSE_C_2):
        with refused("InvalidRequest", 400):
            s3.get_object(**named, **wrong)
        with refused("InvalidRequest", 400):
            s3.get_object(**named, Range="bytes=0-1", **wrong)
        with refused_head(400):
            s3.head_object(**named, **wrong)
        with refused("InvalidRequest", 400):
            s3.get_object_attributes(**named, ObjectAttributes=["ETag"], **spelt(wrong))
    for wrong in ({}, of_source(OTHER_KEY)):
        with refused("InvalidRequest", 400):
            s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "k"}, **wrong)
    s3.delete_object(**named)  # who may delete it needs no key
    with refused_head(404):
        s3.head_object(Bucket=bucket, Key="copy")


@pytest.mark.conformance("s3", "UploadPart")
def test_each_part_and_the_completion_need_the_uploads_key(s3: S3Client, bucket: str) -> None:
    named = {"Bucket": bucket, "Key": "k"}
    named |= {"UploadId": s3.create_multipart_upload(**named, **SSE_C)["UploadId"]}
    for wrong in ({}, SSE_C_2):
        with refused("InvalidRequest", 400):
            s3.upload_part(**named, PartNumber=1, Body=b"body", **wrong)
    part = s3.upload_part(**named, PartNumber=1, Body=b"body", **SSE_C)
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    for wrong in ({}, SSE_C_2):
        with refused("InvalidRequest", 400):
            s3.complete_multipart_upload(**named, MultipartUpload=parts, **wrong)
    s3.complete_multipart_upload(**named, MultipartUpload=parts, **SSE_C)
    assert s3.get_object(Bucket=bucket, Key="k", **SSE_C)["Body"].read() == b"body"


@pytest.mark.conformance("s3", "GetObject")
@pytest.mark.parametrize("mode", ["plain", "sse-s3", "sse-kms"])
def test_a_key_that_opens_nothing_is_refused(s3: S3Client, bucket: str, mode: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"body", **MODES[mode][0])
    with refused("InvalidRequest", 400):
        s3.get_object(Bucket=bucket, Key="k", **SSE_C)
    with refused_head(400):
        s3.head_object(Bucket=bucket, Key="k", **SSE_C)


@pytest.mark.conformance("s3", "GetObject")
def test_versions_keep_their_own_encryption(s3: S3Client, bucket: str) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    versions = {
        mode: s3.put_object(Bucket=bucket, Key="k", Body=mode.encode(), **write)["VersionId"]
        for mode, (write, _, _) in MODES.items()
    }
    for mode, version in versions.items():
        got = s3.get_object(Bucket=bucket, Key="k", VersionId=version, **MODES[mode][1])
        assert (got["Body"].read(), said(got)) == (mode.encode(), EXPECTED[mode])
        back = s3.copy_object(
            Bucket=bucket, Key="back", CopySource={"Bucket": bucket, "Key": "k", "VersionId": version}, **MODES[mode][2]
        )
        assert said(back) == {}
        assert s3.get_object(Bucket=bucket, Key="back")["Body"].read() == mode.encode()


@pytest.mark.conformance("s3", "CopyObject")
def test_an_object_is_encrypted_anew_by_a_copy_onto_itself(s3: S3Client, bucket: str) -> None:
    body = patterned(100_000)
    where = {"Bucket": bucket, "Key": "k", "CopySource": {"Bucket": bucket, "Key": "k"}}
    s3.put_object(Bucket=bucket, Key="k", Body=body)
    with refused("InvalidRequest", 400):
        s3.copy_object(**where)
    for mode in ("sse-s3", "sse-kms", "sse-kms-2", "sse-s3"):
        s3.copy_object(**where, **MODES[mode][0])
        got = s3.get_object(Bucket=bucket, Key="k")
        assert (got["Body"].read(), said(got)) == (body, EXPECTED[mode])
    s3.copy_object(**where, **SSE_C)
    s3.copy_object(**where, **SSE_C_2, **of_source(CUSTOMER_KEY))
    assert s3.get_object(Bucket=bucket, Key="k", **SSE_C_2)["Body"].read() == body


def rule(method: str, key: str | None = None, **rest: Any) -> dict[str, Any]:
    default = {"SSEAlgorithm": method} | ({} if key is None else {"KMSMasterKeyID": key})
    return {"Rules": [{"ApplyServerSideEncryptionByDefault": default, **rest}]}


@pytest.mark.conformance("s3", "PutBucketEncryption")
@pytest.mark.parametrize(
    ("configuration", "mode"),
    [(rule("AES256"), "sse-s3"), (rule("aws:kms", "key-1"), "sse-kms"), (rule("aws:kms", "key-2"), "sse-kms-2")],
)
def test_a_bucket_says_how_its_objects_are_encrypted(
    s3: S3Client, bucket: str, configuration: dict[str, Any], mode: str
) -> None:
    with refused("ServerSideEncryptionConfigurationNotFoundError", 404):
        s3.get_bucket_encryption(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="before", Body=b"body")
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=configuration)
    shown = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    expected = configuration["Rules"][0]["ApplyServerSideEncryptionByDefault"]
    assert [entry["ApplyServerSideEncryptionByDefault"] for entry in shown] == [expected]
    assert said(s3.put_object(Bucket=bucket, Key="put", Body=b"body")) == EXPECTED[mode]
    copied = s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "before"})
    assert said(copied) == EXPECTED[mode]
    begun = s3.create_multipart_upload(Bucket=bucket, Key="parts")
    assert said(begun) == EXPECTED[mode]
    s3.abort_multipart_upload(Bucket=bucket, Key="parts", UploadId=begun["UploadId"])
    form = s3.generate_presigned_post(bucket, "form")
    answer = post(s3, form)
    assert answer.status == 204, answer.data
    for key in ("put", "copy", "form"):
        got = s3.get_object(Bucket=bucket, Key=key)
        assert (got["Body"].read(), said(got)) == (b"body", EXPECTED[mode])
    assert said(s3.head_object(Bucket=bucket, Key="before")) == {}
    for other in ("sse-s3", "sse-kms-2", "sse-c"):
        assert said(s3.put_object(Bucket=bucket, Key="k", Body=b"body", **MODES[other][0])) == EXPECTED[other]
    s3.delete_bucket_encryption(Bucket=bucket)
    s3.delete_bucket_encryption(Bucket=bucket)
    assert said(s3.put_object(Bucket=bucket, Key="after", Body=b"body")) == {}
    assert said(s3.head_object(Bucket=bucket, Key="put")) == EXPECTED[mode]


def post(s3: S3Client, form: dict[str, Any], **fields: str) -> Any:
    ca_certs = s3._endpoint.http_session._verify
    with urllib3.PoolManager(ca_certs=ca_certs) as pool:
        return pool.request("POST", form["url"], fields={**form["fields"], **fields, "file": ("name", b"body")})


@pytest.mark.conformance("s3", "PutBucketEncryption")
@pytest.mark.parametrize(
    ("configuration", "code", "status"),
    [
        (rule("AES128"), "InvalidArgument", 400),
        (rule("aws:kms:dsse"), "NotImplemented", 501),
        (rule("AES256", "key-1"), "InvalidArgument", 400),
        (rule("aws:kms", "missing"), "KMS.NotFoundException", 400),
        (rule("aws:kms", "hosu-identity"), "KMS.NotFoundException", 400),
        ({"Rules": []}, "MalformedXML", 400),
        ({"Rules": rule("AES256")["Rules"] * 2}, "MalformedXML", 400),
        ({"Rules": [{"BucketKeyEnabled": True}]}, "MalformedXML", 400),
    ],
)
def test_what_a_bucket_cannot_say_is_refused(
    s3: S3Client, bucket: str, configuration: dict[str, Any], code: str, status: int
) -> None:
    with refused(code, status):
        s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=configuration)
    with refused("ServerSideEncryptionConfigurationNotFoundError", 404):
        s3.get_bucket_encryption(Bucket=bucket)


CONTEXT = base64.b64encode(json.dumps({"team": "vision"}).encode()).decode()


@pytest.mark.conformance("s3", "PutObject")
def test_what_comes_with_a_kms_key(s3: S3Client, bucket: str) -> None:
    arn = "arn:aws:kms:us-east-1:123456789012:key/key-1"
    put = s3.put_object(
        Bucket=bucket, Key="k", Body=b"body", ServerSideEncryption="aws:kms", SSEKMSKeyId=arn,
        SSEKMSEncryptionContext=CONTEXT, BucketKeyEnabled=True,
    )  # fmt: skip
    expected = EXPECTED["sse-kms"] | {"bucket-key-enabled": "true"}
    assert said(put) == expected | {"context": CONTEXT}
    assert said(s3.head_object(Bucket=bucket, Key="k")) == expected
    put = s3.put_object(Bucket=bucket, Key="default", Body=b"body", ServerSideEncryption="aws:kms")
    named = said(put)["aws-kms-key-id"]
    assert said(s3.put_object(Bucket=bucket, Key="k", Body=b"", SSEKMSKeyId=named, ServerSideEncryption="aws:kms"))
    assert s3.get_object(Bucket=bucket, Key="default")["Body"].read() == b"body"


KEY_64, KEY_MD5 = base64.b64encode(CUSTOMER_KEY).decode(), md5(CUSTOMER_KEY)
PREFIX = "x-amz-server-side-encryption"


@pytest.mark.conformance("s3", "PutObject")
@pytest.mark.parametrize(
    ("headers", "code", "status"),
    [
        ({"": "AES128"}, "InvalidArgument", 400),
        ({"": "aes256"}, "InvalidArgument", 400),
        ({"": ""}, "InvalidArgument", 400),
        ({"": "aws:kms:dsse"}, "NotImplemented", 501),
        ({"": "aws:kms", "-aws-kms-key-id": "missing"}, "KMS.NotFoundException", 400),
        ({"": "aws:kms", "-aws-kms-key-id": "hosu-identity"}, "KMS.NotFoundException", 400),
        ({"": "aws:kms", "-aws-kms-key-id": ""}, "InvalidArgument", 400),
        ({"-aws-kms-key-id": "key-1"}, "InvalidArgument", 400),
        ({"": "AES256", "-aws-kms-key-id": "key-1"}, "InvalidArgument", 400),
        ({"": "AES256", "-context": CONTEXT}, "InvalidArgument", 400),
        ({"": "aws:kms", "-context": "no base64"}, "InvalidArgument", 400),
        ({"": "aws:kms", "-context": base64.b64encode(b"[1]").decode()}, "InvalidArgument", 400),
        ({"": "aws:kms", "-bucket-key-enabled": "perhaps"}, "InvalidArgument", 400),
        ({"-unknown": "x"}, "NotImplemented", 501),
        ({"-customer-key": KEY_64, "-customer-key-md5": KEY_MD5}, "InvalidArgument", 400),
        ({"-customer-algorithm": "AES256", "-customer-key-md5": KEY_MD5}, "InvalidArgument", 400),
        ({"-customer-algorithm": "AES256", "-customer-key": KEY_64}, "InvalidArgument", 400),
        ({"-customer-algorithm": "AES256"}, "InvalidArgument", 400),
        (
            {"-customer-algorithm": "AES128", "-customer-key": KEY_64, "-customer-key-md5": KEY_MD5},
            "InvalidEncryptionAlgorithmError", 400,
        ),
        (
            {"-customer-algorithm": "AES256", "-customer-key": KEY_64, "-customer-key-md5": md5(OTHER_KEY)},
            "InvalidArgument", 400,
        ),
        (
            {"-customer-algorithm": "AES256", "-customer-key": KEY_64[:-4], "-customer-key-md5": KEY_MD5},
            "InvalidArgument", 400,
        ),
        (
            {"-customer-algorithm": "AES256", "-customer-key": "?" * 44, "-customer-key-md5": KEY_MD5},
            "InvalidArgument", 400,
        ),
        (
            {"": "AES256", "-customer-algorithm": "AES256", "-customer-key": KEY_64, "-customer-key-md5": KEY_MD5},
            "InvalidArgument", 400,
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("operation", ["PutObject", "CreateMultipartUpload", "CopyObject"])
def test_headers_that_do_not_fit_are_refused(
    s3: S3Client, bucket: str, operation: str, headers: dict[str, str], code: str, status: int
) -> None:
    s3.put_object(Bucket=bucket, Key="source", Body=b"body")

    def add(params: dict[str, Any], **_: Any) -> None:
        params["headers"].update({PREFIX + name: value for name, value in headers.items()})

    event = f"before-call.s3.{operation}"
    s3.meta.events.register(event, add, unique_id="test")
    try:
        with refused(code, status) as refusal:
            match operation:
                case "PutObject":
                    s3.put_object(Bucket=bucket, Key="k", Body=b"body")
                case "CreateMultipartUpload":
                    s3.create_multipart_upload(Bucket=bucket, Key="k")
                case _:
                    s3.copy_object(Bucket=bucket, Key="k", CopySource={"Bucket": bucket, "Key": "source"})
    finally:
        s3.meta.events.unregister(event, unique_id="test")
    assert KEY_64[:20] not in str(refusal.value.response)
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["source"]
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


@pytest.mark.conformance("s3", "GetObject")
def test_readers_do_not_say_who_holds_the_key(s3: S3Client, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"body", **SSE_S3)

    def add(params: dict[str, Any], **_: Any) -> None:
        params["headers"][PREFIX] = "AES256"

    for operation in ("GetObject", "HeadObject"):
        s3.meta.events.register(f"before-call.s3.{operation}", add, unique_id=operation)
    try:
        with refused("InvalidArgument", 400):
            s3.get_object(Bucket=bucket, Key="k")
        with refused_head(400):
            s3.head_object(Bucket=bucket, Key="k")
    finally:
        for operation in ("GetObject", "HeadObject"):
            s3.meta.events.unregister(f"before-call.s3.{operation}", unique_id=operation)


@pytest.mark.conformance("s3", "GetObject")
@pytest.mark.parametrize("signature", ["s3v4", "s3"])
def test_presigned_requests(process: ServerProcess, bucket: str, certs: Path, signature: str) -> None:
    s3 = boto3_client(process.endpoint, Config(signature_version=signature), verify=str(certs / "public.crt"))
    named = {"Bucket": bucket, "Key": "k"}
    key_headers = {f"{PREFIX}-customer-algorithm": "AES256", f"{PREFIX}-customer-key": KEY_64}
    key_headers[f"{PREFIX}-customer-key-MD5"] = KEY_MD5
    with urllib3.PoolManager(ca_certs=str(certs / "public.crt")) as pool:
        url = s3.generate_presigned_url("put_object", Params=named | SSE_C)
        answer = pool.request("PUT", url, body=b"body", headers=key_headers)
        assert answer.status == 200, answer.data
        assert pool.request("GET", s3.generate_presigned_url("get_object", Params=named)).status == 400
        url = s3.generate_presigned_url("get_object", Params=named | SSE_C)
        assert pool.request("GET", url, headers=key_headers).data == b"body"
        assert pool.request("GET", url).status == 403  # what was signed has to be sent
        url = s3.generate_presigned_url("put_object", Params=named | SSE_S3)
        answer = pool.request("PUT", url, body=b"mine", headers={PREFIX: "AES256"})
        assert answer.status == 200, answer.data
    assert said(s3.head_object(**named)) == EXPECTED["sse-s3"]
    s3.close()


@pytest.mark.conformance("s3", "PostObject")
@pytest.mark.parametrize("mode", ["sse-s3", "sse-kms", "sse-c"])
def test_forms(s3: S3Client, bucket: str, mode: str) -> None:
    fields = {
        "sse-s3": {PREFIX: "AES256"},
        "sse-kms": {PREFIX: "aws:kms", f"{PREFIX}-aws-kms-key-id": "key-1"},
        "sse-c": {
            f"{PREFIX}-customer-algorithm": "AES256",
            f"{PREFIX}-customer-key": KEY_64,
            f"{PREFIX}-customer-key-md5": KEY_MD5,
        },
    }[mode]
    conditions = [["starts-with", f"${name}", ""] for name in fields]
    form = s3.generate_presigned_post(bucket, "k", Conditions=conditions)
    answer = post(s3, form, **fields)
    assert answer.status == 204, answer.data
    got = s3.get_object(Bucket=bucket, Key="k", **MODES[mode][1])
    assert (got["Body"].read(), said(got)) == (b"body", EXPECTED[mode])
    wrong = dict.fromkeys(fields, "wrong")
    assert post(s3, form, **wrong).status == 400


@pytest.mark.conformance("s3", "PutBucketPolicy")
def test_a_policy_may_ask_for_encryption(s3: S3Client, bucket: str) -> None:
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:PutObject",
        "Resource": f"arn:aws:s3:::{bucket}/*",
        "Condition": {"StringNotEquals": {"s3:x-amz-server-side-encryption": "aws:kms"}},
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    s3.put_bucket_policy(Bucket=bucket, Policy=document)
    for mode in ("plain", "sse-s3", "sse-c"):
        with refused("AccessDenied", 403):
            s3.put_object(Bucket=bucket, Key="k", Body=b"body", **MODES[mode][0])
    s3.put_object(Bucket=bucket, Key="k", Body=b"body", **SSE_KMS)
    s3.delete_bucket_policy(Bucket=bucket)


@pytest.mark.conformance("s3", "PutObject")
def test_minio_py(process: ServerProcess, bucket: str, certs: Path) -> None:
    import io

    from minio import Minio
    from minio.sse import SseCustomerKey, SseKMS, SseS3

    endpoint = process.endpoint
    body = patterned(6 * MIB)
    with urllib3.PoolManager(ca_certs=str(certs / "public.crt")) as pool:
        client = Minio(endpoint.host, endpoint.access_key, endpoint.secret_key, secure=True, http_client=pool)
        own = SseCustomerKey(CUSTOMER_KEY)
        for sse in (SseS3(), SseKMS("key-1", {"team": "vision"}), own):
            client.put_object(bucket, "k", io.BytesIO(body), len(body), part_size=5 * MIB, sse=sse)
            with client.get_object(bucket, "k", ssec=own if sse is own else None) as answer:
                assert answer.read() == body
            assert client.stat_object(bucket, "k", ssec=own if sse is own else None).size == len(body)


def test_no_file_log_or_listing_shows_a_body_or_a_key(process: ServerProcess, s3: S3Client, bucket: str) -> None:
    for mode, (write, _, _) in MODES.items():
        if mode != "plain":
            for size in (1, 500, 50_000):
                s3.put_object(Bucket=bucket, Key=f"{mode}-{size}", Body=MARK * size, **write)
    with refused("InvalidRequest", 400):
        s3.get_object(Bucket=bucket, Key="sse-c-1", **SSE_C_2)
    files = [path for path in process.directory.rglob("*") if path.is_file()]
    assert any(path.parent.name != "meta" and path.stat().st_size > 1000 for path in files)
    secrets = (MARK, CUSTOMER_KEY, KEY_64.encode(), OTHER_KEY, base64.b64encode(OTHER_KEY), LAKE_KEY.encode())
    for path in files:
        held = path.read_bytes()
        for secret in secrets:
            assert secret not in held, path
    log = process.log_path.read_bytes()
    assert b"sse-c-1" in log  # it does say what was asked for
    assert not any(secret in log for secret in secrets)


def test_everything_opens_again_after_a_restart(certs: Path, tmp_path: Path) -> None:
    settings = {"HOSU_CERTS_DIR": str(certs), "HOSU_LAKE_KEY": LAKE_KEY}
    bodies = {size: patterned(size) for size in (100, 300_000)}
    for is_second in (False, True):
        with ServerProcess(tmp_path / "lake", tmp_path / "log", settings) as process:
            s3 = boto3_client(process.endpoint, verify=str(certs / "public.crt"))
            if not is_second:
                s3.create_bucket(Bucket="bucket")
            for mode, size in itertools.product(("sse-s3", "sse-c"), bodies):
                named = {"Bucket": "bucket", "Key": f"{mode}-{size}"}
                if not is_second:
                    s3.put_object(**named, Body=bodies[size], **MODES[mode][0])
                assert s3.get_object(**named, **MODES[mode][1])["Body"].read() == bodies[size]
            s3.close()


@pytest.mark.conformance("s3", "PutObject")
def test_keys_do_not_travel_where_anybody_reads_them(server: Endpoint) -> None:
    plain = boto3_client(server)
    plain.create_bucket(Bucket="keys-over-http")
    try:
        with refused("InvalidRequest", 400) as refusal:
            plain.put_object(Bucket="keys-over-http", Key="k", Body=b"body", **SSE_C)
        assert "secure connection" in str(refusal.value)
        plain.put_object(Bucket="keys-over-http", Key="k", Body=b"body")
        with refused("InvalidRequest", 400):
            plain.get_object(Bucket="keys-over-http", Key="k", **SSE_C)
        with refused("InvalidRequest", 400):
            plain.create_multipart_upload(Bucket="keys-over-http", Key="k", **SSE_C)
        with refused("InvalidRequest", 400):
            source = {"Bucket": "keys-over-http", "Key": "k"}
            plain.copy_object(Bucket="keys-over-http", Key="l", CopySource=source, **of_source(CUSTOMER_KEY))
    finally:
        plain.delete_object(Bucket="keys-over-http", Key="k")
        plain.delete_bucket(Bucket="keys-over-http")
        plain.close()


@pytest.mark.conformance("s3", "PutObject")
def test_a_lake_without_a_key_says_so(server: Endpoint) -> None:
    plain = boto3_client(server)
    plain.create_bucket(Bucket="no-lake-key")
    try:
        for asked in (SSE_S3, {"ServerSideEncryption": "aws:kms"}):
            with refused("NotImplemented", 501) as refusal:
                plain.put_object(Bucket="no-lake-key", Key="k", Body=b"body", **asked)
            assert "HOSU_LAKE_KEY" in str(refusal.value)
        with refused("NotImplemented", 501):
            plain.put_bucket_encryption(Bucket="no-lake-key", ServerSideEncryptionConfiguration=rule("AES256"))
        assert plain.list_objects_v2(Bucket="no-lake-key")["KeyCount"] == 0
    finally:
        plain.delete_bucket(Bucket="no-lake-key")
        plain.close()
    assert os.environ.get("HOSU_LAKE_KEY") is None
