"""pypaimon, in an environment of its own since its pins exclude ours: rows go there and back as Arrow files."""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.support.foreign import ENVIRONMENT as SCENARIOS
from tests.support.foreign import SCRIPTS
from tests.support.server import Endpoint, isolated_environment

ENVIRONMENT = SCENARIOS / "paimon"
HOW = "needs pypaimon: make scenarios-venv"
SECONDS_MAX = 240.0


class PypaimonError(Exception):
    """A job failed; the message is pypaimon's."""


def require_pypaimon() -> None:
    """Skip a test whose program is not installed; on CI, where it is, that is a failure."""
    if not list(ENVIRONMENT.glob("lib/python*/site-packages/pypaimon")):
        pytest.skip(HOW)


def s3_options(endpoint: Endpoint) -> dict[str, str]:
    """Return what a catalog of pypaimon says of an S3."""
    return {
        "s3.endpoint": endpoint.url,
        "s3.access-key": endpoint.access_key,
        "s3.secret-key": endpoint.secret_key,
        "s3.region": endpoint.region,
        "s3.path.style.access": "true",
    }


@dataclass(slots=True)
class Pypaimon:
    """Jobs for one warehouse, done together in one process when `done` is called."""

    warehouse: str
    scratch: Path
    options: Mapping[str, str] = field(default_factory=dict)
    _jobs: list[dict[str, Any]] = field(default_factory=list)

    def create(
        self,
        table: str,
        schema: pa.Schema,
        *,
        keys: list[str] | None = None,
        partitions: list[str] | None = None,
        options: Mapping[str, str] | None = None,
    ) -> None:
        """Make a table, and its database."""
        self._job("create", table, schema.empty_table(), keys=keys, partitions=partitions, options=dict(options or {}))

    def write(self, table: str, rows: pa.Table) -> None:
        """Commit rows."""
        self._job("write", table, rows)

    def read(self, table: str) -> Path:
        """Read a table into the Arrow file that is returned; it is there once done."""
        return self._job("read", table, None)

    def done(self) -> None:
        """Do the jobs; PypaimonError for the first that failed."""
        jobs, self._jobs = self._jobs, []
        options = {"warehouse": self.warehouse, **self.options}
        done = subprocess.run(
            [
                str(ENVIRONMENT / "bin" / "python"),
                str(SCRIPTS / "paimon_tables.py"),
                json.dumps(jobs),
                json.dumps(options),
            ],
            cwd=self.scratch,
            env=isolated_environment(),
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
        )
        if done.returncode:
            raise PypaimonError(f"{done.stdout[-2000:]}\n{done.stderr[-6000:]}")
        for answer in json.loads(done.stdout.strip().rpartition("\n")[2]):
            if answer["error"] is not None:
                raise PypaimonError(f"{answer['job']} {answer['table']}: {answer['error']}\n{done.stderr[-4000:]}")

    def rows(self, *tables: str) -> dict[str, pa.Table]:
        """Do the jobs, then return the rows of tables by name."""
        paths = {table: self.read(table) for table in tables}
        self.done()
        return {table: load(path) for table, path in paths.items()}

    def _job(self, verb: str, table: str, rows: pa.Table | None, **more: Any) -> Path:
        path = self.scratch / f"{len(list(self.scratch.glob('*.arrow')))}-{verb}.arrow"
        path.touch()
        if rows is not None:
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, rows.schema) as writer:
                writer.write_table(rows)
        self._jobs.append({"do": verb, "table": table, "rows": str(path), **more})
        return path


def load(path: Path) -> pa.Table:
    """Return the rows of an Arrow file."""
    with pa.OSFile(str(path), "rb") as source:
        return pa.ipc.open_file(source).read_all()


__all__ = ["Pypaimon", "PypaimonError", "load", "require_pypaimon", "s3_options"]
