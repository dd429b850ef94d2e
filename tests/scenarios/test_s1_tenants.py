"""S1.12: teams on one lake see their own buckets and no others, and none takes more room than it was given."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from tests.support.admin import AdminClient, admin_client
from tests.support.clients import S3Client, boto3_client, race, refused, refused_head
from tests.support.server import Endpoint, ServerProcess

TEAMS = {"analytics": ["ana-bronze", "ana-gold"], "vision": ["vis-images"]}
KIB = 1024


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, isolated_shell: None) -> Iterator[Endpoint]:  # noqa: ARG001 - the server inherits the cleaned environment
    folder = tmp_path_factory.mktemp("tenants")
    with ServerProcess(folder / "lake", folder / "server.log", {"HOSU_WORKERS": "2"}) as process:
        yield process.endpoint


@pytest.fixture(scope="module")
def admin(server: Endpoint) -> AdminClient:
    return admin_client(server)


@pytest.fixture(scope="module")
def root(server: Endpoint) -> S3Client:
    return boto3_client(server)


@pytest.fixture(scope="module")
def members(server: Endpoint, admin: AdminClient, root: S3Client) -> dict[str, S3Client]:
    """Make two members of each team; what they may do, their group gives them."""
    found = {}
    for team, buckets in TEAMS.items():
        for bucket in buckets:
            root.create_bucket(Bucket=bucket)
        resources = [f"arn:aws:s3:::{bucket}{rest}" for bucket in buckets for rest in ("", "/*")]
        policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": resources}]}
        admin.policy_add(f"team-{team}", policy=policy)
        names = [f"{team}-{number}" for number in (1, 2)]
        for name in names:
            admin.user_add(name, f"secret-of-{name}")
            found[name] = boto3_client(server, aws_access_key_id=name, aws_secret_access_key=f"secret-of-{name}")
        admin.group_add(team, names)
        admin.attach_policy([f"team-{team}"], group=team)
    return found


def buckets_of(client: S3Client) -> list[str]:
    return [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]


def test_each_team_sees_its_own_buckets(members: dict[str, S3Client], root: S3Client) -> None:
    for name, client in members.items():
        assert buckets_of(client) == TEAMS[name.rpartition("-")[0]]
    assert set(buckets_of(root)) >= {bucket for buckets in TEAMS.values() for bucket in buckets}


def test_members_share_and_strangers_are_denied(members: dict[str, S3Client]) -> None:
    members["analytics-1"].put_object(Bucket="ana-gold", Key="report", Body=b"secret figures")
    assert members["analytics-2"].get_object(Bucket="ana-gold", Key="report")["Body"].read() == b"secret figures"
    stranger = members["vision-1"]
    attempts: list[Callable[[], object]] = [
        lambda: stranger.get_object(Bucket="ana-gold", Key="report"),
        lambda: stranger.get_object(Bucket="ana-gold", Key="no-such-report"),
        lambda: stranger.put_object(Bucket="ana-gold", Key="report", Body=b"x"),
        lambda: stranger.list_objects_v2(Bucket="ana-gold"),
        lambda: stranger.delete_object(Bucket="ana-gold", Key="report"),
        lambda: stranger.copy_object(Bucket="vis-images", Key="a", CopySource="ana-gold/report"),
        lambda: stranger.create_bucket(Bucket="vis-more"),
    ]
    for attempt in attempts:
        with refused("AccessDenied", 403):
            attempt()
    with refused_head(403):
        stranger.head_object(Bucket="ana-gold", Key="report")


def test_who_leaves_the_group_leaves_the_buckets(
    server: Endpoint, admin: AdminClient, members: dict[str, S3Client]
) -> None:
    del members
    admin.user_add("analytics-3", "secret-of-analytics-3")
    admin.group_add("analytics", ["analytics-3"])
    client = boto3_client(server, aws_access_key_id="analytics-3", aws_secret_access_key="secret-of-analytics-3")
    client.list_objects_v2(Bucket="ana-gold")
    admin.group_remove("analytics", ["analytics-3"])
    for _ in range(20):  # whichever of the two processes takes the connection
        with refused("AccessDenied", 403):
            boto3_client(
                server, aws_access_key_id="analytics-3", aws_secret_access_key="secret-of-analytics-3"
            ).list_objects_v2(Bucket="ana-gold")


def test_a_team_fills_its_bucket_to_its_quota_and_others_go_on(
    admin: AdminClient, members: dict[str, S3Client]
) -> None:
    admin.bucket_quota_set("ana-bronze", 256 * KIB)
    writer = members["analytics-1"]
    for number in range(4):
        writer.put_object(Bucket="ana-bronze", Key=f"part-{number}", Body=bytes(64 * KIB))
    with refused("XMinioAdminBucketQuotaExceeded", 400):
        writer.put_object(Bucket="ana-bronze", Key="one-more", Body=b"x")
    assert "one-more" not in {entry["Key"] for entry in writer.list_objects_v2(Bucket="ana-bronze")["Contents"]}
    members["vision-1"].put_object(Bucket="vis-images", Key="large", Body=bytes(512 * KIB))
    writer.put_object(Bucket="ana-gold", Key="large", Body=bytes(512 * KIB))
    writer.delete_object(Bucket="ana-bronze", Key="part-0")
    writer.put_object(Bucket="ana-bronze", Key="one-more", Body=b"x")


def test_writers_who_race_in_two_processes_never_pass_a_quota(
    server: Endpoint, admin: AdminClient, root: S3Client
) -> None:
    body_bytes, quota_bytes, writers = 40 * KIB, 1000 * KIB, 8
    root.create_bucket(Bucket="contested")
    admin.bucket_quota_set("contested", quota_bytes)
    clients = [boto3_client(server) for _ in range(writers)]

    def write(number: int) -> int:
        stored = 0
        for turn in range(6):
            try:
                clients[number].put_object(Bucket="contested", Key=f"{number}-{turn}", Body=bytes(body_bytes))
            except clients[number].exceptions.ClientError as error:
                assert error.response["Error"]["Code"] == "XMinioAdminBucketQuotaExceeded"  # noqa: PT017 - any may be refused
            else:
                stored += body_bytes
        return stored

    assert sum(race(writers, write)) == quota_bytes
    usage = json.loads(admin.get_data_usage_info())["bucketsUsageInfo"]["contested"]
    assert usage["size"] == quota_bytes


def test_no_member_changes_a_quota(server: Endpoint, members: dict[str, S3Client], admin: AdminClient) -> None:
    del members
    mine: Any = admin_client(server, "vision-1", "secret-of-vision-1")
    for attempt in (partial(mine.bucket_quota_set, size=5), mine.bucket_quota_get):
        with pytest.raises(Exception, match="AccessDenied"):
            attempt("vis-images")
    assert json.loads(admin.bucket_quota_get("vis-images"))["quota"] == 0
