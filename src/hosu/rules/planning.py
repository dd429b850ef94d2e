"""What a rule is about to do, before it does it.

Each rule has one function that says so: a dry run prints what it yields, a real run carries it out, and checks again in
the transaction that changes it.
"""

from collections.abc import Iterable
from typing import Any

import msgspec


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a rule would do to one object, version or upload."""

    rule: str
    """Which rule: `lifecycle:<id>`, `capacity`, `merit:<id>` …"""

    action: str
    """What would be done, as the audit log names it: `Expire`, `Transition`, `AbortUpload` …"""

    bucket: str
    key: str
    version_id: str = ""
    """Of the version it is about; empty where the bucket has none. The upload's id, where it is about an upload."""

    size_bytes: int = 0
    """Of the object as its reader sees it."""

    reason: str = ""
    """Why, as the audit log will say it."""

    seq: int = 0
    """The record's number: the same while the record is the one that was decided on; 0 for what has none."""

    def row(self) -> dict[str, Any]:
        """Return it as users see it."""
        row: dict[str, Any] = msgspec.structs.asdict(self)
        del row["seq"]
        return row


class Total(msgspec.Struct, frozen=True):
    """What a plan comes to for one rule and action."""

    rule: str
    action: str
    count: int
    size_bytes: int


def totals(plan: Iterable[Planned]) -> list[Total]:
    """Return the sums of a plan by rule and action."""
    sums: dict[tuple[str, str], tuple[int, int]] = {}
    for planned in plan:
        count, size_bytes = sums.get((planned.rule, planned.action), (0, 0))
        sums[planned.rule, planned.action] = count + 1, size_bytes + planned.size_bytes
    return [Total(rule, action, *sums[rule, action]) for rule, action in sorted(sums)]
