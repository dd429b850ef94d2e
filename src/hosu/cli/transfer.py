"""Running many transfers side by side: one that fails is named and does not stop the others."""

import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from hosu.cli import copying, download, upload
from hosu.cli.addresses import Address, LocalAddress, ObjectAddress, StreamAddress, path_below
from hosu.cli.faults import CancelledError, FileChangedError, UsageFault, as_hosu_error
from hosu.cli.localfiles import FileIdentity, LocalFault, remove_file, walk
from hosu.cli.output import Bar, Screen, human_bytes
from hosu.cli.remote import ObjectEntry, objects_below
from hosu.cli.session import Session
from hosu.cli.upload import PutOptions
from hosu.kernel.errors import ErrorKind, HosuError, InvalidInputError, NotFoundError

_AHEAD = 4
"""Planned transfers per job: enough to keep every job busy, few enough to plan millions in little memory."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """One thing to move from `source` to `target`; `entry` is what a listing said about a source object."""

    source: Address
    target: Address
    size_bytes: int | None = None
    entry: ObjectEntry | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that cannot be moved, found while planning."""

    address: str
    error: Exception


@dataclass(slots=True)
class Summary:
    """How a command went."""

    done: int = 0
    size_bytes: int = 0
    failures: list[tuple[str, HosuError]] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0 when all went well, 1 when something failed."""
        return 1 if self.failures else 0


def move_bytes(session: Session, transfer: Transfer, options: PutOptions, bar: Bar) -> int:
    """Carry out one transfer and return how many bytes it moved."""
    source, target = transfer.source, transfer.target
    match source, target:
        case LocalAddress(), ObjectAddress():
            return upload.upload_file(session, source.path, target, options, bar.advance)[1]
        case ObjectAddress(), LocalAddress():
            if source.key.endswith("/") and transfer.size_bytes == 0:
                target.path.mkdir(parents=True, exist_ok=True)
                return 0
            return download.download(session, source, target.path, bar.advance, entry=transfer.entry).size_bytes
        case ObjectAddress(), ObjectAddress():
            return copying.copy(session, source, target, options, bar.advance, transfer.entry)[1]
        case StreamAddress(), ObjectAddress():
            return upload.upload_stream(session, sys.stdin.buffer, target, options, bar.advance)[1]
    raise UsageFault(f"{source} to {target}: one of the two must be at an S3 endpoint")


def run_transfers(
    session: Session,
    operation: str,
    planned: Iterable[Transfer | Fault],
    options: PutOptions,
    after: Callable[[Transfer], None] | None = None,
) -> Summary:
    """Carry out transfers, `session.jobs` at a time, as they are planned; `after` runs when one is done."""
    summary = Summary()
    with session.output.bars(operation) as screen, ThreadPoolExecutor(session.jobs, "file") as pool:
        running: dict[Future[int], Transfer] = {}
        try:
            for item in planned:
                if isinstance(item, Fault):
                    fail(session, summary, operation, item.address, as_hosu_error(item.error, item.address))
                    continue
                running[pool.submit(_carry_out, session, item, options, screen, after)] = item
                if len(running) >= _AHEAD * session.jobs:
                    _settle(session, summary, operation, running, all_of_them=False)
            _settle(session, summary, operation, running, all_of_them=True)
        except BaseException:
            session.cancel.set()
            for future in running:
                future.cancel()
            raise
    return summary


def _carry_out(
    session: Session,
    transfer: Transfer,
    options: PutOptions,
    screen: Screen | None,
    after: Callable[[Transfer], None] | None,
) -> int:
    session.raise_if_cancelled()
    bar = screen.bar(str(transfer.source), transfer.size_bytes) if screen is not None else Bar(None, None)
    try:
        before = _identity(transfer.source)
        count_bytes = move_bytes(session, transfer, options, bar)
        if after is not None:
            if _identity(transfer.source) != before:
                raise FileChangedError(transfer.source)
            after(transfer)
    finally:
        bar.done()
    return count_bytes


def _identity(source: Address) -> FileIdentity | None:
    return FileIdentity.of(source.path.stat()) if isinstance(source, LocalAddress) else None


def _settle(
    session: Session, summary: Summary, operation: str, running: dict[Future[int], Transfer], *, all_of_them: bool
) -> None:
    """Collect what has ended: at least one transfer, or all of them."""
    while running:
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            transfer = running.pop(future)
            try:
                count_bytes = future.result()
            except Exception as error:  # noqa: BLE001 - whatever one file met must not stop the others
                fail(session, summary, operation, str(transfer.source), _named(error, transfer))
                continue
            summary.done += 1
            summary.size_bytes += count_bytes
            fields = {
                "operation": operation,
                "source": str(transfer.source),
                "target": str(transfer.target),
                "size_bytes": count_bytes,
            }
            session.output.event(fields, f"{transfer.source} -> {transfer.target}")
        if not all_of_them:
            return


def _named(error: Exception, transfer: Transfer) -> HosuError:
    """Turn a failure into an error that names the end of the transfer that failed."""
    if isinstance(error, OSError) and isinstance(transfer.target, LocalAddress):
        return as_hosu_error(error, transfer.target)
    if isinstance(error, OSError) and isinstance(transfer.source, LocalAddress):
        return as_hosu_error(error, transfer.source)
    if isinstance(transfer.target, ObjectAddress) and isinstance(transfer.source, LocalAddress | StreamAddress):
        return as_hosu_error(error, transfer.target)
    return as_hosu_error(error, transfer.source)


def fail(session: Session, summary: Summary, operation: str, address: str, error: HosuError) -> None:
    """Count a failure and name it at once; what a stopped command did not get to is not named one by one."""
    if isinstance(error, CancelledError) and summary.failures and isinstance(summary.failures[-1][1], CancelledError):
        return
    summary.failures.append((address, error))
    session.output.failure(error, operation, address)


def report(session: Session, operation: str, summary: Summary) -> int:
    """Say how it went and return the exit status: every failure is named again where a reader looks last."""
    fields = {
        "operation": "summary",
        "command": operation,
        "done": summary.done,
        "failed": len(summary.failures),
        "size_bytes": summary.size_bytes,
    }
    if session.output.json_lines:
        session.output.event(fields, "")
    elif summary.failures:
        session.output.complaint(f"hosu {operation}: {summary.done} done, {len(summary.failures)} failed:")
        for address, error in summary.failures:
            session.output.complaint(f"  {address}: {error.kind}")
    elif summary.done > 1:
        session.output.event(fields, f"{summary.done} done, {human_bytes(summary.size_bytes)}")
    return summary.exit_code


def plan(session: Session, sources: list[Address], target: Address, *, recursive: bool) -> Iterator[Transfer | Fault]:
    """Plan the transfers of `cp` and `mv`; raise UsageFault for a line that cannot be meant."""
    if len(sources) > 1 and not _takes_names(target):
        raise UsageFault(f"several sources need a folder as target: write {target}/")
    for source in sources:
        _refuse_pointless(session, source, target, recursive=recursive)
    return _planned(session, sources, target, recursive=recursive)


def _planned(
    session: Session, sources: list[Address], target: Address, *, recursive: bool
) -> Iterator[Transfer | Fault]:
    for source in sources:
        try:
            if recursive and not isinstance(source, StreamAddress):
                yield from _below(session, source, target)
            else:
                yield _single(source, target)
        except Exception as error:  # noqa: BLE001 - one source must not stop the others
            yield Fault(str(source), error)


def _takes_names(target: Address) -> bool:
    return not isinstance(target, StreamAddress) and target.is_folder


def _refuse_pointless(session: Session, source: Address, target: Address, *, recursive: bool) -> None:
    if isinstance(source, LocalAddress) and isinstance(target, LocalAddress):
        raise UsageFault(f"{source} and {target} are both of this machine: use cp or mv of the shell")
    if isinstance(target, ObjectAddress) and not target.bucket:
        raise UsageFault(f"{target} names no bucket: write {target}BUCKET/")
    if isinstance(source, ObjectAddress) and not source.bucket:
        raise UsageFault(f"{source} names no bucket: write {source}BUCKET/")
    if isinstance(source, LocalAddress) and source.path.is_dir() and not recursive:
        raise UsageFault(f"{source} is a folder: add --recursive")
    if isinstance(source, ObjectAddress) and source.is_folder and not recursive:
        raise UsageFault(f"{source} is a prefix: add --recursive, or name an object")
    if isinstance(source, StreamAddress) and (recursive or _takes_names(target)):
        raise UsageFault(f"standard input has no name: write the whole key, such as {target}/NAME")
    if isinstance(source, ObjectAddress) and isinstance(target, ObjectAddress):
        _refuse_overlap(session, source, target, recursive=recursive)


def _refuse_overlap(session: Session, source: ObjectAddress, target: ObjectAddress, *, recursive: bool) -> None:
    """Refuse what would do nothing (a copy onto itself), delete (a move onto itself) or never end (below itself)."""
    if source.bucket != target.bucket or not session.endpoints.are_one(source, target):
        return
    if recursive:
        overlaps = target.folder.key.startswith(source.folder.key)
    else:
        single = _single(source, target).target
        overlaps = isinstance(single, ObjectAddress) and single.key == source.key
    if overlaps:
        raise UsageFault(f"{target} is, or is below, {source}: choose a target outside it")


def _single(source: Address, target: Address) -> Transfer:
    name = source.path.name if isinstance(source, LocalAddress) else getattr(source, "name", "")
    if isinstance(target, ObjectAddress) and target.is_folder:
        target = target.with_key(target.key + name)
    elif isinstance(target, LocalAddress) and target.is_folder:
        target = LocalAddress(path_below(target.path, name))
    size_bytes = None
    if isinstance(source, LocalAddress):
        try:
            status = source.path.stat()
        except FileNotFoundError as error:
            raise NotFoundError(ErrorKind.INVALID_ARGUMENT, f"{source} does not exist: check the path") from error
        if not stat.S_ISREG(status.st_mode):
            raise InvalidInputError(ErrorKind.INVALID_ARGUMENT, f"{source} is not a file: use `-` to read a stream")
        size_bytes = status.st_size
    return Transfer(source, target, size_bytes)


def _below(session: Session, source: Address, target: Address) -> Iterator[Transfer | Fault]:
    if isinstance(source, LocalAddress):
        assert isinstance(target, ObjectAddress)
        if not source.path.is_dir():
            yield _single(source, target)
            return
        for found in walk(source.path):
            if isinstance(found, LocalFault):
                yield Fault(str(found.path), found.error)
            else:
                yield Transfer(LocalAddress(found.path), target.child(found.relative), found.size_bytes)
        return
    assert isinstance(source, ObjectAddress)
    prefix = source.folder
    nothing = True
    for entry in objects_below(session, prefix):
        nothing = False
        relative = entry.address.key.removeprefix(prefix.key)
        if isinstance(target, ObjectAddress):
            yield Transfer(entry.address, target.child(relative), entry.size_bytes, entry)
            continue
        assert isinstance(target, LocalAddress)
        marker = entry.size_bytes == 0 and relative.rstrip("/") != relative
        try:
            path = target.path if relative == "" else path_below(target.path, relative[:-1] if marker else relative)
        except InvalidInputError as error:
            yield Fault(str(entry.address), error)
            continue
        yield Transfer(entry.address, LocalAddress(path), entry.size_bytes, entry)
    if nothing:
        message = f"{prefix}: there is no object below it: `hosu ls` shows what is there"
        yield Fault(str(source), NotFoundError(ErrorKind.OBJECT_NOT_FOUND, message))


def removing_source(session: Session, roots: list[Address]) -> Callable[[Transfer], None]:
    """Return what `mv` does after each transfer: remove the source, unless it changed since it was read."""
    folders = [root.path for root in roots if isinstance(root, LocalAddress)]

    def remove(transfer: Transfer) -> None:
        source = transfer.source
        if isinstance(source, ObjectAddress):
            client = session.endpoints.client(source)
            session.retry.call(lambda: client.delete_object(Bucket=source.bucket, Key=source.key))
        elif isinstance(source, LocalAddress):
            root = next((folder for folder in folders if source.path.is_relative_to(folder)), None)
            remove_file(source.path, root)

    return remove
