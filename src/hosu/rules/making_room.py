"""Making room: what is deleted when a lake is fuller than its rule wants, in which order, and the deleting.

First go the parts of uploads that were begun a day ago and not completed, then versions that are not current, then
objects with all that is left of them: each the oldest first, over all buckets. Nothing is hidden behind a marker.
What is spared, locked or kept by the rule stays, and so does what takes no room.

`plan_room` says what goes; it is what a dry run shows, and `make_room` carries it out. Each transaction looks again
whether that much is still to go (of a disk, every few seconds), and whether each thing is still the one that was
decided on.
"""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial

import msgspec

from hosu.kernel.errors import NotFoundError
from hosu.kernel.settings import Settings
from hosu.objects.audit import Origin
from hosu.objects.buckets import list_buckets
from hosu.objects.multipart import abort_upload
from hosu.objects.records import NULL_VERSION, BlobKind, Bucket, ObjectRecord, Versioning
from hosu.objects.retention import LOCKED, why_locked
from hosu.objects.schema import VERSION_COLUMNS
from hosu.objects.store import ObjectStore
from hosu.objects.transaction import Tx
from hosu.objects.versions import remove
from hosu.objects.views import View
from hosu.rules.capacity import STORED_BYTES, CapacityRule, Gauge, get_capacity, kept_prefixes, measure
from hosu.rules.days import days_ms
from hosu.rules.planning import Planned
from hosu.rules.sparing import any_of, outside, spared_prefixes

RULE = "capacity"
PRINCIPAL = "hosu:capacity"
ABORT_DAYS = 1
"""An upload in progress that was begun this long ago goes before anything that can be read."""

CHANGES_PER_TRANSACTION = 256
"""Bounds how long the writer is held."""

WINDOW, WINDOW_MAX = 1_024, 65_536
"""How many of the oldest are looked up at once: each time is a walk over all records, so each takes more."""

MEASURE_PERIOD_S = 5.0
"""How often it is looked again how full a disk is, while room is made on it."""

REST_RATIO, REST_S_MAX = 0.5, 0.1
"""Rest after each transaction, as a part of the time that it took, so that others get to write."""


class Doomed(msgspec.Struct, frozen=True):
    """What goes together: an upload, or the records of one key, in the order in which they are removed."""

    bucket: str
    bucket_id: int
    key: str
    age_ms: int
    freed_bytes: int
    reason: str
    upload_id: str = ""
    records: tuple[ObjectRecord, ...] = ()

    def planned(self) -> Iterator[Planned]:
        """Yield it as users see it."""
        if self.upload_id:
            yield self._planned("AbortUpload", self.upload_id, self.freed_bytes, 0)
        for record in self.records:
            version_id = "" if record.version_id == NULL_VERSION else record.version_id
            yield self._planned("Delete", version_id, record.size_bytes, record.seq)

    def _planned(self, action: str, version_id: str, size_bytes: int, seq: int) -> Planned:
        return Planned(
            rule=RULE, action=action, bucket=self.bucket, key=self.key, version_id=version_id, size_bytes=size_bytes,
            reason=self.reason, seq=seq,
        )  # fmt: skip


class Freed(msgspec.Struct):
    """What a run has done. `is_enough` says whether what is used has come below the mark."""

    deletions: int = 0
    aborts: int = 0
    size_bytes: int = 0
    is_enough: bool = True


def plan_room(
    store: ObjectStore, view: View, rule: CapacityRule, settings: Settings, gauge: Gauge | None = None
) -> Iterator[Doomed]:
    """Yield what goes until less than the low mark is used; nothing where the high mark is not reached."""
    gauge = measure(store, view, rule) if gauge is None else gauge
    if not (rule.high_water and gauge.is_high):
        return
    planner = _Planner(view, rule, settings, gauge)
    excess_bytes = gauge.used_bytes - gauge.low_bytes + 1
    for doomed in planner.candidates():
        if excess_bytes <= 0:
            return
        yield doomed
        excess_bytes -= doomed.freed_bytes


