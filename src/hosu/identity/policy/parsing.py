"""Policies from their text: every member, name and value is checked, and what is wrong is named with its place."""

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import partial
from typing import NoReturn, TypeVar

from hosu.identity.policy import document
from hosu.identity.policy.actions import (
    BUCKET_ACTIONS,
    OBJECT_ACTIONS,
    RESOURCELESS_SERVICES,
    matching_actions,
    read_action,
)
from hosu.identity.policy.document import DocumentError, Number, Object, Place
from hosu.identity.policy.keys import read_key
from hosu.identity.policy.model import Policy, PolicyKind, Statement
from hosu.identity.policy.operators import Condition, Operator, read_operator
from hosu.identity.policy.patterns import Pattern, PatternError, slow_search_length
from hosu.identity.policy.principals import PRINCIPAL_KINDS, Principals, read_principal
from hosu.identity.policy.resources import Resources, can_match, can_match_below, read_resource

VERSIONS = ("2012-10-17", "2008-10-17")
VERSION_WITH_VARIABLES = VERSIONS[0]
EFFECTS = ("Allow", "Deny")

SLOW_SEARCH_LENGTH_MAX = 256
"""With it, the slowest text is compared in some ten milliseconds; patterns in use have a handful of characters."""

_POLICY_MEMBERS = ("Version", "Id", "Statement")
_STATEMENT_MEMBERS = (
    "Sid",
    "Effect",
    "Principal",
    "NotPrincipal",
    "Action",
    "NotAction",
    "Resource",
    "NotResource",
    "Condition",
)
_EVERYONE = "*"
_SHOWN_LENGTH_MAX = 80
T = TypeVar("T")


def parse_policy(text: str | bytes, kind: PolicyKind, *, bucket: str = "") -> Policy:
    """Read and check a policy. One of a bucket names principals, and only resources of `bucket` where it is given.

    Raises InvalidInputError of kind POLICY_INVALID. Its details are `position` (`Statement[1].Condition.StringLike`),
    `line` and `column`, counted from 1.
    """
    decoded = document.decode(text)
    value = document.read(decoded)
    try:
        return _Reader(kind, bucket).read_policy(decoded, Place(value, ()))
    except DocumentError as problem:
        raise document.refusal(decoded, problem) from None


