"""S1.8: Prometheus reads MinIO's metrics and ours, with a token or without by setting."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from botocore.exceptions import ClientError
from tests.conformance.metrics.conftest import NOW_S, Scraper, token
from tests.support.clients import S3Client, boto3_client
from tests.support.http import send
from tests.support.server import ServerProcess, free_port

from hosu.server.metrics import minio_v2, minio_v3, own, rules
from hosu.server.metrics.families import COUNTER

pytestmark = pytest.mark.conformance("metrics", "Scrape")

V2, V3, OWN = "/minio/v2/metrics", "/minio/metrics/v3", "/minio/hosu/metrics"
SECONDS_MAX = 30.0
SHOWN_ON_TROUBLE = {
    "hosu_bucket_quota_bytes", "hosu_sweep_age_seconds", "minio_bucket_quota_total_bytes",
    "minio_cluster_usage_buckets_quota_total_bytes",
}  # fmt: skip
"""What this lake has no value of: no bucket has a quota, and nothing was swept within a minute."""


def until(what: str, holds: Callable[[], object]) -> None:
    """Wait until something holds that another process brings about."""
    deadline = time.monotonic() + SECONDS_MAX
    while not holds():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {SECONDS_MAX} s: {what}")
        time.sleep(0.05)


@pytest.fixture(scope="module", autouse=True)
def traffic(counted_s3: S3Client) -> None:
    """Ask for one of everything, right and wrong."""
    counted_s3.create_bucket(Bucket="images")
    counted_s3.put_bucket_versioning(Bucket="images", VersioningConfiguration={"Status": "Enabled"})
    for number in range(5):
        counted_s3.put_object(Bucket="images", Key=f"k{number}", Body=b"x" * 1_000)
    counted_s3.put_object(Bucket="images", Key="k0", Body=b"y" * 2_000)
    assert len(counted_s3.get_object(Bucket="images", Key="k1")["Body"].read()) == 1_000
    counted_s3.list_objects_v2(Bucket="images")
    counted_s3.delete_object(Bucket="images", Key="k4")
    with pytest.raises(ClientError):
        counted_s3.get_object(Bucket="images", Key="missing")
    with pytest.raises(ClientError):
        counted_s3.head_bucket(Bucket="no-such-bucket")


@pytest.mark.parametrize("scope", ["cluster", "node", "bucket", "resource"])
def test_a_path_of_version_2_shows_its_families_with_minios_types(scraper: Scraper, scope: str) -> None:
    specs = minio_v2.specs_of(scope)
    errors = {"minio_bucket_requests_5xx_errors_total", "minio_bucket_requests_canceled_total"}
    errors |= {"minio_s3_requests_5xx_errors_total", "minio_s3_requests_canceled_total"}
    errors |= {"minio_s3_requests_inflight_total"}
    found = scraper.types(f"{V2}/{scope}")
    assert set(found) <= {spec.name for spec in specs}
    assert {spec.name for spec in specs} - set(found) <= errors | SHOWN_ON_TROUBLE
    assert found == {spec.name: spec.kind for spec in specs if spec.name in found}


def test_paths_of_version_3_show_their_groups_and_parents_show_their_childrens(scraper: Scraper) -> None:
    errors = {
        f"minio_{what}_{kind}_total"
        for what in ("api_requests", "bucket_api")
        for kind in ("5xx_errors", "canceled", "inflight")
    }
    for group in sorted(minio_v3.GROUPS):
        path = f"{V3}{group}/images" if group == minio_v3.BUCKET_API else V3 + group
        specs = [spec for spec in minio_v3.SPECS if spec.group == group]
        found = scraper.types(path)
        assert set(found) <= {spec.name for spec in specs}
        assert {spec.name for spec in specs} - set(found) <= errors | SHOWN_ON_TROUBLE, group
        assert found == {spec.name: spec.kind for spec in specs if spec.name in found}
    system = [group for group in minio_v3.GROUPS if group.startswith("/system/")]
    whole = {name for group in system for name in scraper.types(V3 + group)}
    assert set(scraper.types(f"{V3}/system")) == set(scraper.types(f"{V3}/system/")) == whole
    everything = scraper.types(V3)
    assert whole < set(everything)
    assert not any(name.startswith("minio_bucket_api") for name in everything)
    assert any(name.startswith("minio_bucket_api") for name in scraper.types(f"{V3}?buckets=images"))


def test_our_own_path_shows_our_own(scraper: Scraper) -> None:
    known = {spec.name for spec in own.SPECS}
    found = scraper.types(OWN)
    assert set(found) <= known
    of_rules = {spec.name for spec in rules.SPECS}  # shown once something has happened
    assert known - set(found) <= SHOWN_ON_TROUBLE | of_rules | {"hosu_requests_in_flight", "hosu_lake_quota_bytes"}
    assert found == {spec.name: spec.kind for spec in own.SPECS if spec.name in found}


def test_counters_say_what_was_asked(scraper: Scraper) -> None:
    for path, name, label, operation in (
        (f"{V2}/cluster", "minio_s3_requests_total", "api", "putobject"),
        (f"{V3}/api/requests", "minio_api_requests_total", "name", "PutObject"),
        (f"{V3}/bucket/api/images", "minio_bucket_api_total", "name", "PutObject"),
        (OWN, "hosu_requests_total", "operation", "PutObject"),
    ):
        assert scraper.value(path, name, **{label: operation}) == 6, name
    cluster = f"{V2}/cluster"
    assert scraper.value(cluster, "minio_s3_requests_4xx_errors_total", api="getobject") == 1
    assert scraper.value(cluster, "minio_s3_requests_4xx_errors_total", api="headbucket") == 1
    assert scraper.value(cluster, "minio_s3_requests_5xx_errors_total") == 0
    assert scraper.value(cluster, "minio_s3_requests_ttfb_seconds_distribution", api="putobject", le="+Inf") == 6
    bucket = f"{V2}/bucket"
    assert scraper.value(bucket, "minio_bucket_traffic_received_bytes", bucket="images") >= 7_000
    assert scraper.value(bucket, "minio_bucket_requests_total", bucket="images", api="getobject") == 2
    assert scraper.value(bucket, "minio_bucket_requests_total", bucket="no-such-bucket") == 0
    assert scraper.value(OWN, "hosu_refusals_total", code="NoSuchKey") == 1


def test_usage_says_what_is_stored(scraper: Scraper) -> None:
    for path, name, expected in (
        (f"{V2}/cluster", "minio_cluster_usage_object_total", 4),
        (f"{V2}/cluster", "minio_cluster_usage_version_total", 7),
        (f"{V2}/cluster", "minio_cluster_usage_deletemarker_total", 1),
        (f"{V2}/cluster", "minio_cluster_usage_total_bytes", 7_000),
        (f"{V2}/cluster", "minio_cluster_bucket_total", 1),
        (f"{V3}/cluster/usage/objects", "minio_cluster_usage_objects_total_bytes", 7_000),
        (f"{V3}/cluster/usage/buckets", "minio_cluster_usage_buckets_versions_count", 7),
        (OWN, "hosu_bucket_bytes", 5_000),
        (OWN, "hosu_bucket_old_version_bytes", 2_000),
    ):
        assert scraper.value(path, name) == expected, name
    until(
        "the distribution is renewed",
        lambda: scraper.value(
            f"{V2}/bucket", "minio_bucket_objects_size_distribution", bucket="images", range="LESS_THAN_1024_B"
        ) == 5,
    )  # fmt: skip


def test_every_change_is_in_the_count_of_audited_ones(scraper: Scraper) -> None:
    until("nine changes are carried", lambda: scraper.value(OWN, "hosu_audit_changes_total") == 9)
    assert scraper.value(OWN, "hosu_audit_waiting_changes") == 0


@pytest.mark.parametrize(
    "path", [f"{V2}/nothing", f"{V2}/cluster/more", f"{V3}/nothing", f"{V3}/system/nothing", f"{OWN}/more"]
)
def test_a_path_without_metrics_is_not_found(scraper: Scraper, path: str) -> None:
    assert scraper.get(path).status == 404


@pytest.mark.parametrize("path", ["/debug/go", "/notification", "/logger/webhook", "/cluster/iam", "/replication"])
def test_groups_that_have_nothing_to_tell_answer_all_the_same(scraper: Scraper, path: str) -> None:
    assert scraper.text(V3 + path) == ""


def test_names_can_be_listed_without_values(scraper: Scraper) -> None:
    listed = scraper.get(f"{V3}/system/memory?list").data.decode()
    assert [line.split("`")[1] for line in listed.splitlines() if "`" in line] == [
        spec.name for spec in minio_v3.SPECS if spec.group == "/system/memory"
    ]


@pytest.mark.parametrize("path", [f"{V2}/cluster", V3, f"{V3}/api/requests", OWN])
def test_nobody_reads_metrics_without_a_token_of_a_key_that_may(
    scraper: Scraper, counted_server: ServerProcess, path: str
) -> None:
    root = counted_server.access_key
    for bearer in (
        "",
        "nonsense",
        token(root, "wrong-secret"),
        token("unknown", counted_server.secret_key),
        token(root, counted_server.secret_key, exp=NOW_S - 10**8),
        token(root, counted_server.secret_key, iss="someone"),
    ):
        answer = scraper.get(path, bearer)
        assert answer.status == 403
        assert b"_total" not in answer.data
    assert send("GET", counted_server.endpoint.url + path).status == 403
    assert send("POST", counted_server.endpoint.url + path, b"").status == 405


def test_refused_scrapers_are_in_the_audit_log_without_their_tokens(
    scraper: Scraper, counted_server: ServerProcess
) -> None:
    bearer = token(counted_server.access_key, "wrong-secret")
    scraper.get(OWN, bearer)
    folder = counted_server.directory / "audit"

    def denied() -> list[dict[str, object]]:
        lines = [json.loads(line) for path in folder.glob("*.jsonl") for line in path.read_text().splitlines()]
        return [line for line in lines if line["operation"] == f"GET {OWN}"]

    until("the line is written", denied)
    assert denied()[-1]["decision"] == "denied"
    whole = "".join(path.read_text() for path in folder.glob("*.jsonl")) + counted_server.log_tail()
    assert not any(part in whole for part in bearer.split(".")[1:])


def test_metrics_are_for_everybody_where_the_operator_says_so(start: Callable[..., ServerProcess]) -> None:
    server = start(MINIO_PROMETHEUS_AUTH_TYPE="public")
    for path in (f"{V2}/cluster", f"{V3}/api/requests", OWN):
        assert send("GET", server.endpoint.url + path).status == 200


def test_a_scrape_of_any_process_shows_the_sum_of_all(start: Callable[..., ServerProcess]) -> None:
    server = start(HOSU_WORKERS="2")
    scraper = Scraper(server)
    for _ in range(20):  # each from a connection of its own, which the system gives to one of the processes
        client = boto3_client(server.endpoint)
        client.list_buckets()
        client.close()
    until("both processes have told", lambda: scraper.value(OWN, "hosu_requests_total", operation="ListBuckets") == 20)
    processes = {
        dict(labels)["process"] for (name, labels) in scraper.samples(OWN) if name == "hosu_process_open_files"
    }
    assert {"supervisor", "s3-0", "s3-1"} <= processes


def test_counters_do_not_fall_when_a_process_dies_and_the_restart_is_counted(
    start: Callable[..., ServerProcess],
) -> None:
    server = start()
    scraper = Scraper(server)
    client = boto3_client(server.endpoint)
    for _ in range(7):
        client.list_buckets()
    published = server.directory / "tmp" / "metrics" / "s3-0.json"
    until("the numbers are published", lambda: published.exists() and b'"requests":7' in published.read_bytes())
    (child,) = psutil.Process(server.pid).children()
    os.kill(child.pid, signal.SIGKILL)
    until("the process is back", lambda: scraper_answers(scraper))
    assert scraper.value(OWN, "hosu_requests_total", operation="ListBuckets") == 7
    assert scraper.value(OWN, "hosu_process_restarts_total", process="s3-0") == 1
    client.list_buckets()
    assert scraper.value(OWN, "hosu_requests_total", operation="ListBuckets") == 8
    client.close()


def scraper_answers(scraper: Scraper) -> bool:
    try:
        return scraper.value(OWN, "hosu_process_restarts_total") == 1
    except Exception:  # noqa: BLE001 - whatever a server says that is just coming up
        return False


@pytest.mark.needs("promtool")
def test_promtool_finds_nothing_wrong_with_our_own_and_can_read_minios(scraper: Scraper) -> None:
    for path, statuses in ((OWN, {0}), (f"{V2}/cluster", {0, 3}), (f"{V2}/bucket", {0, 3}), (V3, {0, 3})):
        done = subprocess.run(
            ["promtool", "check", "metrics"], input=scraper.text(path), capture_output=True, text=True, check=False
        )
        assert done.returncode in statuses, f"{path}: {done.stdout}{done.stderr}"  # 3: style, which is MinIO's


@pytest.mark.needs("prometheus")
def test_prometheus_scrapes_with_the_token(scraper: Scraper, counted_server: ServerProcess, tmp_path: Path) -> None:
    port = free_port()
    jobs = [
        {
            "job_name": name,
            "metrics_path": path,
            "params": params,
            "authorization": {"credentials": scraper.token},
            "static_configs": [{"targets": [counted_server.endpoint.host]}],
        }
        for name, path, params in (
            ("hosu", OWN, {}),
            ("minio", f"{V2}/cluster", {}),
            ("minio-v3", V3, {"buckets": ["images"]}),
        )
    ]
    config = tmp_path / "prometheus.yml"  # JSON is YAML too
    config.write_text(json.dumps({"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": jobs}))
    with (tmp_path / "prometheus.log").open("wb") as log:
        prometheus = subprocess.Popen(
            [
                "prometheus", f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log, stderr=log,
        )  # fmt: skip
        try:
            for expression, expected in (
                ('sum(up{job=~"hosu|minio|minio-v3"})', "3"),
                ('sum(hosu_requests_total{operation="PutObject"})', "6"),
                ('minio_s3_requests_total{api="putobject"}', "6"),
                ('minio_bucket_api_total{bucket="images",name="PutObject"}', "6"),
                ('histogram_quantile(1, hosu_request_first_byte_seconds_bucket{operation="PutObject"}) > bool 0', "1"),
            ):
                until(f"{expression} is {expected}", lambda: asked(port, expression) == expected)  # noqa: B023
        finally:
            prometheus.terminate()
            prometheus.wait(20)


def asked(port: int, expression: str) -> str | None:
    """Return the single value of an expression that Prometheus computes, if it has one yet."""
    from urllib.parse import urlencode

    import urllib3

    try:
        answer = send("GET", f"http://127.0.0.1:{port}/api/v1/query?{urlencode({'query': expression})}")
    except urllib3.exceptions.HTTPError:
        return None
    if answer.status != 200:
        return None
    result = json.loads(answer.data)["data"]["result"]
    return str(result[0]["value"][1]) if len(result) == 1 else None


def test_counters_of_all_catalogues_are_counters_to_prometheus(scraper: Scraper) -> None:
    counters = {spec.name for spec in (*minio_v2.SPECS, *minio_v3.SPECS, *own.SPECS) if spec.kind == COUNTER}
    for path in (f"{V2}/cluster", f"{V2}/bucket", V3, OWN):
        assert {name for name, kind in scraper.types(path).items() if kind == "counter"} <= counters
