"""JSON documents of a table's metadata, with the spaces and line breaks that Paimon writes."""

import json
from collections.abc import Mapping
from typing import Any


def _pretty(value: Any, indent: str) -> str:  # noqa: ANN401 - a JSON value
    if isinstance(value, Mapping):
        if not value:
            return "{ }"
        deeper = indent + "  "
        members = ",\n".join(
            f"{deeper}{json.dumps(str(name), ensure_ascii=False)} : {_pretty(inner, deeper)}"
            for name, inner in value.items()
        )
        return f"{{\n{members}\n{indent}}}"
    if isinstance(value, list | tuple):
        return f"[ {', '.join(_pretty(inner, indent) for inner in value)} ]" if value else "[ ]"
    return json.dumps(value, ensure_ascii=False)


def json_text(document: Mapping[str, Any]) -> str:
    """Return a document as Paimon's own writer lays it out."""
    return _pretty(document, "")
