"""`hosu rule capacity`, `merit`, `protection` and `lifecycle`: setting rules and removing them."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hosu.cli import lakes, options
from hosu.cli.faults import UsageFault

if TYPE_CHECKING:
    from hosu.rules.lifecycle.model import Lifecycle, Rule

FILE_BYTES_MAX = 4 * 1024 * 1024
"""As many bytes as S3 takes for a lifecycle; a wrong file must not fill the memory."""

Bucket = Annotated[str, typer.Argument(metavar="BUCKET", help="Name of the bucket.", show_default=False)]

capacity = typer.Typer(help="The lake's quota, and the mark from which the oldest goes.", no_args_is_help=True)
merit = typer.Typer(help="Of the folders below a prefix the best stay.", no_args_is_help=True)
protection = typer.Typer(help="Prefixes that services and rules leave alone.", no_args_is_help=True)
lifecycle = typer.Typer(help="What expires, and what changes its storage class.", no_args_is_help=True)


def register(typer_app: typer.Typer) -> None:
    """Add the groups of verbs."""
    typer_app.add_typer(capacity, name="capacity")
    typer_app.add_typer(merit, name="merit")
    typer_app.add_typer(protection, name="protection")
    typer_app.add_typer(lifecycle, name="lifecycle")


# Capacity


@capacity.command("set")
def set_capacity(
    lake: lakes.Folder,
    quota: Annotated[str, typer.Option("--quota", metavar="SIZE", help="Most the lake may hold, such as 100GB.")] = "",
    high_water: Annotated[
        str, typer.Option("--high-water", metavar="SHARE", help="From here on the oldest goes, such as 80%.")
    ] = "",
    low_water: Annotated[
        str, typer.Option("--low-water", metavar="SHARE", help="Down to below here; the high mark itself without it.")
    ] = "",
    buckets: Annotated[
        list[str] | None, typer.Option("--bucket", metavar="NAME", help="Only in this bucket; repeatable.")
    ] = None,
    keep: Annotated[
        list[str] | None, typer.Option("--keep", metavar="BUCKET/PREFIX", help="What never goes; repeatable.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Also a quota below what is held.")] = False,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Set quota and mark, in place of those that were set. Without a quota the disk counts."""
    with lakes.opened("rule capacity set", lake, json_lines, quiet) as (opened, output):
        from hosu.cli.rule import described_capacity, parse_share, parse_size
        from hosu.rules.capacity import CapacityRule

        rule = CapacityRule(
            quota_bytes=parse_size(quota, "--quota") if quota else 0,
            high_water=parse_share(high_water, "--high-water") if high_water else 0.0,
            low_water=parse_share(low_water, "--low-water") if low_water else 0.0,
            buckets=tuple(buckets or ()),
            keep=tuple(keep or ()),
        )
        opened.rules.set_capacity(rule, allows_below_use=force)
        output.event({"operation": "rule capacity set", "quota_bytes": rule.quota_bytes}, described_capacity(rule))


@capacity.command("rm")
def remove_capacity(lake: lakes.Folder, json_lines: options.Json = False, quiet: options.Quiet = False) -> None:
    """Take quota and mark back."""
    with lakes.opened("rule capacity rm", lake, json_lines, quiet) as (opened, output):
        was_set = opened.rules.remove_capacity()
        told = "removed the capacity rule" if was_set else "there was no capacity rule"
        output.event({"operation": "rule capacity rm", "removed": was_set}, told)


# Merit


