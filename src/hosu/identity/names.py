"""Names and secrets: which are allowed, and where new ones come from."""

import secrets
import string

from hosu.kernel.errors import ErrorKind, InvalidInputError

ACCESS_KEY_CHARACTERS_MIN, ACCESS_KEY_CHARACTERS_MAX = 3, 128
SECRET_CHARACTERS_MIN, SECRET_CHARACTERS_MAX = 8, 128
NAME_CHARACTERS_MAX = 128
TEXT_CHARACTERS_MAX = 256
"""Longest name or description of a key: they are shown in listings."""

NEW_ACCESS_KEY_CHARACTERS, NEW_SECRET_CHARACTERS = 20, 40
TOKEN_BYTES = 48

_TAKEN = frozenset({"anonymous", "in-process"})
"""Audit and events show these names for what has no name of its own."""

_FORBIDDEN = '/,=*?:"\\'
"""Characters that mean something in signatures, lists of names, ARNs or patterns."""

_KEY_ALPHABET = string.ascii_uppercase + string.digits
_SECRET_ALPHABET = string.ascii_letters + string.digits


def check_access_key(name: str, what: str = "access key") -> None:
    """Refuse what cannot be an access key, nor so the name of a user."""
    _check_length(name, what, ACCESS_KEY_CHARACTERS_MIN, ACCESS_KEY_CHARACTERS_MAX)
    _check_characters(name, what)
    if name in _TAKEN:
        raise InvalidInputError(
            ErrorKind.IDENTITY_NAME_INVALID, f"{what} {name!r} means something else in logs: choose another", name=name
        )


def check_name(name: str, what: str) -> None:
    """Refuse what cannot be the name of a group or a policy."""
    _check_length(name, what, 1, NAME_CHARACTERS_MAX)
    _check_characters(name, what)


def check_secret(secret: str, what: str = "secret") -> None:
    """Refuse a secret that is too short, too long or cannot be typed. The message does not show it."""
    if not SECRET_CHARACTERS_MIN <= len(secret) <= SECRET_CHARACTERS_MAX:
        raise InvalidInputError(
            ErrorKind.SECRET_INVALID,
            f"the {what} has {len(secret)} characters: give {SECRET_CHARACTERS_MIN} to {SECRET_CHARACTERS_MAX}",
        )
    if not secret.isprintable() or any("\ud800" <= character <= "\udfff" for character in secret):
        raise InvalidInputError(ErrorKind.SECRET_INVALID, f"the {what} has control characters: give printable ones")


def check_text(text: str, what: str) -> None:
    """Refuse a name or description of a key that listings could not show."""
    if len(text) > TEXT_CHARACTERS_MAX or not text.isprintable():
        raise InvalidInputError(
            ErrorKind.INVALID_ARGUMENT, f"{what} {text[:40]!r}: give up to {TEXT_CHARACTERS_MAX} printable characters"
        )


def new_access_key() -> str:
    """Return a random access key: 20 upper-case letters and digits."""
    return "".join(secrets.choice(_KEY_ALPHABET) for _ in range(NEW_ACCESS_KEY_CHARACTERS))


def new_secret() -> str:
    """Return a random secret: 40 letters and digits, 238 bits."""
    return "".join(secrets.choice(_SECRET_ALPHABET) for _ in range(NEW_SECRET_CHARACTERS))


def new_token() -> str:
    """Return a random session token: 64 characters, 384 bits."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def _check_length(name: str, what: str, least: int, most: int) -> None:
    if not least <= len(name) <= most:
        raise InvalidInputError(
            ErrorKind.IDENTITY_NAME_INVALID,
            f"{what} {name[:40]!r} has {len(name)} characters: give {least} to {most}",
            name=name[:NAME_CHARACTERS_MAX],
        )


def _check_characters(name: str, what: str) -> None:
    # What can be printed has no control characters and no half of a surrogate pair.
    bad = [character for character in name if character in _FORBIDDEN or not character.isprintable()]
    if bad or name != name.strip():
        shown = repr(bad[0]) if bad else "a space at an end"
        raise InvalidInputError(
            ErrorKind.IDENTITY_NAME_INVALID, f"{what} {name!r} holds {shown}, which names cannot have", name=name
        )
