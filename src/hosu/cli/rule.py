"""`hosu rule`: what keeps a lake healthy by itself: seeing the rules, what they would do, and doing it now."""

import re
from typing import TYPE_CHECKING, Annotated

import typer

from hosu.cli import lakes, options
from hosu.cli.faults import UsageFault

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hosu.cli.output import Output
    from hosu.lake import Lake
    from hosu.rules.capacity import CapacityRule, Gauge
    from hosu.rules.lifecycle.model import Rule

app = typer.Typer(
    help="Rules: lifecycle, capacity, retention by merit, protection.", no_args_is_help=True, rich_markup_mode=None
)

UNITS = {
    "": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "PB": 10**15,
    "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40, "PIB": 2**50,
}  # fmt: skip
_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,9})?)\s*([A-Za-z]{0,3})", re.ASCII)
_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,9})?)(%?)", re.ASCII)

Kinds = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KIND]...", help="lifecycle, merit, capacity, protection; all of them without any.", show_default=False
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Also a quota below what is held.")]


def register(typer_app: typer.Typer) -> None:
    """Add the verbs."""
    from hosu.cli import rule_sets

    rule_sets.register(app)
    typer_app.add_typer(app, name="rule")


def parse_size(text: str, option: str) -> int:
    """Return the bytes of a size such as 100GB, 1.5GiB or 4096."""
    match = _SIZE.fullmatch(text.strip())
    unit = None if match is None else UNITS.get(match[2].upper())
    if match is None or unit is None:
        raise UsageFault(f"{option} {text!r} is not a size: write 100GB, 1.5GiB or a number of bytes")
    return round(float(match[1]) * unit) if "." in match[1] else int(match[1]) * unit


def parse_share(text: str, option: str) -> float:
    """Return the part of one that a share such as 80% or 0.8 is."""
    match = _SHARE.fullmatch(text.strip())
    share = -1.0 if match is None else float(match[1]) / (100 if match[2] else 1)
    if not 0 <= share <= 1:
        raise UsageFault(f"{option} {text!r} is not a share: write 80% or 0.8")
    return share


@app.command("list")
def list_(lake: lakes.Folder, json_lines: options.Json = False, quiet: options.Quiet = False) -> None:
    """List all rules of the lake."""
    with lakes.opened("rule list", lake, json_lines, quiet) as (opened, output):
        rules = opened.rules
        capacity = rules.capacity()
        if capacity is not None:
            _say_rule(output, "capacity", "", described_capacity(capacity), _fields(capacity))
        for merit in rules.merit():
            told = f"the best {merit.best} by {merit.path} in {merit.file}, the rest after {merit.grace_days} days"
            _say_rule(output, "merit", f"{merit.id}: {merit.bucket}/{merit.prefix}", told, _fields(merit))
        for entry in rules.protected():
            told = f"copies in {entry.copy}" if entry.copy else "no second copy"
            _say_rule(output, "protection", f"{entry.bucket}/{entry.prefix}", told, _fields(entry))
        for bucket in opened.buckets():
            found = rules.lifecycle(bucket.name)
            for rule in () if found is None else found.rules:
                place = f"{rule.id}: {bucket.name}/{rule.prefix}"
                _say_rule(output, "lifecycle", place, described(rule), {"bucket": bucket.name, **_fields(rule)})


def _fields(rule: object) -> dict[str, object]:
    import msgspec

    fields: dict[str, object] = msgspec.to_builtins(rule)
    return fields


def _say_rule(output: "Output", kind: str, place: str, told: str, fields: dict[str, object]) -> None:
    text = f"{kind:<11} {place}  {told}" if place else f"{kind:<11} {told}"
    output.row({"operation": "rule list", "kind": kind, "rule": fields}, text)


def described_capacity(rule: "CapacityRule") -> str:
    """Tell a capacity rule in words."""
    from hosu.cli.output import human_bytes

    words = [f"quota {rule.quota_bytes} bytes ({human_bytes(rule.quota_bytes)})" if rule.quota_bytes else "no quota"]
    if rule.high_water:
        down = f", down to {rule.low_water:.0%}" if rule.low_water else ""
        words.append(f"the oldest goes from {rule.high_water:.0%}{down}")
    if rule.buckets:
        words.append(f"in {lakes.listed(rule.buckets)}")
    if rule.keep:
        words.append(f"never {lakes.listed(rule.keep)}")
    return "; ".join(words)


