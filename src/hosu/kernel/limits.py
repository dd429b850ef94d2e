"""Limits, as S3 states them or as the engine needs them, each under the reason for its value."""

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

KEY_BYTES_MAX = 1024
"""Longest key, in bytes of UTF-8."""

METADATA_BYTES_MAX = 2 * KIB
"""User metadata of one object: names and values together."""

HEADERS_BYTES_MAX = 8 * KIB
"""Content headers kept with one object: names and values together."""

TAGS_PER_OBJECT_MAX = 10
TAGS_PER_BUCKET_MAX = 50
TAG_KEY_CHARACTERS_MAX = 128
TAG_VALUE_CHARACTERS_MAX = 256

PART_NUMBER_MAX = 10_000
"""Highest part number S3 accepts, so one upload never spans more than this many records."""

PART_BYTES_MIN = 5 * MIB
"""Smallest part, the last one excepted."""

PART_BYTES_MAX = 5 * GIB
PUT_BYTES_MAX = 5 * GIB
"""Largest body of a single put; larger objects are uploaded in parts."""

OBJECT_BYTES_MAX = PART_NUMBER_MAX * PART_BYTES_MAX

LIST_KEYS_MAX = 1000
"""Most entries in one page of a listing."""

DELETE_KEYS_MAX = 1000
"""Most keys in one multi-object delete."""

INLINE_BYTES_MAX = 16 * KIB
"""Bodies up to this size live in the metadata database: one sync makes record and body durable together."""

WRITE_BYTES = 512 * KIB
"""Bytes per write call to a blob file; calls of exactly 1 MiB were four times slower on a measured disk."""

assert INLINE_BYTES_MAX < WRITE_BYTES < PART_BYTES_MIN <= PART_BYTES_MAX
