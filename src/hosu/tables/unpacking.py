"""Arrow values without what they come wrapped in: extensions, runs, dictionaries and views."""

from functools import cache

import pyarrow as pa
import pyarrow.compute as pc


def plain(values: pa.Array) -> pa.Array:
    """Return values without extension, runs, dictionary, and views of text, which Arrow's functions do not all take."""
    if isinstance(values.type, pa.BaseExtensionType):
        values = values.storage
    if pa.types.is_run_end_encoded(values.type):
        values = pc.run_end_decode(values)
    kind = _without_views(values.type)
    if kind != values.type:
        values = values.cast(kind)
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    return values


@cache
def _without_views(kind: pa.DataType) -> pa.DataType:
    """Return the type that holds the same in one buffer where a type has views of text or bytes."""
    kinds = pa.types
    if kinds.is_string_view(kind):
        return pa.large_string()
    if kinds.is_binary_view(kind):
        return pa.large_binary()
    if kinds.is_dictionary(kind):
        return pa.dictionary(kind.index_type, _without_views(kind.value_type), kind.ordered)
    if kinds.is_struct(kind):
        return pa.struct([field.with_type(_without_views(field.type)) for field in kind])
    if kinds.is_map(kind):
        return pa.map_(
            kind.key_field.with_type(_without_views(kind.key_type)),
            kind.item_field.with_type(_without_views(kind.item_type)),
        )
    if kinds.is_list(kind):
        return pa.list_(kind.value_field.with_type(_without_views(kind.value_type)))
    if kinds.is_large_list(kind):
        return pa.large_list(kind.value_field.with_type(_without_views(kind.value_type)))
    if kinds.is_fixed_size_list(kind):
        return pa.list_(kind.value_field.with_type(_without_views(kind.value_type)), kind.list_size)
    return kind
