"""Who asks for what: the one question that every protocol puts before it touches data."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from hosu.kernel.errors import AccessDeniedError, ErrorKind


class Principal(msgspec.Struct, frozen=True):
    """Who makes a request. `name` is what audit and events show; anonymous requests have no access key.

    `parent` is the user whose rights a service account or a session borrows. Those who hand out principals may
    subclass this with what their `Authorizer` needs to decide.
    """

    name: str
    access_key: str = ""
    is_root: bool = False
    parent: str = ""


ANONYMOUS = Principal("anonymous")
IN_PROCESS = Principal("in-process", is_root=True)
"""Python that opened the lake itself."""


class Context:
    """Circumstances of a request that conditions may look at; this one has none."""

    __slots__ = ()

    def values(self, name: str) -> Sequence[str]:
        """Return the values of a condition key, named in lower case (`aws:sourceip`); none where it is absent.

        Asked only for keys that a policy in question mentions, so that what is dear to find out is rarely found out.
        """
        del name
        return ()


class FixedContext(Context):
    """Circumstances known beforehand, by condition key in lower case."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Sequence[str]]) -> None:
        self._values = values

    def values(self, name: str) -> Sequence[str]:
        """Return the values of a condition key."""
        return self._values.get(name, ())


NO_CONTEXT = Context()


class Authorizer(Protocol):
    """Decides whether a principal may do something."""

    def authorize(self, principal: Principal, action: str, resource: str, context: Context) -> None:
        """Return when principal may do action (`s3:GetObject`) on resource (`bucket/key`); else raise.

        A resource is what follows `arn:aws:s3:::`; it is empty for actions on the whole service.
        """
        ...


class Keyring(Protocol):
    """Knows access keys: their secrets, and who signs with them."""

    def secrets(self, access_key: str) -> Sequence[str]:
        """Return the secrets valid now: none for an unknown key, two while one replaces the other."""
        ...

    def principal(self, access_key: str, token: str | None) -> Principal:
        """Return who signs with a key that has secrets, and brought this session token or none.

        Raises AccessDeniedError of kind SESSION_TOKEN_INVALID when the key needs another token, or none.
        """
        ...


class RootKeyring:
    """Knows the lake's root and nobody else."""

    def __init__(self, access_key: str, secret: str) -> None:
        self._root = Principal(access_key, access_key, is_root=True)
        self._secrets = (secret,)

    def secrets(self, access_key: str) -> Sequence[str]:
        """Return root's secret for root's key."""
        return self._secrets if access_key == self._root.access_key else ()

    def principal(self, access_key: str, token: str | None) -> Principal:
        """Return root, whose key comes without a token."""
        assert access_key == self._root.access_key
        if token:
            raise token_error()
        return self._root


class RootOnly:
    """Root may do everything, anyone else nothing."""

    def authorize(self, principal: Principal, action: str, resource: str, context: Context) -> None:
        """Refuse everyone but root."""
        del context
        if not principal.is_root:
            raise AccessDeniedError(
                ErrorKind.ACCESS_DENIED, f"{principal.name} may not {action} on {resource}", action=action
            )


def token_error() -> AccessDeniedError:
    """Return the error for a session token that does not belong to the access key, or is missing."""
    return AccessDeniedError(
        ErrorKind.SESSION_TOKEN_INVALID,
        "the session token does not belong to this access key: send the one issued with it, or none",
    )
