"""Places outside of a lake where second copies and backups are kept: a folder on another disk, or any S3.

A place is written as a folder's absolute path, or as `s3://bucket/prefix?endpoint=https://host:port&region=…`. Keys of
an S3 place come from the environment (`HOSU_BACKUP_ACCESS_KEY`, `HOSU_BACKUP_SECRET_KEY`, `HOSU_BACKUP_SESSION_TOKEN`),
else from where AWS clients look; a place never holds them itself, so it may stand in rules, logs and errors.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

from hosu.kernel.clock import Clock
from hosu.kernel.disk import RealDisk
from hosu.kernel.errors import ConflictError, ErrorKind, HosuError, InvalidInputError, UnavailableError
from hosu.kernel.fileio import FileIO, FolderFileIO
from hosu.kernel.fileio.keys import check_path_key
from hosu.objects.database import connect
from hosu.objects.views import View

S3_SCHEME: Final = "s3://"
ACCESS_KEY, SECRET_KEY, SESSION_TOKEN = (
    "HOSU_BACKUP_ACCESS_KEY",
    "HOSU_BACKUP_SECRET_KEY",
    "HOSU_BACKUP_SESSION_TOKEN",
)
OPTIONS: Final = ("endpoint", "region", "virtual_hosted")
PROBE_PREFIX: Final = "hosu-probe-"
PROBE_BYTES: Final = 32


def open_location(text: str, *, store_path: Path | None, clock: Clock | None = None) -> FileIO:
    """Return the files of a place that exists; `store_path` is None where there is no lake to lie in.

    Nothing is sent to an S3 place yet.

    Raises InvalidInputError LOCATION_INVALID for what is no place or lies in the lake at `store_path`,
    UnavailableError STORE_UNAVAILABLE for a folder that is not there, as when its disk is not mounted.
    """
    if text.startswith(S3_SCHEME):
        return _open_s3(text, clock)
    folder = _folder(text)
    if store_path is not None:
        _refuse_inside(text, folder, store_path)
    if not folder.is_dir():
        raise UnavailableError(
            ErrorKind.STORE_UNAVAILABLE, f"location {text!r} is not there: mount its disk, or make the folder"
        )
    return FolderFileIO(folder, clock=clock, is_private=True)


def check_location(text: str, lake_path: Path) -> FileIO:
    """Return the files of a place that is fit for copies of the lake, after writing, reading and removing a file there.

    A folder is made if its parent is there. Raises InvalidInputError LOCATION_INVALID for what is no place, cannot be
    made, or lies in the lake itself, by whatever name; what the place answers to the probe goes through. Blocks on the
    network, and asks the lake's database: never call it from a transaction.
    """
    if not text.startswith(S3_SCHEME):
        _make_folder(text, _folder(text), lake_path)
    files = open_location(text, store_path=lake_path)
    marker = PROBE_PREFIX + uuid4().hex
    body = os.urandom(PROBE_BYTES)
    files.put(marker, body)
    try:
        if files.read(marker) != body:
            raise ConflictError(
                ErrorKind.LOCATION_INVALID, f"location {text!r} does not give back what was written there: use another"
            )
        if _is_in_lake((marker, f"{urlsplit(text).path.strip('/')}/{marker}"), lake_path):
            raise InvalidInputError(
                ErrorKind.LOCATION_INVALID,
                f"location {text!r} is this lake itself: a copy there is lost with it; name another disk or server",
                location=text,
            )
    finally:
        with contextlib.suppress(HosuError):
            files.delete_many([marker])
    return files


def _folder(text: str) -> Path:
    folder = Path(text)
    if not text or "\0" in text or not folder.is_absolute():
        raise _invalid(text, "is neither an absolute path nor s3://bucket/prefix?endpoint=…")
    return folder


def _make_folder(text: str, folder: Path, lake_path: Path) -> None:
    _refuse_inside(text, folder, lake_path)
    if folder.is_dir():
        return
    if folder.exists() or folder.is_symlink():
        raise _invalid(text, "is not a folder")
    if not folder.parent.is_dir():
        raise _invalid(text, f"cannot be made: there is no folder {os.fspath(folder.parent)!r}; make it, or mount it")
    disk = RealDisk()
    try:
        disk.make_directory(folder)
        folder.chmod(0o700)
        disk.sync_directory(folder.parent)
    except OSError as error:
        raise _invalid(text, f"cannot be made: {error.strerror}") from error


def _refuse_inside(text: str, folder: Path, lake_path: Path) -> None:
    """Refuse a folder in the lake or around it, whichever links, mounts or dots lead there."""
    resolved = Path(os.path.realpath(folder))
    above = list(_identities((resolved, *resolved.parents)))
    if not set(above).isdisjoint(_identities(_lake_folders(lake_path))):
        raise _invalid(text, f"lies in the lake {os.fspath(lake_path)!r}: a copy there goes with it; use another disk")
    lake = Path(os.path.realpath(lake_path))
    if above and resolved.is_dir() and above[0] in set(_identities(lake.parents)):
        raise _invalid(text, f"holds the lake {os.fspath(lake_path)!r}: name a folder of its own, on another disk")


def _lake_folders(lake_path: Path) -> Iterator[Path]:
    yield lake_path
    blobs = os.path.join(lake_path, "blobs")  # noqa: PTH118 - as os.walk joins
    for root, names, _ in os.walk(lake_path, followlinks=False):
        for name in names:
            yield Path(root, name)
        if root == blobs:
            names.clear()  # below are files alone, perhaps millions, and whoever opens a location waits for this


def _identities(paths: Iterable[Path]) -> Iterator[tuple[int, int]]:
    for path in paths:
        with contextlib.suppress(OSError):
            facts = path.stat()
            yield facts.st_dev, facts.st_ino


def _is_in_lake(keys: Iterable[str], lake_path: Path) -> bool:
    """Say whether a file just written to a place has turned up as an object of the lake, in whichever bucket."""
    database = lake_path / "meta" / "lake.db"
    if not database.exists():
        return False
    statement = "SELECT EXISTS (SELECT 1 FROM bucket JOIN object ON bucket_id = bucket.id AND key = ?)"
    with contextlib.closing(connect(database, RealDisk())) as connection:
        view = View(connection, 0)
        return any(view.value(statement, (key,)) for key in keys)


def _open_s3(text: str, clock: Clock | None) -> FileIO:
    from hosu.kernel.fileio import S3FileIO, S3Place  # noqa: PLC0415 - the client costs start-up time of every process

    parts = urlsplit(text)
    if "@" in parts.netloc:
        shown = f"{S3_SCHEME}…@{parts.netloc.rpartition('@')[2]}{parts.path}"
        raise _invalid(shown, f"holds keys: give them as {ACCESS_KEY} and {SECRET_KEY} in the environment")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = sorted(set(options) - set(OPTIONS))
    if unknown or parts.fragment:
        name = unknown[0] if unknown else "#"
        raise _invalid(text.partition("?")[0], f"has an option {name!r}; there are {', '.join(OPTIONS)}")
    endpoint = options.get("endpoint") or None
    if endpoint is not None and not endpoint.startswith(("http://", "https://")):
        raise _invalid(text, "has an endpoint that is no http or https URL")
    if endpoint is not None and "@" in urlsplit(endpoint).netloc:
        raise _invalid(text.partition("?")[0], f"holds keys: give them as {ACCESS_KEY} and {SECRET_KEY} instead")
    if options.get("virtual_hosted", "false") not in {"true", "false"}:
        raise _invalid(text, "has virtual_hosted neither true nor false")
    prefix = parts.path.strip("/")
    if not parts.netloc:
        raise _invalid(text, "names no bucket")
    if prefix:
        check_path_key(prefix)
    access_key, secret_key = os.environ.get(ACCESS_KEY), os.environ.get(SECRET_KEY)
    if bool(access_key) != bool(secret_key):
        raise _invalid(text, f"needs both {ACCESS_KEY} and {SECRET_KEY} in the environment, or neither")
    place = S3Place(
        bucket=parts.netloc,
        prefix=prefix,
        endpoint=endpoint,
        region=options.get("region") or "us-east-1",
        access_key_id=access_key or None,
        secret_access_key=secret_key or None,
        session_token=os.environ.get(SESSION_TOKEN) or None,
        virtual_hosted=options.get("virtual_hosted") == "true",
        retries_max=3,
        retry_seconds_max=20.0,
    )
    return S3FileIO(place, clock=clock)


def _invalid(text: str, why: str) -> InvalidInputError:
    return InvalidInputError(ErrorKind.LOCATION_INVALID, f"location {text!r} {why}", location=text)
