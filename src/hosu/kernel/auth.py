"""Who asks for what: the one question that every protocol puts before it touches data."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from hosu.kernel.errors import AccessDeniedError, ErrorKind


class Principal(msgspec.Struct, frozen=True):
    """Who makes a request. `name` is what audit and events show; anonymous requests have no access key."""

    name: str
    access_key: str = ""
    is_root: bool = False


ANONYMOUS = Principal("anonymous")
IN_PROCESS = Principal("in-process", is_root=True)
"""Python that opened the lake itself."""


class Context(msgspec.Struct, frozen=True):
    """Circumstances of a request that conditions may look at."""

    source_ip: str = ""
    is_secure: bool = False


class Authorizer(Protocol):
    """Decides whether a principal may do something."""

    def authorize(self, principal: Principal, action: str, resource: str, context: Context) -> None:
        """Return when principal may do action (`s3:GetObject`) on resource (`bucket/key`); else raise."""
        ...


class Keyring(Protocol):
    """Knows access keys: their secrets, and who signs with them."""

    def secrets(self, access_key: str) -> Sequence[str]:
        """Return the secrets valid now: none for an unknown key, two while one replaces the other."""
        ...

    def principal(self, access_key: str) -> Principal:
        """Return who signs with a key that has secrets."""
        ...


class RootKeyring:
    """Knows the lake's root and nobody else."""

    def __init__(self, access_key: str, secret: str) -> None:
        self._root = Principal(access_key, access_key, is_root=True)
        self._secrets = (secret,)

    def secrets(self, access_key: str) -> Sequence[str]:
        """Return root's secret for root's key."""
        return self._secrets if access_key == self._root.access_key else ()

    def principal(self, access_key: str) -> Principal:
        """Return root."""
        assert access_key == self._root.access_key
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
