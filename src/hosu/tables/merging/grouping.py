"""Rows put together by key: the order in which they are merged."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hosu.tables.merging.keys import Codes, Mask, Positions, codes_of, in_groups, one_array, repeats, sorted_positions
from hosu.tables.merging.spec import MergeSpec
from hosu.tables.records import SEQUENCE_NUMBER, VALUE_KIND

Kinds: TypeAlias = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Groups:
    """Rows of a table in the order of their keys, and of one key as they came about."""

    order: Positions
    same: Mask
    """For each row in order but the first: whether its key is that of the row before."""

    @property
    def firsts(self) -> Mask:
        """Which rows in order begin a key."""
        result = np.ones(len(self.order), np.bool_)
        result[1:] = ~self.same
        return result

    @property
    def lasts(self) -> Mask:
        """Which rows in order end a key."""
        result = np.ones(len(self.order), np.bool_)
        result[:-1] = ~self.same
        return result

    @property
    def shared(self) -> Mask:
        """Which rows in order have a key that others have too."""
        return in_groups(self.same)


def group_rows(table: pa.Table, spec: MergeSpec) -> Groups:
    """Order rows by key, then by the table's sequence fields, then by sequence number, then as they come."""
    codes = codes_of([table.column(name) for name in spec.keys])
    order = sorted_positions(codes)
    same = repeats(codes, order)
    if not same.any():
        return Groups(order, same)
    slots = np.flatnonzero(in_groups(same))
    rows = order[slots]
    begins = np.concatenate([[True], ~same])[slots]
    ids = np.cumsum(begins).astype(np.uint64)
    age = _age(table, spec, rows)
    if not _rises(ids, age):
        order[slots] = rows[np.lexsort([*reversed(age), ids])]
    return Groups(order, same)


def _age(table: pa.Table, spec: MergeSpec, rows: Positions) -> list[Codes]:
    """Return codes by which rows of one key are older or newer, the first of which decides first."""
    number = one_array(table.column(SEQUENCE_NUMBER)).to_numpy(zero_copy_only=False)[rows]
    ages: list[Codes] = []
    if spec.sequence_fields:
        picked = table.select(spec.sequence_fields).take(pa.array(rows))
        ages.extend(codes_of(picked.columns, descending=spec.sequence_descending))
    return [*ages, number.astype(np.int64).view(np.uint64) ^ np.uint64(1 << 63)]


def _rises(ids: Codes, age: list[Codes]) -> bool:
    ties = ids[1:] == ids[:-1]
    falls = np.zeros(len(ties), np.bool_)
    for code in age:
        falls |= ties & (code[1:] < code[:-1])
        ties &= code[1:] == code[:-1]
    return not falls.any()


def kinds_of(table: pa.Table) -> Kinds:
    """Return the kinds of rows."""
    values: Kinds = one_array(table.column(VALUE_KIND)).to_numpy(zero_copy_only=False).astype(np.int8, copy=False)
    return values


def retracts(kinds: Kinds) -> Mask:
    """Return which kinds take something back: -U and -D."""
    return (kinds & 1).astype(np.bool_)
