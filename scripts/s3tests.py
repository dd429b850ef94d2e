#!/usr/bin/env python3
"""Run ceph/s3-tests against hosu and compare with the committed results.

    python scripts/s3tests.py --suite S3TESTS_DIR [--accept] [--groups acl,policy] [test names…]

Starts `hosu serve` on a lake with three users (or takes `--endpoint URL`), runs the tests that
docs/conformance/peers.csv lists, prints counts per group beside those of other servers, and writes
docs/conformance/s3tests.csv. A test that passed in the committed file and does not now is a regression: the file is
left alone and the exit status is 1, unless `--accept` is given. With test names or groups only those run, and
nothing is written.
"""

import argparse
import configparser
import csv
import io
import json
import os
import subprocess
import sys
import tempfile
import venv
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import boto3

import hosu

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.support.server import Endpoint, ServerProcess, isolated_environment  # noqa: E402 - needs the path above

PEERS_PATH = ROOT / "docs/conformance/peers.csv"
RESULTS_PATH = ROOT / "docs/conformance/s3tests.csv"
WORK_PATH = ROOT / "build/s3tests"

PEERS = ("minio", "rustfs", "versitygw", "moto")
ACCOUNTS = {
    "s3 main": "s3-main@example.com",
    "s3 alt": "s3-alt@example.com",
    "s3 tenant": "s3-tenant@example.com",
}
"""Sections of the suite's configuration, and the user that each one is: names that are e-mail addresses too."""

ACCOUNT_POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": "s3:CreateBucket", "Resource": "arn:aws:s3:::*"},
        {
            "Effect": "Allow",
            "Action": "s3:*",
            "Resource": "arn:aws:s3:::*",
            "Condition": {"StringEquals": {"s3:ResourceAccount": "${aws:username}"}},
        },
    ],
}
"""What makes a user of hosu an account as the suite has them: it may make buckets, and do all to its own."""

SERVER_SETTINGS = {"HOSU_OBJECT_OWNERSHIP": "ObjectWriter", "HOSU_SSE_C_OVER_HTTP": "true"}
"""The suite expects ACLs to count, and sends keys of its own over plain HTTP."""

KMS_KEYS = ("testkey-1", "testkey-2")

TEST_SECONDS_MAX = 90
LIFECYCLE_DAY_SECONDS = 3
LIFECYCLE_SETTINGS = {"HOSU_DAY_SECONDS": str(LIFECYCLE_DAY_SECONDS), "HOSU_STORAGE_CLASSES": "GLACIER"}
STORAGE_CLASSES = "COLD, GLACIER"
"""The suite moves objects through two classes; in hosu one is another name of the other."""

LIFECYCLE_GROUP = "lifecycle"
OF_REAL_DAYS = ("_expiration_header_", "[NOTSET]")
"""In the names of those lifecycle tests that reckon with real days, and of one that is there without classes alone."""

WORKERS = 2
LIFECYCLE_WORKERS = 6
"""These tests mostly wait."""

ALONE = {"test_list_buckets_paginated"}
"""Tests that count all buckets of the server: they run first, before any other test leaves one."""

RUNNER_PACKAGES = ["pytest-timeout", "pytest-xdist"]


@dataclass(frozen=True, slots=True)
class Case:
    """One test of the suite, and what is known about it before it runs."""

    test: str
    group: str
    needs: str
    peers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class User:
    """An account of the suite."""

    access_key: str
    secret_key: str


def main(arguments: list[str] | None = None) -> int:
    """Run, print, compare, write; return the exit status."""
    options = parse(arguments)
    cases = [case for case in read_cases() if is_wanted(case, options.names, options.groups)]
    if not cases:
        say("no such test in docs/conformance/peers.csv")
        return 2
    WORK_PATH.mkdir(parents=True, exist_ok=True)
    python = options.python or environment_of(options.suite)
    if options.endpoint:
        root = User(options.access_key, options.secret_key)
        users = dict.fromkeys(ACCOUNTS, root)
        if options.alt_access_key:
            users["s3 alt"] = users["s3 tenant"] = User(options.alt_access_key, options.alt_secret_key)
        endpoint = Endpoint(options.endpoint, root.access_key, root.secret_key)
        outcomes = run_suite(options.suite, python, endpoint, users, cases)
    else:
        outcomes = {}
        for more, members in ((LIFECYCLE_SETTINGS, True), ({}, False)):
            chosen = [case for case in cases if waits_for_rules(case) is members]
            if chosen:
                outcomes |= serve_and_run(options.suite, python, more, chosen)
    results = {case.test: outcomes.get(case.test, ["missing", "was not collected"])[0] for case in cases}
    say(table_of(cases, results))
    if options.names or options.groups or options.reasons:
        say_all(f"{result:8}{test.split('::')[-1]}: {reason}" for test, (result, reason) in outcomes.items() if reason)
    if options.names or options.groups:
        return int(any(result != "pass" for result in results.values()))
    return compare_and_write(cases, results, accept=options.accept)


