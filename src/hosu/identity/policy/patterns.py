"""Texts with wildcards and variables: read once, matched in time linear in the text.

`*` stands for any characters, `?` for one, `${name}` or `${name, 'default'}` for a value known when the question is
put; `${*}`, `${?}` and `${$}` for the characters themselves. What a variable's value contains is always literal.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial
from itertools import groupby
from typing import NamedTuple

from hosu.identity.policy.pieces import Piece

Lookup = Callable[[str], Sequence[str]]
"""Gives the values of a condition key, named in lower case."""

Match = Callable[[str], object]
"""Truthy when a text matches."""

_PREFIXES_TRIED = 8
"""Up to here, one call that tries every prefix is faster than a search among sorted ones."""

UNION_SEARCH_LENGTH_MAX = 2048
"""An expression compares this many characters at every place of a text at worst: milliseconds for the longest key.

Patterns beyond it are matched one by one, which costs more for ordinary texts and stays linear for the worst.
"""

_VARIABLE_SEARCH_LENGTH = 8
"""A value is compared as a whole, however long it is; each comparison costs about as much as so many characters."""

_VARIABLE = re.compile(r"\s*([^\s,'{}$*?]+)\s*(?:,\s*'([^'{}]*)'\s*)?")


class PatternError(ValueError):
    """The text is no pattern; the message says why."""


class Variable(NamedTuple):
    """A place for the value of a condition key, in lower case; `default` stands in where there is none."""

    name: str
    default: str | None


class Run(NamedTuple):
    """Neighbouring wildcards: as many characters as there were `?`, and with a `*` any number more."""

    length: int
    is_open: bool


Part = str | Run | Variable
Fixed = tuple[str | Run, ...]
"""A pattern whose variables have got their values."""

EVERYTHING: Fixed = (Run(0, is_open=True),)


class Pattern(NamedTuple):
    """A text as its author wrote it, and the parts it was read as."""

    text: str
    parts: tuple[Part, ...]

    @property
    def variables(self) -> list[str]:
        """The condition keys whose values the pattern needs."""
        return [part.name for part in self.parts if isinstance(part, Variable)]

    @property
    def has_wildcards(self) -> bool:
        """Whether any part matches more than one text by itself."""
        return any(isinstance(part, Run) for part in self.parts)

    def resolve(self, lookup: Lookup) -> Fixed | None:
        """Put values in the places of variables; None when one has neither a value nor a default.

        A key with several values has none that could stand in a text.
        """
        parts: list[str | Run] = []
        for part in self.parts:
            if isinstance(part, Variable):
                values = lookup(part.name)
                value = values[0] if len(values) == 1 else part.default
                if value is None:
                    return None
                parts.append(value)
            else:
                parts.append(part)
        return merge(parts)


def read_pattern(
    text: str, *, wildcards: bool = True, variables: bool = True, known: Callable[[str], str] = str.lower
) -> Pattern:
    """Read a pattern; without `wildcards` the characters `*` and `?` stand for themselves.

    `known` turns a variable's name into a condition key, or raises PatternError. Without `variables` (language
    version 2008-10-17, which has none) a text that looks as if it held one is refused, since it would silently match
    nothing. Raises PatternError.
    """
    parts: list[Part] = []
    literal: list[str] = []
    index = 0
    while index < len(text):
        character = text[index]
        index += 1
        if character == "$" and text.startswith("{", index):
            end = text.find("}", index)
            if end < 0:
                raise PatternError(f"'{text}' opens a variable with ${{ and never closes it")
            if not variables:
                raise PatternError(f'\'{text}\' has a variable, which needs "Version": "2012-10-17"')
            inner, index = text[index + 1 : end], end + 1
            if inner in {"*", "?", "$"}:
                literal.append(inner)
            else:
                _flush(parts, literal)
                parts.append(_read_variable(inner, known))
        elif wildcards and character in "*?":
            _flush(parts, literal)
            _add_wildcard(parts, character)
        else:
            literal.append(character)
    _flush(parts, literal)
    return Pattern(text, tuple(parts))


def read_wildcards(text: str) -> Fixed:
    """Read a text in which `*` and `?` are all that is special."""
    parts: list[str | Run] = []
    for character in text:
        match character:
            case "*":
                parts.append(Run(0, is_open=True))
            case "?":
                parts.append(Run(1, is_open=False))
            case _:
                parts.append(character)
    return merge(parts)


def _flush(parts: list[Part], literal: list[str]) -> None:
    if literal:
        parts.append("".join(literal))
        literal.clear()


def _add_wildcard(parts: list[Part], character: str) -> None:
    before = parts.pop() if parts and isinstance(parts[-1], Run) else Run(0, is_open=False)
    assert isinstance(before, Run)
    is_one = character == "?"
    parts.append(Run(before.length + is_one, before.is_open or not is_one))


def _read_variable(inner: str, known: Callable[[str], str]) -> Variable:
    found = _VARIABLE.fullmatch(inner)
    if not found:
        raise PatternError(f"'${{{inner}}}' is no variable: write ${{aws:username}} or ${{aws:username, 'default'}}")
    return Variable(known(found[1]), found[2])


def matcher(fixed: Fixed, *, is_lasting: bool = True) -> Match:
    """Return what matches one pattern. Without `is_lasting` it is cheap to make, as for a single question."""
    if any(isinstance(part, Run) and part.length for part in fixed):
        return _compile(_expression(fixed)).match if is_lasting else partial(_fits, fixed)
    pieces = [""]
    for part in fixed:
        if isinstance(part, str):
            pieces[-1] += part
        else:
            pieces.append("")
    first, *middles = pieces
    if not middles:
        return first.__eq__
    last = middles.pop()
    if not last and not any(middles):
        return lambda text: text.startswith(first)

    def match(text: str) -> bool:
        if not text.startswith(first):
            return False
        place = len(first)
        for middle in middles:
            place = text.find(middle, place)
            if place < 0:
                return False
            place += len(middle)
        return len(text) - place >= len(last) and text.endswith(last)

    return match


def _fits(fixed: Fixed, text: str) -> bool:
    """Whether a text matches a pattern that is used once."""
    pieces = [Piece()]
    for part in fixed:
        piece = pieces[-1]
        if isinstance(part, str):
            piece.texts.append((piece.length, part))
            piece.length += len(part)
            continue
        piece.length += part.length
        if part.is_open:
            pieces.append(Piece())
    first, *middles = pieces
    if len(text) < sum(piece.length for piece in pieces) or not first.is_at(text, 0):
        return False
    if not middles:
        return len(text) == first.length
    last = middles.pop()
    place, end = first.length, len(text) - last.length
    for middle in middles:
        place = middle.find(text, place, end)
        if place < 0:
            return False
        place += middle.length
    return last.is_at(text, end)


def fixed_of(patterns: Iterable[Pattern]) -> list[Fixed]:
    """Return those patterns that have no variables."""
    return [fixed for it in patterns if not it.variables and (fixed := it.resolve(no_values)) is not None]


def any_of(
    patterns: Iterable[Fixed], *, search_length_max: int = UNION_SEARCH_LENGTH_MAX, is_lasting: bool = True
) -> Match | None:
    """Return what matches at least one of the patterns; None for no patterns.

    Whole texts and beginnings, which most patterns are, are looked up; only others cost time by their number. Of those
    with wildcards in other places, one expression tries as many as `search_length_max` lets it; none is made where the
    answer is not `is_lasting`: compiling an expression takes far longer than comparing a text once.
    """
    exact: set[str] = set()
    prefixes: set[str] = set()
    others: list[Fixed] = []
    for fixed in patterns:
        match fixed:
            case () | (str(),):
                exact.add("".join(map(str, fixed)))
            case (Run(0, True),):
                return _always
            case (str(prefix), Run(0, True)):
                prefixes.add(prefix)
            case _:
                others.append(fixed)
    tests: list[Match] = []
    if prefixes:
        tests.append(_any_prefix(prefixes))
    if exact:
        tests.append(frozenset(exact).__contains__)
    expressions = []
    for fixed in sorted(set(others), key=search_length):
        search_length_max -= search_length(fixed)
        if is_lasting and search_length_max >= 0:
            expressions.append(_expression(fixed))
        else:
            tests.append(matcher(fixed, is_lasting=is_lasting))
    if expressions:
        tests.append(_compile("|".join(sorted(expressions))).match)
    return _either(tests)


def search_length(fixed: Iterable[Part]) -> int:
    """Return how many characters of a pattern are looked for at every place of a text: those between two `*`."""
    return sum(length for length, _ in _searched(fixed))


def slow_search_length(fixed: Iterable[Part]) -> int:
    """Return how many of them stand with a `?` between two `*`, where looking for them is not linear in the text."""
    return sum(length for length, has_one in _searched(fixed) if has_one)


def _searched(fixed: Iterable[Part]) -> list[tuple[int, bool]]:
    """Return length, and whether there is a `?`, of each piece between two `*`."""
    pieces = [(0, False)]
    for part in fixed:
        length, has_one = pieces[-1]
        if isinstance(part, str):
            pieces[-1] = (length + len(part), has_one)
        elif isinstance(part, Variable):
            pieces[-1] = (length + _VARIABLE_SEARCH_LENGTH, has_one)
        elif isinstance(part, Run):
            pieces[-1] = (length + part.length, has_one or part.length > 0)
            if part.is_open:
                pieces.append((0, False))
    return pieces[1:-1]


def merge(parts: Iterable[str | Run]) -> Fixed:
    """Join neighbours that became alike when variables got their values."""
    merged: list[str | Run] = []
    for is_text, neighbours in groupby((part for part in parts if part), key=lambda part: isinstance(part, str)):
        if is_text:
            merged.append("".join(map(str, neighbours)))
            continue
        runs = [part for part in neighbours if isinstance(part, Run)]
        merged.append(Run(sum(run.length for run in runs), any(run.is_open for run in runs)))
    return tuple(merged)


def no_values(key: str) -> tuple[str, ...]:
    """Look up nothing: for patterns without variables."""
    del key
    return ()


def never(text: str) -> bool:
    """Match nothing."""
    del text
    return False


def _always(text: str) -> bool:
    del text
    return True


def _either(tests: list[Match]) -> Match | None:
    match tests:
        case []:
            return None
        case [first]:
            return first
        case [first, second]:
            return lambda text: first(text) or second(text)
        case _:
            return lambda text: any(test(text) for test in tests)


def _any_prefix(prefixes: set[str]) -> Match:
    """Match texts that begin with one of the prefixes, in time logarithmic in their number.

    Once those that another one begins are gone, the only prefix that can begin a text is the greatest one that sorts
    not after it.
    """
    kept: list[str] = []
    for prefix in sorted(prefixes):
        if not kept or not prefix.startswith(kept[-1]):
            kept.append(prefix)
    if len(kept) <= _PREFIXES_TRIED:
        tried = tuple(kept)
        return lambda text: text.startswith(tried)
    # Before the first of them, -1 names the last one, which cannot begin a text that sorts before it.
    return lambda text: text.startswith(kept[bisect_right(kept, text) - 1])


@lru_cache(maxsize=1024)
def _compile(expression: str) -> re.Pattern[str]:
    return re.compile(expression, re.DOTALL)


def _expression(fixed: Fixed) -> str:
    r"""Translate a pattern to a regular expression that never backtracks.

    What stands between two `*` is looked for once, leftmost, and not given back: `(?>.*?middle)`. What stands after
    the last `*` is compared once, at the end: `(?=.{4}).*+(?<=last)\Z`. So `*a*a*a*b` costs one walk over the text.
    """
    pieces: list[list[str]] = [[]]
    widths = [0]
    for part in fixed:
        if isinstance(part, str):
            pieces[-1].append(re.escape(part))
            widths[-1] += len(part)
            continue
        if part.length:
            pieces[-1].append(f".{{{part.length}}}")
            widths[-1] += part.length
        if part.is_open:
            pieces.append([])
            widths.append(0)
    first, *middles = ["".join(piece) for piece in pieces]
    if not middles:
        return f"(?:{first}\\Z)"
    last = middles.pop()
    middle = "".join(f"(?>.*?{piece})" for piece in middles if piece)
    end = f"(?=.{{{widths[-1]}}}).*+(?<={last})\\Z" if last else ""
    return f"(?:{first}{middle}{end})"
