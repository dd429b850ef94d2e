"""Who is told of which events: the rules of all buckets, each with the stretch of the change feed it is in force for.

A rule is kept until all it was in force for has been told, so that taking it back, or removing its bucket, takes no
event away that happened before.
"""

from collections.abc import Sequence

import msgspec

from hosu.objects.feed import subscribe, unsubscribe
from hosu.objects.transaction import Tx
from hosu.objects.views import View

SUBSCRIPTION_PREFIX = "notify:"
"""Before the target's name, in the subscriptions of the change feed."""


class Notification(msgspec.Struct, frozen=True):
    """A rule of a bucket about a target, as text; for events after `since_seq`, and before `until_seq` if it is set."""

    id: int
    target: str
    bucket: str
    rule: str
    since_seq: int
    until_seq: int

    def covers(self, seq: int) -> bool:
        """Whether it was in force when an event happened."""
        return seq > self.since_seq and (self.until_seq == 0 or seq < self.until_seq)


def read_notifications(view: View) -> list[Notification]:
    """Return all rules that are in force, or were for events that may not be told yet."""
    rows = view.rows("SELECT id, target, bucket, rule, since_seq, until_seq FROM notification ORDER BY id")
    return [Notification(*row) for row in rows]


def set_notifications(tx: Tx, bucket: str, rules: Sequence[tuple[str, str]]) -> None:
    """Put (target, rule) pairs in force for a bucket, instead of those that are; equal ones stay as they are."""
    seq = tx.next_seq()
    left = list(rules)
    for row in read_notifications(tx):
        if row.bucket == bucket and row.until_seq == 0:
            if (row.target, row.rule) in left:
                left.remove((row.target, row.rule))
            else:
                tx.run("UPDATE notification SET until_seq = ? WHERE id = ?", (seq, row.id))
    for target, rule in left:
        tx.run("INSERT INTO notification VALUES (NULL, ?, ?, ?, ?, 0)", (target, bucket, rule, seq))
        subscribe(tx, SUBSCRIPTION_PREFIX + target)


def end_notifications(tx: Tx, bucket: str, seq: int) -> None:
    """End the rules of a bucket that is removed, from an event on."""
    tx.run("UPDATE notification SET until_seq = ? WHERE bucket = ? AND until_seq = 0", (seq, bucket))


def resume_notifications(tx: Tx, target: str) -> int:
    """Return after which event a target is to be told of more; of rules without a subscription, one begins now."""
    if tx.value("SELECT EXISTS (SELECT 1 FROM notification WHERE target = ?)", (target,)):
        return subscribe(tx, SUBSCRIPTION_PREFIX + target)
    seq = tx.value("SELECT seq FROM subscription WHERE name = ?", (SUBSCRIPTION_PREFIX + target,))
    return int((tx.value("SELECT max(seq) FROM event") if seq is None else seq) or 0)


def begin_notifications(view: View, seq: int) -> None:
    """Have the rules of a lake whose change feed begins anew count from there; those of buckets it lacks go."""
    view.run("DELETE FROM notification WHERE bucket NOT IN (SELECT name FROM bucket)")
    view.run(
        "INSERT OR IGNORE INTO subscription SELECT DISTINCT ? || target, ? FROM notification",
        (SUBSCRIPTION_PREFIX, seq),
    )


def forget_notifications(tx: Tx, target: str) -> bool:
    """Remove the rules of a target that have ended and are told; say whether any is left.

    Where none is, its subscription ends.
    """
    acknowledged = tx.value("SELECT seq FROM subscription WHERE name = ?", (SUBSCRIPTION_PREFIX + target,))
    tx.run(
        "DELETE FROM notification WHERE target = ? AND until_seq <> 0 AND until_seq <= ?",
        (target, (acknowledged or 0) + 1),
    )
    if tx.value("SELECT EXISTS (SELECT 1 FROM notification WHERE target = ?)", (target,)):
        return True
    unsubscribe(tx, SUBSCRIPTION_PREFIX + target)
    return False
