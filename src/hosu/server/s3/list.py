"""ListObjects v1 and v2, and ListObjectVersions."""

import base64
from collections.abc import Callable
from functools import lru_cache, partial

import msgspec

from hosu.identity.acl import ROOT
from hosu.kernel.limits import LIST_KEYS_MAX
from hosu.objects.aliases import Alias, aliases_at
from hosu.objects.listing import ListRequest, Page, VersionsPage, list_objects, list_versions
from hosu.objects.records import ObjectRecord
from hosu.objects.rendering import Field, OptionalText, Template, quote_key
from hosu.objects.views import View
from hosu.server.http import Response
from hosu.server.s3.call import Call, iso_date
from hosu.server.s3.errors import XML_HEADER
from hosu.server.s3.request_errors import S3RequestError
from hosu.server.s3.xml_write import document, element, flag, owner, xml_response


def _entry_template(key: Field, shown_owner: str) -> Template:
    """Describe one `Contents` element, which SQLite renders."""
    return (
        "<Contents><Key>",
        key,
        "</Key><LastModified>",
        Field.MODIFIED_ISO,
        "</LastModified><ETag>&quot;",
        Field.ETAG,
        "&quot;</ETag>",
        OptionalText(("<ChecksumAlgorithm>", Field.CHECKSUM_ALGORITHM, "</ChecksumAlgorithm>")),
        OptionalText(("<ChecksumType>", Field.CHECKSUM_TYPE, "</ChecksumType>")),
        "<Size>",
        Field.SIZE_BYTES,
        "</Size>" + shown_owner + "<StorageClass>",
        Field.STORAGE_CLASS,
        "</StorageClass></Contents>",
    )


@lru_cache(maxsize=1024)
def _template(account: str | None, *, is_encoded: bool) -> Template:
    """Return how `Contents` elements look: with their owner, or with None without one."""
    return _entry_template(
        Field.KEY_URL if is_encoded else Field.KEY_XML, "" if account is None else owner(account=account)
    )


def _owner(call: Call) -> str:
    """Return the user whom a listing names as the owner of its objects: the bucket's own."""
    facts = call.engine.acls.facts(call.bucket)
    return ROOT if facts is None else facts.owner


class _Token(msgspec.Struct, frozen=True, array_like=True):
    """Where a listing goes on, and the moment whose aliases its first page saw."""

    after: str
    skips_after: bool
    as_of_seq: int


def _encode_token(page: Page, as_of_seq: int | None) -> str:
    token = _Token(page.last, page.last_is_prefix, page.as_of_seq if as_of_seq is None else as_of_seq)
    return base64.urlsafe_b64encode(msgspec.json.encode(token)).decode()


def _decode_token(text: str) -> _Token:
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(text.encode("ascii")), type=_Token)
    except (ValueError, msgspec.MsgspecError) as error:
        raise S3RequestError(
            "InvalidArgument", "The continuation token provided is incorrect", argument_name="continuation-token"
        ) from error


def encoder(call: Call) -> tuple[Callable[[str], str], bool]:
    """Return how keys are shown, and whether that is percent-encoded."""
    kind = call.query.get("encoding-type")
    if not kind:
        return str, False
    if kind.lower() != "url":
        raise S3RequestError(
            "InvalidArgument", "Invalid Encoding Method specified in Request", argument_name="encoding-type"
        )
    return quote_key, True


async def list_objects_v1(call: Call) -> Response:
    """ListObjects."""
    query, (shown, is_encoded) = call.query, encoder(call)
    prefix, delimiter, marker = query.get("prefix", ""), query.get("delimiter", ""), query.get("marker", "")
    limit = call.integer("max-keys", LIST_KEYS_MAX, most=LIST_KEYS_MAX)
    skips = bool(delimiter) and marker.startswith(prefix) and marker.find(delimiter, len(prefix)) >= 0
    request = ListRequest(
        bucket=call.bucket, prefix=prefix, delimiter=delimiter, after=marker,
        skips_after=skips and marker.endswith(delimiter), limit=limit,
        template=_template(_owner(call), is_encoded=is_encoded),
    )  # fmt: skip
    page = await _read_page(call, request)
    inner = element("Name", call.bucket) + element("Prefix", shown(prefix)) + element("Marker", shown(marker))
    if page.is_truncated:
        inner += element("NextMarker", shown(page.last))
    inner += element("MaxKeys", limit) + (element("Delimiter", shown(delimiter)) if delimiter else "")
    return _listing(call, inner, page, shown, is_encoded=is_encoded)


