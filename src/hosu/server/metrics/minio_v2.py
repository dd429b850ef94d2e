"""MinIO's metrics of version 2: `/minio/v2/metrics/{cluster,node,bucket,resource}`."""

from collections.abc import Callable, Iterable

from hosu._version import __version__
from hosu.objects.records import Bucket, Versioning
from hosu.server.metrics.families import COUNTER, GAUGE, Spec, Values
from hosu.server.metrics.meter import TTFB_BOUNDS_S, Counts
from hosu.server.metrics.minio_names import api_name
from hosu.server.metrics.state import State
from hosu.server.metrics.usage import SIZE_RANGES, VERSION_RANGES

CLUSTER, NODE, BUCKET, RESOURCE = "cluster", "node", "bucket", "resource"
_SERVER = ("server",)
_API = ("api", "server")
_DRIVE = ("drive", "server")
_SET = ("pool", "set", "server")
_TARGET = ("target_id", "server")
_LE = ("api", "le", "server")
_BUCKET_LE = ("bucket", "api", "le", "server")
_RANGE = ("range", "server")
_BUCKET = ("bucket", "server")
_BUCKET_API = ("bucket", "api", "server")
_BUCKET_RANGE = ("bucket", "range", "server")

LE = [*(f"{bound:.3f}" for bound in TTFB_BOUNDS_S), "+Inf"]
"""How MinIO writes the bounds of times to the first byte."""

