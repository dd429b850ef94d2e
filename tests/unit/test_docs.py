"""The reference pages say what the code does: what is added there and not here fails, and the other way round.

`python tests/unit/test_docs.py` writes the generated table of docs/reference/s3.md anew.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from click import Group

from hosu.cli.main import build_app
from hosu.identity.policy import KNOWN_ACTIONS
from hosu.kernel.errors import ErrorKind
from hosu.kernel.settings import ENVIRONMENT, Settings
from hosu.server.s3 import unset
from hosu.server.s3.errors import PROTOCOL_CODES, S3_CODES, STATUS_OF_CODE
from hosu.server.s3.routes import OPERATIONS, Operation

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]
S3_PAGE = REFERENCE / "s3.md"
BEGIN, END = "<!-- operations: written by tests/unit/test_docs.py -->\n", "<!-- end of operations -->\n"
each_page = pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])


def rows_of(page: Path, heading: str = "") -> dict[str, list[str]]:
    """Return the table rows below a heading, or of the whole page, by the code in their first cell."""
    text = page.read_text(encoding="utf-8")
    if heading:
        text = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return {row[0].strip("`"): row[1:] for row in rows if row[0].startswith("`")}


def codes_in(text: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", text))


# Settings


def test_every_setting_is_documented_with_its_default_and_its_variables() -> None:
    defaults = {name: getattr(Settings(), name) for name in Settings.__struct_fields__}
    expected = {
        name: (
            {str(default)} if str(default) != "" else set(),
            {key for key in ENVIRONMENT if ENVIRONMENT[key] == name},
        )
        for name, default in defaults.items()
    }
    rows = rows_of(REFERENCE / "settings.md", "Settings")
    assert {name: (codes_in(cells[0]), codes_in(cells[1])) for name, cells in rows.items()} == expected


# The command line


def verbs() -> Iterator[tuple[str, set[str]]]:
    """Yield every verb of the command line with its long options."""
    found: list[tuple[str, object]] = [("hosu", typer.main.get_command(build_app()))]
    while found:
        name, command = found.pop()
        if isinstance(command, Group) or hasattr(command, "commands"):
            found += [(f"{name} {verb}", inner) for verb, inner in command.commands.items()]
            continue
        options = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}  # type: ignore[attr-defined]
        yield name, options


VERBS = dict(verbs())


def sections_of_cli_page() -> dict[str, str]:
    """Return what stands below each verb's own heading."""
    text = (REFERENCE / "cli.md").read_text(encoding="utf-8")
    parts = re.split(r"^### `(hosu [a-z -]*[a-z]).*`$", text, flags=re.MULTILINE)
    return {
        name: re.split(r"^##? ", body, maxsplit=1, flags=re.MULTILINE)[0]
        for name, body in zip(parts[1::2], parts[2::2], strict=True)
    }


def test_every_verb_is_documented_and_no_other() -> None:
    assert set(sections_of_cli_page()) == set(VERBS)


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_option_of_a_verb_is_documented(verb: str) -> None:
    common = set(rows_of(REFERENCE / "cli.md", "Options of many verbs"))
    shared = {option for text in common for option in re.findall(r"--[a-z-]+", text)}
    documented = set(re.findall(r"--[a-z][a-z-]*", sections_of_cli_page()[verb]))
    assert VERBS[verb] - shared - documented == set()


# Errors


def test_every_kind_of_error_is_documented_with_its_code_and_status() -> None:
    rows = rows_of(REFERENCE / "errors.md", "Kinds")
    documented = {kind: (cells[0].strip("`"), int(cells[1])) for kind, cells in rows.items()}
    assert documented == {str(kind): S3_CODES[kind] for kind in ErrorKind}


