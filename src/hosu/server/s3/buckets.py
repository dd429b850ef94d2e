"""Verbs on buckets, and ListBuckets."""

import base64
import binascii
from functools import partial

import msgspec

from hosu.identity.acl import ACL, ENFORCED, OWNERSHIP, ROOT, default_acl
from hosu.kernel.errors import ConflictError, ErrorKind, HosuError
from hosu.kernel.limits import KIB
from hosu.objects.buckets import (
    create_bucket,
    delete_bucket,
    get_document,
    list_buckets,
    set_document,
    set_versioning,
)
from hosu.objects.records import Bucket, Versioning
from hosu.objects.transaction import Tx
from hosu.objects.views import View
from hosu.server.http import Response
from hosu.server.s3.acl import asked_acl
from hosu.server.s3.call import Call, iso_date
from hosu.server.s3.conditions import NewBucketContext, PartContext
from hosu.server.s3.headers import refuse_unsupported
from hosu.server.s3.ownership import check_ownership
from hosu.server.s3.payload import read_document
from hosu.server.s3.request_errors import S3RequestError
from hosu.server.s3.xml_read import parse, text
from hosu.server.s3.xml_write import element, empty_response, owner, xml_response

BUCKETS_PER_PAGE_MAX = 10_000
CONFIGURATION_BYTES_MAX = 64 * KIB
DEFAULT_REGION = "us-east-1"
LIST_ALL = "s3:ListAllMyBuckets"
OBJECT_OWNERSHIP = b"x-amz-object-ownership"
_SHOWING = ("s3:ListBucket", "s3:GetBucketLocation")
"""Actions on a bucket that make it visible to whoever may do one of them."""


async def list_all(call: Call) -> Response:
    """ListBuckets, in pages when the client asks for them: the buckets that the caller may know of."""
    prefix = call.query.get("prefix", "")
    limit = call.integer("max-buckets", BUCKETS_PER_PAGE_MAX, most=BUCKETS_PER_PAGE_MAX)
    if not limit:
        raise S3RequestError("InvalidArgument", "max-buckets must be between 1 and 10000", argument_name="max-buckets")
    after = _decode_token(call.query.get("continuation-token", ""))
    if not call.principal.access_key:
        call.authorize(LIST_ALL)  # what a bucket shows to everybody, it shows to those who know its name
    found = await call.engine.read(partial(_visible_buckets, call, prefix, after, limit + 1))
    if not found or call.is_denied(LIST_ALL, PartContext(call, LIST_ALL, ""), ""):
        call.authorize(LIST_ALL)  # nothing to show is an answer for those who may ask
    rows = [
        f"<Bucket>{element('Name', bucket.name)}{element('CreationDate', iso_date(bucket.created_ms))}"
        f"{element('BucketRegion', bucket.region or call.engine.region or DEFAULT_REGION)}</Bucket>"
        for bucket in found[:limit]
    ]
    inner = f"{owner(account=call.engine.acls.account_of(call.principal) or ROOT)}<Buckets>{''.join(rows)}</Buckets>"
    if prefix:
        inner += element("Prefix", prefix)
    if len(found) > limit:
        token = base64.urlsafe_b64encode(found[limit - 1].name.encode()).decode()
        inner += element("ContinuationToken", token)
    return xml_response(call.request.request_id, "ListAllMyBucketsResult", inner)


def _visible_buckets(call: Call, prefix: str, after: str, limit: int, view: View) -> list[Bucket]:
    """Return up to limit buckets that the caller may list all of, or list, or locate."""
    if call.principal.is_root:
        return list_buckets(view, prefix=prefix, after=after, limit=limit)
    visible: list[Bucket] = []
    while page := list_buckets(view, prefix=prefix, after=after, limit=BUCKETS_PER_PAGE_MAX):
        for bucket in page:
            if _is_visible(call, bucket.name):
                visible.append(bucket)
                if len(visible) == limit:
                    return visible
        after = page[-1].name
    return visible


def _is_visible(call: Call, name: str) -> bool:
    if call.is_allowed(LIST_ALL, PartContext(call, LIST_ALL, name), ""):
        return True
    return any(call.is_allowed(action, PartContext(call, action, name), name) for action in _SHOWING)


def _decode_token(token: str) -> str:
    try:
        return base64.urlsafe_b64decode(token).decode()
    except (binascii.Error, UnicodeError, ValueError) as error:
        raise S3RequestError(
            "InvalidArgument", "The continuation token provided is incorrect", argument_name="continuation-token"
        ) from error


async def create(call: Call) -> Response:
    """CreateBucket. In S3's default region, making one's own bucket again succeeds and changes nothing."""
    try:
        region = _region_of(await read_document(call, CONFIGURATION_BYTES_MAX))
    except HosuError:
        _authorize_create(call, "s3:CreateBucket", None)  # what is wrong with the body is not for everybody
        raise
    _authorize_create(call, "s3:CreateBucket", region)
    refuse_unsupported(call, but=(OBJECT_OWNERSHIP,))
    is_lockable = _asks_for_lock(call)
    if is_lockable:
        _authorize_create(call, "s3:PutBucketObjectLockConfiguration", region)
        _authorize_create(call, "s3:PutBucketVersioning", region)
    configured = call.engine.region
    if configured and region not in {None, "", configured}:
        raise S3RequestError(
            "InvalidLocationConstraint",
            f"The specified location-constraint {region!r} is not valid: use {configured!r}",
        )
    account = call.engine.acls.account_of(call.principal) or ROOT
    documents = _access_documents(call, account, region)

    def make(tx: Tx) -> None:
        actor = call.principal.name
        create_bucket(tx, call.bucket, region=region or "", owner=account, is_lockable=is_lockable, actor=actor)
        for kind, body in documents.items():
            set_document(tx, call.bucket, kind, body, actor=actor)

    try:
        await call.commit(make)
    except ConflictError as error:
        if error.kind != ErrorKind.BUCKET_EXISTS:
            raise
        _check_same(call, account, region or "", documents, error, is_lockable=is_lockable)
    return empty_response(call.request.request_id, (b"Location", f"/{call.bucket}".encode()))


