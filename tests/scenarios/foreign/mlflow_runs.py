"""MLflow with its artifacts on S3: a run and a model are logged, and loaded back from there.

Run in the environment of the scenarios: `mlflow_runs.py FOLDER`, where the database of runs is to lie; what was found
is JSON on the last line.
"""

import json
import sys
from pathlib import Path
from typing import Any

import mlflow
import mlflow.sklearn
import numpy as np
from sklearn.linear_model import LinearRegression

ARTIFACTS = "s3://mlflow/experiments"


def run(folder: Path) -> dict[str, Any]:
    """Log a run, register its model, and read all of it back."""
    mlflow.set_tracking_uri(f"sqlite:///{folder / 'runs.db'}")
    experiment = mlflow.create_experiment("doors", artifact_location=ARTIFACTS)
    inputs = np.arange(20.0).reshape(-1, 1)
    model = LinearRegression().fit(inputs, 3 * inputs[:, 0] + 1)
    with mlflow.start_run(experiment_id=experiment) as active:
        mlflow.log_params({"lr": 0.1, "epochs": 3})
        for epoch in range(3):
            mlflow.log_metric("loss", 1 / (epoch + 1), step=epoch)
        mlflow.log_text("a report", "reports/report.txt")
        large = folder / "weights.bin"
        large.write_bytes(bytes(range(256)) * 40_000)  # in parts, as boto3 sends it
        mlflow.log_artifact(str(large), "weights")
        logged = mlflow.sklearn.log_model(
            model,
            name="model",
            registered_model_name="door",
            pip_requirements=["scikit-learn"],
            input_example=inputs[:2],
        )
    client = mlflow.MlflowClient()
    run_id = active.info.run_id
    fetched = Path(client.download_artifacts(run_id, "weights/weights.bin", str(folder)))
    loaded = mlflow.sklearn.load_model(logged.model_uri)
    by_name = mlflow.pyfunc.load_model("models:/door/1")
    found = {
        "uri": active.info.artifact_uri,
        "artifacts": sorted(entry.path for entry in client.list_artifacts(run_id)),
        "report": mlflow.artifacts.load_text(f"{active.info.artifact_uri}/reports/report.txt"),
        "is_same": fetched.read_bytes() == large.read_bytes(),
        "predicted": [float(value) for value in loaded.predict([[100.0], [0.0]])],
        "by_name": [float(value) for value in by_name.predict(np.array([[2.0]]))],
        "losses": [metric.value for metric in client.get_metric_history(run_id, "loss")],
    }
    mlflow.delete_run(run_id)
    return found


if __name__ == "__main__":
    print("\n" + json.dumps(run(Path(sys.argv[1]))))
