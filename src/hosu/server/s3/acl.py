"""ACLs of buckets and objects as S3 writes them: canned, in headers, or as a document."""

from collections.abc import Iterable
from functools import partial
from xml.etree.ElementTree import Element

import msgspec

from hosu.identity.acl import (
    ACL,
    ALL_USERS,
    AUTHENTICATED_USERS,
    FULL_CONTROL,
    GROUP,
    PERMISSIONS,
    PREFERRED,
    READ,
    ROOT,
    ROOT_ID,
    USER,
    WRITE,
    BucketFacts,
    canonical_id,
    default_acl,
    display_name,
    is_public,
)
from hosu.kernel.errors import ErrorKind, NotFoundError
from hosu.kernel.limits import KIB
from hosu.objects.put import set_acl
from hosu.objects.read import find
from hosu.objects.records import Acl, Grant, ObjectRecord
from hosu.objects.transaction import Tx
from hosu.server.http import Response
from hosu.server.s3.call import Call, version_headers
from hosu.server.s3.conditions import RequestContext
from hosu.server.s3.payload import read_document, set_bucket_document
from hosu.server.s3.request_errors import S3RequestError
from hosu.server.s3.xml_read import parse, text
from hosu.server.s3.xml_write import element, empty_response, owner, xml_response

ACL_BYTES_MAX = 64 * KIB
GRANTS_MAX = 100
"""Of one ACL, as S3 has it."""

CANNED = b"x-amz-acl"
GRANT_HEADERS = {
    b"x-amz-grant-read": "READ",
    b"x-amz-grant-write": "WRITE",
    b"x-amz-grant-read-acp": "READ_ACP",
    b"x-amz-grant-write-acp": "WRITE_ACP",
    b"x-amz-grant-full-control": "FULL_CONTROL",
}
ACL_HEADERS = frozenset({CANNED, *GRANT_HEADERS})

PRIVATE, OWNER_FULL_CONTROL, OWNER_READ = "private", "bucket-owner-full-control", "bucket-owner-read"
_GROUP_GRANTS = {
    PRIVATE: (),
    OWNER_FULL_CONTROL: (),
    OWNER_READ: (),
    "authenticated-read": ((AUTHENTICATED_USERS, READ),),
    "public-read": ((ALL_USERS, READ),),
    "public-read-write": ((ALL_USERS, READ), (ALL_USERS, WRITE)),
}
"""Canned ACLs, and what each grants to groups."""

_REFUSED_CANNED = frozenset({"aws-exec-read", "log-delivery-write"})
_GROUP_URI = "http://acs.amazonaws.com/groups/global/"
_GROUPS = frozenset({ALL_USERS, AUTHENTICATED_USERS})
_XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'


# What a request asks for


def canned_acl(name: str, writer: str, bucket_owner: str) -> Acl:
    """Return a canned ACL of what `writer` makes. Raises for a name that is none, and for those of AWS's services."""
    if name in _REFUSED_CANNED:
        raise S3RequestError("NotImplemented", f"The ACL {name!r} is not supported: it is for services of AWS")
    if name not in _GROUP_GRANTS:
        raise S3RequestError(
            "InvalidArgument", f"{name!r} is not a canned ACL", argument_name="x-amz-acl", argument_value=name
        )
    grants = [Grant(GROUP, group, permission) for group, permission in _GROUP_GRANTS[name]]
    grants.append(Grant(USER, writer, FULL_CONTROL))
    if bucket_owner != writer and name in {OWNER_FULL_CONTROL, OWNER_READ}:
        grants.append(Grant(USER, bucket_owner, FULL_CONTROL if name == OWNER_FULL_CONTROL else READ))
    return Acl(writer, tuple(grants))


def asked_acl(call: Call, writer: str, bucket_owner: str) -> Acl | None:
    """Return the ACL that a request's headers ask for, None when they ask for none."""
    if ACL_HEADERS.isdisjoint(call.headers):
        return None
    name = call.header(CANNED)
    grants = [
        grant
        for header, permission in GRANT_HEADERS.items()
        for grant in _header_grants(call, call.header(header) or "", permission)
    ]
    if name is None:
        return Acl(writer, _checked(grants))
    if any(header in call.headers for header in GRANT_HEADERS):
        raise S3RequestError("InvalidRequest", "Specifying both Canned ACLs and Header Grants is not allowed")
    return canned_acl(name, writer, bucket_owner)


