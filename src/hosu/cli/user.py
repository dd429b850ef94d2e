"""`hosu user`: those who may ask, in a lake on this machine, beside its server or without one."""

from pathlib import Path
from typing import Annotated

import typer

from hosu.cli import lakes, options
from hosu.cli.faults import UsageFault

app = typer.Typer(help="Users of a lake.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The user's name, which is its access key.")]
NAME_CHARACTERS = 24


def register(typer_app: typer.Typer) -> None:
    """Add the verbs."""
    typer_app.add_typer(app, name="user")


@app.command("add")
def add(
    lake: lakes.Folder,
    name: Name,
    secret: Annotated[
        str | None, typer.Argument(metavar="SECRET", help="Generated if left out.", show_default=False)
    ] = None,
    secret_file: lakes.SecretFile = None,
    ask: lakes.Ask = False,
    policies: Annotated[
        list[str] | None, typer.Option("--policy", metavar="NAME", help="Attach this policy; repeatable.")
    ] = None,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Make a user, or give one that is there another secret. A generated secret is shown this once."""
    with lakes.opened("user add", lake, json_lines, quiet) as (opened, output):
        given = lakes.read_secret(output, secret, secret_file, ask)
        made = opened.users.add(name, given, policies=policies or ())
        lakes.say_new_key(output, "user add", made, "added", is_generated=not given)


@app.command("list")
def list_(lake: lakes.Folder, json_lines: options.Json = False, quiet: options.Quiet = False) -> None:
    """List users with their policies."""
    with lakes.opened("user list", lake, json_lines, quiet) as (opened, output):
        for user in opened.users.list():
            fields = {
                "operation": "user list",
                "name": user.name,
                "enabled": user.is_enabled,
                "policies": user.policies,
                "groups": user.groups,
            }
            text = f"{user.name:<{NAME_CHARACTERS}} {lakes.state(user.is_enabled):<9} {lakes.listed(user.policies)}"
            output.row(fields, text.rstrip())


@app.command("info")
def info(lake: lakes.Folder, name: Name, json_lines: options.Json = False, quiet: options.Quiet = False) -> None:
    """Show a user: policies, groups, service accounts."""
    with lakes.opened("user info", lake, json_lines, quiet) as (opened, output):
        user = opened.users.get(name)
        keys = [key.access_key for key in opened.keys.list(name, "service")]
        inherited = {group: opened.groups.get(group).policies for group in user.groups}
        fields = {
            "operation": "user info",
            "name": user.name,
            "enabled": user.is_enabled,
            "policies": user.policies,
            "groups": user.groups,
            "group_policies": inherited,
            "keys": keys,
            "has_password": user.has_password,
            "updated": lakes.shown_time(user.updated_ms),
        }
        lines = [
            ("name", user.name),
            ("status", lakes.state(user.is_enabled)),
            ("policies", lakes.listed(user.policies)),
            *(("group", f"{group}: {lakes.listed(held) or 'no policies'}") for group, held in inherited.items()),
            ("keys", lakes.listed(keys)),
            ("password", "set" if user.has_password else "none"),
            ("updated", lakes.shown_time(user.updated_ms)),
        ]
        lakes.say_record(output, fields, lines)


@app.command("enable")
def enable(lake: lakes.Folder, name: Name, json_lines: options.Json = False, quiet: options.Quiet = False) -> None:
    """Let a user in again."""
    with lakes.opened("user enable", lake, json_lines, quiet) as (opened, output):
        opened.users.enable(name)
        output.event({"operation": "user enable", "name": name}, f"enabled {name}")


@app.command("disable")
def disable(lake: lakes.Folder, name: Name, json_lines: options.Json = False, quiet: options.Quiet = False) -> None:
    """Refuse a user, with its service accounts and sessions, from now on."""
    with lakes.opened("user disable", lake, json_lines, quiet) as (opened, output):
        opened.users.disable(name)
        output.event({"operation": "user disable", "name": name}, f"disabled {name}")


@app.command("rm")
def remove(lake: lakes.Folder, name: Name, json_lines: options.Json = False, quiet: options.Quiet = False) -> None:
    """Remove a user with its service accounts and sessions."""
    with lakes.opened("user rm", lake, json_lines, quiet) as (opened, output):
        opened.users.remove(name)
        output.event({"operation": "user rm", "name": name}, f"removed {name}")


@app.command("password")
def password(
    lake: lakes.Folder,
    name: Name,
    password_file: Annotated[
        Path | None,
        typer.Option("--password-file", metavar="FILE", help="Read it from a file; `-` is standard input."),
    ] = None,
    is_removed: Annotated[bool, typer.Option("--remove", help="Take the password away.")] = False,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Set the password a user signs in to the console with; it is asked for unless a file holds it."""
    with lakes.opened("user password", lake, json_lines, quiet) as (opened, output):
        if is_removed and password_file is not None:
            raise UsageFault("--remove and --password-file exclude each other: give one")
        opened.users.get(name)  # before anybody types
        given = "" if is_removed else lakes.read_secret(output, None, password_file, password_file is None, "password")
        opened.users.set_password(name, given)
        done = "removed" if is_removed else "set"
        output.event({"operation": "user password", "name": name, "password": done}, f"password of {name} {done}")
