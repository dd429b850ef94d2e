"""Secrets at rest: sealed under the lake's key, each bound to the access key it belongs to."""

from hosu.identity.names import check_access_key
from hosu.kernel.errors import ConflictError, ErrorKind
from hosu.objects.store import ObjectStore

KEY_NAME = "hosu-identity"
"""Named key that secrets are sealed under. The key service makes it with the first secret."""


class Vault:
    """Seals secrets with the lake's key service, and knows root's name, which nobody else may have."""

    def __init__(self, store: ObjectStore, root_name: str = "") -> None:
        self.root_name = root_name
        self._keys = store.keys

    def __repr__(self) -> str:
        return "<Vault>"

    def seal(self, access_key: str, secret: str) -> bytes:
        """Encrypt the secret of an access key."""
        return self._keys.seal(KEY_NAME, secret.encode(), access_key.encode())

    def unseal(self, access_key: str, sealed: bytes) -> str:
        """Return the secret of an access key; raises CorruptError for one that was changed or moved to another."""
        return self._keys.unseal(KEY_NAME, sealed, access_key.encode()).decode()

    def check_new(self, name: str, what: str = "access key") -> None:
        """Refuse a name that cannot be an access key, or is root's."""
        check_access_key(name, what)
        if name == self.root_name:
            raise ConflictError(ErrorKind.ACCESS_KEY_EXISTS, f"{what} {name!r} is root's: choose another", name=name)
