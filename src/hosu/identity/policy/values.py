"""What condition values are compared as: texts, numbers, dates, addresses, names of resources."""

import binascii
import re
from base64 import b64decode
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from hosu.identity.policy.keys import read_key
from hosu.identity.policy.patterns import (
    Fixed,
    Lookup,
    Match,
    Pattern,
    PatternError,
    any_of,
    fixed_of,
    matcher,
    never,
    no_values,
    read_pattern,
    slow_search_length,
)

NUMBER_LENGTH_MAX = 64
"""Numbers longer than this are no number of any request."""

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d{1,2})?", re.ASCII)
_DATE = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(Z|[+-]\d\d:\d\d))?)?)?", re.ASCII
)
_YEAR_LENGTH = len("2026")
_ARN_FIELDS = 6
_COMPARISONS: dict[str, Callable[[Decimal, Decimal], bool]] = {
    "Equals": lambda value, limit: value == limit,
    "LessThan": lambda value, limit: value < limit,
    "LessThanEquals": lambda value, limit: value <= limit,
    "GreaterThan": lambda value, limit: value > limit,
    "GreaterThanEquals": lambda value, limit: value >= limit,
}
COMPARISONS = tuple(_COMPARISONS)


class Values:
    """The values of one condition, which a value of the request matches or does not.

    `fixed` matches a value of the request that matches any of these. It is None where variables have a say: then
    `match` makes one for each question. `is_exact` says that no value has a wildcard or a variable.
    """

    def __init__(self, fixed: Match | None, *, is_exact: bool = True) -> None:
        self.fixed = fixed
        self.is_exact = is_exact

    @property
    def slow_search_length(self) -> int:
        """How many characters of the values are slow to look for."""
        return 0

    def match(self, lookup: Lookup) -> Match:
        """Return what matches; a value whose variable has none matches nothing."""
        del lookup
        assert self.fixed is not None
        return self.fixed

    def is_known(self, lookup: Lookup) -> bool:
        """Whether every variable in the values has a value."""
        del lookup
        return True


class Texts(Values):
    """Texts, compared whole."""

    def __init__(self, texts: Sequence[str], *, has_wildcards: bool, ignores_case: bool, variables: bool) -> None:
        self._patterns = [
            read_pattern(text, wildcards=has_wildcards, variables=variables, known=read_key) for text in texts
        ]
        self._varying = [pattern for pattern in self._patterns if pattern.variables]
        self._ignores_case = ignores_case
        self._known = self._any_of(fixed_of(self._patterns))
        super().__init__(
            None if self._varying else self._folding(self._known),
            is_exact=not any(pattern.variables or pattern.has_wildcards for pattern in self._patterns),
        )

    @property
    def slow_search_length(self) -> int:
        """How many characters of the texts are slow to look for."""
        return sum(slow_search_length(pattern.parts) for pattern in self._patterns)

    def match(self, lookup: Lookup) -> Match:
        """Return what matches; a text whose variable has no value matches nothing."""
        known = self._known
        resolved = (fixed for it in self._varying if (fixed := it.resolve(lookup)) is not None)
        now = self._any_of(resolved, is_lasting=False)
        return self._folding(lambda value: known(value) or now(value))

    def is_known(self, lookup: Lookup) -> bool:
        """Whether every variable has a value."""
        return all(pattern.resolve(lookup) is not None for pattern in self._varying)

    def _any_of(self, patterns: Iterable[Fixed], *, is_lasting: bool = True) -> Match:
        """Match any pattern, each by itself: values may be far longer than keys, and their patterns are few."""
        if self._ignores_case:
            patterns = [tuple(part.casefold() if isinstance(part, str) else part for part in it) for it in patterns]
        return any_of(patterns, search_length_max=0, is_lasting=is_lasting) or never

    def _folding(self, match: Match) -> Match:
        return (lambda value: match(value.casefold())) if self._ignores_case else match