SPECS: tuple[Spec, ...] = (
    Spec("minio_audit_failed_messages", COUNTER, NODE, "Lines of the audit log that were lost", _TARGET),
    Spec("minio_audit_target_queue_length", GAUGE, NODE, "Lines that wait for the log", _TARGET),
    Spec("minio_audit_total_messages", COUNTER, NODE, "Lines written to the audit log", _TARGET),
    Spec("minio_cluster_bucket_total", GAUGE, CLUSTER, "Buckets", _SERVER),
    Spec("minio_cluster_buckets_total", GAUGE, CLUSTER, "Buckets, by the name MinIO's documents have", _SERVER),
    Spec("minio_cluster_capacity_raw_free_bytes", GAUGE, CLUSTER, "Free space of the lake's disk", _SERVER),
    Spec("minio_cluster_capacity_raw_total_bytes", GAUGE, CLUSTER, "Size of the lake's disk", _SERVER),
    Spec("minio_cluster_capacity_usable_free_bytes", GAUGE, CLUSTER, "Free space of the lake's disk", _SERVER),
    Spec("minio_cluster_capacity_usable_total_bytes", GAUGE, CLUSTER, "Size of the lake's disk", _SERVER),
    Spec("minio_cluster_drive_offline_total", GAUGE, CLUSTER, "Disks that take no writes", _SERVER),
    Spec("minio_cluster_drive_online_total", GAUGE, CLUSTER, "Disks that take writes", _SERVER),
    Spec("minio_cluster_drive_total", GAUGE, CLUSTER, "Disks", _SERVER),
    Spec("minio_cluster_health_erasure_set_healing_drives", GAUGE, CLUSTER, "Disks being healed", _SET),
    Spec("minio_cluster_health_erasure_set_online_drives", GAUGE, CLUSTER, "Disks that take writes", _SET),
    Spec("minio_cluster_health_erasure_set_read_quorum", GAUGE, CLUSTER, "Disks that reads need", _SET),
    Spec("minio_cluster_health_erasure_set_status", GAUGE, CLUSTER, "1 if the lake takes writes", _SET),
    Spec("minio_cluster_health_erasure_set_write_quorum", GAUGE, CLUSTER, "Disks that writes need", _SET),
    Spec("minio_cluster_health_status", GAUGE, CLUSTER, "1 if the lake takes writes", _SERVER),
    Spec("minio_cluster_nodes_offline_total", GAUGE, CLUSTER, "Nodes that do not answer", _SERVER),
    Spec("minio_cluster_nodes_online_total", GAUGE, CLUSTER, "Nodes that answer", _SERVER),
    Spec("minio_cluster_objects_size_distribution", GAUGE, CLUSTER, "Objects by size", _RANGE),
    Spec("minio_cluster_objects_version_distribution", GAUGE, CLUSTER, "Keys by versions", _RANGE),
    Spec("minio_cluster_usage_deletemarker_total", GAUGE, CLUSTER, "Delete markers", _SERVER),
    Spec("minio_cluster_usage_object_total", GAUGE, CLUSTER, "Current objects", _SERVER),
    Spec("minio_cluster_usage_total_bytes", GAUGE, CLUSTER, "Bytes of objects and old versions", _SERVER),
    Spec("minio_cluster_usage_version_total", GAUGE, CLUSTER, "Versions and markers", _SERVER),
    Spec("minio_cluster_write_quorum", GAUGE, CLUSTER, "Disks that writes need", _SERVER),
    Spec("minio_node_drive_errors_availability", COUNTER, NODE, "Requests that the disk refused", _DRIVE),
    Spec("minio_node_drive_errors_ioerror", COUNTER, NODE, "Requests that the disk refused", _DRIVE),
    Spec("minio_node_drive_free_bytes", GAUGE, NODE, "Free space", _DRIVE),
    Spec("minio_node_drive_free_inodes", GAUGE, NODE, "Free inodes", _DRIVE),
    Spec("minio_node_drive_offline_total", GAUGE, NODE, "Disks that take no writes", _SERVER),
    Spec("minio_node_drive_online_total", GAUGE, NODE, "Disks that take writes", _SERVER),
    Spec("minio_node_drive_total", GAUGE, NODE, "Disks", _SERVER),
    Spec("minio_node_drive_total_bytes", GAUGE, NODE, "Size", _DRIVE),
    Spec("minio_node_drive_used_bytes", GAUGE, NODE, "Space in use", _DRIVE),
    Spec("minio_node_file_descriptor_limit_total", GAUGE, NODE, "Files a process may have open", _SERVER),
    Spec("minio_node_file_descriptor_open_total", GAUGE, NODE, "Files the processes have open", _SERVER),
    Spec("minio_node_io_rchar_bytes", COUNTER, NODE, "Bytes read, with what was cached", _SERVER),
    Spec("minio_node_io_read_bytes", COUNTER, NODE, "Bytes read from disks", _SERVER),
    Spec("minio_node_io_wchar_bytes", COUNTER, NODE, "Bytes written, with what is cached", _SERVER),
    Spec("minio_node_io_write_bytes", COUNTER, NODE, "Bytes written to disks", _SERVER),
    Spec("minio_node_process_cpu_total_seconds", COUNTER, NODE, "Processor time of the processes", _SERVER),
    Spec("minio_node_process_resident_memory_bytes", GAUGE, NODE, "Memory of the processes", _SERVER),
    Spec("minio_node_process_starttime_seconds", GAUGE, NODE, "When the server started, since 1970", _SERVER),
    Spec("minio_node_process_uptime_seconds", GAUGE, NODE, "Time since the server started", _SERVER),
    Spec("minio_node_process_virtual_memory_bytes", GAUGE, NODE, "Address space of the processes", _SERVER),
    Spec("minio_node_syscall_read_total", COUNTER, NODE, "Calls that read", _SERVER),
    Spec("minio_node_syscall_write_total", COUNTER, NODE, "Calls that write", _SERVER),
    Spec("minio_s3_requests_4xx_errors_total", COUNTER, NODE, "Requests answered 4xx", _API),
    Spec("minio_s3_requests_5xx_errors_total", COUNTER, NODE, "Requests answered 5xx", _API),
    Spec("minio_s3_requests_canceled_total", COUNTER, NODE, "Requests whose client left", _API),
    Spec("minio_s3_requests_errors_total", COUNTER, NODE, "Requests answered 4xx or 5xx", _API),
    Spec("minio_s3_requests_incoming_total", GAUGE, NODE, "Requests under way", _SERVER),
    Spec("minio_s3_requests_inflight_total", GAUGE, NODE, "Requests under way", _API),
    Spec("minio_s3_requests_rejected_auth_total", COUNTER, NODE, "Requests refused for who asked", _SERVER),
    Spec("minio_s3_requests_rejected_header_total", COUNTER, NODE, "Requests with a malformed signature", _SERVER),
    Spec("minio_s3_requests_rejected_invalid_total", COUNTER, NODE, "Requests that are none", _SERVER),
    Spec("minio_s3_requests_rejected_timestamp_total", COUNTER, NODE, "Requests refused for their time", _SERVER),
    Spec("minio_s3_requests_total", COUNTER, NODE, "Requests answered", _API),
    Spec("minio_s3_requests_ttfb_seconds_distribution", GAUGE, NODE, "Times to first byte", _LE),
    Spec("minio_s3_requests_waiting_total", GAUGE, NODE, "Requests in a queue; there is none", _SERVER),
    Spec("minio_s3_traffic_received_bytes", COUNTER, NODE, "Bytes of bodies received", _SERVER),
    Spec("minio_s3_traffic_sent_bytes", COUNTER, NODE, "Bytes of bodies sent", _SERVER),
    Spec("minio_software_version_info", GAUGE, NODE, "The version of hosu", ("version", "server")),
    Spec("minio_usage_last_activity_nano_seconds", GAUGE, NODE, "Age of the distributions", _SERVER),
    Spec("minio_bucket_objects_size_distribution", GAUGE, BUCKET, "Objects by size", _BUCKET_RANGE),
    Spec("minio_bucket_objects_version_distribution", GAUGE, BUCKET, "Keys by versions", _BUCKET_RANGE),
    Spec("minio_bucket_quota_total_bytes", GAUGE, BUCKET, "The quota, where there is one", _BUCKET),
    Spec("minio_bucket_requests_4xx_errors_total", COUNTER, BUCKET, "Requests answered 4xx", _BUCKET_API),
    Spec("minio_bucket_requests_5xx_errors_total", COUNTER, BUCKET, "Requests answered 5xx", _BUCKET_API),
    Spec("minio_bucket_requests_canceled_total", COUNTER, BUCKET, "Requests whose client left", _BUCKET_API),
    Spec("minio_bucket_requests_total", COUNTER, BUCKET, "Requests answered", _BUCKET_API),
    Spec("minio_bucket_requests_ttfb_seconds_distribution", GAUGE, BUCKET, "Times to first byte", _BUCKET_LE),
    Spec("minio_bucket_traffic_received_bytes", COUNTER, BUCKET, "Bytes of bodies received", _BUCKET),
    Spec("minio_bucket_traffic_sent_bytes", COUNTER, BUCKET, "Bytes of bodies sent", _BUCKET),
    Spec("minio_bucket_usage_deletemarker_total", GAUGE, BUCKET, "Delete markers", _BUCKET),
    Spec("minio_bucket_usage_object_total", GAUGE, BUCKET, "Current objects", _BUCKET),
    Spec("minio_bucket_usage_total_bytes", GAUGE, BUCKET, "Bytes of objects and old versions", _BUCKET),
    Spec("minio_bucket_usage_version_total", GAUGE, BUCKET, "Versions and markers", _BUCKET),
    *(
        Spec(f"minio_node_cpu_avg_{name}", GAUGE, RESOURCE, meaning, _SERVER)
        for name, meaning in (
            ("idle", "Share of time the processors are idle, percent"),
            ("iowait", "Share of time the processors wait for disks, percent"),
            ("load1", "Length of the processors' queue, over 1 minute"),
            ("load15", "Length of the processors' queue, over 15 minutes"),
            ("load15_perc", "The same per processor, percent"),
            ("load1_perc", "Length of the queue over 1 minute per processor, percent"),
            ("load5", "Length of the processors' queue, over 5 minutes"),
            ("load5_perc", "The same per processor, percent"),
            ("nice", "Share of time of processes that give way, percent"),
            ("steal", "Share of time taken by other machines, percent"),
            ("system", "Share of time of the system, percent"),
            ("user", "Share of time of processes, percent"),
        )
    ),
    *(
        Spec(f"minio_node_drive_{name}", GAUGE, RESOURCE, meaning, _DRIVE)
        for name, meaning in (("total_inodes", "Inodes"), ("used_inodes", "Inodes in use"))
    ),
    *(
        Spec(f"minio_node_mem_{name}", GAUGE, RESOURCE, meaning, _SERVER)
        for name, meaning in (
            ("available", "Memory that processes could have"),
            ("buffers", "Memory for the system's buffers"),
            ("cache", "Memory that caches files"),
            ("free", "Memory for nothing"),
            ("shared", "Memory that processes share"),
            ("total", "Memory"),
            ("used", "Memory in use"),
            ("used_perc", "Share of the memory in use, percent"),
        )
    ),
)  # fmt: skip

