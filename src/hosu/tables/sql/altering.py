"""ALTER TABLE, as Flink and Spark write it: columns and options."""

from typing import TYPE_CHECKING, Any, Final

from hosu.kernel.errors import ErrorKind, UnsupportedError
from hosu.tables.evolution import (
    AddColumn,
    ColumnPath,
    DropColumn,
    MoveColumn,
    RemoveOption,
    RenameColumn,
    SchemaChange,
    SetOption,
    UpdateComment,
    UpdateDefault,
    UpdateNullability,
    UpdateTableComment,
    UpdateType,
)
from hosu.tables.sql.columntypes import read_type
from hosu.tables.sql.creating import read_column, read_constant
from hosu.tables.sql.duck import Parameters
from hosu.tables.sql.lexing import Words
from hosu.tables.sql.results import Result
from hosu.tables.sql.showing import full_name, table_name

if TYPE_CHECKING:
    from hosu.tables.sql.session import Session


def alter(session: "Session", words: Words, _: Parameters) -> Result:
    """Run ALTER TABLE, after the word ALTER: all its changes, or none."""
    if not words.skip("TABLE"):
        raise UnsupportedError(
            ErrorKind.UNSUPPORTED, f"ALTER {words.peek().word or '…'} is not supported: ALTER TABLE is"
        )
    missing_ok = words.skip("IF", "EXISTS")
    name = table_name(session, words)
    if missing_ok and not session.catalog.has_table(name):
        return Result(did=f"there is no {name}")
    if words.skip("RENAME", "TO"):
        new_name = full_name(session, words.dotted())
        words.end()
        session.catalog.rename_table(name, new_name)
        return Result(did=f"renamed {name} to {new_name}")
    changes = _changes(words)
    words.end()
    session.catalog.alter_table(name, changes)
    return Result(did=f"altered {name}")


def _changes(words: Words) -> list[SchemaChange]:
    if words.skip("ADD"):
        words.skip("COLUMNS") or words.skip("COLUMN")
        _refuse(words)
        return [change for one in _each(words, _add) for change in one]
    if words.skip("RENAME"):
        words.skip("COLUMN")
        path = _path(words)
        words.need("TO")
        return [RenameColumn(path, words.name("the new name"))]
    if words.skip("DROP"):
        words.skip("COLUMNS") or words.skip("COLUMN")
        _refuse(words)
        return [DropColumn(path) for path in _each(words, _path)]
    if words.skip("MODIFY"):
        words.skip("COLUMN")
        return [change for one in _each(words, _modify) for change in one]
    if words.skip("ALTER"):
        words.skip("COLUMN")
        return _alter_column(words)
    if words.skip("SET"):
        words.skip("TBLPROPERTIES") or words.skip("OPTIONS")
        return [SetOption(key, value) for key, value in words.pairs().items()]
    if words.skip("RESET"):
        return [RemoveOption(key) for key in _keys(words)]
    if words.skip("UNSET", "TBLPROPERTIES"):
        return [RemoveOption(key) for key in _keys(words)]
    if words.skip("COMMENT"):
        return [UpdateTableComment(words.text() or None)]
    raise UnsupportedError(
        ErrorKind.UNSUPPORTED,
        f"ALTER TABLE … {words.peek().text} is not supported: ADD, DROP, RENAME, MODIFY, ALTER COLUMN, SET, RESET and "
        "COMMENT are",
    )


_KEYS_STAY: Final = "keys are those that the table was made with: make a new one"
_REFUSED: Final = {
    ("IF", "EXISTS"): "leave it out; DESCRIBE says which columns there are",
    ("IF", "NOT", "EXISTS"): "leave it out; DESCRIBE says which columns there are",
    ("PARTITION", "("): "partitions come with their rows; DELETE FROM … WHERE takes one away",
    ("PRIMARY", "KEY"): _KEYS_STAY,
    ("WATERMARK", "FOR"): "watermarks come with commits",
}
"""What others have behind ADD and DROP, and what to do instead."""


def _refuse(words: Words) -> None:
    """Refuse by name what others have and hosu lacks; raise UnsupportedError."""
    for phrase, remedy in _REFUSED.items():
        if words.is_next(*phrase):
            what = " ".join(word for word in phrase if word != "(")
            raise UnsupportedError(ErrorKind.UNSUPPORTED, f"{what} in ALTER TABLE is not supported: {remedy}")
    if words.is_next("CONSTRAINT") and words.peek(2).word in {"CHECK", "FOREIGN", "PRIMARY", "UNIQUE"}:
        raise UnsupportedError(ErrorKind.UNSUPPORTED, f"CONSTRAINT in ALTER TABLE is not supported: {_KEYS_STAY}")


def _each(words: Words, read: Any) -> list[Any]:  # noqa: ANN401 - what it reads
    """Go past one of something, or several in brackets or between commas."""
    is_listed = words.skip("(")
    found = [read(words)]
    while words.skip(","):
        found.append(read(words))
    if is_listed:
        words.need(")")
    return found


def _keys(words: Words) -> list[str]:
    return _each(words, Words.key)


def _path(words: Words) -> ColumnPath:
    parts = words.dotted("the name of a column")
    return parts[0] if len(parts) == 1 else tuple(parts)


def _place(words: Words) -> dict[str, Any]:
    if words.skip("FIRST"):
        return {"first": True}
    for word in ("AFTER", "BEFORE"):
        if words.skip(word):
            return {word.lower(): words.name("the name of a column")}
    return {}


def _add(words: Words) -> list[SchemaChange]:
    path: list[str] = []
    while words.peek(1).text == ".":
        path.append(words.name("the name of a column"))
        words.next()
    column = read_column(words)
    whole = (*path, column.name) if path else column.name
    return [AddColumn(whole, column.type, column.description, column.default_value, **_place(words))]


def _modify(words: Words) -> list[SchemaChange]:
    column = read_column(words)
    changes: list[SchemaChange] = [UpdateType(column.name, column.type, keeps_null=column.type.nullable)]
    if column.description is not None:
        changes.append(UpdateComment(column.name, column.description))
    if column.default_value is not None:
        changes.append(UpdateDefault(column.name, column.default_value))
    place = _place(words)
    return [*changes, MoveColumn(column.name, **place)] if place else changes


def _alter_column(words: Words) -> list[SchemaChange]:
    path = _path(words)
    if words.skip("SET", "DATA", "TYPE") or words.skip("TYPE"):
        kind = read_type(words)
        return [UpdateType(path, kind, keeps_null=kind.nullable)]
    if words.skip("COMMENT"):
        return [UpdateComment(path, words.text() or None)]
    if words.skip("SET", "NOT", "NULL"):
        return [UpdateNullability(path, nullable=False)]
    if words.skip("DROP", "NOT", "NULL"):
        return [UpdateNullability(path, nullable=True)]
    if words.skip("SET", "DEFAULT"):
        return [UpdateDefault(path, read_constant(words))]
    if words.skip("DROP", "DEFAULT"):
        return [UpdateDefault(path, None)]
    place = _place(words)
    if place:
        return [MoveColumn(path, **place)]
    raise words.unexpected("TYPE, COMMENT, SET NOT NULL, DROP NOT NULL, SET DEFAULT, FIRST, AFTER or BEFORE")
