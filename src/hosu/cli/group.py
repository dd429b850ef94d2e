"""`hosu group`: users that share policies, in a lake on this machine."""

from typing import Annotated

import typer

from hosu.cli import lakes, options

app = typer.Typer(help="Groups of users.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="GROUP", help="Name of the group.")]


def register(typer_app: typer.Typer) -> None:
    """Add the verbs."""
    typer_app.add_typer(app, name="group")


@app.command("add")
def add(
    lake: lakes.Folder,
    name: Name,
    members: Annotated[list[str], typer.Argument(metavar="USER...", help="Users to put in.")],
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Put users into a group, which is made when it is not there."""
    with lakes.opened("group add", lake, json_lines, quiet) as (opened, output):
        opened.groups.add(name, members)
        fields = {"operation": "group add", "name": name, "members": members}
        output.event(fields, f"added {lakes.listed(members)} to {name}")


@app.command("rm")
def remove(
    lake: lakes.Folder,
    name: Name,
    members: Annotated[
        list[str] | None,
        typer.Argument(metavar="USER...", help="Users to take out; else the group goes.", show_default=False),
    ] = None,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Take users out of a group; without users, remove the group, which must be empty."""
    with lakes.opened("group rm", lake, json_lines, quiet) as (opened, output):
        fields = {"operation": "group rm", "name": name, "members": members or []}
        if members:
            opened.groups.remove_members(name, members)
            output.event(fields, f"removed {lakes.listed(members)} from {name}")
        else:
            opened.groups.remove(name)
            output.event(fields, f"removed {name}")


@app.command("list")
def list_(lake: lakes.Folder, json_lines: options.Json = False, quiet: options.Quiet = False) -> None:
    """List groups."""
    with lakes.opened("group list", lake, json_lines, quiet) as (opened, output):
        for name in opened.groups.list():
            output.row({"operation": "group list", "name": name}, name)


@app.command("info")
def info(lake: lakes.Folder, name: Name, json_lines: options.Json = False, quiet: options.Quiet = False) -> None:
    """Show a group: members and policies."""
    with lakes.opened("group info", lake, json_lines, quiet) as (opened, output):
        group = opened.groups.get(name)
        fields = {
            "operation": "group info",
            "name": group.name,
            "enabled": group.is_enabled,
            "members": group.members,
            "policies": group.policies,
            "updated": lakes.shown_time(group.updated_ms),
        }
        lines = [
            ("name", group.name),
            ("status", lakes.state(group.is_enabled)),
            ("members", lakes.listed(group.members)),
            ("policies", lakes.listed(group.policies)),
            ("updated", lakes.shown_time(group.updated_ms)),
        ]
        lakes.say_record(output, fields, lines)


@app.command("enable")
def enable(lake: lakes.Folder, name: Name, json_lines: options.Json = False, quiet: options.Quiet = False) -> None:
    """Let a group's policies count again."""
    with lakes.opened("group enable", lake, json_lines, quiet) as (opened, output):
        opened.groups.enable(name)
        output.event({"operation": "group enable", "name": name}, f"enabled {name}")


@app.command("disable")
def disable(lake: lakes.Folder, name: Name, json_lines: options.Json = False, quiet: options.Quiet = False) -> None:
    """Let a group's policies count for nobody; its members keep their own."""
    with lakes.opened("group disable", lake, json_lines, quiet) as (opened, output):
        opened.groups.disable(name)
        output.event({"operation": "group disable", "name": name}, f"disabled {name}")
