"""Databases and tables as folders: `WAREHOUSE/DATABASE.db/TABLE`, the layout that Paimon's filesystem catalog has.

A table is there once its first schema is, which one conditional put makes. Dropping begins with a mark beside the
schemas, which takes the table away at once; what a stop leaves behind, the next `drop_table` takes away.
"""

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from difflib import get_close_matches
from functools import partial
from typing import Self, TypeAlias

from hosu.kernel.clock import Clock
from hosu.kernel.errors import ConflictError, ErrorKind, NotFoundError, PreconditionFailedError, UnsupportedError
from hosu.kernel.fileio import FileIO, Prefix
from hosu.kernel.limits import DELETE_KEYS_MAX
from hosu.tables.context import MEMORY_BYTES, Identifier, TableContext, new_user
from hosu.tables.creation import Columns, new_schema
from hosu.tables.evolution import SchemaChange, apply_changes
from hosu.tables.identifiers import check_database, check_name, parse_table, table_missing
from hosu.tables.layout import DATABASE_SUFFIX, MAIN_BRANCH, Layout
from hosu.tables.options import Options
from hosu.tables.schemas import DROPPED, Schemas, TableSchema
from hosu.tables.snapshots.cache import MetadataCache
from hosu.tables.validation import check_dynamic_options, check_table_options

DATABASE_MARK = ".hosu-database"
"""A file that keeps the folder of a database without tables; Paimon's catalog passes over it."""

_THREADS_MAX = 16

Reopen: TypeAlias = Callable[[], AbstractContextManager["Catalog"]]
"""What opens a catalog in another process; it can be pickled."""