@merit.command("set")
def set_merit(
    lake: lakes.Folder,
    bucket: Bucket,
    prefix: Annotated[
        str, typer.Argument(metavar="PREFIX", help="Whose folders are judged, such as models/training/.")
    ],
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="Where the number is in the file, such as map50 or metrics.map50.")
    ],
    rule_id: Annotated[str, typer.Option("--id", metavar="ID", help="The rule's name; BUCKET/PREFIX without it.")] = "",
    file: Annotated[str, typer.Option("--file", metavar="NAME", help="The file in each folder.")] = "metrics.json",
    best: Annotated[int, typer.Option("--best", metavar="N", help="How many stay.")] = 3,
    order: Annotated[str, typer.Option("--order", metavar="max|min", help="Whether the largest or smallest win.")] = (
        "max"
    ),
    grace_days: Annotated[int, typer.Option("--grace-days", metavar="DAYS", help="How long the rest stays.")] = 30,
    unranked: Annotated[
        str, typer.Option("--unranked", metavar="keep|expire", help="What becomes of folders without the number.")
    ] = "keep",
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Add a rule, or replace the one of its id."""
    with lakes.opened("rule merit set", lake, json_lines, quiet) as (opened, output):
        import msgspec

        from hosu.rules.merit import MeritRule

        fields = {
            "id": rule_id or f"{bucket}/{prefix}", "bucket": bucket, "prefix": prefix, "path": path, "file": file,
            "best": best, "order": order, "grace_days": grace_days, "unranked": unranked,
        }  # fmt: skip
        try:
            rule = msgspec.convert(fields, MeritRule)
        except msgspec.ValidationError as error:
            raise UsageFault(f"the rule is not valid: {error}") from None
        opened.rules.put_merit(rule)
        output.event({"operation": "rule merit set", "rule": fields}, f"set {rule.id}")


@merit.command("rm")
def remove_merit(
    lake: lakes.Folder,
    rule_id: Annotated[str, typer.Argument(metavar="ID", help="As `hosu rule list` shows it.", show_default=False)],
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Remove a rule."""
    with lakes.opened("rule merit rm", lake, json_lines, quiet) as (opened, output):
        opened.rules.remove_merit(rule_id)
        output.event({"operation": "rule merit rm", "id": rule_id}, f"removed {rule_id}")


# Protection


