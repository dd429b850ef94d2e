"""Which files of an append table are made one: small ones, and those that have lost many rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from hosu.tables.records import DataFile

if TYPE_CHECKING:
    from hosu.tables.options import Options


@dataclass(frozen=True)
class Packing:
    """When files of an append table are compacted: the options of a table. Sizes are bytes."""

    target_bytes: int
    small_bytes: int
    """Files below this size are worth compacting: `compaction.small-file-ratio` of the target."""

    open_cost_bytes: int = 4 << 20
    """What a file counts for beside its bytes, so that many tiny ones are soon enough."""

    file_number_min: int = 5
    deleted_ratio: float = 0.2
    """A file that has lost more of its rows than this is compacted, whatever its size."""

    rewrites_all: bool = False


def packing_of(options: "Options", *, rewrites_all: bool = False) -> Packing:
    """Return the rules of an append table's options."""
    target_bytes = options.target_file_size
    return Packing(
        target_bytes=target_bytes,
        small_bytes=int(target_bytes * options.compaction_small_file_ratio),
        open_cost_bytes=options.source_split_open_file_cost,
        file_number_min=options.compaction_min_file_num,
        deleted_ratio=options.compaction_delete_ratio_threshold,
        rewrites_all=rewrites_all,
    )


def pack(
    files: Sequence[DataFile], packing: Packing, *, deleted: Mapping[str, tuple[int, str]], full: bool = False
) -> list[list[DataFile]]:
    """Return which files of a partition without buckets are made one, each list by one compaction.

    `deleted` says of files with deletion vectors how many rows they have lost and which index file has their vector:
    those of one index file stay together, as it is rewritten. `full` takes whatever can be taken.
    """
    chosen = [file for file in files if _is_worth_it(file, packing, deleted, full=full)]
    with_vectors = sorted(
        (file for file in chosen if file.file_name in deleted), key=lambda file: _index(file, deleted)
    )
    groups = [list(group) for _, group in groupby(with_vectors, key=lambda file: _index(file, deleted))]
    groups.sort(key=lambda group: sum(file.file_size for file in group))
    packs, rest = _fill(groups, packing)
    if rest:  # a vector does not wait for company
        packs.append(rest)
    singles = sorted((file for file in chosen if file.file_name not in deleted), key=lambda file: file.file_size)
    more, rest = _fill([[file] for file in singles], packing)
    packs += more
    if len(rest) >= (2 if full else packing.file_number_min) or (rest and packing.rewrites_all and full):
        packs.append(rest)
    return packs


def pack_ordered(
    files: Sequence[DataFile], packing: Packing, *, deleted: Mapping[str, tuple[int, str]], full: bool = False
) -> list[list[DataFile]]:
    """Return which files of a bucket are made one: neighbours only, so that rows stay in the order of writing."""
    ordered = sorted(files, key=lambda file: (file.min_sequence_number, file.file_name))
    if full:
        return _all_behind_the_first_small(ordered, packing, deleted)
    found: list[list[DataFile]] = []
    neighbours: list[DataFile] = []
    for file in ordered:
        if not _is_worth_it(file, packing, deleted, full=False):
            neighbours = []
            continue
        if _is_holed(file, packing, deleted):
            found.append([*neighbours, file])
            neighbours = []
            continue
        neighbours.append(file)
        if len(neighbours) >= packing.file_number_min:
            found.append(neighbours)
            neighbours = []
        elif sum(each.file_size for each in neighbours) >= 2 * packing.target_bytes:
            neighbours = neighbours[1:]
    return found


def _all_behind_the_first_small(
    ordered: Sequence[DataFile], packing: Packing, deleted: Mapping[str, tuple[int, str]]
) -> list[list[DataFile]]:
    found = []
    worth: Callable[[DataFile], bool] = lambda file: _is_worth_it(file, packing, deleted, full=True)  # noqa: E731
    for is_worth, group in groupby(ordered, key=worth):
        neighbours = list(group)
        if is_worth and (len(neighbours) > 1 or packing.rewrites_all or neighbours[0].file_name in deleted):
            found.append(neighbours)
    return found


def _fill(groups: Sequence[list[DataFile]], packing: Packing) -> tuple[list[list[DataFile]], list[DataFile]]:
    """Gather groups until they are enough for two files of the target size; return what was left over, too."""
    packs: list[list[DataFile]] = []
    bin_: list[DataFile] = []
    weight = 0
    for group in groups:
        bin_ = bin_ + group
        weight += sum(file.file_size + packing.open_cost_bytes for file in group)
        if len(bin_) > 1 and weight >= 2 * packing.target_bytes:
            packs.append(bin_)
            bin_, weight = [], 0
    return packs, bin_


def _index(file: DataFile, deleted: Mapping[str, tuple[int, str]]) -> str:
    return deleted[file.file_name][1]


def _is_worth_it(file: DataFile, packing: Packing, deleted: Mapping[str, tuple[int, str]], *, full: bool) -> bool:
    if file.file_size < packing.small_bytes or (full and (packing.rewrites_all or file.file_name in deleted)):
        return True
    return _is_holed(file, packing, deleted)


def _is_holed(file: DataFile, packing: Packing, deleted: Mapping[str, tuple[int, str]]) -> bool:
    return deleted.get(file.file_name, (0, ""))[0] > file.row_count * packing.deleted_ratio