async def list_objects_v2(call: Call) -> Response:
    """ListObjectsV2."""
    query, (shown, is_encoded) = call.query, encoder(call)
    prefix, delimiter, start_after = query.get("prefix", ""), query.get("delimiter", ""), query.get("start-after", "")
    limit = call.integer("max-keys", LIST_KEYS_MAX, most=LIST_KEYS_MAX)
    token_text = query.get("continuation-token")
    if token_text == "":
        raise S3RequestError(
            "InvalidArgument", "The continuation token provided is incorrect", argument_name="continuation-token"
        )
    token = None if token_text is None else _decode_token(token_text)
    request = ListRequest(
        bucket=call.bucket, prefix=prefix, delimiter=delimiter,
        after=start_after if token is None else token.after,
        skips_after=token is not None and token.skips_after, limit=limit,
        template=_template(
            _owner(call) if query.get("fetch-owner", "").lower() == "true" else None, is_encoded=is_encoded
        ),
    )  # fmt: skip
    page = await _read_page(call, request, token.as_of_seq if token else None)
    inner = element("Name", call.bucket) + element("Prefix", shown(prefix))
    if token_text is not None:
        inner += element("ContinuationToken", token_text)
    if page.is_truncated:
        inner += element("NextContinuationToken", _encode_token(page, token.as_of_seq if token else None))
    if start_after:
        inner += element("StartAfter", shown(start_after))
    inner += element("KeyCount", page.count) + element("MaxKeys", limit)
    inner += element("Delimiter", shown(delimiter)) if delimiter else ""
    return _listing(call, inner, page, shown, is_encoded=is_encoded)


async def _read_page(call: Call, request: ListRequest, as_of_seq: int | None = None) -> Page:
    if request.limit == 0:
        call.engine.store.view().bucket(call.bucket)
        return Page([], [], [])

    def read(view: View) -> Page:
        aliases: tuple[Alias, ...] | None = None
        if as_of_seq is not None:
            aliases = aliases_at(view, call.bucket, as_of_seq)
        return list_objects(view, msgspec.structs.replace(request, aliases=aliases))

    return await call.engine.read(read)


def _listing(call: Call, inner: str, page: Page, shown: Callable[[str], str], *, is_encoded: bool) -> Response:
    if is_encoded:
        inner += element("EncodingType", "url")
    inner += flag("IsTruncated", value=page.is_truncated)
    body = document("ListBucketResult", inner, page.rendered, _prefixes(page.prefixes, shown))
    return Response(200, [XML_HEADER, (b"x-amz-request-id", call.request.request_id.encode())], body)


def _prefixes(prefixes: list[str], shown: Callable[[str], str]) -> str:
    return "".join(f"<CommonPrefixes>{element('Prefix', shown(prefix))}</CommonPrefixes>" for prefix in prefixes)


async def list_object_versions(call: Call) -> Response:
    """ListObjectVersions."""
    query, (shown, is_encoded) = call.query, encoder(call)
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    key_marker, version_marker = query.get("key-marker", ""), query.get("version-id-marker", "")
    if version_marker and not key_marker:
        raise S3RequestError("InvalidArgument", "A version-id marker cannot be specified without a key marker.")
    limit = call.integer("max-keys", LIST_KEYS_MAX, most=LIST_KEYS_MAX)
    if limit:
        page = await call.engine.read(
            partial(
                list_versions, bucket_name=call.bucket, prefix=prefix, delimiter=delimiter, key_marker=key_marker,
                version_id_marker=version_marker, limit=limit,
            )
        )  # fmt: skip
    else:
        call.engine.store.view().bucket(call.bucket)
        page = VersionsPage([], [])
    inner = element("Name", call.bucket) + element("Prefix", shown(prefix)) + element("KeyMarker", shown(key_marker))
    inner += element("VersionIdMarker", version_marker)
    if page.is_truncated:
        inner += element("NextKeyMarker", shown(page.last_key))
        inner += element("NextVersionIdMarker", page.last_version_id) if page.last_version_id else ""
    inner += element("MaxKeys", limit) + (element("Delimiter", shown(delimiter)) if delimiter else "")
    inner += element("EncodingType", "url") if is_encoded else ""
    inner += flag("IsTruncated", value=page.is_truncated)
    holder = _owner(call)
    inner += "".join(_version(record, shown, holder) for record in page.records) + _prefixes(page.prefixes, shown)
    return xml_response(call.request.request_id, "ListVersionsResult", inner)


def _version(record: ObjectRecord, shown: Callable[[str], str], holder: str) -> str:
    inner = element("Key", shown(record.key)) + element("VersionId", record.version_id)
    inner += flag("IsLatest", value=record.is_latest) + element("LastModified", iso_date(record.modified_ms))
    if record.is_marker:
        return f"<DeleteMarker>{inner}{owner(account=holder)}</DeleteMarker>"
    inner += element("ETag", f'"{record.etag}"') + element("Size", record.size_bytes)
    if record.checksum_algorithm:
        inner += element("ChecksumAlgorithm", record.checksum_algorithm)
        inner += element("ChecksumType", record.checksum_type)
    return f"<Version>{inner}{owner(account=holder)}{element('StorageClass', record.storage_class)}</Version>"
