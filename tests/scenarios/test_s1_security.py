"""S1.11: a team's lake is served over TLS and kept encrypted, and its secrets and keys change while work goes on."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.support.certificates import make_certificate
from tests.support.clients import MIB, S3Client, boto3_client, patterned, refused
from tests.support.server import Endpoint, ServerProcess, isolated_environment

MARK = b"customer 4711 bought a lock. "
BODY = MARK * 200_000
SMALL = MARK * 3


@dataclass
class Site:
    """One team's machine: the lake on one disk, its keys and certificates on another."""

    lake: Path
    vault: Path
    log: Path
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def lake_key(self) -> Path:
        return self.vault / "lake.key"

    @property
    def certificate(self) -> Path:
        return self.vault / "certs" / "public.crt"

    def hosu(self, *arguments: str) -> Any:
        """Run our own command with --json; return the last line it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "hosu", *arguments, "--json"],
            check=False, capture_output=True, text=True, timeout=60,
            env=isolated_environment() | {"HOSU_LAKE_KEY_FILE": str(self.lake_key)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    def serve(self) -> ServerProcess:
        return ServerProcess(self.lake, self.log, self.settings)

    def client(self, process: ServerProcess, access_key: str = "", secret: str = "") -> S3Client:
        endpoint = process.endpoint
        if access_key:
            endpoint = Endpoint(endpoint.url, access_key, secret)
        return boto3_client(endpoint, verify=str(self.certificate))


@pytest.fixture
def site(tmp_path: Path, isolated_shell: None) -> Site:  # noqa: ARG001 - the server inherits the cleaned environment
    made = Site(tmp_path / "lake", tmp_path / "vault", tmp_path / "server.log")
    made.vault.mkdir()
    make_certificate(made.vault / "certs")
    command = [sys.executable, "-m", "hosu", "lakekey", "generate"]
    key = subprocess.run(command, check=True, capture_output=True, env=isolated_environment(), timeout=60).stdout
    made.lake_key.write_bytes(key)
    made.lake_key.chmod(0o600)
    made.settings |= {"HOSU_LAKE_KEY_FILE": str(made.lake_key), "HOSU_CERTS_DIR": str(made.vault / "certs")}
    return made


def fill(s3: S3Client) -> dict[str, bytes]:
    """Store objects small and large below a bucket default, put whole, in parts and as copies; return them."""
    s3.create_bucket(Bucket="gold")
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    s3.put_bucket_encryption(Bucket="gold", ServerSideEncryptionConfiguration={"Rules": [rule]})
    s3.put_object(Bucket="gold", Key="small", Body=SMALL)
    s3.put_object(Bucket="gold", Key="large", Body=BODY)
    s3.copy_object(Bucket="gold", Key="copy", CopySource={"Bucket": "gold", "Key": "large"})
    upload = s3.create_multipart_upload(Bucket="gold", Key="parts")["UploadId"]
    named = {"Bucket": "gold", "Key": "parts", "UploadId": upload}
    first = patterned(5 * MIB) + BODY
    parts = [
        {"PartNumber": number, "ETag": s3.upload_part(**named, PartNumber=number, Body=body)["ETag"]}
        for number, body in enumerate((first, SMALL), 1)
    ]
    s3.complete_multipart_upload(**named, MultipartUpload={"Parts": parts})
    return {"small": SMALL, "large": BODY, "copy": BODY, "parts": first + SMALL}


def check(s3: S3Client, objects: dict[str, bytes]) -> None:
    for key, body in objects.items():
        got = s3.get_object(Bucket="gold", Key=key)
        assert (got["Body"].read(), got["ServerSideEncryption"]) == (body, "AES256"), key


def everything_below(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_who_takes_the_disk_has_nothing_to_read(site: Site) -> None:
    with site.serve() as process:
        s3 = site.client(process)
        objects = fill(s3)
        check(s3, objects)
        stored = everything_below(site.lake)
        assert len(stored) > sum(map(len, (BODY, objects["parts"])))
        assert MARK not in stored
        assert patterned(5 * MIB)[:4096] not in stored
        assert site.lake_key.read_bytes().strip() not in stored
        s3.close()


def test_the_lake_key_is_changed_and_the_old_one_opens_nothing_any_more(site: Site) -> None:
    with site.serve() as process:
        objects = fill(site.client(process))
    command = [sys.executable, "-m", "hosu", "lakekey", "generate"]
    new = site.vault / "new.key"
    new.write_bytes(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout)
    assert site.hosu("lakekey", "rotate", str(site.lake), str(new))["named_keys"] >= 1
    before = {path: path.read_bytes() for path in site.lake.rglob("*") if path.is_file()}
    refused_start = subprocess.run(
        [sys.executable, "-m", "hosu", "serve", str(site.lake), "--address", "127.0.0.1:0"],
        check=False, capture_output=True, text=True, env=isolated_environment() | site.settings, timeout=60,
    )  # fmt: skip
    assert refused_start.returncode == 1
    assert "key" in refused_start.stderr
    assert {path: path.read_bytes() for path in site.lake.rglob("*") if path.is_file()} == before
    new.replace(site.lake_key)
    with site.serve() as process:
        check(site.client(process), objects)


def test_named_keys_are_rotated_while_readers_read(site: Site) -> None:
    with site.serve() as process:
        s3 = site.client(process)
        objects = fill(s3)
        site.hosu("kms", "create", str(site.lake), "models")
        named = {"Bucket": "gold", "Key": "model", "ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "models"}
        s3.put_object(**named, Body=b"first")
        assert site.hosu("kms", "rotate", str(site.lake), "models")["version"] == 2
        s3.put_object(**named | {"Key": "model-2"}, Body=b"second")
        assert s3.get_object(Bucket="gold", Key="model")["Body"].read() == b"first"
        assert site.hosu("kms", "rewrap", str(site.lake), "models")["rewrapped"] == 1
        for key, body in (("model", b"first"), ("model-2", b"second")):
            assert s3.get_object(Bucket="gold", Key=key)["Body"].read() == body
        check(s3, objects)
        s3.close()


def test_a_secret_is_changed_without_a_single_refusal(site: Site) -> None:
    with site.serve() as process:
        root = site.client(process)
        fill(root)
        secret = site.hosu("user", "add", str(site.lake), "etl", "--policy", "readwrite")["secret"]
        failures: list[BaseException] = []
        done = threading.Event()
        answered = [0, 0]

        def work(client: S3Client, which: int) -> None:
            try:
                while not done.is_set():
                    assert client.get_object(Bucket="gold", Key="small")["Body"].read() == SMALL
                    answered[which] += 1
            except BaseException as error:
                failures.append(error)
                raise

        old = site.client(process, "etl", secret)
        workers = [threading.Thread(target=work, args=(old, 0))]
        workers[0].start()
        with contextlib.ExitStack() as ending:
            ending.callback(workers[0].join, 30)
            ending.callback(done.set)
            new_secret = site.hosu("key", "rotate", str(site.lake), "etl", "--overlap", "1h")["secret"]
            assert new_secret != secret
            new = site.client(process, "etl", new_secret)
            workers.append(threading.Thread(target=work, args=(new, 1)))
            workers[1].start()
            ending.callback(workers[1].join, 30)
            ending.callback(done.set)
            before = answered[0]
            while not failures and (answered[0] < before + 5 or answered[1] < 5):
                done.wait(0.01)
        assert failures == []
        site.hosu("key", "rotate", str(site.lake), "etl", "--overlap", "0s")  # a leak: the old one ends at once
        for client in (old, new):
            with refused("SignatureDoesNotMatch", 403):
                client.get_object(Bucket="gold", Key="small")
        for client in (old, new, root):
            client.close()


def test_certificates_are_renewed_while_clients_work(site: Site) -> None:
    with site.serve() as process:
        s3 = site.client(process)
        objects = fill(s3)
        first = site.certificate.read_bytes()
        make_certificate(site.vault / "certs")
        os.kill(process.pid, signal.SIGHUP)
        for _ in range(20):
            check(s3, {"small": objects["small"]})  # its connection is as old as the first certificate
        while "certificates were replaced" not in process.log_tail():
            check(s3, {"small": objects["small"]})
        fresh = site.client(process)
        check(fresh, objects)
        assert first != site.certificate.read_bytes()
        for client in (s3, fresh):
            client.close()


def test_what_only_its_writer_may_read_is_closed_to_root_too(site: Site) -> None:
    with site.serve() as process:
        s3 = site.client(process)
        s3.create_bucket(Bucket="private")
        own = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": os.urandom(32)}
        s3.put_object(Bucket="private", Key="payroll", Body=BODY, **own)
        with refused("InvalidRequest", 400):
            s3.get_object(Bucket="private", Key="payroll")
        assert s3.get_object(Bucket="private", Key="payroll", **own)["Body"].read() == BODY
        assert MARK not in everything_below(site.lake)
        s3.close()
