"""`hosu policy`: what is allowed and denied, to whom, and why; in a lake on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hosu.cli import lakes, options
from hosu.cli.faults import UsageFault

if TYPE_CHECKING:
    from hosu.cli.output import Output
    from hosu.identity.explanation import Explanation

app = typer.Typer(help="Policies, and whom they are attached to.", no_args_is_help=True)

POLICY_FILE_BYTES_MAX = 1024 * 1024
"""A policy is far smaller; a wrong file must not fill the memory."""

NONE = "no policies"

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the policy.")]
Names = Annotated[list[str], typer.Argument(metavar="NAME...", help="Names of policies.")]
User = Annotated[str, typer.Option("--user", metavar="NAME", help="The user.")]
Group = Annotated[str, typer.Option("--group", metavar="NAME", help="The group.")]


def register(typer_app: typer.Typer) -> None:
    """Add the verbs."""
    typer_app.add_typer(app, name="policy")


def read_policy(file: Path) -> str:
    """Return the text of a policy file, or of standard input for `-`."""
    return lakes.read_document(file, "policy", POLICY_FILE_BYTES_MAX)


@app.command("create")
def create(
    lake: lakes.Folder,
    name: Name,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Its JSON; `-` is standard input.")],
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Make a policy, or replace its text; one of a built-in's name replaces the built-in."""
    with lakes.opened("policy create", lake, json_lines, quiet) as (opened, output):
        opened.policies.put(name, read_policy(file))
        output.event({"operation": "policy create", "name": name}, f"created {name}")


@app.command("list")
def list_(lake: lakes.Folder, json_lines: options.Json = False, quiet: options.Quiet = False) -> None:
    """List policies, those that are built in among them."""
    with lakes.opened("policy list", lake, json_lines, quiet) as (opened, output):
        for policy in opened.policies.list():
            fields = {"operation": "policy list", "name": policy.name, "builtin": policy.is_builtin}
            output.row(fields, f"{policy.name:<24} built in" if policy.is_builtin else policy.name)


@app.command("info")
def info(lake: lakes.Folder, name: Name, json_lines: options.Json = False, quiet: options.Quiet = False) -> None:
    """Print a policy as it was given."""
    with lakes.opened("policy info", lake, json_lines, quiet) as (opened, output):
        from hosu.cli.output import printable

        policy = opened.policies.get(name)
        fields = {
            "operation": "policy info",
            "name": policy.name,
            "builtin": policy.is_builtin,
            "created": lakes.shown_time(policy.created_ms),
            "updated": lakes.shown_time(policy.updated_ms),
            "text": policy.text,
        }
        lines = policy.text.rstrip("\r\n").splitlines()
        output.row_lines(fields, "\n".join(printable(line.replace("\t", "    ")) for line in lines))


@app.command("rm")
def remove(lake: lakes.Folder, name: Name, json_lines: options.Json = False, quiet: options.Quiet = False) -> None:
    """Remove a policy that is attached to nobody; where it replaced a built-in, that one is back."""
    with lakes.opened("policy rm", lake, json_lines, quiet) as (opened, output):
        opened.policies.remove(name)
        output.event({"operation": "policy rm", "name": name}, f"removed {name}")


