"""Which folders a rule of merit keeps, and removing the others.

`rank` gives each folder its verdict with a reason; `plan_merit` says what goes, which is what a dry run shows, and
`expire` carries it out. A folder goes with all of its versions and leaves no marker: the rule is there for the space.
Each transaction looks again whether the rule is the same, whether an alias points there now, whether it is protected,
and whether anything below the rule's prefix has changed since the folders were ranked; then it leaves all as it is.
"""

import json
import math
import threading
from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import partial

import msgspec

from hosu.kernel.errors import HosuError, NotFoundError
from hosu.kernel.limits import MIB
from hosu.kernel.settings import Settings
from hosu.objects.audit import Origin, format_time
from hosu.objects.bodies import open_body
from hosu.objects.listing import prefix_end
from hosu.objects.records import NULL_VERSION, Bucket, ObjectRecord
from hosu.objects.retention import LOCKED, why_locked
from hosu.objects.schema import VERSION_COLUMNS
from hosu.objects.store import ObjectStore
from hosu.objects.transaction import Tx
from hosu.objects.versions import remove
from hosu.objects.views import View
from hosu.rules.days import due_ms
from hosu.rules.merit import MeritRule, compile_path, list_merit
from hosu.rules.planning import Planned
from hosu.rules.sparing import spared_prefixes

RULE = "merit"
PRINCIPAL = "hosu:merit"

FILE_BYTES_MAX = 4 * MIB
"""A file of numbers is far smaller; a wrong one must not fill the memory."""

CHANGES_PER_TRANSACTION = 256
"""Bounds how long the writer is held; a folder of more goes in several, the file with its number last."""

EVENTS_MAX = 50_000
"""Changes of the lake since the ranking that are looked through; after more the folders are ranked again."""


class Fate(StrEnum):
    """What becomes of a folder."""

    KEEP = "keep"
    WAIT = "wait"
    """It goes when its grace has ended."""

    EXPIRE = "expire"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule says of one folder. `rank` counts from 1, and is 0 without a number; `value` is the number."""

    rule: str
    bucket: str
    folder: str
    fate: Fate
    reason: str
    value: float | None = None
    rank: int = 0
    object_count: int = 0
    size_bytes: int = 0
    """Of all it holds, older versions too."""

    newest_ms: int = 0
    as_of_seq: int = 0
    """Order of the lake's last event before the ranking."""


class _Folder(msgspec.Struct):
    name: str
    object_count: int
    size_bytes: int
    newest_ms: int
    value: float | None = None
    why: str = ""
    is_readable: bool = True
    rank: int = 0


def rank(store: ObjectStore, rule: MeritRule, settings: Settings) -> list[Verdict]:
    """Return what the rule says of each of its folders, the best first; raises `NotFoundError` without the bucket."""
    view = store.view()
    as_of_seq: int = view.value("SELECT max(seq) FROM event") or 0
    bucket = view.bucket(rule.bucket)
    folders = list(_folders(view, bucket, rule.prefix))
    for folder in folders:
        try:
            folder.value, folder.why = _number(store, rule, folder.name)
        except HosuError as error:  # a disk or a key that fails says nothing of the folder's merit
            folder.is_readable, folder.why = False, f"{rule.file} cannot be read: {error.message}"
    ranked = sorted(
        (folder for folder in folders if folder.value is not None),
        key=lambda folder: (
            (folder.value or 0.0) * (1 if rule.order == "min" else -1), -folder.newest_ms, folder.name,
        ),
    )  # fmt: skip
    for place, folder in enumerate(ranked, 1):
        folder.rank = place
    spared = spared_prefixes(view, bucket, settings)
    ordered = [*ranked, *(folder for folder in folders if folder.value is None)]
    return [_judge(view, bucket, rule, settings, folder, spared, as_of_seq) for folder in ordered]


def plan_merit(store: ObjectStore, rule: MeritRule, settings: Settings) -> Iterator[Planned]:
    """Yield every version that goes now."""
    view = store.view()
    for verdict in rank(store, rule, settings):
        if verdict.fate is Fate.EXPIRE:
            bucket = view.bucket(rule.bucket)
            for record in _records(view, bucket, rule, verdict.folder):
                yield Planned(
                    rule=f"{RULE}:{rule.id}", action="Expire", bucket=rule.bucket, key=record.key,
                    version_id="" if record.version_id == NULL_VERSION else record.version_id,
                    size_bytes=record.size_bytes, reason=verdict.reason, seq=record.seq,
                )  # fmt: skip


