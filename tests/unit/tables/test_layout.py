"""The folders of partitions are named as Paimon names them; what Java wrote is in tests/conformance/paimon."""

# ruff: noqa: DTZ001 - times without a zone are what is tested

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pytest

from hosu.tables.layout import Layout, folder_text

LEGACY = [
    (True, "BOOLEAN", 0, "true"),
    (7, "INT", 0, "7"),
    (Decimal("-7.50"), "DECIMAL", 5, "-7.50"),
    (date(2024, 2, 29), "DATE", 0, "19782"),
    (date(1969, 12, 31), "DATE", 0, "-1"),
    (time(12, 34, 56, 7000), "TIME", 3, "45296007"),
    (datetime(2024, 2, 29, 1, 2), "TIMESTAMP", 6, "2024-02-29T01:02"),
    (datetime(2024, 2, 29, 1, 2, 3, 400_000), "TIMESTAMP", 3, "2024-02-29T01:02:03.400"),
    (datetime(1969, 12, 31, 23, 59, 58, 1, tzinfo=UTC), "TIMESTAMP_LTZ", 6, "1969-12-31T23:59:58.000001"),
    (1_700_000_000_000_000_001, "TIMESTAMP", 9, "2023-11-14T22:13:20.000000001"),
    (1.5, "DOUBLE", 0, "1.5"),
    (1e10, "DOUBLE", 0, "1.0E10"),
    (-1.25e-4, "DOUBLE", 0, "-1.25E-4"),
    (float("nan"), "DOUBLE", 0, "NaN"),
    (float("-inf"), "FLOAT", 0, "-Infinity"),
    (0.10000000149011612, "FLOAT", 0, "0.1"),
]
CAST = [
    (date(2024, 2, 29), "DATE", 0, "2024-02-29"),
    (time(12, 34, 56), "TIME", 0, "12:34:56"),
    (time(12, 34, 56, 7000), "TIME", 3, "12:34:56.007"),
    (time(12, 34, 56, 100_000), "TIME", 3, "12:34:56.1"),
    (time(12, 34, 56), "TIME", 3, "12:34:56.0"),
    (time(12, 34, 56, 190_000), "TIME", 1, "12:34:56.1"),
    (datetime(2024, 2, 29, 1, 2), "TIMESTAMP", 0, "2024-02-29 01:02:00"),
    (datetime(2024, 2, 29, 1, 2), "TIMESTAMP", 3, "2024-02-29 01:02:00.000"),
    (datetime(2024, 2, 29, 1, 2, 3, 400_000), "TIMESTAMP", 6, "2024-02-29 01:02:03.400000"),
]


@pytest.mark.parametrize(("value", "root", "precision", "text"), LEGACY)
def test_a_value_is_named_as_java_holds_it(value: Any, root: str, precision: int, text: str) -> None:
    assert folder_text(value, root, precision, is_legacy=True) == text


@pytest.mark.parametrize(("value", "root", "precision", "text"), CAST)
def test_a_value_is_named_as_sql_casts_it(value: Any, root: str, precision: int, text: str) -> None:
    assert folder_text(value, root, precision, is_legacy=False) == text


def test_null_and_blanks_have_the_default_name() -> None:
    layout = Layout(
        "w/d.db/t", ("a", "b"), default_partition_name="none", partition_types=(("VARCHAR", 0), ("DATE", 0))
    )
    assert layout.partition_path((" ", None)) == "a=none/b=none/"
    assert layout.partition_path(("x=y", date(1970, 1, 2))) == "a=x%3Dy/b=1/"
