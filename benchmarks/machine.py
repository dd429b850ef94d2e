"""What the machine can do without any server, and what machine it is."""

import datetime as dt
import hashlib
import os
import platform
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import blake3
from benchmarks.flows import KIB, MIB, payload

WRITE_BYTES = 512 * KIB
APPEND_BYTES = 4 * KIB
HASH_BYTES = 64 * MIB


def limits(folder: Path, seconds: float) -> dict[str, float]:
    """Measure each limit once, each for at most about `seconds`.

    Returns fsync_per_s (one thread, 4 KiB append and fdatasync), write_mib_s (512 KiB calls, one fsync at the
    end), md5_mib_s and blake3_mib_s (one thread each).
    """
    block = payload(HASH_BYTES)
    return {
        "fsync_per_s": _fsync_rate(folder / "fsync.bin", seconds),
        "write_mib_s": _write_rate(folder / "write.bin", seconds),
        "md5_mib_s": _hash_rate(lambda data: hashlib.md5(data, usedforsecurity=False).digest(), block, seconds),
        "blake3_mib_s": _hash_rate(lambda data: blake3.blake3(data).digest(), block, seconds),
    }


def _fsync_rate(path: Path, seconds: float) -> float:
    data = bytes(payload(APPEND_BYTES))
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    count = 0
    try:
        begun = time.perf_counter()
        while (elapsed := time.perf_counter() - begun) < seconds:
            os.write(descriptor, data)
            os.fdatasync(descriptor)
            count += 1
    finally:
        os.close(descriptor)
        path.unlink()
    return count / elapsed


def _write_rate(path: Path, seconds: float) -> float:
    """Write 64 MiB files, each synced before it counts, as a server has to."""
    data = payload(HASH_BYTES)
    written = 0
    begun = time.perf_counter()
    while (elapsed := time.perf_counter() - begun) < seconds:
        descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        for at in range(0, HASH_BYTES, WRITE_BYTES):
            os.write(descriptor, data[at : at + WRITE_BYTES])
        os.fsync(descriptor)
        os.close(descriptor)
        written += HASH_BYTES
    path.unlink()
    return written / MIB / elapsed


def _hash_rate(digest: Callable[[memoryview], bytes], block: memoryview, seconds: float) -> float:
    hashed = 0
    begun = time.perf_counter()
    while (elapsed := time.perf_counter() - begun) < seconds:
        digest(block)
        hashed += len(block)
    return hashed / MIB / elapsed


def facts(folder: Path) -> dict[str, object]:
    """Return what a reader needs to compare figures of two machines."""
    return {
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "filesystem": _filesystem(folder),
        "python": sys.version.split()[0],
        "versions": {
            name: _version(name) for name in ("hosu", "apsw", "blake3", "boto3", "httptools", "moto", "uvloop")
        },
        "load_average_before": round(os.getloadavg()[0], 2),
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _filesystem(folder: Path) -> str:
    """Return the type of the filesystem that holds a folder."""
    best, kind = "", "unknown"
    for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
        _, mount, found = line.split()[:3]
        if folder.resolve().is_relative_to(mount) and len(mount) >= len(best):
            best, kind = mount, found
    return kind


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "source tree" if name == "hosu" else "absent"
