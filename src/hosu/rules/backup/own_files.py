"""Files of a restored lake that are no blobs: its settings, root's credentials, its own key, and its audit log."""

from pathlib import Path
from typing import Final

from hosu.kernel.disk import Disk
from hosu.kernel.errors import CorruptError, ErrorKind
from hosu.kernel.root import root_file
from hosu.kernel.settings import FILE_NAME
from hosu.objects import audit_files
from hosu.objects.encryption.lakekeys import INSIDE_FILE
from hosu.rules.backup.repository import Repository, Snapshot, StoredFile

SECRET: Final = frozenset({str(root_file(Path())), f"meta/{INSIDE_FILE}"})


def is_audit(file: StoredFile) -> bool:
    """Say whether a file is one of the audit log."""
    return file.path.startswith(f"{audit_files.FOLDER}/")


def check_path(file: StoredFile) -> None:
    """Refuse what no lake has, whatever somebody has written into a snapshot; raises CorruptError BACKUP_CORRUPT."""
    path = Path(file.path)
    is_own = file.path in {FILE_NAME, *SECRET} or is_audit(file)
    if not is_own or path.is_absolute() or ".." in path.parts or "\0" in file.path:
        raise CorruptError(ErrorKind.BACKUP_CORRUPT, f"the snapshot names a file {file.path!r}, which no lake has")


def read_file(repository: Repository, file: StoredFile) -> bytes:
    """Return a file's bytes; raises CorruptError BACKUP_CORRUPT."""
    return b"".join(repository.read("blobs", piece.hash) for piece in file.pieces)


def write_own_files(repository: Repository, snapshot: Snapshot, lake: Path, disk: Disk) -> list[str]:
    """Write the files of a snapshot, durably; return what is to be said of those of the audit log that are not whole.

    Raises CorruptError BACKUP_CORRUPT where another file is damaged: the lake could not be opened without it.
    """
    notes = []
    for file in snapshot.files:
        check_path(file)
        path = lake / file.path
        disk.make_directory(path.parent)
        disk.unlink(path)
        descriptor = disk.create(path)
        try:
            for piece in file.pieces:
                disk.write(descriptor, repository.read("blobs", piece.hash))
        except CorruptError as error:
            if not is_audit(file):
                raise
            notes.append(f"{file.path} of the audit log ends too soon: {error.message}")
        finally:
            disk.sync(descriptor)
            disk.close(descriptor)
        path.chmod(0o600 if file.path in SECRET else file.mode & 0o777)
        disk.sync_directory(path.parent)
    return notes
