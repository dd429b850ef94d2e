"""An event in the words of S3 and MinIO: the JSON that webhooks, queues and listeners are told."""

import contextlib
from typing import Any
from urllib.parse import quote_plus

import msgspec

from hosu.objects.audit import format_time
from hosu.objects.feed import Event
from hosu.objects.records import decode_attributes
from hosu.objects.views import View

EVENT_VERSION = "2.0"
SOURCE = "minio:s3"
"""What programs written for MinIO look for."""

_CREATED = "s3:ObjectCreated:"
_OF_CURRENT = "SELECT o.version_id, o.seq, o.attributes FROM bucket b, object o WHERE b.name = ? AND o.bucket_id = b.id"
_OF_VERSION = (
    "SELECT v.attributes FROM bucket b, version v WHERE b.name = ? AND v.bucket_id = b.id AND v.key = ? "
    "AND v.version_id = ? AND v.is_marker = 0"
)


class Origin(msgspec.Struct, frozen=True):
    """What records say of where they come from: the server's own URL, its region, and root's access key."""

    endpoint: str = ""
    region: str = ""
    owner: str = ""


class Message(msgspec.Struct, frozen=True):
    """An event on its way to a target. `record` is JSON, one element of S3's `Records`."""

    seq: int
    at_ms: int
    name: str
    bucket: str
    key: str
    record: msgspec.Raw

    @property
    def path(self) -> str:
        """Bucket and key."""
        return f"{self.bucket}/{self.key}"

    def body(self) -> bytes:
        """Return what MinIO posts."""
        return _ENCODE({"EventName": self.name, "Key": self.path, "Records": [self.record]})


_ENCODE = msgspec.json.Encoder().encode
_MESSAGE_DECODER = msgspec.json.Decoder(Message)


def encode_message(message: Message) -> str:
    """Return the stored form of a message."""
    return _ENCODE(message).decode()


def decode_message(text: str) -> Message:
    """Return the message of its stored form."""
    return _MESSAGE_DECODER.decode(text)


def make_message(view: View, event: Event, name: str, origin: Origin, rule_id: str = "") -> Message:
    """Put an event into words. What its version's attributes say is left out where the version is gone already."""
    record = _ENCODE(_record(event, name, origin, rule_id, _attributes(view, event, name)))
    return Message(event.seq, event.at_ms, name, event.bucket, event.key, msgspec.Raw(record))


def _attributes(view: View, event: Event, name: str) -> str | None:
    """Return the attributes of the version that an event is about, as they are stored."""
    if not event.key or name.startswith("s3:ObjectRemoved:"):
        return None
    row = view.row(f"{_OF_CURRENT} AND o.key = ?", (event.bucket, event.key))
    if row is not None and row[0] == event.version_id:
        is_other = name.startswith(_CREATED) and row[1] != event.seq and event.version_id == "null"
        return None if is_other else str(row[2])
    if event.version_id in {"", "null"}:
        return None
    found = view.value(_OF_VERSION, (event.bucket, event.key, event.version_id))
    return None if found is None else str(found)


def _record(event: Event, name: str, origin: Origin, rule_id: str, attributes: str | None) -> dict[str, Any]:
    owner = {"principalId": origin.owner}
    return {
        "eventVersion": EVENT_VERSION,
        "eventSource": SOURCE,
        "awsRegion": origin.region,
        "eventTime": format_time(event.at_ms),
        "eventName": name,
        "userIdentity": {"principalId": event.actor},
        "requestParameters": {
            "principalId": event.actor,
            "region": origin.region,
            "sourceIPAddress": event.source_ip,
        },
        "responseElements": {
            "x-amz-request-id": event.request_id,
            "x-minio-origin-endpoint": origin.endpoint,
        },
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": rule_id or "Config",
            "bucket": {"name": event.bucket, "ownerIdentity": owner, "arn": f"arn:aws:s3:::{event.bucket}"},
            "object": _object(event, attributes),
        },
        "source": {"host": event.source_ip, "port": "", "userAgent": ""},
    }


def _object(event: Event, attributes: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {"key": quote_plus(event.key)}
    if event.size_bytes:
        found["size"] = event.size_bytes
    if event.etag:
        found["eTag"] = event.etag
    told = None
    if attributes is not None:
        with contextlib.suppress(msgspec.MsgspecError):  # a broken record keeps nobody from hearing of it
            told = decode_attributes(attributes)
    if told is not None:
        content_type = told.headers.get("content-type", "binary/octet-stream")
        found["contentType"] = content_type
        found["userMetadata"] = {"content-type": content_type} | {
            f"X-Amz-Meta-{_title(name)}": value for name, value in told.metadata.items()
        }
    if event.version_id not in {"", "null"}:
        found["versionId"] = event.version_id
    found["sequencer"] = f"{event.seq:016X}"
    return found


def _title(name: str) -> str:
    """Write a header's name as HTTP libraries do."""
    return "-".join(part.capitalize() for part in name.split("-"))
