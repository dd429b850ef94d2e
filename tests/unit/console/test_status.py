"""The status page's HTML."""

import xml.etree.ElementTree as ET
from functools import partial
from pathlib import Path

import pytest

from hosu._version import __version__
from hosu.console.status import Status, human_bytes, render_status
from hosu.objects.alerts import Alert, Severity
from hosu.objects.buckets import create_bucket, list_buckets
from hosu.objects.records import Bucket
from hosu.objects.store import ObjectStore


@pytest.fixture
def buckets(tmp_path: Path) -> list[Bucket]:
    with ObjectStore(tmp_path / "lake", space_reserve_bytes=0) as store:
        for name in ("images", "models"):
            store.commit(partial(create_bucket, name=name))
        return list_buckets(store.view(), limit=10)


def test_sizes_are_told_as_people_read_them() -> None:
    sizes = {0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 5 << 30: "5.0 GiB", 3 << 60: "3072.0 PiB"}
    assert {size: human_bytes(size) for size in sizes} == sizes


def test_the_page_tells_health_version_and_where_s3_is() -> None:
    page = render_status(Status(is_ready=True, endpoint="lake.example:9000", buckets=None))
    assert "● ready" in page
    assert __version__ in page
    assert "S3 on lake.example:9000" in page


def test_a_lake_that_takes_no_writes_is_told() -> None:
    page = render_status(Status(is_ready=False, endpoint="h:1", buckets=None))
    assert "not ready" in page
    assert "● ready<" not in page


def test_a_stranger_is_asked_to_sign_in_and_sees_no_buckets() -> None:
    page = render_status(Status(is_ready=True, endpoint="h:1", buckets=None))
    assert 'href="/buckets"' in page
    assert "<table>" not in page


def test_an_empty_lake_says_what_to_do_next() -> None:
    assert "None yet" in render_status(Status(is_ready=True, endpoint="h:1", buckets=[]))


def test_every_bucket_has_its_row(buckets: list[Bucket]) -> None:
    page = render_status(Status(is_ready=True, endpoint="h:1", buckets=buckets))
    assert page.count("<tr><td>") == 2
    assert "<td>images</td><td>0</td><td>0 B</td>" in page


@pytest.mark.parametrize(
    "client", ["hosu", "boto3", "minio-py", "awscli", "mc", "rclone", "Spark (s3a)", "Polars", "DuckDB"]
)
def test_every_client_is_told_how_to_connect(client: str) -> None:
    page = render_status(Status(is_ready=True, endpoint="lake.example:9000", buckets=None))
    guide = page.partition(f"<h3>{client}</h3><pre>")[2].partition("</pre>")[0]
    assert "lake.example:9000" in guide


def test_the_page_is_well_formed_whatever_it_is_given() -> None:
    page = render_status(Status(is_ready=True, endpoint='<script>"&', buckets=[]))
    assert "<script>" not in page
    # As XML, but for the void elements of HTML.
    body = "<body>" + page.partition("<body>")[2].partition("</body>")[0] + "</body>"
    assert ET.fromstring(body).find("h1") is not None


def alert(subject: str, severity: Severity, message: str = "its bytes changed") -> Alert:
    return Alert("corrupt-object", subject, severity, message, 3, 1_795_000_000_000, 1_795_000_000_000, 0, 0)


def test_alerts_that_stand_are_shown_the_worst_first_and_harmlessly() -> None:
    alerts = [alert("<script>", Severity.WARNING), alert("models/a", Severity.CRITICAL, "a & b")]
    page = render_status(Status(is_ready=True, endpoint="h:1", buckets=[], alerts=alerts))
    assert "<script>" not in page
    assert page.index("models/a") < page.index("&lt;script&gt;")
    assert "a &amp; b" in page
    assert "2026-11-18" in page


def test_a_stranger_sees_no_alerts_and_a_lake_without_any_says_so() -> None:
    assert "Alerts" not in render_status(Status(is_ready=True, endpoint="h:1", buckets=None))
    page = render_status(Status(is_ready=True, endpoint="h:1", buckets=[], alerts=[]))
    assert '<h2>Alerts</h2><p class="note">None.</p>' in page
