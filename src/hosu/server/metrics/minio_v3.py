"""MinIO's metrics of version 3: `/minio/metrics/v3` and the paths below it."""

from hosu.objects.records import Bucket
from hosu.server.metrics.families import COUNTER, GAUGE, Spec, Values
from hosu.server.metrics.minio_names import api_name
from hosu.server.metrics.minio_v2 import AUDIT_TARGET, total, ttfb_steps, versions_of
from hosu.server.metrics.state import State
from hosu.server.metrics.usage import SIZE_RANGES, VERSION_RANGES

REQUESTS, BUCKET_API, AUDIT = "/api/requests", "/bucket/api", "/audit"
DRIVE, MEMORY, CPU, PROCESS = "/system/drive", "/system/memory", "/system/cpu", "/system/process"
HEALTH, CONFIG = "/cluster/health", "/cluster/config"
OBJECTS, BUCKETS, ERASURE = "/cluster/usage/objects", "/cluster/usage/buckets", "/cluster/erasure-set"

EMPTY_GROUPS = frozenset(
    {
        "/bucket/replication", "/cluster/iam", "/cluster/scanner", "/debug/go", "/ilm", "/logger/webhook",
        "/notification", "/replication", "/scanner", "/system/network/internode",
    }
)  # fmt: skip
"""Paths that answer, so that scrapers configured for them go on, and have nothing to tell."""

_ALL = ("type", "pool_index", "server")
_NAMED = ("name", "type", "pool_index", "server")
_BUCKET = ("bucket", "type", "server", "pool_index")
_BUCKET_NAMED = ("bucket", "name", "type", "server", "pool_index")
_DRIVE = ("drive", "set_index", "drive_index", "pool_index", "server")
_NODE = ("pool_index", "server")
_SERVER = ("server",)
_SET = ("pool_id", "set_id")
_TARGET = ("target_id", "server")
_OF_BUCKET = ("bucket",)
_RANGE = ("range", "bucket")
_LE = ("name", "type", "le", "pool_index", "server")
_BUCKET_LE = ("bucket", "name", "le", "type", "server", "pool_index")

