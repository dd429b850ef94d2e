"""DeleteObject and DeleteObjects."""

import asyncio
from functools import partial

import msgspec

from hosu.kernel.auth import ANONYMOUS
from hosu.kernel.errors import HosuError
from hosu.kernel.limits import DELETE_KEYS_MAX, MIB
from hosu.objects.delete import DeleteOutcome, delete_object
from hosu.objects.records import Conditions
from hosu.objects.transaction import Tx
from hosu.server.http import Response
from hosu.server.s3.call import Call
from hosu.server.s3.conditions import PartContext
from hosu.server.s3.errors import s3_code
from hosu.server.s3.headers import check_version_id, delete_conditions, parse_delete_conditions
from hosu.server.s3.lock_headers import bypasses_governance
from hosu.server.s3.payload import read_document
from hosu.server.s3.request_errors import S3RequestError
from hosu.server.s3.xml_read import boolean, parse, required_text, text
from hosu.server.s3.xml_write import element, empty_response, xml_response

DELETE_BYTES_MAX = 2 * MIB
"""A thousand keys of 1,024 bytes, and their XML."""


async def delete(call: Call) -> Response:
    """DeleteObject."""
    version_id = call.version_id
    if version_id is not None:
        check_version_id(version_id)
    outcome = await call.commit(
        partial(
            delete_object,
            bucket_name=call.bucket,
            key=call.key,
            version_id=version_id,
            conditions=delete_conditions(call),
            bypass_governance=bypasses_governance(call),
            actor=call.principal.name,
        )
    )
    headers = []
    if outcome.version_id is not None:
        headers.append((b"x-amz-version-id", outcome.version_id.encode()))
    if outcome.is_marker:
        headers.append((b"x-amz-delete-marker", b"true"))
    return empty_response(call.request.request_id, *headers, status=204)


class _Named(msgspec.Struct, frozen=True):
    key: str
    version_id: str | None
    conditions: Conditions


async def delete_many(call: Call) -> Response:
    """DeleteObjects: each key is deleted or refused on its own, all in shared transactions."""
    body = await read_document(call, DELETE_BYTES_MAX, must_have_digest=True)
    root = parse(body, "Delete")
    named = []
    for row in root.findall("Object"):
        conditions = parse_delete_conditions(
            text(row, "ETag") or None, text(row, "LastModifiedTime") or None, text(row, "Size") or None
        )
        named.append(_Named(required_text(row, "Key"), text(row, "VersionId") or None, conditions))
    if not 0 < len(named) <= DELETE_KEYS_MAX:
        raise S3RequestError("MalformedXML", f"A delete must name 1 to {DELETE_KEYS_MAX} objects, not {len(named)}")
    if call.principal is ANONYMOUS:  # others learn key by key what they may not delete
        _authorize(call, named[0])
    call.engine.store.view().bucket(call.bucket)
    outcomes = await asyncio.gather(*[_delete_one(call, item) for item in named], return_exceptions=True)
    quiet, rows = boolean(root, "Quiet"), []
    for item, outcome in zip(named, outcomes, strict=True):
        if isinstance(outcome, HosuError):
            call.engine.observer.refused(call.request, *s3_code(outcome), outcome, item.key)
            rows.append(_refused(item, outcome))
        elif isinstance(outcome, BaseException):
            raise outcome
        elif not quiet:
            rows.append(_deleted(item, outcome))
    return xml_response(call.request.request_id, "DeleteResult", "".join(rows))


async def _delete_one(call: Call, item: _Named) -> DeleteOutcome:
    _authorize(call, item)
    if item.version_id is not None:
        check_version_id(item.version_id)
    bypass = bypasses_governance(call, item.key, item.version_id)

    def run(tx: Tx) -> DeleteOutcome:
        return delete_object(
            tx, call.bucket, item.key, item.version_id, conditions=item.conditions, bypass_governance=bypass,
            actor=call.principal.name,
        )  # fmt: skip

    return await call.commit(run, item.key, item.version_id)


def _authorize(call: Call, item: _Named) -> None:
    action = "s3:DeleteObject" if item.version_id is None else "s3:DeleteObjectVersion"
    call.authorize_in(
        action, PartContext(call, action, call.bucket, item.key, version_id=item.version_id), call.bucket, item.key
    )


def _deleted(item: _Named, outcome: DeleteOutcome) -> str:
    inner = element("Key", item.key)
    if item.version_id is not None:
        inner += element("VersionId", item.version_id)
    if outcome.is_marker:
        inner += element("DeleteMarker", "true") + element("DeleteMarkerVersionId", outcome.version_id)
    return f"<Deleted>{inner}</Deleted>"


def _refused(item: _Named, error: HosuError) -> str:
    inner = element("Key", item.key)
    if item.version_id is not None:
        inner += element("VersionId", item.version_id)
    return f"<Error>{inner}{element('Code', s3_code(error)[0])}{element('Message', error.message)}</Error>"
