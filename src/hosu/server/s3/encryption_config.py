"""How what is written to a bucket is encrypted where its writer says nothing."""

from xml.etree.ElementTree import Element

from hosu.kernel.limits import KIB
from hosu.objects.buckets import get_document
from hosu.objects.encryption import Encryption, EncryptionMode
from hosu.objects.encryption.defaults import (
    DOCUMENT,
    BucketEncryption,
    decode_bucket_encryption,
    encode_bucket_encryption,
)
from hosu.server.http import Response
from hosu.server.s3.call import Call
from hosu.server.s3.encryption import ALGORITHM, KMS, check_key, check_method, key_name_of
from hosu.server.s3.payload import read_document, set_bucket_document
from hosu.server.s3.request_errors import S3RequestError
from hosu.server.s3.xml_read import boolean, parse, refuse, required_text, text
from hosu.server.s3.xml_write import element, empty_response, flag, xml_response

CONFIGURATION_BYTES_MAX = 16 * KIB
ROOT = "ServerSideEncryptionConfiguration"


def get_encryption(call: Call) -> Response:
    """GetBucketEncryption."""
    stored = get_document(call.engine.store.view(), call.bucket, DOCUMENT)
    if stored is None:
        raise S3RequestError(
            "ServerSideEncryptionConfigurationNotFoundError",
            "The server side encryption configuration was not found",
            bucket=call.bucket,
        )
    found = decode_bucket_encryption(stored, call.bucket)
    inner = element("SSEAlgorithm", KMS if found.mode == EncryptionMode.SSE_KMS else ALGORITHM)
    if found.key_name:
        inner += element("KMSMasterKeyID", found.key_name)
    rule = f"<ApplyServerSideEncryptionByDefault>{inner}</ApplyServerSideEncryptionByDefault>"
    rule += flag("BucketKeyEnabled", value=found.bucket_key)
    return xml_response(call.request.request_id, ROOT, f"<Rule>{rule}</Rule>")


async def put_encryption(call: Call) -> Response:
    """PutBucketEncryption: one rule, of a key that the lake has."""
    wanted = _read(parse(await read_document(call, CONFIGURATION_BYTES_MAX), ROOT))
    call.engine.store.view().bucket(call.bucket)
    check_key(call, Encryption(wanted.mode, wanted.key_name))
    await _set(call, encode_bucket_encryption(wanted))
    return empty_response(call.request.request_id)


async def delete_encryption(call: Call) -> Response:
    """DeleteBucketEncryption: what is stored stays encrypted as it is."""
    await _set(call, None)
    return empty_response(call.request.request_id, status=204)


async def _set(call: Call, body: str | None) -> None:
    await set_bucket_document(call, DOCUMENT, body)


def _read(root: Element) -> BucketEncryption:
    """Return what a configuration asks for; raises MalformedXML, InvalidArgument or NotImplemented."""
    rules = root.findall("Rule")
    if len(rules) != 1:
        refuse(f"{ROOT} has exactly one Rule")
    unknown = {child.tag for child in rules[0]} - {"ApplyServerSideEncryptionByDefault", "BucketKeyEnabled"}
    if unknown:
        raise S3RequestError("NotImplemented", f"{min(unknown)} of an encryption rule is not supported")
    default = rules[0].find("ApplyServerSideEncryptionByDefault")
    if default is None:
        refuse("Rule needs ApplyServerSideEncryptionByDefault")
    mode = check_method(required_text(default, "SSEAlgorithm"), "SSEAlgorithm")
    key_id = text(default, "KMSMasterKeyID")
    if key_id is not None and mode != EncryptionMode.SSE_KMS:
        raise S3RequestError(
            "InvalidArgument",
            "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms",
            argument_name="KMSMasterKeyID",
            argument_value=key_id,
        )
    is_bucket_key = boolean(rules[0], "BucketKeyEnabled")
    return BucketEncryption(mode, key_name_of(key_id or ""), bucket_key=is_bucket_key)
