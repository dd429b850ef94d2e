"""Who is asked to give a blob its bytes back when they do not match their hash."""

from typing import Protocol


class Healer(Protocol):
    """Knows where other copies of stored bytes are."""

    def heal(self, blob_id: int) -> bool:
        """Restore the bytes of a blob that are wrong; say whether reading again is worth it.

        It is when they are right now, or when another version is current instead. Blocks on disks and networks, and
        commits: never called from a transaction or an event loop. What fails on the way is the healer's own to tell.
        """
        ...