def acl_for_write(call: Call) -> Acl | None:
    """Return the ACL that an object gets from the request that makes it; None for its bucket's owner's alone.

    Refuses one that cannot have the effect it asks for, and one that lets others in by somebody who may not change
    ACLs. Who writes without a signature gives to the bucket's owner.
    """
    engine = call.engine
    facts = engine.acls.facts(call.bucket)
    if facts is None:  # the write itself says that there is no such bucket
        return None
    account = engine.acls.account_of(call.principal)
    writer = facts.owner if account is None else account
    if not facts.has_acls:
        asked = asked_acl(call, facts.owner, facts.owner)
        if asked is not None:
            check_without_effect(facts, asked, call.header(CANNED), is_write=True)
        return None
    if facts.ownership == PREFERRED and call.header(CANNED) == OWNER_FULL_CONTROL:
        return None
    acl = asked_acl(call, writer, facts.owner) or default_acl(writer)
    check_public(facts, acl)
    if any(grant.kind == GROUP or grant.name not in {writer, facts.owner} for grant in acl.grants):
        _authorize_sharing(call, account)
    return None if acl == default_acl(facts.owner) else acl


def _authorize_sharing(call: Call, account: str | None) -> None:
    """Ask whether a writer may let others in: who writes by right of the bucket's ACL may, unless it is withheld."""
    action, resource = "s3:PutObjectAcl", f"{call.bucket}/{call.key}"
    is_by_acl = call.engine.acls.allows(account, "s3:PutObject", resource)
    if not is_by_acl or call.is_withheld(action, RequestContext(call, action), call.bucket, call.key):
        call.authorize(action)


def check_without_effect(facts: BucketFacts, asked: Acl, canned: str | None, *, is_write: bool) -> None:
    """Refuse an ACL where ACLs do not count, unless it says what is so anyway.

    Where a bucket's own ownership controls switched ACLs off, S3 takes none but `bucket-owner-full-control` of a
    write. Where nobody asked for that, the one that clients send by habit, `private`, is as true.
    """
    is_same = is_write and canned == OWNER_FULL_CONTROL
    if not facts.is_ownership_set:
        is_same = is_same or asked == default_acl(facts.owner)
    if not is_same:
        raise S3RequestError("AccessControlListNotSupported", "The bucket does not allow ACLs")


def check_public(facts: BucketFacts, acl: Acl) -> None:
    """Refuse a public ACL where the bucket blocks them."""
    if facts.block.block_public_acls and is_public(acl):
        raise S3RequestError("AccessDenied", "The bucket's public access block refuses public ACLs")


def _header_grants(call: Call, value: str, permission: str) -> Iterable[Grant]:
    """Yield the grants of one header: `id="…", uri="…", emailAddress="…"`."""
    for item in value.split(","):
        if not item.strip():
            continue
        kind, equals, named = item.strip().partition("=")
        named = named.strip().strip('"')
        if not equals or kind.strip().lower() not in {"id", "uri", "emailaddress"}:
            raise S3RequestError(
                "InvalidArgument",
                "A grant names its grantee by id, uri or emailAddress",
                argument_name=f"x-amz-grant-{permission.lower().replace('_', '-')}",
                argument_value=item.strip(),
            )
        yield _grant(call, kind.strip().lower(), named, permission)


def _grant(call: Call, kind: str, named: str, permission: str) -> Grant:
    if permission not in PERMISSIONS:
        raise S3RequestError("MalformedACLError", f"{permission!r} is no permission: use {', '.join(PERMISSIONS)}")
    if kind == "uri":
        group = named.removeprefix(_GROUP_URI)
        if group not in _GROUPS or not named.startswith(_GROUP_URI):
            raise S3RequestError("InvalidArgument", "Invalid group uri", argument_name="URI", argument_value=named)
        return Grant(GROUP, group, permission)
    account = _account_with_email(call, named) if kind == "emailaddress" else _account_with_id(call, named)
    return Grant(USER, account, permission)


def _account_with_id(call: Call, wanted: str) -> str:
    if wanted == ROOT_ID:
        return ROOT
    account = call.engine.acls.user_with_id(wanted)
    if account is not None:
        return account
    raise S3RequestError("InvalidArgument", "Invalid id", argument_name="CanonicalUser/ID", argument_value=wanted)


def _account_with_email(call: Call, wanted: str) -> str:
    """Return the user called by an e-mail address: names are all that hosu knows of people."""
    if call.engine.acls.user_with_id(canonical_id(wanted)) is not None:
        return wanted
    raise S3RequestError(
        "UnresolvableGrantByEmailAddress",
        "The e-mail address you provided does not match any account on record: no user has this name",
    )


def _checked(grants: list[Grant]) -> tuple[Grant, ...]:
    if len(grants) > GRANTS_MAX:
        raise S3RequestError("MalformedACLError", f"An ACL has at most {GRANTS_MAX} grants, not {len(grants)}")
    return tuple(grants)


