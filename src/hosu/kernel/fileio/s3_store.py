"""Where an S3 FileIO keeps its files, the client for it, and what that client's errors mean."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

from obstore import exceptions
from obstore.store import S3Store

from hosu.kernel.errors import (
    AccessDeniedError,
    ErrorKind,
    HosuError,
    InvalidInputError,
    NotFoundError,
    PreconditionFailedError,
    UnavailableError,
    UnsupportedError,
)
from hosu.kernel.fileio.keys import check_path_key
from hosu.kernel.limits import MIB

PART_BYTES: Final = 16 * MIB
"""Bytes per part of a big write: with 10,000 parts, a file written piece by piece reaches 156 GiB."""

PARTS_IN_FLIGHT_MAX: Final = 4
"""Parts under way at once: with one being filled and one waiting, a writer holds at most 96 MiB."""


@dataclass(frozen=True, slots=True)
class S3Place:
    """A bucket of any S3 endpoint, or the part of it below a prefix.

    Without an endpoint this is AWS; without keys the client looks where AWS clients do: environment, web identity,
    instance. `virtual_hosted` puts the bucket into the host name instead of the path.
    """

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str = "us-east-1"
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    virtual_hosted: bool = False
    retries_max: int = 5
    retry_seconds_max: float = 60.0
    request_seconds_max: float = 120.0

    def __post_init__(self) -> None:
        if not self.bucket:
            raise InvalidInputError(ErrorKind.INVALID_SETTING, "an S3 place needs the name of its bucket")
        if self.prefix:
            check_path_key(self.prefix.rstrip("/"))

    def open_store(self) -> S3Store:
        """Return a client for this place; nothing is sent yet."""
        config = {
            "region": self.region,
            "virtual_hosted_style_request": self.virtual_hosted,
            "access_key_id": self.access_key_id,
            "secret_access_key": self.secret_access_key,
            "session_token": self.session_token,
            "endpoint": self._endpoint(),
        }
        return S3Store(
            self.bucket,
            prefix=self.prefix.rstrip("/") or None,
            config={name: value for name, value in config.items() if value is not None},  # type: ignore[arg-type]
            client_options={
                "allow_http": (self.endpoint or "").startswith("http://"),
                "timeout": timedelta(seconds=self.request_seconds_max),
            },
            retry_config={
                "max_retries": self.retries_max,
                "retry_timeout": timedelta(seconds=self.retry_seconds_max),
            },
        )

    def _endpoint(self) -> str | None:
        if self.endpoint is None or not self.virtual_hosted:
            return self.endpoint
        parts = urlsplit(self.endpoint)
        return parts._replace(netloc=f"{self.bucket}.{parts.netloc}").geturl()


@contextmanager
def s3_errors(key: str) -> Iterator[None]:
    """Turn what obstore raises into the errors of the contract."""
    try:
        yield
    except (FileNotFoundError, ValueError, exceptions.BaseError) as error:
        raise _translated(key, error) from error


def is_beyond_the_end(error: exceptions.GenericError) -> bool:
    """Whether the endpoint refused a range because it starts at or past the end."""
    return "416 " in str(error) or "<Code>InvalidRange</Code>" in str(error)


def _translated(key: str, error: Exception) -> HosuError:
    # The lines that follow are the client's own state, for its developers.
    message = str(error).partition("\n\nDebug source:")[0]
    if "NoSuchBucket" in message:
        return NotFoundError(ErrorKind.BUCKET_NOT_FOUND, message, key=key)
    if isinstance(error, FileNotFoundError):
        return NotFoundError(ErrorKind.OBJECT_NOT_FOUND, f"no file {key!r}", key=key)
    if isinstance(error, exceptions.AlreadyExistsError | exceptions.PreconditionError):
        return PreconditionFailedError(ErrorKind.PRECONDITION_FAILED, f"{key!r}: a condition does not hold", key=key)
    if isinstance(error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError):
        return AccessDeniedError(ErrorKind.ACCESS_DENIED, message, key=key)
    if isinstance(error, exceptions.NotSupportedError):
        return UnsupportedError(ErrorKind.UNSUPPORTED, message, key=key)
    if isinstance(error, exceptions.InvalidPathError):
        return UnsupportedError(
            ErrorKind.UNSUPPORTED, f"the bucket holds keys that are not paths, such as 'a//b': {message}", key=key
        )
    if isinstance(error, ValueError):
        return InvalidInputError(ErrorKind.KEY_INVALID, message, key=key)
    return UnavailableError(ErrorKind.STORE_UNAVAILABLE, message, key=key)
