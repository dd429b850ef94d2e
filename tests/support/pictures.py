"""Pictures like those of a camera, made by the test that needs them: structure at all sizes, and noise."""

import io
from typing import Any

import numpy as np
from PIL import Image


def pixels(width: int, height: int, seed: int = 1) -> Image.Image:
    """Return a picture that no two seeds have in common."""
    random = np.random.default_rng(seed)
    light = np.zeros((height, width, 3), np.float32)
    for octave in range(2, 9):
        size = 2**octave
        coarse = random.normal(0, 1, (size * height // width + 2, size + 2, 3)).astype(np.float32)
        layer = np.stack([_enlarged(coarse[..., channel], width, height) for channel in range(3)], -1)
        grey = layer.mean(-1, keepdims=True)
        light += (grey * 0.8 + layer * 0.2) * (110 / octave**1.3)
    light += 128 + random.normal(0, 2.5, light.shape)
    return Image.fromarray(np.clip(light, 0, 255).astype(np.uint8))


def _enlarged(values: Any, width: int, height: int) -> Any:
    return np.asarray(Image.fromarray(values).resize((width, height), Image.Resampling.BICUBIC))


def jpeg(image: Image.Image, **options: Any) -> bytes:
    """Return a picture as a JPEG file."""
    out = io.BytesIO()
    image.save(out, "JPEG", **{"quality": 88, **options})
    return out.getvalue()


def photo(width: int = 640, height: int = 480, seed: int = 1, **options: Any) -> bytes:
    """Return a JPEG file."""
    return jpeg(pixels(width, height, seed), **options)
