"""What may be changed of a table's schema, as records.

A path is the name of a column, or a sequence of names that leads into nested types: the names of ROW fields, `element`
for what an ARRAY holds and `value` for what a MAP does. A type may be text, such as "DECIMAL(10, 2)".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from hosu.tables.types import DataType

ColumnPath: TypeAlias = str | Sequence[str]


@dataclass(frozen=True)
class AddColumn:
    """Add a column, at the end unless told otherwise. It is NULL in the rows that are there, whatever its default."""

    path: ColumnPath
    type: DataType | str
    comment: str | None = None
    default: str | None = None
    first: bool = False
    after: str | None = None
    before: str | None = None


@dataclass(frozen=True)
class RenameColumn:
    """Give a column another name; options that name it follow."""

    path: ColumnPath
    new_name: str


@dataclass(frozen=True)
class DropColumn:
    """Take a column away. Its values stay in files until they are rewritten, and a new column never shows them."""

    path: ColumnPath


@dataclass(frozen=True)
class UpdateType:
    """Give a column a wider type. `keeps_null`: whether it stays NULL or NOT NULL as it is."""

    path: ColumnPath
    type: DataType | str
    keeps_null: bool = True


@dataclass(frozen=True)
class UpdateNullability:
    """Let a column hold NULL, or no more."""

    path: ColumnPath
    nullable: bool


@dataclass(frozen=True)
class UpdateComment:
    """Give a column a comment, or none."""

    path: ColumnPath
    comment: str | None


@dataclass(frozen=True)
class UpdateDefault:
    """Give a column a default for rows to come, or none."""

    path: ColumnPath
    default: str | None


@dataclass(frozen=True)
class MoveColumn:
    """Put a column elsewhere: exactly one of the places is given."""

    path: ColumnPath
    first: bool = False
    last: bool = False
    after: str | None = None
    before: str | None = None


@dataclass(frozen=True)
class SetOption:
    """Set an option."""

    key: str
    value: str


@dataclass(frozen=True)
class RemoveOption:
    """Take an option back to its default."""

    key: str


@dataclass(frozen=True)
class UpdateTableComment:
    """Give the table a comment, or none."""

    comment: str | None


SchemaChange: TypeAlias = (
    AddColumn
    | RenameColumn
    | DropColumn
    | UpdateType
    | UpdateNullability
    | UpdateComment
    | UpdateDefault
    | MoveColumn
    | SetOption
    | RemoveOption
    | UpdateTableComment
)
