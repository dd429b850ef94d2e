"""What requests say about encryption, and what answers say back.

The lake holds the key (SSE-S3, or SSE-KMS under a name), or the client does and brings it each time (SSE-C).
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import NamedTuple

from hosu.objects.encryption import Encryption, EncryptionFacts, EncryptionMode
from hosu.objects.encryption.modes import check_customer_key
from hosu.objects.encryption.names import OWN_PREFIX
from hosu.objects.records import ObjectRecord
from hosu.objects.store import ENCRYPTED
from hosu.server.http import Headers
from hosu.server.s3.call import Call
from hosu.server.s3.request_errors import S3RequestError

ALGORITHM = "AES256"
KMS = "aws:kms"
_UNSUPPORTED = frozenset({"aws:kms:dsse", "aws:fsx"})
"""Methods of S3's that hosu does not have."""

SSE = b"x-amz-server-side-encryption"
KMS_KEY_ID = b"x-amz-server-side-encryption-aws-kms-key-id"
CONTEXT = b"x-amz-server-side-encryption-context"
BUCKET_KEY = b"x-amz-server-side-encryption-bucket-key-enabled"
_KMS_HEADERS = (KMS_KEY_ID, CONTEXT, BUCKET_KEY)
_OF_LAKE = frozenset({SSE, *_KMS_HEADERS})

CONTEXT_BYTES_MAX = 8 * 1024
KEY_BYTES = 32
_ARN = "arn:aws:kms:"


class CustomerHeaders(NamedTuple):
    """Names of the three headers that bring a client's key."""

    algorithm: bytes
    key: bytes
    md5: bytes


OF_OBJECT = CustomerHeaders(
    b"x-amz-server-side-encryption-customer-algorithm",
    b"x-amz-server-side-encryption-customer-key",
    b"x-amz-server-side-encryption-customer-key-md5",
)
_ALGORITHM_NAME, _KEY_NAME, _MD5_NAME = OF_OBJECT
OF_SOURCE = CustomerHeaders(*(name.replace(b"x-amz-", b"x-amz-copy-source-", 1) for name in OF_OBJECT))

ENCRYPTION_HEADERS = frozenset({*_OF_LAKE, *OF_OBJECT})
"""What a write may bring."""

SOURCE_HEADERS = frozenset(OF_SOURCE)
"""What a copy may bring besides, about its source."""


