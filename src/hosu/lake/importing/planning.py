"""What an import is to bring: which buckets, which keys at once, which versions of a key."""

import os
from collections.abc import Iterator, Sequence

import msgspec

from hosu.kernel.errors import ErrorKind, InvalidInputError, NotFoundError
from hosu.kernel.limits import MIB
from hosu.lake.importing.report import State
from hosu.lake.importing.source import Source, SourceBucket, SourceKey, SourceVersion
from hosu.objects.importing import HeldVersion
from hosu.objects.records import NULL_VERSION, Bucket
from hosu.objects.views import View

BATCH_VERSIONS_MAX = 256
"""Bounds how long a transaction holds the writer."""

BATCH_BYTES_MAX = 4 * MIB
"""Bounds what one thread has read before its records are written."""

JOBS_DEFAULT = min(16, max(4, 2 * (os.cpu_count() or 2)))
"""Threads wait for the disk more than they compute."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What to import, and how. No `buckets` are all of them."""

    buckets: tuple[str, ...] = ()
    prefix: str = ""
    dry_run: bool = False
    into_existing: bool = False
    replace_older: bool = False
    """Whether an object without versions gives way to one of the source's that is newer than it."""

    with_accounts: bool = True
    source_root: str = ""
    """Root of the source, where it does not tell: keys of root's become keys of the lake's root."""

    jobs: int = JOBS_DEFAULT


def chosen_buckets(source: Source, options: Options) -> list[SourceBucket]:
    """Return the buckets that are asked for; raises InvalidInputError for one that the source lacks."""
    found = list(source.buckets())
    missing = sorted(set(options.buckets) - {bucket.name for bucket in found})
    if missing:
        raise InvalidInputError(
            ErrorKind.BUCKET_NOT_FOUND,
            f"the source has no bucket {missing[0]!r}: it has {', '.join(it.name for it in found) or 'none'}",
        )
    return [bucket for bucket in found if not options.buckets or bucket.name in options.buckets]


def batches(keys: Iterator[SourceKey]) -> Iterator[list[SourceKey]]:
    """Yield keys in runs that one thread moves at once."""
    batch: list[SourceKey] = []
    count = size_bytes = 0
    for key in keys:
        batch.append(key)
        count += len(key.versions)
        size_bytes += sum(version.size_bytes for version in key.versions)
        if count >= BATCH_VERSIONS_MAX or size_bytes >= BATCH_BYTES_MAX:
            yield batch
            batch, count, size_bytes = [], 0, 0
    if batch:
        yield batch


def replaces_null(key: SourceKey, held: Sequence[HeldVersion], options: Options) -> bool:
    """Whether the lake's only version of a key, called null, gives way to the source's only one."""
    if not options.replace_older or len(held) != 1 or len(key.versions) != 1:
        return False
    (there,), (version,) = held, key.versions
    is_null = there.version_id == version.version_id == NULL_VERSION and not there.is_marker and not version.is_marker
    return is_null and not _is_same(there, version) and version.modified_ms > there.modified_ms


def plan_key(
    key: SourceKey, held: Sequence[HeldVersion], options: Options
) -> Iterator[tuple[SourceVersion, State, str]]:
    """Yield what is to become of each version, the oldest first, beside those that the lake holds; and why, if not."""
    if replaces_null(key, held, options):
        yield key.versions[0], State.MOVED, ""
        return
    order = {version.version_id: index for index, version in enumerate(key.versions)}
    top = max((order.get(version.version_id, len(order)) for version in held), default=-1)
    by_id = {version.version_id: version for version in held}
    for index, version in enumerate(key.versions):
        there = by_id.get(version.version_id)
        if there is not None and _is_same(there, version):
            yield version, State.PRESENT, ""
        elif there is not None:
            yield version, State.REFUSED, f"the lake has another {version.version_id!r} there: remove it, or keep it"
        elif index < top:
            reason = "the lake has newer versions of it: remove the key from the lake, and run the import again"
            yield version, State.REFUSED, reason
        else:
            yield version, State.MOVED, ""


def _is_same(held: HeldVersion, version: SourceVersion) -> bool:
    """Whether a version is there already. Of those called `null` one after the other may have had the same bytes.

    What clients attached to the later one may differ.
    """
    if version.version_id == NULL_VERSION and version.modified_ms > held.modified_ms:
        return False
    if held.is_marker or version.is_marker:
        return held.is_marker == version.is_marker
    return held.etag == version.etag


def find_bucket(view: View, name: str) -> Bucket | None:
    """Return a bucket of the lake's; None where there is none."""
    try:
        return view.bucket(name)
    except NotFoundError as error:
        if error.kind is ErrorKind.BUCKET_NOT_FOUND:
            return None
        raise


def is_empty(bucket: Bucket) -> bool:
    """Whether a bucket holds nothing, not even a delete marker."""
    usage = bucket.usage
    return not (usage.object_count or usage.version_count or usage.marker_count)
