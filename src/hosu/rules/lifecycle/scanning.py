"""Finding what may be due among very many records: SQLite looks at all of them, Python at few.

A bucket is read in pages of keys, each with one short statement, so no moment of the database is held for long. What a
statement lets through is what some rule's time, size and prefix allow; `hosu.rules.lifecycle.matching` decides.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from hosu.kernel.settings import Settings
from hosu.objects.listing import prefix_end
from hosu.objects.records import ObjectRecord
from hosu.objects.schema import VERSION_COLUMNS
from hosu.objects.views import View
from hosu.rules.days import due_before_ms
from hosu.rules.lifecycle.matching import TAGS, Old
from hosu.rules.lifecycle.model import SMALL_BYTES, Filter, Lifecycle, Rule

KEYS_PER_PAGE = 10_000
"""A page takes some milliseconds."""

CONDITIONS_MAX = 100
"""Of more than this for one range of keys SQLite lets all through: it would read the statement longer than the page."""

_NOBODY = "0"


class Condition(NamedTuple):
    """A part of a WHERE clause, and its values."""

    text: str
    values: tuple[Any, ...] = ()


class OldRecord(NamedTuple):
    """An old version, or a marker that was replaced, and where it stands."""

    record: ObjectRecord
    old: Old


def any_of(conditions: Iterable[Condition]) -> Condition:
    """Return what holds where one of these does."""
    distinct = list(dict.fromkeys(conditions))
    if not distinct:
        return Condition(_NOBODY)
    if len(distinct) == 1:
        return distinct[0]
    # As a balanced tree: SQLite bounds the depth of a statement, not its width.
    middle = len(distinct) // 2
    first, second = any_of(distinct[:middle]), any_of(distinct[middle:])
    return Condition(f"({first.text}) OR ({second.text})", first.values + second.values)


def outermost(prefixes: Iterable[str]) -> list[str]:
    """Return the prefixes that are below no other of them, in order."""
    kept: list[str] = []
    for prefix in sorted(set(prefixes)):
        if not kept or not prefix.startswith(kept[-1]):
            kept.append(prefix)
    return kept


def filter_condition(found: Filter, size: str = "size_bytes", attributes: str = "attributes") -> Condition:
    """Return what SQLite can tell of a filter, by columns of these names."""
    texts: list[str] = []
    values: list[Any] = []
    if found.prefix:
        # Without the plus SQLite would find rows by the prefix, which are many, and not by the page, which is small.
        texts.append("+key >= ?")
        values.append(found.prefix)
        end = prefix_end(found.prefix)
        if end is not None:
            texts.append("+key < ?")
            values.append(end)
    for sign, bound in ((">", found.size_above), ("<", found.size_below)):
        if bound is not None:
            texts.append(f"{size} {sign} ?")
            values.append(bound)
    if found.tags:
        texts.append(f"instr({attributes}, '{TAGS}') > 0")
    return Condition(" AND ".join(texts) or "1", tuple(values))


def current_conditions(lifecycle: Lifecycle, settings: Settings, now_ms: int) -> list[tuple[Rule, Condition]]:
    """Return which current objects may be due to expire or to change their storage class, by rule."""
    found = []
    for rule in lifecycle.rules:
        if not rule.is_enabled:
            continue
        if rule.expire_days is not None:
            bound = due_before_ms(settings, now_ms, rule.expire_days)
            found.append((rule, _and(filter_condition(rule.filter), "modified_ms < ?", bound)))
        if rule.expire_at_ms is not None and rule.expire_at_ms <= now_ms:
            found.append((rule, filter_condition(rule.filter)))
        moves = [
            (due_before_ms(settings, now_ms, transition.days), transition.storage_class)
            for transition in rule.transitions
            if transition.days is not None
        ]
        dated = [(one.at_ms, one.storage_class) for one in rule.transitions if one.at_ms is not None]
        passed = [(at_ms, storage_class) for at_ms, storage_class in dated if at_ms <= now_ms]
        if passed:
            moves.append((now_ms + 1, max(passed)[1]))
        found += [(rule, condition) for condition in _move_conditions(rule, lifecycle, "modified_ms", moves)]
    return found


def old_conditions(lifecycle: Lifecycle, settings: Settings, now_ms: int) -> list[tuple[Rule, Condition]]:
    """Return which old versions may be due, by rule, in terms of the columns of `old_page`."""
    found = []
    for rule in lifecycle.rules:
        if not rule.is_enabled:
            continue
        if rule.noncurrent_days is not None:
            bound = due_before_ms(settings, now_ms, rule.noncurrent_days)
            condition = _and(filter_condition(rule.filter), "since_ms < ?", bound)
            found.append((rule, _and(condition, "newer >= ?", rule.noncurrent_keep)))
        moves = [
            (due_before_ms(settings, now_ms, transition.days), transition.storage_class)
            for transition in rule.noncurrent_transitions
        ]
        conditions = _move_conditions(rule, lifecycle, "since_ms", moves)
        found += [(rule, _and(condition, "is_marker = ?", 0)) for condition in conditions]
    return found


def marker_conditions(lifecycle: Lifecycle, settings: Settings, now_ms: int) -> list[tuple[Rule, Condition]]:
    """Return which delete markers that are alone may be due to go, by rule."""
    found = []
    for rule in lifecycle.rules:
        if not rule.is_enabled:
            continue
        condition = filter_condition(rule.filter)
        if rule.removes_markers or (rule.expire_at_ms is not None and rule.expire_at_ms <= now_ms):
            found.append((rule, condition))
        if rule.expire_days is not None:
            bound = due_before_ms(settings, now_ms, rule.expire_days)
            found.append((rule, _and(condition, "modified_ms < ?", bound)))
    return found


def upload_conditions(lifecycle: Lifecycle, settings: Settings, now_ms: int) -> list[tuple[Rule, Condition]]:
    """Return which uploads in parts are due to be given up, by rule."""
    return [
        (
            rule,
            _and(filter_condition(rule.filter), "initiated_ms < ?", due_before_ms(settings, now_ms, rule.abort_days)),
        )
        for rule in lifecycle.rules
        if rule.is_enabled and rule.abort_days is not None
    ]


def _move_conditions(
    rule: Rule, lifecycle: Lifecycle, column: str, moves: list[tuple[int, str]]
) -> Iterator[Condition]:
    """Yield a condition for each change of class: due, not superseded by the rule's next one, and not made."""
    moves.sort(reverse=True)
    for place, (bound, storage_class) in enumerate(moves):
        condition = _and(filter_condition(rule.filter), f"{column} < ?", bound)
        # What the next one keeps back stays with this one.
        if place + 1 < len(moves) and not any(old.keep for old in rule.noncurrent_transitions):
            condition = _and(condition, f"{column} >= ?", moves[place + 1][0])
        if not lifecycle.moves_small and rule.filter.size_above is None and rule.filter.size_below is None:
            condition = _and(condition, "size_bytes >= ?", SMALL_BYTES)
        yield _and(condition, "storage_class <> ?", storage_class)


