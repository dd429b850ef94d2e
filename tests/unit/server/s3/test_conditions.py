"""Where a request comes from, and what it says of itself when a policy asks."""

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hosu.identity.acl import OWNERSHIP, WRITER, default_acl
from hosu.identity.policy.keys import read_key
from hosu.kernel.auth import Principal, RootKeyring, RootOnly
from hosu.objects.blobs import stage_inline
from hosu.objects.buckets import create_bucket, set_document
from hosu.objects.put import PutRequest, put_object
from hosu.objects.records import Attributes
from hosu.objects.store import ObjectStore
from hosu.server.s3.call import Call, Engine
from hosu.server.s3.conditions import (
    CONDITION_KEYS,
    LookContext,
    NewBucketContext,
    PartContext,
    RequestContext,
    TrustedProxies,
    plain_address,
)
from hosu.server.s3.signing import signing_key
from hosu.server.s3.verified import PayloadKind, Verified
from hosu.testing.manual_clock import ManualClock

NOW_MS = 1_700_000_000_000
SIGNED = Verified(
    "alice", PayloadKind.UNSIGNED, None, b"scope", b"20231114T221310Z", b"", signing_key("s", b"20231114", "", "s3")
)
FORWARDED = b"x-forwarded-for"


COPYING = {b"x-amz-copy-source": b"b/k", b"x-amz-tagging": b"a=1"}


def with_call(tmp_path: Path, check: Callable[[Call], None], **changes: Any) -> None:
    """Make a lake with an object of alice's in root's bucket, and check a call about it."""

    async def run() -> None:
        with ObjectStore(tmp_path / "lake", clock=ManualClock(NOW_MS)) as store:
            store.commit(partial(create_bucket, name="bucket"))
            store.commit(partial(set_document, name="bucket", kind=OWNERSHIP, body=WRITER))
            attributes = Attributes(tags={"Team": "x", "b": "2"}, acl=default_acl("alice"))
            request = PutRequest("bucket", "k", stage_inline(b"x"), "e", attributes=attributes)
            store.commit(partial(put_object, request=request))
            engine = Engine(
                store, RootOnly(), RootKeyring("admin", "secret"), "", trusted_proxies=changes.pop("proxies", "")
            )
            values = {
                "fields": changes.pop("fields", {}),
                "raw_query": changes.pop("query", b""),
                "method": "GET",
                "peer": changes.pop("peer", ("192.0.2.7", 1)),
                "secure": changes.pop("secure", False),
                "request_id": "id",
            }
            call = Call(engine, SimpleNamespace(**values), "bucket", changes.pop("key", "k"))  # type: ignore[arg-type]
            call.verified = changes.pop("verified", None)
            call.principal = changes.pop("principal", Principal("alice", "alice"))
            assert not changes
            check(call)
            engine.close()

    asyncio.run(run())


def check_value(tmp_path: Path, name: str, expected: list[str], **changes: Any) -> None:
    action = changes.pop("action", "s3:GetObject")

    def check(call: Call) -> None:
        assert list(RequestContext(call, action).values(name)) == expected

    with_call(tmp_path, check, **changes)


