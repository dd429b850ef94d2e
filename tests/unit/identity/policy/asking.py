"""Short words for asking policies in tests."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hosu.identity.policy import Effect, NamedPolicy, Policy, PolicyKind, PolicySet, Question, parse_policy
from hosu.kernel.auth import FixedContext


def read(*statements: Mapping[str, Any]) -> Policy:
    """Read a policy, of a bucket where a statement names principals."""
    text = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
    return parse_policy(text, PolicyKind.BUCKET if "Principal" in text else PolicyKind.IDENTITY)


def ask(
    statements: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    action: str,
    resource: str = "",
    *,
    who: Sequence[str] = (),
    user: str = "",
    **circumstances: Sequence[str] | str,
) -> Effect:
    """Ask a policy; circumstances are named with `_` for `:` and given as one value or several."""
    listed = [statements] if isinstance(statements, Mapping) else statements
    values = {
        name.replace("_", ":", 1).replace("_", "-"): [value] if isinstance(value, str) else value
        for name, value in circumstances.items()
    }
    question = Question(action, resource, FixedContext(values), {"aws:username": [user]} if user else {}, who)
    asked = PolicySet([NamedPolicy("p", read(*listed))])
    effect = asked.decide(question)
    assert asked.explain(question).effect is effect
    return effect
