"""Files of a backup that hold many things: records, and packs of small blobs.

A file of records is lines of JSON, compressed by Zstandard. A line that is an object begins a section: it names the
table and its columns, and in `hex` the columns whose values are bytes, spelled as hexadecimal digits. Each line that is
an array is a row of that table. A section that goes on in the next file is named there again.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec
from blake3 import blake3

from hosu.kernel.errors import CorruptError, ErrorKind
from hosu.kernel.limits import MIB
from hosu.rules.backup.tables import Columns

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CHUNK_BYTES: Final = 4 * MIB
"""Of lines before compression: what is held in memory, and read again to find one row."""

PACK_BYTES: Final = 8 * MIB
LEVEL: Final = 3
"""Of compression: higher ones take several times as long for a tenth less."""

LINES_BYTES_MAX: Final = 64 * MIB
"""No file of records unpacks to more: one row has far less than the difference."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Section(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the rows that follow are. `create` makes a table that a new lake lacks."""

    table: str
    columns: tuple[str, ...]
    hex: tuple[str, ...] = ()
    create: tuple[str, ...] = ()


class RecordWriter:
    """Writes rows into files of records; `store(kind, data)` keeps a file and returns its hash."""

    def __init__(self, store: Callable[[str, bytes], str]) -> None:
        self._store = store
        self._lines: list[bytes] = []
        self._size_bytes = 0
        self._header = b""
        self._hex: tuple[int, ...] = ()
        self._section: Section | None = None
        self._columns: Columns | None = None
        self.files: list[str] = []
        self.rows = 0

    def begin(self, table: str, columns: Columns, *, create: Sequence[str] = ()) -> None:
        """Say which table the rows that follow belong to."""
        if self._section is not None and self._columns is columns and self._section.table == table:
            return
        section = Section(
            table, columns.names, tuple(name for name in columns.names if name in columns.binary), tuple(create)
        )
        self._section, self._columns, self._hex = section, columns, columns.places
        self._header = _encode(section)
        if self._lines or create:  # a table that is made may be empty
            self._lines.append(self._header)

    def row(self, values: Sequence[Any]) -> None:
        """Add a row of the present section."""
        if self._hex:
            listed = list(values)
            for place in self._hex:
                if (value := listed[place]) is not None:
                    listed[place] = value.hex()
            values = listed
        line = _encode(values)
        if not self._lines:
            self._lines.append(self._header)
        self._lines.append(line)
        self.rows += 1
        self._size_bytes += len(line) + 1
        if self._size_bytes >= CHUNK_BYTES:
            self._flush()

    def finish(self) -> tuple[str, ...]:
        """Store what is left, and return the hashes of all files in order."""
        if self._lines:
            self._flush()
        return tuple(self.files)

    def _flush(self) -> None:
        lines = b"\n".join([*self._lines, b""])
        self.files.append(self._store("records", zstd.compress(lines, level=LEVEL)))
        self._lines, self._size_bytes = [], 0


def read_records(data: bytes, name: str) -> Iterator[tuple[Section, list[list[Any]]]]:
    """Yield the sections of a file of records with their rows; raises CorruptError BACKUP_CORRUPT."""
    try:
        unpacking = zstd.ZstdDecompressor()
        lines = unpacking.decompress(data, max_length=LINES_BYTES_MAX).split(b"\n")
        if not unpacking.eof:
            raise CorruptError(ErrorKind.BACKUP_CORRUPT, f"records {name} of the backup end too early, or never")
        section: Section | None = None
        rows: list[list[Any]] = []
        for line in lines:
            if line.startswith(b"["):
                rows.append(_decode(line))
            elif line:
                if section is not None:
                    yield section, _with_bytes(section, rows)
                section, rows = msgspec.json.decode(line, type=Section), []
        if section is not None:
            yield section, _with_bytes(section, rows)
    except (zstd.ZstdError, msgspec.MsgspecError, ValueError, IndexError) as error:
        raise CorruptError(ErrorKind.BACKUP_CORRUPT, f"records {name} of the backup cannot be read: {error}") from error


def _with_bytes(section: Section, rows: list[list[Any]]) -> list[list[Any]]:
    for place in (section.columns.index(name) for name in section.hex):
        for row in rows:
            if row[place] is not None:
                row[place] = bytes.fromhex(row[place])
    return rows


class PackWriter:
    """Gathers small blobs into packs, and hands on the row of each once its pack has a name.

    `store(kind, data)` keeps a file and returns its hash; `write(row, pack, start)` is called for each blob added.
    """

    def __init__(self, store: Callable[[str, bytes], str], write: Callable[[Sequence[Any], str, int], None]) -> None:
        self._store = store
        self._write = write
        self._bodies: list[bytes] = []
        self._rows: list[tuple[Sequence[Any], int]] = []
        self._size_bytes = 0
        self.packs: list[str] = []

    def add(self, row: Sequence[Any], body: bytes) -> None:
        """Put a blob into the present pack."""
        self._rows.append((row, self._size_bytes))
        self._bodies.append(body)
        self._size_bytes += len(body)
        if self._size_bytes >= PACK_BYTES:
            self.flush()

    def flush(self) -> None:
        """End the present pack."""
        if not self._rows:
            return
        pack = self._store("packs", b"".join(self._bodies))
        self.packs.append(pack)
        for row, start in self._rows:
            self._write(row, pack, start)
        self._bodies, self._rows, self._size_bytes = [], [], 0


def hash_of(data: bytes) -> str:
    """Return the name of a file that holds data."""
    return blake3(data).hexdigest()
