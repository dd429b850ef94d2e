"""Each snapshot of a backup must give the lake back as it was, whatever was done to the lake before and since."""

import shutil
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule
from tests.properties.profiles import IS_NIGHTLY, MACHINES
from tests.properties.test_engine_against_model import EngineAgainstModel
from tests.support.backups import dump

from hosu.objects.store import ObjectStore
from hosu.rules.backup import chunks, taking
from hosu.rules.backup.pruning import Retention, prune
from hosu.rules.backup.repository import Repository
from hosu.rules.backup.restoring import restore_backup
from hosu.rules.backup.taking import take_backup
from hosu.rules.backup.verifying import verify
from hosu.testing.lake_check import find_faults


class BackupOfAnything(EngineAgainstModel):
    """All that users can do to a lake, with backups between."""

    @initialize(
        layer_rows=st.sampled_from([2, 6, 1_000]), pack_bytes=st.sampled_from([1, 9, 1_000]), period=st.integers(1, 4)
    )
    def prepare(self, layer_rows: int, pack_bytes: int, period: int) -> None:
        self.period, self.calls = period, 0
        self.small = pytest.MonkeyPatch()
        self.small.setattr(taking, "LAYER_ROWS_MIN", layer_rows)
        self.small.setattr(chunks, "PACK_BYTES", pack_bytes)
        self.small.setattr(chunks, "CHUNK_BYTES", 40 * pack_bytes)
        self.taken: dict[str, object] = {}

    @property
    def location(self) -> str:
        return f"{self.folder.name}/backup"

    @rule(is_full=st.sampled_from([False, False, False, True]))
    def back_up(self, is_full: bool) -> None:  # noqa: FBT001 - hypothesis draws it
        report = take_backup(self.store, self.location, is_full=is_full)
        assert report.damaged == ()
        self.taken[report.snapshot.id] = dump(self.store)

    @invariant()
    def backs_up_every_few_calls(self) -> None:
        if hasattr(self, "taken") and hasattr(self, "store"):
            self.calls += 1
            if self.calls % self.period == 0:
                self.back_up(is_full=False)

    @precondition(lambda self: self.taken)
    @rule(count=st.integers(1, 3))
    def prune_the_backup(self, count: int) -> None:
        repository = self.repository()
        prune(repository, Retention(last=count), grace_ms=0)
        left = {snapshot.id for snapshot in repository.snapshots()}
        self.taken = {name: taken for name, taken in self.taken.items() if name in left}
        assert len(self.taken) == len(left) <= count

    @precondition(lambda self: self.taken)
    @rule()
    def verify_all_of_it(self) -> None:
        assert verify(self.repository(), reads_all=True).faults == ()

    def repository(self) -> Repository:
        from hosu.kernel.fileio import FolderFileIO

        return Repository.open(FolderFileIO(self.location, clock=self.clock), self.clock)

    def restore_all(self) -> None:
        for snapshot_id, expected in self.taken.items():
            lake = Path(self.folder.name) / "restored"
            restored = restore_backup(self.location, lake, snapshot_id=snapshot_id, clock=self.clock)
            assert (restored.damaged, restored.notes) == ((), ())
            with ObjectStore(lake, clock=self.clock, space_reserve_bytes=0) as store:
                assert dump(store) == expected
                assert find_faults(store) == []
            shutil.rmtree(lake)

    def teardown(self) -> None:
        try:
            if hasattr(self, "taken") and hasattr(self, "store"):
                self.restore_all()
        finally:
            if hasattr(self, "small"):
                self.small.undo()
            super().teardown()

    # What the engine's own test looks at

    def reads_what_was_written(self) -> None:
        """Not here."""

    def counts_what_it_holds(self) -> None:
        """Not here."""


BackupOfAnything.TestCase.settings = settings(MACHINES, max_examples=200 if IS_NIGHTLY else 40)
TestBackupOfAnything = pytest.mark.timeout(1_200)(BackupOfAnything.TestCase)
