"""Sub-resources that hosu does not keep: read as S3 reads them when unset, refused by name when written."""

from xml.etree.ElementTree import Element

from hosu.kernel.limits import KIB
from hosu.objects.read import find
from hosu.server.http import Response
from hosu.server.s3.call import Call
from hosu.server.s3.headers import refuse_unsupported
from hosu.server.s3.payload import read_document
from hosu.server.s3.request_errors import S3RequestError
from hosu.server.s3.xml_read import parse
from hosu.server.s3.xml_write import OWNER_ID, element, empty_response, owner, xml_response

ACL_BYTES_MAX = 64 * KIB
"""A hundred grants, which is S3's most."""

UNSET_BUCKET_CODES = {
    "encryption": (
        "ServerSideEncryptionConfigurationNotFoundError",
        "The server side encryption configuration was not found",
    ),
    "lifecycle": ("NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist"),
    "object-lock": (
        "ObjectLockConfigurationNotFoundError",
        "Object Lock configuration does not exist for this bucket",
    ),
    "ownershipControls": ("OwnershipControlsNotFoundError", "The bucket ownership controls were not found"),
    "policy": ("NoSuchBucketPolicy", "The bucket policy does not exist"),
    "policyStatus": ("NoSuchBucketPolicy", "The bucket policy does not exist"),
    "publicAccessBlock": (
        "NoSuchPublicAccessBlockConfiguration",
        "The public access block configuration was not found",
    ),
    "replication": ("ReplicationConfigurationNotFoundError", "The replication configuration was not found"),
    "website": ("NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration"),
}
"""What reading each one says on a bucket where it was never set."""

EMPTY_BUCKET_DOCUMENTS = {
    "accelerate": ("AccelerateConfiguration", ""),
    "logging": ("BucketLoggingStatus", ""),
    "notification": ("NotificationConfiguration", ""),
    "requestPayment": ("RequestPaymentConfiguration", element("Payer", "BucketOwner")),
}
"""Those that S3 shows as empty documents."""

UNKNOWN_BUCKET_SUBRESOURCES = ("analytics", "intelligent-tiering", "inventory", "metrics", "metadataTable", "session")
UNSET_OBJECT_CODES = {
    "legal-hold": ("NoSuchObjectLockConfiguration", "The specified object does not have a ObjectLock configuration"),
    "retention": ("NoSuchObjectLockConfiguration", "The specified object does not have a ObjectLock configuration"),
}
UNKNOWN_OBJECT_SUBRESOURCES = ("torrent", "select", "restore", "renameObject")

ACL = (
    owner()
    + '<AccessControlList><Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
    + 'xsi:type="CanonicalUser">'
    + owner("G").removeprefix("<G>").removesuffix("</G>")
    + "</Grantee><Permission>FULL_CONTROL</Permission></Grant></AccessControlList>"
)


def subresource_of(call: Call, names: "dict[str, tuple[str, str]] | tuple[str, ...]") -> str:
    """Return which of these a request names."""
    return next(name for name in names if name in call.query)


def get_unset_bucket(call: Call) -> Response:
    """Read a sub-resource of a bucket that was never set."""
    name = subresource_of(call, UNSET_BUCKET_CODES)
    call.authorize(f"s3:GetBucket{name[0].upper()}{name[1:]}")
    call.engine.store.view().bucket(call.bucket)
    code, message = UNSET_BUCKET_CODES[name]
    raise S3RequestError(code, message, bucket=call.bucket)


def get_empty_bucket(call: Call) -> Response:
    """Read a sub-resource of a bucket that S3 shows as an empty document."""
    name = subresource_of(call, EMPTY_BUCKET_DOCUMENTS)
    call.authorize(f"s3:GetBucket{name[0].upper()}{name[1:]}")
    call.engine.store.view().bucket(call.bucket)
    return xml_response(call.request.request_id, *EMPTY_BUCKET_DOCUMENTS[name])


def get_unset_object(call: Call) -> Response:
    """Read a sub-resource of an object that was never set."""
    name = subresource_of(call, UNSET_OBJECT_CODES)
    call.authorize("s3:GetObjectRetention" if name == "retention" else "s3:GetObjectLegalHold")
    find(call.engine.store.view(), call.bucket, call.key, call.version_id)
    code, message = UNSET_OBJECT_CODES[name]
    raise S3RequestError(code, message, key=call.key)


def delete_unset_bucket(call: Call) -> Response:
    """Remove what was never set: there is nothing to do, and S3 says so with success."""
    name = subresource_of(call, UNSET_BUCKET_CODES)
    call.authorize(f"s3:PutBucket{name[0].upper()}{name[1:]}")
    call.engine.store.view().bucket(call.bucket)
    return empty_response(call.request.request_id, status=204)


def get_acl(call: Call) -> Response:
    """GetBucketAcl and GetObjectAcl: the owner may everything, access of others is a matter of policies."""
    if call.key:
        call.authorize("s3:GetObjectAcl")
        find(call.engine.store.view(), call.bucket, call.key, call.version_id)
    else:
        call.authorize("s3:GetBucketAcl")
        call.engine.store.view().bucket(call.bucket)
    return xml_response(call.request.request_id, "AccessControlPolicy", ACL)


async def put_acl(call: Call) -> Response:
    """PutBucketAcl and PutObjectAcl: what leaves access with the owner is granted, anything else refused by name."""
    if call.key:
        call.authorize("s3:PutObjectAcl")
        find(call.engine.store.view(), call.bucket, call.key, call.version_id)
    else:
        call.authorize("s3:PutBucketAcl")
        call.engine.store.view().bucket(call.bucket)
    refuse_unsupported(call)
    body = await read_document(call, ACL_BYTES_MAX)
    if call.header(b"x-amz-acl") is None:
        _check_grants(parse(body, "AccessControlPolicy"))
    elif body:
        raise S3RequestError("UnexpectedContent", "This request does not support content: it names a canned ACL")
    return empty_response(call.request.request_id)


def _check_grants(policy: Element) -> None:
    """Refuse grants but the one that every bucket and object has."""
    grants = policy.findall("AccessControlList/Grant")
    granted = {(grant.findtext("Grantee/ID"), grant.findtext("Permission")) for grant in grants}
    if policy.findtext("Owner/ID") not in {None, OWNER_ID} or granted != {(OWNER_ID, "FULL_CONTROL")}:
        raise S3RequestError(
            "NotImplemented", "An ACL with other grants than the owner's is not supported; grant access by policy"
        )


def refuse(call: Call) -> Response:
    """Refuse what hosu does not do, by name."""
    named = sorted(call.query)
    what = f"{call.request.method} ?{named[0]}" if named else call.request.method
    call.authorize("s3:Unsupported")
    raise S3RequestError("NotImplemented", f"{what} is not implemented")
