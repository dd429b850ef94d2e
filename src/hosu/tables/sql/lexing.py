"""SQL cut into tokens: what DuckDB, Flink and Spark write, so that their statements work as they are.

Names are in double quotes or backticks, text in single quotes; `--` and `/* */` are comments, `/*+ */` is a hint.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from hosu.kernel.errors import ErrorKind, InvalidInputError

WORD: Final = "word"
NAME: Final = "name"
"""A name in quotes."""

TEXT: Final = "text"
NUMBER: Final = "number"
HINT: Final = "hint"
MARK: Final = "mark"

_TOKEN: Final = re.compile(
    r"""
    (?P<blank>\s+|--[^\n]*)
    | (?P<word>[^\W\d][\w$]*)
    | (?P<number>(?:\d[\d_]*(?:\.[\d_]*)?|\.\d[\d_]*)(?:[eE][+-]?\d+)?)
    | (?P<name>"(?:[^"]|"")*"|`(?:[^`]|``)*`)
    | (?P<text>'(?:[^']|'')*')
    | (?P<mark>::|<=|>=|<>|!=|\|\||->>?|=>|:=|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPED: Final = re.compile(r"'(?:[^'\\]|\\.|'')*'", re.DOTALL)
_DOLLARS: Final = re.compile(r"\$(?:[^\W\d]\w*)?\$")
_COMMENT_EDGE: Final = re.compile(r"/\*|\*/")
_ESCAPE_PREFIXES: Final = frozenset({"e", "E"})
_SHOWN: Final = 40


@dataclass(frozen=True)
class Token:
    """A piece of SQL, and where it is."""

    kind: str
    text: str
    """As it is written."""

    start: int
    end: int

    @property
    def word(self) -> str:
        """The word in capitals; empty for anything else."""
        return self.text.upper() if self.kind == WORD else ""

    @property
    def value(self) -> str:
        """A name without its quotes, or the text that a literal says."""
        if self.kind == NAME:
            quote = self.text[0]
            return self.text[1:-1].replace(quote * 2, quote)
        if self.kind == TEXT:
            return self.text[1:-1].replace("''", "'")
        return self.text


def fault(message: str, sql: str = "", at: int | None = None) -> InvalidInputError:
    """Return the error of a statement that is wrong; `at` is the place in `sql` that the message is about."""
    if at is not None:
        rest = " ".join(sql[at:].split())
        shown = rest if len(rest) <= _SHOWN else f"{rest[:_SHOWN]}…"
        line = sql.count("\n", 0, at) + 1
        place = f"line {line}, " if "\n" in sql.strip() else ""
        message = f"{message}, {place}at {shown!r}" if shown else f"{message}, at the end"
    return InvalidInputError(ErrorKind.QUERY_INVALID, message, sql=sql)


def tokens(sql: str) -> list[Token]:
    """Return the tokens of SQL without blanks and comments; raise InvalidInputError QUERY_INVALID for an open quote."""
    return list(_tokens(sql))


def _tokens(sql: str) -> Iterator[Token]:
    at = 0
    while at < len(sql):
        if sql.startswith("/*", at):
            end = _comment_end(sql, at)
            if sql.startswith("/*+", at):
                yield Token(HINT, sql[at:end], at, end)
            at = end
            continue
        token = _quoted(sql, at) or _plain(sql, at)
        if token.kind != "blank":
            yield token
        at = token.end


def _plain(sql: str, at: int) -> Token:
    found = _TOKEN.match(sql, at)
    assert found is not None
    kind = str(found.lastgroup)
    if kind == MARK and found[0] in "'\"`":
        raise fault(f"the quote {found[0]} is not closed", sql, at)
    return Token(kind, found[0], at, found.end())


def _quoted(sql: str, at: int) -> Token | None:
    """Return text that is quoted in DuckDB's other ways: E'text' with escapes, and $$text$$."""
    if sql[at] in _ESCAPE_PREFIXES and sql.startswith("'", at + 1):
        found = _ESCAPED.match(sql, at + 1)
        if found is None:
            raise fault("the quote ' is not closed", sql, at)
        return Token(MARK, sql[at : found.end()], at, found.end())
    dollars = _DOLLARS.match(sql, at)
    if dollars is None:
        return None
    end = sql.find(dollars[0], dollars.end())
    if end < 0:
        raise fault(f"the quote {dollars[0]} is not closed", sql, at)
    return Token(MARK, sql[at : end + len(dollars[0])], at, end + len(dollars[0]))


def _comment_end(sql: str, at: int) -> int:
    depth, position = 0, at
    while True:
        found = _COMMENT_EDGE.search(sql, position)
        if found is None:
            raise fault("a comment is not closed", sql, at)
        depth += 1 if found[0] == "/*" else -1
        position = found.end()
        if not depth:
            return position


def statements(sql: str) -> tuple[list[str], str]:
    """Return the statements that end in `;`, without it, and what follows the last one."""
    found, start = [], 0
    for token in tokens(sql):
        if token.text == ";" and token.kind == MARK:
            if sql[start : token.start].strip():
                found.append(sql[start : token.start].strip())
            start = token.end
    rest = sql[start:].strip()
    return found, rest if tokens(rest) else ""


def single(sql: str) -> str:
    """Return the one statement of SQL without its `;`; raise InvalidInputError QUERY_INVALID for none or several."""
    found, rest = statements(sql)
    found += [rest] if rest else []
    found = [one for one in found if tokens(one)]
    if len(found) != 1:
        what = "there is no statement" if not found else f"there are {len(found)} statements"
        raise fault(f"{what}: give one at a time")
    return found[0]


class Words:
    """Tokens read one after the other."""

    def __init__(self, sql: str, given: Sequence[Token] | None = None) -> None:
        self.sql = sql
        self.tokens = tokens(sql) if given is None else list(given)
        self.at = 0

    def peek(self, ahead: int = 0) -> Token:
        """Return a token to come; one without text past the end."""
        place = self.at + ahead
        end = len(self.sql)
        return self.tokens[place] if place < len(self.tokens) else Token("end", "", end, end)

    @property
    def is_over(self) -> bool:
        """Whether all of them were read."""
        return self.at >= len(self.tokens)

    def next(self) -> Token:
        """Go past a token, and return it."""
        token = self.peek()
        self.at += 1
        return token

    def is_next(self, *words: str) -> bool:
        """Whether these words or marks come next."""
        ahead = [self.peek(place) for place in range(len(words))]
        return all((token.word or token.text) == word for token, word in zip(ahead, words, strict=True))

    def skip(self, *words: str) -> bool:
        """Go past these words or marks if they come next."""
        if not self.is_next(*words):
            return False
        self.at += len(words)
        return True

    def need(self, *words: str) -> None:
        """Go past these words or marks, which have to come next."""
        if not self.skip(*words):
            raise self.unexpected(" ".join(words))

    def unexpected(self, wanted: str) -> InvalidInputError:
        """Return the error of something else that comes next."""
        return fault(f"{wanted} is expected", self.sql, self.peek().start)

    def name(self, what: str = "a name") -> str:
        """Go past a name, and return it."""
        token = self.peek()
        if token.kind not in {WORD, NAME}:
            raise self.unexpected(what)
        self.at += 1
        return token.value

    def dotted(self, what: str = "the name of a table") -> list[str]:
        """Go past a name of several parts, and return them."""
        parts = [self.name(what)]
        while self.skip("."):
            parts.append(self.name(what))
        return parts

    def text(self, what: str = "text in single quotes") -> str:
        """Go past text in single quotes, and return it."""
        if self.peek().kind != TEXT:
            raise self.unexpected(what)
        return self.next().value

    def names(self) -> list[str]:
        """Go past names in brackets, and return them."""
        self.need("(")
        found = [self.name("the name of a column")]
        while self.skip(","):
            found.append(self.name("the name of a column"))
        self.need(")")
        return found

    def key(self) -> str:
        """Go past the key of an option, in quotes or without, and return it."""
        if self.peek().kind == TEXT:
            return self.next().value
        start = self.peek().start
        self.name("a key")
        while self.peek().text in {".", "-"} and self.peek(1).kind in {WORD, NAME, NUMBER}:
            self.at += 2
        return self.sql[start : self.tokens[self.at - 1].end]

    def pairs(self) -> dict[str, str]:
        """Go past ('key' = 'value', …), and return it."""
        self.need("(")
        found: dict[str, str] = {}
        while not self.skip(")"):
            token = self.peek()
            key = self.key()
            self.need("=")
            value = self.next()
            if value.kind not in {TEXT, NUMBER} and value.word not in {"TRUE", "FALSE"}:
                raise fault("a value in single quotes is expected", self.sql, value.start)
            if key in found:
                raise fault(f"{key!r} is given twice", self.sql, token.start)
            found[key] = value.value
            if not self.is_next(")"):
                self.need(",")
        return found

    def expression(self, *ends: str) -> str:
        """Go past everything up to one of these words or marks, outside brackets, and return it as it is written."""
        start, depth = self.peek().start, 0
        while not self.is_over:
            token = self.peek()
            if not depth and (token.word or token.text) in ends:
                break
            depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(token.text, 0)
            if depth < 0:
                break
            self.at += 1
        return self.sql[start : self.tokens[self.at - 1].end].strip() if self.peek().start > start else ""

    def rest(self) -> str:
        """Return what was not read, as it is written."""
        return "" if self.is_over else self.sql[self.peek().start :]

    def end(self) -> None:
        """Refuse anything more."""
        if not self.is_over:
            raise fault("this is not understood", self.sql, self.peek().start)
