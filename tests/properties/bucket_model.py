"""A bucket as a dict of lists: what the engine must answer like, in its simplest form."""

import hashlib
from dataclasses import dataclass, field

from hosu.objects.records import NULL_VERSION, LockMode, Versioning

Group = tuple[str, bool]
"""A line of a grouped listing: a key, or a common prefix (True)."""


def md5(body: bytes) -> str:
    return hashlib.md5(body).hexdigest()


@dataclass
class ModelVersion:
    """One version of a key; a marker has no body."""

    id: str
    body: bytes | None
    etag: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    mode: LockMode | None = None
    until_ms: int = 0
    is_held: bool = False

    def is_locked(self, now_ms: int, *, bypass: bool = False) -> bool:
        is_kept = self.until_ms > now_ms and self.mode is not None
        return self.is_held or (is_kept and not (bypass and self.mode is LockMode.GOVERNANCE))


@dataclass
class ModelUpload:
    """An upload in progress."""

    key: str
    parts: dict[int, bytes] = field(default_factory=dict)


@dataclass
class ModelBucket:
    """All versions of every key, the newest first."""

    versioning: Versioning = Versioning.NEVER
    keys: dict[str, list[ModelVersion]] = field(default_factory=dict)
    uploads: dict[str, ModelUpload] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    is_lockable: bool = False
    protected: set[str] = field(default_factory=set)

    def is_protected(self, key: str) -> bool:
        shown = {target for prefix, target in self.aliases.items() if prefix.startswith(tuple(self.protected))}
        return key.startswith((*self.protected, *shown))

    def resolve(self, key: str) -> str:
        for prefix, target in self.aliases.items():
            if key.startswith(prefix):
                return target + key[len(prefix) :]
        return key

    def is_below_alias(self, key: str) -> bool:
        return any(key.startswith(prefix) for prefix in self.aliases)

    def current(self, key: str) -> ModelVersion | None:
        versions = self.keys.get(self.resolve(key), [])
        return versions[0] if versions and versions[0].body is not None else None

    def add(self, key: str, version: ModelVersion) -> None:
        """Put a version or a marker on top, as the state of versioning says."""
        versions = self.keys.setdefault(key, [])
        if self.versioning != Versioning.ENABLED:
            versions[:] = [it for it in versions if it.id != NULL_VERSION]
        versions.insert(0, version)

    def delete(self, key: str, marker_id: str | None) -> None:
        if self.versioning == Versioning.NEVER:
            self.keys.pop(key, None)
        else:
            assert marker_id is not None
            self.add(key, ModelVersion(marker_id, None))

    def delete_version(self, key: str, version_id: str) -> None:
        rest = [it for it in self.keys.get(key, []) if it.id != version_id]
        self.keys[key] = rest
        if not rest:
            del self.keys[key]

    def visible(self) -> dict[str, ModelVersion]:
        """Return the current objects by the key they are seen under, aliases included, in UTF-8 order."""
        found = {}
        for key, versions in self.keys.items():
            if versions[0].body is None:
                continue
            found[key] = versions[0]
            for prefix, target in self.aliases.items():
                if key.startswith(target):
                    found[prefix + key[len(target) :]] = versions[0]
        return {key: found[key] for key in sorted(found, key=str.encode)}


def group(keys: list[str], prefix: str, delimiter: str) -> list[Group]:
    """Return the lines of a listing without pages."""
    lines: list[Group] = []
    for key in keys:
        if not key.startswith(prefix):
            continue
        place = key.find(delimiter, len(prefix)) if delimiter else -1
        line = (key, False) if place < 0 else (key[: place + len(delimiter)], True)
        if not line[1] or line not in lines:
            lines.append(line)
    return lines
