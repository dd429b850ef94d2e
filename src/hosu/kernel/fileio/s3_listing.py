"""Listing a bucket in key order through a client that thinks in folders."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

import obstore
from obstore.store import S3Store

from hosu.kernel.errors import ErrorKind, NotFoundError, UnsupportedError
from hosu.kernel.fileio.keys import RESERVED_FOLDER, FileStat, Prefix, fold
from hosu.kernel.fileio.s3_store import s3_errors
from hosu.kernel.limits import LIST_KEYS_MAX

HIGHEST: Final = "\U0010ffff"
SURROGATES_START, SURROGATES_END = "\ud7ff", "\ue000"


def list_objects(store: S3Store, prefix: str, after: str, delimiter: str) -> Iterator[FileStat | Prefix]:
    """List the objects of store as the contract's `list` does.

    The client lists whole folders only: a prefix that ends within a name is sought in its folder, starting just
    before it and stopping behind it.
    """
    base = prefix[: prefix.rfind("/") + 1]
    if _path_part(base) != base.rstrip("/"):
        return
    if delimiter == "/":
        yield from _list_folder(store, base, prefix, after)
    else:
        yield from fold(_list_keys(store, base, prefix, after), prefix, after, delimiter)


def stat_of(meta: Mapping[str, Any]) -> FileStat:
    """Return the FileStat of what the client says about an object."""
    modified: datetime = meta["last_modified"]
    return FileStat(meta["path"], meta["size"], (meta["e_tag"] or "").strip('"'), int(modified.timestamp() * 1000))


def _list_folder(store: S3Store, base: str, prefix: str, after: str) -> Iterator[FileStat | Prefix]:
    with s3_errors(base):
        found = obstore.list_with_delimiter(store, base.rstrip("/") or None)
    entries: list[FileStat | Prefix] = [Prefix(f"{path}/") for path in found["common_prefixes"]]
    entries += [stat_of(meta) for meta in found["objects"]]
    wanted = (entry for entry in entries if entry.key.startswith(prefix) and entry.key > after)
    yield from sorted((entry for entry in wanted if not _is_reserved(entry.key)), key=lambda entry: entry.key)


def _list_keys(store: S3Store, base: str, prefix: str, after: str) -> Iterator[FileStat]:
    offset = _path_part(max(after, _just_before(prefix) if prefix != base else ""))
    key_last = ""
    with s3_errors(base):
        pages = obstore.list(store, base.rstrip("/") or None, offset=offset or None, chunk_size=LIST_KEYS_MAX)
    while True:
        with s3_errors(base):
            page = next(pages, None)
        if page is None:
            return
        for meta in page:
            key = meta["path"]
            if meta["size"] == 0 and _is_folder_marker(store, key, key_last):
                continue
            if key <= key_last:
                raise UnsupportedError(
                    ErrorKind.UNSUPPORTED, f"the endpoint lists {key!r} after {key_last!r}: not in UTF-8 order"
                )
            key_last = key
            if key.startswith(prefix):
                if key > after and not _is_reserved(key):
                    yield stat_of(meta)
            elif key > prefix:
                return


def _is_folder_marker(store: S3Store, key: str, key_last: str) -> bool:
    """Whether this empty object is called 'key/': the client drops the slash, and reading 'key' would not find it."""
    if key <= key_last < f"{key}/":
        return True
    try:
        with s3_errors(key):
            obstore.head(store, key)
    except NotFoundError:
        return True
    return False


def _is_reserved(key: str) -> bool:
    return key.startswith(f"{RESERVED_FOLDER}/")


def _just_before(prefix: str) -> str:
    """Return a key that sorts before every key with this prefix, with little in between."""
    last = prefix[-1]
    lower = SURROGATES_START if last == SURROGATES_END else chr(max(ord(last) - 1, 0))
    return prefix[:-1] + lower + HIGHEST


def _path_part(key: str) -> str:
    """Return as much of key as the client accepts for a path: never more, so never a greater key."""
    kept: list[str] = []
    for segment in key.split("/"):
        if segment in {"", ".", ".."} or any(character < " " or character == "\x7f" for character in segment):
            break
        kept.append(segment)
    return "/".join(kept)
