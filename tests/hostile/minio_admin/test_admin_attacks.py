"""Admin requests that were changed, repeated, cut off, or sent by somebody who may not."""

import base64
import hashlib
import hmac
import json
import os
import socket
import threading
from collections.abc import Callable
from datetime import timedelta
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from minio import crypto, time
from tests.support.admin import ADMIN, AdminClient, RawAdmin
from tests.support.clients import boto3_client
from tests.support.server import ServerProcess

from hosu.server.minio_admin.call import BODY_BYTES_MAX
from hosu.server.minio_admin.container import HEADER_BYTES, PIECE_BYTES, TAG_BYTES, seal
from hosu.server.minio_admin.routes import OPERATIONS, Operation

NEW_USER = b'{"secretKey":"some-secret","status":"enabled"}'
MINUTE = timedelta(minutes=1)


def users(root: RawAdmin) -> set[str]:
    return set(root.send("GET", "list-users").opened())


def state_of(lake: Path) -> list[Any]:
    """Return all that admin requests can change."""
    import apsw

    connection = apsw.Connection(str(lake / "meta" / "lake.db"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        tables = [
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
            if name.startswith(("identity_", "bucket", "named_key", "object"))
        ]
        return [(table, connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()) for table in tables]
    finally:
        connection.close()


# Signatures


def test_who_does_not_sign_gets_nothing(root: RawAdmin, attacked: ServerProcess) -> None:
    import urllib3

    for operation in OPERATIONS:
        answer = urllib3.request(operation.method, attacked.endpoint.url + operation.path, retries=False, timeout=10)
        assert answer.status == 403, operation.path
        assert answer.json()["Code"] == "AccessDenied", operation.path
    assert root.send("GET", "groups").status == 200


@pytest.mark.parametrize("minutes", [-16, 16])
def test_a_request_is_good_for_a_quarter_of_an_hour(root: RawAdmin, minutes: int) -> None:
    answer = root.send(
        "PUT", "add-user", {"accessKey": "late"}, NEW_USER, sealed=True, date=time.utcnow() + minutes * MINUTE
    )
    assert (answer.status, answer.code) == (403, "RequestTimeTooSkewed")
    assert "late" not in users(root)


def test_a_body_that_is_not_the_signed_one_is_refused(root: RawAdmin) -> None:
    body = crypto.encrypt(NEW_USER, root.secret)
    other = crypto.encrypt(b'{"secretKey":"other-secret","status":"enabled"}', root.secret)
    answer = root.send("PUT", "add-user", {"accessKey": "swapped"}, other, signed_body=body)
    assert (answer.status, answer.code) == (400, "XAmzContentSHA256Mismatch")
    answer = root.send("PUT", "set-user-status", {"accessKey": "swapped", "status": "enabled"}, b"x", signed_body=b"")
    assert (answer.status, answer.code) == (400, "XAmzContentSHA256Mismatch")
    assert "swapped" not in users(root)


@pytest.mark.parametrize("payload", ["UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "nonsense"])
def test_a_body_must_be_signed(root: RawAdmin, attacked: ServerProcess, payload: str) -> None:
    import urllib3

    from hosu.kernel.clock import SystemClock
    from hosu.server.s3.signing import sign_headers

    path = ADMIN + "add-user"
    headers = sign_headers(
        "PUT", path.encode(), b"accessKey=unsigned", {b"host": attacked.endpoint.host.encode()}, root.access_key,
        root.secret, SystemClock().now_ms(), region="", payload_sha256=payload.encode(),
    )  # fmt: skip
    answer = urllib3.request(
        "PUT", f"{attacked.endpoint.url}{path}?accessKey=unsigned", body=crypto.encrypt(NEW_USER, root.secret),
        headers={name.decode(): value.decode() for name, value in headers.items()}, retries=False, timeout=10,
    )  # fmt: skip
    assert answer.status in {400, 403}
    assert "unsigned" not in users(root)


def test_a_changed_query_path_or_method_breaks_the_signature(root: RawAdmin, attacked: ServerProcess) -> None:
    import urllib3

    signed = root.signed("PUT", ADMIN + "set-user-status", "accessKey=a&status=enabled", b"")
    for method, target in (
        ("PUT", "set-user-status?accessKey=b&status=enabled"),
        ("PUT", "set-group-status?accessKey=a&status=enabled"),
        ("DELETE", "remove-user?accessKey=a&status=enabled"),
    ):
        answer = urllib3.request(
            method, attacked.endpoint.url + ADMIN + target, headers=signed, retries=False, timeout=10
        )
        assert (answer.status, answer.json()["Code"]) == (403, "SignatureDoesNotMatch")


def test_another_secret_or_an_unknown_key_signs_nothing(attacked: ServerProcess) -> None:
    answer = RawAdmin(attacked.endpoint, secret="not-the-secret").send("GET", "list-users")
    assert (answer.status, answer.code) == (403, "SignatureDoesNotMatch")
    answer = RawAdmin(attacked.endpoint, "nobody-known", "some-secret").send("GET", "list-users")
    assert (answer.status, answer.code) == (403, "InvalidAccessKeyId")


@pytest.mark.parametrize("where", ["header", "query"])
def test_signature_version_2_is_refused_for_it_signs_no_body(attacked: ServerProcess, where: str) -> None:
    import urllib3

    from hosu.kernel.clock import SystemClock

    path, endpoint = ADMIN + "list-users", attacked.endpoint
    seconds = SystemClock().now_ms() // 1000 + 600
    date = formatdate(SystemClock().now_ms() // 1000, usegmt=True) if where == "header" else str(seconds)
    digest = hmac.new(endpoint.secret_key.encode(), f"GET\n\n\n{date}\n{path}".encode(), hashlib.sha1).digest()
    signature = base64.b64encode(digest).decode()
    query, headers = "", {"Date": date, "Authorization": f"AWS {endpoint.access_key}:{signature}"}
    if where == "query":
        fields = {"AWSAccessKeyId": endpoint.access_key, "Expires": date, "Signature": signature}
        query, headers = "?" + urlencode(fields), {}
    answer = urllib3.request("GET", endpoint.url + path + query, headers=headers, retries=False, timeout=10)
    assert (answer.status, answer.json()["Code"]) == (400, "InvalidRequest")


# Containers


def changed(container: bytes) -> dict[str, bytes]:
    flipped = bytearray(container)
    flipped[HEADER_BYTES + 5] ^= 1
    other_salt = bytearray(container)
    other_salt[0] ^= 1
    return {
        "changed": bytes(flipped),
        "other salt": bytes(other_salt),
        "cut off": container[:-1],
        "header alone": container[:HEADER_BYTES],
        "half a header": container[:20],
        "empty": b"",
        "unknown algorithm": container[:32] + b"\x09" + container[33:],
        "longer": container + b"x",
        "plain": NEW_USER,
        "random": os.urandom(200),
    }


@pytest.mark.parametrize("how", sorted(changed(bytes(100))))
def test_a_container_that_was_touched_is_refused_and_changes_nothing(root: RawAdmin, how: str) -> None:
    body = changed(crypto.encrypt(NEW_USER, root.secret))[how]
    answer = root.send("PUT", "add-user", {"accessKey": "touched"}, body, framing="length")
    assert answer.status == 400, answer.body
    assert "touched" not in users(root)
    assert root.secret not in answer.body.decode()


def test_a_container_of_swapped_pieces_is_refused(root: RawAdmin) -> None:
    document = json.dumps({"secretKey": "some-secret", "status": "enabled", "policy": "," * 40_000}).encode()
    whole, step = seal(document, root.secret), PIECE_BYTES + TAG_BYTES
    pieces = [whole[start : start + step] for start in range(HEADER_BYTES, len(whole), step)]
    pieces[0], pieces[1] = pieces[1], pieces[0]
    answer = root.send("PUT", "add-user", {"accessKey": "reordered"}, whole[:HEADER_BYTES] + b"".join(pieces))
    assert (answer.status, answer.code) == (400, "InvalidArgument")
    assert "reordered" not in users(root)


def test_a_container_sealed_with_anothers_secret_is_refused(root: RawAdmin) -> None:
    answer = root.send("PUT", "add-user", {"accessKey": "foreign"}, crypto.encrypt(NEW_USER, "another-secret"))
    assert (answer.status, answer.code) == (400, "InvalidArgument")
    assert "foreign" not in users(root)


def test_a_body_without_a_length_or_too_long_is_refused(root: RawAdmin) -> None:
    body = crypto.encrypt(NEW_USER, root.secret)
    answer = root.send("PUT", "add-user", {"accessKey": "endless"}, body, framing="chunked")
    assert (answer.status, answer.code) == (411, "MissingContentLength")
    answer = root.send("PUT", "add-user", {"accessKey": "endless"}, bytes(BODY_BYTES_MAX + 1))
    assert (answer.status, answer.code) == (400, "EntityTooLarge")
    answer = root.send("PUT", "add-canned-policy", {"name": "endless"}, bytes(BODY_BYTES_MAX + 1), framing="chunked")
    assert (answer.status, answer.code) == (400, "EntityTooLarge")
    assert "endless" not in users(root)


def test_a_body_that_breaks_off_changes_nothing(root: RawAdmin, attacked: ServerProcess) -> None:
    body = crypto.encrypt(NEW_USER, root.secret)
    head = root.signed("PUT", ADMIN + "add-user", "accessKey=broken", body, {"Content-Length": str(len(body))})
    with socket.create_connection(("127.0.0.1", attacked.port), timeout=10) as connection:
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        connection.sendall(f"PUT {ADMIN}add-user?accessKey=broken HTTP/1.1\r\n{lines}\r\n".encode() + body[:-10])
    assert "broken" not in users(root)


@pytest.mark.parametrize(
    "document",
    [
        b"", b"{", b"[]", b"null", b'"text"', b"{}", b'{"secretKey":5}', b'{"secretKey":"some-secret","admin":true}',
        b'{"secretKey":"some-secret","status":"perhaps"}', b"[" * 20_000, b'{"secretKey":"\\ud800secret"}', b"\xff\xfe",
    ],
)  # fmt: skip
def test_a_document_that_is_not_what_it_should_be_is_refused(root: RawAdmin, document: bytes) -> None:
    answer = root.send("PUT", "add-user", {"accessKey": "garbled"}, document, sealed=True)
    assert answer.status == 400, answer.body
    assert "garbled" not in users(root)


def test_many_containers_at_once_do_not_need_memory_for_all(root: RawAdmin, attacked: ServerProcess) -> None:
    import psutil

    pid = psutil.Process(attacked.pid).children()[0].pid
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda: answers.append(root.send("GET", "list-users").status)) for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    most = 0
    while any(thread.is_alive() for thread in threads):
        most = max(most, psutil.Process(pid).memory_info().rss)
        threading.Event().wait(0.005)
    assert answers == [200] * 12
    assert most < 12 * 64 * 1024 * 1024


# Queries and paths


@pytest.mark.parametrize("query", ["accessKey=%ff", "accessKey=%C3%28", "accessKey=\u20ac", "&".join(["a=b"] * 3000)])
def test_a_query_that_cannot_be_read_is_refused(root: RawAdmin, query: str) -> None:
    try:
        answer = root.send("GET", "user-info", query)
    except UnicodeEncodeError:
        return
    assert answer.status == 400


@pytest.mark.parametrize(
    ("method", "path", "query"),
    [
        ("PUT", "add-user", ""), ("GET", "user-info", ""), ("DELETE", "remove-user", "accessKey="),
        ("PUT", "set-user-status", "status=enabled"), ("PUT", "set-user-status", "accessKey=a&status=perhaps"),
        ("GET", "group", ""), ("PUT", "set-group-status", "group=g&status="), ("DELETE", "remove-canned-policy", ""),
        ("PUT", "set-user-or-group-policy", "policyName=readonly"), ("GET", "get-bucket-quota", ""),
        ("PUT", "set-user-or-group-policy", "policyName=readonly&userOrGroup=a&isGroup=perhaps"),
        ("GET", "info-service-account", ""), ("GET", "list-access-keys-bulk", "listType=none"),
        ("GET", "list-access-keys-bulk", "users=a&all=true"), ("POST", "service", "action=freeze"),
        ("POST", "kms/key/create", ""),
    ],
)  # fmt: skip
def test_a_parameter_that_is_missing_or_wrong_is_named(root: RawAdmin, method: str, path: str, query: str) -> None:
    answer = root.send(method, path, query)
    assert (answer.status, answer.code) == (400, "InvalidArgument"), answer.body


@pytest.mark.parametrize(
    "path", ["", "//", "list-users/", "./list-users", "../v3/list-users", "list%2Dusers", "LIST-USERS", "list-users%00"]
)
def test_a_path_is_what_it_is_and_nothing_else(root: RawAdmin, path: str) -> None:
    answer = root.send("GET", ADMIN + path)
    assert (answer.status, answer.code) == (426, "XMinioAdminVersionMismatch")


# Permission


@pytest.fixture(scope="session")
def nobody(admin: AdminClient, attacked: ServerProcess) -> RawAdmin:
    """A user with a secret and no policy."""
    admin.user_add("nobody", "nobodys-secret")
    return RawAdmin(attacked.endpoint, "nobody", "nobodys-secret")


OWN = frozenset({"accountinfo", "list-service-accounts", "list-access-keys-bulk", "add-service-account"})
"""What everybody may do for themselves; elsewhere it is tried on others."""

QUERY = {
    "accessKey": "conformance", "user": "conformance", "users": "conformance", "group": "g", "name": "readonly",
    "bucket": "prey", "status": "enabled", "userOrGroup": "nobody", "policyName": "consoleAdmin", "action": "stop",
    "key-id": "k", "key": "site", "all": "", "restoreId": "x",
}  # fmt: skip

BODIES = {
    "add-user": (NEW_USER, True),
    "add-canned-policy": (b'{"Version":"2012-10-17","Statement":[]}', False),
    "update-group-members": (b'{"group":"g","members":["nobody"]}', False),
    "idp/builtin/policy/attach": (b'{"policies":["consoleAdmin"],"user":"nobody"}', True),
    "idp/builtin/policy/detach": (b'{"policies":["consoleAdmin"],"user":"nobody"}', True),
    "set-bucket-quota": (b'{"quota":1,"quotatype":"hard"}', False),
    "add-service-account": (b'{"targetUser":"conformance"}', True),
    "update-service-account": (b'{"newSecretKey":"taken-over"}', True),
    "set-config-kv": (b"site region=", True),
}


@pytest.mark.parametrize(
    "operation",
    [operation for operation in OPERATIONS if operation.path != ADMIN + "accountinfo"],
    ids=lambda operation: f"{operation.method} {operation.path}",
)
def test_who_has_no_policy_may_do_nothing_that_is_not_about_themselves(
    nobody: RawAdmin, attacked: ServerProcess, operation: Operation
) -> None:
    before = state_of(attacked.directory)
    body, sealed = BODIES.get(operation.path.removeprefix(ADMIN), (b"", False))
    answer = nobody.send(operation.method, operation.path, QUERY, body, sealed=sealed)
    assert (answer.status, answer.code) == (403, "AccessDenied"), answer.body
    assert state_of(attacked.directory) == before


def test_each_action_opens_its_own_operations_and_no_others(
    admin: AdminClient, attacked: ServerProcess, nobody: RawAdmin
) -> None:
    del nobody
    reader = RawAdmin(attacked.endpoint, "lister", "listers-secret")
    admin.user_add("lister", "listers-secret")
    admin.policy_add(
        "may-list",
        policy={"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["admin:ListUsers"]}]},
    )
    admin.attach_policy(["may-list"], user="lister")
    for operation in OPERATIONS:
        if operation.path.removeprefix(ADMIN) in OWN:
            continue
        body, sealed = BODIES.get(operation.path.removeprefix(ADMIN), (b"", False))
        answer = reader.send(operation.method, operation.path, QUERY, body, sealed=sealed)
        assert (answer.status == 200) is (operation.path == ADMIN + "list-users"), operation.path


# Secrets


def test_no_secret_shows_in_a_log_an_error_or_a_file(
    root: RawAdmin, admin: AdminClient, attacked: ServerProcess
) -> None:
    secrets = {
        name: f"{name}-{os.urandom(12).hex()}" for name in ("user", "changed", "key", "other", "refused", "short")
    }
    admin.user_add("secretive", secrets["user"])
    theirs = RawAdmin(attacked.endpoint, "secretive", secrets["user"])
    made = json.loads(admin.add_service_account(access_key="secretkey", secret_key=secrets["key"], name="n"))
    generated = json.loads(admin.add_service_account())["credentials"]["secretKey"]
    admin.update_service_account(access_key="secretkey", secret_key=secrets["changed"])
    listings = [admin.user_list(), admin.user_info("secretive"), admin.get_service_account("secretkey"), admin.info()]
    listings += [admin.list_service_account("conformance"), admin.config_get("hosu"), admin.account_info()]
    listings += [root.send("GET", "list-access-keys-bulk", {"all": "true"}).opened_bytes().decode()]
    listings += [root.send("GET", "config").opened_bytes().decode()]
    attempts: list[Callable[[], object]] = [
        lambda: admin.user_add("no/good", secrets["refused"]),
        lambda: admin.user_add("secretkey", secrets["refused"]),
        lambda: admin.add_service_account(access_key="ab", secret_key=secrets["refused"]),
        lambda: admin.add_service_account(access_key="secretkey", secret_key=secrets["refused"]),
        lambda: admin.user_add("toolong", secrets["short"] * 10),
    ]
    for attempt in attempts:
        with pytest.raises(Exception, match="Status: 400") as refusal:
            attempt()
        listings.append(str(refusal.value))
    for wrong in (b'{"secretKey":"%b","oops":1}', b'{"secretKey":["%b"]}', b'{"secretKey":"%b"', b'"%b"'):
        body = wrong % secrets["refused"].encode()
        listings.append(root.send("PUT", "add-user", {"accessKey": "x"}, body, sealed=True).body.decode())
    listings.append(theirs.send("GET", "list-users").body.decode())
    listings.append(
        root.send("PUT", "add-user", {"accessKey": "x"}, crypto.encrypt(NEW_USER, secrets["other"])).body.decode()
    )
    assert made["credentials"]["secretKey"] == secrets["key"]
    hidden = [*secrets.values(), generated, attacked.secret_key]
    log = attacked.log_path.read_text()
    assert "answered" in log, "the log tells everything, at DEBUG"
    for secret in hidden:
        assert secret not in log
        assert not [text for text in listings if secret in text]
    boto3_client(attacked.endpoint).list_buckets()
    for file in attacked.directory.rglob("*"):
        content = file.read_bytes() if file.is_file() else b""
        assert not [secret for secret in hidden if secret.encode() in content], file
