"""The public access block of a bucket: four switches that count more than its policy and its ACLs."""

import msgspec

from hosu.identity.acl import PUBLIC_ACCESS_BLOCK, PublicAccessBlock
from hosu.kernel.limits import KIB
from hosu.objects.buckets import get_document
from hosu.server.http import Response
from hosu.server.s3.call import Call
from hosu.server.s3.payload import read_document, set_bucket_document
from hosu.server.s3.request_errors import S3RequestError
from hosu.server.s3.xml_read import boolean, parse, refuse
from hosu.server.s3.xml_write import empty_response, flag, xml_response

BLOCK_BYTES_MAX = 16 * KIB
_ROOT = "PublicAccessBlockConfiguration"
_SWITCHES = PublicAccessBlock.__struct_encode_fields__


def get_block(call: Call) -> Response:
    """GetPublicAccessBlock."""
    body = get_document(call.engine.store.view(), call.bucket, PUBLIC_ACCESS_BLOCK)
    if body is None:
        raise S3RequestError(
            "NoSuchPublicAccessBlockConfiguration",
            "The public access block configuration was not found",
            bucket=call.bucket,
        )
    block = msgspec.to_builtins(msgspec.json.decode(body, type=PublicAccessBlock))
    return xml_response(call.request.request_id, _ROOT, "".join(flag(name, value=block[name]) for name in _SWITCHES))


async def put_block(call: Call) -> Response:
    """PutPublicAccessBlock: a switch that is not named is off."""
    root = parse(await read_document(call, BLOCK_BYTES_MAX), _ROOT)
    for child in root:
        if child.tag not in _SWITCHES:
            refuse(f"{_ROOT} has no {child.tag}: there are {', '.join(_SWITCHES)}")
    block = msgspec.convert({name: boolean(root, name) for name in _SWITCHES}, PublicAccessBlock)
    body = msgspec.json.encode(block).decode()
    await set_bucket_document(call, PUBLIC_ACCESS_BLOCK, body)
    return empty_response(call.request.request_id)


async def delete_block(call: Call) -> Response:
    """DeletePublicAccessBlock: all switches are off again."""
    await set_bucket_document(call, PUBLIC_ACCESS_BLOCK, None)
    return empty_response(call.request.request_id, status=204)
