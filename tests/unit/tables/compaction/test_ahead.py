"""Items made in a thread."""

import threading
from collections.abc import Iterator

import pytest

from hosu.tables.compaction.ahead import ahead


def test_all_items_come_in_order() -> None:
    with ahead(iter(range(100))) as items:
        assert list(items) == list(range(100))


def test_the_next_is_made_while_the_last_is_used() -> None:
    made = threading.Event()

    def two() -> Iterator[int]:
        yield 1
        made.set()
        yield 2

    with ahead(two()) as items:
        assert next(items) == 1
        assert made.wait(10)


def test_no_more_are_made_than_fit() -> None:
    made: list[int] = []

    def many() -> Iterator[int]:
        for number in range(1_000):
            made.append(number)
            yield number

    with ahead(many(), depth=2) as items:
        next(items)

    assert len(made) <= 4


def test_an_error_comes_where_the_items_are_taken() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise KeyError

    with ahead(broken()) as items:
        assert next(items) == 1
        with pytest.raises(KeyError):
            next(items)


def test_no_thread_is_left_when_items_are() -> None:
    before = threading.active_count()

    with ahead(iter(range(1_000))) as items:
        next(items)
        assert threading.active_count() == before + 1

    assert threading.active_count() == before
