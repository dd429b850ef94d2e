"""CALL sys.…: upkeep and history, by the names that Paimon's procedures have; and ANALYZE TABLE."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hosu.kernel.errors import ErrorKind, UnsupportedError
from hosu.tables.predicates import Predicate
from hosu.tables.predicates.parsing import parse_where
from hosu.tables.reading.pruning import PartitionFilter
from hosu.tables.snapshots import branches, consumers, tags
from hosu.tables.snapshots.travel import At, parse_time
from hosu.tables.sql.duck import Parameters
from hosu.tables.sql.lexing import NUMBER, TEXT, Words, fault
from hosu.tables.sql.results import Result
from hosu.tables.sql.showing import open_table, table
from hosu.tables.table import Table
from hosu.tables.upkeep.partitions import expire_partitions
from hosu.tables.upkeep.report import Report
from hosu.tables.upkeep.statistics import analyze

if TYPE_CHECKING:
    from hosu.tables.sql.session import Session

SYSTEM: Final = "sys"


@dataclass(frozen=True)
class _Procedure:
    """A procedure: what runs it, its arguments in order after the table, and how many of them it cannot do without."""

    run: Callable[..., str]
    arguments: tuple[str, ...]
    needed: int = 0


def call(session: "Session", words: Words, _: Parameters) -> Result:
    """Run CALL sys.procedure(…), with arguments in order or by name."""
    name = words.dotted("the name of a procedure")
    if len(name) != 2 or name[0].lower() != SYSTEM or name[1].lower() not in PROCEDURES:  # noqa: PLR2004 - sys and a name
        there = ", ".join(sorted(PROCEDURES))
        raise UnsupportedError(
            ErrorKind.UNSUPPORTED, f"procedure {'.'.join(name)} is not supported: {SYSTEM} has {there}"
        )
    procedure = PROCEDURES[name[1].lower()]
    given = _arguments(words, ("table", *procedure.arguments))
    words.end()
    target = given.pop("table", None)
    if not isinstance(target, str):
        raise fault(f"CALL {'.'.join(name)} needs a table: CALL {'.'.join(name)}('db.table')")
    for needed in procedure.arguments[: procedure.needed]:
        if needed not in given:
            raise fault(f"CALL {'.'.join(name)} needs argument {needed!r}: it takes {', '.join(procedure.arguments)}")
    return Result(did=procedure.run(open_table(session, _full(session, target)), **given))


def _full(session: "Session", name: str) -> str:
    return name if "." in name or session.database is None else f"{session.database}.{name}"


def _arguments(words: Words, names: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    words.need("(")
    while not words.skip(")"):
        start = words.peek().start
        if words.peek(1).text == "=>":
            name = words.name("the name of an argument").lower()
            words.next()
        elif len(found) < len(names):
            name = names[len(found)]
        else:
            raise fault(f"there are too many arguments: it takes {', '.join(names)}", words.sql, start)
        if name not in names or name in found:
            raise fault(f"argument {name!r} is unknown or given twice: it takes {', '.join(names)}", words.sql, start)
        found[name] = _checked(name, _value(words), fault(f"argument {name!r} cannot be this", words.sql, start))
        if not words.is_next(")"):
            words.need(",")
    return {name: value for name, value in found.items() if value is not None and value != ""}


_WHOLE: Final = frozenset({"next_snapshot_id", "retain_max", "retain_min", "snapshot_id"})
_ANY: Final = frozenset({"older_than", "version"})


def _checked(name: str, value: object, wrong: Exception) -> object:
    """Return the value of an argument; raise `wrong` where it is not of its type."""
    if name in _WHOLE and isinstance(value, str) and value.isdecimal():
        return int(value)
    kind = int if name in _WHOLE else bool if name == "dry_run" else (str, int) if name in _ANY else str
    is_flag = isinstance(value, bool)
    if value is not None and value != "" and (not isinstance(value, kind) or (is_flag and name != "dry_run")):
        raise wrong
    return value


def _value(words: Words) -> Any:  # noqa: ANN401 - a value of any type
    sign = -1 if words.skip("-") else 1
    token = words.next()
    if token.kind == NUMBER and token.text.isdecimal():
        return sign * int(token.text)
    if token.kind == TEXT:
        return token.value
    if token.word in {"TRUE", "FALSE", "NULL"}:
        return {"TRUE": True, "FALSE": False, "NULL": None}[token.word]
    raise fault("an argument is text, a whole number, TRUE, FALSE or NULL", words.sql, token.start)


def partition_filter(table_: Table, condition: str | None) -> PartitionFilter | None:
    """Return which partitions a condition of SQL means; raise InvalidInputError QUERY_INVALID for other columns."""
    if condition is None:
        return None
    found: Predicate = parse_where(condition, table_.schema)
    others = sorted(found.columns - set(table_.schema.partition_keys))
    if others:
        keys = ", ".join(table_.schema.partition_keys) or "none"
        raise fault(f"column {others[0]!r} is no partition key of {table_.name}: those are {keys}")
    return PartitionFilter(found, table_.schema.partition_fields)


def told(report: Report) -> str:
    """Return what upkeep did, on one line."""
    from hosu.kernel.limits import KIB  # noqa: PLC0415 - a number

    counts = [
        (len(report.snapshots), "snapshots"),
        (len(report.changelogs), "changelogs"),
        (len(report.tags_deleted), "tags"),
        (len(report.consumers_deleted), "consumers"),
        (len(report.partitions_dropped), "partitions"),
        (len(report.files), "files"),
    ]
    what = ", ".join(f"{count} {name}" for count, name in counts if count) or "nothing"
    verb = "would delete" if report.dry_run else "deleted"
    freed = f" ({report.bytes_freed // KIB} KiB)" if report.bytes_freed else ""
    notes = "".join(f"; {note}" for note in report.notes)
    return f"{verb} {what}{freed}{notes}"


def _compact(
    on: Table, *, partitions: str | None = None, compact_strategy: str = "minor", where: str | None = None
) -> str:
    if compact_strategy not in {"full", "minor"}:
        raise fault(f"compact_strategy is {compact_strategy!r}: use 'full' or 'minor'")
    if partitions is not None and where is not None:
        raise fault("give partitions or where, not both")
    condition = where if where is not None else partition_condition(partitions)
    wanted = partition_filter(on, condition)
    made = on.compact(full=compact_strategy == "full", partitions=wanted)
    return f"compacted {on.name}: snapshot {made[-1].id}" if made else f"{on.name} needs no compaction"


def partition_condition(text: str | None) -> str | None:
    """Return a condition of Paimon's way to name partitions: `dt=2026-01-31,hour=5;dt=2026-02-01`."""
    if text is None:
        return None
    groups = []
    for group in text.split(";"):
        pairs = [pair.partition("=") for pair in group.split(",")]
        if not all(equals for _, equals, _ in pairs):
            raise fault(f"partitions {text!r} are not understood: write key=value,key=value;key=value")
        groups.append(" AND ".join(f'"{key.strip()}" = {_text(value.strip())}' for key, _, value in pairs))
    return " OR ".join(f"({group})" for group in groups)


