"""Names of keys."""

import re

from hosu.kernel.errors import ErrorKind, InvalidInputError

OWN_PREFIX = "hosu-"
"""Keys with such names are the lake's own, made at first need."""

KEY_NAME_CHARACTERS_MAX = 80
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def check_key_name(name: str) -> None:
    """Refuse what cannot be the name of a key."""
    if len(name) > KEY_NAME_CHARACTERS_MAX or not _NAME.fullmatch(name):
        raise InvalidInputError(
            ErrorKind.NAMED_KEY_INVALID,
            f"key name {name[: KEY_NAME_CHARACTERS_MAX + 1]!r} is not allowed: give up to {KEY_NAME_CHARACTERS_MAX} "
            "letters, digits, '.', '_' and '-', the first a letter or digit",
        )
