"""docs/reference/paimon.md says what becomes of all that Paimon has, and the code does what it says.

`python tests/unit/tables/test_paimon_docs.py` writes the generated tables of the page anew.
"""

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from hosu.tables.aggregators import AGGREGATED_ROOTS, AGGREGATORS
from hosu.tables.datatypes import ATOMIC_ROOTS, NESTED_ROOTS, REFUSED_ROOTS
from hosu.tables.merging import accumulators
from hosu.tables.optionregistry import FIELD_SUFFIXES, PREFIX_NOTES, PREFIXES, OptionEntry, Status, registry
from hosu.tables.options import ChangelogProducer, MergeEngine, Options

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "reference" / "paimon.md"
SOURCE = ROOT / "src" / "hosu" / "tables"
DECLARING = {"options.py", "optionregistry.py", "optionvalues.py", "scanrules.py", "validation.py"}
"""Where an option is declared or checked, which is no use of it."""

CHANGES_OF_SCHEMAS = {
    "add-column-before-partition",
    "alter-column-null-to-not-null.disabled",
    "deletion-vectors.modifiable",
    "disable-explicit-type-casting",
}
"""Options that are used where a schema changes, checks included."""


def cells(*values: str) -> str:
    return "| " + " | ".join(value.replace("|", "\\|").replace("\n", "\\n") for value in values) + " |"


def code(value: str | None) -> str:
    return f"`{value}`" if value else ""


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    heads = list(head)
    return "\n".join([cells(*heads), "|" + "---|" * len(heads), *(cells(*row) for row in rows)]) + "\n"


def entries(status: Status) -> list[OptionEntry]:
    return sorted((entry for entry in registry().values() if entry.status is status), key=lambda entry: entry.key)


def values_of(entry: OptionEntry) -> str:
    taken = [value for value in entry.values if value not in entry.refused_values]
    text = ", ".join(code(value) for value in taken)
    refused = ", ".join(code(value) for value in entry.refused_values)
    parts = [text, f"refused: {refused}" if refused else "", entry.note]
    return "; ".join(part for part in parts if part)


def generated() -> dict[str, str]:
    """Return the generated tables of the page by their names."""
    columns = [[code(name), status.value] for name, status in sorted(FIELD_SUFFIXES.items())]
    return {
        "aggregators": table(
            ["aggregator", "columns", ""],
            (
                [
                    code(name),
                    ", ".join(sorted(AGGREGATED_ROOTS.get(name, {"any"}))),
                    f"refused: {why}" if why else "supported",
                ]
                for name, why in sorted(AGGREGATORS.items())
            ),
        ),
        "supported": table(
            ["option", "default", ""],
            ([code(entry.key), code(entry.default), values_of(entry)] for entry in entries(Status.SUPPORTED)),
        ),
        "columns": table(["option", ""], columns),
        "refused": table(
            ["option", "default", "why"],
            ([code(entry.key), code(entry.default), entry.note] for entry in entries(Status.REFUSED)),
        ),
        "no effect": table(["option", "of"], ([code(entry.key), entry.note] for entry in entries(Status.NO_EFFECT))),
        "families": table(
            ["options", ""],
            (
                [code(f"{prefix}*"), f"{status.value}: {PREFIX_NOTES[prefix]}"]
                for prefix, status in sorted(PREFIXES.items())
                if prefix != "fields."
            ),
        ),
    }


def between(name: str) -> tuple[str, str]:
    return f"<!-- {name}: written by tests/unit/tables/test_paimon_docs.py -->\n", f"<!-- end of {name} -->"


def part(text: str, name: str) -> str:
    begin, end = between(name)
    return text.partition(begin)[2].partition(end)[0]


def first_cells(text: str, heading: str) -> dict[str, str]:
    """Return the last cells of the table rows that follow a heading, by the code in their first."""
    rows = [line.strip("|").split("|") for line in text.partition(heading)[2].partition("\n#")[0].splitlines()]
    return {row[0].strip().strip("`"): row[-1].strip() for row in rows if row[0].strip().startswith("`")}


TEXT = PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", generated())
def test_the_generated_tables_are_those_of_the_registry(name: str) -> None:
    assert part(TEXT, name) == generated()[name], "run: python tests/unit/tables/test_paimon_docs.py"


