"""`hosu sync`: make one folder or prefix like another, by walking both in key order side by side."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import chain
from pathlib import Path

from hosu.cli.addresses import Address, LocalAddress, ObjectAddress, path_below
from hosu.cli.digests import expected_digest, file_digest, file_has_etag, parts_of_etag
from hosu.cli.faults import UsageFault, as_hosu_error
from hosu.cli.localfiles import LocalFault, remove_file, walk
from hosu.cli.remote import ObjectEntry, head, objects_below
from hosu.cli.removal import delete_all
from hosu.cli.session import Session
from hosu.cli.transfer import Fault, Summary, Transfer, fail, run_transfers
from hosu.cli.upload import PutOptions, part_bytes_for
from hosu.kernel.errors import CorruptError, ErrorKind, InvalidInputError

_SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """What a sync compares, leaves alone and removes."""

    delete: bool = False
    dry_run: bool = False
    checksum: bool = False
    exclude: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    put: PutOptions = field(default_factory=PutOptions)

    def wants(self, relative: str) -> bool:
        """Say whether a key takes part: an include wins over an exclude; with includes alone, only they take part."""
        if any(_matches(relative, pattern) for pattern in self.include):
            return True
        if self.include and not self.exclude:
            return False
        return not any(_matches(relative, pattern) for pattern in self.exclude)


def _matches(relative: str, pattern: str) -> bool:
    # As in other tools: a pattern without "/" is about names at any depth, and "*" also crosses folders.
    return fnmatchcase(relative, pattern) or ("/" not in pattern and fnmatchcase(relative.rpartition("/")[2], pattern))


@dataclass(frozen=True, slots=True)
class Item:
    """One file or object of a side; `relative` is its key below the side's root."""

    relative: str
    size_bytes: int
    mtime_ns: int
    place: Address
    entry: ObjectEntry | None = None


@dataclass(frozen=True, slots=True)
class Removal:
    """Something of the target that the source lacks."""

    item: Item


Decision = Transfer | Removal | Fault


def refuse_pointless(session: Session, source: Address, target: Address) -> None:
    """Raise UsageFault for sides that cannot be synced."""
    for side in (source, target):
        if isinstance(side, ObjectAddress) and not side.bucket:
            raise UsageFault(f"{side} names no bucket: write {side}BUCKET/")
    if isinstance(source, LocalAddress) and not source.path.is_dir():
        raise UsageFault(f"{source} is not a folder: sync takes folders and prefixes, `hosu cp` takes files")
    if isinstance(source, ObjectAddress) and isinstance(target, ObjectAddress):
        one, other = source.folder.key, target.folder.key
        nested = one.startswith(other) or other.startswith(one)
        if source.bucket == target.bucket and nested and session.endpoints.are_one(source, target):
            raise UsageFault(f"{source} and {target} overlap: choose prefixes of which none holds the other")
    elif not isinstance(source, ObjectAddress) and not isinstance(target, ObjectAddress):
        raise UsageFault(f"{source} to {target}: one of the two must be at an S3 endpoint")


def items_of(session: Session, side: Address, below: str = "") -> Iterator[Item | Fault]:
    """Yield what a side has, in UTF-8 order of keys; a target folder that is not there yet has nothing."""
    if isinstance(side, LocalAddress):
        if not side.path.exists():
            return
        for found in walk(side.path, below):
            if isinstance(found, LocalFault):
                yield Fault(str(found.path), found.error)
            else:
                yield Item(found.relative, found.size_bytes, found.mtime_ns, LocalAddress(found.path))
        return
    assert isinstance(side, ObjectAddress)
    prefix, last = side.folder, ""
    scope = prefix.child(f"{below}/") if below else prefix
    for entry in objects_below(session, scope):
        relative = entry.address.key.removeprefix(prefix.key)
        if relative < last:
            # Two sides are merged by order: one that is out of order would make present keys look removed.
            message = f"{scope}: the endpoint lists {relative!r} after {last!r}, out of order: it cannot be synced"
            raise CorruptError(ErrorKind.INVALID_ARGUMENT, message)
        last = relative
        if relative and not relative.endswith("/"):
            yield Item(relative, entry.size_bytes, entry.modified_ns, entry.address, entry)


def decide(
    session: Session, source: Address, target: Address, options: SyncOptions, below: str = ""
) -> Iterator[Decision]:
    """Yield what has to happen for the target to be like the source, below one folder of both."""
    for ours, theirs in _side_by_side(items_of(session, source, below), items_of(session, target, below)):
        if isinstance(ours, Fault):
            yield ours
            continue
        item = ours or theirs
        if item is None or not options.wants(item.relative):
            continue
        if ours is None:
            if theirs is not None:
                yield Removal(theirs)
            continue
        try:
            if theirs is None or differs(session, ours, theirs, options):
                yield Transfer(ours.place, _place(target, ours.relative), ours.size_bytes, ours.entry)
        except Exception as error:  # noqa: BLE001 - one item must not stop the others
            yield Fault(str(ours.place), error)


def _place(target: Address, relative: str) -> Address:
    if isinstance(target, LocalAddress):
        return LocalAddress(path_below(target.path, relative))
    assert isinstance(target, ObjectAddress)
    return target.child(relative)


