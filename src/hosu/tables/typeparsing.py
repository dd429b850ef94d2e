"""Types read from schemas and from SQL."""

import re
from collections.abc import Mapping
from typing import Any

from hosu.tables.datatypes import (
    BYTES,
    LENGTH_MAX,
    NESTED_ROOTS,
    REFUSED_ROOTS,
    STRING,
    DataField,
    DataType,
    mapping_field,
    type_error,
)

_TOKEN = re.compile(
    r"""\s*(?:(?P<word>[^\W\d][\w$]*)|(?P<number>\d+)|(?P<mark>[<>(),])|`(?P<name>(?:[^`]|``)*)`|'(?P<text>(?:[^']|'')*)')"""
)
_ALIASES = {"DEC": "DECIMAL", "NUMERIC": "DECIMAL", "INTEGER": "INT"}
_DIGITS_MAX = 10
"""As many as the longest length has."""

_DEPTH_MAX = 100
"""Deepest nesting read: far beyond what tables have, far below what Python's stack bears."""


class _Parser:
    """A type as text, token by token. Words are kept as written; keywords match in any case."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[tuple[str, str]] = []
        self.at = 0
        position, end = 0, len(text.rstrip())
        while position < end:
            found = _TOKEN.match(text, position)
            if found is None:
                raise type_error(f"cannot read the type {text!r} from {text[position:]!r} on", type=text)
            kind = str(found.lastgroup)
            self.tokens.append((kind, found[kind]))
            position = found.end()

    def fail(self, expected: str) -> Exception:
        found = repr(self.tokens[self.at][1]) if self.at < len(self.tokens) else "the end"
        return type_error(f"cannot read the type {self.text!r}: {expected} is expected, not {found}", type=self.text)

    def peek(self) -> tuple[str, str]:
        return self.tokens[self.at] if self.at < len(self.tokens) else ("end", "")

    def skip(self, *words: str) -> bool:
        """Go past these words or marks, when all of them come next."""
        ahead = self.tokens[self.at : self.at + len(words)]
        if len(ahead) < len(words):
            return False
        for word, (kind, value) in zip(words, ahead, strict=True):
            if kind not in {"word", "mark"} or value.upper() != word:
                return False
        self.at += len(words)
        return True

    def need(self, mark: str) -> None:
        if not self.skip(mark):
            raise self.fail(repr(mark))

    def number(self) -> int:
        kind, value = self.peek()
        if kind != "number" or len(value) > _DIGITS_MAX or int(value) > LENGTH_MAX:
            raise self.fail("a number")
        self.at += 1
        return int(value)

    def parameter(self) -> int | None:
        if not self.skip("("):
            return None
        number = self.number()
        self.need(")")
        return number

    def data_type(self, depth: int = 0) -> DataType:
        if depth > _DEPTH_MAX:
            raise type_error(f"{self.text[:40]!r}… nests deeper than {_DEPTH_MAX} types")
        data_type = self._root(depth)
        data_type = data_type.as_nullable(self._nullable())
        while self.peek()[1].upper() in {"ARRAY", "MULTISET"}:
            root = self.peek()[1].upper()
            self.at += 1
            data_type = DataType(root, nullable=self._nullable(), element=data_type)
        return data_type

    def _nullable(self) -> bool:
        if self.skip("NOT", "NULL"):
            return False
        self.skip("NULL")
        return True

    def _root(self, depth: int) -> DataType:
        kind, word = self.peek()
        if kind != "word":
            raise self.fail("the name of a type")
        self.at += 1
        root = _ALIASES.get(word.upper(), word.upper())
        if root in REFUSED_ROOTS:
            return DataType(root)
        match root:
            case "STRING":
                return STRING
            case "BYTES":
                return BYTES
            case "CHAR" | "VARCHAR" | "BINARY" | "VARBINARY":
                return DataType(root, length=self.parameter())
            case "DECIMAL":
                return self._decimal()
            case "DOUBLE":
                self.skip("PRECISION")
                return DataType(root)
            case "TIME" | "TIMESTAMP" | "TIMESTAMP_LTZ":
                return self._time(root)
            case _ if root in NESTED_ROOTS:
                return self._nested(root, depth)
            case _:
                return DataType(root)

    def _decimal(self) -> DataType:
        if not self.skip("("):
            return DataType("DECIMAL")
        precision = self.number()
        scale = self.number() if self.skip(",") else 0
        self.need(")")
        return DataType("DECIMAL", precision=precision, scale=scale)

    def _time(self, root: str) -> DataType:
        precision = self.parameter()
        if root == "TIMESTAMP" and self.skip("WITH", "LOCAL", "TIME", "ZONE"):
            root = "TIMESTAMP_LTZ"
        elif root != "TIMESTAMP_LTZ":
            self.skip("WITHOUT", "TIME", "ZONE")
        return DataType(root, precision=precision)

    def _nested(self, root: str, depth: int) -> DataType:
        self.need("<")
        if root == "ROW":
            fields = [self._field(0, depth)]
            while self.skip(","):
                fields.append(self._field(len(fields), depth))
            self.need(">")
            return DataType(root, fields=tuple(fields))
        key = None
        if root == "MAP":
            key = self.data_type(depth + 1)
            self.need(",")
        element = self.data_type(depth + 1)
        self.need(">")
        return DataType(root, key=key, element=element)

    def _field(self, number: int, depth: int) -> DataField:
        kind, name = self.peek()
        if kind not in {"word", "name"}:
            raise self.fail("the name of a field")
        self.at += 1
        data_type = self.data_type(depth + 1)
        comment = None
        if self.peek()[0] == "text":
            comment = self.peek()[1].replace("''", "'")
            self.at += 1
        return DataField(number, name.replace("``", "`"), data_type, comment)


def parse_type(source: str | Mapping[str, Any]) -> DataType:
    """Return the type that a schema file or SQL says: text, or an object with `type` for a nested one.

    Raises InvalidInputError TABLE_INVALID, and UnsupportedError for a type that hosu does not store.
    """
    return _parse(source, 0)


def _parse(source: object, depth: int) -> DataType:
    if depth > _DEPTH_MAX:
        raise type_error(f"the type nests deeper than {_DEPTH_MAX} types")
    if isinstance(source, str):
        parser = _Parser(source)
        data_type = parser.data_type()
        if parser.at < len(parser.tokens):
            raise parser.fail("the end")
        return data_type
    if not isinstance(source, Mapping):
        raise type_error(f"a type is text or an object, not {source!r}")
    words = str(mapping_field(source, "type", str)).upper().split()
    nullable = words[1:] != ["NOT", "NULL"]
    root = words[0] if words else ""
    if root == "MAP":
        return DataType(
            root, nullable, key=_parse(source.get("key"), depth + 1), element=_parse(source.get("value"), depth + 1)
        )
    if root in {"ARRAY", "MULTISET"}:
        return DataType(root, nullable, element=_parse(source.get("element"), depth + 1))
    if root == "ROW":
        fields = tuple(_parse_field(field_, depth + 1) for field_ in mapping_field(source, "fields", list))
        return DataType(root, nullable, fields=fields)
    if root in REFUSED_ROOTS:
        return DataType(root)
    raise type_error(f"there is no nested type {source.get('type')!r}")


def _parse_field(document: object, depth: int) -> DataField:
    if not isinstance(document, Mapping):
        raise type_error(f"a field is an object, not {document!r}")
    description = document.get("description")
    default = document.get("defaultValue")
    return DataField(
        mapping_field(document, "id", int),
        mapping_field(document, "name", str),
        _parse(document.get("type"), depth),
        None if description is None else str(description),
        None if default is None else str(default),
    )


def parse_field(document: object) -> DataField:
    """Return the field that a schema file says; raises as `parse_type` does."""
    return _parse_field(document, 0)