class Catalog:
    """The databases and tables of a warehouse: a folder of a FileIO, `""` for all of it. Safe between threads.

    `pool` is closed with the catalog only when the catalog made it. `memory_bytes` is what a merge may hold. `reopen`
    opens the catalog in another process; without it one is made there over a copy of the files' FileIO.
    """

    def __init__(
        self,
        files: FileIO,
        warehouse: str,
        *,
        clock: Clock,
        pool: ThreadPoolExecutor | None = None,
        memory_bytes: int = MEMORY_BYTES,
        on_commit: Callable[[TableContext], None] | None = None,
        reopen: Reopen | None = None,
    ) -> None:
        self.files = files
        self.warehouse = warehouse.strip("/")
        self.clock = clock
        self.memory_bytes = memory_bytes
        self._reopen = reopen or partial(Catalog, files, self.warehouse, clock=clock, memory_bytes=memory_bytes)
        self.cache = MetadataCache()
        self._on_commit = on_commit
        self._pool = pool
        self._owns_pool = pool is None
        self._lock = threading.Lock()
        self._schemas: dict[str, Schemas] = {}

    def __repr__(self) -> str:
        return f"Catalog({self.warehouse!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pool(self) -> ThreadPoolExecutor:
        """Threads for files of tables."""
        with self._lock:
            if self._pool is None:
                threads = min(_THREADS_MAX, (os.cpu_count() or 1) * 4)
                self._pool = ThreadPoolExecutor(threads, thread_name_prefix="hosu-tables")
            return self._pool

    def close(self) -> None:
        """Wait for what goes on in the background, and let the threads go."""
        for hint in self.cache.hints():
            with hint.lock:
                writing = hint.writing
            if writing is not None:
                writing.result()
        with self._lock:
            pool, self._pool = (self._pool, None) if self._owns_pool else (None, self._pool)
        if pool is not None:
            pool.shutdown()

    def _root(self) -> str:
        return f"{self.warehouse}/" if self.warehouse else ""

    def _database(self, name: str) -> str:
        return f"{self._root()}{name}{DATABASE_SUFFIX}/"

    def _layout(self, identifier: Identifier) -> Layout:
        return Layout(f"{self._database(identifier.database)}{identifier.table}", branch=identifier.branch)

    def _folders(self, prefix: str) -> Iterator[str]:
        for entry in self.files.list(prefix, delimiter="/"):
            if isinstance(entry, Prefix):
                yield entry.key.removeprefix(prefix).removesuffix("/")

    # Databases.

    def databases(self) -> list[str]:
        """Return the names of the databases, in order."""
        names = (
            name.removesuffix(DATABASE_SUFFIX) for name in self._folders(self._root()) if name.endswith(DATABASE_SUFFIX)
        )
        return sorted(name for name in names if name)

    def has_database(self, name: str) -> bool:
        """Whether there is a database of this name."""
        return next(iter(self.files.list(self._database(name))), None) is not None

    def create_database(self, name: str, *, exist_ok: bool = False) -> None:
        """Make a database; raise ConflictError DATABASE_EXISTS unless `exist_ok`."""
        check_database(name)
        if self.has_database(name):
            if exist_ok:
                return
            raise ConflictError(ErrorKind.DATABASE_EXISTS, f"database {name!r} exists", database=name)
        try:
            self.files.put(self._database(name) + DATABASE_MARK, b"{}", if_absent=True)
        except PreconditionFailedError as error:
            if not exist_ok:
                raise ConflictError(ErrorKind.DATABASE_EXISTS, f"database {name!r} exists", database=name) from error

    def _need_database(self, name: str) -> None:
        if not self.has_database(name):
            near = get_close_matches(name, self.databases(), 1)
            hint = f"did you mean {near[0]!r}?" if near else "create it first"
            raise NotFoundError(ErrorKind.DATABASE_NOT_FOUND, f"there is no database {name!r}: {hint}", database=name)

    def drop_database(self, name: str, *, cascade: bool = False) -> None:
        """Take a database away; raise ConflictError DATABASE_NOT_EMPTY when it has tables, unless `cascade`."""
        check_database(name)
        self._need_database(name)
        tables = self.tables(name)
        if tables and not cascade:
            raise ConflictError(
                ErrorKind.DATABASE_NOT_EMPTY,
                f"database {name!r} has {len(tables)} tables, {tables[0]!r} among them: drop them first, or cascade",
                database=name,
            )
        for table in tables:
            self.drop_table(Identifier(name, table))
        self._delete_under(self._database(name))

    # Tables.

    def tables(self, database: str) -> list[str]:
        """Return the names of a database's tables, in order; raise NotFoundError DATABASE_NOT_FOUND."""
        check_name("database", database)
        self._need_database(database)
        names = list(self._folders(self._database(database)))
        has = self.pool.map(lambda name: bool(self._schemas_of(Identifier(database, name)).ids()), names)
        return sorted(name for name, is_table in zip(names, has, strict=True) if is_table)

    def _schemas_of(self, identifier: Identifier) -> Schemas:
        layout = self._layout(identifier)
        with self._lock:
            return self._schemas.setdefault(layout.branch_path, Schemas(self.files, layout, self.cache.clear))

    def _forget(self, identifier: Identifier) -> None:
        path = self._layout(identifier).path
        with self._lock:
            self._schemas = {
                key: value for key, value in self._schemas.items() if key != path and not key.startswith(f"{path}/")
            }

    def schemas(self, name: str | Identifier) -> Schemas:
        """Return all the schemas of a table or of a branch of it."""
        return self._schemas_of(parse_table(name))

    def has_table(self, name: str | Identifier) -> bool:
        """Whether there is a table, or a branch of it, of this name."""
        return bool(self._schemas_of(parse_table(name)).ids())

    def schema(self, name: str | Identifier, *, branch: str = MAIN_BRANCH) -> TableSchema:
        """Return the latest schema of a table; raise NotFoundError TABLE_NOT_FOUND or BRANCH_NOT_FOUND."""
        identifier = parse_table(name, branch=branch)
        schema = self._schemas_of(identifier).latest()
        if schema is None:
            if identifier.branch != MAIN_BRANCH and self.has_table(Identifier(identifier.database, identifier.table)):
                raise NotFoundError(
                    ErrorKind.BRANCH_NOT_FOUND,
                    f"table '{identifier.database}.{identifier.table}' has no branch {identifier.branch!r}",
                    branch=identifier.branch,
                )
            self._need_database(identifier.database)
            raise table_missing(identifier, get_close_matches(identifier.table, self.tables(identifier.database), 1))
        return schema

    def create_table(
        self,
        name: str | Identifier,
        schema: Columns,
        *,
        partition_keys: Sequence[str] = (),
        primary_keys: Sequence[str] = (),
        options: Mapping[str, str] | None = None,
        comment: str | None = None,
        exist_ok: bool = False,
    ) -> TableSchema:
        """Make a table with the columns of an Arrow schema or of fields, and return its schema.

        With `exist_ok` a table that is there stays as it is, and its schema is returned. Raises InvalidInputError
        TABLE_INVALID for what makes no table, UnsupportedError for options and types that hosu does not have,
        NotFoundError DATABASE_NOT_FOUND, ConflictError TABLE_EXISTS.
        """
        identifier = parse_table(name)
        if identifier.branch != MAIN_BRANCH:
            raise UnsupportedError(
                ErrorKind.UNSUPPORTED, f"{str(identifier)!r} is a branch: create the table, then the branch from it"
            )
        check_database(identifier.database)
        made = new_schema(
            schema,
            partition_keys=partition_keys,
            primary_keys=primary_keys,
            options=options or {},
            comment=comment,
            time_millis=self.clock.now_ms(),
        )
        self._need_database(identifier.database)
        schemas = self._schemas_of(identifier)
        found = schemas.latest()
        if found is None:
            self._refuse_half_dropped(identifier)
            try:
                schemas.commit(made)
            except ConflictError:
                found = schemas.latest()
                if found is None:
                    raise
            else:
                return made
        if not exist_ok:
            raise ConflictError(ErrorKind.TABLE_EXISTS, f"table {str(identifier)!r} exists", table=str(identifier))
        return found

    def _refuse_half_dropped(self, identifier: Identifier) -> None:
        if self.files.exists(self._layout(identifier).schemas + DROPPED):
            raise ConflictError(
                ErrorKind.TABLE_EXISTS,
                f"table {str(identifier)!r} is being dropped: wait for it, or drop it again when that was stopped",
                table=str(identifier),
            )

    def drop_table(self, name: str | Identifier, *, missing_ok: bool = False) -> None:
        """Take a table away with its branches and all its files; raise NotFoundError TABLE_NOT_FOUND.

        Where a drop was stopped midway, this ends it.
        """
        identifier = parse_table(name)
        if identifier.branch != MAIN_BRANCH:
            raise UnsupportedError(ErrorKind.UNSUPPORTED, f"{str(identifier)!r} is a branch: delete it as one")
        layout = self._layout(identifier)
        mark = layout.schemas + DROPPED
        if self.has_table(identifier):
            self.files.put(mark, b"")
        elif not self.files.exists(mark):
            if missing_ok:
                return
            self.schema(identifier)
        self._forget(identifier)
        self.cache.clear()
        self._delete_under(f"{layout.path}/", but_under=layout.schemas)
        self._delete_under(layout.schemas, but_under=mark)
        self.files.delete_many([mark])

    def _delete_under(self, prefix: str, *, but_under: str | None = None) -> None:
        keys: list[str] = []
        for entry in self.files.list(prefix):
            if but_under is not None and entry.key.startswith(but_under):
                continue
            keys.append(entry.key)
            if len(keys) == DELETE_KEYS_MAX:
                self.files.delete_many(keys)
                keys = []
        self.files.delete_many(keys)

    def rename_table(self, name: str | Identifier, new_name: str | Identifier) -> None:
        """Refuse: a table is where its files are."""
        old, new = parse_table(name), parse_table(new_name)
        self.schema(old)
        raise UnsupportedError(
            ErrorKind.UNSUPPORTED,
            f"table {str(old)!r} cannot be renamed to {str(new)!r}: its files would be copied one by one, and a commit "
            "made meanwhile would be lost; create the new table and insert the rows of the old one into it",
            table=str(old),
        )

    def alter_table(
        self, name: str | Identifier, changes: Sequence[SchemaChange], *, branch: str = MAIN_BRANCH
    ) -> TableSchema:
        """Change columns and options: all of the changes or none; return the schema then.

        Raises InvalidInputError TABLE_INVALID or COLUMN_INVALID, UnsupportedError for a change that a table with rows
        does not bear.
        """
        identifier = parse_table(name, branch=branch)
        self.schema(identifier)
        layout = self._layout(identifier)

        def change(old: TableSchema) -> TableSchema:
            has_snapshots = next(iter(self.files.list(f"{layout.snapshots}snapshot-")), None) is not None
            return apply_changes(old, changes, has_snapshots=has_snapshots, time_millis=self.clock.now_ms())

        return self._schemas_of(identifier).change(change)

    def open(
        self, name: str | Identifier, *, branch: str = MAIN_BRANCH, options: Mapping[str, str] | None = None
    ) -> TableContext:
        """Open a table or a branch of it, which option `branch` may name too, with `options` over those it has.

        Raises NotFoundError TABLE_NOT_FOUND or BRANCH_NOT_FOUND; UnsupportedError for an option that hosu does not
        have, InvalidInputError TABLE_INVALID for one that cannot be put over the table's own.
        """
        identifier = parse_table(
            name, branch=branch if branch != MAIN_BRANCH else (options or {}).get("branch", branch)
        )
        schema = self.schema(identifier)
        if options:
            check_dynamic_options(schema, options)
        own = Options(schema.options, has_primary_key=schema.is_primary_key_table)
        merged = own.merged(options or {})
        check_table_options(schema, merged)
        return TableContext(
            files=self.files,
            identifier=identifier,
            layout=Layout(
                self._layout(identifier).path,
                schema.partition_keys,
                identifier.branch,
                merged.partition_default_name,
                tuple((field.type.root, field.type.precision or 0) for field in schema.partition_fields),
                merged.partition_legacy_name,
            ),
            schema=schema,
            schemas=self._schemas_of(identifier),
            options=merged,
            clock=self.clock,
            pool=self.pool,
            cache=self.cache,
            memory_bytes=self.memory_bytes,
            commit_user=new_user(merged),
            on_commit=self._on_commit,
            reopen=partial(_open_elsewhere, self._reopen, identifier, dict(options or {})),
        )


@contextmanager
def _open_elsewhere(reopen: Reopen, identifier: Identifier, options: Mapping[str, str]) -> Iterator[TableContext]:
    with reopen() as catalog:
        yield catalog.open(identifier, options=options)
