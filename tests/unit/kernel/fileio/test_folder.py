"""What is particular to a plain folder: what is on the disk, in which order, and what a crash or a neighbour leaves."""

import errno
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hosu.kernel.errors import (
    AccessDeniedError,
    ConflictError,
    ErrorKind,
    HosuError,
    InvalidInputError,
    NotFoundError,
    PreconditionFailedError,
    UnavailableError,
    UnsupportedError,
)
from hosu.kernel.fileio import FolderFileIO
from hosu.testing.fileio_races import race_threads

DAY_MS = 24 * 60 * 60 * 1000


class FixedClock:
    def __init__(self, now_ms: int) -> None:
        self.ms = now_ms

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000


class PowerCutError(Exception):
    """The process ends here."""


STEPS = ("write", "fsync", "mkdir", "link", "replace", "unlink", "rmdir")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the calls that change the disk, by name and by what they name below the root."""
    made: list[str] = []

    def recording(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(target: Any, *rest: Any) -> Any:
            path = (
                str(Path(f"/proc/self/fd/{target}").readlink())
                if isinstance(target, int)
                else str(rest[0] if rest and name != "mkdir" else target)
            )
            made.append(f"{name} {'temporary' if '.hosu-tmp/' in path else path.partition('/root')[2] or '/'}")
            return original(target, *rest)

        return call

    for name in STEPS:
        monkeypatch.setattr(os, name, recording(name, getattr(os, name)))
    return made


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    return root


def temporaries(root: Path) -> list[str]:
    return [path.name for path in (root / ".hosu-tmp").iterdir() if path.name != "lock"]


@pytest.mark.parametrize(("if_absent", "naming"), [(False, "replace"), (True, "link")])
def test_bytes_are_durable_before_they_have_a_name_and_the_name_before_the_put_returns(
    root: Path, calls: list[str], *, if_absent: bool, naming: str
) -> None:
    FolderFileIO(root).put("a/b/k", b"1", if_absent=if_absent)
    assert [call for call in calls if "unlink" not in call] == [
        "mkdir /.hosu-tmp",
        "write temporary",
        "fsync temporary",
        "mkdir /a",
        "fsync /",
        "mkdir /a/b",
        "fsync /a",
        f"{naming} /a/b/k",
        "fsync /a/b",
    ]
    assert temporaries(root) == []


def test_a_folder_that_was_made_durable_once_is_not_synced_again(root: Path, calls: list[str]) -> None:
    fileio = FolderFileIO(root)
    fileio.put("a/b/k", b"1")
    calls.clear()
    fileio.put("a/b/l", b"1")
    assert [call for call in calls if call.startswith("fsync")] == ["fsync temporary", "fsync /a/b"]


def test_a_delete_is_durable_once_it_returns(root: Path, calls: list[str]) -> None:
    fileio = FolderFileIO(root)
    fileio.put("a/b/k", b"1")
    fileio.put("a/l", b"1")
    calls.clear()
    fileio.delete_many(["a/b/k"])
    assert calls == ["unlink /a/b/k", "rmdir /a/b", "rmdir /a", "fsync /a"]


def crash_at(step: int, patch: pytest.MonkeyPatch) -> list[str]:
    """Let the process end at the given step, and count the steps."""
    made: list[str] = []

    def crashing(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            made.append(name)
            if len(made) >= step:
                raise PowerCutError
            return original(*arguments)

        return call

    for name in STEPS:
        patch.setattr(os, name, crashing(name, getattr(os, name)))
    return made


@pytest.mark.parametrize("old", [None, b"old"])
def test_a_crash_at_any_step_leaves_the_old_or_the_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: bytes | None
) -> None:
    for step in range(1, 30):
        root = tmp_path / f"{step}"
        root.mkdir()
        if old is not None:
            FolderFileIO(root).put("a/k", old)
        with monkeypatch.context() as patch:
            made = crash_at(step, patch)
            try:
                FolderFileIO(root).put("a/k", b"new")
            except PowerCutError:
                pass
            else:
                assert made[:3] == ["mkdir", "write", "fsync"]
                return  # The put ran to its end before this step: every earlier one was tried.
        after = FolderFileIO(root)
        found = {entry.key: after.read(entry.key) for entry in after.list()}
        assert found in ({"a/k": b"new"}, {} if old is None else {"a/k": old})
        after.put("a/k", b"newer")
        assert after.read("a/k") == b"newer"
    pytest.fail("put never ran to its end")


def test_temporaries_of_the_dead_are_swept_and_those_of_the_living_kept(root: Path) -> None:
    clock = FixedClock(10 * DAY_MS)
    FolderFileIO(root, clock=clock).put("k", b"1")
    for name, age_ms in (("dead", DAY_MS + 1), ("living", DAY_MS - 1)):
        path = root / ".hosu-tmp" / name
        path.write_bytes(b"")
        os.utime(path, ns=((clock.ms - age_ms) * 1_000_000,) * 2)
    FolderFileIO(root, clock=clock).put("k", b"2")
    assert temporaries(root) == ["living"]


def test_the_time_of_a_file_is_the_clocks(root: Path) -> None:
    fileio = FolderFileIO(root, clock=FixedClock(1234))
    assert fileio.put("k", b"1").modified_ms == fileio.head("k").modified_ms == 1234


def test_etags_differ_though_time_size_and_inode_are_the_same(root: Path) -> None:
    fileio = FolderFileIO(root, clock=FixedClock(1234))
    assert len({fileio.put("k", bytes([number])).etag for number in range(10)}) == 10


def test_reading_an_untouched_folder_writes_nothing(root: Path) -> None:
    fileio = FolderFileIO(root)
    assert list(fileio.list()) == []
    assert not fileio.exists("k")
    assert list(root.iterdir()) == []


def test_a_root_that_is_missing_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="mount it"):
        FolderFileIO(tmp_path / "nas")
    assert not (tmp_path / "nas").exists()


def test_symbolic_links_lead_nowhere(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (root / "folder").symlink_to(outside)
    (root / "file").symlink_to(outside / "secret")
    fileio = FolderFileIO(root)
    assert list(fileio.list()) == []
    assert list(fileio.list("folder/")) == []
    assert list(fileio.list(delimiter="/")) == []
    for key in ("folder/secret", "file"):
        with pytest.raises(NotFoundError):
            fileio.read(key)
    with pytest.raises(ConflictError):
        fileio.put("folder/new", b"1")
    fileio.delete_many(["folder/secret"])
    assert [path.name for path in outside.iterdir()] == ["secret"]


def test_names_that_are_no_key_are_not_listed(root: Path) -> None:
    os.close(os.open(os.fsencode(root) + b"/\xff", os.O_CREAT | os.O_WRONLY))
    os.mkfifo(root / "pipe")
    (root / "k").write_bytes(b"")
    assert [entry.key for entry in FolderFileIO(root).list()] == ["k"]


def test_empty_folders_are_no_prefixes_and_stand_in_no_ones_way(root: Path) -> None:
    (root / "a/b/c").mkdir(parents=True)
    fileio = FolderFileIO(root)
    assert list(fileio.list(delimiter="/")) == []
    fileio.put("a", b"1")
    (root / "d/e").mkdir(parents=True)
    fileio.put("d", b"2", if_absent=True)
    assert [entry.key for entry in fileio.list()] == ["a", "d"]


def test_a_segment_longer_than_a_name_is_refused(root: Path) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        FolderFileIO(root).put("é" * 128, b"")
    assert refusal.value.kind is ErrorKind.KEY_TOO_LONG


def test_without_hard_links_if_absent_is_still_exact(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "no links")

    monkeypatch.setattr(os, "link", refuse)
    fileio = FolderFileIO(root)
    keys = [f"race/{number}" for number in range(10)]
    fileio.put("counter", b"0")
    won = race_threads(fileio, 4, keys, "counter", 2)
    assert sorted(key for mine in won.values() for key in mine) == keys
    with pytest.raises(PreconditionFailedError):
        fileio.put("counter", b"", if_absent=True)


def test_a_link_whose_answer_was_lost_is_known_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def link_twice(source: str, target: str) -> None:
        link(source, target)
        link(source, target)

    monkeypatch.setattr(os, "link", link_twice)
    FolderFileIO(root).put("k", b"1", if_absent=True)
    assert (root / "k").read_bytes() == b"1"


def test_a_folder_that_vanishes_under_a_put_is_made_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace, attempts = os.replace, []

    def lose_the_folder_once(source: str, target: str) -> None:
        attempts.append(target)
        if len(attempts) == 1:
            (root / "a").rmdir()
        replace(source, target)

    monkeypatch.setattr(os, "replace", lose_the_folder_once)
    FolderFileIO(root).put("a/k", b"1")
    assert ((root / "a/k").read_bytes(), len(attempts)) == (b"1", 2)


@pytest.mark.parametrize(
    ("number", "error", "kind"),
    [
        (errno.ENOSPC, UnavailableError, ErrorKind.DISK_FULL),
        (errno.EDQUOT, UnavailableError, ErrorKind.DISK_FULL),
        (errno.EIO, UnavailableError, ErrorKind.DISK_FAULT),
        (errno.EACCES, AccessDeniedError, ErrorKind.ACCESS_DENIED),
        (errno.EROFS, AccessDeniedError, ErrorKind.ACCESS_DENIED),
        (errno.EXDEV, UnsupportedError, ErrorKind.UNSUPPORTED),
        (errno.ENAMETOOLONG, InvalidInputError, ErrorKind.KEY_TOO_LONG),
    ],
)
@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_what_the_disk_says_becomes_an_error_of_the_contract_and_changes_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch, step: str, number: int, error: type[HosuError], kind: ErrorKind
) -> None:
    fileio = FolderFileIO(root)
    fileio.put("k", b"old")

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, step, fail)
        with pytest.raises(error) as refusal:
            fileio.put("k", b"new")
        assert refusal.value.kind is kind
        writer = fileio.open_write("k")
        with pytest.raises(error):  # noqa: PT012 - which of them fails depends on the step
            writer.write(b"new")
            writer.close()
        writer.discard()
    assert (fileio.read("k"), temporaries(root)) == (b"old", [])


def test_it_opens_again_in_another_process(root: Path) -> None:
    FolderFileIO(root).put("k", b"1")
    assert pickle.loads(pickle.dumps(FolderFileIO(root))).read("k") == b"1"


def test_a_listing_outlives_what_is_deleted_meanwhile(root: Path) -> None:
    fileio = FolderFileIO(root)
    for key in ("a", "b", "c/d", "e"):
        fileio.put(key, b"1")
    listing = fileio.list()
    assert next(listing) == fileio.head("a")
    fileio.delete_many(["b", "c/d"])
    assert [entry.key for entry in listing] == ["e"]


def test_a_forgotten_writer_leaves_no_temporary(root: Path) -> None:
    writer = FolderFileIO(root).open_write("k")
    writer.write(b"1")
    assert len(temporaries(root)) == 1
    del writer
    assert temporaries(root) == []
