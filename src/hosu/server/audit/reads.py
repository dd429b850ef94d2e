"""Which buckets have their reads written to the audit log: each says it in its document `audit`."""

from hosu.objects.audit_switch import buckets_with_reads
from hosu.objects.store import ObjectStore


class ReadSwitches:
    """The switches of a lake, read again when a process has changed one."""

    def __init__(self, store: ObjectStore, *, all_reads: bool) -> None:
        self._store = store
        self._generation = store.generation
        self._all = all_reads
        self._number = -1
        self._names: frozenset[str] = frozenset()

    def are_on(self, bucket: str) -> bool:
        """Say whether reads of a bucket are written down."""
        if self._all:
            return True
        number = self._generation.number()
        if number != self._number:
            self._names = buckets_with_reads(self._store.view())
            self._number = number
        return bucket in self._names
