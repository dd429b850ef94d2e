"""Sealing of short messages: what was changed, moved or sealed under another key does not open."""

import pytest

from hosu.kernel.errors import CorruptError, ErrorKind
from hosu.kernel.sealing import SEALED_BYTES_MIN, derive, new_key, seal, unseal

KEY = bytes(range(32))


@pytest.mark.parametrize("message", [b"", b"x", b"secret" * 1000])
def test_a_sealed_message_opens(message: bytes) -> None:
    sealed = seal(KEY, message, b"context")
    assert unseal(KEY, sealed, b"context") == message
    assert len(sealed) == SEALED_BYTES_MIN + len(message)


def test_equal_messages_are_sealed_differently() -> None:
    assert len({seal(KEY, b"message", b"") for _ in range(100)}) == 100


def test_any_changed_bit_shows() -> None:
    sealed = seal(KEY, b"secret", b"context")
    for place in range(len(sealed)):
        for bit in (1, 128):
            changed = bytearray(sealed)
            changed[place] ^= bit
            with pytest.raises(CorruptError) as refused:
                unseal(KEY, bytes(changed), b"context")
            assert refused.value.kind is ErrorKind.CORRUPT_LAKE


def test_a_cut_message_shows() -> None:
    sealed = seal(KEY, b"secret", b"context")
    for size in range(len(sealed)):
        with pytest.raises(CorruptError):
            unseal(KEY, sealed[:size], b"context")


def test_another_key_or_context_does_not_open() -> None:
    sealed = seal(KEY, b"secret", b"context")
    for key, context in ((bytes(32), b"context"), (KEY, b"contex"), (KEY, b"")):
        with pytest.raises(CorruptError):
            unseal(key, sealed, context)


def test_purposes_have_keys_of_their_own() -> None:
    assert len({derive(KEY, "one"), derive(KEY, "two"), derive(bytes(32), "one"), KEY}) == 4


def test_new_keys_are_new() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert {len(key) for key in keys} == {32}
