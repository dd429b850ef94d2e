"""The server's account of itself, quotas, named keys, and what hosu refuses by name, through minio-py's MinioAdmin."""

import json
import socket
from collections.abc import Callable, Iterator

import pytest
from minio.datatypes import PeerInfo, PeerSite, SiteReplicationStatusOptions
from tests.conformance.minio_admin.conftest import Account
from tests.support.admin import KMS, AdminClient, RawAdmin, admin_client, admin_refused, policy_of
from tests.support.clients import S3Client, boto3_client, empty_bucket, refused
from tests.support.server import Endpoint


@pytest.fixture
def s3(server: Endpoint) -> Iterator[S3Client]:
    client = boto3_client(server)
    yield client
    client.close()


@pytest.fixture
def bucket(s3: S3Client, name: str) -> Iterator[str]:
    s3.create_bucket(Bucket=name)
    yield name
    empty_bucket(s3, name)
    s3.delete_bucket(Bucket=name)


# What the server says


def test_info_counts_what_is_there(admin: AdminClient, s3: S3Client, bucket: str, server: Endpoint) -> None:
    before = json.loads(admin.info())
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket=bucket, Key="a", Body=b"12345")
    s3.put_object(Bucket=bucket, Key="a", Body=b"123")
    s3.delete_object(Bucket=bucket, Key="a")
    after = json.loads(admin.info())
    assert (after["mode"], after["servers"][0]["state"]) == ("online", "online")
    assert after["servers"][0]["endpoint"] == server.host
    drive = after["servers"][0]["drives"][0]
    assert drive["totalspace"] == drive["usedspace"] + drive["availspace"] > 0
    assert after["usage"]["size"] - before["usage"]["size"] == 8
    assert after["objects"]["count"] == before["objects"]["count"]
    assert after["versions"]["count"] - before["versions"]["count"] == 2
    assert after["deletemarkers"]["count"] - before["deletemarkers"]["count"] == 1
    assert after["services"]["kms"]["status"] == "online"


def test_usage_is_told_by_bucket(admin: AdminClient, s3: S3Client, bucket: str, mc: RawAdmin) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=b"12345")
    found = json.loads(admin.get_data_usage_info())
    usage = found["bucketsUsageInfo"][bucket]
    assert (usage["size"], usage["objectsCount"], found["bucketsSizes"][bucket]) == (5, 1, 5)
    assert "capacity" not in found
    assert mc.send("GET", "datausageinfo", {"capacity": "true"}).json["capacity"] > 0


def test_an_account_sees_its_rights_and_its_own_buckets(
    new_user: Callable[..., Account],
    new_policy: Callable[..., str],
    admin: AdminClient,
    bucket: str,
    server: Endpoint,
) -> None:
    reader = new_user(new_policy({"Action": ["s3:ListBucket"], "Resource": [f"arn:aws:s3:::{bucket}"]}))
    found = json.loads(reader.admin.account_info())
    assert found["AccountName"] == reader.name
    assert found["Policy"]["Statement"][0]["Action"] == ["s3:ListBucket"]
    (seen,) = found["Buckets"]
    assert (seen["name"], seen["access"]) == (bucket, {"read": True, "write": False})
    assert json.loads(new_user().admin.account_info(prefix_usage=True))["Buckets"] == []
    cut = json.loads(admin.add_service_account(policy=policy_of({"Action": ["s3:GetObject"], "Resource": ["*"]})))
    keys = cut["credentials"]
    assert json.loads(admin_client(server, keys["accessKey"], keys["secretKey"]).account_info())["Buckets"] == []
    mine = {entry["name"]: entry for entry in json.loads(admin.account_info())["Buckets"]}
    assert mine[bucket]["access"] == {"read": True, "write": True}


def test_the_health_of_stored_bytes_is_told(mc: RawAdmin, s3: S3Client, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=b"12345")
    (found,) = mc.send("POST", "background-heal/status").json["sets"]
    assert found["heal_status"] == "ok"
    assert found["total_objects"] >= 1


# Quotas


def test_a_quota_is_set_told_kept_to_and_cleared(admin: AdminClient, s3: S3Client, bucket: str) -> None:
    assert json.loads(admin.bucket_quota_get(bucket))["quota"] == 0
    admin.bucket_quota_set(bucket, 1000)
    found = json.loads(admin.bucket_quota_get(bucket))
    assert (found["quota"], found["quotatype"]) == (1000, "hard")
    s3.put_object(Bucket=bucket, Key="a", Body=bytes(900))
    with refused("XMinioAdminBucketQuotaExceeded", 400):
        s3.put_object(Bucket=bucket, Key="b", Body=bytes(101))
    s3.put_object(Bucket=bucket, Key="b", Body=bytes(100))
    with refused("XMinioAdminBucketQuotaExceeded", 400):
        s3.copy_object(Bucket=bucket, Key="c", CopySource=f"{bucket}/b")
    admin.bucket_quota_clear(bucket)
    s3.copy_object(Bucket=bucket, Key="c", CopySource=f"{bucket}/b")


