"""What could not be delivered yet: events that wait for their target in the lake, and dead letters.

A target that keeps up has nothing here: its events wait in the change feed. Of one that falls behind they are put
aside here, so that the feed need not be kept for it.
"""

from collections.abc import Iterable, Sequence

import msgspec

from hosu.objects.alerts import resolve_alert
from hosu.objects.notifications import SUBSCRIPTION_PREFIX, read_notifications
from hosu.objects.transaction import Tx
from hosu.objects.views import View
from hosu.rules.events.records import Message, decode_message, encode_message

DEAD_MAX = 100_000
"""Dead letters of one target that are kept; the oldest go first."""

BURIED_PER_CALL = 5_000
"""Bounds how long the writer is held for what has waited for too long."""

ALERT = "delivery-failed"
"""Kind of alerts about a target; their subject is its name, or that of its dead letters."""

_COLUMNS = "seq, since_ms, reason, message"


class Waiting(msgspec.Struct, frozen=True):
    """An event that waits for its target, or is a dead letter; `since_ms` is from when on it has been tried."""

    seq: int
    since_ms: int
    reason: str
    message: Message


class TargetState(msgspec.Struct, frozen=True):
    """How a target stands. `oldest_ms` is when the oldest event happened that waits for it; 0 where none does."""

    target: str
    waiting: int
    """At most: of those still in the change feed, some may be of no interest to the target."""

    oldest_ms: int
    dead: int


def read_waiting(view: View, target: str, *, after_seq: int, limit: int) -> list[Waiting]:
    """Return events that wait, oldest first."""
    return _read(view, target, after_seq, limit, is_dead=False)


def read_dead(view: View, target: str, *, after_seq: int = 0, limit: int = 1000) -> list[Waiting]:
    """Return dead letters, oldest first."""
    return _read(view, target, after_seq, limit, is_dead=True)


def _read(view: View, target: str, after_seq: int, limit: int, *, is_dead: bool) -> list[Waiting]:
    rows = view.rows(
        f"SELECT {_COLUMNS} FROM undelivered WHERE target = ? AND is_dead = ? AND seq > ? ORDER BY seq LIMIT ?",
        (target, int(is_dead), after_seq, limit),
    )
    return [Waiting(seq, since_ms, reason, decode_message(text)) for seq, since_ms, reason, text in rows]


def count(view: View, target: str, *, is_dead: bool) -> int:
    """Return how many events wait, or how many dead letters there are."""
    return int(
        view.value(
            "SELECT count(*) FROM undelivered INDEXED BY undelivered_count WHERE target = ? AND is_dead = ?",
            (target, int(is_dead)),
        )
    )


def put_aside(tx: Tx, target: str, messages: Iterable[tuple[int, Message]]) -> None:
    """Have events wait in the lake, each with since when it has been tried."""
    tx.touches += 1
    tx.connection.executemany(
        "INSERT OR REPLACE INTO undelivered VALUES (?, ?, 0, ?, '', ?)",
        [(target, message.seq, since_ms, encode_message(message)) for since_ms, message in messages],
    )


def bury(tx: Tx, target: str, messages: Sequence[Message], reason: str) -> None:
    """Make dead letters of events."""
    tx.touches += 1
    tx.connection.executemany(
        "DELETE FROM undelivered WHERE target = ? AND is_dead = 0 AND seq = ?",
        [(target, message.seq) for message in messages],
    )
    tx.connection.executemany(
        "INSERT OR REPLACE INTO undelivered VALUES (?, ?, 1, ?, ?, ?)",
        [(target, message.seq, tx.now_ms, reason, encode_message(message)) for message in messages],
    )


def bury_older(tx: Tx, target: str, since_ms: int, reason: str, *, after_seq: int) -> int:
    """Make dead letters of what has been waiting since before then, of later events; return how many it were.

    Where it were `BURIED_PER_CALL`, there may be more.
    """
    waiting = "target = ?1 AND is_dead = 0"
    older = f"SELECT seq FROM undelivered WHERE {waiting} AND seq > ?2 AND since_ms < ?3 ORDER BY seq LIMIT ?4"
    chosen = f"{waiting} AND seq IN ({older})"
    values = (target, after_seq, since_ms, BURIED_PER_CALL)
    tx.run(
        f"INSERT OR REPLACE INTO undelivered SELECT target, seq, 1, ?5, ?6, message FROM undelivered WHERE {chosen}",
        (*values, tx.now_ms, reason),
    )
    tx.run(f"DELETE FROM undelivered WHERE {chosen}", values)
    return tx.changes()


