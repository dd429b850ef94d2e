"""The resources of a statement: patterns of Amazon Resource Names, by the service that they name."""

import msgspec

from hosu.identity.policy.keys import read_key
from hosu.identity.policy.patterns import (
    EVERYTHING,
    Lookup,
    Match,
    Pattern,
    PatternError,
    Run,
    Variable,
    any_of,
    fixed_of,
    matcher,
    merge,
    never,
    read_pattern,
)

PATTERN_LENGTH_MAX = 2048
"""A bucket and a key are at most 1,088 characters; a pattern may name variables and have wildcards besides."""

_PARTITIONS = frozenset({"aws", "aws-cn", "aws-us-gov", "minio", "*"})
_ARN_COLONS = 5
_ANY = Run(0, is_open=True)


class Resources(msgspec.Struct, frozen=True):
    """What a statement speaks about: `everything` (`*`), or what patterns of S3 and of key names match.

    With `is_not` it speaks about all but those.
    """

    is_not: bool
    everything: bool
    s3: tuple[Pattern, ...]
    kms: tuple[Pattern, ...]

    def patterns_for(self, service: str, *, is_named: bool) -> tuple[Pattern, ...]:
        """Return the patterns that an action's resource is compared with.

        `is_named` says that the statement names the action's service (`admin:*`, not `*`). Then an S3 resource does
        not limit actions that have none, since policies are written so; an action of `*` needs the resource `*`.
        """
        everything = (ALL,)
        if self.everything:
            return everything
        if service in {"s3", "hosu"}:
            return self.s3
        if service == "kms" and self.kms:
            return self.kms
        return everything if is_named and not self.is_not else ()


ALL = Pattern("*", EVERYTHING)


def read_resource(text: str, *, variables: bool) -> tuple[str, Pattern]:
    """Read one resource and return its service (`s3`, `kms`, or `*` for everything) and pattern.

    Raises PatternError.
    """
    if text == "*":
        return "*", ALL
    if len(text) > PATTERN_LENGTH_MAX:
        raise PatternError(f"the resource has {len(text):,} characters; at most {PATTERN_LENGTH_MAX:,} are allowed")
    fields = text.split(":", _ARN_COLONS)
    if len(fields) <= _ARN_COLONS or fields[0] != "arn":
        raise PatternError(f"'{text}' is no resource: write arn:aws:s3:::bucket, arn:aws:s3:::bucket/key* or *")
    _, partition, service, region, account, name = fields
    if partition not in _PARTITIONS:
        raise PatternError(f"'{text}' has the unknown partition '{partition}': write arn:aws:s3:::bucket")
    if service == "kms":
        name = name.removeprefix("key/").removeprefix("alias/")
    elif service != "s3":
        raise PatternError(f"'{text}' is a resource of '{service}': this lake has those of s3 and kms")
    elif not {region, account} <= {"", "*"}:
        raise PatternError(
            f"'{text}' names a region or an account, which buckets do not have: write arn:aws:s3:::bucket/key"
        )
    if not name or name.startswith("/"):
        raise PatternError(f"'{text}' names no {'key' if service == 'kms' else 'bucket'} after its last colon")
    return service, read_pattern(name, variables=variables, known=read_key)


def can_match_below(pattern: Pattern, beginning: str) -> bool:
    """Whether the pattern matches any text that begins so; a variable may have any value."""
    states = {0}
    parts = _flatten(pattern)
    for character in beginning:
        states = _step(parts, _close(parts, states), character)
        if not states:
            return False
    return True


def can_match(pattern: Pattern, text: str) -> bool:
    """Whether the pattern matches the text for some values of its variables."""
    return bool(matcher(merge(_flatten(pattern)))(text))


def _flatten(pattern: Pattern) -> list[str | Run]:
    """Return characters, single wildcards, and `*`, of which no two are neighbours: each would be walked over again."""
    parts: list[str | Run] = []
    for part in pattern.parts:
        if isinstance(part, str):
            parts += part
            continue
        if isinstance(part, Run):
            parts += [Run(1, is_open=False)] * part.length
        if (isinstance(part, Variable) or part.is_open) and parts[-1:] != [_ANY]:
            parts.append(_ANY)
    return parts


def _close(parts: list[str | Run], states: set[int]) -> set[int]:
    """Add the places that can be reached without a character: a `*` may stand for none."""
    closed = set(states)
    for state in sorted(states):
        if state < len(parts) and parts[state] == _ANY:
            closed.add(state + 1)
    return closed


def _step(parts: list[str | Run], states: set[int], character: str) -> set[int]:
    reached = set()
    for state in states:
        if state == len(parts):
            continue
        part = parts[state]
        if isinstance(part, str):
            if part == character:
                reached.add(state + 1)
        elif part.is_open:
            reached.add(state)
        else:
            reached.add(state + 1)
    return reached


class ResourceTest:
    """Compares a resource with the patterns of one statement for one action."""

    __slots__ = ("_fixed", "_is_not", "_varying")

    def __init__(self, patterns: tuple[Pattern, ...], *, is_not: bool) -> None:
        self._is_not = is_not
        self._fixed: Match = any_of(fixed_of(patterns)) or never
        self._varying = [pattern for pattern in patterns if pattern.variables]

    def holds(self, resource: str, lookup: Lookup) -> bool:
        """Whether the statement speaks about the resource.

        A pattern whose variable has no value matches nothing; where it would exclude, the statement is silent.
        """
        is_found = bool(self._fixed(resource))
        if is_found or not self._varying:
            return is_found is not self._is_not
        for pattern in self._varying:
            fixed = pattern.resolve(lookup)
            if fixed is None:
                if self._is_not:
                    return False
            elif matcher(fixed, is_lasting=False)(resource):
                return not self._is_not
        return self._is_not