@pytest.mark.parametrize(
    ("name", "expected", "changes"),
    [
        ("aws:sourceip", ["192.0.2.7"], {}),
        ("aws:sourceip", ["192.0.2.7"], {"peer": ("::ffff:192.0.2.7", 1)}),
        ("aws:securetransport", ["false"], {}),
        ("aws:securetransport", ["true"], {"secure": True}),
        ("aws:useragent", ["a/1"], {"fields": {b"user-agent": b"a/1"}}),
        ("aws:useragent", [], {}),
        ("aws:referer", ["http://a/"], {"fields": {b"referer": b"http://a/"}}),
        ("aws:currenttime", ["2023-11-14T22:13:20Z"], {}),
        ("aws:epochtime", ["1700000000"], {}),
        ("s3:prefix", ["a/"], {"query": b"prefix=a%2F"}),
        ("s3:prefix", [""], {"query": b"prefix="}),
        ("s3:prefix", [], {}),
        ("s3:delimiter", ["/"], {"query": b"delimiter=/"}),
        ("s3:max-keys", ["5"], {"query": b"max-keys=5"}),
        ("s3:versionid", ["null"], {"query": b"versionId=null", "action": "s3:GetObjectVersion"}),
        ("s3:versionid", [], {"query": b"versionId=null", "action": "s3:PutObject"}),
        ("s3:versionid", [], {}),
        ("s3:x-amz-acl", ["private"], {"fields": {b"x-amz-acl": b"private"}}),
        ("s3:x-amz-acl", [], {}),
        ("s3:x-amz-copy-source", ["b/a b"], {"fields": {b"x-amz-copy-source": b"/b/a%20b?versionId=1"}}),
        ("s3:x-amz-copy-source", [], {}),
        ("s3:existingobjecttag/team", ["x"], {}),
        ("s3:existingobjecttag/b", ["2"], {}),
        ("s3:existingobjecttag/none", [], {}),
        ("s3:existingobjecttag/team", ["x"], {"query": b"versionId=other", "action": "s3:PutObject"}),
        ("s3:existingobjecttag/team", [], {"query": b"versionId=other", "action": "s3:GetObjectVersion"}),
        ("s3:existingobjecttag/team", [], {"key": "none"}),
        ("s3:existingobjecttag/team", [], {"key": ""}),
        ("s3:requestobjecttag/a", ["1"], {"fields": {b"x-amz-tagging": b"A=1&b=2"}}),
        ("s3:requestobjecttag/c", [], {"fields": {b"x-amz-tagging": b"a=1"}}),
        ("s3:requestobjecttagkeys", ["a", "b"], {"fields": {b"x-amz-tagging": b"a=1&b=2"}}),
        ("s3:requestobjecttagkeys", [], {}),
        ("s3:requestobjecttag/a", [], {"fields": COPYING}),
        ("s3:requestobjecttagkeys", [], {"fields": COPYING | {b"x-amz-tagging-directive": b"COPY"}}),
        ("s3:requestobjecttag/a", ["1"], {"fields": COPYING | {b"x-amz-tagging-directive": b"replace"}}),
        ("s3:authtype", [], {"principal": Principal("anonymous")}),
        ("s3:authtype", ["POST"], {}),
        ("s3:authtype", ["REST-HEADER"], {"verified": SIGNED}),
        ("s3:signatureversion", ["AWS4-HMAC-SHA256"], {"verified": SIGNED}),
        ("s3:signatureage", ["10000"], {"verified": SIGNED}),
        ("s3:signatureage", [], {}),
        ("s3:resourceaccount", ["alice"], {}),
        ("aws:resourceaccount", ["alice"], {}),
        ("s3:resourceaccount", [], {"key": ""}),
        ("s3:if-none-match", ["*"], {"fields": {b"if-none-match": b"*"}}),
        ("aws:sourcevpc", [], {}),
        ("no such key", [], {}),
    ],
)
def test_a_request_says_this_of_itself(tmp_path: Path, name: str, expected: list[str], changes: dict[str, Any]) -> None:
    check_value(tmp_path, name, expected, **changes)


def test_parts_of_a_request_have_keys_versions_and_tags_of_their_own(tmp_path: Path) -> None:
    def check(call: Call) -> None:
        part = PartContext(call, "s3:DeleteObject", "bucket", "other", version_id="v", tags={"a": "1"})
        assert list(part.values("s3:versionid")) == ["v"]
        assert list(part.values("s3:requestobjecttag/a")) == ["1"]
        assert list(part.values("s3:existingobjecttag/team")) == []
        assert list(PartContext(call, "s3:GetObject", "bucket", "k").values("s3:versionid")) == []
        look = LookContext(call, "s3:ListBucket", "bucket", "a/key")
        assert list(look.values("s3:prefix")) == ["a/key"]
        assert list(look.values("s3:delimiter")) == []

    with_call(tmp_path, check, query=b"versionId=null&prefix=b&delimiter=%2F", fields={b"x-amz-tagging": b"z=1"})