def _text(value: str) -> str:
    return "'" + value.strip("'").replace("'", "''") + "'"


def _expire_snapshots(
    on: Table,
    *,
    retain_max: int | None = None,
    retain_min: int | None = None,
    older_than: str | int | None = None,
    dry_run: bool = False,
) -> str:
    older_than_ms = _time(older_than)
    return told(on.expire(older_than_ms=older_than_ms, retain_min=retain_min, retain_max=retain_max, dry_run=dry_run))


def _remove_orphan_files(on: Table, *, older_than: str | int | None = None, dry_run: bool = False) -> str:
    return told(on.clean_orphans(older_than_ms=_time(older_than), dry_run=dry_run))


def _time(value: str | int | None) -> int | None:
    return parse_time(value) if isinstance(value, str) else value


def _create_tag(on: Table, *, tag: str, snapshot_id: int | None = None, time_retained: str | None = None) -> str:
    from hosu.tables.optionvalues import parse_duration_ms  # noqa: PLC0415 - for this one

    try:
        keep_ms = None if time_retained is None else parse_duration_ms(time_retained)
    except ValueError as error:
        raise fault(f"time_retained is {time_retained!r}: {error}") from error
    made = on.create_tag(tag, snapshot_id=snapshot_id, keep_ms=keep_ms)
    return f"tag {made.name} keeps snapshot {made.snapshot.id}"


