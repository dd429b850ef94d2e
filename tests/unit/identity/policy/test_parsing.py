"""Policies as their users have them are read; what is wrong is refused with its place."""

import json
from typing import Any

import pytest

from hosu.identity.policy import PolicyKind, parse_policy
from hosu.identity.policy.document import SIZE_BYTES_MAX
from hosu.kernel.errors import ErrorKind, InvalidInputError

BUCKET, IDENTITY = PolicyKind.BUCKET, PolicyKind.IDENTITY
Json = dict[str, Any]


def document(*statements: Json, **members: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)} | members)


def statement(**changes: Any) -> Json:
    """Make a good statement of an identity, with members changed; None takes one away."""
    made = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::images/*"} | changes
    return {name: value for name, value in made.items() if value is not None}


def refused(text: str | bytes, kind: PolicyKind = IDENTITY, bucket: str = "") -> InvalidInputError:
    with pytest.raises(InvalidInputError) as raised:
        parse_policy(text, kind, bucket=bucket)
    assert raised.value.kind is ErrorKind.POLICY_INVALID
    return raised.value


# What is read


@pytest.mark.parametrize(
    "text",
    [
        document(statement()),
        document(statement(), Version="2008-10-17", Id="mine"),
        json.dumps({"Statement": statement()}),
        document(
            statement(Sid="one", Action=["s3:Get*", "S3:LISTBUCKET"], Resource=["arn:aws:s3:::a", "arn:aws:s3:::a/*"])
        ),
        document(
            statement(Action=None, NotAction=["s3:Delete*"], Resource=None, NotResource="arn:aws:s3:::a/secret/*")
        ),
        document({"Effect": "Allow", "Action": ["admin:*"]}),
        document({"Effect": "Allow", "Action": ["kms:*", "sts:AssumeRole", "admin:ServerInfo"]}),
        document(statement(Action=["admin:*", "s3:*"], Resource=["arn:aws:s3:::*"])),
        document(statement(Action="*", Resource="*")),
        document(
            statement(Action=["kms:CreateKey"], Resource=["arn:minio:kms:::team-*", "arn:aws:kms:eu-west-1:1:key/a"])
        ),
        document(statement(Resource="arn:aws-cn:s3:::a/${aws:username}/${jwt:team, 'none'}/${*}")),
        document(statement(Condition={"StringLike": {"s3:prefix": ["", "home/", "home/${aws:username}/*"]}})),
        document(statement(Condition={"Bool": {"aws:SecureTransport": True}, "NumericLessThan": {"s3:max-keys": 10}})),
        document(statement(Condition={"stringequals": {"S3:PREFIX": "a"}})),
        document(statement(Condition={"StringEquals": {"aws:PrincipalOrgID": "o-1", "jwt:preferred_username": "a"}})),
        document(statement(Condition={"StringEquals": {"aws:referrer": "a", "x-amz-content-sha256": "b"}})),
        document(statement(Condition={"DateGreaterThan": {"aws:CurrentTime": "2026-01-01"}})),
        document(statement(Condition={})),
    ],
)
def test_what_users_of_aws_and_minio_have_in_files_is_read(text: str) -> None:
    assert parse_policy(text, IDENTITY).text == text
    assert parse_policy(text.encode(), IDENTITY).text == text


@pytest.mark.parametrize("principal", ["*", {"AWS": "*"}, {"AWS": ["*"]}, {"AWS": ["arn:aws:iam:::user/a", "1" * 12]},
                                       {"AWS": "alice"}, {"Service": "logging.s3.amazonaws.com"},
                                       {"Federated": "accounts.example.com", "CanonicalUser": ["79a5"]}])  # fmt: skip
@pytest.mark.parametrize("name", ["Principal", "NotPrincipal"])
def test_bucket_policies_name_principals(name: str, principal: object) -> None:
    text = document(statement(**{name: principal}))
    assert parse_policy(text, BUCKET, bucket="images").statements[0].principals is not None


@pytest.mark.parametrize(
    "resource",
    ["arn:aws:s3:::images/*", "arn:aws:s3:::images*", "arn:aws:s3:::*", "arn:aws:s3:::*/*", "*",
     "arn:aws:s3:::image?/a", "arn:aws:s3:::${aws:username}/a"],
)  # fmt: skip
def test_a_bucket_policy_may_name_what_can_be_in_its_bucket(resource: str) -> None:
    parse_policy(document(statement(Principal="*", Resource=resource)), BUCKET, bucket="images")


