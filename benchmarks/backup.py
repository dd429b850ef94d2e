"""Backups of a large lake: the first, one after a part has changed, one after nothing has; beside a copy of the folder.

    python -m benchmarks.backup [--objects 1000000] [--body-bytes 1024] [--changed 0.01] [--dir DIR] [--out FILE]

Times are of one run on this machine, in seconds; bytes are what a run added to the backup. The peer is `cp -a` of the
lake's folder, which is whole each time, and no backup of a lake that is written to.
"""

import argparse
import hashlib
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from hosu.objects.blobs import stage_inline
from hosu.objects.buckets import create_bucket
from hosu.objects.put import PutRequest, put_object
from hosu.objects.store import ObjectStore
from hosu.objects.transaction import Tx
from hosu.rules.backup.restoring import restore_backup
from hosu.rules.backup.taking import Report, take_backup

BUCKET = "images"
PER_TRANSACTION = 2_000


def key_of(number: int) -> str:
    """Return the key of an object, spread over folders as cameras write them."""
    return f"raw/{number % 365:03}/{number % 24:02}/{number:09}.jpg"


def put_many(tx: Tx, numbers: list[int], body_bytes: int, seed: int) -> None:
    """Put objects with bytes of their own."""
    chance = random.Random(numbers[0] + seed)
    for number in numbers:
        body = chance.randbytes(body_bytes)
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
        put_object(tx, PutRequest(BUCKET, key_of(number), stage_inline(body), etag))


def fill(store: ObjectStore, numbers: list[int], body_bytes: int, seed: int) -> None:
    """Put objects, many to a transaction."""
    for start in range(0, len(numbers), PER_TRANSACTION):
        chunk = numbers[start : start + PER_TRANSACTION]
        store.commit(partial(put_many, numbers=chunk, body_bytes=body_bytes, seed=seed))


def timed(work: Callable[[], object]) -> tuple[float, object]:
    """Return how long work took, and its result."""
    begun_s = time.monotonic()
    result = work()
    return time.monotonic() - begun_s, result


def measure(folder: Path, objects: int, body_bytes: int, changed: float) -> list[dict[str, object]]:
    """Return a line for each run."""
    rows: list[dict[str, object]] = []
    location = str(folder / "backup")

    def back_up(what: str, store: ObjectStore) -> None:
        seconds, report = timed(lambda: take_backup(store, location))
        assert isinstance(report, Report), "that is what it returns"
        snapshot = report.snapshot
        rows.append({"run": what, "seconds": seconds, "bytes": snapshot.written_bytes, "keys": report.changed_keys})
        print(json.dumps(rows[-1]), flush=True)

    def peer(what: str) -> None:
        target = folder / "copy"
        shutil.rmtree(target, ignore_errors=True)
        seconds, _ = timed(lambda: subprocess.run(["cp", "-a", str(folder / "lake"), str(target)], check=True))
        size_bytes = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
        rows.append({"run": f"cp -a, {what}", "seconds": seconds, "bytes": size_bytes, "keys": objects})
        print(json.dumps(rows[-1]), flush=True)
        shutil.rmtree(target)

    with ObjectStore(folder / "lake", is_audited=False) as store:
        store.commit(partial(create_bucket, name=BUCKET))
        fill(store, list(range(objects)), body_bytes, 0)
        back_up("first", store)
        peer("first")
        chosen = random.Random(1).sample(range(objects), max(1, round(objects * changed)))
        fill(store, chosen, body_bytes, 1)
        back_up(f"{changed:.0%} changed", store)
        peer(f"{changed:.0%} changed")
        back_up("nothing changed", store)
    seconds, _ = timed(lambda: restore_backup(location, folder / "restored"))
    rows.append({"run": "restore", "seconds": seconds, "bytes": objects * body_bytes, "keys": objects})
    print(json.dumps(rows[-1]), flush=True)
    return rows


def main() -> None:
    """Measure, and print a line for each run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=1_000_000)
    parser.add_argument("--body-bytes", type=int, default=1024)
    parser.add_argument("--changed", type=float, default=0.01)
    parser.add_argument("--dir", type=Path, default=None, help="on the disk to measure")
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        rows = measure(Path(folder), options.objects, options.body_bytes, options.changed)
    first = float(str(rows[0]["seconds"]))
    for row in rows:
        sys.stdout.write(
            f"{row['run']:<24} {row['seconds']:>8.2f} s  {float(str(row['seconds'])) / first:>6.3f} of first\n"
        )
    if options.out is not None:
        options.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
