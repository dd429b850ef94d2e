"""What MinIO keeps of a bucket: `.metadata.bin`, a MessagePack map behind two numbers of 16 bits."""

import re
from collections.abc import Mapping
from typing import Any

import msgpack
import msgspec

from hosu.lake.importing.source import SourceBucket, SourceError
from hosu.objects.records import Versioning

FORMAT, VERSION = 1, 1
HEADER_BYTES = 4

DOCUMENTS = {
    "PolicyConfigJSON": "policy",
    "LifecycleConfigXML": "lifecycle",
    "ObjectLockConfigXML": "object-lock",
    "EncryptionConfigXML": "encryption",
    "TaggingConfigXML": "tagging",
    "NotificationConfigXML": "notification",
    "CorsConfigXML": "cors",
}
"""Names of MinIO's for what S3 has documents for."""

NOT_MOVED = {
    "ReplicationConfigXML": "replication to other servers: hosu has none",
    "BucketTargetsConfigJSON": "targets of replication: hosu has none",
}
"""What is set and has no place in a lake, and why."""

_STATUS = re.compile(rb"<Status>\s*(\w+)\s*</Status>")
_EMPTY_TARGETS = frozenset({b"", b"null", b"{}", b'{"Targets":null}', b'{"Targets":[]}'})
_NOTIFIES = re.compile(r"<(?:Queue|Topic|CloudFunction)Configuration>")
_MINIO_ONLY = re.compile(r"<ExpiryUpdatedAt>[^<]*</ExpiryUpdatedAt>")
"""MinIO's own addition to stored lifecycle rules."""


class _Quota(msgspec.Struct):
    quota: int = 0
    size: int = 0


def read_bucket(name: str, raw: bytes) -> SourceBucket:
    """Return what is set on a bucket; raises SourceError where it cannot be read."""
    if len(raw) < HEADER_BYTES:
        raise SourceError(f".metadata.bin has {len(raw)} bytes")
    found_format, version = int.from_bytes(raw[:2], "little"), int.from_bytes(raw[2:4], "little")
    if (found_format, version) != (FORMAT, VERSION):
        raise SourceError(f".metadata.bin has format {found_format}.{version}: this hosu reads {FORMAT}.{VERSION}")
    try:
        found: Mapping[str, Any] = msgpack.unpackb(raw[HEADER_BYTES:], raw=False, strict_map_key=False)
        given = {key: value for key, value in found.items() if isinstance(value, bytes) and value.strip()}
    except (ValueError, AttributeError, msgpack.UnpackException) as error:
        raise SourceError(f".metadata.bin cannot be read: {error}") from error
    return bucket_of(name, given, is_lockable=bool(found.get("LockEnabled")))


def bucket_of(name: str, given: Mapping[str, bytes], *, is_lockable: bool = False) -> SourceBucket:
    """Return a bucket from MinIO's documents by their names."""
    problems = [reason for key, reason in NOT_MOVED.items() if given.get(key, b"").strip() not in _EMPTY_TARGETS]
    documents: dict[str, str] = {}
    for key, kind in DOCUMENTS.items():
        try:
            text = given.get(key, b"").decode()
        except UnicodeDecodeError:
            problems.append(f"its {kind} is not UTF-8")
            continue
        if text and (kind != "notification" or _NOTIFIES.search(text)):
            documents[kind] = _MINIO_ONLY.sub("", text)
    if is_lockable and "object-lock" not in documents:
        documents["object-lock"] = (
            "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>"
        )
    status = _STATUS.search(given.get("VersioningConfigXML", b""))
    versioning = Versioning.NEVER
    if status is not None or "object-lock" in documents:
        is_suspended = status is not None and status[1] == b"Suspended"
        versioning = Versioning.SUSPENDED if is_suspended else Versioning.ENABLED
    if b"ExcludedPrefixes" in given.get("VersioningConfigXML", b""):
        problems.append("prefixes that its versioning leaves out: hosu keeps versions of all keys or of none")
    return SourceBucket(
        name=name,
        versioning=versioning,
        quota_bytes=_quota(given.get("QuotaConfigJSON", b""), problems),
        documents=documents,
        problems=tuple(problems),
    )


def _quota(raw: bytes, problems: list[str]) -> int:
    if not raw:
        return 0
    try:
        quota = msgspec.json.decode(raw, type=_Quota)
    except msgspec.MsgspecError as error:
        problems.append(f"its quota cannot be read: {error}")
        return 0
    return quota.quota or quota.size
