"""Service accounts and sessions: what their owners, and others, may do with them."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from minio.credentials.providers import AssumeRoleProvider
from tests.conformance.minio_admin.conftest import Account
from tests.support.admin import AdminClient, RawAdmin, admin_client, admin_refused, policy_of
from tests.support.clients import boto3_client, refused
from tests.support.server import Endpoint

READ_A = policy_of({"Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::*/a"]})


@pytest.fixture
def key(server: Endpoint, user: Account, name: str) -> Account:
    """Make a service account of a user, by the user."""
    secret = f"key-{user.secret}"
    user.admin.add_service_account(access_key=name, secret_key=secret, name="pipeline", description="nightly")
    return Account(name, secret, server)


def test_a_service_account_is_made_described_listed_changed_and_removed(admin: AdminClient, name: str) -> None:
    made = json.loads(
        admin.add_service_account(
            access_key=name, secret_key="its-own-secret", name="n", description="d", policy=READ_A,
            expiration="2099-01-31T12:00:00Z",
        )
    )  # fmt: skip
    assert made == {
        "credentials": {
            "accessKey": name, "secretKey": "its-own-secret", "expiration": "2099-01-31T12:00:00.000Z",
        }
    }  # fmt: skip
    found = json.loads(admin.get_service_account(name))
    assert (found["parentUser"], found["accountStatus"], found["impliedPolicy"]) == ("conformance", "on", False)
    assert (found["name"], found["description"]) == ("n", "d")
    assert json.loads(found["policy"]) == READ_A
    listed = {entry["accessKey"]: entry for entry in json.loads(admin.list_service_account("conformance"))["accounts"]}
    assert listed[name]["expiration"] == "2099-01-31T12:00:00.000Z"
    admin.update_service_account(
        access_key=name, secret_key="another-secret", name="m", description="e", status="off",
        policy=policy_of({"Action": ["s3:ListBucket"], "Resource": ["arn:aws:s3:::*"]}),
        expiration="2098-01-31T12:00:00Z",
    )  # fmt: skip
    changed = json.loads(admin.get_service_account(name))
    assert (changed["accountStatus"], changed["name"], changed["description"]) == ("off", "m", "e")
    assert changed["expiration"].startswith("2098")
    assert "s3:ListBucket" in changed["policy"]
    admin.delete_service_account(name)
    with admin_refused("XMinioAdminServiceAccountNotFound", 404):
        admin.get_service_account(name)


def test_what_is_not_given_is_generated(admin: AdminClient) -> None:
    made = json.loads(admin.add_service_account())["credentials"]
    assert (len(made["accessKey"]), len(made["secretKey"])) == (20, 40)
    assert made["expiration"] == "1970-01-01T00:00:00Z"


def test_a_key_has_its_owners_rights_unless_its_policy_cuts_them(
    admin: AdminClient, new_user: Callable[..., Account], server: Endpoint, name: str
) -> None:
    owner = new_user("readwrite")
    owner.s3.create_bucket(Bucket=name)
    owner.s3.put_object(Bucket=name, Key="a", Body=b"a")
    whole = json.loads(owner.admin.add_service_account())["credentials"]
    cut = json.loads(owner.admin.add_service_account(policy=READ_A))["credentials"]
    whole_s3 = Account(whole["accessKey"], whole["secretKey"], server).s3
    cut_s3 = Account(cut["accessKey"], cut["secretKey"], server).s3
    whole_s3.put_object(Bucket=name, Key="a", Body=b"aa")
    assert cut_s3.get_object(Bucket=name, Key="a")["Body"].read() == b"aa"
    with refused("AccessDenied", 403):
        cut_s3.put_object(Bucket=name, Key="a", Body=b"aaa")
    admin.detach_policy(["readwrite"], user=owner.name)
    for client in (whole_s3, cut_s3):
        with refused("AccessDenied", 403):
            client.get_object(Bucket=name, Key="a")


def test_users_deal_with_their_own_keys_and_with_no_others(
    key: Account, user: Account, new_user: Callable[..., Account]
) -> None:
    stranger = new_user("readwrite")
    assert json.loads(user.admin.get_service_account(key.name))["name"] == "pipeline"
    assert [entry["accessKey"] for entry in json.loads(user.admin.list_service_account(user.name))["accounts"]] == [
        key.name
    ]
    for attempt in (
        partial(stranger.admin.get_service_account, key.name),
        partial(stranger.admin.list_service_account, user.name),
        partial(stranger.admin.update_service_account, access_key=key.name, secret_key="taken-over"),
        partial(stranger.admin.delete_service_account, key.name),
        partial(stranger.admin.get_service_account, "no-such-key"),
    ):
        with admin_refused("AccessDenied", 403):
            attempt()
    answer = stranger.raw.send(
        "PUT", "add-service-account", body=json.dumps({"targetUser": user.name}).encode(), sealed=True
    )
    assert (answer.status, answer.code) == (403, "AccessDenied")
    user.admin.update_service_account(access_key=key.name, status="off")
    user.admin.delete_service_account(key.name)


def test_a_deny_keeps_users_from_making_keys_of_their_own(
    user: Account, admin: AdminClient, new_policy: Callable[..., str]
) -> None:
    admin.attach_policy([new_policy({"Effect": "Deny", "Action": ["admin:CreateServiceAccount"]})], user=user.name)
    with admin_refused("AccessDenied", 403):
        user.admin.add_service_account()


def test_a_key_with_a_policy_cannot_give_itself_more(
    new_user: Callable[..., Account], server: Endpoint, name: str
) -> None:
    owner = new_user("consoleAdmin")
    made = json.loads(owner.admin.add_service_account(policy=READ_A))["credentials"]
    cut = Account(made["accessKey"], made["secretKey"], server)
    everything = policy_of({"Action": ["s3:*"], "Resource": ["arn:aws:s3:::*"]})
    for attempt in (
        cut.admin.add_service_account,
        partial(cut.admin.update_service_account, access_key=cut.name, policy=everything),
        partial(cut.admin.user_add, name, "some-secret"),
        partial(cut.admin.user_add, owner.name, "some-secret"),
        partial(cut.admin.delete_service_account, cut.name),
    ):
        with admin_refused("AccessDenied", 403):
            attempt()
    assert json.loads(owner.admin.get_service_account(cut.name))["impliedPolicy"] is False
    owner.s3.list_buckets()


def test_a_key_without_a_policy_makes_keys_as_its_owner_does(key: Account, user: Account) -> None:
    made = json.loads(key.admin.add_service_account())["credentials"]
    assert json.loads(user.admin.get_service_account(made["accessKey"]))["parentUser"] == user.name
    with admin_refused("AccessDenied", 403):  # its owner's secret is not its to change
        key.admin.user_add(user.name, "taken-over")


def test_an_administrator_who_is_not_root_makes_keys_for_users_and_not_for_root(
    new_user: Callable[..., Account], user: Account, admin: AdminClient
) -> None:
    boss = new_user("consoleAdmin")
    body = {"targetUser": user.name, "accessKey": f"{user.name}-key"[:20], "secretKey": "given-secret"}
    answer = boss.raw.send("PUT", "add-service-account", body=json.dumps(body).encode(), sealed=True)
    assert answer.opened()["credentials"]["accessKey"] == body["accessKey"]
    roots = json.loads(admin.add_service_account())["credentials"]["accessKey"]
    answer = boss.raw.send("PUT", "add-service-account", body=b'{"targetUser":"conformance"}', sealed=True)
    assert (answer.status, answer.code) == (403, "AccessDenied")
    with admin_refused("AccessDenied", 403):
        boss.admin.update_service_account(access_key=roots, secret_key="taken-over")


def test_a_key_that_is_off_expired_or_whose_owner_is_off_is_nobodys(
    key: Account, user: Account, admin: AdminClient
) -> None:
    admin.attach_policy(["readonly"], user=user.name)
    key.s3.list_buckets()
    admin.update_service_account(access_key=key.name, status="off")
    with refused("InvalidAccessKeyId", 403):
        key.s3.list_buckets()
    admin.update_service_account(access_key=key.name, status="on")
    key.s3.list_buckets()
    admin.user_disable(user.name)
    with refused("InvalidAccessKeyId", 403):
        key.s3.list_buckets()
    admin.user_enable(user.name)
    key.s3.list_buckets()
    admin.user_remove(user.name)
    with refused("InvalidAccessKeyId", 403):
        key.s3.list_buckets()
    with admin_refused("XMinioAdminServiceAccountNotFound", 404):
        admin.get_service_account(key.name)


def test_a_secret_that_was_replaced_stops_at_once(key: Account, user: Account, admin: AdminClient) -> None:
    admin.attach_policy(["readonly"], user=user.name)
    user.admin.update_service_account(access_key=key.name, secret_key="a-newer-secret")
    with refused("SignatureDoesNotMatch", 403):
        key.s3.list_buckets()
    Account(key.name, "a-newer-secret", key.endpoint).s3.list_buckets()


def test_an_access_key_that_somebody_has_is_not_given_away(admin: AdminClient, key: Account, user: Account) -> None:
    for taken in (key.name, user.name, "conformance"):
        with admin_refused("XMinioAdminInvalidAccessKey", 400):
            admin.add_service_account(access_key=taken, secret_key="some-secret")
    with admin_refused("XMinioAdminInvalidAccessKey", 400):
        admin.user_add(key.name, "some-secret")


@pytest.mark.parametrize("expiration", ["2001-01-31T12:00:00Z", "1969-12-31T00:00:00Z", "tomorrow"])
def test_an_expiry_that_cannot_be_is_refused(admin: AdminClient, expiration: str) -> None:
    with admin_refused("InvalidArgument", 400):
        admin.add_service_account(expiration=expiration)


def test_nobody_makes_a_key_that_breaks_the_list_of_all(user: Account, mc: RawAdmin) -> None:
    body = {"expiration": "9999-12-31T23:59:59-01:00"}  # in the year 10000, where the list is made
    answer = user.raw.send("PUT", "add-service-account", body=json.dumps(body).encode(), sealed=True)
    assert (answer.status, answer.code) == (400, "InvalidArgument")
    body["expiration"] = "9999-12-31T23:59:59.999Z"
    assert user.raw.send("PUT", "add-service-account", body=json.dumps(body).encode(), sealed=True).status == 200
    [listed] = mc.send("GET", "list-access-keys-bulk", {"all": "true"}).opened()[user.name]["serviceAccounts"]
    assert listed["expiration"] == "9999-12-31T23:59:59.999Z"


def test_a_key_of_somebody_else_is_told_from_none_by_nothing(key: Account, new_user: Callable[..., Account]) -> None:
    stranger = new_user("readwrite").raw
    for method, path in (
        ("GET", "info-service-account"),
        ("GET", "info-access-key"),
        ("GET", "temporary-account-info"),
        ("DELETE", "delete-service-account"),
    ):
        theirs, none = (stranger.send(method, path, {"accessKey": name}).json for name in (key.name, "no-such-key"))
        for answer in (theirs, none):
            del answer["RequestId"]
        assert theirs == none


def test_temporary_credentials_are_described_and_sign_admin_requests(
    new_user: Callable[..., Account], server: Endpoint, admin: AdminClient, mc: RawAdmin
) -> None:
    owner = new_user("consoleAdmin")
    provider = AssumeRoleProvider(
        sts_endpoint=server.url, access_key=owner.name, secret_key=owner.secret, duration_seconds=900,
        region="us-east-1",
    )  # fmt: skip
    held: Any = provider.retrieve()
    found = mc.send("GET", "temporary-account-info", {"accessKey": held.access_key}).opened()
    assert (found["parentUser"], found["accountStatus"], found["impliedPolicy"]) == (owner.name, "on", True)
    described = mc.send("GET", "info-access-key", {"accessKey": held.access_key}).opened()
    assert (described["userType"], described["userProvider"]) == ("STS", "builtin")
    session = admin_client(server, held.access_key, held.secret_key, held.session_token)
    assert owner.name in json.loads(session.user_list())
    with pytest.raises(Exception, match="InvalidToken"):
        admin_client(server, held.access_key, held.secret_key).user_list()
    bulk = mc.send("GET", "list-access-keys-bulk", {"listType": "sts-only", "users": owner.name}).opened()
    assert [entry["accessKey"] for entry in bulk[owner.name]["stsKeys"]] == [held.access_key]
    with admin_refused("XMinioAdminServiceAccountNotFound", 404):
        admin.get_service_account(held.access_key)
    boto3_client(server).list_buckets()


def test_all_keys_are_listed_in_bulk_by_user(mc: RawAdmin, key: Account, user: Account) -> None:
    everybody = mc.send("GET", "list-access-keys-bulk", {"listType": "all", "all": "true"}).opened()
    assert [entry["accessKey"] for entry in everybody[user.name]["serviceAccounts"]] == [key.name]
    assert "conformance" in everybody
    own = user.raw.send("GET", "list-access-keys-bulk", {"listType": "svcacc-only"}).opened()
    assert list(own) == [user.name]
    answer = user.raw.send("GET", "list-access-keys-bulk", {"listType": "all", "all": "true"})
    assert (answer.status, answer.code) == (403, "AccessDenied")


def test_a_key_is_described_whatever_it_is(mc: RawAdmin, key: Account, user: Account) -> None:
    found = mc.send("GET", "info-access-key", {"accessKey": key.name}).opened()
    assert (found["AccessKey"], found["userType"], found["userProvider"]) == (key.name, "Service Account", "builtin")
    assert key.raw.send("GET", "info-access-key").opened()["AccessKey"] == key.name
    answer = mc.send("GET", "temporary-account-info", {"accessKey": key.name})
    assert (answer.status, answer.code) == (404, "XMinioInvalidIAMCredentials")
    assert user.name in found["parentUser"]
