"""The lifecycle of a bucket: S3's document of rules, and what readers learn of when an object expires."""

import secrets
from datetime import UTC, datetime
from email.utils import formatdate
from functools import lru_cache, partial
from urllib.parse import quote
from xml.etree.ElementTree import Element

import msgspec

from hosu.kernel.limits import MIB
from hosu.objects.audit import format_time
from hosu.objects.records import ObjectRecord
from hosu.rules.lifecycle.keeping import get_lifecycle, set_lifecycle
from hosu.rules.lifecycle.model import (
    ALL_FROM_128K,
    LAST_DAY_MS,
    RULES_MAX,
    VARIES_BY_CLASS,
    Filter,
    Lifecycle,
    NoncurrentTransition,
    Rule,
    Transition,
)
from hosu.server.http import Headers, Response
from hosu.server.s3.call import Call
from hosu.server.s3.payload import read_document
from hosu.server.s3.request_errors import S3RequestError
from hosu.server.s3.tagging import tags_of
from hosu.server.s3.xml_read import boolean, integer, parse, refuse, required_text, text
from hosu.server.s3.xml_write import element, empty_response, flag, xml_response

CONFIGURATION_BYTES_MAX = 4 * MIB
ROOT = "LifecycleConfiguration"
MINIMUM_SIZE = b"x-amz-transition-default-minimum-object-size"
UPDATED_AT = b"X-Minio-LifecycleConfig-UpdatedAt"
_KNOWN = {
    ROOT: {"Rule", "ExpiryUpdatedAt"},
    "Rule": {
        "ID", "Prefix", "Filter", "Status", "Expiration", "Transition", "NoncurrentVersionExpiration",
        "NoncurrentVersionTransition", "AbortIncompleteMultipartUpload",
    },
    "Filter": {"Prefix", "Tag", "And", "ObjectSizeGreaterThan", "ObjectSizeLessThan"},
    "And": {"Prefix", "Tag", "ObjectSizeGreaterThan", "ObjectSizeLessThan"},
    "Expiration": {"Days", "Date", "ExpiredObjectDeleteMarker"},
    "Transition": {"Days", "Date", "StorageClass"},
    "NoncurrentVersionExpiration": {"NoncurrentDays", "NewerNoncurrentVersions"},
    "NoncurrentVersionTransition": {"NoncurrentDays", "NewerNoncurrentVersions", "StorageClass"},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation"},
}  # fmt: skip
"""What each element may hold."""

_OTHERS = {"DelMarkerExpiration", "ExpiredObjectAllVersions"}
"""Extensions of MinIO's that are not supported."""


async def put_lifecycle(call: Call) -> Response:
    """PutBucketLifecycleConfiguration: replaces all rules."""
    root = parse(await read_document(call, CONFIGURATION_BYTES_MAX), ROOT)
    minimum_size = call.header(MINIMUM_SIZE) or ""
    if minimum_size not in {"", ALL_FROM_128K, VARIES_BY_CLASS}:
        raise S3RequestError(
            "InvalidRequest",
            f"{MINIMUM_SIZE.decode()} is {ALL_FROM_128K} or {VARIES_BY_CLASS}, not {minimum_size!r}",
        )
    lifecycle = read_lifecycle(root, call.engine.cold_classes, minimum_size)
    await _set(call, lifecycle)
    return empty_response(call.request.request_id, (MINIMUM_SIZE, _minimum_size(lifecycle)))


