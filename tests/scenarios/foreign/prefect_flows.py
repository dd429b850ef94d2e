"""A Prefect flow over S3 by boto3: lists what has come, works on each file, writes what came out.

Run in the environment of the scenarios: what the runs have done is JSON on the last line. One task fails once, as the
network may, and is tried again; one file is none, and its failure is the flow's to tell.
"""

import asyncio
import json
import sys
from datetime import UTC, datetime
from typing import Any

import boto3
from prefect import flow, task, unmapped
from prefect.server.schemas.schedules import CronSchedule
from prefect.states import State
from prefect.testing.utilities import prefect_test_harness

RAW, CLEAN = "landing", "silver"
failures = {"first write": 1}
attempts: list[str] = []


def s3() -> Any:
    """Return a client for the server that the environment names."""
    return boto3.client("s3")


@task
def list_files(prefix: str) -> list[str]:
    """Return the keys of all files that have come."""
    pages = s3().get_paginator("list_objects_v2").paginate(Bucket=RAW, Prefix=prefix, PaginationConfig={"PageSize": 3})
    return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


@task
def process(key: str) -> dict[str, Any]:
    """Return what a file of readings says."""
    found = s3().get_object(Bucket=RAW, Key=key)
    readings = [float(line) for line in found["Body"].read().split()]
    return {"key": key, "readings": len(readings), "mean": sum(readings) / len(readings)}


@task(retries=3, retry_delay_seconds=0)
def write(facts: dict[str, Any], run: str) -> str:
    """Write what came out of a file, once for each run."""
    attempts.append(facts["key"])
    if failures["first write"]:
        failures["first write"] -= 1
        raise ConnectionError("the network is down for once")
    key = f"{run}/{facts['key'].rpartition('/')[2]}.json"
    s3().put_object(Bucket=CLEAN, Key=key, Body=json.dumps(facts).encode(), Metadata={"source": facts["key"]})
    return key


@flow
def clean(prefix: str, run: str) -> list[str]:
    """List, work, write."""
    facts = process.map(list_files(prefix))
    return [future.result() for future in write.map(facts, unmapped(run))]


def next_runs(cron: str) -> list[str]:
    """Return when a deployment of the flow with this schedule would run next."""
    deployment = clean.to_deployment("nightly", cron=cron, parameters={"prefix": "sensors/", "run": "nightly"})
    (only,) = deployment.schedules
    schedule = CronSchedule.model_validate(only.schedule.model_dump())
    found = asyncio.run(schedule.get_dates(2, start=datetime(2026, 11, 21, 12, tzinfo=UTC)))
    return [moment.isoformat() for moment in found]


if __name__ == "__main__":
    with prefect_test_harness():
        written = clean("sensors/", "first")
        failed: State[Any] = clean("broken/", "second", return_state=True)
        seen = {
            "written": written,
            "attempts": len(attempts),
            "failed": failed.is_failed(),
            "next": next_runs("0 2 * * *"),
        }
    sys.stdout.flush()
    print("\n" + json.dumps(seen))
