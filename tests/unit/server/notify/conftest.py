"""What targets are sent in these tests."""

import pytest

from hosu.objects.feed import Event
from hosu.objects.store import ObjectStore
from hosu.rules.events.records import Message, Origin, make_message


@pytest.fixture(scope="session")
def message(tmp_path_factory: pytest.TempPathFactory) -> "MakeMessage":
    return MakeMessage(tmp_path_factory)


class MakeMessage:
    """Makes events as the change feed would."""

    def __init__(self, folders: pytest.TempPathFactory) -> None:
        self._path = folders.mktemp("notify") / "lake"
        self._seq = 0

    def __call__(self, key: str, name: str = "s3:ObjectCreated:Put") -> Message:
        self._seq += 1
        kind = name.removeprefix("s3:")
        event = Event(self._seq, 1_795_000_000_000, kind, "images", key, "null", 4, "e" * 32, "alice")
        with ObjectStore(self._path, space_reserve_bytes=0) as store:
            return make_message(store.view(), event, name, Origin("http://lake:9000", "", "root"), "rule")
