"""Listings of arbitrary keys: their order, their pages, and the text that protocols show of them."""

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.properties.bucket_model import group, md5
from tests.properties.profiles import LISTINGS, scratch_folder

from hosu.objects import aliases, buckets
from hosu.objects.blobs import stage_inline
from hosu.objects.delete import delete_object
from hosu.objects.listing import ListRequest, list_objects, prefix_end
from hosu.objects.put import PutRequest, put_object
from hosu.objects.rendering import Field, OptionalText, escape_xml, quote_key
from hosu.objects.store import ObjectStore

BUCKET = "images"
EDGES = "\x00\x01\x1f /<>&\"'%+\x7f\x80é߿\u0800\ud7ff\ue000\ufffd\ufffe\uffff\U00010000\U0001f600\U0010fffe\U0010ffff"
CHARACTERS = st.sampled_from(EDGES) | st.characters(exclude_categories=["Cs"])
TEXTS = st.text(CHARACTERS, max_size=6)
KEYS = st.text(CHARACTERS, min_size=1, max_size=6)
TEMPLATE = (
    "<K>", Field.KEY_XML, "</K><U>", Field.KEY_URL, "</U><S>", Field.SIZE_BYTES, "</S><E>'", Field.ETAG, "'</E><M>",
    Field.MODIFIED_ISO, "</M><C>", Field.STORAGE_CLASS, "</C>",
    OptionalText(("<A>", Field.CHECKSUM_ALGORITHM, "</A>")), "\n",
)  # fmt: skip


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    with scratch_folder() as folder, ObjectStore(Path(folder) / "lake", space_reserve_bytes=0) as opened:
        opened.commit(partial(buckets.create_bucket, name=BUCKET))
        yield opened


def fill(store: ObjectStore, keys: set[str]) -> list[str]:
    """Make these keys the only objects of the bucket, in any order; return them as UTF-8 orders them."""
    for (key,) in store.view().rows("SELECT key FROM object"):
        store.commit(partial(delete_object, bucket_name=BUCKET, key=key))
    for key in keys:
        request = PutRequest(BUCKET, key, stage_inline(b"x" * len(key)), md5(key.encode()))
        store.commit(partial(put_object, request=request))
    return sorted(keys, key=str.encode)


@LISTINGS
@given(prefix=TEXTS, other=TEXTS)
@example(prefix="a\U0010ffff", other="a\U0010ffff\U0010ffff")
@example(prefix="\ud7ff", other="\ue000")
def test_prefix_end_is_the_least_text_after_all_that_begins_with_the_prefix(prefix: str, other: str) -> None:
    end = prefix_end(prefix)
    below = prefix + other
    if end is None:
        assert set(prefix) <= {"\U0010ffff"}
        return
    assert below.encode() < end.encode()
    if other.encode() >= prefix.encode() and other.encode() < end.encode():
        assert other.startswith(prefix)


@LISTINGS
@given(keys=st.sets(KEYS, max_size=8), prefix=TEXTS, delimiter=st.text(CHARACTERS, max_size=2), limit=st.integers(1, 9))
@example(keys={"\uffff", "\U00010000", "\U0010ffff", "é", "z", "\x00"}, prefix="", delimiter="", limit=1)
@example(keys={"\U0010ffff\U0010ffff", "\U0010ffff"}, prefix="\U0010ffff", delimiter="\U0010ffff", limit=1)
def test_pages_of_any_size_show_every_key_once_in_utf8_order(
    store: ObjectStore, keys: set[str], prefix: str, delimiter: str, limit: int
) -> None:
    expected = group(fill(store, keys), prefix, delimiter)
    found = []
    after, skips_after = "", False
    for _ in range(len(keys) + 1):
        request = ListRequest(
            BUCKET, prefix=prefix, delimiter=delimiter, limit=limit, after=after, skips_after=skips_after
        )
        page = list_objects(store.view(), request)
        lines = [(it.key, False) for it in page.entries] + [(it, True) for it in page.prefixes]
        found += sorted(lines, key=lambda line: line[0].encode())
        after, skips_after = page.last, page.last_is_prefix
        if not page.is_truncated:
            break
    assert found == expected


@LISTINGS
@given(keys=st.sets(KEYS, min_size=1, max_size=5), delimiter=st.sampled_from(["", "/"]))
@example(keys={"a\x00<b>", "\x00", "a&b", "plain/key.txt", "a'b", '"', "[", "]", "^", "`~", "é"}, delimiter="")
def test_a_page_rendered_by_sqlite_is_the_page_rendered_by_python(
    store: ObjectStore, keys: set[str], delimiter: str
) -> None:
    fill(store, keys)
    rendered = list_objects(store.view(), ListRequest(BUCKET, delimiter=delimiter, template=TEMPLATE))
    plain = list_objects(store.view(), ListRequest(BUCKET, delimiter=delimiter))
    expected = ""
    for it in plain.entries:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(it.modified_ms // 1000))
        expected += (
            f"<K>{escape_xml(it.key)}</K><U>{quote_key(it.key)}</U><S>{it.size_bytes}</S><E>'{it.etag}'</E>"
            f"<M>{seconds}.{it.modified_ms % 1000:03}Z</M><C>{it.storage_class}</C>\n"
        )
    assert b"".join(rendered.rendered).decode() == expected
    assert (rendered.prefixes, rendered.last, rendered.count) == (plain.prefixes, plain.last, plain.count)


@LISTINGS
@given(names=st.sets(KEYS, min_size=1, max_size=5), limit=st.integers(1, 9))
def test_an_alias_shows_the_keys_of_its_target_under_its_own_name(
    store: ObjectStore, names: set[str], limit: int
) -> None:
    fill(store, {f"é/{name}" for name in names} | {"z/a", "z/z"})
    store.commit(partial(aliases.set_alias, bucket_name=BUCKET, prefix="z/it's/", target="é/"))
    try:
        found: list[str] = []
        after = ""
        for _ in range(len(names) * 2 + 3):
            page = list_objects(store.view(), ListRequest(BUCKET, limit=limit, after=after, template=None))
            found += [it.key for it in page.entries]
            after = page.last
            if not page.is_truncated:
                break
        shown = [f"z/it's/{name}" for name in names] + [f"é/{name}" for name in names] + ["z/a", "z/z"]
        assert found == sorted(shown, key=str.encode)
    finally:
        store.commit(partial(aliases.remove_alias, bucket_name=BUCKET, prefix="z/it's/"))