SPECS: tuple[Spec, ...] = (
    Spec("minio_api_requests_4xx_errors_total", COUNTER, REQUESTS, "Requests answered 4xx", _NAMED),
    Spec("minio_api_requests_5xx_errors_total", COUNTER, REQUESTS, "Requests answered 5xx", _NAMED),
    Spec("minio_api_requests_canceled_total", COUNTER, REQUESTS, "Requests whose client left", _NAMED),
    Spec("minio_api_requests_errors_total", COUNTER, REQUESTS, "Requests answered 4xx or 5xx", _NAMED),
    Spec("minio_api_requests_incoming_total", GAUGE, REQUESTS, "Requests under way", _ALL),
    Spec("minio_api_requests_inflight_total", GAUGE, REQUESTS, "Requests under way", _NAMED),
    Spec("minio_api_requests_rejected_auth_total", COUNTER, REQUESTS, "Requests refused for who asked", _ALL),
    Spec("minio_api_requests_rejected_header_total", COUNTER, REQUESTS, "Requests with a malformed signature", _ALL),
    Spec("minio_api_requests_rejected_invalid_total", COUNTER, REQUESTS, "Requests that are none", _ALL),
    Spec("minio_api_requests_rejected_timestamp_total", COUNTER, REQUESTS, "Requests refused for their time", _ALL),
    Spec("minio_api_requests_total", COUNTER, REQUESTS, "Requests answered", _NAMED),
    Spec("minio_api_requests_traffic_received_bytes", COUNTER, REQUESTS, "Bytes of bodies received", _ALL),
    Spec("minio_api_requests_traffic_sent_bytes", COUNTER, REQUESTS, "Bytes of bodies sent", _ALL),
    Spec("minio_api_requests_ttfb_seconds_distribution", COUNTER, REQUESTS, "Times to first byte", _LE),
    Spec("minio_api_requests_waiting_total", GAUGE, REQUESTS, "Requests in a queue; there is none", _ALL),
    Spec("minio_audit_failed_messages", COUNTER, AUDIT, "Lines of the audit log that were lost", _TARGET),
    Spec("minio_audit_target_queue_length", GAUGE, AUDIT, "Lines that wait for the log", _TARGET),
    Spec("minio_audit_total_messages", COUNTER, AUDIT, "Lines written to the audit log", _TARGET),
    Spec("minio_bucket_api_4xx_errors_total", COUNTER, BUCKET_API, "Requests answered 4xx", _BUCKET_NAMED),
    Spec("minio_bucket_api_5xx_errors_total", COUNTER, BUCKET_API, "Requests answered 5xx", _BUCKET_NAMED),
    Spec("minio_bucket_api_canceled_total", COUNTER, BUCKET_API, "Requests whose client left", _BUCKET_NAMED),
    Spec("minio_bucket_api_total", COUNTER, BUCKET_API, "Requests answered", _BUCKET_NAMED),
    Spec("minio_bucket_api_traffic_received_bytes", COUNTER, BUCKET_API, "Bytes of bodies received", _BUCKET),
    Spec("minio_bucket_api_traffic_sent_bytes", COUNTER, BUCKET_API, "Bytes of bodies sent", _BUCKET),
    Spec("minio_bucket_api_ttfb_seconds_distribution", COUNTER, BUCKET_API, "Times to first byte", _BUCKET_LE),
    Spec("minio_cluster_config_rrs_parity", GAUGE, CONFIG, "Disks that may fail; there is one disk"),
    Spec("minio_cluster_config_standard_parity", GAUGE, CONFIG, "Disks that may fail; there is one disk"),
    Spec("minio_cluster_erasure_set_healing_drives_count", GAUGE, ERASURE, "Disks being healed", _SET),
    Spec("minio_cluster_erasure_set_health", GAUGE, ERASURE, "1 if the lake takes writes", _SET),
    Spec("minio_cluster_erasure_set_online_drives_count", GAUGE, ERASURE, "Disks that take writes", _SET),
    Spec("minio_cluster_erasure_set_overall_health", GAUGE, ERASURE, "1 if the lake takes writes"),
    Spec("minio_cluster_erasure_set_overall_write_quorum", GAUGE, ERASURE, "Disks that writes need"),
    Spec("minio_cluster_erasure_set_read_health", GAUGE, ERASURE, "1: whoever reads this, reads", _SET),
    Spec("minio_cluster_erasure_set_read_quorum", GAUGE, ERASURE, "Disks that reads need", _SET),
    Spec("minio_cluster_erasure_set_read_tolerance", GAUGE, ERASURE, "Disks that may fail", _SET),
    Spec("minio_cluster_erasure_set_write_health", GAUGE, ERASURE, "1 if the lake takes writes", _SET),
    Spec("minio_cluster_erasure_set_write_quorum", GAUGE, ERASURE, "Disks that writes need", _SET),
    Spec("minio_cluster_erasure_set_write_tolerance", GAUGE, ERASURE, "Disks that may fail", _SET),
    Spec("minio_cluster_health_capacity_raw_free_bytes", GAUGE, HEALTH, "Free space of the lake's disk"),
    Spec("minio_cluster_health_capacity_raw_total_bytes", GAUGE, HEALTH, "Size of the lake's disk"),
    Spec("minio_cluster_health_capacity_usable_free_bytes", GAUGE, HEALTH, "Free space of the lake's disk"),
    Spec("minio_cluster_health_capacity_usable_total_bytes", GAUGE, HEALTH, "Size of the lake's disk"),
    Spec("minio_cluster_health_drives_count", GAUGE, HEALTH, "Disks"),
    Spec("minio_cluster_health_drives_offline_count", GAUGE, HEALTH, "Disks that take no writes"),
    Spec("minio_cluster_health_drives_online_count", GAUGE, HEALTH, "Disks that take writes"),
    Spec("minio_cluster_health_nodes_offline_count", GAUGE, HEALTH, "Nodes that do not answer"),
    Spec("minio_cluster_health_nodes_online_count", GAUGE, HEALTH, "Nodes that answer"),
    Spec("minio_cluster_usage_buckets_delete_markers_count", GAUGE, BUCKETS, "Delete markers", _OF_BUCKET),
    Spec("minio_cluster_usage_buckets_object_size_distribution", GAUGE, BUCKETS, "Objects by size", _RANGE),
    Spec("minio_cluster_usage_buckets_object_version_count_distribution", GAUGE, BUCKETS, "Keys by versions", _RANGE),
    Spec("minio_cluster_usage_buckets_objects_count", GAUGE, BUCKETS, "Current objects", _OF_BUCKET),
    Spec("minio_cluster_usage_buckets_quota_total_bytes", GAUGE, BUCKETS, "The quota, where there is one", _OF_BUCKET),
    Spec("minio_cluster_usage_buckets_since_last_update_seconds", GAUGE, BUCKETS, "Age of the distributions"),
    Spec("minio_cluster_usage_buckets_total_bytes", GAUGE, BUCKETS, "Bytes of objects and old versions", _OF_BUCKET),
    Spec("minio_cluster_usage_buckets_versions_count", GAUGE, BUCKETS, "Versions and markers", _OF_BUCKET),
    Spec("minio_cluster_usage_objects_buckets_count", GAUGE, OBJECTS, "Buckets"),
    Spec("minio_cluster_usage_objects_count", GAUGE, OBJECTS, "Current objects"),
    Spec("minio_cluster_usage_objects_delete_markers_count", GAUGE, OBJECTS, "Delete markers"),
    Spec("minio_cluster_usage_objects_since_last_update_seconds", GAUGE, OBJECTS, "Age of the distributions"),
    Spec("minio_cluster_usage_objects_size_distribution", GAUGE, OBJECTS, "Objects by size", ("range",)),
    Spec("minio_cluster_usage_objects_total_bytes", GAUGE, OBJECTS, "Bytes of objects and old versions"),
    Spec("minio_cluster_usage_objects_version_count_distribution", GAUGE, OBJECTS, "Keys by versions", ("range",)),
    Spec("minio_cluster_usage_objects_versions_count", GAUGE, OBJECTS, "Versions and markers"),
    Spec("minio_system_cpu_avg_idle", GAUGE, CPU, "Share of time the processors are idle, percent", _SERVER),
    Spec("minio_system_cpu_avg_iowait", GAUGE, CPU, "Share of time the processors wait for disks, percent", _SERVER),
    Spec("minio_system_cpu_load", GAUGE, CPU, "Length of the processors' queue, over 1 minute", _SERVER),
    Spec("minio_system_cpu_load_perc", GAUGE, CPU, "The same per processor, percent", _SERVER),
    Spec("minio_system_cpu_nice", GAUGE, CPU, "Share of time of processes that give way, percent", _SERVER),
    Spec("minio_system_cpu_steal", GAUGE, CPU, "Share of time taken by other machines, percent", _SERVER),
    Spec("minio_system_cpu_system", GAUGE, CPU, "Share of time of the system, percent", _SERVER),
    Spec("minio_system_cpu_user", GAUGE, CPU, "Share of time of processes, percent", _SERVER),
    Spec("minio_system_drive_availability_errors_total", COUNTER, DRIVE, "Requests that the disk refused", _DRIVE),
    Spec("minio_system_drive_count", GAUGE, DRIVE, "Disks", _NODE),
    Spec("minio_system_drive_free_bytes", GAUGE, DRIVE, "Free space", _DRIVE),
    Spec("minio_system_drive_free_inodes", GAUGE, DRIVE, "Free inodes", _DRIVE),
    Spec("minio_system_drive_health", GAUGE, DRIVE, "1 if the disk takes writes", _DRIVE),
    Spec("minio_system_drive_io_errors_total", COUNTER, DRIVE, "Requests that the disk refused", _DRIVE),
    Spec("minio_system_drive_offline_count", GAUGE, DRIVE, "Disks that take no writes", _NODE),
    Spec("minio_system_drive_online_count", GAUGE, DRIVE, "Disks that take writes", _NODE),
    Spec("minio_system_drive_total_bytes", GAUGE, DRIVE, "Size", _DRIVE),
    Spec("minio_system_drive_total_inodes", GAUGE, DRIVE, "Inodes", _DRIVE),
    Spec("minio_system_drive_used_bytes", GAUGE, DRIVE, "Space in use", _DRIVE),
    Spec("minio_system_drive_used_inodes", GAUGE, DRIVE, "Inodes in use", _DRIVE),
    Spec("minio_system_memory_available", GAUGE, MEMORY, "Memory that processes could have", _SERVER),
    Spec("minio_system_memory_buffers", GAUGE, MEMORY, "Memory for the system's buffers", _SERVER),
    Spec("minio_system_memory_cache", GAUGE, MEMORY, "Memory that caches files", _SERVER),
    Spec("minio_system_memory_free", GAUGE, MEMORY, "Memory for nothing", _SERVER),
    Spec("minio_system_memory_shared", GAUGE, MEMORY, "Memory that processes share", _SERVER),
    Spec("minio_system_memory_total", GAUGE, MEMORY, "Memory", _SERVER),
    Spec("minio_system_memory_used", GAUGE, MEMORY, "Memory in use", _SERVER),
    Spec("minio_system_memory_used_perc", GAUGE, MEMORY, "Share of the memory in use, percent", _SERVER),
    Spec("minio_system_process_cpu_total_seconds", COUNTER, PROCESS, "Processor time of the processes", _SERVER),
    Spec("minio_system_process_file_descriptor_limit_total", GAUGE, PROCESS, "Files a process may have open", _SERVER),
    Spec("minio_system_process_file_descriptor_open_total", GAUGE, PROCESS, "Files the processes have open", _SERVER),
    Spec("minio_system_process_io_rchar_bytes", COUNTER, PROCESS, "Bytes read, with what was cached", _SERVER),
    Spec("minio_system_process_io_read_bytes", COUNTER, PROCESS, "Bytes read from disks", _SERVER),
    Spec("minio_system_process_io_wchar_bytes", COUNTER, PROCESS, "Bytes written, with what is cached", _SERVER),
    Spec("minio_system_process_io_write_bytes", COUNTER, PROCESS, "Bytes written to disks", _SERVER),
    Spec("minio_system_process_resident_memory_bytes", GAUGE, PROCESS, "Memory of the processes", _SERVER),
    Spec("minio_system_process_start_time_seconds", GAUGE, PROCESS, "When the server started, since 1970", _SERVER),
    Spec("minio_system_process_syscall_read_total", COUNTER, PROCESS, "Calls that read", _SERVER),
    Spec("minio_system_process_syscall_write_total", COUNTER, PROCESS, "Calls that write", _SERVER),
    Spec("minio_system_process_uptime_seconds", GAUGE, PROCESS, "Time since the server started", _SERVER),
    Spec("minio_system_process_virtual_memory_bytes", GAUGE, PROCESS, "Address space of the processes", _SERVER),
)  # fmt: skip

