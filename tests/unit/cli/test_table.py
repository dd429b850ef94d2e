"""`hosu table` on a lake of this machine."""

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet
from tests.support.lakecli import LakeCli, make_lake
from typer.testing import CliRunner, Result

from hosu.cli.main import build_app

COLUMNS = "symbol STRING, price DOUBLE, at TIMESTAMP(3), dt STRING"
TICKS = [
    {"symbol": "BTC", "price": 1.5, "at": None, "dt": "a"},
    {"symbol": "ETH", "price": 2.5, "at": None, "dt": "b"},
]


@pytest.fixture
def cli(tmp_path: Path) -> LakeCli:
    """A lake with the table d.t of two rows, each in a snapshot of its own."""
    cli = make_lake(tmp_path / "lake")
    keys = ("--primary-key", "symbol,dt", "--partition-by", "dt", "-o", "bucket=1")
    cli.text("table", "create", "d.t", "--columns", COLUMNS, *keys)
    with cli.opened() as lake:
        for row in TICKS:
            lake.table("d.t").upsert([row])
    return cli


def deep(cli: LakeCli, group: str, verb: str, *words: object) -> Result:
    """Run `hosu table GROUP VERB LAKE …`."""
    line = ["table", group, verb, str(cli.folder), *map(str, words)]
    return CliRunner().invoke(build_app(), line, input="")


