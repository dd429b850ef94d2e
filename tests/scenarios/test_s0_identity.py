"""S0.11 and S0.12: who may do what in the smart door, set up by MinIO's own clients and tried by stock S3 clients."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from minio import Minio
from minio.error import S3Error
from tests.support.admin import AdminClient, RawAdmin, admin_client, admin_refused
from tests.support.clients import S3Client, boto3_client, refused
from tests.support.server import Endpoint, ServerProcess, isolated_environment

MC = os.environ.get("HOSU_TEST_MC", "")
"""The program `mc`, where there is one."""

BUCKET = "ai-door-system"
PREFIXES = ("images/", "datasets/", "models/", "annotations/")

ACCESS: dict[str, dict[str, str]] = {
    "system": {"images/": "rw"},
    "training": {"datasets/": "r", "models/": "w"},
    "data-manager": {"datasets/": "w"},
    "inference": {"models/": "r"},
    "labelling": {"annotations/": "rw"},
}
"""S0.11: who may read and write below which prefix. Everything else is denied."""


def policy_for(rights: dict[str, str]) -> dict[str, Any]:
    """Return the policy of one service: its objects, and a listing of its prefixes."""
    statements: list[dict[str, Any]] = []
    for letter, actions in (("r", ["s3:GetObject"]), ("w", ["s3:PutObject", "s3:DeleteObject"])):
        resources = [f"arn:aws:s3:::{BUCKET}/{prefix}*" for prefix, held in rights.items() if letter in held]
        if resources:
            statements.append({"Effect": "Allow", "Action": actions, "Resource": resources})
    listed = [f"{prefix}*" for prefix, held in rights.items() if "r" in held]
    if listed:
        condition = {"StringLike": {"s3:prefix": listed}}
        statements.append(
            {
                "Effect": "Allow",
                "Action": ["s3:ListBucket"],
                "Resource": [f"arn:aws:s3:::{BUCKET}"],
                "Condition": condition,
            }
        )
    return {"Version": "2012-10-17", "Statement": statements}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, isolated_shell: None) -> Iterator[Endpoint]:  # noqa: ARG001 - the server inherits the cleaned environment
    folder = tmp_path_factory.mktemp("door")
    settings = {"MINIO_ROOT_USER": "admin", "MINIO_ROOT_PASSWORD": "password123"}
    with ServerProcess(folder / "lake", folder / "server.log", settings) as process:
        yield process.endpoint


@pytest.fixture(scope="module")
def admin(server: Endpoint) -> AdminClient:
    return admin_client(server)


@pytest.fixture(scope="module")
def root(server: Endpoint) -> Iterator[S3Client]:
    client = boto3_client(server)
    client.create_bucket(Bucket=BUCKET)
    for prefix in PREFIXES:
        client.put_object(Bucket=BUCKET, Key=f"{prefix}there.bin", Body=prefix.encode())
    client.put_object(Bucket=BUCKET, Key="readme.txt", Body=b"readme")
    yield client
    client.close()


@pytest.fixture(scope="module")
def services(server: Endpoint, root: S3Client) -> dict[str, tuple[str, str]]:  # noqa: ARG001 - the bucket is there
    """Make a service account for each service; a policy of its own cuts root's rights to the table."""
    found = {}
    for name, rights in ACCESS.items():
        made = json.loads(admin_client(server).add_service_account(name=name, policy=policy_for(rights)))
        found[name] = (made["credentials"]["accessKey"], made["credentials"]["secretKey"])
    return found


class Client:
    """A service's objects, by one of the stock clients."""

    def __init__(self, read: Callable[[str], bytes], write: Callable[[str, bytes], None]) -> None:
        self.read = read
        self.write = write


class DeniedError(Exception):
    """AccessDenied, however the client says it."""


def by_boto3(server: Endpoint, access_key: str, secret: str) -> Client:
    s3 = boto3_client(server, aws_access_key_id=access_key, aws_secret_access_key=secret)

    def call(operation: Callable[..., Any], **arguments: Any) -> Any:
        try:
            return operation(Bucket=BUCKET, **arguments)
        except s3.exceptions.ClientError as error:
            if (error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]) == (
                "AccessDenied",
                403,
            ):
                raise DeniedError from error
            raise

    return Client(
        lambda key: call(s3.get_object, Key=key)["Body"].read(),
        lambda key, body: call(s3.put_object, Key=key, Body=body),
    )


