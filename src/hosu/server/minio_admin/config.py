"""Operations on the configuration: hosu's settings, under the names that MinIO's clients ask for.

Settings are read when the server starts and stay as they are until it stops. So they can be looked at here; setting one
to what it is succeeds, and setting one to anything else is refused with where to set it.
"""

import shlex
from collections.abc import Callable, Mapping
from typing import NamedTuple

from hosu.kernel.settings import ENVIRONMENT, SECRET_SETTINGS, Settings
from hosu.server.http import Response
from hosu.server.minio_admin.call import AdminCall
from hosu.server.minio_admin.errors import AdminError, unsupported

APPLIED = (b"x-minio-config-applied", b"true")
"""Tells clients that no restart is needed."""

HIDDEN = SECRET_SETTINGS | {"lake_key_command", "notify", "root_user"}
"""Settings that are secrets, or could hold one, as the addresses of events' targets may."""

OWN = "hosu"
"""Subsystem that has every setting of hosu under its own name."""


class Key(NamedTuple):
    """One key of a subsystem: what it says, and where it comes from."""

    description: str
    value: Callable[[Settings], str]
    setting: str = ""


class Subsystem(NamedTuple):
    """What clients call a part of the configuration."""

    description: str
    keys: Mapping[str, Key]


def _of(setting: str) -> Callable[[Settings], str]:
    return lambda settings: _text(getattr(settings, setting))


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _always(value: str) -> Callable[[Settings], str]:
    return lambda _: value


_REGION = Key("region that signatures must name; empty accepts any", _of("region"), "region")
_OFF = {"enable": Key("not part of hosu", _always("off"))}

SUBSYSTEMS: Mapping[str, Subsystem] = {
    "api": Subsystem("requests", {"root_access": Key("whether root may sign in", _always("on"))}),
    "audit_webhook": Subsystem("send the audit log elsewhere", _OFF),
    "compression": Subsystem("compress objects", _OFF),
    OWN: Subsystem(
        "all settings of hosu",
        {name: Key(f"setting {name}", _of(name), name) for name in Settings.__struct_fields__ if name not in HIDDEN},
    ),
    "identity_ldap": Subsystem("users of a directory", _OFF),
    "identity_openid": Subsystem(
        "users of an OpenID provider",
        {
            name: Key(f"setting identity_openid_{name}", _of(f"identity_openid_{name}"), f"identity_openid_{name}")
            for name in ("config_url", "client_id", "claim_name", "role_policy")
        },
    ),
    "logger_webhook": Subsystem("send the log elsewhere", _OFF),
    "region": Subsystem("location of the server", {"name": _REGION}),
    "site": Subsystem("name and location of the server", {"name": Key("not used", _always("")), "region": _REGION}),
    "storage_class": Subsystem(
        "redundancy of objects", {name: Key("one copy", _always("EC:0")) for name in ("rrs", "standard")}
    ),
    "subnet": Subsystem(
        "registration with MinIO",
        {name: Key("never registered", _always("")) for name in ("api_key", "license", "proxy")},
    ),
}
"""What can be asked for, by MinIO's names where they mean something here."""

DEFAULTS = Settings()


async def get(call: AdminCall) -> Response:
    """Tell one subsystem as `name key=value …`."""
    call.authorize()
    name = _subsystem_name(call.optional("key"))
    return await call.sealed(_line(name, call.settings).encode())


async def get_all(call: AdminCall) -> Response:
    """Tell all subsystems, one to a line."""
    call.authorize()
    return await call.sealed("".join(_line(name, call.settings) for name in SUBSYSTEMS).encode())


async def describe(call: AdminCall) -> Response:
    """Explain a subsystem's keys, or name all subsystems."""
    call.authorize()
    if not call.optional("subSys"):
        keys = {name: subsystem.description for name, subsystem in SUBSYSTEMS.items()}
        return call.json(_help("", "settings of hosu, by MinIO's names", keys))
    name = _subsystem_name(call.optional("subSys"))
    only = call.optional("key")
    described = {key: found.description for key, found in SUBSYSTEMS[name].keys.items() if only in {"", key}}
    return call.json(_help(name, SUBSYSTEMS[name].description, described))


async def change(call: AdminCall) -> Response:
    """Take settings that say what is already so; refuse the others with where to set them."""
    call.authorize()
    text = _decoded(await call.opened())
    for line in text.splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            _check_same(line, call.settings)
    return _applied(call)


async def reset(call: AdminCall) -> Response:
    """Take a subsystem that has its defaults already; refuse one that was set."""
    call.authorize()
    words = _words(_decoded(await call.opened()))
    name = _subsystem_name(words[0] if words else "")
    for key in words[1:] or SUBSYSTEMS[name].keys:
        found = _key(name, key)
        if found.value(call.settings) != found.value(DEFAULTS):
            raise _fixed(name, key, found)
    return _applied(call)


async def history(call: AdminCall) -> Response:
    """List past changes: there are none, since none can be made here."""
    call.authorize()
    return await call.sealed([])


async def restore(call: AdminCall) -> Response:
    """Refuse to go back to a past change."""
    call.authorize()
    name = call.parameter("restoreId")
    raise AdminError("XMinioConfigError", f"there is no change {name!r} of the configuration", status=404)


def _applied(call: AdminCall) -> Response:
    response = call.answer()
    response.headers.append(APPLIED)
    return response


def _line(name: str, settings: Settings) -> str:
    keys = SUBSYSTEMS[name].keys
    return " ".join([name, *(f"{key}={_quoted(found.value(settings))}" for key, found in keys.items())]) + "\n"


def _quoted(value: str) -> str:
    return f'"{value}"' if " " in value else value


def _help(name: str, description: str, keys: Mapping[str, str]) -> dict[str, object]:
    found = [
        {"key": key, "type": "string", "description": text, "optional": True, "multipleTargets": False}
        for key, text in keys.items()
    ]
    return {"subSys": name, "description": description, "multipleTargets": False, "keysHelp": found}


def _subsystem_name(text: str) -> str:
    name = text.partition(":")[0]
    if name not in SUBSYSTEMS:
        raise AdminError("XMinioConfigError", f"there is no subsystem {name[:80]!r}; there are {', '.join(SUBSYSTEMS)}")
    return name


def _key(subsystem: str, name: str) -> Key:
    keys = SUBSYSTEMS[subsystem].keys
    if name not in keys:
        raise AdminError("XMinioConfigError", f"{subsystem} has no key {name[:80]!r}; it has {', '.join(keys)}")
    return keys[name]


def _check_same(line: str, settings: Settings) -> None:
    words = _words(line)
    name = _subsystem_name(words[0])
    for word in words[1:]:
        key, equals, value = word.partition("=")
        if not equals:
            raise AdminError("XMinioConfigError", f"{name}: {key[:80]!r} has no value: give key=value")
        found = _key(name, key)
        if found.value(settings) != value:
            raise _fixed(name, key, found)


def _fixed(subsystem: str, key: str, found: Key) -> Exception:
    if not found.setting:
        return unsupported(f"setting {subsystem} {key}", "hosu has no such setting")
    variables = [variable for variable, setting in ENVIRONMENT.items() if setting == found.setting]
    also = f" or {variables[0]} in the environment" if variables else ""
    return unsupported(
        f"setting {subsystem} {key} while the server runs",
        f"set {found.setting} in hosu.toml{also}, and start the server again",
    )


def _decoded(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise AdminError("XMinioConfigError", "the configuration is not UTF-8") from error


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError as error:
        raise AdminError("XMinioConfigError", "a quotation in the configuration is not closed") from error
