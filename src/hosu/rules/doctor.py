"""The doctor: looks whether a lake's records agree with each other and with its files, explains, and repairs.

Each check is one statement that returns what is wrong; a repair runs it again in its own transaction and mends every
row. Nothing is given up without being asked for by the finding's kind.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from typing import Any, Final

import msgspec

from hosu.kernel.errors import HosuError
from hosu.objects.audit import Origin
from hosu.objects.feed import BACKUPS, unsubscribe_below
from hosu.objects.store import ObjectStore
from hosu.objects.transaction import Tx
from hosu.objects.views import View

PRINCIPAL: Final = "hosu:doctor"

Row = tuple[Any, ...]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong, for people: what, where, why it matters, and what a repair does about it."""

    kind: str
    where: str
    what: str
    why: str
    repair: str = ""
    """What `--repair` would do; empty where nothing can be done here."""

    loses: bool = False
    """Whether the repair gives something up, and so has to be allowed by kind."""


class Told(msgspec.Struct, frozen=True):
    """Where a row's fault is and what it is; `repair` and `loses` where they differ from the check's own."""

    where: str
    what: str
    repair: str | None = None
    loses: bool | None = None


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One way in which records can be wrong.

    `mend(tx, row)` mends one row and returns what it did, for the audit log, or "" where it could not. `give_up` does
    so by giving up what cannot be kept, and is asked only where that is allowed.
    """

    kind: str
    why: str
    find: Callable[[View], Iterable[Row]]
    tell: Callable[[ObjectStore, Row], Told]
    repair: str = ""
    mend: Callable[[Tx, Row], str] | None = None
    give_up: Callable[[Tx, Row], str] | None = None


def examine(store: ObjectStore, checks: Iterable[Check]) -> Iterator[Finding]:
    """Yield what the checks find. Beside a server each check sees one moment of the lake."""
    view = store.view()
    for check in checks:
        for row in list(check.find(view)):
            told = check.tell(store, row)
            yield Finding(
                kind=check.kind,
                where=told.where,
                what=told.what,
                why=check.why,
                repair=check.repair if told.repair is None else told.repair,
                loses=check.mend is None and check.give_up is not None if told.loses is None else told.loses,
            )


def repair_records(store: ObjectStore, checks: Iterable[Check], allowed: Collection[str] = ()) -> int:
    """Mend what the checks find, a transaction for each check; return how many rows were mended.

    `allowed` names the kinds of findings of which something may be given up. Nobody else may write meanwhile.
    """
    return sum(
        store.commit(partial(_mend, check=check, is_allowed=check.kind in allowed))
        for check in checks
        if check.mend is not None or (check.give_up is not None and check.kind in allowed)
    )


def _mend(tx: Tx, *, check: Check, is_allowed: bool) -> int:
    mended = 0
    for row in list(check.find(tx)):
        if mended:
            tx.end_verb()  # the writer ends the last one
        tx.begin_verb(None)
        try:
            done = check.mend(tx, row) if check.mend is not None else ""
            if not done and is_allowed and check.give_up is not None:
                done = check.give_up(tx, row)
        except HosuError:  # it is locked, say, and nothing of it was changed: the finding stays
            continue
        if done:
            mended += 1
            tx.origin = Origin("", f"doctor:{check.kind}", PRINCIPAL, reason=done)
    if mended:
        unsubscribe_below(tx, BACKUPS)  # repairs leave no events: the next backup reads all records
    return mended
