"""pyarrow's own S3 filesystem and datasets."""

from typing import Any

import pyarrow.dataset as pads
import pyarrow.fs
from tests.support.clients import MIB, S3Client, keys_of, patterned


def test_pyarrow_writes_and_reads_a_partitioned_dataset(filesystem: Any, s3: S3Client, bucket: str, table: Any) -> None:
    pads.write_dataset(
        table,
        f"{bucket}/silver",
        filesystem=filesystem,
        format="parquet",
        partitioning=["day"],
        partitioning_flavor="hive",
    )
    assert {key.split("/")[1] for key in keys_of(s3.list_objects_v2(Bucket=bucket, Prefix="silver/day="))} == {
        "day=2025-08-01",
        "day=2025-08-02",
        "day=2025-08-03",
    }
    dataset = pads.dataset(f"{bucket}/silver", filesystem=filesystem, partitioning="hive")
    found = dataset.to_table(filter=pads.field("day") == "2025-08-02", columns=["id"])
    assert sorted(found["id"].to_pylist()) == list(range(1, table.num_rows, 3))


def test_pyarrow_streams_files_and_manages_folders(filesystem: Any, bucket: str) -> None:
    body = patterned(11 * MIB)
    filesystem.create_dir(f"{bucket}/dir/sub")
    with filesystem.open_output_stream(f"{bucket}/dir/sub/file") as stream:
        for start in range(0, len(body), MIB):
            stream.write(body[start : start + MIB])
    with filesystem.open_input_file(f"{bucket}/dir/sub/file") as file:
        file.seek(5 * MIB - 5)
        assert file.read(10) == body[5 * MIB - 5 : 5 * MIB + 5]
    filesystem.copy_file(f"{bucket}/dir/sub/file", f"{bucket}/copy")
    info = filesystem.get_file_info([f"{bucket}/copy", f"{bucket}/dir", f"{bucket}/none"])
    kinds = pyarrow.fs.FileType
    assert [entry.type for entry in info] == [kinds.File, kinds.Directory, kinds.NotFound]
    assert info[0].size == len(body)
    filesystem.delete_dir(f"{bucket}/dir")
    rest = filesystem.get_file_info(pyarrow.fs.FileSelector(bucket, recursive=True))
    assert [entry.path for entry in rest] == [f"{bucket}/copy"]
