"""Hypothesis strategies for what users hand over: keys in every script, and sets of them that fit one folder."""

from hypothesis import strategies as st

from hosu.kernel.fileio import RESERVED_FOLDER

SEGMENTS = st.one_of(
    # Few and alike, so that keys collide, nest and sort closely around the slash.
    st.sampled_from(
        ["a", "b", "a.b", "a-b", "a0", "ab", "a b", "é", "한글", "\uffee", "\U0001f600", "%41", "a+b", "~"]
    ),
    st.text(
        st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="/"), min_size=1, max_size=8
    ),
).filter(lambda segment: segment not in {".", "..", RESERVED_FOLDER})

PATH_KEYS = st.lists(SEGMENTS, min_size=1, max_size=4).map("/".join)
"""Keys that every FileIO takes."""

PREFIXES = st.one_of(st.just(""), PATH_KEYS, PATH_KEYS.map("{}/".format), SEGMENTS.map(lambda segment: segment[:1]))


def is_in_the_way(key: str, other: str) -> bool:
    """Whether the two keys cannot both be files of a folder: one would be the folder of the other."""
    return key.startswith(f"{other}/") or other.startswith(f"{key}/")
