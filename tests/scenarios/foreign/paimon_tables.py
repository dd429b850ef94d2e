"""Do to Paimon tables what the JSON of the first argument lists, with pypaimon; rows go in and out as Arrow files."""

import json
import sys
from typing import Any

import pyarrow as pa
from pypaimon import CatalogFactory, Schema


def load(path: str) -> pa.Table:
    """Return the rows of an Arrow file."""
    with pa.memory_map(path) as source:
        return pa.ipc.open_file(source).read_all()


def save(rows: pa.Table, path: str) -> None:
    """Write rows to an Arrow file."""
    with pa.OSFile(path, "wb") as sink, pa.ipc.new_file(sink, rows.schema) as writer:
        writer.write_table(rows)


def write(table: Any, path: str) -> None:
    """Commit the rows of an Arrow file."""
    builder = table.new_batch_write_builder()
    writer, commit = builder.new_write(), builder.new_commit()
    try:
        writer.write_arrow(load(path))
        commit.commit(writer.prepare_commit())
    finally:
        writer.close()
        commit.close()


def main(jobs: list[dict[str, Any]], options: dict[str, str]) -> list[dict[str, Any]]:
    """Do each job; an answer for each."""
    catalog = CatalogFactory.create(options)
    answers = []
    for job in jobs:
        name = job["table"]
        try:
            if job["do"] == "create":
                catalog.create_database(name.partition(".")[0], ignore_if_exists=True)
                schema = Schema.from_pyarrow_schema(
                    load(job["rows"]).schema,
                    partition_keys=job["partitions"],
                    primary_keys=job["keys"],
                    options=job["options"],
                )
                catalog.create_table(name, schema, ignore_if_exists=False)
            elif job["do"] == "write":
                write(catalog.get_table(name), job["rows"])
            else:
                builder = catalog.get_table(name).new_read_builder()
                save(builder.new_read().to_arrow(builder.new_scan().plan().splits()), job["rows"])
            answers.append({"job": job["do"], "table": name, "error": None})
        except Exception as error:  # noqa: BLE001 - the caller says which may fail
            answers.append({"job": job["do"], "table": name, "error": f"{type(error).__name__}: {error}"})
    return answers


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]), json.loads(sys.argv[2]))))
