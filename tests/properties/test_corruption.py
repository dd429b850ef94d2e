"""Bytes rot at random in blobs, records and copies: nothing corrupt is served, and what can be is restored."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import msgspec
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.properties.profiles import IS_NIGHTLY, scratch_folder

from hosu.kernel.errors import CorruptError
from hosu.kernel.limits import INLINE_BYTES_MAX
from hosu.kernel.settings import Settings
from hosu.objects.alerts import list_alerts
from hosu.objects.blobs import VERIFIED_MS_MAX
from hosu.objects.bodies import BodyWriter, open_body, store_object
from hosu.objects.buckets import create_bucket, set_versioning
from hosu.objects.healing import find_owners
from hosu.objects.protected import ProtectedPrefix
from hosu.objects.put import PutRequest
from hosu.objects.records import Versioning
from hosu.objects.store import ObjectStore
from hosu.rules.copies import copy_key
from hosu.rules.copy_job import LocationKeeper
from hosu.rules.doctor_files import diagnose, treat
from hosu.rules.healing import install_healer
from hosu.rules.keeping import Keep
from hosu.rules.protection import protect
from hosu.rules.scrub import Pace, Scrubber, all_blobs
from hosu.testing.lake_check import find_faults
from hosu.testing.manual_clock import ManualClock

CORRUPTIONS = settings(
    max_examples=400 if IS_NIGHTLY else 25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
BUCKET = "images"
SAFE, LOOSE = "safe/", "loose/"


class Object(msgspec.Struct, frozen=True):
    """A version to put: below which prefix, under which of a few names, and what."""

    prefix: str
    name: str
    seed: int
    is_small: bool

    @property
    def key(self) -> str:
        return self.prefix + self.name

    @property
    def body(self) -> bytes:
        size = 100 if self.is_small else INLINE_BYTES_MAX + 1_000
        return hashlib.shake_128(str(self.seed).encode()).digest(size)


class Harm(msgspec.Struct, frozen=True):
    """What happens to one of the stored blobs, or to its copy."""

    which: int
    how: str
    at: int
    hits_copy: bool


OBJECTS = st.builds(Object, st.sampled_from([SAFE, LOOSE]), st.sampled_from("abc"), st.integers(0, 5), st.booleans())
HARMS = st.builds(
    Harm, st.integers(0, 50), st.sampled_from(["flip", "truncate", "lengthen", "zero", "unlink", "swap"]),
    st.integers(0, 99), st.booleans(),
)  # fmt: skip


class Lake:
    """A lake with copies of what is safe, and the truth about it."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.store = ObjectStore(folder / "lake", clock=self.clock, space_reserve_bytes=0)
        self.location = folder / "copies"
        self.location.mkdir()
        self.truth: dict[tuple[str, str], bytes] = {}
        store = self.store
        install_healer(store)
        store.commit(partial(create_bucket, name=BUCKET))
        store.commit(partial(set_versioning, name=BUCKET, versioning=Versioning.ENABLED))
        store.commit(partial(protect, entry=ProtectedPrefix(BUCKET, SAFE, str(self.location))))
        self.copies = LocationKeeper(Keep(store, Settings(), lambda *_: None), str(self.location))

    def put(self, one: Object) -> None:
        with BodyWriter(self.store) as writer:
            writer.write(one.body)
            staged, etag = writer.finish()
        record = store_object(self.store, PutRequest(BUCKET, one.key, staged, etag))
        self.truth[one.key, record.version_id] = one.body

    def change(self, statement: str) -> None:
        self.store.commit(lambda tx: tx.run(statement).close())

    def copy(self) -> None:
        self.copies.keep({BUCKET: (SAFE,)}, threading.Event())

    def blobs(self) -> list[tuple[int, int, bytes]]:
        return self.store.view().rows("SELECT id, kind, hash FROM blob WHERE kind < 2 ORDER BY id")

    def harm(self, harm: Harm) -> None:
        blobs = self.blobs()
        blob_id, kind, digest = blobs[harm.which % len(blobs)]
        if harm.hits_copy:
            self._harm_file(self.location / copy_key(digest), harm)
        elif kind == 1:
            self._harm_file(self.store.files.path(blob_id), harm)
        else:
            self._harm_inline(blob_id, harm)

    def _harm_inline(self, blob_id: int, harm: Harm) -> None:
        body = bytearray(self.store.view().value("SELECT body FROM blob WHERE id = ?", (blob_id,)))
        if harm.how in {"truncate", "unlink"}:
            del body[harm.at :]
        elif harm.how == "lengthen":
            body += b"more"
        elif body:
            body[harm.at % len(body)] ^= 1
        # A page that rots says nothing of when its bytes were checked, and the check is forgotten after a day anyway.
        statement = "UPDATE blob SET body = ? WHERE id = ?"
        self.store.commit(lambda tx: tx.run(statement, (bytes(body), blob_id)).close())

    def _harm_file(self, path: Path, harm: Harm) -> None:
        if not path.exists():
            return
        if harm.how == "unlink":
            path.unlink()
        elif harm.how == "swap":
            others = sorted(self.store.files.root.glob("*/*"))
            path.write_bytes(others[harm.at % len(others)].read_bytes() if others else b"")
        else:
            body = bytearray(path.read_bytes())
            if harm.how == "truncate":
                del body[harm.at :]
            elif harm.how == "lengthen":
                body += b"more"
            elif harm.how == "zero":
                body = bytearray(len(body))
            elif body:
                body[harm.at % len(body)] ^= 1
            path.write_bytes(body)

    def restorable(self) -> set[int]:
        """Return the blobs that are sound, or whose bytes a file or a copy still has where they are looked for."""
        found = set()
        for blob_id, kind, digest in self.blobs():
            own = (
                self.store.view().value("SELECT body FROM blob WHERE id = ?", (blob_id,))
                if kind == 0
                else _bytes_of(self.store.files.path(blob_id))
            )
            copy = _bytes_of(self.location / copy_key(digest))
            twins = [
                _bytes_of(self.store.files.path(it)) for it, other, same in self.blobs() if other and same == digest
            ]
            if digest in {blake3(body).digest() for body in (own, copy, *twins) if body is not None}:
                found.add(blob_id)
        return found

    def read(self, key: str, version_id: str | None) -> bytes | None:
        try:
            record, body = open_body(self.store, BUCKET, key, version_id)
            with body:
                return body.read(0, record.size_bytes)
        except CorruptError:
            return None


