"""What a table's options say about merging its rows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

from hosu.kernel.errors import ErrorKind, InvalidInputError
from hosu.tables.aggregators import check_aggregator
from hosu.tables.options import MergeEngine, Options

if TYPE_CHECKING:
    from hosu.tables.context import TableContext

__all__ = ["Aggregator", "MergeEngine", "MergeSpec", "SequenceGroup"]

COUNT_LIMIT_MAX = 2**31 - 1


@dataclass(frozen=True)
class Aggregator:
    """How the values of one column become one."""

    name: str
    ignore_retract: bool = False
    delimiter: str = ","
    distinct: bool = False
    nested_key: tuple[str, ...] = ()
    nested_sequence: tuple[str, ...] = ()
    count_limit: int = COUNT_LIMIT_MAX
    null_keys: str = "merge"
    time_field: str | None = None


LAST = Aggregator("last_value")
LAST_NON_NULL = Aggregator("last_non_null_value")
PRIMARY_KEY = Aggregator("primary-key")


@dataclass(frozen=True)
class SequenceGroup:
    """Columns of a partial-update table that have an order of their own."""

    fields: tuple[str, ...]
    protected: tuple[str, ...]


@dataclass(frozen=True)
class MergeSpec:
    """How to merge the rows of one table."""

    keys: tuple[str, ...]
    """The trimmed primary key: what tells rows of a bucket apart."""

    engine: MergeEngine = MergeEngine.DEDUPLICATE
    sequence_fields: tuple[str, ...] = ()
    sequence_descending: bool = False
    ignore_delete: bool = False
    remove_record_on_delete: bool = False
    aggregators: Mapping[str, Aggregator] = field(default_factory=dict)
    """Of aggregation: of each column. Of partial-update: of those columns that have one."""

    groups: tuple[SequenceGroup, ...] = ()
    removing: frozenset[str] = frozenset()
    """Sequence fields of groups whose -D removes the whole row."""

    @property
    def picks(self) -> bool:
        """Whether of each key one row stays as it is."""
        return self.engine in {MergeEngine.DEDUPLICATE, MergeEngine.FIRST_ROW}

    @classmethod
    def of(cls, ctx: "TableContext") -> Self:
        """Read a table's options. UnsupportedError or TABLE_INVALID name what cannot be."""
        schema = ctx.schema
        return cls.from_options(ctx.options, schema.trimmed_keys, schema.primary_keys, schema.names)

    @classmethod
    def from_options(
        cls, options: Options, keys: Iterable[str], primary_keys: Iterable[str], names: Iterable[str]
    ) -> Self:
        """Read options of a table with these columns. UnsupportedError or TABLE_INVALID name what cannot be."""
        primary, columns = tuple(primary_keys), tuple(names)
        spec = cls(
            tuple(keys),
            options.merge_engine,
            options.sequence_fields,
            options.sequence_descending,
            options.ignore_delete,
        )
        if spec.engine is MergeEngine.AGGREGATION:
            remove = options.aggregation_remove_record_on_delete
            aggregators = _aggregators(options, columns, primary, remove=remove)
            return replace(spec, remove_record_on_delete=remove, aggregators=aggregators)
        if spec.engine is MergeEngine.PARTIAL_UPDATE:
            groups = _groups(options, columns, primary)
            remove = options.partial_update_remove_record_on_delete
            removing = frozenset(options.partial_update_remove_record_on_sequence_group)
            _check_removal(groups, removing, remove=remove, ignore_delete=spec.ignore_delete)
            aggregators = _group_aggregators(options, columns, primary, groups)
            return replace(
                spec, remove_record_on_delete=remove, aggregators=aggregators, groups=groups, removing=removing
            )
        return spec

    def needed(self, columns: Iterable[str]) -> list[str]:
        """Return these columns and what merging them takes besides, without the system columns."""
        wanted = dict.fromkeys(columns)
        wanted.update(dict.fromkeys((*self.keys, *self.sequence_fields)))
        for group in self.groups:
            if self.removing.intersection(group.fields) or not wanted.keys().isdisjoint(group.protected + group.fields):
                wanted.update(dict.fromkeys(group.fields))
        return list(wanted)


