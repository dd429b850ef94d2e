"""One lifecycle pass over a lake: what is planned, done in small transactions that look at everything again."""

import contextlib
import fcntl
import itertools
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import msgspec

from hosu.kernel.errors import ConflictError, ErrorKind, HosuError, UnavailableError
from hosu.kernel.log import get_logger
from hosu.kernel.settings import Settings
from hosu.objects.audit import Origin
from hosu.objects.multipart import abort_upload
from hosu.objects.records import Bucket, ObjectRecord, Versioning
from hosu.objects.store import ObjectStore
from hosu.objects.transaction import Tx
from hosu.objects.versions import add_marker, remove
from hosu.objects.views import View
from hosu.rules.keeping import Count
from hosu.rules.lifecycle.checking import find_again
from hosu.rules.lifecycle.model import DOCUMENT, decode_lifecycle
from hosu.rules.lifecycle.planning import Action, Scope, Step, steps
from hosu.rules.lifecycle.scanning import StaleUpload
from hosu.rules.planning import Planned

PRINCIPAL = "hosu:lifecycle"
STEPS_PER_TRANSACTION = 256
"""Bounds how long a pass holds the writer."""

REST_RATIO = 0.1
"""A pass rests this part of the time that it has just worked, so that requests find a processor."""

REST_S_MAX = 0.1
MOVING_S_MAX = 600.0
"""A pass that gives way moves objects for this long at most, before it looks again for what expires."""

LOCK_NAME = "lifecycle.lock"
SPARED = frozenset({ErrorKind.OBJECT_LOCKED, ErrorKind.PROTECTED})
_TRANSITIONS = frozenset({Action.TRANSITION, Action.TRANSITION_VERSION})
_LOG = get_logger("lifecycle")


class Report(msgspec.Struct):
    """What a pass did. Counts and bytes by action; `spared` must stay: locked, or below a protected prefix."""

    counts: dict[str, int] = {}
    bytes: dict[str, int] = {}
    spared: int = 0
    skipped: int = 0
    """Not any more what they were when the pass found them."""

    failed: int = 0
    failed_buckets: list[str] = []
    """Whose rules could not be read or carried out."""

    is_cut: bool = False
    """Whether it gave way before it had moved all that was to be moved."""