def test_parts_past_a_quota_are_refused(admin: AdminClient, s3: S3Client, bucket: str) -> None:
    part = bytes(5 * 1024 * 1024)
    admin.bucket_quota_set(bucket, 2 * len(part))
    upload = s3.create_multipart_upload(Bucket=bucket, Key="big")["UploadId"]
    named = {"Bucket": bucket, "Key": "big", "UploadId": upload}
    tags = [s3.upload_part(**named, PartNumber=number, Body=part)["ETag"] for number in (1, 2)]
    with refused("XMinioAdminBucketQuotaExceeded", 400):
        s3.upload_part(**named, PartNumber=3, Body=b"x")
    parts = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, 1)]
    s3.complete_multipart_upload(**named, MultipartUpload={"Parts": parts})
    assert s3.head_object(Bucket=bucket, Key="big")["ContentLength"] == 2 * len(part)


def test_a_body_past_a_quota_is_refused_before_it_is_sent(
    admin: AdminClient, bucket: str, mc: RawAdmin, server: Endpoint
) -> None:
    admin.bucket_quota_set(bucket, 1000)
    body_bytes = 1 << 30
    head = mc.signed("PUT", f"/{bucket}/big", "", b"", {"Content-Length": str(body_bytes)}, region="us-east-1")
    host, port = server.host.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        connection.sendall(f"PUT /{bucket}/big HTTP/1.1\r\n{lines}\r\n".encode())
        answer = connection.recv(1 << 16)
    assert answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"quota":-1,"quotatype":"hard"}', "InvalidArgument"),
        (b'{"quota":5,"size":6,"quotatype":"hard"}', "InvalidArgument"),
        (b'{"quota":5,"quotatype":"fifo"}', "InvalidArgument"),
        (b'{"quota":5,"rate":7,"quotatype":"hard"}', "NotImplemented"),
        (b'{"quota":"5"}', "XMinioAdminConfigBadJSON"),
        (b'{"limit":5}', "XMinioAdminConfigBadJSON"),
        (b"", "XMinioAdminConfigBadJSON"),
    ],
)
def test_a_quota_that_cannot_be_is_refused(mc: RawAdmin, bucket: str, body: bytes, code: str) -> None:
    assert mc.send("PUT", "set-bucket-quota", {"bucket": bucket}, body, framing="length").code == code
    assert mc.send("GET", "get-bucket-quota", {"bucket": bucket}).json["quota"] == 0


def test_a_quota_of_a_bucket_that_is_not_there(admin: AdminClient) -> None:
    with admin_refused("NoSuchBucket", 404):
        admin.bucket_quota_set("no-such-bucket", 5)
    with admin_refused("NoSuchBucket", 404):
        admin.bucket_quota_get("no-such-bucket")


# Configuration


def test_settings_are_told_under_minios_names(admin: AdminClient, mc: RawAdmin) -> None:
    assert admin.config_get("site") == "site name= region=\n"
    assert "log_level=DEBUG" in admin.config_get("hosu")
    everything = mc.send("GET", "config").opened_bytes().decode()
    assert {line.split()[0] for line in everything.splitlines()} >= {"api", "hosu", "region", "site", "subnet"}
    for secret in ("root_password", "root_user", "lake_key_command", "conformance-secret"):
        assert secret not in everything
    helped = mc.send("GET", "help-config-kv", {"key": "", "subSys": "site"}).json
    assert {key["key"] for key in helped["keysHelp"]} == {"name", "region"}
    named = mc.send("GET", "help-config-kv", {"key": "", "subSys": ""}).json
    assert "site" in {key["key"] for key in named["keysHelp"]}


def test_a_setting_that_is_so_already_is_taken_and_another_is_refused_with_the_way_to_set_it(
    admin: AdminClient, mc: RawAdmin
) -> None:
    admin.config_set("site", {"region": ""})
    admin.config_reset("site")
    admin.config_set("hosu", {"log_level": "DEBUG", "workers": "1"})
    with admin_refused("NotImplemented", 501) as refusal:
        admin.config_set("site", {"region": "eu-west-1"})
    assert "set region in hosu.toml or HOSU_REGION" in str(refusal.value)
    with admin_refused("NotImplemented", 501):
        admin.config_reset("hosu")  # its log level is not the default
    with admin_refused("NotImplemented", 501):
        admin.config_set("compression", {"enable": "on"})
    assert json.loads(admin.config_history()) == []
    answer = mc.send("PUT", "set-config-kv", body=b"region name=", sealed=True)
    assert (answer.status, answer.headers["x-minio-config-applied"]) == (200, "true")
    whole = mc.send("GET", "config").opened_bytes()
    assert mc.send("PUT", "config", body=b"# exported\n\n" + whole, sealed=True).status == 200


