"""The rules of a template: what they look like in its file, and making those that are missing."""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from hosu.kernel.errors import ErrorKind, InvalidInputError, NotFoundError
from hosu.lake.templates.steps import Planned, State, Step
from hosu.objects.buckets import set_versioning
from hosu.objects.protected import ProtectedPrefix, list_protected
from hosu.objects.records import COLD, Bucket, Versioning
from hosu.objects.transaction import Tx
from hosu.objects.views import View
from hosu.rules.capacity import CapacityRule, check_values, get_capacity, set_capacity
from hosu.rules.lifecycle.keeping import get_lifecycle, set_lifecycle
from hosu.rules.lifecycle.model import Filter, Lifecycle, Rule, Transition, check_lifecycle
from hosu.rules.merit import MeritRule, check_merit_values, list_merit, put_merit
from hosu.rules.protection import protect

if TYPE_CHECKING:
    from hosu.lake.templates.loading import BucketTemplate, Template

NO_COPY = "no second copy"
"""Reason that a protected prefix is told with while it has none."""


class LifecycleTemplate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A rule of a bucket's lifecycle; days of None or 0 say that nothing of the kind is done."""

    id: str
    prefix: str = ""
    expire_days: int | None = None
    cold_days: int | None = None
    """Objects are kept compressed from then on."""

    noncurrent_days: int | None = None
    noncurrent_keep: int = 0
    abort_days: int | None = None
    remove_markers: bool = False

    def rule(self) -> Rule:
        """Return the rule it stands for."""
        return Rule(
            id=self.id,
            filter=Filter(prefix=self.prefix),
            expire_days=self.expire_days,
            removes_markers=self.remove_markers,
            noncurrent_days=self.noncurrent_days,
            noncurrent_keep=self.noncurrent_keep,
            abort_days=self.abort_days,
            transitions=() if self.cold_days is None else (Transition(COLD, days=self.cold_days),),
        )


