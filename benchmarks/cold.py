"""What the class COLD costs and saves: `python -m benchmarks.cold`, from the root of the repository.

By default, one server: GET of the same bodies from the classes STANDARD and COLD, which take turns in each round, and
what each takes of the disk. `--codecs` measures the codecs themselves on one thread instead, `--frames` by frame size
and by level: what the format was chosen by. Pictures are made like photos; other bodies are a table and a log.
"""

import argparse
import os
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import boto3
from benchmarks.encryption import Client, cpu_s
from benchmarks.sign import Signer
from botocore.config import Config
from tests.support.pictures import photo
from tests.support.server import ServerProcess

from hosu.objects.coding.frames import compress, decompress
from hosu.objects.coding.jpeg import from_jxl, to_jxl
from hosu.objects.store import ObjectStore

KIB, MIB = 1024, 1024 * 1024
CONNECTIONS = 4
REQUESTS = 200
SIZES = ((640, 480), (1280, 960))
FRAMES_KIB = (64, 128, 256, 512, 1024)
LEVELS = (3, 6, 9)
CLASSES = ("STANDARD", "COLD")
WAIT_S_MAX = 300.0


def table(rows: int, seed: int = 1) -> bytes:
    """Return readings as CSV."""
    chance = random.Random(seed)
    moment, lines = 1_700_000_000, []
    for _ in range(rows):
        moment += chance.randint(1, 5)
        state = chance.choice(("ok", "ok", "ok", "warn", "fail"))
        lines.append(f"{moment},sensor-{chance.randint(1, 40)},{chance.gauss(20, 3):.3f},{state}\n")
    return "".join(lines).encode()


def log(rows: int, seed: int = 1) -> bytes:
    """Return lines of JSON."""
    chance = random.Random(seed)
    lines = [
        f'{{"id":{number},"at":{1_700_000_000 + 3 * number},"took":{chance.random():.4f},'
        f'"user":"u{chance.randint(1, 500)}"}}\n'
        for number in range(rows)
    ]
    return "".join(lines).encode()


def pictures(count: int, width: int, height: int) -> list[bytes]:
    """Return JPEG files."""
    return [photo(width, height, seed) for seed in range(count)]


def rate(work: Callable[[], object], count: float) -> float:
    """Return how many a second of a processor makes, the best of three tries; others may use the machine meanwhile."""
    best = 0.0
    for _ in range(3):
        begun = time.process_time()
        work()
        best = max(best, count / (time.process_time() - begun))
    return best


def codecs(count: int) -> None:
    """Print what both codecs make, on one thread."""
    for width, height in SIZES:
        plain = pictures(count, width, height)
        coded = [found for found in map(to_jxl, plain) if found is not None]
        assert [from_jxl(one, len(whole), 0) for one, whole in zip(coded, plain, strict=True)] == plain
        pairs = [(one, len(whole)) for one, whole in zip(coded, plain, strict=True)]
        size, stored = sum(map(len, plain)), sum(map(len, coded))
        into = rate(lambda plain=plain: [to_jxl(one) for one in plain], count)  # type: ignore[misc]
        back = rate(lambda pairs=pairs: [from_jxl(one, whole, 0) for one, whole in pairs], count)  # type: ignore[misc]
        print(
            f"JPEG {width} × {height}, {size / count / KIB:,.0f} KiB: {stored / size:.3f} of the size, "
            f"{into:,.0f}/s in, {back:,.0f}/s out"
        )
    for name, body in {"table": table(150_000), "log": log(80_000)}.items():
        runs = [body[at : at + 256 * KIB] for at in range(0, len(body), 256 * KIB)]
        frames = [compress(run) for run in runs]
        into = rate(lambda runs=runs: [compress(run) for run in runs], len(body) / MIB)  # type: ignore[misc]
        back = rate(
            lambda runs=runs, frames=frames: [  # type: ignore[misc]
                decompress(one, len(run), 0) for one, run in zip(frames, runs, strict=True)
            ],
            len(body) / MIB,
        )
        share = sum(map(len, frames)) / len(body)
        print(f"{name}: {share:.3f} of the size, {into:,.0f} MiB/s in, {back:,.0f} MiB/s out")


def frames() -> None:
    """Print what Zstandard makes by size of frame and by level."""
    bodies = [table(150_000), log(80_000), random.Random(1).randbytes(2 * MIB)]
    size = sum(map(len, bodies))
    for frame_kib in FRAMES_KIB:
        runs = [body[at : at + frame_kib * KIB] for body in bodies for at in range(0, len(body), frame_kib * KIB)]
        for level in LEVELS:
            coded = [compress(run, level) for run in runs]
            into = rate(lambda runs=runs, level=level: [compress(run, level) for run in runs], size / MIB)  # type: ignore[misc]
            pairs = [(one, len(run)) for one, run in zip(coded, runs, strict=True)]
            back = rate(lambda pairs=pairs: [decompress(one, whole, 0) for one, whole in pairs], size / MIB)  # type: ignore[misc]
            share = sum(map(len, coded)) / size
            print(f"{frame_kib:5} KiB, level {level}: {share:.4f}, {into:6,.0f} MiB/s in, {back:6,.0f} MiB/s out")


