"""S1.4: Spark fills bronze, silver and gold as Delta tables through s3a; delta-rs and Polars work on the same ones."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake
from tests.support.clients import S3Client, empty_bucket
from tests.support.foreign import JARS, require, run_script
from tests.support.server import Endpoint

BUCKETS = ("landing", "bronze", "silver", "gold")
DAYS, READINGS, SENSORS = 3, 200, 4
BRONZE, SILVER, GOLD = "s3://bronze/readings", "s3://silver/readings", "s3://gold/daily"


def value_of(number: int) -> str:
    """Return a reading; a sensor that does not answer leaves none."""
    return "" if number % 50 == 7 else str(number % 101)


@pytest.fixture
def tiers(s3: S3Client) -> Iterator[None]:
    for bucket in BUCKETS:
        s3.create_bucket(Bucket=bucket)
    for day in range(1, DAYS + 1):
        text = io.StringIO()
        rows = csv.writer(text)
        rows.writerow(["sensor", "at", "value"])
        for number in range(READINGS):
            at = f"2026-01-{day:02d} 00:{number // 60:02d}:{number % 60:02d}"
            rows.writerow([f"s{number % SENSORS}", at, value_of(number)])
        s3.put_object(Bucket="landing", Key=f"sensors/{day}.csv", Body=text.getvalue().encode())
    yield
    for bucket in BUCKETS:
        empty_bucket(s3, bucket)
        s3.delete_bucket(Bucket=bucket)


def storage(server: Endpoint) -> dict[str, str]:
    """Return what delta-rs needs to know of the server; it commits by a conditional put."""
    return {
        "AWS_ENDPOINT_URL": server.url,
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
        "AWS_REGION": server.region,
        "AWS_ALLOW_HTTP": "true",
        "conditional_put": "etag",
    }


def gold_of(silver: Any) -> list[list[Any]]:
    """Return what gold has to hold, computed from silver by Polars."""
    summed = silver.group_by("sensor").agg(pl.len().alias("readings"), pl.col("value").max().alias("largest"))
    return [list(row) for row in summed.sort("sensor").rows()]


@pytest.mark.needs("java")
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("tiers")
def test_spark_delta_rs_and_polars_share_the_tiers(s3: S3Client, server: Endpoint, tmp_path: Path) -> None:
    require("pyspark")
    built = run_script("spark_tiers.py", server, tmp_path, "build", str(JARS))
    missing = sum(value_of(number) == "" for number in range(READINGS))
    assert (built["raw"], built["bronze"], built["bronze_first"]) == (DAYS * READINGS, DAYS * READINGS + 10, 600)
    assert built["silver"] == DAYS * (READINGS - missing - sum(value_of(number) == "100" for number in range(READINGS)))
    assert built["versions"] == ["DELETE", "MERGE", "WRITE", "WRITE"]
    assert built["zeros"] == 5 + DAYS * sum(value_of(number) == "0" for number in range(READINGS)) - 1
    assert built["export"] == 2 * SENSORS

    success = json.loads(s3.get_object(Bucket="gold", Key="export/_SUCCESS")["Body"].read())
    assert success["committer"] == "magic"
    listed = [entry["Key"] for entry in s3.list_objects_v2(Bucket="gold", Prefix="export/")["Contents"]]
    assert not [key for key in listed if "__magic" in key]
    assert "Uploads" not in s3.list_multipart_uploads(Bucket="gold")

    options = storage(server)
    silver = pl.read_delta(SILVER, storage_options=options)
    assert silver.height == built["silver"]
    assert gold_of(silver) == built["gold"]
    assert DeltaTable(SILVER, storage_options=options).metadata().partition_columns == ["sensor"]

    more = pl.DataFrame({"sensor": ["s9", "s9"], "at": ["2026-02-01 00:00:00"] * 2, "value": ["1", "2"]})
    write_deltalake(BRONZE, more.to_arrow(), mode="append", storage_options=options)
    rewritten = pl.DataFrame(built["gold"], schema=["sensor", "readings", "largest"], orient="row").with_columns(
        pl.col("readings") + 1
    )
    write_deltalake(GOLD, rewritten.to_arrow(), mode="overwrite", storage_options=options)

    seen = run_script("spark_tiers.py", server, tmp_path, "read", str(JARS))
    assert seen["bronze"] == built["bronze"] + 2
    assert seen["gold"] == [[sensor, readings + 1, largest] for sensor, readings, largest in built["gold"]]
    assert seen["export"] == built["export"]
