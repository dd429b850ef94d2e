"""The schemas of a table: one immutable file for each state that its columns and options have had."""

import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pyarrow as pa

from hosu.kernel.errors import (
    ConflictError,
    CorruptError,
    ErrorKind,
    HosuError,
    InvalidInputError,
    NotFoundError,
    PreconditionFailedError,
    UnavailableError,
    UnsupportedError,
)
from hosu.kernel.fileio import FileIO, FileStat
from hosu.tables.documents import json_text
from hosu.tables.layout import Layout
from hosu.tables.types import DataField, arrow_schema, field_json, parse_field

VERSION = 3
"""The version of schema files that is written. Of older ones, what they leave out is read as it was meant then."""

_FORMAT_IN_SCHEMA = 3
_BUCKET_IN_SCHEMA = 2
_ATTEMPTS_MAX = 100
"""Changes of one schema that may come in between before a change gives up: each attempt lost is a change won."""

DROPPED = "_dropped"
"""A mark beside the schemas of a table that is being dropped: there are none then."""

_NAME = re.compile(r"schema-(0|[1-9]\d*)")


@dataclass(frozen=True)
class TableSchema:
    """What a table is made of. `options` are as they were given: text by name."""

    id: int
    fields: tuple[DataField, ...]
    highest_field_id: int
    partition_keys: tuple[str, ...] = ()
    primary_keys: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict, hash=False)
    comment: str | None = None
    time_millis: int = 0
    version: int = VERSION

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The columns in order."""
        return tuple(column.name for column in self.fields)

    @cached_property
    def _by_name(self) -> dict[str, DataField]:
        return {column.name: column for column in self.fields}

    @cached_property
    def by_id(self) -> dict[int, DataField]:
        """The columns by their ids."""
        return {column.id: column for column in self.fields}

    @cached_property
    def arrow(self) -> pa.Schema:
        """The Arrow schema of rows, without system columns."""
        return arrow_schema(self.fields)

    @property
    def is_primary_key_table(self) -> bool:
        """Whether rows have a key, so that a later one takes the place of an earlier one."""
        return bool(self.primary_keys)

    @cached_property
    def trimmed_keys(self) -> tuple[str, ...]:
        """The primary key without the partition keys: what orders the rows of a bucket."""
        return tuple(name for name in self.primary_keys if name not in self.partition_keys)

    @cached_property
    def bucket_keys(self) -> tuple[str, ...]:
        """The columns whose hash says the bucket: option `bucket-key`, else the trimmed primary key."""
        given = self.options.get("bucket-key", "").strip()
        return tuple(name.strip() for name in given.split(",")) if given else self.trimmed_keys

    @property
    def is_cross_partition(self) -> bool:
        """Whether a key may move from one partition to another: the primary key lacks partition keys."""
        return bool(self.primary_keys) and not set(self.partition_keys) <= set(self.primary_keys)

    def field(self, name: str) -> DataField:
        """Return a column by its name; raise InvalidInputError COLUMN_INVALID."""
        try:
            return self._by_name[name]
        except KeyError:
            raise InvalidInputError(
                ErrorKind.COLUMN_INVALID,
                f"the table has no column {name!r}: it has {', '.join(self.names)}",
                column=name,
            ) from None

    def has(self, name: str) -> bool:
        """Whether there is a column of this name."""
        return name in self._by_name

    @cached_property
    def partition_fields(self) -> tuple[DataField, ...]:
        """The columns of the partition keys, in the order of the keys."""
        return tuple(map(self.field, self.partition_keys))

    @cached_property
    def key_fields(self) -> tuple[DataField, ...]:
        """The columns of the trimmed primary key, in the order of the key."""
        return tuple(map(self.field, self.trimmed_keys))

    @cached_property
    def bucket_fields(self) -> tuple[DataField, ...]:
        """The columns of the bucket key, in the order of the key."""
        return tuple(map(self.field, self.bucket_keys))

    def to_json(self) -> str:
        """Return the text of the schema's file."""
        document: dict[str, Any] = {
            "version": self.version,
            "id": self.id,
            "fields": [field_json(column) for column in self.fields],
            "highestFieldId": self.highest_field_id,
            "partitionKeys": list(self.partition_keys),
            "primaryKeys": list(self.primary_keys),
            "options": dict(self.options),
        }
        if self.comment is not None:
            document["comment"] = self.comment
        document["timeMillis"] = self.time_millis
        return json_text(document)

    @classmethod
    def from_json(cls, text: str | bytes, path: str) -> "TableSchema":
        """Return the schema that a file says; `path` is for messages.

        Raises CorruptError CORRUPT_TABLE for what is no schema, and UnsupportedError for a version or a type that hosu
        does not read.
        """
        try:
            return _read(json.loads(text))
        except UnsupportedError as error:
            raise UnsupportedError(error.kind, f"{path}: {error.message}", path=path) from error
        except (InvalidInputError, ValueError, RecursionError) as error:
            raise _corrupt(path, str(error) or type(error).__name__) from error


