"""JPEG files of every kind come back bit by bit, or are left to the other coding."""

import struct

import numpy as np
import pytest
from PIL import Image, ImageCms
from tests.support.pictures import jpeg, photo, pixels

from hosu.kernel.errors import CorruptError
from hosu.objects.coding.jpeg import PIXELS_MAX, from_jxl, to_jxl

WIDTH, HEIGHT = 320, 240


def exif() -> Image.Exif:
    found = Image.Exif()
    found[0x010F] = "a camera"
    found[0x0112] = 6
    return found


def cmyk() -> bytes:
    return jpeg(pixels(WIDTH, HEIGHT).convert("CMYK"))


PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
KINDS = {
    "baseline": photo(WIDTH, HEIGHT),
    "progressive": photo(WIDTH, HEIGHT, progressive=True),
    "of optimal tables": photo(WIDTH, HEIGHT, optimize=True),
    "at full resolution": photo(WIDTH, HEIGHT, subsampling=0),
    "of the worst quality": photo(WIDTH, HEIGHT, quality=1),
    "of the best quality": photo(WIDTH, HEIGHT, quality=100),
    "grey": jpeg(pixels(WIDTH, HEIGHT).convert("L")),
    "with a description": photo(WIDTH, HEIGHT, exif=exif()),
    "with a profile": photo(
        WIDTH, HEIGHT, icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    ),
    "with a comment": photo(WIDTH, HEIGHT, comment=b"a comment " * 100),
    "with restart markers": photo(WIDTH, HEIGHT, restart_marker_blocks=4),
    "of one pixel": jpeg(Image.new("RGB", (1, 1), (1, 2, 3))),
    "of one line": photo(641, 8),
    "of odd size": photo(333, 77),
    "with bytes behind its end": photo(WIDTH, HEIGHT) + b"what a phone puts behind its pictures" * 10,
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_comes_back_bit_by_bit(kind: str) -> None:
    plain = KINDS[kind]
    coded = to_jxl(plain)
    assert coded is not None
    assert from_jxl(coded, len(plain), 7) == plain


def test_a_photo_takes_a_sixth_less_room() -> None:
    plain = photo()
    coded = to_jxl(plain)
    assert coded is not None
    assert len(coded) < 0.84 * len(plain)


WHOLE = KINDS["baseline"]


@pytest.mark.parametrize(
    "plain",
    [
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xe0",
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8\xff" * 1000,
        b"\xff\xd8\xff" + b"no picture" * 100,
        b"\xff\xd8\xff\xe0\x00\x00" * 100,
        b"\xff\xd8\xff\xc0\x00\x11\x08\x00\x00\x00\x00" + bytes(100),
        WHOLE[:100],
        WHOLE[: len(WHOLE) // 2],
        WHOLE[:-1],
        WHOLE[:5000] + bytes(100) + WHOLE[5100:],
        cmyk(),
        photo(WIDTH, HEIGHT, icc_profile=b"no profile" * 500),
    ],
)
def test_what_is_no_whole_picture_is_refused_or_comes_back_all_the_same(plain: bytes) -> None:
    coded = to_jxl(plain)
    assert coded is None or from_jxl(coded, len(plain), 7) == plain


def test_a_picture_that_would_take_too_much_memory_is_not_looked_at() -> None:
    at = WHOLE.index(b"\xff\xc0") + 5
    side = int(PIXELS_MAX**0.5) + 1
    assert to_jxl(WHOLE[:at] + struct.pack(">HH", side, side) + WHOLE[at + 4 :]) is None


def test_coded_bytes_that_were_changed_are_refused_or_tell_by_their_size() -> None:
    coded = to_jxl(WHOLE)
    assert coded is not None
    for stored in (b"", coded[:50], coded[: len(coded) // 2], bytes(len(coded))):
        with pytest.raises(CorruptError, match="blob 7"):
            from_jxl(stored, len(WHOLE), 7)
    with pytest.raises(CorruptError, match="blob 7"):
        from_jxl(coded, len(WHOLE) + 1, 7)


def test_pictures_of_chance_come_back_too() -> None:
    for seed in range(5):
        random = np.random.default_rng(seed)
        width, height = (int(side) for side in random.integers(1, 200, 2))
        noise = Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8))
        plain = jpeg(noise, quality=int(random.integers(1, 101)), progressive=bool(seed % 2))
        coded = to_jxl(plain)
        assert coded is not None
        assert from_jxl(coded, len(plain), 7) == plain
