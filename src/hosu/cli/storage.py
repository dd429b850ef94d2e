"""The verbs for objects at any S3 endpoint."""

import typer

from hosu.cli import buckets, listing, moving, profile_commands, syncing


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command("mb")(buckets.make_bucket)
    app.command("rb")(buckets.remove_bucket)
    app.command("ls")(listing.list_)
    app.command("cp")(moving.copy)
    app.command("mv")(moving.move)
    app.command("rm")(buckets.remove)
    app.command("cat")(listing.concatenate)
    app.command("stat")(listing.stat)
    app.command("du")(listing.disk_usage)
    app.command("sync")(syncing.sync)
    app.add_typer(profile_commands.app, name="profile")
