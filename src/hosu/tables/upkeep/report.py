"""What upkeep did, or would do."""

from dataclasses import dataclass, field


@dataclass
class Report:
    """What one action of upkeep deleted and made; with `dry_run`, what it would have.

    Files are keys of the table's FileIO. `bytes_freed` is of data and changelog files as far as their manifests tell.
    """

    action: str
    dry_run: bool = False
    snapshots: list[int] = field(default_factory=list)
    changelogs: list[int] = field(default_factory=list)
    """Snapshots whose changelog is deleted, or kept for longer than they."""

    files: list[str] = field(default_factory=list)
    bytes_freed: int = 0
    tags_created: list[str] = field(default_factory=list)
    tags_deleted: list[str] = field(default_factory=list)
    consumers_deleted: list[str] = field(default_factory=list)
    partitions_dropped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What was left undone, and why."""

    @property
    def is_empty(self) -> bool:
        """Whether there was nothing to do."""
        return not (
            self.snapshots
            or self.changelogs
            or self.files
            or self.tags_created
            or self.tags_deleted
            or self.consumers_deleted
            or self.partitions_dropped
        )

    def add(self, other: "Report") -> None:
        """Take what another action did into this report."""
        self.snapshots += other.snapshots
        self.changelogs += other.changelogs
        self.files += other.files
        self.bytes_freed += other.bytes_freed
        self.tags_created += other.tags_created
        self.tags_deleted += other.tags_deleted
        self.consumers_deleted += other.consumers_deleted
        self.partitions_dropped += other.partitions_dropped
        self.notes += other.notes
