"""Compressing stored bytes: what is staged here has been decoded again and compared before anybody refers to it."""

import hashlib
import time
from collections.abc import Callable

import msgspec
from blake3 import blake3

from hosu.kernel.errors import CorruptError, ErrorKind
from hosu.kernel.limits import KIB, MIB
from hosu.kernel.log import get_logger
from hosu.objects.blobs import BlobRow, BlobWriter, StagedBlob
from hosu.objects.bodies import StoredBody
from hosu.objects.coding import JXL, ZSTD
from hosu.objects.coding.blobs import decode_inline
from hosu.objects.coding.frames import FRAME_BYTES_MIN, FrameWriter, compress
from hosu.objects.encryption.modes import Encryption
from hosu.objects.records import BlobKind
from hosu.objects.store import ObjectStore

_LOG = get_logger("cold")

SHARE_MAX = 0.95
"""What does not shrink to this share of its bytes stays as it is."""

PAGE_BYTES = 4 * KIB
"""A small body is worth compressing when the database needs a page less for it."""

JPEG_START = b"\xff\xd8\xff"
"""What every JPEG file begins with, whatever its name."""

JPEG_BYTES_MAX = 16 * MIB
"""A picture is coded and decoded whole, so larger files are treated as any other."""

PICTURE_CPU_S_MAX = 4.0
"""A picture that takes longer to decode stays as it is: whoever reads it would pay that each time. Measured: usual ones
of 25 megapixels take half a second, and one of some kilobytes that is made of 2,000 scans takes half a minute."""

CHUNK_BYTES = MIB
PROBES = 16
"""Places at which a long body is looked at before all of it is read."""

PROBE_SHARE_MAX = 0.97


PictureCoder = Callable[[bytes], bytes | None]
"""Returns a JPEG file as JPEG XL, or None where it stays as it is."""


def stage_coded(
    store: ObjectStore,
    key: str,
    blob: BlobRow,
    encryption: Encryption | None,
    *,
    md5: str | None = None,
    code_picture: PictureCoder | None = None,
) -> StagedBlob | None:
    """Stage the bytes of a stored blob again, compressed, and encrypted as given; None when that is not worth it.

    Blocks for as long as reading, compressing and writing takes. Raises CorruptError when the blob's bytes are not
    what they were, or, with `md5` in hex, other than those. Whoever does not use what is staged discards it.
    """
    with StoredBody(store, key, blob) as body:
        if blob.kind == BlobKind.INLINE:
            return _stage_inline(store, body.read(0, blob.size_bytes), blob, encryption, md5)
        if blob.size_bytes <= JPEG_BYTES_MAX and body.read(0, len(JPEG_START)) == JPEG_START:
            plain = body.read(0, blob.size_bytes)
            staged = _write_picture(store, plain, encryption, code_picture)
            if staged is not None:
                return _checked(store, staged, blob, hashlib.md5(plain, usedforsecurity=False).hexdigest(), md5)
        if not _may_shrink(body, blob.size_bytes):
            return None
        digest = hashlib.md5(usedforsecurity=False)
        staged_frames = _write_frames(store, body, encryption, digest)
        return None if staged_frames is None else _checked(store, staged_frames, blob, digest.hexdigest(), md5)


def _is_worth(coded_bytes: int, size_bytes: int) -> bool:
    return coded_bytes <= SHARE_MAX * size_bytes


def _may_shrink(body: StoredBody, size_bytes: int) -> bool:
    """Whether samples of a long body shrink; a short one is just tried."""
    if size_bytes <= 2 * PROBES * FRAME_BYTES_MIN:
        return True
    step = (size_bytes - FRAME_BYTES_MIN) // (PROBES - 1)
    samples = (body.read(at, at + FRAME_BYTES_MIN) for at in range(0, step * PROBES, step))
    return sum(len(compress(sample)) for sample in samples) <= PROBE_SHARE_MAX * PROBES * FRAME_BYTES_MIN


def _stage_inline(
    store: ObjectStore, plain: bytes, blob: BlobRow, encryption: Encryption | None, md5: str | None
) -> StagedBlob | None:
    coded = compress(plain)
    if not _is_worth(len(coded), len(plain)) or len(plain) // PAGE_BYTES == len(coded) // PAGE_BYTES:
        return None
    staged = _of_plain(store.stage(coded, encryption), ZSTD, len(plain), blake3(plain).digest())
    _compare(blob, staged, hashlib.md5(plain, usedforsecurity=False).hexdigest(), md5)
    try:
        comes_back = decode_inline(_row_of(store, staged), coded) == plain
    except CorruptError:
        comes_back = False
    if comes_back:
        return staged
    _tell_unused(blob, staged)
    return None