# What is refused

BAD_STATEMENTS: list[tuple[Json, str, str]] = [
    (statement(Effect="allow"), "Effect", "write Allow or Deny"),
    (statement(Effect=None), "", "no Effect"),
    (statement(effect="Allow"), "effect", "did you mean 'Effect'"),
    (statement(Resources="*"), "Resources", "did you mean 'Resource'"),
    (statement(Sid=7), "Sid", "the number 7"),
    (statement(Action=None), "", "neither Action nor NotAction"),
    (statement(NotAction="s3:*"), "", "both Action and NotAction"),
    (statement(Action=[]), "Action", "empty"),
    (statement(Action=["s3:GetObject", "s3:GetObjcet"]), "Action[1]", "did you mean s3:GetObject"),
    (statement(Action="s3:Frob*"), "Action", "matches no action"),
    (statement(Action="ec2:RunInstances"), "Action", "action of 'ec2'"),
    (statement(Action="GetObject"), "Action", "matches no action"),
    (statement(Action=[["s3:GetObject"]]), "Action[0]", "a list"),
    (statement(Resource=None), "", "neither Resource nor NotResource"),
    (statement(Resource=None, Action=None, NotAction="admin:*"), "", "neither Resource nor NotResource"),
    (statement(Resource=None, Action=["admin:*", "s3:*"]), "", "neither Resource nor NotResource"),
    (statement(NotResource="*"), "", "both Resource and NotResource"),
    (statement(Resource="images/*"), "Resource", "write arn:aws:s3:::bucket"),
    (statement(Resource="arn:aws:s3:::"), "Resource", "names no bucket"),
    (statement(Resource="arn:aws:s3:::/a"), "Resource", "names no bucket"),
    (statement(Resource="arn:aws:s3:eu-west-1:123456789012:accesspoint/a"), "Resource", "region or an account"),
    (statement(Resource="arn:aws:sqs:::a"), "Resource", "resource of 'sqs'"),
    (statement(Resource="arn:gcp:s3:::a"), "Resource", "partition 'gcp'"),
    (statement(Resource=f"arn:aws:s3:::{'a' * 2048}"), "Resource", "at most 2,048"),
    (statement(Resource="arn:aws:s3:::a/${aws:username"), "Resource", "never closes"),
    (statement(Resource="arn:aws:s3:::a/${aws:nobody}"), "Resource", "no condition key"),
    (statement(Resource="arn:aws:s3:::a/${}"), "Resource", "no variable"),
    (statement(Resource="arn:aws:s3:::a/${aws:username, x}"), "Resource", "no variable"),
    (statement(Resource=[f"arn:aws:s3:::a*x?{'y' * 127}*"] * 2), "Resource[1]", "slow"),
    (statement(Principal="*"), "Principal", "only bucket policies"),
    (statement(NotPrincipal="*"), "NotPrincipal", "only bucket policies"),
    (statement(Condition=[]), "Condition", "an object belongs here, not a list"),
    (statement(Condition={"StringLik": {"s3:prefix": "a"}}), "Condition.StringLik", "did you mean StringLike"),
    (statement(Condition={"NullIfExists": {"s3:prefix": "true"}}), "Condition.NullIfExists", "Null takes neither"),
    (statement(Condition={"ForAllValues:Null": {"s3:prefix": "true"}}), "Condition.ForAllValues:Null", "Null takes"),
    (statement(Condition={"StringLike": {"s3:prefx": "a"}}), "Condition.StringLike.s3:prefx", "did you mean s3:prefix"),
    (statement(Condition={"Null": {"s3:ExistingObjectTag/": "true"}}), "Condition.Null.s3:ExistingObjectTag/", "no"),
    (statement(Condition={"StringLike": {"s3:prefix": {"a": "b"}}}), "Condition.StringLike.s3:prefix", "an object"),
    (statement(Condition={"StringLike": {"s3:prefix": [None]}}), "Condition.StringLike.s3:prefix[0]", "null"),
    (statement(Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/x"}}), "Condition.IpAddress.aws:SourceIp", "range"),
    (statement(Condition={"NumericEquals": {"s3:max-keys": "ten"}}), "Condition.NumericEquals.s3:max-keys", "number"),
    (statement(Condition={"DateEquals": {"aws:CurrentTime": "2026-13"}}), "Condition.DateEquals.aws:CurrentTime", "no"),
    (statement(Condition={"Bool": {"aws:SecureTransport": "yes"}}), "Condition.Bool.aws:SecureTransport", "neither"),
    (statement(Condition={"BinaryEquals": {"jwt:a": "?"}}), "Condition.BinaryEquals.jwt:a", "base64"),
    (statement(Condition={"ArnLike": {"aws:PrincipalArn": "alice"}}), "Condition.ArnLike.aws:PrincipalArn", "no ARN"),
    (statement(Condition={"StringLike": {"s3:prefix": f"*a?{'b' * 300}*"}}), "Condition.StringLike.s3:prefix", "slow"),
]  # fmt: skip


@pytest.mark.parametrize(("bad", "position", "remedy"), BAD_STATEMENTS, ids=[it[1] + it[2] for it in BAD_STATEMENTS])
def test_what_is_wrong_in_a_statement_is_refused_with_its_position(bad: Json, position: str, remedy: str) -> None:
    error = refused(document(statement(), bad))
    assert error.details["position"] == f"Statement[1].{position}".rstrip(".")
    assert remedy in error.message


BAD_BUCKET_STATEMENTS: list[tuple[Json, str, str]] = [
    (statement(), "", "neither Principal nor NotPrincipal"),
    (statement(Principal="alice"), "Principal", 'write "*"'),
    (statement(Principal={}), "Principal", "no principal"),
    (statement(Principal={"AWS": []}), "Principal.AWS", "empty"),
    (statement(Principal={"Aws": "*"}), "Principal.Aws", "did you mean 'AWS'"),
    (statement(Principal={"AWS": "arn:aws:iam:::user/*"}), "Principal.AWS", "wildcard"),
    (statement(Principal={"CanonicalUser": "*"}), "Principal.CanonicalUser", "wildcard"),
    (statement(Principal={"AWS": ["a", "arn:aws:s3:::a"]}), "Principal.AWS[1]", "no principal"),
    (statement(Principal={"AWS": ""}), "Principal.AWS", "empty"),
    (statement(Principal="*", Action="admin:*"), "Action", "no action on a bucket"),
    (statement(Principal="*", Action=["s3:*", "sts:Assume*"]), "Action[1]", "no action on a bucket"),
    (statement(Principal="*", Resource="arn:aws:s3:::other/*"), "Resource", "no resource of bucket 'images'"),
    (statement(Principal="*", Resource=["*", "arn:aws:s3:::images2/*"]), "Resource[1]", "no resource of bucket"),
    (statement(Principal="*", Resource="arn:aws:s3:::imag?/*"), "Resource", "no resource of bucket"),
    (statement(Principal="*", Resource="arn:aws:kms:::key/a"), "Resource", "not in a bucket"),
    (statement(Principal="*", Action=["s3:*", "s3:ListBucket"]), "Action[1]", "add the resource arn:aws:s3:::images"),
    (statement(Principal="*", Resource="arn:aws:s3:::images"), "Action", "add the resource arn:aws:s3:::images/*"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("bad", "position", "remedy"), BAD_BUCKET_STATEMENTS, ids=[it[2] for it in BAD_BUCKET_STATEMENTS]
)
def test_what_does_not_belong_in_a_bucket_policy_is_refused(bad: Json, position: str, remedy: str) -> None:
    error = refused(document(bad), BUCKET, "images")
    assert error.details["position"] == f"Statement[0].{position}".rstrip(".")
    assert remedy in error.message


def test_the_place_is_given_as_path_line_and_column() -> None:
    text = (
        '{"Version": "2012-10-17",\n "Statement": [\n  {"Effect": "Allow", "Action": ["s3:Nope"],\n "Resource": "*"}]}'
    )
    error = refused(text)
    assert error.details == {"position": "Statement[0].Action[0]", "line": 3, "column": 34}
    assert error.message.startswith("the policy is invalid at Statement[0].Action[0] (line 3, column 34): 's3:Nope'")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"Version": "2012-10-17",\n "Statement": [}', (2, 16)),
        ('{"Version": "2012-10-17",\n "Version": "2012-10-17"}', (2, 2)),
        ('{"Statement": [{"Effect": "Allow",\n"Effect": "Deny"}]}', (2, 1)),
        (document(statement()).replace("}]}", ',\n"Condition": {"Bool": {}, "Bool": {}}}]}'), (2, 27)),
    ],
)  # fmt: skip
def test_broken_json_and_members_that_come_twice_are_refused_where_they_are(text: str, place: tuple[int, int]) -> None:
    error = refused(text)
    assert (error.details["line"], error.details["column"]) == place


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("", "no JSON"),
        ("[]", "not a list"),
        ("{}", "no Statement"),
        ('{"Statement": []}', "empty"),
        ('{"Statement": {}, "Version": "2020-01-01"}', "2012-10-17"),
        ('{"Statement": {}, "Statements": {}}', "did you mean 'Statement'"),
        ('{"Statement": ["\\ud800"]}', "surrogate"),
        ('{"Statement": [{"Sid": NaN}]}', "NaN"),
        ("[" * 5_000, "deep"),
        (document(statement(Sid="x" * SIZE_BYTES_MAX)), "at most 20,480"),
        ("\ud800", "UTF-8"),
    ],
)
def test_what_is_no_policy_at_all_is_refused(text: str, remedy: str) -> None:
    assert remedy in refused(text).message


