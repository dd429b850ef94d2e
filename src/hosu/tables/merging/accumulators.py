"""The functions of columns, one value at a time. NULL is None; arguments are left as they are."""

from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

import pyarrow as pa
from pyroaring import BitMap

from hosu.kernel.errors import ErrorKind, InvalidInputError
from hosu.tables.merging.spec import Aggregator

# Values are of whatever type the column has.
# ruff: noqa: ANN401

_EXACT = Context(prec=100)


class Accumulator:
    """A function that takes values in, and some of them back."""

    def __init__(self, aggregator: Aggregator, kind: pa.DataType) -> None:
        self.aggregator = aggregator
        self.kind = kind
        self.name = aggregator.name
        self.begun = False

    def reset(self) -> None:
        """Begin with another key."""
        self.begun = False

    def aggregate(self, result: Any, value: Any) -> Any:
        """Take in a value that is newer than those before."""
        raise NotImplementedError

    def aggregate_reversed(self, result: Any, value: Any) -> Any:
        """Take in a value that is older than those before."""
        return self.aggregate(value, result)

    def retract(self, result: Any, value: Any) -> Any:
        """Take a value back; NotImplementedError where that cannot be."""
        raise NotImplementedError


class _LastNonNull(Accumulator):
    def aggregate(self, result: Any, value: Any) -> Any:
        return result if value is None else value

    def retract(self, result: Any, value: Any) -> Any:
        return result if value is None else None


class _First(Accumulator):
    def aggregate(self, result: Any, value: Any) -> Any:
        if self.begun or (value is None and self.name != "first_value"):
            return result
        self.begun = True
        return value


class _Joining(Accumulator):
    """A function of two values, for which NULL is nothing."""

    def aggregate(self, result: Any, value: Any) -> Any:
        if result is None or value is None:
            return value if result is None else result
        return self.join(result, value)

    def join(self, result: Any, value: Any) -> Any:
        """Return what two values make."""
        raise NotImplementedError


class _Max(_Joining):
    def join(self, result: Any, value: Any) -> Any:
        return value if result[0] < value[0] else result


class _Min(_Joining):
    def join(self, result: Any, value: Any) -> Any:
        return result if result[0] < value[0] else value


class _BoolAnd(_Joining):
    def join(self, result: Any, value: Any) -> Any:
        return result and value


class _BoolOr(_Joining):
    def join(self, result: Any, value: Any) -> Any:
        return result or value


class _Numeric(_Joining):
    """Numbers that stay in the column's type: decimals that no longer fit are NULL, integers an error."""

    def fit(self, number: Any) -> Any:
        """Return the number as the column holds it."""
        if not pa.types.is_decimal(self.kind):
            return number
        rounded = number.quantize(Decimal(1).scaleb(-self.kind.scale), ROUND_HALF_UP, _EXACT)
        return rounded if rounded.copy_abs() < Decimal(10) ** (self.kind.precision - self.kind.scale) else None


class _Sum(_Numeric):
    def join(self, result: Any, value: Any) -> Any:
        return self.fit(_EXACT.add(result, value) if isinstance(result, Decimal) else result + value)

    def retract(self, result: Any, value: Any) -> Any:
        if value is None:
            return result
        # The minus of a decimal alone rounds to 28 digits.
        taken = value.copy_negate() if isinstance(value, Decimal) else -value
        return self.join(result, taken) if result is not None else self.fit(taken)


class _Product(_Numeric):
    def join(self, result: Any, value: Any) -> Any:
        return self.fit(_EXACT.multiply(result, value) if isinstance(result, Decimal) else result * value)

    def retract(self, result: Any, value: Any) -> Any:
        if result is None or value is None:
            return result
        if isinstance(result, float):
            return _divided(result, value)
        if value == 0:
            raise InvalidInputError(
                ErrorKind.ROWS_INVALID, "a product cannot take the factor 0 back: leave such -U and -D rows out"
            )
        if isinstance(result, Decimal):
            return self.fit(_EXACT.divide(result, value))
        quotient = abs(result) // abs(value)
        return quotient if (result < 0) == (value < 0) else -quotient


