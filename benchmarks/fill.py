"""Lakes with many objects, for start-up and growth: filled once through the engine, kept between runs if asked."""

import json
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.bulk import BODY_BYTES
from benchmarks.peers import Server, start_hosu

CHUNK_KEYS = 500_000
"""Put by one process; between two of them the lake remembers how far it is."""

MARK = "filled.json"
BUCKET = "bench"

__all__ = ["BODY_BYTES", "start_filled"]


def start_filled(lakes: Path, keys: int) -> Server:
    """Start hosu on a lake of `keys` objects, filling it first unless an earlier run left it there.

    The objects lie in the listed bucket under the names of `flows.listed_key`. A lake that was not filled to
    the end continues where it stopped.
    """
    folder = lakes / f"keys-{keys}"
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / MARK
    done = int(json.loads(mark.read_text())["keys"]) if mark.exists() else 0
    if done < keys:
        begun = time.monotonic()
        for first in range(done, keys, CHUNK_KEYS):
            count = min(CHUNK_KEYS, keys - first)
            arguments = [str(folder / "lake"), BUCKET, str(first), str(count), str(keys)]
            subprocess.run([sys.executable, "-m", "benchmarks.bulk", *arguments], check=True)
            mark.write_text(json.dumps({"keys": first + count}))
        print(f"  filled {keys - done:,} keys in {time.monotonic() - begun:.0f} s", flush=True)
    return start_hosu(folder / "lake", folder, f"hosu with {keys:,} keys")