@pytest.mark.parametrize("value", ["\x00\n\ufffe\x1b[2J", "x" * 3_000, "한글"])
def test_a_message_has_no_control_characters_and_an_end(value: str) -> None:
    for bad in (statement(Resource=value), statement(Action=value), statement(**{value: 1}), statement(Sid={value: 1}),
                statement(Condition={"StringLike": {value: "a"}})):  # fmt: skip
        error = refused(document(bad))
        shown = error.message + str(error.details["position"])
        assert shown.isprintable()
        assert len(shown) < 1_500


def test_bytes_that_are_not_utf8_are_refused() -> None:
    assert "UTF-8" in refused(b"\xff\xfe").message


@pytest.mark.parametrize("version", [{"Version": "2008-10-17"}, {}])
def test_a_variable_without_the_version_that_has_variables_is_refused(version: Json) -> None:
    """AWS would compare with the very characters, so that a deny would silently deny nothing."""
    text = json.dumps(version | {"Statement": statement(Resource="arn:aws:s3:::home/${aws:username}/*")})
    error = refused(text)
    assert error.details["position"] == "Statement.Resource"
    assert '"Version": "2012-10-17"' in error.message


def test_an_action_must_be_one_that_a_resource_beside_it_can_have_unless_it_is_a_wildcard() -> None:
    both = statement(Principal="*", Action=["s3:ListBucket", "s3:GetObject"], Resource=["arn:aws:s3:::images*"])
    parse_policy(document(both), BUCKET, bucket="images")
    parse_policy(document(statement(Principal="*", Action="s3:*")), BUCKET, bucket="images")
    parse_policy(document(statement(Action="s3:ListBucket")), IDENTITY)
