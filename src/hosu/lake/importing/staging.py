"""The bytes of a version on their way in: read once, hashed as they go by, safe before the record is written."""

from hosu.kernel.limits import MIB
from hosu.lake.importing.source import Source, SourceError, SourcePart, SourceVersion
from hosu.lake.importing.verifying import PartDigests, Running, check_version, running
from hosu.objects.blobs import StagedBlob
from hosu.objects.bodies import BodyWriter
from hosu.objects.encryption.modes import Encryption
from hosu.objects.importing import ImportedPart, ImportedVersion
from hosu.objects.records import Checksum, ChecksumType
from hosu.objects.store import ObjectStore

WHOLE = (SourcePart(1),)
"""The parts of a body whose store knows of none."""


def stage_version(store: ObjectStore, source: Source, bucket: str, key: str, listed: SourceVersion) -> ImportedVersion:
    """Read a version and return it ready to come in; nothing is left behind where that fails.

    Raises SourceError for what cannot be read and for bytes that are not those their ETag promises.
    """
    if listed.is_marker:
        return ImportedVersion(version_id=listed.version_id, modified_ms=listed.modified_ms, is_marker=True)
    version = source.describe(bucket, key, listed)
    if version.problem:
        raise SourceError(version.problem)
    staging = _Staging(store, store.encryption_of(bucket), version)
    try:
        for part in version.parts or WHOLE:
            staging.add(part, source, bucket, key)
        return staging.finish()
    except BaseException:
        staging.discard()
        raise


LARGE_BYTES_MIN = 16 * MIB
"""From this size a version may well be the last one that is under way: a second thread takes its MD5."""


class _Staging:
    """The parts of one version as they come; those of one that keeps no boundaries end up in one body."""

    def __init__(self, store: ObjectStore, encryption: Encryption | None, version: SourceVersion) -> None:
        self._store = store
        self._encryption = encryption
        self._version = version
        said = version.checksum
        self._of_parts = said is not None and version.is_in_parts and _has_part_values(version, said)
        self._whole = running(said.algorithm) if said and said.type != ChecksumType.COMPOSITE else None
        self._digests: list[PartDigests] = []
        self._staged: list[tuple[SourcePart, StagedBlob]] = []
        self._writer: BodyWriter | None = None
        self._size_bytes = 0

    def add(self, part: SourcePart, source: Source, bucket: str, key: str) -> None:
        """Read one part."""
        if self._writer is None:
            is_large = self._version.size_bytes >= LARGE_BYTES_MIN
            self._writer = BodyWriter(self._store, self._encryption, hashes_beside=is_large)
        of_part = self._running_part()
        part_bytes = 0
        for piece in source.read(bucket, key, self._version, part):
            self._writer.write(piece)
            part_bytes += len(piece)
            for digest in (self._whole, of_part):
                if digest is not None:
                    digest.update(piece)
        if part.size_bytes not in {-1, part_bytes}:
            raise SourceError(f"part {part.number} has {part_bytes} bytes, not {part.size_bytes}")
        self._size_bytes += part_bytes
        if self._version.is_in_parts:
            self._close(part, None if of_part is None else of_part.digest())

    def _running_part(self) -> Running | None:
        said = self._version.checksum
        return running(said.algorithm) if said is not None and self._of_parts else None

    def _close(self, part: SourcePart, checksum: bytes | None) -> None:
        assert self._writer is not None
        staged, md5 = self._writer.finish()
        self._writer = None
        self._staged.append((part, staged))
        self._digests.append(PartDigests(md5, checksum))

    def finish(self) -> ImportedVersion:
        """Check all of it, and return it."""
        version = self._version
        if not version.is_in_parts:
            self._close(WHOLE[0], None)
        if self._size_bytes != version.size_bytes:
            raise SourceError(f"it has {self._size_bytes} bytes, not {version.size_bytes}")
        check_version(version, self._digests, None if self._whole is None else self._whole.digest())
        parts = tuple(ImportedPart(part.number, body, part.checksum_value) for part, body in self._staged)
        return ImportedVersion(
            version_id=version.version_id,
            modified_ms=version.modified_ms,
            etag=version.etag,
            attributes=version.attributes,
            storage_class=version.storage_class,
            checksum=version.checksum,
            body=None if version.is_in_parts else self._staged[0][1],
            parts=parts if version.is_in_parts else (),
        )

    def discard(self) -> None:
        """Remove what was written."""
        if self._writer is not None:
            self._writer.abort()
        for _, staged in self._staged:
            self._store.discard(staged)


def _has_part_values(version: SourceVersion, said: Checksum) -> bool:
    return said.type == ChecksumType.COMPOSITE or any(part.checksum_value is not None for part in version.parts)
