"""`hosu ls`, `hosu du`, `hosu stat` and `hosu cat`: looking, without changing anything."""

import base64
import contextlib
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hosu.cli import options

if TYPE_CHECKING:
    from hosu.cli.addresses import ObjectAddress
    from hosu.cli.remote import FolderEntry, ObjectEntry
    from hosu.cli.session import Session

_RANGE = re.compile(r"^(?:[0-9]+-[0-9]*|-[0-9]+)$")
CAT_BYTES = 256 * 1024
"""Bytes per piece of `cat`, and per line of `cat --json`."""

LocalOrRemote = Annotated[
    list[str] | None, typer.Argument(metavar="[ADDRESS...]", help="hosu://PROFILE[/BUCKET[/PREFIX]] or s3://….")
]


def list_(
    addresses: LocalOrRemote = None,
    recursive: options.Recursive = False,
    versions: Annotated[bool, typer.Option("--versions", help="Every version and delete marker.")] = False,
    summarize: Annotated[bool, typer.Option("--summarize", help="End with how many and how large.")] = False,
    exact: Annotated[bool, typer.Option("--bytes", help="Sizes in bytes.")] = False,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
    endpoint_url: options.Endpoint = None,
    profile: options.AwsProfile = None,
) -> None:
    """List buckets, objects and versions (default: the buckets of hosu://local)."""
    with options.running(
        "ls", json_lines=json_lines, quiet=quiet, endpoint_url=endpoint_url, profile=profile
    ) as session:
        from hosu.cli.addresses import parse_object

        count = size_bytes = 0
        for address in [parse_object(text) for text in addresses or ["hosu://local"]]:
            if not address.bucket:
                _list_buckets(session, address)
                continue
            for entry in _entries(session, address, recursive=recursive, versions=versions):
                count, size_bytes = count + 1, size_bytes + getattr(entry, "size_bytes", 0)
                _show(session, address, entry, versions=versions, exact=exact)
        if summarize:
            fields = {"operation": "ls", "type": "summary", "count": count, "size_bytes": size_bytes}
            session.output.row(fields, f"total {count}, {_size(size_bytes, exact=exact)}")


def _list_buckets(session: "Session", address: "ObjectAddress") -> None:
    from hosu.cli.addresses import ObjectAddress
    from hosu.cli.remote import list_buckets

    for name, created_ns in list_buckets(session, address):
        bucket = ObjectAddress(address.profile, name)
        fields = {
            "operation": "ls",
            "type": "bucket",
            "address": str(bucket),
            "name": name,
            "created": _iso(created_ns),
        }
        session.output.row(fields, f"{_when(created_ns)}  {'':>12}  {name}/")


def _entries(
    session: "Session", address: "ObjectAddress", *, recursive: bool, versions: bool
) -> "Iterator[ObjectEntry | FolderEntry]":
    from hosu.cli.remote import FolderEntry, list_objects, list_versions
    from hosu.kernel.errors import ErrorKind, NotFoundError

    if versions:
        for version in list_versions(session, address):
            if recursive or address.is_folder or version.address.key == address.key:
                yield version
        return
    if address.is_folder or recursive:
        yield from list_objects(session, address.folder, recursive=recursive)
        return
    # A name without a slash: the object of that name, or what is below it when it is a folder.
    found = False
    for entry in list_objects(session, address, recursive=False):
        if entry.address.key == address.key:
            found = True
            yield entry
        elif isinstance(entry, FolderEntry) and entry.address.key == address.folder.key:
            found = True
            yield from list_objects(session, address.folder, recursive=False)
    if not found:
        message = f"{address}: there is no such object or prefix: `hosu ls {address.with_key('')}` shows what is there"
        raise NotFoundError(ErrorKind.OBJECT_NOT_FOUND, message)