def _divided(result: float, value: float) -> float:
    if value:
        return result / value
    if result != result or result == 0:  # noqa: PLR0124 - NaN
        return float("nan")
    return float("inf") if (result > 0) == (str(value)[0] != "-") else float("-inf")


class _Listagg(Accumulator):
    def aggregate(self, result: Any, value: Any) -> Any:
        if value is None or not value.strip():
            return result
        if result is None or not result.strip():
            return value
        delimiter = self.aggregator.delimiter
        if not self.aggregator.distinct:
            return result + delimiter + value
        known = set(result.split(delimiter))
        added = [result]
        for part in value.split(delimiter):
            if part.strip() and part not in known:
                known.add(part)
                added.append(part)
        return delimiter.join(added)


class _Collect(Accumulator):
    def aggregate(self, result: Any, value: Any) -> Any:
        distinct = self.aggregator.distinct
        if (result is None or value is None) and not distinct:
            return value if result is None else result
        if result is None and value is None:
            return None
        parts = [*(result or ()), *(value or ())]
        return list({freeze(part): part for part in reversed(parts)}.values())[::-1] if distinct else parts

    def aggregate_reversed(self, result: Any, value: Any) -> Any:
        if self.aggregator.ignore_retract:
            return self.aggregate(value, result)
        return self.aggregate(result, value)

    def retract(self, result: Any, value: Any) -> Any:
        if result is None or not value:
            return result
        taken = [freeze(part) for part in value]
        kept = []
        for part in result:
            frozen = freeze(part)
            if frozen in taken:
                taken.remove(frozen)
            else:
                kept.append(part)
        return kept


class _MergeMap(_Joining):
    def join(self, result: Any, value: Any) -> Any:
        return list(({freeze(key): (key, of) for key, of in result} | {freeze(k): (k, of) for k, of in value}).values())

    def retract(self, result: Any, value: Any) -> Any:
        if result is None or not value:
            return result
        taken = {freeze(key) for key, _ in value}
        return [(key, of) for key, of in result if freeze(key) not in taken]


class _MergeMapByTime(_Joining):
    """Maps of rows, of which the one with the later time stays; a NULL row takes its key out."""

    def join(self, result: Any, value: Any) -> Any:
        field = self.aggregator.time_field or self.kind.item_type.field(self.kind.item_type.num_fields - 1).name
        merged = {freeze(key): (key, row) for key, row in result}
        for key, row in value:
            frozen = freeze(key)
            if row is None:
                merged.pop(frozen, None)
                continue
            if row[field] is None:
                continue
            known = merged.get(frozen, (key, None))[1]
            if known is None or known[field] is None or row[field] > known[field]:
                merged[frozen] = (key, row)
        return list(merged.values())


class _Nested(Accumulator):
    """Lists of rows that are tables of their own, within their keys."""

    def key_of(self, row: dict[str, Any]) -> Any:
        """Return a row's nested key, or None for a row that is passed over."""
        key = tuple(freeze(row[name]) for name in self.aggregator.nested_key)
        if None not in key or self.aggregator.null_keys == "merge":
            return key
        if self.aggregator.null_keys == "ignore":
            return None
        raise InvalidInputError(
            ErrorKind.ROWS_INVALID,
            f"the nested key {', '.join(self.aggregator.nested_key)} has a NULL: give it a value, or set the column's "
            "nested-key-null-strategy to ignore",
        )


