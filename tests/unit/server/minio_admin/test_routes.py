"""The table of operations, and what the reference page says of it."""

from pathlib import Path

import pytest

from hosu.identity.policy import KNOWN_ACTIONS
from hosu.kernel.settings import Settings
from hosu.server.minio_admin.config import HIDDEN, OWN, SUBSYSTEMS
from hosu.server.minio_admin.routes import ADMIN, KMS, OPERATIONS, find_operation

PAGE = Path(__file__).parents[4] / "docs" / "reference" / "minio-admin.md"


def rows(heading: str) -> list[list[str]]:
    text = PAGE.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return [row for row in found if row[0].startswith("`")]


def test_every_operation_is_found_by_its_method_and_path_alone() -> None:
    for operation in OPERATIONS:
        assert find_operation(operation.method, operation.path.encode()) is operation
        assert find_operation("PATCH", operation.path.encode()) is None
        assert find_operation(operation.method, operation.path.encode() + b"/") is None
    assert len({(operation.method, operation.path) for operation in OPERATIONS}) == len(OPERATIONS)


def test_every_operation_needs_an_action_that_policies_know() -> None:
    known = {action.lower() for action in KNOWN_ACTIONS}
    assert {operation.action for operation in OPERATIONS if operation.action.lower() not in known | {""}} == set()


def test_every_operation_is_documented_with_the_action_it_needs() -> None:
    documented = {(row[0].strip("`"), row[1].strip("`")) for row in rows("Operations")}
    table = {
        (f"{operation.method} {operation.path.removeprefix(ADMIN)}", operation.action)
        for operation in OPERATIONS
        if not operation.path.startswith(KMS)
    } | {
        (f"{operation.method} {operation.path}", operation.action)
        for operation in OPERATIONS
        if operation.path.startswith(KMS)
    }
    assert documented == table


def test_every_subsystem_is_documented() -> None:
    assert {row[0].strip("`") for row in rows("Configuration")} == set(SUBSYSTEMS)


def test_no_setting_that_may_hold_a_secret_is_shown() -> None:
    shown = set(SUBSYSTEMS[OWN].keys)
    assert shown | HIDDEN == set(Settings.__struct_fields__)
    assert [name for name in shown if any(word in name for word in ("password", "secret", "token", "command"))] == []


@pytest.mark.parametrize("name", sorted(SUBSYSTEMS))
def test_every_key_of_a_subsystem_has_a_value(name: str) -> None:
    for key in SUBSYSTEMS[name].keys.values():
        assert isinstance(key.value(Settings()), str)
        assert key.description
