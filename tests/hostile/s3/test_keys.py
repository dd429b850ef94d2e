"""Keys are any UTF-8 up to 1,024 bytes: they come back as they were, and never name a file."""

import urllib.parse

import pytest
from tests.support.attack import Attacker
from tests.support.clients import S3Client

KEYS = [
    "..",
    ".",
    "../../../etc/passwd",
    "a/../b",
    "/",
    "//",
    "/leading",
    "a//b///c",
    "trailing/",
    "a\0b",
    "\0",
    "\x01\x1f\x7f",
    " ",
    " padded ",
    "a+b c%20d%2Fe%00",
    "?query=1&x#fragment",
    "back\\slash",
    "<&>'\"]]>",
    "호수",
    "e\u0301",
    "\u00e9",
    "\u202etxt.exe",
    "\ufeffmark",
    "\U0001f30a" * 256,
    "\ud7ff\ue000\uffff",
    "%",
    "%zz",
    "x" * 1024,
    "é" * 512,
]


def path_of(key: bytes) -> bytes:
    return b"/prey/" + urllib.parse.quote_from_bytes(key, safe="/-_.~").encode()


@pytest.mark.parametrize("key", KEYS, ids=range(len(KEYS)))
def test_any_key_comes_back_as_it_was(key: str, attacker: Attacker) -> None:
    path, body = path_of(key.encode()), repr(key).encode()
    before = attacker.files()
    assert attacker.send("PUT", path, body=body).status == 200
    answer = attacker.send("GET", path)
    assert (answer.status, answer.body) == (200, body)
    prefix = urllib.parse.quote(key, safe="")
    listing = attacker.send("GET", b"/prey", f"list-type=2&encoding-type=url&prefix={prefix}".encode())
    listed = listing.body.partition(b"<Key>")[2].partition(b"</Key>")[0].decode()
    assert urllib.parse.unquote_plus(listed) == key
    assert attacker.send("DELETE", path).status == 204
    assert attacker.send("GET", path).code == "NoSuchKey"
    assert attacker.files() == before


def test_keys_that_look_alike_are_different_objects(prey: S3Client) -> None:
    keys = sorted(["a/b", "a//b", "/a/b", "a/./b", "a/b/", "e\u0301", "\u00e9", "E\u0301"], key=str.encode)
    for key in keys:
        prey.put_object(Bucket="prey", Key=f"twins/{key}", Body=key.encode())
    listed = prey.list_objects_v2(Bucket="prey", Prefix="twins/")["Contents"]
    assert [entry["Key"] for entry in listed] == [f"twins/{key}" for key in keys]
    for key in keys:
        assert prey.get_object(Bucket="prey", Key=f"twins/{key}")["Body"].read() == key.encode()
        prey.delete_object(Bucket="prey", Key=f"twins/{key}")


@pytest.mark.parametrize("key", ["x" * 1025, "é" * 513, "/" * 1025, "\0" * 2000])
@pytest.mark.parametrize("method", ["PUT", "GET", "DELETE"])
def test_a_key_of_1025_bytes_is_refused_by_name(key: str, method: str, attacker: Attacker) -> None:
    assert attacker.send(method, path_of(key.encode())).code in {"KeyTooLongError", "NoSuchKey"}
    assert method != "PUT" or attacker.send(method, path_of(key.encode())).code == "KeyTooLongError"


@pytest.mark.parametrize("key", [b"\xff", b"a/\xc3", b"\xed\xa0\x80", b"\xc0\xaf", b"ok\xf8\x88\x80\x80\x80"])
@pytest.mark.parametrize("method", ["PUT", "GET", "DELETE", "POST"])
def test_a_key_that_is_not_utf_8_is_refused(key: bytes, method: str, attacker: Attacker) -> None:
    answer = attacker.send(method, path_of(key))
    assert (answer.status, answer.code) == (400, "InvalidURI")


@pytest.mark.parametrize("bucket", [b"..", b".", b"%2e%2e", b"a%00b", b"%ff", b"UPPER", b"a" * 64, b"meta", b"blobs"])
def test_a_bucket_name_is_never_a_way_into_the_folder(bucket: bytes, attacker: Attacker) -> None:
    before = attacker.files()
    answer = attacker.send("GET", b"/" + bucket + b"/lake.db")
    assert 400 <= answer.status < 500
    assert attacker.send("PUT", b"/" + bucket + b"/lake.db", body=b"x").status in {400, 404}
    assert attacker.files() == before


@pytest.mark.parametrize("source", ["..", "/", "prey/../prey/x", "prey", "", "prey/%ff", "prey/\x7f", "/prey//x"])
def test_a_copy_from_nowhere_copies_nothing(source: str, attacker: Attacker) -> None:
    answer = attacker.send("PUT", b"/prey/copied", headers={b"x-amz-copy-source": source.encode()})
    assert 400 <= answer.status < 500
    assert answer.code
    assert attacker.send("HEAD", b"/prey/copied").status == 404
