"""What a process counts and writes down of the requests it is told of."""

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast

import pytest

from hosu.kernel.auth import Principal
from hosu.kernel.errors import AccessDeniedError, ErrorKind, HosuError, NotFoundError, UnavailableError
from hosu.objects.alerts import list_alerts
from hosu.objects.audit_files import AuditFiles
from hosu.objects.audit_query import query
from hosu.objects.audit_switch import set_reads
from hosu.objects.buckets import create_bucket
from hosu.objects.store import ObjectStore
from hosu.server.audit.log import AuditLog
from hosu.server.http import Request
from hosu.server.http.body import EMPTY_BODY
from hosu.server.metrics.meter import FOLDER, Meter
from hosu.server.s3.call import Call, Engine
from hosu.server.s3.conditions import TrustedProxies
from hosu.server.s3.request_errors import S3RequestError, unknown_access_key
from hosu.server.telemetry import Telemetry
from hosu.testing.manual_clock import ManualClock

DENIED = AccessDeniedError(ErrorKind.ACCESS_DENIED, "no", action="s3:GetObject", statement="p[0] (no-reads)")


@pytest.fixture
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    path = tmp_path_factory.mktemp("telemetry") / "lake"
    with ObjectStore(path, clock=ManualClock(1_795_000_000_000), space_reserve_bytes=0) as opened:
        opened.commit(lambda tx: create_bucket(tx, "images"))
        yield opened


@pytest.fixture
def meter(store: ObjectStore) -> Meter:
    return Meter(store.path, run=1, process="s3-0")


@pytest.fixture
def telemetry(store: ObjectStore, meter: Meter) -> Iterator[Telemetry]:
    made = Telemetry(store, meter, AuditLog(store, AuditFiles(store)))
    yield made
    made.close()


def asked(method: str = "GET", operation: str = "GetObject", bucket: str = "images", key: str = "a") -> Request:
    """Return a request that S3 has understood."""
    path = f"/{bucket}/{key}".encode()
    request = Request(method, path, b"versionId=v1&X-Amz-Signature=SECRET", [], {b"user-agent": b"test"}, b"HTTP/1.1")
    request.body, request.peer, request.request_id = EMPTY_BODY, ("192.0.2.7", 1), "R1"
    request.started_s, request.secure = 10.0, False
    engine = cast("Engine", SimpleNamespace(proxies=TrustedProxies("")))
    call = Call(engine, request, bucket, key)
    call.operation, call.action, call.principal = operation, f"s3:{operation}", Principal("alice", "KEY")
    request.note = call
    return request


def lines(store: ObjectStore, telemetry: Telemetry) -> list[dict[str, object]]:
    telemetry.close()
    found = [line for line in query(store.path) if not line.operation.startswith("in-process")]
    return [{name: getattr(line, name) for name in ("operation", "key", "decision", "status")} for line in found]


def test_a_request_counts_under_its_operation_and_bucket(telemetry: Telemetry, meter: Meter) -> None:
    telemetry.answered(asked(), 200, 5, 0.02)
    counts = meter.counts["GetObject", "images"]
    assert (counts.requests, counts.sent_bytes, counts.ttfb_s, counts.ttfb[0]) == (1, 5, 0.02, 1)


def test_the_first_byte_counts_not_the_last(telemetry: Telemetry, meter: Meter) -> None:
    request = asked()
    request.first_byte_s = 10.2
    telemetry.answered(request, 200, 5, 60.0)
    assert meter.counts["GetObject", "images"].ttfb_s == pytest.approx(0.2)


def test_refused_requests_to_buckets_that_are_none_share_one_place(telemetry: Telemetry, meter: Meter) -> None:
    for number in range(5):
        telemetry.answered(asked(bucket=f"guess-{number}"), 404, 0, 0.0)
    telemetry.answered(asked(), 404, 0, 0.0)
    assert sorted(meter.counts) == [("GetObject", ""), ("GetObject", "images")]
    assert meter.counts["GetObject", ""].errors_4xx == 5


def test_what_is_no_request_of_s3_is_not_counted_as_one(telemetry: Telemetry, meter: Meter) -> None:
    request = asked()
    request.note = None
    telemetry.answered(request, 200, 5, 0.02)
    assert meter.counts == {}
    telemetry.malformed(400)
    assert meter.rejected == {"auth": 0, "header": 0, "timestamp": 0, "invalid": 1}


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("AccessDenied", "auth"), ("SignatureDoesNotMatch", "auth"), ("InvalidAccessKeyId", "auth"),
        ("RequestTimeTooSkewed", "timestamp"), ("AuthorizationHeaderMalformed", "header"),
        ("MethodNotAllowed", "invalid"), ("NoSuchKey", None), ("PreconditionFailed", None),
    ],
)  # fmt: skip
def test_a_refusal_counts_by_its_code_and_reason(
    telemetry: Telemetry, meter: Meter, code: str, reason: str | None
) -> None:
    telemetry.refused(asked(), code, 400, S3RequestError(code, "no"))
    assert meter.codes == {code: 1}
    assert [name for name, count in meter.rejected.items() if count] == ([] if reason is None else [reason])


@pytest.mark.parametrize("kind", [ErrorKind.DISK_FULL, ErrorKind.DISK_FAULT, ErrorKind.CORRUPT_BLOB])
def test_faults_of_the_disk_are_counted(telemetry: Telemetry, meter: Meter, kind: ErrorKind) -> None:
    telemetry.refused(asked(), "ServiceUnavailable", 503, UnavailableError(kind, "no"))
    telemetry.refused(asked(), "NoSuchKey", 404, NotFoundError(ErrorKind.OBJECT_NOT_FOUND, "no"))
    assert meter.totals["disk_errors"] == 1