class _Planner:
    """Finds what may go, the first to go first."""

    def __init__(self, view: View, rule: CapacityRule, settings: Settings, gauge: Gauge) -> None:
        self._view = view
        self._rule = rule
        self._gauge = gauge
        self._aborts_before_ms = view.now_ms - days_ms(settings, ABORT_DAYS)
        self._buckets = {bucket.id: bucket for bucket in buckets_in_scope(view, rule)}
        self._where, self._where_current = self._outside_kept(None), self._outside_kept(settings)
        self._passed_over: set[int] = set()
        self._weigh: Callable[[ObjectRecord], int | None] = _by_size
        if gauge.is_disk:
            self._weigh = _Blobs(view, self._where_current, self._where).freed_bytes

    def _outside_kept(self, settings: Settings | None) -> tuple[str, list[object]]:
        view, rule = self._view, self._rule
        return any_of([outside(each.id, _kept(view, rule, each, settings)) for each in self._buckets.values()])

    def candidates(self) -> Iterator[Doomed]:
        """Yield all that may go."""
        yield from self._uploads()
        yield from self._old_versions()
        yield from self._objects()

    def _uploads(self) -> Iterator[Doomed]:
        condition, values = self._where
        rows = self._view.rows(
            "SELECT bucket_id, key, initiated_ms, upload_id, (SELECT sum(size_bytes) FROM part WHERE upload = id) "
            f"AS held FROM upload WHERE initiated_ms <= ? AND held > 0 AND {condition} ORDER BY initiated_ms, id",
            [self._aborts_before_ms, *values],
        )
        for bucket_id, key, initiated_ms, upload_id, held_bytes in rows:
            reason = self._reason(f"its upload was begun at {_time(initiated_ms)} and never completed")
            bucket = self._buckets[bucket_id].name
            yield Doomed(bucket, bucket_id, key, initiated_ms, held_bytes, reason, upload_id)

    def _old_versions(self) -> Iterator[Doomed]:
        for bucket, record in self._oldest("version", "AND NOT is_marker"):
            if why_locked(record, self._view.now_ms) is not None:
                continue
            freed_bytes = self._weigh(record)
            if freed_bytes is None:
                self._passed_over.add(record.seq)
                continue
            reason = self._reason(f"this version of {_time(record.modified_ms)} is one of the oldest that are replaced")
            records = (record, *self._left_alone(bucket, record))
            yield Doomed(
                bucket.name, bucket.id, record.key, record.modified_ms, freed_bytes, reason, records=records
            )  # fmt: skip

    def _left_alone(self, bucket: Bucket, last: ObjectRecord) -> list[ObjectRecord]:
        """Return the markers that hide nothing any more when the last version of a key goes; they go with it."""
        if self._view.value("SELECT 1 FROM object WHERE bucket_id = ? AND key = ?", (bucket.id, last.key)):
            return []
        others = [record for record in stored_versions(self._view, bucket, last.key) if record.seq != last.seq]
        stays = any(
            not record.is_marker
            and (
                why_locked(record, self._view.now_ms) is not None
                or (record.size_bytes and (record.modified_ms, record.seq) > (last.modified_ms, last.seq))
            )
            for record in others
        )
        return [] if stays else [record for record in others if record.is_marker or not record.size_bytes]

    def _objects(self) -> Iterator[Doomed]:
        for bucket, record in self._oldest("object", ""):
            others = stored_versions(self._view, bucket, record.key) if bucket.versioning != Versioning.NEVER else []
            if any(why_locked(each, self._view.now_ms) is not None for each in (record, *others)):
                continue
            freed_bytes = self._weigh(record)
            if freed_bytes is None:
                continue
            reason = self._reason(f"{_time(record.modified_ms)} makes it one of the oldest objects")
            rest = tuple(
                each for each in others if each.is_marker or not each.size_bytes or each.seq in self._passed_over
            )
            yield Doomed(
                bucket.name, bucket.id, record.key, record.modified_ms, freed_bytes, reason, records=(*rest, record)
            )  # fmt: skip

    def _oldest(self, table: str, condition: str) -> Iterator[tuple[Bucket, ObjectRecord]]:
        """Yield the records of a table that take room, by age; a window of them is read at a time."""
        where, values = self._where if table == "version" else self._where_current
        is_marker = "is_marker" if table == "version" else "0"
        after, size = (-1, -1), WINDOW
        while True:
            rows = self._view.rows(
                f"SELECT bucket_id, key, {is_marker}, {VERSION_COLUMNS} FROM {table} WHERE size_bytes > 0 {condition} "
                f"AND (modified_ms, seq) > (?, ?) AND {where} ORDER BY modified_ms, seq LIMIT ?",
                [*after, *values, size],
            )
            for bucket_id, key, marker, *columns in rows:
                record = ObjectRecord(key, *(*columns, bool(marker), table == "object"))
                yield self._buckets[bucket_id], record
            if len(rows) < size:
                return
            after = (record.modified_ms, record.seq)
            size = min(size * 4, WINDOW_MAX)

    def _reason(self, why: str) -> str:
        gauge = self._gauge
        share = gauge.used_bytes / gauge.limit_bytes if gauge.limit_bytes else 1
        return (
            f"{gauge.used_bytes} of {gauge.limit_bytes} bytes of {gauge.what} are used ({share:.1%}, room is made from "
            f"{self._rule.high_water:.0%}), and {why}"
        )


