"""The policies that every lake has, with the names and the meaning that MinIO gave them."""

import json
from collections.abc import Mapping

_EVERY_BUCKET = "arn:aws:s3:::*"


def _policy(*grants: tuple[list[str], bool]) -> str:
    """Write a policy that allows actions, those of S3 on every bucket."""
    statements: list[dict[str, object]] = []
    for actions, is_on_buckets in grants:
        statement: dict[str, object] = {"Effect": "Allow", "Action": actions}
        statements.append(statement | ({"Resource": [_EVERY_BUCKET]} if is_on_buckets else {}))
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, indent=1)


_DIAGNOSTICS = (
    "ServerTrace",
    "Profiling",
    "ConsoleLog",
    "ServerInfo",
    "TopLocksInfo",
    "OBDInfo",
    "BandwidthMonitor",
    "Prometheus",
)

BUILTIN_POLICIES: Mapping[str, str] = {
    "consoleAdmin": _policy((["admin:*"], False), (["kms:*"], False), (["s3:*"], True)),
    "diagnostics": _policy(([f"admin:{name}" for name in _DIAGNOSTICS], True)),
    "readonly": _policy((["s3:GetBucketLocation", "s3:GetObject"], True)),
    "readwrite": _policy((["s3:*"], True)),
    "writeonly": _policy((["s3:PutObject"], True)),
}
"""JSON by name. A policy that a user stores under one of these names replaces it."""
