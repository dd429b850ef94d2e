"""`hosu mb` and `hosu rb`, `hosu rm`: making and removing."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from hosu.cli import options

if TYPE_CHECKING:
    from hosu.cli.addresses import ObjectAddress
    from hosu.cli.session import Session
    from hosu.cli.transfer import Summary


def make_bucket(
    addresses: options.Addresses,
    ignore_existing: Annotated[
        bool, typer.Option("--ignore-existing", "-p", help="Succeed when the bucket is there already.")
    ] = False,
    region: Annotated[str | None, typer.Option("--region", help="Region of the new bucket.")] = None,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
    endpoint_url: options.Endpoint = None,
    profile: options.AwsProfile = None,
) -> None:
    """Make buckets."""
    with options.running(
        "mb", json_lines=json_lines, quiet=quiet, endpoint_url=endpoint_url, profile=profile
    ) as session:
        from hosu.cli.addresses import parse_bucket
        from hosu.cli.transfer import Summary

        summary = Summary()
        for bucket in [parse_bucket(text) for text in addresses]:
            _each(session, summary, "mb", bucket, lambda b: _make(session, b, region, ignore_existing))
        raise typer.Exit(summary.exit_code)


def _each(session: "Session", summary: "Summary", operation: str, bucket: "ObjectAddress", action: Any) -> None:  # noqa: ANN401 - a local callback
    from hosu.cli.faults import as_hosu_error
    from hosu.cli.transfer import fail

    try:
        action(bucket)
    except Exception as error:  # noqa: BLE001 - one bucket must not stop the others
        fail(session, summary, operation, str(bucket), as_hosu_error(error, bucket))


def _make(session: "Session", bucket: "ObjectAddress", region: str | None, ignore_existing: bool) -> None:
    from hosu.cli.faults import error_code
    from hosu.kernel.errors import ConflictError, ErrorKind

    client = session.endpoints.client(bucket)
    arguments: dict[str, Any] = {"Bucket": bucket.bucket}
    where = region or client.meta.region_name
    if where != "us-east-1":  # AWS refuses to be told its default region
        arguments["CreateBucketConfiguration"] = {"LocationConstraint": where}
    # us-east-1 answers 200 for a bucket one has already, so the question must be asked before.
    existed = _exists(session, bucket)
    if not existed:
        try:
            session.retry.call(lambda: client.create_bucket(**arguments))
        except Exception as error:
            if error_code(error) != "BucketAlreadyOwnedByYou":
                raise
            existed = True
    if existed and not ignore_existing:
        message = f"{bucket} is there already: use --ignore-existing to accept it"
        raise ConflictError(ErrorKind.BUCKET_EXISTS, message)
    fields = {"operation": "mb", "address": str(bucket), "created": not existed}
    session.output.event(fields, f"{bucket} is there already" if existed else f"made {bucket}")


def _exists(session: "Session", bucket: "ObjectAddress") -> bool:
    from hosu.cli.faults import error_status

    client = session.endpoints.client(bucket)
    try:
        session.retry.call(lambda: client.head_bucket(Bucket=bucket.bucket))
    except Exception as error:
        if error_status(error) in {400, 403, 404}:
            return False
        raise
    return True


def remove_bucket(
    addresses: options.Addresses,
    force: Annotated[
        bool, typer.Option("--force", help="Empty it first: every object, version and upload under way.")
    ] = False,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
    endpoint_url: options.Endpoint = None,
    profile: options.AwsProfile = None,
    jobs: options.Jobs = options.JOBS_DEFAULT,
) -> None:
    """Remove buckets."""
    with options.running(
        "rb", json_lines=json_lines, quiet=quiet, endpoint_url=endpoint_url, profile=profile, jobs=jobs
    ) as session:
        from hosu.cli.addresses import parse_bucket
        from hosu.cli.transfer import Summary

        summary = Summary()
        for bucket in [parse_bucket(text) for text in addresses]:
            _each(session, summary, "rb", bucket, lambda b: _remove(session, summary, b, force))
        raise typer.Exit(summary.exit_code)


def _remove(session: "Session", summary: "Summary", bucket: "ObjectAddress", force: bool) -> None:
    from hosu.cli.removal import empty_bucket

    if force:
        emptied = empty_bucket(session, "rb", bucket)
        summary.failures += emptied.failures
        if emptied.failures:
            return
    client = session.endpoints.client(bucket)
    session.retry.call(lambda: client.delete_bucket(Bucket=bucket.bucket))
    session.output.event({"operation": "rb", "address": str(bucket)}, f"removed {bucket}")


def remove(
    addresses: options.Addresses,
    recursive: options.Recursive = False,
    versions: Annotated[
        bool, typer.Option("--versions", help="Delete every version and delete marker, for good.")
    ] = False,
    version_id: Annotated[str | None, typer.Option("--version-id", help="Delete this version, for good.")] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Do not ask, and accept what is not there.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be deleted.")] = False,
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
    endpoint_url: options.Endpoint = None,
    profile: options.AwsProfile = None,
    jobs: options.Jobs = options.JOBS_DEFAULT,
) -> None:
    """Delete objects."""
    with options.running(
        "rm", json_lines=json_lines, quiet=quiet, endpoint_url=endpoint_url, profile=profile, jobs=jobs
    ) as session:
        from hosu.cli.addresses import parse_object
        from hosu.cli.faults import UsageFault
        from hosu.cli.transfer import Summary, report

        targets = [parse_object(text) for text in addresses]
        for target in targets:
            if not target.bucket:
                raise UsageFault(f"{target} names no bucket: write {target}BUCKET/KEY")
            if not recursive and target.is_folder and not (target.key and versions):
                raise UsageFault(f"{target} is a prefix: add --recursive to delete everything below it")
        if version_id is not None and (recursive or versions or len(targets) > 1):
            raise UsageFault("--version-id is for one object, without --recursive and --versions")
        if recursive and not force and not dry_run:
            options.confirmed(f"Delete everything below {', '.join(str(target.folder) for target in targets)}?")
        summary = Summary()
        for target in targets:
            _each(
                session,
                summary,
                "rm",
                target,
                lambda t: _remove_below(session, summary, t, recursive, versions, version_id, force, dry_run),
            )
        raise typer.Exit(report(session, "rm", summary))


def _remove_below(
    session: "Session",
    summary: "Summary",
    target: "ObjectAddress",
    recursive: bool,
    versions: bool,
    version_id: str | None,
    force: bool,
    dry_run: bool,
) -> None:
    from hosu.cli.remote import head, list_versions, objects_below
    from hosu.cli.removal import below, delete_all
    from hosu.kernel.errors import ErrorKind, NotFoundError

    if recursive:
        entries = (list_versions if versions else objects_below)(session, target.folder)
        doomed = below(entries, with_versions=versions)
    elif versions:
        same_key = (entry for entry in list_versions(session, target) if entry.address.key == target.key)
        doomed = below(same_key, with_versions=True)
    else:
        if not force and version_id is None:
            head(session, target)  # a deletion answers 204 for what never was: people want to hear of a typing error
        doomed = iter([(target, version_id)])
    if dry_run:
        for address, version in doomed:
            fields = {"operation": "rm", "address": str(address), "version_id": version, "dry_run": True}
            session.output.row(fields, f"would delete {address}" + (f" version {version}" if version else ""))
        return
    done = delete_all(session, "rm", doomed)
    summary.done += done.done
    summary.failures += done.failures
    if not force and done.done == 0 and not done.failures:
        message = f"{target}: nothing to delete there: `hosu ls` shows what is there, --force accepts it"
        raise NotFoundError(ErrorKind.OBJECT_NOT_FOUND, message)
