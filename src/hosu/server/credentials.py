"""Root's credentials: given by the operator, or generated once and kept in the lake for its owner's eyes only."""

import os
import secrets
from pathlib import Path
from typing import NamedTuple

import msgspec

from hosu.kernel.root import StoredRoot, read_root, root_file
from hosu.kernel.settings import Settings

ACCESS_KEY_CHARACTERS = 20
SECRET_BYTES = 30
MINIO_DEFAULT = ("minioadmin", "minioadmin")


class RootCredentials(NamedTuple):
    """Root's key pair; whether it was made just now, so that it must be shown once; and the file it is kept in."""

    access_key: str
    secret: str
    is_new: bool
    file: Path | None = None


def root_credentials(lake: Path, settings: Settings, *, default: tuple[str, str] | None = None) -> RootCredentials:
    """Return root's credentials: the operator's, else the lake's own, else `default`, else new ones, kept."""
    if settings.root_user:
        return RootCredentials(settings.root_user, settings.root_password, is_new=False)
    path, stored = root_file(lake), read_root(lake)
    if stored is not None:
        return RootCredentials(stored.access_key, stored.secret, is_new=False, file=path)
    if default is not None:
        return RootCredentials(*default, is_new=False)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    access_key = "".join(secrets.choice(alphabet) for _ in range(ACCESS_KEY_CHARACTERS))
    secret = secrets.token_urlsafe(SECRET_BYTES)
    _write(path, StoredRoot(access_key, secret))
    return RootCredentials(access_key, secret, is_new=True, file=path)


def _write(path: Path, stored: StoredRoot) -> None:
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(stored) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(directory)
    os.close(directory)
