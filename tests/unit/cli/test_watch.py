import threading
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from hosu.cli.addresses import LocalAddress, ObjectAddress
from hosu.cli.localfiles import FileIdentity
from hosu.cli.session import Session
from hosu.cli.sync import SyncOptions
from hosu.cli.upload import upload_file
from hosu.cli.watch import FolderWatch, Settler


class StillClock:
    """A clock that moves when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def now_ms(self) -> int:
        return int(self.now * 1000)

    def monotonic(self) -> float:
        return self.now


class SameThread(ThreadPoolExecutor):
    """Runs what is submitted at once, so that a turn has no concurrency."""

    def submit(self, call: Any, /, *arguments: Any, **_named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(call(*arguments))
        except Exception as error:  # noqa: BLE001 - kept in the future, as an executor does
            future.set_exception(error)
        return future


class Scene:
    """A folder watched turn by turn."""

    def __init__(self, session: Session, s3: Any, bucket: str, root: Path, options: SyncOptions) -> None:
        self.clock = StillClock()
        self.events: list[Path] = []
        self.root, self.s3, self.bucket = root, s3, bucket
        self.watch = FolderWatch(
            session,
            LocalAddress(root, is_folder=True),
            ObjectAddress("lab", bucket, "in/"),
            options,
            clock=self.clock,
            feed=self._feed,
            settle_s=1.0,
            rescan_s=600.0,
        )
        self._pool = SameThread()

    def _feed(self) -> Iterable[Path]:
        events, self.events = self.events, []
        return events

    def write(self, name: str, body: bytes) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        self.events.append(path)

    def turn(self, seconds: float = 0.0) -> None:
        self.clock.now += seconds
        self.watch.turn(self._pool)

    def stored(self) -> dict[str, bytes]:
        listed = self.s3.list_objects_v2(Bucket=self.bucket, Prefix="in/").get("Contents", [])
        return {
            item["Key"][3:]: self.s3.get_object(Bucket=self.bucket, Key=item["Key"])["Body"].read() for item in listed
        }


@pytest.fixture
def scene(session: Session, s3: Any, bucket: str, tmp_path: Path) -> Scene:
    root = tmp_path / "root"
    root.mkdir()
    return Scene(session, s3, bucket, root, SyncOptions(delete=True))


def test_a_path_is_due_only_once_it_has_been_still() -> None:
    identity = FileIdentity(1, 1, 10, 1)
    shown = {"f": identity}
    settler = Settler(1.0, shown.get)
    settler.note("f", 0.0)
    assert list(settler.due(0.9)) == []
    shown["f"] = FileIdentity(1, 1, 20, 2)
    assert list(settler.due(1.0)) == []
    assert list(settler.due(1.9)) == []
    assert list(settler.due(2.0, busy={"f"})) == []
    assert list(settler.due(2.0)) == ["f"]
    assert len(settler) == 0


def test_a_file_being_written_is_not_taken_half(scene: Scene) -> None:
    scene.write("f", b"half")
    scene.turn()
    scene.turn(0.9)
    (scene.root / "f").write_bytes(b"half and the rest")
    scene.turn(0.5)
    assert scene.stored() == {}
    scene.turn(1.0)
    assert scene.stored() == {"f": b"half and the rest"}


def test_what_was_there_before_the_start_is_sent_and_what_is_stored_is_left_alone(scene: Scene) -> None:
    (scene.root / "before").write_bytes(b"1")
    scene.s3.put_object(Bucket=scene.bucket, Key="in/stale", Body=b"x")
    scene.turn()
    scene.turn(1.0)
    assert scene.stored() == {"before": b"1"}
    restarted = Scene(scene.watch._session, scene.s3, scene.bucket, scene.root, SyncOptions(delete=True))
    restarted.turn()
    assert len(restarted.watch._settler) == 0


def test_a_file_that_changes_during_its_upload_is_sent_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    from hosu.cli import watch

    original, calls = upload_file, []

    def slow(session: Any, path: Path, *more: Any) -> Any:
        answer = original(session, path, *more)
        calls.append(path)
        if len(calls) == 1:
            path.write_bytes(b"second version")
        return answer

    monkeypatch.setattr(watch, "upload_file", slow)
    scene.write("f", b"first")
    scene.turn()
    scene.turn(1.0)
    scene.turn(1.0)
    assert scene.stored() == {"f": b"second version"}
    assert len(calls) == 2


def test_renames_and_removed_folders_follow_with_delete(scene: Scene) -> None:
    for name in ("old", "d/a", "d/e/b", "d-kept"):
        scene.write(name, name.encode())
    scene.turn()
    scene.turn(1.0)
    (scene.root / "old").rename(scene.root / "new")
    (scene.root / "d").rename(scene.root.parent / "elsewhere")
    # A folder that leaves is one event: nothing names what was in it.
    scene.events += [scene.root / "old", scene.root / "new", scene.root / "d"]
    scene.turn()
    scene.turn(1.0)
    assert scene.stored() == {"new": b"old", "d-kept": b"d-kept"}


def test_without_delete_what_is_gone_stays_stored(session: Session, s3: Any, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    scene = Scene(session, s3, bucket, tmp_path / "root", SyncOptions())
    scene.write("f", b"x")
    scene.turn()
    scene.turn(1.0)
    (scene.root / "f").unlink()
    scene.events.append(scene.root / "f")
    scene.turn()
    scene.turn(1.0)
    assert scene.stored() == {"f": b"x"}


def test_a_new_folder_brings_what_was_put_in_it_before_it_was_watched(scene: Scene) -> None:
    scene.turn()
    scene.write("n/deep/f", b"x")
    scene.events = [scene.root / "n"]
    scene.turn()
    scene.turn(1.0)
    assert scene.stored() == {"n/deep/f": b"x"}


def test_a_network_failure_is_tried_again_for_ever_with_growing_waits(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hosu.cli import watch

    original, failing, tries = upload_file, True, []

    def cut(*arguments: Any) -> Any:
        tries.append(scene.clock.now)
        if failing:
            raise EndpointConnectionError(endpoint_url="http://x")
        return original(*arguments)

    monkeypatch.setattr(watch, "upload_file", cut)
    scene.write("f", b"x")
    for _ in range(400):
        scene.turn(1.0)
    waits = [later - earlier for earlier, later in pairwise(tries)]
    assert len(waits) >= 6
    assert waits[-1] >= 30
    assert max(waits) <= 61
    failing = False
    for _ in range(61):
        scene.turn(1.0)
    assert scene.stored() == {"f": b"x"}


def test_a_stop_ends_the_watch_after_what_is_under_way(scene: Scene) -> None:
    stop = threading.Event()
    stop.set()
    assert scene.watch.run(stop).exit_code == 0
