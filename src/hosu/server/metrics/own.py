"""hosu's own metrics: `/minio/hosu/metrics`."""

from hosu._version import __version__
from hosu.server.metrics import rules
from hosu.server.metrics.families import COUNTER, GAUGE, HISTOGRAM, Spec, Values
from hosu.server.metrics.meter import TTFB_BOUNDS_S
from hosu.server.metrics.minio_v2 import total
from hosu.server.metrics.state import State

GROUP = "hosu"
RESTARTS_PREFIX = "restarts:"
"""Before the name of a process in the supervisor's numbers."""

SPECS: tuple[Spec, ...] = (
    Spec("hosu_audit_changes_total", COUNTER, GROUP, "Changes carried to the files of the audit log"),
    Spec("hosu_audit_dropped_lines_total", COUNTER, GROUP, "Denied requests and reads that the audit log lost"),
    Spec("hosu_audit_failures_total", COUNTER, GROUP, "Attempts to carry changes that failed; they wait"),
    Spec("hosu_audit_lines_total", COUNTER, GROUP, "Denied requests and reads written to the audit log"),
    Spec("hosu_audit_waiting_changes", GAUGE, GROUP, "Changes that wait to be carried to the files of the audit log"),
    Spec("hosu_bucket_bytes", GAUGE, GROUP, "Bytes of a bucket's current objects", ("bucket",)),
    Spec("hosu_bucket_delete_markers", GAUGE, GROUP, "Delete markers of a bucket", ("bucket",)),
    Spec("hosu_bucket_objects", GAUGE, GROUP, "Current objects of a bucket", ("bucket",)),
    Spec("hosu_bucket_old_version_bytes", GAUGE, GROUP, "Bytes of versions that are not current", ("bucket",)),
    Spec("hosu_bucket_old_versions", GAUGE, GROUP, "Versions that are not current", ("bucket",)),
    Spec("hosu_bucket_quota_bytes", GAUGE, GROUP, "The quota of a bucket that has one", ("bucket",)),
    Spec("hosu_bucket_requests_total", COUNTER, GROUP, "Requests to a bucket by how they ended", ("bucket", "outcome")),
    Spec("hosu_bucket_received_bytes_total", COUNTER, GROUP, "Bytes of bodies a bucket received", ("bucket",)),
    Spec("hosu_bucket_sent_bytes_total", COUNTER, GROUP, "Bytes of bodies a bucket sent", ("bucket",)),
    Spec("hosu_buckets", GAUGE, GROUP, "Buckets"),
    Spec("hosu_build_info", GAUGE, GROUP, "1; the version is a label", ("version",)),
    Spec("hosu_change_feed_seq", GAUGE, GROUP, "Number of the latest event of the change feed"),
    Spec("hosu_compressed_saved_bytes", GAUGE, GROUP, "Bytes that need not be stored, since they are compressed"),
    Spec("hosu_database_bytes", GAUGE, GROUP, "Size of the database of records"),
    Spec("hosu_database_log_bytes", GAUGE, GROUP, "Size of the database's write-ahead log"),
    Spec("hosu_disk_errors_total", COUNTER, GROUP, "Requests refused for a full or faulty disk or a damaged blob"),
    Spec("hosu_disk_free_bytes", GAUGE, GROUP, "Free space of the disk that holds the blobs"),
    Spec("hosu_disk_size_bytes", GAUGE, GROUP, "Size of the disk that holds the blobs"),
    Spec("hosu_lake_held_bytes", GAUGE, GROUP, "Bytes that count towards the lake's quota"),
    Spec("hosu_lake_quota_bytes", GAUGE, GROUP, "The lake's quota, where it has one"),
    Spec("hosu_process_cpu_seconds_total", COUNTER, GROUP, "Processor time of a process", ("process",)),
    Spec("hosu_process_open_files", GAUGE, GROUP, "Files and sockets a process has open", ("process",)),
    Spec("hosu_process_open_files_max", GAUGE, GROUP, "Files and sockets a process may have open"),
    Spec("hosu_process_resident_bytes", GAUGE, GROUP, "Memory of a process", ("process",)),
    Spec("hosu_process_restarts_total", COUNTER, GROUP, "Times a process died and was started again", ("process",)),
    Spec("hosu_ready", GAUGE, GROUP, "1 if the lake takes writes, 0 if not"),
    Spec("hosu_refusals_total", COUNTER, GROUP, "Requests refused, by S3's code", ("code",)),
    Spec("hosu_rejections_total", COUNTER, GROUP, "Requests that did not come to their operation", ("reason",)),
    Spec("hosu_request_first_byte_seconds", HISTOGRAM, GROUP, "Time from headers to the first byte", ("operation",)),
    Spec("hosu_requests_in_flight", GAUGE, GROUP, "Requests not yet answered whole", ("operation",)),
    Spec("hosu_requests_total", COUNTER, GROUP, "Requests by operation and how they ended", ("operation", "outcome")),
    Spec("hosu_start_time_seconds", GAUGE, GROUP, "When the server started, since 1970"),
    Spec("hosu_sweep_age_seconds", GAUGE, GROUP, "Time since the lake was last swept"),
    *rules.SPECS,
)