def said(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def rows(cli: LakeCli, *words: object) -> dict[str, float]:
    return {row["symbol"]: row["price"] for row in cli.lines("table", "scan", "d.t", *words)}


def test_tables_are_made_listed_and_dropped(cli: LakeCli) -> None:
    assert cli.text("table", "ls") == "d.t\n"
    assert cli.fault("table", "create", "d.t", "--columns", "id INT") == ("table-exists", 1)
    assert cli.fault("table", "create", "d.u") == ("invalid-argument", 2)
    assert cli.fault("table", "create", "d.u", "--columns", "id NOPE")[0] == "table-invalid"
    assert cli.fault("table", "create", "d.u", "--columns", "id INT", "-o", "nope=1") == ("unsupported", 1)
    cli.text("table", "create", "d.t", "--columns", "id INT", "--ignore-existing")
    cli.text("table", "drop", "d.t", "--yes")
    assert cli.text("table", "ls", "d") == ""
    assert cli.fault("table", "head", "d.t") == ("table-not-found", 1)


def test_a_table_is_made_like_a_parquet_file(cli: LakeCli, tmp_path: Path) -> None:
    file = tmp_path / "x.parquet"
    parquet.write_table(pa.table({"id": [1], "v": [1.5]}), file)
    cli.text("table", "create", "d.u", "--like", file, "--primary-key", "id", "-o", "bucket=1")
    cli.text("table", "import", "d.u", file)
    assert cli.lines("table", "head", "d.u") == [{"id": 1, "v": 1.5}]
    assert cli.fault("table", "create", "d.v", "--like", tmp_path / "none.parquet")[1] == 2


def test_show_says_what_makes_the_table_and_how_large_it_is(cli: LakeCli) -> None:
    text = cli.text("table", "show", "d.t")
    assert "PRIMARY KEY (`symbol`, `dt`) NOT ENFORCED" in text
    assert "1 to 2" in text
    (shown,) = cli.lines("table", "show", "d.t")
    assert (shown["files"], shown["partitions"], shown["latest_snapshot"]) == (2, 2, 2)
    assert [one["snapshot_id"] for one in cli.lines("table", "snapshots", "d.t")] == [2, 1]
    assert [one["snapshot_id"] for one in cli.lines("table", "snapshots", "d.t", "-n", 1)] == [2]


def test_rows_are_scanned_by_columns_conditions_and_time(cli: LakeCli) -> None:
    assert rows(cli) == {"BTC": 1.5, "ETH": 2.5}
    assert rows(cli, "--at", "1") == {"BTC": 1.5}
    assert rows(cli, "--where", "dt = 'b'") == {"ETH": 2.5}
    assert cli.text("table", "scan", "d.t", "-c", "symbol", "-w", "price > 2", "--csv") == "symbol\nETH\n"
    assert len(cli.lines("table", "head", "d.t", "-n", "1")) == 1
    assert cli.fault("table", "scan", "d.t", "--where", "price >")[0] == "query-invalid"
    assert cli.fault("table", "scan", "d.t", "--at", "99")[0] == "snapshot-not-found"


def test_files_are_imported_in_one_commit_whatever_they_are(cli: LakeCli, tmp_path: Path) -> None:
    csv, lines, columns = tmp_path / "a.csv", tmp_path / "b.jsonl", tmp_path / "c.parquet"
    csv.write_text("dt,symbol,price,at\nx,C1,1.25,2026-01-31 09:00:00.5\nx,C2,,\n")
    lines.write_text('{"symbol": "J1", "price": 3, "dt": "x"}\n')
    parquet.write_table(pa.table({"symbol": ["P1"], "dt": ["x"]}), columns)
    (done,) = cli.lines("table", "import", "d.t", csv, lines, columns)
    assert (done["rows"], done["snapshot_id"]) == (4, 3)
    assert rows(cli, "--where", "dt = 'x'") == {"C1": 1.25, "C2": None, "J1": 3.0, "P1": None}
    cli.text("table", "import", "d.t", "-", "--format", "csv", stdin="symbol,dt\nS1,x\n")
    assert "S1" in rows(cli)
    cli.text("table", "import", "d.t", "--overwrite", lines)
    assert rows(cli) == {"J1": 3.0}


def test_a_file_that_is_wrong_is_named_and_nothing_is_imported(cli: LakeCli, tmp_path: Path) -> None:
    good, bad, odd = tmp_path / "a.csv", tmp_path / "b.csv", tmp_path / "c.xlsx"
    good.write_text("symbol,dt\nG,x\n")
    bad.write_text("symbol,dt,price\nB,x,cheap\n")
    result = cli.run("table", "import", "d.t", good, bad)
    assert result.exit_code == 1
    assert "b.csv" in result.stderr
    assert cli.fault("table", "import", "d.t", odd) == ("invalid-argument", 2)
    assert cli.fault("table", "import", "d.t", tmp_path / "none.csv") == ("rows-invalid", 1)
    (tmp_path / "d.jsonl").write_text('{"symbol": "D", "dt": "x", "nope": 1}\n')
    assert cli.fault("table", "import", "d.t", tmp_path / "d.jsonl") == ("rows-invalid", 1)
    assert rows(cli) == {"BTC": 1.5, "ETH": 2.5}


def test_rows_are_exported_to_whole_files(cli: LakeCli, tmp_path: Path) -> None:
    for name in ("x.parquet", "x.csv", "x.jsonl"):
        (done,) = cli.lines("table", "export", "d.t", tmp_path / name, "--columns", "symbol,price")
        assert done["rows"] == 2
    assert sorted(parquet.read_table(tmp_path / "x.parquet").to_pydict()["symbol"]) == ["BTC", "ETH"]
    assert sorted((tmp_path / "x.csv").read_text().splitlines()) == ["BTC,1.5", "ETH,2.5", "symbol,price"]
    assert cli.text("table", "export", "d.t", "-", "--format", "csv", "--at", 1, "-c", "symbol") == "symbol\nBTC\n"
    assert cli.fault("table", "export", "d.t", tmp_path / "x.csv") == ("invalid-argument", 2)
    cli.text("table", "export", "d.t", tmp_path / "x.csv", "--force", "--where", "dt = 'none'")
    assert len((tmp_path / "x.csv").read_text().splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lake", "x.csv", "x.jsonl", "x.parquet"]


EVERY_TYPE = (
    "id INT, b BYTES, d DECIMAL(20, 3), ts3 TIMESTAMP(3), ts9 TIMESTAMP(9), ltz TIMESTAMP_LTZ(3), t TIME, day DATE, "
    "f DOUBLE, yes BOOLEAN, days ARRAY<DATE>, r ROW<x INT, day DATE>, m MAP<STRING, INT>"
)
EVERY_VALUE = (
    "1, 'ab'::BLOB, 1.5, TIMESTAMP '2026-01-01 00:00:00.123', '2026-01-01 00:00:00.123456789'::TIMESTAMP_NS, "
    "TIMESTAMPTZ '2026-01-01 00:00:00+09', TIME '10:00:00', DATE '2026-01-31', 'nan'::DOUBLE, true, "
    "[DATE '2026-01-31', NULL], {'x': 1, 'day': DATE '2026-01-31'}"
)
FLAT = "id,b,d,ts3,ts9,ltz,t,day,yes"


@pytest.mark.parametrize(
    ("name", "columns"), [("x.csv", f"{FLAT},f"), ("x.jsonl", f"{FLAT},days,r"), ("x.parquet", f"{FLAT},f,days,r,m")]
)
def test_what_is_exported_can_be_imported(cli: LakeCli, tmp_path: Path, name: str, columns: str) -> None:
    with cli.opened() as lake:
        for table in ("d.a", "d.b"):
            lake.sql(f"CREATE TABLE {table} ({EVERY_TYPE})")
        lake.sql(f"INSERT INTO d.a SELECT {EVERY_VALUE}, MAP {{'k': 1}}")
        lake.sql("INSERT INTO d.a (id) VALUES (2)")
        if not name.endswith("csv"):
            lake.sql("INSERT INTO d.a (id, b) VALUES (3, ''::BLOB)")
    cli.text("table", "export", "d.a", tmp_path / name, "-c", columns)
    cli.text("table", "import", "d.b", tmp_path / name)
    with cli.opened() as lake:
        given, found = (lake.sql(f"SELECT {columns} FROM {table} ORDER BY id").fetchall() for table in ("d.a", "d.b"))
    assert str(found) == str(given)
    assert len(found) >= 2


WRONG_TEXTS = [
    ("json", '{"id": 1, "b": "zz"}', "column 'b': 'zz' is not bytes in hexadecimal"),
    ("json", '{"id": 1, "t": "25:00"}', "column 't'"),
    ("json", '{"id": 1, "ts3": ""}', "column 'ts3'"),
    ("json", '{"id": 1, "ts3": "2026-01-01T00:00:00.1234"}', "column 'ts3'"),
    ("json", '{"id": 1, "m": {"k": 1}}', "m"),
    ("csv", "id,days\n1,[2026-01-31]\n", "column 'days': .* use JSON lines or Parquet"),
    ("csv", "id,m\n1,{}\n", "column 'm': .* use Parquet"),
    ("csv", "id,f\n1,NULL\n", "NULL"),
    ("parquet", "", "name a file"),
]


def test_text_that_is_no_value_is_named_and_nothing_is_imported(cli: LakeCli) -> None:
    with cli.opened() as lake:
        lake.sql(f"CREATE TABLE d.a ({EVERY_TYPE})")
    for kind, text, named in WRONG_TEXTS:
        result = cli.run("table", "import", "d.a", "-", "--format", kind, stdin=text)
        assert result.exit_code in {1, 2}
        assert re.search(named, result.stderr), result.stderr
    with cli.opened() as lake:
        assert lake.table("d.a").latest() is None


def test_times_without_a_zone_are_utc_in_files_of_text(cli: LakeCli) -> None:
    cli.text("table", "create", "d.a", "--columns", "id INT, at TIMESTAMP_LTZ(3)")
    text = "id,at\n1,2026-01-31\n2,2026-01-31 09:00:00\n3,2026-01-31T09:00:00+09:00\n4,\n"
    cli.text("table", "import", "d.a", "-", "--format", "csv", stdin=text)
    assert {row["id"]: row["at"] for row in cli.lines("table", "scan", "d.a")} == {
        1: "2026-01-31T00:00:00+00:00",
        2: "2026-01-31T09:00:00+00:00",
        3: "2026-01-31T00:00:00+00:00",
        4: None,
    }


def test_a_span_is_that_long_ago_unless_a_tag_has_the_name(cli: LakeCli) -> None:
    assert rows(cli, "--at", "0s") == {"BTC": 1.5, "ETH": 2.5}
    assert cli.fault("table", "scan", "d.t", "--at", "1h")[0] == "snapshot-not-found"
    assert deep(cli, "tag", "create", "d.t", "1h", "--snapshot", 1).exit_code == 0
    assert rows(cli, "--at", "1h") == {"BTC": 1.5}
    cli.text("table", "rollback", "d.t", "1h", "--yes")
    assert rows(cli) == {"BTC": 1.5}


def test_a_dry_run_of_compaction_says_what_the_next_one_does(cli: LakeCli) -> None:
    with cli.opened() as lake:
        lake.table("d.t").upsert([{**TICKS[0], "price": 9.0}])
    assert "needs no compaction" in cli.run("table", "compact", "d.t", "--dry-run").stderr
    dry = cli.lines("table", "compact", "d.t", "--full", "--dry-run", "--partition", "dt=a")
    assert [(one["dry_run"], one["partition"], one["bucket"], one["reason"], len(one["files"])) for one in dry] == [
        (True, {"dt": "a"}, 0, "full", 2)
    ]
    text = cli.text("table", "compact", "d.t", "--full", "--dry-run")
    assert text.startswith("dt=a,bucket=0: would merge 2 files, ")
    with cli.opened() as lake:
        before = set(lake.table("d.t").system("files").column("file_path").to_pylist())
    assert len(cli.lines("table", "snapshots", "d.t")) == 3
    cli.text("table", "compact", "d.t", "--full", "--partition", "dt=a")
    with cli.opened() as lake:
        after = set(lake.table("d.t").system("files").column("file_path").to_pylist())
    assert {path.rpartition("/")[2] for path in before - after} == set(dry[0]["files"])
    assert cli.lines("table", "compact", "d.t", "--full", "--dry-run", "--partition", "dt=a") == []


def test_alter_compact_expire_orphans_and_analyze(cli: LakeCli) -> None:
    cli.text("table", "alter", "d.t", "ADD COLUMN note STRING COMMENT 'why'")
    assert "`note` STRING COMMENT 'why'" in cli.text("table", "show", "d.t")
    assert cli.fault("table", "alter", "d.t", "EXPLODE") == ("unsupported", 1)
    with cli.opened() as lake:
        lake.table("d.t").upsert([{**TICKS[0], "price": 9.0, "note": None}])
    (done,) = cli.lines("table", "compact", "d.t", "--full", "--partition", "dt=a")
    assert done["snapshot_id"] == 4
    assert cli.fault("table", "compact", "d.t", "--partition", "symbol=BTC") == ("query-invalid", 1)
    (dry,) = cli.lines("table", "expire", "d.t", "--retain-min", 1, "--retain-max", 1, "--dry-run")
    assert (dry["dry_run"], dry["snapshots"]) == (True, [1, 2, 3])
    assert len(cli.lines("table", "snapshots", "d.t")) == 4
    cli.text("table", "expire", "d.t", "--retain-min", 1, "--retain-max", 1)
    assert [one["snapshot_id"] for one in cli.lines("table", "snapshots", "d.t")] == [4]
    assert cli.lines("table", "orphans", "d.t", "--dry-run")[0]["files"] == []
    (analysed,) = cli.lines("table", "analyze", "d.t", "--columns", "price")
    assert analysed["snapshot_id"] == 5
    assert rows(cli) == {"BTC": 9.0, "ETH": 2.5}


def test_tags_keep_snapshots_and_rollback_goes_to_them(cli: LakeCli) -> None:
    assert said(deep(cli, "tag", "create", "d.t", "one", "--snapshot", 1, "--json"))[0]["snapshot_id"] == 1
    (shown,) = said(deep(cli, "tag", "ls", "d.t", "--json"))
    assert (shown["tag"], shown["snapshot_id"]) == ("one", 1)
    assert deep(cli, "tag", "create", "d.t", "one").exit_code == 1
    cli.text("table", "rollback", "d.t", "one", "--yes")
    assert rows(cli) == {"BTC": 1.5}
    assert deep(cli, "tag", "rm", "d.t", "one").exit_code == 0
    assert said(deep(cli, "tag", "ls", "d.t", "--json")) == []


def test_branches_are_made_written_and_made_the_table(cli: LakeCli) -> None:
    deep(cli, "tag", "create", "d.t", "one", "--snapshot", 1)
    assert "d.t$branch_b" in deep(cli, "branch", "create", "d.t", "b", "--tag", "one").stdout
    assert [one["branch"] for one in said(deep(cli, "branch", "ls", "d.t", "--json"))] == ["b"]
    assert cli.lines("table", "scan", "d.t$branch_b")[0]["symbol"] == "BTC"
    assert deep(cli, "branch", "fast-forward", "d.t", "b", "--yes").exit_code == 0
    assert deep(cli, "branch", "rm", "d.t", "b").exit_code == 0
    assert deep(cli, "branch", "rm", "d.t", "b").exit_code == 1


def test_consumers_are_set_and_forgotten(cli: LakeCli) -> None:
    deep(cli, "consumer", "reset", "d.t", "job", 1)
    (shown,) = said(deep(cli, "consumer", "ls", "d.t", "--json"))
    assert (shown["consumer"], shown["next_snapshot"], shown["is_lease"]) == ("job", 1, False)
    assert deep(cli, "consumer", "rm", "d.t", "job").exit_code == 0
    result = deep(cli, "consumer", "rm", "d.t", "job")
    assert result.exit_code == 1
    assert "has no consumer 'job'" in result.stderr