@protection.command("set")
def set_protection(
    lake: lakes.Folder,
    bucket: Bucket,
    prefix: Annotated[str, typer.Argument(metavar="PREFIX", help="Such as models/production/.", show_default=False)],
    copy: Annotated[
        str, typer.Option("--copy", metavar="PLACE", help="Where second copies are kept: a folder, or s3://…")
    ] = "",
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Protect a prefix, or give a protected one another place for its copies."""
    with lakes.opened("rule protection set", lake, json_lines, quiet) as (opened, output):
        opened.rules.protect(bucket, prefix, copy=copy)
        told = f"protected {bucket}/{prefix}" + (f", copies in {copy}" if copy else ", without a second copy")
        output.event({"operation": "rule protection set", "bucket": bucket, "prefix": prefix, "copy": copy}, told)


@protection.command("rm")
def remove_protection(
    lake: lakes.Folder,
    bucket: Bucket,
    prefix: Annotated[str, typer.Argument(metavar="PREFIX", help="As `hosu rule list` shows it.", show_default=False)],
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """End the protection of a prefix."""
    with lakes.opened("rule protection rm", lake, json_lines, quiet) as (opened, output):
        opened.rules.unprotect(bucket, prefix)
        told = f"{bucket}/{prefix} is not protected any more"
        output.event({"operation": "rule protection rm", "bucket": bucket, "prefix": prefix}, told)


# Lifecycle


@lifecycle.command("set")
def set_lifecycle(
    lake: lakes.Folder,
    bucket: Bucket,
    rule_id: Annotated[str, typer.Option("--id", metavar="ID", help="The rule's name; one is made without it.")] = "",
    prefix: Annotated[str, typer.Option("--prefix", metavar="PREFIX", help="Only below this prefix.")] = "",
    expire_days: Annotated[
        int | None, typer.Option("--expire-days", metavar="DAYS", help="Objects go this long after they were stored.")
    ] = None,
    cold_days: Annotated[
        int | None, typer.Option("--cold-days", metavar="DAYS", help="Objects are kept compressed from then on.")
    ] = None,
    noncurrent_days: Annotated[
        int | None, typer.Option("--noncurrent-days", metavar="DAYS", help="Old versions go this long after replaced.")
    ] = None,
    noncurrent_keep: Annotated[
        int, typer.Option("--noncurrent-keep", metavar="N", help="The newest old versions that stay all the same.")
    ] = 0,
    abort_days: Annotated[
        int | None, typer.Option("--abort-days", metavar="DAYS", help="Uploads in parts are given up.")
    ] = None,
    remove_markers: Annotated[
        bool, typer.Option("--remove-markers", help="Delete markers go when no version is behind them.")
    ] = False,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Add a rule to a bucket's lifecycle, or replace the one of its id."""
    with lakes.opened("rule lifecycle set", lake, json_lines, quiet) as (opened, output):
        from hosu.cli.rule import described
        from hosu.objects.records import COLD
        from hosu.rules.lifecycle.model import Filter, Lifecycle, Rule, Transition

        before = opened.rules.lifecycle(bucket) or Lifecycle(())
        rule = Rule(
            id=rule_id or _free_id(before, prefix),
            filter=Filter(prefix=prefix),
            expire_days=expire_days,
            removes_markers=remove_markers,
            noncurrent_days=noncurrent_days,
            noncurrent_keep=noncurrent_keep,
            abort_days=abort_days,
            transitions=() if cold_days is None else (Transition(COLD, days=cold_days),),
        )
        opened.rules.set_lifecycle(bucket, _with_rule(before, rule))
        output.event(
            {"operation": "rule lifecycle set", "bucket": bucket, "id": rule.id}, f"set {rule.id}: {described(rule)}"
        )  # fmt: skip


def _free_id(before: "Lifecycle", prefix: str) -> str:
    taken = {rule.id for rule in before.rules}
    name = prefix.strip("/").replace("/", "-") or "all"
    return next(each for each in (name, *(f"{name}-{number}" for number in range(2, 1_002))) if each not in taken)


def _with_rule(before: "Lifecycle", rule: "Rule") -> "Lifecycle":
    import msgspec

    rules = [rule if each.id == rule.id else each for each in before.rules]
    return msgspec.structs.replace(before, rules=tuple(rules if rule in rules else [*rules, rule]))


@lifecycle.command("import")
def import_lifecycle(
    lake: lakes.Folder,
    bucket: Bucket,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="S3's document as XML, or as JSON of the AWS tools; `-` is standard input."
        ),
    ],
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Replace a bucket's lifecycle by a document of S3's."""
    with lakes.opened("rule lifecycle import", lake, json_lines, quiet) as (opened, output):
        from hosu.lake.opening import lake_settings
        from hosu.objects.records import COLD
        from hosu.server.s3.lifecycle import ROOT, read_lifecycle
        from hosu.server.s3.xml_read import parse

        text = lakes.read_document(file, "lifecycle", FILE_BYTES_MAX)
        document = _as_xml(text) if text.lstrip()[:1] in {"{", "["} else text
        classes = frozenset({COLD, *lake_settings(lake).cold_class_names})
        found = read_lifecycle(parse(document.encode(), ROOT), classes)
        opened.rules.set_lifecycle(bucket, found)
        count = len(found.rules)
        fields = {"operation": "rule lifecycle import", "bucket": bucket, "rules": count}
        output.event(fields, f"{bucket} has {count} rule{'' if count == 1 else 's'} now")


@lifecycle.command("rm")
def remove_lifecycle(
    lake: lakes.Folder,
    bucket: Bucket,
    rule_id: Annotated[str, typer.Argument(metavar="[ID]", help="All of them without one.")] = "",
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Remove a rule of a bucket's lifecycle, or all of it."""
    with lakes.opened("rule lifecycle rm", lake, json_lines, quiet) as (opened, output):
        import msgspec

        from hosu.kernel.errors import ErrorKind, NotFoundError

        before = opened.rules.lifecycle(bucket)
        rules = () if before is None else before.rules
        left = tuple(rule for rule in rules if rule_id and rule.id != rule_id)
        if before is None or len(left) == len(rules):
            named = lakes.listed([repr(rule.id) for rule in rules]) or "none"
            raise NotFoundError(ErrorKind.INVALID_ARGUMENT, f"{bucket} has no rule {rule_id!r}: there are {named}")
        opened.rules.set_lifecycle(bucket, msgspec.structs.replace(before, rules=left) if left else None)
        removed = [rule.id for rule in rules if rule not in left]
        output.event(
            {"operation": "rule lifecycle rm", "bucket": bucket, "removed": removed}, f"removed {lakes.listed(removed)}"
        )  # fmt: skip


_ELEMENTS = {
    "Rules": "Rule", "Tags": "Tag", "Transitions": "Transition",
    "NoncurrentVersionTransitions": "NoncurrentVersionTransition",
}  # fmt: skip
"""Lists of the AWS tools' JSON, and the elements that S3's XML repeats for them."""


def _as_xml(text: str) -> str:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise UsageFault(f"the lifecycle is not valid JSON: {error}") from None
    if not isinstance(document, dict):
        raise UsageFault("the lifecycle is not as the AWS tools have it: an object with Rules")
    return f"<LifecycleConfiguration>{_children(document)}</LifecycleConfiguration>"


def _children(fields: dict[str, Any]) -> str:
    return "".join(_element(name, value) for name, value in fields.items())


def _element(name: str, value: object) -> str:
    if isinstance(value, list):
        return "".join(_element(_ELEMENTS.get(name, name), each) for each in value)
    if not name.isalnum():
        raise UsageFault(f"the lifecycle has a field {name!r}: S3 knows none of that name")
    if isinstance(value, dict):
        return f"<{name}>{_children(value)}</{name}>"
    from xml.sax.saxutils import escape

    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"<{name}>{escape(text)}</{name}>"
