"""Requests' XML: what S3 clients send is read, anything clever is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hosu.server.s3 import xml_read
from hosu.server.s3.request_errors import S3RequestError

DELETE = b"""<?xml version="1.0" encoding="UTF-8"?>
<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
  <Object><Key> a&amp;b &#13;</Key><Size>12</Size></Object>
  <!-- comments are harmless -->
  <Object><Key><![CDATA[<k>]]>\xed\x95\x9c</Key></Object>
  <Quiet>true</Quiet>
</Delete>"""


def refused(body: bytes, root: str = "R") -> str:
    with pytest.raises(S3RequestError) as refusal:
        xml_read.parse(body, root)
    assert refusal.value.code == "MalformedXML"
    return refusal.value.message


def test_a_document_is_read_without_its_namespace() -> None:
    root = xml_read.parse(DELETE, "Delete")
    objects = root.findall("Object")
    assert [element.findtext("Key") for element in objects] == [" a&b \r", "<k>한"]
    assert xml_read.text(objects[0], "Key") == "a&b"
    assert xml_read.boolean(root, "Quiet")
    assert xml_read.integer(objects[0], "Size") == 12


@pytest.mark.parametrize("prefix", [b"", b"s3:"])
def test_prefixes_are_dropped(prefix: bytes) -> None:
    body = b"<%bR xmlns:s3='urn:x' s3:a='1'><%bA>t</%bA></%bR>" % (prefix, prefix, prefix, prefix)
    root = xml_read.parse(memoryview(body), "R")
    assert xml_read.text(root, "A") == "t"
    assert root.get("a") == "1"


@pytest.mark.parametrize(
    "body",
    [
        b'<!DOCTYPE R [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><R>&b;</R>',
        b'<!DOCTYPE R SYSTEM "file:///etc/passwd"><R/>',
        b'<!DOCTYPE R [<!ENTITY x SYSTEM "file:///etc/passwd">]><R>&x;</R>',
        b"<?php echo 1 ?><R/>",
        b"<R><?xml-stylesheet href='x'?></R>",
        b"<R>&undefined;</R>",
    ],
)
def test_document_types_entities_and_instructions_are_refused(body: bytes) -> None:
    refused(body)


@pytest.mark.parametrize(
    "body", [b"", b" ", b"{}", b"<R>", b"<R></S>", b"<R/><R/>", b"<S/>", b"<R>\xff</R>", b"<R>\0</R>", b"<a:R/>x"]
)
def test_what_is_no_document_of_that_root_is_refused(body: bytes) -> None:
    refused(body)


def test_other_encodings_are_refused() -> None:
    refused("<R>é</R>".encode("utf-16"))
    refused(b'<?xml version="1.0" encoding="latin-1"?><R>\xe9</R>')


def test_depth_elements_and_size_are_limited() -> None:
    deepest = b"<R>" * xml_read.DEPTH_MAX + b"</R>" * xml_read.DEPTH_MAX
    xml_read.parse(deepest, "R")
    refused(b"<R>" + deepest + b"</R>")
    most = b"<R>" + b"<a/>" * (xml_read.ELEMENTS_MAX - 1)
    xml_read.parse(most + b"</R>", "R")
    refused(most + b"<a/></R>")
    refused(b"<R>" + b" " * xml_read.XML_BYTES_MAX + b"</R>")


def test_helpers_refuse_what_is_not_of_their_kind() -> None:
    root = xml_read.parse(b"<R><N>-3</N><B>FALSE</B><E/><X>1x</X><L>1234567890123456789</L></R>", "R")
    assert xml_read.integer(root, "N") == -3
    assert xml_read.integer(root, "none") is None
    assert xml_read.boolean(root, "B", default=True) is False
    assert xml_read.boolean(root, "none", default=True) is True
    assert xml_read.required_text(root, "N") == "-3"
    for call in (
        lambda: xml_read.integer(root, "X"),
        lambda: xml_read.integer(root, "E"),
        lambda: xml_read.integer(root, "L"),
        lambda: xml_read.boolean(root, "X"),
        lambda: xml_read.required_text(root, "E"),
        lambda: xml_read.required_text(root, "none"),
    ):
        with pytest.raises(S3RequestError, match="not well-formed"):
            call()


tokens = [
    b"<R>",
    b"</R>",
    b"<!DOCTYPE R>",
    b"<![CDATA[",
    b"]]>",
    b"&amp;",
    b"&#x0;",
    b"<?x?>",
    b"<R",
    b" a='b'",
    b">",
    b"\xff",
]


@settings(max_examples=300)
@given(st.lists(st.sampled_from(tokens) | st.binary(max_size=6), max_size=12).map(b"".join))
def test_garbage_is_refused_as_malformed(body: bytes) -> None:
    try:
        root = xml_read.parse(body, "R")
    except S3RequestError as problem:
        refusal = problem
    else:
        assert root.tag == "R"
        return
    assert refusal.code == "MalformedXML"
