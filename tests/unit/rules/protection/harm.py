"""What disks do to bytes, done on purpose; and reading as users do."""

import hashlib
import os
import threading
from functools import partial
from pathlib import Path

from tests.unit.objects.conftest import BUCKET, Stage

from hosu.objects.blobs import BlobRow
from hosu.objects.bodies import open_body
from hosu.objects.multipart import CompletedPart, CompleteRequest, add_part, complete_upload, create_upload
from hosu.objects.protected import ProtectedPrefix, list_protected
from hosu.objects.read import blob_row, find
from hosu.objects.records import Attributes, ObjectRecord
from hosu.objects.store import ObjectStore
from hosu.rules.copies import copy_key, prefixes_of
from hosu.rules.copy_job import LocationKeeper


class Harm:
    """Harms the stored bytes of a lake."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def row(self, key: str, version_id: str | None = None) -> BlobRow:
        blob_id = find(self._store.view(), BUCKET, key, version_id).blob_id
        assert blob_id is not None
        return blob_row(self._store.view(), blob_id)

    def path(self, key: str, version_id: str | None = None) -> Path:
        return self._store.files.path(self.row(key, version_id).id)

    def flip(self, path: Path, at: int = 100) -> None:
        with path.open("r+b") as file:
            file.seek(at)
            before = file.read(1)
            file.seek(at)
            file.write(bytes([before[0] ^ 0x40]))

    def do(self, what: str, key: str) -> None:
        path = self.path(key)
        if what == "flip":
            self.flip(path)
        elif what == "truncate":
            os.truncate(path, 10)
        elif what == "lengthen":
            with path.open("ab") as file:
                file.write(b"more")
        elif what == "zero":
            path.write_bytes(bytes(path.stat().st_size))
        else:
            path.unlink()

    def inline(self, key: str) -> None:
        blob_id = self.row(key).id
        statement = "UPDATE blob SET body = zeroblob(length(body)), verified_ms = 0 WHERE id = ?"
        self._store.commit(lambda tx: tx.run(statement, (blob_id,)).close())

    def copy_path(self, location: Path, key: str) -> Path:
        return location / copy_key(self.row(key).digest or b"")


def read(store: ObjectStore, key: str, version_id: str | None = None) -> bytes:
    record, body = open_body(store, BUCKET, key, version_id)
    with body:
        return body.read(0, record.size_bytes)


def put_parts(store: ObjectStore, stage: Stage, key: str, bodies: list[bytes]) -> ObjectRecord:
    """Put an object in parts; those of half a MiB and more are files."""
    upload = store.commit(partial(create_upload, bucket_name=BUCKET, key=key, attributes=Attributes()))
    named = []
    for number, body in enumerate(bodies, 1):
        etag = hashlib.md5(body).hexdigest()
        verb = partial(
            add_part, bucket_name=BUCKET, key=key, upload_id=upload.upload_id, number=number, body=stage(body),
            etag=etag,
        )  # fmt: skip
        store.commit(verb)
        named.append(CompletedPart(number, etag))
    return store.commit(partial(complete_upload, request=CompleteRequest(BUCKET, key, upload.upload_id, named)))


def run_copies(store: ObjectStore, copying: LocationKeeper) -> None:
    """Have a location kept once, as the keeper's job does every second."""
    entries = [entry for entry in list_protected(store.view()) if entry.copy == copying.location]
    copying.keep(prefixes_of(store.view(), entries), threading.Event())


__all__ = ["Harm", "ProtectedPrefix", "put_parts", "read", "run_copies"]
