"""What a FileIO key may be, and how listed keys fold into prefixes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hosu.kernel.errors import ErrorKind, InvalidInputError
from hosu.kernel.limits import KEY_BYTES_MAX

RESERVED_FOLDER = ".hosu-tmp"
"""First segment that implementations keep for themselves: never a user's key, never listed."""

SEGMENT_BYTES_MAX = 255
"""Longest name of one file or folder on every filesystem in use."""


@dataclass(frozen=True, slots=True)
class FileStat:
    """What is known of one file: size in bytes, an opaque etag, milliseconds since 1970-01-01 UTC."""

    key: str
    size_bytes: int
    etag: str
    modified_ms: int


@dataclass(frozen=True, slots=True)
class Prefix:
    """All the keys that begin with `key`, which ends with the delimiter of the listing."""

    key: str


def check_key(key: str) -> None:
    """Refuse a key that no implementation may store.

    Raises InvalidInputError KEY_TOO_LONG past 1,024 bytes of UTF-8, KEY_INVALID for the rest.
    """
    if not key:
        raise InvalidInputError(ErrorKind.KEY_INVALID, "a key is empty: give it at least one character", key=key)
    size_bytes = len(encoded(key, "key"))
    if size_bytes > KEY_BYTES_MAX:
        raise InvalidInputError(
            ErrorKind.KEY_TOO_LONG,
            f"key {key[:64]!r}… has {size_bytes} bytes of UTF-8: at most {KEY_BYTES_MAX}",
            key=key,
        )
    if key.startswith("/") or "\0" in key:
        raise InvalidInputError(ErrorKind.KEY_INVALID, f"key {key!r} begins with '/' or holds NUL", key=key)
    segments = key.split("/")
    if ".." in segments:
        raise InvalidInputError(ErrorKind.KEY_INVALID, f"key {key!r} holds a '..' segment", key=key)
    if segments[0] == RESERVED_FOLDER:
        raise InvalidInputError(ErrorKind.KEY_INVALID, f"key {key!r}: {RESERVED_FOLDER}/ is reserved", key=key)


def check_path_key(key: str) -> None:
    """Refuse a key that is fit for a bucket but has no path of its own: 'a//b', 'a/./b', 'a/'.

    A path would drop the odd segment, and two keys would share one file.
    """
    for segment in key.split("/"):
        if segment in {"", "."}:
            raise InvalidInputError(
                ErrorKind.KEY_INVALID, f"key {key!r} holds an empty or '.' segment, which a path cannot", key=key
            )


def encoded(text: str, field: str) -> bytes:
    """Return the UTF-8 bytes of text; raise InvalidInputError KEY_INVALID for a lone surrogate."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidInputError(ErrorKind.KEY_INVALID, f"{field} {text!r} is not UTF-8", **{field: text}) from error


def fold(stats: Iterable[FileStat], prefix: str, after: str, delimiter: str) -> Iterator[FileStat | Prefix]:
    """Fold the keys that hold delimiter beyond prefix into one Prefix each, and drop what is not beyond `after`.

    `stats` are in UTF-8 order, all of them below prefix; so is what comes out.
    """
    folded_last = ""
    for stat in stats:
        cut = stat.key.find(delimiter, len(prefix)) if delimiter else -1
        if cut < 0:
            if stat.key > after:
                yield stat
            continue
        folded = stat.key[: cut + len(delimiter)]
        if folded != folded_last and folded > after:
            yield Prefix(folded)
        folded_last = folded
