"""Operations on the named keys of the built-in key service."""

from hosu.server.http import Response
from hosu.server.minio_admin.call import AdminCall


async def create_key(call: AdminCall) -> Response:
    """Make a named key."""
    name = call.parameter("key-id")
    call.authorize(resource=_resource(call, name))
    keys = call.port.store.keys
    keys.require_outside()
    await call.commit(lambda _: keys.create_key(name), name)
    return call.answer()


async def key_status(call: AdminCall) -> Response:
    """Say that a named key can encrypt and decrypt, having tried both; without a name, the one used by default."""
    keys = call.port.store.keys
    name = call.optional("key-id") or keys.default_key
    call.authorize(resource=_resource(call, name))
    keys.require_outside()
    keys.check_exists(name)

    def try_both() -> None:
        keys.unseal(name, keys.seal(name, b"a key at work", b"status"), b"status")

    await call.port.run(try_both)
    return call.json({"key-id": name})


def _resource(call: AdminCall, name: str) -> str:
    """Return what a policy says of a key: kms actions name it, admin ones have no resource."""
    return name if call.action.startswith("kms:") else ""
