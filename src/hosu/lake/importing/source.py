"""What a store to import from looks like, wherever it is: buckets, keys with their versions, accounts."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import msgspec

from hosu.objects.records import STANDARD, Attributes, Checksum, Versioning


class SourceError(Exception):
    """Something of the source cannot be read, or not moved. The message says what and why, and names no secret."""


class SourcePart(msgspec.Struct, frozen=True):
    """A part of a body. `size_bytes` is -1 where only reading tells; `checksum_value` is in base64."""

    number: int
    size_bytes: int = -1
    checksum_value: str | None = None


class SourceVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a key. `problem` says why it cannot be moved; `place` is for the source alone.

    `attributes`, `checksum` and `parts` may come only with `Source.describe`.
    """

    version_id: str
    modified_ms: int
    is_marker: bool = False
    size_bytes: int = 0
    etag: str = ""
    storage_class: str = STANDARD
    attributes: Attributes = Attributes()
    checksum: Checksum | None = None
    parts: tuple[SourcePart, ...] = ()
    place: object = None
    problem: str = ""
    has_opaque_etag: bool = False
    """Whether its ETag tells nothing of its bytes, as those that a KMS key encrypts have it."""

    @property
    def is_in_parts(self) -> bool:
        """Whether its ETag is made of those of parts, whose boundaries are kept then."""
        return "-" in self.etag


class SourceKey(msgspec.Struct, frozen=True):
    """A key and its versions, the oldest first. `problem` says why nothing of it can be read."""

    key: str
    versions: tuple[SourceVersion, ...] = ()
    problem: str = ""


class SourceBucket(msgspec.Struct, frozen=True, kw_only=True):
    """A bucket and what is set on it: `documents` by kind, as S3 has them (XML or JSON). Versions come by `keys`."""

    name: str
    versioning: Versioning = Versioning.NEVER
    quota_bytes: int = 0
    documents: dict[str, str] = {}
    problems: tuple[str, ...] = ()
    """What of its settings cannot be read or moved, and why."""

    notes: tuple[str, ...] = ()
    """What else is worth knowing; nothing of it is missing afterwards."""


class SourceUser(msgspec.Struct, frozen=True):
    """A user. `policies` are names."""

    name: str
    secret: str
    is_enabled: bool = True
    policies: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<SourceUser {self.name}>"


class SourceGroup(msgspec.Struct, frozen=True):
    """A group of users."""

    name: str
    members: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    is_enabled: bool = True


class SourceServiceKey(msgspec.Struct, frozen=True, kw_only=True):
    """An access key that borrows the rights of a user; `policy` cuts them, empty for none."""

    access_key: str
    secret: str
    parent: str
    policy: str = ""
    name: str = ""
    description: str = ""
    is_enabled: bool = True
    expires_ms: int = 0

    def __repr__(self) -> str:
        return f"<SourceServiceKey {self.access_key}>"


class SourceAccounts(msgspec.Struct, frozen=True, kw_only=True):
    """Who may do what in the source. `problems` are (kind, name, reason) of what cannot be read."""

    root: str = ""
    """The name of the source's root, where it is known: its keys become keys of the lake's root."""

    policies: dict[str, str] = {}
    users: tuple[SourceUser, ...] = ()
    groups: tuple[SourceGroup, ...] = ()
    keys: tuple[SourceServiceKey, ...] = ()
    problems: tuple[tuple[str, str, str], ...] = ()

    def __repr__(self) -> str:
        return "<SourceAccounts>"


class Source(Protocol):
    """A store to import from; safe for threads. Whatever it cannot read it says in `problem`s or by SourceError."""

    @property
    def identity(self) -> str:
        """What tells this store from every other, the same each time."""
        ...

    def buckets(self) -> Sequence[SourceBucket]:
        """Return all buckets by name."""
        ...

    def keys(self, bucket: str, prefix: str) -> Iterator[SourceKey]:
        """Yield the keys below a prefix, in the source's order."""
        ...

    def describe(self, bucket: str, key: str, version: SourceVersion) -> SourceVersion:
        """Return a version with everything but its bytes."""
        ...

    def read(self, bucket: str, key: str, version: SourceVersion, part: SourcePart) -> Iterator[memoryview | bytes]:
        """Yield the bytes of a part, or of a body that has none under number 1."""
        ...

    def accounts(self) -> SourceAccounts:
        """Return users, groups, policies and keys."""
        ...

    def notes(self) -> Sequence[str]:
        """Return what else is there, stays there, and is missed by nobody."""
        ...
