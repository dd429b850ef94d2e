"""What the engine hands out and takes: plain values without behaviour."""

from enum import IntEnum, StrEnum

import msgspec

NULL_VERSION = "null"
"""Version id of an object written while versioning was off."""

STANDARD = "STANDARD"
COLD = "COLD"
"""Class of objects that are stored compressed where that saves enough."""

WARM_CLASSES = frozenset({STANDARD, "REDUCED_REDUNDANCY"})


def is_cold(storage_class: str) -> bool:
    """Whether a class asks for little room: COLD, and all that settings have as other names of it."""
    return storage_class not in WARM_CLASSES


class Versioning(IntEnum):
    """State of a bucket's versions; once on, it can only be suspended."""

    NEVER = 0
    ENABLED = 1
    SUSPENDED = 2


class BlobKind(IntEnum):
    """Where the bytes of a blob are."""

    INLINE = 0
    FILE = 1
    COMPOSED = 2


class ChecksumType(StrEnum):
    """Whether a checksum covers the object's bytes or the checksums of its parts."""

    FULL_OBJECT = "FULL_OBJECT"
    COMPOSITE = "COMPOSITE"


class Checksum(msgspec.Struct, frozen=True):
    """A checksum as S3 speaks of it: algorithm name in capitals, value in base64 (with `-parts` when composite)."""

    algorithm: str
    type: str
    value: str


class Grant(msgspec.Struct, frozen=True, array_like=True):
    """One line of an ACL: a permission of S3's for a user (empty for root), or for a group of S3's."""

    kind: str
    """`user` or `group`."""

    name: str
    permission: str


class Acl(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who an object or bucket belongs to (a user; empty for root), and whom its ACL lets in."""

    owner: str = ""
    grants: tuple[Grant, ...] = ()


class EncryptionMode(StrEnum):
    """Who holds the key of an encrypted object: the lake, the lake under a name of the client's, or the client."""

    SSE_S3 = "AES256"
    SSE_KMS = "aws:kms"
    SSE_C = "customer"


class EncryptionFacts(msgspec.Struct, frozen=True, omit_defaults=True):
    """How an object is encrypted. `customer_key_md5` is in base64, only with SSE_C, and names the key."""

    mode: EncryptionMode
    key_name: str = ""
    customer_key_md5: str = ""
    context: str = ""
    bucket_key: bool = False


class LockMode(StrEnum):
    """Who may remove a version before its time: those who may bypass that, or nobody."""

    GOVERNANCE = "GOVERNANCE"
    COMPLIANCE = "COMPLIANCE"


class ObjectLock(msgspec.Struct, frozen=True, omit_defaults=True):
    """How one version is kept from being removed: in a mode until a time, by a legal hold, or by both."""

    mode: LockMode | None = None
    retain_until_ms: int = 0
    legal_hold: str = ""
    """`ON`, `OFF`, or empty where nobody has said either."""


class Attributes(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a client attached to an object. Header names are lower case; metadata names lack the `x-amz-meta-`.

    All values are text. `latin_1` names the headers (metadata with its `x-amz-meta-`) whose values came as Latin-1
    instead of UTF-8: they go out again as the bytes they came in. `encryption` is set by the engine.
    """

    headers: dict[str, str] = {}
    metadata: dict[str, str] = {}
    tags: dict[str, str] = {}
    latin_1: tuple[str, ...] = ()
    encryption: EncryptionFacts | None = None

    acl: Acl | None = None
    """None for an object that belongs to its bucket's owner alone."""

    lock: ObjectLock | None = None
    """Only where the bucket's versions can be locked."""


class Usage(msgspec.Struct, frozen=True):
    """What a bucket holds, exact at the moment of reading.

    `version_*` leave out current objects; `part_bytes` are those of uploads in progress.
    """

    object_count: int
    object_bytes: int
    version_count: int
    version_bytes: int
    marker_count: int
    part_bytes: int = 0

    @property
    def held_bytes(self) -> int:
        """All bytes that count towards a quota: objects, old versions, and parts of uploads in progress."""
        return self.object_bytes + self.version_bytes + self.part_bytes


class Bucket(msgspec.Struct, frozen=True):
    """A bucket's own record."""

    id: int
    name: str
    created_ms: int
    region: str
    versioning: Versioning
    alias_count: int
    usage: Usage
    quota_bytes: int = 0
    """Most bytes the bucket may hold; 0 is no limit."""

    owner: str = ""
    """The user who made it; empty for root."""

    lock: str = ""
    """Object lock as JSON; empty where versions cannot be locked."""

    protected: int = 0
    """How many of its prefixes are protected."""


class ObjectRecord(msgspec.Struct, frozen=True, gc=False):
    """Metadata of one version of one object. `key` is the key that was asked for, also behind an alias."""

    key: str
    seq: int
    version_id: str
    size_bytes: int
    etag: str
    modified_ms: int
    blob_id: int | None
    storage_class: str
    checksum_algorithm: str | None
    checksum_type: str | None
    checksum_value: str | None
    part_count: int
    attributes_json: str
    is_marker: bool = False
    is_latest: bool = True

    @property
    def attributes(self) -> Attributes:
        """Content headers, user metadata and tags."""
        return decode_attributes(self.attributes_json)

    @property
    def checksum(self) -> Checksum | None:
        """The checksum stored with the object, if any."""
        if self.checksum_algorithm is None:
            return None
        return Checksum(self.checksum_algorithm, self.checksum_type or "", self.checksum_value or "")


class Conditions(msgspec.Struct, frozen=True):
    """Conditions on the current object that a write must meet. ETags without quotes; `*` is any object.

    `modified_s` and `size_bytes` are conditions of deletes only, on the object's time in whole seconds and its size.
    """

    if_match: str | None = None
    if_none_match: str | None = None
    modified_s: int | None = None
    size_bytes: int | None = None


NO_CONDITIONS = Conditions()

_encode = msgspec.json.Encoder(order="deterministic").encode
_decode = msgspec.json.Decoder(Attributes).decode


def encode_attributes(attributes: Attributes) -> str:
    """Return the stored form of attributes."""
    return _encode(attributes).decode()


def decode_attributes(text: str) -> Attributes:
    """Return the attributes of a stored record."""
    return _decode(text)
