"""The records of Paimon's metadata files, as Avro schemas: names and fields are those that Paimon 2.0 writes."""

from typing import Any, Final

from hosu.tables.manifests.avro import Schema, array_of

FORMAT: Final = 2
"""`_VERSION` of manifests and their lists. Other values are of formats that nobody writes any more, or not yet."""

INDEX_FORMAT: Final = 1
"""`_VERSION` of index manifests."""

NAMESPACE: Final = "org.apache.paimon.avro.generated"


def _field(name: str, kind: Any) -> dict[str, Any]:  # noqa: ANN401 - any Avro type
    return {"name": name, "type": kind}


def _maybe(name: str, kind: Any) -> dict[str, Any]:  # noqa: ANN401 - any Avro type
    return {"name": name, "type": ["null", kind], "default": None}


def _array(items: Any) -> dict[str, Any]:  # noqa: ANN401 - any Avro type
    return {"type": "array", "items": items}


def _record(name: str, *fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": list(fields)}


def _top(*fields: dict[str, Any]) -> Schema:
    return {
        "type": "record",
        "name": "record",
        "namespace": NAMESPACE,
        "fields": [_field("_VERSION", "int"), *fields],
    }


def _stats(name: str) -> dict[str, Any]:
    return _record(
        name,
        _field("_MIN_VALUES", "bytes"),
        _field("_MAX_VALUES", "bytes"),
        _maybe("_NULL_COUNTS", _array(["null", "long"])),
    )


DATA_FILE: Final = _record(
    "record__FILE",
    _field("_FILE_NAME", "string"),
    _field("_FILE_SIZE", "long"),
    _field("_ROW_COUNT", "long"),
    _field("_MIN_KEY", "bytes"),
    _field("_MAX_KEY", "bytes"),
    _field("_KEY_STATS", _stats("record__FILE__KEY_STATS")),
    _field("_VALUE_STATS", _stats("record__FILE__VALUE_STATS")),
    _field("_MIN_SEQUENCE_NUMBER", "long"),
    _field("_MAX_SEQUENCE_NUMBER", "long"),
    _field("_SCHEMA_ID", "long"),
    _field("_LEVEL", "int"),
    _field("_EXTRA_FILES", _array("string")),
    _maybe("_CREATION_TIME", {"type": "long", "logicalType": "timestamp-millis"}),
    _maybe("_DELETE_ROW_COUNT", "long"),
    _maybe("_EMBEDDED_FILE_INDEX", "bytes"),
    _maybe("_FILE_SOURCE", "int"),
    _maybe("_VALUE_STATS_COLS", _array("string")),
    _maybe("_EXTERNAL_PATH", "string"),
    _maybe("_FIRST_ROW_ID", "long"),
    _maybe("_WRITE_COLS", _array("string")),
)

MANIFEST_ENTRY: Final = _top(
    _field("_KIND", "int"),
    _field("_PARTITION", "bytes"),
    _field("_BUCKET", "int"),
    _field("_TOTAL_BUCKETS", "int"),
    _field("_FILE", DATA_FILE),
)

MANIFEST_FILE: Final = _top(
    _field("_FILE_NAME", "string"),
    _field("_FILE_SIZE", "long"),
    _field("_NUM_ADDED_FILES", "long"),
    _field("_NUM_DELETED_FILES", "long"),
    _field("_PARTITION_STATS", _stats("record__PARTITION_STATS")),
    _field("_SCHEMA_ID", "long"),
    _maybe("_MIN_BUCKET", "int"),
    _maybe("_MAX_BUCKET", "int"),
    _maybe("_MIN_LEVEL", "int"),
    _maybe("_MAX_LEVEL", "int"),
    _maybe("_MIN_ROW_ID", "long"),
    _maybe("_MAX_ROW_ID", "long"),
)

INDEX_ENTRY: Final = _top(
    _field("_KIND", "int"),
    _field("_PARTITION", "bytes"),
    _field("_BUCKET", "int"),
    _field("_INDEX_TYPE", "string"),
    _field("_FILE_NAME", "string"),
    _field("_FILE_SIZE", "long"),
    _field("_ROW_COUNT", "long"),
    _maybe(
        "_DELETIONS_VECTORS_RANGES",
        _array(
            [
                "null",
                _record(
                    "record__DELETIONS_VECTORS_RANGES",
                    _field("f0", "string"),
                    _field("f1", "int"),
                    _field("f2", "int"),
                    _maybe("_CARDINALITY", "long"),
                ),
            ]
        ),
    ),
    _maybe("_EXTERNAL_PATH", "string"),
    _maybe(
        "_GLOBAL_INDEX",
        _record(
            "record__GLOBAL_INDEX",
            _field("_ROW_RANGE_START", "long"),
            _field("_ROW_RANGE_END", "long"),
            _field("_INDEX_FIELD_ID", "int"),
            _maybe("_EXTRA_FIELD_IDS", _array("int")),
            _maybe("_INDEX_META", "bytes"),
            _maybe("_SOURCE_META", "bytes"),
        ),
    ),
)

MANIFEST_ENTRY_ROWS: Final = array_of(MANIFEST_ENTRY)
MANIFEST_FILE_ROWS: Final = array_of(MANIFEST_FILE)
INDEX_ENTRY_ROWS: Final = array_of(INDEX_ENTRY)
