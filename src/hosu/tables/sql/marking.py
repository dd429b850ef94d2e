"""Time travel in queries, which DuckDB does not parse: cut out, and remembered with the table that it is about.

Understood are `FOR TIMESTAMP AS OF …`, `FOR VERSION AS OF …`, `FOR SYSTEM_TIME AS OF …` and Flink's hint
`/*+ OPTIONS('scan.snapshot-id' = '5') */` behind the name of a table, and DuckDB's `AT (VERSION => 5)`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from hosu.kernel.errors import ErrorKind, UnsupportedError
from hosu.tables.sql.lexing import HINT, MARK, NAME, NUMBER, TEXT, WORD, Token, Words, fault, tokens

RESERVED: Final = "__hosu_"
"""What names begin with that hosu makes for DuckDB: statements have none of them."""

SEPARATOR: Final = "\x1f"
"""Between the name of a table and the number of its travel: no name holds it."""

_TIMES: Final = frozenset({"TIMESTAMP", "SYSTEM_TIME"})
_VERSIONS: Final = frozenset({"VERSION", "SYSTEM_VERSION"})
_TYPED: Final = frozenset({"TIMESTAMP", "TIMESTAMPTZ", "DATE", "INTERVAL"})
_KEYWORDS: Final = frozenset(
    {"SELECT", "DISTINCT", "FROM", "WHERE", "JOIN", "ON", "AND", "OR", "BY", "UPDATE", "DELETE"}
)
"""Words that are no names of tables."""

_ALONE: Final = frozenset({"?", "CURRENT_TIMESTAMP", "CURRENT_DATE"})
"""What else is a value by itself."""

_UNITS: Final = frozenset(
    f"{unit}{plural}"
    for unit in ("YEAR", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE", "SECOND", "MILLISECOND")
    for plural in ("", "S")
)


@dataclass
class Travel:
    """Which state of a table a query asks for."""

    options: Mapping[str, str] = field(default_factory=dict)
    timestamp: str | None = None
    """An expression of SQL."""

    version: str | None = None
    """An expression of SQL."""


@dataclass
class Marked:
    """SQL that DuckDB's grammar has, and the travels that names in it carry numbers of."""

    sql: str
    travels: list[Travel] = field(default_factory=list)

    def split(self, name: str) -> tuple[str, Travel]:
        """Return the name of a table as it was written, and the travel."""
        plain, mark, number = name.partition(SEPARATOR)
        return plain, self.travels[int(number)] if mark else Travel()


def mark(sql: str) -> Marked:
    """Return SQL without time travel. Raises InvalidInputError QUERY_INVALID and UnsupportedError, which name it."""
    if SEPARATOR in sql:
        raise fault("the statement holds a control character", sql, sql.index(SEPARATOR))
    return _Marking(sql).run()