def get_lifecycle_configuration(call: Call) -> Response:
    """GetBucketLifecycleConfiguration: the rules as they were given, with ids where there were none."""
    lifecycle = get_lifecycle(call.engine.store.view(), call.bucket)
    if lifecycle is None:
        raise S3RequestError(
            "NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist", bucket=call.bucket
        )
    headers: Headers = [(MINIMUM_SIZE, _minimum_size(lifecycle))]
    if call.query.get("withUpdatedAt") == "true":
        updated = datetime.fromtimestamp(lifecycle.updated_ms // 1000, UTC)
        headers.append((UPDATED_AT, f"{updated:%Y%m%dT%H%M%SZ}".encode()))
    return xml_response(call.request.request_id, ROOT, "".join(map(_rule_xml, lifecycle.rules)), *headers)


async def delete_lifecycle(call: Call) -> Response:
    """DeleteBucketLifecycle."""
    await _set(call, None)
    return empty_response(call.request.request_id, status=204)


async def _set(call: Call, lifecycle: Lifecycle | None) -> None:
    actor = call.principal.name
    await call.commit(partial(set_lifecycle, bucket_name=call.bucket, lifecycle=lifecycle, actor=actor))


def _minimum_size(lifecycle: Lifecycle) -> bytes:
    return (lifecycle.minimum_size or VARIES_BY_CLASS).encode()


# Expiry of objects


def expiration_value(call: Call, record: ObjectRecord) -> bytes | None:
    """Return what `x-amz-expiration` says of an object of the request's bucket; None when it does not expire."""
    expiry = call.engine.lifecycles.expiry(call.bucket, record)
    return None if expiry is None else _expiration(expiry.due_ms, expiry.rule.id)


def expiration_headers(call: Call, record: ObjectRecord) -> Headers:
    """Return the header for an answer that speaks of an object."""
    value = expiration_value(call, record)
    return [] if value is None else [(b"x-amz-expiration", value)]


@lru_cache(maxsize=1024)
def _expiration(due_ms: int, rule_id: str) -> bytes:
    date = formatdate(min(due_ms, LAST_DAY_MS) // 1000, usegmt=True)
    # S3 encodes what a header could not hold.
    return f'expiry-date="{date}", rule-id="{quote(rule_id, safe=_SAFE)}"'.encode()


_SAFE = " !#$&'()*+,/:;=?@[]^`{|}~<>"


# Reading


def read_lifecycle(root: Element, storage_classes: frozenset[str], minimum_size: str = "") -> Lifecycle:
    """Return the rules of a document whose transitions name these storage classes.

    Raises MalformedXML for what S3's schema does not know, InvalidStorageClass, and NotImplemented for extensions
    of MinIO's; what the rules say is for `hosu.rules.lifecycle.model.check_lifecycle` to judge.
    """
    rules = root.findall("Rule")
    if not rules:
        refuse(f"{ROOT} needs at least one Rule")
    if len(rules) > RULES_MAX:
        refuse(f"{ROOT} has at most {RULES_MAX} rules")
    _check_names(root)
    return Lifecycle(tuple(_rule(rule, storage_classes) for rule in rules), minimum_size=minimum_size)


def _check_names(parent: Element) -> None:
    known = _KNOWN.get(parent.tag)
    if known is None:
        return
    single = known - {"Rule", "Tag", "Transition", "NoncurrentVersionTransition"}
    for child in parent:
        if child.tag in _OTHERS:
            raise S3RequestError("NotImplemented", f"{child.tag} of a lifecycle rule is not supported")
        if child.tag not in known:
            refuse(f"{parent.tag} has no {child.tag}")
        _check_names(child)
    for name in single:
        if len(parent.findall(name)) > 1:
            refuse(f"{parent.tag} has one {name} at most")


def _rule(rule: Element, storage_classes: frozenset[str]) -> Rule:
    status = text(rule, "Status")
    if status not in {"Enabled", "Disabled"}:
        refuse("Status must be Enabled or Disabled")
    found = Rule(
        id=text(rule, "ID") or secrets.token_hex(12),
        is_enabled=status == "Enabled",
        filter=_filter(rule),
        transitions=tuple(_transition(one, storage_classes) for one in rule.findall("Transition")),
        noncurrent_transitions=tuple(
            _noncurrent_transition(one, storage_classes) for one in rule.findall("NoncurrentVersionTransition")
        ),
    )
    said = _expiration_of(rule) | _noncurrent_of(rule)
    abort = rule.find("AbortIncompleteMultipartUpload")
    if abort is not None:
        said["abort_days"] = _required(abort, "DaysAfterInitiation")
    return msgspec.structs.replace(found, **said)


def _expiration_of(rule: Element) -> dict[str, int | bool | None]:
    found = rule.find("Expiration")
    if found is None:
        return {}
    if len(found) != 1:
        refuse("Expiration takes one of Days, Date and ExpiredObjectDeleteMarker")
    return {
        "expire_days": integer(found, "Days"),
        "expire_at_ms": _date(found),
        "removes_markers": boolean(found, "ExpiredObjectDeleteMarker"),
    }


def _noncurrent_of(rule: Element) -> dict[str, int | bool | None]:
    found = rule.find("NoncurrentVersionExpiration")
    if found is None:
        return {}
    days, keep = integer(found, "NoncurrentDays"), integer(found, "NewerNoncurrentVersions")
    if days is None and keep is None:
        refuse("NoncurrentVersionExpiration needs NoncurrentDays")
    if keep is not None and keep < 1:
        raise S3RequestError("InvalidArgument", "'NewerNoncurrentVersions' must be a positive integer")
    return {"noncurrent_days": days or 0, "noncurrent_keep": keep or 0}


def _filter(rule: Element) -> Filter:
    found, prefix = rule.find("Filter"), text(rule, "Prefix")
    if found is None:
        if prefix is None:
            refuse("Rule needs a Filter, or a Prefix")
        return Filter(prefix=_prefix(rule), form="prefix")
    if prefix is not None:
        refuse("Rule has a Filter or a Prefix, not both")
    both = found.find("And")
    # Several conditions side by side, as some clients send them, are all to hold: that is what removes least.
    places = [found] if both is None else [found, both]
    prefixes = [_prefix(place) for place in places if place.find("Prefix") is not None]
    tags: dict[str, str] = {}
    for place in places:
        for name, value in tags_of(place).items():
            if tags.setdefault(name, value) != value:
                refuse(f"the tag {name!r} has two values")
    above = [size for place in places if (size := integer(place, "ObjectSizeGreaterThan")) is not None]
    below = [size for place in places if (size := integer(place, "ObjectSizeLessThan")) is not None]
    longest = max(prefixes, key=len, default=None)
    if longest is not None and not all(longest.startswith(one) for one in prefixes):
        refuse("no key begins with both of the filter's prefixes")
    return Filter(
        prefix=longest,
        tags=tags,
        size_above=max(above, default=None),
        size_below=min(below, default=None),
        form="" if both is None else "and",
    )


def _prefix(place: Element) -> str:
    """Return a prefix as it was written: blanks at its ends are a part of it."""
    found = place.find("Prefix")
    return "" if found is None else found.text or ""


def _transition(found: Element, storage_classes: frozenset[str]) -> Transition:
    days, at_ms = integer(found, "Days"), _date(found)
    if (days is None) == (at_ms is None):
        refuse("Transition takes one of Days and Date")
    return Transition(_storage_class(found, storage_classes), days, at_ms)


def _noncurrent_transition(found: Element, storage_classes: frozenset[str]) -> NoncurrentTransition:
    keep = integer(found, "NewerNoncurrentVersions") or 0
    days = integer(found, "NoncurrentDays")
    if days is None and not keep:
        refuse("NoncurrentVersionTransition needs NoncurrentDays")
    return NoncurrentTransition(_storage_class(found, storage_classes), days or 0, keep)


def _storage_class(found: Element, storage_classes: frozenset[str]) -> str:
    name = required_text(found, "StorageClass")
    if name not in storage_classes:
        raise S3RequestError(
            "InvalidStorageClass",
            f"objects cannot be moved to the storage class {name!r}: choose from {', '.join(sorted(storage_classes))}",
            argument_name="StorageClass",
            argument_value=name,
        )
    return name


def _required(parent: Element, name: str) -> int:
    value = integer(parent, name)
    if value is None:
        refuse(f"{parent.tag} needs {name}")
    return value


def _date(parent: Element) -> int | None:
    value = text(parent, "Date")
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        refuse(f"Date {value!r} is no date as ISO 8601 has it")
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


# Writing


def _rule_xml(rule: Rule) -> str:
    inner = (
        element("ID", rule.id)
        + _filter_xml(rule.filter)
        + element("Status", "Enabled" if rule.is_enabled else "Disabled")
    )
    if rule.expires or rule.removes_markers:
        inner += f"<Expiration>{_expiration_xml(rule)}</Expiration>"
    for move in rule.transitions:
        when = element("Days", move.days) if move.at_ms is None else element("Date", format_time(move.at_ms))
        inner += f"<Transition>{when}{element('StorageClass', move.storage_class)}</Transition>"
    for old in rule.noncurrent_transitions:
        when = element("NoncurrentDays", old.days)
        when += element("NewerNoncurrentVersions", old.keep) if old.keep else ""
        when += element("StorageClass", old.storage_class)
        inner += f"<NoncurrentVersionTransition>{when}</NoncurrentVersionTransition>"
    if rule.noncurrent_days is not None:
        when = element("NoncurrentDays", rule.noncurrent_days) if rule.noncurrent_days else ""
        when += element("NewerNoncurrentVersions", rule.noncurrent_keep) if rule.noncurrent_keep else ""
        inner += f"<NoncurrentVersionExpiration>{when}</NoncurrentVersionExpiration>"
    if rule.abort_days is not None:
        days = element("DaysAfterInitiation", rule.abort_days)
        inner += f"<AbortIncompleteMultipartUpload>{days}</AbortIncompleteMultipartUpload>"
    return f"<Rule>{inner}</Rule>"


def _expiration_xml(rule: Rule) -> str:
    if rule.expire_at_ms is not None:
        return element("Date", format_time(rule.expire_at_ms))
    return (
        flag("ExpiredObjectDeleteMarker", value=True) if rule.expire_days is None else element("Days", rule.expire_days)
    )


def _filter_xml(found: Filter) -> str:
    inner = "" if found.prefix is None else element("Prefix", found.prefix)
    if found.form == "prefix":
        return inner
    parts = [inner] if inner else []
    parts += [f"<Tag>{element('Key', name)}{element('Value', value)}</Tag>" for name, value in found.tags.items()]
    if found.size_above is not None:
        parts.append(element("ObjectSizeGreaterThan", found.size_above))
    if found.size_below is not None:
        parts.append(element("ObjectSizeLessThan", found.size_below))
    shown = "".join(parts)
    return (
        f"<Filter><And>{shown}</And></Filter>" if found.form == "and" or len(parts) > 1 else f"<Filter>{shown}</Filter>"
    )
