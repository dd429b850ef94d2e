"""Which lake key a lake is under: found out before anything of it is changed, and changed in one transaction."""

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import apsw

from hosu.kernel.disk import Disk, write_file
from hosu.kernel.errors import ConflictError, CorruptError, ErrorKind, InvalidInputError
from hosu.kernel.lakekey import LakeKey, decode_key, encode_key
from hosu.kernel.log import get_logger
from hosu.kernel.sealing import new_key
from hosu.objects.database import connect, translating

if TYPE_CHECKING:  # at run time transactions know of blobs, and blobs of keys
    from hosu.objects.transaction import Tx

_LOG = get_logger("objects")

INSIDE_FILE = "lake.key"
"""The key of a lake that was given none, in its folder `meta`."""


class HeldKey:
    """The lake key in use."""

    def __init__(self, folder: Path, disk: Disk, key: LakeKey | None, *, is_outside: bool) -> None:
        self.folder = folder
        self.disk = disk
        self.key = key
        self.is_outside = is_outside


def key_context(name: str, version: int) -> bytes:
    """Return what ties the wrapping of a named key, and all that is sealed under it, to name and version."""
    return b"%b\0%d\0" % (name.encode(), version)


def hold_lake_key(database: Path, disk: Disk, configured: LakeKey | None) -> HeldKey:
    """Return the key that a lake's named keys are wrapped by, out of the configured one and the one in its folder.

    Raises ConflictError LAKE_KEY_WRONG or LAKE_KEY_MISSING, and has changed nothing then.
    """
    folder = database.parent
    needed = _fingerprints(database, disk)
    inside = None
    if configured is None or not needed <= {configured.fingerprint}:
        inside = load_inside_key(folder)
    keys = [key for key in (configured, inside) if key is not None]
    if not needed <= {key.fingerprint for key in keys}:
        if _fingerprints(database, disk) != needed:  # another process has brought them under its key just now
            return hold_lake_key(database, disk, configured)
        raise _cannot_open(needed, keys)
    if configured is None:
        return HeldKey(folder, disk, inside, is_outside=False)
    return HeldKey(folder, disk, configured, is_outside=True)


def _cannot_open(needed: set[str], keys: Sequence[LakeKey]) -> ConflictError:
    wanted = " and ".join(sorted(needed))
    if not keys:
        return ConflictError(
            ErrorKind.LAKE_KEY_MISSING,
            f"the lake's keys are wrapped by the lake key with the fingerprint {wanted}, and there is none: set "
            "HOSU_LAKE_KEY, lake_key_file or lake_key_command",
            fingerprint=wanted,
        )
    return ConflictError(
        ErrorKind.LAKE_KEY_WRONG,
        f"the lake's keys are wrapped by the lake key with the fingerprint {wanted}, not by the given one with "
        f"{keys[0].fingerprint}: give the right one",
        fingerprint=wanted,
    )


def _fingerprints(database: Path, disk: Disk) -> set[str]:
    """Return the fingerprints of all lake keys that named keys are wrapped by, leaving the database as it is."""
    if not database.exists():
        return set()
    log = database.with_name(f"{database.name}-wal")
    with translating(), closing(connect(database, disk)) as connection:
        if log.exists() and log.stat().st_size:  # closing would move the log of a killed process into the database
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'named_key'").fetchone():
            return set()
        return {str(row[0]) for row in connection.execute("SELECT DISTINCT lake_key FROM named_key")}


def load_inside_key(folder: Path) -> LakeKey | None:
    """Return the key that the lake keeps itself, None where it has none."""
    path = folder / INSIDE_FILE
    try:
        return LakeKey(decode_key(path.read_bytes(), str(path)))
    except FileNotFoundError:
        return None
    except (InvalidInputError, OSError) as error:
        raise ConflictError(
            ErrorKind.LAKE_KEY_WRONG, f"{path} cannot be read as a key: restore it from a backup"
        ) from error


def make_inside_key(disk: Disk, folder: Path) -> LakeKey:
    """Return the lake's own key, made and durable if it is not there. Call it in a transaction: one makes it."""
    found = load_inside_key(folder)
    if found is None:
        found = LakeKey(new_key())
        write_file(disk, folder / INSIDE_FILE, encode_key(found.secret))
    return found


def rewrap_keys(tx: "Tx", old: LakeKey, new: LakeKey) -> int:
    """Wrap every named key by another lake key; return how many. All that they have sealed stays as it is."""
    rows = tx.rows("SELECT name, version, wrapped FROM named_key WHERE lake_key = ?", (old.fingerprint,))
    for name, version, wrapped in rows:
        context = key_context(name, version)
        key = old.unwrap(wrapped, context)
        again = new.wrap(key, context)
        if new.unwrap(again, context) != key:
            raise CorruptError(ErrorKind.CORRUPT_LAKE, f"key {name!r} does not open under its new wrapping")
        tx.run(
            "UPDATE named_key SET wrapped = ?, lake_key = ? WHERE name = ? AND version = ?",
            (again, new.fingerprint, name, version),
        )
    tx.change_access()
    return len(rows)


def _remove_inside_key(tx: "Tx", held: HeldKey, now: LakeKey) -> int:
    """Remove the lake's own key if every named key is under `now`; 1 if so.

    In a transaction, so that no process can be about to wrap a key by it: that takes a transaction too.
    """
    if tx.value("SELECT 1 FROM named_key WHERE lake_key <> ? LIMIT 1", (now.fingerprint,)):
        return 0
    if os.path.lexists(held.folder / INSIDE_FILE):
        held.disk.unlink(held.folder / INSIDE_FILE)
        held.disk.sync_directory(held.folder)
    return 1


def _take_over(tx: "Tx", held: HeldKey, now: LakeKey) -> int:
    """Wrap by `now` what the lake's own key wraps; return how many named keys."""
    inside = load_inside_key(held.folder)
    count = 0 if inside is None else rewrap_keys(tx, inside, now)
    needed = {str(row[0]) for row in tx.rows("SELECT DISTINCT lake_key FROM named_key")} - {now.fingerprint}
    if needed:
        raise _cannot_open(needed, [now])
    return count


def settle_lake_key(held: HeldKey, commit: "Callable[[Callable[[Tx], int]], int]") -> None:
    """Bring named keys under the key from outside, and remove the one in the lake's folder once none needs it."""
    if not held.is_outside or held.key is None:
        return
    now = held.key
    while os.path.lexists(held.folder / INSIDE_FILE):
        if commit(partial(_remove_inside_key, held=held, now=now)):
            _LOG.info("removed the lake key in the lake's folder, which nothing needs any more")
        elif count := commit(partial(_take_over, held=held, now=now)):
            _LOG.info("named keys are wrapped by the lake key from outside now", keys=count, lake_key=now.fingerprint)
