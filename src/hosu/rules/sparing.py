"""What no rule removes of its own accord: what is protected, what an alias shows, and what tables are made of.

A rule that makes room or thins out models asks when it plans, and again in the transaction that removes.
"""

from collections.abc import Iterable, Sequence

from hosu.kernel.settings import Settings
from hosu.objects.aliases import list_aliases
from hosu.objects.listing import prefix_end
from hosu.objects.protected import guarded_prefixes
from hosu.objects.records import Bucket
from hosu.objects.views import View
from hosu.rules.wanted import split_warehouse


def spared_prefixes(view: View, bucket: Bucket, settings: Settings | None = None) -> dict[str, str]:
    """Return the prefixes of a bucket that are spared, with the reason for each, for people.

    With settings that is the warehouse too, for what is current there: without one of its files a table cannot be read.
    """
    spared = {}
    if settings is not None:
        name, folder = split_warehouse(settings.warehouse)
        if name == bucket.name:
            spared[f"{folder}/" if folder else ""] = "tables are there, whose snapshots expire by their own options"
    spared |= {alias.target: f"the alias {alias.prefix} points to it" for alias in list_aliases(view, bucket)}
    for prefix in guarded_prefixes(view, bucket):
        spared[prefix] = "it is protected"
    return spared


def is_of_table(settings: Settings, bucket_name: str, key: str) -> bool:
    """Say whether an object is below a table's folder in the warehouse: `DATABASE.db/TABLE/…`."""
    name, folder = split_warehouse(settings.warehouse)
    root = f"{folder}/" if folder else ""
    if name != bucket_name or not key.startswith(root):
        return False
    database, _, rest = key[len(root) :].partition("/")
    return database.endswith(".db") and "/" in rest


def outermost(prefixes: Iterable[str]) -> list[str]:
    """Return the prefixes that are below no other of them, in order."""
    found: list[str] = []
    for prefix in sorted(set(prefixes)):
        if not found or not prefix.startswith(found[-1]):
            found.append(prefix)
    return found


def outside(bucket_id: int, prefixes: Iterable[str]) -> tuple[str, list[object]]:
    """Return a condition in SQL, with its values: in this bucket, and below none of the prefixes."""
    ranges: list[tuple[str, str | None]] = [("", None)]
    for prefix in outermost(prefixes):
        lower = ranges.pop()[0]
        if lower < prefix:
            ranges.append((lower, prefix))
        end = prefix_end(prefix)
        if end is None:
            break
        ranges.append((end, None))
    terms, values = [], []
    for lower, upper in ranges:
        terms.append("(key >= ? AND key < ?)" if upper is not None else "key >= ?")
        values += [lower] if upper is None else [lower, upper]
    # Without the plus SQLite would go through the bucket's keys by its index, once for each of the ranges.
    return f"(+bucket_id = ? AND ({_either(terms)}))", [bucket_id, *values]


def any_of(conditions: Sequence[tuple[str, list[object]]]) -> tuple[str, list[object]]:
    """Return the condition that one of several holds, with its values."""
    return _either([text for text, _ in conditions]), [value for _, values in conditions for value in values]


def _either(terms: Sequence[str]) -> str:
    """Join terms by OR as a balanced tree: SQLite bounds the depth of a statement, not its width."""
    if not terms:
        return "0"
    if len(terms) == 1:
        return terms[0]
    middle = len(terms) // 2
    return f"({_either(terms[:middle])} OR {_either(terms[middle:])})"
