"""What policies, questions and answers are made of."""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import NamedTuple

import msgspec

from hosu.identity.policy.operators import Condition
from hosu.identity.policy.principals import Principals
from hosu.identity.policy.resources import Resources
from hosu.kernel.auth import NO_CONTEXT, Context


class PolicyKind(Enum):
    """Whom a policy belongs to: those who ask, or the bucket that is asked for."""

    IDENTITY = "identity"
    BUCKET = "bucket"


class Effect(Enum):
    """What policies say to a question; an explicit deny outweighs every allow."""

    ALLOW = "allow"
    DENY = "deny"
    NONE = "none"


class Statement(msgspec.Struct, frozen=True):
    """One statement: it speaks when its actions, resources, principals and all its conditions match.

    `actions` are patterns in lower case, or with `is_not_action` those it does not speak about. `resources` is None
    where the actions have none, `principals` is None in policies of identities.
    """

    sid: str
    is_allow: bool
    actions: tuple[str, ...]
    is_not_action: bool
    resources: Resources | None
    principals: Principals | None
    conditions: tuple[Condition, ...]


class Policy(msgspec.Struct, frozen=True):
    """A checked policy: `text` is what its author wrote, byte for byte."""

    text: str
    statements: tuple[Statement, ...]
    kind: PolicyKind


class NamedPolicy(NamedTuple):
    """A policy under the name that decisions show."""

    name: str
    policy: Policy


class Decision(msgspec.Struct, frozen=True):
    """The answer, and the statement that gave it: policy by name, statement by index; NONE was given by none."""

    effect: Effect
    policy: str = ""
    statement: int = -1
    sid: str = ""


class Question(msgspec.Struct):
    """What is asked: may someone do this.

    `resource` is `bucket/key`, `bucket`, the name of a key for actions of kms, or empty for the whole service.
    `principal_values` are the condition keys that describe who asks (`aws:username`), in lower case; no circumstance
    replaces them. `principal_ids` are all names under which a bucket policy may name who asks; everyone is `*`.

    Condition keys are asked of `context` in lower case, but for the name of a tag (`s3:existingobjecttag/Team`).
    """

    action: str
    resource: str = ""
    context: Context = NO_CONTEXT
    principal_values: Mapping[str, Sequence[str]] = {}
    principal_ids: Sequence[str] = ()

    def values(self, key: str) -> Sequence[str]:
        """Return the values of a condition key: those of the principal, else of the circumstances."""
        known = self.principal_values.get(key)
        return self.context.values(key) if known is None else known
