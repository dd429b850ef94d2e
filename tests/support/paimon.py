"""Tables that Flink and hosu both make from one description, so that each can read what the other wrote."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from hosu.tables.evolution import AddColumn, DropColumn, RenameColumn, SchemaChange, UpdateType
from hosu.tables.types import parse_type

Row = tuple[Any, ...]
Rows = Sequence[Row]


@dataclass(frozen=True, slots=True)
class Insert:
    """One commit of rows; an upsert where the table has a key."""

    rows: Rows


@dataclass(frozen=True, slots=True)
class Delete:
    """One commit that deletes what the condition holds for."""

    where: str


@dataclass(frozen=True, slots=True)
class Update:
    """One commit that changes what the condition holds for."""

    assignments: Mapping[str, str]
    where: str


@dataclass(frozen=True, slots=True)
class Overwrite:
    """One commit that puts rows in the place of one partition."""

    partition: Mapping[str, str]
    rows: Rows


@dataclass(frozen=True, slots=True)
class Compact:
    """A full compaction."""


@dataclass(frozen=True, slots=True)
class Alter:
    """A change of the schema; rows of later commits have the new columns."""

    flink: str
    changes: Sequence[SchemaChange]
    columns: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Tag:
    """A name for the latest snapshot."""

    name: str


Step = Insert | Delete | Update | Overwrite | Compact | Alter | Tag


@dataclass(frozen=True, slots=True)
class Case:
    """A table and what happens to it, in the words of SQL."""

    name: str
    columns: Mapping[str, str]
    steps: Sequence[Step]
    keys: Sequence[str] = ()
    partitions: Sequence[str] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    shows_changes: bool = False
    shows_history: bool = False
    refusal: str = ""
    """What hosu says of rows for such a table, which it reads, but does not write."""

    answer: Rows | None = None
    """The rows in the end, of a table that Flink reads but has no statement for one of the steps of."""

    @property
    def ddl(self) -> str:
        """Return the statement that makes the table in Flink."""
        columns = [f"`{name}` {kind}" for name, kind in self.columns.items()]
        if self.keys:
            columns.append(f"PRIMARY KEY ({quoted(self.keys)}) NOT ENFORCED")
        partitioned = f" PARTITIONED BY ({quoted(self.partitions)})" if self.partitions else ""
        options = ", ".join(f"'{name}'='{value}'" for name, value in self.options.items())
        return f"CREATE TABLE `{self.name}` ({', '.join(columns)}){partitioned}" + (
            f" WITH ({options})" if options else ""
        )

    def statements(self) -> list[str]:
        """Return what Flink runs after the table was made, one statement a step."""
        columns, found = dict(self.columns), []
        for step in self.steps:
            if isinstance(step, Alter):
                columns = dict(step.columns)
            found.append(statement(self.name, columns, step))
        return found


def quoted(names: Sequence[str]) -> str:
    """Return names as a list of SQL."""
    return ", ".join(f"`{name}`" for name in names)


def statement(table: str, columns: Mapping[str, str], step: Step) -> str:
    """Return a step in Flink's SQL."""
    match step:
        case Insert(rows):
            return f"INSERT INTO `{table}` {values(columns, rows)}"
        case Delete(where):
            return f"DELETE FROM `{table}` WHERE {where}"
        case Update(assignments, where):
            changed = ", ".join(f"`{name}` = {value}" for name, value in assignments.items())
            return f"UPDATE `{table}` SET {changed} WHERE {where}"
        case Overwrite(partition, rows):
            chosen = ", ".join(f"`{name}` = '{value}'" for name, value in partition.items())
            rest = {name: kind for name, kind in columns.items() if name not in partition}
            return f"INSERT OVERWRITE `{table}` PARTITION ({chosen}) {values(rest, rows)}"
        case Compact():
            return f"CALL sys.compact(`table` => 'java.{table}', compact_strategy => 'full')"
        case Alter(flink=flink):
            return f"ALTER TABLE `{table}` {flink}"
        case Tag(name):
            return f"CALL sys.create_tag(`table` => 'java.{table}', tag => '{name}')"