def turn(server: ServerProcess, storage_class: str, keys: list[tuple[str, int]]) -> tuple[float, float]:
    """Read objects of a class; return objects per second and the server's CPU milliseconds for each."""
    signer = Signer(server.endpoint.host, server.access_key, server.secret_key)
    clients = [Client(server.port) for _ in range(CONNECTIONS)]

    def work(index: int) -> None:
        for number in range(REQUESTS // CONNECTIONS):
            key, size_bytes = keys[(index + number) % len(keys)]
            clients[index].ask(signer.head("GET", f"/{storage_class.lower()}/{key}"), b"", size_bytes)

    before, begun = cpu_s(server.pid), time.perf_counter()
    threads = [threading.Thread(target=work, args=(index,)) for index in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return REQUESTS / (time.perf_counter() - begun), (cpu_s(server.pid) - before) / REQUESTS * 1000


def wait_until_compressed(lake: Path) -> float:
    """Wait for the keeper; return how many seconds it took."""
    begun = time.perf_counter()
    with ObjectStore(lake) as store:
        while store.view().value("SELECT EXISTS (SELECT 1 FROM uncoded)"):
            assert time.perf_counter() - begun < WAIT_S_MAX, "the keeper compresses nothing"
            time.sleep(0.2)
    return time.perf_counter() - begun


def stored_share(lake: Path) -> float:
    """Return what compressed blobs take, as a share of the bytes they stand for."""
    with ObjectStore(lake) as store:
        size, coded = store.view().rows("SELECT sum(size_bytes), sum(coded_bytes) FROM blob WHERE coding IS NOT NULL")[
            0
        ]
    return float(coded / size)


def run(rounds: int, count: int) -> None:
    """Interleave both classes, and print medians."""
    bodies = {
        "pictures": pictures(count, *SIZES[-1]),
        "tables of 4 MiB": [table(130_000, seed)[: 4 * MIB] for seed in range(4)],
        "logs of 64 KiB": [log(1_200, seed)[: 64 * KIB] for seed in range(count)],
    }
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/tmp")) as scratch:
        server = ServerProcess(Path(scratch, "lake"), Path(scratch, "log"))
        with server:
            client = boto3.client(
                "s3", endpoint_url=server.endpoint.url, aws_access_key_id=server.access_key, region_name="us-east-1",
                aws_secret_access_key=server.secret_key, config=Config(s3={"addressing_style": "path"}),
            )  # fmt: skip
            keys: dict[str, list[tuple[str, int]]] = {}
            for storage_class in CLASSES:
                client.create_bucket(Bucket=storage_class.lower())
                for kind, found in bodies.items():
                    named = [(f"{kind.replace(' ', '-')}-{number}", body) for number, body in enumerate(found)]
                    keys[kind] = [(key, len(body)) for key, body in named]
                    for key, body in named:
                        client.put_object(Bucket=storage_class.lower(), Key=key, Body=body, StorageClass=storage_class)
            print(f"compressed within {wait_until_compressed(server.directory):.1f} s of the last put")
            print(f"on the disk: {stored_share(server.directory):.3f} of the size")
            for kind, read in keys.items():
                turns = {storage_class: [turn(server, storage_class, read)] for storage_class in CLASSES}
                for _ in range(rounds - 1):
                    for storage_class in CLASSES:
                        turns[storage_class].append(turn(server, storage_class, read))
                for storage_class, each in turns.items():
                    pairs = zip(each, turns["STANDARD"], strict=True)
                    ratio = statistics.median(one[0] / plain[0] for one, plain in pairs)
                    per_s, cpu_ms = (statistics.median(column) for column in zip(*each, strict=True))
                    print(
                        f"GET {kind:16} {storage_class:9} {per_s:8,.0f}/s {ratio:5.2f} of STANDARD {cpu_ms:6.2f} CPU ms"
                    )


def main() -> None:
    """Compare classes, codecs or frames."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=20)
    parser.add_argument("--codecs", action="store_true", help="measure the codecs themselves")
    parser.add_argument("--frames", action="store_true", help="measure Zstandard by size of frame and level")
    arguments = parser.parse_args()
    if arguments.codecs:
        codecs(arguments.pictures)
    elif arguments.frames:
        frames()
    else:
        run(arguments.rounds, arguments.pictures)


if __name__ == "__main__":
    main()
