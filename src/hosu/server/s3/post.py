"""PostObject: an upload from a browser's form."""

from urllib.parse import quote

import msgspec

from hosu.kernel.auth import ANONYMOUS
from hosu.kernel.limits import INLINE_BYTES_MAX, PUT_BYTES_MAX, TAGS_PER_OBJECT_MAX
from hosu.objects.encryption.modes import Encryption
from hosu.objects.records import Attributes
from hosu.server.http import Response
from hosu.server.s3.acl import CANNED, acl_for_write
from hosu.server.s3.bodies import Expectations, Gatherer, Received, Spool
from hosu.server.s3.call import Call
from hosu.server.s3.checksums import ChecksumRequest, requested_checksum
from hosu.server.s3.conditions import PartContext
from hosu.server.s3.encryption import ENCRYPTION_HEADERS, take_write_headers
from hosu.server.s3.errors import DECLARATION, XML_HEADER
from hosu.server.s3.headers import STORED_HEADERS, refuse_unsupported
from hosu.server.s3.lock_headers import LOCK_HEADERS, lock_headers
from hosu.server.s3.post_form import PostFormParser, form_key, success_redirect, success_status
from hosu.server.s3.post_policy import PostGrant, verify_post
from hosu.server.s3.put import plan_put, put_headers, store_body
from hosu.server.s3.request_errors import S3RequestError
from hosu.server.s3.tagging import parse_tags
from hosu.server.s3.xml_write import element

_META = "x-amz-meta-"


class FormCall(Call):
    """A form upload: its fields stand where other requests have headers."""

    __slots__ = ("_fields",)

    def __init__(self, call: Call, fields: dict[str, str]) -> None:
        super().__init__(call.engine, call.request, call.bucket, form_key(fields))
        self._fields = {name.encode("latin-1", "replace"): value.encode() for name, value in fields.items()}
        if b"acl" in self._fields:
            self._fields.setdefault(CANNED, self._fields[b"acl"])

    @property
    def headers(self) -> dict[bytes, bytes]:
        """The form's fields."""
        return self._fields

    def header(self, name: bytes) -> str | None:
        """Return a field; conditions of writes and bodies are not part of forms."""
        value = self._fields.get(name)
        return None if value is None else value.decode()


async def post(call: Call) -> Response:
    """PostObject: the policy is checked before the file is stored, its length range while it comes."""
    form = PostFormParser(call.request.fields.get(b"content-type", b""))
    early: list[bytes] = []
    while not form.file_started:
        piece = await call.request.body.chunk()
        if not piece:
            form.finish()
        early += form.feed(piece)
        call.request.body.release(piece)
    fields = form.fields
    grant = verify_post(
        fields, call.bucket, call.engine.secrets, call.engine.store.clock.now_ms(), region=call.engine.region or None
    )
    upload = FormCall(call, fields)
    upload.principal = (
        ANONYMOUS if grant is None else call.engine.principal(grant.access_key, fields.get("x-amz-security-token"))
    )
    upload.operation = call.operation
    call.principal = upload.principal
    attributes = _attributes(fields)
    _authorize(upload, "s3:PutObject", attributes)
    if attributes.tags:
        _authorize(upload, "s3:PutObjectTagging", attributes)
    refuse_unsupported(upload, but=ENCRYPTION_HEADERS | LOCK_HEADERS)
    take_write_headers(upload)
    attributes = msgspec.structs.replace(attributes, acl=acl_for_write(upload), lock=lock_headers(upload))
    plan = plan_put(upload, attributes, event="ObjectCreated:Post")
    call.engine.store.view().bucket(call.bucket)
    received = await _receive(call, form, early, grant, upload.write_encryption())
    record = await store_body(upload, received, plan)
    headers = put_headers(upload, record)
    location = f"{call.scheme}://{call.header(b'host') or ''}/{call.bucket}/{quote(upload.key)}"
    redirect = success_redirect(fields, call.bucket, upload.key, record.etag)
    if redirect is not None:
        return Response(303, [*headers, (b"Location", redirect.encode())])
    headers.append((b"Location", location.encode()))
    status = success_status(fields)
    if status != 201:  # noqa: PLR2004 - Created, the only one with a document
        return Response(status, headers)
    inner = element("Location", location) + element("Bucket", call.bucket) + element("Key", upload.key)
    inner += element("ETag", f'"{record.etag}"')
    # Of all of S3's documents this one has no namespace.
    body = f"{DECLARATION}<PostResponse>{inner}</PostResponse>".encode()
    return Response(201, [*headers, XML_HEADER], body)


def _authorize(upload: FormCall, action: str, attributes: Attributes) -> None:
    context = PartContext(upload, action, upload.bucket, upload.key, tags=attributes.tags)
    upload.authorize_in(action, context, upload.bucket, upload.key)


def _attributes(fields: dict[str, str]) -> Attributes:
    headers = {name: value for name, value in fields.items() if name.encode("latin-1", "replace") in STORED_HEADERS}
    metadata = {name[len(_META) :]: value for name, value in fields.items() if name.startswith(_META)}
    tagging = fields.get("tagging")
    return Attributes(headers, metadata, parse_tags(tagging.encode(), TAGS_PER_OBJECT_MAX) if tagging else {})


async def _receive(
    call: Call, form: PostFormParser, early: list[bytes], grant: PostGrant | None, encryption: Encryption | None
) -> Received:
    """Receive the file of a form; small ones stay in memory, larger ones go to a blob file."""
    checksum = _checksum(form.fields)
    gatherer = Gatherer(Expectations(None, None, None, None, checksum, encryption))
    small = bytearray(b"".join(early))
    _check_size(form, grant)
    body = call.request.body
    while len(small) <= INLINE_BYTES_MAX and (piece := await body.chunk()):
        for data in form.feed(piece):
            small += data
        body.release(piece)
        _check_size(form, grant)
    if len(small) <= INLINE_BYTES_MAX:
        _finish(form, grant)
        gatherer.update(small)
        md5, found = gatherer.check()
        return Received(call.engine.store.stage(bytes(small), encryption), md5, found)
    async with Spool(call, gatherer) as spool:
        await spool.add(bytes(small))
        while piece := await body.chunk():
            for data in form.feed(piece):
                await spool.add(data)
            body.release(piece)
            _check_size(form, grant)
        _finish(form, grant)
        return await spool.finish()


def _checksum(fields: dict[str, str]) -> ChecksumRequest | None:
    named = {
        name.encode(): value.encode()
        for name, value in fields.items()
        if name.isascii() and name.startswith(("x-amz-checksum-", "x-amz-sdk-checksum-algorithm"))
    }
    return requested_checksum(named)


def _check_size(form: PostFormParser, grant: PostGrant | None) -> None:
    if grant is not None:
        grant.check_size_so_far(form.file_bytes)
    if form.file_bytes > PUT_BYTES_MAX:
        raise S3RequestError("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")


def _finish(form: PostFormParser, grant: PostGrant | None) -> None:
    form.finish()
    if grant is not None:
        grant.check_size(form.file_bytes)
