"""A running MinIO, read over S3 and its admin API. Nothing is written to it.

Versions come from listings, their bytes and metadata from GET and HEAD; what the server encrypts or compresses it
opens itself. Users with their secrets come from the export that the admin API has for root.
"""

import contextlib
import io
import json
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote_plus
from xml.etree.ElementTree import Element

from hosu.cli.client import CONNECT_TIMEOUT_S, READ_TIMEOUT_S
from hosu.cli.faults import as_hosu_error, is_transient
from hosu.cli.importing.signed import OK, SignedReader
from hosu.cli.profiles import Profile
from hosu.cli.retry import RETRIES, WAIT_S_FIRST, RetryPolicy, cancellable_sleep
from hosu.kernel.errors import HosuError
from hosu.kernel.limits import MIB
from hosu.lake.importing.minio_accounts import expiry_ms, is_on, policy_names
from hosu.lake.importing.minio_buckets import bucket_of
from hosu.lake.importing.source import (
    SourceAccounts,
    SourceBucket,
    SourceError,
    SourceGroup,
    SourceKey,
    SourcePart,
    SourceServiceKey,
    SourceUser,
    SourceVersion,
)
from hosu.lake.importing.xlmeta import HEADERS, META_PREFIX, PARTS_MAX
from hosu.objects.records import NULL_VERSION, STANDARD, Attributes, Checksum, LockMode, ObjectLock
from hosu.server.s3.xml_read import parse, required_text, text

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

ADMIN = "/minio/admin/v3/"
READ_BYTES = MIB
DOCUMENTS = {
    "PolicyConfigJSON": "policy",
    "LifecycleConfigXML": "lifecycle",
    "ObjectLockConfigXML": "object-lock",
    "EncryptionConfigXML": "encryption",
    "TaggingConfigXML": "tagging",
    "NotificationConfigXML": "notification",
    "CorsConfigXML": "cors",
    "ReplicationConfigXML": "replication",
    "VersioningConfigXML": "versioning",
}
"""MinIO's names of documents, and the query that asks for each."""

_ALGORITHMS = ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256")
EXPORT = "iam-assets/"
EXPORT_BYTES_MAX = 256 * MIB
"""Unpacked: a small archive can hold more than any memory."""


