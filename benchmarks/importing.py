"""How fast a MinIO folder comes in, beside a plain copy of the same folder.

`python -m benchmarks.importing`, from the root of the repository. Each round copies the folder with `cp -r`, syncs its
filesystem, and imports it into a new lake; the import proves every body against its ETag and makes it durable, the
copy does neither. Both read what the page cache holds. Ratios are of the medians.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.minio_drive import DriveVersion, make_bucket, make_drive, write_key

from hosu.lake import open_lake
from hosu.lake.importing.minio_folder import Drive
from hosu.lake.importing.moving import Move
from hosu.lake.importing.planning import Options

KIB, MIB = 1024, 1024 * 1024
SETS = {"4 KiB": (4 * KIB, 10_000), "100 KiB": (100 * KIB, 3_000), "1 MiB": (MIB, 600), "64 MiB": (64 * MIB, 12)}
QUICK = 3


def make_source(folder: Path, size_bytes: int, count: int) -> int:
    """Make a drive with one bucket of objects of a size; return the bytes of all objects."""
    bucket = make_bucket(make_drive(folder), "bench")
    for index in range(count):
        body = os.urandom(size_bytes)
        write_key(bucket, f"{index % 100:02d}/{index:06d}", [DriveVersion(body)])
    return size_bytes * count


def copied(source: Path, target: Path) -> None:
    """Copy a folder, and have it on the disk."""
    subprocess.run(["cp", "-r", str(source), str(target)], check=True)
    subprocess.run(["sync", "-f", str(target)], check=True)


def imported(source: Path, target: Path) -> None:
    """Import a folder; everything of it has to come in."""
    with open_lake(target) as lake:
        report = Move(lake, Drive(source), Options()).run()
    assert report.is_clean, report.refused[:3]


def seconds(work: Callable[[Path, Path], None], source: Path, target: Path) -> tuple[float, float]:
    """Return how long work takes, and of it how long processors worked; what it left is removed again."""
    os.sync()
    began, began_cpu = time.perf_counter(), processor_s()
    work(source, target)
    took, took_cpu = time.perf_counter() - began, processor_s() - began_cpu
    shutil.rmtree(target)
    return took, took_cpu


def processor_s() -> float:
    """Return the seconds that processors have worked for this process and those it has waited for."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def main() -> None:
    """Print a table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--quick", action="store_true", help="a third of the objects, two rounds")
    options.add_argument("--folder", type=Path, help="where to work; the system's temporary folder by default")
    chosen = options.parse_args()
    rounds = 2 if chosen.quick else chosen.rounds
    print("| objects | copy MiB/s | import MiB/s | copy objects/s | import objects/s | ratio | copy, import CPU s |")
    print("|---|---|---|---|---|---|---|")
    for name, (size_bytes, full_count) in SETS.items():
        count = max(2, full_count // QUICK) if chosen.quick else full_count
        with tempfile.TemporaryDirectory(dir=chosen.folder) as place:
            source, target = Path(place) / "source", Path(place) / "target"
            total_bytes = make_source(source, size_bytes, count)
            times: dict[str, list[tuple[float, float]]] = {"copy": [], "import": []}
            for turn in range(rounds):
                works = [("copy", copied), ("import", imported)]
                for label, work in works if turn % 2 else reversed(works):
                    times[label].append(seconds(work, source, target))
        (copy_s, copy_cpu), (import_s, import_cpu) = (
            [statistics.median(column) for column in zip(*times[label], strict=True)] for label in ("copy", "import")
        )
        copied_mib, imported_mib = (total_bytes / MIB / took_s for took_s in (copy_s, import_s))
        print(
            f"| {count:,} × {name} | {copied_mib:,.0f} | {imported_mib:,.0f} | {count / copy_s:,.0f} | "
            f"{count / import_s:,.0f} | {copy_s / import_s:.2f} | {copy_cpu:.2f}, {import_cpu:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
