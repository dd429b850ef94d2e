"""The engine must answer like a dict of lists, whatever the order of calls, restarts and sweeps included."""

import contextlib
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.properties.bucket_model import Group, ModelBucket, ModelUpload, ModelVersion, group, md5
from tests.properties.profiles import MACHINES, scratch_folder

from hosu.kernel.errors import ConflictError, ErrorKind, HosuError, NotFoundError, PreconditionFailedError
from hosu.objects import aliases, buckets, multipart
from hosu.objects.blobs import StagedBlob, stage_inline
from hosu.objects.delete import delete_object
from hosu.objects.listing import ListRequest, list_objects, list_versions
from hosu.objects.protected import ProtectedPrefix, set_protected
from hosu.objects.put import (
    CopyRequest,
    PutRequest,
    copy_object,
    put_object,
    set_legal_hold,
    set_retention,
    set_tags,
)
from hosu.objects.read import find, find_with_blob
from hosu.objects.records import Attributes, BlobKind, Conditions, LockMode, Versioning
from hosu.objects.retention import BucketLock, set_bucket_lock
from hosu.objects.store import ObjectStore
from hosu.objects.sweep import sweep
from hosu.objects.transaction import Tx
from hosu.testing.lake_check import find_faults, find_orphans, read_blob
from hosu.testing.manual_clock import ManualClock

BUCKET = "images"
ALIAS = "al/"
STORED = [
    "a",
    "a/",
    "a/1",
    "a/2",
    "a/1/x",
    "a//",
    "a\x00b",
    "b/1",
    "b/2\x00z",
    "b/é",
    "é",
    "\uffff",
    "\U0001f600/1",
    "\U0010ffff",
    "c",
]
HOT = ["a/1", "b/1", "c"]
"""Keys that most calls meet at, so that versions pile up."""

KEYS = st.sampled_from(HOT) | st.sampled_from(HOT) | st.sampled_from([*STORED, "al/1", "al/2", "al", "am"])
BODIES = st.sampled_from([b"", b"1", b"two", b"three" * 5])
TAGS = st.sampled_from([{}, {"team": "vision"}])
PLACES = st.integers(0, 10)
PREFIXES = st.sampled_from(["", "a", "a/", "al", "al/", "b/", "\U0001f600", "\U0010ffff", "none"])
DELIMITERS = st.sampled_from(["", "/", "/1", "1", "\x00"])
FORMS = st.sampled_from([BlobKind.INLINE, BlobKind.FILE])
LIMITS = st.integers(1, 4)


