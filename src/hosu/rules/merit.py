"""Retention by merit: of the folders below a prefix the best stay, by a number in a file of each, and the rest expire.

So a lake keeps the models worth keeping: the best N by `map50` in their `metrics.json`, say, and whatever an alias
points to. `hosu.rules.ranking` says which they are, and removes the rest when their grace has ended.
"""

from collections.abc import Sequence
from typing import Literal

import jmespath
import msgspec

from hosu.kernel.errors import ConflictError, CorruptError, ErrorKind, InvalidInputError, NotFoundError
from hosu.objects.aliases import find_alias
from hosu.objects.lake_documents import get_lake_document, set_lake_document
from hosu.objects.names import check_key
from hosu.objects.protected import protected_prefixes
from hosu.objects.transaction import Tx
from hosu.objects.views import View

DOCUMENT = "merit"
"""Kind of the lake's document that holds the rules."""

RULES_MAX = 100
ID_CHARACTERS_MAX = 255
GRACE_DAYS_MAX = 36_500
BEST_MAX = 1_000_000


class MeritRule(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, kw_only=True):
    """One rule. Its folders are those directly below the prefix; what lies beside them is left alone."""

    id: str
    bucket: str
    prefix: str
    """Ends with '/'; empty for the folders of the whole bucket."""

    path: str
    """Where the number is in the file: JMESPath such as `map50`, `metrics.map50` or `runs[0]."mAP50-95"`."""

    file: str = "metrics.json"
    """Key of the file below the folder."""

    best: int = 3
    """How many stay."""

    order: Literal["max", "min"] = "max"
    """Whether the largest numbers are the best, or the smallest."""

    grace_days: int = 0
    """Days that the rest stays after its newest object was stored."""

    unranked: Literal["keep", "expire"] = "keep"
    """What becomes of a folder that has no such number."""


def list_merit(view: View) -> tuple[MeritRule, ...]:
    """Return the rules, by their ids."""
    text = get_lake_document(view, DOCUMENT)
    if text is None:
        return ()
    try:
        return tuple(msgspec.json.decode(text, type=list[MeritRule]))
    except msgspec.MsgspecError as error:
        raise CorruptError(
            ErrorKind.CORRUPT_LAKE, f"the rules of retention by merit cannot be read: {error}"
        ) from error


def put_merit(tx: Tx, rule: MeritRule, *, actor: str = "") -> None:
    """Add a rule, or replace the one of its id.

    Raises InvalidInputError or NotFoundError for what cannot be meant, and ConflictError for a rule that would remove
    what is protected, or what is another rule's to judge.
    """
    others = [other for other in list_merit(tx) if other.id != rule.id]
    if len(others) >= RULES_MAX:
        raise ConflictError(ErrorKind.INVALID_ARGUMENT, f"there are {RULES_MAX} rules, which is the most: remove one")
    check_merit(tx, rule)
    for other in others:
        if other.bucket == rule.bucket and _overlap(other.prefix, rule.prefix):
            raise ConflictError(
                ErrorKind.INVALID_ARGUMENT,
                f"prefix {rule.prefix!r} overlaps with {other.prefix!r} of the rule {other.id!r}: change that one, or "
                "remove it first",
            )
    for prefix in protected_prefixes(tx, rule.bucket):
        if _overlap(prefix, rule.prefix):
            raise ConflictError(
                ErrorKind.INVALID_ARGUMENT,
                f"rule {rule.id!r} would remove what is below the protected prefix {prefix!r}: give it a prefix apart "
                "from that one, or end the protection first",
                bucket=rule.bucket,
                prefix=prefix,
            )
    _store(tx, [*others, rule], actor)


def remove_merit(tx: Tx, rule_id: str, *, actor: str = "") -> MeritRule:
    """Remove a rule and return it; raises `NotFoundError`."""
    rules = list_merit(tx)
    for rule in rules:
        if rule.id == rule_id:
            _store(tx, [other for other in rules if other is not rule], actor)
            return rule
    named = ", ".join(repr(rule.id) for rule in rules) or "none"
    raise NotFoundError(ErrorKind.INVALID_ARGUMENT, f"there is no rule {rule_id!r} of merit: there are {named}")


def judges_below(view: View, bucket: str, prefix: str) -> str | None:
    """Return the id of a rule by which something below a prefix may go; None without one."""
    return next((rule.id for rule in list_merit(view) if rule.bucket == bucket and _overlap(rule.prefix, prefix)), None)


def check_merit(view: View, rule: MeritRule) -> None:
    """Refuse a rule that cannot be meant; raises `NotFoundError` for a bucket that is not there."""
    check_merit_values(rule)
    alias = find_alias(view, view.bucket(rule.bucket), rule.prefix)
    if alias is not None:
        _refuse(
            "prefix", repr(rule.prefix), f"it is below the alias {alias.prefix!r}: name its target {alias.target!r}"
        )


def check_merit_values(rule: MeritRule) -> None:
    """Refuse a rule that cannot be meant in any lake."""
    if not 1 <= len(rule.id) <= ID_CHARACTERS_MAX or not rule.id.isprintable():
        _refuse("id", repr(rule.id), f"give 1 to {ID_CHARACTERS_MAX} printable characters")
    if rule.prefix:
        check_key(rule.prefix)
        if not rule.prefix.endswith("/"):
            _refuse("prefix", repr(rule.prefix), "end it with '/': what is judged are the folders below it")
    check_key(rule.prefix + "x/" + rule.file)
    if not rule.file or rule.file.startswith("/") or rule.file.endswith("/"):
        _refuse("file", repr(rule.file), "name a file below each folder, such as metrics.json")
    compile_path(rule.path)
    for name, number, least, most in (
        ("best", rule.best, 1, BEST_MAX),
        ("grace_days", rule.grace_days, 0, GRACE_DAYS_MAX),
    ):
        if not least <= number <= most:
            _refuse(name, number, f"give {least} to {most}")


def compile_path(path: str) -> jmespath.parser.ParsedResult:
    """Return a path ready to search with; raises InvalidInputError. `$.` in front, as in JSONPath, may be."""
    text = path.removeprefix("$").removeprefix(".")
    try:
        return jmespath.compile(text)
    except jmespath.exceptions.JMESPathError as error:
        reason = str(error).splitlines()[0]
        raise InvalidInputError(
            ErrorKind.INVALID_ARGUMENT,
            f"path {path!r} is not a path of JMESPath ({reason}): write metrics.map50, or in quotes what is not a "
            'word, as in metrics."mAP50-95"',
        ) from error


def _store(tx: Tx, rules: Sequence[MeritRule], actor: str) -> None:
    ordered = sorted(rules, key=lambda rule: rule.id)
    set_lake_document(tx, DOCUMENT, msgspec.json.encode(ordered).decode() if ordered else None, actor=actor)


def _overlap(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


def _refuse(field: str, value: object, remedy: str) -> None:
    raise InvalidInputError(ErrorKind.INVALID_ARGUMENT, f"{field} {value} cannot be: {remedy}")
