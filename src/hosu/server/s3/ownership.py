"""The ownership controls of a bucket: whether ACLs count in it, and whose the objects are that others write."""

from hosu.identity.acl import ACL, ENFORCED, OWNERSHIP, OWNERSHIPS, default_acl, read_facts
from hosu.kernel.errors import ErrorKind, NotFoundError
from hosu.kernel.limits import KIB
from hosu.objects.buckets import get_document, set_document
from hosu.objects.transaction import Tx
from hosu.server.http import Response
from hosu.server.s3.call import Call
from hosu.server.s3.payload import read_document, set_bucket_document
from hosu.server.s3.request_errors import S3RequestError
from hosu.server.s3.xml_read import parse, refuse, text
from hosu.server.s3.xml_write import element, empty_response, xml_response

OWNERSHIP_BYTES_MAX = 16 * KIB


def check_ownership(name: str) -> str:
    """Return the name of an ownership; raises for one that is none."""
    if name not in OWNERSHIPS:
        raise S3RequestError(
            "InvalidArgument",
            f"{name!r} is no object ownership: use {', '.join(OWNERSHIPS)}",
            argument_name="ObjectOwnership",
            argument_value=name,
        )
    return name


def get_controls(call: Call) -> Response:
    """GetBucketOwnershipControls: those that were set; the lake's own are no controls of the bucket."""
    name = get_document(call.engine.store.view(), call.bucket, OWNERSHIP)
    if name is None:
        raise S3RequestError(
            "OwnershipControlsNotFoundError", "The bucket ownership controls were not found", bucket=call.bucket
        )
    rule = f"<Rule>{element('ObjectOwnership', name)}</Rule>"
    return xml_response(call.request.request_id, "OwnershipControls", rule)


async def put_controls(call: Call) -> Response:
    """PutBucketOwnershipControls. Switching ACLs off is refused while the bucket's own lets others in."""
    root = parse(await read_document(call, OWNERSHIP_BYTES_MAX), "OwnershipControls")
    rules = root.findall("Rule")
    if len(rules) != 1:
        refuse("OwnershipControls has one Rule")
    name = check_ownership(text(rules[0], "ObjectOwnership") or "")
    bucket, actor = call.bucket, call.principal.name

    def put(tx: Tx) -> None:
        facts = read_facts(tx, bucket)
        if facts is None:
            raise NotFoundError(ErrorKind.BUCKET_NOT_FOUND, f"there is no bucket {bucket!r}", bucket=bucket)
        if name == ENFORCED and facts.acl != default_acl(facts.owner):
            raise S3RequestError(
                "InvalidBucketAclWithObjectOwnership",
                "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting: make it private first",
            )
        if name == ENFORCED:
            set_document(tx, bucket, ACL, None, actor=actor)
        set_document(tx, bucket, OWNERSHIP, name, actor=actor)

    await call.commit(put)
    return empty_response(call.request.request_id)


async def delete_controls(call: Call) -> Response:
    """DeleteBucketOwnershipControls: the lake's own count again."""
    await set_bucket_document(call, OWNERSHIP, None)
    return empty_response(call.request.request_id, status=204)
