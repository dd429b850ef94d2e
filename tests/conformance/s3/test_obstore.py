"""obstore: Rust's object_store as Python calls it, the library under many engines."""

import obstore
import pytest
from obstore.store import S3Store
from tests.support.clients import MIB, patterned
from tests.support.server import Endpoint


@pytest.fixture
def store(server: Endpoint, bucket: str) -> S3Store:
    return S3Store(
        bucket,
        endpoint=server.url,
        access_key_id=server.access_key,
        secret_access_key=server.secret_key,
        region=server.region,
        client_options={"allow_http": True},
    )


def test_obstore_puts_lists_and_reads_ranges(store: S3Store) -> None:
    body = patterned(11 * MIB)
    obstore.put(store, "dir/a", b"small")
    obstore.put(store, "dir/b", body, chunk_size=5 * MIB, max_concurrency=3)
    assert bytes(obstore.get(store, "dir/b").bytes()) == body
    ranges = obstore.get_ranges(store, "dir/b", starts=[0, 5 * MIB - 1], lengths=[3, 4])
    assert [bytes(piece) for piece in ranges] == [body[:3], body[5 * MIB - 1 : 5 * MIB + 3]]
    assert [entry["path"] for entry in obstore.list(store, offset="dir/a").collect()] == ["dir/b"]
    assert list(obstore.list_with_delimiter(store)["common_prefixes"]) == ["dir"]
    obstore.rename(store, "dir/a", "moved")
    obstore.delete(store, ["dir/b"])
    assert [entry["path"] for entry in obstore.list(store).collect()] == ["moved"]


def test_obstore_creates_and_updates_only_as_conditions_hold(store: S3Store) -> None:
    first = obstore.put(store, "k", b"one", mode="create")
    with pytest.raises(obstore.exceptions.AlreadyExistsError):
        obstore.put(store, "k", b"two", mode="create")
    obstore.put(store, "k", b"three", mode={"e_tag": first["e_tag"]})
    with pytest.raises(obstore.exceptions.PreconditionError):
        obstore.put(store, "k", b"four", mode={"e_tag": first["e_tag"]})
    assert bytes(obstore.get(store, "k").bytes()) == b"three"