def _invalid(message: str) -> InvalidInputError:
    return InvalidInputError(ErrorKind.TABLE_INVALID, message)


def _function(options: Options, column: str) -> str | None:
    own = options.aggregate_function(column)
    name = own or options.default_aggregate_function
    if name is not None:
        check_aggregator(f"fields.{column}.aggregate-function" if own else "fields.default-aggregate-function", name)
    return name


def _aggregator(options: Options, column: str, name: str) -> Aggregator:
    nested_key = options.nested_key(column)
    nested_sequence = options.nested_sequence_field(column)
    if nested_sequence and not nested_key:
        raise _invalid(f"option fields.{column}.nested-sequence-field needs fields.{column}.nested-key: set it too")
    if name == "nested_partial_update" and not nested_key:
        raise _invalid(f"aggregate function {name!r} of column {column!r} needs the option fields.{column}.nested-key")
    return Aggregator(
        name,
        ignore_retract=options.ignore_retract(column),
        delimiter=options.list_agg_delimiter(column),
        distinct=options.distinct(column),
        nested_key=nested_key,
        nested_sequence=nested_sequence,
        count_limit=options.count_limit(column),
        null_keys=options.nested_key_null_strategy(column),
        time_field=options.merge_map_time_field(column),
    )


def _aggregators(
    options: Options, columns: tuple[str, ...], primary: tuple[str, ...], *, remove: bool
) -> dict[str, Aggregator]:
    result = {}
    for column in columns:
        if column in options.sequence_fields:
            result[column] = LAST
        elif column in primary:
            result[column] = PRIMARY_KEY
        else:
            result[column] = _aggregator(options, column, _function(options, column) or LAST_NON_NULL.name)
        if remove and result[column].ignore_retract:
            raise _invalid(
                f"aggregation.remove-record-on-delete and fields.{column}.ignore-retract contradict each other: "
                "drop one of them"
            )
    return result


def _groups(options: Options, columns: tuple[str, ...], primary: tuple[str, ...]) -> tuple[SequenceGroup, ...]:
    groups = []
    owner: dict[str, str] = {}
    for fields, protected in options.sequence_groups.items():
        group = SequenceGroup(fields, protected)
        option = f"fields.{','.join(fields)}.sequence-group"
        for name in (*fields, *protected):
            if name not in columns:
                raise _invalid(f"option {option} names column {name!r}, which the table does not have")
            if name in primary:
                raise _invalid(f"option {option} names column {name!r} of the primary key: leave it out")
        for name in protected:
            if name in owner:
                raise _invalid(
                    f"column {name!r} is in two sequence groups, {owner[name]} and {option}: leave it in one"
                )
            owner[name] = option
        groups.append(group)
    return tuple(groups)


def _group_aggregators(
    options: Options,
    columns: tuple[str, ...],
    primary: tuple[str, ...],
    groups: tuple[SequenceGroup, ...],
) -> dict[str, Aggregator]:
    ordering = {name for group in groups for name in group.fields}
    protected = {name for group in groups for name in group.protected}
    result = {}
    for column in columns:
        if column in ordering or column in primary:
            continue
        name = _function(options, column)
        if name is None:
            continue
        if name != LAST_NON_NULL.name and column not in protected:
            raise _invalid(f"aggregate function {name!r} of column {column!r} needs a sequence group around the column")
        result[column] = _aggregator(options, column, name)
    return result


def _check_removal(
    groups: tuple[SequenceGroup, ...], removing: frozenset[str], *, remove: bool, ignore_delete: bool
) -> None:
    on_delete, on_group = "partial-update.remove-record-on-delete", "partial-update.remove-record-on-sequence-group"
    if ignore_delete and (remove or removing):
        raise _invalid(f"ignore-delete and {on_delete if remove else on_group} contradict each other: drop one")
    if remove and groups:
        raise _invalid(f"sequence groups and {on_delete} contradict each other: drop one")
    unknown = removing - {name for group in groups for name in group.fields}
    if unknown:
        raise _invalid(f"option {on_group} names {', '.join(sorted(unknown))}, which orders no sequence group")
