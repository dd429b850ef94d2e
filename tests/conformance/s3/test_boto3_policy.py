"""Who gets in by policy: of users, of buckets, and what the public access block takes back."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore import UNSIGNED
from botocore.config import Config
from tests.support.clients import S3Client, boto3_client, refused, refused_head
from tests.support.http import error_of, send, signed_headers
from tests.support.server import Endpoint
from tests.support.users import allow, for_everyone, make_user, policy_text

NewUser = Callable[..., S3Client]
"""Makes a user from the statements of its policy."""


@pytest.fixture
def new_user(server: Endpoint, lake: Path) -> NewUser:
    """Make users, and hand over a client of each."""
    return lambda *statements: boto3_client(make_user(lake, server, *statements))


@pytest.fixture
def anyone(server: Endpoint) -> Iterator[S3Client]:
    """Hand over a client that does not sign."""
    client = boto3_client(server, Config(signature_version=UNSIGNED))
    yield client
    client.close()


def all_refused(code: str, status: int, *asks: Callable[[], Any]) -> None:
    for ask in asks:
        with refused(code, status):
            ask()


def put_policy(s3: S3Client, bucket: str, *statements: dict[str, Any]) -> str:
    text = policy_text(*map(for_everyone, statements))
    s3.put_bucket_policy(Bucket=bucket, Policy=text)
    return text


# The document


@pytest.mark.conformance("s3", "PutBucketPolicy")
def test_a_policy_is_kept_to_the_byte(s3: S3Client, bucket: str) -> None:
    text = policy_text(for_everyone(allow("s3:GetObject", f"{bucket}/é*"))).replace(": ", " :\n")
    s3.put_bucket_policy(Bucket=bucket, Policy=text)
    assert s3.get_bucket_policy(Bucket=bucket)["Policy"] == text
    s3.delete_bucket_policy(Bucket=bucket)
    with refused("NoSuchBucketPolicy", 404):
        s3.get_bucket_policy(Bucket=bucket)
    s3.delete_bucket_policy(Bucket=bucket)


@pytest.mark.conformance("s3", "PutBucketPolicy")
@pytest.mark.parametrize(
    ("change", "position"),
    [
        ({"Action": "s3:GetObjekt"}, "Statement[0].Action"),
        ({"Condition": {"StringSmells": {"s3:prefix": "a"}}}, "Statement[0].Condition"),
        ({"Condition": {"StringEquals": {"s3:perfix": "a"}}}, "Statement[0].Condition.StringEquals"),
        ({"Resource": "arn:aws:s3:::another/*"}, "Statement[0].Resource"),
        ({"Principal": {"AWS": []}}, "Statement[0].Principal"),
        ({"Effect": "Perhaps"}, "Statement[0].Effect"),
        ({"Principal": None, "NotPrincipal": {"AWS": "arn:aws:iam:::user/a"}}, "Statement[0].NotPrincipal"),
    ],
    ids=["action", "operator", "key", "resource", "principal", "effect", "all but one"],
)
def test_a_policy_that_is_wrong_is_refused_with_its_position_and_the_old_one_stays(
    s3: S3Client, bucket: str, change: dict[str, Any], position: str
) -> None:
    text = put_policy(s3, bucket, allow("s3:GetObject", f"{bucket}/*"))
    statement = {
        name: value
        for name, value in (for_everyone(allow("s3:GetObject", f"{bucket}/*")) | change).items()
        if value is not None
    }
    with refused("MalformedPolicy", 400) as refusal:
        s3.put_bucket_policy(Bucket=bucket, Policy=policy_text(statement))
    assert position in refusal.value.response["Error"]["Message"]
    assert s3.get_bucket_policy(Bucket=bucket)["Policy"] == text


@pytest.mark.conformance("s3", "PutBucketPolicy")
def test_a_policy_that_is_no_json_or_too_long_is_refused(s3: S3Client, bucket: str) -> None:
    with refused("MalformedPolicy", 400):
        s3.put_bucket_policy(Bucket=bucket, Policy="{")
    with refused("EntityTooLarge", 400):
        s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Id": "a" * 30_000}))
    with refused("NoSuchBucketPolicy", 404):
        s3.get_bucket_policy(Bucket=bucket)


@pytest.mark.conformance("s3", "GetBucketPolicyStatus")
def test_the_status_says_whether_a_policy_lets_in_everybody(s3: S3Client, bucket: str) -> None:
    def is_public() -> bool:
        shown: bool = s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"]
        return shown

    assert not is_public()
    put_policy(s3, bucket, allow("s3:GetObject", f"{bucket}/*"))
    assert is_public()
    put_policy(s3, bucket, allow("s3:GetObject", f"{bucket}/*", IpAddress={"aws:SourceIp": "10.0.0.0/24"}))
    assert not is_public()


# Users


@pytest.mark.conformance("s3", "GetObject")
def test_a_user_gets_what_the_policy_says_and_nothing_else(s3: S3Client, bucket: str, new_user: NewUser) -> None:
    for key in ("public/a", "secret/a"):
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    user = new_user(
        allow(["s3:GetObject", "s3:PutObject"], f"{bucket}/public/*"),
        allow("s3:ListBucket", bucket, StringLike={"s3:prefix": ["public/*"]}),
    )
    assert user.get_object(Bucket=bucket, Key="public/a")["Body"].read() == b"public/a"
    user.put_object(Bucket=bucket, Key="public/b", Body=b"")
    assert user.list_objects_v2(Bucket=bucket, Prefix="public/")["KeyCount"] == 2
    all_refused(
        "AccessDenied",
        403,
        lambda: user.get_object(Bucket=bucket, Key="secret/a"),
        lambda: user.put_object(Bucket=bucket, Key="secret/b", Body=b""),
        lambda: user.delete_object(Bucket=bucket, Key="public/a"),
        lambda: user.list_objects_v2(Bucket=bucket),
        lambda: user.list_objects_v2(Bucket=bucket, Prefix="secret/"),
        lambda: user.copy_object(Bucket=bucket, Key="public/c", CopySource=f"{bucket}/secret/a"),
    )
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 3


@pytest.mark.conformance("s3", "GetObject")
def test_a_missing_key_is_missing_for_those_who_may_list_it_and_denied_to_others(
    s3: S3Client, bucket: str, new_user: NewUser
) -> None:
    reader = new_user(allow("s3:GetObject", f"{bucket}/*"))
    lister = new_user(
        allow("s3:GetObject", f"{bucket}/*"), allow("s3:ListBucket", bucket, StringLike={"s3:prefix": "open/*"})
    )
    only_lister = new_user(allow("s3:ListBucket", bucket))
    with refused("AccessDenied", 403):
        reader.get_object(Bucket=bucket, Key="open/none")
    with refused_head(403):
        reader.head_object(Bucket=bucket, Key="open/none")
    with refused("NoSuchKey", 404):
        lister.get_object(Bucket=bucket, Key="open/none")
    with refused_head(404):
        lister.head_object(Bucket=bucket, Key="open/none")
    with refused("AccessDenied", 403):
        lister.get_object(Bucket=bucket, Key="closed/none")
    with refused("NoSuchKey", 404):
        only_lister.get_object(Bucket=bucket, Key="none")
    s3.put_object(Bucket=bucket, Key="there", Body=b"")
    with refused("AccessDenied", 403):
        only_lister.get_object(Bucket=bucket, Key="there")


@pytest.mark.conformance("s3", "HeadBucket")
def test_a_missing_bucket_is_missing_for_everybody(bucket_name: str, new_user: NewUser, anyone: S3Client) -> None:
    for client in (new_user(), anyone):
        with refused("NoSuchBucket", 404):
            client.list_objects_v2(Bucket=bucket_name)
        with refused("AccessDenied", 403):
            client.create_bucket(Bucket=bucket_name)


@pytest.mark.conformance("s3", "DeleteObjects")
def test_of_many_keys_those_that_may_not_be_deleted_stay(s3: S3Client, bucket: str, new_user: NewUser) -> None:
    for key in ("mine/a", "mine/b", "yours/a"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    user = new_user(allow("s3:DeleteObject", f"{bucket}/mine/*"))
    answer = user.delete_objects(
        Bucket=bucket, Delete={"Objects": [{"Key": key} for key in ("mine/a", "yours/a", "mine/b")]}
    )
    assert [row["Key"] for row in answer["Deleted"]] == ["mine/a", "mine/b"]
    assert [(row["Key"], row["Code"]) for row in answer["Errors"]] == [("yours/a", "AccessDenied")]
    assert [row["Key"] for row in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["yours/a"]


@pytest.mark.conformance("s3", "GetObject")
def test_versions_are_asked_for_by_rights_of_their_own(s3: S3Client, versioned: str, new_user: NewUser) -> None:
    old = s3.put_object(Bucket=versioned, Key="k", Body=b"old")["VersionId"]
    s3.put_object(Bucket=versioned, Key="k", Body=b"new")
    current = new_user(allow(["s3:GetObject", "s3:DeleteObject"], f"{versioned}/*"))
    history = new_user(allow("s3:GetObjectVersion", f"{versioned}/*", StringEquals={"s3:VersionId": old}))
    assert history.get_object(Bucket=versioned, Key="k", VersionId=old)["Body"].read() == b"old"
    assert current.get_object(Bucket=versioned, Key="k")["Body"].read() == b"new"
    all_refused(
        "AccessDenied",
        403,
        lambda: current.get_object(Bucket=versioned, Key="k", VersionId=old),
        lambda: current.delete_object(Bucket=versioned, Key="k", VersionId=old),
        lambda: history.get_object(Bucket=versioned, Key="k"),
        lambda: current.copy_object(Bucket=versioned, Key="c", CopySource=f"{versioned}/k?versionId={old}"),
    )
    answer = current.delete_objects(Bucket=versioned, Delete={"Objects": [{"Key": "k", "VersionId": old}]})
    assert [row["Code"] for row in answer["Errors"]] == ["AccessDenied"]


@pytest.mark.conformance("s3", "PutObject")
def test_tags_of_an_upload_need_the_right_to_tag(s3: S3Client, bucket: str, new_user: NewUser) -> None:
    writer = new_user(allow("s3:PutObject", f"{bucket}/*"))
    tagger = new_user(allow(["s3:PutObject", "s3:PutObjectTagging"], f"{bucket}/*"))
    writer.put_object(Bucket=bucket, Key="k", Body=b"plain")
    all_refused(
        "AccessDenied",
        403,
        lambda: writer.put_object(Bucket=bucket, Key="k", Body=b"", Tagging="a=b"),
        lambda: writer.create_multipart_upload(Bucket=bucket, Key="k", Tagging="a=b"),
        lambda: writer.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": []}),
    )
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"plain"
    tagger.put_object(Bucket=bucket, Key="k", Body=b"", Tagging="a=b")
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == [{"Key": "a", "Value": "b"}]


@pytest.mark.conformance("s3", "ListBuckets")
def test_users_see_the_buckets_that_they_may_look_into(s3: S3Client, bucket: str, new_user: NewUser) -> None:
    def seen(client: S3Client) -> set[str]:
        return {row["Name"] for row in client.list_buckets()["Buckets"]}

    assert bucket in seen(s3)
    assert seen(new_user(allow("s3:ListBucket", bucket))) == {bucket}
    assert seen(new_user(allow("s3:GetBucketLocation", bucket))) == {bucket}
    assert bucket in seen(new_user(allow("s3:ListAllMyBuckets")))
    assert seen(new_user(allow("s3:ListAllMyBuckets", StringEquals={"s3:ResourceAccount": "${aws:username}"}))) == set()
    with refused("AccessDenied", 403):
        new_user(allow("s3:GetObject", f"{bucket}/*")).list_buckets()


@pytest.mark.conformance("s3", "ListBuckets")
def test_pages_of_buckets_count_those_that_are_shown(s3: S3Client, bucket_name: str, new_user: NewUser) -> None:
    names = [f"{bucket_name}-{number}" for number in range(6)]
    for name in names:
        s3.create_bucket(Bucket=name)
    user = new_user(*[allow("s3:ListBucket", name) for name in names[::2]])
    pages = list(user.get_paginator("list_buckets").paginate(PaginationConfig={"PageSize": 2}))
    assert [[row["Name"] for row in page["Buckets"]] for page in pages] == [names[0:4:2], names[4:6:2]]
    for name in names:
        s3.delete_bucket(Bucket=name)


@pytest.mark.conformance("s3", "CreateBucket")
def test_a_bucket_belongs_to_its_maker_and_conditions_may_ask_for_that(
    s3: S3Client, bucket: str, bucket_name: str, new_user: NewUser
) -> None:
    own = allow("s3:*", StringEquals={"s3:ResourceAccount": "${aws:username}"})
    first, second = new_user(allow("s3:CreateBucket"), own), new_user(allow("s3:CreateBucket"), own)
    name = f"{bucket_name}-own"
    first.create_bucket(Bucket=name)
    first.put_object(Bucket=name, Key="k", Body=b"mine")
    assert [row["Name"] for row in first.list_buckets()["Buckets"]] == [name]
    assert second.list_buckets()["Buckets"] == []
    with refused("BucketAlreadyExists", 409):
        second.create_bucket(Bucket=name)
    all_refused(
        "AccessDenied",
        403,
        lambda: second.get_object(Bucket=name, Key="k"),
        lambda: second.delete_bucket(Bucket=name),
        lambda: first.list_objects_v2(Bucket=bucket),
    )
    owner = first.get_bucket_acl(Bucket=name)["Owner"]["ID"]
    first.list_objects_v2(Bucket=name, ExpectedBucketOwner=owner)
    with refused("AccessDenied", 403):
        s3.list_objects_v2(Bucket=name, ExpectedBucketOwner=s3.list_buckets()["Owner"]["ID"])
    first.delete_object(Bucket=name, Key="k")
    first.delete_bucket(Bucket=name)


# Bucket policies


@pytest.mark.conformance("s3", "GetObject")
def test_a_bucket_policy_lets_anybody_in_and_the_public_access_block_only_those_who_sign(
    s3: S3Client, bucket: str, new_user: NewUser, anyone: S3Client
) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"open")
    put_policy(s3, bucket, allow("s3:GetObject", f"{bucket}/*"))
    user = new_user()
    for client in (anyone, user):
        assert client.get_object(Bucket=bucket, Key="k")["Body"].read() == b"open"
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration={"RestrictPublicBuckets": True})
    with refused("AccessDenied", 403):
        anyone.get_object(Bucket=bucket, Key="k")
    assert user.get_object(Bucket=bucket, Key="k")["Body"].read() == b"open"
    s3.delete_public_access_block(Bucket=bucket)
    assert anyone.get_object(Bucket=bucket, Key="k")["Body"].read() == b"open"


@pytest.mark.conformance("s3", "PutPublicAccessBlock")
def test_a_bucket_that_blocks_public_policies_takes_none(s3: S3Client, bucket: str) -> None:
    switches = {"BlockPublicAcls": True, "IgnorePublicAcls": False, "BlockPublicPolicy": True}
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=switches)
    shown = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert shown == switches | {"RestrictPublicBuckets": False}
    with refused("AccessDenied", 403):
        put_policy(s3, bucket, allow("s3:GetObject", f"{bucket}/*"))
    named = {"Principal": {"AWS": "arn:aws:iam:::user/alice"}} | allow("s3:GetObject", f"{bucket}/*")
    s3.put_bucket_policy(Bucket=bucket, Policy=policy_text(named))
    s3.delete_public_access_block(Bucket=bucket)
    with refused("NoSuchPublicAccessBlockConfiguration", 404):
        s3.get_public_access_block(Bucket=bucket)


def test_a_switch_that_is_none_is_refused(server: Endpoint, bucket: str) -> None:
    path = f"/{bucket}?publicAccessBlock"
    body = b"<PublicAccessBlockConfiguration><BlockEverything>true</BlockEverything></PublicAccessBlockConfiguration>"
    answer = send("PUT", server.url + path, body, signed_headers(server, "PUT", path, body))
    assert (answer.status, b"BlockEverything" in answer.data) == (400, True)


@pytest.mark.conformance("s3", "PutBucketPolicy")
def test_a_deny_counts_more_than_any_allow_and_root_can_always_mend_it(
    s3: S3Client, bucket: str, new_user: NewUser
) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    user = new_user(allow("s3:*"))
    put_policy(s3, bucket, allow("s3:*", bucket, f"{bucket}/*") | {"Effect": "Deny"})
    with refused("AccessDenied", 403):
        user.get_object(Bucket=bucket, Key="k")
    with refused("AccessDenied", 403):
        user.delete_bucket_policy(Bucket=bucket)
    with refused("AccessDenied", 403):
        s3.get_object(Bucket=bucket, Key="k")
    s3.delete_bucket_policy(Bucket=bucket)
    user.get_object(Bucket=bucket, Key="k")


# Conditions


@pytest.mark.conformance("s3", "GetObject")
def test_tags_that_an_object_has_decide_about_it(s3: S3Client, bucket: str, new_user: NewUser) -> None:
    for key, tags in (("a", "side=open"), ("b", "side=shut"), ("c", "")):
        s3.put_object(Bucket=bucket, Key=key, Body=b"", Tagging=tags)
    user = new_user(allow("s3:GetObject", f"{bucket}/*", StringEquals={"s3:ExistingObjectTag/side": "open"}))
    user.get_object(Bucket=bucket, Key="a")
    for key in ("b", "c"):
        with refused("AccessDenied", 403):
            user.get_object(Bucket=bucket, Key=key)
    s3.put_object_tagging(Bucket=bucket, Key="a", Tagging={"TagSet": [{"Key": "side", "Value": "shut"}]})
    with refused("AccessDenied", 403):
        user.get_object(Bucket=bucket, Key="a")


@pytest.mark.conformance("s3", "PutObject")
def test_a_write_that_names_a_version_is_judged_by_the_object_it_replaces(
    s3: S3Client, server: Endpoint, lake: Path, bucket: str
) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(Bucket=bucket, Key="k", Body=b"", Tagging="state=open")["VersionId"]
    s3.put_object(Bucket=bucket, Key="k", Body=b"kept", Tagging="state=locked")
    writer = make_user(
        lake,
        server,
        allow("s3:PutObject", f"{bucket}/*"),
        allow("s3:PutObject", f"{bucket}/*", StringEquals={"s3:ExistingObjectTag/state": "locked"})
        | {"Effect": "Deny"},
    )
    for query in ("", f"?versionId={first}", "?versionId=null", f"?versionId={'0' * 32}"):
        path = f"/{bucket}/k{query}"
        answer = send("PUT", server.url + path, b"", signed_headers(writer, "PUT", path))
        assert error_of(answer) == (403, "AccessDenied"), query
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"kept"


@pytest.mark.conformance("s3", "CopyObject")
def test_tags_that_a_copy_does_not_take_over_decide_nothing(s3: S3Client, bucket: str, new_user: NewUser) -> None:
    s3.put_object(Bucket=bucket, Key="source", Body=b"", Tagging="team=y")
    user = new_user(
        allow(["s3:GetObject", "s3:PutObjectTagging"], f"{bucket}/*"),
        allow("s3:PutObject", f"{bucket}/*", StringEquals={"s3:RequestObjectTag/team": "x"}),
    )
    source = {"Bucket": bucket, "Key": "source"}
    with refused("AccessDenied", 403):
        user.copy_object(Bucket=bucket, Key="k", CopySource=source, Tagging="team=x")
    user.copy_object(Bucket=bucket, Key="k", CopySource=source, Tagging="team=x", TaggingDirective="REPLACE")
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == [{"Key": "team", "Value": "x"}]


@pytest.mark.conformance("s3", "PutObjectTagging")
def test_tags_that_come_in_a_header_or_in_a_body_decide_about_it(bucket: str, new_user: NewUser) -> None:
    actions = ["s3:PutObject", "s3:PutObjectTagging"]
    user = new_user(
        allow(actions, f"{bucket}/*", StringEquals={"s3:RequestObjectTag/team": "x"}),
        allow(actions, f"{bucket}/*", **{"ForAnyValue:StringEquals": {"s3:RequestObjectTagKeys": "secret"}})
        | {"Effect": "Deny"},
    )
    user.put_object(Bucket=bucket, Key="k", Body=b"", Tagging="team=x")
    user.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": [{"Key": "team", "Value": "x"}]})
    for tags in ({"team": "y"}, {}, {"team": "x", "secret": "1"}):
        rows = [{"Key": name, "Value": value} for name, value in tags.items()]
        with refused("AccessDenied", 403):
            user.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": rows})
        with refused("AccessDenied", 403):
            user.put_object(
                Bucket=bucket, Key="k", Body=b"", Tagging="&".join(f"{name}={value}" for name, value in tags.items())
            )


@pytest.mark.conformance("s3", "CopyObject")
def test_where_a_copy_comes_from_decides_about_it(s3: S3Client, bucket: str, new_user: NewUser) -> None:
    for key in ("public/a b", "secret/a"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    user = new_user(
        allow("s3:GetObject", f"{bucket}/*"),
        allow("s3:PutObject", f"{bucket}/to/*", StringLike={"s3:x-amz-copy-source": f"{bucket}/public/*"}),
    )
    user.copy_object(Bucket=bucket, Key="to/a", CopySource={"Bucket": bucket, "Key": "public/a b"})
    all_refused(
        "AccessDenied",
        403,
        lambda: user.copy_object(Bucket=bucket, Key="to/b", CopySource=f"{bucket}/secret/a"),
        lambda: user.put_object(Bucket=bucket, Key="to/c", Body=b""),
    )


@pytest.mark.conformance("s3", "CreateBucket")
def test_the_region_of_a_new_bucket_decides_about_it(bucket_name: str, new_user: NewUser) -> None:
    user = new_user(
        allow("s3:CreateBucket", StringEquals={"s3:LocationConstraint": "eu-west-1"}),
        allow("s3:DeleteBucket"),
    )
    with refused("AccessDenied", 403):
        user.create_bucket(Bucket=bucket_name)
    with refused("AccessDenied", 403):
        user.create_bucket(Bucket=bucket_name, CreateBucketConfiguration={"LocationConstraint": "eu-north-1"})
    user.create_bucket(Bucket=bucket_name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    user.delete_bucket(Bucket=bucket_name)


@pytest.mark.conformance("s3", "GetObject")
@pytest.mark.parametrize(
    ("conditions", "gets_in"),
    [
        ({"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}, True),
        ({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, False),
        ({"Bool": {"aws:SecureTransport": "false"}}, True),
        ({"Bool": {"aws:SecureTransport": "true"}}, False),
        ({"DateGreaterThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}}, True),
        ({"DateLessThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}}, False),
        ({"NumericGreaterThan": {"aws:EpochTime": "1500000000"}}, True),
        ({"StringLike": {"aws:UserAgent": "Boto3*"}}, True),
        ({"StringEquals": {"s3:authType": "REST-HEADER"}}, True),
        ({"StringEquals": {"s3:authType": "REST-QUERY-STRING"}}, False),
        ({"StringEquals": {"s3:signatureversion": "AWS4-HMAC-SHA256"}}, True),
        ({"NumericLessThan": {"s3:signatureAge": "600000"}}, True),
        ({"Null": {"aws:Referer": "true"}}, True),
        ({"StringEquals": {"aws:username": "nobody"}}, False),
    ],
    ids=str,
)
def test_circumstances_decide(
    s3: S3Client, bucket: str, new_user: NewUser, conditions: dict[str, Any], *, gets_in: bool
) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    user = new_user(allow("s3:GetObject", f"{bucket}/*", **conditions))
    if gets_in:
        user.get_object(Bucket=bucket, Key="k")
    else:
        with refused("AccessDenied", 403):
            user.get_object(Bucket=bucket, Key="k")


@pytest.mark.conformance("s3", "GetObject")
def test_a_forwarded_address_is_nobodys_word_where_no_proxy_is_trusted(
    server: Endpoint, lake: Path, s3: S3Client, bucket: str
) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    user = make_user(lake, server, allow("s3:GetObject", f"{bucket}/*", IpAddress={"aws:SourceIp": "10.0.0.0/8"}))
    path = f"/{bucket}/k"
    headers = signed_headers(user, "GET", path) | {"X-Forwarded-For": "10.0.0.1", "X-Real-IP": "10.0.0.1"}
    assert send("GET", server.url + path, headers=headers).status == 403
