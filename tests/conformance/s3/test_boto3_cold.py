"""The storage class COLD, as boto3 sees it: all but the class is as before, and the disk holds less."""

import time
from pathlib import Path

import numpy as np
import pytest
from botocore.exceptions import ClientError
from PIL import Image
from tests.support.clients import S3Client
from tests.support.pictures import jpeg, photo

from hosu.kernel.limits import MIB
from hosu.objects.coding.blobs import PICTURES_BYTES_MAX
from hosu.objects.store import ObjectStore

pytestmark = pytest.mark.conformance("s3", "storage class")

WORDS = b"".join(b"line %d of a log that nobody reads\n" % number for number in range(60_000))
PICTURE = photo()
WAIT_S_MAX = 90.0


def wait_until_compressed(lake: Path) -> None:
    """Wait until the keeper has looked at all that was put into a cold class."""
    end_s = time.monotonic() + WAIT_S_MAX
    with ObjectStore(lake) as store:
        view = store.view()
        while view.value("SELECT EXISTS (SELECT 1 FROM uncoded)"):
            assert time.monotonic() < end_s, "the keeper has compressed nothing"
            time.sleep(0.2)


def test_an_object_put_into_the_class_reads_as_it_was_put(s3: S3Client, bucket: str, lake: Path) -> None:
    bodies = {"words": WORDS, "picture.bin": PICTURE, "small": b"small " * 2000, "empty": b""}
    before = {}
    for key, body in bodies.items():
        put = s3.put_object(
            Bucket=bucket,
            Key=key,
            Body=body,
            StorageClass="COLD",
            ChecksumAlgorithm="CRC32",
            Metadata={"a": "b"},
        )
        before[key] = s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
        assert put["ETag"] == before[key]["ETag"]
    wait_until_compressed(lake)
    for key, body in bodies.items():
        after = s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
        for field in ("ETag", "LastModified", "ContentLength", "ChecksumCRC32", "Metadata", "StorageClass"):
            assert after.get(field) == before[key].get(field), field
        assert after["StorageClass"] == "COLD"
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == body
        assert s3.get_object(Bucket=bucket, Key=key, IfMatch=after["ETag"])["Body"].read() == body
        for start, end in ((0, 0), (1, 1000), (len(body) // 2, len(body) - 1)):
            if start <= end < len(body):
                ranged = s3.get_object(Bucket=bucket, Key=key, Range=f"bytes={start}-{end}")
                assert ranged["Body"].read() == body[start : end + 1]
                assert ranged["ContentRange"] == f"bytes {start}-{end}/{len(body)}"
    with ObjectStore(lake) as store:
        codings = dict(store.view().rows("SELECT key, coding FROM object JOIN blob ON blob.id = blob_id"))
    assert (codings["words"], codings["picture.bin"], codings["small"]) == ("zstd", "jxl", "zstd")


def test_parts_read_one_by_one_and_in_ranges_over_their_borders(s3: S3Client, bucket: str, lake: Path) -> None:
    bodies = [(WORDS * 4)[: 5 * MIB], PICTURE]
    begun = s3.create_multipart_upload(Bucket=bucket, Key="k", StorageClass="COLD")
    parts = []
    for number, body in enumerate(bodies, 1):
        etag = s3.upload_part(Bucket=bucket, Key="k", UploadId=begun["UploadId"], PartNumber=number, Body=body)["ETag"]
        parts.append({"PartNumber": number, "ETag": etag})
    done = s3.complete_multipart_upload(
        Bucket=bucket,
        Key="k",
        UploadId=begun["UploadId"],
        MultipartUpload={"Parts": parts},
    )
    wait_until_compressed(lake)
    head = s3.head_object(Bucket=bucket, Key="k")
    assert (head["ETag"], head["StorageClass"]) == (done["ETag"], "COLD")
    whole = b"".join(bodies)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == whole
    for number, body in enumerate(bodies, 1):
        part = s3.get_object(Bucket=bucket, Key="k", PartNumber=number)
        assert (part["Body"].read(), part["PartsCount"]) == (body, 2)
    border = 5 * MIB
    found = s3.get_object(Bucket=bucket, Key="k", Range=f"bytes={border - 100}-{border + 99}")
    assert found["Body"].read() == whole[border - 100 : border + 100]


def test_parts_that_are_large_pictures_read_as_they_were_put(s3: S3Client, bucket: str, lake: Path) -> None:
    """Decoded, they are more than an answer may hold at once: it is made of one after the other."""
    noise = np.random.default_rng(1).integers(0, 255, (1500, 1500, 3), np.uint8)
    picture = jpeg(Image.fromarray(noise), quality=95, subsampling=0)
    count = PICTURES_BYTES_MAX // len(picture) + 1
    assert len(picture) > 5 * MIB
    begun = s3.create_multipart_upload(Bucket=bucket, Key="k", StorageClass="COLD")
    parts = []
    for number in range(1, count + 1):
        put = s3.upload_part(Bucket=bucket, Key="k", UploadId=begun["UploadId"], PartNumber=number, Body=picture)
        parts.append({"PartNumber": number, "ETag": put["ETag"]})
    named = {"Parts": parts}
    s3.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=begun["UploadId"], MultipartUpload=named)
    wait_until_compressed(lake)
    with ObjectStore(lake) as store:
        assert store.view().value("SELECT count(*) FROM blob WHERE coding = 'jxl' AND size_bytes = ?", (len(picture),))
    whole, border = picture * count, 2 * len(picture)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == whole
    found = s3.get_object(Bucket=bucket, Key="k", Range=f"bytes={border - 100}-{border + 99}")
    assert found["Body"].read() == whole[border - 100 : border + 100]


def test_copies_move_between_the_classes(s3: S3Client, bucket: str, lake: Path) -> None:
    put = s3.put_object(Bucket=bucket, Key="k", Body=WORDS)
    source = {"Bucket": bucket, "Key": "k"}
    s3.copy_object(Bucket=bucket, Key="k", CopySource=source, StorageClass="COLD")
    wait_until_compressed(lake)
    s3.copy_object(Bucket=bucket, Key="warm", CopySource=source)
    for key, storage_class in (("k", "COLD"), ("warm", None)):
        found = s3.get_object(Bucket=bucket, Key=key)
        assert (found["ETag"], found.get("StorageClass")) == (put["ETag"], storage_class)
        assert found["Body"].read() == WORDS
    with ObjectStore(lake) as store:
        codings = dict(
            store.view().rows(
                "SELECT key, coding FROM object JOIN blob ON blob.id = blob_id WHERE bucket_id = "
                "(SELECT id FROM bucket WHERE name = ?)",
                (bucket,),
            )
        )
    assert codings == {"k": "zstd", "warm": None}
    begun = s3.create_multipart_upload(Bucket=bucket, Key="part")
    part = s3.upload_part_copy(
        Bucket=bucket, Key="part", UploadId=begun["UploadId"], PartNumber=1, CopySource=source,
        CopySourceRange="bytes=1000-1999",
    )  # fmt: skip
    named = {"Parts": [{"PartNumber": 1, "ETag": part["CopyPartResult"]["ETag"]}]}
    s3.complete_multipart_upload(Bucket=bucket, Key="part", UploadId=begun["UploadId"], MultipartUpload=named)
    assert s3.get_object(Bucket=bucket, Key="part")["Body"].read() == WORDS[1000:2000]


def test_listings_and_attributes_show_the_class(s3: S3Client, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="cold", Body=b"b", StorageClass="COLD")
    s3.put_object(Bucket=bucket, Key="warm", Body=b"b")
    listed = s3.list_objects_v2(Bucket=bucket)["Contents"]
    assert [entry["StorageClass"] for entry in listed] == ["COLD", "STANDARD"]
    versions = s3.list_object_versions(Bucket=bucket)["Versions"]
    assert [entry["StorageClass"] for entry in versions] == ["COLD", "STANDARD"]
    attributes = s3.get_object_attributes(Bucket=bucket, Key="cold", ObjectAttributes=["StorageClass"])
    assert attributes["StorageClass"] == "COLD"
    assert "StorageClass" not in s3.head_object(Bucket=bucket, Key="warm")


@pytest.mark.parametrize("name", ["GLACIER", "cold", "NONE", "COLDER"])
def test_a_class_that_is_not_there_is_refused(s3: S3Client, bucket: str, name: str) -> None:
    with pytest.raises(ClientError, match="InvalidStorageClass"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"b", StorageClass=name)
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)