def test_a_new_bucket_will_be_its_makers(tmp_path: Path) -> None:
    def check(call: Call) -> None:
        context = NewBucketContext(call, "s3:CreateBucket", "eu-west-1")
        assert list(context.values("s3:resourceaccount")) == ["alice"]
        assert list(context.values("s3:locationconstraint")) == ["eu-west-1"]
        assert list(NewBucketContext(call, "s3:CreateBucket", None).values("s3:locationconstraint")) == []

    with_call(tmp_path, check)


def test_every_key_with_a_value_is_one_that_policies_may_name() -> None:
    for name in CONDITION_KEYS:
        read_key(name)


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("192.0.2.1", b"10.9.9.9", "192.0.2.1"),
        ("10.0.0.1", b"198.51.100.4", "198.51.100.4"),
        ("10.0.0.1", b"1.1.1.1, 198.51.100.4", "198.51.100.4"),
        ("10.0.0.1", b"198.51.100.4, 10.0.0.2", "198.51.100.4"),
        ("10.0.0.1", b"10.0.0.3,10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", b"unknown", "10.0.0.1"),
        ("10.0.0.1", b"198.51.100.4, nonsense", "10.0.0.1"),
        ("10.0.0.1", b"", "10.0.0.1"),
        ("10.0.0.1", b"198.51.100.4:5555", "198.51.100.4"),
        ("10.0.0.1", b"[2001:db8::1]:5555", "2001:db8::1"),
        ("2001:db8::7", b"198.51.100.4", "198.51.100.4"),
        ("::ffff:10.0.0.1", b"198.51.100.4", "198.51.100.4"),
    ],
)
def test_the_nearest_hop_that_is_no_proxy_of_ours_counts(peer: str, forwarded: bytes, expected: str) -> None:
    proxies = TrustedProxies("10.0.0.0/24, 2001:db8::7")
    assert proxies.source_ip(peer, {FORWARDED: forwarded}) == expected


def test_without_trusted_proxies_nobody_is_believed() -> None:
    proxies = TrustedProxies()
    assert proxies.source_ip("10.0.0.1", {FORWARDED: b"198.51.100.4"}) == "10.0.0.1"
    assert not proxies.is_secure("10.0.0.1", {b"x-forwarded-proto": b"https"}, is_secure=False)


@pytest.mark.parametrize(
    ("peer", "header", "is_secure", "expected"),
    [
        ("10.0.0.1", b"https", False, True),
        ("10.0.0.1", b"http", False, False),
        ("10.0.0.1", b"https, http", False, False),
        ("10.0.0.1", b"http", True, True),
        ("192.0.2.1", b"https", False, False),
    ],
)
def test_a_trusted_proxy_says_whether_it_was_asked_over_tls(
    peer: str, header: bytes, *, is_secure: bool, expected: bool
) -> None:
    proxies = TrustedProxies("10.0.0.0/24")
    assert proxies.is_secure(peer, {b"x-forwarded-proto": header}, is_secure=is_secure) is expected


@pytest.mark.parametrize(
    ("proxies", "source_ip", "is_secure"), [("192.0.2.0/24", "198.51.100.4", "true"), ("", "192.0.2.7", "false")]
)
def test_the_setting_reaches_conditions(tmp_path: Path, proxies: str, source_ip: str, is_secure: str) -> None:
    def check(call: Call) -> None:
        context = RequestContext(call, "s3:GetObject")
        assert list(context.values("aws:sourceip")) == [source_ip]
        assert list(context.values("aws:securetransport")) == [is_secure]

    fields = {FORWARDED: b"198.51.100.4", b"x-forwarded-proto": b"https"}
    with_call(tmp_path, check, fields=fields, proxies=proxies)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:80", "192.0.2.1"),
        ("::1", "::1"),
        ("[::1]:80", "::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", ""),
    ],
)
def test_an_address_loses_its_port_and_wrapping(text: str, expected: str) -> None:
    assert plain_address(text) == expected