def _show(
    session: "Session", parent: "ObjectAddress", entry: "ObjectEntry | FolderEntry", *, versions: bool, exact: bool
) -> None:
    from hosu.cli.remote import FolderEntry

    name = entry.address.key.removeprefix(parent.folder.key) or entry.address.name
    fields: dict[str, Any] = {"operation": "ls", "address": str(entry.address), "key": entry.address.key}
    if isinstance(entry, FolderEntry):
        session.output.row({**fields, "type": "folder"}, f"{'':19}  {'':>12}  {name}")
        return
    kind = "delete-marker" if entry.is_delete_marker else "version" if versions else "object"
    fields |= {
        "type": kind,
        "size_bytes": entry.size_bytes,
        "modified": _iso(entry.modified_ns),
        "etag": entry.etag,
        "storage_class": entry.storage_class,
    }
    text = f"{_when(entry.modified_ns)}  {_size(entry.size_bytes, exact=exact):>12}  {name}"
    if versions:
        fields |= {"version_id": entry.version_id, "is_latest": entry.is_latest}
        marks = [mark for mark, holds in (("latest", entry.is_latest), ("deleted", entry.is_delete_marker)) if holds]
        text = "  ".join([text, entry.version_id or "null", *marks])
    session.output.row(fields, text)


def _size(size_bytes: int, *, exact: bool) -> str:
    from hosu.cli.output import human_bytes

    return str(size_bytes) if exact else human_bytes(size_bytes)


