"""The built-in key service: named keys, kept in the lake, each wrapped by the lake key.

A named key is 32 random bytes under a name and a version. Its newest version seals; the older ones still open what they
sealed. Without a lake key from outside, one is made at first need and kept in `meta/lake.key`: it keeps secrets out of
copies of the database alone, so credentials are sealed under it, but objects are not.
"""

import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

import msgspec

from hosu.kernel.errors import (
    ConflictError,
    CorruptError,
    ErrorKind,
    InvalidInputError,
    NotFoundError,
    UnsupportedError,
)
from hosu.kernel.lakekey import LakeKey
from hosu.kernel.sealing import derive, new_key, seal, unseal
from hosu.objects.encryption.lakekeys import HeldKey, key_context, load_inside_key, make_inside_key
from hosu.objects.encryption.modes import Encryption
from hosu.objects.encryption.names import OWN_PREFIX, check_key_name
from hosu.objects.encryption.sealing import (
    DATA_KEY_CONTEXT,
    BlobSeal,
    decode_seal,
    encode_seal,
    open_customer_key,
)
from hosu.objects.generation import Generation
from hosu.objects.records import EncryptionFacts, EncryptionMode
from hosu.objects.views import View

if TYPE_CHECKING:  # at run time transactions know of blobs, and blobs of keys
    from hosu.objects.transaction import Tx

T = TypeVar("T")

DEFAULT_KEY = f"{OWN_PREFIX}default"
"""Named key of SSE-S3, and of SSE-KMS without a key id, where the lake key brings no name of its own."""

SEAL_FORMAT = 1
VERSION_BYTES = 4
HEAD_BYTES = 1 + VERSION_BYTES


class NamedKey(msgspec.Struct, frozen=True):
    """What may be known of a named key: `version` is its newest, of `rotated_ms`; the first is of `created_ms`."""

    name: str
    version: int
    created_ms: int
    rotated_ms: int


class BlobKey(msgspec.Struct, frozen=True):
    """A new blob's own key; `sealed` opens it again. Without `content_key` the blob is never one with another."""

    data_key: bytes
    sealed: bytes
    content_key: bytes | None
    facts: EncryptionFacts

    def __repr__(self) -> str:
        return f"BlobKey({self.facts!r})"

    def __rich_repr__(self) -> Iterator[tuple[str, object]]:  # type: ignore[override]
        yield "facts", self.facts


