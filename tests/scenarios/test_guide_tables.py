"""The Python, SQL and commands of the guides and the reference of tables, run as they stand there."""

import re
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner

import hosu
from hosu.cli.main import build_app
from hosu.kernel.errors import CorruptError
from hosu.testing.manual_clock import ManualClock

DOCS = Path(__file__).parents[2] / "docs"
DAY_BEFORE_MS = int(datetime(2026, 1, 30, tzinfo=UTC).timestamp() * 1000)
"""Before the times that the reference travels to, in any zone of the machine."""

TICKER = """
CREATE TABLE upbit.ticker (
  symbol STRING, price DOUBLE, dt STRING,
  PRIMARY KEY (symbol, dt) NOT ENFORCED
) PARTITIONED BY (dt) WITH ('changelog-producer'='input', 'merge-engine'='deduplicate', 'bucket'='4')
"""


def blocks(page: str, language: str = "python") -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return [body for name, body in found if name == language]


def run(code: str, names: dict[str, Any]) -> None:
    exec(compile(code, "guide", "exec"), names)


@pytest.fixture
def names(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """What pages take as given: a lake of the day before, its table, rows of it."""
    with hosu.open(tmp_path / "lake", clock=ManualClock(DAY_BEFORE_MS)) as lake:
        lake.sql("CREATE DATABASE upbit")
        lake.sql(TICKER)
        table = lake.table("upbit.ticker")
        rows = [{"symbol": "KRW-BTC", "price": 9.0, "dt": "2026-01-31"}]
        for _ in range(8):
            table.upsert(rows)
        table.create_tag("before-release")
        schema = pa.schema([("id", pa.int64())])
        yield {"lake": lake, "table": table, "ticker": table, "schema": schema, "batches": [rows, rows]}


def test_the_guide_to_tables_holds_from_its_first_line_to_its_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    said = []
    for block in blocks("guides/tables.md"):
        run(block, found)
        printed = capsys.readouterr().out.splitlines()
        assert printed == re.findall(r"^# (.*)$", block, flags=re.MULTILINE)
        said += printed
    assert said == ["[{'symbol': 'KRW-BTC', 'price': 2.5}]", "1 ['+I']", "2 ['-U', '+U']"]
    (lines,) = (block.splitlines() for block in blocks("guides/tables.md", "") if block.startswith("hosu table"))
    for line in lines:
        done = CliRunner().invoke(build_app(), shlex.split(line)[1:])
        assert (done.exit_code, done.stderr.startswith("hosu")) == (0, False), (line, done.output)
    found["lake"].close()


def test_the_guide_to_upkeep_calls_what_there_is(names: dict[str, Any]) -> None:
    found = blocks("guides/table-upkeep.md")
    assert len(found) == 3
    for block in found:
        run(block, names)
    assert {tag.name for tag in names["table"].tags()} >= {"before-migration", "audit-2026"}


class Enough(Exception):  # noqa: N818 - it is no fault
    """The page's loop goes on for ever."""


def test_the_examples_of_the_reference_run(names: dict[str, Any]) -> None:
    pytest.importorskip("polars")
    seen: list[int] = []

    def remember(snapshot_id: int) -> None:
        seen.append(snapshot_id)
        raise Enough

    names |= {"apply": lambda rows: seen.append(rows.num_rows), "remember": remember}
    scan, broken, changes = blocks("reference/table-reads.md")
    run(scan, names)
    run(broken, names | {"CorruptError": CorruptError})
    with pytest.raises(Enough):
        run(changes, names)
    assert seen == [1, 8]
    (writer,) = blocks("reference/table-writes.md")
    before = names["table"].latest().id
    run(writer, names)
    appended = [one for one in names["table"].snapshots() if one.id > before and one.commit_kind == "APPEND"]
    assert len(appended) == 2
    for block in [*blocks("reference/where.md"), *blocks("reference/sql.md")]:
        run(block, names)
    assert names["table"].scan(["price"]).to_arrow().to_pylist() == [{"price": 18.0}]


def test_the_statement_of_the_reference_makes_a_table(names: dict[str, Any]) -> None:
    (statement,) = (block for block in blocks("reference/sql.md", "sql") if block.startswith("CREATE TABLE"))
    names["lake"].sql("CREATE DATABASE d")
    names["lake"].sql(statement.replace("CREATE TABLE ticker", "CREATE TABLE d.ticker"))
    assert names["lake"].table("d.ticker").schema.primary_keys == ("symbol", "dt")