SHOWN: dict[str, frozenset[str]] = {
    CLUSTER: frozenset({CLUSTER, NODE}),
    NODE: frozenset({NODE}),
    BUCKET: frozenset({BUCKET}),
    RESOURCE: frozenset({RESOURCE}),
}
"""Groups that each path shows; `resource` also tells the size of the disk, as `node` does."""

RESOURCE_TOO = frozenset({"minio_node_drive_total_bytes", "minio_node_drive_used_bytes"})
AUDIT_TARGET = "file"


def specs_of(path: str) -> list[Spec]:
    """Return the families that a path shows."""
    return [spec for spec in SPECS if spec.group in SHOWN[path] or (path == RESOURCE and spec.name in RESOURCE_TOO)]


def collect(path: str, state: State, server: str) -> Values:
    """Return the values that a path shows."""
    values = Values(specs_of(path), {"server": server})
    if path == CLUSTER:
        _cluster(values, state)
    if path in {CLUSTER, NODE}:
        _requests(values, state)
        _node(values, state)
    if path == BUCKET:
        _buckets(values, state)
    if path == RESOURCE:
        _resources(values, state)
    return values


def versions_of(bucket: Bucket) -> int:
    """Return MinIO's count of versions: current ones and markers too, but none where versions were never on."""
    usage = bucket.usage
    is_versioned = bucket.versioning != Versioning.NEVER
    return usage.object_count + usage.version_count + usage.marker_count if is_versioned else 0


