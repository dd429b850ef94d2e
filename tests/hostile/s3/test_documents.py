"""XML from anyone: malformed, exploding or endless documents are refused by name, wherever they are sent."""

import base64
import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from tests.support.attack import Attacker
from tests.support.clients import S3Client

BOMB = b"""<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">
<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]><%b>&c;</%b>"""
EXTERNAL = b'<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><%b>&f;</%b>'

TOO_LONG = {"MalformedXML", "EntityTooLarge"}


class Place(NamedTuple):
    """Where the server reads a document, and what its root is called."""

    method: str
    path: bytes
    query: bytes
    root: bytes


PLACES = [
    Place("POST", b"/prey", b"delete", b"Delete"),
    Place("PUT", b"/prey", b"versioning", b"VersioningConfiguration"),
    Place("PUT", b"/prey", b"tagging", b"Tagging"),
    Place("PUT", b"/prey", b"cors", b"CORSConfiguration"),
    Place("PUT", b"/prey", b"notification", b"NotificationConfiguration"),
    Place("PUT", b"/new-bucket", b"", b"CreateBucketConfiguration"),
    Place("PUT", b"/prey/tagged", b"tagging", b"Tagging"),
    Place("POST", b"/prey/completed", b"uploadId=%b", b"CompleteMultipartUpload"),
]


@pytest.fixture(params=PLACES, ids=lambda place: place.root.decode() + place.path.decode().replace("/", "-"))
def place(request: pytest.FixtureRequest, prey: S3Client) -> Iterator[Place]:
    found: Place = request.param
    if b"%b" in found.query:
        upload = prey.create_multipart_upload(Bucket="prey", Key="completed")["UploadId"]
        yield found._replace(query=found.query % upload.encode())
        prey.abort_multipart_upload(Bucket="prey", Key="completed", UploadId=upload)
        return
    if found.path == b"/prey/tagged":
        prey.put_object(Bucket="prey", Key="tagged", Body=b"")
    yield found


def put_document(attacker: Attacker, place: Place, body: bytes) -> str | None:
    digest = base64.b64encode(hashlib.md5(body).digest())
    answer = attacker.send(place.method, place.path, place.query, {b"content-md5": digest}, body)
    assert 400 <= answer.status < 500, (answer.status, answer.body)
    return answer.code


@pytest.mark.parametrize("bomb", [BOMB, EXTERNAL], ids=["expanding", "external"])
def test_entities_are_never_expanded(bomb: bytes, place: Place, attacker: Attacker) -> None:
    assert put_document(attacker, place, bomb % (place.root, place.root)) == "MalformedXML"


@pytest.mark.parametrize(
    "document",
    [
        b"<%b>",
        b"<%b></Other>",
        b"<%b><a></%b>",
        b"\0<%b/>",
        b"<%b>\xff</%b>",
        b"<Other/>",
        b"not xml at all",
        b"<%b/><%b/>",
        b"<?php x?><%b/>",
        b"\xff\xfe<\0%b",
        b"<%b>" + b"<a>" * 200 + b"</a>" * 200 + b"</%b>",
        b"<%b>" + b"<a/>" * 60_000 + b"</%b>",
    ],
    ids=range(12),
)
def test_malformed_documents_are_refused(document: bytes, place: Place, attacker: Attacker) -> None:
    body = document.replace(b"%b", place.root)
    assert put_document(attacker, place, body) in (TOO_LONG if len(body) > 100_000 else {"MalformedXML"})


def test_a_document_without_an_end_is_cut_off(place: Place, attacker: Attacker) -> None:
    head = attacker.head(place.method, place.path, place.query, {b"content-length": b"%d" % (1 << 40)})
    answer = attacker.exchange(head + b"<" + place.root + b">" + b" " * (1 << 20))
    assert 400 <= answer.status < 500
    assert answer.code in {
        "EntityTooLarge",
        "MalformedXML",
        "MissingContentMD5",
        "InvalidRequest",
        "MaxMessageLengthExceeded",
    }


def test_nothing_came_of_all_that(attacker: Attacker, prey: S3Client) -> None:
    assert [bucket["Name"] for bucket in prey.list_buckets()["Buckets"]] == ["prey"]
    assert prey.get_bucket_versioning(Bucket="prey").get("Status") is None
    assert attacker.send("GET", b"/prey", b"tagging").code == "NoSuchTagSet"
    assert attacker.send("GET", b"/prey", b"cors").code == "NoSuchCORSConfiguration"
    assert attacker.send("HEAD", b"/prey/completed").status == 404