def _bytes_of(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


@contextmanager
def filled(objects: list[Object]) -> Iterator[Lake]:
    with scratch_folder() as folder:
        lake = Lake(Path(folder))
        try:
            for one in objects:
                lake.put(one)
            lake.copy()
            yield lake
        finally:
            lake.store.close()


@CORRUPTIONS
@given(
    objects=st.lists(OBJECTS, min_size=1, max_size=8),
    harms=st.lists(HARMS, min_size=1, max_size=6),
    order=st.sampled_from(["read first", "scrub first"]),
)
def test_reads_are_right_or_refused_and_a_scrub_restores_or_names(
    objects: list[Object], harms: list[Harm], order: str
) -> None:
    with filled(objects) as lake:
        lake.clock.advance(VERIFIED_MS_MAX)
        for harm in harms:
            lake.harm(harm)
        restorable = lake.restorable()
        needed = find_owners(lake.store.view(), [blob_id for blob_id, _, _ in lake.blobs()])
        if order == "read first":
            for (key, version_id), body in list(lake.truth.items()):
                assert lake.read(key, version_id) in {body, None}
        Scrubber(lake.store, Pace(lake.clock, 0, lambda _: None)).scrub(all_blobs(lake.store.view()))
        lost = {blob_id for blob_id in needed if blob_id not in restorable}
        named = {alert.subject: alert for alert in list_alerts(lake.store.view()) if alert.kind == "corrupt-object"}
        assert named.keys() == {f"blob/{blob_id}" for blob_id in lost}
        for blob_id in lost:
            for owner in needed[blob_id]:
                assert f"{owner.bucket}/{owner.key} (version {owner.version_id})" in named[f"blob/{blob_id}"].message
        gone = {(owner.key, owner.version_id) for blob_id in lost for owner in needed[blob_id]}
        for (key, version_id), body in lake.truth.items():
            assert lake.read(key, version_id) == (None if (key, version_id) in gone else body)
        for key in {key for key, _ in lake.truth}:
            versions = [(name, body) for name, body in lake.truth.items() if name[0] == key]
            readable = [body for name, body in versions if name not in gone]
            newest, body = versions[-1]
            if key.startswith(SAFE) and readable:
                assert lake.read(key, None) == readable[-1], "a protected object goes back to its newest sound version"
            else:
                assert lake.read(key, None) == (None if newest in gone else body)
        assert all("hash" in fault or "bytes, not" in fault or "missing" in fault for fault in find_faults(lake.store))
        lake.clock.advance(1)


RECORD_FAULTS = [
    "UPDATE bucket SET object_count = object_count + {n}",
    "UPDATE bucket SET version_bytes = {n}",
    "UPDATE blob SET refs = {n} WHERE id % 3 = {n} % 3",
    "INSERT OR IGNORE INTO garbage SELECT id, 0 FROM blob WHERE id % 2 = {n} % 2",
    "UPDATE counter SET value = 1 WHERE name = 'blob'",
    "UPDATE object SET seq = {n} WHERE key LIKE '%a'",
    "UPDATE object SET size_bytes = {n} WHERE key LIKE '%b'",
    "UPDATE version SET size_bytes = {n} WHERE key LIKE '%c'",
    "DELETE FROM event",
    "UPDATE bucket SET protected = {n}",
    "DELETE FROM bucket",
    "DELETE FROM blob WHERE kind = 1 AND id % 2 = {n} % 2",
    "UPDATE blob SET hash = zeroblob(32), is_corrupt = 1 WHERE kind = 1 AND id % 2 = {n} % 2",
]


@CORRUPTIONS
@given(
    objects=st.lists(OBJECTS, min_size=1, max_size=8),
    faults=st.lists(st.tuples(st.sampled_from(RECORD_FAULTS), st.integers(1, 9)), min_size=1, max_size=5),
)
def test_records_that_rot_are_repaired_without_losing_a_byte(
    objects: list[Object], faults: list[tuple[str, int]]
) -> None:
    with filled(objects) as lake:
        for statement, number in faults:
            lake.change(statement.format(n=number))
        treat(lake.store)
        treat(lake.store)  # what one repair brings to light, the next one mends
        assert [finding.kind for finding in diagnose(lake.store)] == []
        assert [fault for fault in find_faults(lake.store) if "has no event" not in fault] == []
        (bucket,) = lake.store.view().rows("SELECT name FROM bucket")[0]
        for (key, version_id), body in lake.truth.items():
            record, stored = open_body(lake.store, bucket, key, version_id)
            with stored:
                assert stored.read(0, record.size_bytes) == body