GROUPS = frozenset(spec.group for spec in SPECS)


def groups_of(path: str, *, with_buckets: bool) -> list[str] | None:
    """Return the groups at or below a path ("" for all); None where there is nothing of that name.

    Numbers by bucket are shown where the path, or the query, names buckets.
    """
    found = [group for group in sorted(GROUPS | EMPTY_GROUPS) if group == path or group.startswith(f"{path}/")]
    if not found:
        return None
    return [group for group in found if group in GROUPS and (group != BUCKET_API or with_buckets)]


def specs_of(groups: list[str]) -> list[Spec]:
    """Return the families of groups."""
    return [spec for spec in SPECS if spec.group in groups]


def collect(groups: list[str], state: State, server: str, buckets: frozenset[str]) -> Values:
    """Return the values of groups; those by bucket of the named ones alone."""
    common = {"server": server, "type": "s3", "pool_index": "0", "set_index": "0", "drive_index": "0"}
    common |= {"pool_id": "0", "set_id": "0"}
    values = Values(specs_of(groups), common)
    for group in groups:
        if group == BUCKET_API:
            _bucket_api(values, state, buckets)
        else:
            _COLLECTORS[group](values, state)
    return values


def _requests(values: Values, state: State) -> None:
    add, numbers = values.add, state.numbers
    for name, counts in sorted(total(numbers.counts, lambda counts: api_name(counts.operation)).items()):
        add("minio_api_requests_total", counts.requests, name)
        for kind, number in (
            ("4xx_errors", counts.errors_4xx), ("5xx_errors", counts.errors_5xx), ("canceled", counts.canceled),
            ("errors", counts.errors_4xx + counts.errors_5xx),
        ):  # fmt: skip
            if number:
                add(f"minio_api_requests_{kind}_total", number, name)
        for bound, number in ttfb_steps(counts):
            add("minio_api_requests_ttfb_seconds_distribution", number, name, bound)
    for operation, number in sorted(numbers.in_flight.items()):
        add("minio_api_requests_inflight_total", number, api_name(operation))
    add("minio_api_requests_incoming_total", sum(numbers.in_flight.values()))
    add("minio_api_requests_waiting_total", 0)
    for reason, number in numbers.rejected.items():
        add(f"minio_api_requests_rejected_{reason}_total", number)
    add("minio_api_requests_traffic_received_bytes", sum(counts.received_bytes for counts in numbers.counts))
    add("minio_api_requests_traffic_sent_bytes", sum(counts.sent_bytes for counts in numbers.counts))


