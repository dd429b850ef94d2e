"""The names of columns in options, which follow when a column is renamed."""

from collections.abc import Mapping

from hosu.tables.optionregistry import FIELD_SUFFIXES
from hosu.tables.optionvalues import split_names

_NAME_LISTS = frozenset(
    {
        "bucket-key",
        "changelog-producer.row-deduplicate-ignore-fields",
        "partial-update.remove-record-on-sequence-group",
        "record-level.time-field",
        "rowkind.field",
        "sequence.field",
    }
)
"""Options whose values are columns."""


def _renamed(names: str, old: str, new: str) -> str:
    return ",".join(new if name == old else name for name in split_names(names))


def rename_in_options(options: Mapping[str, str], old: str, new: str) -> dict[str, str]:
    """Return options in which a column goes by its new name, in keys and in values."""
    renamed = {}
    for key, value in options.items():
        suffix = next((name for name in FIELD_SUFFIXES if key.startswith("fields.") and key.endswith(f".{name}")), None)
        if key in _NAME_LISTS:
            renamed[key] = _renamed(value, old, new)
        elif suffix == "sequence-group":
            ordering = key.removeprefix("fields.").removesuffix(f".{suffix}")
            renamed[f"fields.{_renamed(ordering, old, new)}.{suffix}"] = _renamed(value, old, new)
        elif suffix is not None and key == f"fields.{old}.{suffix}":
            renamed[f"fields.{new}.{suffix}"] = value
        else:
            renamed[key] = value
    return renamed
