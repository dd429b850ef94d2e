"""DuckDB over an fsspec filesystem: its own S3 extension is a download, which tests do not make."""

from typing import Any

import duckdb
import pyarrow.parquet as pq
from obstore.fsspec import FsspecStore
from tests.support.server import Endpoint


def test_duckdb_reads_and_writes_parquet_over_fsspec(
    server: Endpoint, bucket: str, filesystem: Any, table: Any
) -> None:
    pq.write_table(table, f"{bucket}/bronze/a.parquet", filesystem=filesystem, row_group_size=5_000)
    bridge = FsspecStore(
        "s3",
        client_options={"allow_http": True},
        access_key_id=server.access_key,
        secret_access_key=server.secret_key,
        endpoint=server.url,
        region=server.region,
    )
    with duckdb.connect() as connection:
        connection.register_filesystem(bridge)
        connection.execute(
            f"copy (select day, sum(value) as total from 's3://{bucket}/bronze/a.parquet' group by day)"
            f" to 's3://{bucket}/gold/totals.parquet' (format parquet)"
        )
        rows = connection.execute(f"select day, total from 's3://{bucket}/gold/totals.parquet' order by day").fetchall()
    assert rows == [(f"2025-08-{day + 1:02}", sum(range(day, table.num_rows, 3)) * 0.5) for day in range(3)]
