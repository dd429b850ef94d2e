"""What admin requests leave in the audit log."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conformance.minio_admin.conftest import Account
from tests.support.admin import AdminClient, admin_refused
from tests.support.attack import until

from hosu.objects.audit_query import query


def test_a_change_has_one_line_that_says_who_made_it(admin: AdminClient, lake: Path, name: str) -> None:
    admin.user_add(name, "a-fine-secret")
    lines = [line for line in query(lake, operation="admin:CreateUser") if line.key == name]
    assert len(lines) == 1
    (line,) = lines
    assert (line.principal, line.access_key, line.action) == ("conformance", "conformance", "admin:CreateUser")
    assert (line.decision, line.status, line.source_ip) == ("allowed", 200, "127.0.0.1")
    assert line.request_id
    assert "MinIO" in line.user_agent


def test_a_look_leaves_no_line(new_user: Callable[..., Account], lake: Path) -> None:
    boss = new_user("consoleAdmin")
    boss.admin.user_list()
    boss.admin.policy_list()
    assert [line for line in query(lake, principal=boss.name) if line.principal == boss.name] == []


def test_a_denied_request_has_a_line_as_well(user: Account, lake: Path) -> None:
    with admin_refused("AccessDenied", 403):
        user.admin.user_add("someone-else", "a-fine-secret")

    def denied() -> list[str]:
        return [line.action for line in query(lake, principal=user.name, denied_only=True)]

    until(lambda: denied() == ["admin:CreateUser"], lambda: str(denied()))


def test_a_wrong_signature_has_a_line_as_well(user: Account, lake: Path) -> None:
    stranger = Account(user.name, f"wrong-{os.urandom(4).hex()}", user.endpoint)
    with pytest.raises(Exception, match="SignatureDoesNotMatch"):
        stranger.admin.group_list()
    until(lambda: any(query(lake, principal=user.name, denied_only=True)), lambda: "no line")
