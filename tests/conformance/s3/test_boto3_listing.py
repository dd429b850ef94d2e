"""Listings through boto3: order, pages, delimiters, versions."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.support.clients import S3Client, keys_of, refused

ORDERED = sorted(
    ["A", "B/1", "B/2", "B0", "a b", "a%2Fb", "a+b", "a/b", "ä", "가", "나/다", "\uffee", "😀", "zz//x"], key=str.encode
)
"""Keys whose UTF-8 order differs from the order of their UTF-16, their case-folded or their quoted form."""


def fill(s3: S3Client, bucket: str, keys: list[str]) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda key: s3.put_object(Bucket=bucket, Key=key, Body=key.encode()), keys))


def prefixes_of(page: dict[str, Any]) -> list[str]:
    return [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]


@pytest.mark.conformance("s3", "ListObjectsV2")
@pytest.mark.parametrize("operation", ["list_objects", "list_objects_v2"])
@pytest.mark.parametrize("page_size", [1, 3, 1000])
def test_every_page_size_gives_all_keys_in_utf8_order(
    s3: S3Client, bucket: str, operation: str, page_size: int
) -> None:
    fill(s3, bucket, ORDERED)
    pages = list(s3.get_paginator(operation).paginate(Bucket=bucket, PaginationConfig={"PageSize": page_size}))
    assert [key for page in pages for key in keys_of(page)] == ORDERED
    assert [page["IsTruncated"] for page in pages] == [True] * (len(pages) - 1) + [False]
    assert len(pages) == -(-len(ORDERED) // page_size)


@pytest.mark.conformance("s3", "ListObjectsV2")
def test_an_entry_tells_size_etag_time_and_class(s3: S3Client, bucket: str) -> None:
    put = s3.put_object(Bucket=bucket, Key="k", Body=b"12345")
    page = s3.list_objects_v2(Bucket=bucket)
    (entry,) = page["Contents"]
    head = s3.head_object(Bucket=bucket, Key="k")
    assert (page["KeyCount"], page["MaxKeys"], page["Name"]) == (1, 1000, bucket)
    assert (entry["Size"], entry["ETag"], entry["StorageClass"]) == (5, put["ETag"], "STANDARD")
    assert entry["LastModified"].replace(microsecond=0) == head["LastModified"]


@pytest.mark.conformance("s3", "ListObjectsV2")
@pytest.mark.parametrize("operation", ["list_objects", "list_objects_v2"])
@pytest.mark.parametrize("page_size", [1, 2, 1000])
def test_a_delimiter_rolls_up_prefixes_once_across_pages(
    s3: S3Client, bucket: str, operation: str, page_size: int
) -> None:
    fill(s3, bucket, ["a", "b/1", "b/2", "b/3", "c/", "c/1", "d", "e/f/g"])
    pages = list(
        s3.get_paginator(operation).paginate(Bucket=bucket, Delimiter="/", PaginationConfig={"PageSize": page_size})
    )
    assert [key for page in pages for key in keys_of(page)] == ["a", "d"]
    assert [prefix for page in pages for prefix in prefixes_of(page)] == ["b/", "c/", "e/"]
    # A rolled-up prefix counts as one entry of its page.
    assert all(len(keys_of(page)) + len(prefixes_of(page)) <= page_size for page in pages)
    assert len(pages) == -(-5 // page_size)


@pytest.mark.conformance("s3", "ListObjectsV2")
def test_prefix_and_delimiter_show_one_level(s3: S3Client, bucket: str) -> None:
    fill(s3, bucket, ["images/raw/1.jpg", "images/raw/2.jpg", "images/readme", "images2/x", "models/a"])
    page = s3.list_objects_v2(Bucket=bucket, Prefix="images/", Delimiter="/")
    assert (keys_of(page), prefixes_of(page)) == (["images/readme"], ["images/raw/"])


@pytest.mark.conformance("s3", "ListObjectsV2")
def test_a_delimiter_may_be_longer_than_a_character(s3: S3Client, bucket: str) -> None:
    fill(s3, bucket, ["x--1", "x-2", "y--1--2"])
    page = s3.list_objects_v2(Bucket=bucket, Delimiter="--")
    assert (keys_of(page), prefixes_of(page)) == (["x-2"], ["x--", "y--"])


@pytest.mark.conformance("s3", "ListObjectsV2")
@pytest.mark.parametrize("after", ["", "b", "b/2", "bb", "zzz"])
def test_start_after_and_marker_leave_out_what_comes_before(s3: S3Client, bucket: str, after: str) -> None:
    keys = ["a", "b", "b/1", "b/2", "c"]
    fill(s3, bucket, keys)
    rest = [key for key in keys if key > after]
    assert keys_of(s3.list_objects_v2(Bucket=bucket, StartAfter=after)) == rest
    assert keys_of(s3.list_objects(Bucket=bucket, Marker=after)) == rest


@pytest.mark.conformance("s3", "ListObjectsV2")
def test_a_token_survives_the_removal_of_the_key_it_stands_on(s3: S3Client, bucket: str) -> None:
    fill(s3, bucket, ["a", "b", "c", "d"])
    first = s3.list_objects_v2(Bucket=bucket, MaxKeys=2)
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "b"}, {"Key": "c"}]})
    second = s3.list_objects_v2(Bucket=bucket, ContinuationToken=first["NextContinuationToken"])
    assert (keys_of(first), keys_of(second)) == (["a", "b"], ["d"])


@pytest.mark.conformance("s3", "ListObjectsV2")
def test_owners_are_told_by_v1_always_and_by_v2_when_asked(s3: S3Client, bucket: str) -> None:
    fill(s3, bucket, ["k"])
    assert "Owner" in s3.list_objects(Bucket=bucket)["Contents"][0]
    assert "Owner" not in s3.list_objects_v2(Bucket=bucket)["Contents"][0]
    assert "Owner" in s3.list_objects_v2(Bucket=bucket, FetchOwner=True)["Contents"][0]


@pytest.mark.conformance("s3", "ListObjectsV2")
def test_more_than_a_thousand_keys_come_in_pages_of_a_thousand(s3: S3Client, bucket: str) -> None:
    keys = [f"{number:04}" for number in range(1005)]
    fill(s3, bucket, keys)
    pages = list(s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, MaxKeys=5000))
    assert [len(keys_of(page)) for page in pages] == [1000, 5]
    assert list(itertools.chain.from_iterable(map(keys_of, pages))) == keys


@pytest.mark.conformance("s3", "ListObjectsV2")
def test_zero_keys_asked_gives_zero_and_no_more(s3: S3Client, bucket: str) -> None:
    fill(s3, bucket, ["k"])
    page = s3.list_objects_v2(Bucket=bucket, MaxKeys=0)
    assert (keys_of(page), page["IsTruncated"], page["KeyCount"]) == ([], False, 0)


@pytest.mark.conformance("s3", "ListObjectsV2")
def test_an_empty_bucket_and_an_unmatched_prefix_list_nothing(s3: S3Client, bucket: str) -> None:
    assert keys_of(s3.list_objects_v2(Bucket=bucket)) == []
    fill(s3, bucket, ["k"])
    assert keys_of(s3.list_objects_v2(Bucket=bucket, Prefix="other/")) == []


@pytest.mark.conformance("s3", "ListObjectsV2")
def test_bad_arguments_of_a_listing_are_refused(s3: S3Client, bucket: str, bucket_name: str) -> None:
    with refused("InvalidArgument", 400):
        s3.list_objects_v2(Bucket=bucket, MaxKeys=-1)
    with refused("InvalidArgument", 400):
        s3.list_objects_v2(Bucket=bucket, ContinuationToken="not one of ours")
    with refused("NoSuchBucket", 404):
        s3.list_objects_v2(Bucket=bucket_name + "-none")


@pytest.mark.conformance("s3", "ListObjectVersions")
@pytest.mark.parametrize("page_size", [1, 2, 1000])
def test_versions_come_newest_first_below_each_key(s3: S3Client, versioned: str, page_size: int) -> None:
    made: dict[str, list[str]] = {}
    for key in ("b", "a", "b", "a", "b"):
        made.setdefault(key, []).insert(0, s3.put_object(Bucket=versioned, Key=key, Body=b"")["VersionId"])
    marker = s3.delete_object(Bucket=versioned, Key="a")["VersionId"]
    pages = list(
        s3.get_paginator("list_object_versions").paginate(Bucket=versioned, PaginationConfig={"PageSize": page_size})
    )
    versions = [entry for page in pages for entry in page.get("Versions", [])]
    markers = [entry for page in pages for entry in page.get("DeleteMarkers", [])]
    expected = [("a", version) for version in made["a"]] + [("b", version) for version in made["b"]]
    assert [(entry["Key"], entry["VersionId"]) for entry in versions] == expected
    assert [(entry["Key"], entry["VersionId"], entry["IsLatest"]) for entry in markers] == [("a", marker, True)]
    assert [entry["VersionId"] for entry in versions if entry["IsLatest"]] == [made["b"][0]]


@pytest.mark.conformance("s3", "ListMultipartUploads")
def test_unfinished_uploads_are_listed_by_key_in_pages(s3: S3Client, bucket: str) -> None:
    for key in ("b", "a", "c", "dir/x"):
        s3.create_multipart_upload(Bucket=bucket, Key=key)
    pages = list(s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, PaginationConfig={"PageSize": 3}))
    assert [[entry["Key"] for entry in page.get("Uploads", [])] for page in pages] == [["a", "b", "c"], ["dir/x"]]
    rolled = s3.list_multipart_uploads(Bucket=bucket, Delimiter="/")
    assert ([entry["Key"] for entry in rolled["Uploads"]], prefixes_of(rolled)) == (["a", "b", "c"], ["dir/"])
    assert keys_of(s3.list_objects_v2(Bucket=bucket)) == []
