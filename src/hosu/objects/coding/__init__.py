"""Blobs that are stored compressed, and read as the bytes they stand for."""

ZSTD = "zstd"
"""Zstandard in independent frames: a range is read by decoding the frames it touches."""

JXL = "jxl"
"""A JPEG file as JPEG XL, from which the very same file comes back."""