class _Reader:
    """Reads one policy; each method raises DocumentError for what is wrong below its place."""

    def __init__(self, kind: PolicyKind, bucket: str) -> None:
        self._kind = kind
        self._bucket = bucket
        self._has_variables = False
        self._search_length = 0

    def read_policy(self, text: str, place: Place) -> Policy:
        members = _members(place, _POLICY_MEMBERS)
        version = members.get("Version")
        if version and version.value not in VERSIONS:
            _refuse(version, f"the version is {_shown(version.value)}: write {' or '.join(VERSIONS)}")
        self._has_variables = version is not None and version.value == VERSION_WITH_VARIABLES
        if "Id" in members:
            _text(members["Id"])
        if "Statement" not in members:
            _refuse(place, "the policy has no Statement")
        statements = tuple(self._read_statement(it) for it in _items(members["Statement"]))
        return Policy(text, statements, self._kind)

    def _read_statement(self, place: Place) -> Statement:
        members = _members(place, _STATEMENT_MEMBERS)
        sid = _text(members["Sid"]) if "Sid" in members else ""
        if "Effect" not in members:
            _refuse(place, "the statement has no Effect: write Allow or Deny")
        effect = members["Effect"]
        if effect.value not in EFFECTS:
            _refuse(effect, f"the effect is {_shown(effect.value)}: write Allow or Deny")
        actions_place = _one_of(place, members, "Action", "NotAction")
        if actions_place is None:
            _refuse(place, "the statement has neither Action nor NotAction")
        is_not_action = actions_place.path[-1] == "NotAction"
        actions = tuple(self._read_action(it) for it in _items(actions_place))
        resources = self._read_resources(place, members, actions, is_not_action=is_not_action)
        if self._kind is PolicyKind.BUCKET and resources and not (is_not_action or resources.is_not):
            self._check_actions_have_resources(actions_place, actions, resources)
        return Statement(
            sid,
            effect.value == "Allow",
            actions,
            is_not_action,
            resources,
            self._read_principals(place, members),
            self._read_conditions(members["Condition"]) if "Condition" in members else (),
        )

    def _read_action(self, place: Place) -> str:
        action = _read(place, read_action)
        if self._kind is PolicyKind.BUCKET and not _services_of(action) - RESOURCELESS_SERVICES - {"hosu"}:
            _refuse(place, f"'{place.value}' is no action on a bucket: write one of s3")
        return action

    def _read_resources(
        self, place: Place, members: dict[str, Place], actions: tuple[str, ...], *, is_not_action: bool
    ) -> Resources | None:
        named = _one_of(place, members, "Resource", "NotResource")
        if named is None:
            services = {action.partition(":")[0] for action in actions}
            if is_not_action or services - RESOURCELESS_SERVICES:
                _refuse(place, "the statement has neither Resource nor NotResource")
            return None
        patterns: dict[str, list[Pattern]] = {"s3": [], "kms": [], "*": []}
        for it in _items(named):
            service, pattern = _read(it, partial(read_resource, variables=self._has_variables))
            if self._kind is PolicyKind.BUCKET:
                self._check_in_bucket(it, service, pattern)
            self._count_search(it, slow_search_length(pattern.parts))
            patterns[service].append(pattern)
        is_not = named.path[-1] == "NotResource"
        return Resources(is_not, bool(patterns["*"]), tuple(patterns["s3"]), tuple(patterns["kms"]))

    def _check_in_bucket(self, place: Place, service: str, pattern: Pattern) -> None:
        if service == "kms":
            _refuse(
                place, f"'{place.value}' is a key, not in a bucket: write arn:aws:s3:::{self._bucket or 'BUCKET'}/*"
            )
        if self._bucket and not _is_on_bucket(pattern, self._bucket) and not _is_on_objects(pattern, self._bucket):
            _refuse(
                place,
                f"'{place.value}' is no resource of bucket '{self._bucket}': "
                f"write arn:aws:s3:::{self._bucket} or arn:aws:s3:::{self._bucket}/*",
            )

    def _check_actions_have_resources(self, place: Place, actions: tuple[str, ...], resources: Resources) -> None:
        """Refuse an action on buckets beside objects only, and the other way round: it would never be matched."""
        if resources.everything or not self._bucket:
            return
        on_bucket = any(_is_on_bucket(pattern, self._bucket) for pattern in resources.s3)
        on_objects = any(_is_on_objects(pattern, self._bucket) for pattern in resources.s3)
        for it, action in zip(_items(place), actions, strict=True):
            matched = matching_actions(action)
            if not on_bucket and matched <= BUCKET_ACTIONS:
                _refuse(it, f"'{it.value}' is on buckets: add the resource arn:aws:s3:::{self._bucket}")
            if not on_objects and matched <= OBJECT_ACTIONS:
                _refuse(it, f"'{it.value}' is on objects: add the resource arn:aws:s3:::{self._bucket}/*")

    def _read_principals(self, place: Place, members: dict[str, Place]) -> Principals | None:
        named = _one_of(place, members, "Principal", "NotPrincipal")
        if self._kind is PolicyKind.IDENTITY:
            if named is not None:
                _refuse(named, "only bucket policies name principals: this one belongs to whom it is attached to")
            return None
        if named is None:
            _refuse(place, 'the statement has neither Principal nor NotPrincipal: write "Principal": "*" for everyone')
        is_not = named.path[-1] == "NotPrincipal"
        if isinstance(named.value, str):
            if named.value != _EVERYONE:
                _refuse(
                    named, f'the principal is {_shown(named.value)}: write "*" or {{"AWS": "arn:aws:iam:::user/NAME"}}'
                )
            return Principals(is_not, is_everyone=True, names=frozenset())
        names: set[str] = set()
        outsiders: list[str] = []
        kinds = _members(named, PRINCIPAL_KINDS)
        if not kinds:
            _refuse(named, 'no principal is named: write "*" or {"AWS": "arn:aws:iam:::user/NAME"}')
        for kind, values in kinds.items():
            for it in _items(values):
                known_as = _read(it, partial(read_principal, kind))
                if kind in {"Federated", "Service"}:
                    outsiders += [f"{kind}:{name}" for name in known_as]
                else:
                    names.update(known_as)
        return Principals(is_not, _EVERYONE in names, frozenset(names - {_EVERYONE}), tuple(outsiders))

    def _read_conditions(self, place: Place) -> tuple[Condition, ...]:
        conditions = []
        for name, keys in _members(place).items():
            operator, quantifier, if_exists = _read(keys._replace(value=name), read_operator)
            for key_name, values in _members(keys).items():
                key = _read(values._replace(value=key_name), read_key)
                texts = self._read_values(values, operator)
                compared = operator.read(texts, self._has_variables)
                conditions.append(
                    Condition(operator.name, operator.is_negated, quantifier, if_exists, key, texts, compared)
                )
        return tuple(conditions)

    def _read_values(self, place: Place, operator: Operator) -> tuple[str, ...]:
        """Read each value by itself, so that a bad one has a place."""
        texts = []
        for it in _items(place, may_be_empty=True):
            text = it._replace(value=_scalar(it))
            values = _read(text, lambda text: operator.read([text], self._has_variables))
            self._count_search(it, values.slow_search_length)
            texts.append(_text(text))
        return tuple(texts)

    def _count_search(self, place: Place, length: int) -> None:
        """Refuse patterns that someone could make every request slow with."""
        self._search_length += length
        if self._search_length > SLOW_SEARCH_LENGTH_MAX:
            _refuse(
                place,
                f"the policy has more than {SLOW_SEARCH_LENGTH_MAX} characters in patterns like *a?b*: "
                "a text with ? between two * is slow to look for, write fewer",
            )


