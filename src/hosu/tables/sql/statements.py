"""Which statement is run by what."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from hosu.kernel.errors import ErrorKind, UnsupportedError
from hosu.tables.identifiers import check_name
from hosu.tables.sql import altering, calling, changing, creating, inserting, showing
from hosu.tables.sql.duck import Parameters
from hosu.tables.sql.lexing import Words, fault
from hosu.tables.sql.queries import explained
from hosu.tables.sql.results import Result
from hosu.tables.writing import verbs

if TYPE_CHECKING:
    from hosu.tables.sql.session import Session

_REFUSED: Final = {
    "ABORT": "each statement is one commit of its own",
    "ATTACH": "other databases are not reached from here",
    "BEGIN": "each statement is one commit of its own",
    "CHECKPOINT": "there is nothing to write back",
    "COMMIT": "each statement is one commit of its own",
    "COMMENT": "write ALTER TABLE … COMMENT '…', or ALTER TABLE … ALTER column COMMENT '…'",
    "COPY": "files are imported and exported with `hosu table import` and `export`",
    "DEALLOCATE": "parameters are given with the statement",
    "DETACH": "other databases are not reached from here",
    "EXECUTE": "parameters are given with the statement",
    "EXPORT": "files are exported with `hosu table export`",
    "GRANT": "permissions are given with policies",
    "IMPORT": "files are imported with `hosu table import`",
    "INSTALL": "extensions are not loaded",
    "LOAD": "extensions are not loaded",
    "PIVOT": "write it in brackets behind FROM",
    "PRAGMA": "options of tables are changed with ALTER TABLE … SET",
    "RESET": "options of tables are changed with ALTER TABLE … RESET",
    "PREPARE": "parameters are given with the statement",
    "REPLACE": "INSERT INTO a table with a primary key replaces rows of the same key",
    "REVOKE": "permissions are taken with policies",
    "ROLLBACK": "each statement is one commit; CALL sys.rollback('db.table', …) takes a table back",
    "SET": "options of tables are changed with ALTER TABLE … SET, those of one read in a hint /*+ OPTIONS(…) */",
    "START": "each statement is one commit of its own",
    "SUMMARIZE": "ANALYZE TABLE keeps statistics, and <table>$statistics shows them",
    "UNPIVOT": "write it in brackets behind FROM",
    "TABLE": "write SELECT * FROM it",
    "VACUUM": "CALL sys.compact('db.table') rewrites files, CALL sys.expire_snapshots('db.table') deletes old ones",
}
"""Statements that hosu does not run, and what to do instead."""

Run = Callable[["Session", Words, Parameters], Result]


def run(session: "Session", words: Words, parameters: Parameters) -> Result:
    """Run the statement that words are; raises as `Session.run`."""
    first = words.peek()
    word = first.word or first.text
    if word in showing.QUERIES:
        return session.query(words.sql, parameters)
    if word in _REFUSED:
        raise UnsupportedError(ErrorKind.UNSUPPORTED, f"{word} is not supported: {_REFUSED[word]}", statement=word)
    handler = _HANDLERS.get(word)
    if handler is None:
        raise fault("this is no statement that hosu knows", words.sql, first.start)
    if parameters and word not in _WITH_PARAMETERS:
        raise fault(f"{word} takes no parameters")
    words.next()
    return handler(session, words, parameters)


def _use(session: "Session", words: Words, _: Parameters) -> Result:
    name = words.name("the name of a database")
    words.end()
    session.use(name)
    return Result(did=f"using {name}")


def _drop(session: "Session", words: Words, _: Parameters) -> Result:
    what = words.next().word
    if what not in {"TABLE", "DATABASE", "SCHEMA"}:
        raise _no_such("DROP", what)
    missing_ok = words.skip("IF", "EXISTS")
    if what == "TABLE":
        name = showing.table_name(session, words)
        words.end()
        session.catalog.drop_table(name, missing_ok=missing_ok)
        return Result(did=f"dropped {name}")
    name = words.name("the name of a database")
    cascade = words.skip("CASCADE")
    words.skip("RESTRICT")
    words.end()
    check_name("database", name)
    if missing_ok and not session.catalog.has_database(name):
        return Result(did=f"there is no {name}")
    session.catalog.drop_database(name, cascade=cascade)
    if session.database == name:
        session.database = None
    return Result(did=f"dropped {name}")


def _no_such(verb: str, what: str) -> UnsupportedError:
    remedy = _INSTEAD.get(what, "there are tables and databases")
    return UnsupportedError(ErrorKind.UNSUPPORTED, f"{verb} {what or '…'} is not supported: {remedy}", statement=verb)


def _truncate(session: "Session", words: Words, _: Parameters) -> Result:
    words.skip("TABLE")
    table = showing.table(session, words)
    if words.is_next("PARTITION"):
        raise UnsupportedError(
            ErrorKind.UNSUPPORTED, "TRUNCATE … PARTITION is not supported: DELETE FROM … WHERE does it"
        )
    words.end()
    done = verbs.delete_where(table.context, None)
    return Result(rows_changed=done.rows, did=f"truncated {table.name}")


def _explain(session: "Session", words: Words, parameters: Parameters) -> Result:
    words.skip("PLAN", "FOR")
    if words.peek().word in _EXPLAIN_OPTIONS or (words.peek().text == "(" and words.peek(1).word in _EXPLAIN_OPTIONS):
        raise UnsupportedError(ErrorKind.UNSUPPORTED, "EXPLAIN has no options: EXPLAIN SELECT … says what is read")
    if words.is_over:
        raise words.unexpected("a query")
    connection = session.connect()
    try:
        bound = session.binder(connection).bind(words.rest(), parameters)
        rows = list(explained(bound))
        connection.rows(f"EXPLAIN {bound.sql}", bound.parameters)
    finally:
        connection.close()
    columns = list(zip(*rows, strict=True)) or [()] * len(_EXPLAINED)
    arrays = [pa.array(values, kind) for values, kind in zip(columns, _EXPLAINED.values(), strict=True)]
    return Result(pa.table(arrays, names=list(_EXPLAINED)))


def _create(session: "Session", words: Words, parameters: Parameters) -> Result:
    if words.skip("DATABASE") or words.skip("SCHEMA"):
        exist_ok = words.skip("IF", "NOT", "EXISTS")
        name = words.name("the name of a database")
        words.end()
        session.create_database(name, exist_ok=exist_ok)
        return Result(did=f"created {name}")
    if not words.skip("TABLE"):
        raise _no_such("CREATE", words.peek().word)
    return creating.create_table(session, words, parameters)


_INSTEAD: Final = {
    "OR": "DROP TABLE IF EXISTS it first",
    "SECRET": "credentials are those of the lake",
    "TEMP": "write the query behind WITH, or make a table",
    "TEMPORARY": "write the query behind WITH, or make a table",
    "VIEW": "write the query behind WITH, or make a table AS SELECT",
}
"""What to do instead of making or dropping other things."""

_EXPLAIN_OPTIONS: Final = frozenset(
    {"ANALYZE", "CHANGELOG_MODE", "CODEGEN", "COST", "ESTIMATED_COST", "EXTENDED", "FORMAT", "FORMATTED",
     "JSON_EXECUTION_PLAN", "PLAN_ADVICE"}
)  # fmt: skip
_EXPLAINED: Final = {
    "table": pa.string(),
    "snapshot_id": pa.int64(),
    "columns": pa.string(),
    "pushed_down": pa.string(),
    "files": pa.int64(),
    "files_in_table": pa.int64(),
    "bytes": pa.int64(),
    "bytes_in_table": pa.int64(),
    "merged_splits": pa.int64(),
}
_WITH_PARAMETERS: Final = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE", "EXPLAIN", "CREATE", "DESC", "DESCRIBE"})
_HANDLERS: Final[dict[str, Run]] = {
    "ALTER": altering.alter,
    "ANALYZE": calling.analyze_table,
    "CALL": calling.call,
    "CREATE": _create,
    "DELETE": changing.delete,
    "DESC": showing.describe,
    "DESCRIBE": showing.describe,
    "DROP": _drop,
    "EXPLAIN": _explain,
    "INSERT": inserting.insert,
    "MERGE": changing.merge_into,
    "SHOW": showing.show,
    "TRUNCATE": _truncate,
    "UPDATE": changing.update,
    "USE": _use,
}