@app.command("attach")
def attach(
    lake: lakes.Folder,
    names: Names,
    user: User = "",
    group: Group = "",
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Attach policies to a user or a group; what is attached already stays."""
    with lakes.opened("policy attach", lake, json_lines, quiet) as (opened, output):
        _check_entity(user, group)
        changed = opened.policies.attach(names, user=user, group=group)
        _say_change(output, "policy attach", changed, user, group)


@app.command("detach")
def detach(
    lake: lakes.Folder,
    names: Names,
    user: User = "",
    group: Group = "",
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Detach policies from a user or a group."""
    with lakes.opened("policy detach", lake, json_lines, quiet) as (opened, output):
        _check_entity(user, group)
        changed = opened.policies.detach(names, user=user, group=group)
        _say_change(output, "policy detach", changed, user, group)


def _check_entity(user: str, group: str) -> None:
    if bool(user) == bool(group):
        raise UsageFault("name whom it is about: --user NAME or --group NAME")


def _say_change(output: "Output", operation: str, changed: list[str], user: str, group: str) -> None:
    whom = {"user": user} if user else {"group": group}
    done = "attached" if operation == "policy attach" else "detached"
    text = f"{done} {lakes.listed(changed) or 'nothing'}: {user or f'group {group}'}"
    output.event({"operation": operation, "policies": changed, **whom}, text)


@app.command("entities")
def entities(
    lake: lakes.Folder,
    users: Annotated[list[str] | None, typer.Option("--user", metavar="NAME", help="This user; repeatable.")] = None,
    groups: Annotated[list[str] | None, typer.Option("--group", metavar="NAME", help="This group; repeatable.")] = None,
    policies: Annotated[
        list[str] | None, typer.Option("--policy", metavar="NAME", help="This policy; repeatable.")
    ] = None,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Show who has which policy: of those named, or of all policies in use."""
    with lakes.opened("policy entities", lake, json_lines, quiet) as (opened, output):
        found = opened.policies.entities(users=users or (), groups=groups or (), policies=policies or ())
        for user in found.users:
            by_group = {group.group: group.policies for group in user.groups}
            fields: dict[str, object] = {"user": user.user, "policies": user.policies, "group_policies": by_group}
            lines = [f"user {user.user}: {lakes.listed(user.policies) or NONE}"]
            lines += [f"  group {name}: {lakes.listed(held) or NONE}" for name, held in by_group.items()]
            output.row_lines({"operation": "policy entities", **fields}, "\n".join(lines))
        for group in found.groups:
            fields = {"group": group.group, "policies": group.policies}
            text = f"group {group.group}: {lakes.listed(group.policies) or NONE}"
            output.row({"operation": "policy entities", **fields}, text)
        for policy in found.policies:
            fields = {"policy": policy.policy, "users": policy.users, "groups": policy.groups}
            whom = [*policy.users, *(f"group {name}" for name in policy.groups)]
            text = f"policy {policy.policy}: {lakes.listed(whom) or 'nobody'}"
            output.row({"operation": "policy entities", **fields}, text)


@app.command("explain")
def explain(
    lake: lakes.Folder,
    who: Annotated[
        str, typer.Argument(metavar="USER", help="A user, an access key, or `anonymous` for those who do not sign.")
    ],
    action: Annotated[str, typer.Argument(metavar="ACTION", help="Such as s3:GetObject.")],
    resource: Annotated[
        str, typer.Argument(metavar="RESOURCE", help="BUCKET or BUCKET/KEY; none is the service.")
    ] = "",
    context: Annotated[
        list[str] | None,
        typer.Option("--context", metavar="KEY=VALUE", help="Value of a condition key; repeatable."),
    ] = None,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Say whether USER may do ACTION, and which statement decides it; exit status 0 is yes, 1 is no."""
    with lakes.opened("policy explain", lake, json_lines, quiet) as (opened, output):
        action = _known_action(action)
        resource = resource.removeprefix("arn:aws:s3:::")
        found = opened.policies.explain(who, action, resource, _circumstances(context or []))
        _say_explanation(output, found, action, resource)
        if not found.is_allowed:
            raise typer.Exit(1)


def _known_action(action: str) -> str:
    """Return an action in its own spelling: a mistyped one is denied always, which would explain nothing."""
    import difflib

    from hosu.identity.policy import KNOWN_ACTIONS

    by_lower = {known.lower(): known for known in KNOWN_ACTIONS}
    known = by_lower.get(action.lower())
    if known is None:
        near = difflib.get_close_matches(action.lower(), by_lower, n=1)
        hint = f"did you mean {by_lower[near[0]]}?" if near else "such as s3:GetObject"
        raise UsageFault(f"there is no action {action!r}: {hint}")
    return known


def _circumstances(pairs: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UsageFault(f"--context {pair!r}: write KEY=VALUE, such as aws:SourceIp=10.0.0.7")
        found.setdefault(name.strip(), []).append(value)
    return found


def _say_explanation(output: "Output", found: "Explanation", action: str, resource: str) -> None:
    from hosu.cli.output import printable

    decision = found.decision
    considered = [
        {
            "kind": voice.kind,
            "policy": voice.policy,
            "effect": voice.effect.name.lower(),
            "statement": None if voice.statement < 0 else voice.statement,
            "sid": voice.sid,
        }
        for voice in found.considered
    ]
    fields = {
        "operation": "policy explain",
        "principal": found.principal,
        "action": action,
        "resource": resource,
        "allowed": found.is_allowed,
        "reason": found.reason,
        "policy": decision.policy,
        "statement": None if decision.statement < 0 else decision.statement,
        "sid": decision.sid,
        "text": found.statement,
        "considered": considered,
    }
    verdict = "allowed" if found.is_allowed else "denied"
    lines = [printable(f"{verdict}: {found.principal}, {action}, {resource or 'the service'}")]
    is_said = found.is_allowed or decision.statement >= 0
    lines.append(
        printable(f"  {'by' if is_said else 'because'} {found.reason}{_place(decision.statement, decision.sid)}")
    )
    lines += [f"    {printable(line)}" for line in found.statement.splitlines()]
    if found.considered:
        lines.append("considered:")
    for voice in found.considered:
        said = voice.effect.name.lower() if voice.effect.name != "NONE" else "says nothing"
        lines.append(printable(f"  {voice.policy}: {said}{_place(voice.statement, voice.sid)}"))
    output.row_lines(fields, "\n".join(lines))


def _place(statement: int, sid: str) -> str:
    """Name a statement as policies number them, from 0, as error messages do."""
    if statement < 0:
        return ""
    return f", Statement[{statement}]" + (f" ({sid})" if sid else "")
