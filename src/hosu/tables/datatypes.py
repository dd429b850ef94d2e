"""The types of columns, in the words of Paimon: what they are made of, and how schemas write them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hosu.kernel.errors import ErrorKind, InvalidInputError, UnsupportedError

LENGTH_MAX = 2**31 - 1
"""The length of STRING and BYTES: a VARCHAR or VARBINARY as long as Paimon has them."""

DECIMAL_PRECISION_MAX = 38
SECOND_FRACTION_MAX = 9

ATOMIC_ROOTS = frozenset(
    {
        "BIGINT",
        "BINARY",
        "BOOLEAN",
        "CHAR",
        "DATE",
        "DECIMAL",
        "DOUBLE",
        "FLOAT",
        "INT",
        "SMALLINT",
        "TIME",
        "TIMESTAMP",
        "TIMESTAMP_LTZ",
        "TINYINT",
        "VARBINARY",
        "VARCHAR",
        "VARIANT",
    }
)
NESTED_ROOTS = frozenset({"ARRAY", "MAP", "MULTISET", "ROW"})
KEYLESS_ROOTS = NESTED_ROOTS | {"VARIANT"}
"""Types of columns that can be no key and no partition."""

REFUSED_ROOTS = {
    "BLOB": "it needs data evolution, which hosu does not do; keep files as objects, and their keys in a STRING column",
    "GEOGRAPHY": "Paimon 2.0 does not have it; keep WKB in a BYTES column",
    "GEOMETRY": "Paimon 2.0 does not have it; keep WKB in a BYTES column",
    "VECTOR": "declare the column as ARRAY<FLOAT>",
}
"""Types that Paimon knows of and hosu does not store, and what to do instead."""

_DEFAULT_LENGTH = 1
_DEFAULT_PRECISIONS = {"DECIMAL": 10, "TIME": 0, "TIMESTAMP": 6, "TIMESTAMP_LTZ": 6}
_WITH_LENGTH = frozenset({"CHAR", "VARCHAR", "BINARY", "VARBINARY"})


def type_error(message: str, **details: object) -> InvalidInputError:
    """Return the error of a type that is none."""
    return InvalidInputError(ErrorKind.TABLE_INVALID, message, **details)


def _check_range(root: str, what: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise type_error(f"{root}: {what} {value} is not between {low} and {high}", type=root, value=value)


@dataclass(frozen=True)
class DataType:
    """The type of a column, of an element or of a field of a ROW.

    `root` is Paimon's name for it. CHAR, VARCHAR, BINARY and VARBINARY have a length, DECIMAL a precision and a scale,
    TIME and the TIMESTAMPs a precision: digits of the second's fraction. ARRAY and MULTISET have an element, MAP a key
    and an element, which is its value, ROW fields. What is left out gets Paimon's default.
    Raises InvalidInputError TABLE_INVALID, and UnsupportedError for a type of Paimon's that hosu does not store.
    """

    root: str
    nullable: bool = True
    length: int | None = None
    precision: int | None = None
    scale: int | None = None
    element: "DataType | None" = None
    key: "DataType | None" = None
    fields: tuple["DataField", ...] = ()

    def __post_init__(self) -> None:
        if self.root in REFUSED_ROOTS:
            raise UnsupportedError(
                ErrorKind.UNSUPPORTED,
                f"hosu stores no columns of type {self.root}: {REFUSED_ROOTS[self.root]}",
                type=self.root,
            )
        if self.root not in ATOMIC_ROOTS and self.root not in NESTED_ROOTS:
            raise type_error(
                f"there is no type {self.root!r}: use one of Paimon's, such as INT or STRING", type=self.root
            )
        self._fill_defaults()
        self._check()

    def _fill_defaults(self) -> None:
        if self.root in _WITH_LENGTH and self.length is None:
            object.__setattr__(self, "length", _DEFAULT_LENGTH)
        if self.root in _DEFAULT_PRECISIONS and self.precision is None:
            object.__setattr__(self, "precision", _DEFAULT_PRECISIONS[self.root])
        if self.root == "DECIMAL" and self.scale is None:
            object.__setattr__(self, "scale", 0)

    def _check(self) -> None:
        if self.length is not None:
            _check_range(self.root, "length", self.length, 1, LENGTH_MAX)
        if self.root == "DECIMAL":
            assert self.precision is not None
            assert self.scale is not None
            _check_range(self.root, "precision", self.precision, 1, DECIMAL_PRECISION_MAX)
            _check_range(self.root, "scale", self.scale, 0, self.precision)
        elif self.precision is not None:
            _check_range(self.root, "precision", self.precision, 0, SECOND_FRACTION_MAX)
        if self.root in {"ARRAY", "MULTISET", "MAP"} and self.element is None:
            raise type_error(f"{self.root} lacks the type of its elements", type=self.root)
        if self.root == "MAP" and self.key is None:
            raise type_error("MAP lacks the type of its keys", type=self.root)
        names = [field_.name for field_ in self.fields]
        if len(set(names)) != len(names):
            raise type_error(f"ROW has a field twice: {', '.join(names)}", type=self.root)

    @property
    def is_nested(self) -> bool:
        """Whether values are made of values of other types."""
        return self.root in NESTED_ROOTS

    def as_nullable(self, nullable: bool = True) -> "DataType":  # noqa: FBT001, FBT002 - reads as a sentence
        """Return the type with or without NOT NULL."""
        return self if self.nullable == nullable else replace(self, nullable=nullable)

    def __str__(self) -> str:
        return type_sql(self)


@dataclass(frozen=True)
class DataField:
    """A column, or a field of a ROW. The id stays with it whatever it is called; a catalog gives ids at creation."""

    id: int
    name: str
    type: DataType
    description: str | None = field(default=None)
    default_value: str | None = field(default=None)


STRING = DataType("VARCHAR", length=LENGTH_MAX)
BYTES = DataType("VARBINARY", length=LENGTH_MAX)


def _root_sql(data_type: DataType) -> str:
    root = data_type.root
    match root:
        case "VARCHAR" if data_type.length == LENGTH_MAX:
            return "STRING"
        case "VARBINARY" if data_type.length == LENGTH_MAX:
            return "BYTES"
        case "CHAR" | "VARCHAR" | "BINARY" | "VARBINARY":
            return f"{root}({data_type.length})"
        case "DECIMAL":
            return f"DECIMAL({data_type.precision}, {data_type.scale})"
        case "TIME" | "TIMESTAMP":
            return f"{root}({data_type.precision})"
        case "TIMESTAMP_LTZ":
            return f"TIMESTAMP({data_type.precision}) WITH LOCAL TIME ZONE"
        case "ARRAY" | "MULTISET":
            assert data_type.element is not None
            return f"{root}<{type_sql(data_type.element)}>"
        case "MAP":
            assert data_type.key is not None
            assert data_type.element is not None
            return f"MAP<{type_sql(data_type.key)}, {type_sql(data_type.element)}>"
        case "ROW":
            return f"ROW<{', '.join(_field_sql(field_) for field_ in data_type.fields)}>"
        case _:
            return root


def _field_sql(field_: DataField) -> str:
    name = field_.name.replace("`", "``")
    comment = "" if not field_.description else " '" + field_.description.replace("'", "''") + "'"
    return f"`{name}` {type_sql(field_.type)}{comment}"


def type_sql(data_type: DataType) -> str:
    """Return the type as SQL says it: `DECIMAL(20, 8) NOT NULL`."""
    return _root_sql(data_type) + ("" if data_type.nullable else " NOT NULL")


def type_json(data_type: DataType) -> str | dict[str, Any]:
    """Return the type as a schema file has it: text, or an object for a nested one."""
    if not data_type.is_nested:
        return type_sql(data_type)
    document: dict[str, Any] = {"type": data_type.root + ("" if data_type.nullable else " NOT NULL")}
    if data_type.root == "MAP":
        assert data_type.key is not None
        assert data_type.element is not None
        return document | {"key": type_json(data_type.key), "value": type_json(data_type.element)}
    if data_type.root == "ROW":
        return document | {"fields": [field_json(field_) for field_ in data_type.fields]}
    assert data_type.element is not None
    return document | {"element": type_json(data_type.element)}


def field_json(field_: DataField) -> dict[str, Any]:
    """Return a field as a schema file has it."""
    document: dict[str, Any] = {"id": field_.id, "name": field_.name, "type": type_json(field_.type)}
    if field_.description is not None:
        document["description"] = field_.description
    if field_.default_value is not None:
        document["defaultValue"] = field_.default_value
    return document


def highest_id(fields: Sequence[DataField]) -> int:
    """Return the highest id of fields and of the fields within them; -1 without fields."""
    return max((max(field_.id, _highest_within(field_.type)) for field_ in fields), default=-1)


def _highest_within(data_type: DataType) -> int:
    parts = [part for part in (data_type.key, data_type.element) if part is not None]
    return max([highest_id(data_type.fields), *map(_highest_within, parts)])


def new_ids(data_type: DataType, highest: int) -> tuple[DataType, int]:
    """Give the fields within a type ids above `highest`, and return the type and the highest id then."""
    key, element = data_type.key, data_type.element
    if key is not None:
        key, highest = new_ids(key, highest)
    if element is not None:
        element, highest = new_ids(element, highest)
    fields = []
    for field_ in data_type.fields:
        inner, highest = new_ids(field_.type, highest)
        highest += 1
        fields.append(replace(field_, id=highest, type=inner))
    return replace(data_type, key=key, element=element, fields=tuple(fields)), highest


def number_fields(fields: Sequence[DataField], highest: int = -1) -> tuple[tuple[DataField, ...], int]:
    """Give fields, and the fields within them, ids above `highest`; return them and the highest id then."""
    numbered = []
    for field_ in fields:
        own = highest + 1
        inner, highest = new_ids(field_.type, own)
        numbered.append(replace(field_, id=own, type=inner))
    return tuple(numbered), highest


def mapping_field(document: Mapping[str, Any], name: str, kind: type[Any]) -> Any:  # noqa: ANN401 - of the kind asked
    """Return a value of a JSON object, which must be there and of its kind; raise InvalidInputError TABLE_INVALID."""
    value = document.get(name)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise type_error(f"{name!r} is {value!r}, which is no {kind.__name__}", field=name)
    return value
