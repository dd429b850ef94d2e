"""Raw rows to clean rows to a report, each step with the key of its role in the template `medallion`."""

import json
import os
from pathlib import Path

import boto3
import polars as pl
from botocore.exceptions import ClientError

ENDPOINT = f"http://{os.environ['EXAMPLE_ENDPOINT']}"
LINES = [json.loads(line) for line in Path(os.environ["EXAMPLE_SECRETS"]).read_text().splitlines()]
SECRETS = {line["access_key"]: line["secret"] for line in LINES if line["kind"] == "secret"}
RAW = "door,opened_at,seconds\nfront,2025-08-08T08:00:00,4\nfront,2025-08-08T08:05:00,\nback,2025-08-08T09:00:00,11\n"


def options(role: str) -> dict[str, str]:
    """Return what Polars needs to reach the lake as a role."""
    return {
        "aws_endpoint_url": ENDPOINT,
        "aws_region": "us-east-1",
        "aws_allow_http": "true",
        "aws_access_key_id": role,
        "aws_secret_access_key": SECRETS[role],
    }


def main() -> None:
    """Run the three steps."""
    session = boto3.session.Session(aws_access_key_id="medallion-ingest", region_name="us-east-1",
                                    aws_secret_access_key=SECRETS["medallion-ingest"])  # fmt: skip
    ingest = session.client("s3", endpoint_url=ENDPOINT)
    ingest.put_object(Bucket="bronze", Key="doors/2025-08-08.csv", Body=RAW.encode())
    try:
        ingest.delete_object(Bucket="bronze", Key="doors/2025-08-08.csv")
    except ClientError as error:
        print("ingest may not delete what is raw:", error.response["Error"]["Code"])

    transform = options("medallion-transform")
    rows = pl.scan_csv("s3://bronze/doors/*.csv", storage_options=transform).collect()
    clean = rows.drop_nulls().with_columns(pl.col("opened_at").str.to_datetime())
    clean.write_parquet("s3://silver/doors/2025-08-08.parquet", storage_options=transform)
    report = clean.group_by("door").agg(pl.len().alias("times"), pl.col("seconds").mean()).sort("door")
    report.write_parquet("s3://gold/doors.parquet", storage_options=transform)

    print(pl.read_parquet("s3://gold/doors.parquet", storage_options=options("medallion-analyst")))


if __name__ == "__main__":
    main()