class RemoteMinio:
    """A MinIO server; a `Source`. Close it, or use it in a `with`."""

    def __init__(self, profile: Profile, *, connections: int) -> None:
        """Ask who it is. Raises AccessDeniedError for wrong credentials, UnavailableError where nobody answers."""
        self._profile = profile
        self._client = _client(profile, connections)
        self._signed = SignedReader(profile)
        self._pause = cancellable_sleep(threading.Event())
        self._retry = RetryPolicy(self._pause)
        self._identity = self._deployment()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._signed.close()
        self._client.close()

    @property
    def identity(self) -> str:
        """The deployment's id, the same as in its folder; the endpoint of a server that tells none."""
        return self._identity

    def _deployment(self) -> str:
        try:
            self._client.list_buckets()
        except Exception as error:
            raise as_hosu_error(error, "import") from error
        status, body = self._signed.get(ADMIN + "info", {"metrics": "false"})
        with contextlib.suppress(ValueError, AttributeError):
            found = json.loads(body).get("deploymentID") if status == OK else None
            if isinstance(found, str) and found:
                return found
        return self._profile.endpoint.rstrip("/")

    def notes(self) -> Sequence[str]:
        """Return nothing: a server shows what it has."""
        return ()

    # Buckets

    def buckets(self) -> Sequence[SourceBucket]:
        """Return all buckets by name, with what is set on them."""
        try:
            found = self._asked(self._client.list_buckets)
        except Exception as error:
            raise as_hosu_error(error, "import") from error
        return [self._bucket(bucket["Name"]) for bucket in found.get("Buckets", [])]

    def _bucket(self, name: str) -> SourceBucket:
        given: dict[str, bytes] = {}
        problems = []
        for key, query in DOCUMENTS.items():
            try:
                given[key] = self._signed.document(f"/{name}", {query: ""}) or b""
            except SourceError as error:
                problems.append(f"its {query} cannot be read: {error}")
        try:
            given["QuotaConfigJSON"] = self._signed.document(ADMIN + "get-bucket-quota", {"bucket": name}) or b""
        except SourceError as error:
            problems.append(f"its quota cannot be read: {error}")
        bucket = bucket_of(name, given)
        return SourceBucket(
            name=name,
            versioning=bucket.versioning,
            quota_bytes=bucket.quota_bytes,
            documents=bucket.documents,
            problems=(*bucket.problems, *problems),
        )

    # Keys

    def keys(self, bucket: str, prefix: str = "") -> Iterator[SourceKey]:
        """Yield the keys below a prefix in order; raises SourceError where the listing breaks off."""
        name, versions = "", list[SourceVersion]()
        for key, version in self._listed(bucket, prefix):
            if key != name and versions:
                yield SourceKey(name, tuple(reversed(versions)))
                versions = []
            name = key
            versions.append(version)
        if versions:
            yield SourceKey(name, tuple(reversed(versions)))

    def _listed(self, bucket: str, prefix: str) -> Iterator[tuple[str, SourceVersion]]:
        """Yield versions and markers as they stand in the listing: by key, the newest first."""
        query = {"versions": "", "encoding-type": "url", "prefix": prefix}
        while True:
            body = self._signed.document(f"/{bucket}", query)
            if body is None:
                raise SourceError(f"bucket {bucket!r} is gone")
            try:
                page = parse(body, "ListVersionsResult")
                is_encoded = text(page, "EncodingType") == "url"
                for child in page:
                    if child.tag in {"Version", "DeleteMarker"}:
                        yield _entry(child, is_encoded=is_encoded)
                if text(page, "IsTruncated") != "true":
                    return
                marker = required_text(page, "NextKeyMarker")
            except (HosuError, ValueError) as error:
                raise SourceError(f"the listing cannot be read: {error}") from error
            place = (unquote_plus(marker) if is_encoded else marker, text(page, "NextVersionIdMarker") or "")
            if place == (query.get("key-marker"), query.get("version-id-marker")):
                raise SourceError(f"the listing does not get past {place[0]!r}")
            query["key-marker"], query["version-id-marker"] = place

    def describe(self, bucket: str, key: str, version: SourceVersion) -> SourceVersion:
        """Return a version with what HEAD says of it, and with its parts."""
        names: Any = {"Bucket": bucket, "Key": key, "VersionId": version.version_id}
        try:
            found = self._asked(self._client.head_object, ChecksumMode="ENABLED", **names)
            tags = self._tags(names) if found.get("TagCount") else {}
            parts = self._parts(names, version) if version.is_in_parts else ()
        except SourceError:
            raise
        except Exception as error:
            raise _refusal(error) from error
        headers = {name.lower(): value for name, value in found["ResponseMetadata"]["HTTPHeaders"].items()}
        return SourceVersion(
            version_id=version.version_id,
            modified_ms=version.modified_ms,
            size_bytes=found["ContentLength"],
            etag=version.etag,
            storage_class=version.storage_class,
            attributes=_attributes(headers, tags),
            checksum=_checksum(headers),
            parts=parts,
            has_opaque_etag=headers.get("x-amz-server-side-encryption") == "aws:kms",
        )

    def _tags(self, names: Mapping[str, Any]) -> dict[str, str]:
        answer = self._asked(self._client.get_object_tagging, **names)
        return {tag["Key"]: tag["Value"] for tag in answer["TagSet"]}

    def _parts(self, names: Mapping[str, Any], version: SourceVersion) -> tuple[SourcePart, ...]:
        """Return the parts of a version; of a server that does not tell, as many as its ETag says."""
        try:
            answer = self._asked(self._client.get_object_attributes, ObjectAttributes=["ObjectParts"], **names)
            listed = answer.get("ObjectParts", {}).get("Parts", [])
        except Exception as error:
            if is_transient(error):
                raise
            listed = []
        number = version.etag.rpartition("-")[2]
        if not number.isascii() or not number.isdigit() or not 0 < int(number[:6]) <= PARTS_MAX:
            raise SourceError(f"its ETag {version.etag!r} says it has {number} parts")
        count = int(number)
        if len(listed) != count:
            return tuple(SourcePart(number) for number in range(1, count + 1))
        return tuple(
            SourcePart(
                part["PartNumber"],
                part.get("Size", -1),
                next((part[name] for name in (f"Checksum{it}" for it in _ALGORITHMS) if part.get(name)), None),
            )
            for part in listed
        )

    def read(self, bucket: str, key: str, version: SourceVersion, part: SourcePart) -> Iterator[bytes]:
        """Yield the bytes of a part. A connection that breaks is made again, and goes on where it ended."""
        names: Any = {"Bucket": bucket, "Key": key, "VersionId": version.version_id}
        if version.is_in_parts:
            names["PartNumber"] = part.number
        done = attempt = 0
        while True:
            attempt += 1
            try:
                body = self._client.get_object(**names)["Body"]
                with contextlib.closing(body):
                    skip = done
                    for piece in body.iter_chunks(READ_BYTES):
                        fresh = piece[skip:]
                        skip = max(0, skip - len(piece))
                        done += len(fresh)
                        if fresh:
                            yield fresh
            except Exception as error:
                if attempt > RETRIES or not is_transient(error):
                    raise _refusal(error) from error
                self._pause(WAIT_S_FIRST * 2**attempt)
            else:
                return

    def _asked(self, call: Any, **arguments: Any) -> Any:  # noqa: ANN401 - any call of the client
        return self._retry.call(lambda: call(**arguments))

    # Accounts

    def accounts(self) -> SourceAccounts:
        """Return users, groups, policies and keys with their secrets, which the server tells root alone."""
        status, body = self._signed.get(ADMIN + "export-iam")
        if status != OK:
            return _no_accounts(
                f"the server does not hand them out (export-iam answers {status}): use root's credentials"
            )
        try:
            with zipfile.ZipFile(io.BytesIO(body)) as archive:
                if sum(entry.file_size for entry in archive.infolist()) > EXPORT_BYTES_MAX:
                    return _no_accounts("what the server hands out (export-iam) is larger than any should be")
                held = {name: json.loads(archive.read(name)) for name in archive.namelist() if name.endswith(".json")}
            return accounts_of(held, self._profile.access_key)
        except SourceError as error:
            return _no_accounts(str(error))
        except (zipfile.BadZipFile, ValueError, KeyError, TypeError, AttributeError) as error:
            # Of the error nothing but its kind is shown: it may quote a secret.
            return _no_accounts(f"what the server hands out (export-iam) cannot be read: {type(error).__name__}")