def _by_size(record: ObjectRecord) -> int:
    return record.size_bytes


class _Blobs:
    """Says what removing a record gives back of the disk: the bytes of a blob go with the last that refers to it."""

    def __init__(self, view: View, current: tuple[str, list[object]], older: tuple[str, list[object]]) -> None:
        self._view = view
        self._left: dict[int, int] = {}
        (condition, values), (condition_older, values_older) = current, older
        # A blob that something refers to which stays gives nothing back, whoever else lets go of it.
        rows = view.rows(
            "SELECT id FROM blob LEFT JOIN (SELECT blob_id, count(*) AS going FROM ("
            f"SELECT blob_id FROM object WHERE {condition} AND instr(attributes, ?) = 0 UNION ALL "
            f"SELECT blob_id FROM version WHERE {condition_older} AND instr(attributes, ?) = 0) GROUP BY blob_id) "
            "ON id = blob_id WHERE refs > 1 AND refs > ifnull(going, 0)",
            [*values, LOCKED, *values_older, LOCKED],
        )
        self._staying = {row[0] for row in rows}

    def freed_bytes(self, record: ObjectRecord) -> int | None:
        """Return how many bytes go with this record, those before it gone already; None if it never frees any."""
        blob_id = record.blob_id
        if blob_id is None or blob_id in self._staying:
            return None
        left = self._left.get(blob_id)
        if left is None:
            left = self._view.value("SELECT refs FROM blob WHERE id = ?", (blob_id,)) or 1
        if left > 1:
            self._left[blob_id] = left - 1
            return 0
        self._left.pop(blob_id, None)
        row = self._view.row(f"SELECT kind, {STORED_BYTES} FROM blob WHERE id = ?", (blob_id,))
        if row is None:
            return None
        if row[0] != BlobKind.COMPOSED:
            return int(row[1])
        children = "SELECT DISTINCT child_id FROM segment WHERE blob_id = ?"
        return int(
            self._view.value(
                f"SELECT ifnull(sum({STORED_BYTES}), 0) FROM blob WHERE refs = 1 AND id IN ({children})", (blob_id,)
            )
        )


def buckets_in_scope(view: View, rule: CapacityRule) -> list[Bucket]:
    """Return the buckets where something may go."""
    found: list[Bucket] = []
    while page := list_buckets(view, after=found[-1].name if found else ""):
        found += page
    return [bucket for bucket in found if not rule.buckets or bucket.name in rule.buckets]


def stored_versions(view: View, bucket: Bucket, key: str) -> list[ObjectRecord]:
    """Return the versions and markers of a key that are not current, the oldest first."""
    rows = view.rows(
        f"SELECT is_marker, {VERSION_COLUMNS} FROM version WHERE bucket_id = ? AND key = ? ORDER BY seq",
        (bucket.id, key),
    )
    return [ObjectRecord(key, *(*row[1:], bool(row[0]), False)) for row in rows]


def _kept(view: View, rule: CapacityRule, bucket: Bucket, settings: Settings | None) -> list[str]:
    """Return what stays; with settings, of what is current."""
    return [*spared_prefixes(view, bucket, settings), *kept_prefixes(rule, bucket.name)]


# Acting


