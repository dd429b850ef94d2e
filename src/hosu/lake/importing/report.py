"""What became of an import: counted where it went well, named where it did not."""

from enum import StrEnum

import msgspec


class State(StrEnum):
    """What became of one thing, or in a dry run would become of it."""

    MOVED = "moved"
    PRESENT = "present"
    """It is in the lake already, and the same."""

    REFUSED = "refused"
    """It was not moved, for the reason given."""


class Item(msgspec.Struct, frozen=True):
    """One thing. `kind` is `object`, `bucket`, `user`, `policy` … ; `name` is a key's for an object."""

    kind: str
    name: str
    state: State
    reason: str = ""
    bucket: str = ""
    version_id: str = ""
    size_bytes: int = 0


class BucketReport(msgspec.Struct, kw_only=True):
    """What became of a bucket: counts of versions, and every thing that was not moved."""

    name: str
    moved: int = 0
    moved_bytes: int = 0
    moved_markers: int = 0
    present: int = 0
    """Versions and markers that were in the lake already."""

    items: list[Item] = []
    """Settings of the bucket whatever became of them, and versions that were refused."""

    @property
    def refused(self) -> list[Item]:
        """What was not moved."""
        return [item for item in self.items if item.state is State.REFUSED]


class Report(msgspec.Struct, kw_only=True):
    """What became of an import."""

    source: str
    dry_run: bool = False
    accounts: list[Item] = []
    buckets: list[BucketReport] = []
    notes: list[str] = []

    @property
    def refused(self) -> list[Item]:
        """What was not moved, and why."""
        found = [item for item in self.accounts if item.state is State.REFUSED]
        for bucket in self.buckets:
            found += bucket.refused
        return found

    @property
    def is_clean(self) -> bool:
        """Whether everything of the source is in the lake."""
        return not self.refused
