"""The import itself: accounts first, then each bucket's rules, its keys, and the rules that would act on them.

Every key is one step: its versions' bytes are read, proven and made safe, then its records are written in one
transaction with those of its neighbours. So an import that is cut off has whole versions, oldest first, and the next
run goes on where it ended: what is there already with the same version id and ETag is passed over.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from itertools import islice

import msgspec

from hosu.kernel.errors import ConflictError, ErrorKind, HosuError, UnavailableError
from hosu.lake.importing.accounts import move_accounts
from hosu.lake.importing.planning import (
    BATCH_VERSIONS_MAX,
    Options,
    batches,
    chosen_buckets,
    find_bucket,
    is_empty,
    plan_key,
    replaces_null,
)
from hosu.lake.importing.report import BucketReport, Item, Report, State
from hosu.lake.importing.source import Source, SourceBucket, SourceError, SourceKey, SourceVersion
from hosu.lake.importing.staging import stage_version
from hosu.lake.opening import Lake
from hosu.objects.audit import IN_PROCESS_PREFIX, Origin
from hosu.objects.buckets import create_bucket, get_document, set_document, set_versioning
from hosu.objects.importing import HeldVersion, ImportedVersion, held_versions, import_key
from hosu.objects.names import check_bucket_name
from hosu.objects.quota import set_quota
from hosu.objects.records import Bucket, Versioning
from hosu.objects.transaction import Tx

MARK = "imported-from"
"""Kind of a bucket's document that says which store its objects came from: another run may go on with it."""

FOREIGN = "the lake's bucket holds objects of its own, which it would act on: set it yourself"
BATCHES_WAITING_PER_JOB = 2
BEFORE_OBJECTS = ("object-lock", "encryption", "policy")
"""Documents that say how objects are stored and who may see them."""

AFTER_OBJECTS = ("tagging", "cors", "lifecycle", "notification")
"""Documents that would act on objects while they arrive."""

Apply = Callable[[str, str, str], None]
"""Sets a document of S3's on a bucket: its name, the document's kind and text. Raises HosuError for what it refuses."""

Watch = Callable[[Item], None]
"""Told of every version as it is dealt with, from any thread."""


