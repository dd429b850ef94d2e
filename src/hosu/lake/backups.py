"""Backups, as Python takes and restores them.

with hosu.open("./lake") as lake:
report = lake.backup("/mnt/backup/lake")
hosu.restore("/mnt/backup/lake", "./restored", to_time=datetime(2027, 1, 31, tzinfo=UTC))
"""

import os
from datetime import datetime
from pathlib import Path

from hosu.kernel.errors import ErrorKind, InvalidInputError
from hosu.rules.backup.restoring import Restored, restore_backup


def restore(
    location: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    to_time: datetime | None = None,
    snapshot: str = "",
    bucket: str = "",
    prefix: str = "",
) -> Restored:
    """Make a lake of a backup in a new or empty folder, and say what is in it.

    Of the newest snapshot, of the newest at or before `to_time`, or of the one with an id; with `bucket`, and perhaps
    `prefix`, only of what is there. Raises NotFoundError BACKUP_NOT_FOUND, ConflictError NOT_A_LAKE for a folder with
    other contents, LAKE_KEY_MISSING or LAKE_KEY_WRONG where what is sealed needs a lake key that is not given,
    CorruptError BACKUP_CORRUPT when the snapshot's records are damaged.
    """
    if to_time is not None and to_time.tzinfo is None:
        raise InvalidInputError(
            ErrorKind.INVALID_ARGUMENT, f"to_time {to_time.isoformat()!r} names no time zone: add one, such as UTC"
        )
    if snapshot and to_time is not None:
        raise InvalidInputError(ErrorKind.INVALID_ARGUMENT, "snapshot and to_time both choose a snapshot: give one")
    if prefix and not bucket:
        raise InvalidInputError(ErrorKind.INVALID_ARGUMENT, f"prefix {prefix!r} is of one bucket: name it")
    return restore_backup(
        os.fspath(location),
        Path(path),
        snapshot_id=snapshot,
        to_ms=None if to_time is None else round(to_time.timestamp() * 1000),
        bucket=bucket,
        prefix=prefix,
    )
