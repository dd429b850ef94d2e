"""Policies in the language of AWS: read, checked, compiled, asked. Pure: no database, no network, no clock."""

from hosu.identity.policy.actions import KNOWN_ACTIONS
from hosu.identity.policy.builtin import BUILTIN_POLICIES
from hosu.identity.policy.deciding import PolicySet
from hosu.identity.policy.model import (
    Decision,
    Effect,
    NamedPolicy,
    Policy,
    PolicyKind,
    Question,
    Statement,
)
from hosu.identity.policy.parsing import parse_policy
from hosu.identity.policy.public import is_public

__all__ = [
    "BUILTIN_POLICIES",
    "KNOWN_ACTIONS",
    "Decision",
    "Effect",
    "NamedPolicy",
    "Policy",
    "PolicyKind",
    "PolicySet",
    "Question",
    "Statement",
    "is_public",
    "parse_policy",
]
