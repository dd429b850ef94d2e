"""`hosu key`: access keys of service accounts, and rotation of secrets, in a lake on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hosu.cli import lakes, options
from hosu.cli.faults import UsageFault
from hosu.cli.policy import read_policy

if TYPE_CHECKING:
    from hosu.identity.records import AccessKey

app = typer.Typer(help="Access keys of service accounts.", no_args_is_help=True)

NEVER = "never"

KeyName = Annotated[str, typer.Argument(metavar="KEY", help="The access key.")]
Label = Annotated[str | None, typer.Option("--name", metavar="TEXT", help="A name to find it by.")]
Description = Annotated[str | None, typer.Option("--description", metavar="TEXT", help="What it is for.")]
PolicyFile = Annotated[
    Path | None, typer.Option("--policy", metavar="FILE", help="JSON of a policy that cuts the user's rights.")
]
Expires = Annotated[
    str | None, typer.Option("--expires", metavar="TIME", help="A time, a span such as 30d, or `never`.")
]


def register(typer_app: typer.Typer) -> None:
    """Add the verbs."""
    typer_app.add_typer(app, name="key")


@app.command("create")
def create(
    lake: lakes.Folder,
    user: Annotated[str, typer.Argument(metavar="USER", help="Whose rights it borrows: a user, or root.")],
    access_key: Annotated[str, typer.Option("--access-key", metavar="KEY", help="Generated if left out.")] = "",
    secret_file: lakes.SecretFile = None,
    ask: lakes.Ask = False,
    policy: PolicyFile = None,
    name: Label = None,
    description: Description = None,
    expires: Expires = None,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Make an access key of a user. A generated secret is shown this once."""
    with lakes.opened("key create", lake, json_lines, quiet) as (opened, output):
        given = lakes.read_secret(output, None, secret_file, ask)
        made = opened.keys.create(
            user,
            access_key=access_key,
            secret=given,
            policy="" if policy is None else read_policy(policy),
            name=name or "",
            description=description or "",
            expires_ms=_expiry(expires, opened.store.clock.now_ms()) or 0,
        )
        lakes.say_new_key(output, "key create", made, "created", is_generated=not given)


@app.command("list")
def list_(
    lake: lakes.Folder,
    user: Annotated[str | None, typer.Argument(metavar="USER", help="Only this user's.", show_default=False)] = None,
    sessions: Annotated[bool, typer.Option("--sessions", help="Show temporary credentials too.")] = False,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """List access keys, by user."""
    with lakes.opened("key list", lake, json_lines, quiet) as (opened, output):
        for key in opened.keys.list(user, None if sessions else "service"):
            status = f"{lakes.state(key.is_enabled):<9}" if key.kind == "service" else "session  "
            until = f"  until {lakes.shown_time(key.expires_ms)}" if key.expires_ms else ""
            text = f"{key.access_key:<24} {key.parent:<20} {status} {key.name}{until}"
            output.row({"operation": "key list", **_fields(key)}, text.rstrip())


@app.command("info")
def info(lake: lakes.Folder, key: KeyName, json_lines: options.Json = False, quiet: options.Quiet = False) -> None:
    """Show what is known of an access key, but its secret."""
    with lakes.opened("key info", lake, json_lines, quiet) as (opened, output):
        found = opened.keys.get(key)
        lines = [
            ("access key", found.access_key),
            ("user", found.parent),
            ("kind", found.kind),
            ("status", lakes.state(found.is_enabled)),
            ("name", found.name),
            ("description", found.description),
            ("expires", lakes.shown_time(found.expires_ms) or NEVER),
            ("created", lakes.shown_time(found.created_ms)),
            ("policy", "all of the user's" if not found.policy else " ".join(found.policy.split())),
        ]
        lakes.say_record(output, {"operation": "key info", **_fields(found), "policy": found.policy}, lines)


@app.command("edit")
def edit(
    lake: lakes.Folder,
    key: KeyName,
    policy: PolicyFile = None,
    all_rights: Annotated[bool, typer.Option("--no-policy", help="Give it all of the user's rights.")] = False,
    name: Label = None,
    description: Description = None,
    expires: Expires = None,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Change what is given of an access key; `hosu key rotate` changes its secret."""
    with lakes.opened("key edit", lake, json_lines, quiet) as (opened, output):
        if policy is not None and all_rights:
            raise UsageFault("--policy and --no-policy exclude each other: give one")
        if policy is None and not all_rights and name is None and description is None and expires is None:
            raise UsageFault("nothing to change: give --policy, --no-policy, --name, --description or --expires")
        text = "" if all_rights else None if policy is None else read_policy(policy)
        expires_ms = _expiry(expires, opened.store.clock.now_ms())
        found = opened.keys.edit(key, policy=text, name=name, description=description, expires_ms=expires_ms)
        output.event({"operation": "key edit", **_fields(found)}, f"changed {key}")


@app.command("enable")
def enable(lake: lakes.Folder, key: KeyName, json_lines: options.Json = False, quiet: options.Quiet = False) -> None:
    """Let an access key in again."""
    with lakes.opened("key enable", lake, json_lines, quiet) as (opened, output):
        opened.keys.enable(key)
        output.event({"operation": "key enable", "access_key": key}, f"enabled {key}")


@app.command("disable")
def disable(lake: lakes.Folder, key: KeyName, json_lines: options.Json = False, quiet: options.Quiet = False) -> None:
    """Refuse an access key from now on."""
    with lakes.opened("key disable", lake, json_lines, quiet) as (opened, output):
        opened.keys.disable(key)
        output.event({"operation": "key disable", "access_key": key}, f"disabled {key}")


@app.command("rm")
def remove(lake: lakes.Folder, key: KeyName, json_lines: options.Json = False, quiet: options.Quiet = False) -> None:
    """Remove an access key, or end a session."""
    with lakes.opened("key rm", lake, json_lines, quiet) as (opened, output):
        opened.keys.remove(key)
        output.event({"operation": "key rm", "access_key": key}, f"removed {key}")


@app.command("rotate")
def rotate(
    lake: lakes.Folder,
    key: Annotated[str, typer.Argument(metavar="KEY", help="An access key, or the name of a user.")],
    secret_file: lakes.SecretFile = None,
    ask: lakes.Ask = False,
    overlap: Annotated[
        str, typer.Option("--overlap", metavar="TIME", help="How long the old secret goes on, such as 24h.")
    ] = "0s",
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Give an access key or a user another secret; both are valid for the overlap."""
    with lakes.opened("key rotate", lake, json_lines, quiet) as (opened, output):
        overlap_ms = lakes.parse_span(overlap, "--overlap")
        given = lakes.read_secret(output, None, secret_file, ask)
        made = opened.keys.rotate(key, given, overlap_ms=overlap_ms)
        lakes.say_new_key(output, "key rotate", made, "rotated", is_generated=not given)
        if overlap_ms:
            output.note(f"the old secret goes on for {overlap}")


def _expiry(text: str | None, now_ms: int) -> int | None:
    """Return when a key expires in milliseconds since 1970, 0 for never, None where nothing was said."""
    if text is None:
        return None
    if text == NEVER:
        return 0
    return lakes.parse_moment(text, "--expires", now_ms, is_past=False)


def _fields(key: "AccessKey") -> dict[str, object]:
    return {
        "access_key": key.access_key,
        "user": key.parent,
        "kind": key.kind,
        "enabled": key.is_enabled,
        "name": key.name,
        "description": key.description,
        "expires": lakes.shown_time(key.expires_ms),
        "created": lakes.shown_time(key.created_ms),
        "has_policy": bool(key.policy),
    }