def _has_any(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a request speaks of encryption at all; written out, since every request is asked."""
    return (
        SSE in headers
        or _ALGORITHM_NAME in headers
        or _KEY_NAME in headers
        or _MD5_NAME in headers
        or KMS_KEY_ID in headers
        or CONTEXT in headers
        or BUCKET_KEY in headers
    )


def take_write_headers(call: Call) -> None:
    """Note how a request says that what it writes is to be encrypted.

    Raises S3RequestError, and as `KeyService.facts_of` where the lake has no such key.
    """
    if _has_any(call.headers):
        call.encryption = _asked(call)
        if call.encryption is not None:
            check_key(call, call.encryption)


def check_key(call: Call, wanted: Encryption) -> None:
    """Refuse a key that the lake does not have, or keeps for itself."""
    keys = call.engine.store.keys
    if wanted.key_name.startswith(OWN_PREFIX) and wanted.key_name != keys.default_key:
        raise S3RequestError("KMS.NotFoundException", f"Key {wanted.key_name!r} is the lake's own: name another")
    keys.facts_of(wanted)


def take_part_headers(call: Call) -> None:
    """Note the client's key that comes with a part, or with the completion of an upload.

    Any other encryption is the upload's alone: what a part says of it is not looked at, as elsewhere, and the answer
    says what holds.
    """
    if _has_any(call.headers):
        call.customer_key = _customer_key(call, OF_OBJECT)


def take_source_headers(call: Call) -> None:
    """Note the client's key to the source of a copy."""
    call.source_key = _customer_key(call, OF_SOURCE)


def take_read_headers(call: Call) -> None:
    """Note the client's key that a read brings; refuse what only writes may say."""
    headers = call.headers
    if not _has_any(headers):
        return
    for name in _OF_LAKE:
        if name in headers:
            raise S3RequestError(
                "InvalidArgument",
                f"The header {name.decode()} is for writes: the lake finds its own key of an object by itself",
                argument_name=name.decode(),
            )
    call.customer_key = _customer_key(call, OF_OBJECT)


def check_reader(call: Call, record: ObjectRecord) -> None:
    """Refuse to tell of an object that only its writer's key opens, without that key; and a key that opens nothing."""
    if not call.customer_key and ENCRYPTED not in record.attributes_json:
        return
    encryption = record.attributes.encryption
    if call.customer_key and (encryption is None or encryption.mode != EncryptionMode.SSE_C):
        raise S3RequestError("InvalidRequest", "The encryption parameters are not applicable to this object.")
    check_customer_key(encryption, call.customer_key)


def encryption_headers(facts: EncryptionFacts | None) -> Headers:
    """Return what an answer says of an object's encryption."""
    if facts is None:
        return []
    if facts.mode == EncryptionMode.SSE_C:
        return [(OF_OBJECT.algorithm, ALGORITHM.encode()), (_MD5, facts.customer_key_md5.encode())]
    if facts.mode == EncryptionMode.SSE_S3:
        return [(SSE, ALGORITHM.encode())]
    headers = [(SSE, KMS.encode()), (KMS_KEY_ID, facts.key_name.encode())]
    if facts.bucket_key:
        headers.append((BUCKET_KEY, b"true"))
    return headers


_MD5 = b"x-amz-server-side-encryption-customer-key-MD5"
"""As S3 spells it in answers."""


def written_headers(facts: EncryptionFacts | None) -> Headers:
    """Return what the answer to a write says: the context too, which readers are not told."""
    headers = encryption_headers(facts)
    if facts is not None and facts.context:
        headers.append((CONTEXT, facts.context.encode()))
    return headers


def encryption_lines(facts: EncryptionFacts | None) -> bytes:
    """Return `encryption_headers` as lines, each ending with CRLF."""
    return b"".join(b"%b: %b\r\n" % header for header in encryption_headers(facts))


def key_name_of(key_id: str) -> str:
    """Return the name of a key that clients name by itself or as `arn:aws:kms:REGION:ACCOUNT:key/NAME`."""
    if not key_id.startswith(_ARN):
        return key_id
    name = key_id.rpartition("/")[2] if "/" in key_id else key_id[len(_ARN) :]
    return name.rpartition(":")[2]


def check_method(method: str, argument_name: str) -> EncryptionMode:
    """Return the mode that S3 calls so."""
    if method in _UNSUPPORTED:
        raise S3RequestError("NotImplemented", f"The encryption method {method} is not supported")
    if method not in {ALGORITHM, KMS}:
        raise S3RequestError(
            "InvalidArgument",
            "The encryption method specified is not supported",
            argument_name=argument_name,
            argument_value=method,
        )
    return EncryptionMode.SSE_KMS if method == KMS else EncryptionMode.SSE_S3


def _asked(call: Call) -> Encryption | None:
    """Return what the headers of a write ask for; None when they only adjust the bucket's."""
    headers, method = call.headers, call.header(SSE)
    is_customer = any(name in headers for name in OF_OBJECT)
    if is_customer and not _OF_LAKE.isdisjoint(headers):
        raise S3RequestError(
            "InvalidArgument",
            "Server Side Encryption with Customer provided key is incompatible with the encryption method specified",
        )
    if is_customer:
        return Encryption(EncryptionMode.SSE_C, customer_key=_customer_key(call, OF_OBJECT))
    if method is None or check_method(method, SSE.decode()) != EncryptionMode.SSE_KMS:
        for name in _KMS_HEADERS:
            if name in headers:
                raise S3RequestError(
                    "InvalidArgument",
                    f"The header {name.decode()} requires the header x-amz-server-side-encryption: aws:kms",
                    argument_name=name.decode(),
                )
        return None if method is None else Encryption(EncryptionMode.SSE_S3)
    key_id = call.header(KMS_KEY_ID)
    if key_id == "":
        raise S3RequestError("InvalidArgument", "The KMS key id must not be empty", argument_name=KMS_KEY_ID.decode())
    return Encryption(
        EncryptionMode.SSE_KMS,
        key_name_of(key_id or ""),
        context=_context(call),
        bucket_key=_boolean(call.header(BUCKET_KEY)),
    )


def _boolean(text: str | None) -> bool:
    if text is not None and text.lower() not in {"true", "false"}:
        raise S3RequestError("InvalidArgument", f"{BUCKET_KEY.decode()} must be true or false", argument_value=text)
    return text is not None and text.lower() == "true"


def _context(call: Call) -> str:
    """Return the encryption context as it came; refuse what is not Base64 of a JSON object of texts."""
    text = call.header(CONTEXT)
    if text is None:
        return ""
    try:
        found = json.loads(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError, RecursionError):
        found = None
    is_map = isinstance(found, dict) and all(isinstance(value, str) for value in found.values())
    if not is_map or len(text) > CONTEXT_BYTES_MAX:
        raise S3RequestError(
            "InvalidArgument",
            f"The header {CONTEXT.decode()} must be Base64 of a JSON object of texts, up to {CONTEXT_BYTES_MAX} bytes",
            argument_name=CONTEXT.decode(),
        )
    return text


def _customer_key(call: Call, names: CustomerHeaders) -> bytes:
    """Return the key that three headers bring, empty where none of them is there. No error shows any of it."""
    headers = call.headers
    if not any(name in headers for name in names):
        return b""
    if not (call.is_secure or call.engine.takes_keys_over_http):
        raise S3RequestError(
            "InvalidRequest",
            "Requests specifying Server Side Encryption with Customer provided keys must be made over a secure "
            "connection.",
        )
    algorithm, encoded, md5 = (call.header(name) for name in names)
    if not algorithm:
        raise _incomplete("a valid encryption algorithm", names.algorithm)
    if algorithm != ALGORITHM:
        raise S3RequestError(
            "InvalidEncryptionAlgorithmError",
            f"The encryption request you specified is not valid. Supported value: {ALGORITHM}.",
            argument_name=names.algorithm.decode(),
            argument_value=algorithm,
        )
    if not encoded:
        raise _incomplete("an appropriate secret key", names.key)
    if not md5:
        raise _incomplete("the client calculated MD5 of the secret key", names.md5)
    try:
        key = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise S3RequestError(
            "InvalidArgument",
            "The secret key was invalid for the specified algorithm.",
            argument_name=names.key.decode(),
        )
    computed = base64.b64encode(hashlib.md5(key, usedforsecurity=False).digest())
    if not hmac.compare_digest(computed, md5.encode()):
        raise S3RequestError(
            "InvalidArgument",
            "The calculated MD5 hash of the key did not match the hash that was provided.",
            argument_name=names.md5.decode(),
        )
    return key


def _incomplete(what: str, name: bytes) -> S3RequestError:
    return S3RequestError(
        "InvalidArgument",
        f"Requests specifying Server Side Encryption with Customer provided keys must provide {what}.",
        argument_name=name.decode(),
    )