def codes_raised() -> set[str]:
    """Return the codes that the S3 server refuses requests with, as its source names them."""
    found = set()
    for path in sorted((ROOT / "src" / "hosu" / "server" / "s3").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "S3RequestError":
                code = node.args[0]
                if isinstance(code, ast.Constant):
                    found.add(str(code.value))
    return found | {code for code, _ in unset.UNSET_BUCKET_CODES.values()}


def test_every_code_that_refuses_a_request_is_documented_with_its_status() -> None:
    rows = rows_of(REFERENCE / "errors.md", "Codes of requests")
    raised = codes_raised() | set(STATUS_OF_CODE)
    assert {code: int(cells[0]) for code, cells in rows.items()} == {
        code: STATUS_OF_CODE.get(code, 400) for code in raised
    }


def test_every_code_of_the_http_layer_is_documented_with_its_status() -> None:
    rows = rows_of(REFERENCE / "errors.md", "What HTTP refuses")
    assert {int(status): cells[0].strip("`") for status, cells in rows.items()} == PROTOCOL_CODES


# S3

NOTES = {
    "CompleteMultipartUpload": "the object is whose the upload was",
    "CopyObject": "`s3:GetObject` of the source too, `s3:GetObjectVersion` of a version",
    "CreateBucket": "`s3:PutBucketAcl`, `s3:PutBucketOwnershipControls` for headers that say so; "
    "`s3:PutBucketVersioning` and `s3:PutBucketObjectLockConfiguration` for object lock",
    "CreateMultipartUpload": "as PutObject",
    "DeleteObject": "`s3:BypassGovernanceRetention` to bypass a [retention](object-lock.md)",
    "DeleteObjects": "of each key by itself; the rest as DeleteObject",
    "ListBuckets": "else the buckets that may be listed or located",
    "PostObject": "form upload with a policy; the rest as PutObject",
    "PutBucketAcl": "see [access](access.md)",
    "PutObject": "`s3:PutObjectTagging` with tags, `s3:PutObjectAcl` with an ACL that lets others in, "
    "`s3:PutObjectRetention` and `s3:PutObjectLegalHold` with a [lock](object-lock.md)",
    "PutObjectAcl": "see [access](access.md)",
    "PutObjectRetention": "`s3:BypassGovernanceRetention` to make one weaker",
    "UploadPartCopy": "as CopyObject",
}
PATHS = {"service": "/", "bucket": "/BUCKET", "object": "/BUCKET/KEY"}


def request_of(operation: Operation) -> str:
    query = "&".join(operation.parameters)
    request = f"`{operation.method} {PATHS[operation.target]}{'?' + query if query else ''}`"
    return f"{request} with `{operation.header.decode()}`" if operation.header else request


def other_answer(operation: Operation) -> str | None:
    """Return what an operation answers that keeps nothing: refused, or as S3 has it when unset; None for the others."""
    handler = operation.handler
    if handler is unset.refuse:
        return "refused"
    if handler is unset.get_empty_bucket:
        return "empty document"
    if handler is unset.delete_unset_bucket:
        return "204"
    if handler is unset.get_unset_bucket:
        code = unset.UNSET_BUCKET_CODES[operation.parameters[0]][0]
        return f"{STATUS_OF_CODE.get(code, 400)} `{code}`"
    return None


def operations_table() -> str:
    """Render every operation of the server: what it supports, answers as S3 does when unset, and refuses."""
    lines = ["### Supported", "", "| operation | request | action | on | |", "|---|---|---|---|---|"]
    others: dict[str, dict[str, str]] = {}
    for operation in OPERATIONS:
        answer = other_answer(operation)
        if answer is None:
            cells = [operation.name, request_of(operation), actions_of(operation), operation.on or operation.target]
            lines.append(f"| {' | '.join(cells)} | {NOTES.get(operation.name, '')} |")
        else:
            name = f"{PATHS[operation.target]}?{operation.parameters[0]}"
            others.setdefault(name, {})[operation.method] = f"{answer}: {actions_of(operation)}"
    methods = ["GET", "PUT", "POST", "DELETE"]
    lines += [
        "",
        "### Answered as unset, or refused",
        "",
        f"| request | {' | '.join(methods)} |",
        "|---|---|---|---|---|",
    ]
    for name, answers in sorted(others.items(), key=lambda other: (other[0].count("/"), other[0])):
        lines.append(f"| `{name}` | {' | '.join(answers.get(method, '') for method in methods)} |")
    return "\n".join([*lines, "", ""])


def actions_of(operation: Operation) -> str:
    """Return what an operation asks for, and what instead of it where a version is named."""
    return ", ".join(f"`{action}`" for action in (operation.action, operation.version_action) if action)


def test_every_action_that_an_operation_asks_for_is_one_that_policies_may_name() -> None:
    asked = {action for operation in OPERATIONS for action in (operation.action, operation.version_action) if action}
    assert asked <= KNOWN_ACTIONS


def split_s3_page() -> tuple[str, str, str]:
    before, _, rest = S3_PAGE.read_text(encoding="utf-8").partition(BEGIN)
    table, _, after = rest.partition(END)
    return before, table, after


def test_every_operation_is_documented_as_supported_unset_or_refused() -> None:
    assert split_s3_page()[1] == operations_table()


# All pages


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert missing == []


@each_page
def test_tests_that_a_page_names_exist(page: Path) -> None:
    missing = []
    for file, name in re.findall(r"(tests/[\w/]+\.py)(?:::(test_\w+))?", page.read_text(encoding="utf-8")):
        path = ROOT / file
        if not path.is_file() or (name and f"def {name}(" not in path.read_text(encoding="utf-8")):
            missing.append((file, name))
    assert missing == []


def test_the_index_leads_to_every_page() -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    linked = {(DOCS / target).resolve() for target in re.findall(r"\]\(([^)#\s]+)", index) if "://" not in target}
    pages = {page for page in DOCS.rglob("*.md") if page != DOCS / "README.md"}
    assert {str(page.relative_to(DOCS)) for page in pages - linked} == set()


if __name__ == "__main__":
    first, _, last = split_s3_page()
    S3_PAGE.write_text(first + BEGIN + operations_table() + END + last, encoding="utf-8")
