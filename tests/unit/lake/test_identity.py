"""`lake.users`, `lake.groups`, `lake.policies`, `lake.keys`: identity as Python sees it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import hosu
from hosu.identity.authority import Authority
from hosu.kernel.auth import NO_CONTEXT
from hosu.kernel.errors import AccessDeniedError, ErrorKind, HosuError
from hosu.lake import Lake
from hosu.objects.audit_query import query
from hosu.testing.manual_clock import ManualClock

SECRET = "correct-horse-battery"
HOUR_MS = 3600 * 1000
READ: dict[str, Any] = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::images/*"}],
}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def lake(tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lake]:
    for name in ("HOSU_ROOT_USER", "MINIO_ROOT_USER"):
        monkeypatch.delenv(name, raising=False)
    with hosu.open(tmp_path / "lake", clock=clock, actor="ann") as lake:
        yield lake


def secrets_of(lake: Lake, name: str) -> tuple[str, ...]:
    return tuple(Authority(lake.store, ("", "")).secrets(name))


def test_before_anybody_is_made_there_is_nobody(lake: Lake) -> None:
    assert (lake.users.list(), lake.groups.list(), lake.keys.list()) == ([], [], [])
    assert all(policy.is_builtin for policy in lake.policies.list())
    assert not (lake.path / "meta" / "lake.key").exists()


def test_a_user_is_made_with_its_policies_or_not_at_all(lake: Lake) -> None:
    lake.policies.put("read", READ)
    with pytest.raises(HosuError) as refused:
        lake.users.add("alice", SECRET, policies=["read", "nothing"])
    assert refused.value.kind is ErrorKind.POLICY_NOT_FOUND
    assert lake.users.list() == []
    made = lake.users.add("alice", SECRET, policies=["read"])
    assert (made.access_key, made.secret) == ("alice", SECRET)
    assert SECRET not in repr(made)
    alice = lake.users.get("alice")
    assert (alice.policies, alice.is_enabled, alice.has_password) == (("read",), True, False)
    assert lake.users.list() == [alice]


def test_a_generated_secret_is_returned_and_works(lake: Lake) -> None:
    made = lake.users.add("alice")
    assert secrets_of(lake, "alice") == (made.secret,)
    assert len(made.secret) == 40


def test_rights_follow_users_groups_and_keys_at_once(lake: Lake) -> None:
    def may(name: str) -> bool:
        return lake.policies.explain(name, "s3:GetObject", "images/a").is_allowed

    lake.policies.put("read", READ)
    lake.users.add("alice")
    assert not may("alice")
    lake.groups.add("lab", ["alice"])
    assert lake.policies.attach("read", group="lab") == ["read"]
    assert may("alice")
    key = lake.keys.create("alice", name="ci").access_key
    assert may(key)
    lake.keys.edit(key, policy=READ | {"Statement": [READ["Statement"][0] | {"Effect": "Deny"}]})
    assert (may("alice"), may(key)) == (True, False)
    lake.groups.disable("lab")
    assert not may("alice")
    lake.groups.enable("lab")
    lake.users.disable("alice")
    assert not may("alice")
    lake.users.enable("alice")
    assert may("alice")
    assert lake.policies.detach(["read"], group="lab") == ["read"]
    assert not may("alice")


def test_both_secrets_are_valid_until_the_overlap_ends(lake: Lake, clock: ManualClock) -> None:
    lake.users.add("alice", SECRET)
    new = lake.users.rotate("alice", overlap_ms=HOUR_MS).secret
    assert set(secrets_of(lake, "alice")) == {SECRET, new}
    clock.advance(HOUR_MS)
    assert secrets_of(lake, "alice") == (new,)


def test_a_key_expires(lake: Lake, clock: ManualClock) -> None:
    lake.users.add("alice", SECRET, policies=["readonly"])
    made = lake.keys.create("alice", secret=SECRET, expires_ms=clock.now_ms() + HOUR_MS)
    assert secrets_of(lake, made.access_key) == (SECRET,)
    clock.advance(HOUR_MS)
    assert secrets_of(lake, made.access_key) == ()
    assert lake.policies.explain(made.access_key, "s3:GetObject", "images/a").reason == (
        f"access key {made.access_key} has expired"
    )


def test_a_user_is_not_rotated_as_a_key_and_a_key_not_as_a_user(lake: Lake) -> None:
    lake.users.add("alice", SECRET)
    key = lake.keys.create("alice", secret=SECRET).access_key
    with pytest.raises(HosuError) as refused:
        lake.users.rotate(key)
    assert refused.value.kind is ErrorKind.USER_NOT_FOUND
    assert secrets_of(lake, key) == (SECRET,)


def test_explanations_know_what_time_it_is_and_take_condition_keys_in_any_case(lake: Lake, clock: ManualClock) -> None:
    until = "2001-01-01T00:00:00Z"
    timed = READ["Statement"][0] | {"Condition": {"DateLessThan": {"aws:CurrentTime": until}}}
    lake.policies.put("timed", READ | {"Statement": [timed]})
    lake.users.add("alice", policies=["timed"])
    assert clock.now_ms() > 978_307_200_000
    ask = ("alice", "s3:GetObject", "images/a")
    assert not lake.policies.explain(*ask).is_allowed
    assert lake.policies.explain(*ask, {"AWS:currenttime": ["2000-12-31T00:00:00Z"]}).is_allowed
    with pytest.raises(HosuError) as refused:
        lake.policies.explain(*ask, {"aws:CurentTime": ["x"]})
    assert refused.value.kind is ErrorKind.INVALID_ARGUMENT


def test_an_explanation_is_what_the_server_decides(lake: Lake) -> None:
    lake.policies.put("read", READ)
    lake.users.add("alice", SECRET, policies=["read"])
    authority = Authority(lake.store, ("", ""))
    principal = authority.principal("alice", None)
    for action, resource in (("s3:GetObject", "images/a"), ("s3:GetObject", "other/a"), ("s3:PutObject", "images/a")):
        expected = lake.policies.explain("alice", action, resource).is_allowed
        assert authority.is_allowed(principal, action, resource, NO_CONTEXT) is expected
        if not expected:
            with pytest.raises(AccessDeniedError):
                authority.authorize(principal, action, resource, NO_CONTEXT)


def test_passwords_are_not_secrets(lake: Lake) -> None:
    lake.users.add("alice", SECRET)
    assert not lake.users.check_password("alice", SECRET)
    lake.users.set_password("alice", "open sesame")
    assert lake.users.check_password("alice", "open sesame")
    assert not lake.users.check_password("nobody", "open sesame")
    lake.users.set_password("alice", "")
    assert not lake.users.check_password("alice", "open sesame")


def test_every_change_is_audited_under_the_actor_and_without_a_secret(lake: Lake) -> None:
    lake.policies.put("read", READ)
    lake.users.add("alice", SECRET, policies=["read"])
    lake.groups.add("lab", "alice")
    key = lake.keys.create("alice", secret=SECRET + "-2").access_key
    lake.keys.disable(key)
    lake.keys.enable(key)
    lake.keys.rotate(key, SECRET + "-3")
    lake.keys.remove(key)
    lake.groups.remove_members("lab", "alice")
    lake.groups.remove("lab")
    lake.users.remove("alice")
    lake.policies.remove("read")
    lines = list(query(lake.path))
    assert {line.principal for line in lines} == {"ann"}
    assert [line.operation.removeprefix("in-process:") for line in lines] == [
        "PutPolicy",
        "PutUser",
        "AddMembers",
        "CreateKey",
        "DisableKey",
        "EnableKey",
        "RotateSecret",
        "RemoveKey",
        "RemoveMembers",
        "RemoveGroup",
        "RemoveUser",
        "RemovePolicy",
    ]
    assert SECRET not in repr(lines)


def test_root_is_known_by_setting_variable_or_the_lakes_own_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HOSU_ROOT_USER", "MINIO_ROOT_USER"):
        monkeypatch.delenv(name, raising=False)
    with hosu.open(tmp_path / "lake") as lake:
        assert lake.root_name() == ""
        (lake.path / "meta" / "root.json").write_text('{"access_key": "KEPT", "secret": "not-for-anybody"}')
        assert lake.root_name() == "KEPT"
        (lake.path / "hosu.toml").write_text('root_user = "written"\nroot_password = "not-for-anybody"\n')
        assert lake.root_name() == "written"
        monkeypatch.setenv("MINIO_ROOT_USER", "admin")
        assert lake.root_name() == "admin"
        made = lake.keys.create("admin")
        assert lake.policies.explain(made.access_key, "s3:DeleteBucket", "images").is_allowed
        assert lake.policies.explain("admin", "admin:CreateUser", "").reason == "root"


def test_a_lake_whose_settings_switch_the_audit_log_off_writes_none(tmp_path: Path) -> None:
    hosu.open(tmp_path / "lake").close()
    (tmp_path / "lake" / "hosu.toml").write_text("audit = false\n")
    with hosu.open(tmp_path / "lake") as lake:
        lake.users.add("alice", SECRET)
        assert list(query(lake.path)) == []
