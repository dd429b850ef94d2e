"""Where things are: an object of an endpoint, a path of this machine, or standard input and output."""

import re
from dataclasses import dataclass
from pathlib import Path

from hosu.cli.faults import UsageFault
from hosu.kernel.errors import ErrorKind, InvalidInputError

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://(.*)$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ObjectAddress:
    """A bucket, a key, or a prefix of keys, at a profile's endpoint or at AWS (`profile` None)."""

    profile: str | None
    bucket: str
    key: str = ""

    def __str__(self) -> str:
        root = "s3://" if self.profile is None else f"hosu://{self.profile}/"
        if not self.bucket:
            return root
        return f"{root}{self.bucket}/{self.key}"

    @property
    def is_folder(self) -> bool:
        """Whether the spelling says that names go below this address."""
        return not self.key or self.key.endswith("/")

    @property
    def folder(self) -> "ObjectAddress":
        """The same address as a prefix: `models` becomes `models/`."""
        return self if self.is_folder else self.with_key(f"{self.key}/")

    def with_key(self, key: str) -> "ObjectAddress":
        """Return the address of another key in the same bucket."""
        return ObjectAddress(self.profile, self.bucket, key)

    def child(self, relative: str) -> "ObjectAddress":
        """Return the address of `relative` below this prefix."""
        return self.with_key(self.folder.key + relative)

    @property
    def name(self) -> str:
        """The last segment of the key."""
        return self.key.rstrip("/").rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class LocalAddress:
    """A file or folder of this machine; `is_folder` when it was written with a trailing slash or is one."""

    path: Path
    is_folder: bool = False

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class StreamAddress:
    """Standard input as a source, standard output as a target."""

    def __str__(self) -> str:
        return "-"


Address = ObjectAddress | LocalAddress | StreamAddress


def parse_address(text: str) -> Address:
    """Read an address as people write it; raise UsageFault for a scheme or form that does not exist."""
    if text == "-":
        return StreamAddress()
    if not text or "\0" in text:
        raise UsageFault(f"{text!r} is not an address: write hosu://PROFILE/BUCKET/KEY, s3://BUCKET/KEY or a path")
    match = _SCHEME.match(text)
    if match is None:
        path = Path(text)
        return LocalAddress(path, is_folder=text.endswith("/") or path.is_dir())
    scheme, rest = match.group(1).lower(), match.group(2)
    if scheme == "s3":
        bucket, _, key = rest.partition("/")
        return _checked(ObjectAddress(None, bucket, key), text)
    if scheme == "hosu":
        profile, _, rest = rest.partition("/")
        if not profile:
            raise UsageFault(
                f"{text!r} names no profile: write hosu://PROFILE/BUCKET/KEY (`hosu profile ls` lists them)"
            )
        bucket, _, key = rest.partition("/")
        return _checked(ObjectAddress(profile, bucket, key), text)
    raise UsageFault(
        f"{text!r}: the scheme {scheme!r} is unknown; use hosu://PROFILE/BUCKET/KEY, s3://BUCKET/KEY or a path"
    )


def _checked(address: ObjectAddress, text: str) -> ObjectAddress:
    if address.key and not address.bucket:
        raise UsageFault(f"{text!r} has a key but no bucket: remove the doubled slash before the bucket")
    return address


def parse_object(text: str) -> ObjectAddress:
    """Read an address that must be at an endpoint, such as the argument of `stat`."""
    address = parse_address(text)
    if not isinstance(address, ObjectAddress):
        raise UsageFault(f"{text!r} is not at an S3 endpoint: write hosu://PROFILE/BUCKET/KEY or s3://BUCKET/KEY")
    return address


def parse_bucket(text: str) -> ObjectAddress:
    """Read an address that must be a bucket, with or without a trailing slash."""
    address = parse_object(text)
    if not address.bucket or address.key:
        raise UsageFault(f"{text!r} is not a bucket: write hosu://PROFILE/BUCKET or s3://BUCKET")
    return address


def path_below(root: Path, relative: str) -> Path:
    """Return the file that the key `relative` is stored as below the folder `root`.

    Keys are chosen by whoever can write to the bucket, so a key that would land anywhere else (`..`, an absolute
    path, a segment that the file system drops, a symbolic link that leads out) is refused by name, never bent.
    """
    segments = relative.split("/")
    if "\0" in relative or any(segment in {"", ".", ".."} for segment in segments):
        raise InvalidInputError(
            ErrorKind.KEY_INVALID,
            f"key {relative!r} cannot be a file below {root}: it has an empty, '.', '..' or NUL segment; "
            "copy it alone, to a file name of your choice",
            key=relative,
        )
    path = root.joinpath(*segments)
    if not path.parent.resolve().is_relative_to(root.resolve()):
        raise InvalidInputError(
            ErrorKind.KEY_INVALID,
            f"key {relative!r} leads through a symbolic link out of {root}: remove the link or choose another folder",
            key=relative,
        )
    return path
