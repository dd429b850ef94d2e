"""The lake in this process: what `hosu.open` returns. Safe beside a running server, and other processes, on one folder.

    with hosu.open("./lake") as lake:
        images = lake.create_bucket("images", exist_ok=True)
        images.put("raw/a.jpg", body, content_type="image/jpeg")
        first = images.get("raw/a.jpg", range=(0, 100))

Sizes and ranges are in bytes, times in milliseconds since 1970-01-01 UTC. Every error is a `HosuError` whose `kind` is
stable, but for those of a caller's own file or iterator, which come through as they are. What returns has happened:
durably, and all of it. A lake is safe to use from several threads; after a fork, open it anew.
"""

from hosu.identity.records import AccessKey, Group, NewKey, PolicyEntities, StoredPolicy, User
from hosu.kernel.fileio import Prefix
from hosu.lake.bucket import AliasHandle, Body, Bucket
from hosu.lake.info import ObjectInfo, ObjectSummary
from hosu.lake.opening import Lake, open_files, open_lake
from hosu.objects.aliases import Alias, Switch
from hosu.objects.feed import Event
from hosu.objects.records import Usage, Versioning
from hosu.objects.sweep import SweepReport

__all__ = [
    "AccessKey",
    "Alias",
    "AliasHandle",
    "Body",
    "Bucket",
    "Event",
    "Group",
    "Lake",
    "NewKey",
    "ObjectInfo",
    "ObjectSummary",
    "PolicyEntities",
    "Prefix",
    "StoredPolicy",
    "SweepReport",
    "Switch",
    "Usage",
    "User",
    "Versioning",
    "open_files",
    "open_lake",
]