def _no_accounts(reason: str) -> SourceAccounts:
    return SourceAccounts(problems=(("accounts", "all", reason),))


def accounts_of(held: Mapping[str, Any], access_key: str) -> SourceAccounts:
    """Return the accounts in the documents of an export; `access_key` is root's, unless it is a user's."""
    users_held = held.get(EXPORT + "users.json") or {}
    attached = _mappings(held.get(EXPORT + "user_mappings.json"))
    of_groups = _mappings(held.get(EXPORT + "group_mappings.json"))
    users = tuple(
        SourceUser(name, given.get("secretKey", ""), is_on(given.get("status") or ""), attached.get(name, ()))
        for name, given in users_held.items()
    )
    groups = tuple(
        SourceGroup(name, tuple(given.get("members") or ()), of_groups.get(name, ()), is_on(given.get("status") or ""))
        for name, given in (held.get(EXPORT + "groups.json") or {}).items()
    )
    keys_held = held.get(EXPORT + "svcaccts.json") or {}
    keys = tuple(
        SourceServiceKey(
            access_key=name,
            secret=given.get("secretKey", ""),
            parent=given.get("parent", ""),
            policy=json.dumps(given["sessionPolicy"]) if given.get("sessionPolicy") else "",
            name=given.get("name") or "",
            description=given.get("description") or "",
            is_enabled=is_on(given.get("status") or ""),
            expires_ms=expiry_ms(given.get("expiration") or ""),
        )
        for name, given in keys_held.items()
    )
    strangers = sorted({*attached, *_mappings(held.get(EXPORT + "stsuser_mappings.json"))} - set(users_held))
    reason = "it belongs to a user of LDAP or OpenID: attach policies to a user of hosu's"
    return SourceAccounts(
        policies={name: json.dumps(policy) for name, policy in (held.get(EXPORT + "policies.json") or {}).items()},
        users=users,
        groups=groups,
        keys=keys,
        problems=tuple(("policy mapping", name, reason) for name in strangers),
        root="" if access_key in users_held or access_key in keys_held else access_key,
    )