def test_every_type_of_paimon_is_listed_as_the_code_has_it() -> None:
    listed = first_cells(TEXT, "\n## Types\n")

    assert set(listed) == ATOMIC_ROOTS | NESTED_ROOTS | set(REFUSED_ROOTS)
    assert {name for name, status in listed.items() if status.startswith("refused")} == set(REFUSED_ROOTS)
    assert all(status.startswith(("supported", "refused: ")) for status in listed.values())


def test_every_merge_engine_and_changelog_producer_is_listed() -> None:
    engines = TEXT.partition("| `merge-engine` | |")[2].partition("\n\n")[0]
    producers = TEXT.partition("| `changelog-producer` | |")[2].partition("\n\n")[0]

    assert set(re.findall(r"^\| `([^`]+)`", engines, re.MULTILINE)) == set(MergeEngine)
    assert set(re.findall(r"^\| `([^`]+)`", producers, re.MULTILINE)) == set(ChangelogProducer)


def test_every_option_of_paimon_is_listed_once() -> None:
    keys = list(registry())

    assert len(keys) == len(set(keys))
    assert len(keys) > 450
    older = [key for entry in registry().values() for key in entry.older_keys]
    assert not set(older) & set(keys) - {"btree-index.records-per-range", "btree-index.build.max-parallelism"}


def test_what_is_refused_or_without_effect_says_why() -> None:
    for status in (Status.REFUSED, Status.NO_EFFECT):
        assert [entry.key for entry in entries(status) if not entry.note] == []


@pytest.mark.parametrize("entry", registry().values(), ids=lambda entry: entry.key)
def test_every_default_is_a_value_of_its_option(entry: OptionEntry) -> None:
    assert entry.default is None or entry.parse(entry.default) is not None
    assert set(entry.refused_values) <= set(entry.values)


def properties_of() -> dict[str, set[str]]:
    """Return the names under which each option can be read, those of properties that read it among them."""
    names: dict[str, set[str]] = {}
    for name, value in vars(Options).items():
        key = getattr(value, "key", None)
        if isinstance(key, str):
            names.setdefault(key, set()).add(name)
    text = (SOURCE / "options.py").read_text(encoding="utf-8")
    for name, body in re.findall(r"    def (\w+)\(self[^\n]*\n((?:        .*\n|\n)+)", text):
        for key in registry():
            if f'"{key}"' in body:
                names.setdefault(key, set()).add(name)
    for name, body in re.findall(r"    def (\w+)\(self[^\n]*\n((?:        .*\n|\n)+)", text):
        used = set(re.findall(r"self\.(\w+)", body))
        for known in names.values():
            if known & used:
                known.add(name)
    return names


def uses() -> str:
    modules = [path for path in SOURCE.rglob("*.py") if path.name not in DECLARING]
    modules += (SOURCE.parent / "lake").glob("*.py")
    return "\n".join(path.read_text(encoding="utf-8") for path in modules)


PROPERTIES = properties_of()
USES = uses()
VALIDATION = (SOURCE / "validation.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("entry", entries(Status.SUPPORTED), ids=lambda entry: entry.key)
def test_every_supported_option_is_read_where_its_work_is_done(entry: OptionEntry) -> None:
    names = PROPERTIES.get(entry.key, set())

    assert names, "no property of Options reads it"
    where = USES + VALIDATION if entry.key in CHANGES_OF_SCHEMAS else USES
    properties = "|".join(names)
    assert re.search(rf"(options|own|given|merged)\.({properties})\b", where) or f'"{entry.key}"' in where


def test_every_property_of_options_is_of_an_option_that_is_supported() -> None:
    found = (getattr(value, "key", None) for value in vars(Options).values())
    keys = {key for key in found if isinstance(key, str)}

    assert {key for key in keys if registry()[key].status is not Status.SUPPORTED} == set()


def test_every_supported_aggregator_has_its_function() -> None:
    folded = set(accumulators._ACCUMULATORS)

    assert folded | {"last_value", "primary-key"} == {name for name, why in AGGREGATORS.items() if not why}


if __name__ == "__main__":
    written = PAGE.read_text(encoding="utf-8")
    for name, text in generated().items():
        begin, end = between(name)
        head, _, rest = written.partition(begin)
        written = head + begin + text + end + rest.partition(end)[2]
    PAGE.write_text(written, encoding="utf-8")
