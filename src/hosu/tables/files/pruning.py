"""Files and row groups that a predicate leaves out, by their statistics and whatever schema they have."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from hosu.tables.files.evolving import same_type
from hosu.tables.predicates import Bounds, Predicate, bounds_of, conjunction
from hosu.tables.records import DataFile
from hosu.tables.rows import decode_field, deserialise
from hosu.tables.types import DataField

if TYPE_CHECKING:
    from hosu.tables.context import TableContext


def stored_predicate(
    predicate: Predicate, fields: Sequence[DataField], stored: Sequence[DataField]
) -> Predicate | None:
    """Return as much of a predicate as can be asked of an older schema's columns, under their names of then.

    Conjuncts about columns that are not there yet, or were of another type, are left out: None when nothing is left.
    """
    if fields is stored:
        return predicate
    by_id = {field.id: field for field in stored}
    names = {
        field.name: by_id[field.id].name
        for field in fields
        if field.id in by_id and same_type(by_id[field.id].type, field.type)
    }
    kept = [part.renamed(names) for part in predicate.conjuncts() if part.columns <= names.keys()]
    return conjunction(kept) if kept else None


def file_filter(ctx: "TableContext", predicate: Predicate | None) -> Callable[[DataFile], bool]:
    """Return what tells whether a file may have rows that match.

    It looks at the values of the file's rows alone: whether a row that a later one replaces may decide, the caller
    knows. For a table with a primary key pass conjuncts about the key, or files that need no merge.
    """
    if predicate is None:
        return lambda file: True  # noqa: ARG005 - of any file
    asked: dict[int, tuple[Sequence[DataField], Predicate | None]] = {}

    def may_match(file: DataFile) -> bool:
        if file.schema_id not in asked:
            stored = ctx.schema if file.schema_id == ctx.schema.id else ctx.schemas.get(file.schema_id)
            asked[file.schema_id] = stored.fields, stored_predicate(predicate, ctx.schema.fields, stored.fields)
        fields, of_file = asked[file.schema_id]
        return of_file is None or of_file.may_match(value_bounds(file, fields, of_file.columns))

    return may_match


def value_bounds(file: DataFile, fields: Sequence[DataField], names: frozenset[str] | None = None) -> dict[str, Bounds]:
    """Return what a file's statistics say of its columns, which are those of its schema; names: of those alone."""
    stats = file.value_stats
    if file.value_stats_cols is not None:
        by_name = {field.name: field for field in fields}
        if any(name not in by_name for name in file.value_stats_cols):
            return {}
        fields = [by_name[name] for name in file.value_stats_cols]
    elif file.write_cols is not None:
        fields = [field for field in fields if field.name in file.write_cols]
    least, arity = deserialise(stats.min_values)
    greatest, same_arity = deserialise(stats.max_values)
    if not arity == same_arity == len(fields):
        return {}  # statistics were not kept
    counts = stats.null_counts if len(stats.null_counts) == arity else (None,) * arity
    found = {}
    for index, field in enumerate(fields):
        if names is not None and field.name not in names:
            continue
        ends = (None, None)
        if not field.type.is_nested:
            ends = tuple(decode_field(row, arity, index, field.type, raw=True) for row in (least, greatest))
        found[field.name] = bounds_of(field, *ends, counts[index], file.row_count)
    return found