class Move:
    """One run of an import."""

    def __init__(
        self,
        lake: Lake | None,
        source: Source,
        options: Options,
        apply: Apply | None = None,
        watch: Watch | None = None,
        *,
        buckets: Sequence[SourceBucket] | None = None,
    ) -> None:
        """Prepare a run. Without a lake, which a dry run into a new folder has none of, nothing is there yet.

        Without `apply` documents of buckets are not moved, and named so. `buckets` are those of `chosen_buckets`, whose
        errors it raises.
        """
        assert lake is not None or options.dry_run
        self.on_bytes: Callable[[int], None] = _ignore
        """Told how many bytes have come in, from any thread."""
        self._lake = lake
        self._source = source
        self._options = options
        self._chosen = chosen_buckets(source, options) if buckets is None else list(buckets)
        self._apply = apply
        self._watch = watch
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.report = Report(source=source.identity, dry_run=options.dry_run)

    def run(self) -> Report:
        """Move everything that was asked for; what cannot be moved is in the report.

        Raises ConflictError for a bucket that holds something else, UnavailableError for a disk or a server that fails:
        then nothing more is moved, and another run goes on.
        """
        chosen = self._chosen
        self._refuse_strangers(chosen)
        self.report.notes += self._source.notes()
        if self._options.with_accounts:
            accounts = self._source.accounts()
            if self._options.source_root:
                accounts = msgspec.structs.replace(accounts, root=self._options.source_root)
            self.report.accounts = move_accounts(self._lake, accounts, dry_run=self._options.dry_run)
        for bucket in chosen:
            self.report.buckets.append(self._move_bucket(bucket))
        return self.report

    # Buckets

    def _refuse_strangers(self, chosen: Sequence[SourceBucket]) -> None:
        """Refuse the whole import while one of its buckets is there with other things in it."""
        if self._lake is None or self._options.into_existing:
            return
        view = self._lake.store.view()
        for name in (bucket.name for bucket in chosen):
            there = find_bucket(view, name)
            if there is None or self._is_of_import(there):
                continue
            raise ConflictError(
                ErrorKind.BUCKET_NOT_EMPTY,
                f"bucket {name!r} of the lake holds objects that are not of this import: leave it out with --bucket, "
                "or move into it with --into-existing, which replaces nothing",
                bucket=name,
            )

    def _is_of_import(self, there: Bucket) -> bool:
        """Whether a bucket of the lake's was made by an import from the same source, or might have been."""
        assert self._lake is not None
        mark = get_document(self._lake.store.view(), there.name, MARK)
        return mark == self._source.identity or is_empty(there)

    def _move_bucket(self, bucket: SourceBucket) -> BucketReport:
        report = BucketReport(name=bucket.name)
        report.items += [self._refused("setting", bucket.name, problem, bucket.name) for problem in bucket.problems]
        self.report.notes += [f"{bucket.name}: {note}" for note in bucket.notes]
        try:
            check_bucket_name(bucket.name)
            self._make_bucket(bucket)
        except HosuError as error:
            _reraise_failure(error)
            report.items.append(self._refused("bucket", bucket.name, error.message, bucket.name))
            return report
        self._set_documents(bucket, report, BEFORE_OBJECTS)
        self._tell_versioning(bucket, report)
        self._move_keys(bucket.name, report)
        self._set_quota(bucket, report)
        self._set_documents(bucket, report, AFTER_OBJECTS)
        return report

    def _make_bucket(self, bucket: SourceBucket) -> None:
        lake = self._lake
        if lake is None or self._options.dry_run:
            return

        def make(tx: Tx) -> None:
            there = find_bucket(tx, bucket.name)
            if there is None:
                there = create_bucket(tx, bucket.name, actor=lake.actor)
            if get_document(tx, bucket.name, MARK) != self._source.identity and is_empty(there):
                set_document(tx, bucket.name, MARK, self._source.identity, actor=lake.actor)
            if there.versioning == Versioning.NEVER and bucket.versioning != Versioning.NEVER:
                set_versioning(tx, bucket.name, bucket.versioning, actor=lake.actor)

        lake.store.commit(make, self._origin("ImportBucket", bucket.name))

    def _tell_versioning(self, bucket: SourceBucket, report: BucketReport) -> None:
        """Name a bucket whose versions are on in the source and stay suspended here, where somebody wanted that."""
        there = None if self._lake is None else find_bucket(self._lake.store.view(), bucket.name)
        if there is None or (there.versioning, bucket.versioning) != (Versioning.SUSPENDED, Versioning.ENABLED):
            return
        reason = "its versions are suspended in the lake, and on in the source: switch them on"
        report.items.append(self._refused("versioning", bucket.name, reason, bucket.name))

    def _set_documents(self, bucket: SourceBucket, report: BucketReport, kinds: Sequence[str]) -> None:
        for kind in kinds:
            text = bucket.documents.get(kind)
            if text is not None:
                report.items.append(self._set_document(bucket.name, kind, text))

    def _set_document(self, bucket: str, kind: str, text: str) -> Item:
        """Set a document where the lake's bucket has none of that kind."""
        view = None if self._lake is None else self._lake.store.view()
        there = None if view is None else find_bucket(view, bucket)
        if view is not None and there is not None:
            is_there = bool(there.lock) if kind == "object-lock" else get_document(view, bucket, kind) is not None
            if is_there:
                return Item(kind, bucket, State.PRESENT, bucket=bucket)
            if not self._is_of_import(there):
                return self._refused(kind, bucket, FOREIGN, bucket)
        if not self._options.dry_run:
            if self._apply is None:
                return self._refused(kind, bucket, "nobody here sets documents", bucket)
            try:
                self._apply(bucket, kind, text)
            except HosuError as error:
                _reraise_failure(error)
                return self._refused(kind, bucket, error.message, bucket)
        return Item(kind, bucket, State.MOVED, bucket=bucket)

    def _set_quota(self, bucket: SourceBucket, report: BucketReport) -> None:
        if not bucket.quota_bytes:
            return
        lake, state = self._lake, State.MOVED
        there = None if lake is None else find_bucket(lake.store.view(), bucket.name)
        if there is not None and there.quota_bytes:
            state = State.PRESENT
        elif there is not None and not self._is_of_import(there):
            report.items.append(self._refused("quota", bucket.name, FOREIGN, bucket.name))
            return
        elif lake is not None and not self._options.dry_run:
            verb = partial(set_quota, name=bucket.name, quota_bytes=bucket.quota_bytes, actor=lake.actor)
            lake.store.commit(verb, self._origin("ImportQuota", bucket.name))
        report.items.append(Item("quota", bucket.name, state, bucket=bucket.name))

    # Keys

    def _move_keys(self, bucket: str, report: BucketReport) -> None:
        jobs = self._options.jobs
        waiting: set[Future[None]] = set()
        with ThreadPoolExecutor(jobs, thread_name_prefix="hosu-import") as pool:
            try:
                for batch in batches(self._source.keys(bucket, self._options.prefix)):
                    if len(waiting) >= jobs * BATCHES_WAITING_PER_JOB:
                        done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                        for future in done:
                            future.result()
                    waiting.add(pool.submit(self._move_batch, bucket, batch, report))
                for future in waiting:
                    future.result()
            except SourceError as error:  # the listing itself broke off
                report.items.append(self._refused("listing", bucket, str(error), bucket))
            except BaseException:
                self._stop.set()
                pool.shutdown(cancel_futures=True)
                raise

    def _move_batch(self, bucket: str, batch: Sequence[SourceKey], report: BucketReport) -> None:
        lake = self._lake
        there = None if lake is None else find_bucket(lake.store.view(), bucket)
        if there is not None and is_empty(there):
            there = None  # whatever comes between is seen by the transaction
        planned: list[_Step] = []
        try:
            for key in batch:
                if len(key.versions) > BATCH_VERSIONS_MAX:
                    self._move_long(bucket, key, report)
                    continue
                held = [] if lake is None or there is None else held_versions(lake.store.view(), there, key.key)
                step = None if self._stop.is_set() else self._prepare(bucket, key, held, report)
                if step is not None:
                    planned.append(step)
        except BaseException:
            self._discard(planned)
            raise
        if planned and self._stop.is_set():
            self._discard(planned)
        elif planned:
            self._commit(bucket, planned, report)

    def _move_long(self, bucket: str, key: SourceKey, report: BucketReport) -> None:
        """Move a key of very many versions, some at a time: neither memory nor a transaction is to hold all of them."""
        for start in range(0, len(key.versions), BATCH_VERSIONS_MAX):
            if self._stop.is_set():
                return
            there = None if self._lake is None else find_bucket(self._lake.store.view(), bucket)
            held = held_versions(self._lake.store.view(), there, key.key) if self._lake and there else []
            step = self._prepare(bucket, key, held, report, start)
            if step is not None:
                self._commit(bucket, [step], report)

    def _prepare(
        self, bucket: str, key: SourceKey, held: Sequence[HeldVersion], report: BucketReport, start: int = 0
    ) -> "_Step | None":
        """Read what of some versions of a key, from `start`, is not in the lake; None where that is nothing."""
        if key.problem:
            self._tell(report, self._refused("object", key.key, key.problem, bucket))
            return None
        lake = self._lake
        missing = self._missing(bucket, key, held, report, start)
        staged: list[ImportedVersion] = []
        for version in missing:
            item = _item(bucket, key.key, version)
            if version.problem:
                self._tell(report, msgspec.structs.replace(item, state=State.REFUSED, reason=version.problem))
                continue
            if lake is None or self._options.dry_run:
                self._count(report, item, is_marker=version.is_marker)
                continue
            try:
                staged.append(stage_version(lake.store, self._source, bucket, key.key, version))
            except SourceError as error:
                self._tell(report, msgspec.structs.replace(item, state=State.REFUSED, reason=str(error)))
            except BaseException:
                self._discard([_Step(key.key, 0, staged)])
                raise
        if not staged:
            return None
        is_replaced = replaces_null(key, held, self._options)
        return _Step(key.key, held[-1].seq if held else 0, staged, replaces_null=is_replaced)

    def _missing(
        self, bucket: str, key: SourceKey, held: Sequence[HeldVersion], report: BucketReport, start: int
    ) -> list[SourceVersion]:
        """Return the versions that go on top of those held, in order; those that cannot are told of."""
        missing = []
        for version, state, reason in islice(plan_key(key, held, self._options), start, start + BATCH_VERSIONS_MAX):
            if state is State.MOVED:
                missing.append(version)
            elif state is State.PRESENT:
                with self._lock:
                    report.present += 1
            else:
                item = _item(bucket, key.key, version)
                self._tell(report, msgspec.structs.replace(item, state=state, reason=reason))
        return missing

    def _commit(self, bucket: str, steps: Sequence["_Step"], report: BucketReport) -> None:
        """Write the records of several keys at once; where one is refused, each for itself."""
        try:
            self._write(bucket, steps)
        except HosuError as error:
            _reraise_failure(error)
            if len(steps) > 1:
                for step in steps:
                    self._commit(bucket, [step], report)
                return
            self._discard(steps)
            for version in steps[0].versions:
                item = Item("object", steps[0].key, State.REFUSED, error.message, bucket, version.version_id)
                self._tell(report, item)
            return
        for step in steps:
            for version in step.versions:
                item = Item("object", step.key, State.MOVED, "", bucket, version.version_id, version.size_bytes)
                self._count(report, item, is_marker=version.is_marker)

    def _write(self, bucket: str, steps: Sequence["_Step"]) -> None:
        lake = self._lake
        assert lake is not None

        def write(tx: Tx) -> None:
            for step in steps:
                import_key(
                    tx,
                    bucket,
                    step.key,
                    step.versions,
                    newest_seq=step.newest_seq,
                    replaces_null=step.replaces_null,
                    actor=lake.actor,
                )

        lake.store.commit(write, self._origin("ImportObjects", bucket))

    def _discard(self, steps: Sequence["_Step"]) -> None:
        assert self._lake is not None
        for step in steps:
            for version in step.versions:
                for staged in version.staged:
                    self._lake.store.discard(staged)

    # What is told

    def _origin(self, operation: str, bucket: str) -> Origin:
        assert self._lake is not None
        return Origin("", IN_PROCESS_PREFIX + operation, self._lake.actor, bucket=bucket)

    def _refused(self, kind: str, name: str, reason: str, bucket: str = "") -> Item:
        return Item(kind, name, State.REFUSED, reason, bucket)

    def _count(self, report: BucketReport, item: Item, *, is_marker: bool) -> None:
        with self._lock:
            report.moved_markers += is_marker
            report.moved += not is_marker
            report.moved_bytes += item.size_bytes
        self.on_bytes(item.size_bytes)
        if self._watch is not None:
            self._watch(item)

    def _tell(self, report: BucketReport, item: Item) -> None:
        with self._lock:
            report.items.append(item)
        if self._watch is not None:
            self._watch(item)


class _Step(msgspec.Struct, frozen=True):
    """One key's versions, staged; `newest_seq` is the order of the newest that was there."""

    key: str
    newest_seq: int
    versions: list[ImportedVersion]
    replaces_null: bool = False


def _item(bucket: str, key: str, version: SourceVersion) -> Item:
    return Item("object", key, State.MOVED, "", bucket, version.version_id, version.size_bytes)


def _ignore(_size_bytes: int) -> None:
    pass


def _reraise_failure(error: HosuError) -> None:
    """Let a lake that fails end the import: what it refuses today may be fine tomorrow."""
    if isinstance(error, UnavailableError):
        raise error