def _side_by_side(
    source: Iterable[Item | Fault], target: Iterable[Item | Fault]
) -> Iterator[tuple[Item | Fault | None, Item | None]]:
    """Merge two ordered sides into pairs of the same key; faults of either come alone."""
    left, right = iter(source), iter(target)
    ours, theirs = next(left, None), next(right, None)
    while ours is not None or theirs is not None:
        if isinstance(ours, Fault):
            yield ours, None
            ours = next(left, None)
        elif isinstance(theirs, Fault):
            yield theirs, None
            theirs = next(right, None)
        elif theirs is None or (ours is not None and ours.relative < theirs.relative):
            yield ours, None
            ours = next(left, None)
        elif ours is None or theirs.relative < ours.relative:
            yield None, theirs
            theirs = next(right, None)
        else:
            yield ours, theirs
            ours, theirs = next(left, None), next(right, None)


def differs(session: Session, ours: Item, theirs: Item, options: SyncOptions) -> bool:
    """Say whether the target's item must be replaced.

    Uploads are due when the file is newer than the object. Downloads carry the object's time over to the file, so
    there any other time counts. Copies compare ETags first, which both listings have.
    """
    if ours.size_bytes != theirs.size_bytes:
        return True
    if ours.entry is not None and theirs.entry is not None:
        if ours.entry.etag == theirs.entry.etag:
            return False
        return options.checksum or ours.mtime_ns > theirs.mtime_ns
    if options.checksum:
        return not _same_content(session, ours, theirs)
    if ours.entry is not None:
        return ours.mtime_ns // 1000 != theirs.mtime_ns // 1000
    if ours.mtime_ns <= theirs.mtime_ns:
        return False
    # Listings round times down to a second, so within one only the content tells which came first.
    whole_second = theirs.mtime_ns % _SECOND_NS == 0
    if whole_second and ours.mtime_ns < theirs.mtime_ns + _SECOND_NS:
        return not _same_content(session, ours, theirs)
    return True


def _same_content(session: Session, one: Item, other: Item) -> bool:
    """Compare a file with an object by ETag, else by the checksum the object was stored with."""
    path, entry = (one.place, other.entry) if other.entry is not None else (other.place, one.entry)
    assert isinstance(path, LocalAddress)
    assert entry is not None
    if file_has_etag(path.path, entry.etag, part_bytes_for(entry.size_bytes)):
        return True
    answer = head(session, entry.address)
    expected = expected_digest(answer)
    if expected is not None:
        with path.path.open("rb") as file:
            return file_digest(file, expected[0]) == expected[1]
    if parts_of_etag(entry.etag):
        first = head(session, entry.address, PartNumber=1)
        return file_has_etag(path.path, entry.etag, int(first["ContentLength"]))
    return False


def run_sync(session: Session, source: Address, target: Address, options: SyncOptions) -> Summary:
    """Make the target like the source once; removals come last, and only when the whole source could be read."""
    removals: list[Item] = []
    trusted = True

    def transfers() -> Iterator[Transfer | Fault]:
        nonlocal trusted
        try:
            for decision in decide(session, source, target, options):
                if isinstance(decision, Removal):
                    removals.append(decision.item)
                    continue
                trusted = trusted and not isinstance(decision, Fault)
                yield decision
        except Exception as error:  # noqa: BLE001 - a broken listing must not stop what is under way
            trusted = False
            yield Fault(str(source), error)

    if options.dry_run:
        summary = _say_planned(session, transfers())
    else:
        summary = run_transfers(session, "sync", transfers(), options.put)
    if not options.delete or not removals:
        return summary
    if not trusted:
        message = f"{source} could not be read whole: nothing was deleted from {target}; mend the failures, run again"
        fail(session, summary, "sync", str(target), InvalidInputError(ErrorKind.INVALID_ARGUMENT, message))
        return summary
    if options.dry_run:
        for item in removals:
            fields = {"operation": "sync", "action": "delete", "target": str(item.place), "dry_run": True}
            session.output.row(fields, f"would delete {item.place}")
        return summary
    remove_items(session, removals, target.path if isinstance(target, LocalAddress) else None, summary)
    return summary


def _say_planned(session: Session, planned: Iterable[Transfer | Fault]) -> Summary:
    summary = Summary()
    for item in planned:
        if isinstance(item, Fault):
            fail(session, summary, "sync", item.address, as_hosu_error(item.error, item.address))
            continue
        fields = {
            "operation": "sync",
            "action": "transfer",
            "source": str(item.source),
            "target": str(item.target),
            "size_bytes": item.size_bytes,
            "dry_run": True,
        }
        session.output.row(fields, f"would transfer {item.source} -> {item.target}")
    return summary


def remove_items(session: Session, items: Iterable[Item], root: Path | None, summary: Summary) -> None:
    """Remove items of one target and count them."""
    remote = []
    for item in items:
        if isinstance(item.place, ObjectAddress):
            remote.append((item.place, None))
            continue
        assert isinstance(item.place, LocalAddress)
        try:
            remove_file(item.place.path, root)
        except OSError as error:
            fail(session, summary, "sync", str(item.place), as_hosu_error(error, item.place))
            continue
        summary.done += 1
        session.output.event(
            {"operation": "sync", "address": str(item.place), "version_id": None}, f"deleted {item.place}"
        )
    done = delete_all(session, "sync", chain(remote))
    summary.done += done.done
    summary.failures += done.failures
