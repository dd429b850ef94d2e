"""Documents: small bodies read whole, with the same checks as any other body, and what a bucket keeps of them."""

from functools import partial

from hosu.objects.buckets import set_document
from hosu.server.s3.bodies import Gatherer, read_expectations
from hosu.server.s3.call import Call
from hosu.server.s3.request_errors import S3RequestError


async def read_document(
    call: Call, size_bytes_max: int, *, must_have_digest: bool = False, has_checksum_of_object: bool = False
) -> bytes:
    """Return the body of a request that carries a document; it must be what its digests say.

    `has_checksum_of_object` says that the checksum headers are about the object, not about the document.
    """
    if not call.request.body.has_body and call.request.body.content_length is None:
        return b""
    expected = read_expectations(call, size_bytes_max=size_bytes_max, has_checksum=not has_checksum_of_object)
    if must_have_digest and not expected.has_digest:
        raise S3RequestError("InvalidRequest", "Missing required header for this request: Content-MD5")
    raw = await call.request.body.read(size_bytes_max)
    gatherer = Gatherer(expected)
    body = raw if expected.decoder is None else b"".join(expected.decoder.feed(raw))
    gatherer.update(body)
    gatherer.check()
    return body


async def set_bucket_document(call: Call, kind: str, body: str | None) -> None:
    """Keep a document with the bucket that the request names, or with None remove it, in the asker's name."""
    await call.commit(partial(set_document, name=call.bucket, kind=kind, body=body, actor=call.principal.name))
