"""Users and their rights from another store: made where missing, never over what is there, no right too many."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.minio_drive import ROOT, unpack_drive

import hosu
from hosu.lake import Lake
from hosu.lake.importing.accounts import move_accounts
from hosu.lake.importing.minio_accounts import embedded_policy, expiry_ms, is_on, policy_names
from hosu.lake.importing.minio_folder import Drive
from hosu.lake.importing.report import Item, State
from hosu.lake.importing.source import SourceAccounts, SourceError, SourceGroup, SourceServiceKey, SourceUser

STATEMENT = '{"Effect":"Allow","Action":["s3:GetObject"],"Resource":["arn:aws:s3:::b/*"]}'
POLICY = f'{{"Version":"2012-10-17","Statement":[{STATEMENT}]}}'


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lake]:
    monkeypatch.setenv("HOSU_ROOT_USER", "lakeroot")
    with hosu.open(tmp_path / "lake") as opened:
        yield opened


def moved(lake: Lake, accounts: SourceAccounts, *, dry_run: bool = False) -> list[Item]:
    return move_accounts(lake, accounts, dry_run=dry_run)


def states(items: list[Item]) -> dict[str, State]:
    return {f"{item.kind} {item.name}": item.state for item in items}


def test_the_accounts_of_a_real_drive_keep_their_secrets_and_rights(tmp_path: Path, lake: Lake) -> None:
    accounts = Drive(unpack_drive(tmp_path)).accounts()
    items = moved(
        lake, SourceAccounts(**{**{n: getattr(accounts, n) for n in accounts.__struct_fields__}, "root": ROOT})
    )
    assert {item.state for item in items} == {State.MOVED}
    alice = lake.users.get("alice")
    assert (alice.is_enabled, alice.policies, alice.groups) == (True, ("read-plain",), ("doors",))
    assert not lake.users.get("bob").is_enabled
    assert not lake.groups.get("idle").is_enabled
    assert lake.policies.explain("alice", "s3:GetObject", "plain/hello.txt").is_allowed
    assert not lake.policies.explain("alice", "s3:PutObject", "plain/hello.txt").is_allowed
    key = lake.keys.get("alicesvckey")
    assert (key.parent, key.name, key.description, key.is_enabled) == ("alice", "door", "of the door", True)
    assert "arn:aws:s3:::plain/*" in key.policy
    assert lake.keys.get("rootsvckey01").parent == "lakeroot"
    assert {item.state for item in moved(lake, accounts)} == {State.PRESENT, State.REFUSED}
    assert states(moved(lake, accounts))["service account rootsvckey01"] is State.REFUSED, "root is not guessed"


def test_a_key_of_somebody_unknown_never_becomes_roots(lake: Lake) -> None:
    key = SourceServiceKey(access_key="ldapkey", secret="secret-secret", parent="uid=eve,dc=example")
    (item,) = moved(lake, SourceAccounts(keys=(key,), root="minioroot"))
    assert item.state is State.REFUSED
    assert lake.keys.list() == []


def test_what_is_there_stays(lake: Lake) -> None:
    lake.policies.put("p", POLICY)
    lake.users.add("alice", "alices-own-secret", policies=["p"])
    other = POLICY.replace("GetObject", "*")
    accounts = SourceAccounts(
        policies={"p": other, "readonly": '{"Version":"2012-10-17","Statement":[]}'},
        users=(SourceUser("alice", "another-secret", policies=("p",)),),
        keys=(SourceServiceKey(access_key="alice", secret="another-secret", parent="alice"),),
    )
    found = states(moved(lake, accounts))
    assert found["policy p"] is State.REFUSED
    assert found["user alice"] is State.PRESENT
    assert found["attached policy p of user alice"] is State.PRESENT
    assert found["service account alice"] is State.REFUSED
    assert lake.policies.get("p").text == POLICY


def test_a_policy_says_the_same_in_any_order(lake: Lake) -> None:
    one = POLICY.replace('["s3:GetObject"]', '["s3:GetObject","s3:PutObject"]')
    lake.policies.put("p", one)
    (item,) = moved(
        lake, SourceAccounts(policies={"p": POLICY.replace('["s3:GetObject"]', '["s3:PutObject", "s3:GetObject"]')})
    )
    assert item.state is State.PRESENT


def test_what_cannot_be_moved_is_named_and_the_rest_comes(lake: Lake) -> None:
    accounts = SourceAccounts(
        policies={"bad": '{"Version":"2012-10-17","Statement":[{"Effect":"Perhaps"}]}', "good": POLICY},
        users=(
            SourceUser("ab", "too-short-a-name"),
            SourceUser("lakeroot", "is-root-here"),
            SourceUser("nobody", ""),
            SourceUser("carol", "carols-secret", policies=("good", "bad")),
        ),
        groups=(SourceGroup("g", ("carol", "ghost"), ("good",)),),
        problems=(("user", "sealed", "it is sealed"),),
    )
    items = moved(lake, accounts)
    refused = {f"{item.kind} {item.name}" for item in items if item.state is State.REFUSED}
    assert refused == {
        "user sealed",
        "policy bad",
        "user ab",
        "user lakeroot",
        "user nobody",
        "attached policy bad of user carol",
        "group member g/ghost",
    }
    assert lake.users.get("carol").policies == ("good",)
    assert lake.groups.get("g").members == ("carol",)
    assert "secret" not in " ".join(item.reason for item in items).replace("does not tell its secret", "")


def test_a_dry_run_makes_nothing(lake: Lake) -> None:
    accounts = SourceAccounts(policies={"p": POLICY}, users=(SourceUser("alice", "alices-secret", policies=("p",)),))
    assert {item.state for item in moved(lake, accounts, dry_run=True)} == {State.MOVED}
    assert lake.users.list() == []
    assert move_accounts(None, accounts, dry_run=True) == moved(lake, accounts, dry_run=True)


def test_a_user_of_the_same_name_gets_no_rights_and_hands_none_on(lake: Lake) -> None:
    lake.users.add("alice", "alices-own-secret")
    lake.users.add("bob", "bobs-own-secret")
    lake.groups.add("mine", ["bob"])
    lake.policies.attach("consoleAdmin", group="mine")
    key = SourceServiceKey(access_key="alicekey", secret="secret-secret", parent="alice")
    roots = SourceServiceKey(access_key="rootskey", secret="secret-secret", parent="lakeroot")
    accounts = SourceAccounts(
        users=(
            SourceUser("alice", "another-secret", policies=("readwrite",)),
            SourceUser("lakeroot", "a-users-secret"),
            SourceUser("eve", "eves-own-secret"),
        ),
        groups=(SourceGroup("new", ("alice", "bob", "eve")), SourceGroup("mine", ("eve",), ("readonly",))),
        keys=(key, roots),
    )
    before = moved(lake, accounts, dry_run=True)
    found = states(moved(lake, accounts))
    assert found == states(before)
    assert lake.users.get("alice").policies == ()
    assert lake.keys.list() == []
    assert lake.groups.get("new").members == ("eve",)
    assert (lake.groups.get("mine").members, lake.groups.get("mine").policies) == (("bob",), ("consoleAdmin",))
    assert {name for name, state in found.items() if state is State.REFUSED} == {
        "attached policy readwrite of user alice",
        "user lakeroot",
        "group member new/alice",
        "group member new/bob",
        "group member mine/eve",
        "attached policy readonly of group mine",
        "service account alicekey",
        "service account rootskey",
    }


def test_a_root_of_the_same_name_is_not_the_sources_root(lake: Lake) -> None:
    key = SourceServiceKey(access_key="rootskey", secret="secret-secret", parent="lakeroot")
    (item,) = moved(lake, SourceAccounts(keys=(key,)))
    assert item.state is State.REFUSED
    assert lake.keys.list() == []


def test_a_policy_of_the_same_name_is_attached_to_nobody_new(lake: Lake) -> None:
    wide = POLICY.replace("GetObject", "*")
    lake.policies.put("p", wide)
    lake.policies.put("untold", wide)
    lake.users.add("reader", "readers-own-secret", policies=["readonly"])
    accounts = SourceAccounts(
        policies={"p": POLICY, "readonly": wide, "readwrite": POLICY},
        users=(SourceUser("alice", "alices-own-secret", policies=("p", "untold", "readonly", "readwrite")),),
    )
    assert states(moved(lake, accounts, dry_run=True)) == (found := states(moved(lake, accounts)))
    assert found["policy readonly"] is State.REFUSED, "who has it in the lake would get more"
    assert lake.policies.get("readonly").is_builtin
    assert found["policy readwrite"] is State.MOVED
    assert lake.users.get("alice").policies == ("readwrite",)


def test_what_an_interrupted_run_left_out_comes_with_the_next(lake: Lake) -> None:
    user = SourceUser("alice", "alices-own-secret", policies=("readonly",))
    moved(
        lake, SourceAccounts(users=(SourceUser("alice", "alices-own-secret"),), groups=(SourceGroup("g", ("alice",)),))
    )
    items = moved(lake, SourceAccounts(users=(user,), groups=(SourceGroup("g", ("alice",), ("readonly",)),)))
    assert {item.state for item in items} == {State.PRESENT, State.MOVED}
    assert (lake.users.get("alice").policies, lake.groups.get("g").members) == (("readonly",), ("alice",))
    assert lake.groups.get("g").policies == ("readonly",)


def test_limits_that_cannot_be_read_are_never_none() -> None:
    with pytest.raises(SourceError):
        expiry_ms("2030-13-01T00:00:00Z")
    assert [is_on(status) for status in ("on", "enabled", "", "off", "disabled", "0ff")] == [True] * 3 + [False] * 3


def test_a_disabled_key_stays_disabled_and_an_expiry_stays(lake: Lake) -> None:
    lake.users.add("alice", "alices-own-secret")
    until = lake.store.clock.now_ms() + 1_000_000
    keys = (
        SourceServiceKey(access_key="offkey", secret="secret-secret", parent="alice", is_enabled=False),
        SourceServiceKey(access_key="shortkey", secret="secret-secret", parent="alice", expires_ms=until),
        SourceServiceKey(access_key="oldkey", secret="secret-secret", parent="alice", expires_ms=1),
    )
    items = moved(lake, SourceAccounts(users=(SourceUser("alice", "alices-own-secret"),), keys=keys))
    assert [item.name for item in items if item.state is State.REFUSED] == ["oldkey"]
    assert not lake.keys.get("offkey").is_enabled
    assert lake.keys.get("shortkey").expires_ms == until


def test_small_things_of_minios_documents_are_read() -> None:
    assert policy_names("a, b,,c") == policy_names(["a", "b", "c"]) == ("a", "b", "c")
    assert expiry_ms("1970-01-01T00:00:00Z") == expiry_ms("0001-01-01T00:00:00Z") == expiry_ms("") == 0
    assert expiry_ms("2030-01-01T00:00:00Z") == 1_893_456_000_000
    for token in ("", "x", "a.b.c", "a.e30.c.d"):
        if token == "a.e30.c.d":
            assert embedded_policy(token) == ""
        else:
            with pytest.raises(SourceError):
                embedded_policy(token)
