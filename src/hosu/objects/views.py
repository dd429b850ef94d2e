"""Reading the metadata database: a connection, the moment of reading, and the few queries everybody needs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import apsw

from hosu.kernel.errors import ErrorKind, NotFoundError
from hosu.objects.database import translate
from hosu.objects.records import Bucket, Usage, Versioning

BUCKET_COLUMNS = (
    "id, name, created_ms, region, versioning, alias_count, "
    "object_count, object_bytes, version_count, version_bytes, marker_count, part_bytes, quota_bytes, owner, "
    "lock, protected"
)


LAKE_HELD_BYTES = "SELECT ifnull(sum(object_bytes + version_bytes + part_bytes), 0) FROM bucket"


class View:
    """Reads of one thread. Each statement sees the latest commit; `snapshot` holds one moment over several."""

    __slots__ = ("connection", "now_ms")

    def __init__(self, connection: apsw.Connection, now_ms: int) -> None:
        self.connection = connection
        self.now_ms = now_ms

    def run(self, statement: str, values: Sequence[Any] = ()) -> apsw.Cursor:
        """Execute a statement."""
        try:
            return self.connection.execute(statement, values)
        except apsw.Error as error:
            raise translate(error) from error

    def each(self, statement: str, values: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """Yield the rows one by one, as far as the caller reads on."""
        try:
            yield from self.connection.execute(statement, values)
        except apsw.Error as error:
            raise translate(error) from error

    def row(self, statement: str, values: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        """Return the first row, or None."""
        try:
            return self.connection.execute(statement, values).fetchone()
        except apsw.Error as error:
            raise translate(error) from error

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows."""
        try:
            return self.connection.execute(statement, values).fetchall()
        except apsw.Error as error:
            raise translate(error) from error

    def value(self, statement: str, values: Sequence[Any] = ()) -> Any:  # noqa: ANN401 - a database value
        """Return the first column of the first row, or None."""
        row = self.row(statement, values)
        return None if row is None else row[0]

    def changes(self) -> int:
        """Return how many rows the last statement changed."""
        return self.connection.changes()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let every statement inside see the same moment. Keep it short: the log cannot start over meanwhile."""
        if self.connection.in_transaction:
            yield
            return
        self.connection.execute("BEGIN")
        try:
            yield
        finally:
            if self.connection.in_transaction:  # a failed read may have ended it
                self.connection.execute("ROLLBACK")

    def bucket(self, name: str) -> Bucket:
        """Return a bucket's record; raises `NotFoundError`."""
        row = self.row(f"SELECT {BUCKET_COLUMNS} FROM bucket WHERE name = ?", (name,))
        if row is None:
            raise NotFoundError(ErrorKind.BUCKET_NOT_FOUND, f"there is no bucket {name!r}", bucket=name)
        return bucket_from_row(row)

    def held_bytes(self, bucket: Bucket) -> int:
        """Return what counts towards a bucket's quota."""
        return bucket.usage.held_bytes

    def lake_held_bytes(self) -> int:
        """Return what counts towards the lake's quota: what all buckets hold."""
        return int(self.value(LAKE_HELD_BYTES))


def bucket_from_row(row: tuple[Any, ...]) -> Bucket:
    """Build a bucket from a row of `BUCKET_COLUMNS`."""
    return Bucket(row[0], row[1], row[2], row[3], Versioning(row[4]), row[5], Usage(*row[6:12]), *row[12:])
