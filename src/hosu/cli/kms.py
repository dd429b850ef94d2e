"""`hosu kms`: the named keys that objects are encrypted with, in a lake on this machine."""

from typing import TYPE_CHECKING, Annotated

import typer

from hosu.cli import lakes, options

if TYPE_CHECKING:
    from hosu.objects.encryption import NamedKey

app = typer.Typer(help="Named keys of encryption at rest.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the key.")]


def register(typer_app: typer.Typer) -> None:
    """Add the verbs."""
    typer_app.add_typer(app, name="kms")


@app.command("list")
def list_(lake: lakes.Folder, json_lines: options.Json = False, quiet: options.Quiet = False) -> None:
    """List named keys with the number of their newest version."""
    with lakes.opened("kms list", lake, json_lines, quiet) as (opened, output):
        for name in opened.store.keys.key_names():
            key = opened.store.keys.describe(name)
            text = f"{name:<24} version {key.version:<5} of {lakes.shown_time(key.rotated_ms)}"
            output.row({"operation": "kms list", **_fields(key)}, text)


@app.command("create")
def create(lake: lakes.Folder, name: Name, json_lines: options.Json = False, quiet: options.Quiet = False) -> None:
    """Make a named key, for clients that encrypt with `aws:kms` and its name."""
    with lakes.opened("kms create", lake, json_lines, quiet) as (opened, output):
        made = opened.store.keys.create_key(name)
        output.event({"operation": "kms create", **_fields(made)}, f"created {name}")


@app.command("rotate")
def rotate(lake: lakes.Folder, name: Name, json_lines: options.Json = False, quiet: options.Quiet = False) -> None:
    """Add a version to a named key: it seals from now on, the older ones go on opening what they sealed."""
    with lakes.opened("kms rotate", lake, json_lines, quiet) as (opened, output):
        made = opened.store.keys.rotate_key(name)
        output.event({"operation": "kms rotate", **_fields(made)}, f"{name} is at version {made.version}")


@app.command("rewrap")
def rewrap(lake: lakes.Folder, name: Name, json_lines: options.Json = False, quiet: options.Quiet = False) -> None:
    """Wrap what older versions of a key have sealed by its newest one; no object is read or written for it."""
    with lakes.opened("kms rewrap", lake, json_lines, quiet) as (opened, output):
        from hosu.objects.encryption.rotation import rewrap_blobs

        done = rewrap_blobs(opened.store, name)
        fields = {"operation": "kms rewrap", "name": name, "rewrapped": done.blobs, "skipped": done.skipped}
        output.event(fields, f"{done.blobs} wrapped by the newest version of {name}, {done.skipped} were already")


def _fields(key: "NamedKey") -> dict[str, object]:
    return {
        "name": key.name,
        "version": key.version,
        "created": lakes.shown_time(key.created_ms),
        "rotated": lakes.shown_time(key.rotated_ms),
    }