def total(numbers: Iterable[Counts], name: Callable[[Counts], str]) -> dict[str, Counts]:
    """Return the sums of counts that have the same name."""
    sums: dict[str, Counts] = {}
    for counts in numbers:
        sums.setdefault(name(counts), Counts(counts.operation, counts.bucket)).add(counts)
    return sums


def ttfb_steps(counts: Counts) -> list[tuple[str, int]]:
    """Return how many requests took no longer than each bound."""
    steps, below = [], 0
    for bound, count in zip(LE, counts.ttfb, strict=True):
        below += count
        steps.append((bound, below))
    return steps


def _cluster(values: Values, state: State) -> None:
    add, usages, is_ready = values.add, [bucket.usage for bucket in state.buckets], int(state.is_ready)
    add("minio_cluster_bucket_total", len(state.buckets))
    add("minio_cluster_buckets_total", len(state.buckets))
    for kind in ("raw", "usable"):
        add(f"minio_cluster_capacity_{kind}_free_bytes", state.disk.free_bytes)
        add(f"minio_cluster_capacity_{kind}_total_bytes", state.disk.total_bytes)
    add("minio_cluster_drive_offline_total", 1 - is_ready)
    add("minio_cluster_drive_online_total", is_ready)
    add("minio_cluster_drive_total", 1)
    add("minio_cluster_health_erasure_set_healing_drives", 0, "0", "0")
    add("minio_cluster_health_erasure_set_online_drives", is_ready, "0", "0")
    add("minio_cluster_health_erasure_set_read_quorum", 1, "0", "0")
    add("minio_cluster_health_erasure_set_status", is_ready, "0", "0")
    add("minio_cluster_health_erasure_set_write_quorum", 1, "0", "0")
    add("minio_cluster_health_status", is_ready)
    add("minio_cluster_nodes_offline_total", 0)
    add("minio_cluster_nodes_online_total", 1)
    add("minio_cluster_write_quorum", 1)
    add("minio_cluster_usage_deletemarker_total", sum(usage.marker_count for usage in usages))
    add("minio_cluster_usage_object_total", sum(usage.object_count for usage in usages))
    add("minio_cluster_usage_total_bytes", sum(usage.object_bytes + usage.version_bytes for usage in usages))
    add("minio_cluster_usage_version_total", sum(versions_of(bucket) for bucket in state.buckets))
    for name, _, _ in SIZE_RANGES:
        count = sum(ranges[name] for ranges in state.distribution.sizes.values())
        add("minio_cluster_objects_size_distribution", count, name)
    for name, _, _ in VERSION_RANGES:
        count = sum(ranges[name] for ranges in state.distribution.versions.values())
        add("minio_cluster_objects_version_distribution", count, name)