def waits_for_rules(case: Case) -> bool:
    """Whether a test wants days that pass quickly, and more than one storage class."""
    return case.group == LIFECYCLE_GROUP and not any(part in case.test for part in OF_REAL_DAYS)


def serve_and_run(suite: Path, python: Path, more: Mapping[str, str], cases: list[Case]) -> dict[str, list[str]]:
    """Run cases against a server of their own on a new lake; return test -> [result, reason]."""
    with tempfile.TemporaryDirectory(prefix="s3tests-") as folder:
        settings = SERVER_SETTINGS | {"HOSU_LAKE_KEY": b64encode(os.urandom(32)).decode()} | more
        users = make_users(Path(folder) / "lake", settings)
        for name in more:
            os.environ.pop(name)
        with ServerProcess(Path(folder) / "lake", WORK_PATH / "server.log", settings) as server:
            return run_suite(suite, python, server.endpoint, users, cases)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    suite = os.environ.get("S3TESTS_DIR")
    parser = argparse.ArgumentParser(description="Run ceph/s3-tests and compare with docs/conformance/s3tests.csv.")
    parser.add_argument("--groups", default="", help="only these groups, separated by commas; writes nothing")
    parser.add_argument("names", nargs="*", help="only these tests (names without their file); writes nothing")
    parser.add_argument("--suite", type=Path, default=suite, required=not suite, help="a clone of ceph/s3-tests")
    parser.add_argument("--python", type=Path, help="a Python with the suite's requirements; else one is made")
    parser.add_argument("--accept", action="store_true", help="write the results in spite of regressions")
    parser.add_argument("--reasons", action="store_true", help="say why each test that did not pass did not")
    parser.add_argument("--endpoint", help="a server that runs already, on loopback")
    parser.add_argument("--access-key", default="")
    parser.add_argument("--secret-key", default="")
    parser.add_argument("--alt-access-key", default="", help="of the suite's second account; else it is the first one")
    parser.add_argument("--alt-secret-key", default="")
    options = parser.parse_args(arguments)
    options.suite = options.suite.resolve()
    if not (options.suite / "s3tests/functional/test_s3.py").is_file():
        parser.error(f"{options.suite} is not a clone of ceph/s3-tests: no s3tests/functional/test_s3.py in it")
    return options


def is_wanted(case: Case, names: list[str], groups: str) -> bool:
    """Whether a test is among those named; all are where none is."""
    return (not names or case.test.split("::")[-1] in names) and (not groups or case.group in groups.split(","))


def make_users(lake_path: Path, settings: Mapping[str, str]) -> dict[str, User]:
    """Make a lake with the users that the suite signs as, and the keys it encrypts with."""
    os.environ.update(settings)
    with hosu.open(lake_path) as lake:
        lake.policies.put("s3-tests", json.dumps(ACCOUNT_POLICY))
        made = {section: lake.users.add(name, policies=["s3-tests"]) for section, name in ACCOUNTS.items()}
        for name in KMS_KEYS:
            lake.store.keys.create_key(name)
    return {section: User(key.access_key, key.secret) for section, key in made.items()}


def read_cases() -> list[Case]:
    """Return the tests to run, in the order of the file."""
    with PEERS_PATH.open(newline="", encoding="utf-8") as file:
        return [
            Case(row["test"], row["group"], row["needs"], {peer: row[peer] for peer in PEERS})
            for row in csv.DictReader(file)
        ]