def drop_surplus(tx: Tx, target: str) -> int:
    """Remove the oldest dead letters beyond `DEAD_MAX`; return how many."""
    surplus = count(tx, target, is_dead=True) - DEAD_MAX
    if surplus <= 0:
        return 0
    tx.run(
        "DELETE FROM undelivered WHERE target = ?1 AND is_dead = 1 AND seq IN "
        "(SELECT seq FROM undelivered WHERE target = ?1 AND is_dead = 1 ORDER BY seq LIMIT ?2)",
        (target, surplus),
    )
    return surplus


def forget_delivered(tx: Tx, target: str, seqs: Iterable[int]) -> None:
    """Remove events that were delivered after all."""
    tx.touches += 1
    tx.connection.executemany(
        "DELETE FROM undelivered WHERE target = ? AND is_dead = 0 AND seq = ?", [(target, seq) for seq in seqs]
    )


def replay(tx: Tx, target: str, seqs: Sequence[int] | None = None) -> int:
    """Have dead letters tried again, all or those named; every process that delivers hears of it. Return how many."""
    chosen, values = _choice(target, seqs)
    tx.run(
        f"INSERT OR REPLACE INTO undelivered SELECT target, seq, 0, ?, '', message FROM undelivered WHERE {chosen}",
        (tx.now_ms, *values),
    )
    tx.run(f"DELETE FROM undelivered WHERE {chosen}", values)
    replayed = tx.changes()
    if replayed:
        tx.change_access()
        resolve_dead(tx, target)
    return replayed


def forget_dead(tx: Tx, target: str, seqs: Sequence[int] | None = None) -> int:
    """Remove dead letters, all or those named; return how many."""
    chosen, values = _choice(target, seqs)
    tx.run(f"DELETE FROM undelivered WHERE {chosen}", values)
    forgotten = tx.changes()
    if forgotten:
        tx.change_access()
        resolve_dead(tx, target)
    return forgotten


def dead_subject(target: str) -> str:
    """Return the subject of the alert about a target's dead letters."""
    return f"{target} dead letters"


def resolve_dead(tx: Tx, target: str) -> None:
    """Let the alert about a target's dead letters go where there are none; nobody delivers to it for that alone."""
    if count(tx, target, is_dead=True) == 0:
        resolve_alert(tx, ALERT, dead_subject(target))


def idle_alerts(view: View) -> list[str]:
    """Return the subjects of alerts that nothing is behind any more: no rules, nothing that waits or is dead."""
    busy = {row.target for row in read_notifications(view)}
    for target, is_dead in view.rows("SELECT DISTINCT target, is_dead FROM undelivered INDEXED BY undelivered_count"):
        busy.add(dead_subject(target) if is_dead else target)
    standing = view.rows("SELECT subject FROM alert WHERE kind = ? AND resolved_ms = 0", (ALERT,))
    return [row[0] for row in standing if row[0] not in busy]


def resolve_idle(tx: Tx) -> None:
    """Let these alerts go."""
    for subject in idle_alerts(tx):
        resolve_alert(tx, ALERT, subject)


def _choice(target: str, seqs: Sequence[int] | None) -> tuple[str, tuple[object, ...]]:
    where = "target = ? AND is_dead = 1"
    if seqs is None:
        return where, (target,)
    return f"{where} AND seq IN (SELECT value FROM json_each(?))", (target, msgspec.json.encode(list(seqs)).decode())


# How it stands


def known_targets(view: View) -> list[str]:
    """Return the targets that rules name, or that something waits for."""
    rows = view.rows("SELECT DISTINCT target FROM undelivered INDEXED BY undelivered_count")
    return sorted({row.target for row in read_notifications(view)} | {row[0] for row in rows})


def target_states(view: View) -> list[TargetState]:
    """Return how each target stands."""
    latest = view.value("SELECT max(seq) FROM event") or 0
    return [_state(view, target, latest) for target in known_targets(view)]


def _state(view: View, target: str, latest: int) -> TargetState:
    row = view.row(
        "SELECT count(*), min(seq) FROM undelivered INDEXED BY undelivered_count WHERE target = ? AND is_dead = 0",
        (target,),
    ) or (
        0,
        None,
    )
    waiting, first = int(row[0]), row[1]
    oldest_ms = 0
    if first is not None:
        oldest_ms = read_waiting(view, target, after_seq=first - 1, limit=1)[0].message.at_ms
    seq = view.value("SELECT seq FROM subscription WHERE name = ?", (SUBSCRIPTION_PREFIX + target,))
    if seq is not None and seq < latest:
        waiting += latest - seq
        if not oldest_ms:
            oldest_ms = view.value("SELECT at_ms FROM event WHERE seq > ? ORDER BY seq LIMIT 1", (seq,)) or 0
    return TargetState(target, waiting, oldest_ms, count(view, target, is_dead=True))
