"""Fixtures of identity's tests: a lake with one bucket, a clock that stands still, and an authority."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hosu.identity.authority import Authority
from hosu.identity.policies import attach, put_policy
from hosu.identity.users import put_user
from hosu.identity.vault import Vault
from hosu.kernel.auth import NO_CONTEXT, Context, Principal
from hosu.objects.buckets import create_bucket, set_document
from hosu.objects.store import ObjectStore
from hosu.testing.manual_clock import ManualClock

BUCKET = "images"
ROOT, ROOT_SECRET = "root-name", "root-secret-of-the-tests"
SECRET = "a-secret-of-the-tests"

Commit = Callable[..., Any]


def document(*statements: dict[str, Any]) -> str:
    """Write a policy of these statements."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action: str, resource: str = "*", **more: Any) -> dict[str, Any]:
    """Write a statement that allows."""
    return {"Effect": "Allow", "Action": [action], "Resource": [f"arn:aws:s3:::{resource}"], **more}


def deny(action: str, resource: str = "*", **more: Any) -> dict[str, Any]:
    """Write a statement that denies."""
    return allow(action, resource, **more) | {"Effect": "Deny"}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(tmp_path: Path, clock: ManualClock) -> Iterator[ObjectStore]:
    with ObjectStore(tmp_path / "lake", clock=clock, space_reserve_bytes=0) as opened:
        opened.commit(partial(create_bucket, name=BUCKET))
        yield opened


@pytest.fixture
def authority(store: ObjectStore) -> Authority:
    return Authority(store, (ROOT, ROOT_SECRET))


@pytest.fixture
def vault(authority: Authority) -> Vault:
    return authority.vault


@pytest.fixture
def commit(store: ObjectStore) -> Commit:
    """Run a verb with these arguments in a transaction."""
    return lambda verb, *positional, **named: store.commit(lambda tx: verb(tx, *positional, **named))


class People:
    """Makes users and asks for them."""

    def __init__(self, authority: Authority, commit: Commit) -> None:
        self.authority = authority
        self.commit = commit

    def add(self, name: str, *statements: dict[str, Any]) -> None:
        """Make a user, with a policy of the same name if there are statements."""
        self.commit(put_user, self.authority.vault, name, SECRET)
        if statements:
            self.commit(put_policy, name, document(*statements))
            self.commit(attach, [name], user=name)

    def set_bucket_policy(self, *statements: dict[str, Any], bucket: str = BUCKET) -> None:
        """Give a bucket a policy, without statements none."""
        self.commit(set_document, bucket, "policy", document(*statements) if statements else None)

    def principal(self, access_key: str, token: str | None = None) -> Principal:
        """Sign in."""
        assert self.authority.secrets(access_key), f"{access_key} has no secrets"
        return self.authority.principal(access_key, token)

    def may(self, who: Principal | str, action: str, resource: str, context: Context = NO_CONTEXT) -> bool:
        """Ask, in both ways, which must agree."""
        principal = self.principal(who) if isinstance(who, str) else who
        answer = self.authority.is_allowed(principal, action, resource, context)
        decision = self.authority.decide(principal, action, resource, context)
        assert (decision.effect.name == "ALLOW") == answer, decision
        return answer


@pytest.fixture
def people(authority: Authority, commit: Commit) -> People:
    return People(authority, commit)
