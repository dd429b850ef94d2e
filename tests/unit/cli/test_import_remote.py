"""What a MinIO server tells of its accounts, as its export has it."""

import base64
import io
import json
import zipfile
from typing import Any, cast

import pytest

from hosu.cli.importing.minio_remote import EXPORT, RemoteMinio, accounts_of
from hosu.cli.importing.signed import SignedReader
from hosu.cli.profiles import Profile
from hosu.lake.importing.minio_buckets import bucket_of
from hosu.lake.importing.source import SourceError, SourceVersion
from hosu.objects.records import Versioning

POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::*"]}],
}


def export(**documents: Any) -> dict[str, Any]:
    """Return documents as a real server's export names them."""
    return {f"{EXPORT}{name}.json": document for name, document in documents.items()}


HELD = export(
    policies={"read-plain": POLICY},
    users={
        "alice": {"secretKey": "alice-secret-key", "status": "enabled"},
        "bob": {"secretKey": "bob-secret-key-2", "status": "disabled"},
    },
    groups={"doors": {"version": 1, "status": "enabled", "members": ["alice", "bob"]}, "idle": {"status": "disabled"}},
    svcaccts={
        "alicesvckey": {
            "parent": "alice",
            "accessKey": "alicesvckey",
            "secretKey": "alice-svc-secret",
            "sessionPolicy": POLICY,
            "status": "on",
            "name": "door",
            "description": "of the door",
            "expiration": "1970-01-01T00:00:00Z",
        },
        "rootsvckey01": {"parent": "root", "secretKey": "root-svc-secret1", "sessionPolicy": None, "status": "off"},
    },
    user_mappings={"alice": {"version": 0, "policy": "read-plain,readonly"}, "uid=eve": {"policy": "readwrite"}},
    group_mappings={"doors": {"version": 0, "policy": "readonly"}},
    stsuser_mappings={"oidc-user": {"policy": "readonly"}},
)


def test_an_export_is_read() -> None:
    accounts = accounts_of(HELD, "root")
    assert [(user.name, user.secret, user.is_enabled, user.policies) for user in accounts.users] == [
        ("alice", "alice-secret-key", True, ("read-plain", "readonly")),
        ("bob", "bob-secret-key-2", False, ()),
    ]
    assert [(it.name, it.members, it.policies, it.is_enabled) for it in accounts.groups] == [
        ("doors", ("alice", "bob"), ("readonly",), True),
        ("idle", (), (), False),
    ]
    service, roots = accounts.keys
    assert (service.parent, json.loads(service.policy), service.name, service.is_enabled) == (
        "alice",
        POLICY,
        "door",
        True,
    )
    assert (roots.parent, roots.policy, roots.is_enabled, roots.expires_ms) == ("root", "", False, 0)
    assert accounts.root == "root"
    assert sorted(name for _, name, _ in accounts.problems) == ["oidc-user", "uid=eve"]
    assert "secret" not in repr(accounts) + repr(accounts.users) + repr(accounts.keys)


def test_whoever_asks_as_a_user_or_with_a_key_is_not_taken_for_root() -> None:
    assert accounts_of(HELD, "alice").root == ""
    assert accounts_of(HELD, "rootsvckey01").root == ""


def test_an_empty_export_is_no_accounts() -> None:
    accounts = accounts_of({}, "root")
    assert (accounts.users, accounts.groups, accounts.keys, accounts.policies, accounts.problems) == (
        (),
        (),
        (),
        {},
        (),
    )


def test_what_is_set_on_a_bucket_is_read_and_what_hosu_lacks_is_named() -> None:
    given = {
        "VersioningConfigXML": b"<V><Status>Enabled</Status><ExcludedPrefixes/></V>",
        "ReplicationConfigXML": b"<ReplicationConfiguration/>",
        "BucketTargetsConfigJSON": b'{"Targets":[]}',
        "LifecycleConfigXML": b"<LifecycleConfiguration><ExpiryUpdatedAt>2</ExpiryUpdatedAt></LifecycleConfiguration>",
        "NotificationConfigXML": b'<NotificationConfiguration xmlns="x"></NotificationConfiguration>',
        "TaggingConfigXML": b"\xff",
        "QuotaConfigJSON": b'{"quota":"much"}',
    }
    bucket = bucket_of("b", given)
    assert bucket.versioning is Versioning.ENABLED
    assert bucket.documents == {"lifecycle": "<LifecycleConfiguration></LifecycleConfiguration>"}
    assert len(bucket.problems) == 4
    assert all(word in " ".join(bucket.problems) for word in ("replication", "prefixes", "tagging", "quota"))
    locked = bucket_of("b", {}, is_lockable=True)
    assert (locked.versioning, list(locked.documents)) == (Versioning.ENABLED, ["object-lock"])


