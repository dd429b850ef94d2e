"""S3 clients, made when an address first needs one."""

import threading
from typing import TYPE_CHECKING

from hosu.cli.addresses import ObjectAddress
from hosu.cli.profiles import Profile, Profiles

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

CONNECT_TIMEOUT_S = 10
READ_TIMEOUT_S = 120
"""A server-side copy of 5 GiB answers only when it is done, so reads wait longer than a dead peer would deserve."""


class Endpoints:
    """The endpoints one command talks to; safe for threads.

    `endpoint_url` and `aws_profile` apply to `s3://` addresses, whose credentials come the way the AWS tools find them.
    """

    def __init__(
        self,
        profiles: Profiles,
        *,
        connections: int,
        endpoint_url: str | None = None,
        aws_profile: str | None = None,
    ) -> None:
        self._profiles = profiles
        self._connections = connections
        self._endpoint_url = endpoint_url
        self._aws_profile = aws_profile
        self._clients: dict[str | None, S3Client] = {}
        self._lock = threading.Lock()

    def client(self, address: ObjectAddress) -> "S3Client":
        """Return the client for an address; raise UsageFault when its profile does not exist."""
        with self._lock:
            client = self._clients.get(address.profile)
            if client is None:
                client = self._connect(address.profile)
                self._clients[address.profile] = client
            return client

    def are_one(self, source: ObjectAddress, target: ObjectAddress) -> bool:
        """Say whether one endpoint, under one credential, holds both, so that it can copy by itself."""
        if source.profile == target.profile:
            return True
        if source.profile is None or target.profile is None:
            return False
        one, other = self._profiles.get(source.profile), self._profiles.get(target.profile)
        return (one.endpoint.rstrip("/"), one.access_key) == (other.endpoint.rstrip("/"), other.access_key)

    def label(self, address: ObjectAddress) -> str:
        """Return what tells this endpoint from others, for the names of resume states."""
        return self.client(address).meta.endpoint_url

    def close(self) -> None:
        """Close the connections of every client."""
        with self._lock:
            for client in self._clients.values():
                client.close()
            self._clients.clear()

    def _connect(self, name: str | None) -> "S3Client":
        import boto3
        from botocore.config import Config

        profile: Profile | None = None if name is None else self._profiles.get(name)
        path_style = profile.path_style if profile is not None else self._endpoint_url is not None
        config = Config(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            max_pool_connections=self._connections,
            # Retries are counted in one place, ours, and not multiplied by the library's.
            retries={"total_max_attempts": 1, "mode": "standard"},
            s3={"addressing_style": "path" if path_style else "auto"},
            tcp_keepalive=True,
        )
        if profile is None:
            session = boto3.Session(profile_name=self._aws_profile)
            region = session.region_name or "us-east-1"
            aws: S3Client = session.client("s3", endpoint_url=self._endpoint_url, region_name=region, config=config)
            return aws
        session = boto3.Session(
            aws_access_key_id=profile.access_key, aws_secret_access_key=profile.secret_key, region_name=profile.region
        )
        client: S3Client = session.client("s3", endpoint_url=profile.endpoint, config=config)
        return client