class LifecyclePass:
    """Carries out the lifecycle of every bucket, once for each call of `run`."""

    def __init__(self, store: ObjectStore, settings: Settings, count: Count | None = None) -> None:
        self._store = store
        self._settings = settings
        self._count: Count = (lambda _name, _number: None) if count is None else count

    def plan(self, bucket: str | None = None) -> Iterator[Planned]:
        """Yield what `run` would do now, in its order; of one bucket alone if it is named."""
        for name, bucket_id, body in self._documents(bucket):
            scope = self._scope(name, bucket_id, body)
            for page in steps(self._store.view(), scope):
                for step in page:
                    yield step.planned(name)

    def run(self, stop: threading.Event | None = None, bucket: str | None = None, *, gives_way: bool = False) -> Report:
        """Do what is due, until `stop` is set; a bucket whose rules fail does not keep others from theirs.

        One that gives way leaves what changes its storage class, which may take hours, for the end, and ends as soon
        as there may be something else to do, which it says. Raises UnavailableError while another pass is under way.
        """
        stop, report = stop or threading.Event(), Report()
        with self._alone():
            if not gives_way:
                self._each_bucket(bucket, report, partial(self._work, report=report, is_over=stop.is_set))
                return report
            changed, end_s = self._watch(bucket), self._store.clock.monotonic() + MOVING_S_MAX

            def is_over() -> bool:
                report.is_cut = report.is_cut or changed() or self._store.clock.monotonic() >= end_s
                return report.is_cut or stop.is_set()

            removing = partial(self._work, report=report, is_over=stop.is_set, moves=False)
            moving = partial(self._work, report=report, is_over=is_over, removes=False)
            self._each_bucket(bucket, report, removing)
            if not stop.is_set():
                self._each_bucket(bucket, report, moving)
        return report

    def _watch(self, only: str | None) -> Callable[[], bool]:
        """Return what says whether rules have changed since now; next to nothing where nothing has."""
        seen, documents = self._store.generation.number(), self._documents(only)

        def changed() -> bool:
            nonlocal seen
            number = self._store.generation.number()
            if number == seen:
                return False
            seen = number
            return self._documents(only) != documents

        return changed

    def _each_bucket(self, only: str | None, report: Report, work: Callable[[Scope], bool]) -> None:
        """Do some work for each bucket until it says that it is over; that a bucket's rules fail is told once."""
        for name, bucket_id, body in self._documents(only):
            try:
                if not work(self._scope(name, bucket_id, body)):
                    return
            except UnavailableError:
                raise
            except HosuError as error:
                if name not in report.failed_buckets:
                    report.failed_buckets.append(name)
                    self._fail(name, report, error)

    def _documents(self, only: str | None) -> list[tuple[str, int, str]]:
        """Return name, id and rules of the buckets that have any."""
        view = self._store.view()
        if only is not None:
            view.bucket(only)
        rows = view.rows(
            "SELECT name, id, body FROM bucket_document JOIN bucket ON bucket.id = bucket_id WHERE kind = ? "
            "ORDER BY name",
            (DOCUMENT,),
        )
        return [(name, bucket_id, body) for name, bucket_id, body in rows if only in {None, name}]

    def _scope(self, name: str, bucket_id: int, body: str) -> Scope:
        lifecycle, now_ms = decode_lifecycle(body, name), self._store.clock.now_ms()
        looks_at_tags = any(rule.filter.tags for rule in lifecycle.rules)
        return Scope(name, bucket_id, body, lifecycle, self._settings, now_ms, looks_at_tags)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the lake's lock of lifecycle passes, which ends with the process too."""
        path = self._store.path / "tmp" / LOCK_NAME
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise UnavailableError(
                    ErrorKind.LAKE_LOCKED, "a lifecycle pass is under way in this lake: try again when it has ended"
                ) from error
            yield
        finally:
            os.close(descriptor)

    def _work(
        self,
        scope: Scope,
        *,
        report: Report,
        is_over: Callable[[], bool],
        removes: bool = True,
        moves: bool = True,
    ) -> bool:
        """Do what is due in a bucket, in the plan's order; False when it is over for other buckets too."""
        has_moves = any(rule.transitions or rule.noncurrent_transitions for rule in scope.lifecycle.rules)
        if not (removes or has_moves):
            return not is_over()
        started, can_move = self._store.clock.monotonic(), moves
        for page in steps(self._store.view(), scope):
            for is_move, found in itertools.groupby(page, key=lambda step: step.action in _TRANSITIONS):
                for step in found if is_move else ():
                    # A full disk stays full for the next one too, until what expires has made room.
                    can_move = can_move and self._transition(scope, step, report)
                    if is_over():
                        return False
                while removes and not is_move and (batch := list(itertools.islice(found, STEPS_PER_TRANSACTION))):
                    self._commit(scope, batch, report)
                    started = self._rest(started)
                    if is_over():
                        return False
            started = self._rest(started)
            if is_over():
                return False
        return True

    def _rest(self, started: float) -> float:
        """Rest in proportion to the work since `started`; return when the work goes on."""
        time.sleep(min((self._store.clock.monotonic() - started) * REST_RATIO, REST_S_MAX))
        return self._store.clock.monotonic()

    def _commit(self, scope: Scope, batch: list[Step], report: Report) -> None:
        outcome = self._store.commit(partial(carry_out, scope=scope, batch=batch))
        report.spared += outcome.spared
        report.skipped += outcome.skipped
        if outcome.spared:
            self._count("rule_spared/lifecycle", outcome.spared)
        for action, number in outcome.counts.items():
            self._tell(report, action, number, outcome.bytes[action])

    def _transition(self, scope: Scope, step: Step, report: Report) -> bool:
        """Move one object to its class; False when there is no use in trying others now."""
        from hosu.rules.cold import transition  # noqa: PLC0415 - codecs, for whom rules move to a class

        view = self._store.view()
        if _rules_of(view, scope) != scope.body or find_again(view, scope, step) is None:
            report.skipped += 1
            return True
        try:
            is_done = transition(
                self._store, scope.bucket, step.key, step.seq,
                storage_class=step.storage_class, origin=_origin(scope.bucket, step),
            )  # fmt: skip
        except HosuError as error:
            self._fail(scope.bucket, report, error, step.key)
            return not isinstance(error, UnavailableError)
        if is_done:
            self._tell(report, step.action, 1, step.size_bytes)
        else:
            report.skipped += 1
        return True

    def _tell(self, report: Report, action: Action, number: int, size_bytes: int) -> None:
        name = action.value
        report.counts[name] = report.counts.get(name, 0) + number
        report.bytes[name] = report.bytes.get(name, 0) + size_bytes
        self._count(f"rule_actions/lifecycle/{name}", number)
        self._count(f"rule_bytes/lifecycle/{name}", size_bytes)

    def _fail(self, bucket: str, report: Report, error: HosuError, key: str = "") -> None:
        report.failed += 1
        self._count("rule_errors/lifecycle", 1)
        _LOG.error("a lifecycle rule failed", bucket=bucket, key=key, kind=error.kind, error=error.message)