def _bucket_api(values: Values, state: State, buckets: frozenset[str]) -> None:
    add = values.add
    counted = [counts for counts in state.numbers.counts if counts.bucket in buckets]
    for name, counts in sorted(total(counted, lambda counts: counts.bucket).items()):
        add("minio_bucket_api_traffic_received_bytes", counts.received_bytes, name)
        add("minio_bucket_api_traffic_sent_bytes", counts.sent_bytes, name)
    for counts in counted:
        labels = (counts.bucket, api_name(counts.operation))
        add("minio_bucket_api_total", counts.requests, *labels)
        for kind, number in (
            ("4xx_errors", counts.errors_4xx), ("5xx_errors", counts.errors_5xx), ("canceled", counts.canceled),
        ):  # fmt: skip
            if number:
                add(f"minio_bucket_api_{kind}_total", number, *labels)
        for bound, number in ttfb_steps(counts):
            add("minio_bucket_api_ttfb_seconds_distribution", number, *labels, bound)


def _audit(values: Values, state: State) -> None:
    totals = state.numbers.totals
    values.add("minio_audit_failed_messages", totals.get("audit_dropped", 0), AUDIT_TARGET)
    values.add("minio_audit_target_queue_length", state.outbox_rows + state.lines_waiting, AUDIT_TARGET)
    written = totals.get("audit_lines", 0) + totals.get("audit_changes", 0)
    values.add("minio_audit_total_messages", written, AUDIT_TARGET)