def _and(condition: Condition, text: str, value: object) -> Condition:
    return Condition(f"{condition.text} AND {text}", (*condition.values, value))


def page_end(view: View, table: str, bucket_id: int, start: str, end: str | None) -> tuple[str | None, bool]:
    """Return the last key of the page of keys that begins at start, and whether it is the last page below end."""
    below, values = _below(end)
    last = view.value(
        f"SELECT key FROM {table} WHERE bucket_id = ? AND key >= ?{below} ORDER BY key LIMIT 1 OFFSET ?",
        (bucket_id, start, *values, KEYS_PER_PAGE - 1),
    )
    return (end, True) if last is None else (last, False)


def _below(end: str | None) -> tuple[str, tuple[str, ...]]:
    return ("", ()) if end is None else (" AND key < ?", (end,))


def pages(view: View, table: str, bucket_id: int, prefix: str) -> Iterator[Condition]:
    """Yield conditions on `bucket_id` and `key`, one for each page of a table, that hold all keys below a prefix."""
    start, end, is_last = prefix, prefix_end(prefix), False
    while not is_last:
        last, is_last = page_end(view, table, bucket_id, start, end)
        if is_last:
            below, values = _below(end)
            yield Condition(f"bucket_id = ? AND key >= ?{below}", (bucket_id, start, *values))
        else:
            yield Condition("bucket_id = ? AND key BETWEEN ? AND ?", (bucket_id, start, last))
            start = f"{last}\x00"