def _delete_tag(on: Table, *, tag: str) -> str:
    return f"deleted tag {tag}; {told(on.delete_tag(tag))}"


def _rename_tag(on: Table, *, tag: str, target_tag: str) -> str:
    tags.rename(on.context, tag, target_tag)
    return f"tag {tag} is {target_tag}"


def _rollback(on: Table, *, version: str | int) -> str:
    at = At(snapshot_id=version) if isinstance(version, int) else At(version=version)
    return f"{on.name} is at snapshot {on.rollback(at).id}"


def _create_branch(on: Table, *, branch: str, tag: str | None = None) -> str:
    on.create_branch(branch, tag=tag)
    return f"made branch {branch}"


def _delete_branch(on: Table, *, branch: str) -> str:
    on.delete_branch(branch)
    return f"deleted branch {branch}"


def _fast_forward(on: Table, *, branch: str) -> str:
    branches.fast_forward(on.context, branch)
    return f"{on.name} is what branch {branch} was"


def _reset_consumer(on: Table, *, consumer_id: str, next_snapshot_id: int | None = None) -> str:
    if next_snapshot_id is None:
        consumers.delete(on.context, consumer_id)
        return f"forgot consumer {consumer_id}"
    consumers.reset(on.context, consumer_id, next_snapshot_id)
    return f"consumer {consumer_id} reads on from snapshot {next_snapshot_id}"


def _expire_partitions(on: Table, *, dry_run: bool = False) -> str:
    return told(expire_partitions(on.context, dry_run=dry_run))


def _analyze(on: Table) -> str:
    return f"analysed {on.name}: snapshot {analyze(on.context).id}"


PROCEDURES: Final = {
    "analyze": _Procedure(_analyze, ()),
    "compact": _Procedure(_compact, ("partitions", "compact_strategy", "where")),
    "create_branch": _Procedure(_create_branch, ("branch", "tag"), 1),
    "create_tag": _Procedure(_create_tag, ("tag", "snapshot_id", "time_retained"), 1),
    "delete_branch": _Procedure(_delete_branch, ("branch",), 1),
    "delete_tag": _Procedure(_delete_tag, ("tag",), 1),
    "expire_partitions": _Procedure(_expire_partitions, ("dry_run",)),
    "expire_snapshots": _Procedure(_expire_snapshots, ("retain_max", "retain_min", "older_than", "dry_run")),
    "fast_forward": _Procedure(_fast_forward, ("branch",), 1),
    "remove_orphan_files": _Procedure(_remove_orphan_files, ("older_than", "dry_run")),
    "rename_tag": _Procedure(_rename_tag, ("tag", "target_tag"), 2),
    "reset_consumer": _Procedure(_reset_consumer, ("consumer_id", "next_snapshot_id"), 1),
    "rollback": _Procedure(_rollback, ("version",), 1),
}
"""Procedures by name."""


def analyze_table(session: "Session", words: Words, _: Parameters) -> Result:
    """Run ANALYZE TABLE … [COMPUTE STATISTICS [FOR ALL COLUMNS | FOR COLUMNS a, b]]."""
    words.skip("TABLE")
    on = table(session, words)
    columns: list[str] | None = None
    if words.skip("COMPUTE", "STATISTICS"):
        columns = []
        if words.skip("FOR", "ALL", "COLUMNS"):
            columns = None
        elif words.skip("FOR", "COLUMNS"):
            columns = [words.name("the name of a column")]
            while words.skip(","):
                columns.append(words.name("the name of a column"))
    words.end()
    return Result(did=f"analysed {on.name}: snapshot {analyze(on.context, columns).id}")
