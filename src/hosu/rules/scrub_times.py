"""When the scrub in the background is due: a few numbers of the lake, cheap to ask for."""

from enum import StrEnum
from typing import Final

from hosu.kernel.settings import Settings
from hosu.objects.transaction import Tx
from hosu.objects.views import View
from hosu.rules.days import days_ms

PROTECTED_DAYS: Final = 1
"""How often what is protected is read."""

COPIES_DAYS: Final = 7
"""How often second copies are read, which may cost money where they are; not more often than everything else is."""


class Number(StrEnum):
    """Names of the lake's counters that belong to the scrub."""

    CURSOR = "scrub_cursor"
    """Blob that the walk under way has come to; 0 when none is."""

    BEGUN = "scrub_begun_ms"
    ENDED = "scrub_ended_ms"
    """When the last walk over everything began and ended."""

    PROTECTED = "scrub_protected_ms"
    """When all that is protected was read last."""

    COPIES = "scrub_copies_ms"
    """When all second copies were read last."""

    CHECKED = "scrub_checked"
    CHECKED_BYTES = "scrub_checked_bytes"
    """What the present or last walk has read."""

    RESTORED = "scrub_restored"
    LOST = "scrub_lost"
    """What all scrubs have found corrupt, and restored or not."""


def read_numbers(view: View) -> dict[Number, int]:
    """Return the scrub's numbers; 0 for what has not happened."""
    found = dict(view.rows("SELECT name, value FROM counter WHERE name >= 'scrub_' AND name < 'scrub`'"))
    return {name: int(found.get(name.value, 0)) for name in Number}


def set_number(tx: Tx, name: Number, value: int) -> None:
    """Set one of the scrub's numbers."""
    tx.run("INSERT OR REPLACE INTO counter (name, value) VALUES (?, ?)", (name.value, value))


def add_to_number(tx: Tx, name: Number, value: int) -> None:
    """Add to one of the scrub's numbers."""
    tx.run(
        "INSERT INTO counter (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = value + ?2",
        (name.value, value),
    )


class Due:
    """When each part of the scrub is due, in milliseconds since 1970; None for a part there is nothing to do for."""

    def __init__(self, view: View, settings: Settings) -> None:
        self.everything: int | None = None
        self.protected: int | None = None
        self.copies: int | None = None
        if not settings.scrub_days:
            return
        made_ms = view.value("SELECT min(created_ms) FROM bucket")
        if made_ms is None:
            return
        numbers = read_numbers(view)
        last_ms = numbers[Number.ENDED] or made_ms
        self.everything = 0 if numbers[Number.CURSOR] else last_ms + days_ms(settings, settings.scrub_days)
        if view.value("SELECT 1 FROM lake_document WHERE kind = 'protection'"):
            self.protected = (numbers[Number.PROTECTED] or made_ms) + days_ms(settings, PROTECTED_DAYS)
        if view.value("SELECT 1 FROM copy_location LIMIT 1"):
            days = min(COPIES_DAYS, settings.scrub_days)
            self.copies = (numbers[Number.COPIES] or made_ms) + days_ms(settings, days)

    @property
    def next_ms(self) -> int | None:
        """When the first of them is due; None if nothing ever is."""
        return min((it for it in (self.everything, self.protected, self.copies) if it is not None), default=None)


def is_scrub_due(view: View, settings: Settings) -> bool:
    """Say whether any part is due."""
    next_ms = Due(view, settings).next_ms
    return next_ms is not None and next_ms <= view.now_ms
