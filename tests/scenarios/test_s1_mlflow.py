"""S1.6: MLflow keeps the artifacts of its runs in the lake, and loads models back from there."""

from pathlib import Path

import pytest
from tests.support.clients import S3Client, empty_bucket
from tests.support.foreign import require, run_script
from tests.support.server import Endpoint


@pytest.mark.timeout(300)
def test_a_run_and_its_model_come_back_from_the_lake(s3: S3Client, server: Endpoint, tmp_path: Path) -> None:
    require("mlflow")
    s3.create_bucket(Bucket="mlflow")
    found = run_script("mlflow_runs.py", server, tmp_path, str(tmp_path))
    assert found["uri"].startswith("s3://mlflow/experiments/")
    assert {"reports", "weights"} <= set(found["artifacts"])
    assert (found["report"], found["is_same"]) == ("a report", True)
    assert found["predicted"] == pytest.approx([301, 1])
    assert found["by_name"] == pytest.approx([7])
    assert found["losses"] == pytest.approx([1, 1 / 2, 1 / 3])
    keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket="mlflow")["Contents"]]
    assert any(key.endswith("/MLmodel") for key in keys)
    assert all(key.startswith("experiments/") for key in keys)
    empty_bucket(s3, "mlflow")
    s3.delete_bucket(Bucket="mlflow")
