"""Decisions: policies compiled once, per action that is asked for, and asked often."""

from collections.abc import Iterable
from typing import NamedTuple

from hosu.identity.policy.actions import is_matched
from hosu.identity.policy.keys import is_of_principal
from hosu.identity.policy.model import Decision, Effect, NamedPolicy, Question, Statement
from hosu.identity.policy.patterns import Fixed, Match, Pattern, any_of, fixed_of, never
from hosu.identity.policy.resources import ALL, ResourceTest

ACTIONS_KEPT = 512
"""Requests ask for far fewer different actions; a caller that makes names up does not fill the memory."""

PRINCIPALS_KEPT = 256
"""For how many who ask a bucket's policy keeps its variables resolved."""

_ALLOW, _DENY, _NONE = Effect.ALLOW, Effect.DENY, Effect.NONE
_NOBODY_DECIDED = Decision(Effect.NONE)


class PolicySet:
    """The policies that speak about one principal, or one bucket. Any thread may ask.

    A deny outweighs every allow; the order of policies and statements does not matter.
    """

    def __init__(self, policies: Iterable[NamedPolicy]) -> None:
        self._policies = tuple(policies)
        self._compiled: dict[str, _Compiled] = {}

    def decide(self, question: Question) -> Effect:
        """Answer a question: DENY where a statement denies, else ALLOW where one allows, else NONE."""
        compiled = self._compiled.get(question.action) or self._compile(question.action)
        denies, varying_denies, denying, allows, varying_allows, allowing = compiled
        resource = question.resource
        if denies is not None and denies(resource):
            return _DENY
        if varying_denies is not None and varying_denies.matches(question):
            return _DENY
        for rule in denying:
            if rule.matches(question):
                return _DENY
        if allows is not None and allows(resource):
            return _ALLOW
        if varying_allows is not None and varying_allows.matches(question):
            return _ALLOW
        for rule in allowing:
            if rule.matches(question):
                return _ALLOW
        return _NONE

    def explain(self, question: Question) -> Decision:
        """Answer as `decide` does, and say which statement decided: the first that denies, else that allows."""
        allowed: Decision | None = None
        for rule in self._rules(question.action):
            if rule.statement.is_allow:
                if allowed is None and rule.matches(question):
                    allowed = rule.decision
            elif rule.matches(question):
                return rule.decision
        return allowed or _NOBODY_DECIDED

    def matching(self, question: Question) -> list[Decision]:
        """Return every statement that matches, in order: each as if it alone had decided."""
        return [rule.decision for rule in self._rules(question.action) if rule.matches(question)]

    def _rules(self, action: str) -> "Iterable[_Rule]":
        for name, policy in self._policies:
            for index, statement in enumerate(policy.statements):
                if is_matched(statement.actions, action) is not statement.is_not_action:
                    yield _Rule(name, index, statement, action)

    def _compile(self, action: str) -> "_Compiled":
        rules = list(self._rules(action))
        compiled = _Compiled(
            *_compile([rule for rule in rules if not rule.statement.is_allow]),
            *_compile([rule for rule in rules if rule.statement.is_allow]),
        )
        if len(self._compiled) >= ACTIONS_KEPT:
            self._compiled.clear()
        self._compiled[action] = compiled
        return compiled


def _compile(rules: "list[_Rule]") -> "tuple[Match | None, _ByPrincipal | None, tuple[_Rule, ...]]":
    """Sort rules of one effect by what they look at: the resource, who asks as well, or more."""
    fixed: list[Fixed] = []
    varying: list[Pattern] = []
    others: list[_Rule] = []
    for rule in rules:
        if rule.looks_at_resource_only and all(map(is_of_principal, rule.variables)):
            fixed += fixed_of(rule.patterns)
            varying += [pattern for pattern in rule.patterns if pattern.variables]
        else:
            others.append(rule)
    return any_of(fixed), _ByPrincipal(varying) if varying else None, tuple(others)


class _ByPrincipal:
    """Resources whose variables are about who asks: compiled once for each who does."""

    __slots__ = ("_compiled", "_names", "_patterns")

    def __init__(self, patterns: list[Pattern]) -> None:
        self._patterns = patterns
        self._names = sorted({name for pattern in patterns for name in pattern.variables})
        self._compiled: dict[tuple[tuple[str, ...], ...], Match] = {}

    def matches(self, question: Question) -> bool:
        """Whether the resource matches any of the patterns."""
        values = tuple([tuple(question.values(name)) for name in self._names])
        match = self._compiled.get(values)
        if match is None:
            known = [fixed for it in self._patterns if (fixed := it.resolve(question.values)) is not None]
            match = any_of(known) or never
            if len(self._compiled) >= PRINCIPALS_KEPT:
                self._compiled.clear()
            self._compiled[values] = match
        return bool(match(question.resource))


class _Rule:
    """One statement, for one action that it speaks about."""

    __slots__ = (
        "_conditions",
        "_principals",
        "_resources",
        "decision",
        "looks_at_resource_only",
        "patterns",
        "statement",
        "variables",
    )

    def __init__(self, policy: str, index: int, statement: Statement, action: str) -> None:
        effect = Effect.ALLOW if statement.is_allow else Effect.DENY
        self.decision = Decision(effect, policy, index, statement.sid)
        self.statement = statement
        self._conditions = statement.conditions
        self._principals = statement.principals
        patterns: tuple[Pattern, ...] = (ALL,)
        is_not = False
        if statement.resources is not None:
            service = action.partition(":")[0].lower()
            # A NotAction that names the service speaks of other actions only, and so names none of those it speaks of.
            named = [pattern for pattern in statement.actions if pattern.partition(":")[0] == service]
            is_named = is_matched(named, action)
            patterns = statement.resources.patterns_for(service, is_named=is_named)
            is_not = statement.resources.is_not
        self._resources = ResourceTest(patterns, is_not=is_not)
        self.patterns = patterns
        self.variables = [name for pattern in patterns for name in pattern.variables]
        speaks_of_everyone = self._principals is None or (self._principals.is_everyone and not self._principals.is_not)
        self.looks_at_resource_only = not is_not and not self._conditions and speaks_of_everyone
        """Whether the statement matches where one of `patterns` does, given the values of `variables`."""

    def matches(self, question: Question) -> bool:
        """Whether the statement speaks about the question, whose action is the rule's."""
        if self._principals is not None and not self._principals.holds(question.principal_ids):
            return False
        lookup = question.values
        if not self._resources.holds(question.resource, lookup):
            return False
        for condition in self._conditions:  # noqa: SIM110 - a generator costs half a microsecond
            if not condition.holds(lookup):
                return False
        return True


class _Compiled(NamedTuple):
    """All that speaks about one action: what denies, and what allows, the cheapest to ask first."""

    denies: Match | None
    varying_denies: _ByPrincipal | None
    denying: tuple[_Rule, ...]
    allows: Match | None
    varying_allows: _ByPrincipal | None
    allowing: tuple[_Rule, ...]