def expire(
    store: ObjectStore,
    rule: MeritRule,
    settings: Settings,
    *,
    stop: threading.Event | None = None,
    done: Callable[[ObjectRecord], None] = lambda _: None,
) -> bool:
    """Remove the folders that go now; False where something has changed meanwhile, and all is to be ranked again."""
    stop = stop or threading.Event()
    for verdict in rank(store, rule, settings):
        if verdict.fate is not Fate.EXPIRE:
            continue
        is_more = True
        while is_more and not stop.is_set():
            removed = store.commit(partial(_remove_some, rule=rule, verdict=verdict, settings=settings))
            if removed is None:
                return False
            for record in removed:
                done(record)
            is_more = len(removed) == CHANGES_PER_TRANSACTION
    return True


def _remove_some(tx: Tx, rule: MeritRule, verdict: Verdict, settings: Settings) -> list[ObjectRecord] | None:
    """Remove a bounded number of a folder's versions; None where it may not go any more."""
    if rule not in list_merit(tx):
        return None
    try:
        bucket = tx.bucket(rule.bucket)
    except NotFoundError:
        return None
    if _why_spared(verdict.folder, spared_prefixes(tx, bucket, settings)) or _has_changed(tx, rule, verdict.as_of_seq):
        return None
    chosen = _first_records(tx, bucket, rule, verdict.folder, CHANGES_PER_TRANSACTION)
    if any(why_locked(record, tx.now_ms) is not None for record in chosen):
        return None  # others that are locked were so when the folder was ranked, or have changed since
    for record in chosen:
        tx.act_as(
            Origin(
                "", f"{RULE}:Expire", PRINCIPAL, bucket=bucket.name, key=record.key,
                reason=f"{rule.id}: {verdict.reason}",
            )
        )  # fmt: skip
        tx.spares_protected = True
        remove(tx, bucket, record, actor=PRINCIPAL)
    return chosen


def _has_changed(tx: Tx, rule: MeritRule, as_of_seq: int) -> bool:
    """Say whether somebody else changed what is below the rule's prefix since the folders were ranked."""
    latest = tx.value("SELECT max(seq) FROM event") or 0
    if latest - as_of_seq > EVENTS_MAX:
        return True
    end = prefix_end(rule.prefix)
    below = "key >= ?" if end is None else "key >= ? AND key < ?"
    values = [rule.prefix] if end is None else [rule.prefix, end]
    return bool(
        tx.value(
            f"SELECT 1 FROM event WHERE seq > ? AND bucket = ? AND actor <> ? AND key <> '' AND {below} LIMIT 1",
            [as_of_seq, rule.bucket, PRINCIPAL, *values],
        )
    )


# Folders


def _folders(view: View, bucket: Bucket, prefix: str) -> Iterator[_Folder]:
    """Yield the folders directly below a prefix that hold current objects, seeking past what each holds."""
    lower: str | None = prefix
    while lower is not None:
        key: str | None = view.value(
            "SELECT key FROM object WHERE bucket_id = ? AND key >= ? ORDER BY key LIMIT 1", (bucket.id, lower)
        )
        if key is None or not key.startswith(prefix):
            return
        place = key.find("/", len(prefix))
        if place < 0:
            lower = key + "\x00"  # a file beside the folders
            continue
        name = key[: place + 1]
        lower = prefix_end(name)
        values = (bucket.id, name, lower)
        count, size_bytes, newest_ms = view.row(
            "SELECT count(*), sum(size_bytes), max(modified_ms) FROM object "
            "WHERE bucket_id = ? AND key >= ? AND key < ?",
            values,
        ) or (0, 0, 0)
        old_bytes = view.value(
            "SELECT ifnull(sum(size_bytes), 0) FROM version WHERE bucket_id = ? AND key >= ? AND key < ?", values
        )
        yield _Folder(name, count, size_bytes + old_bytes, newest_ms)


def _number(store: ObjectStore, rule: MeritRule, folder: str) -> tuple[float | None, str]:
    """Return the number of a folder, or why it has none; raises HosuError where that cannot be read."""
    key = folder + rule.file
    try:
        record, body = open_body(store, rule.bucket, key)
        with body:
            if record.size_bytes > FILE_BYTES_MAX:
                return None, f"{rule.file} has {record.size_bytes} bytes, more than {FILE_BYTES_MAX}"
            text = body.read(0, record.size_bytes)
        found = compile_path(rule.path).search(json.loads(text))
    except NotFoundError:
        return None, f"there is no {rule.file}"
    except (ValueError, TypeError, ArithmeticError, RecursionError) as error:
        told = next(iter(str(error).splitlines()), type(error).__name__)
        return None, f"{rule.file} is not JSON, or {rule.path} does not apply to it: {told}"
    if isinstance(found, bool) or not isinstance(found, int | float):
        return None, f"{rule.path} is {'missing' if found is None else 'not a number'} in {rule.file}"
    try:
        value = float(found)
    except OverflowError:
        return None, f"{rule.path} in {rule.file} is too large a number"
    return (value, "") if math.isfinite(value) else (None, f"{rule.path} is {value} in {rule.file}")