def values(columns: Mapping[str, str], rows: Rows) -> str:
    """Return rows as a query of SQL; the first alone is cast, its types hold for all."""
    kinds = list(columns.values())
    listed = [", ".join(cast(value, kind) for value, kind in zip(row, kinds, strict=True)) for row in rows]
    return " UNION ALL ".join(f"SELECT {row}" for row in listed)


def cast(value: Any, kind: str) -> str:
    """Return a value as a literal of a type."""
    return f"CAST({literal(value)} AS {kind.removesuffix(' NOT NULL')})"


def literal(value: Any) -> str:
    """Return a value of Python as SQL writes it; temporal ones, given as text, are cast."""
    match value:
        case None | bool():
            return "NULL" if value is None else str(value).upper()
        case bytes():
            return f"X'{value.hex()}'"
        case list():
            return f"ARRAY[{', '.join(map(literal, value))}]"
        case dict():
            return "MAP[" + ", ".join(f"{literal(key)}, {literal(item)}" for key, item in value.items()) + "]"
        case tuple():
            return f"ROW({', '.join(map(literal, value))})"
        case int() if abs(value) < 2**31:
            return str(value)
    return "'" + str(value).replace("'", "''") + "'"


SCALARS = {
    "id": "INT",
    "f_boolean": "BOOLEAN",
    "f_tinyint": "TINYINT",
    "f_smallint": "SMALLINT",
    "f_bigint": "BIGINT",
    "f_float": "FLOAT",
    "f_double": "DOUBLE",
    "f_decimal9": "DECIMAL(9, 2)",
    "f_decimal18": "DECIMAL(18, 4)",
    "f_decimal38": "DECIMAL(38, 10)",
    "f_char": "CHAR(5)",
    "f_varchar": "VARCHAR(20)",
    "f_string": "STRING",
    "f_binary": "BINARY(4)",
    "f_varbinary": "VARBINARY(8)",
    "f_bytes": "BYTES",
    "f_date": "DATE",
    "f_time": "TIME(0)",
    "f_timestamp0": "TIMESTAMP(0)",
    "f_timestamp3": "TIMESTAMP(3)",
    "f_timestamp6": "TIMESTAMP(6)",
    "f_timestamp9": "TIMESTAMP(9)",
    "f_ltz3": "TIMESTAMP_LTZ(3)",
    "f_ltz6": "TIMESTAMP_LTZ(6)",
    "f_ltz9": "TIMESTAMP_LTZ(9)",
}
OLD = 2
"""The row of times before 1970."""

SCALAR_ROWS: Rows = (
    (
        1, True, 127, 32767, 2**63 - 1, 1.5, 2.25,
        Decimal("1234567.89"), Decimal("12345678901234.5678"), Decimal("1234567890123456789012345678.0123456789"),
        "abcde", "varchar", "grüße, 世界 🎉", b"\x00\x01\x02\xff", b"\x01\x02", b"bytes of any length",
        "2024-02-29", "12:34:56", "2024-02-29 01:02:03",
        "2024-02-29 01:02:03.004", "2024-02-29 01:02:03.004005", "2024-02-29 01:02:03.004005006",
        "2024-02-29 01:02:03.004", "2024-02-29 01:02:03.004005", "2024-02-29 01:02:03.004005006",
    ),
    (
        OLD, False, -128, -32768, -(2**63) + 1, -1.5, -2.25,
        Decimal("-1234567.89"), Decimal("-12345678901234.5678"), Decimal("-0.0000000001"),
        "x    ", "", "", b"\x00\x00\x00\x00", b"", b"",
        "1969-12-31", "00:00:00", "1969-12-31 23:59:59",
        "1969-12-31 23:59:58.999", "1969-12-31 23:59:58.999999", "1969-12-31 23:59:58.999999999",
        "1969-12-31 23:59:58.999", "1969-12-31 23:59:58.999999", "1969-12-31 23:59:58.999999999",
    ),
    (3, *[None] * 24),
    (
        4, True, 0, 0, 0, 0.0, 0.0,
        Decimal("0.00"), Decimal("0.0000"), Decimal("0E-10"),
        "     ", " ", " leading and trailing ", b"abcd", b"\xff" * 8, b"\x00" * 20,
        "1970-01-01", "23:59:59", "1970-01-01 00:00:00",
        "1970-01-01 00:00:00.000", "1970-01-01 00:00:00.000000", "1970-01-01 00:00:00.000000001",
        "1970-01-01 00:00:00.000", "1970-01-01 00:00:00.000001", "1970-01-01 00:00:00.000000001",
    ),
)  # fmt: skip