def test_a_reader_hides_its_secret() -> None:
    secret = base64.b64encode(b"x" * 30).decode()
    reader = SignedReader(Profile("http://127.0.0.1:1", "somebody", secret))
    assert secret not in repr(reader)
    reader.close()


class Pages:
    """Answers listings from a list of pages, and remembers what it was asked."""

    def __init__(self, *pages: str) -> None:
        self.asked: list[dict[str, str]] = []
        self._pages = list(pages)

    def document(self, path: str, query: dict[str, str]) -> bytes:
        assert path == "/b"
        self.asked.append(dict(query))
        return f"<ListVersionsResult><EncodingType>url</EncodingType>{self._pages.pop(0)}</ListVersionsResult>".encode()


def listed(kind: str, key: str, version_id: str, etag: str = "&quot;e&quot;", size: str = "1") -> str:
    when = "2026-11-21T15:58:01.096Z"
    return (
        f"<{kind}><Key>{key}</Key><LastModified>{when}</LastModified><ETag>{etag}</ETag><Size>{size}</Size>"
        f"<VersionId>{version_id}</VersionId></{kind}>"
    )


def remote(pages: Pages) -> RemoteMinio:
    made = object.__new__(RemoteMinio)
    made._signed = pages  # type: ignore[assignment]
    return made


def test_a_key_whose_versions_are_on_two_pages_is_one_key() -> None:
    pages = Pages(
        listed("Version", "a%2Bb", "3")
        + listed("DeleteMarker", "a%2Bb", "2", "", "0")
        + "<IsTruncated>true</IsTruncated><NextKeyMarker>a%2Bb</NextKeyMarker>"
        + "<NextVersionIdMarker>2</NextVersionIdMarker>",
        listed("Version", "a%2Bb", "1", etag="") + listed("Version", "c+d", "null"),
    )
    first, second = remote(pages).keys("b", "a")
    assert (first.key, second.key) == ("a+b", "c d")
    assert [(it.version_id, it.is_marker, it.etag) for it in first.versions] == [
        ("1", False, ""),
        ("2", True, ""),
        ("3", False, "e"),
    ]
    assert pages.asked[1]["key-marker"] == "a+b"
    assert pages.asked[1]["version-id-marker"] == "2"


@pytest.mark.parametrize("page", [listed("Version", "a", "1", size="x"), "<IsTruncated>true</IsTruncated>"])
def test_a_listing_that_makes_no_sense_is_told(page: str) -> None:
    with pytest.raises(SourceError, match="listing"):
        list(remote(Pages(page)).keys("b"))


def archive(**documents: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, document in documents.items():
            opened.writestr(f"{EXPORT}{name}.json", document)
    return packed.getvalue()


def test_an_export_that_unpacks_to_more_than_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hosu.cli.importing.minio_remote.EXPORT_BYTES_MAX", 1000)
    remote = object.__new__(RemoteMinio)
    remote._signed = cast("SignedReader", Answering(archive(users=b" " * 1001)))
    assert "larger than any" in remote.accounts().problems[0][2]


def test_an_expiry_that_cannot_be_read_is_never_none() -> None:
    remote = object.__new__(RemoteMinio)
    held = {"k": {"parent": "alice", "secretKey": "s", "expiration": "soon"}}
    remote._signed = cast("SignedReader", Answering(archive(svcaccts=json.dumps(held).encode())))
    remote._profile = Profile("http://h", "root", "secret-of-root")
    found = remote.accounts()
    assert found.keys == ()
    assert "expires" in found.problems[0][2]


class Answering:
    """A server that says the same to everything."""

    def __init__(self, body: bytes) -> None:
        self.body = body

    def get(self, path: str, query: dict[str, str] | None = None) -> tuple[int, bytes]:
        del path, query
        return 200, self.body

    def document(self, path: str, query: dict[str, str] | None = None) -> bytes:
        return self.get(path, query)[1]


def test_a_listing_that_goes_round_ends() -> None:
    page = (
        b'<ListVersionsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><IsTruncated>true</IsTruncated>'
        b"<NextKeyMarker>k</NextKeyMarker><NextVersionIdMarker>v</NextVersionIdMarker></ListVersionsResult>"
    )
    remote = object.__new__(RemoteMinio)
    remote._signed = cast("SignedReader", Answering(page))
    with pytest.raises(SourceError, match="does not get past"):
        list(remote.keys("b"))


@pytest.mark.parametrize("etag", ["x-99999999999", "x-many", "x-0", "x-²"])
def test_an_etag_cannot_claim_any_number_of_parts(etag: str) -> None:
    remote = object.__new__(RemoteMinio)
    remote._asked = lambda *_, **__: {}  # type: ignore[method-assign]
    with pytest.raises(SourceError, match="parts"):
        remote._parts({}, SourceVersion(version_id="null", modified_ms=1, etag=etag))
