"""The lake key: the one secret outside of a lake that everything sealed inside of it depends on.

It comes from a file, a variable of the environment or a command, never from `hosu.toml` or anything else in the
lake's folder: whoever takes the folder has not taken the key.
"""

import base64
import binascii
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

import msgspec

from hosu.kernel.errors import ErrorKind, InvalidInputError
from hosu.kernel.sealing import KEY_BYTES, derive, seal, unseal
from hosu.kernel.settings import Settings

KEY_VARIABLE = "HOSU_LAKE_KEY"
MINIO_VARIABLE = "MINIO_KMS_SECRET_KEY"
MINIO_FILE_VARIABLE = "MINIO_KMS_SECRET_KEY_FILE"
VARIABLES = (KEY_VARIABLE, MINIO_VARIABLE, MINIO_FILE_VARIABLE)
"""Variables that hold or name a lake key beside those of the settings; nothing that a server starts is given them."""

FILE_BYTES_MAX = 4096
COMMAND_S_MAX = 60
FINGERPRINT_DIGITS = 32


class LakeKey(msgspec.Struct, frozen=True, dict=True):
    """A lake key. `key_name` is what MinIO's spelling calls the default named key; empty in any other."""

    secret: bytes
    key_name: str = ""

    def __post_init__(self) -> None:
        if len(self.secret) != KEY_BYTES:
            raise InvalidInputError(
                ErrorKind.INVALID_SETTING, f"a lake key has {KEY_BYTES} bytes, not {len(self.secret)}"
            )

    def __repr__(self) -> str:
        return f"LakeKey(fingerprint={self.fingerprint!r})"

    def __rich_repr__(self) -> Iterator[tuple[str, str]]:  # type: ignore[override]
        yield "fingerprint", self.fingerprint

    @cached_property
    def fingerprint(self) -> str:
        """What tells this key from others, and may be shown: hexadecimal digits from which the key does not follow."""
        return derive(self.secret, "hosu: fingerprint of a lake key").hex()[:FINGERPRINT_DIGITS]

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """Seal a named key."""
        return seal(self.secret, key, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Return a named key. Raises CorruptError when it was wrapped by another lake key, or has changed."""
        return unseal(self.secret, wrapped, context)


def load_lake_key(settings: Settings, environment: Mapping[str, str], lake: Path | None = None) -> LakeKey | None:
    """Return the lake key that an operator has configured, None where there is none.

    A command is run here, once. Raises InvalidInputError INVALID_SETTING when several sources are configured, when
    one cannot be read or does not hold a key, and when the file lies within the folder `lake`.
    """
    sources = {
        KEY_VARIABLE: environment.get(KEY_VARIABLE, ""),
        "lake_key_file": settings.lake_key_file,
        "lake_key_command": settings.lake_key_command,
        MINIO_VARIABLE: environment.get(MINIO_VARIABLE, ""),
        MINIO_FILE_VARIABLE: environment.get(MINIO_FILE_VARIABLE, ""),
    }
    given = [name for name, value in sources.items() if value]
    if not given:
        return None
    if len(given) > 1:
        raise _refused(f"the lake key comes from {' and '.join(given)}: configure one of them")
    name, value = given[0], sources[given[0]]
    if name == "lake_key_file":
        return LakeKey(decode_key(_read_file(name, value, lake), name))
    if name == "lake_key_command":
        return LakeKey(decode_key(_run(value), name))
    if name == MINIO_FILE_VARIABLE:
        return _decode_minio(_read_file(name, value, lake).decode("utf-8", "replace"), name)
    return LakeKey(decode_key(value.encode(), name)) if name == KEY_VARIABLE else _decode_minio(value, name)


def decode_key(text: bytes, source: str) -> bytes:
    """Return the 32 bytes of a key in base64 or hexadecimal, or as they are. Errors name the source, never the text."""
    if len(text) == KEY_BYTES and not text.isascii():
        return text
    bare = text.strip()
    if len(bare) == 2 * KEY_BYTES:
        try:
            return bytes.fromhex(bare.decode("ascii"))
        except ValueError:
            pass
    try:
        padded = bare.rstrip(b"=") + b"=" * (-len(bare.rstrip(b"=")) % 4)
        key = base64.b64decode(padded, altchars=b"-_" if b"-" in padded or b"_" in padded else None, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) == KEY_BYTES:
        return key
    if len(text) == KEY_BYTES:
        return text
    raise _refused(
        f"{source} does not hold a lake key: give 32 bytes in base64 or hexadecimal (openssl rand -base64 32)"
    )


def encode_key(secret: bytes) -> bytes:
    """Return a key as its file holds it."""
    return base64.b64encode(secret) + b"\n"


def _decode_minio(text: str, source: str) -> LakeKey:
    key_name, colon, encoded = text.strip().partition(":")
    if not colon or not key_name:
        raise _refused(f"{source} does not hold a key as MinIO spells it: give NAME:BASE64")
    return LakeKey(decode_key(encoded.encode(), source), key_name)


def _read_file(source: str, name: str, lake: Path | None) -> bytes:
    path = Path(name)
    if lake is not None and path.resolve().is_relative_to(lake.resolve()):
        raise _refused(f"{source} {name} is within the lake's folder, and would be lost and taken with it: move it out")
    try:
        with path.open("rb") as file:
            return file.read(FILE_BYTES_MAX)
    except OSError as error:
        raise _refused(f"{source} {name} cannot be read: {error.strerror}") from error


def _run(command: str) -> bytes:
    try:
        done = subprocess.run(  # noqa: S603 - the operator's own command
            shlex.split(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False, timeout=COMMAND_S_MAX
        )
    except (OSError, ValueError, IndexError) as error:
        raise _refused(f"lake_key_command cannot be run: {error}") from None
    except subprocess.TimeoutExpired:
        raise _refused(f"lake_key_command has not ended after {COMMAND_S_MAX} s") from None
    if done.returncode != 0:
        raise _refused(f"lake_key_command ended with status {done.returncode}")
    return done.stdout


def _refused(message: str) -> InvalidInputError:
    return InvalidInputError(ErrorKind.INVALID_SETTING, message)