COARSE = {name: kind for name, kind in SCALARS.items() if not name.endswith("9") or "decimal" in name}
COARSE_ROWS: Rows = [
    tuple(value for name, value in zip(SCALARS, row, strict=True) if name in COARSE) for row in SCALAR_ROWS
]
"""What Avro of Paimon has a type for: nothing finer than microseconds."""

ZONELESS = {name: kind for name, kind in SCALARS.items() if "ltz" not in name}
ZONELESS_ROWS: Rows = [row[: len(ZONELESS)] for row in SCALAR_ROWS if row[0] != OLD]

KEYABLE = [name for name in SCALARS if name != "id"]

NESTED = {
    "id": "INT",
    "numbers": "ARRAY<INT>",
    "words": "ARRAY<STRING>",
    "weights": "MAP<STRING, DOUBLE>",
    "counts": "MAP<INT, BIGINT>",
    "person": "ROW<name STRING, age INT, born DATE>",
    "people": "ARRAY<ROW<name STRING, age INT>>",
    "groups": "MAP<STRING, ARRAY<INT>>",
    "deep": "ROW<a ROW<b ROW<c STRING>>, d ARRAY<ARRAY<INT>>>",
}
NESTED_ROWS: Rows = (
    (1, [1, 2, 3], ["a", "b"], {"x": 1.5, "y": -2.0}, {1: 10, 2: 20}, ("Ann", 30, "1990-05-06"),
     [("Bob", 1), ("Cy", 2)], {"g": [1, 2], "h": [3]}, (((("deepest",),)), [[1], [2, 3]])),
    (2, *[None] * 8),
    (3, [7], ["", "ü"], {"z": 0.0}, {0: 0}, ("", 0, "1970-01-01"), [("", 0)], {"": [0]}, (((("",),)), [[0]])),
)  # fmt: skip

PRICES = {"symbol": "STRING", "seq": "BIGINT", "price": "DOUBLE", "volume": "BIGINT", "note": "STRING"}


def prices(start: int, stop: int, seq: int, *, note: str = "n") -> Rows:
    """Return rows of PRICES with symbols from start up to stop; every fifth has neither volume nor note."""
    return [
        (f"S{n:03d}", seq, n + seq / 8, None if n % 5 == 0 else n * seq, None if n % 5 == 0 else f"{note}{seq}")
        for n in range(start, stop)
    ]


UPSERTS: tuple[Step, ...] = (
    Insert(prices(0, 20, 1)),
    Insert(prices(10, 30, 2)),
    Insert(prices(5, 12, 3)),
)
DELETING: tuple[Step, ...] = (*UPSERTS, Delete("symbol = 'S007'"), Insert(prices(7, 9, 4)), Delete("symbol = 'S001'"))
CHANGING: tuple[Step, ...] = (*DELETING, Insert(prices(28, 33, 5)))


def keyed(name: str, steps: Sequence[Step], options: Mapping[str, str], **more: Any) -> Case:
    """Return a case of the columns PRICES by symbol; one bucket unless options say otherwise."""
    return Case(name, PRICES, steps, ("symbol",), options={"bucket": "1"} | dict(options), **more)


