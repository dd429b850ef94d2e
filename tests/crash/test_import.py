"""An import is killed again and again; what it had brought is whole, and the last run ends with everything, once."""

import os
import random
import subprocess
import sys
from pathlib import Path

from tests.support.minio_drive import DriveVersion, make_bucket, make_drive, write_key
from tests.support.server import isolated_environment

import hosu
from hosu.objects.listing import list_versions
from hosu.objects.store import ObjectStore
from hosu.objects.sweep import sweep
from hosu.testing.lake_check import find_faults, find_orphans

ROUNDS = 30 if os.environ.get("HOSU_NIGHTLY") == "1" else 4
KEYS = 600
EDITIONS = (1, 2)
LARGE_EVERY = 5
VERSIONS_MAX = 700
"""The most versions that a run reads before it is killed."""

KILLED = """
import os, signal, sys
from hosu.cli.main import main
from hosu.lake.importing import moving

left, stage = [int(sys.argv.pop())], moving.stage_version

def counted(*arguments):
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return stage(*arguments)

moving.stage_version = counted
main()
"""
"""The command, which ends itself in the middle of its work; 0 never does."""


def body_of(index: int, edition: int) -> bytes:
    return f"{index}/{edition} ".encode() * (2_500 if index % LARGE_EVERY == 0 else 20)


def make_source(folder: Path) -> Path:
    bucket = make_bucket(make_drive(folder), "bkt")
    for index in range(KEYS):
        versions = [
            DriveVersion(body_of(index, edition), version_id=bytes([edition]) * 16, modified_ns=edition * 10**18)
            for edition in EDITIONS
        ]
        write_key(bucket, f"k{index:03d}", versions)
    return folder


def start(source: Path, lake: Path, versions: int = 0) -> "subprocess.Popen[bytes]":
    words = ["import", "minio", str(source), str(lake), "--quiet", "--jobs", "2", str(versions)]
    environment = isolated_environment() | {"PYTHONPATH": str(Path(hosu.__file__).parents[1])}
    command = [sys.executable, "-c", KILLED, *words]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def held(lake: Path) -> dict[str, list[bytes]]:
    """Return the bodies of every key, the oldest first; nothing may be wrong with the lake."""
    found: dict[str, list[bytes]] = {}
    with hosu.open(lake, create=False) as opened:
        assert find_faults(opened.store) == []
        for bucket in opened.buckets():
            for record in list_versions(opened.store.view(), bucket.name, limit=10 * KEYS).records:
                body = bucket.get(record.key, version=record.version_id)
                found.setdefault(record.key, []).insert(0, body)
    return found


def test_a_killed_import_goes_on_where_it_ended(tmp_path: Path) -> None:
    chance = random.Random(os.environ.get("HOSU_SEED", "import"))
    source, lake = make_source(tmp_path / "drive"), tmp_path / "lake"
    expected = {f"k{index:03d}": [body_of(index, edition) for edition in EDITIONS] for index in range(KEYS)}
    counts = []
    for _ in range(ROUNDS):
        process = start(source, lake, chance.randint(1, VERSIONS_MAX))
        process.communicate()
        if not (lake / "format").exists():
            continue
        for key, bodies in (found := held(lake)).items():
            assert bodies == expected[key], "a key is there with all its versions, or not at all"
        counts.append(len(found))
    assert counts == sorted(counts), "nothing that had come is lost"
    assert any(0 < count < KEYS for count in counts), "no run was killed in the middle"
    output, errors = start(source, lake).communicate(timeout=100)
    assert output.decode().splitlines()[-1].endswith("nothing is missing"), errors.decode()
    assert held(lake) == expected
    with ObjectStore(lake) as store:
        sweep(store, grace_ms=0, orphan_ms=0)
        assert find_orphans(store) == set()
