"""`hosu init`: a lake made ready for a kind of system: its buckets, policies and users."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hosu.cli import lakes, options
from hosu.cli.faults import UsageFault

if TYPE_CHECKING:
    from hosu.cli.output import Output
    from hosu.lake.templates import Outcome, Template

LAKE_DEFAULT = Path("lake")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("init")(init)


def init(
    lake: Annotated[Path, typer.Argument(metavar="LAKE", help="The lake's folder; made if missing.")] = LAKE_DEFAULT,
    template: Annotated[
        str | None,
        typer.Option("--template", metavar="NAME", help="smart-door, medallion, streaming, or a folder of your own."),
    ] = None,
    backup: Annotated[
        str,
        typer.Option("--backup", metavar="PLACE", help="Where second copies of what is protected go: a folder, s3://…"),
    ] = "",
    is_dry: Annotated[bool, typer.Option("--dry-run", help="Say what would be made.")] = False,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Make a lake, and what a template describes where it is missing. Run again, it makes nothing."""
    with options.explained("init", json_lines=json_lines):
        from hosu.cli.output import Output

        output = Output(json_lines=json_lines, quiet=quiet)
        if template is None:
            if backup:
                raise UsageFault("--backup is for a template that protects something: name one with --template")
            _make_lake(output, lake, is_dry=is_dry)
            return
        from hosu.lake.templates import load_template

        found = load_template(template)
        if backup and not found.protection:
            raise UsageFault(f"--backup: the template {found.name} protects nothing, leave it out")
        outcome = _plan(lake, found, backup) if is_dry else _apply(lake, found, backup)
        _say(output, lake, outcome, is_dry=is_dry)


def _make_lake(output: "Output", lake: Path, *, is_dry: bool) -> None:
    from hosu.lake import open_lake

    is_there = _is_there(lake)
    if not is_dry:
        open_lake(lake, actor=lakes.who()).close()
    state = "kept" if is_there else "made"
    output.event({"operation": "init", "kind": "lake", "name": str(lake), "state": state}, f"{state}  lake  {lake}")


def _is_there(lake: Path) -> bool:
    """Say whether a folder is a lake; refuse one that could not become one, as opening it would."""
    from hosu.kernel.errors import ConflictError, ErrorKind
    from hosu.objects.store import FORMAT_NAME, check_format

    if (lake / FORMAT_NAME).is_file():
        check_format(lake / FORMAT_NAME)
        return True
    if lake.exists() and (not lake.is_dir() or any(lake.iterdir())):
        raise ConflictError(ErrorKind.NOT_A_LAKE, f"{lake} is not a lake and not empty: name a lake, or a new folder")
    return False


def _plan(lake: Path, template: "Template", backup: str) -> "Outcome":
    from hosu.lake import open_lake
    from hosu.lake.templates import plan_template

    if not _is_there(lake):
        return plan_template(None, template, backup=backup)
    with open_lake(lake, create=False, actor=lakes.who()) as opened:
        view = opened.store.view()
        with view.snapshot():
            return plan_template(view, template, backup=backup)


def _apply(lake: Path, template: "Template", backup: str) -> "Outcome":
    from hosu.lake import open_lake

    with open_lake(lake, actor=lakes.who()) as opened:
        return opened.apply_template(template, backup=backup)


def _say(output: "Output", lake: Path, outcome: "Outcome", *, is_dry: bool) -> None:
    from hosu.lake.templates.rules import NO_COPY

    for step in outcome.steps:
        fields = {"operation": "init", "kind": step.kind, "name": step.name, "state": step.state, "reason": step.reason}
        done = "make" if is_dry and step.state == "made" else step.state
        told = f"{done:<8} {step.kind:<10} {step.name}" + (f"  ({step.reason})" if step.reason else "")
        output.event({**fields, "dry_run": is_dry}, told)
    if outcome.keys:
        output.note(f"secrets of the users that were made in {lake}, shown this once:")
    for key in outcome.keys:
        fields = {"operation": "init", "kind": "secret", "access_key": key.access_key, "secret": key.secret}
        output.row(fields, f"  {key.access_key:<22} {key.secret}")
    if any((step.kind, step.state, step.reason) == ("protection", "made", NO_COPY) for step in outcome.steps):
        output.note("what is protected has no second copy: run again with --backup PLACE, on another disk or server")
    if is_dry:
        output.note("nothing was made: this was a dry run")
