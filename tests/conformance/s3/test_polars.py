"""Polars, lazily and eagerly, with its own object store."""

from typing import Any

import polars as pl
from tests.support.clients import S3Client


def test_polars_scans_what_it_sank(storage_options: dict[str, str], bucket: str, table: Any) -> None:
    frame = pl.DataFrame({name: table[name].to_pylist() for name in table.column_names})
    frame.lazy().sink_parquet(f"s3://{bucket}/gold/a.parquet", storage_options=storage_options)
    frame.write_parquet(f"s3://{bucket}/gold/b.parquet", storage_options=storage_options)
    scan = pl.scan_parquet(f"s3://{bucket}/gold/*.parquet", storage_options=storage_options)
    total = scan.filter(pl.col("day") == "2025-08-01").select(pl.col("id").sum()).collect().item()
    assert total == 2 * sum(range(0, table.num_rows, 3))


def test_polars_reads_csv(storage_options: dict[str, str], s3: S3Client, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="raw/a.csv", Body="이름,수\n하나,1\n둘,2\n".encode())
    frame = pl.scan_csv(f"s3://{bucket}/raw/*.csv", storage_options=storage_options).collect()
    assert frame.rows() == [("하나", 1), ("둘", 2)]
