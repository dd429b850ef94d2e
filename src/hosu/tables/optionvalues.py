"""The values of options: text, read the way Paimon reads it."""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from hosu.kernel.errors import ErrorKind, InvalidInputError

_INT_MAX = 2**31 - 1
_LONG_MAX = 2**63 - 1
_QUANTITY = re.compile(r"\s*(\d+)\s*(\D*?)\s*", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
_DECIMAL = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)[dDfF]?\s*", re.ASCII)
_OFFSET = re.compile(r"(?:UTC|GMT|UT)?([+-])(\d\d?)(?::?(\d\d)(?::?(\d\d))?)?", re.ASCII)
_DURATIONS_US = {
    label: micros
    for labels, micros in (
        (("d", "day", "days"), 86_400_000_000),
        (("h", "hour", "hours"), 3_600_000_000),
        (("min", "m", "minute", "minutes"), 60_000_000),
        (("s", "sec", "secs", "second", "seconds"), 1_000_000),
        (("ms", "milli", "millis", "millisecond", "milliseconds"), 1_000),
        (("µs", "micro", "micros", "microsecond", "microseconds"), 1),
    )
    for label in labels
}
_NANOSECONDS = frozenset({"ns", "nano", "nanos", "nanosecond", "nanoseconds"})
_SIZES = {
    label: 1024**power
    for power, labels in enumerate(
        (
            ("b", "bytes"),
            ("k", "kb", "kibibytes"),
            ("m", "mb", "mebibytes"),
            ("g", "gb", "gibibytes"),
            ("t", "tb", "tebibytes"),
        )
    )
    for label in labels
}


def option_error(key: str, value: object, reason: str) -> InvalidInputError:
    """Return the error of an option whose value is wrong."""
    return InvalidInputError(
        ErrorKind.TABLE_INVALID, f"option {key!r} is {str(value)!r}: {reason}", option=key, value=value
    )


def _quantity(text: str) -> tuple[int, str]:
    found = _QUANTITY.fullmatch(text)
    if found is None:
        raise ValueError("it is no number with a unit behind it, such as '30 min' or '64 mb'")
    number = int(found[1])
    if number > _LONG_MAX:
        raise ValueError("its number is more than 64 bits hold")
    return number, found[2].lower()


def parse_zone(text: str) -> tzinfo:
    """Return a time zone by its name, or by its offset as Java writes it: `+09:00`, `GMT+9`; raises ValueError."""
    found = _OFFSET.fullmatch(text)
    if found is not None:
        hours, minutes, seconds = (int(part or 0) for part in found.groups()[1:])
        offset = timedelta(hours=hours, minutes=minutes, seconds=seconds)
        return timezone(-offset if found[1] == "-" else offset)
    try:
        return ZoneInfo("UTC" if text == "Z" else text)
    except (ZoneInfoNotFoundError, OSError) as error:
        raise ValueError("there is no time zone of this name") from error


def parse_duration_ms(text: str) -> int:
    """Return a duration such as `1 h` in milliseconds, without a unit as milliseconds; raise ValueError."""
    number, unit = _quantity(text)
    if not unit:
        return number
    if unit in _NANOSECONDS:
        return number // 1_000_000
    if unit not in _DURATIONS_US:
        raise ValueError("its unit is none of d, h, min, s, ms, micros and nanos")
    micros: int = number * _DURATIONS_US[unit]
    return micros // 1_000


def parse_size_bytes(text: str) -> int:
    """Return a size such as `128 mb`, which is mebibytes, in bytes; raise ValueError."""
    number, unit = _quantity(text)
    if unit and unit not in _SIZES:
        raise ValueError("its unit is none of b, kb, mb, gb and tb")
    size: int = number * _SIZES[unit or "b"]
    if size > _LONG_MAX:
        raise ValueError("it is more than 64 bits hold")
    return size


def _integer(text: str, limit: int) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError("it is no whole number")
    value = int(text)
    if not -limit - 1 <= value <= limit:
        raise ValueError(f"it is not between {-limit - 1} and {limit}")
    return value


def _boolean(text: str) -> bool:
    lowered = text.lower()
    if lowered not in {"true", "false"}:
        raise ValueError("it is neither true nor false")
    return lowered == "true"


def _number(text: str) -> float:
    found = _DECIMAL.fullmatch(text)
    if found is None:
        raise ValueError("it is no number")
    return float(found[1])


def _pairs(text: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, mark, value = part.partition(":")
        if not mark:
            raise ValueError(f"{part!r} is no pair such as 0:zstd")
        pairs[name.strip()] = value.strip()
    return pairs


def _choice(text: str, values: Sequence[str]) -> str:
    # In any case, but to the letter: of what Paimon cannot read it opens no table.
    wanted = text.lower()
    for value in values:
        if value.lower() == wanted:
            return value
    raise ValueError(f"it is none of {', '.join(values)}")


def parse_value(kind: str, text: str, values: Sequence[str] = ()) -> Any:  # noqa: ANN401 - of the kind asked
    """Return the value that text says: of kind bool, int, long, double, duration (ms), memory (bytes), map or text.

    Where `values` are given, it is one of them, in any case. Raises ValueError with the reason.
    """
    match kind:
        case "bool":
            return _boolean(text)
        case "int":
            return _integer(text, _INT_MAX)
        case "long":
            return _integer(text, _LONG_MAX)
        case "double":
            return _number(text)
        case "duration":
            return parse_duration_ms(text)
        case "memory":
            return parse_size_bytes(text)
        case "map":
            return _pairs(text)
        case _:
            return _choice(text, values) if values else text


def split_names(text: str | None) -> tuple[str, ...]:
    """Return the names of a comma-separated list."""
    return tuple(filter(None, (name.strip() for name in (text or "").split(","))))


def check_texts(options: Mapping[str, object]) -> None:
    """Raise InvalidInputError TABLE_INVALID unless every option is text."""
    for key, value in options.items():
        if not isinstance(value, str):
            raise option_error(key, value, "options are text; write it in quotes")
