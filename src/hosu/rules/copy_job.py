"""The keeper's job that keeps second copies of what is protected: all of it now and daily, changes as they come.

Between two walks over everything it follows the change feed, looking every second for what was put below a protected
prefix. A walk also finds copies that have gone from their location, and those that nothing needs any more.
"""

import itertools
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

from hosu.kernel.errors import CorruptError, HosuError
from hosu.kernel.fileio import FileStat
from hosu.kernel.log import get_logger
from hosu.kernel.settings import Settings
from hosu.objects.alerts import Severity, raise_alert, resolve_alert
from hosu.objects.feed import ACCESS_PREFIX, read_events
from hosu.objects.store import ObjectStore
from hosu.objects.transaction import Tx
from hosu.objects.views import View
from hosu.rules.copies import (
    BLOBS,
    GRACE_DAYS,
    Need,
    forget_copies,
    known_copies,
    locations,
    needs_below,
    needs_of_key,
    plan_copies,
    prefixes_of,
    record_copies,
)
from hosu.rules.copy_manifest import write_manifest
from hosu.rules.copy_places import MARKER, Place, find_place, make_place
from hosu.rules.days import days_ms
from hosu.rules.keeping import Keep
from hosu.rules.planning import Planned

LOOK_PERIOD_S: Final = 1.0
RETRY_S_MIN, RETRY_S_MAX = 5.0, 300.0
"""Between two tries of a location that failed."""

BEHIND_MS_MAX: Final = 60 * 60 * 1000
"""How long copies may be missing, for whatever reason, before that is critical."""

MANIFEST_PERIOD_MS: Final = 60_000
MANIFEST_SHARE: Final = 50
"""Writing the list of objects takes at most this part of the time, so that a long one is written more rarely."""

COPIES_AT_ONCE: Final = 4
COPIES_PER_TRANSACTION: Final = 64
EVENTS_PER_LOOK: Final = 1_000

Prefixes = dict[str, tuple[str, ...]]

_LOG = get_logger("copies")


class CopyJob:
    """Keeps the copies of all locations."""

    name = "copies"

    def __init__(self, keep: Keep) -> None:
        self._keep = keep
        self._keepers: dict[str, LocationKeeper] = {}

    def run(self, stop: threading.Event) -> float:
        """Keep copies until there are none to keep."""
        store = self._keep.store
        while not stop.is_set():
            view = store.view()
            wanted = {location: prefixes_of(view, entries) for location, entries in locations(view).items()}
            known = {row[0] for row in view.rows("SELECT location FROM copy_location")}
            for location in self._keepers.keys() - wanted.keys() - known:
                del self._keepers[location]
            for location in sorted(wanted.keys() | known):
                if location not in self._keepers:
                    self._keepers[location] = LocationKeeper(self._keep, location)
                self._keepers[location].keep(wanted.get(location, {}), stop)
            stop.wait(LOOK_PERIOD_S)
        return LOOK_PERIOD_S


