"""Listings in UTF-8 order: objects, versions and uploads, a page at a time.

With a delimiter a listing seeks past each common prefix, so its cost follows the entries of the page, never
the keys below them. A listing of objects looks through aliases; a page is one moment of the lake.
"""

from collections.abc import Iterator

import msgspec

from hosu.objects.aliases import Alias, list_aliases
from hosu.objects.records import Bucket, ObjectRecord
from hosu.objects.rendering import Template, compile_template, shows_plain_keys
from hosu.objects.schema import VERSION_COLUMNS
from hosu.objects.versions import seq_of
from hosu.objects.views import View

_LAST_CHARACTER = 0x10FFFF
_SURROGATES = (0xD800, 0xDFFF)
_ALL_VERSIONS = 0


class ListRequest(msgspec.Struct, frozen=True):
    """A page to read: up to limit entries of bucket below prefix that come after `after`.

    When `skips_after` is set, everything that begins with `after` is passed over too: it was a common prefix.
    With a template the page is rendered; `aliases` pins the targets that an earlier page of the listing saw.
    """

    bucket: str
    prefix: str = ""
    delimiter: str = ""
    after: str = ""
    skips_after: bool = False
    limit: int = 1000
    template: Template | None = None
    aliases: tuple[Alias, ...] | None = None


class Entry(msgspec.Struct, frozen=True, gc=False):
    """An object in a listing."""

    key: str
    size_bytes: int
    etag: str
    modified_ms: int
    storage_class: str


class Page(msgspec.Struct):
    """A page of a listing. `count` is of entries and prefixes together; `last` is where the next page goes on."""

    entries: list[Entry]
    rendered: list[bytes]
    prefixes: list[str]
    count: int = 0
    last: str = ""
    last_is_prefix: bool = False
    is_truncated: bool = False
    aliases: tuple[Alias, ...] = ()
    as_of_seq: int = 0
    """The moment of the lake that the listing's aliases are of: the order of its last event; 0 without aliases."""


class _Range(msgspec.Struct, frozen=True):
    """A run of keys [lower, upper) as users see them; stored below `target` where they appear below `alias`."""

    lower: str
    upper: str | None
    alias: str = ""
    target: str = ""

    def stored(self, key: str) -> str:
        return self.target + key[len(self.alias) :]

    @property
    def key_expression(self) -> str:
        if not self.alias:
            return "key"
        alias = self.alias.replace("'", "''")
        # Cut as bytes: substr() of text ends at a NUL.
        return f"('{alias}' || CAST(substr(CAST(key AS BLOB), {len(self.target.encode()) + 1}) AS TEXT))"


def prefix_end(prefix: str) -> str | None:
    """Return the smallest text greater than everything that begins with prefix; None when there is none."""
    for place in range(len(prefix) - 1, -1, -1):
        code = ord(prefix[place])
        if code < _LAST_CHARACTER:
            following = code + 1
            if _SURROGATES[0] <= following <= _SURROGATES[1]:
                following = _SURROGATES[1] + 1
            return prefix[:place] + chr(following)
    return None


def list_objects(view: View, request: ListRequest) -> Page:
    """Return one page of a bucket's current objects."""
    with view.snapshot():
        bucket = view.bucket(request.bucket)
        aliases = tuple(list_aliases(view, bucket)) if request.aliases is None else request.aliases
        as_of_seq = view.value("SELECT max(seq) FROM event") if bucket.alias_count else 0
        page = Page([], [], [], aliases=aliases, as_of_seq=as_of_seq or 0)
        for keys in _ranges(request, aliases):
            if request.delimiter:
                _list_grouped(view, bucket, request, keys, page)
            else:
                _list_flat(view, bucket, request, keys, page)
            if page.is_truncated:
                break
        return page


