"""What capacity rules cost: a look at a full lake, planning, making room, and what a quota adds to a put.

`python -m benchmarks.capacity`, from the root of the repository. Objects of 128 bytes, stored by the engine alone.
"""

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

from hosu.kernel.settings import Settings
from hosu.objects.blobs import stage_inline
from hosu.objects.put import PutRequest, put_object
from hosu.objects.store import ObjectStore
from hosu.objects.transaction import Tx
from hosu.rules.capacity import CapacityRule, measure, remove_capacity, set_capacity
from hosu.rules.making_room import make_room, plan_room

BUCKET, BODY_BYTES = "bench-list", 128
PUTS, ROUNDS = 5_000, 5
SHARES = (0.0, 0.01, 0.2)
"""Of what the lake holds, how much is to go."""


def timed(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def put_some(store: ObjectStore) -> None:
    """Put objects in one transaction, over those of the round before: nothing grows."""
    body = bytes(BODY_BYTES)
    etag = hashlib.md5(body, usedforsecurity=False).hexdigest()

    def verb(tx: Tx) -> None:
        for number in range(PUTS):
            put_object(tx, PutRequest(BUCKET, f"put/{number}", stage_inline(body), etag))

    store.commit(verb)


def rule_for(store: ObjectStore, share: float) -> CapacityRule:
    """Return the rule by which a share of what the lake holds has to go."""
    held_bytes = store.view().lake_held_bytes()
    return CapacityRule(quota_bytes=2 * held_bytes, high_water=0.5 * (1 - share) if share else 0.9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=1_000_000)
    parser.add_argument("--work", type=Path, default=None, help="a folder for the lake")
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="hosu-capacity-", dir=options.work))
    try:
        run(work / "lake", options.objects)
    finally:
        shutil.rmtree(work)


def run(lake: Path, objects: int) -> None:
    command = [sys.executable, "-m", "benchmarks.bulk", str(lake), "bench", "0", str(objects), str(objects)]
    subprocess.run(command, check=True)
    with ObjectStore(lake) as store:
        put_some(store)
        with_s, without_s = [], []
        for _ in range(ROUNDS):  # in turn, so that both meet the same machine
            store.commit(remove_capacity)
            without_s.append(timed(partial(put_some, store)))
            rule = CapacityRule(quota_bytes=10 * store.view().lake_held_bytes())
            store.commit(partial(set_capacity, rule=rule))
            with_s.append(timed(partial(put_some, store)))
        without_us, with_us = (median(times) / PUTS * 1e6 for times in (without_s, with_s))
        print(f"{objects:,} objects of {BODY_BYTES} bytes")
        print(f"put in a transaction of {PUTS:,}: {without_us:.1f} us, with a quota of the lake {with_us:.1f} us")
        for share in SHARES:
            rule = rule_for(store, share)
            look_ms = median(timed(partial(measure, store, store.view(), rule)) for _ in range(100)) * 1e3
            planned = 0

            def plan(rule: CapacityRule = rule) -> None:
                nonlocal planned
                planned = sum(1 for _ in plan_room(store, store.view(), rule, Settings()))

            plan_s = timed(partial(plan))
            print(f"to go {share:4.0%}: look {look_ms:.3f} ms, plan {plan_s:6.2f} s for {planned:,} objects", end="")
            if 0 < share < max(SHARES):
                store.commit(partial(set_capacity, rule=rule))
                room_s = timed(partial(make_room, store, Settings()))
                print(f", made room in {room_s:.2f} s", end="")
            print()


if __name__ == "__main__":
    main()
