"""What the doctor looks for on the disk, and a whole visit: all checks, and all repairs in their order."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

import msgspec

from hosu.kernel.errors import ErrorKind, HosuError
from hosu.objects.blobs import FILE_COLUMNS, BlobRow
from hosu.objects.healing import find_owners
from hosu.objects.store import ObjectStore
from hosu.objects.sweep import ORPHAN_MS, orphans, sweep
from hosu.objects.views import View
from hosu.rules.doctor import Finding, examine, repair_records
from hosu.rules.doctor_blobs import blob_checks
from hosu.rules.doctor_records import RECORD_CHECKS
from hosu.rules.healing import BlobHealer, find_row, names_of

DATABASE: Final = "database"
DAMAGED_WHY: Final = "records may be lost or wrong, so nothing here can be trusted to repair it"
RESTORE: Final = (
    "stop the server, keep this folder as it is, and restore the lake from a backup into another one: "
    "`hosu restore LOCATION NEWLAKE`"
)
ROWS_PER_PAGE: Final = 4_096


class Visit(msgspec.Struct):
    """What was repaired; `left` is what is still wrong."""

    repaired: int = 0
    left: list[Finding] = msgspec.field(default_factory=list)


def damaged(lake: Path, error: HosuError) -> Finding | None:
    """Return the finding for a lake that does not open as its records are damaged or gone; None for other errors."""
    if error.kind is not ErrorKind.CORRUPT_LAKE:
        return None
    return Finding(
        kind=DATABASE,
        where=str(lake / "meta" / "lake.db"),
        what=error.message,
        why=f"{DAMAGED_WHY}: {RESTORE}",
    )


def diagnose(store: ObjectStore) -> Iterator[Finding]:
    """Yield everything that is wrong with a lake. Reads all records and looks at all files, but not into them."""
    found = list(_examine_database(store))
    yield from found
    if found:
        return
    yield from examine(store, (*blob_checks(store), *RECORD_CHECKS))
    yield from _examine_files(store)
    yield from _examine_orphans(store)


def treat(store: ObjectStore, allowed: Collection[str] = ()) -> Visit:
    """Repair what can be repaired, and give up what is allowed by kind. Nobody else may use the lake meanwhile."""
    visit = Visit()
    if not list(_examine_database(store)):
        visit.repaired += repair_records(store, blob_checks(store), allowed)
        visit.repaired += _heal_files(store)
        # What was read just now may be known for what it is: blobs are looked at once more.
        visit.repaired += repair_records(store, (*blob_checks(store), *RECORD_CHECKS), allowed)
        visit.repaired += sweep(store).orphans
    visit.left = list(diagnose(store))
    return visit


def _examine_database(store: ObjectStore) -> Iterator[Finding]:
    try:
        faults = [str(row[0]) for row in store.view().rows("PRAGMA integrity_check(20)") if row[0] != "ok"]
    except HosuError as error:
        faults = [error.message]
    for fault in faults:
        where = str(store.path / "meta" / "lake.db")
        yield Finding(kind=DATABASE, where=where, what=fault, why=f"{DAMAGED_WHY}: {RESTORE}")


def _file_blobs(view: View) -> Iterator[BlobRow]:
    after = 0
    statement = (
        f"SELECT {FILE_COLUMNS} FROM blob WHERE id > ? AND refs > 0 AND kind < 2 ORDER BY id LIMIT {ROWS_PER_PAGE}"
    )
    while rows := view.rows(statement, (after,)):
        yield from (BlobRow(*row) for row in rows)
        after = rows[-1][0]


def _faulty_files(store: ObjectStore) -> Iterator[tuple[str, BlobRow, str]]:
    """Yield (kind of finding, blob, what is wrong) for every file that cannot be what it was."""
    for blob in _file_blobs(store.view()):
        if blob.is_corrupt:
            yield "blob-corrupt", blob, "it was read and did not match its hash"
        elif blob.kind == 1:
            try:
                size_bytes = store.files.path(blob.id).stat().st_size
            except FileNotFoundError:
                yield "file-missing", blob, "its file is gone"
                continue
            if size_bytes != blob.stored_bytes:
                yield "file-size", blob, f"its file has {size_bytes} bytes, not {blob.stored_bytes}"


def _examine_files(store: ObjectStore) -> Iterator[Finding]:
    faulty = list(_faulty_files(store))
    owners = find_owners(store.view(), [blob.id for _, blob, _ in faulty])
    for kind, blob, what in faulty:
        yield Finding(
            kind=kind,
            where=f"blob {blob.id}: {names_of(owners[blob.id])}",
            what=what,
            why="reads of these objects fail unless the bytes can be restored",
            repair="restores it from a second copy or another blob with the same bytes, where there is one",
        )


def _heal_files(store: ObjectStore) -> int:
    healer = BlobHealer(store)
    healed = 0
    for _, blob, _ in list(_faulty_files(store)):
        if healer.heal(blob.id):
            after = find_row(store, blob.id)
            healed += after is not None and not after.is_corrupt
    return healed


def _examine_orphans(store: ObjectStore) -> Iterator[Finding]:
    count = size_bytes = 0
    for _, path in orphans(store, ORPHAN_MS):
        try:
            size_bytes += path.stat().st_size
        except FileNotFoundError:  # the server's sweep was faster
            continue
        count += 1
    if count:
        yield Finding(
            kind="orphan-files",
            where=str(store.files.root),
            what=f"{count} files ({size_bytes} bytes) have no record",
            why="a crash, or an upload that was given up, left them; they take space until the next sweep",
            repair="removes them",
        )