PARTIAL = {"id": "INT", "a": "INT", "b": "STRING", "g1": "INT", "c": "INT", "g2": "INT", "d": "STRING", "e": "INT"}
PARTIAL_OPTIONS = {
    "bucket": "1",
    "merge-engine": "partial-update",
    "fields.g1.sequence-group": "c",
    "fields.g2.sequence-group": "d,e",
    "fields.e.aggregate-function": "sum",
}
PARTIAL_STEPS = (
    Insert([(1, 1, None, 1, 10, 5, "five", 1), (2, None, "b", None, None, 1, "one", 10)]),
    Insert(
        [
            (1, None, "x", 0, 20, 6, "six", 2),
            (2, 5, None, 3, 30, 0, "zero", 20),
            (3, None, None, None, None, None, None, None),
        ]
    ),
    Insert([(1, 9, None, 2, None, 4, "four", 4), (3, 3, "c", 1, 1, 1, "one", None)]),
)

AGGREGATES = {
    "id": "INT",
    "s_sum": "BIGINT",
    "s_product": "DOUBLE",
    "s_max": "STRING",
    "s_min": "DECIMAL(10, 2)",
    "s_last": "STRING",
    "s_last_non_null": "STRING",
    "s_first": "STRING",
    "s_first_non_null": "STRING",
    "s_listagg": "STRING",
    "s_and": "BOOLEAN",
    "s_or": "BOOLEAN",
    "s_collect": "ARRAY<INT>",
    "s_merge_map": "MAP<STRING, INT>",
}
AGGREGATE_OPTIONS = {
    "bucket": "1",
    "merge-engine": "aggregation",
    "fields.s_sum.aggregate-function": "sum",
    "fields.s_product.aggregate-function": "product",
    "fields.s_max.aggregate-function": "max",
    "fields.s_min.aggregate-function": "min",
    "fields.s_last.aggregate-function": "last_value",
    "fields.s_last_non_null.aggregate-function": "last_non_null_value",
    "fields.s_first.aggregate-function": "first_value",
    "fields.s_first_non_null.aggregate-function": "first_non_null_value",
    "fields.s_listagg.aggregate-function": "listagg",
    "fields.s_listagg.list-agg-delimiter": ";",
    "fields.s_and.aggregate-function": "bool_and",
    "fields.s_or.aggregate-function": "bool_or",
    "fields.s_collect.aggregate-function": "collect",
    "fields.s_merge_map.aggregate-function": "merge_map",
}


def aggregated(number: int, value: int | None) -> Row:
    """Return a row of AGGREGATES; without a value it is NULL throughout."""
    if value is None:
        return (number, *[None] * 13)
    text = f"v{value}"
    return (
        number, value, value / 2, text, Decimal(value) / 4, text, text, text, text, text,
        value % 2 == 0, value % 2 == 0,
        [value, value + 1], {text: value, "last": value},
    )  # fmt: skip


AGGREGATE_STEPS = (
    Insert([aggregated(1, 4), aggregated(2, None), aggregated(3, 3)]),
    Insert([aggregated(1, 6), aggregated(2, 7), aggregated(4, 1)]),
    Insert([aggregated(1, None), aggregated(2, 8), aggregated(3, 10)]),
)

RETRACTS = {"id": "INT", "kind": "STRING", "total": "BIGINT", "name": "STRING"}

KINDS = {"id": "INT", "kind": "STRING", "v": "STRING"}

TICKER = {
    "symbol": "STRING",
    "price": "DOUBLE",
    "volume": "DOUBLE",
    "change_rate": "DOUBLE",
    "trade_timestamp": "TIMESTAMP(3)",
    "dt": "STRING",
}
TICKER_OPTIONS = {"changelog-producer": "input", "merge-engine": "deduplicate", "bucket": "4"}


