"""`hosu sql`: statements on the tables of a lake, from the command line, a file, standard input or a shell."""

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hosu.cli import lakes, options
from hosu.cli.faults import CancelledError, UsageFault

if TYPE_CHECKING:
    from hosu.cli.output import Output
    from hosu.cli.rows import Form
    from hosu.tables.sql.session import Session

SQL_FILE_BYTES_MAX = 64 * 1024 * 1024
"""More than any script; a wrong file must not fill the memory."""

_WAIT_S = 0.2


def register(typer_app: typer.Typer) -> None:
    """Add the verb."""
    typer_app.command("sql")(sql)


def sql(
    lake: lakes.Folder,
    query: Annotated[
        str | None, typer.Argument(metavar="SQL", help="Statements, with `;` between them; none is a shell.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", metavar="FILE", help="Run the statements of a file; `-` is stdin.")
    ] = None,
    database: Annotated[
        str | None, typer.Option("--database", "-d", metavar="NAME", help="The database of names without one.")
    ] = None,
    json_lines: Annotated[bool, typer.Option("--json", help="Print one JSON object per row.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print rows as CSV.")] = False,
    quiet: options.Quiet = False,
) -> None:
    """Run SQL over the tables of a lake.

    Queries may travel in time: FROM db.table FOR VERSION AS OF 5, FOR TIMESTAMP AS OF '2026-01-31 09:00:00'.
    """
    with lakes.opened("sql", lake, json_lines, quiet) as (opened, output):
        from hosu.cli.rows import Form

        if query is not None and file is not None:
            raise UsageFault("statements come from two places: give SQL or --file")
        if json_lines and as_csv:
            raise UsageFault("give --json or --csv, not both")
        form = Form.JSON if json_lines else Form.CSV if as_csv else Form.TABLE
        session = opened.tables.session()
        if database is not None:
            session.use(database)
        text = query
        if text is None and file is not None:
            text = lakes.read_document(file, "file of SQL", SQL_FILE_BYTES_MAX)
        if text is None and not sys.stdin.isatty():
            text = lakes.read_document(Path("-"), "file of SQL", SQL_FILE_BYTES_MAX)
        if text is not None:
            script = text
            interruptible(session, lambda: run_script(session, script, form, output))
            return
        from hosu.cli.sqlshell import Shell

        Shell(session, form, output, name=lake.resolve().name).run()


def run_script(session: "Session", text: str, form: "Form", output: "Output") -> None:
    """Run statements one after the other, up to the first that fails."""
    from hosu.kernel.errors import HosuError
    from hosu.tables.sql.lexing import statements

    found, rest = statements(text)
    found += [rest] if rest else []
    for number, statement in enumerate(found, 1):
        try:
            run_statement(session, statement, form, output)
        except HosuError:
            if len(found) > 1:
                first, *more = statement.strip().splitlines()
                shown = f"{first} …" if more else first
                output.complaint(f"statement {number} of {len(found)} fails, and those behind it are not run: {shown}")
            raise


def run_statement(
    session: "Session", statement: str, form: "Form", output: "Output", *, rows_max: int | None = None
) -> None:
    """Run one statement, and say its rows or what it did."""
    from hosu.cli.rows import say_rows

    result = session.run(statement)
    try:
        if result.did:
            fields = {"operation": "sql", "did": result.did, "rows_changed": result.rows_changed}
            if form.value != "csv":
                output.event(fields, result.did)
            return
        shown = _single_text(result) if form.value == "table" else None
        if shown is not None:
            output.row_lines({}, shown)
            return
        count = say_rows(result.batches(), result.columns, form, rows_max=rows_max)
        if rows_max is not None and count > rows_max:
            output.note(f"… the first {rows_max} rows: add LIMIT, or use --csv or --json for all")
        elif form.value == "table" and sys.stdout.isatty():
            output.note(f"({count} row{'' if count == 1 else 's'})")
    finally:
        result.close()


def _single_text(result: "object") -> str | None:
    """Return the one text of several lines that a result is, such as a CREATE TABLE; None for other results."""
    from hosu.cli.output import printable
    from hosu.tables.sql.session import Result

    assert isinstance(result, Result)
    if result.columns != ["create_table"]:
        return None
    text = str(result.arrow().column(0)[0].as_py())
    return "\n".join(printable(line) for line in text.splitlines())


class Abandoned(KeyboardInterrupt):
    """The second Ctrl-C: the person does not wait for what the first one stops."""


@contextlib.contextmanager
def _noting_ctrl_c(pressed: list[int]) -> Iterator[None]:
    """Add to a list for each Ctrl-C: as an exception it could come anywhere, and leave the query running."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def interruptible(session: "Session", work: Callable[[], None]) -> None:
    """Do work in another thread, so that Ctrl-C can stop a query; raise what it raises."""
    failed: list[BaseException] = []
    done = threading.Event()

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - it is raised below
            failed.append(error)
        finally:
            done.set()

    pressed: list[int] = []
    thread = threading.Thread(target=run, name="hosu-sql", daemon=True)
    with _noting_ctrl_c(pressed):
        thread.start()
        while not done.wait(_WAIT_S):
            if pressed:
                session.interrupt()  # again each time: the first one may have come before the query had begun
            if len(pressed) > 1:  # a commit that has begun is waited for; the second Ctrl-C leaves at once
                raise Abandoned
    if pressed:
        raise CancelledError
    if failed:
        raise failed[0]
