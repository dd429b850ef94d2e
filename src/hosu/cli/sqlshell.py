r"""The shell of `hosu sql`: several lines up to `;`, history, completion, and a few commands that begin with `\`."""

import os
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, ThreadedCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.filters import completion_is_selected, is_searching
from prompt_toolkit.history import FileHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.lexers import PygmentsLexer
from pygments.lexers.sql import SqlLexer

from hosu.cli.faults import CancelledError
from hosu.cli.sql import Abandoned, interruptible, run_statement
from hosu.cli.state import state_folder
from hosu.kernel.errors import HosuError
from hosu.tables.sql.lexing import statements
from hosu.tables.upkeep.system import SYSTEM_TABLES

if TYPE_CHECKING:
    from hosu.cli.output import Output
    from hosu.cli.rows import Form
    from hosu.tables.sql.session import Session

ROWS_MAX = 1_000
"""How many rows of a query the shell shows."""

KEYWORDS = (
    "ALTER TABLE", "ANALYZE TABLE", "AND", "AS", "ASC", "BETWEEN", "BY", "CALL sys.", "CASE", "CAST", "COUNT", "CREATE",
    "CREATE DATABASE", "CREATE TABLE", "DELETE FROM", "DESC", "DESCRIBE", "DISTINCT", "DROP", "ELSE", "END", "EXISTS",
    "EXPLAIN", "FOR TIMESTAMP AS OF", "FOR VERSION AS OF", "FROM", "GROUP BY", "HAVING", "IN", "INSERT INTO",
    "INSERT OVERWRITE", "INTERVAL", "IS NULL", "JOIN", "LEFT JOIN", "LIKE", "LIMIT", "MERGE INTO", "NOT", "NOT NULL",
    "NULL", "ON", "OR", "ORDER BY", "PARTITION", "PARTITIONED BY", "PRIMARY KEY", "SELECT", "SET", "SHOW CREATE TABLE",
    "SHOW DATABASES", "SHOW PARTITIONS", "SHOW TABLES", "THEN", "TIMESTAMP", "TRUNCATE TABLE", "UNION ALL", "UPDATE",
    "USE", "USING", "VALUES", "WHEN MATCHED", "WHEN NOT MATCHED", "WHERE", "WITH",
)  # fmt: skip

HELP = r"""\l           databases
\c NAME      use a database
\dt [NAME]   tables of the database in use, or of another
\d TABLE     columns of a table
\timing      say how long statements take, or no more
\q           leave; so does Ctrl-D
Statements end in ';'. Ctrl-C stops a query."""

_WORD = re.compile(r"[\w.$]*$")
_NAME = re.compile(r"[^\W\d]\w*(?:\.[^\W\d][\w$]*)?")
_COMMAND = re.compile(r"\\(?P<name>\w+|\?)\s*(?P<rest>.*?)\s*;?\s*")


class Names(Completer):
    """Completes keywords and the names of databases, tables and columns."""

    def __init__(self, session: "Session") -> None:
        self._session = session
        self._tables: dict[str, list[str]] = {}
        self._columns: dict[str, list[str]] = {}

    def forget(self) -> None:
        """Look at the catalog again: a statement may have changed it."""
        self._tables.clear()
        self._columns.clear()

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:  # noqa: ARG002 - the library's signature
        """Yield what the word before the cursor may become."""
        found = _WORD.search(document.text_before_cursor)
        word = found[0] if found is not None else ""
        try:
            names = self._names(word, document.text)
        except HosuError:
            names = []
        for name in names:
            yield Completion(name, start_position=-len(word))

    def _names(self, word: str, text: str) -> list[str]:
        database, dot, rest = word.rpartition(".")
        if dot:
            tables = self._of(database) if database in self._databases() else []
            wanted = [f"{database}.{name}" for name in _with_system(tables, rest)]
            wanted += [f"{database}.{column}" for column in self._columns_of(database, text)]
            return _starting(wanted, word)
        keywords = [name if word.isupper() or not word else name.lower() for name in KEYWORDS]
        here = self._of(self._session.database) if self._session.database else []
        names = [*self._columns_in(text), *_with_system(here, word), *(f"{name}." for name in self._databases())]
        return _starting([*dict.fromkeys(names), *keywords], word)

    def _databases(self) -> list[str]:
        if not self._tables:
            self._tables = {name: [] for name in self._session.catalog.databases()}
        return list(self._tables)

    def _of(self, database: str) -> list[str]:
        if not self._tables.get(database):
            self._tables[database] = self._session.catalog.tables(database)
        return self._tables[database]

    def _columns_in(self, text: str) -> list[str]:
        return [column for name in _NAME.findall(text) for column in self._known_columns(name)]

    def _columns_of(self, alias: str, text: str) -> list[str]:
        """Return the columns of a table that a text calls by an alias."""
        named = re.search(rf"([\w.$]+)\s+(?:AS\s+)?{re.escape(alias)}\b", text, re.IGNORECASE)
        return self._known_columns(named[1]) if named is not None else self._known_columns(alias)

    def _known_columns(self, name: str) -> list[str]:
        if "." not in name and self._session.database:
            name = f"{self._session.database}.{name}"
        database, _, table = name.partition(".")
        if name not in self._columns:
            is_table = database in self._databases() and table in self._of(database)
            self._columns[name] = list(self._session.catalog.schema(name).names) if is_table else []
        return self._columns[name]