def _region_of(body: bytes) -> str | None:
    return text(parse(body, "CreateBucketConfiguration"), "LocationConstraint") if body else None


def _authorize_create(call: Call, action: str, region: str | None) -> None:
    call.authorize_in(action, NewBucketContext(call, action, region), call.bucket)


def _access_documents(call: Call, account: str, region: str | None) -> dict[str, str]:
    """Return the documents about access that a bucket gets from the headers of the request that makes it."""
    documents: dict[str, str] = {}
    named = call.header(OBJECT_OWNERSHIP)
    if named is not None:
        _authorize_create(call, "s3:PutBucketOwnershipControls", region)
        documents[OWNERSHIP] = check_ownership(named)
    acl = asked_acl(call, account, account)
    if acl is None or acl == default_acl(account):
        return documents
    if named == ENFORCED:
        raise S3RequestError(
            "InvalidBucketAclWithObjectOwnership", "Bucket cannot have ACLs set with BucketOwnerEnforced"
        )
    if (named or call.engine.acls.ownership) == ENFORCED:
        raise S3RequestError("AccessControlListNotSupported", "The bucket does not allow ACLs")
    _authorize_create(call, "s3:PutBucketAcl", region)
    return documents | {ACL: msgspec.json.encode(acl).decode()}


def _asks_for_lock(call: Call) -> bool:
    value = (call.header(b"x-amz-bucket-object-lock-enabled") or "false").lower()
    if value not in {"true", "false"}:
        raise S3RequestError(
            "InvalidArgument",
            "x-amz-bucket-object-lock-enabled must be true or false",
            argument_name="x-amz-bucket-object-lock-enabled",
            argument_value=value,
        )
    return value == "true"


def _check_same(
    call: Call, account: str, region: str, documents: dict[str, str], error: ConflictError, *, is_lockable: bool
) -> None:
    """Raise unless the bucket that is there is the one that was asked for."""
    existing = call.engine.store.view().bucket(call.bucket)
    if existing.owner != account:
        raise S3RequestError(
            "BucketAlreadyExists",
            "The requested bucket name is not available: it is somebody else's",
            bucket=call.bucket,
        ) from error
    if is_lockable and not existing.lock:
        raise S3RequestError(
            "BucketAlreadyExists", "The bucket exists, without object lock", bucket=call.bucket
        ) from error
    view = call.engine.store.view()
    if any(get_document(view, call.bucket, kind) != documents.get(kind) for kind in (ACL, OWNERSHIP)):
        raise S3RequestError(
            "BucketAlreadyExists", "The bucket exists, with another ACL or ownership", bucket=call.bucket
        ) from error
    configured = call.engine.region
    regions = {existing.region or configured or DEFAULT_REGION, region or configured or DEFAULT_REGION}
    if regions != {DEFAULT_REGION}:
        raise error


def head(call: Call) -> Response:
    """HeadBucket."""
    bucket = call.engine.store.view().bucket(call.bucket)
    region = bucket.region or call.engine.region or DEFAULT_REGION
    return empty_response(call.request.request_id, (b"x-amz-bucket-region", region.encode()))


async def delete(call: Call) -> Response:
    """DeleteBucket."""
    await call.commit(partial(delete_bucket, name=call.bucket, actor=call.principal.name))
    return empty_response(call.request.request_id, status=204)


def get_location(call: Call) -> Response:
    """GetBucketLocation: us-east-1 is shown as nothing, as S3 does."""
    bucket = call.engine.store.view().bucket(call.bucket)
    region = bucket.region or call.engine.region
    shown = "" if region == DEFAULT_REGION else region
    return xml_response(call.request.request_id, "LocationConstraint", shown)


def get_versioning(call: Call) -> Response:
    """GetBucketVersioning."""
    state = call.engine.store.view().bucket(call.bucket).versioning
    names = {Versioning.ENABLED: "Enabled", Versioning.SUSPENDED: "Suspended"}
    inner = element("Status", names[state]) if state in names else ""
    return xml_response(call.request.request_id, "VersioningConfiguration", inner)


async def put_versioning(call: Call) -> Response:
    """PutBucketVersioning."""
    root = parse(await read_document(call, CONFIGURATION_BYTES_MAX), "VersioningConfiguration")
    states = {"Enabled": Versioning.ENABLED, "Suspended": Versioning.SUSPENDED}
    state = states.get(text(root, "Status") or "")
    if state is None:
        raise S3RequestError("IllegalVersioningConfigurationException", "Status must be Enabled or Suspended")
    if (text(root, "MfaDelete") or "Disabled") != "Disabled":
        raise S3RequestError("NotImplemented", "MfaDelete is not supported")
    await call.commit(partial(set_versioning, name=call.bucket, versioning=state, actor=call.principal.name))
    return empty_response(call.request.request_id)