def _drive(values: Values, state: State) -> None:
    add, disk, drive, is_ready = values.add, state.disk, str(state.path), int(state.is_ready)
    for name, value in (
        ("used_bytes", disk.used_bytes), ("free_bytes", disk.free_bytes), ("total_bytes", disk.total_bytes),
        ("used_inodes", disk.total_inodes - disk.free_inodes), ("free_inodes", disk.free_inodes),
        ("total_inodes", disk.total_inodes), ("health", is_ready),
        ("io_errors_total", state.numbers.totals.get("disk_errors", 0)),
        ("availability_errors_total", state.numbers.totals.get("disk_errors", 0)),
    ):  # fmt: skip
        add(f"minio_system_drive_{name}", value, drive)
    add("minio_system_drive_offline_count", 1 - is_ready)
    add("minio_system_drive_online_count", is_ready)
    add("minio_system_drive_count", 1)


def _memory(values: Values, state: State) -> None:
    memory = state.memory
    for name, value in (
        ("available", memory.available), ("buffers", memory.buffers), ("cache", memory.cached), ("free", memory.free),
        ("shared", memory.shared), ("total", memory.total), ("used", memory.used), ("used_perc", memory.used_percent),
    ):  # fmt: skip
        values.add(f"minio_system_memory_{name}", value)


def _cpu(values: Values, state: State) -> None:
    cpu = state.cpu
    for name, value in (
        ("avg_idle", cpu.idle), ("avg_iowait", cpu.iowait), ("load", cpu.loads[0]),
        ("load_perc", 100 * cpu.loads[0] / cpu.processors), ("nice", cpu.nice), ("steal", cpu.steal),
        ("system", cpu.system), ("user", cpu.user),
    ):  # fmt: skip
        values.add(f"minio_system_cpu_{name}", value)


def _process(values: Values, state: State) -> None:
    processes = state.processes
    for name, value in (
        ("cpu_total_seconds", sum(process.cpu_s for process in processes)),
        ("file_descriptor_limit_total", state.descriptors_max),
        ("file_descriptor_open_total", sum(process.descriptors for process in processes)),
        ("io_rchar_bytes", sum(process.read_characters for process in processes)),
        ("io_read_bytes", sum(process.read_bytes for process in processes)),
        ("io_wchar_bytes", sum(process.write_characters for process in processes)),
        ("io_write_bytes", sum(process.write_bytes for process in processes)),
        ("resident_memory_bytes", sum(process.resident_bytes for process in processes)),
        ("start_time_seconds", state.started_s),
        ("syscall_read_total", sum(process.read_calls for process in processes)),
        ("syscall_write_total", sum(process.write_calls for process in processes)),
        ("uptime_seconds", max(state.now_ms / 1000 - state.started_s, 0)),
        ("virtual_memory_bytes", sum(process.virtual_bytes for process in processes)),
    ):
        values.add(f"minio_system_process_{name}", value)