def read_current(view: View, page: Condition, wanted: Condition) -> list[ObjectRecord]:
    """Return the current objects of a page that meet a condition."""
    rows = view.rows(
        f"SELECT key, {VERSION_COLUMNS} FROM object WHERE {page.text} AND ({wanted.text})",
        (*page.values, *wanted.values),
    )
    return [ObjectRecord(*row) for row in rows]


def read_old(view: View, page: Condition, wanted: Condition) -> list[OldRecord]:
    """Return what is not current any more and meets a condition, by key, the oldest first."""
    rows = view.rows(
        f"SELECT key, is_marker, since_ms, newer, {VERSION_COLUMNS} FROM (SELECT key, is_marker, {VERSION_COLUMNS}, "
        # One that is older by its time may stand above: an import keeps times. Nothing is replaced before it is made.
        "max(modified_ms, coalesce(lag(modified_ms) OVER following, (SELECT object.modified_ms FROM object "
        "WHERE object.bucket_id = version.bucket_id AND object.key = version.key))) AS since_ms, "
        "sum(1 - is_marker) OVER following - (1 - is_marker) AS newer "
        f"FROM version WHERE {page.text} WINDOW following AS (PARTITION BY key ORDER BY seq DESC)) "
        f"WHERE since_ms IS NOT NULL AND ({wanted.text}) ORDER BY key, seq",
        (*page.values, *wanted.values),
    )
    return [
        OldRecord(ObjectRecord(key, *(*row, bool(is_marker), False)), Old(since_ms, newer))
        for key, is_marker, since_ms, newer, *row in rows
    ]


def read_lone_markers(view: View, page: Condition, wanted: Condition) -> list[ObjectRecord]:
    """Return the delete markers behind which nothing is left, and which meet a condition."""
    rows = view.rows(
        f"SELECT key, {VERSION_COLUMNS} FROM version WHERE {page.text} AND is_marker AND ({wanted.text}) "
        "AND NOT EXISTS (SELECT 1 FROM version AS other WHERE other.bucket_id = version.bucket_id "
        "AND other.key = version.key AND other.seq <> version.seq) "
        "AND NOT EXISTS (SELECT 1 FROM object WHERE object.bucket_id = version.bucket_id AND object.key = version.key)",
        (*page.values, *wanted.values),
    )
    return [ObjectRecord(*(*row, True, True)) for row in rows]


class StaleUpload(NamedTuple):
    """An upload in parts that was begun and neither completed nor given up."""

    key: str
    upload_id: str
    initiated_ms: int
    size_bytes: int


def read_uploads(view: View, page: Condition, wanted: Condition) -> list[StaleUpload]:
    """Return the uploads of a page that meet a condition."""
    rows = view.rows(
        "SELECT key, upload_id, initiated_ms, "
        "(SELECT coalesce(sum(part.size_bytes), 0) FROM part WHERE part.upload = upload.id) "
        f"FROM upload WHERE {page.text} AND ({wanted.text})",
        (*page.values, *wanted.values),
    )
    return [StaleUpload(*row) for row in rows]
