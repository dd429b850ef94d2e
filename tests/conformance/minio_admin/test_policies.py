"""Policies through minio-py's MinioAdmin, with the older and the newer calls."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conformance.minio_admin.conftest import Account
from tests.support.admin import AdminClient, RawAdmin, admin_refused, policy_of
from tests.support.clients import refused

READ_B = policy_of({"Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::b/*"]})


def test_a_policy_is_kept_as_its_author_wrote_it(admin: AdminClient, name: str, tmp_path: Path) -> None:
    text = json.dumps(READ_B, indent=3) + "\n"
    file = tmp_path / "policy.json"
    file.write_text(text)
    admin.policy_add(name, policy_file=str(file))
    assert admin.policy_info(name) == text
    assert json.loads(admin.policy_list())[name] == READ_B
    admin.policy_remove(name)
    with admin_refused("XMinioAdminNoSuchPolicy", 404):
        admin.policy_info(name)


def test_the_built_in_policies_are_there(admin: AdminClient) -> None:
    listed = json.loads(admin.policy_list())
    assert {"consoleAdmin", "diagnostics", "readonly", "readwrite", "writeonly"} <= set(listed)
    assert json.loads(admin.policy_info("readonly")) == listed["readonly"]


@pytest.mark.parametrize(
    "document",
    [
        policy_of({"Action": ["s3:GetObjekt"], "Resource": ["arn:aws:s3:::b/*"]}),
        policy_of({"Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::b/*"], "Condition": {"StringIs": {}}}),
        policy_of({"Action": ["s3:GetObject"]}),
        {"Version": "2012-10-17"},
    ],
)
def test_a_policy_that_says_nothing_clear_is_refused_with_its_place(
    admin: AdminClient, name: str, document: dict[str, object]
) -> None:
    with pytest.raises(Exception, match=r"Statement|line") as refusal:
        admin.policy_add(name, policy=document)
    assert "Status: 400" in str(refusal.value)
    assert name not in json.loads(admin.policy_list())


def test_policies_are_attached_and_detached(admin: AdminClient, user: Account, new_policy: Callable[..., str]) -> None:
    one = new_policy({"Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::b/*"]})
    two = new_policy({"Action": ["s3:PutObject"], "Resource": ["arn:aws:s3:::b/*"]})
    attached = json.loads(admin.attach_policy([one, two], user=user.name))
    assert set(attached["policiesAttached"]) == {one, two}
    assert json.loads(admin.user_info(user.name))["policyName"] == ",".join(sorted([one, two]))
    with admin_refused("XMinioAdminPolicyChangeAlreadyApplied", 400):
        admin.attach_policy([one], user=user.name)
    with admin_refused("XMinioAdminPolicyInUse", 400):
        admin.policy_remove(one)
    detached = json.loads(admin.detach_policy([one], user=user.name))
    assert detached["policiesDetached"] == [one]
    with admin_refused("XMinioAdminPolicyChangeAlreadyApplied", 400):
        admin.detach_policy([one], user=user.name)
    admin.policy_unset(two, user=user.name)
    assert "policyName" not in json.loads(admin.user_info(user.name))


def test_the_older_call_replaces_all_policies(admin: AdminClient, user: Account, name: str) -> None:
    admin.policy_set("readonly,writeonly", user=user.name)
    assert json.loads(admin.user_info(user.name))["policyName"] == "readonly,writeonly"
    admin.policy_set("diagnostics", user=user.name)
    assert json.loads(admin.user_info(user.name))["policyName"] == "diagnostics"
    admin.group_add(name, [user.name])
    admin.policy_set("readwrite", group=name)
    assert json.loads(admin.group_info(name))["policy"] == "readwrite"


def test_what_is_not_there_is_not_attached(admin: AdminClient, user: Account) -> None:
    with admin_refused("XMinioAdminNoSuchPolicy", 404):
        admin.attach_policy(["readonly", "no-such-policy"], user=user.name)
    with admin_refused("XMinioAdminNoSuchPolicy", 404):
        admin.policy_set("no-such-policy", user=user.name)
    with admin_refused("XMinioAdminNoSuchUser", 404):
        admin.attach_policy(["readonly"], user="nobody-here")
    with admin_refused("XMinioAdminNoSuchGroup", 404):
        admin.attach_policy(["readonly"], group="no-group-here")
    assert "policyName" not in json.loads(admin.user_info(user.name))


def test_entities_say_who_has_what_from_three_sides(admin: AdminClient, user: Account, name: str) -> None:
    admin.group_add(name, [user.name])
    admin.attach_policy(["writeonly"], group=name)
    admin.attach_policy(["readonly"], user=user.name)
    found = json.loads(admin.get_policy_entities([user.name], [name], ["writeonly"]))
    assert found["userMappings"] == [
        {
            "user": user.name,
            "policies": ["readonly"],
            "memberOfMappings": [{"group": name, "policies": ["writeonly"]}],
        }
    ]
    assert found["groupMappings"] == [{"group": name, "policies": ["writeonly"]}]
    (uses,) = found["policyMappings"]
    assert (uses["policy"], name in uses["groups"]) == ("writeonly", True)
    everything = json.loads(admin.get_policy_entities([], [], []))
    assert set(everything) == {"timestamp", "policyMappings"}
    assert "readonly" in {uses["policy"] for uses in everything["policyMappings"]}


def test_what_mc_asks_for_has_the_policys_name_and_times(mc: RawAdmin, new_policy: Callable[..., str]) -> None:
    name = new_policy({"Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::b/*"]})
    found = mc.send("GET", "info-canned-policy", {"name": name, "v": 2}).json
    assert found["PolicyName"] == name
    assert found["Policy"]["Statement"][0]["Action"] == ["s3:GetObject"]
    assert found["CreateDate"] == found["UpdateDate"]
    builtin = mc.send("GET", "info-canned-policy", {"name": "readonly", "v": 2}).json
    assert set(builtin) == {"PolicyName", "Policy"}


def test_a_policy_counts_from_the_moment_it_is_attached(
    admin: AdminClient, user: Account, new_policy: Callable[..., str], name: str
) -> None:
    policy = new_policy({"Action": ["s3:*"], "Resource": [f"arn:aws:s3:::{name}", f"arn:aws:s3:::{name}/*"]})
    with refused("AccessDenied", 403):
        user.s3.create_bucket(Bucket=name)
    admin.attach_policy([policy], user=user.name)
    user.s3.create_bucket(Bucket=name)
    user.s3.put_object(Bucket=name, Key="a", Body=b"a")
    admin.policy_add(policy, policy=policy_of({"Action": ["s3:ListBucket"], "Resource": [f"arn:aws:s3:::{name}"]}))
    with refused("AccessDenied", 403):
        user.s3.get_object(Bucket=name, Key="a")
    assert user.s3.list_objects_v2(Bucket=name)["KeyCount"] == 1