def _health(values: Values, state: State) -> None:
    is_ready, disk = int(state.is_ready), state.disk
    for name, value in (
        ("drives_offline_count", 1 - is_ready), ("drives_online_count", is_ready), ("drives_count", 1),
        ("nodes_offline_count", 0), ("nodes_online_count", 1),
        ("capacity_raw_total_bytes", disk.total_bytes), ("capacity_raw_free_bytes", disk.free_bytes),
        ("capacity_usable_total_bytes", disk.total_bytes), ("capacity_usable_free_bytes", disk.free_bytes),
    ):  # fmt: skip
        values.add(f"minio_cluster_health_{name}", value)


def _config(values: Values, state: State) -> None:
    del state
    values.add("minio_cluster_config_rrs_parity", 0)
    values.add("minio_cluster_config_standard_parity", 0)


def _age_s(state: State) -> float:
    return max(state.now_ms - state.distribution.at_ms, 0) / 1000


def _usage_objects(values: Values, state: State) -> None:
    usages = [bucket.usage for bucket in state.buckets]
    for name, value in (
        ("since_last_update_seconds", _age_s(state)),
        ("total_bytes", sum(usage.object_bytes + usage.version_bytes for usage in usages)),
        ("count", sum(usage.object_count for usage in usages)),
        ("versions_count", sum(versions_of(bucket) for bucket in state.buckets)),
        ("delete_markers_count", sum(usage.marker_count for usage in usages)),
        ("buckets_count", len(usages)),
    ):
        values.add(f"minio_cluster_usage_objects_{name}", value)
    for name, _, _ in SIZE_RANGES:
        count = sum(ranges[name] for ranges in state.distribution.sizes.values())
        values.add("minio_cluster_usage_objects_size_distribution", count, name)
    for name, _, _ in VERSION_RANGES:
        count = sum(ranges[name] for ranges in state.distribution.versions.values())
        values.add("minio_cluster_usage_objects_version_count_distribution", count, name)


def _usage_buckets(values: Values, state: State) -> None:
    values.add("minio_cluster_usage_buckets_since_last_update_seconds", _age_s(state))
    for bucket in state.buckets:
        _usage_bucket(values, state, bucket)


def _usage_bucket(values: Values, state: State, bucket: Bucket) -> None:
    usage, start = bucket.usage, "minio_cluster_usage_buckets_"
    values.add(f"{start}total_bytes", usage.object_bytes + usage.version_bytes, bucket.name)
    values.add(f"{start}objects_count", usage.object_count, bucket.name)
    values.add(f"{start}versions_count", versions_of(bucket), bucket.name)
    values.add(f"{start}delete_markers_count", usage.marker_count, bucket.name)
    if bucket.quota_bytes:
        values.add(f"{start}quota_total_bytes", bucket.quota_bytes, bucket.name)
    for name, count in state.distribution.sizes.get(bucket.name, {}).items():
        values.add(f"{start}object_size_distribution", count, name, bucket.name)
    for name, count in state.distribution.versions.get(bucket.name, {}).items():
        values.add(f"{start}object_version_count_distribution", count, name, bucket.name)


def _erasure_set(values: Values, state: State) -> None:
    is_ready = int(state.is_ready)
    for name, value in (
        ("overall_write_quorum", 1), ("overall_health", is_ready), ("read_quorum", 1), ("write_quorum", 1),
        ("online_drives_count", is_ready), ("healing_drives_count", 0), ("health", is_ready), ("read_tolerance", 0),
        ("write_tolerance", 0), ("read_health", 1), ("write_health", is_ready),
    ):  # fmt: skip
        values.add(f"minio_cluster_erasure_set_{name}", value)


_COLLECTORS = {
    REQUESTS: _requests, AUDIT: _audit, DRIVE: _drive, MEMORY: _memory, CPU: _cpu, PROCESS: _process, HEALTH: _health,
    CONFIG: _config, OBJECTS: _usage_objects, BUCKETS: _usage_buckets, ERASURE: _erasure_set,
}  # fmt: skip