def described(rule: "Rule") -> str:
    """Tell a lifecycle rule in words."""
    words = []
    if rule.expire_days is not None:
        words.append(f"expires after {rule.expire_days} days")
    if rule.expire_at_ms is not None:
        words.append(f"expires on {lakes.shown_time(rule.expire_at_ms)}")
    if rule.noncurrent_days is not None:
        kept = f", the newest {rule.noncurrent_keep} stay" if rule.noncurrent_keep else ""
        words.append(f"old versions go after {rule.noncurrent_days} days{kept}")
    for move in rule.transitions:
        when = f"after {move.days} days" if move.days is not None else f"on {lakes.shown_time(move.at_ms or 0)}"
        words.append(f"{move.storage_class} {when}")
    words += [f"old versions {move.storage_class} after {move.days} days" for move in rule.noncurrent_transitions]
    if rule.abort_days is not None:
        words.append(f"uploads given up after {rule.abort_days} days")
    if rule.removes_markers:
        words.append("lone delete markers go")
    found = rule.filter
    words += [f"tag {name}={value}" for name, value in found.tags.items()]
    words += [f"larger than {found.size_above} bytes"] if found.size_above is not None else []
    words += [f"smaller than {found.size_below} bytes"] if found.size_below is not None else []
    return ("" if rule.is_enabled else "disabled; ") + "; ".join(words)


@app.command("show")
def show(lake: lakes.Folder, json_lines: options.Json = False, quiet: options.Quiet = False) -> None:
    """Show how full the lake is by its capacity rule, and how the rules of merit rank their folders."""
    with lakes.opened("rule show", lake, json_lines, quiet) as (opened, output):
        gauge = opened.rules.gauge()
        if gauge is not None:
            _say_gauge(output, gauge)
        for verdict in opened.rules.ranking():
            fields = {"operation": "rule show", "kind": "merit", **_fields(verdict)}
            output.row(fields, f"{verdict.fate:<6} {verdict.bucket}/{verdict.folder}  {verdict.reason}")


def _say_gauge(output: "Output", gauge: "Gauge") -> None:
    share = f"{gauge.used_bytes / gauge.limit_bytes:.1%}" if gauge.limit_bytes else "all"
    told = f"capacity {gauge.used_bytes} of {gauge.limit_bytes} bytes of {gauge.what} are used, {share}"
    output.row({"operation": "rule show", "kind": "capacity", **_fields(gauge)}, told)


@app.command("run")
def run(
    lake: lakes.Folder,
    kinds: Kinds = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, each thing with its reason.")] = (
        False
    ),
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Carry out rules now, once. A server does so by itself."""
    with lakes.opened("rule run", lake, json_lines, quiet) as (opened, output):
        if dry_run:
            _say_plan(output, opened, kinds or [])
            return
        from hosu.rules.planning import Total

        done: Iterable[Total] = opened.rules.run(*(kinds or []))
        for total in done:
            told = f"{total.rule}: {total.action} of {total.count}, {total.size_bytes} bytes"
            output.row({"operation": "rule run", **_fields(total)}, told)
        if not done:
            output.note("nothing was due")


def _say_plan(output: "Output", opened: "Lake", kinds: list[str]) -> None:
    """Print each thing as it is found, and at the end what they come to."""
    sums: dict[tuple[str, str], tuple[int, int]] = {}
    for planned in opened.rules.plan(*kinds):
        place = f"{planned.bucket}/{planned.key}" + (f" version {planned.version_id}" if planned.version_id else "")
        told = f"would {planned.action} {place} ({planned.size_bytes} bytes): {planned.reason}"
        output.row({"operation": "rule run", "dry_run": True, **planned.row()}, told)
        count, size_bytes = sums.get((planned.rule, planned.action), (0, 0))
        sums[planned.rule, planned.action] = count + 1, size_bytes + planned.size_bytes
    for (name, action), (count, size_bytes) in sorted(sums.items()):
        output.note(f"{name}: {action} of {count}, {size_bytes} bytes")
    output.note("nothing was done: this was a dry run" if sums else "nothing is due")


@app.command("quota")
def quota(
    lake: lakes.Folder,
    bucket: Annotated[str, typer.Argument(metavar="BUCKET", help="Name of the bucket.", show_default=False)],
    size: Annotated[str, typer.Argument(metavar="SIZE", help="Such as 100GB; 0 is no limit.", show_default=False)],
    force: Force = False,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Limit what a bucket may hold. The lake's own quota is a part of `hosu rule capacity`."""
    with lakes.opened("rule quota", lake, json_lines, quiet) as (opened, output):
        quota_bytes = parse_size(size, "SIZE")
        opened.bucket(bucket).set_quota(quota_bytes, allows_below_use=force)
        told = f"{bucket} may hold {quota_bytes} bytes" if quota_bytes else f"{bucket} may hold anything"
        output.event({"operation": "rule quota", "bucket": bucket, "quota_bytes": quota_bytes}, told)