def _iso(moment_ns: int) -> str:
    return datetime.fromtimestamp(moment_ns / 1e9, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _when(moment_ns: int) -> str:
    return datetime.fromtimestamp(moment_ns / 1e9, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def disk_usage(
    addresses: options.Addresses,
    depth: Annotated[int, typer.Option("--depth", "-d", min=0, help="Levels of folders with a line of their own.")] = 0,
    versions: Annotated[bool, typer.Option("--versions", help="Count every version.")] = False,
    exact: Annotated[bool, typer.Option("--bytes", help="Sizes in bytes.")] = False,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
    endpoint_url: options.Endpoint = None,
    profile: options.AwsProfile = None,
) -> None:
    """Add up sizes below addresses."""
    with options.running(
        "du", json_lines=json_lines, quiet=quiet, endpoint_url=endpoint_url, profile=profile
    ) as session:
        from hosu.cli.addresses import ObjectAddress, parse_object
        from hosu.cli.remote import list_buckets, list_versions, objects_below

        roots: list[ObjectAddress] = []
        for address in [parse_object(text) for text in addresses]:
            names = [address.bucket] if address.bucket else [name for name, _ in list_buckets(session, address)]
            roots += [ObjectAddress(address.profile, name, address.key) for name in names]
        for root in roots:
            totals: dict[str, list[int]] = {"": [0, 0]}
            for entry in (list_versions if versions else objects_below)(session, root.folder):
                folders = entry.address.key.removeprefix(root.folder.key).split("/")[:-1][:depth]
                for level in range(len(folders) + 1):
                    total = totals.setdefault("".join(f"{folder}/" for folder in folders[:level]), [0, 0])
                    total[0] += 1
                    total[1] += entry.size_bytes
            for name, (count, size_bytes) in sorted(totals.items(), key=lambda item: (item[0] == "", item[0])):
                where = str(root.folder) + name
                fields = {"operation": "du", "address": where, "objects": count, "size_bytes": size_bytes}
                session.output.row(fields, f"{_size(size_bytes, exact=exact):>12}  {count:>9} objects  {where}")


def stat(
    addresses: options.Addresses,
    version_id: Annotated[str | None, typer.Option("--version-id", help="Show this version.")] = None,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
    endpoint_url: options.Endpoint = None,
    profile: options.AwsProfile = None,
) -> None:
    """Show what is known about objects and buckets."""
    with options.running(
        "stat", json_lines=json_lines, quiet=quiet, endpoint_url=endpoint_url, profile=profile
    ) as session:
        from hosu.cli.addresses import parse_object
        from hosu.cli.faults import UsageFault, as_hosu_error
        from hosu.cli.transfer import Summary, fail

        summary = Summary()
        targets = [parse_object(text) for text in addresses]
        for address in targets:
            if not address.bucket:
                raise UsageFault(f"{address} names no bucket: write {address}BUCKET or {address}BUCKET/KEY")
        for address in targets:
            try:
                facts = _object_facts(session, address, version_id) if address.key else _bucket_facts(session, address)
            except Exception as error:  # noqa: BLE001 - one address must not stop the others
                fail(session, summary, "stat", str(address), as_hosu_error(error, address))
                continue
            lines = [f"{name:<16}{value}" for name, value in facts.items() if value not in (None, "", {})]
            text = "\n".join([str(address), *(f"  {_one_line(line)}" for line in lines)])
            session.output.row_lines({"operation": "stat", "address": str(address), **facts}, text)
        raise typer.Exit(summary.exit_code)


def _one_line(text: str) -> str:
    from hosu.cli.output import printable

    return printable(text)


def _bucket_facts(session: "Session", bucket: "ObjectAddress") -> dict[str, Any]:
    client = session.endpoints.client(bucket)
    session.retry.call(lambda: client.head_bucket(Bucket=bucket.bucket))
    location = session.retry.call(lambda: client.get_bucket_location(Bucket=bucket.bucket))
    versioning = session.retry.call(lambda: client.get_bucket_versioning(Bucket=bucket.bucket))
    return {
        "type": "bucket",
        "region": location.get("LocationConstraint") or "us-east-1",
        "versioning": versioning.get("Status", "never enabled"),
    }


def _object_facts(session: "Session", address: "ObjectAddress", version_id: str | None) -> dict[str, Any]:
    from hosu.cli.digests import CHECKSUM_FIELDS
    from hosu.cli.remote import entry_of, head

    answer = head(session, address, version_id)
    entry = entry_of(address, answer)
    return {
        "type": "object",
        "size_bytes": entry.size_bytes,
        "modified": _iso(entry.modified_ns),
        "etag": entry.etag,
        "version_id": entry.version_id,
        "content_type": answer.get("ContentType"),
        "content_encoding": answer.get("ContentEncoding"),
        "storage_class": entry.storage_class,
        "checksums": {name.removeprefix("Checksum"): answer[name] for name in CHECKSUM_FIELDS if answer.get(name)},
        "metadata": answer.get("Metadata", {}),
    }


def concatenate(
    addresses: options.Addresses,
    span: Annotated[
        str | None, typer.Option("--range", metavar="FROM-TO", help="Bytes to print: 0-99, 100- or -100.")
    ] = None,
    version_id: Annotated[str | None, typer.Option("--version-id", help="Print this version.")] = None,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
    endpoint_url: options.Endpoint = None,
    profile: options.AwsProfile = None,
) -> None:
    """Print the bytes of objects."""
    with options.running(
        "cat", json_lines=json_lines, quiet=quiet, endpoint_url=endpoint_url, profile=profile
    ) as session:
        from hosu.cli.addresses import parse_object
        from hosu.cli.faults import UsageFault

        if span is not None and not _RANGE.match(span):
            raise UsageFault(f"--range {span!r} is not a range: write 0-99, 100- or -100")
        targets = [parse_object(text) for text in addresses]
        for address in targets:
            if not address.key:
                raise UsageFault(f"{address} is not an object: write {address}KEY")
        for address in targets:
            offset = 0
            for piece in read_object(session, address, span, version_id):
                if json_lines:
                    body = base64.b64encode(piece).decode()
                    fields = {"operation": "cat", "address": str(address), "offset": offset, "body_base64": body}
                    session.output.row(fields, "")
                else:
                    sys.stdout.buffer.write(piece)
                offset += len(piece)
        sys.stdout.flush()


def read_object(
    session: "Session", address: "ObjectAddress", span: str | None = None, version_id: str | None = None
) -> Iterator[bytes]:
    """Yield the bytes of an object, going on behind the last one when a connection breaks."""
    client = session.endpoints.client(address)
    arguments: dict[str, Any] = {"Bucket": address.bucket, "Key": address.key}
    if version_id is not None:
        arguments["VersionId"] = version_id
    if span is not None:
        arguments["Range"] = f"bytes={span}"
    first = session.retry.call(lambda: client.get_object(**arguments))
    start = (
        int(first["ContentRange"].split(" ")[1].split("-")[0]) if span is not None and "ContentRange" in first else 0
    )
    end, position = start + first["ContentLength"], start
    body: Any = first["Body"]

    def read() -> bytes:
        nonlocal body
        if body is None:
            pinned = {**arguments, "IfMatch": first["ETag"], "Range": f"bytes={position}-{end - 1}"}
            body = client.get_object(**pinned)["Body"]
        try:
            piece: bytes = body.read(min(CAT_BYTES, end - position))
        except BaseException:
            with contextlib.suppress(Exception):
                body.close()
            body = None
            raise
        if not piece:
            body = None
            raise ConnectionError(f"the connection ended at byte {position} of {end}")
        return piece

    while position < end:
        session.raise_if_cancelled()
        piece = session.retry.call(read)
        yield piece
        position += len(piece)