def _requests(values: Values, state: State) -> None:
    add, numbers = values.add, state.numbers
    for name, counts in sorted(total(numbers.counts, lambda counts: api_name(counts.operation).lower()).items()):
        add("minio_s3_requests_total", counts.requests, name)
        for kind, number in (
            ("4xx_errors", counts.errors_4xx), ("5xx_errors", counts.errors_5xx), ("canceled", counts.canceled),
            ("errors", counts.errors_4xx + counts.errors_5xx),
        ):  # fmt: skip
            if number:
                add(f"minio_s3_requests_{kind}_total", number, name)
        for bound, number in ttfb_steps(counts):
            add("minio_s3_requests_ttfb_seconds_distribution", number, name, bound)
    for operation, number in sorted(numbers.in_flight.items()):
        add("minio_s3_requests_inflight_total", number, api_name(operation).lower())
    add("minio_s3_requests_incoming_total", sum(numbers.in_flight.values()))
    add("minio_s3_requests_waiting_total", 0)
    for reason, number in numbers.rejected.items():
        add(f"minio_s3_requests_rejected_{reason}_total", number)
    add("minio_s3_traffic_received_bytes", sum(counts.received_bytes for counts in numbers.counts))
    add("minio_s3_traffic_sent_bytes", sum(counts.sent_bytes for counts in numbers.counts))


def _node(values: Values, state: State) -> None:
    add, disk, is_ready, drive = values.add, state.disk, int(state.is_ready), str(state.path)
    totals, processes = state.numbers.totals, state.processes
    add("minio_audit_failed_messages", totals.get("audit_dropped", 0), AUDIT_TARGET)
    add("minio_audit_target_queue_length", state.outbox_rows + state.lines_waiting, AUDIT_TARGET)
    add("minio_audit_total_messages", totals.get("audit_lines", 0) + totals.get("audit_changes", 0), AUDIT_TARGET)
    for kind in ("availability", "ioerror"):
        add(f"minio_node_drive_errors_{kind}", totals.get("disk_errors", 0), drive)
    add("minio_node_drive_free_bytes", disk.free_bytes, drive)
    add("minio_node_drive_free_inodes", disk.free_inodes, drive)
    add("minio_node_drive_total_bytes", disk.total_bytes, drive)
    add("minio_node_drive_used_bytes", disk.used_bytes, drive)
    add("minio_node_drive_offline_total", 1 - is_ready)
    add("minio_node_drive_online_total", is_ready)
    add("minio_node_drive_total", 1)
    add("minio_node_file_descriptor_limit_total", state.descriptors_max)
    add("minio_node_file_descriptor_open_total", sum(process.descriptors for process in processes))
    add("minio_node_io_rchar_bytes", sum(process.read_characters for process in processes))
    add("minio_node_io_read_bytes", sum(process.read_bytes for process in processes))
    add("minio_node_io_wchar_bytes", sum(process.write_characters for process in processes))
    add("minio_node_io_write_bytes", sum(process.write_bytes for process in processes))
    add("minio_node_process_cpu_total_seconds", sum(process.cpu_s for process in processes))
    add("minio_node_process_resident_memory_bytes", sum(process.resident_bytes for process in processes))
    add("minio_node_process_starttime_seconds", state.started_s)
    add("minio_node_process_uptime_seconds", max(state.now_ms / 1000 - state.started_s, 0))
    add("minio_node_process_virtual_memory_bytes", sum(process.virtual_bytes for process in processes))
    add("minio_node_syscall_read_total", sum(process.read_calls for process in processes))
    add("minio_node_syscall_write_total", sum(process.write_calls for process in processes))
    add("minio_software_version_info", 1, __version__)
    add("minio_usage_last_activity_nano_seconds", max(state.now_ms - state.distribution.at_ms, 0) * 1_000_000)


