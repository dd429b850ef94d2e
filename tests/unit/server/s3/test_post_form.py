"""Browser uploads: the form's parts wherever the body is cut, and the limits on what precedes the file."""

import contextlib
from collections.abc import Callable, Iterable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hosu.server.s3.post_form import (
    FIELD_BYTES_MAX,
    HEAD_BYTES_MAX,
    PARTS_MAX,
    PostFormParser,
    form_key,
    success_redirect,
    success_status,
)
from hosu.server.s3.request_errors import S3RequestError

TYPE = b"multipart/form-data; boundary=xyz"


def part(name: str, value: bytes, filename: str | None = None, extra: str = "") -> bytes:
    disposition = f'form-data; name="{name}"' + (f'; filename="{filename}"' if filename is not None else "")
    return f"--xyz\r\nContent-Disposition: {disposition}\r\n{extra}\r\n".encode() + value + b"\r\n"


def body(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--xyz--\r\n"


def parse(pieces: Iterable[bytes | bytearray | memoryview], content_type: bytes = TYPE) -> tuple[PostFormParser, bytes]:
    parser = PostFormParser(content_type)
    content = b"".join(out for piece in pieces for out in parser.feed(piece))
    parser.finish()
    return parser, content


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(S3RequestError) as refused:
        call()
    return refused.value.code


TRICKY = b"\r\n--xy\r\n\0--xyz\r\nlast"
FORM = body(
    part("Key", b"up/${filename}"),
    part("x-amz-meta-n", "한글".encode(), filename="x-amz-meta-n"),
    part("policy", b"${filename}"),
    part("empty", b""),
    part("file", TRICKY, filename="C:\\dir\\a b.txt", extra="Content-Type: text/plain\r\n"),
    part("after", b"ignored"),
)


def test_a_form_cut_at_every_boundary_parses_the_same() -> None:
    cuts: list[Sequence[bytes | memoryview]] = [[FORM], [FORM[at : at + 1] for at in range(len(FORM))]]
    cuts += [[FORM[:cut], memoryview(FORM)[cut:]] for cut in range(1, len(FORM))]
    for pieces in cuts:
        parser, content = parse(pieces)
        assert content == TRICKY
        assert parser.fields == {
            "key": "up/a b.txt",
            "x-amz-meta-n": "한글",
            "policy": "${filename}",
            "empty": "",
        }
        assert (parser.filename, parser.file_content_type, parser.file_bytes) == ("a b.txt", "text/plain", len(TRICKY))
        assert parser.file_ended


def test_fields_are_complete_when_the_file_starts_and_its_bytes_are_streamed() -> None:
    parser = PostFormParser(TYPE)
    head = part("key", b"k") + part("file", b"")[:-2]
    assert parser.feed(head) == []
    assert parser.file_started
    assert parser.fields == {"key": "k"}
    assert b"".join(parser.feed(b"x" * 5000)) == b"x" * 5000
    assert not parser.file_ended
    assert refusal(parser.finish) == "IncompleteBody"


@pytest.mark.parametrize("quoted", [b'"a b\'()+_,-./:=?"', b'"xyz"', b"xyz; charset=utf-8"])
def test_boundaries_are_read_as_clients_write_them(quoted: bytes) -> None:
    boundary = quoted.split(b";")[0].strip(b'"')
    form = body(part("file", b"data")).replace(b"--xyz", b"--" + boundary)
    assert parse([form], b"multipart/form-data; boundary=" + quoted)[1] == b"data"


@pytest.mark.parametrize(
    ("content_type", "code"),
    [
        (b"", "PreconditionFailed"),
        (b"application/x-www-form-urlencoded", "PreconditionFailed"),
        (b"multipart/mixed; boundary=x", "PreconditionFailed"),
        (b"multipart/form-data", "MalformedPOSTRequest"),
        (b"multipart/form-data; boundary=", "MalformedPOSTRequest"),
        (b"multipart/form-data; boundary=" + b"x" * 257, "MalformedPOSTRequest"),
    ],
)
def test_other_content_types_are_refused(content_type: bytes, code: str) -> None:
    assert refusal(lambda: PostFormParser(content_type)) == code


@pytest.mark.parametrize(
    ("form", "code"),
    [
        (b"", "IncompleteBody"),
        (b"no boundary at all", "IncompleteBody"),
        (body(part("key", b"k")), "InvalidArgument"),
        (body(part("key", b"k"), part("KEY", b"k"), part("file", b"")), "InvalidArgument"),
        (body(part("key", b"\xff"), part("file", b"")), "MalformedPOSTRequest"),
        (b"--xyz\r\nX: y\r\n\r\nv\r\n--xyz--\r\n", "MalformedPOSTRequest"),
        (b"--xyz\r\nno colon\r\n\r\nv\r\n--xyz--\r\n", "MalformedPOSTRequest"),
        (b"--xyz\nContent-Disposition: form-data; name=a\n\nv\n--xyz--\n", "MalformedPOSTRequest"),
        (b"--xyz\r\n" + b"a: b\r\n" * 20 + b"\r\n", "MalformedPOSTRequest"),
        (b"--xyz\r\na: " + b"b" * 9000 + b"\r\n", "MalformedPOSTRequest"),
        (body(*[part(f"f{count}", b"") for count in range(PARTS_MAX)], part("file", b"")), "MalformedPOSTRequest"),
        (part("key", b"k") + part("file", b"cut"), "IncompleteBody"),
    ],
)
def test_malformed_forms_are_refused(form: bytes, code: str) -> None:
    assert refusal(lambda: parse([form])) == code


def test_the_fields_before_the_file_are_limited_and_those_after_are_not_kept() -> None:
    most = b"v" * (FIELD_BYTES_MAX - len("a") - len("file"))
    parse([body(part("a", most), part("file", b"x" * FIELD_BYTES_MAX), part("b", most))])
    assert refusal(lambda: parse([body(part("a", most + b"v"), part("file", b""))])) == "MaxPostPreDataLengthExceeded"
    endless = PostFormParser(TYPE)
    for _ in range(HEAD_BYTES_MAX // 1024):
        endless.feed(b"y" * 1024)
    assert refusal(lambda: endless.feed(b"y")) == "MaxPostPreDataLengthExceeded"


@pytest.mark.parametrize("sent", ["a.txt", "dir/a.txt", "../../a.txt", "dir\\a.txt", "C:\\dir\\a.txt", "/a.txt"])
def test_only_the_last_part_of_the_filename_counts(sent: str) -> None:
    parser, _ = parse([body(part("key", b"${filename}"), part("file", b"", filename=sent))])
    assert (parser.filename, parser.fields["key"]) == ("a.txt", "a.txt")


def test_a_form_must_name_a_key() -> None:
    assert form_key({"key": "k"}) == "k"
    for fields in ({}, {"key": ""}):
        assert refusal(lambda fields=fields: form_key(fields)) == "InvalidArgument"  # type: ignore[misc]


def test_what_the_browser_gets_after_success() -> None:
    statuses = {asked: success_status({"success_action_status": asked}) for asked in ("200", "201", "204", "404", "x")}
    assert statuses == {"200": 200, "201": 201, "204": 204, "404": 204, "x": 204}
    assert success_status({}) == 204
    fields = {"success_action_redirect": "http://site/ok"}
    expected = "http://site/ok?bucket=b&key=a%20%26%2Fb&etag=%22e1%22"
    assert success_redirect(fields, "b", "a &/b", "e1") == expected
    assert (
        success_redirect({"redirect": "https://s/?x=1"}, "b", "k", "e") == "https://s/?x=1&bucket=b&key=k&etag=%22e%22"
    )
    for address in ("", "javascript:alert(1)", "http://site/\r\nSet-Cookie: a=b", "/relative"):
        assert success_redirect({"success_action_redirect": address}, "b", "k", "e") is None


tokens = [
    b"--xyz\r\n",
    b"--xyz--",
    b"\r\n",
    b"\r\n--xyz",
    part("file", b"f"),
    part("key", b"k"),
    b"Content-Disposition:",
]


@settings(max_examples=200)
@given(st.lists(st.sampled_from(tokens) | st.binary(max_size=10), max_size=10), st.binary(max_size=12))
def test_garbage_is_refused_or_parsed(pieces: list[bytes], boundary: bytes) -> None:
    with contextlib.suppress(S3RequestError):
        parser, content = parse(pieces)
        assert parser.file_bytes == len(content)
    with contextlib.suppress(S3RequestError):
        parse(pieces, b"multipart/form-data; boundary=" + boundary)
