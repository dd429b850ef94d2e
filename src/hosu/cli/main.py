"""The `hosu` command: which verbs there are, and what leaves the process."""

import contextlib
import importlib
import os
import sys
from functools import cache
from typing import Annotated

import typer

from hosu._version import __version__

COMMAND_MODULES = (
    "hosu.cli.serve",
    "hosu.cli.init",
    "hosu.cli.storage",
    "hosu.cli.alias",
    "hosu.cli.user",
    "hosu.cli.group",
    "hosu.cli.policy",
    "hosu.cli.key",
    "hosu.cli.kms",
    "hosu.cli.lakekey",
    "hosu.cli.alerts",
    "hosu.cli.audit",
    "hosu.cli.backup",
    "hosu.cli.restore",
    "hosu.cli.import_minio",
    "hosu.cli.event",
    "hosu.cli.rule",
    "hosu.cli.scrub",
    "hosu.cli.doctor",
    "hosu.cli.sql",
    "hosu.cli.table",
)
"""Modules whose `register(app)` adds verbs; they import what they need only when a verb runs."""


@cache
def build_app() -> typer.Typer:
    """Return the command line with every verb. There is one: groups of verbs are their modules'."""
    app = typer.Typer(
        name="hosu",
        help="A data lake in one folder and one command.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_root)
    for name in COMMAND_MODULES:
        importlib.import_module(name).register(app)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hosu {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and leave.", is_eager=True, callback=_show_version),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; the exit status is 0 for success, 1 when something failed, 2 for wrong usage."""
    # Arrow's own choice keeps some hundred MiB more than is in use, which no budget of a merge could hold.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):
            # A name that the terminal's encoding lacks is shown escaped; it must not end the command.
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    build_app()()


if __name__ == "__main__":
    main()
