"""The container against minio-py's own, both ways, and against everybody who would change one."""

import io
import os
from typing import Any

import pytest
from minio import crypto

from hosu.kernel.errors import InvalidInputError
from hosu.server.minio_admin.container import (
    ARGON2_AES,
    ARGON2_CHACHA,
    HEADER_BYTES,
    PBKDF2_AES,
    PIECE_BYTES,
    TAG_BYTES,
    seal,
    unseal,
)

SECRET = "a secret with ünïcode"
SIZES = [1, 16383, 16384, 16385, 32768, 40000]
STEP = PIECE_BYTES + TAG_BYTES


class FakeResponse(io.BytesIO):
    """What minio-py reads an answer from."""

    def release_conn(self) -> None:
        """Take the connection back."""


def decrypt_by_minio(container: bytes) -> bytes:
    response: Any = FakeResponse(container)
    return bytes(crypto.decrypt(response, SECRET))


@pytest.mark.parametrize("size_bytes", SIZES)
def test_minio_py_reads_what_we_seal(size_bytes: int) -> None:
    plaintext = os.urandom(size_bytes)
    assert decrypt_by_minio(seal(plaintext, SECRET)) == plaintext
    assert decrypt_by_minio(seal(plaintext, SECRET, algorithm=ARGON2_CHACHA)) == plaintext


@pytest.mark.parametrize("size_bytes", [0, *SIZES])
def test_we_read_what_minio_py_seals(size_bytes: int) -> None:
    plaintext = os.urandom(size_bytes)
    container = crypto.encrypt(plaintext, SECRET)
    assert (len(container) == HEADER_BYTES) is (size_bytes == 0)
    assert unseal(container, SECRET) == plaintext


@pytest.mark.parametrize("algorithm", [ARGON2_AES, ARGON2_CHACHA, PBKDF2_AES])
@pytest.mark.parametrize("size_bytes", [0, 1, PIECE_BYTES, PIECE_BYTES + 1])
def test_every_algorithm_returns_what_went_in(algorithm: int, size_bytes: int) -> None:
    plaintext = os.urandom(size_bytes)
    container = seal(plaintext, SECRET, algorithm=algorithm)
    assert container[32] == algorithm
    assert unseal(container, SECRET) == plaintext


def test_nothing_is_sealed_as_one_empty_piece_which_go_demands() -> None:
    assert len(seal(b"", SECRET)) == HEADER_BYTES + TAG_BYTES


def test_a_full_last_piece_has_no_empty_one_behind_it() -> None:
    assert len(seal(bytes(2 * PIECE_BYTES), SECRET)) == HEADER_BYTES + 2 * STEP


def test_equal_bodies_look_different() -> None:
    assert seal(b"same", SECRET) != seal(b"same", SECRET)


def refused(container: bytes, secret: str = SECRET) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        unseal(container, secret)
    assert SECRET not in refusal.value.message


CONTAINER = seal(os.urandom(PIECE_BYTES + 100), SECRET, algorithm=PBKDF2_AES)
"""Sealed with the algorithm that costs no 64 MiB a try; what follows is the same for all three."""


def test_another_secret_opens_nothing() -> None:
    refused(CONTAINER, SECRET + "x")


@pytest.mark.parametrize("place", [0, 31, 33, 40, 41, 5000, HEADER_BYTES + STEP - 1, HEADER_BYTES + STEP, -1])
def test_a_changed_bit_anywhere_is_noticed(place: int) -> None:
    changed = bytearray(CONTAINER)
    changed[place] ^= 1
    refused(bytes(changed))


@pytest.mark.parametrize("kept_bytes", [0, 1, 40, 42, 57, 5000, HEADER_BYTES + STEP, len(CONTAINER) - 1])
def test_a_container_that_was_cut_off_is_refused(kept_bytes: int) -> None:
    refused(CONTAINER[:kept_bytes])


def test_pieces_that_were_swapped_repeated_or_added_are_refused() -> None:
    whole = seal(os.urandom(3 * PIECE_BYTES), SECRET, algorithm=PBKDF2_AES)
    header = whole[:HEADER_BYTES]
    first, second, third = (whole[start : start + STEP] for start in range(HEADER_BYTES, len(whole), STEP))
    assert unseal(header + first + second + third, SECRET)
    for pieces in ([second, first, third], [first, first, third], [first, third], [first, second, third, third]):
        refused(b"".join([header, *pieces]))
    refused(whole + b"x")


@pytest.mark.parametrize("algorithm", [3, 4, 255])
def test_an_unknown_algorithm_is_refused_before_any_work(algorithm: int) -> None:
    refused(CONTAINER[:32] + bytes([algorithm]) + CONTAINER[33:])