class KeyService:
    """The named keys of an open lake. Safe to use from several threads, and from within a transaction."""

    def __init__(
        self,
        held: HeldKey,
        *,
        view: Callable[[], View],
        commit: "Callable[[Callable[[Tx], object]], object]",
        transaction: "Callable[[], Tx | None]",
        generation: Generation,
    ) -> None:
        self._held = held
        self._view = view
        self._commit = commit
        self._transaction = transaction
        self._generation = generation
        self._keys: dict[tuple[str, int], bytes] = {}
        self._content_keys: dict[tuple[str, int], bytes] = {}
        self._newest: dict[str, int] = {}
        self._newest_at = -1
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"KeyService(is_outside={self.is_outside})"

    @property
    def is_outside(self) -> bool:
        """Whether the lake key comes from outside of the data folder, so that objects may be encrypted."""
        return self._held.is_outside

    @property
    def fingerprint(self) -> str:
        """The lake key's fingerprint; empty while there is none."""
        return "" if self._held.key is None else self._held.key.fingerprint

    @property
    def default_key(self) -> str:
        """Name of the key that encrypts objects where nobody names one."""
        return (self._held.key.key_name if self._held.key is not None else "") or DEFAULT_KEY

    def require_outside(self) -> None:
        """Refuse to encrypt objects where their key would lie beside them."""
        if not self.is_outside:
            raise UnsupportedError(
                ErrorKind.KEY_NOT_CONFIGURED,
                "this lake has no key to encrypt objects with: set HOSU_LAKE_KEY, lake_key_file or lake_key_command",
            )

    # Sealing

    def seal(self, key_name: str, plaintext: bytes, context: bytes) -> bytes:
        """Encrypt under the newest version of a named key, which the result names.

        The lake's own keys, whose names begin with `hosu-`, are made at first need; raises NotFoundError
        NAMED_KEY_NOT_FOUND for any other that does not exist.
        """
        version, key = self.newest(key_name)
        return self._seal(key_name, version, key, plaintext, context)

    def unseal(self, key_name: str, sealed: bytes, context: bytes) -> bytes:
        """Return what was sealed. Raises CorruptError when it, its key or its context is not what it was."""
        version = sealed_version(sealed)
        return unseal(self._key(key_name, version), sealed[HEAD_BYTES:], key_context(key_name, version) + context)

    def newest(self, name: str) -> tuple[int, bytes]:
        """Return number and bytes of a key's newest version."""
        transaction = self._transaction()
        version = self._newest_version(transaction or self._view(), name)
        if version:
            return version, self._key(name, version)
        if not name.startswith(OWN_PREFIX) and name != self.default_key:
            raise _not_found(name)

        def make(tx: "Tx") -> tuple[int, bytes]:
            found = tx.value("SELECT max(version) FROM named_key WHERE name = ?", (name,))
            return (found, self._read(tx, name, found)) if found else (1, self._add(tx, name, 1))

        return self._write(make)

    # Keys of blobs

    def new_blob_key(self, encryption: Encryption) -> BlobKey:
        """Return the key of a new blob.

        Raises UnsupportedError KEY_NOT_CONFIGURED without a lake key from outside, NotFoundError NAMED_KEY_NOT_FOUND.
        """
        data_key, facts = new_key(), self._facts(encryption)
        if encryption.mode == EncryptionMode.SSE_C:
            wrapped = seal(encryption.customer_key, data_key, DATA_KEY_CONTEXT)
            return BlobKey(data_key, encode_seal(BlobSeal("", wrapped)), None, facts)
        name = facts.key_name
        version, key = self.newest(name)
        wrapped = self._seal(name, version, key, data_key, DATA_KEY_CONTEXT)
        return BlobKey(data_key, encode_seal(BlobSeal(name, wrapped)), self._content_key(name, version, key), facts)

    def facts_of(self, encryption: Encryption | None) -> EncryptionFacts | None:
        """Return what the record of an object says that is encrypted so; raises as `new_blob_key`."""
        if encryption is None:
            return None
        facts = self._facts(encryption)
        if facts.key_name:
            self.check_exists(facts.key_name)
        return facts

    def _facts(self, encryption: Encryption) -> EncryptionFacts:
        if encryption.mode == EncryptionMode.SSE_C:
            return EncryptionFacts(encryption.mode, customer_key_md5=encryption.customer_key_md5)
        self.require_outside()
        name = encryption.key_name or self.default_key
        return EncryptionFacts(encryption.mode, name, context=encryption.context, bucket_key=encryption.bucket_key)

    def data_key(self, sealed: bytes, blob_id: int, customer_key: bytes = b"") -> bytes:
        """Return the key of a stored blob.

        Raises InvalidInputError CUSTOMER_KEY_REQUIRED or CUSTOMER_KEY_WRONG, CorruptError.
        """
        found = decode_seal(sealed, blob_id)
        if not found.key_name:
            return open_customer_key(found, customer_key)
        return self.unseal(found.key_name, found.wrapped, DATA_KEY_CONTEXT)

    @staticmethod
    def opens(sealed: bytes | None, blob_id: int) -> bool:
        """Whether a stored blob is encrypted under a key of the lake's."""
        return sealed is not None and bool(decode_seal(sealed, blob_id).key_name)

    def _content_key(self, name: str, version: int, key: bytes) -> bytes:
        """Return what the contents of blobs are hashed with: equal hashes tell of equal bytes under one key only."""
        found = self._content_keys.get((name, version))
        if found is None:
            found = derive(key, "hosu: content hash of sealed blobs")
            if self._transaction() is None:
                self._content_keys[name, version] = found
        return found

    # Named keys

    def create_key(self, name: str) -> NamedKey:
        """Make a named key. Raises ConflictError NAMED_KEY_EXISTS, InvalidInputError NAMED_KEY_INVALID."""
        check_key_name(name)
        if name.startswith(OWN_PREFIX):
            raise InvalidInputError(
                ErrorKind.NAMED_KEY_INVALID,
                f"key name {name!r} is not allowed: names that begin with {OWN_PREFIX!r} are the lake's own",
            )

        def make(tx: "Tx") -> NamedKey:
            if tx.value("SELECT 1 FROM named_key WHERE name = ?", (name,)):
                raise ConflictError(ErrorKind.NAMED_KEY_EXISTS, f"key {name!r} exists already", key_name=name)
            self._add(tx, name, 1)
            return NamedKey(name, 1, tx.now_ms, tx.now_ms)

        return self._write(make)

    def rotate_key(self, name: str) -> NamedKey:
        """Add a new version to a named key: it seals what is sealed from now on, the older ones go on opening."""

        def rotate(tx: "Tx") -> NamedKey:
            found = describe(tx, name)
            self._add(tx, name, found.version + 1)
            return NamedKey(name, found.version + 1, found.created_ms, tx.now_ms)

        return self._write(rotate)

    def key_names(self) -> list[str]:
        """Return the names of all keys, in order."""
        return [row[0] for row in self._reading().rows("SELECT DISTINCT name FROM named_key ORDER BY name")]

    def describe(self, name: str) -> NamedKey:
        """Return what may be known of a key; raises NotFoundError NAMED_KEY_NOT_FOUND."""
        return describe(self._reading(), name)

    def check_exists(self, name: str) -> None:
        """Refuse a key that cannot seal: one that does not exist and is not made at first need."""
        is_known = self._newest_version(self._reading(), name) or name.startswith(OWN_PREFIX)
        if not is_known and name != self.default_key:
            raise _not_found(name)

    # Inside

    @staticmethod
    def _seal(name: str, version: int, key: bytes, plaintext: bytes, context: bytes) -> bytes:
        head = bytes([SEAL_FORMAT]) + version.to_bytes(VERSION_BYTES, "big")
        return head + seal(key, plaintext, key_context(name, version) + context)

    def _reading(self) -> View:
        return self._transaction() or self._view()

    def _write(self, operation: "Callable[[Tx], T]") -> T:
        transaction = self._transaction()
        return self._commit(operation) if transaction is None else operation(transaction)  # type: ignore[return-value]

    def _newest_version(self, view: View, name: str) -> int:
        """Return the number of a key's newest version, 0 where there is none."""
        generation = self._generation.number()
        with self._lock:
            if generation != self._newest_at:
                self._newest.clear()
                self._newest_at = generation
            version = self._newest.get(name)
        if version is not None:
            return version
        version = view.value("SELECT max(version) FROM named_key WHERE name = ?", (name,)) or 0
        # What a transaction has added may still be taken back.
        if version and self._transaction() is None:
            with self._lock:
                if self._newest_at == generation:
                    self._newest[name] = version
        return version

    def _key(self, name: str, version: int) -> bytes:
        key = self._keys.get((name, version))
        if key is None:
            key = self._read(self._reading(), name, version)
            if self._transaction() is None:
                self._keys[name, version] = key
        return key

    def _read(self, view: View, name: str, version: int) -> bytes:
        row = view.row("SELECT wrapped, lake_key FROM named_key WHERE name = ? AND version = ?", (name, version))
        if row is None:
            raise NotFoundError(
                ErrorKind.NAMED_KEY_NOT_FOUND, f"there is no version {version} of key {name!r}", key_name=name
            )
        return self._lake_key(row[1]).unwrap(row[0], key_context(name, version))

    def _lake_key(self, fingerprint: str) -> LakeKey:
        """Return the lake key that named keys are wrapped by."""
        held = self._held
        if not held.is_outside and (held.key is None or held.key.fingerprint != fingerprint):
            held.key = load_inside_key(held.folder)  # another process has made it
        if held.key is None or held.key.fingerprint != fingerprint:
            raise ConflictError(
                ErrorKind.LAKE_KEY_WRONG, "the lake key was changed while the lake was open: open the lake again"
            )
        return held.key

    def _add(self, tx: "Tx", name: str, version: int) -> bytes:
        wrapped_by = tx.value("SELECT lake_key FROM named_key LIMIT 1")
        if wrapped_by is not None:
            lake_key = self._lake_key(wrapped_by)
        elif self._held.is_outside and self._held.key is not None:
            lake_key = self._held.key
        else:  # also where one was made before: nothing was wrapped by it, so another process may have removed it
            lake_key = self._held.key = make_inside_key(self._held.disk, self._held.folder)
        key = new_key()
        tx.run(
            "INSERT INTO named_key VALUES (?, ?, ?, ?, ?)",
            (name, version, lake_key.wrap(key, key_context(name, version)), lake_key.fingerprint, tx.now_ms),
        )
        tx.change_access()
        return key


def describe(view: View, name: str) -> NamedKey:
    """Return what may be known of a key; raises NotFoundError NAMED_KEY_NOT_FOUND."""
    row = view.row("SELECT max(version), min(created_ms), max(created_ms) FROM named_key WHERE name = ?", (name,))
    if row is None or row[0] is None:
        raise _not_found(name)
    return NamedKey(name, *row)


def sealed_version(sealed: bytes) -> int:
    """Return the number of the version that something was sealed under."""
    if len(sealed) < HEAD_BYTES or sealed[0] != SEAL_FORMAT:
        raise CorruptError(ErrorKind.CORRUPT_LAKE, "what was sealed has no format that this hosu knows")
    return int.from_bytes(sealed[1:HEAD_BYTES], "big")


def _not_found(name: str) -> NotFoundError:
    return NotFoundError(
        ErrorKind.NAMED_KEY_NOT_FOUND, f"there is no key {name!r}: create it, or name another", key_name=name
    )
