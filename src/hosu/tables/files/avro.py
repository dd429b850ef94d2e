"""Data files in Avro: read and written row by row, as its format has it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any, Final, cast

import fastavro
import pyarrow as pa
from fastavro.write import Writer

from hosu.kernel.errors import ErrorKind, UnsupportedError
from hosu.tables.files.orc import merged
from hosu.tables.files.settings import FileSettings
from hosu.tables.files.sinks import Sink
from hosu.tables.files.statistics import ColumnStats, stats_of_rows
from hosu.tables.types import DataField, DataType, arrow_type

CODECS: Final = {"none": "null", "snappy": "snappy", "gzip": "deflate", "deflate": "deflate", "zstd": "zstandard"}
"""Paimon's names of compressions, and Avro's."""

WRITTEN_CODECS: Final = ("none", "gzip", "deflate", "zstd")
"""Those that Java reads as this library writes them."""

_PLAIN: Final = {
    "BIGINT": "long",
    "BINARY": "bytes",
    "BOOLEAN": "boolean",
    "CHAR": "string",
    "DATE": {"type": "int", "logicalType": "date"},
    "DOUBLE": "double",
    "FLOAT": "float",
    "INT": "int",
    "SMALLINT": "int",
    "TIME": {"type": "int", "logicalType": "time-millis"},
    "TINYINT": "int",
    "VARBINARY": "bytes",
    "VARCHAR": "string",
}
_RECORD: Final = "org.apache.paimon.avro.generated.record"
_MILLISECONDS: Final = 3
_MICROSECONDS: Final = 6
_SYNC_BYTES: Final = 64_000
_TEXT: Final = frozenset({"CHAR", "VARCHAR"})


def avro_schema(kind: DataType, name: str = _RECORD) -> Any:  # noqa: ANN401 - a document
    """Return the Avro schema of a type, as Paimon has it; raise UnsupportedError for what Avro cannot hold."""
    schema = _avro_type(kind, name)
    return ["null", schema] if kind.nullable else schema


def _avro_type(kind: DataType, name: str) -> Any:  # noqa: ANN401 - a document
    root = kind.root
    if root in _PLAIN:
        return _PLAIN[root]
    if root == "DECIMAL":
        return {"type": "bytes", "logicalType": "decimal", "precision": kind.precision, "scale": kind.scale}
    if root in {"TIMESTAMP", "TIMESTAMP_LTZ"} and (kind.precision or 0) <= _MICROSECONDS:
        unit = "millis" if (kind.precision or 0) <= _MILLISECONDS else "micros"
        # Paimon's own choice: the name of Avro's local type stands for the one with a time zone.
        return {"type": "long", "logicalType": f"{'local-' if root == 'TIMESTAMP_LTZ' else ''}timestamp-{unit}"}
    if root == "ROW":
        return {"type": "record", "name": name, "fields": [_avro_field(field, name) for field in kind.fields]}
    if root == "ARRAY":
        assert kind.element is not None
        return {"type": "array", "items": avro_schema(kind.element, name)}
    if root in {"MAP", "MULTISET"}:
        key, value = key_and_value(kind)
        if key.root in _TEXT:
            return {"type": "map", "values": avro_schema(value, name)}
        fields = [
            {"name": "key", "type": avro_schema(key, f"{name}_key")},
            {"name": "value", "type": avro_schema(value, f"{name}_value")},
        ]
        return {"type": "array", "logicalType": "map", "items": {"type": "record", "name": name, "fields": fields}}
    raise UnsupportedError(
        ErrorKind.UNSUPPORTED,
        f"Avro files hold no {kind}: set 'file.format' to parquet",
        type=str(kind),
    )


def _avro_field(field: DataField, name: str) -> dict[str, Any]:
    found: dict[str, Any] = {"name": field.name, "type": avro_schema(field.type, f"{name}_{field.name}")}
    if field.type.nullable:
        found["default"] = None
    return found


def key_and_value(kind: DataType) -> tuple[DataType, DataType]:
    """Return the types of a MAP's or a MULTISET's keys and values."""
    assert kind.element is not None
    if kind.root == "MULTISET":
        return kind.element, DataType("INT")
    assert kind.key is not None
    return kind.key, kind.element


class AvroFileWriter:
    """Writes one Avro file."""

    def __init__(self, sink: Sink, schema: pa.Schema, fields: Sequence[DataField], settings: FileSettings) -> None:
        compression = settings.compression
        if compression not in WRITTEN_CODECS:
            raise UnsupportedError(
                ErrorKind.UNSUPPORTED,
                f"Avro files with 'file.compression' {compression!r} are not written: use none, gzip or zstd",
                compression=compression,
            )
        self._fields = fields
        self._schema = pa.schema([pa.field(field.name, _in_numbers(field.type)) for field in schema])
        # What a delete leaves out is NULL, whatever the column's type says of that.
        types = [
            (field, field.type if not schema.field(field.name).nullable else field.type.as_nullable())
            for field in fields
        ]
        document = {
            "type": "record",
            "name": _RECORD,
            "fields": [
                {"name": field.name, "type": avro_schema(kind, f"{_RECORD}_{field.name}")} for field, kind in types
            ],
        }
        self._writer = Writer(
            cast("IO[bytes]", sink),
            document,
            CODECS[compression],
            _SYNC_BYTES,
            compression_level=settings.codec_level if compression == "zstd" else None,
        )
        self._parts: list[dict[str, ColumnStats]] = []

    def write(self, rows: pa.Table) -> None:
        """Write rows, which have the columns of the schema."""
        columns = []
        for field in self._fields:
            values = rows.column(field.name).cast(self._schema.field(field.name).type).to_pylist()
            columns.append([_as_avro(value, field.type) for value in values] if field.type.is_nested else values)
        names = [field.name for field in self._fields]
        for values in zip(*columns, strict=True):
            self._writer.write(dict(zip(names, values, strict=True)))
        self._parts.append(stats_of_rows(rows, self._fields))

    def finish(self) -> dict[str, ColumnStats]:
        """Write what is left and return the statistics of the columns."""
        self._writer.flush()
        return merged(self._fields, self._parts)


def _in_numbers(kind: pa.DataType) -> pa.DataType:
    """Return a type with dates, times and timestamps as the numbers that Avro has for them."""
    if pa.types.is_timestamp(kind):
        return pa.int64()
    if pa.types.is_date(kind) or pa.types.is_time(kind):
        return pa.int32()
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, _in_numbers(field.type)) for field in kind])
    if pa.types.is_map(kind):
        return pa.map_(_in_numbers(kind.key_type), _in_numbers(kind.item_type))
    return pa.list_(_in_numbers(kind.value_type)) if pa.types.is_list(kind) else kind


def _as_avro(value: Any, kind: DataType) -> Any:  # noqa: ANN401 - values of any type
    if value is None:
        return None
    if kind.root == "ROW":
        return {field.name: _as_avro(value[field.name], field.type) for field in kind.fields}
    if kind.root == "ARRAY":
        assert kind.element is not None
        return [_as_avro(item, kind.element) for item in value]
    if kind.root in {"MAP", "MULTISET"}:
        key, item = key_and_value(kind)
        pairs = [(_as_avro(left, key), _as_avro(right, item)) for left, right in value]
        return dict(pairs) if key.root in _TEXT else [{"key": left, "value": right} for left, right in pairs]
    return value


def _of_avro(value: Any, kind: DataType) -> Any:  # noqa: ANN401 - values of any type
    if value is None:
        return None
    if kind.root == "ROW":
        return {field.name: _of_avro(value.get(field.name), field.type) for field in kind.fields}
    if kind.root == "ARRAY":
        assert kind.element is not None
        return [_of_avro(item, kind.element) for item in value]
    if kind.root in {"MAP", "MULTISET"}:
        key, item = key_and_value(kind)
        pairs = value.items() if isinstance(value, Mapping) else [(pair["key"], pair["value"]) for pair in value]
        return [(_of_avro(left, key), _of_avro(right, item)) for left, right in pairs]
    return value


class AvroFileReader:
    """Reads one Avro file. Errors of its libraries are the caller's to translate."""

    def __init__(self, source: pa.NativeFile, fields: Sequence[DataField], *, streams: bool = False) -> None:
        del streams  # a batch at a time is held, whatever is wanted
        self._source = source
        self._fields = {field.name: field for field in fields}
        try:
            self._rows = fastavro.reader(source)
        except Exception as error:  # what is no schema has errors of its own
            raise ValueError(f"its header cannot be read: {error}") from error
        written = self._rows.writer_schema
        names = [field["name"] for field in written["fields"]] if isinstance(written, dict) else []
        self.schema = pa.schema(
            [pa.field(name, arrow_type(self._fields[name].type)) for name in names if name in self._fields]
        )

    def close(self) -> None:
        """Let go of the file."""
        self._source.close()

    def read(self, names: Sequence[str], groups: Sequence[int] | None) -> pa.Table:
        """Return the columns of these names."""
        del groups
        return pa.Table.from_batches([self._batch(names, list(self._all()))])

    def batches(
        self, names: Sequence[str], groups: Sequence[int] | None, batch_rows: int, batch_bytes: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Yield the same in batches of at most batch_rows rows, whatever they take."""
        del groups, batch_bytes
        held: list[Any] = []
        for row in self._all():
            held.append(row)
            if len(held) == batch_rows:
                yield self._batch(names, held)
                held = []
        if held:
            yield self._batch(names, held)

    def _all(self) -> Iterator[Any]:
        try:
            yield from self._rows
        except Exception as error:  # each codec has errors of its own
            raise ValueError(f"a block cannot be read: {error}") from error

    def _batch(self, names: Sequence[str], rows: Sequence[Any]) -> pa.RecordBatch:
        if not names:
            return pa.RecordBatch.from_arrays([pa.nulls(len(rows))], [""]).select([])
        columns = []
        for name in names:
            kind = self._fields[name].type
            values = [row[name] for row in rows]
            if kind.is_nested:
                values = [_of_avro(value, kind) for value in values]
            columns.append(pa.array(values, arrow_type(kind)))
        return pa.RecordBatch.from_arrays(columns, names=list(names))
