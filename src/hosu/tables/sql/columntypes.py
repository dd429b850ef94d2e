"""Types of columns as SQL has them: Paimon's, and what DuckDB, Flink and Spark call them."""

from typing import Final

from hosu.kernel.errors import ErrorKind, UnsupportedError
from hosu.tables.sql.duck import literal
from hosu.tables.sql.lexing import NUMBER, TEXT, WORD, Words, fault
from hosu.tables.types import DataType, parse_type

_ALIASES: Final = {
    "BOOL": "BOOLEAN",
    "BYTE": "TINYINT",
    "BYTEA": "BYTES",
    "DATETIME": "TIMESTAMP(6)",
    "FLOAT4": "FLOAT",
    "FLOAT8": "DOUBLE",
    "INT1": "TINYINT",
    "INT2": "SMALLINT",
    "INT4": "INT",
    "INT8": "BIGINT",
    "LONG": "BIGINT",
    "REAL": "FLOAT",
    "SHORT": "SMALLINT",
    "STRUCT": "ROW",
    "TEXT": "STRING",
    "TIMESTAMPTZ": "TIMESTAMP(6) WITH LOCAL TIME ZONE",
    "TIMESTAMP_MS": "TIMESTAMP(3)",
    "TIMESTAMP_NS": "TIMESTAMP(9)",
    "TIMESTAMP_NTZ": "TIMESTAMP(6)",
    "TIMESTAMP_S": "TIMESTAMP(0)",
}
_INSTEAD: Final = {
    "BIT": "BOOLEAN or BYTES",
    "ENUM": "STRING",
    "HUGEINT": "DECIMAL(38, 0)",
    "INTERVAL": "BIGINT",
    "JSON": "STRING or VARIANT",
    "SERIAL": "BIGINT",
    "UBIGINT": "DECIMAL(20, 0)",
    "UHUGEINT": "DECIMAL(38, 0)",
    "UINTEGER": "BIGINT",
    "UNION": "ROW",
    "USMALLINT": "INT",
    "UTINYINT": "SMALLINT",
    "UUID": "STRING",
}
"""Types that Paimon lacks, and what to use instead."""

_LENGTHS: Final = frozenset({"BINARY", "CHAR", "VARBINARY", "VARCHAR"})
"""Types that are of one character for Flink, and of any number for others, where they do not say how long they are."""

_CLOSING: Final = {"(": ")", "<": ">"}
_DEPTH_MAX: Final = 32


def read_type(words: Words) -> DataType:
    """Go past the type of a column, and return it, with NULL or NOT NULL if that is said."""
    found = parse_type(_read(words, 0))
    if words.skip("NOT", "NULL"):
        return found.as_nullable(nullable=False)
    words.skip("NULL")
    return found


def _read(words: Words, depth: int) -> str:
    """Go past a type, and return it as Paimon writes it."""
    token = words.peek()
    if token.kind != WORD or token.word in {"NOT", "NULL"}:
        raise words.unexpected("a type")
    if depth > _DEPTH_MAX:
        raise fault(f"a type nests deeper than {_DEPTH_MAX} types", words.sql, token.start)
    words.next()
    name = _ALIASES.get(token.word, token.word)
    if name in _INSTEAD:
        raise UnsupportedError(ErrorKind.UNSUPPORTED, f"type {token.word} is not supported: use {_INSTEAD[name]}")
    if name in {"ARRAY", "MAP", "MULTISET", "ROW"}:
        text = _nested(words, name, depth)
    elif name in _LENGTHS and not words.is_next("("):
        raise fault(f"say how long a {name} may be, or use STRING or BYTES", words.sql, token.start)
    else:
        text = _plain(words, name)
    while True:
        if words.skip("[", "]") or words.skip("ARRAY"):
            text = f"ARRAY<{text}>"
        elif words.skip("MULTISET"):
            text = f"MULTISET<{text}>"
        elif words.is_next("["):
            raise fault("arrays of a fixed length are not known: leave out the number", words.sql, words.peek().start)
        else:
            return text


def _plain(words: Words, name: str) -> str:
    if name == "DOUBLE":
        words.skip("PRECISION")
    text = name
    if words.is_next("(") and words.peek(1).kind == NUMBER:
        words.next()
        text += f"({words.expression(')')})"
        words.need(")")
    zone = ("TIME", "ZONE")
    if name in {"TIME", "TIMESTAMP"}:
        if words.skip("WITHOUT", *zone):
            return text
        if name == "TIMESTAMP" and (words.skip("WITH", "LOCAL", *zone) or words.skip("WITH", *zone)):
            return f"{text} WITH LOCAL TIME ZONE"
    return text


def _nested(words: Words, name: str, depth: int) -> str:
    opening = words.peek().text
    if opening not in _CLOSING or (opening == "(" and name in {"ARRAY", "MULTISET"}):
        raise words.unexpected("<")
    words.next()
    parts = []
    while True:
        part = ""
        if name == "ROW":
            field = words.name("the name of a field")
            words.skip(":")
            part = "`" + field.replace("`", "``") + "` "
        part += _read(words, depth + 1)
        part += " NOT NULL" if words.skip("NOT", "NULL") else ""
        words.skip("NULL")
        if name == "ROW" and (words.skip("COMMENT") or words.peek().kind == TEXT):
            part += f" {literal(words.text())}"
        parts.append(part)
        if not words.skip(","):
            break
    words.need(_CLOSING[opening])
    return f"{name}<{', '.join(parts)}>"
