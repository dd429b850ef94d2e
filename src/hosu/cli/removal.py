"""Deleting many objects in few requests, with each that stays named."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from hosu.cli.addresses import ObjectAddress
from hosu.cli.faults import as_hosu_error, family_of
from hosu.cli.remote import ObjectEntry, list_uploads, list_versions
from hosu.cli.session import Session
from hosu.cli.transfer import Summary, fail
from hosu.kernel.errors import HosuError
from hosu.kernel.limits import DELETE_KEYS_MAX

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import ObjectIdentifierTypeDef

Doomed = tuple[ObjectAddress, str | None]
"""An object to delete, and the version to delete for good (None: the key, which may leave a delete marker)."""


def delete_all(session: Session, operation: str, doomed: Iterable[Doomed]) -> Summary:
    """Delete everything, a thousand per request and `session.jobs` requests at a time."""
    summary = Summary()
    with ThreadPoolExecutor(session.jobs, "delete") as pool:
        for group in _groups(doomed, session.jobs * DELETE_KEYS_MAX):
            batches = list(_groups(group, DELETE_KEYS_MAX))
            for batch, errors in zip(batches, pool.map(lambda batch: _delete(session, batch), batches), strict=True):
                _tell(session, summary, operation, batch, errors)
    return summary


def _tell(
    session: Session, summary: Summary, operation: str, batch: list[Doomed], errors: dict[Doomed, HosuError]
) -> None:
    for item in batch:
        address, version_id = item
        if item in errors:
            fail(session, summary, operation, str(address), errors[item])
            continue
        summary.done += 1
        fields = {"operation": operation, "address": str(address), "version_id": version_id}
        session.output.event(fields, f"deleted {address}" + (f" version {version_id}" if version_id else ""))


def _groups(items: Iterable[Doomed], size: int) -> Iterator[list[Doomed]]:
    group: list[Doomed] = []
    for item in items:
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def _delete(session: Session, batch: list[Doomed]) -> dict[Doomed, HosuError]:
    """Delete one batch of one bucket and return what failed."""
    errors: dict[Doomed, HosuError] = {}
    # XML cannot carry most control characters, not even escaped: such keys go in a URL, one by one.
    plain = [item for item in batch if _fits_xml(item[0].key)]
    for item in batch:
        if not _fits_xml(item[0].key):
            try:
                delete_one(session, *item)
            except Exception as error:  # noqa: BLE001 - one key must not stop the others
                errors[item] = as_hosu_error(error, item[0])
    if not plain:
        return errors
    first = plain[0][0]
    client = session.endpoints.client(first)
    objects: list[ObjectIdentifierTypeDef] = [
        {"Key": address.key} if version is None else {"Key": address.key, "VersionId": version}
        for address, version in plain
    ]
    try:
        session.raise_if_cancelled()
        answer = session.retry.call(
            lambda: client.delete_objects(Bucket=first.bucket, Delete={"Objects": objects, "Quiet": True})
        )
    except Exception as error:  # noqa: BLE001 - the other batches go on
        return errors | {item: as_hosu_error(error, item[0]) for item in plain}
    for refused in answer.get("Errors", []):
        address = first.with_key(refused.get("Key", ""))
        code = refused.get("Code", "")
        family, kind = family_of(code)
        fault = family(kind, f"{address}: {refused.get('Message', '')} ({code}): it was not deleted", code=code)
        for item in plain:
            if item[0] == address and refused.get("VersionId") in {None, "", item[1]}:
                errors[item] = fault
    return errors


def delete_one(session: Session, address: ObjectAddress, version_id: str | None = None) -> None:
    """Delete one object or one version of it."""
    client = session.endpoints.client(address)
    arguments = {"Bucket": address.bucket, "Key": address.key}
    if version_id is not None:
        arguments["VersionId"] = version_id
    session.retry.call(lambda: client.delete_object(**arguments))  # type: ignore[arg-type]


def _fits_xml(key: str) -> bool:
    return all(character >= " " for character in key) and "\ufffe" not in key and "\uffff" not in key


def below(entries: Iterable[ObjectEntry], *, with_versions: bool) -> Iterator[Doomed]:
    """Return what deleting these entries means."""
    for entry in entries:
        yield entry.address, entry.version_id if with_versions else None


def empty_bucket(session: Session, operation: str, bucket: ObjectAddress) -> Summary:
    """Delete every version, delete marker and open upload of a bucket."""
    client = session.endpoints.client(bucket)
    summary = delete_all(session, operation, below(list_versions(session, bucket), with_versions=True))
    for key, upload_id in list_uploads(session, bucket):
        session.retry.call(
            lambda: client.abort_multipart_upload(Bucket=bucket.bucket, Key=key, UploadId=upload_id)  # noqa: B023 - called at once
        )
    return summary
