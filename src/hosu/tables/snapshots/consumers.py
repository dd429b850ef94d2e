"""Consumers: where streaming readers have got to. Snapshots from there on are kept for them."""

import re
from dataclasses import dataclass
from typing import Final

import msgspec

from hosu.kernel.errors import CorruptError, ErrorKind, InvalidInputError, NotFoundError
from hosu.tables.context import TableContext

PREFIX: Final = "consumer-"
LEASE_PREFIX: Final = "hosu-lease-"
"""How the names of consumers begin that stand for a read of hosu's under way."""

LEASE_MS: Final = 3_600_000
"""How long such a consumer counts after it was last written: readers write it every few minutes."""

_NAME: Final = re.compile(r"[^/\\\x00-\x1f]{1,200}")


class _Document(msgspec.Struct, rename="camel"):
    next_snapshot: int


@dataclass(frozen=True)
class Consumer:
    """A consumer and the first snapshot that it has not read."""

    name: str
    next_snapshot: int
    modified_ms: int

    @property
    def is_lease(self) -> bool:
        """Whether it is a read of hosu's rather than a reader that comes back."""
        return self.name.startswith(LEASE_PREFIX)


def consumers(ctx: TableContext) -> list[Consumer]:
    """Return all consumers by name, leases too. Raises CorruptError naming a broken one's file."""
    prefix = ctx.layout.consumers + PREFIX
    found = []
    for entry in ctx.files.list(prefix):
        try:
            next_snapshot = _decode(entry.key, ctx.files.read(entry.key))
        except NotFoundError:
            continue  # deleted since it was listed
        found.append(Consumer(entry.key[len(prefix) :], next_snapshot, entry.modified_ms))  # type: ignore[union-attr]
    return found


def position(ctx: TableContext, name: str) -> int | None:
    """Return the first snapshot that a consumer has not read, or None when there is no such consumer."""
    check_name(name)
    key = ctx.layout.consumer(name)
    try:
        return _decode(key, ctx.files.read(key))
    except NotFoundError as error:
        if error.kind is not ErrorKind.OBJECT_NOT_FOUND:
            raise
        return None


def reset(ctx: TableContext, name: str, next_snapshot: int) -> None:
    """Say from which snapshot on a consumer wants them kept; make the consumer if there is none.

    Raises InvalidInputError INVALID_ARGUMENT for a name or a number that cannot be.
    """
    check_name(name)
    if next_snapshot < 1:
        raise InvalidInputError(
            ErrorKind.INVALID_ARGUMENT, f"consumer {name!r}: next snapshot {next_snapshot}: give 1 or more", name=name
        )
    ctx.files.put(ctx.layout.consumer(name), msgspec.json.encode(_Document(next_snapshot)))


def delete(ctx: TableContext, name: str) -> None:
    """Forget a consumer: what is there no more is fine."""
    check_name(name)
    ctx.files.delete_many([ctx.layout.consumer(name)])


def expired(ctx: TableContext, now_ms: int, expiration_ms: int | None) -> list[Consumer]:
    """Return the consumers that count no more: leases nobody renews, and others after expiration_ms, if given."""
    return [consumer for consumer in consumers(ctx) if _is_expired(consumer, now_ms, expiration_ms)]


def first_wanted(ctx: TableContext, now_ms: int, expiration_ms: int | None = None) -> int | None:
    """Return the first snapshot that some consumer still wants, or None."""
    wanted = (consumer.next_snapshot for consumer in consumers(ctx) if not _is_expired(consumer, now_ms, expiration_ms))
    return min(wanted, default=None)


def check_name(name: str) -> None:
    """Refuse what cannot be a consumer's name. Raises InvalidInputError INVALID_ARGUMENT."""
    if not _NAME.fullmatch(name) or not name.strip():
        raise InvalidInputError(
            ErrorKind.INVALID_ARGUMENT,
            f"{name!r} is no name of a consumer: use 1 to 200 characters, not all blank, without slashes",
            consumer=name,
        )


def _is_expired(consumer: Consumer, now_ms: int, expiration_ms: int | None) -> bool:
    stays_ms = LEASE_MS if consumer.is_lease else expiration_ms
    return stays_ms is not None and now_ms - consumer.modified_ms > stays_ms


def _decode(key: str, data: bytes) -> int:
    try:
        return msgspec.json.decode(data, type=_Document).next_snapshot
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CorruptError(
            ErrorKind.CORRUPT_TABLE, f"{key!r} is no consumer: {error}; reset or delete it", path=key
        ) from error