def _ranges(request: ListRequest, aliases: tuple[Alias, ...]) -> Iterator[_Range]:
    """Cut the keys of a request at the borders of aliases."""
    lower: str | None = request.prefix
    if request.after >= request.prefix and request.after:
        lower = prefix_end(request.after) if request.skips_after else request.after + "\x00"
    upper = prefix_end(request.prefix)
    for alias in aliases:
        alias_end = prefix_end(alias.prefix)
        if (
            lower is None
            or (upper is not None and alias.prefix >= upper)
            or (alias_end is not None and alias_end <= lower)
        ):
            continue
        if lower < alias.prefix:
            yield _Range(lower, alias.prefix)
            lower = alias.prefix
        ends_inside = upper is not None and (alias_end is None or upper < alias_end)
        yield _Range(lower, upper if ends_inside else alias_end, alias.prefix, alias.target)
        lower = alias_end
    if lower is not None and (upper is None or lower < upper):
        yield _Range(lower, upper)


def _where(bucket: Bucket, keys: _Range, lower: str) -> tuple[str, tuple[object, ...]]:
    """Return condition and values for the stored keys from lower to the end of a range."""
    lower = keys.stored(lower)
    if keys.alias:
        is_whole = keys.upper is None or keys.upper == prefix_end(keys.alias)
        upper = prefix_end(keys.target) if is_whole or keys.upper is None else keys.stored(keys.upper)
    else:
        upper = keys.upper
    if upper is None:
        return "bucket_id = ? AND key >= ?", (bucket.id, lower)
    return "bucket_id = ? AND key >= ? AND key < ?", (bucket.id, lower, upper)


def _list_flat(view: View, bucket: Bucket, request: ListRequest, keys: _Range, page: Page) -> None:
    room = request.limit - page.count
    where, values = _where(bucket, keys, keys.lower)
    if room == 0:
        page.is_truncated = view.row(f"SELECT 1 FROM object WHERE {where} LIMIT 1", values) is not None
        return
    if request.template is None:
        found = _entries(view, keys, (where, values), room)
        page.entries += found
        count, last = len(found), found[-1].key if found else ""
    else:
        count, last = _render(view, request.template, keys, (where, values), room, page)
    if not count:
        return
    page.count += count
    page.last, page.last_is_prefix = last, False
    if count == room:
        where, values = _where(bucket, keys, last + "\x00")
        page.is_truncated = view.row(f"SELECT 1 FROM object WHERE {where} LIMIT 1", values) is not None


def _render(
    view: View, template: Template, keys: _Range, source: tuple[str, tuple[object, ...]], limit: int, page: Page
) -> tuple[int, str]:
    """Render up to limit entries of a range; return how many they are and the last key."""
    where, values = source
    for escapes in (False, True):
        rendered = compile_template(template, keys.key_expression, escapes=escapes)
        row = view.row(
            "SELECT count(*), max(shown), group_concat(shown, ''), CAST(group_concat(text, '') AS BLOB) FROM "
            f"(SELECT {keys.key_expression} AS shown, {rendered} AS text FROM object WHERE {where} "
            "ORDER BY object.key LIMIT ?)",
            (*values, limit),
        )
        assert row is not None
        count, last, together, text = row
        if not count:
            return 0, ""
        if escapes or shows_plain_keys(template, together):
            break
    page.rendered.append(text)
    return int(count), str(last)


def _list_grouped(view: View, bucket: Bucket, request: ListRequest, keys: _Range, page: Page) -> None:
    """List runs of entries and the common prefixes between them, seeking past what each prefix holds."""
    prefix_length, delimiter = len(request.prefix), request.delimiter
    lower: str | None = keys.lower
    if page.last_is_prefix:  # the prefix may reach into this range: it has been listed
        lower = max(keys.lower, end) if (end := prefix_end(page.last)) is not None else None
    while lower is not None and (keys.upper is None or lower < keys.upper):
        where, values = _where(bucket, keys, lower)
        run, common = 0, ""
        statement = f"SELECT {keys.key_expression} FROM object WHERE {where} ORDER BY object.key LIMIT ?"
        for (key,) in view.each(statement, (*values, request.limit + 1)):
            if page.count + run == request.limit:
                page.is_truncated = True
                break
            place = key.find(delimiter, prefix_length)
            if place >= 0:
                common = key[: place + len(delimiter)]
                break
            run += 1
        if run:
            _list_run(view, request, keys, (where, values), run, page)
        if not common:
            return
        page.prefixes.append(common)
        page.count += 1
        page.last, page.last_is_prefix = common, True
        lower = prefix_end(common)


