"""Which tables of a lake are in a backup, and how.

Rows of the large ones are written once, in layers: a base has all of them, each layer above it those of the keys that
have changed. The small ones are written whole by every run, so that whatever changes them needs no event.
"""

from typing import Final

import msgspec

from hosu.objects.views import View

LAYERED: Final = ("object", "version", "blob", "segment")

WHOLE: Final = (
    "alias",
    "alias_switch",
    "bucket",
    "bucket_document",
    "counter",
    "lake_document",
    "named_key",
    "notification",
    "sqlite_sequence",
    "uncoded",
)
WHOLE_PREFIXES: Final = ("identity_",)
"""Families of tables that are made when they are first needed; a backup holds how."""

LEFT_OUT: Final = frozenset(
    {
        "alert",  # what is wrong with this lake, on this machine
        "alert_told",
        "audit_outbox",  # on its way to the audit log's files
        "copy",  # what second copies there are, which a restored lake has none of
        "copy_location",
        "completed_upload",  # answers to completions sent again, for a day
        "event",  # the change feed of what happened here
        "garbage",
        "hold",
        "part",  # of uploads in progress
        "subscription",  # of who follows the feed
        "undelivered",  # events of what happened here
        "upload",
    }
)
LEFT_OUT_PREFIXES: Final = ("sqlite_stat",)

BLOB_FACTS_LEFT_OUT: Final = frozenset({"refs", "verified_ms", "inode", "ctime_ns", "body"})
"""What a restore counts and measures itself; bodies are in packs."""

PLACE_COLUMNS: Final = ("pack", "start", "stored_bytes")
"""Of a small blob, where its bytes are; `pack` is null where an older layer says it, or the bytes are in `blobs/`."""

COUNTERS_LEFT_OUT: Final = "backup"
"""What the names of counters begin with that tell of backups."""


class Columns(msgspec.Struct, frozen=True):
    """The columns of a table, in their order, and those that hold bytes."""

    names: tuple[str, ...]
    binary: frozenset[str]

    @property
    def places(self) -> tuple[int, ...]:
        """Where the columns that hold bytes are."""
        return tuple(place for place, name in enumerate(self.names) if name in self.binary)


def columns_of(view: View, table: str) -> Columns:
    """Return the columns of a table; none where there is no such table."""
    rows = view.rows(f"PRAGMA table_info({table})")
    return Columns(tuple(row[1] for row in rows), frozenset(row[1] for row in rows if row[2] == "BLOB"))


def whole_tables(view: View) -> list[str]:
    """Return the names of the lake's tables that every run writes whole."""
    names = [row[0] for row in view.rows("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")]
    return [name for name in names if name in WHOLE or name.startswith(WHOLE_PREFIXES)]


def definition_of(view: View, table: str) -> list[str]:
    """Return the statements that make a table and its indexes."""
    rows = view.rows(
        "SELECT sql FROM sqlite_schema WHERE tbl_name = ? AND sql IS NOT NULL ORDER BY type = 'index'", (table,)
    )
    return [str(row[0]) for row in rows]