def collect(state: State) -> Values:
    """Return all values."""
    values = Values(SPECS, {})
    _requests(values, state)
    _buckets(values, state)
    _server(values, state)
    rules.collect(values, state)
    return values


def _requests(values: Values, state: State) -> None:
    add, numbers = values.add, state.numbers
    for operation, counts in sorted(total(numbers.counts, lambda counts: counts.operation).items()):
        ok = counts.requests - counts.errors_4xx - counts.errors_5xx - counts.canceled
        for outcome, number in (
            ("ok", ok), ("4xx", counts.errors_4xx), ("5xx", counts.errors_5xx), ("canceled", counts.canceled),
        ):  # fmt: skip
            add("hosu_requests_total", number, operation, outcome)
        values.add_histogram("hosu_request_first_byte_seconds", TTFB_BOUNDS_S, counts.ttfb, counts.ttfb_s, operation)
    for operation, number in sorted(numbers.in_flight.items()):
        add("hosu_requests_in_flight", number, operation)
    for code, number in sorted(numbers.codes.items()):
        add("hosu_refusals_total", number, code)
    for reason, number in numbers.rejected.items():
        add("hosu_rejections_total", number, reason)


def _buckets(values: Values, state: State) -> None:
    add = values.add
    add("hosu_buckets", len(state.buckets))
    for bucket in state.buckets:
        name, usage = bucket.name, bucket.usage
        add("hosu_bucket_objects", usage.object_count, name)
        add("hosu_bucket_bytes", usage.object_bytes, name)
        add("hosu_bucket_old_versions", usage.version_count, name)
        add("hosu_bucket_old_version_bytes", usage.version_bytes, name)
        add("hosu_bucket_delete_markers", usage.marker_count, name)
        if bucket.quota_bytes:
            add("hosu_bucket_quota_bytes", bucket.quota_bytes, name)
    names = {bucket.name for bucket in state.buckets}
    counted = [counts for counts in state.numbers.counts if counts.bucket in names]
    for name, counts in sorted(total(counted, lambda counts: counts.bucket).items()):
        ok = counts.requests - counts.errors_4xx - counts.errors_5xx - counts.canceled
        for outcome, number in (
            ("ok", ok), ("4xx", counts.errors_4xx), ("5xx", counts.errors_5xx), ("canceled", counts.canceled),
        ):  # fmt: skip
            add("hosu_bucket_requests_total", number, name, outcome)
        add("hosu_bucket_received_bytes_total", counts.received_bytes, name)
        add("hosu_bucket_sent_bytes_total", counts.sent_bytes, name)


def _server(values: Values, state: State) -> None:
    add, totals = values.add, state.numbers.totals
    for name, number in sorted(totals.items()):
        if name.startswith(RESTARTS_PREFIX):
            add("hosu_process_restarts_total", number, name.removeprefix(RESTARTS_PREFIX))
    add("hosu_audit_changes_total", totals.get("audit_changes", 0))
    add("hosu_audit_dropped_lines_total", totals.get("audit_dropped", 0))
    add("hosu_audit_failures_total", totals.get("audit_failures", 0))
    add("hosu_audit_lines_total", totals.get("audit_lines", 0))
    add("hosu_audit_waiting_changes", state.outbox_rows)
    add("hosu_build_info", 1, __version__)
    add("hosu_change_feed_seq", state.feed_seq)
    add("hosu_compressed_saved_bytes", state.saved_bytes)
    add("hosu_database_bytes", state.database_bytes)
    add("hosu_database_log_bytes", state.log_bytes)
    add("hosu_disk_errors_total", totals.get("disk_errors", 0))
    add("hosu_disk_free_bytes", state.disk.free_bytes)
    add("hosu_disk_size_bytes", state.disk.total_bytes)
    add("hosu_lake_held_bytes", sum(bucket.usage.held_bytes for bucket in state.buckets))
    if state.lake_quota_bytes:
        add("hosu_lake_quota_bytes", state.lake_quota_bytes)
    add("hosu_process_open_files_max", state.descriptors_max)
    for name in sorted({process.name for process in state.processes}):
        named = [process for process in state.processes if process.name == name]
        add("hosu_process_cpu_seconds_total", sum(process.cpu_s for process in named), name)
        add("hosu_process_open_files", sum(process.descriptors for process in named), name)
        add("hosu_process_resident_bytes", sum(process.resident_bytes for process in named), name)
    add("hosu_ready", int(state.is_ready))
    add("hosu_start_time_seconds", state.started_s)
    if state.swept_ms:
        add("hosu_sweep_age_seconds", max(state.now_ms - state.swept_ms, 0) / 1000)
