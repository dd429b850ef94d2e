"""Which tables of a lake's warehouse have changed, as its change feed tells."""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from hosu.objects.feed import read_events
from hosu.objects.store import ObjectStore
from hosu.objects.transaction import Tx
from hosu.rules import wanted
from hosu.rules.wanted import TABLES_KEEPER, TABLES_SEEN

if TYPE_CHECKING:
    from hosu.tables.catalog import Catalog

TableKey: TypeAlias = tuple[str, str]
"""The name of a table, and a branch of it."""

EVENTS_PER_READ: Final = 1_000


@dataclass
class Found:
    """What has changed since the last look."""

    tables: dict[TableKey, int] = field(default_factory=dict)
    """How many snapshots, tags and schemas each of them got."""

    seen: int = 0
    is_all: bool = False
    """Whether any table may have changed, since not all events are there any more."""

    @property
    def most(self) -> int:
        """How many the table got that got most."""
        return max(self.tables.values(), default=0)


class Feed:
    """Reads on in the change feed of a lake for what becomes of the tables of one bucket."""

    def __init__(self, store: ObjectStore, bucket: str | None, folder: str) -> None:
        self._store = store
        self._bucket = bucket
        self._pattern = _changed_pattern(folder)
        self._seen = 0

    def changed(self) -> Found:
        """Return what others than the keeper have changed since what was noted; nothing outside of the lake."""
        if self._bucket is None:
            return Found()
        view = self._store.view()
        found = Found(seen=max(counter(self._store, TABLES_SEEN, 0), self._seen))
        oldest = view.value("SELECT min(seq) FROM event")
        found.is_all = found.seen == 0 or (oldest is not None and found.seen + 1 < oldest)
        while events := read_events(view, after_seq=found.seen, limit=EVENTS_PER_READ):
            found.seen = events[-1].seq
            for event in events:
                match = self._pattern.match(event.key) if event.bucket == self._bucket else None
                if match is not None and event.actor != TABLES_KEEPER and event.kind.startswith("ObjectCreated"):
                    key = f"{match['database']}.{match['table']}", match["branch"] or "main"
                    found.tables[key] = found.tables.get(key, 0) + 1
        return found

    def note(self, found: Found, others: Mapping[str, int | None]) -> None:
        """Go on from there the next time, and write that down, and other counters; None takes one away.

        Events that are of no table are passed over without a write, until there are many.
        """
        self._seen = found.seen
        new = dict(others)
        is_far = found.seen - counter(self._store, TABLES_SEEN, 0) > wanted.TABLES_EVENTS // 2
        if found.tables or found.is_all or is_far:
            new[TABLES_SEEN] = found.seen or None
        if any((counter(self._store, name, 0) or None) != value for name, value in new.items()):
            self._store.commit(lambda tx: _set_counters(tx, new))


def counter(store: ObjectStore, name: str, default: int) -> int:
    """Return a counter of the lake."""
    value = store.view().value("SELECT value FROM counter WHERE name = ?", (name,))
    return default if value is None else int(value)


def all_tables(catalog: "Catalog") -> Iterator[TableKey]:
    """Yield every table, and the branches of those that can be opened."""
    from hosu.tables.snapshots import branches  # noqa: PLC0415 - not before there are tables

    for database in catalog.databases():
        for table in catalog.tables(database):
            name = f"{database}.{table}"
            yield name, "main"
            with suppress(Exception):  # said where the table itself is looked after
                for branch in branches.branches(catalog.open(name)):
                    yield name, branch


def _set_counters(tx: Tx, counters: Mapping[str, int | None]) -> None:
    for name, value in counters.items():
        if value is None:
            tx.run("DELETE FROM counter WHERE name = ?", (name,))
        else:
            tx.run("INSERT OR REPLACE INTO counter VALUES (?, ?)", (name, value))


def _changed_pattern(folder: str) -> re.Pattern[str]:
    """Match the files by which a table changes so that something may be due: a tag has a time, a schema options."""
    root = re.escape(f"{folder}/") if folder else ""
    return re.compile(
        rf"{root}(?P<database>[^/]+)\.db/(?P<table>[^/]+)/(branch/branch-(?P<branch>[^/]+)/)?"
        r"(snapshot/snapshot-\d+|tag/tag-[^/]+|schema/schema-\d+)$"
    )
