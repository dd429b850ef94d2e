"""Verbs on buckets, and ListBuckets."""

import base64
import binascii
from functools import partial

from hosu.kernel.errors import ConflictError, ErrorKind
from hosu.kernel.limits import KIB
from hosu.objects.buckets import create_bucket, delete_bucket, list_buckets, set_versioning
from hosu.objects.records import Versioning
from hosu.server.http import Response
from hosu.server.s3.call import Call, iso_date
from hosu.server.s3.headers import refuse_unsupported
from hosu.server.s3.payload import read_document
from hosu.server.s3.request_errors import S3RequestError
from hosu.server.s3.xml_read import parse, text
from hosu.server.s3.xml_write import element, empty_response, owner, xml_response

BUCKETS_PER_PAGE_MAX = 10_000
CONFIGURATION_BYTES_MAX = 64 * KIB
DEFAULT_REGION = "us-east-1"


async def list_all(call: Call) -> Response:
    """ListBuckets, in pages when the client asks for them."""
    call.authorize("s3:ListAllMyBuckets")
    prefix = call.query.get("prefix", "")
    limit = call.integer("max-buckets", BUCKETS_PER_PAGE_MAX, most=BUCKETS_PER_PAGE_MAX)
    if not limit:
        raise S3RequestError("InvalidArgument", "max-buckets must be between 1 and 10000", argument_name="max-buckets")
    after = _decode_token(call.query.get("continuation-token", ""))
    found = list_buckets(call.engine.store.view(), prefix=prefix, after=after, limit=limit + 1)
    rows = [
        f"<Bucket>{element('Name', bucket.name)}{element('CreationDate', iso_date(bucket.created_ms))}"
        f"{element('BucketRegion', bucket.region or call.engine.region or DEFAULT_REGION)}</Bucket>"
        for bucket in found[:limit]
    ]
    inner = f"{owner()}<Buckets>{''.join(rows)}</Buckets>"
    if prefix:
        inner += element("Prefix", prefix)
    if len(found) > limit:
        token = base64.urlsafe_b64encode(found[limit - 1].name.encode()).decode()
        inner += element("ContinuationToken", token)
    return xml_response(call.request.request_id, "ListAllMyBucketsResult", inner)


def _decode_token(token: str) -> str:
    try:
        return base64.urlsafe_b64decode(token).decode()
    except (binascii.Error, UnicodeError, ValueError) as error:
        raise S3RequestError(
            "InvalidArgument", "The continuation token provided is incorrect", argument_name="continuation-token"
        ) from error


async def create(call: Call) -> Response:
    """CreateBucket. In S3's default region, making one's own bucket again succeeds and changes nothing."""
    call.authorize("s3:CreateBucket")
    refuse_unsupported(call)
    if (call.header(b"x-amz-bucket-object-lock-enabled") or "false").lower() == "true":
        raise S3RequestError("NotImplemented", "The header x-amz-bucket-object-lock-enabled is not supported")
    body = await read_document(call, CONFIGURATION_BYTES_MAX)
    region = ""
    if body:
        region = text(parse(body, "CreateBucketConfiguration"), "LocationConstraint") or ""
    configured = call.engine.region
    if configured and region not in {"", configured}:
        raise S3RequestError(
            "InvalidLocationConstraint",
            f"The specified location-constraint {region!r} is not valid: use {configured!r}",
        )
    try:
        await call.engine.commit(partial(create_bucket, name=call.bucket, region=region, actor=call.principal.name))
    except ConflictError as error:
        if error.kind != ErrorKind.BUCKET_EXISTS:
            raise
        existing = call.engine.store.view().bucket(call.bucket)
        regions = {existing.region or configured or DEFAULT_REGION, region or configured or DEFAULT_REGION}
        if regions != {DEFAULT_REGION}:
            raise
    return empty_response(call.request.request_id, (b"Location", f"/{call.bucket}".encode()))


def head(call: Call) -> Response:
    """HeadBucket."""
    call.authorize("s3:ListBucket")
    bucket = call.engine.store.view().bucket(call.bucket)
    region = bucket.region or call.engine.region or DEFAULT_REGION
    return empty_response(call.request.request_id, (b"x-amz-bucket-region", region.encode()))


async def delete(call: Call) -> Response:
    """DeleteBucket."""
    call.authorize("s3:DeleteBucket")
    await call.engine.commit(partial(delete_bucket, name=call.bucket, actor=call.principal.name))
    return empty_response(call.request.request_id, status=204)


def get_location(call: Call) -> Response:
    """GetBucketLocation: us-east-1 is shown as nothing, as S3 does."""
    call.authorize("s3:GetBucketLocation")
    bucket = call.engine.store.view().bucket(call.bucket)
    region = bucket.region or call.engine.region
    shown = "" if region == DEFAULT_REGION else region
    return xml_response(call.request.request_id, "LocationConstraint", shown)


def get_versioning(call: Call) -> Response:
    """GetBucketVersioning."""
    call.authorize("s3:GetBucketVersioning")
    state = call.engine.store.view().bucket(call.bucket).versioning
    names = {Versioning.ENABLED: "Enabled", Versioning.SUSPENDED: "Suspended"}
    inner = element("Status", names[state]) if state in names else ""
    return xml_response(call.request.request_id, "VersioningConfiguration", inner)


async def put_versioning(call: Call) -> Response:
    """PutBucketVersioning."""
    call.authorize("s3:PutBucketVersioning")
    root = parse(await read_document(call, CONFIGURATION_BYTES_MAX), "VersioningConfiguration")
    states = {"Enabled": Versioning.ENABLED, "Suspended": Versioning.SUSPENDED}
    state = states.get(text(root, "Status") or "")
    if state is None:
        raise S3RequestError("IllegalVersioningConfigurationException", "Status must be Enabled or Suspended")
    if (text(root, "MfaDelete") or "Disabled") != "Disabled":
        raise S3RequestError("NotImplemented", "MfaDelete is not supported")
    try:
        await call.engine.commit(partial(set_versioning, name=call.bucket, versioning=state, actor=call.principal.name))
    except ConflictError as error:
        if error.kind == ErrorKind.BUCKET_VERSIONING_INVALID:
            raise S3RequestError("InvalidBucketState", error.message) from error
        raise
    return empty_response(call.request.request_id)
