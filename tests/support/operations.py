"""A request for every operation of the S3 server, and all that a lake holds: what refused requests must not change."""

from base64 import b64encode
from hashlib import md5
from pathlib import Path
from typing import Any

from tests.support.http import form_body

import hosu
from hosu.server.s3.routes import OPERATIONS, Operation

DELETE_DOCUMENT = b"<Delete><Object><Key>k</Key></Object></Delete>"

VALUES = {"uploadId": "0" * 48, "partNumber": "1", "list-type": "2"}
"""What the parameters that need a value are given."""

LAKE_TABLES_LEFT_OUT = frozenset({"alert", "alert_told", "audit_outbox"})
"""The audit log tells of refused requests too, and where there are many, so does an alert."""


def request_of(operation: Operation, bucket: str) -> tuple[str, bytes, dict[str, str]]:
    """Return path, body and headers of a request that an operation answers."""
    path = {"service": "/", "bucket": f"/{bucket}", "object": f"/{bucket}/k"}[operation.target]
    query = "&".join(f"{name}={VALUES.get(name, '')}" for name in operation.parameters)
    headers: dict[str, str] = {}
    body = b""
    if operation.header:
        headers[operation.header.decode()] = f"{bucket}/k"
    if operation.name == "DeleteObjects":
        body = DELETE_DOCUMENT
        headers["Content-MD5"] = b64encode(md5(body, usedforsecurity=False).digest()).decode()
    elif operation.name == "PostObject":
        body, form_headers = form_body({"key": "k"}, "k", b"stolen")
        headers |= form_headers
    elif operation.method == "PUT":
        body = b"stolen"
    return f"{path}?{query}" if query else path, body, headers


def versioned_operations() -> list[Operation]:
    """Return the operations that ask for another action where a version is named."""
    return [operation for operation in OPERATIONS if operation.version_action and not operation.is_late]


def contents_of(lake: Path) -> dict[str, Any]:
    """Return every row of every table of a lake, and the names of its blob files."""
    with hosu.open(lake) as opened:
        view = opened.store.view()
        names = [name for (name,) in view.rows("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        found: dict[str, Any] = {
            name: sorted(map(repr, view.rows(f"SELECT * FROM {name}")))
            for name in names
            if name not in LAKE_TABLES_LEFT_OUT
        }
    # How far the audit log was written moves with the log of what happened before, whenever the server gets to it.
    found["counter"] = [row for row in found["counter"] if not row.startswith("('audit'")]
    found["files"] = sorted(str(file.relative_to(lake)) for file in (lake / "blobs").rglob("*"))
    return found