class ProtectionTemplate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A prefix to protect; where its second copies go is for whoever makes the template to say."""

    bucket: str
    prefix: str


def check_rules(template: "Template") -> None:
    """Refuse rules that could not be made; raises InvalidInputError."""
    names = {bucket.name for bucket in template.buckets}
    for bucket in template.buckets:
        if bucket.lifecycle:
            check_lifecycle(Lifecycle(tuple(rule.rule() for rule in bucket.lifecycle)))
    named = [("merit", rule.bucket) for rule in template.merit]
    named += [("protection", entry.bucket) for entry in template.protection]
    for rule in template.merit:
        check_merit_values(rule)
    if template.capacity is not None:
        check_values(template.capacity)
        named += [("capacity", name) for name in template.capacity.buckets]
        named += [("capacity", text.partition("/")[0]) for text in template.capacity.keep]
    for kind, name in named:
        if name not in names:
            raise InvalidInputError(
                ErrorKind.INVALID_ARGUMENT, f"{kind} names the bucket {name!r}: add it to the template's buckets"
            )


def plan_rules(view: View | None, template: "Template", backup: str, actor: str) -> Iterator[Planned]:
    """Yield each step with what makes it; whoever makes a step does so before the next is looked at."""
    for bucket in template.buckets:
        for lifecycle in bucket.lifecycle:
            yield _lifecycle(view, bucket.name, lifecycle.rule(), actor)
    for merit in template.merit:
        yield _merit(view, merit, actor)
    for protection in template.protection:
        yield _protection(view, protection, backup, actor)
    if template.capacity is not None:
        yield _capacity(view, template.capacity, actor)


def plan_versioning(view: View | None, found: Bucket | None, bucket: "BucketTemplate", actor: str) -> Planned:
    """Return the step that has a bucket keep versions; `found` is the bucket as it was before the template."""
    make = partial(_make_versioning, bucket=bucket.name, actor=actor)
    if view is None or found is None:
        return _planned("versioning", bucket.name, State.MADE, "", make)
    if found.versioning == Versioning.NEVER:
        return _planned("versioning", bucket.name, State.KEPT, "the bucket keeps no versions", make)
    return _planned("versioning", bucket.name, State.KEPT, "", make)


def _planned(kind: str, name: str, state: State, reason: str, make: partial[None]) -> Planned:
    return Planned(Step(kind, name, state, reason), make)


def _differs(is_same: bool) -> str:  # noqa: FBT001 - one use
    return "" if is_same else "it differs from the template's"


def _lifecycle(view: View | None, bucket: str, rule: Rule, actor: str) -> Planned:
    found = None
    if view is not None:
        try:
            lifecycle = get_lifecycle(view, bucket)
        except NotFoundError:
            lifecycle = None
        found = next((each for each in (() if lifecycle is None else lifecycle.rules) if each.id == rule.id), None)
    state = State.MADE if found is None else State.KEPT
    return _planned(
        "lifecycle", f"{bucket}/{rule.prefix}: {rule.id}", state, _differs(found is None or found == rule),
        partial(_make_lifecycle, bucket=bucket, rule=rule, actor=actor),
    )  # fmt: skip


def _merit(view: View | None, rule: MeritRule, actor: str) -> Planned:
    found = None if view is None else next((each for each in list_merit(view) if each.id == rule.id), None)
    return _planned(
        "merit", f"{rule.bucket}/{rule.prefix}: {rule.id}", State.MADE if found is None else State.KEPT,
        _differs(found is None or found == rule), partial(_make_merit, rule=rule, actor=actor),
    )  # fmt: skip


def _protection(view: View | None, template: ProtectionTemplate, backup: str, actor: str) -> Planned:
    entry = ProtectedPrefix(template.bucket, template.prefix, backup)
    same = (each for each in (() if view is None else list_protected(view)))
    found = next((each for each in same if (each.bucket, each.prefix) == (entry.bucket, entry.prefix)), None)
    is_made = found is None or (bool(backup) and not found.copy)
    reason = "" if entry.copy or (found is not None and found.copy) else NO_COPY
    if found is not None and not is_made and backup not in {"", found.copy}:
        reason = f"its copies are in {found.copy}"
    return _planned(
        "protection", f"{entry.bucket}/{entry.prefix}", State.MADE if is_made else State.KEPT, reason,
        partial(_make_protection, entry=entry, actor=actor),
    )  # fmt: skip


def _capacity(view: View | None, rule: CapacityRule, actor: str) -> Planned:
    name = f"quota of {rule.quota_bytes} bytes, mark of {rule.high_water:.0%}"
    found = None if view is None else get_capacity(view)
    state, reason = (State.MADE, "") if found is None else (State.KEPT, _differs(found == rule))
    if found is None and view is not None and 0 < rule.quota_bytes < view.lake_held_bytes():
        state, reason = State.SKIPPED, f"the lake holds {view.lake_held_bytes()} bytes already"
    return _planned("capacity", name, state, reason, partial(_make_capacity, rule=rule, actor=actor))


def _make_versioning(tx: Tx, bucket: str, actor: str) -> None:
    set_versioning(tx, bucket, Versioning.ENABLED, actor=actor)


def _make_lifecycle(tx: Tx, bucket: str, rule: Rule, actor: str) -> None:
    before = get_lifecycle(tx, bucket) or Lifecycle(())
    set_lifecycle(tx, bucket, msgspec.structs.replace(before, rules=(*before.rules, rule)), actor=actor)


def _make_merit(tx: Tx, rule: MeritRule, actor: str) -> None:
    put_merit(tx, rule, actor=actor)


def _make_protection(tx: Tx, entry: ProtectedPrefix, actor: str) -> None:
    protect(tx, entry, actor=actor)


def _make_capacity(tx: Tx, rule: CapacityRule, actor: str) -> None:
    set_capacity(tx, rule, actor=actor)
