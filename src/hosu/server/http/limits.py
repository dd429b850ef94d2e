"""Limits of the HTTP layer, each with its reason; tests and operators set others."""

import os
from dataclasses import dataclass

from hosu.kernel.limits import KIB, MIB, WRITE_BYTES

SCRATCH_BYTES = 256 * KIB
"""One receive area for all connections of a server: what is read into it is used or copied before the next read."""

EARLY_BYTES_MAX = 64 * KIB
"""Body bytes kept before a handler asks for them: whoever is refused at the headers costs no more memory."""

DRAIN_BYTES_MAX = 64 * KIB
"""Unread body that is cheaper to receive and drop than a new connection is to open."""

HEAD_READ_BYTES = 64 * KIB
"""Most bytes taken at once while a head is awaited, so that a body behind it is not copied needlessly."""

PIPELINE_TURN_MAX = 16
"""Pipelined requests answered before other connections get their turn."""

SENDFILE_BYTES_MIN = 256 * KIB
"""Bodies from this size are worth a thread and `sendfile`; smaller ones are read and leave with the head."""

READER_BYTES = 2 * MIB
"""Bytes made at a time of what has to be made. Threads that do so take turns with the interpreter, not too often."""

READERS_SPARE_MAX = 4
"""Buffers of that size kept for the next."""

SEAL_BYTES = 256 * KIB
"""Bytes encrypted at a time: they stay in the processor's cache; OpenSSL's buffers keep the size they grew to."""

OPEN_BYTES = 128 * KIB
"""Encrypted bytes received at a time; as above."""

SEND_TURN_BYTES = 16 * MIB
"""Bytes a sending thread moves before it queues behind other downloads."""

SEND_WAIT_MS = 20
"""How long a sending thread waits for a client that keeps up, before it leaves the waiting to the event loop."""

SEND_WAITS_MAX = 16
"""Such waits in one turn of a thread: a client that drinks in sips may not hold it."""

assert HEAD_READ_BYTES <= SCRATCH_BYTES
assert SEAL_BYTES <= READER_BYTES
assert EARLY_BYTES_MAX < WRITE_BYTES


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What a client may ask of the server before it is refused; sizes in bytes, times in seconds."""

    request_line_bytes_max: int = 16 * KIB
    """A key of 1,024 bytes, percent-encoded three-fold, and a presigned query with a session token."""

    head_bytes_max: int = 64 * KIB
    """2 KiB of user metadata, its encodings and every header an SDK or a proxy adds, many times over."""

    header_count_max: int = 200
    """SDKs send about 20; each costs time to parse."""

    idle_s: float = 75.0
    """A keep-alive connection without a request: longer than the 60 s that proxies commonly keep theirs."""

    head_s: float = 15.0
    """From the first byte of a request to the end of its headers: one packet for a real client."""

    body_stall_s: float = 30.0
    """Without any byte of a body that is awaited."""

    send_stall_s: float = 60.0
    """Without the client taking any byte of a response."""

    linger_s: float = 5.0
    """After a final answer to a client that is still sending: time to read it before a reset destroys it."""

    connections_max: int = 4096
    """Descriptors and memory are finite; more are answered 503."""

    body_pieces_unread_max: int = 2
    """Pieces of WRITE_BYTES received ahead of a handler, per connection."""

    pool_pieces_max: int = 16
    """Idle receive buffers kept, of WRITE_BYTES each: 8 MiB."""

    send_threads: int = 8
    """Threads shared by all downloads; they wait for disks, not for clients."""

    reader_threads: int = max(2, min(os.cpu_count() or 1, 4))
    """Threads for bodies whose bytes have to be made: more of them than processors only wait for the interpreter."""

    sweep_s: float = 1.0
    """How often deadlines are checked and the Date header renewed; a deadline is late by at most two of these."""