class LocationKeeper:
    """Keeps the copies of one location."""

    def __init__(self, keep: Keep, location: str) -> None:
        self._keep = keep
        self._store = keep.store
        self.location = location
        self._prefixes: Prefixes | None = None
        self._seq = 0
        self._walked_ms = 0
        self._retry_s = RETRY_S_MIN
        self._next_s = 0.0
        self._listed_ms: dict[str, int] = {}
        self._unlisted: set[str] = set()
        self._failed: dict[bytes, tuple[str, str]] = {}
        """Blobs that could not be copied, as they are corrupt themselves, with bucket and key: tried again alone."""
        self._list_pause_ms = MANIFEST_PERIOD_MS

    def keep(self, prefixes: Prefixes, stop: threading.Event) -> None:
        """Do what is due; what fails is alerted, and tried again later."""
        if self._store.clock.monotonic() < self._next_s:
            return
        try:
            has_failed = self._keep_up(prefixes, stop)
        except (HosuError, OSError) as error:
            _LOG.error("second copies cannot be kept", location=self.location, error=str(error))
            self._fail(str(error))
            return
        if has_failed:
            self._fail("some blobs could not be copied: they are corrupt themselves, or the location loses bytes")
        elif not stop.is_set():
            self._retry_s, self._next_s = RETRY_S_MIN, 0.0
            self._succeed()

    def _keep_up(self, prefixes: Prefixes, stop: threading.Event) -> bool:
        """Walk or follow; say whether any blob could not be copied."""
        now_ms, view = self._store.clock.now_ms(), self._store.view()
        is_due = not 0 <= now_ms - self._walked_ms < days_ms(self._keep.settings, 1)
        if prefixes != self._prefixes or is_due or self._has_lost_events(view):
            has_failed = self.walk(prefixes, stop)
        else:
            has_failed = self._copy_failed(view, stop) | self._follow(prefixes, stop)
        if not stop.is_set():
            self._write_lists(prefixes)
        return has_failed

    def _has_lost_events(self, view: View) -> bool:
        oldest = view.value("SELECT min(seq) FROM event")
        return oldest is not None and oldest > self._seq + 1

    # All of it

    def walk(self, prefixes: Prefixes, stop: threading.Event) -> bool:
        """Compare everything that is protected with everything that the location has; say whether a blob failed."""
        view = self._store.view()
        place = make_place(self._store, self.location) if prefixes else find_place(self._store, self.location)
        if place is None:
            return False
        seq = view.value("SELECT max(seq) FROM event") or 0
        listed = _list_copies(place)
        self._forget_lost(place, listed)
        known, needed = known_copies(view, place.number), set[bytes]()
        self._failed.clear()

        def missing() -> Iterator[Need]:
            for bucket, below in prefixes.items():
                for need in needs_below(view, bucket, below):
                    if need.digest not in needed:
                        needed.add(need.digest)
                        if need.digest not in known:
                            yield need

        has_failed = self._copy(place, missing(), stop)
        if stop.is_set():
            return has_failed
        self._mark(place, known, needed, listed)
        if not has_failed:
            self._remove_unneeded(place, is_over=not prefixes)
        self._prefixes, self._seq, self._walked_ms = prefixes, seq, self._store.clock.now_ms()
        self._unlisted |= set(prefixes)
        return has_failed

    def _forget_lost(self, place: Place, listed: dict[bytes, int]) -> None:
        """Forget copies that have gone from their location, or have another size there: they are copied again."""
        known = known_copies(self._store.view(), place.number)
        lost = [digest for digest, (size_bytes, *_) in known.items() if listed.get(digest) != size_bytes]
        for batch in _batches(lost):
            reason = f"it is no longer in {self.location}, or not whole"
            self._store.commit(partial(forget_copies, number=place.number, digests=batch, reason=reason))
        if lost:
            _LOG.warning("second copies have gone", location=self.location, copies=len(lost))

    def _mark(
        self, place: Place, known: dict[bytes, tuple[int, int, int]], needed: set[bytes], listed: dict[bytes, int]
    ) -> None:
        """Note which copies nothing needs any more, and which are needed again."""
        now_ms = self._store.clock.now_ms()
        again = [digest for digest, (_, _, unneeded_ms) in known.items() if unneeded_ms and digest in needed]
        over = [digest for digest, (_, _, unneeded_ms) in known.items() if not unneeded_ms and digest not in needed]
        for digests, since_ms in ((again, 0), (over, now_ms)):
            for batch in _batches(digests):
                self._store.commit(partial(_set_unneeded, number=place.number, digests=batch, since_ms=since_ms))
        strays = [(digest, size) for digest, size in listed.items() if digest not in known and digest not in needed]
        for start in range(0, len(strays), COPIES_PER_TRANSACTION):
            batch_of_strays = strays[start : start + COPIES_PER_TRANSACTION]
            self._store.commit(partial(_add_strays, number=place.number, strays=batch_of_strays))

    def _remove_unneeded(self, place: Place, *, is_over: bool) -> None:
        """Remove copies that nothing has needed for a while; with the last one a location that no rule names."""
        end_ms = self._store.clock.now_ms() - days_ms(self._keep.settings, GRACE_DAYS)
        statement = "SELECT hash FROM copy WHERE location_id = ? AND unneeded_ms > 0 AND unneeded_ms <= ?"
        unneeded = [row[0] for row in self._store.view().rows(statement, (place.number, end_ms))]
        for batch in _batches(unneeded):
            place.remove(batch)
            reason = f"nothing protected has had these bytes for {GRACE_DAYS} days; the copy was in {self.location}"
            self._store.commit(partial(forget_copies, number=place.number, digests=batch, reason=reason))
            self._keep.count("rule_actions/protection/RemoveCopy", len(batch))
        if is_over and not known_copies(self._store.view(), place.number):
            lists = [entry.key for entry in place.files.list("manifest/") if isinstance(entry, FileStat)]
            place.files.delete_many([*lists, MARKER])
            self._store.commit(partial(_forget_location, number=place.number, location=self.location))

    # Changes

    def _follow(self, prefixes: Prefixes, stop: threading.Event) -> bool:
        """Copy what has changed below the prefixes since the last look."""
        view, has_failed = self._store.view(), False
        while not stop.is_set():
            events = read_events(view, after_seq=self._seq, limit=EVENTS_PER_LOOK)
            if not events:
                break
            keys = dict.fromkeys(
                (event.bucket, event.key)
                for event in events
                if event.key.startswith(prefixes.get(event.bucket, ())) and not event.kind.startswith(ACCESS_PREFIX)
            )
            has_failed |= bool(keys) and self._copy_keys(view, keys, stop)
            if stop.is_set():
                break
            self._seq = events[-1].seq
        return has_failed

    def _copy_failed(self, view: View, stop: threading.Event) -> bool:
        """Try again what could not be copied; say whether any of it still cannot."""
        if not self._failed:
            return False
        failed, self._failed = self._failed, {}
        try:
            return self._copy_keys(view, set(failed.values()), stop)
        except BaseException:
            self._failed = failed
            raise

    def _copy_keys(self, view: View, keys: Iterable[tuple[str, str]], stop: threading.Event) -> bool:
        place = make_place(self._store, self.location)
        needs: dict[bytes, Need] = {}
        for bucket, key in keys:
            self._unlisted.add(bucket)
            needs |= {need.digest: need for need in needs_of_key(view, bucket, key)}
        known = {
            digest
            for digest in needs
            if view.value("SELECT 1 FROM copy WHERE location_id = ? AND hash = ?", (place.number, digest))
        }
        return self._copy(place, (need for digest, need in needs.items() if digest not in known), stop)

    # Copying

    def _copy(self, place: Place, needs: Iterator[Need], stop: threading.Event) -> bool:
        """Copy blobs, some at once, and note each once it is there; say whether any is corrupt itself."""
        has_failed = False
        with ThreadPoolExecutor(COPIES_AT_ONCE, thread_name_prefix="hosu-copy") as pool:
            while not stop.is_set():
                batch = list(itertools.islice(needs, COPIES_PER_TRANSACTION))
                if not batch:
                    break
                outcomes = list(pool.map(partial(self._copy_one, place), batch))
                done = [need for need, is_there in zip(batch, outcomes, strict=True) if is_there]
                failed = [need for need, is_there in zip(batch, outcomes, strict=True) if is_there is False]
                self._failed |= {need.digest: (need.bucket, need.key) for need in failed}
                has_failed |= bool(failed)
                if done:
                    verb = partial(record_copies, number=place.number, location=self.location, needs=done)
                    self._store.commit(verb)
                    self._keep.count("rule_actions/protection/Copy", len(done))
                    self._keep.count("rule_bytes/protection/Copy", sum(need.blob.stored_bytes for need in done))
        return has_failed

    def _copy_one(self, place: Place, need: Need) -> bool | None:
        """Copy a blob, restored first if it is corrupt; None when it was removed while it was about to be copied."""
        try:
            place.write(need)
        except CorruptError as error:
            if not self._store.view().value("SELECT refs FROM blob WHERE id = ?", (need.blob.id,)):
                return None
            if not self._store.heal(error):
                return False
            try:
                place.write(need)
            except CorruptError:
                return False
        return True

    # Lists of objects

    def _write_lists(self, prefixes: Prefixes) -> None:
        """Write the list of each bucket that has changed, unless it was written just now."""
        now_ms = self._store.clock.now_ms()
        for bucket in sorted(self._unlisted):
            if bucket not in prefixes:
                self._unlisted.discard(bucket)
            elif not 0 <= now_ms - self._listed_ms.get(bucket, 0) < self._list_pause_ms:
                place = find_place(self._store, self.location)
                if place is None:
                    return
                began_s = self._store.clock.monotonic()
                write_manifest(self._store, place, bucket, prefixes[bucket])
                spent_ms = round((self._store.clock.monotonic() - began_s) * 1000)
                self._list_pause_ms = max(MANIFEST_PERIOD_MS, spent_ms * MANIFEST_SHARE)
                self._listed_ms[bucket] = self._store.clock.now_ms()
                self._unlisted.discard(bucket)

    # Alerts

    def _fail(self, why: str) -> None:
        self._keep.count("rule_errors/protection", 1)
        self._next_s = self._store.clock.monotonic() + self._retry_s
        self._retry_s = min(2 * self._retry_s, RETRY_S_MAX)
        self._store.commit(partial(_note_behind, location=self.location, why=why))

    def _succeed(self) -> None:
        statement = "SELECT 1 FROM alert WHERE kind = 'copy-missing' AND subject = ? AND resolved_ms = 0"
        view = self._store.view()
        is_behind = view.value("SELECT behind_ms FROM copy_location WHERE location = ?", (self.location,))
        if is_behind or view.value(statement, (self.location,)):
            self._store.commit(partial(_note_kept_up, location=self.location))


