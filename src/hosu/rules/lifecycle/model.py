"""The lifecycle of a bucket: rules as S3 has them, kept as a document of the bucket.

Days are days of `hosu.rules.days`, dates are milliseconds since 1970, sizes are bytes.
"""

from collections import Counter

import msgspec

from hosu.kernel.errors import CorruptError, ErrorKind, InvalidInputError
from hosu.kernel.limits import TAGS_PER_OBJECT_MAX
from hosu.objects.names import check_tags
from hosu.objects.records import is_cold

DOCUMENT = "lifecycle"
"""Kind of the bucket's document."""

RULES_MAX = 1_000
"""As S3 has it."""

ID_CHARACTERS_MAX = 255
DAYS_MAX = (1 << 31) - 1
DAY_MS = 86_400_000
LAST_DAY_MS = 253_402_214_400_000
"""9999-12-31: dates have four digits for the year."""

ALL_FROM_128K, VARIES_BY_CLASS = "all_storage_classes_128K", "varies_by_storage_class"
SMALL_BYTES = 128 * 1024
"""Objects below this many bytes keep their storage class where a bucket says `ALL_FROM_128K`."""


class Filter(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which objects a rule is about: those that everything said here holds for."""

    prefix: str | None = None
    tags: dict[str, str] = {}
    size_above: int | None = None
    """Objects of more bytes than this."""

    size_below: int | None = None
    """Objects of fewer bytes than this."""

    form: str = ""
    """How it was written, so that it reads back the same: `prefix` outside of a filter, `and`, or else plain."""


class Transition(msgspec.Struct, frozen=True, omit_defaults=True):
    """A change of the storage class: so many days after the object was written, or on a date."""

    storage_class: str
    days: int | None = None
    at_ms: int | None = None


class NoncurrentTransition(msgspec.Struct, frozen=True, omit_defaults=True):
    """A change of an old version's storage class, so many days after it was replaced; the newest `keep` stay."""

    storage_class: str
    days: int
    keep: int = 0


class Rule(msgspec.Struct, frozen=True, omit_defaults=True):
    """One rule. What is None is not done."""

    id: str
    is_enabled: bool = True
    filter: Filter = Filter()
    expire_days: int | None = None
    expire_at_ms: int | None = None
    removes_markers: bool = False
    """Whether delete markers go at once when no version is left behind them."""

    noncurrent_days: int | None = None
    """Old versions go so many days after they were replaced; the newest `noncurrent_keep` stay."""

    noncurrent_keep: int = 0
    abort_days: int | None = None
    """Uploads in parts are given up so many days after they began."""

    transitions: tuple[Transition, ...] = ()
    noncurrent_transitions: tuple[NoncurrentTransition, ...] = ()

    @property
    def prefix(self) -> str:
        """What the keys begin with that the rule is about."""
        return self.filter.prefix or ""

    @property
    def expires(self) -> bool:
        """Whether current objects expire by it."""
        return self.expire_days is not None or self.expire_at_ms is not None

    @property
    def removes_objects(self) -> bool:
        """Whether objects or old versions go by it."""
        return self.expires or self.noncurrent_days is not None


class Lifecycle(msgspec.Struct, frozen=True, omit_defaults=True):
    """All rules of a bucket."""

    rules: tuple[Rule, ...]
    updated_ms: int = 0
    minimum_size: str = ""
    """`ALL_FROM_128K` or `VARIES_BY_CLASS`, as its writer said; empty where nothing was said."""

    @property
    def moves_small(self) -> bool:
        """Whether objects of any size change their storage class."""
        return self.minimum_size != ALL_FROM_128K


_encode = msgspec.json.Encoder(order="deterministic").encode
_decode = msgspec.json.Decoder(Lifecycle).decode


def encode_lifecycle(lifecycle: Lifecycle) -> str:
    """Return the document as it is stored."""
    return _encode(lifecycle).decode()


def decode_lifecycle(text: str, bucket: str) -> Lifecycle:
    """Return a stored document."""
    try:
        return _decode(text)
    except msgspec.MsgspecError as error:
        raise CorruptError(
            ErrorKind.CORRUPT_LAKE, f"the lifecycle of bucket {bucket!r} cannot be read: {error}"
        ) from error


def check_lifecycle(lifecycle: Lifecycle) -> None:
    """Refuse rules that S3 refuses; raises InvalidInputError that names rule, field, value and remedy."""
    if not 1 <= len(lifecycle.rules) <= RULES_MAX:
        _refuse(f"a lifecycle has 1 to {RULES_MAX} rules, not {len(lifecycle.rules)}")
    if lifecycle.minimum_size not in {"", ALL_FROM_128K, VARIES_BY_CLASS}:
        _refuse(f"the minimum size of transitions is {ALL_FROM_128K} or {VARIES_BY_CLASS}")
    for rule in lifecycle.rules:
        if len(rule.id) > ID_CHARACTERS_MAX:
            _refuse(f"ID length should not exceed allowed limit of {ID_CHARACTERS_MAX}")
        _check_filter(rule)
        _check_expiration(rule)
        _check_noncurrent(rule)
        _check_transitions(rule)
    repeated = [name for name, count in Counter(rule.id for rule in lifecycle.rules).items() if count > 1]
    if repeated:
        _refuse(f"Rule ID must be unique. Found same ID for more than one rule: {repeated[0]!r}")


def _check_filter(rule: Rule) -> None:
    found = rule.filter
    check_tags(found.tags, TAGS_PER_OBJECT_MAX)
    for name, size in (("ObjectSizeGreaterThan", found.size_above), ("ObjectSizeLessThan", found.size_below)):
        if size is not None and size < 0:
            _refuse(f"rule {rule.id!r}: {name} is {size}; give a number of bytes")
    if found.size_below is not None and found.size_below <= (found.size_above or 0):
        _refuse(
            f"rule {rule.id!r}: no object is larger than {found.size_above or 0} and below {found.size_below} bytes"
        )
    if found.tags and (rule.removes_markers or rule.abort_days is not None):
        what = "ExpiredObjectDeleteMarker" if rule.removes_markers else "AbortIncompleteMultipartUpload"
        _forbid(f"rule {rule.id!r}: {what} cannot be specified with Tags: give it a rule of its own")
    has_size = found.size_above is not None or found.size_below is not None
    if has_size and rule.abort_days is not None:
        _forbid(
            f"rule {rule.id!r}: AbortIncompleteMultipartUpload cannot be specified with Object Size: give it a rule "
            "of its own"
        )


def _check_expiration(rule: Rule) -> None:
    said = [rule.expire_days is not None, rule.expire_at_ms is not None, rule.removes_markers]
    if sum(said) > 1:
        _refuse(f"rule {rule.id!r}: Expiration takes one of Days, Date and ExpiredObjectDeleteMarker")
    _check_days(rule, "Days' for Expiration action", rule.expire_days, 1)
    _check_date(rule, rule.expire_at_ms)
    _check_days(rule, "DaysAfterInitiation' for AbortIncompleteMultipartUpload action", rule.abort_days, 1)
    does_something = any(said) or rule.abort_days is not None or rule.noncurrent_days is not None
    if not does_something and not rule.transitions and not rule.noncurrent_transitions:
        _forbid(f"rule {rule.id!r}: At least one action needs to be specified in a rule")


def _check_noncurrent(rule: Rule) -> None:
    what = "NoncurrentDays' for NoncurrentVersionExpiration action"
    # Without days, as MinIO's clients have it, what is beyond the number to keep goes at once.
    _check_days(rule, what, rule.noncurrent_days, 0 if rule.noncurrent_keep else 1)
    for keep in (rule.noncurrent_keep, *(transition.keep for transition in rule.noncurrent_transitions)):
        if not 0 <= keep <= DAYS_MAX:
            _refuse(f"rule {rule.id!r}: 'NewerNoncurrentVersions' must be a positive integer, not {keep}")


def _check_transitions(rule: Rule) -> None:
    for transition in rule.transitions:
        if (transition.days is None) == (transition.at_ms is None):
            _refuse(f"rule {rule.id!r}: a Transition takes one of Days and Date")
        _check_days(rule, "Days' for Transition action", transition.days, 0)
        _check_date(rule, transition.at_ms)
        if (transition.days is None) != (rule.transitions[0].days is None) or (
            rule.expires and (transition.days is None) != (rule.expire_days is None)
        ):
            _forbid(f"rule {rule.id!r}: Found mixed 'Date' and 'Days' based Expiration and Transition actions")
        _check_follows(rule, "Days", rule.expire_days, transition.days)
        _check_follows(rule, "Date", rule.expire_at_ms, transition.at_ms)
    for old in rule.noncurrent_transitions:
        _check_days(rule, "NoncurrentDays' for NoncurrentVersionTransition action", old.days, 0)
        if not rule.noncurrent_keep:
            _check_follows(rule, "NoncurrentDays", rule.noncurrent_days, old.days)
    for names in (
        [move.storage_class for move in rule.transitions],
        [old.storage_class for old in rule.noncurrent_transitions],
    ):
        for name in names:
            if not is_cold(name):
                _refuse(f"rule {rule.id!r}: objects cannot be moved to the storage class {name!r}; COLD is one")
        if len(set(names)) != len(names):
            _forbid(f"rule {rule.id!r}: 'StorageClass' must be different for 'Transition' actions in same 'Rule'")


def _check_follows(rule: Rule, field: str, expire: int | None, move: int | None) -> None:
    if expire is not None and move is not None and expire <= move:
        _refuse(
            f"rule {rule.id!r}: '{field}' in the Expiration action must be greater than '{field}' in the Transition "
            "action"
        )


def _check_days(rule: Rule, what: str, days: int | None, least: int) -> None:
    if days is not None and not least <= days <= DAYS_MAX:
        kind = "a positive integer" if least else "nonnegative"
        _refuse(f"rule {rule.id!r}: '{what} must be {kind}, not {days}")


def _check_date(rule: Rule, at_ms: int | None) -> None:
    if at_ms is not None and (not 0 <= at_ms <= LAST_DAY_MS or at_ms % DAY_MS):
        _refuse(f"rule {rule.id!r}: 'Date' must be at midnight GMT, from 1970-01-01 to 9999-12-31")


def _refuse(message: str) -> None:
    raise InvalidInputError(ErrorKind.INVALID_ARGUMENT, message)


def _forbid(message: str) -> None:
    raise InvalidInputError(ErrorKind.REQUEST_MALFORMED, message)