def _services_of(action: str) -> set[str]:
    return {known.partition(":")[0] for known in matching_actions(action)}


def _is_on_bucket(pattern: Pattern, bucket: str) -> bool:
    return can_match(pattern, bucket)


def _is_on_objects(pattern: Pattern, bucket: str) -> bool:
    return can_match_below(pattern, f"{bucket}/")


def _read(place: Place, reader: Callable[[str], T]) -> T:
    """Read a text with what knows its form, and give what is wrong with it a place."""
    try:
        return reader(_text(place))
    except PatternError as problem:
        raise DocumentError(place.path, str(problem)) from None


def _text(place: Place) -> str:
    if not isinstance(place.value, str) or isinstance(place.value, Number):
        _refuse(place, f"a text belongs here, not {_shown(place.value)}")
    return place.value


def _scalar(place: Place) -> str:
    """Return a condition's value as text: JSON's numbers and booleans are written both ways."""
    if isinstance(place.value, bool):
        return "true" if place.value else "false"
    if isinstance(place.value, Number):
        return str(place.value)
    return _text(place)


def _items(place: Place, *, may_be_empty: bool = False) -> list[Place]:
    """Return the items of a list, or the single value that stands for a list of one."""
    if not isinstance(place.value, list) or isinstance(place.value, Object):
        return [place]
    if not place.value and not may_be_empty:
        _refuse(place, "the list is empty")
    return [place.at(index, item) for index, item in enumerate(place.value)]


def _members(place: Place, known: Iterable[str] = ()) -> dict[str, Place]:
    """Return the members of an object by name; `known` are those it may have, any where there are none."""
    if not isinstance(place.value, Object):
        _refuse(place, f"an object belongs here, not {_shown(place.value)}")
    members: dict[str, Place] = {}
    known = list(known)
    for name, value in place.value:
        member = place.at(name, value)
        if name in members:
            _refuse(member, f"the member {_shown(name)} comes twice")
        if known and name not in known:
            lower = {it.lower(): it for it in known}
            near = get_close_matches(name.lower(), lower, 1)
            remedy = f"did you mean '{lower[near[0]]}'" if near else f"known are {', '.join(known)}"
            _refuse(member, f"the member {_shown(name)} is unknown: {remedy}")
        members[name] = member
    return members


def _one_of(place: Place, members: dict[str, Place], name: str, opposite: str) -> Place | None:
    """Return the one member of two that the statement has; None when it has neither."""
    if name in members and opposite in members:
        _refuse(place, f"the statement has both {name} and {opposite}: keep one")
    return members.get(name) or members.get(opposite)


def _shown(value: object) -> str:
    """Write a value for a message, shortened."""
    match value:
        case Object():
            return "an object"
        case list():
            return "a list"
        case bool():
            return "true" if value else "false"
        case None:
            return "null"
        case Number():
            return f"the number {value[:_SHOWN_LENGTH_MAX]}"
        case _:
            return f"'{str(value)[:_SHOWN_LENGTH_MAX]}'"


def _refuse(place: Place, message: str) -> NoReturn:
    raise DocumentError(place.path, message)
