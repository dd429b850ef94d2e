"""Finding the bytes of one blob in a backup, for whoever has lost them."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from hosu.kernel.clock import Clock
from hosu.kernel.errors import HosuError, NotFoundError
from hosu.rules.backup.chunks import hash_of, read_records
from hosu.rules.backup.repository import READ_BYTES, Repository, Snapshot, is_damage, key_of
from hosu.rules.locations import open_location


def find_in_backup(location: str, digest: bytes, *, store_path: Path, clock: Clock) -> bytes | None:
    """Return the stored bytes with a BLAKE3 hash from the backup in a place; None where it does not have them whole.

    Raises what the place answers. Bytes of a large blob are large: `chunks_in_backup` gives them piece by piece.
    """
    chunks = chunks_in_backup(location, digest, store_path=store_path, clock=clock)
    if chunks is None:
        return None
    found = b"".join(chunks)
    return found if hash_of(found) == digest.hex() else None


def chunks_in_backup(location: str, digest: bytes, *, store_path: Path, clock: Clock) -> Iterable[bytes] | None:
    """Return the stored bytes with a hash piece by piece, unchecked; None where the backup does not have them.

    Small blobs are looked for in the records of each snapshot, the newest first, which takes a while.
    """
    repository = Repository.open(open_location(location, store_path=store_path, clock=clock), clock)
    if repository.files.exists(key_of("blobs", digest.hex())):
        return _pieces(repository, digest.hex())
    seen: set[str] = set()
    for key in reversed(repository.snapshot_keys()):
        try:
            found = _find_packed(repository, repository.load(key), digest, seen)
        except HosuError as error:
            if not is_damage(error):
                raise
            continue
        if found is not None:
            return [found]
    return None


def _pieces(repository: Repository, name: str) -> Iterator[bytes]:
    with repository.open_read("blobs", name) as stream:
        while piece := stream.read(READ_BYTES):
            yield piece


def _find_packed(repository: Repository, snapshot: Snapshot, digest: bytes, seen: set[str]) -> bytes | None:
    for layer in reversed(snapshot.layers):
        for name in layer.records:
            if name in seen:
                continue
            seen.add(name)
            for pack, start, size_bytes in _places(repository, name, digest):
                try:
                    return repository.files.read(key_of("packs", pack), start, start + size_bytes)
                except NotFoundError:
                    continue
    return None


def _places(repository: Repository, name: str, digest: bytes) -> Iterator[tuple[str, int, int]]:
    """Yield pack, start and size of each small blob with a hash that a file of records names."""
    for section, rows in read_records(repository.read("records", name), name):
        if section.table == "blob":
            hash_place, pack, start, size = (
                section.columns.index(column) for column in ("hash", "pack", "start", "stored_bytes")
            )
            for row in rows:
                if row[hash_place] == digest and row[pack] is not None:
                    yield row[pack], row[start], row[size]
