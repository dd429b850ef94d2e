"""That somebody has decided of every table whether it is in a backup."""

from hosu.identity.schema import DDL as IDENTITY_DDL
from hosu.lake import Lake
from hosu.objects.store import ObjectStore
from hosu.rules.backup.tables import LAYERED, LEFT_OUT, LEFT_OUT_PREFIXES, WHOLE, WHOLE_PREFIXES


def tables_of(store: ObjectStore) -> set[str]:
    return {row[0] for row in store.view().rows("SELECT name FROM sqlite_schema WHERE type = 'table'")}


def test_every_table_of_a_lake_is_in_a_backup_or_left_out_on_purpose(lake: Lake) -> None:
    decided = {*LAYERED, *WHOLE, *LEFT_OUT}
    undecided = {
        name
        for name in tables_of(lake.store)
        if name not in decided and not name.startswith((*WHOLE_PREFIXES, *LEFT_OUT_PREFIXES))
    }
    assert undecided == set()
    assert decided - tables_of(lake.store) == set()


def test_the_tables_that_are_made_when_needed_are_in_it(lake: Lake) -> None:
    made = {name for name in tables_of(lake.store) if name.startswith(WHOLE_PREFIXES)}
    assert made == {word for word in IDENTITY_DDL.replace("(", " ").split() if word in made}
    assert len(made) > 3
