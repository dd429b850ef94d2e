"""Users and groups through minio-py's MinioAdmin."""

import json
from collections.abc import Callable
from functools import partial

import pytest
from tests.conformance.minio_admin.conftest import Account
from tests.support.admin import AdminClient, admin_refused, policy_of
from tests.support.clients import refused


def test_a_user_is_added_listed_described_and_removed(admin: AdminClient, name: str) -> None:
    admin.user_add(name, "a-fine-secret")
    listed = json.loads(admin.user_list())[name]
    assert listed["status"] == "enabled"
    assert listed["updatedAt"].endswith("Z")
    assert json.loads(admin.user_info(name)) == listed
    admin.user_remove(name)
    assert name not in json.loads(admin.user_list())
    with admin_refused("XMinioAdminNoSuchUser", 404):
        admin.user_info(name)


def test_a_user_added_again_has_the_new_secret_alone(admin: AdminClient, user: Account) -> None:
    admin.attach_policy(["readonly"], user=user.name)
    user.s3.list_buckets()
    admin.user_add(user.name, "another-secret")
    with refused("SignatureDoesNotMatch", 403):
        user.s3.list_buckets()
    again = Account(user.name, "another-secret", user.endpoint)
    again.s3.list_buckets()
    assert json.loads(again.admin.user_info(user.name))["policyName"] == "readonly"


def test_a_disabled_user_is_nobody_until_enabled_again(admin: AdminClient, new_user: Callable[..., Account]) -> None:
    user = new_user("readonly")
    user.s3.list_buckets()
    admin.user_disable(user.name)
    assert json.loads(admin.user_info(user.name))["status"] == "disabled"
    with refused("InvalidAccessKeyId", 403):
        user.s3.list_buckets()
    admin.user_enable(user.name)
    user.s3.list_buckets()


def test_users_may_look_at_themselves_and_set_their_secret_but_not_more(new_user: Callable[..., Account]) -> None:
    user, other = new_user("readonly"), new_user("readonly")
    assert json.loads(user.admin.user_info(user.name))["status"] == "enabled"
    user.admin.user_add(user.name, "my-own-choice")
    again = Account(user.name, "my-own-choice", user.endpoint)
    again.s3.list_buckets()
    for attempt in (
        again.admin.user_list,
        partial(again.admin.user_info, other.name),
        partial(again.admin.user_add, other.name, "taken-over"),
        partial(again.admin.user_add, "someone-new", "some-secret"),
        partial(again.admin.user_remove, other.name),
        partial(again.admin.user_disable, other.name),
        partial(again.admin.attach_policy, ["consoleAdmin"], user=user.name),
    ):
        with admin_refused("AccessDenied", 403):
            attempt()
    other.s3.list_buckets()


def test_nobody_gives_themselves_a_policy_while_setting_their_secret(user: Account) -> None:
    answer = user.raw.send(
        "PUT", "add-user", {"accessKey": user.name},
        json.dumps({"secretKey": user.secret, "status": "enabled", "policy": "consoleAdmin"}).encode(), sealed=True,
    )  # fmt: skip
    assert (answer.status, answer.code) == (403, "AccessDenied")
    assert "policyName" not in json.loads(user.admin.user_info(user.name))


def test_who_may_only_make_users_makes_none_with_policies(
    new_user: Callable[..., Account], admin: AdminClient, name: str
) -> None:
    admin.policy_add(f"{name}-maker", policy=policy_of({"Action": ["admin:CreateUser"]}))
    maker = new_user(f"{name}-maker")
    for whom in (name, maker.name):
        body = json.dumps({"secretKey": maker.secret, "status": "enabled", "policy": "consoleAdmin"}).encode()
        answer = maker.raw.send("PUT", "add-user", {"accessKey": whom}, body, sealed=True)
        assert (answer.status, answer.code) == (403, "AccessDenied")
    assert name not in json.loads(admin.user_list())
    assert json.loads(admin.user_info(maker.name))["policyName"] == f"{name}-maker"
    maker.admin.user_add(name, "some-secret")
    admin.policy_add(
        f"{name}-maker", policy=policy_of({"Action": ["admin:CreateUser", "admin:AttachUserOrGroupPolicy"]})
    )
    body = json.dumps({"secretKey": "some-secret", "policy": "readonly"}).encode()
    assert maker.raw.send("PUT", "add-user", {"accessKey": name}, body, sealed=True).status == 200
    assert json.loads(admin.user_info(name))["policyName"] == "readonly"


