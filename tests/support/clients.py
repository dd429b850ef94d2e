"""boto3 clients as their users make them, and small helpers around them."""

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeAlias
from unittest import mock

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from tests.support.server import Endpoint

MIB = 1024 * 1024

S3Client: TypeAlias = Any
"""A boto3 client is used without stubs, as its users use it."""


def boto3_client(endpoint: Endpoint, config: Config | None = None, **overrides: Any) -> S3Client:
    """Return a client with boto3's own defaults; an endpoint that is an address makes it use path style."""
    settings: dict[str, Any] = {
        "endpoint_url": endpoint.url,
        "aws_access_key_id": endpoint.access_key,
        "aws_secret_access_key": endpoint.secret_key,
        "region_name": endpoint.region,
    }
    # A session of its own: the default session is shared state, and not safe to make clients from in threads.
    return boto3.session.Session().client("s3", config=config, **(settings | overrides))


@contextmanager
def refused(code: str, status: int) -> Iterator[pytest.ExceptionInfo[ClientError]]:
    """Hold the block to S3's error code and HTTP status, and to a request id that operators can search for."""
    with pytest.raises(ClientError) as refusal:
        yield refusal
    response = refusal.value.response
    metadata = response["ResponseMetadata"]
    assert (response["Error"]["Code"], metadata["HTTPStatusCode"]) == (code, status)
    assert metadata["HTTPHeaders"].get("x-amz-request-id")


def refused_head(status: int) -> Any:
    """Hold the block to a status: a HEAD has no body, so boto3 shows the status as the code."""
    return refused(str(status), status)


@contextmanager
def signing_at(moment: datetime) -> Iterator[None]:
    """Make clients sign as if it were another time; botocore reads the clock in two places."""
    with (
        mock.patch("botocore.auth.get_current_datetime", return_value=moment),
        mock.patch("botocore.crt.auth.get_current_datetime", return_value=moment),
    ):
        yield


def race(count: int, contender: Callable[[int], Any]) -> list[Any]:
    """Run contender(0..count-1) in threads that start together; errors of S3 are results, shown by their code."""
    barrier = threading.Barrier(count)

    def run(number: int) -> Any:
        barrier.wait()
        try:
            return contender(number)
        except ClientError as error:
            return error.response["Error"]["Code"]

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def empty_bucket(s3: S3Client, bucket: str) -> None:
    """Remove every version, delete marker and unfinished upload."""
    for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket):
        for upload in page.get("Uploads", []):
            s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        entries = page.get("Versions", []) + page.get("DeleteMarkers", [])
        doomed = [{"Key": entry["Key"], "VersionId": entry["VersionId"]} for entry in entries]
        if doomed:
            s3.delete_objects(Bucket=bucket, Delete={"Objects": doomed, "Quiet": True})


def keys_of(page: dict[str, Any]) -> list[str]:
    """Return the keys of one page of a listing, in its order."""
    return [entry["Key"] for entry in page.get("Contents", [])]


def patterned(size_bytes: int, seed: int = 0) -> bytes:
    """Return bytes in which a shifted, swapped or repeated piece shows: the same for the same seed."""
    return random.Random(seed).randbytes(size_bytes)
