"""Values in files of text: how CSV and JSON lines write what Arrow's readers do not take by themselves."""

from typing import TYPE_CHECKING

from hosu.cli.faults import UsageFault

if TYPE_CHECKING:
    import pyarrow as pa

_ZONED = r"\d:\d\d.*(?:Z|[+-]\d\d(?::?\d\d)?)$"
_FINER = ("us", "ns")


def read_schema(schema: "pa.Schema", kind: str) -> "pa.Schema":
    """Return a table's columns as a reader of `csv` or `json` takes them; `parsed` makes the rest of them."""
    import pyarrow as pa

    return pa.schema([(field.name, _read_type(field.type, kind)) for field in schema])


def _read_type(wanted: "pa.DataType", kind: str) -> "pa.DataType":
    import pyarrow as pa

    if pa.types.is_timestamp(wanted) or pa.types.is_binary(wanted):
        return pa.string()
    if kind == "csv":
        return pa.string() if pa.types.is_nested(wanted) else wanted
    if pa.types.is_time(wanted):
        return pa.string()
    return pa.string() if _is_hard(wanted) else _with_text(wanted)


def _is_hard(kind: "pa.DataType") -> bool:
    """Whether JSON lines cannot hold values of a type."""
    import pyarrow as pa

    if not pa.types.is_nested(kind):
        return bool(pa.types.is_binary(kind) or pa.types.is_time(kind))
    return pa.types.is_map(kind) or any(_is_hard(kind.field(place).type) for place in range(kind.num_fields))


def _with_text(kind: "pa.DataType") -> "pa.DataType":
    """Return a type with text in place of dates, also within."""
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_with_text(field.type)) for field in kind])
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_with_text(kind.value_type)))
    return pa.string() if pa.types.is_date(kind) else kind


def parsed(rows: "pa.RecordBatch", schema: "pa.Schema", kind: str) -> "pa.Table":
    """Return rows with the types of a table's columns; raise ArrowInvalid naming the column and a value.

    CSV has no other NULL than nothing; JSON lines have one of their own.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    found = pa.Table.from_batches([rows])
    for place, name in enumerate(found.column_names):
        wanted = schema.field(name).type if name in schema.names else None
        text = found.column(name)
        if wanted is None or text.type == wanted:
            continue
        if pa.types.is_nested(wanted) and pa.types.is_string(text.type):
            if any(text.to_pylist()):
                raise UsageFault(f"column {name!r}: {wanted} is not read from such files: use {_instead(wanted)}")
            found = found.set_column(place, name, pa.nulls(len(text), wanted))
            continue
        if kind == "csv":
            text = pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
        try:
            found = found.set_column(place, name, _of_text(text, wanted))
        except (pa.ArrowInvalid, ValueError) as error:
            raise pa.ArrowInvalid(f"column {name!r}: {(str(error).splitlines() or ['?'])[0]}") from error
    return found


def _of_text(text: "pa.ChunkedArray", wanted: "pa.DataType") -> "pa.ChunkedArray":
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_nested(wanted):
        return pc.cast(text, wanted)
    if pa.types.is_binary(wanted):
        return pa.chunked_array([[None if one is None else _of_digits(one) for one in text.to_pylist()]], wanted)
    if pa.types.is_time(wanted):
        moments = _moments(pc.binary_join_element_wise("1970-01-01T", text, ""), pa.timestamp("ms"))
        return pc.cast(moments, wanted)
    if pa.types.is_timestamp(wanted):
        if wanted.tz is not None:
            text = pc.replace_substring_regex(text, r"^(\d{4}-\d\d-\d\d)$", r"\1 00:00")
            without = pc.binary_join_element_wise(text, "Z", "")
            text = pc.if_else(pc.match_substring_regex(text, _ZONED), text, without)
        return _moments(text, wanted)
    return pc.cast(text, wanted)


def _of_digits(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is not bytes in hexadecimal digits, such as 0a1b") from None


def _moments(text: "pa.ChunkedArray", wanted: "pa.DataType") -> "pa.ChunkedArray":
    """Return moments; digits beyond those of the type are fine where they are zeros."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        return pc.cast(text, wanted)
    except pa.ArrowInvalid:
        for unit in _FINER:
            try:
                finer = pc.cast(text, pa.timestamp(unit, wanted.tz))
            except pa.ArrowInvalid:
                continue
            return pc.cast(finer, wanted)
        raise


def _instead(kind: "pa.DataType") -> str:
    return "Parquet" if _is_hard(kind) else "JSON lines or Parquet"