def _starting(names: Iterable[str], word: str) -> list[str]:
    return [name for name in names if name.lower().startswith(word.lower())]


def _with_system(tables: list[str], word: str) -> list[str]:
    """Return tables, and behind a `$` their system tables."""
    if "$" not in word:
        return tables
    table = word.partition("$")[0]
    return [f"{table}${name}" for name in SYSTEM_TABLES] if table in tables else []


class Shell:
    """A conversation on a terminal."""

    def __init__(self, session: "Session", form: "Form", output: "Output", *, name: str) -> None:
        self._session = session
        self._form = form
        self._output = output
        self._name = name
        self._is_timing = False
        self._names = Names(session)

    def run(self) -> None:
        """Talk until the person leaves."""
        prompt = self._prompt()
        self._output.note("statements end in ';', \\? says what else there is, \\q leaves")
        while True:
            try:
                text = prompt.prompt(self._label, prompt_continuation=self._continuation)
            except KeyboardInterrupt:
                continue
            except EOFError:
                return
            try:
                if not self._answer(text):
                    return
            except Abandoned:
                raise
            except KeyboardInterrupt:  # between two statements
                self._output.complaint("stopped")

    def _prompt(self) -> "PromptSession[str]":
        return PromptSession(
            history=FileHistory(str(history_file())),
            completer=ThreadedCompleter(self._names),
            complete_while_typing=False,
            lexer=PygmentsLexer(SqlLexer),
            multiline=True,
            key_bindings=_bindings(),
        )

    def _label(self) -> str:
        return f"{self._session.database or self._name}> "

    def _continuation(self, width: int, _line: int, _wrapped: int) -> str:
        return "… ".rjust(width)

    def _answer(self, text: str) -> bool:
        """Do what a person said; say whether to go on."""
        command = _COMMAND.fullmatch(text.strip())
        if command is not None:
            return self._command(command["name"], command["rest"])
        if text.strip().lower().rstrip("; ") in {"exit", "quit"}:
            return False
        try:
            found, rest = statements(text)
        except HosuError as error:
            self._output.failure(error, "sql")
            return True
        for statement in [*found, rest] if rest else found:
            if not self._run(statement):
                break
        return True

    def _run(self, statement: str) -> bool:
        begun = time.monotonic()
        try:
            interruptible(
                self._session,
                lambda: run_statement(self._session, statement, self._form, self._output, rows_max=ROWS_MAX),
            )
        except CancelledError:
            self._output.complaint("stopped")
            return False
        except HosuError as error:
            self._output.failure(error, "sql")
            return False
        finally:
            self._names.forget()
        if self._is_timing:
            self._output.note(f"{(time.monotonic() - begun) * 1000:.1f} ms")
        return True

    def _command(self, name: str, rest: str) -> bool:
        if name == "q":
            return False
        if name == "timing":
            self._is_timing = not self._is_timing
            self._output.note(f"timing is {'on' if self._is_timing else 'off'}")
        elif name == "?":
            self._output.row_lines({}, HELP)
        elif name == "l":
            self._run("SHOW DATABASES")
        elif name == "c" and rest:
            self._run(f"USE {rest}")
        elif name == "dt" or (name == "d" and not rest):
            self._run(f"SHOW TABLES FROM {rest}" if rest else "SHOW TABLES")
        elif name == "d":
            self._run(f"DESCRIBE {rest}")
        else:
            self._output.complaint(f"there is no command \\{name}: \\? says which there are")
        return True


def _bindings() -> KeyBindings:
    bindings = KeyBindings()

    @bindings.add("enter", filter=completion_is_selected)
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.complete_state = None  # what is chosen stays

    @bindings.add("enter", filter=~completion_is_selected & ~is_searching)
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if is_complete(buffer.text):
            buffer.validate_and_handle()
        else:
            buffer.insert_text("\n")

    return bindings


def is_complete(text: str) -> bool:
    """Whether a text is to be run as it is: a command, or statements up to their `;`."""
    stripped = text.strip()
    if not stripped or stripped.startswith("\\") or stripped.lower() in {"exit", "quit"}:
        return True
    try:
        found, rest = statements(stripped)
    except HosuError:  # a quote or a comment is still open
        return False
    return bool(found) and not rest


def history_file() -> Path:
    """Return where statements are remembered, readable by their author alone."""
    path = state_folder(os.environ).parent / "sql-history"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(mode=0o600, exist_ok=True)
    return path
