"""Where the files of a table are: Paimon's layout, as keys of a FileIO."""

import math
import re
import struct
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from hosu.tables.records import Partition

MAIN_BRANCH = "main"
DATABASE_SUFFIX = ".db"
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - a time without a zone
_ESCAPED = re.compile(r"""[\x00-\x1f"#%'*/:=?\\\x7f{\[\]^]""")
"""Characters that Paimon writes as %XX in the name of a partition's folder."""


def escape_path_name(text: str) -> str:
    """Return text as part of a folder's name, the way Hive and Paimon escape it."""
    return _ESCAPED.sub(lambda found: f"%{ord(found[0]):02X}", text)


def partition_text(value: Any, default_name: str) -> str:  # noqa: ANN401 - a value of any type
    """Return a partition's value as text; `default_name` stands for NULL and blanks."""
    if value is None:
        return default_name
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat(timespec="auto")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    text = str(value)
    return text if text.strip() else default_name


def folder_text(value: Any, root: str, precision: int, *, is_legacy: bool) -> str:  # noqa: ANN401 - a value of any type
    """Return a partition's value as Paimon names its folder; `root` and `precision` are of the type.

    With `partition.legacy-name` a value is named as Java holds it: a date by its days since 1970-01-01, a time by its
    milliseconds, a timestamp as Java prints one. Otherwise as SQL casts it to text.
    """
    if isinstance(value, int | datetime) and root.startswith("TIMESTAMP"):
        return _timestamp_text(value, precision, is_legacy=is_legacy)
    if isinstance(value, date):
        return str(value.toordinal() - _EPOCH.toordinal()) if is_legacy else value.isoformat()
    if isinstance(value, time):
        if is_legacy:
            return str(((value.hour * 60 + value.minute) * 60 + value.second) * 1000 + value.microsecond // 1000)
        fraction = f"{value.microsecond // 1000:03d}"[:precision]
        whole = value.isoformat(timespec="seconds")
        return f"{whole}.{fraction.rstrip('0') or '0'}" if fraction else whole
    if isinstance(value, float):
        return _float_text(value, is_single=root == "FLOAT")
    return partition_text(value, "")


def _timestamp_text(value: int | datetime, precision: int, *, is_legacy: bool) -> str:
    if isinstance(value, datetime):
        passed = value.replace(tzinfo=None) - _EPOCH
        nanoseconds = ((passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds) * 1000
    else:
        nanoseconds = value * (1_000_000 if precision <= 3 else 1000 if precision <= 6 else 1)  # noqa: PLR2004 - Arrow's units
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    moment = _EPOCH + timedelta(seconds=seconds)
    fraction = f"{rest:09d}"
    if is_legacy:
        while fraction.endswith("000"):
            fraction = fraction[:-3]
        timespec = "seconds" if moment.second or fraction else "minutes"
        return moment.isoformat(timespec=timespec) + (f".{fraction}" if fraction else "")
    while len(fraction) > precision and fraction.endswith("0"):
        fraction = fraction[:-1]
    return moment.isoformat(" ", timespec="seconds") + (f".{fraction}" if fraction else "")


def _float_text(value: float, *, is_single: bool) -> str:
    if math.isnan(value) or math.isinf(value):
        return "NaN" if math.isnan(value) else f"{'-' if value < 0 else ''}Infinity"
    texts = (f"{value:.{digits}g}" for digits in range(1, 10))
    single = struct.pack("f", value) if is_single else b""
    shortest = (
        repr(float(next(text for text in texts if struct.pack("f", float(text)) == single)))
        if is_single
        else repr(value)
    )
    if value == 0 or 1e-3 <= abs(value) < 1e7:  # noqa: PLR2004 - where Java begins to write exponents
        return shortest
    sign, numerals, exponent = Decimal(shortest).normalize().as_tuple()
    written = "".join(map(str, numerals))
    power = len(numerals) - 1 + int(exponent)
    return f"{'-' if sign else ''}{written[0]}.{written[1:] or '0'}E{power}"


class Layout(msgspec.Struct, frozen=True):
    """The keys of one table's files. `path` is the table's folder: `warehouse/upbit.db/ticker`."""

    path: str
    partition_keys: tuple[str, ...] = ()
    branch: str = MAIN_BRANCH
    default_partition_name: str = "__DEFAULT_PARTITION__"
    partition_types: tuple[tuple[str, int], ...] = ()
    """Root and precision of the type of each partition key; what they are of is text where this is empty."""

    has_legacy_names: bool = True
    """Whether `partition.legacy-name` is on, as it is by default."""

    @property
    def branch_path(self) -> str:
        """The folder of the branch's own metadata: schemas, snapshots, tags, consumers."""
        return self.path if self.branch == MAIN_BRANCH else f"{self.path}/branch/branch-{self.branch}"

    def snapshot(self, snapshot_id: int) -> str:
        """Name the file of a snapshot."""
        return f"{self.snapshots}snapshot-{snapshot_id}"

    @property
    def snapshots(self) -> str:
        """The folder of snapshots, with its slash."""
        return f"{self.branch_path}/snapshot/"

    def changelog(self, snapshot_id: int) -> str:
        """Name the file of a changelog that outlives its snapshot."""
        return f"{self.branch_path}/changelog/changelog-{snapshot_id}"

    def schema(self, schema_id: int) -> str:
        """Name the file of a schema."""
        return f"{self.schemas}schema-{schema_id}"

    @property
    def schemas(self) -> str:
        """The folder of schemas, with its slash."""
        return f"{self.branch_path}/schema/"

    def tag(self, name: str) -> str:
        """Name the file of a tag."""
        return f"{self.tags}tag-{name}"

    @property
    def tags(self) -> str:
        """The folder of tags, with its slash."""
        return f"{self.branch_path}/tag/"

    def consumer(self, name: str) -> str:
        """Name the file of a consumer."""
        return f"{self.consumers}consumer-{name}"

    @property
    def consumers(self) -> str:
        """The folder of consumers, with its slash."""
        return f"{self.branch_path}/consumer/"

    def manifest(self, name: str) -> str:
        """Name a manifest, manifest list or index manifest: of all branches."""
        return f"{self.path}/manifest/{name}"

    def index(self, name: str) -> str:
        """Name an index file: of all branches."""
        return f"{self.path}/index/{name}"

    def statistics(self, name: str) -> str:
        """Name a file of statistics."""
        return f"{self.path}/statistics/{name}"

    def partition_path(self, partition: Partition) -> str:
        """Name the folders of a partition with a slash at the end, or nothing without partition keys."""
        types = self.partition_types or (("VARCHAR", 0),) * len(self.partition_keys)
        folders = []
        for key, value, (root, precision) in zip(self.partition_keys, partition, types, strict=True):
            text = "" if value is None else folder_text(value, root, precision, is_legacy=self.has_legacy_names)
            folders.append(
                f"{escape_path_name(key)}={escape_path_name(text if text.strip() else self.default_partition_name)}/"
            )
        return "".join(folders)

    def bucket_path(self, partition: Partition, bucket: int) -> str:
        """Name the folder of a bucket, with its slash."""
        name = "bucket-postpone" if bucket == -2 else f"bucket-{bucket}"  # noqa: PLR2004 - Paimon's own number
        return f"{self.path}/{self.partition_path(partition)}{name}/"

    def data_file(self, partition: Partition, bucket: int, name: str) -> str:
        """Name a data or changelog file."""
        return self.bucket_path(partition, bucket) + name