def _corrupt(path: str, reason: str) -> CorruptError:
    return CorruptError(ErrorKind.CORRUPT_TABLE, f"{path} is no schema of a table: {reason}", path=path)


def _number(document: Mapping[str, Any], name: str, default: int | None = None) -> int:
    value = document.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{name!r} is {value!r}, which is no number")  # noqa: TRY004 - wrong bytes, not a wrong call
    return value


def _names(document: Mapping[str, Any], name: str, known: set[str]) -> tuple[str, ...]:
    values = document.get(name)
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError(f"{name!r} is {values!r}, which is no list of names")
    missing = [value for value in values if value not in known]
    if missing:
        raise ValueError(f"{name!r} has {missing[0]!r}, which is no column")
    return tuple(values)


def _options(document: Mapping[str, Any], version: int) -> dict[str, str]:
    values = document.get("options")
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise ValueError(f"'options' is {values!r}, which is no object of texts")
    # Older writers left out what was then the default; the defaults have changed since.
    older = {}
    if version < _BUCKET_IN_SCHEMA:
        older["bucket"] = "1"
    if version < _FORMAT_IN_SCHEMA:
        older["file.format"] = "orc"
    return older | values


def _read(document: object) -> TableSchema:
    if not isinstance(document, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 - wrong bytes, not a wrong call
    version = _number(document, "version", 1)
    if version > VERSION:
        raise UnsupportedError(
            ErrorKind.UNSUPPORTED,
            f"the schema has version {version}, and hosu reads versions up to {VERSION}: use a newer hosu",
            version=version,
        )
    columns = document.get("fields")
    if not isinstance(columns, list):
        raise ValueError(f"'fields' is {columns!r}, which is no list")  # noqa: TRY004 - wrong bytes, not a wrong call
    fields = tuple(map(parse_field, columns))
    known = {column.name for column in fields}
    if len(known) < len(fields) or len({column.id for column in fields}) < len(fields):
        raise ValueError("two columns have one name or one id")
    comment = document.get("comment")
    return TableSchema(
        id=_number(document, "id"),
        fields=fields,
        highest_field_id=_number(document, "highestFieldId"),
        partition_keys=_names(document, "partitionKeys", known),
        primary_keys=_names(document, "primaryKeys", known),
        options=_options(document, version),
        comment=None if comment is None else str(comment),
        time_millis=_number(document, "timeMillis", 0),
        version=version,
    )


class Schemas:
    """The schemas of a table or of one of its branches, read once each. Safe between threads.

    `on_replaced` is called when another table is found in the place of the one that was known: someone dropped that one
    and made this one, and what is remembered of its files is wrong.
    """

    def __init__(self, files: FileIO, layout: Layout, on_replaced: Callable[[], None] | None = None) -> None:
        self._files = files
        self._layout = layout
        self._on_replaced = on_replaced
        self._known: dict[int, TableSchema] = {}
        self._etags: dict[int, str] = {}
        self._lock = threading.Lock()

    def get(self, schema_id: int) -> TableSchema:
        """Return a schema; raise CorruptError CORRUPT_TABLE when its file is gone or no schema."""
        known = self._known.get(schema_id)
        if known is not None:
            return known
        path = self._layout.schema(schema_id)
        try:
            text = self._files.read(path)
        except NotFoundError as error:
            raise CorruptError(
                ErrorKind.CORRUPT_TABLE, f"{path} is gone: files of the table were written under that schema", path=path
            ) from error
        schema = TableSchema.from_json(text, path)
        if schema.id != schema_id:
            raise _corrupt(path, f"its id is {schema.id}")
        with self._lock:
            return self._known.setdefault(schema_id, schema)

    def ids(self) -> list[int]:
        """Return the ids of all schemas, lowest first; none while the table is being dropped."""
        return sorted(self._listed())

    def _listed(self) -> dict[int, str]:
        """Return the etags of all schemas by their ids."""
        folder = self._layout.schemas
        found = {}
        for entry in self._files.list(folder, delimiter="/"):
            if entry.key == folder + DROPPED:
                return {}
            name = _NAME.fullmatch(entry.key.removeprefix(folder))
            if name is not None and isinstance(entry, FileStat):
                found[int(name[1])] = entry.etag
        return found

    def latest(self) -> TableSchema | None:
        """Return the schema with the highest id, or None where there is no table."""
        etags = self._listed()
        if not etags:
            return None
        with self._lock:
            replaced = any(etags.get(schema_id) != etag for schema_id, etag in self._etags.items())
            if replaced:
                self._known.clear()
            self._etags = etags
        if replaced and self._on_replaced is not None:
            self._on_replaced()
        return self.get(max(etags))

    def has_still(self, schema: TableSchema) -> bool:
        """Whether the file of a schema is the one it was read from: not so once the table was dropped and made anew.

        One request, where `latest` needs a listing; so False also for a schema of which that is not known.
        """
        with self._lock:
            known, etag = self._known.get(schema.id), self._etags.get(schema.id)
        try:
            return known == schema and self._files.head(self._layout.schema(schema.id)).etag == etag
        except NotFoundError:
            return False

    def commit(self, schema: TableSchema) -> None:
        """Store a schema under its id; raise ConflictError COMMIT_CONFLICT when the id is taken."""
        path = self._layout.schema(schema.id)
        data = schema.to_json().encode()
        try:
            self._files.put(path, data, if_absent=True)
        except (PreconditionFailedError, UnavailableError) as error:
            # The put may be our own, whose answer was lost on its way.
            if not self._holds(path, data):
                if isinstance(error, UnavailableError):
                    raise
                raise ConflictError(
                    ErrorKind.COMMIT_CONFLICT, f"{path} exists: the table was changed meanwhile; try again", path=path
                ) from error
        with self._lock:
            self._known[schema.id] = schema

    def _holds(self, path: str, data: bytes) -> bool:
        try:
            return self._files.read(path) == data
        except HosuError:
            return False

    def change(self, change: Callable[[TableSchema], TableSchema]) -> TableSchema:
        """Store what `change` makes of the latest schema, as often as others come first; return what is stored.

        `change` gives its result the id after the one it was handed; the same object back means nothing is to be done.
        Raises ConflictError COMMIT_CONFLICT when others keep coming first.
        """
        for attempt in range(_ATTEMPTS_MAX):
            old = self.latest()
            if old is None:
                raise NotFoundError(ErrorKind.TABLE_NOT_FOUND, f"there is no table at {self._layout.path!r}")
            new = change(old)
            if new is old:
                return old
            assert new.id == old.id + 1
            try:
                self.commit(new)
            except ConflictError:
                if attempt + 1 == _ATTEMPTS_MAX:
                    raise
                continue
            return new
        raise AssertionError("unreachable")
