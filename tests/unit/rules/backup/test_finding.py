"""One blob's bytes out of a backup, for whoever has lost them."""

from pathlib import Path

import pytest
from blake3 import blake3
from tests.unit.rules.backup.conftest import LARGE

from hosu.lake import Lake
from hosu.objects.alerts import list_alerts
from hosu.objects.blobs import VERIFIED_MS_MAX
from hosu.rules.backup.finding import find_in_backup
from hosu.rules.backup.schedule import Schedule
from hosu.testing.manual_clock import ManualClock

pytestmark = pytest.mark.usefixtures("repository")


@pytest.mark.parametrize("body", [LARGE, b"second", b"weights"])
def test_large_and_small_bytes_are_found_by_their_hash(
    lake: Lake, location: str, clock: ManualClock, body: bytes
) -> None:
    assert find_in_backup(location, blake3(body).digest(), store_path=lake.path, clock=clock) == body


def test_bytes_of_an_older_snapshot_are_found(lake: Lake, location: str, clock: ManualClock) -> None:
    lake.bucket("models").put("m", b"newer")
    lake.backup(location)
    for body in (b"model", b"newer"):
        assert find_in_backup(location, blake3(body).digest(), store_path=lake.path, clock=clock) == body


def test_what_is_not_there_or_no_longer_whole_is_not_found(lake: Lake, location: str, clock: ManualClock) -> None:
    assert find_in_backup(location, blake3(b"never").digest(), store_path=lake.path, clock=clock) is None
    digest = blake3(LARGE)
    Path(location, "blobs", digest.hexdigest()[:2], digest.hexdigest()).write_bytes(b"?")
    assert find_in_backup(location, digest.digest(), store_path=lake.path, clock=clock) is None


@pytest.mark.parametrize(("bucket", "key", "body"), [("images", "large", LARGE), ("models", "m", b"model")])
def test_an_object_whose_bytes_are_lost_is_restored_from_the_backup_as_it_is_read(
    lake: Lake, location: str, clock: ManualClock, bucket: str, key: str, body: bytes
) -> None:
    lake.schedule_backups(Schedule(location, "0 2 * * *"))
    for file in (path for path in (lake.path / "blobs").glob("*/*") if path.is_file()):
        file.write_bytes(b"?" * file.stat().st_size)
    lake.store.commit(lambda tx: tx.run("UPDATE blob SET body = zeroblob(length(body)) WHERE kind = 0"))
    clock.advance(2 * VERIFIED_MS_MAX)
    assert bytes(lake.bucket(bucket).get(key)) == body
    alerts = {alert.kind: alert.message for alert in list_alerts(lake.store.view())}
    assert location in alerts["restored-object"]