class _NestedUpdate(_Nested):
    def aggregate(self, result: Any, value: Any) -> Any:
        if value is None:
            return result
        rows = [row for row in value if row is not None]
        limit = self.aggregator.count_limit
        if not self.aggregator.nested_key:
            known = [row for row in result or () if row is not None]
            if result is not None and len(result) >= limit:
                return result
            return known + rows[: limit - len(result or ())]
        merged: dict[Any, dict[str, Any]] = {}
        self._put(merged, [row for row in result or () if row is not None], None)
        self._put(merged, rows, limit)
        return list(merged.values())

    def _put(self, merged: dict[Any, dict[str, Any]], rows: list[dict[str, Any]], limit: int | None) -> None:
        for row in rows:
            key = self.key_of(row)
            if key is None:
                continue
            known = merged.get(key)
            if known is None:
                if limit is None or len(merged) < limit:
                    merged[key] = row
            elif self._age(row) >= self._age(known):
                merged[key] = row

    def _age(self, row: dict[str, Any]) -> tuple[Any, ...]:
        values = (row[name] for name in self.aggregator.nested_sequence)
        return tuple((value is not None, value if value is not None else 0) for value in values)

    def retract(self, result: Any, value: Any) -> Any:
        if result is None or value is None:
            return result
        rows = [row for row in result if row is not None]
        gone = [row for row in value if row is not None]
        if not self.aggregator.nested_key:
            taken = {freeze(row) for row in gone}
            return [row for row in rows if freeze(row) not in taken]
        kept = {key: row for row in rows if (key := self.key_of(row)) is not None}
        for row in gone:
            kept.pop(self.key_of(row), None)
        return list(kept.values())


class _NestedPartialUpdate(_Nested):
    def aggregate(self, result: Any, value: Any) -> Any:
        if value is None:
            return result
        merged: dict[Any, dict[str, Any]] = {}
        for row in [*(result or ()), *value]:
            key = None if row is None else self.key_of(row)
            if key is None:
                continue
            known = merged.setdefault(key, dict.fromkeys(row))
            known.update({name: part for name, part in row.items() if part is not None})
        return list(merged.values())


class _RoaringBitmap(_Joining):
    def join(self, result: Any, value: Any) -> Any:
        try:
            joined = BitMap.deserialize(result) | BitMap.deserialize(value)
        except ValueError as error:
            raise InvalidInputError(
                ErrorKind.ROWS_INVALID,
                "a column of the aggregate function rbm32 holds bytes that are no roaring bitmap: "
                "write bitmaps in the portable format of RoaringBitmap",
            ) from error
        joined.run_optimize()
        return joined.serialize()


def freeze(value: Any) -> Any:
    """Return a value as what can be a key of a dict, equal when the value is."""
    if isinstance(value, dict):
        return tuple((name, freeze(part)) for name, part in value.items())
    if isinstance(value, list | tuple):
        return tuple(freeze(part) for part in value)
    return value


_ACCUMULATORS: dict[str, type[Accumulator]] = {
    "bool_and": _BoolAnd,
    "bool_or": _BoolOr,
    "collect": _Collect,
    "first_non_null_value": _First,
    "first_not_null_value": _First,
    "first_value": _First,
    "last_non_null_value": _LastNonNull,
    "listagg": _Listagg,
    "max": _Max,
    "merge_map": _MergeMap,
    "merge_map_with_keytime": _MergeMapByTime,
    "min": _Min,
    "nested_partial_update": _NestedPartialUpdate,
    "nested_update": _NestedUpdate,
    "product": _Product,
    "rbm32": _RoaringBitmap,
    "sum": _Sum,
}


def takes_back(aggregator: Aggregator) -> bool:
    """Say whether a function takes -U and -D rows: to take their values back, or to pass over them."""
    function = _ACCUMULATORS.get(aggregator.name)  # None: it picks the last row, whatever that is
    return aggregator.ignore_retract or function is None or function.retract is not Accumulator.retract


def accumulator_of(aggregator: Aggregator, kind: pa.DataType) -> Accumulator:
    """Return the function of a column of a type."""
    return _ACCUMULATORS[aggregator.name](aggregator, kind)