async def _put_acl(call: Call, holder: Acl, facts: BucketFacts) -> Acl:
    """Return the ACL that a Put…Acl request asks for; what it is put on stays its owner's."""
    body = await read_document(call, ACL_BYTES_MAX)
    asked = asked_acl(call, holder.owner, facts.owner)
    if asked is not None:
        if body:
            raise S3RequestError("UnexpectedContent", "This request does not support content: its headers say the ACL")
    else:
        asked = _parse_acl(call, parse(body, "AccessControlPolicy"), holder.owner)
    if facts.has_acls:
        check_public(facts, asked)
    else:
        check_without_effect(facts, asked, call.header(CANNED), is_write=False)
    return asked


def _parse_acl(call: Call, root: Element, holder: str) -> Acl:
    stated = root.find("Owner")
    if stated is not None and text(stated, "ID") not in {None, "", canonical_id(holder)}:
        raise S3RequestError("AccessDenied", "An ACL does not change the owner: state the one there is")
    listing = root.find("AccessControlList")
    if listing is None:
        raise S3RequestError("MalformedACLError", "The ACL has no AccessControlList")
    grants = []
    for row in listing.findall("Grant"):
        grantee = row.find("Grantee")
        if grantee is None:
            raise S3RequestError("MalformedACLError", "A Grant has no Grantee")
        named = [
            (kind, value)
            for kind, name in (("id", "ID"), ("uri", "URI"), ("emailaddress", "EmailAddress"))
            if (value := text(grantee, name))
        ]
        if len(named) != 1:
            raise S3RequestError("MalformedACLError", "A Grantee has one of ID, URI and EmailAddress")
        grants.append(_grant(call, *named[0], text(row, "Permission") or ""))
    return Acl(holder, _checked(grants))


# The operations


def _facts(call: Call) -> BucketFacts:
    facts = call.engine.acls.facts(call.bucket)
    if facts is None:
        raise NotFoundError(ErrorKind.BUCKET_NOT_FOUND, f"there is no bucket {call.bucket!r}", bucket=call.bucket)
    return facts


def _shown(acl: Acl) -> str:
    """Return the inside of an AccessControlPolicy document: what groups are granted, then what users are."""
    rows = []
    for grant in sorted(acl.grants, key=lambda grant: grant.kind):
        if grant.kind == GROUP:
            grantee = f'<Grantee {_XSI} xsi:type="Group">{element("URI", _GROUP_URI + grant.name)}</Grantee>'
        else:
            inner = element("ID", canonical_id(grant.name)) + element("DisplayName", display_name(grant.name))
            grantee = f'<Grantee {_XSI} xsi:type="CanonicalUser">{inner}</Grantee>'
        rows.append(f"<Grant>{grantee}{element('Permission', grant.permission)}</Grant>")
    return f"{owner(account=acl.owner)}<AccessControlList>{''.join(rows)}</AccessControlList>"


def get_bucket_acl(call: Call) -> Response:
    """GetBucketAcl."""
    facts = _facts(call)
    acl = facts.acl if facts.has_acls else default_acl(facts.owner)
    return xml_response(call.request.request_id, "AccessControlPolicy", _shown(acl))


async def put_bucket_acl(call: Call) -> Response:
    """PutBucketAcl."""
    facts = _facts(call)
    acl = await _put_acl(call, facts.acl, facts)
    if facts.has_acls:
        body = msgspec.json.encode(acl).decode()
        await set_bucket_document(call, ACL, body)
    return empty_response(call.request.request_id)


def get_object_acl(call: Call) -> Response:
    """GetObjectAcl."""
    facts = _facts(call)
    record = find(call.engine.store.view(), call.bucket, call.key, call.version_id)
    acl = (record.attributes.acl if facts.has_acls else None) or default_acl(facts.owner)
    return xml_response(call.request.request_id, "AccessControlPolicy", _shown(acl), *version_headers(record))


async def put_object_acl(call: Call) -> Response:
    """PutObjectAcl."""
    facts = _facts(call)
    record = find(call.engine.store.view(), call.bucket, call.key, call.version_id)
    acl = await _put_acl(call, record.attributes.acl or default_acl(facts.owner), facts)
    if facts.has_acls:
        kept = None if acl == default_acl(facts.owner) else acl
        record = await call.commit(partial(_replace_acl, call=call, seq=record.seq, acl=kept))
    return empty_response(call.request.request_id, *version_headers(record))


def _replace_acl(tx: Tx, *, call: Call, seq: int, acl: Acl | None) -> ObjectRecord:
    """Replace the ACL of the object that the request was about when it came: what took its place is somebody else's."""
    if find(tx, call.bucket, call.key, call.version_id).seq != seq:
        raise S3RequestError("SlowDown", "The object was replaced while its ACL was put: try again")
    return set_acl(tx, call.bucket, call.key, call.version_id, acl, actor=call.principal.name)