def by_minio(server: Endpoint, access_key: str, secret: str) -> Client:
    client: Any = Minio(server.host, access_key=access_key, secret_key=secret, secure=False, region="us-east-1")

    def call(operation: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return operation(BUCKET, *arguments)
        except S3Error as error:
            if error.code == "AccessDenied":
                raise DeniedError from error
            raise

    return Client(
        lambda key: call(client.get_object, key).read(),
        lambda key, body: call(client.put_object, key, io.BytesIO(body), len(body)),
    )


def by_awscli(server: Endpoint, access_key: str, secret: str) -> Client:
    keys = {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret}
    environment = isolated_environment() | server.environment() | keys

    def write(key: str, body: bytes) -> None:
        run("-", f"s3://{BUCKET}/{key}", stdin=body)

    def run(*words: str, stdin: bytes = b"") -> bytes:
        command = [sys.executable, "-m", "awscli", "s3", "cp", *words]
        done = subprocess.run(command, check=False, capture_output=True, env=environment, input=stdin, timeout=60)
        if b"AccessDenied" in done.stderr or b"(403)" in done.stderr:
            raise DeniedError(done.stderr)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return Client(lambda key: run(f"s3://{BUCKET}/{key}", "-"), write)


def outcome(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except DeniedError:
        return False
    return True


@pytest.mark.parametrize("make", [by_boto3, by_minio], ids=["boto3", "minio-py"])
@pytest.mark.parametrize("service", sorted(ACCESS))
def test_each_service_has_its_row_of_the_table_and_nothing_else(
    server: Endpoint, services: dict[str, tuple[str, str]], service: str, make: Callable[..., Client]
) -> None:
    client, rights = make(server, *services[service]), ACCESS[service]
    for prefix in PREFIXES:
        held = rights.get(prefix, "")
        assert outcome(lambda: client.read(f"{prefix}there.bin")) is ("r" in held), prefix  # noqa: B023 - asked at once
        assert outcome(lambda: client.write(f"{prefix}new.bin", b"new")) is ("w" in held), prefix  # noqa: B023 - as above
    for key in ("readme.txt", "image.jpg", "imagesX/a", "else/where"):
        assert not outcome(lambda: client.read(key)), key  # noqa: B023 - as above
        assert not outcome(lambda: client.write(key, b"new")), key  # noqa: B023 - as above


def test_awscli_meets_the_same_table(server: Endpoint, services: dict[str, tuple[str, str]]) -> None:
    training = by_awscli(server, *services["training"])
    assert training.read("datasets/there.bin") == b"datasets/"
    training.write("models/training/v1.0.0/best.pt", b"a model")
    assert not outcome(lambda: training.read("images/there.bin"))
    assert not outcome(lambda: training.write("datasets/new.bin", b"new"))


def test_listings_and_deletes_follow_the_table(
    server: Endpoint, services: dict[str, tuple[str, str]], root: S3Client
) -> None:
    system, inference = (
        boto3_client(server, aws_access_key_id=services[name][0], aws_secret_access_key=services[name][1])
        for name in ("system", "inference")
    )
    assert system.list_objects_v2(Bucket=BUCKET, Prefix="images/")["KeyCount"] >= 1
    for prefix in ("", "models/", "image"):
        with refused("AccessDenied", 403):
            system.list_objects_v2(Bucket=BUCKET, Prefix=prefix)
    root.put_object(Bucket=BUCKET, Key="images/doomed.bin", Body=b"x")
    with refused("AccessDenied", 403):
        inference.delete_object(Bucket=BUCKET, Key="images/doomed.bin")
    system.delete_object(Bucket=BUCKET, Key="images/doomed.bin")
    with refused("AccessDenied", 403):
        system.delete_bucket(Bucket=BUCKET)
    with refused("AccessDenied", 403):
        system.create_bucket(Bucket="another-bucket")
    batch = inference.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "models/there.bin"}]})
    assert [error["Code"] for error in batch["Errors"]] == ["AccessDenied"]


def test_the_same_table_holds_for_users_with_policies(server: Endpoint, admin: AdminClient, root: S3Client) -> None:
    del root
    for name, rights in ACCESS.items():
        admin.user_add(f"user-{name}", f"secret-of-{name}")
        admin.policy_add(f"door-{name}", policy=policy_for(rights))
        admin.attach_policy([f"door-{name}"], user=f"user-{name}")
        client = by_boto3(server, f"user-{name}", f"secret-of-{name}")
        for prefix in PREFIXES:
            held = rights.get(prefix, "")
            assert outcome(lambda: client.read(f"{prefix}there.bin")) is ("r" in held), (name, prefix)  # noqa: B023 - asked at once
            assert outcome(lambda: client.write(f"{prefix}user.bin", b"new")) is ("w" in held), (name, prefix)  # noqa: B023 - as above


# S0.12

READONLY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:ListBucket", "s3:GetBucketLocation"],
            "Resource": [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"],
        }
    ],
}


