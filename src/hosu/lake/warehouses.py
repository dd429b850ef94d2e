"""Where a lake's tables are: below a folder of one of its buckets, or in a folder or an S3 outside of it."""

from dataclasses import dataclass

from hosu.kernel.fileio import FileIO
from hosu.objects.fileio import ObjectFileIO
from hosu.objects.store import ObjectStore
from hosu.rules.locations import open_location
from hosu.rules.wanted import split_warehouse


@dataclass(frozen=True)
class Warehouse:
    """A warehouse that is open."""

    bucket: str | None
    """The bucket of the lake that holds it, None outside of the lake."""

    folder: str
    """The folder in `files` below which databases are."""

    files: FileIO


def open_warehouse(place: str, store: ObjectStore, *, actor: str) -> Warehouse:
    """Open the warehouse at a place, as the setting `warehouse` names it; its bucket need not be there yet."""
    bucket, folder = split_warehouse(place)
    if bucket is None:
        return Warehouse(None, folder, open_location(place, store_path=store.path, clock=store.clock))
    return Warehouse(bucket, folder, ObjectFileIO(store, bucket, actor=actor))
