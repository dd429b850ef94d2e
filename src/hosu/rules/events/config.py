"""What a bucket says of its notifications: rules, each with a target, events, and a prefix and suffix of keys."""

from collections.abc import Mapping, Sequence

import msgspec

from hosu.kernel.errors import ErrorKind, InvalidInputError
from hosu.kernel.notify import KINDS, target_name
from hosu.objects.buckets import get_document, set_document
from hosu.objects.feed import Event
from hosu.objects.notifications import Notification, read_notifications, set_notifications
from hosu.objects.transaction import Tx
from hosu.objects.views import View
from hosu.rules.events.names import expand_all, name_of

DOCUMENT = "notification"
"""Kind of the bucket's document."""

RULES_MAX = 100
FILTER_BYTES_MAX = 1024
ID_CHARACTERS_MAX = 255

ARN_NOT_FOUND = "A specified destination ARN does not exist or is not well-formed. Verify the destination ARN."
OVERLAP = (
    "An object key name filtering rule defined with overlapping prefixes, overlapping suffixes, or overlapping "
    "combinations of prefixes and suffixes for the same event types."
)
CHANGING_KINDS = frozenset({f"BucketDocument:{DOCUMENT}", "BucketRemoved"})
"""Events of the feed from which on other rules may be in force."""


class Rule(msgspec.Struct, frozen=True, omit_defaults=True):
    """One rule. `target` is as settings name it, `arn` as the client did."""

    id: str
    target: str
    arn: str
    events: tuple[str, ...]
    prefix: str = ""
    suffix: str = ""


def parse_arn(arn: str, region: str = "") -> str:
    """Return the target of an ARN, `arn:minio:sqs:REGION:ID:KIND`. Raises InvalidInputError for any other text."""
    parts = arn.split(":")
    if (
        len(parts) == 6  # noqa: PLR2004 - as above
        and parts[:3] == ["arn", "minio", "sqs"]
        and parts[3] in {"", region}
        and parts[4]
        and parts[5] in KINDS
    ):
        return target_name(parts[5], parts[4])
    raise InvalidInputError(ErrorKind.INVALID_ARGUMENT, ARN_NOT_FOUND, argument_name="Queue", argument_value=arn)


def arn_of(target: str, region: str = "") -> str:
    """Return the ARN of a target."""
    kind, _, name = target.partition(":")
    return f"arn:minio:sqs:{region}:{name}:{kind}"


def check_rules(rules: Sequence[Rule]) -> None:
    """Refuse rules that one target would hear of the same event by, events that are none, and what is too long."""
    if len(rules) > RULES_MAX:
        _refuse(f"a bucket has at most {RULES_MAX} notification rules, not {len(rules)}", "QueueConfiguration", "")
    if len({rule.id for rule in rules}) != len(rules):
        _refuse("Same ID used for multiple configurations. IDs must be unique", "Id", "")
    for rule in rules:
        _check_rule(rule)
    told = [(rule, expand_all(rule.events)) for rule in rules]
    for place, (rule, events) in enumerate(told):
        for other, others in told[:place]:
            if rule.target == other.target and events & others and _overlap(rule, other):
                _refuse(OVERLAP, "QueueConfiguration", rule.id)


def _check_rule(rule: Rule) -> None:
    if not rule.events:
        _refuse("a notification rule needs an Event", "Event", "")
    if len(rule.id) > ID_CHARACTERS_MAX:
        _refuse(f"an Id has at most {ID_CHARACTERS_MAX} characters", "Id", rule.id[:ID_CHARACTERS_MAX])
    for value in (rule.prefix, rule.suffix):
        if len(value.encode()) > FILTER_BYTES_MAX:
            _refuse(
                f"Size of filter rule value cannot exceed {FILTER_BYTES_MAX} bytes in UTF-8 representation",
                "FilterRule.Value",
                value[:FILTER_BYTES_MAX],
            )


def _overlap(rule: Rule, other: Rule) -> bool:
    """Whether a key can match both."""
    has_prefix = rule.prefix.startswith(other.prefix) or other.prefix.startswith(rule.prefix)
    return has_prefix and (rule.suffix.endswith(other.suffix) or other.suffix.endswith(rule.suffix))


def _refuse(message: str, name: str, value: str) -> None:
    raise InvalidInputError(ErrorKind.INVALID_ARGUMENT, message, argument_name=name, argument_value=value)


# Keeping


def get_rules(view: View, bucket: str) -> list[Rule]:
    """Return the rules of a bucket. Raises NotFoundError where there is no such bucket."""
    body = get_document(view, bucket, DOCUMENT)
    return [] if body is None else msgspec.json.decode(body, type=list[Rule])


def set_rules(tx: Tx, bucket: str, rules: Sequence[Rule], *, actor: str = "") -> None:
    """Put these rules in force instead of those that are; events from now on go by them.

    Raises InvalidInputError for rules that `check_rules` refuses.
    """
    tx.bucket(bucket)
    check_rules(rules)
    set_notifications(tx, bucket, [(rule.target, msgspec.json.encode(rule).decode()) for rule in rules])
    set_document(tx, bucket, DOCUMENT, msgspec.json.encode(rules).decode() if rules else None, actor=actor)


# Matching


class _Matching(msgspec.Struct, frozen=True):
    row: Notification
    rule: Rule
    events: frozenset[str]


class Rules:
    """All rules of a lake, ready to be asked which of them an event meets."""

    def __init__(self, rows: Sequence[Notification]) -> None:
        self._of_bucket: dict[str, list[_Matching]] = {}
        for row in rows:
            rule = msgspec.json.decode(row.rule, type=Rule)
            self._of_bucket.setdefault(row.bucket, []).append(_Matching(row, rule, expand_all(rule.events)))

    def find(self, event: Event, target: str) -> tuple[str, Rule] | None:
        """Return the event's name and the rule by which a target hears of it; None if it does not."""
        found = self._of_bucket.get(event.bucket)
        if found is None:
            return None
        name = name_of(event)
        for each in found:
            if (
                name in each.events
                and each.rule.target == target
                and each.row.covers(event.seq)
                and event.key.startswith(each.rule.prefix)
                and event.key.endswith(each.rule.suffix)
            ):
                return name, each.rule
        return None


def read_rules(view: View, target: str) -> Rules:
    """Return the rules about one target."""
    return Rules([row for row in read_notifications(view) if row.target == target])


def wanted_events(view: View) -> Mapping[str, frozenset[str]]:
    """Return by bucket the events that rules in force ask for."""
    found: dict[str, frozenset[str]] = {}
    for row in read_notifications(view):
        if row.until_seq == 0:
            events = expand_all(msgspec.json.decode(row.rule, type=Rule).events)
            found[row.bucket] = found.get(row.bucket, frozenset()) | events
    return found