def test_a_denied_request_has_a_line_with_all_that_is_known(store: ObjectStore, telemetry: Telemetry) -> None:
    telemetry.refused(asked(), "AccessDenied", 403, DENIED)
    telemetry.close()
    (line,) = query(store.path, denied_only=True)
    assert (line.principal, line.access_key, line.source_ip, line.user_agent) == ("alice", "KEY", "192.0.2.7", "test")
    assert (line.operation, line.action, line.bucket, line.key) == ("s3:GetObject", "s3:GetObject", "images", "a")
    assert (line.version_id, line.status, line.error, line.statement) == ("v1", 403, "AccessDenied", "p[0] (no-reads)")
    assert b"SECRET" not in b"".join(path.read_bytes() for path in (store.path / "audit").iterdir())


def test_whoever_makes_up_another_key_each_time_is_one_source(store: ObjectStore, meter: Meter) -> None:
    telemetry = Telemetry(store, meter, None, denied_requests=5)
    for number in range(6):
        error = unknown_access_key(f"GUESS{number}")
        request = asked()
        request.note = None  # who asks is told before what is asked
        telemetry.refused(request, "InvalidAccessKeyId", 403, error)
    telemetry.close()
    (alert,) = list_alerts(store.view())
    assert (alert.kind, alert.subject) == ("access-errors", "unknown keys from 192.0.2.7")
    assert alert.message.endswith("as 'GUESS4'")


def test_one_key_of_many_that_is_denied_has_a_line_of_its_own(store: ObjectStore, telemetry: Telemetry) -> None:
    request = asked("POST", "DeleteObjects", key="")
    for key in ("x", "y"):
        telemetry.refused(request, "AccessDenied", 403, DENIED, key)
    assert [line["key"] for line in lines(store, telemetry)] == ["x", "y"]


@pytest.mark.parametrize(
    ("method", "code", "status", "error"),
    [
        ("GET", "NoSuchKey", 404, NotFoundError(ErrorKind.OBJECT_NOT_FOUND, "no")),
        ("PUT", "InvalidArgument", 400, S3RequestError("InvalidArgument", "no")),
        ("OPTIONS", "CORSForbidden", 403, S3RequestError("CORSForbidden", "no")),
    ],
)
def test_other_refusals_have_no_line(
    store: ObjectStore, telemetry: Telemetry, method: str, code: str, status: int, error: HosuError
) -> None:
    telemetry.refused(asked(method), code, status, error)
    assert lines(store, telemetry) == []


def test_only_reads_of_a_bucket_that_wants_it_have_lines(store: ObjectStore, telemetry: Telemetry) -> None:
    store.commit(lambda tx: create_bucket(tx, "quiet"))
    telemetry.answered(asked(key="before"), 200, 5, 0.0)
    store.commit(lambda tx: set_reads(tx, "images", is_on=True))
    telemetry.answered(asked(key="read"), 200, 5, 0.0)
    telemetry.answered(asked("HEAD", "HeadObject", key="looked"), 404, 0, 0.0)
    telemetry.answered(asked("PUT", "PutObject", key="written"), 200, 0, 0.0)
    telemetry.answered(asked(bucket="quiet"), 200, 5, 0.0)
    telemetry.answered(asked(key="denied"), 403, 0, 0.0)
    assert lines(store, telemetry) == [
        {"operation": "s3:GetObject", "key": "read", "decision": "allowed", "status": 200},
        {"operation": "s3:HeadObject", "key": "looked", "decision": "allowed", "status": 404},
    ]


def test_without_an_audit_log_nothing_is_written(store: ObjectStore, meter: Meter) -> None:
    telemetry = Telemetry(store, meter, None, all_reads=True)
    telemetry.answered(asked(), 200, 5, 0.0)
    telemetry.refused(asked(), "AccessDenied", 403, DENIED)
    assert lines(store, telemetry) == []
    assert not (store.path / "audit").exists()


def test_closing_publishes_what_was_counted(store: ObjectStore, telemetry: Telemetry) -> None:
    telemetry.answered(asked(), 200, 5, 0.0)
    telemetry.refused(asked(), "AccessDenied", 403, DENIED)
    telemetry.close()
    published = json.loads((store.path / FOLDER / "s3-0.json").read_bytes())
    assert published["counts"][0]["requests"] == 1
    assert published["totals"] == {"audit_lines": 1, "audit_dropped": 0}


def test_names_of_any_length_are_cut_in_lines_of_refused_requests(store: ObjectStore, telemetry: Telemetry) -> None:
    request = asked(bucket="b" * 10_000, key="k" * 10_000)
    request.fields[b"user-agent"] = b"u" * 10_000
    error = AccessDeniedError(ErrorKind.ACCESS_DENIED, "no", access_key="a" * 10_000)
    telemetry.refused(request, "AccessDenied", 403, error)
    request = asked(key="k" * 10_000)
    request.note = None
    telemetry.refused(request, "AccessDenied", 403, error)
    telemetry.close()
    assert all(
        len(line) < 3_000 for path in (store.path / "audit").iterdir() for line in path.read_bytes().splitlines()
    )
    assert len(list(query(store.path, denied_only=True))) == 2
