"""Root's key pair as a lake keeps it that was given none: made at its server's first start."""

from pathlib import Path

import msgspec

from hosu.kernel.errors import ConflictError, ErrorKind

FILE_NAME = "root.json"


class StoredRoot(msgspec.Struct, frozen=True):
    """Content of the file in the lake's `meta` folder."""

    access_key: str
    secret: str

    def __repr__(self) -> str:
        return f"StoredRoot(access_key={self.access_key!r}, secret=<hidden>)"


def root_file(lake: Path) -> Path:
    """Return where a lake keeps root's key pair."""
    return lake / "meta" / FILE_NAME


def read_root(lake: Path) -> StoredRoot | None:
    """Return the key pair that a lake keeps, None where it keeps none; raises ConflictError CORRUPT_LAKE."""
    path = root_file(lake)
    try:
        return msgspec.json.decode(path.read_bytes(), type=StoredRoot)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise ConflictError(
            ErrorKind.CORRUPT_LAKE,
            f"{path} does not hold root's credentials; set HOSU_ROOT_USER and HOSU_ROOT_PASSWORD",
        ) from error