def ticks(dt: str, start: int, stop: int, seq: int) -> Rows:
    """Return ticks of a day."""
    return [
        (f"KRW-{n:03d}", n * 1.5 + seq, float(n), n / 1000 - 0.5, f"{dt} 09:00:{seq:02d}.{n:03d}", dt)
        for n in range(start, stop)
    ]


EVOLVED = {"id": "INT", "a": "INT", "b": "STRING", "c": "FLOAT"}
EVOLVED_ADDED = {**EVOLVED, "d": "STRING"}
EVOLVED_RENAMED = {"id": "INT", "a": "INT", "bee": "STRING", "c": "FLOAT", "d": "STRING"}
EVOLVED_WIDE = {"id": "INT", "a": "BIGINT", "bee": "STRING", "c": "DOUBLE", "d": "STRING"}
EVOLVED_DROPPED = {"id": "INT", "a": "BIGINT", "c": "DOUBLE", "d": "STRING"}
EVOLVED_AGAIN = {"id": "INT", "a": "BIGINT", "c": "DOUBLE", "d": "STRING", "bee": "INT"}
WIDER = (UpdateType("a", parse_type("BIGINT")), UpdateType("c", parse_type("DOUBLE")))
EVOLVED_STEPS: tuple[Step, ...] = (
    Insert([(1, 1, "one", 1.5), (2, 2, "two", 2.5), (3, 3, "three", None)]),
    Alter("ADD `d` STRING", [AddColumn("d", parse_type("STRING"))], EVOLVED_ADDED),
    Insert([(2, 20, "twenty", 20.5, "d2"), (4, 4, "four", 4.5, None)]),
    Alter("RENAME `b` TO `bee`", [RenameColumn("b", "bee")], EVOLVED_RENAMED),
    Insert([(5, 5, "five", 5.5, "d5")]),
    Alter("MODIFY (`a` BIGINT, `c` DOUBLE)", WIDER, EVOLVED_WIDE),
    Insert([(6, 2**40, "six", 0.1, "d6")]),
    Alter("DROP `bee`", [DropColumn("bee")], EVOLVED_DROPPED),
    Alter("ADD `bee` INT", [AddColumn("bee", parse_type("INT"))], EVOLVED_AGAIN),
    Insert([(1, 100, 9.5, "d1", 7), (7, 7, 7.5, "d7", 70)]),
)

LOGS = {"id": "INT", "level": "STRING", "size": "BIGINT"}


def logs(start: int, stop: int) -> Rows:
    """Return rows of LOGS."""
    return [(n, ("info", "warn", "error")[n % 3], None if n % 7 == 0 else n * 10) for n in range(start, stop)]


PARTED = {"id": "INT", "v": "STRING", "day": "DATE", "region": "STRING", "hour": "INT"}
TYPED = {
    "id": "INT",
    "p_boolean": "BOOLEAN",
    "p_decimal": "DECIMAL(5, 2)",
    "p_date": "DATE",
    "p_time": "TIME(0)",
    "p_timestamp": "TIMESTAMP(3)",
    "p_timestamp6": "TIMESTAMP(6)",
    "p_double": "DOUBLE",
}
TYPED_ROWS: Rows = [
    (1, True, Decimal("1.50"), "2024-02-29", "12:34:56", "2024-02-29 01:02:03.004", "2024-02-29 01:02:00", 1.5),
    (2, False, Decimal("-7.00"), "1969-12-31", "00:00:00", "2024-02-29 00:00:00", "1969-12-31 23:59:58.9", 1e10),
    (3, None, None, None, None, None, None, None),
]
PARTED_ROWS: Rows = [
    (1, "a", "2024-01-01", "eu/west", 0),
    (2, "b", "2024-01-01", "eu/west", 1),
    (3, "c", "2024-01-02", "a b=c%d", 0),
    (4, "d", "1969-12-31", "ü", -5),
    (5, "e", "2024-01-02", "eu/west", 23),
]

