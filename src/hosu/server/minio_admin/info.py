"""What the server says of itself: its state, its disk, and what the lake holds."""

import os

from hosu._version import __version__
from hosu.objects.buckets import list_buckets
from hosu.objects.records import Bucket
from hosu.rules.events.config import arn_of
from hosu.server.http import Response
from hosu.server.minio_admin.call import AdminCall, rfc3339

MODE = "online"
BACKEND = "Erasure"
"""What MinIO says of a single drive, too. Clients show drives and usage for this kind alone."""


async def server_info(call: AdminCall) -> Response:
    """Describe the server, its one drive, and the usage of the lake."""
    call.authorize()
    found = await call.port.read(list_buckets)
    total, drive = _totals(found), _drive(call)
    return call.json(
        {
            "mode": MODE,
            "region": call.settings.region,
            "sqsARN": [arn_of(name, call.settings.region) for name in _targets(call)],
            "buckets": {"count": len(found)},
            "objects": {"count": total["objectsCount"]},
            "versions": {"count": total["versionsCount"]},
            "deletemarkers": {"count": total["deleteMarkersCount"]},
            "usage": {"size": total["objectsTotalSize"]},
            "services": _services(call),
            "backend": {
                "backendType": BACKEND,
                "onlineDisks": 1,
                "offlineDisks": 0,
                "standardSCParity": 0,
                "rrSCParity": 0,
                "totalSets": [1],
                "totalDrivesPerSet": [1],
            },
            "servers": [_server(call, drive)],
            "pools": {
                "0": {
                    "0": {
                        "id": 0,
                        "rawUsage": drive["usedspace"],
                        "rawCapacity": drive["totalspace"],
                        "usage": total["objectsTotalSize"],
                        "objectsCount": total["objectsCount"],
                        "versionsCount": total["versionsCount"],
                        "deleteMarkersCount": total["deleteMarkersCount"],
                        "healDisks": 0,
                    }
                }
            },
        }
    )


async def data_usage(call: AdminCall) -> Response:
    """Say what each bucket holds, exactly and now."""
    call.authorize()
    found = await call.port.read(list_buckets)
    totals = _totals(found)
    answer: dict[str, object] = {
        "lastUpdate": rfc3339(call.port.store.clock.now_ms()),
        **totals,
        "bucketsCount": len(found),
        "bucketsUsageInfo": {bucket.name: _usage(bucket) for bucket in found},
        "bucketsSizes": {bucket.name: _size_bytes(bucket) for bucket in found},
    }
    if call.optional("capacity") == "true":
        total_bytes, free_bytes = _space(call)
        answer |= {"capacity": total_bytes, "freeCapacity": free_bytes, "usedCapacity": total_bytes - free_bytes}
    return call.json(answer)


def _targets(call: AdminCall) -> list[str]:
    return [name for name, target in sorted(call.settings.notify.targets.items()) if target.enable]


def _totals(found: list[Bucket]) -> dict[str, int]:
    return {
        "objectsCount": sum(bucket.usage.object_count for bucket in found),
        "versionsCount": sum(bucket.usage.object_count + bucket.usage.version_count for bucket in found),
        "deleteMarkersCount": sum(bucket.usage.marker_count for bucket in found),
        "objectsTotalSize": sum(_size_bytes(bucket) for bucket in found),
    }


def _usage(bucket: Bucket) -> dict[str, object]:
    usage = bucket.usage
    return {
        "size": _size_bytes(bucket),
        "objectsCount": usage.object_count,
        "versionsCount": usage.object_count + usage.version_count,
        "deleteMarkersCount": usage.marker_count,
    }


def _size_bytes(bucket: Bucket) -> int:
    return bucket.usage.object_bytes + bucket.usage.version_bytes


def _services(call: AdminCall) -> dict[str, object]:
    keys = call.port.store.keys
    kms = {"status": "online", "endpoint": "built in"} if keys.is_outside else {"status": "disabled"}
    return {"kms": kms, "kmsStatus": [kms] if keys.is_outside else [], "ldap": {}, "notifications": []}


def _server(call: AdminCall, drive: dict[str, object]) -> dict[str, object]:
    store = call.port.store
    host = (call.request.header(b"host") or b"").decode("utf-8", "replace")
    return {
        "state": MODE,
        "endpoint": host,
        "scheme": "https" if call.request.secure else "http",
        "uptime": int(store.clock.monotonic() - call.admin.started_s),
        "version": f"hosu {__version__}",
        "commitID": "",
        "network": {host: MODE},
        "drives": [drive],
        "poolNumber": 1,
        "poolNumbers": [1],
    }


def _drive(call: AdminCall) -> dict[str, object]:
    path = str(call.port.store.path)
    total_bytes, free_bytes = _space(call)
    used_bytes = total_bytes - free_bytes
    return {
        "endpoint": path,
        "path": path,
        "state": "ok",
        "totalspace": total_bytes,
        "usedspace": used_bytes,
        "availspace": free_bytes,
        "utilization": 100 * used_bytes / total_bytes if total_bytes else 0.0,
        "pool_index": 0,
        "set_index": 0,
        "disk_index": 0,
    }


def _space(call: AdminCall) -> tuple[int, int]:
    """Return the bytes of the disk that blobs are on, and those that are free."""
    facts = os.statvfs(call.port.store.files.root)
    return facts.f_blocks * facts.f_frsize, facts.f_bavail * facts.f_frsize