def _judge(
    view: View,
    bucket: Bucket,
    rule: MeritRule,
    settings: Settings,
    folder: _Folder,
    spared: dict[str, str],
    as_of_seq: int,
) -> Verdict:
    def verdict(fate: Fate, reason: str) -> Verdict:
        return Verdict(
            rule=rule.id, bucket=rule.bucket, folder=folder.name, fate=fate, reason=reason, value=folder.value,
            rank=folder.rank, object_count=folder.object_count, size_bytes=folder.size_bytes,
            newest_ms=folder.newest_ms, as_of_seq=as_of_seq,
        )  # fmt: skip

    if folder.value is None:
        standing = f"it has no rank: {folder.why}"
    else:
        standing = f"it is number {folder.rank} by {rule.path} ({folder.value:g})"
    why = _why_spared(folder.name, spared)
    if why:
        return verdict(Fate.KEEP, f"{why}; {standing}")
    if folder.value is None and (rule.unranked == "keep" or not folder.is_readable):
        return verdict(Fate.KEEP, standing)
    if folder.value is not None and folder.rank <= rule.best:
        return verdict(Fate.KEEP, f"{standing}, of which the best {rule.best} stay")
    reason = standing if folder.value is None else f"{standing}, and the best {rule.best} stay"
    due = due_ms(settings, folder.newest_ms, rule.grace_days) if rule.grace_days else folder.newest_ms
    if due > view.now_ms:
        return verdict(Fate.WAIT, f"{reason}; its grace of {rule.grace_days} days ends at {format_time(due)}")
    if any(why_locked(record, view.now_ms) for record in _locked_records(view, bucket, folder.name)):
        return verdict(Fate.KEEP, f"versions in it are locked; {standing}")
    return verdict(Fate.EXPIRE, f"{reason}; its grace of {rule.grace_days} days has ended")


def _why_spared(folder: str, spared: dict[str, str]) -> str:
    """Return why a folder is spared: what is spared may be the folder, something in it, or what it lies in."""
    return next((why for prefix, why in spared.items() if prefix.startswith(folder) or folder.startswith(prefix)), "")


def _locked_records(view: View, bucket: Bucket, folder: str) -> list[ObjectRecord]:
    return _stored(view, bucket, folder, " AND instr(attributes, ?) > 0", (LOCKED,)) if bucket.lock else []


def _records(view: View, bucket: Bucket, rule: MeritRule, folder: str) -> list[ObjectRecord]:
    """Return all a folder holds in the order of its removal.

    Of each key the oldest version goes first, so that none becomes current meanwhile; and the file with the number
    goes last, so that a removal that was cut short is gone on with.
    """
    return _first_records(view, bucket, rule, folder, -1)


def _first_records(view: View, bucket: Bucket, rule: MeritRule, folder: str, limit: int) -> list[ObjectRecord]:
    """Return no more than `limit` of them, all for -1, and read no more than that of a large folder."""
    chosen: list[ObjectRecord] = []
    for condition in ("key <> ?", "key = ?"):
        wanted = limit if limit < 0 else limit - len(chosen)
        text = f" AND {condition} ORDER BY key, seq LIMIT ?"
        records = _stored(view, bucket, folder, text, (folder + rule.file, wanted))
        records.sort(key=lambda record: (record.key, record.is_latest, record.seq))
        chosen += records if limit < 0 else records[:wanted]
    return chosen


def _stored(view: View, bucket: Bucket, folder: str, condition: str, values: tuple[object, ...]) -> list[ObjectRecord]:
    place = (bucket.id, folder, prefix_end(folder), *values)
    where = f"WHERE bucket_id = ? AND key >= ? AND key < ?{condition}"
    current = view.rows(f"SELECT key, {VERSION_COLUMNS} FROM object {where}", place)
    older = view.rows(f"SELECT key, is_marker, {VERSION_COLUMNS} FROM version {where}", place)
    return [
        *(ObjectRecord(*row) for row in current),
        *(ObjectRecord(row[0], *(*row[2:], bool(row[1]), False)) for row in older),
    ]
