"""Decisions with their reasons, as `hosu policy explain` shows them."""

import json
from collections.abc import Sequence

import msgspec

from hosu.identity.policy import Decision, Effect, NamedPolicy


class Considered(msgspec.Struct, frozen=True):
    """What one voice said.

    `kind` is policy (of a user or a group), bucket policy, cut (of a key or a session), root, acl or public access
    block; `policy` names it; `statement` is the index of the one that spoke, -1 when none did.
    """

    kind: str
    policy: str
    effect: Effect = Effect.NONE
    statement: int = -1
    sid: str = ""


class Explanation(msgspec.Struct, frozen=True):
    """A decision, and how it came about. `statement` is the JSON text of the one that decided, empty without one."""

    principal: str
    decision: Decision
    reason: str
    statement: str
    considered: tuple[Considered, ...]

    @property
    def is_allowed(self) -> bool:
        """Whether the action is allowed."""
        return self.decision.effect is Effect.ALLOW


def describe_statement(decision: Decision) -> str:
    """Return where the statement that decided is, as the audit log names it; empty when none did."""
    return f"{decision.policy}, Statement[{decision.statement}]" if decision.statement >= 0 else ""


def statement_text(policies: Sequence[NamedPolicy], decision: Decision) -> str:
    """Return the text of the statement that decided, as JSON of two spaces; empty when none did."""
    for entry in policies:
        if entry.name == decision.policy and decision.statement >= 0:
            statements = json.loads(entry.policy.text)["Statement"]
            listed = statements if isinstance(statements, list) else [statements]
            return json.dumps(listed[decision.statement], indent=2, ensure_ascii=False)
    return ""
