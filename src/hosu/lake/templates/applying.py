"""Making what a template describes, where it is missing: in one transaction, and never over what is there."""

import hashlib
from collections.abc import Callable, Iterator
from functools import partial

from hosu.identity.names import new_secret
from hosu.identity.policies import attach, get_policy, put_policy
from hosu.identity.records import NewKey
from hosu.identity.users import get_user, put_user
from hosu.identity.vault import Vault
from hosu.kernel.errors import NotFoundError
from hosu.lake.templates.loading import Template, UserTemplate
from hosu.lake.templates.rules import plan_rules, plan_versioning
from hosu.lake.templates.steps import Outcome, Planned, State, Step
from hosu.objects.aliases import list_aliases, set_alias
from hosu.objects.blobs import stage_inline
from hosu.objects.buckets import create_bucket
from hosu.objects.put import PutRequest, put_object
from hosu.objects.records import Bucket
from hosu.objects.transaction import Tx
from hosu.objects.views import View

PLACEHOLDER = ".keep"
EMPTY_ETAG = hashlib.md5(usedforsecurity=False).hexdigest()


def plan_template(view: View | None, template: Template, *, backup: str = "") -> Outcome:
    """Return what `apply_template` would do to a lake, or with None to a new one; nothing is changed."""
    return Outcome(tuple(planned.step for planned in _plan(view, template, None, backup, "")))


def apply_template(tx: Tx, vault: Vault, template: Template, *, backup: str = "", actor: str = "") -> Outcome:
    """Make what is missing of a template; what is there stays as it is. A second run makes nothing.

    `backup` is where second copies of what it protects go; it has been checked by who calls, and is given to what is
    protected already without one.

    Raises the errors of the verbs it uses, and then nothing is made.
    """
    steps, keys = [], []
    for planned in _plan(tx, template, vault, backup, actor):
        steps.append(planned.step)
        made = planned.make(tx) if planned.step.state is State.MADE else None
        if made is not None:
            keys.append(made)
    return Outcome(tuple(steps), tuple(keys))


def _plan(view: View | None, template: Template, vault: Vault | None, backup: str, actor: str) -> Iterator[Planned]:
    """Yield each step with what makes it; whoever makes a step does so before the next is looked at."""
    for bucket in template.buckets:
        before = _bucket(view, bucket.name)
        yield Planned(
            _step("bucket", bucket.name, before is not None),
            partial(_make_bucket, name=bucket.name, actor=actor),
        )
        if bucket.versioning:
            yield plan_versioning(view, before, bucket, actor)
        for folder in bucket.folders:
            found = _bucket(view, bucket.name)
            is_used = view is not None and found is not None and _is_used(view, found, folder)
            yield Planned(
                _step("folder", f"{bucket.name}/{folder}", is_used),
                partial(_make_folder, bucket=bucket.name, folder=folder, actor=actor),
            )
        for prefix, target in bucket.aliases.items():
            yield Planned(
                _alias_step(view, bucket.name, prefix, target),
                partial(_make_alias, bucket=bucket.name, prefix=prefix, target=target, actor=actor),
            )
    for name, text in template.policies.items():
        yield Planned(_policy_step(view, name, text), partial(_make_policy, name=name, text=text))
    for user in template.users:
        is_there = view is not None and _is_found(partial(get_user, view, user.name))
        yield Planned(_step("user", user.name, is_there), partial(_make_user, vault=vault, user=user))
    yield from plan_rules(view, template, backup, actor)


def _step(kind: str, name: str, is_there: bool) -> Step:  # noqa: FBT001 - one use
    return Step(kind, name, State.KEPT if is_there else State.MADE)


def _alias_step(view: View | None, bucket_name: str, prefix: str, target: str) -> Step:
    name = f"{bucket_name}/{prefix} -> {target}"
    bucket = _bucket(view, bucket_name)
    if view is None or bucket is None:
        return Step("alias", name, State.MADE)
    alias = next((alias for alias in list_aliases(view, bucket) if alias.prefix == prefix), None)
    if alias is not None:
        changed = "" if alias.target == target else f"points to {alias.target}"
        return Step("alias", name, State.KEPT, changed)
    if _is_used(view, bucket, prefix):
        return Step("alias", name, State.SKIPPED, f"objects are stored below {prefix}")
    return Step("alias", name, State.MADE)


def _policy_step(view: View | None, name: str, text: str) -> Step:
    try:
        found = None if view is None else get_policy(view, name)
    except NotFoundError:
        found = None
    if found is None or found.is_builtin:  # a policy of a built-in's name replaces it
        return Step("policy", name, State.MADE)
    return Step("policy", name, State.KEPT, "" if found.text == text else "its text differs from the template's")


def _bucket(view: View | None, name: str) -> Bucket | None:
    try:
        return None if view is None else view.bucket(name)
    except NotFoundError:
        return None


def _is_used(view: View, bucket: Bucket, prefix: str) -> bool:
    """Say whether anything is stored below a prefix, or it is an alias's."""
    if any(prefix.startswith(alias.prefix) for alias in list_aliases(view, bucket)):
        return True
    first: str | None = view.value(
        "SELECT key FROM object WHERE bucket_id = ? AND key >= ? ORDER BY key LIMIT 1", (bucket.id, prefix)
    )
    return first is not None and first.startswith(prefix)


def _is_found(read: Callable[[], object]) -> bool:
    try:
        read()
    except NotFoundError:
        return False
    return True


def _make_bucket(tx: Tx, name: str, actor: str) -> None:
    create_bucket(tx, name, actor=actor)


def _make_folder(tx: Tx, bucket: str, folder: str, actor: str) -> None:
    body = stage_inline(b"")
    put_object(tx, PutRequest(bucket, folder + PLACEHOLDER, body, EMPTY_ETAG, actor=actor))


def _make_alias(tx: Tx, bucket: str, prefix: str, target: str, actor: str) -> None:
    set_alias(tx, bucket, prefix, target, actor=actor)


def _make_policy(tx: Tx, name: str, text: str) -> None:
    put_policy(tx, name, text)


def _make_user(tx: Tx, vault: Vault | None, user: UserTemplate) -> NewKey:
    assert vault is not None, "plans are not made"
    secret = new_secret()
    put_user(tx, vault, user.name, secret)
    attach(tx, user.policies, user=user.name)
    return NewKey(user.name, secret)
