"""The chunked decoder by itself: every way of cutting its input gives the same data."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hosu.server.http.chunked import ChunkedDecoder
from hosu.server.http.errors import ProtocolError


def decode(raw: bytes, cuts: list[int]) -> tuple[bytes, bytes, bool]:
    """Feed raw in parts; return data, what lay behind the end, and whether the end came."""
    decoder, data, rest = ChunkedDecoder(), b"", b""
    for start, stop in itertools.pairwise([0, *sorted(cuts), len(raw)]):
        part, at = raw[start:stop], 0
        while at < len(part) and not decoder.done:
            if decoder.in_data:
                size = min(decoder.left, len(part) - at)
                data += part[at : at + size]
                decoder.took(size)
                at += size
            else:
                at = decoder.framing(part, at)
        rest += part[at:]
    return data, rest, decoder.done


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=5), st.data())
def test_any_cut_gives_the_data_and_what_follows(chunks: list[bytes], data: st.DataObject) -> None:
    raw = b"".join(b"%x;e=1\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\nT: v\r\n\r\nGET"
    cuts = data.draw(st.lists(st.integers(0, len(raw)), max_size=6))
    assert decode(raw, cuts) == (b"".join(chunks), b"GET", True)


@pytest.mark.parametrize("size", [b"A", b"a", b"000a", b"a;x", b'a ;x="y;z"'])
def test_sizes_are_hexadecimal_with_or_without_extension(size: bytes) -> None:
    assert decode(size + b"\r\n0123456789\r\n0\r\n\r\n", []) == (b"0123456789", b"", True)


@pytest.mark.parametrize("raw", [b"5\r\nhel", b"5\r\nhello", b"5\r\nhello\r\n0\r\n", b"5"])
def test_an_unfinished_body_is_not_done(raw: bytes) -> None:
    assert not decode(raw, [])[2]


@pytest.mark.parametrize("raw", [b"g\r\n", b"\r\n", b"1_0\r\n", b" 5\r\n", b"5\n", b"5\r\r\n", b"5\r\nhello!\r\n"])
def test_malformed_framing_is_refused(raw: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(raw, [])
