"""Changes of a table's schema made. Data files stay as they are: readers match their columns by id."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

from hosu.kernel.errors import ErrorKind, InvalidInputError, UnsupportedError
from hosu.tables.datatypes import new_ids
from hosu.tables.optionregistry import canonical_key, check_option
from hosu.tables.options import Options
from hosu.tables.renaming import rename_in_options
from hosu.tables.schemachanges import (
    AddColumn,
    ColumnPath,
    DropColumn,
    MoveColumn,
    RemoveOption,
    RenameColumn,
    SchemaChange,
    SetOption,
    UpdateComment,
    UpdateDefault,
    UpdateNullability,
    UpdateTableComment,
    UpdateType,
)
from hosu.tables.schemas import VERSION, TableSchema
from hosu.tables.types import DataField, DataType, default_of, parse_type
from hosu.tables.validation import check_option_change, check_schema
from hosu.tables.valuerules import check_files
from hosu.tables.widening import casts, widens

__all__ = [
    "AddColumn",
    "ColumnPath",
    "DropColumn",
    "MoveColumn",
    "RemoveOption",
    "RenameColumn",
    "SchemaChange",
    "SetOption",
    "UpdateComment",
    "UpdateDefault",
    "UpdateNullability",
    "UpdateTableComment",
    "UpdateType",
    "apply_changes",
]

_Fields: TypeAlias = list[DataField]

_FIXED_OPTIONS = frozenset({"partition", "path", "primary-key"})
"""Options that mean something when a table is made, and nothing after."""


def _type_of(given: DataType | str) -> DataType:
    return parse_type(given) if isinstance(given, str) else given


def _steps(path: ColumnPath) -> tuple[str, ...]:
    steps = (path,) if isinstance(path, str) else tuple(path)
    if not steps or not all(steps):
        raise _invalid(steps, "a path of columns has no empty name")
    return steps


def _dotted(steps: Sequence[str]) -> str:
    return ".".join(steps)


def _invalid(steps: Sequence[str], message: str) -> InvalidInputError:
    return InvalidInputError(ErrorKind.COLUMN_INVALID, f"column {_dotted(steps)!r}: {message}", column=_dotted(steps))


def _unsupported(steps: Sequence[str], message: str) -> UnsupportedError:
    return UnsupportedError(ErrorKind.UNSUPPORTED, f"column {_dotted(steps)!r}: {message}", column=_dotted(steps))


def _place(fields: _Fields, name: str, steps: Sequence[str]) -> int:
    for place, field in enumerate(fields):
        if field.name == name:
            return place
    raise _invalid(steps, f"there is no {name!r} among {', '.join(field.name for field in fields)}")


def _within(data_type: DataType, steps: Sequence[str], depth: int, edit: Callable[[_Fields, str], _Fields]) -> DataType:
    """Return a type whose part at the rest of a path was edited."""
    step = steps[depth]
    if data_type.root == "ROW":
        return replace(data_type, fields=tuple(_edited(list(data_type.fields), steps, depth, edit)))
    wanted = {"ARRAY": "element", "MULTISET": "element", "MAP": "value"}.get(data_type.root)
    if wanted is None or step != wanted:
        raise _invalid(steps, f"a {data_type.root} has no part {step!r}" + (f": say {wanted!r}" if wanted else ""))
    assert data_type.element is not None
    if depth + 1 == len(steps):
        (inner,) = edit([DataField(-1, step, data_type.element)], step)
        return replace(data_type, element=inner.type)
    return replace(data_type, element=_within(data_type.element, steps, depth + 1, edit))


def _edited(fields: _Fields, steps: Sequence[str], depth: int, edit: Callable[[_Fields, str], _Fields]) -> _Fields:
    """Return fields after an edit at a path: `edit` gets the fields around the path's last name, and that name."""
    if depth + 1 == len(steps):
        return edit(fields, steps[depth])
    place = _place(fields, steps[depth], steps)
    field = fields[place]
    fields[place] = replace(field, type=_within(field.type, steps, depth + 1, edit))
    return fields


def _is_part(steps: Sequence[str], name: str, fields: _Fields) -> bool:
    """Whether a path ends at what an ARRAY or MAP holds, which has no name, id or comment of its own."""
    return len(steps) > 1 and name in {"element", "value"} and len(fields) == 1 and fields[0].id == -1