def _client(profile: Profile, connections: int) -> "S3Client":
    import boto3
    from botocore.config import Config

    session = boto3.Session(
        aws_access_key_id=profile.access_key, aws_secret_access_key=profile.secret_key, region_name=profile.region
    )
    config = Config(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        max_pool_connections=connections,
        retries={"total_max_attempts": 1, "mode": "standard"},
        s3={"addressing_style": "path" if profile.path_style else "auto"},
        # The import compares bytes with what the server promises by itself, for every kind of object.
        response_checksum_validation="when_required",
        tcp_keepalive=True,
    )
    client: S3Client = session.client("s3", endpoint_url=profile.endpoint, config=config)
    return client


def _mappings(held: Mapping[str, Any] | None) -> dict[str, tuple[str, ...]]:
    return {name: policy_names(given.get("policy") or "") for name, given in (held or {}).items()}


def _entry(child: Element, *, is_encoded: bool) -> tuple[str, SourceVersion]:
    key = child.findtext("Key") or ""
    modified = datetime.fromisoformat(required_text(child, "LastModified"))
    is_marker = child.tag == "DeleteMarker"
    version = SourceVersion(
        version_id=text(child, "VersionId") or NULL_VERSION,
        modified_ms=round(modified.timestamp() * 1000),
        is_marker=is_marker,
        size_bytes=0 if is_marker else int(required_text(child, "Size")),
        etag=(text(child, "ETag") or "").strip('"'),
        storage_class=text(child, "StorageClass") or STANDARD,
    )
    return unquote_plus(key) if is_encoded else key, version


def _attributes(headers: Mapping[str, str], tags: dict[str, str]) -> Attributes:
    mode, until = headers.get("x-amz-object-lock-mode"), headers.get("x-amz-object-lock-retain-until-date")
    hold = headers.get("x-amz-object-lock-legal-hold", "")
    lock = None
    if (mode and until) or hold:
        until_ms = round(datetime.fromisoformat(until).timestamp() * 1000) if mode and until else 0
        lock = ObjectLock(LockMode(mode) if mode and until else None, until_ms, hold)
    metadata = {
        _utf_8(name[len(META_PREFIX) :]): _utf_8(value)
        for name, value in headers.items()
        if name.startswith(META_PREFIX)
    }
    return Attributes(
        {name: _utf_8(value) for name, value in headers.items() if name in HEADERS}, metadata, tags, lock=lock
    )


def _utf_8(value: str) -> str:
    """Return a header as its writer meant it: HTTP libraries take its bytes for Latin-1."""
    with contextlib.suppress(UnicodeError):
        return value.encode("latin-1").decode()
    return value


def _checksum(headers: Mapping[str, str]) -> Checksum | None:
    for algorithm in _ALGORITHMS:
        value = headers.get(f"x-amz-checksum-{algorithm.lower()}")
        if value:
            return Checksum(algorithm, headers.get("x-amz-checksum-type", "FULL_OBJECT"), value)
    return None


def _refusal(error: Exception) -> Exception:
    """Return why a version does not come; where the server is gone, why the whole import ends.

    A server that answers with a fault, or breaks off in the middle of a body, may do so for this one version.
    """
    from botocore import exceptions as boto

    found = as_hosu_error(error, "import")
    is_gone = isinstance(error, boto.EndpointConnectionError | boto.ConnectTimeoutError | boto.ProxyConnectionError)
    return found if is_gone else SourceError(found.message)
