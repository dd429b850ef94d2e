"""How the stored bytes are: what is known of all blobs."""

import msgspec

from hosu.objects.views import View


class BlobHealth(msgspec.Struct, frozen=True):
    """Counts of blobs: all, those whose bytes have matched their hash, and those whose bytes did not."""

    blobs: int
    verified: int
    corrupt: int


def blob_health(view: View) -> BlobHealth:
    """Count the blobs of the lake; reads all of their records."""
    row = view.row("SELECT count(*), count(*) FILTER (WHERE verified_ms > 0), total(is_corrupt) FROM blob")
    assert row is not None
    return BlobHealth(row[0], row[1], int(row[2]))


def saved_bytes(view: View) -> int:
    """Return how many bytes need not be stored, since they are compressed; reads an entry of an index for each blob."""
    found: int = view.value("SELECT coalesce(sum(size_bytes - coded_bytes), 0) FROM blob WHERE coding IS NOT NULL")
    return found