def _list_run(
    view: View, request: ListRequest, keys: _Range, source: tuple[str, tuple[object, ...]], length: int, page: Page
) -> None:
    """List entries that stand together, with no common prefix between them."""
    if request.template is None:
        found = _entries(view, keys, source, length)
        page.entries += found
        page.last = found[-1].key
    else:
        _, page.last = _render(view, request.template, keys, source, length, page)
    page.count += length
    page.last_is_prefix = False


def _entries(view: View, keys: _Range, source: tuple[str, tuple[object, ...]], limit: int) -> list[Entry]:
    where, values = source
    rows = view.rows(
        f"SELECT {keys.key_expression}, size_bytes, etag, modified_ms, storage_class FROM object WHERE {where} "
        "ORDER BY object.key LIMIT ?",
        (*values, limit),
    )
    return [Entry(*row) for row in rows]


class VersionsPage(msgspec.Struct):
    """A page of versions and delete markers, newest first within a key."""

    records: list[ObjectRecord]
    prefixes: list[str]
    is_truncated: bool = False
    last_key: str = ""
    last_version_id: str = ""


def list_versions(
    view: View,
    bucket_name: str,
    *,
    prefix: str = "",
    delimiter: str = "",
    key_marker: str = "",
    version_id_marker: str = "",
    limit: int = 1000,
) -> VersionsPage:
    """Return one page of every version of every key below prefix, after the markers."""
    with view.snapshot():
        bucket = view.bucket(bucket_name)
        page, upper = VersionsPage([], []), prefix_end(prefix)
        lower: str | None = prefix
        before_seq = _ALL_VERSIONS
        if key_marker and key_marker >= prefix:
            lower = key_marker + "\x00"
            if version_id_marker:
                lower, before_seq = key_marker, _marker_seq(view, bucket, key_marker, version_id_marker)
            elif delimiter and key_marker.endswith(delimiter) and len(key_marker) > len(prefix):
                lower = prefix_end(key_marker)
        while lower is not None and (upper is None or lower < upper):
            lower = _list_version_run(view, bucket, page, (lower, upper, before_seq), prefix, delimiter, limit)
            before_seq = _ALL_VERSIONS
        return page


def _marker_seq(view: View, bucket: Bucket, key: str, version_id: str) -> int:
    """Return the order of the version a page ended with."""
    for table in ("object", "version"):
        seq: int | None = view.value(
            f"SELECT seq FROM {table} WHERE bucket_id = ? AND key = ? AND version_id = ?", (bucket.id, key, version_id)
        )
        if seq is not None:
            return seq
    return seq_of(version_id) or _ALL_VERSIONS  # removed since, but its id tells its place


def _list_version_run(
    view: View,
    bucket: Bucket,
    page: VersionsPage,
    keys: tuple[str, str | None, int],
    prefix: str,
    delimiter: str,
    limit: int,
) -> str | None:
    """Read on until the page is full, the keys end, or a common prefix is to be skipped; return where to go on."""
    lower, upper, before_seq = keys
    condition = "bucket_id = ?1 AND key >= ?2" + ("" if upper is None else " AND key < ?3")
    rows = view.each(
        f"SELECT key, 0 AS is_marker, {VERSION_COLUMNS} FROM object WHERE {condition} UNION ALL "
        f"SELECT key, is_marker, {VERSION_COLUMNS} FROM version WHERE {condition} ORDER BY key, seq DESC",
        (bucket.id, lower) if upper is None else (bucket.id, lower, upper),
    )
    key_before = lower if before_seq else None
    for row in rows:
        key = row[0]
        if before_seq and key == lower and row[2] >= before_seq:
            continue
        if len(page.records) + len(page.prefixes) == limit:
            page.is_truncated = True
            return None
        place = key.find(delimiter, len(prefix)) if delimiter else -1
        if place >= 0:
            common = key[: place + len(delimiter)]
            page.prefixes.append(common)
            page.last_key, page.last_version_id = common, ""
            return prefix_end(common)
        page.records.append(ObjectRecord(key, *(*row[2:], bool(row[1]), key != key_before)))
        key_before = key
        page.last_key, page.last_version_id = key, row[3]
    return None