def make_room(
    store: ObjectStore,
    settings: Settings,
    *,
    stop: threading.Event | None = None,
    done: Callable[[Doomed], None] = lambda _: None,
) -> Freed:
    """Delete until less than the low mark is used, or nothing more may go; `done` is told of each thing that went."""
    stop, freed = stop or threading.Event(), Freed()
    rule = get_capacity(store.view())
    if rule is None:
        return freed
    gauge = measure(store, store.view(), rule)
    plan = plan_room(store, store.view(), rule, settings, gauge)
    measured_s = time.monotonic()
    while not stop.is_set() and (batch := list(_batch(plan))):
        started_s = time.monotonic()
        if gauge.is_disk and started_s - measured_s >= MEASURE_PERIOD_S:
            measured_s = started_s
            if measure(store, store.view(), rule).used_bytes < gauge.low_bytes:
                break  # somebody else made room: of the disk the transaction cannot know
        went, is_enough = store.commit(partial(_carry_out, batch=batch, rule=rule, gauge=gauge, settings=settings))
        for doomed in went:
            freed.deletions += len(doomed.records)
            freed.aborts += bool(doomed.upload_id)
            freed.size_bytes += doomed.freed_bytes
            done(doomed)
        if is_enough:
            break
        stop.wait(min((time.monotonic() - started_s) * REST_RATIO, REST_S_MAX))
    if rule.high_water and gauge.is_high:
        after = measure(store, store.view(), rule)
        freed.is_enough = after.used_bytes < after.low_bytes
    return freed


def _batch(plan: Iterator[Doomed]) -> Iterator[Doomed]:
    changes = 0
    for doomed in plan:
        yield doomed
        changes += max(len(doomed.records), 1)
        if changes >= CHANGES_PER_TRANSACTION:
            return


def _carry_out(
    tx: Tx, batch: list[Doomed], rule: CapacityRule, gauge: Gauge, settings: Settings
) -> tuple[list[Doomed], bool]:
    """Delete what is still as it was; return what went, and whether nothing more is to go."""
    if get_capacity(tx) != rule:
        return [], True  # whoever changed it has the job run again
    went: list[Doomed] = []
    kept: dict[tuple[str, bool], tuple[str, ...]] = {}
    for doomed in batch:
        if not gauge.is_disk and tx.lake_held_bytes() < gauge.low_bytes:
            return went, True
        try:
            bucket = tx.bucket(doomed.bucket)
        except NotFoundError:
            continue
        name = bucket.name, any(record.is_latest for record in doomed.records)
        if name not in kept:
            kept[name] = tuple(_kept(tx, rule, bucket, settings if name[1] else None))
        if bucket.id == doomed.bucket_id and not doomed.key.startswith(kept[name]) and _is_same(tx, doomed):
            _delete(tx, bucket, doomed)
            went.append(doomed)
    return went, False


def _is_same(tx: Tx, doomed: Doomed) -> bool:
    """Say whether what is stored is what was decided on: nothing replaced, nothing new, nothing locked meanwhile."""
    if doomed.upload_id:
        return bool(
            tx.value(
                "SELECT 1 FROM upload WHERE bucket_id = ? AND key = ? AND upload_id = ?",
                (doomed.bucket_id, doomed.key, doomed.upload_id),
            )
        )
    place = (doomed.bucket_id, doomed.key)
    stored = dict(tx.rows("SELECT seq, attributes FROM version WHERE bucket_id = ? AND key = ?", place))
    current = tx.row("SELECT seq, attributes FROM object WHERE bucket_id = ? AND key = ?", place)
    decided = {record.seq: record for record in doomed.records}
    if any(record.is_latest for record in doomed.records):
        newest = {record.seq for record in doomed.records if record.is_latest}
        if current is None or newest != {current[0]} or not stored.keys() <= decided.keys():
            return False
        stored[current[0]] = current[1]
    elif len(decided) > 1 and (current is not None or stored.keys() != decided.keys()):
        return False
    return all(
        seq in stored and why_locked(msgspec.structs.replace(record, attributes_json=stored[seq]), tx.now_ms) is None
        for seq, record in decided.items()
    )


def _delete(tx: Tx, bucket: Bucket, doomed: Doomed) -> None:
    if doomed.upload_id:
        tx.act_as(_origin("AbortUpload", doomed))
        tx.spares_protected = True
        abort_upload(tx, bucket.name, doomed.key, doomed.upload_id)
    for record in doomed.records:
        tx.act_as(_origin("Delete", doomed))
        tx.spares_protected = True
        remove(tx, bucket, record, actor=PRINCIPAL)


def _origin(action: str, doomed: Doomed) -> Origin:
    return Origin("", f"{RULE}:{action}", PRINCIPAL, bucket=doomed.bucket, key=doomed.key, reason=doomed.reason)


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
