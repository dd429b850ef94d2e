"""Condition operators: how the values of a key in the request are compared with those of a policy."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from difflib import get_close_matches
from enum import Enum
from typing import NamedTuple

import msgspec

from hosu.identity.policy.patterns import Lookup, PatternError
from hosu.identity.policy.values import (
    COMPARISONS,
    Arns,
    Networks,
    Texts,
    Values,
    binaries,
    booleans,
    quantities,
    read_date,
    read_number,
)

Reader = Callable[[Sequence[str], bool], Values]
"""Reads the texts of a policy, in which variables stand or may not; raises PatternError."""


class Quantifier(Enum):
    """How many of a key's values in the request must hold: as for one value, all of them, or any."""

    NONE = ""
    ALL = "ForAllValues:"
    ANY = "ForAnyValue:"


class Operator(NamedTuple):
    """One operator: its name, whether it is the denial of another, and how its values are read."""

    name: str
    is_negated: bool
    read: Reader


def _texts(*, has_wildcards: bool = False, ignores_case: bool = False) -> Reader:
    return lambda texts, variables: Texts(
        texts, has_wildcards=has_wildcards, ignores_case=ignores_case, variables=variables
    )


def _quantities(comparison: str, read: Callable[[str], Decimal]) -> Reader:
    return lambda texts, _: quantities(texts, comparison, read)


def _operators() -> dict[str, Operator]:
    readers: list[tuple[str, str, Reader]] = [
        ("StringEquals", "StringNotEquals", _texts()),
        ("StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", _texts(ignores_case=True)),
        ("StringLike", "StringNotLike", _texts(has_wildcards=True)),
        ("Bool", "", lambda texts, _: booleans(texts)),
        ("BinaryEquals", "", lambda texts, _: binaries(texts)),
        ("IpAddress", "NotIpAddress", lambda texts, _: Networks(texts)),
        ("ArnEquals", "ArnNotEquals", lambda texts, variables: Arns(texts, variables=variables)),
        ("ArnLike", "ArnNotLike", lambda texts, variables: Arns(texts, variables=variables)),
        (NULL, "", lambda texts, _: booleans(texts)),
    ]
    for family, read in (("Numeric", read_number), ("Date", read_date)):
        readers += [
            (f"{family}{comparison}", f"{family}NotEquals" * (comparison == "Equals"), _quantities(comparison, read))
            for comparison in COMPARISONS
        ]
    found = {name: Operator(name, is_negated=False, read=read) for name, _, read in readers}
    return found | {denial: Operator(denial, is_negated=True, read=read) for _, denial, read in readers if denial}


NULL = "Null"
IF_EXISTS = "IfExists"
OPERATORS = _operators()
_LOWER = {name.lower(): name for name in OPERATORS}


class Condition(msgspec.Struct, frozen=True):
    """One comparison: the key's values in the request with those of the policy.

    `key` is in lower case, but for the name of a tag. `texts` are the values as they were written.
    """

    operator: str
    is_negated: bool
    quantifier: Quantifier
    if_exists: bool
    key: str
    texts: tuple[str, ...]
    values: Values

    def holds(self, lookup: Lookup) -> bool:
        """Whether the condition holds for a request.

        Several values of the policy are alternatives; the denial of an operator holds when none of them matches. An
        absent key matches nothing, so that a denial holds; `IfExists` and `ForAllValues` hold without one. A denial
        does not hold where a variable in its values has none: then nobody can tell.
        """
        given = lookup(self.key)
        if self.operator == NULL:
            return bool(self.values.match(lookup)("false" if given else "true"))
        if not given:
            if self.if_exists or self.quantifier is Quantifier.ALL:
                return True
            return self.is_negated and self.quantifier is Quantifier.NONE and self.values.is_known(lookup)
        match = self.values.fixed
        if match is None:
            if self.is_negated and not self.values.is_known(lookup):
                return False
            match = self.values.match(lookup)
        if len(given) == 1:
            return bool(match(given[0])) is not self.is_negated
        if not self.is_negated:
            matches = map(match, given)
            return all(matches) if self.quantifier is Quantifier.ALL else any(matches)
        if self.quantifier is Quantifier.ANY:
            return not all(map(match, given))
        return not any(map(match, given))

    @property
    def needs_key(self) -> bool:
        """Whether the condition holds only for requests that have the key, with a value that the policy names."""
        return not (self.is_negated or self.if_exists or self.quantifier is Quantifier.ALL or self.operator == NULL)


def read_operator(text: str) -> tuple[Operator, Quantifier, bool]:
    """Read an operator with its prefix and suffix: itself, how many values, and whether it ends in IfExists.

    Raises PatternError.
    """
    lower = text.lower()
    quantifier = Quantifier.NONE
    for each in (Quantifier.ALL, Quantifier.ANY):
        if lower.startswith(each.value.lower()):
            quantifier = each
            lower = lower.removeprefix(each.value.lower())
    if_exists = lower.endswith(IF_EXISTS.lower())
    lower = lower.removesuffix(IF_EXISTS.lower())
    name = _LOWER.get(lower)
    if name is None:
        near = get_close_matches(lower, _LOWER, 1)
        remedy = f"did you mean {_LOWER[near[0]]}" if near else "docs/reference/policies.md lists those that exist"
        raise PatternError(f"'{text}' is no condition operator: {remedy}")
    if name == NULL and (if_exists or quantifier is not Quantifier.NONE):
        raise PatternError(
            f"'{text}': Null takes neither {IF_EXISTS} nor a set prefix, since it asks for presence itself"
        )
    return OPERATORS[name], quantifier, if_exists
