"""PutObject, and the seam through which every body becomes an object."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from hosu.kernel.errors import UnavailableError
from hosu.objects.blobs import StagedBlob
from hosu.objects.put import PutRequest, check_put, put_object
from hosu.objects.quota import check_object_fits
from hosu.objects.records import Attributes, ObjectRecord
from hosu.objects.retention import check_lock
from hosu.objects.store import ENCRYPTED
from hosu.objects.transaction import Tx
from hosu.server.http import Headers, Response
from hosu.server.s3.bodies import Expectations, Received, read_expectations, receive, take_small
from hosu.server.s3.call import Call, version_headers
from hosu.server.s3.encryption import ENCRYPTION_HEADERS, take_write_headers, written_headers
from hosu.server.s3.headers import (
    attributes_of,
    checksum_headers,
    refuse_unsupported,
    storage_class_of,
    write_conditions,
)
from hosu.server.s3.lifecycle import expiration_headers
from hosu.server.s3.lock_headers import LOCK_HEADERS
from hosu.server.s3.request_errors import S3RequestError

T = TypeVar("T")


def put(call: Call) -> Awaitable[Response]:
    """PutObject."""
    refuse_unsupported(call, but=ENCRYPTION_HEADERS | LOCK_HEADERS)
    take_write_headers(call)
    attributes = attributes_of(call)
    plan = plan_put(call, attributes)
    expected = read_expectations(call)
    if attributes.lock is not None and not expected.has_digest:
        raise S3RequestError(
            "InvalidRequest",
            "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock "
            "parameters",
        )
    expected.encryption = call.write_encryption()
    small = take_small(call, expected)
    if small is None:
        refuse_early(call, expected, attributes)

    async def finish() -> Response:
        received = small if small is not None else await receive(call, expected)
        record = await store_body(call, received, plan)
        return Response(200, put_headers(call, record))

    return finish()


def refuse_early(call: Call, expected: Expectations, attributes: Attributes) -> None:
    """Tell before the body is read of a missing bucket or key, a lock that cannot be, or a quota that it would pass.

    The transaction checks again: others may write meanwhile, and not every client says the size of its body.
    """
    view, size_bytes = call.engine.store.view(), expected.size_bytes
    call.engine.store.keys.facts_of(expected.encryption)
    bucket = view.bucket(call.bucket)
    check_lock(attributes, bucket, view.now_ms)
    if size_bytes is not None:
        check_object_fits(view, bucket, call.key, size_bytes, call.engine.store.lake_quota)


Plan = Callable[[Received], PutRequest]
"""What is to become of a body, once it has been received."""


def plan_put(call: Call, attributes: Attributes, *, event: str = "ObjectCreated:Put") -> Plan:
    """Read all that a request says about the object it makes, and refuse what cannot be, before its body comes."""
    check_put(call.key, attributes)
    storage_class, conditions = storage_class_of(call), write_conditions(call)
    call.engine.store.check_space()

    def request(received: Received) -> PutRequest:
        return PutRequest(
            bucket=call.bucket,
            key=call.key,
            body=received.body,
            etag=received.md5,
            attributes=attributes,
            checksum=received.checksum,
            storage_class=storage_class,
            conditions=conditions,
            event=event,
            actor=call.principal.name,
        )

    return request


async def store_body(call: Call, received: Received, plan: Plan) -> ObjectRecord:
    """Give a received body its record; its file goes when the record is refused."""
    return await commit_body(call, received.body, partial(put_object, request=plan(received)))


async def commit_body(call: Call, staged: StagedBlob, operation: Callable[[Tx], T]) -> T:
    """Commit what refers to a staged body; when it is refused, the body's file goes too.

    A disk that failed may have written the record all the same, so the file then stays for the sweep to judge.
    """
    try:
        return await call.commit(operation)
    except UnavailableError:
        raise
    except Exception:
        if staged.id:
            await call.engine.run(call.engine.store.discard, staged)
        raise


def put_headers(call: Call, record: ObjectRecord) -> Headers:
    """Return what a client learns of the object it stored."""
    return [
        (b"ETag", b'"%b"' % record.etag.encode()),
        (b"x-amz-request-id", call.request.request_id.encode()),
        *(written_headers(record.attributes.encryption) if ENCRYPTED in record.attributes_json else ()),
        *checksum_headers(record),
        *version_headers(record),
        *expiration_headers(call, record),
    ]
