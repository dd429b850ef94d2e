"""S1.5: Prefect flows over boto3: list, work on each file, write; failures are tried again, and told."""

import json
from pathlib import Path

import pytest
from tests.support.clients import S3Client, empty_bucket
from tests.support.foreign import require, run_script
from tests.support.server import Endpoint

FILES = 7


@pytest.mark.timeout(300)
def test_a_flow_lists_works_and_writes(s3: S3Client, server: Endpoint, tmp_path: Path) -> None:
    require("prefect")
    for bucket in ("landing", "silver"):
        s3.create_bucket(Bucket=bucket)
    for number in range(FILES):
        body = b"\n".join(b"%d" % (number + step) for step in range(3))
        s3.put_object(Bucket="landing", Key=f"sensors/{number}.txt", Body=body)
    s3.put_object(Bucket="landing", Key="broken/a.txt", Body=b"no number")
    found = run_script("prefect_flows.py", server, tmp_path)
    expected = [f"first/{number}.txt.json" for number in range(FILES)]
    assert found["written"] == expected
    assert found["attempts"] == FILES + 1
    assert found["failed"] is True
    assert found["next"] == ["2026-11-22T02:00:00+00:00", "2026-11-23T02:00:00+00:00"]
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket="silver")["Contents"]] == expected
    for number, key in enumerate(expected):
        written = s3.get_object(Bucket="silver", Key=key)
        assert json.loads(written["Body"].read()) == {
            "key": f"sensors/{number}.txt",
            "readings": 3,
            "mean": number + 1.0,
        }
        assert written["Metadata"] == {"source": f"sensors/{number}.txt"}
    for bucket in ("landing", "silver"):
        empty_bucket(s3, bucket)
        s3.delete_bucket(Bucket=bucket)