class _Marking:
    def __init__(self, sql: str) -> None:
        self.words = Words(sql, tokens(sql))
        self.marked = Marked("")
        self.pieces: list[str] = []
        self.copied = 0
        self.questions = 0

    def run(self) -> Marked:
        words = self.words
        while not words.is_over:
            token = words.peek()
            if token.kind in {WORD, NAME}:
                if token.value.lower().startswith(RESERVED):
                    raise fault(f"names that begin with {RESERVED} are kept for hosu", words.sql, token.start)
                words.next()
                if token.word in _KEYWORDS and words.peek().kind == HINT:
                    raise _unplaced(words.peek())
                travel = self._travel()
                if travel is not None:
                    self.marked.travels.append(travel)
                    number = len(self.marked.travels) - 1
                    self._put(token, _quoted(f"{token.value}{SEPARATOR}{number}"))
                    self.copied = words.tokens[words.at - 1].end
                elif token.kind == NAME or "$" in token.text:
                    self._put(token, _quoted(token.value))
            elif token.kind == HINT:
                raise _unplaced(token)
            elif token.text == "?" and token.kind == MARK:
                # Numbered, so that what is cut out does not shift the others.
                self.questions += 1
                words.next()
                self._put(token, f"${self.questions}")
            else:
                words.next()
        self.pieces.append(words.sql[self.copied :])
        self.marked.sql = "".join(self.pieces)
        return self.marked

    def _put(self, token: Token, text: str) -> None:
        self.pieces += [self.words.sql[self.copied : token.start], text]
        self.copied = token.end

    def _travel(self) -> Travel | None:
        """Go past what follows the name of a table, and return it."""
        travel: Travel | None = None
        while True:
            if self.words.peek().kind == HINT:
                token = self.words.next()
                travel = travel or Travel()
                travel.options = {**travel.options, **hint_options(token)}
            elif self._is_clause() or self._is_at():
                travel = travel or Travel()
                if travel.timestamp is not None or travel.version is not None:
                    raise fault("a table is asked for at two times", self.words.sql, self.words.peek().start)
                self._clause(travel)
            else:
                return travel

    def _is_clause(self) -> bool:
        place = 1 if self.words.is_next("FOR") else 0
        kind = self.words.peek(place).word
        if self.words.peek(place + 2).word != "OF" or self.words.peek(place + 1).word != "AS":
            return False
        return kind in _TIMES | _VERSIONS

    def _is_at(self) -> bool:
        """Whether AT (VERSION => …) or AT (TIMESTAMP => …) comes next."""
        return self.words.is_next("AT", "(") and self.words.peek(3).text == "=>"

    def _clause(self, travel: Travel) -> None:
        words = self.words
        is_at = words.skip("AT", "(")
        words.skip("FOR")
        start = words.peek().start
        kind = words.next().word
        if is_at:
            words.need("=>")
            first = words.at
            words.expression(")")
            words.need(")")
            expression = self._written(first, words.at - 1)
        else:
            words.need("AS", "OF")
            expression = self._sum()
        if kind in _TIMES:
            travel.timestamp = expression
        elif kind in _VERSIONS:
            travel.version = expression
        else:
            raise fault("VERSION or TIMESTAMP is expected", words.sql, start)

    def _sum(self) -> str:
        """Go past values that are added and taken from each other."""
        first = self.words.at
        self._operand()
        while True:
            if self.words.skip("::"):
                self.words.name("a type")
            elif self.words.is_next("+") or self.words.is_next("-"):
                self.words.next()
                self._operand()
            else:
                return self._written(first, self.words.at)

    def _written(self, first: int, end: int) -> str:
        """Return tokens as they are written, but for a `?`, which gets its number."""
        found = self.words.tokens[first:end]
        if not found:
            raise fault("a moment or a version is expected", self.words.sql, self.words.peek(-1).start)
        pieces, at = [], found[0].start
        for token in found:
            if token.text == "?" and token.kind == MARK:
                self.questions += 1
                pieces += [self.words.sql[at : token.start], f"${self.questions}"]
                at = token.end
        return "".join([*pieces, self.words.sql[at : found[-1].end]])

    def _operand(self) -> None:
        words = self.words
        token = words.next()
        if token.word in _TYPED and (words.peek().kind in {TEXT, NUMBER} or words.is_next("(")):
            is_interval = token.word == "INTERVAL"
            self._operand()
            if is_interval and words.peek().word in _UNITS:
                words.next()
        elif token.text == "$" and token.kind == MARK:
            words.next()
        elif token.text == "(" or (token.kind == WORD and words.skip("(")):
            words.expression(")")
            words.need(")")
        elif token.kind not in {TEXT, NUMBER} and token.text not in _ALONE and token.word not in _ALONE:
            raise fault("a moment or a version is expected", words.sql, token.start)


def hint_options(token: Token) -> dict[str, str]:
    """Return what a hint /*+ OPTIONS(…) */ says; raise UnsupportedError for another one."""
    words = Words(token.text[3:-2])
    if not words.skip("OPTIONS"):
        raise _unplaced(token)
    found = words.pairs()
    words.skip(",")
    words.end()
    check_place(found)
    return found


def check_place(options: Mapping[str, str]) -> None:
    """Refuse option `path`, which has no effect here; raise UnsupportedError."""
    if "path" in options:
        raise UnsupportedError(
            ErrorKind.UNSUPPORTED,
            f"option 'path' = {options['path']!r} is not supported: a table is where its catalog has it",
            option="path",
        )


def _unplaced(token: Token) -> UnsupportedError:
    return UnsupportedError(
        ErrorKind.UNSUPPORTED,
        f"the hint {token.text!r} is not supported here: only OPTIONS('key' = 'value') behind the name of a table is",
        hint=token.text,
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
