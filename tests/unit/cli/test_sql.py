"""`hosu sql` on a lake of this machine, and the parts of its shell."""

import io
import json
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from tests.support.lakecli import LakeCli, make_lake
from typer.testing import CliRunner, Result

from hosu.cli.faults import CancelledError
from hosu.cli.main import build_app
from hosu.cli.output import Output
from hosu.cli.rows import PAGE_ROWS, Form, say_rows
from hosu.cli.sql import interruptible
from hosu.cli.sqlshell import Names, Shell, history_file, is_complete

Sql = Callable[..., Result]


@pytest.fixture
def lake(tmp_path: Path) -> LakeCli:
    cli = make_lake(tmp_path / "lake")
    with cli.opened() as opened:
        schema = pa.schema([("id", pa.int64()), ("name", pa.string())])
        opened.tables.create("d.t", schema, primary_keys=["id"], options={"bucket": "1"})
        opened.table("d.t").upsert([{"id": 1, "name": "one"}, {"id": 2, "name": "비"}])
    return cli


@pytest.fixture
def sql(lake: LakeCli) -> Sql:
    """Run `hosu sql LAKE …`."""

    def run(*words: object, stdin: str | None = None) -> Result:
        return CliRunner().invoke(build_app(), ["sql", str(lake.folder), *map(str, words)], input=stdin)

    return run


def test_rows_are_shown_as_a_table_with_wide_characters_in_line(sql: Sql) -> None:
    result = sql("SELECT id, name, 1.5 AS n FROM d.t ORDER BY id")
    assert result.exit_code == 0, result.output
    assert result.stdout == "id  name    n\n──  ────  ───\n 1  one   1.5\n 2  비    1.5\n"


def test_json_and_csv_are_for_programs(sql: Sql) -> None:
    query = "SELECT id, name, DATE '2026-01-31' AS day, 1.50 AS n, [1] AS l, NULL AS x, true AS b FROM d.t WHERE id = 1"
    row = {"id": 1, "name": "one", "day": "2026-01-31", "n": "1.50", "l": [1], "x": None, "b": True}
    assert json.loads(sql(query, "--json").stdout) == row
    assert sql(query, "--csv").stdout == "id,name,day,n,l,x,b\n1,one,2026-01-31,1.50,[1],,true\n"


def test_times_that_python_cannot_hold_are_said_exactly(sql: Sql) -> None:
    query = (
        "SELECT TIMESTAMP_NS '2026-01-01 00:00:00.100000789' AS ns, DATE '9999-12-31' + 5 AS day, "
        "TIMESTAMP '290000-01-01' AS far, INTERVAL '1 month 2 days 0.5 seconds' AS span, "
        "TIMESTAMP '2026-01-01 00:00:00.5' AS half, TIMESTAMP '2026-01-01' AS whole"
    )
    row = {
        "ns": "2026-01-01T00:00:00.100000789",
        "day": "10000-01-05",
        "far": "290000-01-01T00:00:00.000000",
        "span": "P1M2DT0.5S",
        "half": "2026-01-01T00:00:00.500",
        "whole": "2026-01-01T00:00:00",
    }
    assert json.loads(sql(query, "--json").stdout) == row
    shown = sql(query).stdout.splitlines()[-1]
    assert shown.split("  ")[:2] == ["2026-01-01 00:00:00.100000789", "10000-01-05"]


def test_values_within_values_are_shown_as_people_write_them(sql: Sql) -> None:
    result = sql("SELECT {'a': [1.50, NULL], 'b': DATE '2026-01-31'} AS v, MAP {'k': true} AS m")
    assert result.stdout.splitlines()[-1] == "{a: [1.50, NULL], b: 2026-01-31}  {k: true}"


def test_no_column_is_lost_where_two_have_a_name(sql: Sql) -> None:
    assert json.loads(sql("SELECT 1 AS a, 2 AS a, 3 AS a_1", "--json").stdout) == {"a": 1, "a_2": 2, "a_1": 3}
    assert sql("SELECT 1 AS a, 2 AS a", "--csv").stdout == "a,a\n1,2\n"


def test_statements_come_from_the_command_line_a_file_and_standard_input(sql: Sql, tmp_path: Path) -> None:
    script = "USE d; INSERT INTO t VALUES (3, 'three; not four'); -- a comment;\nSELECT name FROM t WHERE id = 3"
    file = tmp_path / "script.sql"
    file.write_text(script)
    expected = "using d\ninserted 1 row\nname\n───────────────\nthree; not four\n"
    assert sql(script).stdout == expected
    assert sql("--file", file).stdout == expected
    assert sql(stdin=script).stdout == expected
    assert sql("-d", "d", "--quiet", "SELECT count(*) AS n FROM t").stdout == "n\n─\n3\n"


def test_a_script_ends_at_the_first_statement_that_fails(sql: Sql) -> None:
    result = sql("SELECT 1 AS a; SELECT nope FROM d.t; SELECT 2 AS b")
    assert result.exit_code == 1
    assert "b" not in result.stdout
    which, told = result.stderr.splitlines()
    assert which == "statement 2 of 3 fails, and those behind it are not run: SELECT nope FROM d.t"
    assert told.startswith("hosu sql: ")
    assert "nope" in told
    line = json.loads(sql("SELECT nope FROM d.t", "--json").stdout)
    assert (line["status"], line["kind"]) == ("error", "query-invalid")


