"""Queries: sqlglot finds the tables in them, the engine reads those, and DuckDB does the rest.

The text of a query reaches DuckDB as it was written, but for the names of tables and for time travel.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from sqlglot import exp

from hosu.kernel.errors import ErrorKind, InvalidInputError, UnsupportedError
from hosu.tables.context import Identifier
from hosu.tables.identifiers import parse_identifier
from hosu.tables.pyvalues import python_values
from hosu.tables.reading.scan import Scan
from hosu.tables.scanrules import POSITIONS
from hosu.tables.snapshots import leases
from hosu.tables.snapshots.travel import SCAN_OPTIONS, At, Moment, parse_time, resolve, time_ms
from hosu.tables.sql.duck import Connection, Parameters, quoted
from hosu.tables.sql.grammar import check_case, check_marks, check_query, parsed
from hosu.tables.sql.lexing import Words, fault
from hosu.tables.sql.marking import RESERVED, Marked, Travel, mark
from hosu.tables.sql.pushing import Source, needed_columns, push_down
from hosu.tables.table import Table
from hosu.tables.upkeep.system import system_table

if TYPE_CHECKING:
    import pyarrow as pa

    from hosu.tables.catalog import Catalog
    from hosu.tables.records import Snapshot

_TIMED: Final = frozenset({"buckets", "files", "manifests", "partitions", "statistics"})
"""System tables that say something of one state; the others are of all there is."""


_STARTS: Final = frozenset(option for options in POSITIONS.values() for option in options)
"""Options that say which state is read, or what came since one."""


@dataclass
class Reference:
    """One mention of a table in a query."""

    node: exp.Table
    name: str
    """DATABASE.TABLE, and what follows a `$`."""

    alias: str
    source: Source | None = None
    """What a table is told; None for a system table, whose rows are made already."""

    rows: "pa.Table | None" = None
    scan: Scan | None = None
    is_latest: bool = True
    """Whether the latest state is asked for."""


@dataclass
class Query:
    """A query whose tables are registered in a connection."""

    sql: str
    parameters: Parameters
    references: list[Reference] = field(default_factory=list)


@dataclass
class Given:
    """What statements other than queries add to one."""

    locals: Mapping[str, str] = field(default_factory=dict)
    """What is registered in the connection already, by the names that a query has for it."""

    travels: list[Travel] | None = None
    """Those that names in it carry numbers of, of a statement that is marked already."""

    kept: bool = False
    """Whether tables are read once, whatever is asked of them later."""


class Binder:
    """Finds tables for the names in queries."""

    def __init__(self, catalog: "Catalog", database: str | None, connection: Connection) -> None:
        self._catalog = catalog
        self._database = database
        self._connection = connection
        self._count = 0

    def bind(self, sql: str, parameters: Parameters = None, given: Given | None = None) -> Query:
        """Return a query that DuckDB understands, its tables registered.

        Raises InvalidInputError QUERY_INVALID, NotFoundError for tables and snapshots, UnsupportedError by name.
        """
        given = given or Given()
        marked = mark(sql) if given.travels is None else Marked(sql, given.travels)
        tree = parsed(marked.sql)
        check_marks(tree)
        check_query(tree)
        if given.travels is None:
            _check_names(marked, parameters)
        return self._bound(tree, marked, parameters, given)

    def _bound(self, tree: exp.Expr, marked: Marked, parameters: Parameters, given: Given) -> Query:
        by_name = _by_name(parameters)
        local: dict[int, str] = {}
        found = list(self._references(tree, marked, by_name, given, local))
        for one in found:
            if one.source is not None:
                check_case(tree, one.source.schema.names, one.name)
        sources = {id(one.node): one.source for one in found if one.source is not None}
        push_down(tree, sources, by_name)
        splices = list(_qualifiers(tree, found))
        for node in tree.find_all(exp.Table):
            if id(node) in local:
                name = local[id(node)]
                splices.append(_spliced(node, given.locals[name], node.alias or name))
        for one in found:
            registered = f"{RESERVED}{self._count}"
            self._count += 1
            self._register(one, registered, tree, kept=given.kept)
            splices.append(_spliced(one.node, registered, one.alias))
        return Query(_splice(marked.sql, splices), _used(marked, parameters), found)

    def _references(
        self, tree: exp.Expr, marked: Marked, parameters: Mapping[str, Any], given: Given, local: dict[int, str]
    ) -> Iterator[Reference]:
        """Yield the tables of a query, and put those that are registered already into `local`, by their nodes."""
        for node in tree.find_all(exp.Table):
            if not isinstance(node.this, exp.Identifier):
                continue  # a function, which DuckDB has or not
            plain, travel = marked.split(node.name)
            if not node.db and not node.catalog:
                if plain in given.locals:
                    local[id(node)] = plain
                    continue
                if _is_cte(node, plain):
                    if travel != Travel():
                        raise fault(f"{plain!r} is no table, and has no history to travel in")
                    continue
            yield self._reference(node, plain, travel, parameters)

    def table_name(self, parts: list[str]) -> str:
        """Return DATABASE.TABLE of a name, in the database in use where it lacks one."""
        if len(parts) == 1:
            if self._database is None:
                raise fault(f"table {parts[0]!r} lacks its database: write it as DATABASE.TABLE, or USE one")
            parts = [self._database, *parts]
        if len(parts) != 2:  # noqa: PLR2004 - a database and a table
            raise fault(f"{'.'.join(parts)!r} is no name of a table: write it as DATABASE.TABLE")
        return ".".join(parts)

    def _reference(self, node: exp.Table, plain: str, travel: Travel, parameters: Mapping[str, Any]) -> Reference:
        parts = [part for part in (node.catalog, node.db, plain) if part]
        name = self.table_name(parts)
        alias = node.alias or plain
        parsed_name = parse_identifier(name)
        options = dict(travel.options)
        moment = self._moment(travel, options, name, parameters)
        identifier = parsed_name.identifier
        table = self._open(identifier, options)
        if parsed_name.system is not None:
            return Reference(node, name, alias, rows=_system_rows(table, parsed_name.system, moment, options))
        scan = table.scan(at=moment)
        if scan.snapshot is not None:
            # Rows are read when they are asked for, those of one table after those of another.
            self._connection.held.enter_context(leases.hold(scan.context, scan.snapshot))
        columns = node.args.get("alias")
        is_plain = not (columns is not None and columns.args.get("columns"))
        source = Source(scan.context.schema, alias, is_plain)
        is_latest = moment is None and not any(table.context.options.has(option) for option in _STARTS)
        return Reference(node, name, alias, source, scan=scan, is_latest=is_latest)

    def _open(self, identifier: Identifier, options: Mapping[str, str]) -> Table:
        name = f"{identifier.database}.{identifier.table}"
        return Table(self._catalog, name, branch=identifier.branch, options=options or None)

    def _moment(self, travel: Travel, options: Mapping[str, str], name: str, parameters: Mapping[str, Any]) -> Moment:
        if travel.timestamp is None and travel.version is None:
            return None
        if any(option in options for option in SCAN_OPTIONS):
            raise fault(f"{name} is asked for at two times: by a clause and by a hint")
        if travel.version is not None:
            value = self._value(travel.version, parameters)
            if isinstance(value, bool) or not isinstance(value, int | str):
                raise fault(f"version {travel.version} is neither the number of a snapshot nor the name of a tag")
            return At(snapshot_id=value) if isinstance(value, int) else At(version=value)
        assert travel.timestamp is not None
        value = self._value(travel.timestamp, parameters)
        # Without a zone it is UTC, as all times of a session are: so are those of now()::TIMESTAMP.
        if isinstance(value, str):
            return At(timestamp_ms=parse_time(value, UTC))
        if isinstance(value, datetime):
            return At(timestamp_ms=time_ms(value, UTC))
        if isinstance(value, date):
            return At(timestamp_ms=time_ms(datetime(value.year, value.month, value.day, tzinfo=UTC)))
        raise fault(
            f"{travel.timestamp} is no time: write '2026-01-31 09:00:00', with or without a zone, or an expression of "
            "type TIMESTAMP; milliseconds go into the hint OPTIONS('scan.timestamp-millis' = '…')"
        )

    def _value(self, expression: str, parameters: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a value of any type
        tree = parsed(f"SELECT {expression}")
        if tree.find(exp.Table, exp.Column) is not None:
            raise fault(f"the moment {expression} is no constant")
        names = {node.name for node in tree.find_all(exp.Placeholder, exp.Parameter)}
        for name in names:
            if name not in parameters:
                raise fault(f"parameter ${name} is not given")
        given = {name: parameters[name] for name in names}
        rows = self._connection.rows(f"SELECT {expression}", given)
        return python_values(rows.column(0))[0]

    def _register(self, one: Reference, registered: str, tree: exp.Expr, *, kept: bool) -> None:
        if one.rows is not None:
            self._connection.register(registered, one.rows)
            return
        assert one.source is not None
        assert one.scan is not None
        columns = needed_columns(tree, one.source)
        one.scan = one.scan.narrowed(columns, one.source.where)
        if not kept:
            self._connection.stream(registered, one.scan.schema, one.scan.to_reader)
            return
        self._connection.stream(f"{registered}_read", one.scan.schema, one.scan.to_reader)
        self._connection.keep(registered, f"SELECT * FROM {quoted(f'{registered}_read')}")


def _system_rows(table: Table, name: str, moment: Moment, options: Mapping[str, str]) -> "pa.Table":
    """Return the rows of a system table at the moment that a clause or a hint says."""
    starts = {option: value for option, value in options.items() if option in _STARTS}
    if (moment is not None or starts) and name not in _TIMED:
        raise UnsupportedError(
            ErrorKind.UNSUPPORTED, f"system table {name!r} has no history to travel in: leave out the time", table=name
        )
    others = sorted(starts.keys() - set(SCAN_OPTIONS))
    if others:
        raise UnsupportedError(
            ErrorKind.UNSUPPORTED, f"option {others[0]!r} is of rows, and not of a system table", option=others[0]
        )
    at = moment if moment is not None else starts or None
    return system_table(table.context, name, None if at is None else resolve(table.context, at))


def _is_cte(node: exp.Expr, name: str) -> bool:
    """Whether a name is that of a common table expression that can be seen from a node."""
    child, parent = node, node.parent
    within: exp.Expr | None = None
    while parent is not None:
        if isinstance(parent, exp.CTE):
            within = parent
        elif isinstance(parent, exp.With):
            is_recursive = bool(parent.args.get("recursive"))
            for cte in parent.expressions:
                if cte is within and not is_recursive:
                    break
                if cte.alias.lower() == name.lower():
                    return True
        else:
            with_ = parent.args.get("with_")
            seen = [] if with_ is None or with_ is child else with_.expressions
            if any(cte.alias.lower() == name.lower() for cte in seen):
                return True
        child, parent = parent, parent.parent
    return False


def _by_name(parameters: Parameters) -> dict[str, Any]:
    if not parameters:
        return {}
    if isinstance(parameters, Mapping):
        return {str(name): value for name, value in parameters.items()}
    return {str(number): value for number, value in enumerate(parameters, 1)}


def _used(marked: Marked, parameters: Parameters) -> Parameters:
    """Return the parameters without those that only moments have, which DuckDB does not see."""
    if isinstance(parameters, Mapping):
        used = _names(marked.sql)
        return {name: value for name, value in parameters.items() if str(name) in used}
    moments = {name for travel in marked.travels for name in _names(f"{travel.timestamp} {travel.version}")}
    only = moments - _names(marked.sql)
    return {name: value for name, value in _by_name(parameters).items() if name not in only} if only else parameters


def _check_names(marked: Marked, parameters: Parameters) -> None:
    """Refuse parameters by name that a statement has nowhere; raise InvalidInputError QUERY_INVALID."""
    if isinstance(parameters, Mapping):
        texts = [marked.sql, *(f"{travel.timestamp} {travel.version}" for travel in marked.travels)]
        names = {name for text in texts for name in _names(text)}
        for name in parameters:
            if str(name) not in names:
                raise fault(f"there is a value for parameter ${name}, which the statement does not have")


def _names(sql: str) -> set[str]:
    """Return the parameters in a statement by name, or by number as text."""
    found = Words(sql).tokens
    return {two.text for one, two in pairwise(found) if one.text == "$" and one.end == two.start}


@dataclass(frozen=True)
class _Splice:
    start: int
    end: int
    text: str


def _place(identifier: exp.Expr) -> tuple[int, int]:
    meta = identifier.meta
    if "start" not in meta:
        raise fault(f"the place of {identifier.name!r} in the statement cannot be told")
    return int(meta["start"]), int(meta["end"]) + 1


def _spliced(node: exp.Table, registered: str, alias: str) -> _Splice:
    first = node.args.get("catalog") or node.args.get("db") or node.this
    start, end = _place(first)[0], _place(node.this)[1]
    text = quoted(registered)
    return _Splice(start, end, text if node.alias else f"{text} AS {quoted(alias)}")


def _qualifiers(tree: exp.Expr, references: list[Reference]) -> Iterator[_Splice]:
    """Yield what is cut out of DATABASE.TABLE.COLUMN, since DuckDB knows tables by their aliases alone."""
    names = {(one.node.db.lower(), one.alias.lower()) for one in references if one.node.db and not one.node.alias}
    for column in tree.find_all(exp.Column):
        database, table = column.args.get("db"), column.args.get("table")
        if database is not None and table is not None and (column.db.lower(), column.table.lower()) in names:
            yield _Splice(_place(database)[0], _place(table)[0], "")


def _splice(sql: str, splices: list[_Splice]) -> str:
    for splice in sorted(splices, key=lambda one: one.start, reverse=True):
        sql = sql[: splice.start] + splice.text + sql[splice.end :]
    return sql


def explained(query: Query) -> Iterator[tuple[str, int | None, str, str, int, int, int, int, int]]:
    """Yield what a query reads: of each table its snapshot, columns, condition, files and bytes of how many."""
    for one in query.references:
        if one.scan is None or one.source is None:
            yield one.name, None, "", "", 0, 0, 0, 0, 0
            continue
        is_of_files = type(one.scan) is Scan  # changes are read from wherever they are told
        splits = one.scan.splits() if is_of_files else []
        everything = one.scan.narrowed(one.scan.columns, None).splits() if is_of_files else []
        yield (
            one.name,
            _id(one.scan.snapshot),
            ", ".join(one.scan.columns),
            " AND ".join(one.source.told),
            sum(len(split.files) for split in splits),
            sum(len(split.files) for split in everything),
            sum(split.size_bytes for split in splits),
            sum(split.size_bytes for split in everything),
            sum(split.needs_merge for split in splits),
        )


def _id(snapshot: "Snapshot | None") -> int | None:
    return None if snapshot is None else snapshot.id


def with_columns(error: InvalidInputError, query: Query | None) -> InvalidInputError:
    """Return the error of a column that is not there with those that are: DuckDB has seen only what was asked for."""
    told, found, _ = error.message.partition("; Candidate bindings:")
    if not found or query is None:
        return error
    there = [f"{one.alias} has {', '.join(one.source.schema.names)}" for one in query.references if one.source]
    return InvalidInputError(error.kind, "; ".join([told.rstrip("!"), *dict.fromkeys(there)]), **error.details)
