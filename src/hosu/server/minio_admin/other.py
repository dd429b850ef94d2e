"""Operations that look at parts hosu does not have, and those it refuses by name."""

from hosu.objects.health import blob_health
from hosu.rules.scrub_times import Number, read_numbers
from hosu.server.http import Response
from hosu.server.minio_admin.call import AdminCall
from hosu.server.minio_admin.errors import AdminError, unsupported


async def heal_status(call: AdminCall) -> Response:
    """Tell how the stored bytes are, and how many the scrub has restored. What does not match is never served."""
    call.authorize()
    found, scrubbed = await call.port.read(lambda view: (blob_health(view), read_numbers(view)))
    states = {"corrupt": found.corrupt, "restored": scrubbed[Number.RESTORED]}
    return call.json(
        {
            "offline_nodes": [],
            "ScannedItemsCount": found.verified,
            "HealDisks": [],
            "sets": [
                {
                    "id": "lake",
                    "pool_index": 0,
                    "set_index": 0,
                    "heal_status": ", ".join(f"{number} {state}" for state, number in states.items() if number) or "ok",
                    "heal_priority": "",
                    "total_objects": found.blobs,
                    "disks": [],
                }
            ],
            "mrf": {},
            "sc_parity": {"STANDARD": 0, "REDUCED_REDUNDANCY": 0},
        }
    )


async def idp_config(call: AdminCall) -> Response:
    """Tell which identity provider is set."""
    call.authorize()
    kind = call.path.rpartition("/")[2]
    is_set = kind == "openid" and bool(call.settings.identity_openid_config_url)
    return await call.sealed([{"type": kind, "name": "_", "enabled": is_set}])


async def ldap(call: AdminCall) -> Response:
    """Refuse what is about a directory's users."""
    call.authorize()
    raise unsupported("LDAP", "make users here, or let an OpenID provider sign them in")


async def tiers(call: AdminCall) -> Response:
    """List tiers: there are none."""
    call.authorize()
    return call.json([])


async def batch_jobs(call: AdminCall) -> Response:
    """List batch jobs: there are none."""
    call.authorize()
    return call.json({"jobs": None})


async def site_replication_info(call: AdminCall) -> Response:
    """Say that no other site is replicated to."""
    call.authorize()
    return call.json({"enabled": False})


async def site_replication_status(call: AdminCall) -> Response:
    """Say that no other site is replicated to."""
    call.authorize()
    return call.json({"Enabled": False})


async def site_replication_change(call: AdminCall) -> Response:
    """Refuse to replicate to another site."""
    call.authorize()
    raise unsupported("site replication", "copy buckets with `hosu sync`")


async def service(call: AdminCall) -> Response:
    """Refuse to restart or stop the server: that is for whoever started it."""
    action = call.optional("action")
    actions = {"restart": "admin:ServiceRestart", "stop": "admin:ServiceStop"}
    if action not in actions:
        call.authorize("admin:ServiceRestart")
        raise AdminError("InvalidArgument", f"action {action!r} is not supported: hosu knows restart and stop")
    call.authorize(actions[action])
    raise unsupported(f"{action} of the server from afar", "use the service manager that started `hosu serve`")


async def update(call: AdminCall) -> Response:
    """Refuse to install another version."""
    call.authorize()
    raise unsupported("an update from afar", "install the new version with pip, and start the server again")