def may_read_only(viewer: S3Client) -> None:
    """Hold a viewer to the policy of a file named `readonly`, which is not the built-in one: it lists, too."""
    assert viewer.get_object(Bucket=BUCKET, Key="readme.txt")["Body"].read() == b"readme"
    assert viewer.list_objects_v2(Bucket=BUCKET)["KeyCount"] >= 5
    with refused("AccessDenied", 403):
        viewer.put_object(Bucket=BUCKET, Key="readme.txt", Body=b"changed")
    with refused("AccessDenied", 403):
        viewer.delete_object(Bucket=BUCKET, Key="readme.txt")


def viewer_of(server: Endpoint, name: str) -> S3Client:
    return boto3_client(server, aws_access_key_id=name, aws_secret_access_key="viewer-password")


def test_a_readonly_policy_from_a_file_for_a_viewer(
    server: Endpoint, admin: AdminClient, root: S3Client, tmp_path: Path
) -> None:
    del root
    file = tmp_path / "readonly-policy.json"
    file.write_text(json.dumps(READONLY))
    admin.policy_add("readonly", policy_file=str(file))
    admin.user_add("viewer", "viewer-password")
    admin.attach_policy(["readonly"], user="viewer")
    may_read_only(viewer_of(server, "viewer"))
    with admin_refused("AccessDenied", 403):
        admin_client(server, "viewer", "viewer-password").user_list()
    admin.policy_remove("readonly")
    with refused("AccessDenied", 403):  # the built-in policy is back: it reads, and lists nothing
        viewer_of(server, "viewer").list_objects_v2(Bucket=BUCKET)
    viewer_of(server, "viewer").get_object(Bucket=BUCKET, Key="readme.txt")


def test_older_clients_set_policies_with_the_call_of_their_time(
    server: Endpoint, admin: AdminClient, root: S3Client
) -> None:
    del root
    admin.policy_add("door-view", policy=READONLY)
    admin.user_add("viewer2", "viewer-password")
    answer = RawAdmin(server).send(
        "PUT", "set-user-or-group-policy", {"policyName": "door-view", "userOrGroup": "viewer2", "isGroup": "false"}
    )
    assert answer.status == 200
    may_read_only(viewer_of(server, "viewer2"))


def mc_for(server: Endpoint, folder: Path) -> Callable[..., str]:
    """Return what runs `mc` with an alias `door`, as root."""

    def mc(*words: str) -> str:
        command = [MC, "--config-dir", str(folder / "mc"), *words]
        done = subprocess.run(command, check=True, capture_output=True, encoding="utf-8", timeout=60)
        return str(done.stdout)

    mc("alias", "set", "door", server.url, server.access_key, server.secret_key)
    return mc


if MC:  # built from its public source by whoever wants to; nothing depends on it

    def test_mc_works_with_objects_as_in_s0_3(server: Endpoint, tmp_path: Path) -> None:
        mc = mc_for(server, tmp_path)
        photo = tmp_path / "capture_001.jpg"
        photo.write_bytes(bytes(30_000))
        (tmp_path / ".keep").touch()
        mc("mb", "door/mc-bucket")
        mc("cp", str(photo), "door/mc-bucket/images/raw/2025-08-08/capture_001.jpg")
        mc("cp", str(tmp_path / ".keep"), "door/mc-bucket/annotations/pending/.keep")
        listed = mc("ls", "--recursive", "door/mc-bucket")
        assert "images/raw/2025-08-08/capture_001.jpg" in listed
        assert "annotations/pending/.keep" in listed
        assert "2 objects" in mc("du", "door/mc-bucket")
        mc("anonymous", "list", "door/mc-bucket")
        mc("cp", "door/mc-bucket/images/raw/2025-08-08/capture_001.jpg", str(tmp_path / "back.jpg"))
        assert (tmp_path / "back.jpg").read_bytes() == photo.read_bytes()
        mc("rb", "--force", "door/mc-bucket")

    def test_mc_sets_up_a_viewer_with_todays_verbs(server: Endpoint, root: S3Client, tmp_path: Path) -> None:
        del root
        file = tmp_path / "policy.json"
        file.write_text(json.dumps(READONLY))

        mc = mc_for(server, tmp_path)
        mc("admin", "policy", "create", "door", "mc-view", str(file))
        mc("admin", "user", "add", "door", "viewer3", "viewer-password")
        assert "mc-view" in mc("admin", "policy", "attach", "door", "mc-view", "--user", "viewer3")
        assert "viewer3" in mc("admin", "user", "list", "door")
        may_read_only(viewer_of(server, "viewer3"))
        mc("admin", "policy", "detach", "door", "mc-view", "--user", "viewer3")
        with refused("AccessDenied", 403):
            viewer_of(server, "viewer3").get_object(Bucket=BUCKET, Key="readme.txt")
