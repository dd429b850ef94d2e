"""The policy of a bucket: kept as it was sent, once all of it is understood."""

from hosu.identity.acl import is_public as is_public_acl
from hosu.identity.policy import PolicyKind, is_public, parse_policy
from hosu.kernel.limits import KIB
from hosu.objects.buckets import get_document
from hosu.server.http import Response
from hosu.server.s3.call import Call
from hosu.server.s3.payload import read_document, set_bucket_document
from hosu.server.s3.request_errors import S3RequestError
from hosu.server.s3.xml_write import empty_response, flag, xml_response

POLICY_BYTES_MAX = 20 * KIB
KIND = "policy"
_JSON = (b"Content-Type", b"application/json")


def get_policy(call: Call) -> Response:
    """GetBucketPolicy: the text as it was put."""
    text = get_document(call.engine.store.view(), call.bucket, KIND)
    if text is None:
        raise S3RequestError("NoSuchBucketPolicy", "The bucket policy does not exist", bucket=call.bucket)
    return Response(200, [_JSON, (b"x-amz-request-id", call.request.request_id.encode())], text.encode())


async def put_policy(call: Call) -> Response:
    """PutBucketPolicy: a policy that names what does not exist, or another bucket, is refused with its position.

    The header that confirms a policy which shuts its own sender out is not needed: root can always change it.
    """
    call.engine.store.view().bucket(call.bucket)
    body = await read_document(call, POLICY_BYTES_MAX)
    policy = parse_policy(body, PolicyKind.BUCKET, bucket=call.bucket)
    for index, statement in enumerate(policy.statements):
        if statement.is_allow and statement.principals is not None and statement.principals.is_not:
            raise S3RequestError(
                "MalformedPolicy",
                f"Statement[{index}].NotPrincipal: to allow all but some lets in everybody else; deny them instead",
            )
    facts = call.engine.acls.facts(call.bucket)
    if facts is not None and facts.block.block_public_policy and is_public(policy):
        raise S3RequestError("AccessDenied", "The bucket's public access block refuses public policies")
    await set_bucket_document(call, KIND, policy.text)
    return empty_response(call.request.request_id, status=204)


async def delete_policy(call: Call) -> Response:
    """DeleteBucketPolicy."""
    await set_bucket_document(call, KIND, None)
    return empty_response(call.request.request_id, status=204)


def get_status(call: Call) -> Response:
    """GetBucketPolicyStatus: whether the bucket's policy, or an ACL that counts, lets in everybody."""
    text = get_document(call.engine.store.view(), call.bucket, KIND)
    facts = call.engine.acls.facts(call.bucket)
    shows = text is not None and is_public(parse_policy(text, PolicyKind.BUCKET, bucket=call.bucket))
    if facts is not None and facts.has_acls and not facts.block.ignore_public_acls:
        shows = shows or is_public_acl(facts.acl)
    return xml_response(call.request.request_id, "PolicyStatus", flag("IsPublic", value=shows))