def run_copies(store: ObjectStore, settings: Settings) -> list[Planned]:
    """Compare everything protected with its copies once, as the job does daily; return what was done.

    Raises what a location answers, HosuError for one that is out of reach.
    """
    planned = list(plan_copies(store, settings))
    view, stop = store.view(), threading.Event()
    wanted = {location: prefixes_of(view, entries) for location, entries in locations(view).items()}
    known = {row[0] for row in view.rows("SELECT location FROM copy_location")}
    for location in sorted(wanted.keys() | known):
        keeper = LocationKeeper(Keep(store, settings, lambda _name, _number: None), location)
        keeper.walk(wanted.get(location, {}), stop)
    left = set(plan_copies(store, settings))
    return [it for it in planned if it not in left]


def _list_copies(place: Place) -> dict[bytes, int]:
    """Return the size in bytes of every copy that the location lists, by hash."""
    found = {}
    for entry in place.files.list(BLOBS):
        name = entry.key.rpartition("/")[2]
        if isinstance(entry, FileStat) and len(name) == 64:  # noqa: PLR2004 - a BLAKE3 in hex
            found[bytes.fromhex(name)] = entry.size_bytes
    return found


def _batches(digests: list[bytes]) -> Iterator[list[bytes]]:
    for start in range(0, len(digests), COPIES_PER_TRANSACTION):
        yield digests[start : start + COPIES_PER_TRANSACTION]


