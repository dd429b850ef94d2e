"""`hosu event`: who is told of which events, how that goes, and what could not be delivered."""

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from hosu.cli import lakes, options
from hosu.cli.faults import UsageFault

if TYPE_CHECKING:
    from hosu.lake import Lake
    from hosu.objects.audit import Origin

app = typer.Typer(help="Events: who is told of what, and what could not be delivered.", no_args_is_help=True)

DEAD_SHOWN = 100

Target = Annotated[
    str, typer.Option("--target", metavar="KIND:ID", help="One target, such as webhook:primary.", show_default=False)
]
Sequences = Annotated[
    list[int] | None, typer.Option("--seq", metavar="NUMBER", help="One dead letter, as `hosu event dead` shows it.")
]
All = Annotated[bool, typer.Option("--all", help="All dead letters.")]


def register(typer_app: typer.Typer) -> None:
    """Add the verbs."""
    typer_app.add_typer(app, name="event")


@app.command("list")
def list_(lake: lakes.Folder, json_lines: options.Json = False, quiet: options.Quiet = False) -> None:
    """List the rules of all buckets, and how each target stands."""
    with lakes.opened("event list", lake, json_lines, quiet) as (opened, output):
        from hosu.rules.events.config import get_rules
        from hosu.rules.events.undelivered import target_states

        view = opened.store.view()
        for bucket in opened.buckets():
            for rule in get_rules(view, bucket.name):
                fields = {
                    "operation": "event list", "bucket": bucket.name, "id": rule.id, "target": rule.target,
                    "events": list(rule.events), "prefix": rule.prefix, "suffix": rule.suffix,
                }  # fmt: skip
                keys = f"{rule.prefix}*{rule.suffix}"
                output.row(fields, f"{bucket.name}/{keys}  {', '.join(rule.events)}  to {rule.target}")
        for state in target_states(view):
            oldest = lakes.shown_time(state.oldest_ms)
            told: dict[str, object] = {
                "operation": "event list", "target": state.target, "waiting": state.waiting, "oldest": oldest,
                "dead": state.dead,
            }  # fmt: skip
            since = f" since {oldest}" if oldest else ""
            output.row(told, f"{state.target}: at most {state.waiting} wait{since}, {state.dead} dead letters")


@app.command("dead")
def dead(
    lake: lakes.Folder,
    target: Target = "",
    limit: Annotated[
        int, typer.Option("--limit", metavar="NUMBER", min=1, help="Most to show of each target.")
    ] = DEAD_SHOWN,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Show events that could not be delivered, and why; the oldest first."""
    with lakes.opened("event dead", lake, json_lines, quiet) as (opened, output):
        from hosu.rules.events.undelivered import count, read_dead

        view = opened.store.view()
        for name in _targets(opened, target):
            for letter in read_dead(view, name, limit=limit):
                message, at = letter.message, lakes.shown_time(letter.message.at_ms)
                fields = {
                    "operation": "event dead", "target": name, "seq": letter.seq, "time": at, "event": message.name,
                    "bucket": message.bucket, "key": message.key, "reason": letter.reason,
                }  # fmt: skip
                output.row(fields, f"{letter.seq}  {at}  {name}  {message.name}  {message.path}  ({letter.reason})")
            total = count(view, name, is_dead=True)
            if total > limit:
                output.note(f"{name}: {total - limit} more; --limit shows them")


@app.command("replay")
def replay_(
    lake: lakes.Folder,
    target: Target = "",
    seq: Sequences = None,
    every: All = False,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Have dead letters delivered after all, by the lake's server: at once where it runs, else when it does."""
    with lakes.opened("event replay", lake, json_lines, quiet) as (opened, output):
        from hosu.rules.events.undelivered import replay

        chosen = _chosen(seq, every)
        for name in _targets(opened, target):
            verb = partial(replay, target=name, seqs=chosen)
            replayed = opened.store.commit(verb, _origin(opened, "ReplayEvents", name))
            fields = {"operation": "event replay", "target": name, "replayed": replayed}
            output.event(fields, f"{name}: {replayed} events wait to be delivered again")


@app.command("forget")
def forget(
    lake: lakes.Folder,
    target: Target = "",
    seq: Sequences = None,
    every: All = False,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Remove dead letters for good."""
    with lakes.opened("event forget", lake, json_lines, quiet) as (opened, output):
        from hosu.rules.events.undelivered import forget_dead

        chosen = _chosen(seq, every)
        for name in _targets(opened, target):
            verb = partial(forget_dead, target=name, seqs=chosen)
            forgotten = opened.store.commit(verb, _origin(opened, "ForgetEvents", name))
            fields = {"operation": "event forget", "target": name, "forgotten": forgotten}
            output.event(fields, f"{name}: {forgotten} dead letters are gone")


def _origin(opened: "Lake", verb: str, target: str) -> "Origin":
    from hosu.objects.audit import IN_PROCESS_PREFIX, Origin

    return Origin("", f"{IN_PROCESS_PREFIX}{verb}", opened.actor, key=target)


def _targets(opened: "Lake", target: str) -> list[str]:
    """Return the target that was named, or all that the lake knows."""
    from hosu.rules.events.undelivered import known_targets

    known = known_targets(opened.store.view())
    if target and target not in known:
        there = f"there are {', '.join(known)}" if known else "the lake has none"
        raise UsageFault(f"--target {target!r} is no target of a rule or a dead letter: {there}")
    return [target] if target else known


def _chosen(seqs: list[int] | None, every: bool) -> list[int] | None:
    if every == bool(seqs):
        raise UsageFault("say which dead letters: --seq NUMBER, or --all")
    return None if every else seqs