def test_what_contradicts_itself_is_a_usage_fault(sql: Sql, tmp_path: Path) -> None:
    assert sql("SELECT 1", "--json", "--csv").exit_code == 2
    assert sql("SELECT 1", "--file", tmp_path / "x").exit_code == 2


def test_rows_are_paged_and_cut_where_a_shell_shows_no_more() -> None:
    batches = [pa.record_batch({"n": list(range(start, start + 700))}) for start in range(0, 2100, 700)]
    out = io.StringIO()
    assert say_rows(iter(batches), ["n"], Form.TABLE, stream=out) == 2100
    lines = out.getvalue().splitlines()
    assert lines[2:] == [str(number).rjust(3) for number in range(2100)]
    out = io.StringIO()
    assert say_rows(iter(batches), ["n"], Form.TABLE, stream=out, rows_max=PAGE_ROWS) == PAGE_ROWS + 1
    assert len(out.getvalue().splitlines()) == PAGE_ROWS + 2


def test_rows_too_wide_for_a_terminal_are_shown_one_below_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", "20")
    batch = pa.record_batch({"name": ["비", "b" * 20], "n": [1, None]})
    out = Terminal()
    assert say_rows(iter([batch]), ["name", "n"], Form.TABLE, stream=out) == 2
    assert out.getvalue() == f"── 1 ──\nname  비\nn     1\n── 2 ──\nname  {'b' * 20}\nn     NULL\n"
    out = Terminal()
    say_rows(iter([batch.slice(0, 1)]), ["name", "n"], Form.TABLE, stream=out)
    assert out.getvalue() == "name  n\n────  ─\n비    1\n"


def test_control_characters_in_values_cannot_move_the_cursor() -> None:
    out = io.StringIO()
    say_rows(iter([pa.record_batch({"s": ["a\x1b[2Jb\nc"]})]), ["s"], Form.TABLE, stream=out)
    assert out.getvalue().splitlines()[-1] == "a\\x1b[2Jb\\nc"


@pytest.mark.parametrize(
    ("text", "complete"),
    [
        ("", True),
        ("\\dt", True),
        ("quit", True),
        ("SELECT 1;", True),
        ("SELECT 1", False),
        ("SELECT 1; SELECT", False),
        ("SELECT ';'", False),
        ("SELECT 'open;", False),
        ("SELECT 1 /* ; */", False),
        ("SELECT 1; -- done", True),
    ],
)
def test_the_shell_waits_for_the_end_of_a_statement(text: str, *, complete: bool) -> None:
    assert is_complete(text) is complete


def completions(names: Names, text: str) -> list[str]:
    return [one.text for one in names.get_completions(Document(text), CompleteEvent())]


def test_keywords_databases_tables_and_columns_are_completed(lake: LakeCli) -> None:
    with lake.opened() as opened:
        session = opened.tables.session()
        names = Names(session)
        assert "SELECT" in completions(names, "SEL")
        assert "select" in completions(names, "sel")
        assert completions(names, "SELECT * FROM d.") == ["d.t"]
        assert "d.t$snapshots" in completions(names, "SELECT * FROM d.t$sn")
        assert completions(names, "SELECT * FROM d.t AS x WHERE x.na") == ["x.name"]
        session.use("d")
        assert completions(names, "SELECT * FROM t WHERE nam") == ["name"]
        session.run("CREATE TABLE other (x INT)")
        names.forget()
        assert "other" in completions(names, "SELECT * FROM oth")


def shell(lake: Any) -> tuple[Shell, io.StringIO, io.StringIO]:
    out, err = io.StringIO(), io.StringIO()
    return Shell(lake.tables.session(), Form.JSON, Output(stdout=out, stderr=err), name="lake"), out, err


def test_the_shells_commands_do_what_its_help_says(lake: LakeCli, capsys: pytest.CaptureFixture[str]) -> None:
    with lake.opened() as opened:
        talk, out, err = shell(opened)
        for command in (
            "\\l",
            "\\c d",
            "\\dt",
            "\\d t",
            "\\timing",
            "SELECT 7 AS seven;",
            "\\nope",
            "\\?",
            "SELECT x;",
        ):
            assert talk._answer(command)
        said = capsys.readouterr().out
        assert '{"database": "d"}' in said
        assert '{"table": "t"}' in said
        assert '"column": "name"' in said
        assert '{"seven": 7}' in said
        assert "using d" in out.getvalue()
        assert "\\timing" in out.getvalue()
        assert "there is no command \\nope" in err.getvalue()
        assert " ms" in err.getvalue()
        assert "hosu sql: " in err.getvalue()
        assert not talk._answer("\\q")
        assert not talk._answer("exit;")


def test_ctrl_c_stops_a_query_and_not_the_shell(lake: LakeCli) -> None:
    with lake.opened() as opened:
        session = opened.tables.session()
        begun = threading.Event()

        def work() -> None:
            result = session.run("SELECT * FROM range(1000000000) a, range(1000000) b")
            begun.set()
            for _ in result.batches():
                pass

        def press() -> None:
            assert begun.wait(60)
            signal.raise_signal(signal.SIGINT)

        presser = threading.Thread(target=press)
        presser.start()
        with pytest.raises(CancelledError):
            interruptible(session, work)
        presser.join()
        assert session.run("SELECT 1").fetchall() == [(1,)]


def test_the_history_is_readable_by_its_author_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    path = history_file()
    assert path == tmp_path / "hosu" / "sql-history"
    assert path.stat().st_mode & 0o777 == 0o600
