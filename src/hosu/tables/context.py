"""What every part of the engine is handed about one open table."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self
from uuid import uuid4

from hosu.kernel.clock import Clock
from hosu.kernel.fileio import FileIO
from hosu.kernel.limits import MIB
from hosu.tables.layout import MAIN_BRANCH, Layout

if TYPE_CHECKING:
    from hosu.tables.options import Options
    from hosu.tables.schemas import Schemas, TableSchema
    from hosu.tables.snapshots.cache import MetadataCache

USER_PREFIX = "hosu-"
"""What the commit users begin with that hosu makes up."""

MEMORY_BYTES = 256 * MIB
"""What a merge or a compaction may hold of rows, unless told otherwise."""


@dataclass(frozen=True)
class Identifier:
    """The name of a table."""

    database: str
    table: str
    branch: str = MAIN_BRANCH

    def __str__(self) -> str:
        return f"{self.database}.{self.table}" + ("" if self.branch == MAIN_BRANCH else f"$branch_{self.branch}")


@dataclass(frozen=True)
class TableContext:
    """One open table: where its files are and what its schema said when it was opened."""

    files: FileIO
    identifier: Identifier
    layout: Layout
    schema: "TableSchema"
    schemas: "Schemas"
    """Every schema the table has had, by id."""

    options: "Options"
    """The options of the schema, with what the opener added over them."""

    clock: Clock
    pool: ThreadPoolExecutor
    """Threads for reads and writes of files; a task of it never waits for another."""

    cache: "MetadataCache"
    """Parsed manifests, of immutable files; shared by the tables of a catalog."""

    memory_bytes: int = MEMORY_BYTES
    commit_user: str = ""
    on_commit: Callable[["TableContext"], None] | None = field(default=None, compare=False)
    """Called after each commit, for upkeep to have a look."""

    reopen: Callable[[], AbstractContextManager["TableContext"]] | None = field(default=None, compare=False)
    """Opens the same table in another process, where threads and open files do not come along."""

    def with_schema(self, schema: "TableSchema", options: "Options") -> Self:
        """Return the same table under another schema."""
        return replace(self, schema=schema, options=options)


def new_user(options: "Options") -> str:
    """Make up a commit user, with the prefix that a table's options ask for."""
    user = f"{USER_PREFIX}{uuid4()}"
    return f"{options.commit_user_prefix}_{user}" if options.commit_user_prefix else user


def is_made_up(user: str) -> bool:
    """Whether a commit user is one that `new_user` made up, so that hosu committed."""
    return USER_PREFIX in user