class EngineAgainstModel(RuleBasedStateMachine):
    """One bucket, its model, and everything users can do to both."""

    @initialize(versioning=st.sampled_from(Versioning), is_filled=st.booleans())
    def open(self, versioning: Versioning, is_filled: bool) -> None:  # noqa: FBT001 - hypothesis draws it
        self.folder = scratch_folder()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(multipart, "PART_BYTES_MIN", 1)
        self.clock = ManualClock(time.time_ns() // 1_000_000 + 3_600_000)
        self.model = ModelBucket()
        self.store, self.other = self._open(), self._open()
        self.store.commit(partial(buckets.create_bucket, name=BUCKET))
        if is_filled:  # most of the engine needs something to work on
            self.put("a/1", b"older", BlobKind.FILE, {})
        if versioning != Versioning.NEVER:
            self.set_versioning(versioning)
        if is_filled:
            for key in HOT:
                self.put(key, key.encode(), BlobKind.FILE, {})
            self.begin_upload("a/1")
            for number, form in enumerate((BlobKind.FILE, BlobKind.INLINE), 1):
                self.add_part(0, number, b"part" * number, form)

    def _open(self) -> ObjectStore:
        return ObjectStore(Path(self.folder.name) / "lake", clock=self.clock, space_reserve_bytes=0)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            self.other.close()
            self.patch.undo()
            self.folder.cleanup()

    def _stage(self, body: bytes, form: BlobKind) -> StagedBlob:
        if form == BlobKind.INLINE:
            return stage_inline(body)
        with self.store.new_blob() as blob:
            blob.write(body)
            return self.store.finish_blob(blob)

    @contextlib.contextmanager
    def _writing(self, *keys: str) -> Iterator[None]:
        """Expect a write below an alias to be refused; what follows in the block does not happen then."""
        if any(self.model.is_below_alias(key) for key in keys):
            with pytest.raises(ConflictError) as refusal:
                yield
            assert refusal.value.kind == ErrorKind.ALIAS_READ_ONLY
        else:
            yield

    # Objects

    @rule(key=KEYS, body=BODIES, form=FORMS, tags=TAGS)
    def put(self, key: str, body: bytes, form: BlobKind, tags: dict[str, str]) -> None:
        request = PutRequest(BUCKET, key, self._stage(body, form), md5(body), attributes=Attributes(tags=tags))
        with self._writing(key):
            record = self.store.commit(partial(put_object, request=request))
            self.model.add(key, ModelVersion(record.version_id, body, md5(body), tags))

    @rule(key=KEYS, body=BODIES, place=st.sampled_from(["*", "if-match", "other"]))
    def put_on_condition(self, key: str, body: bytes, place: str) -> None:
        before = self.model.current(key)
        etag = before.etag if before is not None and place == "if-match" else md5(b"other")
        conditions = Conditions(if_none_match="*") if place == "*" else Conditions(if_match=etag)
        staged = self._stage(body, BlobKind.FILE)
        request = PutRequest(BUCKET, key, staged, md5(body), conditions=conditions)
        is_met = before is None if place == "*" else before is not None and before.etag == etag
        if self.model.is_below_alias(key) or not is_met:
            with pytest.raises((PreconditionFailedError, NotFoundError, ConflictError)):
                self.store.commit(partial(put_object, request=request))
            self.store.discard(staged)
        else:
            record = self.store.commit(partial(put_object, request=request))
            self.model.add(key, ModelVersion(record.version_id, body, md5(body)))

    @rule(source=KEYS, key=KEYS, tags=st.none() | TAGS)
    def copy(self, source: str, key: str, tags: dict[str, str] | None) -> None:
        request = CopyRequest(BUCKET, source, BUCKET, key, tags=tags)
        version = self.model.current(source)
        if version is None:
            with pytest.raises(NotFoundError):
                self.store.commit(partial(copy_object, request=request))
            return
        with self._writing(key):
            record = self.store.commit(partial(copy_object, request=request)).record
            assert record is not None
            kept = version.tags if tags is None else tags
            self.model.add(key, ModelVersion(record.version_id, version.body, version.etag, kept))

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        with self._writing(key):
            outcome = self.store.commit(partial(delete_object, bucket_name=BUCKET, key=key))
            self.model.delete(key, outcome.version_id)

    @rule(key=KEYS, place=PLACES, bypass=st.booleans())
    def delete_one_version(self, key: str, place: int, bypass: bool) -> None:  # noqa: FBT001 - hypothesis draws it
        versions = self.model.keys.get(key, [])
        version = versions[place % len(versions)] if versions else ModelVersion("null", None)
        verb = partial(delete_object, bucket_name=BUCKET, key=key, version_id=version.id, bypass_governance=bypass)
        with self._writing(key):
            if version.is_locked(self.clock.now_ms(), bypass=bypass):
                with pytest.raises(ConflictError) as refusal:
                    self.store.commit(verb)
                if refusal.value.kind == ErrorKind.ALIAS_READ_ONLY:
                    raise refusal.value
                assert refusal.value.kind == ErrorKind.OBJECT_LOCKED
                return
            self.store.commit(verb)
            if versions:
                self.model.delete_version(key, version.id)

    @rule(key=KEYS, place=PLACES, tags=TAGS)
    def tag_one_version(self, key: str, place: int, tags: dict[str, str]) -> None:
        versions = [it for it in self.model.keys.get(key, []) if it.body is not None]
        if versions:
            version = versions[place % len(versions)]
            with self._writing(key):
                self.store.commit(partial(set_tags, bucket_name=BUCKET, key=key, version_id=version.id, tags=tags))
                version.tags = tags

    @rule(versioning=st.sampled_from([Versioning.ENABLED, Versioning.SUSPENDED]))
    def set_versioning(self, versioning: Versioning) -> None:
        verb = partial(buckets.set_versioning, name=BUCKET, versioning=versioning)
        if self.model.is_lockable and versioning == Versioning.SUSPENDED:
            with pytest.raises(ConflictError):
                self.store.commit(verb)
            return
        self.store.commit(verb)
        self.model.versioning = versioning

    # Locks, and what is protected

    @precondition(lambda self: self.model.versioning == Versioning.ENABLED)
    @rule()
    def switch_object_lock_on(self) -> None:
        self.store.commit(partial(set_bucket_lock, name=BUCKET, lock=BucketLock()))
        self.model.is_lockable = True

    @precondition(lambda self: self.model.is_lockable)
    @rule(
        key=KEYS, place=PLACES, mode=st.none() | st.sampled_from(LockMode), days=st.integers(1, 3), bypass=st.booleans()
    )
    def retain_one_version(
        self,
        key: str,
        place: int,
        mode: LockMode | None,
        days: int,
        bypass: bool,  # noqa: FBT001 - hypothesis draws it
    ) -> None:
        versions = [it for it in self.model.keys.get(key, []) if it.body is not None]
        if not versions or self.model.is_below_alias(key):
            return
        version, now_ms = versions[place % len(versions)], self.clock.now_ms()
        until_ms = 0 if mode is None else now_ms + days * 24 * 3_600_000
        verb = partial(
            set_retention, bucket_name=BUCKET, key=key, version_id=version.id, mode=mode, retain_until_ms=until_ms,
            bypass_governance=bypass,
        )  # fmt: skip
        is_kept = version.mode is not None and version.until_ms > now_ms
        is_weaker = mode is not version.mode or until_ms < version.until_ms
        if is_kept and is_weaker and not (bypass and version.mode is LockMode.GOVERNANCE):
            with pytest.raises(ConflictError) as refusal:
                self.store.commit(verb)
            assert refusal.value.kind == ErrorKind.OBJECT_LOCKED
            return
        self.store.commit(verb)
        version.mode, version.until_ms = mode, until_ms

    @precondition(lambda self: self.model.is_lockable)
    @rule(key=KEYS, place=PLACES, is_on=st.booleans())
    def hold_one_version(self, key: str, place: int, is_on: bool) -> None:  # noqa: FBT001 - hypothesis draws it
        versions = [it for it in self.model.keys.get(key, []) if it.body is not None]
        if versions and not self.model.is_below_alias(key):
            version = versions[place % len(versions)]
            self.store.commit(partial(set_legal_hold, bucket_name=BUCKET, key=key, version_id=version.id, is_on=is_on))
            version.is_held = is_on

    @rule(prefixes=st.sets(st.sampled_from(["a/", "b/", "al/", "c"]), max_size=2))
    def protect(self, prefixes: set[str]) -> None:
        entries = [ProtectedPrefix(BUCKET, prefix) for prefix in sorted(prefixes)]
        self.store.commit(partial(set_protected, entries=entries))
        self.model.protected = prefixes

    @rule(key=KEYS, body=BODIES, is_delete=st.booleans())
    def write_sparing_what_is_protected(
        self,
        key: str,
        body: bytes,
        is_delete: bool,  # noqa: FBT001 - hypothesis draws it
    ) -> None:
        if self.model.is_below_alias(key):
            return
        request = PutRequest(BUCKET, key, stage_inline(body), md5(body))

        def operation(tx: Tx) -> str | None:
            tx.spares_protected = True
            if is_delete:
                return delete_object(tx, BUCKET, key).version_id
            return put_object(tx, request).version_id

        versions = self.model.keys.get(key, [])
        dropped = [it for it in versions if it.id == "null"] if self.model.versioning != Versioning.ENABLED else []
        is_change = any(it.body is not None for it in (*versions[:1], *dropped))
        if self.model.is_protected(key) and is_change:
            with pytest.raises(ConflictError) as refusal:
                self.store.commit(operation)
            assert refusal.value.kind == ErrorKind.PROTECTED
            return
        version_id = self.store.commit(operation)
        if is_delete:
            self.model.delete(key, version_id)
        else:
            assert version_id is not None
            self.model.add(key, ModelVersion(version_id, body, md5(body)))

    # Uploads

    @rule(key=KEYS)
    def begin_upload(self, key: str) -> None:
        with self._writing(key):
            verb = partial(multipart.create_upload, bucket_name=BUCKET, key=key, attributes=Attributes())
            self.model.uploads[self.store.commit(verb).upload_id] = ModelUpload(key)

    def _upload(self, place: int) -> tuple[str, ModelUpload]:
        return sorted(self.model.uploads.items())[place % len(self.model.uploads)]

    @precondition(lambda self: self.model.uploads)
    @rule(place=PLACES, number=st.integers(1, 3), body=BODIES, form=FORMS)
    def add_part(self, place: int, number: int, body: bytes, form: BlobKind) -> None:
        upload_id, upload = self._upload(place)
        staged = self._stage(body, form)
        names = {"bucket_name": BUCKET, "key": upload.key, "upload_id": upload_id}
        self.store.commit(lambda tx: multipart.add_part(tx, number=number, body=staged, etag=md5(body), **names))
        upload.parts[number] = body

    @precondition(lambda self: self.model.uploads)
    @rule(place=PLACES, number=st.integers(1, 3), source=KEYS, start=st.integers(0, 3), size=st.integers(1, 20))
    def add_part_of_object(self, place: int, number: int, source: str, start: int, size: int) -> None:
        version = self.model.current(source)
        if version is None or version.body is None or start >= len(version.body):
            return
        upload_id, upload = self._upload(place)
        end = min(len(version.body), start + size)
        part = version.body[start:end]
        names = {"bucket_name": BUCKET, "key": upload.key, "upload_id": upload_id}
        self.store.commit(
            lambda tx: multipart.add_part_by_reference(
                tx, number=number, source=find(tx, BUCKET, source), start=start, end=end, etag=md5(part), **names
            )
        )
        upload.parts[number] = part

    @precondition(lambda self: self.model.uploads)
    @rule(place=PLACES, skipped=st.integers(0, 5))
    def complete_upload(self, place: int, skipped: int) -> None:
        upload_id, upload = self._upload(place)
        chosen = [(number, body) for number, body in sorted(upload.parts.items()) if number != skipped]
        named = [multipart.CompletedPart(number, md5(body)) for number, body in chosen]
        request = multipart.CompleteRequest(BUCKET, upload.key, upload_id, named)
        verb = partial(multipart.complete_upload, request=request)
        with self._writing(upload.key):
            if not chosen or any(not body for _, body in chosen[:-1]):
                with pytest.raises(HosuError) as refusal:
                    self.store.commit(verb)
                if refusal.value.kind == ErrorKind.ALIAS_READ_ONLY:
                    raise refusal.value
                return
            record = self.store.commit(verb)
            whole = b"".join(body for _, body in chosen)
            etag = md5(b"".join(bytes.fromhex(md5(body)) for _, body in chosen)) + f"-{len(chosen)}"
            assert self.store.commit(verb) == record, "a completion sent again gets the same answer"
            self.model.add(upload.key, ModelVersion(record.version_id, whole, etag))
            del self.model.uploads[upload_id]

    @precondition(lambda self: self.model.uploads)
    @rule(place=PLACES)
    def abort_upload(self, place: int) -> None:
        upload_id, upload = self._upload(place)
        verb = partial(multipart.abort_upload, bucket_name=BUCKET, key=upload.key, upload_id=upload_id)
        self.store.commit(verb)
        del self.model.uploads[upload_id]

    # Aliases

    @rule(place=st.sampled_from(["a/", "b/", "none/"]))
    def point_alias(self, place: str) -> None:
        visible = {key for key, versions in self.model.keys.items() if versions[0].body is not None}
        is_free = ALIAS in self.model.aliases or not any(key.startswith(ALIAS) for key in visible)
        has_target = any(key.startswith(place) for key in visible)
        verb = partial(aliases.set_alias, bucket_name=BUCKET, prefix=ALIAS, target=place)
        if is_free and has_target and self.model.aliases.get(ALIAS) != place:
            self.store.commit(verb)
            self.model.aliases[ALIAS] = place
        else:
            with pytest.raises((ConflictError, NotFoundError)):
                self.store.commit(verb)

    @precondition(lambda self: self.model.aliases)
    @rule()
    def remove_alias(self) -> None:
        self.store.commit(partial(aliases.remove_alias, bucket_name=BUCKET, prefix=ALIAS))
        self.model.aliases.clear()

    # Upkeep

    @rule()
    def sweep_everything(self) -> None:
        sweep(self.store, grace_ms=0, orphan_ms=0)
        assert find_orphans(self.store) == set()
        assert self.store.view().rows("SELECT * FROM garbage") == []

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = self._open()

    @rule()
    def go_on_in_another_process(self) -> None:
        """Write through the other of two stores, which share nothing but the lake."""
        self.store, self.other = self.other, self.store

    @rule(days=st.integers(0, 3))
    def let_time_pass(self, days: int) -> None:
        self.clock.advance(days * 24 * 3_600_000)

    # What must hold after every call

    @rule(prefix=PREFIXES, delimiter=DELIMITERS, limit=LIMITS)
    def list_pages(self, prefix: str, delimiter: str, limit: int) -> None:
        found: list[Group] = []
        request = ListRequest(BUCKET, prefix=prefix, delimiter=delimiter, limit=limit)
        expected = group(list(self.model.visible()), prefix, delimiter)
        while True:
            page = list_objects(self.store.view(), request)
            lines = [(it.key, False) for it in page.entries] + [(it, True) for it in page.prefixes]
            assert page.count == len(lines) <= limit
            found += sorted(lines, key=lambda line: line[0].encode())
            assert page.is_truncated == (len(found) < len(expected))
            if not page.is_truncated:
                break
            request = ListRequest(
                BUCKET,
                prefix=prefix,
                delimiter=delimiter,
                limit=limit,
                after=page.last,
                skips_after=page.last_is_prefix,
            )
        assert found == expected

    @rule(prefix=PREFIXES, delimiter=DELIMITERS, limit=LIMITS)
    def list_version_pages(self, prefix: str, delimiter: str, limit: int) -> None:
        stored = sorted(self.model.keys, key=str.encode)
        expected: list[tuple[object, ...]] = []
        for key, is_prefix in group(stored, prefix, delimiter):
            versions = [] if is_prefix else self.model.keys[key]
            expected += [(key, it.id, it.body is None, it is versions[0]) for it in versions] or [(key,)]
        found: list[tuple[object, ...]] = []
        key_marker = version_id_marker = ""
        while True:
            page = list_versions(
                self.store.view(),
                BUCKET,
                prefix=prefix,
                delimiter=delimiter,
                limit=limit,
                key_marker=key_marker,
                version_id_marker=version_id_marker,
            )
            lines = [(it.key, it.version_id, it.is_marker, it.is_latest) for it in page.records]
            assert len(lines) + len(page.prefixes) <= limit
            found += sorted([*lines, *((it,) for it in page.prefixes)], key=lambda line: str(line[0]).encode())
            assert page.is_truncated == (len(found) < len(expected))
            if not page.is_truncated:
                break
            key_marker, version_id_marker = page.last_key, page.last_version_id
        assert found == expected

    @rule(prefix=PREFIXES, limit=LIMITS)
    def list_upload_pages(self, prefix: str, limit: int) -> None:
        found: list[tuple[str, str]] = []
        key_marker = upload_id_marker = ""
        while True:
            page = multipart.list_uploads(
                self.store.view(),
                BUCKET,
                prefix=prefix,
                limit=limit,
                key_marker=key_marker,
                upload_id_marker=upload_id_marker,
            )
            found += [(it.key, it.upload_id) for it in page.uploads]
            if not page.is_truncated:
                break
            assert len(page.uploads) == limit
            key_marker, upload_id_marker = page.last_key, page.last_upload_id
        uploads = [(it.key, upload_id) for upload_id, it in self.model.uploads.items() if it.key.startswith(prefix)]
        assert found == sorted(uploads, key=lambda it: (it[0].encode(), it[1]))

    @invariant()
    def reads_what_was_written(self) -> None:
        if not hasattr(self, "store"):
            return
        view, visible = self.store.view(), self.model.visible()
        for key in [*STORED, "al/1", "al/2", "al/2\x00z", "al/1/x", "al", "am"]:
            expected = visible.get(key)
            if expected is None:
                with pytest.raises(NotFoundError):
                    find_with_blob(view, BUCKET, key)
                for store in (self.store, self.other):
                    with pytest.raises(NotFoundError):
                        store.find_small(BUCKET, key)
                continue
            for store in (self.store, self.other):
                remembered, small = store.find_small(BUCKET, key)
                assert remembered.version_id == expected.id
                assert remembered.attributes.tags == expected.tags
                assert small in (None, expected.body)
            record, blob = find_with_blob(view, BUCKET, key)
            assert (b"" if blob is None else read_blob(self.store, view, blob)) == expected.body
            assert (record.key, record.version_id, record.etag) == (key, expected.id, expected.etag)
            assert record.attributes.tags == expected.tags
        for key, versions in self.model.keys.items():
            for version in versions:
                if version.body is not None and not self.model.is_below_alias(key):
                    assert find(view, BUCKET, key, version.id).etag == version.etag
        for key in STORED:
            assert self.store.protected.covers(BUCKET, key) >= self.model.is_protected(key)

    @invariant()
    def counts_what_it_holds(self) -> None:
        if not hasattr(self, "store"):
            return
        assert find_faults(self.store) == []
        usage = self.store.view().bucket(BUCKET).usage
        current = [it[0] for it in self.model.keys.values() if it[0].body is not None]
        assert usage.object_count == len(current)
        assert usage.object_bytes == sum(len(it.body or b"") for it in current)
        assert usage.marker_count == sum(it.body is None for versions in self.model.keys.values() for it in versions)


EngineAgainstModel.TestCase.settings = MACHINES
TestEngineAgainstModel = pytest.mark.timeout(1_200)(EngineAgainstModel.TestCase)  # a counterexample is made small first
