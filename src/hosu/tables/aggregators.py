"""The aggregators of Paimon 2.0: which a column may have, and what becomes of them here."""

from collections.abc import Mapping

from hosu.kernel.errors import ErrorKind, InvalidInputError, UnsupportedError
from hosu.tables.datatypes import ATOMIC_ROOTS, DataType

AGGREGATORS: Mapping[str, str] = {
    "bool_and": "",
    "bool_or": "",
    "collect": "",
    "first_non_null_value": "",
    "first_not_null_value": "",
    "first_value": "",
    "hll_sketch": "its bytes are those of the DataSketches library of Java",
    "last_non_null_value": "",
    "last_value": "",
    "listagg": "",
    "max": "",
    "merge_map": "",
    "merge_map_with_keytime": "",
    "min": "",
    "nested_partial_update": "",
    "nested_update": "",
    "primary-key": "",
    "product": "",
    "rbm32": "",
    "rbm64": "its bytes are in a format of the Java library alone, which any version of it may change",
    "sum": "",
    "theta_sketch": "its bytes are those of the DataSketches library of Java",
}
"""Every aggregator by name; those that hosu does not have say why."""

_NUMBERS = frozenset({"TINYINT", "SMALLINT", "INT", "BIGINT", "FLOAT", "DOUBLE", "DECIMAL"})
_BOOLEANS = frozenset({"BOOLEAN"})
_MAPS = frozenset({"MAP"})
_ARRAYS = frozenset({"ARRAY"})
AGGREGATED_ROOTS: Mapping[str, frozenset[str]] = {
    "bool_and": _BOOLEANS,
    "bool_or": _BOOLEANS,
    "collect": _ARRAYS,
    "listagg": frozenset({"VARCHAR"}),
    "max": ATOMIC_ROOTS - {"VARIANT"},
    "merge_map": _MAPS,
    "merge_map_with_keytime": _MAPS,
    "min": ATOMIC_ROOTS - {"VARIANT"},
    "nested_partial_update": _ARRAYS,
    "nested_update": _ARRAYS,
    "product": _NUMBERS,
    "rbm32": frozenset({"VARBINARY"}),
    "sum": _NUMBERS,
}
"""The types of columns that an aggregator takes; those that are not here take any."""


def check_aggregator(option: str, name: str) -> None:
    """Raise UnsupportedError for an aggregator hosu does not have, InvalidInputError for a name that is none."""
    reason = AGGREGATORS.get(name)
    if reason is None:
        raise InvalidInputError(
            ErrorKind.TABLE_INVALID,
            f"option {option!r} is {name!r}: it is none of {', '.join(sorted(AGGREGATORS))}",
            option=option,
            value=name,
        )
    if reason:
        raise UnsupportedError(
            ErrorKind.UNSUPPORTED,
            f"option {option!r} = {name!r} is not supported: {reason}",
            option=option,
            value=name,
        )


def check_aggregated(column: str, data_type: DataType, name: str) -> None:
    """Raise InvalidInputError TABLE_INVALID when an aggregator does not take the type of its column."""
    roots = AGGREGATED_ROOTS.get(name)
    element = data_type.element
    wrong = roots is not None and data_type.root not in roots
    if name in {"nested_update", "nested_partial_update", "merge_map_with_keytime"} and not wrong:
        wrong = element is None or element.root != "ROW"
    if wrong:
        wanted = f"{', '.join(sorted(roots or ()))}{' of ROW' if name.startswith(('nested', 'merge_map_')) else ''}"
        raise InvalidInputError(
            ErrorKind.TABLE_INVALID,
            f"column {column!r} is {data_type}, and aggregate function {name!r} takes {wanted}: choose another",
            column=column,
            value=name,
        )