def environment_of(suite: Path) -> Path:
    """Return a Python that has what the suite requires, made beside it on the first run."""
    folder = suite / ".venv"
    python = folder / "bin/python"
    if not python.exists():
        say(f"making {folder}")
        venv.create(folder, with_pip=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--requirement", str(suite / "requirements.txt")]
        subprocess.run([*install, *RUNNER_PACKAGES], check=True)  # noqa: S603 - a fixed command
    return python


def run_suite(
    suite: Path, python: Path, endpoint: Endpoint, users: Mapping[str, User], cases: list[Case]
) -> dict[str, list[str]]:
    """Run the cases and return test -> [result, reason]; those in ALONE before all others."""
    outcomes: dict[str, list[str]] = {}
    alone = [case for case in cases if case.test.split("::")[-1] in ALONE]
    waiting = [case for case in cases if waits_for_rules(case)]
    rest = [case for case in cases if case not in alone and case not in waiting]
    for members, workers in ((alone, 1), (waiting, LIFECYCLE_WORKERS), (rest, WORKERS)):
        if members:
            # Further classes would make other tests of the encryption groups than those that are listed.
            classes = STORAGE_CLASSES if members is waiting else ""
            outcomes |= run_cases(suite, python, configuration(endpoint, users, classes), members, workers)
    return outcomes


def run_cases(suite: Path, python: Path, settings: str, cases: list[Case], workers: int) -> dict[str, list[str]]:
    """Run the cases and return test -> [result, reason]; `settings` is the suite's configuration."""
    selection, results = WORK_PATH / "selection.txt", WORK_PATH / "results.json"
    config, log = WORK_PATH / "s3tests.conf", WORK_PATH / "pytest.log"
    selection.write_text("\n".join(case.test for case in cases), encoding="utf-8")
    results.unlink(missing_ok=True)
    config.write_text(settings, encoding="utf-8")
    files = sorted({case.test.split("::")[0] for case in cases})
    command = [str(python.absolute()), "-m", "pytest", "-p", "s3tests_plugin", "-p", "no:cacheprovider", "--quiet"]
    command += ["--tb=short", "-n", str(workers), "--timeout", str(TEST_SECONDS_MAX), *files]
    paths = {
        "PYTHONPATH": str(Path(__file__).parent),
        "S3TEST_CONF": str(config),
        "S3TESTS_SELECTION": str(selection),
        "S3TESTS_RESULTS": str(results),
    }
    with log.open("wb") as output:
        subprocess.run(  # noqa: S603 - a fixed command
            command,
            check=False,  # tests that fail are results
            cwd=suite,
            env=isolated_environment() | paths,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    if not results.exists():
        raise SystemExit(f"the suite did not run:\n{log.read_text(errors='replace')[-4000:]}")
    outcomes: dict[str, list[str]] = json.loads(results.read_text(encoding="utf-8"))
    return outcomes


def configuration(endpoint: Endpoint, users: Mapping[str, User], storage_classes: str = "") -> str:
    """Return the suite's settings; owner ids and names are the ones the server itself reports."""
    host, port = endpoint.host.split(":")
    parser = configparser.RawConfigParser()
    parser["DEFAULT"] = {"host": host, "port": port, "is_secure": "False", "ssl_verify": "False"}
    parser["fixtures"] = {
        "bucket prefix": "s3t-{random}-",
        "iam name prefix": "s3-tests-",
        "iam path prefix": "/s3-tests/",
    }
    for section, user in users.items():
        parser[section] = account_of(endpoint, user)
    for section in ("iam", "iam root", "iam alt root"):
        parser[section] = account_of(endpoint, users["s3 alt" if "alt" in section else "s3 main"])
    first, second = KMS_KEYS
    parser["s3 main"].update({"api_name": "", "lc_debug_interval": str(LIFECYCLE_DAY_SECONDS)})
    parser["s3 main"].update({"kms_keyid": first, "kms_keyid2": second})
    if storage_classes:
        parser["s3 main"]["storage_classes"] = storage_classes
    parser["s3 tenant"].update({"tenant": "testx"})
    text = io.StringIO()
    parser.write(text)
    return text.getvalue()


def account_of(endpoint: Endpoint, user: User) -> dict[str, str]:
    """Return what the suite wants to know of an account."""
    client = boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint.url,
        aws_access_key_id=user.access_key,
        aws_secret_access_key=user.secret_key,
        region_name=endpoint.region,
    )
    owner = client.list_buckets().get("Owner", {})
    client.close()
    owner_id = owner.get("ID", user.access_key)
    return {
        "access_key": user.access_key,
        "secret_key": user.secret_key,
        "user_id": owner_id,
        "display_name": owner.get("DisplayName", owner_id),
        "email": user.access_key,
    }


def table_of(cases: list[Case], results: Mapping[str, str]) -> str:
    """Return counts per group: tests, and how many of them hosu and each peer pass."""
    heads = ("group", "tests", "hosu", *PEERS)
    rows: list[tuple[str, ...]] = [heads]
    for group in [*dict.fromkeys(sorted(case.group for case in cases)), "all"]:
        members = [case for case in cases if group in {case.group, "all"}]
        counts = [len(members), sum(results[case.test] == "pass" for case in members)]
        counts += [sum(case.peers[peer] == "pass" for case in members) for peer in PEERS]
        rows.append((group, *map(str, counts)))
    lines = [row[0].ljust(24) + "".join(cell.rjust(11) for cell in row[1:]) for row in rows]
    return "\n".join(lines)


def compare_and_write(cases: list[Case], results: Mapping[str, str], *, accept: bool) -> int:
    """Say what changed since the committed results, write the new ones, and return the exit status."""
    before: dict[str, str] = {}
    if RESULTS_PATH.exists():
        with RESULTS_PATH.open(newline="", encoding="utf-8") as file:
            before = {row["test"]: row["result"] for row in csv.DictReader(file)}
    changes = Counter[str]()
    for test, now in results.items():
        was = before.get(test, "new")
        if was == now:
            continue
        kind = "regressed" if was == "pass" else "gained" if now == "pass" else "changed"
        changes[kind] += 1
        if before:
            say(f"{kind:10}{was:>8} -> {now:8}{test}")
    regressions = changes["regressed"]
    if regressions and not accept:
        say(f"{regressions} regressions: {RESULTS_PATH.relative_to(ROOT)} is left as it was")
        return 1
    with RESULTS_PATH.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["test", "group", "needs", "result", "minio", "rustfs"])
        for case in cases:
            peers = case.peers["minio"], case.peers["rustfs"]
            writer.writerow([case.test, case.group, case.needs, results[case.test], *peers])
    return 0


def say(line: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{line}\n")


def say_all(lines: Iterable[str]) -> None:
    """Print lines."""
    for line in lines:
        say(line)


if __name__ == "__main__":
    raise SystemExit(main())