def _buckets(values: Values, state: State) -> None:
    add = values.add
    for bucket in state.buckets:
        name, usage = bucket.name, bucket.usage
        add("minio_bucket_usage_deletemarker_total", usage.marker_count, name)
        add("minio_bucket_usage_object_total", usage.object_count, name)
        add("minio_bucket_usage_total_bytes", usage.object_bytes + usage.version_bytes, name)
        add("minio_bucket_usage_version_total", versions_of(bucket), name)
        if bucket.quota_bytes:
            add("minio_bucket_quota_total_bytes", bucket.quota_bytes, name)
        for range_name, count in state.distribution.sizes.get(name, {}).items():
            add("minio_bucket_objects_size_distribution", count, name, range_name)
        for range_name, count in state.distribution.versions.get(name, {}).items():
            add("minio_bucket_objects_version_distribution", count, name, range_name)
    names = {bucket.name for bucket in state.buckets}
    counted = [counts for counts in state.numbers.counts if counts.bucket in names]
    for name, counts in sorted(total(counted, lambda counts: counts.bucket).items()):
        add("minio_bucket_traffic_received_bytes", counts.received_bytes, name)
        add("minio_bucket_traffic_sent_bytes", counts.sent_bytes, name)
    for counts in counted:
        labels = (counts.bucket, api_name(counts.operation).lower())
        add("minio_bucket_requests_total", counts.requests, *labels)
        for kind, number in (
            ("4xx_errors", counts.errors_4xx), ("5xx_errors", counts.errors_5xx), ("canceled", counts.canceled),
        ):  # fmt: skip
            if number:
                add(f"minio_bucket_requests_{kind}_total", number, *labels)
        for bound, number in ttfb_steps(counts):
            add("minio_bucket_requests_ttfb_seconds_distribution", number, *labels, bound)


def _resources(values: Values, state: State) -> None:
    add, cpu, memory, disk, drive = values.add, state.cpu, state.memory, state.disk, str(state.path)
    for name in ("user", "system", "idle", "iowait", "nice", "steal"):
        add(f"minio_node_cpu_avg_{name}", getattr(cpu, name))
    for minutes, load in zip((1, 5, 15), cpu.loads, strict=True):
        add(f"minio_node_cpu_avg_load{minutes}", load)
        add(f"minio_node_cpu_avg_load{minutes}_perc", 100 * load / cpu.processors)
    add("minio_node_drive_total_bytes", disk.total_bytes, drive)
    add("minio_node_drive_used_bytes", disk.used_bytes, drive)
    add("minio_node_drive_total_inodes", disk.total_inodes, drive)
    add("minio_node_drive_used_inodes", disk.total_inodes - disk.free_inodes, drive)
    for name, value in (
        ("available", memory.available), ("buffers", memory.buffers), ("cache", memory.cached), ("free", memory.free),
        ("shared", memory.shared), ("total", memory.total), ("used", memory.used), ("used_perc", memory.used_percent),
    ):  # fmt: skip
        add(f"minio_node_mem_{name}", value)
