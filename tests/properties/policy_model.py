"""Policies decided slowly and obviously: the JSON is walked anew for every question, one character at a time."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from ipaddress import ip_address, ip_network
from typing import Any

Json = Mapping[str, Any]
Values = Callable[[str], Sequence[str]]

STAR, ONE = object(), object()
UNKNOWN = object()


def decide(policies: Sequence[Json], action: str, resource: str, values: Values, ids: Sequence[str]) -> str:
    """Return allow, deny or none."""
    effects = {
        statement["Effect"]
        for policy in policies
        for statement in listed(policy["Statement"])
        if speaks(statement, action, resource, values, ids)
    }
    return "deny" if "Deny" in effects else "allow" if "Allow" in effects else "none"


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def speaks(statement: Json, action: str, resource: str, values: Values, ids: Sequence[str]) -> bool:
    return (
        speaks_of_action(statement, action)
        and speaks_of_resource(statement, action, resource, values)
        and speaks_of_asker(statement, ids)
        and all(
            holds(operator, key, listed(wanted), values)
            for operator, keys in statement.get("Condition", {}).items()
            for key, wanted in keys.items()
        )
    )


def speaks_of_action(statement: Json, action: str) -> bool:
    if "NotAction" in statement:
        return not any(matches(tokens(it.lower()), action.lower()) for it in listed(statement["NotAction"]))
    return any(matches(tokens(it.lower()), action.lower()) for it in listed(statement["Action"]))


def speaks_of_resource(statement: Json, action: str, resource: str, values: Values) -> bool:
    """Resources are `*` or those of S3; other services' actions need `*`, or none when they are named."""
    if "Resource" not in statement and "NotResource" not in statement:
        return True
    service = action.partition(":")[0]
    is_named = any(it.lower().startswith(f"{service}:") for it in listed(statement.get("Action", [])))
    is_not = "NotResource" in statement
    found = False
    for it in listed(statement["NotResource" if is_not else "Resource"]):
        if service != "s3":
            found = found or it == "*" or (is_named and not is_not)
            continue
        pattern = tokens("*") if it == "*" else tokens(it.removeprefix("arn:aws:s3:::"), values)
        if UNKNOWN in pattern:
            if is_not:
                return False
        elif matches(pattern, resource):
            found = True
    return found is not is_not


def speaks_of_asker(statement: Json, ids: Sequence[str]) -> bool:
    for member in ("Principal", "NotPrincipal"):
        if member in statement:
            named = statement[member]
            names = listed(named) if isinstance(named, str) else listed(named["AWS"])
            return any(name == "*" or name in ids for name in names) is (member == "Principal")
    return True


def holds(operator: str, key: str, wanted: list[Any], values: Values) -> bool:
    quantifier, _, name = operator.rpartition(":")
    if_exists = name.endswith("IfExists")
    name = name.removesuffix("IfExists")
    given = values(key.lower())
    if name == "Null":
        return ("false" if given else "true") in wanted
    positive = name.replace("Not", "")
    texts = [tokens(it, values, wildcards=positive == "StringLike") if "String" in positive else it for it in wanted]
    unknown = any("String" in positive and UNKNOWN in it for it in texts)
    known = [it for it in texts if "String" not in positive or UNKNOWN not in it]
    if not given:
        if if_exists or quantifier == "ForAllValues":
            return True
        return name != positive and not quantifier and not unknown
    if name != positive and unknown:
        return False
    each = [any(compares(positive, value, it) for it in known) for value in given]
    if name != positive:
        return not all(each) if quantifier == "ForAnyValue" else not any(each)
    return all(each) if quantifier == "ForAllValues" else any(each)


def compares(operator: str, value: str, wanted: Any) -> bool:
    match operator:
        case "StringEquals" | "StringLike":
            return matches(wanted, value)
        case "StringEqualsIgnoreCase":
            return matches([it.casefold() for it in wanted], value.casefold())
        case "Bool":
            return bool(value.lower() == wanted)
        case "IpAddress":
            network, address = ip_network(wanted), ip_address(value)
            return network.version == address.version and address in network
        case "DateLessThan":
            return datetime.fromisoformat(value) < datetime.fromisoformat(wanted)
    number, limit = Decimal(value), Decimal(wanted)
    outcomes = {
        "NumericEquals": number == limit,
        "NumericLessThan": number < limit,
        "NumericLessThanEquals": number <= limit,
        "NumericGreaterThan": number > limit,
        "NumericGreaterThanEquals": number >= limit,
    }
    return outcomes[operator]


def tokens(text: str, values: Values | None = None, *, wildcards: bool = True) -> list[Any]:
    """Split a pattern into characters, STAR, ONE, and UNKNOWN for a variable without a value."""
    found: list[Any] = []
    while text:
        if values and text.startswith("${"):
            inner, _, text = text[2:].partition("}")
            name, _, default = inner.partition(", ")
            if inner in {"*", "?", "$"}:
                found.append(inner)
            elif len(given := values(name.lower())) == 1:
                found += given[0]
            else:
                found += default.strip("'") if default else [UNKNOWN]
            continue
        character, text = text[0], text[1:]
        found.append({"*": STAR, "?": ONE}.get(character, character) if wildcards else character)
    return found


def matches(pattern: Sequence[Any], text: str) -> bool:
    """Match by looking at every beginning of the text after each token."""
    ends = {0}
    for token in pattern:
        if token is STAR:
            ends = set(range(min(ends), len(text) + 1)) if ends else ends
        else:
            ends = {end + 1 for end in ends if end < len(text) and token in {ONE, text[end]}}
    return len(text) in ends