def test_administrators_cannot_shut_themselves_out(new_user: Callable[..., Account]) -> None:
    boss = new_user("consoleAdmin")
    for attempt in (boss.admin.user_disable, boss.admin.user_remove):
        with admin_refused("InvalidArgument", 400):
            attempt(boss.name)
    body = json.dumps({"secretKey": boss.secret, "status": "disabled"}).encode()
    answer = boss.raw.send("PUT", "add-user", {"accessKey": boss.name}, body, sealed=True)
    assert (answer.status, answer.code) == (400, "InvalidArgument")
    boss.admin.user_list()


@pytest.mark.parametrize(
    ("access_key", "secret", "code"),
    [
        ("ab", "long-enough", "XMinioAdminInvalidAccessKey"),
        ("with/slash", "long-enough", "XMinioAdminInvalidAccessKey"),
        ("x" * 129, "long-enough", "XMinioAdminInvalidAccessKey"),
        ("conformance", "long-enough", "XMinioAdminInvalidAccessKey"),
        ("goodname", "short", "XMinioAdminInvalidSecretKey"),
    ],
)
def test_names_and_secrets_that_cannot_be_are_refused(
    admin: AdminClient, access_key: str, secret: str, code: str
) -> None:
    with admin_refused(code, 400) as refusal:
        admin.user_add(access_key, secret)
    assert secret not in str(refusal.value)
    assert access_key not in json.loads(admin.user_list())


def test_verbs_on_a_user_who_is_not_there_say_so(admin: AdminClient) -> None:
    for attempt in (admin.user_remove, admin.user_enable, admin.user_disable, admin.user_info):
        with admin_refused("XMinioAdminNoSuchUser", 404):
            attempt("nobody-here")


def test_a_group_is_filled_described_emptied_and_removed(
    admin: AdminClient, new_user: Callable[..., Account], name: str
) -> None:
    one, two = new_user(), new_user()
    admin.group_add(name, [one.name, two.name])
    assert name in json.loads(admin.group_list())
    found = json.loads(admin.group_info(name))
    assert (found["name"], found["status"], found["members"]) == (name, "enabled", sorted([one.name, two.name]))
    assert json.loads(admin.user_info(one.name))["memberOf"] == [name]
    with admin_refused("XMinioAdminGroupNotEmpty", 400):
        admin.group_remove(name)
    admin.group_remove(name, [one.name, two.name])
    admin.group_remove(name)
    assert name not in json.loads(admin.group_list())
    with admin_refused("XMinioAdminNoSuchGroup", 404):
        admin.group_info(name)


def test_a_groups_policies_count_for_members_while_it_is_enabled(
    admin: AdminClient, user: Account, name: str, new_policy: Callable[..., str]
) -> None:
    bucket = name
    policy = new_policy({"Action": ["s3:*"], "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]})
    admin.group_add(name, [user.name])
    admin.attach_policy([policy], group=name)
    assert json.loads(admin.group_info(name))["policy"] == policy
    user.s3.create_bucket(Bucket=bucket)
    user.s3.put_object(Bucket=bucket, Key="a", Body=b"a")
    admin.group_disable(name)
    assert json.loads(admin.group_info(name))["status"] == "disabled"
    with refused("AccessDenied", 403):
        user.s3.get_object(Bucket=bucket, Key="a")
    admin.group_enable(name)
    user.s3.get_object(Bucket=bucket, Key="a")
    admin.group_remove(name, [user.name])
    with refused("AccessDenied", 403):
        user.s3.get_object(Bucket=bucket, Key="a")


def test_a_group_takes_no_member_who_is_nobody_and_members_are_a_list(
    admin: AdminClient, user: Account, name: str
) -> None:
    with admin_refused("XMinioAdminNoSuchUser", 404):
        admin.group_add(name, [user.name, "nobody-here"])
    with admin_refused("XMinioAdminConfigBadJSON", 400):
        admin.group_add(name, user.name)
    assert name not in json.loads(admin.group_list())
