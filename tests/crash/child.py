"""A process that uses a lake until it is done or killed: `python -m tests.crash.child LAKE TASK NAME`.

It tells its parent what it is about to do and what was acknowledged, a JSON line each, in one write.
"""

import contextlib
import json
import os
import random
import sys
import threading
import time
from functools import partial
from pathlib import Path

from tests.crash.lakes import BUCKET, LAKE_KEY, put

from hosu.kernel.errors import PreconditionFailedError, UnavailableError
from hosu.kernel.settings import Settings
from hosu.objects import writer
from hosu.objects.delete import delete_object
from hosu.objects.put import CopyRequest, copy_object
from hosu.objects.read import find_with_blob
from hosu.objects.records import Conditions
from hosu.objects.store import ObjectStore
from hosu.objects.sweep import sweep
from hosu.rules.lifecycle.acting import LifecyclePass
from hosu.testing.lake_check import read_blob

THREADS = 4
KEYS_PER_THREAD = 12
RACES = 60
COUNTS = 25
SHARED = 12
EXPIRING = 12_000
"""Objects that take a pass many transactions."""


def say(*words: object) -> None:
    """Tell the parent, in one write so that lines of threads never mix."""
    os.write(1, json.dumps(words).encode() + b"\n")


def body_of(seed: str) -> bytes:
    """Return the bytes a seed stands for: small for inline, larger for a file."""
    chance = random.Random(seed)
    return chance.randbytes(chance.choice((0, 300, 5_000, 20_000, 90_000)))


def churn(store: ObjectStore, name: str) -> None:
    """Put, copy and delete from several threads, with a sweep beside, until killed."""
    threads = [threading.Thread(target=_churn, args=(store, name, number)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    while True:
        sweep(store, grace_ms=0, orphan_ms=0)
        time.sleep(0.01)


def _churn(store: ObjectStore, name: str, number: int) -> None:
    chance = random.Random(f"{name}/{number}")
    seeds: dict[str, str] = {}
    for turn in range(sys.maxsize):
        key = f"{number}/{chance.randrange(KEYS_PER_THREAD)}"
        kind = chance.choice(("put", "put", "put", "copy", "delete"))
        source = chance.choice(list(seeds)) if kind == "copy" and seeds else None
        seed = f"{name}/{number}/{turn % 40}" if source is None else seeds[source]
        say("begin", number, key, None if kind == "delete" else seed)
        try:
            if kind == "delete":
                store.commit(partial(delete_object, bucket_name=BUCKET, key=key))
                seeds.pop(key, None)
            else:
                if source is None:
                    put(store, key, body_of(seed))
                else:
                    facts = store.keys.facts_of(store.encryption_of(BUCKET))
                    request = CopyRequest(BUCKET, source, BUCKET, key, encryption=facts)
                    store.commit(partial(copy_object, request=request))
                seeds[key] = seed
        except UnavailableError:  # the sweep took the file of an upload for abandoned
            say("refused", number)
        else:
            say("done", number)


def race(store: ObjectStore, name: str) -> None:
    """Claim keys that another process claims as well."""
    for number in range(RACES):
        with contextlib.suppress(PreconditionFailedError):
            record = put(store, f"race/{number}", name.encode(), conditions=Conditions(if_none_match="*"))
            say("won", number, record.seq)


def count(store: ObjectStore, _name: str) -> None:
    """Add to a number that another process adds to, on condition that nobody else did."""
    for _ in range(COUNTS):
        while True:
            view = store.view()
            record, blob = find_with_blob(view, BUCKET, "count")
            assert blob is not None
            following = int(read_blob(store, view, blob)) + 1
            with contextlib.suppress(PreconditionFailedError):
                put(store, "count", str(following).encode(), conditions=Conditions(if_match=record.etag))
                say("counted", following)
                break


def share(store: ObjectStore, name: str) -> None:
    """Store bodies that another process stores as well, sweeping between."""
    for number in range(SHARED):
        for _ in range(50):
            with contextlib.suppress(UnavailableError):  # the other process's sweep was faster: the body is sent again
                put(store, f"shared/{name}/{number}", f"{number:03}".encode() * 10_000)
                say("stored", number)
                break
        sweep(store, grace_ms=0, orphan_ms=0)


def expire(store: ObjectStore, _name: str) -> None:
    """Carry out the lake's lifecycle rules once, and tell of each transaction."""
    LifecyclePass(store, Settings(), say).run()


def main() -> None:
    lake, task, name = sys.argv[1:]
    writer.WAL_PAGES_CHECKPOINT, writer.WAL_PAGES_MAX = 32, 256
    store = ObjectStore(Path(lake), space_reserve_bytes=0, lake_key=LAKE_KEY)
    say("ready")
    sys.stdin.readline()
    {"churn": churn, "race": race, "count": count, "share": share, "expire": expire}[task](store, name)
    store.close()


if __name__ == "__main__":
    main()
