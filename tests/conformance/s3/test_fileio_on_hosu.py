"""The FileIO over S3 against a started server: the contract that tables, datasets and vectors keep their files by."""

import functools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from tests.support.clients import S3Client
from tests.support.server import Endpoint

from hosu.kernel.fileio import FileIO, FileStat, Prefix, S3FileIO, S3Place
from hosu.testing.fileio_contract import KEYS_ACROSS_THE_SLASH, FileIORaceContract
from hosu.testing.fileio_races import FileIOOpener


def in_seconds(entries: Iterator[FileStat | Prefix]) -> list[FileStat]:
    """Cut times to whole seconds: that is all a header tells, where a listing also tells the thousandths."""
    return [
        replace(entry, modified_ms=entry.modified_ms // 1000 * 1000) for entry in entries if isinstance(entry, FileStat)
    ]


class TestS3FileIOOnAStartedServer(FileIORaceContract):
    """The hooks are a stock client."""

    examples_max = 4

    @pytest.fixture
    def fileio(self, server: Endpoint, bucket: str) -> FileIO:
        place = S3Place(
            bucket,
            endpoint=server.url,
            region=server.region,
            access_key_id=server.access_key,
            secret_access_key=server.secret_key,
        )
        return S3FileIO(place)

    @pytest.fixture(autouse=True)
    def _behind(self, s3: S3Client, bucket: str) -> None:
        self.client = s3
        self.bucket = bucket

    def test_what_others_stored_is_read_headed_and_listed(self, fileio: FileIO) -> None:
        self.store(fileio, "a/b", b"123")
        assert fileio.read("a/b") == b"123"
        stat = fileio.head("a/b")
        assert (stat.size_bytes, stat.modified_ms > 0) == (3, True)
        assert in_seconds(fileio.list()) == [stat]

    def test_listing_is_in_utf8_order_across_folders(self, fileio: FileIO) -> None:
        for key in reversed(KEYS_ACROSS_THE_SLASH):
            self.store(fileio, key, key.encode())
        stats = in_seconds(fileio.list())
        assert [stat.key for stat in stats] == KEYS_ACROSS_THE_SLASH
        assert stats == [fileio.head(key) for key in KEYS_ACROSS_THE_SLASH]

    def stored(self, fileio: FileIO, key: str) -> bytes | None:  # noqa: ARG002 - the contract's signature
        try:
            body = self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        except self.client.exceptions.NoSuchKey:
            return None
        assert isinstance(body, bytes)
        return body

    def store(self, fileio: FileIO, key: str, data: bytes) -> None:  # noqa: ARG002 - the contract's signature
        self.client.put_object(Bucket=self.bucket, Key=key, Body=data)

    def store_many(self, fileio: FileIO, keys: list[str]) -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda key: self.store(fileio, key, b"1"), keys))

    def opener(self, fileio: FileIO) -> FileIOOpener | None:
        assert isinstance(fileio, S3FileIO)
        return functools.partial(S3FileIO, fileio.place)
