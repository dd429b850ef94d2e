"""What becomes of a new connection."""

from enum import Enum, auto


class Admission(Enum):
    """The server's answer to a connection."""

    ADMITTED = auto()
    REFUSED = auto()
    """It is told 503."""
    CUT_OFF = auto()
    """So many are being refused that it is not told anything."""