@pytest.mark.parametrize("text", [b"nothing a=b", b"site color=red", b"site region", b'site region="open', b"\xff"])
def test_a_configuration_that_cannot_be_read_is_refused(mc: RawAdmin, text: bytes) -> None:
    answer = mc.send("PUT", "set-config-kv", body=text, sealed=True)
    assert (answer.status, answer.code) == (400, "XMinioConfigError")


@pytest.mark.parametrize("text", [b"nothing", b"site color", b'site "open', b"\xff", b""])
def test_a_reset_that_cannot_be_read_is_refused(mc: RawAdmin, text: bytes) -> None:
    answer = mc.send("DELETE", "del-config-kv", body=text, sealed=True)
    assert (answer.status, answer.code) == (400, "XMinioConfigError")


def test_a_change_that_never_was_cannot_be_restored(admin: AdminClient) -> None:
    with admin_refused("XMinioConfigError", 404):
        admin.config_restore("never-was")


def test_asking_for_no_subsystem_is_refused_as_by_minio(mc: RawAdmin) -> None:
    answer = mc.send("GET", "get-config-kv", {"key": "", "subSys": ""})
    assert (answer.status, answer.code) == (400, "XMinioConfigError")


# Named keys


def test_a_named_key_is_made_and_tried(admin: AdminClient, mc: RawAdmin, name: str) -> None:
    admin.kms_key_create(name)
    assert json.loads(admin.kms_key_status(name)) == {"key-id": name}
    with admin_refused("XMinioKMSKeyAlreadyExists", 409):
        admin.kms_key_create(name)
    with admin_refused("KMS.NotFoundException", 400):
        admin.kms_key_status("no-such-key")
    other = f"{name}-mc"
    assert mc.send("POST", KMS + "key/create", {"key-id": other}).status == 200
    assert mc.send("GET", KMS + "key/status", {"key-id": other}).json == {"key-id": other}
    assert mc.send("GET", KMS + "key/status", {"key-id": ""}).json["key-id"]


# Refused by name


def test_what_minio_has_and_hosu_has_not_is_refused_by_name(admin: AdminClient) -> None:
    for attempt in (
        admin.service_restart,
        admin.service_stop,
        admin.update,
        lambda: admin.attach_policy_ldap(["readonly"], user="uid=a"),
        lambda: admin.detach_policy_ldap(["readonly"], user="uid=a"),
        lambda: admin.list_access_keys_ldap("uid=a", "all"),
        lambda: admin.list_access_keys_ldap_bulk([], "all", all_users=True),
        lambda: admin.add_site_replication([PeerSite("a", "http://127.0.0.1:1", "a", "b")]),
        lambda: admin.edit_site_replication(PeerInfo("d", "http://127.0.0.1:1", "0", "async")),
        lambda: admin.remove_site_replication(all_sites=True),
    ):
        with admin_refused("NotImplemented", 501) as refusal:
            attempt()
        assert "is not supported: " in str(refusal.value)


def test_nothing_is_replicated_tiered_or_run_in_batches(admin: AdminClient, mc: RawAdmin) -> None:
    assert json.loads(admin.get_site_replication_info()) == {"enabled": False}
    assert json.loads(admin.get_site_replication_status(SiteReplicationStatusOptions())) == {"Enabled": False}
    assert mc.send("GET", "tier").json == []
    assert mc.send("GET", "list-jobs", {"jobType": ""}).json == {"jobs": None}
    assert mc.send("GET", "idp-config/openid").opened() == [{"type": "openid", "name": "_", "enabled": False}]
    assert mc.send("GET", "idp-config/ldap").opened() == [{"type": "ldap", "name": "_", "enabled": False}]


def test_what_hosu_does_not_know_is_refused_as_another_version(admin: AdminClient, mc: RawAdmin) -> None:
    with admin_refused("XMinioAdminVersionMismatch", 426):
        admin.top_locks()
    with admin_refused("XMinioAdminVersionMismatch", 426):
        admin.profile_start(("cpu",))
    for method, path in (
        ("GET", "trace"), ("GET", "log"), ("GET", "metrics"), ("GET", "pools/list"), ("GET", "rebalance/status"),
        ("GET", "export-iam"), ("GET", "export-bucket-metadata"), ("PUT", "list-users"),
        ("GET", "/minio/admin/v2/info"), ("GET", "/minio/kms/v1/status"),
    ):  # fmt: skip
        answer = mc.send(method, path)
        assert (answer.status, answer.code) == (426, "XMinioAdminVersionMismatch"), path
        assert path in answer.json["Message"]
