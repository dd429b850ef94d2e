"""What is remembered stays within its bounds, the longest unused going first."""

import threading

from hosu.tables.snapshots.cache import MetadataCache


def test_a_value_is_loaded_once() -> None:
    cache = MetadataCache(100)
    loads: list[int] = []

    def load() -> tuple[str, int]:
        loads.append(1)
        return "value", 10

    assert [cache.get("key", load) for _ in range(3)] == ["value"] * 3
    assert len(loads) == 1


def test_what_was_used_longest_ago_is_forgotten_first() -> None:
    cache = MetadataCache(100)
    for number in range(4):
        cache.put(number, number, 25)
    assert cache.peek(0) == 0
    cache.put(4, 4, 25)
    assert [cache.peek(number) for number in range(5)] == [0, None, 2, 3, 4]


def test_a_value_too_big_to_share_the_room_is_not_kept() -> None:
    cache = MetadataCache(100)
    cache.put("small", 1, 25)
    assert cache.get("big", lambda: (2, 51)) == 2
    assert cache.peek("big") is None
    assert cache.peek("small") == 1


def test_a_value_that_is_replaced_or_dropped_weighs_nothing() -> None:
    cache = MetadataCache(100)
    for _ in range(50):
        cache.put("key", 1, 25)
        cache.put("other", 1, 25)
        cache.drop("other")
    cache.drop("nobody")
    for number in range(3):
        cache.put(number, number, 25)
    assert [cache.peek(key) for key in ("key", 0, 1, 2)] == [1, 0, 1, 2]


def test_clearing_forgets_values_and_numbers() -> None:
    cache = MetadataCache(100)
    cache.put("key", 1, 1)
    cache.saw_latest("folder", 7)
    cache.clear()
    assert cache.peek("key") is None
    assert cache.latest("folder") is None


def test_threads_share_it() -> None:
    cache = MetadataCache(1000)

    def use(seed: int) -> None:
        for number in range(2000):
            key = (number * seed) % 50
            assert cache.get(key, lambda key=key: (key, 30)) == key  # type: ignore[misc]

    threads = [threading.Thread(target=use, args=(seed,)) for seed in (1, 3, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache._size_bytes == sum(size for _, size in cache._values.values()) <= 1000
