"""Batches of ticks that a pipeline writes as Parquet, and an analyst reads: the template `streaming`."""

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

LINES = [json.loads(line) for line in Path(os.environ["EXAMPLE_SECRETS"]).read_text().splitlines()]
SECRETS = {line["access_key"]: line["secret"] for line in LINES if line["kind"] == "secret"}


def filesystem(role: str) -> fs.S3FileSystem:
    """Return the lake as a role sees it."""
    return fs.S3FileSystem(
        access_key=role,
        secret_key=SECRETS[role],
        endpoint_override=os.environ["EXAMPLE_ENDPOINT"],
        scheme="http",
        region="us-east-1",
    )


def main() -> None:
    """Write three batches, each with its checkpoint, and read them all."""
    pipeline = filesystem("streaming-pipeline")
    for batch in range(3):
        ticks = pa.table({"symbol": ["KRW-BTC", "KRW-ETH"], "price": [1e8 + batch, 5e6 + batch], "batch": [batch] * 2})
        pq.write_table(ticks, f"warehouse/ticks/dt=2025-08-08/part-{batch}.parquet", filesystem=pipeline)
        with pipeline.open_output_stream("checkpoints/ticks/_latest") as file:
            file.write(str(batch).encode())
    analyst = filesystem("streaming-analyst")
    found = pq.read_table("warehouse/ticks", filesystem=analyst)
    print(f"the analyst reads {found.num_rows} ticks: {found.sort_by('batch').to_pydict()}")
    assert found.num_rows == 6
    try:
        analyst.open_input_file("checkpoints/ticks/_latest").read()
    except OSError as error:
        print("the analyst may not read checkpoints:", "ACCESS_DENIED" in str(error) or "403" in str(error))
    else:
        raise AssertionError("the analyst may read checkpoints")


if __name__ == "__main__":
    main()