CASES: tuple[Case, ...] = (
    Case("scalars", SCALARS, [Insert(SCALAR_ROWS[:2]), Insert(SCALAR_ROWS[2:])]),
    Case(
        "scalars_orc",
        SCALARS,
        [Insert(SCALAR_ROWS)],
        options={"file.format": "orc"},
        refusal="set 'file.format' to parquet",
    ),
    Case("zoneless_orc", ZONELESS, [Insert(ZONELESS_ROWS)], options={"file.format": "orc"}),
    Case("scalars_avro", COARSE, [Insert(COARSE_ROWS)], options={"file.format": "avro"}),
    Case(
        "keys",
        {name: f"{kind} NOT NULL" for name, kind in SCALARS.items()},
        [Insert([row for row in SCALAR_ROWS if None not in row]), Insert([SCALAR_ROWS[1]])],
        KEYABLE,
        options={"bucket": "7"},
    ),
    Case("nested", NESTED, [Insert(NESTED_ROWS[:2]), Insert(NESTED_ROWS[2:])], ("id",), options={"bucket": "2"}),
    Case("nested_orc", NESTED, [Insert(NESTED_ROWS)], options={"file.format": "orc"}),
    Case("nested_avro", NESTED, [Insert(NESTED_ROWS)], options={"file.format": "avro"}),
    keyed("deduplicate", DELETING, {}, shows_history=True),
    keyed("runs", CHANGING, {"write-only": "true"}, shows_history=True),
    keyed("sequence", [*UPSERTS, Insert(prices(0, 9, 0))], {"sequence.field": "seq", "write-only": "true"}),
    Case(
        "ignore_delete",
        KINDS,
        [Insert([(1, "+I", "a"), (2, "+I", "b")]), Insert([(1, "-D", "a"), (2, "-U", "b"), (3, "+I", "c")])],
        ("id",),
        options={"bucket": "1", "rowkind.field": "kind", "ignore-delete": "true", "write-only": "true"},
    ),
    keyed("thin", DELETING, {"data-file.thin-mode": "true"}),
    keyed("hash_buckets", [*UPSERTS, Compact(), *UPSERTS], {"bucket": "5"}),
    keyed("orc", DELETING, {"file.format": "orc"}),
    keyed("avro", DELETING, {"file.format": "avro"}),
    keyed("first_row", UPSERTS, {"merge-engine": "first-row", "changelog-producer": "lookup"}, shows_changes=True),
    Case("partial_update", PARTIAL, PARTIAL_STEPS, ("id",), options=PARTIAL_OPTIONS | {"write-only": "true"}),
    Case("aggregation", AGGREGATES, AGGREGATE_STEPS, ("id",), options=AGGREGATE_OPTIONS | {"write-only": "true"}),
    Case(
        "retracts",
        RETRACTS,
        [
            Insert([(1, "+I", 10, "a"), (2, "+I", 5, "b")]),
            Insert([(1, "-U", 10, "a")]),
            Insert([(1, "+U", 3, "c"), (2, "-D", 2, "b")]),
        ],
        ("id",),
        options={
            "bucket": "1",
            "merge-engine": "aggregation",
            "rowkind.field": "kind",
            "fields.kind.aggregate-function": "last_value",
            "fields.kind.ignore-retract": "true",
            "fields.name.ignore-retract": "true",
            "fields.total.aggregate-function": "sum",
        },
    ),
    Case(
        "input_kinds",
        KINDS,
        [
            Insert([(1, "+I", "a"), (2, "+I", "b"), (3, "+I", "c")]),
            Insert([(1, "-U", "a"), (1, "+U", "A"), (2, "-D", "b")]),
        ],
        ("id",),
        options={"bucket": "1", "changelog-producer": "input", "rowkind.field": "kind"},
        shows_changes=True,
    ),
    keyed("changes_none", CHANGING, {}, shows_changes=True),
    keyed("changes_input", CHANGING, {"changelog-producer": "input"}, shows_changes=True),
    keyed("changes_lookup", CHANGING, {"changelog-producer": "lookup"}, shows_changes=True, shows_history=True),
    keyed(
        "changes_full",
        CHANGING,
        {"changelog-producer": "full-compaction", "full-compaction.delta-commits": "1"},
        shows_changes=True,
    ),
    keyed("vectors", DELETING, {"deletion-vectors.enabled": "true"}, shows_history=True),
    keyed("vectors64", DELETING, {"deletion-vectors.enabled": "true", "deletion-vectors.bitmap64": "true"}),
    keyed("dynamic", DELETING, {"bucket": "-1", "dynamic-bucket.target-row-num": "8"}),
    Case("append", LOGS, [Insert(logs(0, 30)), Insert(logs(30, 40)), Insert(logs(40, 60))], shows_history=True),
    Case(
        "append_buckets",
        LOGS,
        [Insert(logs(0, 30)), Insert(logs(30, 60))],
        options={"bucket": "3", "bucket-key": "id"},
    ),
    Case(
        "append_edits",
        LOGS,
        [Insert(logs(0, 30)), Delete("id < 5"), Update({"level": "'changed'"}, "id > 25"), Insert(logs(30, 33))],
        answer=[*logs(5, 26), *((n, "changed", size) for n, _, size in logs(26, 30)), *logs(30, 33)],
    ),
    Case(
        "append_vectors",
        LOGS,
        [Insert(logs(0, 30)), Delete("id < 5"), Insert(logs(30, 33))],
        options={"deletion-vectors.enabled": "true"},
        answer=[*logs(5, 30), *logs(30, 33)],
    ),
    Case(
        "partitioned",
        PARTED,
        [Insert(PARTED_ROWS), Insert([(1, "again", "2024-01-01", "eu/west", 0)])],
        ("id", "day", "region", "hour"),
        ("day", "region", "hour"),
        {"bucket": "2"},
    ),
    Case("partitions_typed", TYPED, [Insert(TYPED_ROWS)], partitions=list(TYPED)[1:]),
    Case(
        "partitions_cast",
        TYPED,
        [Insert(TYPED_ROWS)],
        partitions=list(TYPED)[1:],
        options={"partition.legacy-name": "false"},
    ),
    Case(
        "partitions_null",
        {"id": "INT", "part": "STRING"},
        [Insert([(1, None), (2, "x"), (3, None), (4, "")])],
        partitions=("part",),
    ),
    Case(
        "overwritten",
        {"id": "INT", "v": "STRING", "dt": "STRING"},
        [Insert([(1, "a", "d1"), (2, "b", "d2"), (3, "c", "d1")]), Overwrite({"dt": "d1"}, [(9, "z")])],
        partitions=("dt",),
    ),
    Case(
        "ticker",
        TICKER,
        [Insert(ticks("2026-01-01", 0, 12, 1)), Insert([*ticks("2026-01-01", 6, 9, 2), *ticks("2026-01-02", 0, 5, 3)])],
        ("symbol", "dt"),
        ("dt",),
        TICKER_OPTIONS,
        shows_changes=True,
    ),
    Case("evolved", EVOLVED, EVOLVED_STEPS, ("id",), options={"bucket": "1", "write-only": "true"}),
    Case("evolved_append", EVOLVED, EVOLVED_STEPS),
    keyed("tagged", [*UPSERTS[:2], Tag("before"), UPSERTS[2], Delete("seq < 2")], {}),
    Case(
        "crossing",
        {"id": "INT", "v": "STRING", "dt": "STRING"},
        [Insert([(1, "a", "d1"), (2, "b", "d1")]), Insert([(1, "moved", "d2"), (3, "c", "d2")])],
        ("id",),
        ("dt",),
        {"bucket": "-1"},
        refusal="lacks partition key 'dt'",
    ),
)
