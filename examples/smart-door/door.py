"""The services of a smart door, each with the key that `hosu init --template smart-door` made for it."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

from minio import Minio
from minio.error import S3Error

BUCKET = "ai-door-system"
LAKE = os.environ["EXAMPLE_LAKE"]
LINES = [json.loads(line) for line in Path(os.environ["EXAMPLE_SECRETS"]).read_text().splitlines()]
SECRETS = {line["access_key"]: line["secret"] for line in LINES if line["kind"] == "secret"}


def client(user: str) -> Minio:
    """Return the client of one service."""
    return Minio(os.environ["EXAMPLE_ENDPOINT"], access_key=user, secret_key=SECRETS[user], secure=False)


def put(user: str, key: str, body: bytes) -> None:
    """Store an object as a service."""
    client(user).put_object(BUCKET, key, io.BytesIO(body), len(body))
    print(f"{user:<18} put  {key}")


def get(user: str, key: str) -> bytes:
    """Read an object as a service."""
    answer = client(user).get_object(BUCKET, key)
    try:
        body = bytes(answer.data)
    finally:
        answer.close()
        answer.release_conn()
    print(f"{user:<18} read {key}: {len(body)} bytes")
    return body


def switch(target: str) -> None:
    """Take a model into production, as its operator does on the lake's machine."""
    words = ["alias", "set", LAKE, BUCKET, "models/production/current/", target]
    subprocess.run([sys.executable, "-m", "hosu", *words], check=True)


def main() -> None:
    """Run a day at the door."""
    put("door-system", "images/raw/2025-08-08/capture_001.jpg", b"\xff\xd8 a photo \xff\xd9")
    put("door-labelling", "annotations/labeled/capture_001.json", b'{"class": "cat"}')
    put("door-data-manager", "datasets/v1/data.yaml", b"names: [cat, dog]\n")
    assert get("door-training", "datasets/current/data.yaml") == b"names: [cat, dog]\n"

    put("door-training", "models/training/v1.0.0/best.pt", b"weights 1")
    assert get("door-inference", "models/production/current/best.pt") == b"weights 1"
    put("door-training", "models/training/v2.0.0/best.pt", b"weights 2")
    switch("models/training/v2.0.0/")
    assert get("door-inference", "models/production/current/best.pt") == b"weights 2"

    for user, key in (("door-inference", "images/raw/2025-08-08/capture_001.jpg"), ("door-system", "models/x.pt")):
        try:
            get(user, key)
        except S3Error as error:
            print(f"{user:<18} may not read {key}: {error.code}")
        else:
            raise AssertionError(f"{user} may read {key}")


if __name__ == "__main__":
    main()