def _set_unneeded(tx: Tx, *, number: int, digests: list[bytes], since_ms: int) -> None:
    for digest in digests:
        tx.run("UPDATE copy SET unneeded_ms = ? WHERE location_id = ? AND hash = ?", (since_ms, number, digest))


def _add_strays(tx: Tx, *, number: int, strays: list[tuple[bytes, int]]) -> None:
    """Note files that a crash left in a location: they go once nothing has needed them for a while."""
    for digest, size_bytes in strays:
        tx.run("INSERT OR IGNORE INTO copy VALUES (?, ?, ?, 0, ?)", (number, digest, size_bytes, tx.now_ms))


def _forget_location(tx: Tx, *, number: int, location: str) -> None:
    tx.run("DELETE FROM copy_location WHERE id = ?", (number,))
    resolve_alert(tx, "copy-missing", location)


def _note_behind(tx: Tx, *, location: str, why: str) -> None:
    tx.run("UPDATE copy_location SET behind_ms = ? WHERE location = ? AND behind_ms = 0", (tx.now_ms, location))
    since_ms = tx.value("SELECT behind_ms FROM copy_location WHERE location = ?", (location,)) or tx.value(
        "SELECT first_ms FROM alert WHERE kind = 'copy-missing' AND subject = ? AND resolved_ms = 0", (location,)
    )
    is_late = since_ms is not None and tx.now_ms - since_ms > BEHIND_MS_MAX
    raise_alert(
        tx,
        "copy-missing",
        location,
        Severity.CRITICAL if is_late else Severity.WARNING,
        f"protected objects lack their second copy in {location}: {why}",
    )


def _note_kept_up(tx: Tx, *, location: str) -> None:
    tx.run("UPDATE copy_location SET behind_ms = 0 WHERE location = ?", (location,))
    resolve_alert(tx, "copy-missing", location)
