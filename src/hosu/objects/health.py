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
