# noqa: INP001 - loaded by name, from this folder
"""Pytest plugin that runs chosen tests of ceph/s3-tests and writes how each one ended.

It runs inside the suite's own environment, so it uses the standard library and pytest only.
S3TESTS_SELECTION names a file with one test a line, S3TESTS_RESULTS the JSON to write: test -> [result, reason].
"""

import importlib
import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

BUCKET_PREFIX = "s3t-{random}-"
REASON_CHARACTERS_MAX = 200

_results: dict[str, list[str]] = {}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the selected tests only."""
    selected = set(Path(os.environ["S3TESTS_SELECTION"]).read_text(encoding="utf-8").split())
    left_out = [item for item in items if item.nodeid not in selected]
    items[:] = [item for item in items if item.nodeid in selected]
    config.hook.pytest_deselected(items=left_out)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Take a fresh bucket prefix when cleaning up failed.

    The suite empties every bucket of its prefix before each test and fails when one cannot be emptied, so a
    single such bucket would fail all later tests of the worker.
    """
    report = yield
    if report.failed and report.when in {"setup", "teardown"}:
        suite: Any = importlib.import_module("s3tests.functional")
        suite.prefix = suite.choose_bucket_prefix(template=BUCKET_PREFIX)
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note the outcome of the body of a test; a failed set-up is an error, a failed clean-up changes nothing."""
    if report.when == "teardown":
        return
    reason = _reason(report)
    if report.skipped:
        _results[report.nodeid] = ["skip", reason]
    elif report.failed:
        kind = "timeout" if reason.startswith("Failed: Timeout") else "fail" if report.when == "call" else "error"
        _results[report.nodeid] = [kind, reason]
    elif report.when == "call":
        _results[report.nodeid] = ["pass", ""]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the results once, from the process that every worker reports to."""
    if not hasattr(session.config, "workerinput"):
        Path(os.environ["S3TESTS_RESULTS"]).write_text(json.dumps(_results, indent=1), encoding="utf-8")


def _reason(report: pytest.TestReport) -> str:
    if report.passed:
        return ""
    if isinstance(report.longrepr, tuple):  # a skip: file, line, reason
        return str(report.longrepr[2])[:REASON_CHARACTERS_MAX]
    crash = getattr(report.longrepr, "reprcrash", None)
    lines = str(getattr(crash, "message", report.longrepr)).strip().splitlines()
    return lines[0][:REASON_CHARACTERS_MAX] if lines else ""
