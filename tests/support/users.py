"""Users of a running server's lake, made as an operator makes them: in Python, beside the server."""

import dataclasses
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.server import Endpoint

import hosu

NUMBERS = itertools.count(1)


def make_user(lake: Path, server: Endpoint, *statements: Mapping[str, Any], name: str = "") -> Endpoint:
    """Make a user whose only policy has these statements; without any it has no policy at all."""
    name = name or f"user{next(NUMBERS)}@{lake.parent.name}"
    with hosu.open(lake) as opened:
        policies = []
        if statements:
            opened.policies.put(f"policy-of-{name}", policy_text(*statements))
            policies = [f"policy-of-{name}"]
        key = opened.users.add(name, policies=policies)
    return dataclasses.replace(server, access_key=key.access_key, secret_key=key.secret)


def policy_text(*statements: Mapping[str, Any]) -> str:
    """Return a policy of these statements, each an Allow of everything where it says nothing else."""
    whole = [{"Effect": "Allow"} | dict(statement) for statement in statements]
    return json.dumps({"Version": "2012-10-17", "Statement": whole})


def allow(actions: str | list[str], *resources: str, **conditions: Mapping[str, Any]) -> dict[str, Any]:
    """Return a statement that allows actions on resources (`bucket/key`), under conditions by operator."""
    statement: dict[str, Any] = {
        "Effect": "Allow",
        "Action": actions,
        "Resource": [f"arn:aws:s3:::{name}" for name in resources or ("*",)],
    }
    return statement | ({"Condition": conditions} if conditions else {})


def for_everyone(statement: Mapping[str, Any]) -> dict[str, Any]:
    """Return a statement as bucket policies have it, about everybody."""
    return {"Principal": "*"} | dict(statement)