class _Change:
    """A schema being changed."""

    def __init__(self, old: TableSchema, *, has_snapshots: bool) -> None:
        self.old = old
        self.fields = list(old.fields)
        self.highest = old.highest_field_id
        self.options = dict(old.options)
        self.primary_keys = old.primary_keys
        self.comment = old.comment
        self.has_snapshots = has_snapshots
        self.given = _options_of(old)

    def _refuse_keys(self, steps: Sequence[str], what: str, *, partitions_only: bool = False) -> None:
        name = steps[0]
        if len(steps) > 1:
            return
        if name in self.old.partition_keys:
            raise _unsupported(steps, f"a partition key cannot be {what}: make a new table")
        if not partitions_only and name in self.primary_keys:
            raise _unsupported(steps, f"a column of the primary key cannot be {what}: make a new table")

    def _update(self, path: ColumnPath, change: Callable[[DataField], DataField]) -> None:
        steps = _steps(path)

        def edit(fields: _Fields, name: str) -> _Fields:
            place = _place(fields, name, steps)
            fields[place] = change(fields[place])
            return fields

        self.fields = _edited(self.fields, steps, 0, edit)

    def add(self, change: AddColumn) -> None:
        steps = _steps(change.path)
        if not _type_of(change.type).nullable:
            raise _unsupported(
                steps, "a new column cannot be NOT NULL, as the rows that are there have none: leave it out"
            )
        own = self.highest + 1
        data_type, self.highest = new_ids(_type_of(change.type), own)
        new = DataField(own, steps[-1], data_type, change.comment, change.default)
        default_of(new)

        def edit(fields: _Fields, name: str) -> _Fields:
            if any(field.name == name for field in fields):
                raise _invalid(steps, "there is one of this name")
            if _is_part(steps, name, fields):
                raise _invalid(steps, "an ARRAY or MAP takes no more parts")
            fields.insert(self._target(fields, change, steps), new)
            return fields

        self.fields = _edited(self.fields, steps, 0, edit)

    def _target(self, fields: _Fields, change: AddColumn, steps: Sequence[str]) -> int:
        if sum((change.first, change.after is not None, change.before is not None)) > 1:
            raise _invalid(steps, "give one place: first, after or before")
        if change.first:
            return 0
        if change.after is not None:
            return _place(fields, change.after, steps) + 1
        if change.before is not None:
            return _place(fields, change.before, steps)
        if self.given.add_column_before_partition and len(steps) == 1:
            keys = [place for place, field in enumerate(fields) if field.name in self.old.partition_keys]
            return min(keys, default=len(fields))
        return len(fields)

    def rename(self, change: RenameColumn) -> None:
        steps = _steps(change.path)
        self._refuse_keys(steps, "renamed", partitions_only=True)

        def edit(fields: _Fields, name: str) -> _Fields:
            place = _place(fields, name, steps)
            if _is_part(steps, name, fields):
                raise _invalid(steps, "what an ARRAY or MAP holds has no name")
            if any(field.name == change.new_name for field in fields):
                raise _invalid(steps, f"there is a {change.new_name!r} already")
            fields[place] = replace(fields[place], name=change.new_name)
            return fields

        self.fields = _edited(self.fields, steps, 0, edit)
        if len(steps) == 1:
            old = steps[0]
            self.primary_keys = tuple(change.new_name if name == old else name for name in self.primary_keys)
            self.options = rename_in_options(self.options, old, change.new_name)

    def drop(self, change: DropColumn) -> None:
        steps = _steps(change.path)
        self._refuse_keys(steps, "dropped")

        def edit(fields: _Fields, name: str) -> _Fields:
            place = _place(fields, name, steps)
            if _is_part(steps, name, fields):
                raise _invalid(steps, "what an ARRAY or MAP holds cannot be dropped")
            if len(fields) == 1:
                raise _unsupported(steps, "the last column or field cannot be dropped")
            return fields[:place] + fields[place + 1 :]

        self.fields = _edited(self.fields, steps, 0, edit)

    def retype(self, change: UpdateType) -> None:
        steps = _steps(change.path)
        self._refuse_keys(steps, "changed in type")

        def update(field: DataField) -> DataField:
            old = field.type
            given = _type_of(change.type)
            new = given.as_nullable(old.nullable) if change.keeps_null else given
            self._check_null(steps, old, nullable=new.nullable)
            self._check_cast(steps, old, new)
            updated = replace(field, type=new)
            default_of(updated)
            return updated

        self._update(change.path, update)

    def _check_cast(self, steps: Sequence[str], old: DataType, new: DataType) -> None:
        if widens(old, new):
            return
        if old.is_nested or new.is_nested:
            raise _unsupported(steps, f"{old} cannot become {new}: change its parts by their paths")
        if not casts(old, new):
            raise _unsupported(steps, f"{old} cannot become {new}: there is no cast; add a column and fill it")
        # Paimon lets values be cut unless told otherwise; here that must be said.
        if self.options.get("disable-explicit-type-casting", "true").lower() != "false":
            raise _unsupported(
                steps,
                f"{old} cannot become {new} without losing values: add a column and fill it, or set option "
                "'disable-explicit-type-casting' to 'false' to let them be cut",
            )

    def _check_null(self, steps: Sequence[str], old: DataType, *, nullable: bool) -> None:
        if old.nullable and not nullable and self.given.alter_column_null_to_not_null_disabled:
            raise _unsupported(
                steps,
                "it may hold NULLs, and cannot become NOT NULL; when it has none, set option "
                "'alter-column-null-to-not-null.disabled' to 'false' first",
            )

    def renull(self, change: UpdateNullability) -> None:
        steps = _steps(change.path)
        if change.nullable and steps[0] in self.primary_keys:
            self._refuse_keys(steps, "nullable")

        def update(field: DataField) -> DataField:
            self._check_null(steps, field.type, nullable=change.nullable)
            return replace(field, type=field.type.as_nullable(change.nullable))

        self._update(change.path, update)

    def redefault(self, change: UpdateDefault) -> None:
        def update(field: DataField) -> DataField:
            updated = replace(field, default_value=change.default)
            default_of(updated)
            return updated

        self._update(change.path, update)

    def move(self, change: MoveColumn) -> None:
        steps = _steps(change.path)
        places = (change.first, change.last, change.after is not None, change.before is not None)
        if sum(places) != 1:
            raise _invalid(steps, "give one place: first, last, after or before")

        def edit(fields: _Fields, name: str) -> _Fields:
            field = fields.pop(_place(fields, name, steps))
            if name in {change.after, change.before}:
                raise _invalid(steps, "a column cannot be moved beside itself")
            if change.after is not None:
                target = _place(fields, change.after, steps) + 1
            elif change.before is not None:
                target = _place(fields, change.before, steps)
            else:
                target = 0 if change.first else len(fields)
            fields.insert(target, field)
            return fields

        self.fields = _edited(self.fields, steps, 0, edit)

    def set_option(self, key: str, value: str | None) -> None:
        name = canonical_key(key)
        present = {canonical_key(old): old for old in self.options}
        if value is not None:
            check_option(key, value)
        if name in _FIXED_OPTIONS:
            raise UnsupportedError(
                ErrorKind.UNSUPPORTED, f"option {key!r} says what the table is, and cannot be changed", option=key
            )
        if self.options.get(present.get(name, name)) == value:
            return
        if self.has_snapshots:
            check_option_change(Options(self.options), name, value)
        for old in {present.get(name, name), key}:
            self.options.pop(old, None)
        if value is not None:
            self.options[key] = value

    def apply(self, change: SchemaChange) -> None:  # noqa: C901 - a line for each kind of change
        match change:
            case AddColumn():
                self.add(change)
            case RenameColumn():
                self.rename(change)
            case DropColumn():
                self.drop(change)
            case UpdateType():
                self.retype(change)
            case UpdateNullability():
                self.renull(change)
            case UpdateComment():
                self._update(change.path, lambda field: replace(field, description=change.comment))
            case UpdateDefault():
                self.redefault(change)
            case MoveColumn():
                self.move(change)
            case SetOption():
                self.set_option(change.key, change.value)
            case RemoveOption():
                self.set_option(change.key, None)
            case UpdateTableComment():
                self.comment = change.comment
            case _:
                raise InvalidInputError(
                    ErrorKind.TABLE_INVALID,
                    f"a {type(change).__name__} is no change of a schema: give AddColumn(…), SetOption(…) and the "
                    "like, one by one",
                )

    def result(self, time_millis: int) -> TableSchema:
        new = replace(
            self.old,
            fields=tuple(self.fields),
            highest_field_id=self.highest,
            options=self.options,
            primary_keys=self.primary_keys,
            comment=self.comment,
        )
        if new == self.old:
            return self.old
        return replace(new, id=self.old.id + 1, time_millis=time_millis, version=VERSION)


def apply_changes(
    schema: TableSchema, changes: Sequence[SchemaChange], *, has_snapshots: bool = True, time_millis: int | None = None
) -> TableSchema:
    """Return the schema after changes, under the next id; the same object when they change nothing.

    A table with snapshots has options that stay as they are. Raises InvalidInputError COLUMN_INVALID or TABLE_INVALID,
    which names the column or option and the remedy, and UnsupportedError for a change that rows do not bear.
    """
    change = _Change(schema, has_snapshots=has_snapshots)
    for one in changes:
        change.apply(one)
    new = change.result(schema.time_millis if time_millis is None else time_millis)
    if new is not schema:
        check_schema(new)
        if _fits_files(schema):
            check_files(new, _options_of(new))
    return new


def _options_of(schema: TableSchema) -> Options:
    return Options(schema.options, has_primary_key=schema.is_primary_key_table)


def _fits_files(schema: TableSchema) -> bool:
    """Whether hosu writes files of a table: what it only reads may be changed as before."""
    try:
        check_files(schema, _options_of(schema))
    except (InvalidInputError, UnsupportedError):
        return False
    return True