class Arns(Values):
    """Amazon Resource Names: six fields, each compared by itself, with wildcards; variables stand in the last one."""

    def __init__(self, texts: Sequence[str], *, variables: bool) -> None:
        self._arns = [_read_arn(text, variables=variables) for text in texts]
        fields = [field for arn in self._arns for field in arn]
        self._varying = [field for field in fields if field.variables]
        match = self.match(no_values)
        super().__init__(
            None if self._varying else match,
            is_exact=not any(field.variables or field.has_wildcards for field in fields),
        )

    @property
    def slow_search_length(self) -> int:
        """How many characters of the ARNs are slow to look for."""
        return sum(slow_search_length(field.parts) for arn in self._arns for field in arn)

    def match(self, lookup: Lookup) -> Match:
        """Return what matches; an ARN whose variable has no value matches nothing."""
        arns, is_lasting = [], not self._varying
        for arn in self._arns:
            resolved = [fixed for field in arn if (fixed := field.resolve(lookup)) is not None]
            if len(resolved) == len(arn):
                arns.append([matcher(fixed, is_lasting=is_lasting) for fixed in resolved])

        def match(value: str) -> bool:
            given = value.split(":", _ARN_FIELDS - 1)
            return len(given) == _ARN_FIELDS and any(
                all(test(field) for test, field in zip(known, given, strict=True)) for known in arns
            )

        return match

    def is_known(self, lookup: Lookup) -> bool:
        """Whether every variable has a value."""
        return all(field.resolve(lookup) is not None for field in self._varying)


def quantities(texts: Sequence[str], comparison: str, read: Callable[[str], Decimal]) -> Values:
    """Return numbers, or dates as seconds since 1970, compared by order; what is neither matches nothing."""
    limits = [read(text) for text in texts]
    compare = _COMPARISONS[comparison]

    def match(value: str) -> bool:
        try:
            quantity = read(value)
        except PatternError:
            return False
        return any(compare(quantity, limit) for limit in limits)

    return Values(match)


def booleans(texts: Sequence[str]) -> Values:
    """Return `true` and `false`, in any case."""
    for text in texts:
        if text.lower() not in {"true", "false"}:
            raise PatternError(f"'{text}' is neither true nor false")
    wanted = frozenset(text.lower() for text in texts)
    return Values(lambda value: value.lower() in wanted)


def binaries(texts: Sequence[str]) -> Values:
    """Return bytes, written in base64; what is not base64 matches nothing."""
    wanted = frozenset(_read_base64(text) for text in texts)

    def match(value: str) -> bool:
        try:
            return _read_base64(value) in wanted
        except PatternError:
            return False

    return Values(match)


class Networks(Values):
    """Addresses and ranges of them, of IPv4 and IPv6; an IPv4 address written as one of IPv6 is one of IPv4."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.networks = [_read_network(text) for text in texts]
        super().__init__(self._match)

    def _match(self, value: str) -> bool:
        try:
            address = ip_address(value.partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return any(address in network for network in self.networks if network.version == address.version)


def read_number(text: str) -> Decimal:
    """Read an integer or a decimal; raise PatternError."""
    if len(text) > NUMBER_LENGTH_MAX or not _NUMBER.fullmatch(text):
        raise PatternError(f"'{text[:NUMBER_LENGTH_MAX]}' is no number: write 10 or 0.5")
    return Decimal(text)


def read_date(text: str) -> Decimal:
    """Read a date of ISO 8601, or seconds since 1970, as seconds since 1970; raise PatternError."""
    try:
        if len(text) != _YEAR_LENGTH and _NUMBER.fullmatch(text):
            return read_number(text)
        return _read_iso_date(text)
    except (ValueError, OverflowError, InvalidOperation):
        raise PatternError(
            f"'{text[:NUMBER_LENGTH_MAX]}' is no date: write 2026-12-31T23:59:59Z, 2026-12-31 or seconds since 1970"
        ) from None


def _read_iso_date(text: str) -> Decimal:
    found = _DATE.fullmatch(text)
    if not found:
        raise ValueError(text)
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    moment = datetime(
        int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0), int(second or 0), tzinfo=UTC
    )
    seconds = int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())
    if zone and zone != "Z":
        hours, minutes = int(zone[1:3]), int(zone[4:6])
        if hours > 23 or minutes > 59:  # noqa: PLR2004 - of a clock
            raise ValueError(text)
        seconds -= (hours * 3600 + minutes * 60) * (-1 if zone[0] == "-" else 1)
    return seconds + Decimal(f"0.{fraction or 0}")


def _read_base64(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise PatternError(f"'{text}' is not base64") from None


def _read_arn(text: str, *, variables: bool) -> list[Pattern]:
    fields = text.split(":", _ARN_FIELDS - 1)
    if len(fields) != _ARN_FIELDS or fields[0] != "arn":
        raise PatternError(f"'{text}' is no ARN: write arn:partition:service:region:account:resource")
    if any("${" in field for field in fields[:-1]):
        raise PatternError(f"'{text}' has a variable before its last field, where ARNs take none")
    return [read_pattern(field, variables=variables, known=read_key) for field in fields]


def _read_network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise PatternError(
            f"'{text}' is no address range: write 203.0.113.0/24, 203.0.113.7 or 2001:db8::/32"
        ) from None
