"""Tags of buckets and of objects."""

from functools import partial
from xml.etree.ElementTree import Element

from hosu.kernel.errors import HosuError
from hosu.kernel.limits import KIB, TAGS_PER_BUCKET_MAX, TAGS_PER_OBJECT_MAX
from hosu.objects.buckets import get_document
from hosu.objects.names import check_tags
from hosu.objects.put import set_tags
from hosu.objects.read import find
from hosu.server.http import Response
from hosu.server.s3.call import Call, version_headers
from hosu.server.s3.conditions import PartContext
from hosu.server.s3.payload import read_document, set_bucket_document
from hosu.server.s3.request_errors import S3RequestError
from hosu.server.s3.xml_read import parse, text
from hosu.server.s3.xml_write import element, empty_response, xml_response

TAGGING_BYTES_MAX = 128 * KIB
KIND = "tagging"


async def _read_tags(call: Call, count_max: int) -> dict[str, str]:
    return parse_tags(await read_document(call, TAGGING_BYTES_MAX), count_max)


def parse_tags(body: bytes, count_max: int) -> dict[str, str]:
    """Return the tags of a Tagging document."""
    root = parse(body, "Tagging")
    holder = root.find("TagSet")
    if holder is None:
        raise S3RequestError("MalformedXML", "The Tagging document has no TagSet")
    tags = tags_of(holder)
    check_tags(tags, count_max)
    return tags


def tags_of(holder: Element) -> dict[str, str]:
    """Return the tags that are in an element."""
    tags: dict[str, str] = {}
    for tag in holder.findall("Tag"):
        name, value = text(tag, "Key"), text(tag, "Value")
        if name is None or value is None:
            raise S3RequestError("MalformedXML", "A Tag needs a Key and a Value")
        if name in tags:
            raise S3RequestError("InvalidTag", "Cannot provide multiple Tags with the same key")
        tags[name] = value
    return tags


def tag_set(tags: dict[str, str]) -> str:
    """Return the TagSet element."""
    rows = [f"<Tag>{element('Key', name)}{element('Value', value)}</Tag>" for name, value in tags.items()]
    return f"<TagSet>{''.join(rows)}</TagSet>"


def get_bucket_tagging(call: Call) -> Response:
    """GetBucketTagging."""
    inner = get_document(call.engine.store.view(), call.bucket, KIND)
    if inner is None:
        raise S3RequestError("NoSuchTagSet", "The TagSet does not exist", bucket=call.bucket)
    return xml_response(call.request.request_id, "Tagging", inner)


async def put_bucket_tagging(call: Call) -> Response:
    """PutBucketTagging."""
    body = tag_set(await _read_tags(call, TAGS_PER_BUCKET_MAX))
    await set_bucket_document(call, KIND, body)
    return empty_response(call.request.request_id, status=204)


async def delete_bucket_tagging(call: Call) -> Response:
    """DeleteBucketTagging."""
    await set_bucket_document(call, KIND, None)
    return empty_response(call.request.request_id, status=204)


def get_object_tagging(call: Call) -> Response:
    """GetObjectTagging."""
    record = find(call.engine.store.view(), call.bucket, call.key, call.version_id)
    return xml_response(call.request.request_id, "Tagging", tag_set(record.attributes.tags), *version_headers(record))


async def _set(call: Call, tags: dict[str, str], status: int) -> Response:
    record = await call.commit(
        partial(
            set_tags, bucket_name=call.bucket, key=call.key, version_id=call.version_id, tags=tags,
            actor=call.principal.name,
        )
    )  # fmt: skip
    return empty_response(call.request.request_id, *version_headers(record), status=status)


async def put_object_tagging(call: Call) -> Response:
    """PutObjectTagging."""
    action = "s3:PutObjectTagging" if call.version_id is None else "s3:PutObjectVersionTagging"
    try:
        tags = await _read_tags(call, TAGS_PER_OBJECT_MAX)
    except HosuError:
        _authorize_tags(call, action, {})  # what is wrong with the body is not for everybody
        raise
    _authorize_tags(call, action, tags)
    return await _set(call, tags, 200)


def _authorize_tags(call: Call, action: str, tags: dict[str, str]) -> None:
    call.authorize_in(
        action,
        PartContext(call, action, call.bucket, call.key, version_id=call.version_id, tags=tags),
        call.bucket,
        call.key,
    )


async def delete_object_tagging(call: Call) -> Response:
    """DeleteObjectTagging."""
    return await _set(call, {}, 204)
