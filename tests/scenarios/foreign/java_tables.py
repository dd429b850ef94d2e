"""Let Flink write the tables of tests/support/paimon.py: `python -m tests.scenarios.foreign.java_tables FOLDER`."""

import base64
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.support.flink import Flink, FlinkError
from tests.support.paimon import CASES, Case, Tag

DATABASE = "java"


def encode(value: Any) -> Any:
    """Return a value of a row as JSON holds it."""
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {"map": [[encode(key), encode(item)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return {"decimal": str(value)}


def answers(flink: Flink, case: Case) -> dict[str, Any]:
    """Make a table in Flink, and return what Flink reads of it."""
    flink.run(case.ddl, *case.statements())
    found: dict[str, Any] = {"rows": flink.rows(f"SELECT * FROM `{case.name}`")}
    snapshots = [int(row[0]) for row in flink.rows(f"SELECT snapshot_id FROM `{case.name}$snapshots`")]
    found["snapshots"] = snapshots
    if case.shows_history:
        hint = "/*+ OPTIONS('scan.snapshot-id'='{}') */"
        found["history"] = {
            str(number): flink.rows(f"SELECT * FROM `{case.name}` {hint.format(number)}") for number in snapshots
        }
    if case.shows_changes:
        found["changes"] = {}
        producer = case.options.get("changelog-producer", "none")
        mode = "delta" if producer == "none" else "changelog"
        for number in snapshots:
            between = f"'incremental-between'='{number - 1},{number}', 'incremental-between-scan-mode'='{mode}'"
            found["changes"][str(number)] = flink.rows(
                f"SELECT * FROM `{case.name}$audit_log` /*+ OPTIONS({between}) */"
            )
    for step in case.steps:
        if isinstance(step, Tag):
            hint = f"/*+ OPTIONS('scan.tag-name'='{step.name}') */"
            found.setdefault("tags", {})[step.name] = flink.rows(f"SELECT * FROM `{case.name}` {hint}")
    return found


def main(folder: Path, *names: str) -> None:
    """Write all cases, or those named, below a folder."""
    told: dict[str, Any] = {}
    answers_path = folder / "answers.json"
    if answers_path.exists():
        told = json.loads(answers_path.read_text())
    with tempfile.TemporaryDirectory() as home, Flink(Path(home)) as flink:
        flink.catalog(f"file:{folder.absolute()}", database=DATABASE)
        for case in CASES:
            if case.answer is not None or (names and case.name not in names):
                continue
            flink.run(f"DROP TABLE IF EXISTS `{case.name}`")
            try:
                told[case.name] = encode_all(answers(flink, case))
            except FlinkError as error:
                print(f"{case.name}: {error}", file=sys.stderr)
                continue
            print(case.name, len(told[case.name]["rows"]), flush=True)
            answers_path.write_text(json.dumps(told, ensure_ascii=False, sort_keys=True, separators=(",", ":")) + "\n")


def encode_all(found: dict[str, Any]) -> dict[str, Any]:
    """Return answers as JSON holds them."""
    encoded: dict[str, Any] = {}
    for name, value in found.items():
        if isinstance(value, dict):
            encoded[name] = {key: encode(rows) for key, rows in value.items()}
        else:
            encoded[name] = encode(value)
    return encoded


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
