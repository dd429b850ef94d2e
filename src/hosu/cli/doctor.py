"""`hosu doctor`: whether a lake's records agree with each other and with its files; explains, and repairs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hosu.cli import lakes, options

if TYPE_CHECKING:
    from hosu.cli.output import Output
    from hosu.rules.doctor import Finding


def register(typer_app: typer.Typer) -> None:
    """Add the verb."""
    typer_app.command("doctor")(doctor)


def doctor(
    lake: lakes.Folder,
    repair: Annotated[bool, typer.Option("--repair", help="Repair what is found; no server may run.")] = False,
    allow_loss: Annotated[
        list[str] | None,
        typer.Option("--allow-loss", metavar="KIND", help="With --repair: give up what findings of this kind are of."),
    ] = None,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Look for what is wrong with a lake's records and files; exit status 1 if there is anything."""
    with options.explained("doctor", json_lines=json_lines):
        from hosu.cli.faults import UsageFault
        from hosu.cli.output import Output
        from hosu.kernel.errors import HosuError
        from hosu.rules.doctor_files import damaged

        if allow_loss and not repair:
            raise UsageFault("--allow-loss says what --repair may give up: give both")
        output = Output(json_lines=json_lines, quiet=quiet)
        try:
            left = _visit(lake, repair, allow_loss or [], output)
        except HosuError as error:
            finding = damaged(lake, error)
            if finding is None:
                raise
            left = [finding]
            _say(output, finding)
        if left:
            raise typer.Exit(1)
        output.event({"operation": "doctor", "findings": 0}, f"{lake}: nothing is wrong")


def _visit(lake: Path, repair: bool, allowed: list[str], output: "Output") -> "list[Finding]":
    """Say what is wrong, or with repair what still is afterwards, and return it."""
    from contextlib import ExitStack

    from hosu.kernel.errors import ConflictError, ErrorKind
    from hosu.lake import open_lake
    from hosu.objects.lock import LakeLock
    from hosu.objects.store import FORMAT_NAME
    from hosu.rules.doctor_files import diagnose, treat

    if not (lake / FORMAT_NAME).is_file():
        raise ConflictError(ErrorKind.NOT_A_LAKE, f"{lake} is not a lake: check the path")
    with ExitStack() as opened:
        if repair:
            (lake / "meta").mkdir(exist_ok=True)
            lock = LakeLock(lake)
            opened.callback(lock.release)
        store = opened.enter_context(open_lake(lake, create=False, actor=lakes.who())).store
        if not repair:
            left = []
            for finding in diagnose(store):
                _say(output, finding)
                left.append(finding)
            if left:
                output.note(f"{len(left)} findings; nothing was changed" + _advice(left))
            return left
        visit = treat(store, allowed)
        for finding in visit.left:
            _say(output, finding)
        fields = {"operation": "doctor", "repaired": visit.repaired, "left": len(visit.left)}
        output.event(fields, f"repaired {visit.repaired}; {len(visit.left)} findings are left")
        return visit.left


def _advice(left: "list[Finding]") -> str:
    if any(finding.repair and not finding.loses for finding in left):
        return ": `hosu doctor LAKE --repair` repairs what can be, without a server"
    return ""


def _say(output: "Output", finding: "Finding") -> None:
    import msgspec

    fields = {"operation": "doctor", **msgspec.structs.asdict(finding)}
    remedy = finding.repair or "not by this command"
    if finding.loses:
        remedy += f" (only with --allow-loss {finding.kind})"
    text = f"{finding.kind}: {finding.where}: {finding.what}; {finding.why}. Repair: {remedy}"
    output.row(fields, text)
