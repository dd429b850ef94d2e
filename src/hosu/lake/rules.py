"""The rules of a lake, as Python uses them: setting them, seeing what they would do, and doing it now.

    lake.rules.set_capacity(CapacityRule(quota_bytes=100 * 10**9, high_water=0.8))
    for planned in lake.rules.plan("capacity"):
        print(planned.bucket, planned.key, planned.reason)

A server carries rules out by itself; beside one, or without one, `run` does so once.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from hosu.kernel.errors import ErrorKind, InvalidInputError, UnavailableError
from hosu.lake.opening import lake_settings
from hosu.objects.protected import ProtectedPrefix, list_protected
from hosu.rules.capacity import CapacityRule, Gauge, get_capacity, measure, remove_capacity, set_capacity
from hosu.rules.copies import plan_copies
from hosu.rules.copy_job import run_copies
from hosu.rules.lifecycle.acting import LifecyclePass
from hosu.rules.lifecycle.keeping import get_lifecycle, set_lifecycle
from hosu.rules.lifecycle.model import Lifecycle
from hosu.rules.locations import check_location
from hosu.rules.making_room import Doomed, make_room, plan_room
from hosu.rules.merit import MeritRule, list_merit, put_merit, remove_merit
from hosu.rules.planning import Planned, Total, totals
from hosu.rules.protection import protect, unprotect
from hosu.rules.ranking import Verdict, expire, plan_merit, rank

if TYPE_CHECKING:
    from hosu.lake.opening import Lake
    from hosu.objects.records import ObjectRecord

KINDS = ("lifecycle", "merit", "capacity", "protection")
"""The rules that act, in the order in which they are carried out: capacity sees what is left, and that is copied."""

TRIES = 5
"""How often folders are ranked again that somebody changes meanwhile."""


class Rules:
    """The rules of an open lake. Raises what the verbs of `hosu.rules` raise."""

    def __init__(self, lake: "Lake") -> None:
        self._lake = lake
        self._settings = lake_settings(lake.path)

    # Capacity

    def capacity(self) -> CapacityRule | None:
        """Return the lake's quota and the mark at which room is made; None where neither is set."""
        return get_capacity(self._lake.store.view())

    def set_capacity(self, rule: CapacityRule, *, allows_below_use: bool = False) -> None:
        """Set them. A quota below what is held raises ConflictError QUOTA_EXCEEDED unless that is allowed."""
        verb = partial(set_capacity, rule=rule, allows_below_use=allows_below_use, actor=self._lake.actor)
        self._lake.store.commit(verb)

    def remove_capacity(self) -> bool:
        """Take the quota and the mark back; False where there were none."""
        return self._lake.store.commit(partial(remove_capacity, actor=self._lake.actor))

    def gauge(self) -> Gauge | None:
        """Return how full the lake is by its capacity rule; None without one."""
        rule = self.capacity()
        return None if rule is None else measure(self._lake.store, self._lake.store.view(), rule)

    # Merit

    def merit(self) -> tuple[MeritRule, ...]:
        """Return the rules of retention by merit."""
        return list_merit(self._lake.store.view())

    def put_merit(self, rule: MeritRule) -> None:
        """Add a rule, or replace the one of its id."""
        self._lake.store.commit(partial(put_merit, rule=rule, actor=self._lake.actor))

    def remove_merit(self, rule_id: str) -> None:
        """Remove a rule. Raises NotFoundError."""
        self._lake.store.commit(partial(remove_merit, rule_id=rule_id, actor=self._lake.actor))

    def ranking(self) -> Iterator[Verdict]:
        """Yield what every rule says of each of its folders, the best first."""
        for rule in self.merit():
            yield from rank(self._lake.store, rule, self._settings)

    # Protection

    def protected(self) -> tuple[ProtectedPrefix, ...]:
        """Return the protected prefixes."""
        return list_protected(self._lake.store.view())

    def protect(self, bucket: str, prefix: str, *, copy: str = "") -> None:
        """Protect a prefix; `copy` is where second copies are kept, a folder or an S3 URL outside of the lake."""
        if copy:
            check_location(copy, self._lake.path)
        entry = ProtectedPrefix(bucket, prefix, copy)
        self._lake.store.commit(partial(protect, entry=entry, actor=self._lake.actor))

    def unprotect(self, bucket: str, prefix: str) -> None:
        """End the protection of a prefix. Raises NotFoundError."""
        self._lake.store.commit(partial(unprotect, bucket=bucket, prefix=prefix, actor=self._lake.actor))

    # Lifecycle

    def lifecycle(self, bucket: str) -> Lifecycle | None:
        """Return the lifecycle of a bucket. Raises NotFoundError without the bucket."""
        return get_lifecycle(self._lake.store.view(), bucket)

    def set_lifecycle(self, bucket: str, lifecycle: Lifecycle | None) -> None:
        """Replace or, with None, remove the lifecycle of a bucket."""
        verb = partial(set_lifecycle, bucket_name=bucket, lifecycle=lifecycle, actor=self._lake.actor)
        self._lake.store.commit(verb)

    # What they do

    def plan(self, *kinds: str) -> Iterator[Planned]:
        """Yield what the rules of these kinds (all of them without any) would do now, each for itself."""
        for kind in _checked(kinds):
            yield from self._plan(kind)

    def run(self, *kinds: str) -> list[Total]:
        """Carry out the rules of these kinds (all without any) once; return what was done, summed up."""
        done: list[Total] = []
        for kind in _checked(kinds):
            done += self._run(kind)
        return done

    def _plan(self, kind: str) -> Iterable[Planned]:
        store = self._lake.store
        if kind == "lifecycle":
            return LifecyclePass(store, self._settings).plan()
        if kind == "protection":
            return plan_copies(store, self._settings)
        if kind == "merit":
            return (planned for rule in self.merit() for planned in plan_merit(store, rule, self._settings))
        capacity = self.capacity()
        if capacity is None:
            return ()
        return (
            planned
            for doomed in plan_room(store, store.view(), capacity, self._settings)
            for planned in doomed.planned()
        )

    def _run(self, kind: str) -> list[Total]:
        store = self._lake.store
        if kind == "lifecycle":
            report = LifecyclePass(store, self._settings).run()
            return [Total(kind, action, count, report.bytes[action]) for action, count in sorted(report.counts.items())]
        if kind == "protection":
            return totals(run_copies(store, self._settings))
        done: list[Planned] = []
        if kind == "capacity":

            def note(doomed: Doomed) -> None:
                done.extend(doomed.planned())

            make_room(store, self._settings, done=note)
        else:
            for rule in self.merit():
                self._expire(rule, done)
        return totals(done)

    def _expire(self, rule: MeritRule, done: list[Planned]) -> None:
        def note(record: "ObjectRecord") -> None:
            done.append(
                Planned(
                    rule=f"merit:{rule.id}", action="Expire", bucket=rule.bucket, key=record.key,
                    size_bytes=record.size_bytes,
                )
            )  # fmt: skip

        for _ in range(TRIES):
            if expire(self._lake.store, rule, self._settings, done=note):
                return
        raise UnavailableError(
            ErrorKind.STORE_UNAVAILABLE,
            f"what is below {rule.bucket}/{rule.prefix} changes all the time: rule {rule.id!r} removed nothing more; "
            "run it again later",
        )


def _checked(kinds: Sequence[str]) -> Sequence[str]:
    for kind in kinds:
        if kind not in KINDS:
            raise InvalidInputError(
                ErrorKind.INVALID_ARGUMENT, f"there is no kind of rule {kind!r} that acts: there are {', '.join(KINDS)}"
            )
    return [kind for kind in KINDS if kind in kinds] if kinds else KINDS
