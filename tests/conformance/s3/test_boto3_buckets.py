"""Buckets through boto3 with its default settings."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.support.clients import S3Client, boto3_client, refused, refused_head
from tests.support.server import Endpoint

ALL_USERS = "http://acs.amazonaws.com/groups/global/AllUsers"
GRANT_TO_ALL = f'uri="{ALL_USERS}"'

UNSET = [
    ("get_bucket_lifecycle_configuration", "NoSuchLifecycleConfiguration"),
    ("get_bucket_policy", "NoSuchBucketPolicy"),
    ("get_bucket_cors", "NoSuchCORSConfiguration"),
    ("get_bucket_tagging", "NoSuchTagSet"),
    ("get_bucket_website", "NoSuchWebsiteConfiguration"),
    ("get_public_access_block", "NoSuchPublicAccessBlockConfiguration"),
    ("get_bucket_encryption", "ServerSideEncryptionConfigurationNotFoundError"),
    ("get_object_lock_configuration", "ObjectLockConfigurationNotFoundError"),
    ("get_bucket_replication", "ReplicationConfigurationNotFoundError"),
    ("get_bucket_ownership_controls", "OwnershipControlsNotFoundError"),
]

DEFAULTS = [
    ("get_bucket_notification_configuration", {}),
    ("get_bucket_logging", {}),
    ("get_bucket_accelerate_configuration", {}),
    ("get_bucket_request_payment", {"Payer": "BucketOwner"}),
]

UNBUILT = [
    (
        "put_bucket_website",
        {"WebsiteConfiguration": {"IndexDocument": {"Suffix": "index.html"}}},
    ),
    (
        "put_bucket_request_payment",
        {"RequestPaymentConfiguration": {"Payer": "Requester"}},
    ),
    (
        "put_bucket_accelerate_configuration",
        {"AccelerateConfiguration": {"Status": "Enabled"}},
    ),
]


@pytest.mark.conformance("s3", "CreateBucket")
def test_a_new_bucket_is_listed_found_and_removed(s3: S3Client, bucket_name: str) -> None:
    s3.create_bucket(Bucket=bucket_name)
    assert bucket_name in [entry["Name"] for entry in s3.list_buckets()["Buckets"]]
    assert s3.head_bucket(Bucket=bucket_name)["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert s3.delete_bucket(Bucket=bucket_name)["ResponseMetadata"]["HTTPStatusCode"] == 204
    with refused_head(404):
        s3.head_bucket(Bucket=bucket_name)
    assert bucket_name not in [entry["Name"] for entry in s3.list_buckets()["Buckets"]]


@pytest.mark.conformance("s3", "CreateBucket")
def test_create_answers_with_the_location_of_the_bucket(s3: S3Client, bucket_name: str) -> None:
    assert s3.create_bucket(Bucket=bucket_name)["Location"] == f"/{bucket_name}"
    s3.delete_bucket(Bucket=bucket_name)


@pytest.mark.conformance("s3", "CreateBucket")
def test_in_us_east_1_making_an_own_bucket_again_changes_nothing(s3: S3Client, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"kept")
    s3.create_bucket(Bucket=bucket)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"kept"


@pytest.mark.conformance("s3", "CreateBucket")
def test_a_bucket_cannot_be_made_twice_outside_us_east_1(server: Endpoint, bucket: str) -> None:
    client = boto3_client(server, region_name="eu-west-1")
    with refused("BucketAlreadyOwnedByYou", 409):
        client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})


@pytest.mark.conformance("s3", "CreateBucket")
@pytest.mark.parametrize(
    "name", ["ab", "a" * 64, "Upper-Case", "under_score", "-dash-first", "dash-last-", "two..dots", "192.168.5.4"]
)
def test_a_name_against_the_rules_is_refused(s3: S3Client, name: str) -> None:
    with refused("InvalidBucketName", 400):
        s3.create_bucket(Bucket=name)


@pytest.mark.conformance("s3", "DeleteBucket")
def test_a_bucket_with_an_object_is_not_removed(s3: S3Client, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    with refused("BucketNotEmpty", 409):
        s3.delete_bucket(Bucket=bucket)
    assert s3.head_object(Bucket=bucket, Key="k")["ContentLength"] == 0


@pytest.mark.conformance("s3", "DeleteBucket")
def test_a_bucket_with_only_a_delete_marker_is_not_removed(s3: S3Client, versioned: str) -> None:
    s3.delete_object(Bucket=versioned, Key="never-there")
    with refused("BucketNotEmpty", 409):
        s3.delete_bucket(Bucket=versioned)


@pytest.mark.conformance("s3", "DeleteBucket")
def test_removing_a_bucket_that_is_not_there_says_so(s3: S3Client, bucket_name: str) -> None:
    with refused("NoSuchBucket", 404):
        s3.delete_bucket(Bucket=bucket_name)


@pytest.mark.conformance("s3", "ListBuckets")
def test_buckets_come_in_pages_with_a_prefix(s3: S3Client, bucket_name: str) -> None:
    names = [f"{bucket_name}-{number}" for number in range(5)]
    for name in names:
        s3.create_bucket(Bucket=name)
    pages = list(s3.get_paginator("list_buckets").paginate(Prefix=bucket_name, PaginationConfig={"PageSize": 2}))
    assert [[entry["Name"] for entry in page["Buckets"]] for page in pages] == [names[:2], names[2:4], names[4:]]
    assert {page["Prefix"] for page in pages} == {bucket_name}
    for name in names:
        s3.delete_bucket(Bucket=name)


@pytest.mark.conformance("s3", "ListBuckets")
def test_the_owner_of_a_bucket_is_the_owner_of_its_objects(s3: S3Client, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    owner = s3.list_buckets()["Owner"]
    assert owner["ID"]
    assert s3.list_objects_v2(Bucket=bucket, FetchOwner=True)["Contents"][0]["Owner"]["ID"] == owner["ID"]


@pytest.mark.conformance("s3", "GetBucketLocation")
def test_the_location_of_us_east_1_is_empty(s3: S3Client, bucket: str) -> None:
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None


@pytest.mark.conformance("s3", "PutBucketTagging")
def test_bucket_tags_are_kept_and_removed(s3: S3Client, bucket: str) -> None:
    tags = [{"Key": "team", "Value": "비전"}, {"Key": "cost centre", "Value": ""}]
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags})
    assert sorted(s3.get_bucket_tagging(Bucket=bucket)["TagSet"], key=str) == sorted(tags, key=str)
    s3.delete_bucket_tagging(Bucket=bucket)
    with refused("NoSuchTagSet", 404):
        s3.get_bucket_tagging(Bucket=bucket)


@pytest.mark.conformance("s3", "PutBucketCors")
def test_cors_rules_are_kept_and_removed(s3: S3Client, bucket: str) -> None:
    rule = {
        "AllowedMethods": ["GET", "PUT"],
        "AllowedOrigins": ["https://*.example.com"],
        "AllowedHeaders": ["x-amz-*"],
        "ExposeHeaders": ["ETag"],
        "MaxAgeSeconds": 600,
    }
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})
    assert s3.get_bucket_cors(Bucket=bucket)["CORSRules"] == [rule]
    s3.delete_bucket_cors(Bucket=bucket)
    with refused("NoSuchCORSConfiguration", 404):
        s3.get_bucket_cors(Bucket=bucket)


@pytest.mark.conformance("s3", "GetBucketVersioning")
def test_versioning_is_unset_then_enabled_then_suspended(s3: S3Client, bucket: str) -> None:
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    for status in ("Enabled", "Suspended", "Enabled"):
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})
        assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == status


@pytest.mark.parametrize(("operation", "code"), UNSET)
def test_a_sub_resource_that_was_never_set_says_so(s3: S3Client, bucket: str, operation: str, code: str) -> None:
    with refused(code, 404):
        getattr(s3, operation)(Bucket=bucket)


@pytest.mark.parametrize(("operation", "expected"), DEFAULTS, ids=[name for name, _ in DEFAULTS])
def test_a_sub_resource_with_a_default_answers_it(
    s3: S3Client, bucket: str, operation: str, expected: dict[str, str]
) -> None:
    answer = getattr(s3, operation)(Bucket=bucket)
    del answer["ResponseMetadata"]
    assert answer == expected


@pytest.mark.conformance("s3", "GetBucketAcl")
def test_the_owner_alone_holds_a_bucket_and_its_objects(s3: S3Client, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    owner = s3.list_buckets()["Owner"]["ID"]
    for acl in (s3.get_bucket_acl(Bucket=bucket), s3.get_object_acl(Bucket=bucket, Key="k")):
        assert acl["Owner"]["ID"] == owner
        assert [(grant["Grantee"]["ID"], grant["Permission"]) for grant in acl["Grants"]] == [(owner, "FULL_CONTROL")]


@pytest.mark.conformance("s3", "PutBucketAcl")
def test_an_acl_that_leaves_access_with_the_owner_is_accepted(s3: S3Client, bucket: str) -> None:
    for name in ("private", "bucket-owner-full-control"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"", ACL=name)
        s3.put_bucket_acl(Bucket=bucket, ACL=name)
        s3.put_object_acl(Bucket=bucket, Key="k", ACL=name)
    acl = s3.get_bucket_acl(Bucket=bucket)
    s3.put_bucket_acl(Bucket=bucket, AccessControlPolicy={"Owner": acl["Owner"], "Grants": acl["Grants"]})


@pytest.mark.conformance("s3", "PutBucketAcl")
@pytest.mark.parametrize(
    ("settings", "code", "status"),
    [
        ({"ACL": "public-read"}, "AccessControlListNotSupported", 400),
        ({"ACL": "authenticated-read"}, "AccessControlListNotSupported", 400),
        ({"ACL": "public-ready"}, "InvalidArgument", 400),
        ({"GrantRead": GRANT_TO_ALL}, "AccessControlListNotSupported", 400),
        ({"ACL": "private", "GrantRead": GRANT_TO_ALL}, "InvalidRequest", 400),
    ],
    ids=["public", "authenticated", "unknown", "grant", "private and a grant"],
)
def test_an_acl_that_would_share_is_refused_wherever_it_is_asked_for(
    s3: S3Client, bucket: str, bucket_name: str, settings: dict[str, str], code: str, status: int
) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    source = {"Bucket": bucket, "Key": "k"}
    asks: list[Callable[[], Any]] = [
        lambda: s3.create_bucket(Bucket=f"{bucket_name}-shared", **settings),
        lambda: s3.put_bucket_acl(Bucket=bucket, **settings),
        lambda: s3.put_object_acl(Bucket=bucket, Key="k", **settings),
        lambda: s3.put_object(Bucket=bucket, Key="new", Body=b"", **settings),
        lambda: s3.copy_object(Bucket=bucket, Key="new", CopySource=source, **settings),
        lambda: s3.create_multipart_upload(Bucket=bucket, Key="new", **settings),
    ]
    for ask in asks:
        with refused(code, status):
            ask()
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 1


@pytest.mark.conformance("s3", "PutBucketAcl")
def test_a_grant_to_another_is_refused_in_a_document_too(s3: S3Client, bucket: str) -> None:
    acl = s3.get_bucket_acl(Bucket=bucket)
    other = {"Grantee": {"URI": ALL_USERS, "Type": "Group"}, "Permission": "READ"}
    for grants in ([*acl["Grants"], other], [other], []):
        with refused("AccessControlListNotSupported", 400):
            s3.put_bucket_acl(Bucket=bucket, AccessControlPolicy={"Owner": acl["Owner"], "Grants": grants})


@pytest.mark.conformance("s3", "PutObject")
@pytest.mark.parametrize(
    ("settings", "code", "status"),
    [
        ({"ServerSideEncryption": "AES256"}, "NotImplemented", 501),
        ({"ObjectLockMode": "GOVERNANCE"}, "InvalidArgument", 400),
        ({"ObjectLockLegalHoldStatus": "ON"}, "InvalidRequest", 400),
        ({"WriteOffsetBytes": 4}, "NotImplemented", 501),
        ({"StorageClass": "NO_SUCH_CLASS"}, "InvalidStorageClass", 400),
    ],
    ids=["encryption", "half a retention", "object lock", "append", "storage class"],
)
def test_what_a_put_cannot_do_is_refused_and_nothing_is_written(
    s3: S3Client, bucket: str, settings: dict[str, object], code: str, status: int
) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"kept")
    with refused(code, status):
        s3.put_object(Bucket=bucket, Key="k", Body=b"new", **settings)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"kept"


@pytest.mark.parametrize(("operation", "configuration"), UNBUILT, ids=[name for name, _ in UNBUILT])
def test_a_sub_resource_that_is_not_built_is_refused_not_ignored(
    s3: S3Client, bucket: str, operation: str, configuration: dict[str, object]
) -> None:
    with refused("NotImplemented", 501):
        getattr(s3, operation)(Bucket=bucket, **configuration)


@pytest.mark.conformance("s3", "PutBucketAcl")
def test_a_private_acl_is_accepted_and_a_public_one_refused(s3: S3Client, bucket_name: str) -> None:
    s3.create_bucket(Bucket=bucket_name, ACL="private")
    s3.put_object(Bucket=bucket_name, Key="k", Body=b"", ACL="bucket-owner-full-control")
    with refused("AccessControlListNotSupported", 400):
        s3.put_object(Bucket=bucket_name, Key="k", Body=b"changed", ACL="public-read")
    assert s3.head_object(Bucket=bucket_name, Key="k")["ContentLength"] == 0
    s3.delete_object(Bucket=bucket_name, Key="k")
    s3.delete_bucket(Bucket=bucket_name)
