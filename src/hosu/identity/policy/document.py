"""JSON as policies are written in: read strictly, with the place of every value."""

import json
import re
from collections.abc import Iterator
from typing import NamedTuple, NoReturn

from hosu.kernel.errors import ErrorKind, InvalidInputError

SIZE_BYTES_MAX = 20 * 1024
"""The size of one policy, of either kind: AWS's limit for buckets, MinIO's for both."""

DEPTH_MAX = 16
"""The language nests seven deep; more is not worth reading."""

SHOWN_LENGTH_MAX = 400
"""Messages show as much of a policy, which may be all of one name."""

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')


class Number(str):
    """A number as it was written, so that reading it loses nothing."""

    __slots__ = ()


class Object(list[tuple[str, object]]):
    """Members of an object in the order they were written, names that came twice included."""


Path = tuple[int | str, ...]
"""Where a value is: names of members and indexes of lists, from the outside in."""


class Place(NamedTuple):
    """A value and where it is."""

    value: object
    path: Path

    def at(self, step: int | str, value: object) -> "Place":
        """Return the place of a member or item."""
        return Place(value, (*self.path, step))


class DocumentError(ValueError):
    """What is wrong with the value at a place."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(message)
        self.path = path
        self.message = message


def decode(text: str | bytes) -> str:
    """Return the text of a policy; raise InvalidInputError when it is not UTF-8, or too long."""
    try:
        decoded = text.decode() if isinstance(text, bytes) else text
        size_bytes = len(decoded.encode())
    except UnicodeError:
        raise InvalidInputError(
            ErrorKind.POLICY_INVALID, "the policy is not UTF-8 text", position="", line=1, column=1
        ) from None
    if size_bytes > SIZE_BYTES_MAX:
        raise InvalidInputError(
            ErrorKind.POLICY_INVALID,
            f"the policy has {size_bytes:,} bytes; at most {SIZE_BYTES_MAX:,} are allowed: use wildcards, or several",
            position="",
            line=1,
            column=1,
            size_bytes=size_bytes,
            size_bytes_max=SIZE_BYTES_MAX,
        )
    return decoded


def read(text: str) -> object:
    """Read JSON; raise InvalidInputError with line and column when it is none, or nests too deep."""
    try:
        value = json.loads(
            text, object_pairs_hook=Object, parse_int=Number, parse_float=Number, parse_constant=_refuse_constant
        )
        _check_depth(value)
    except json.JSONDecodeError as problem:
        _refuse("", problem.lineno, problem.colno, f"it is no JSON: {problem.msg}")
    except (ValueError, RecursionError) as problem:
        why = "it nests too deep" if isinstance(problem, RecursionError) else str(problem)
        _refuse("", 1, 1, why)
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"it is no JSON: {name} is no number")


def _check_depth(value: object) -> None:
    level = [value]
    for _ in range(DEPTH_MAX):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return
    raise ValueError("it nests too deep")


def _inside(value: object) -> Iterator[object]:
    if isinstance(value, Object):
        for name, inner in value:
            if _has_surrogates(name):
                raise ValueError("it has half of a surrogate pair, which is no character")
            yield inner
    elif isinstance(value, list):
        yield from value
    elif isinstance(value, str) and _has_surrogates(value):
        raise ValueError("it has half of a surrogate pair, which is no character")


def _has_surrogates(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def refusal(text: str, error: DocumentError) -> InvalidInputError:
    """Return the error for a policy with something wrong at a place, which names the place in three ways."""
    line, column = locate(text, error.path)
    position = _printable(format_path(error.path))
    where = f"{position} (line {line}, column {column})" if position else f"line {line}, column {column}"
    return InvalidInputError(
        ErrorKind.POLICY_INVALID,
        f"the policy is invalid at {where}: {_printable(error.message)}",
        position=position,
        line=line,
        column=column,
    )


def _printable(text: str) -> str:
    """Make text of a policy fit for a message: answers in XML and lines of logs have no control characters."""
    shown = "".join(it if it.isprintable() else it.encode("unicode_escape").decode() for it in text)
    return shown if len(shown) <= SHOWN_LENGTH_MAX else f"{shown[:SHOWN_LENGTH_MAX]}…"


def _refuse(position: str, line: int, column: int, why: str) -> NoReturn:
    raise InvalidInputError(
        ErrorKind.POLICY_INVALID,
        f"the policy is invalid at line {line}, column {column}: {why}",
        position=position,
        line=line,
        column=column,
    ) from None


def format_path(path: Path) -> str:
    """Write a path as `Statement[1].Condition.StringLike`."""
    written = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return written.removeprefix(".")


def locate(text: str, path: Path) -> tuple[int, int]:
    """Return line and column, from 1, of what is at a path of valid JSON, or of the nearest around it.

    A member is at its name. Of members with the same name the last one is meant, the one that is too many.
    """
    offset, depth = 0, 0
    for found, start in _places(text):
        if len(found) >= depth and found == path[: len(found)]:
            offset, depth = start, len(found)
    line = text.count("\n", 0, offset) + 1
    return line, offset - (text.rfind("\n", 0, offset) + 1) + 1


def _places(text: str) -> Iterator[tuple[Path, int]]:
    """Yield path and offset of the outermost value, every member's name, and every item, of valid JSON."""
    here: list[int | str] = []
    is_object: list[bool] = []
    is_name_next = False
    for found in _TOKEN.finditer(text):
        piece = found.group()
        if piece in "}]":
            here.pop()
            is_object.pop()
            is_name_next = False
        elif piece == ",":
            is_name_next = is_object[-1]
            if not is_name_next:
                here[-1] = int(here[-1]) + 1
        elif is_name_next:
            here[-1] = json.loads(piece)
            is_name_next = False
            yield tuple(here), found.start()
        elif piece != ":":
            if not here or not is_object[-1]:
                yield tuple(here), found.start()
            if piece in "{[":
                is_name_next = piece == "{"
                is_object.append(is_name_next)
                here.append("" if is_name_next else 0)