class Outcome(msgspec.Struct):
    """What one transaction did."""

    counts: Counter[Action]
    bytes: Counter[Action]
    spared: int = 0
    skipped: int = 0


def carry_out(tx: Tx, scope: Scope, batch: Iterable[Step]) -> Outcome:
    """Do those of a batch's steps that are still due, each with an audit line of its own; what must stay is spared."""
    outcome = Outcome(Counter(), Counter())
    bucket = _unchanged_bucket(tx, scope)
    for step in batch:
        found = None if bucket is None else find_again(tx, scope, step)
        if bucket is None or found is None:
            outcome.skipped += 1
            continue
        touches = tx.touches
        tx.begin_verb(_origin(scope.bucket, step))
        tx.spares_protected = True
        try:
            _change(tx, bucket, step, found)
        except ConflictError as error:
            if error.kind not in SPARED or tx.touches != touches:
                raise
            outcome.spared += 1
        else:
            tx.end_verb()
            outcome.counts[step.action] += 1
            outcome.bytes[step.action] += step.size_bytes
        tx.begin_verb(None)
    return outcome


def _unchanged_bucket(tx: Tx, scope: Scope) -> Bucket | None:
    """Return the bucket of a plan if it is still there and still has the rules that the plan was made by."""
    return tx.bucket(scope.bucket) if _rules_of(tx, scope) == scope.body else None


def _rules_of(view: View, scope: Scope) -> str | None:
    body: str | None = view.value(
        "SELECT body FROM bucket_document WHERE bucket_id = ? AND kind = ?", (scope.bucket_id, DOCUMENT)
    )
    return body


def _change(tx: Tx, bucket: Bucket, step: Step, found: ObjectRecord | StaleUpload) -> None:
    if isinstance(found, StaleUpload):
        abort_upload(tx, bucket.name, found.key, found.upload_id)
    elif step.action == Action.EXPIRE and bucket.versioning != Versioning.NEVER:
        add_marker(tx, bucket, step.key, actor=PRINCIPAL)
    else:
        remove(tx, bucket, found, actor=PRINCIPAL)


def _origin(bucket: str, step: Step) -> Origin:
    return Origin("", f"lifecycle:{step.action}", PRINCIPAL, bucket=bucket, key=step.key, reason=step.reason)


def plan(store: ObjectStore, settings: Settings) -> Iterator[Planned]:
    """Yield what the lifecycle rules of a lake would do now."""
    return LifecyclePass(store, settings).plan()
