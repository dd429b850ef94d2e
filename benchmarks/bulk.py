"""Fill a lake through the engine, in this process: `python -m benchmarks.bulk LAKE BUCKET FIRST KEYS TOTAL`."""

import hashlib
import os
import sys
from functools import partial
from pathlib import Path

from benchmarks.flows import listed_key

from hosu.kernel.errors import ConflictError
from hosu.objects.blobs import stage_inline
from hosu.objects.buckets import create_bucket
from hosu.objects.put import PutRequest, put_object
from hosu.objects.store import ObjectStore
from hosu.objects.transaction import Tx

BODY_BYTES = 128
"""Growth is about records: bodies are as small as they can be and still differ."""

KEYS_PER_TRANSACTION = 2_000


def fill(lake: Path, bucket: str, first: int, keys: int, total: int) -> None:
    """Put the objects first … first + keys - 1 of a listing of `total` keys."""
    with ObjectStore(lake) as store:
        for name in (bucket, f"{bucket}-list"):
            try:
                store.commit(partial(create_bucket, name=name))
            except ConflictError:
                continue

        def put_some(tx: Tx, start: int, end: int) -> None:
            for number in range(start, end):
                body = number.to_bytes(8, "big") + os.urandom(BODY_BYTES - 8)
                etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
                key = listed_key("list/", number, total)
                put_object(tx, PutRequest(f"{bucket}-list", key, stage_inline(body), etag))

        for start in range(first, first + keys, KEYS_PER_TRANSACTION):
            store.commit(partial(put_some, start=start, end=min(start + KEYS_PER_TRANSACTION, first + keys)))


if __name__ == "__main__":
    lake_path, bucket_name, *numbers = sys.argv[1:]
    fill(Path(lake_path), bucket_name, *map(int, numbers))
