"""Every option of Paimon 2.0, and what becomes of it here: `options.csv` beside this file, read once.

Its columns: the key; who reads it in Paimon; the kind of its value; the default; what becomes of it (`supported`,
`no effect` or `refused`); the values it may have; those of them that are refused; older keys for the same; why.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any

from hosu.kernel.errors import ErrorKind, UnsupportedError
from hosu.tables.optionvalues import check_texts, option_error, parse_value


class Status(StrEnum):
    """What becomes of an option."""

    SUPPORTED = "supported"
    NO_EFFECT = "no effect"
    REFUSED = "refused"


@dataclass(frozen=True)
class OptionEntry:
    """What is known of one option."""

    key: str
    group: str
    kind: str
    default: str | None
    status: Status
    values: tuple[str, ...]
    refused_values: tuple[str, ...]
    older_keys: tuple[str, ...]
    note: str

    def parse(self, text: str) -> Any:  # noqa: ANN401 - of the option's kind
        """Return the value that text says; raise InvalidInputError TABLE_INVALID."""
        try:
            return parse_value(self.kind, text, self.values)
        except ValueError as error:
            raise option_error(self.key, text, str(error)) from error


FIELD_SUFFIXES = {
    "aggregate-function": Status.SUPPORTED,
    "count-limit": Status.SUPPORTED,
    "distinct": Status.SUPPORTED,
    "ignore-retract": Status.SUPPORTED,
    "list-agg-delimiter": Status.SUPPORTED,
    "map.shared-shredding.column-placement-policy": Status.REFUSED,
    "map.shared-shredding.max-columns": Status.REFUSED,
    "map.storage-layout": Status.REFUSED,
    "nested-key": Status.SUPPORTED,
    "nested-key-null-strategy": Status.SUPPORTED,
    "nested-sequence-field": Status.SUPPORTED,
    "sequence-group": Status.SUPPORTED,
    "stats-mode": Status.SUPPORTED,
    "ts-field": Status.SUPPORTED,
}
"""What may follow `fields.<column>.`."""

PREFIXES = {
    "fields.": Status.SUPPORTED,
    "file-index.": Status.NO_EFFECT,
    "schema.": Status.NO_EFFECT,
    "blob-descriptor.": Status.REFUSED,
    "parquet.": Status.NO_EFFECT,
    "orc.": Status.NO_EFFECT,
}
"""Options that are named after columns, or that a library of Java's reads."""

PREFIX_NOTES = {
    "fields.": "of one column: see below",
    "file-index.": "files that hosu writes carry no index; those of others are read without theirs",
    "schema.": "what Flink keeps for itself: watermarks and computed columns",
    "blob-descriptor.": "columns of type BLOB are refused",
    "parquet.": "tunes Java's writer of Parquet",
    "orc.": "tunes Java's writer of ORC",
}


@cache
def registry() -> Mapping[str, OptionEntry]:
    """Return the options by key."""
    entries = {}
    with (files("hosu.tables") / "options.csv").open(encoding="utf-8") as source:
        for key, group, kind, default, status, values, refused, older, note in csv.reader(source):
            entries[key] = OptionEntry(
                key,
                group,
                kind,
                default if default or kind == "map" else None,
                Status(status),
                tuple(values.split()),
                tuple(refused.split()),
                tuple(older.split()),
                note,
            )
    return entries


@cache
def _keys() -> Mapping[str, str]:
    """Return the key of each option under every key it has or had."""
    return {older: entry.key for entry in registry().values() for older in (*entry.older_keys, entry.key)}


def canonical_key(key: str) -> str:
    """Return the present key of an option that is given by an older one."""
    return _keys().get(key, key)


def _unsupported(key: str, value: str, reason: str) -> UnsupportedError:
    return UnsupportedError(
        ErrorKind.UNSUPPORTED, f"option {key!r} = {value!r} is not supported: {reason}", option=key, value=value
    )


def _check_prefixed(key: str, value: str) -> bool:
    """Whether a key is of a family of options; raise UnsupportedError for a refused one."""
    for prefix, status in PREFIXES.items():
        if not key.startswith(prefix):
            continue
        if status is Status.REFUSED:
            raise _unsupported(key, value, PREFIX_NOTES[prefix])
        if prefix == "fields.":
            suffix = next((name for name in FIELD_SUFFIXES if key.endswith("." + name)), None)
            if suffix is None:
                raise _unsupported(key, value, f"what follows the column is none of {', '.join(FIELD_SUFFIXES)}")
            if FIELD_SUFFIXES[suffix] is Status.REFUSED and not (suffix.endswith("layout") and value == "default"):
                raise _unsupported(key, value, "maps are written as Paimon's default layout has them")
        return True
    return False


def check_option(key: str, value: str) -> None:
    """Raise UnsupportedError for an option that is unknown or refused, InvalidInputError for a wrong value."""
    entry = registry().get(canonical_key(key))
    if entry is None:
        if _check_prefixed(key, value):
            return
        near = get_close_matches(key, registry(), 1)
        raise _unsupported(key, value, f"there is none of this name; did you mean {near[0]!r}?" if near else "unknown")
    parsed = entry.parse(value)
    if entry.status is Status.REFUSED and (entry.default is None or parsed != entry.parse(entry.default)):
        raise _unsupported(key, value, entry.note)
    if parsed in entry.refused_values:
        raise _unsupported(key, value, entry.note or "this value is refused")


def check_options(options: Mapping[str, str]) -> None:
    """Raise UnsupportedError for the first option that is unknown or refused, InvalidInputError for a wrong value."""
    check_texts(options)
    for key, value in options.items():
        check_option(key, value)