def _write_picture(
    store: ObjectStore, plain: bytes, encryption: Encryption | None, code_picture: PictureCoder | None
) -> StagedBlob | None:
    picture = (code_picture or _code_here)(plain)
    if picture is None or not _is_worth(len(picture), len(plain)):
        return None
    with store.new_blob(encryption) as writer:
        writer.write(picture)
        return _finish(store, writer, JXL, len(plain), blake3(plain).digest())


def _code_here(plain: bytes) -> bytes | None:
    from hosu.objects.coding.jpeg import to_jxl  # noqa: PLC0415 - its library is large

    return to_jxl(plain)


def _write_frames(
    store: ObjectStore, body: StoredBody, encryption: Encryption | None, digest: "hashlib._Hash"
) -> StagedBlob | None:
    size_bytes, plain_hash = body.size_bytes, blake3()
    with store.new_blob(encryption) as writer:
        frames = FrameWriter(size_bytes, writer.write)
        for data in body.chunks(0, size_bytes, CHUNK_BYTES):
            digest.update(data)
            plain_hash.update(data)
            frames.write(data)
            if not _is_worth(frames.coded_bytes, size_bytes):
                return None
        frames.finish()
        if not _is_worth(frames.coded_bytes, size_bytes):
            return None
        return _finish(store, writer, ZSTD, size_bytes, plain_hash.digest())


def _finish(store: ObjectStore, writer: BlobWriter, coding: str, size_bytes: int, plain_hash: bytes) -> StagedBlob:
    staged = _of_plain(writer.finish(), coding, size_bytes, plain_hash)
    store.check_twin(staged)
    return staged


def _of_plain(staged: StagedBlob, coding: str, size_bytes: int, plain_hash: bytes) -> StagedBlob:
    return msgspec.structs.replace(
        staged, coding=coding, size_bytes=size_bytes, coded_bytes=staged.size_bytes, plain_hash=plain_hash
    )


def _row_of(store: ObjectStore, staged: StagedBlob) -> BlobRow:
    return BlobRow(
        id=staged.id,
        kind=staged.kind,
        is_corrupt=0,
        size_bytes=staged.size_bytes,
        digest=staged.digest,
        verified_ms=store.clock.now_ms(),
        inode=staged.inode,
        ctime_ns=staged.ctime_ns,
        coding=staged.coding,
        coded_bytes=staged.coded_bytes,
        plain_hash=staged.plain_hash,
        sealed=staged.sealed,
        body=staged.body,
    )


def _checked(
    store: ObjectStore, staged: StagedBlob, blob: BlobRow, found_md5: str, md5: str | None
) -> StagedBlob | None:
    """Decode what was written from its file, and return it if it stands for the blob's own bytes."""
    try:
        _compare(blob, staged, found_md5, md5)
        began_s = time.thread_time()
        is_right = _comes_back(store, staged)
        is_quick = staged.coding != JXL or time.thread_time() - began_s <= PICTURE_CPU_S_MAX
        if is_right and is_quick:
            return staged
    except BaseException:
        store.discard(staged)
        raise
    store.discard(staged)
    if is_right:
        _LOG.warning("a picture takes too long to decode, and stays as it is", blob_id=blob.id)
    else:
        _tell_unused(blob, staged)
    return None


def _comes_back(store: ObjectStore, staged: StagedBlob) -> bool:
    plain_hash = blake3()
    opened = store.open_file(_row_of(store, staged))
    try:
        for start in range(0, staged.size_bytes, CHUNK_BYTES):
            plain_hash.update(opened.read(start, min(CHUNK_BYTES, staged.size_bytes - start)))
    except CorruptError:
        return False
    finally:
        opened.close()
        store.pictures.drop(staged.id)
    return plain_hash.digest() == staged.plain_hash


def _tell_unused(blob: BlobRow, staged: StagedBlob) -> None:
    """Tell that a codec has erred: the bytes are sound, and stay as they are."""
    _LOG.warning("compressed bytes came back otherwise, and are not used", blob_id=blob.id, coding=staged.coding)


def _compare(blob: BlobRow, staged: StagedBlob, found_md5: str, md5: str | None) -> None:
    """Refuse bytes that are not those of the blob's hash, or, where that is not of plain bytes, of the object's ETag.

    An ETag that came with an import may tell nothing of the bytes.
    """
    is_plain = blob.sealed is None and blob.coding is None
    if staged.plain_hash != blob.digest if is_plain else md5 is not None and found_md5 != md5:
        raise CorruptError(
            ErrorKind.CORRUPT_BLOB, f"blob {blob.id} does not hold the bytes of its object", blob_id=blob.id
        )
