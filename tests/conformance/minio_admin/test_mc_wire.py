"""What `mc admin` sends, byte for byte where it matters: recorded from the program, sent here without it."""

import json

import pytest
from tests.conformance.minio_admin.conftest import Account
from tests.support.admin import RawAdmin
from tests.support.clients import boto3_client
from tests.support.server import Endpoint

from hosu.server.minio_admin.container import ARGON2_CHACHA, PBKDF2_AES, seal


@pytest.mark.parametrize("framing", ["chunked", "length", "none"])
def test_an_empty_body_may_come_in_chunks_with_a_length_or_not_at_all(
    mc: RawAdmin, user: Account, framing: str
) -> None:
    asked = {"accessKey": user.name, "status": "disabled"}
    answer = mc.send("PUT", "set-user-status", asked, framing=framing)
    assert (answer.status, answer.body) == (200, b"")
    assert mc.send("GET", "user-info", {"accessKey": user.name}).json["status"] == "disabled"


@pytest.mark.parametrize("region", ["", "us-east-1", "eu-west-1"])
def test_a_signature_may_name_any_region_or_none(mc: RawAdmin, region: str) -> None:
    assert mc.send("GET", "list-canned-policies", region=region).status == 200


@pytest.mark.parametrize("algorithm", [0, ARGON2_CHACHA, PBKDF2_AES])
def test_a_body_may_be_sealed_with_each_algorithm(mc: RawAdmin, name: str, algorithm: int) -> None:
    body = seal(json.dumps({"secretKey": "some-secret", "status": "enabled"}).encode(), mc.secret, algorithm=algorithm)
    assert mc.send("PUT", "add-user", {"accessKey": name}, body).status == 200
    assert name in mc.send("GET", "list-users").opened()


def test_answers_are_sealed_with_the_secret_of_whoever_asks(mc: RawAdmin, user: Account) -> None:
    answer = user.raw.send("GET", "list-service-accounts", {"user": user.name})
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.opened() == {"accounts": []}
    assert mc.send("GET", "list-users").body[32] == 0


def test_policies_are_attached_as_mc_does(mc: RawAdmin, user: Account) -> None:
    octets = {"Content-Type": "application/octet-stream"}
    body = json.dumps({"policies": ["readonly"], "user": user.name, "group": ""}).encode()
    answer = mc.send("POST", "idp/builtin/policy/attach", body=body, sealed=True, headers=octets)
    assert answer.opened()["policiesAttached"] == ["readonly"]
    assert mc.send("GET", "user-info", {"accessKey": user.name}).json["policyName"] == "readonly"
    answer = mc.send("POST", "idp/builtin/policy/attach", body=body, sealed=True, headers=octets)
    assert (answer.status, answer.code) == (400, "XMinioAdminPolicyChangeAlreadyApplied")
    answer = mc.send("POST", "idp/builtin/policy/detach", body=body, sealed=True, headers=octets)
    assert answer.opened()["policiesDetached"] == ["readonly"]
    assert "policyName" not in mc.send("GET", "user-info", {"accessKey": user.name}).json


def test_entities_are_asked_for_with_a_bare_question_mark(mc: RawAdmin, user: Account) -> None:
    body = json.dumps({"policies": ["readonly"], "user": user.name}).encode()
    mc.send("POST", "idp/builtin/policy/attach", body=body, sealed=True)
    found = mc.send("GET", "idp/builtin/policy-entities?").opened()
    (uses,) = (uses for uses in found["policyMappings"] if uses["policy"] == "readonly")
    assert user.name in uses["users"]
    assert "userMappings" not in found


def test_a_group_is_made_and_removed_as_mc_does(mc: RawAdmin, user: Account, name: str) -> None:
    def update(**fields: object) -> int:
        body = json.dumps({"group": name, "groupStatus": "", "isRemove": False} | fields).encode()
        return mc.send("PUT", "update-group-members", body=body).status

    assert update(members=[user.name]) == 200
    assert mc.send("PUT", "set-group-status", {"group": name, "status": "disabled"}).status == 200
    assert mc.send("GET", "group", {"group": name}).json["status"] == "disabled"
    assert update(members=[user.name], isRemove=True) == 200
    assert update(members=None, isRemove=True) == 200
    assert name not in mc.send("GET", "groups").json


def test_a_configuration_is_reset_by_a_delete_with_a_body(mc: RawAdmin) -> None:
    assert mc.send("DELETE", "del-config-kv", body=b"region", sealed=True).status == 200


def test_a_service_account_is_edited_as_mc_does(mc: RawAdmin, user: Account, name: str) -> None:
    body = {"targetUser": user.name, "accessKey": name, "secretKey": "first-secret"}
    made = mc.send("PUT", "add-service-account", body=json.dumps(body).encode(), sealed=True).opened()
    assert made["credentials"] == {
        "accessKey": name, "secretKey": "first-secret", "expiration": "1970-01-01T00:00:00Z",
    }  # fmt: skip
    edited = mc.send(
        "POST", "update-service-account", {"accessKey": name}, b'{"newSecretKey":"other-secret"}', sealed=True
    )
    assert (edited.status, edited.body) == (204, b"")
    found = mc.send("GET", "info-service-account", {"accessKey": name}).opened()
    assert (found["parentUser"], found["impliedPolicy"]) == (user.name, True)
    assert isinstance(found["policy"], str)
    assert mc.send("DELETE", "delete-service-account", {"accessKey": name}).status == 204


def test_a_quota_is_set_and_cleared_as_mc_does(mc: RawAdmin, server: Endpoint, name: str) -> None:
    boto3_client(server).create_bucket(Bucket=name)
    body = {"quota": 2_000_000, "size": 0, "rate": 0, "requests": 0, "quotatype": "hard"}
    assert mc.send("PUT", "set-bucket-quota", {"bucket": name}, json.dumps(body).encode()).status == 200
    assert mc.send("GET", "get-bucket-quota", {"bucket": name}).json["quota"] == 2_000_000
    cleared = {"quota": 0, "size": 0, "rate": 0, "requests": 0}
    assert mc.send("PUT", "set-bucket-quota", {"bucket": name}, json.dumps(cleared).encode()).status == 200
    assert mc.send("GET", "get-bucket-quota", {"bucket": name}).json["quota"] == 0
