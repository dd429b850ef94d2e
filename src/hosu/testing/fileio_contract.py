# ruff: noqa: D102, PLR2004, PT012, PT017
# As in any test: names say what holds, literal expectations are the point, and a refusal may be one of two answers.
"""The contract suite of FileIO: subclass `FileIOContract` in a test module, and pytest runs all of it.

    class TestMyFileIO(FileIOContract):
        @pytest.fixture
        def fileio(self, tmp_path): return MyFileIO(tmp_path)

        def stored(self, fileio, key): return what is stored under key, found without MyFileIO, or None
        def store(self, fileio, key, data): store it without MyFileIO

The two hooks go behind the implementation's back, so that it cannot vouch for itself. `FileIORaceContract` adds
races between threads and, given an opener, between processes.
"""

import io
from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import count
from typing import cast

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from hosu.kernel.errors import (
    ConflictError,
    ErrorKind,
    InvalidInputError,
    NotFoundError,
    PreconditionFailedError,
)
from hosu.kernel.fileio import RESERVED_FOLDER, FileIO, FileStat, Prefix, fold
from hosu.testing.fileio_races import FileIOOpener, race_processes, race_threads, run_in_threads
from hosu.testing.strategies import PATH_KEYS, PREFIXES, is_in_the_way

BODIES = st.binary(max_size=64)

KEYS_ACROSS_THE_SLASH = ["a.b", "a/b", "a/b.c/d", "a0", "b", "é/한글", "\uffee", "\U0001f600"]
"""In UTF-8 order. '.' sorts before '/' and '0' after it; U+FFEE before U+1F600, though UTF-16 has it the other way."""

KEYS_REFUSED = [
    ("", ErrorKind.KEY_INVALID),
    ("/a", ErrorKind.KEY_INVALID),
    ("a\0b", ErrorKind.KEY_INVALID),
    ("..", ErrorKind.KEY_INVALID),
    ("a/../b", ErrorKind.KEY_INVALID),
    ("\ud800", ErrorKind.KEY_INVALID),
    (f"{RESERVED_FOLDER}/a", ErrorKind.KEY_INVALID),
    ("k" * 1025, ErrorKind.KEY_TOO_LONG),
    ("é" * 513, ErrorKind.KEY_TOO_LONG),
]

KEYS_WITHOUT_PATH = ["a//b", "a/", "a/./b", "./a"]
"""A bucket may take these; nobody may fold them into 'a/b' or 'a'."""


class FileIOContract(ABC):
    """What every FileIO holds, whatever is behind it."""

    examples_max = 20
    """How many random histories are played; each step is a few calls."""

    @pytest.fixture
    @abstractmethod
    def fileio(self, *args: object) -> FileIO:
        """Return the implementation, empty."""

    @abstractmethod
    def stored(self, fileio: FileIO, key: str) -> bytes | None:
        """Return the bytes stored under key, None if there are none, without asking fileio."""

    @abstractmethod
    def store(self, fileio: FileIO, key: str, data: bytes) -> None:
        """Store bytes under key without fileio."""

    def store_many(self, fileio: FileIO, keys: list[str]) -> None:
        """Store a byte under each key without fileio; override where `store` is slow."""
        for key in keys:
            self.store(fileio, key, b"1")

    def test_a_put_stores_the_bytes_and_tells_what_it_stored(self, fileio: FileIO) -> None:
        stat = fileio.put("a/b", b"12345")
        assert self.stored(fileio, "a/b") == b"12345"
        assert (stat.key, stat.size_bytes) == ("a/b", 5)
        assert fileio.head("a/b").etag == stat.etag

    @pytest.mark.parametrize("data", [b"", b"\0\xff", bytearray(b"ab"), memoryview(b"abcdef")[1:3]])
    def test_bytes_of_any_kind_come_back_as_they_went(
        self, fileio: FileIO, data: bytes | bytearray | memoryview
    ) -> None:
        fileio.put("k", data)
        assert fileio.read("k") == bytes(data)
        assert type(fileio.read("k")) is bytes

    def test_what_others_stored_is_read_headed_and_listed(self, fileio: FileIO) -> None:
        self.store(fileio, "a/b", b"123")
        assert fileio.read("a/b") == b"123"
        stat = fileio.head("a/b")
        assert (stat.size_bytes, stat.modified_ms > 0) == (3, True)
        assert list(fileio.list()) == [stat]

    def test_a_put_replaces_the_file_and_changes_its_etag(self, fileio: FileIO) -> None:
        etags = {fileio.put("k", f"{number:03}".encode()).etag for number in range(20)}
        assert len(etags) == 20
        assert self.stored(fileio, "k") == b"019"

    def test_a_missing_file_is_not_found(self, fileio: FileIO) -> None:
        fileio.put("a/b/c", b"")
        for key in ("z", "a", "a/b", "a/b/c/d"):
            for call in (fileio.head, fileio.read, fileio.open_read):
                with pytest.raises(NotFoundError) as refusal:
                    call(key)
                assert refusal.value.kind is ErrorKind.OBJECT_NOT_FOUND
            assert not fileio.exists(key)
        assert fileio.exists("a/b/c")

    @pytest.mark.parametrize(("key", "kind"), KEYS_REFUSED)
    def test_keys_that_nobody_may_use_are_refused(self, fileio: FileIO, key: str, kind: ErrorKind) -> None:
        calls: list[Callable[[], object]] = [
            lambda: fileio.put(key, b""),
            lambda: fileio.open_write(key),
            lambda: fileio.read(key),
            lambda: fileio.open_read(key),
            lambda: fileio.head(key),
            lambda: fileio.delete_many(["k", key]),
        ]
        for call in calls:
            with pytest.raises(InvalidInputError) as refusal:
                call()
            assert refusal.value.kind is kind

    @pytest.mark.parametrize("key", KEYS_WITHOUT_PATH)
    def test_keys_that_are_no_path_are_kept_apart_or_refused(self, fileio: FileIO, key: str) -> None:
        try:
            fileio.put(key, b"odd")
        except InvalidInputError as refusal:
            assert refusal.kind is ErrorKind.KEY_INVALID
        else:
            assert fileio.read(key) == b"odd"
            assert self.stored(fileio, key) == b"odd"
        for clean in ("a", "a/b"):
            assert not fileio.exists(clean)

    def test_the_longest_keys_work(self, fileio: FileIO) -> None:
        segment = "é" * 127
        key = f"{segment}/{segment}/{segment}/{segment}/abcd"
        assert len(key.encode()) == 1024
        fileio.put(key, b"1")
        assert [entry.key for entry in fileio.list()] == [key]
        assert fileio.read(key) == b"1"

    @pytest.mark.parametrize(
        ("start", "end", "expected"),
        [
            (None, None, b"0123456789"),
            (0, 3, b"012"),
            (3, None, b"3456789"),
            (8, 100, b"89"),
            (4, 4, b""),
            (10, None, b""),
            (10, 20, b""),
            (None, 2, b"01"),
        ],
    )
    def test_a_range_is_cut_at_the_end(
        self, fileio: FileIO, start: int | None, end: int | None, expected: bytes
    ) -> None:
        self.store(fileio, "k", b"0123456789")
        assert fileio.read("k", start, end) == expected

    @pytest.mark.parametrize(("start", "end"), [(11, None), (11, 12), (11, 11), (-1, None), (5, 4), (0, -1)])
    def test_a_range_that_cannot_be_is_refused(self, fileio: FileIO, start: int, end: int | None) -> None:
        self.store(fileio, "k", b"0123456789")
        with pytest.raises(InvalidInputError) as refusal:
            fileio.read("k", start, end)
        assert refusal.value.kind is ErrorKind.RANGE_INVALID

    def test_an_empty_file_reads_as_nothing(self, fileio: FileIO) -> None:
        self.store(fileio, "k", b"")
        assert (fileio.read("k"), fileio.read("k", 0, 5)) == (b"", b"")

    def test_many_ranges_come_in_the_order_asked(self, fileio: FileIO) -> None:
        self.store(fileio, "k", b"0123456789")
        assert list(fileio.read_ranges("k", [(5, 7), (0, 2), (8, 99), (3, 3)])) == [b"56", b"01", b"89", b""]
        assert list(fileio.read_ranges("k", [(5, 7), (0, 2), (8, 99)])) == [b"56", b"01", b"89"]
        assert list(fileio.read_ranges("k", [])) == []

    @pytest.mark.parametrize("buffer_bytes", [0, 4, 4096])
    def test_an_open_file_reads_and_seeks(self, fileio: FileIO, buffer_bytes: int) -> None:
        self.store(fileio, "k", b"0123456789")
        with fileio.open_read("k", buffer_bytes) as file:
            assert file.read(3) == b"012"
            assert file.seek(-2, io.SEEK_END) == 8
            assert file.read() == b"89"
            assert file.read(1) == b""
            file.seek(4)
            assert file.tell() == 4
            assert file.read(2) == b"45"
            assert file.readable()
            assert not file.writable()

    def test_an_open_file_never_mixes_two_versions(self, fileio: FileIO) -> None:
        fileio.put("k", b"old" * 100)
        with fileio.open_read("k", 0) as file:
            assert file.read(3) == b"old"
            fileio.put("k", b"new" * 100)
            try:
                assert file.read(3) == b"old"
            except PreconditionFailedError:
                assert fileio.read("k", 0, 3) == b"new"

    def test_a_written_file_is_visible_only_once_closed(self, fileio: FileIO) -> None:
        fileio.put("k", b"old")
        with fileio.open_write("k") as writer:
            writer.write(b"new ")
            writer.write(bytearray(b"bytes"))
            assert self.stored(fileio, "k") == b"old"
            assert [entry.key for entry in fileio.list()] == ["k"]
        assert self.stored(fileio, "k") == b"new bytes"
        assert (writer.stat.etag, writer.stat.size_bytes) == (fileio.head("k").etag, 9)

    def test_a_file_written_in_vain_leaves_nothing(self, fileio: FileIO) -> None:
        fileio.put("k", b"old")
        with pytest.raises(KeyError), fileio.open_write("k") as writer:
            writer.write(b"new")
            raise KeyError
        with fileio.open_write("z") as writer:
            writer.write(b"new")
            writer.discard()
        del writer
        fileio.open_write("forgotten").write(b"new")
        assert self.stored(fileio, "k") == b"old"
        assert [entry.key for entry in fileio.list()] == ["k"]

    def test_a_closed_writer_takes_no_more(self, fileio: FileIO) -> None:
        writer = fileio.open_write("k")
        with pytest.raises(ValueError, match="not closed"):
            _ = writer.stat
        writer.close()
        writer.close()
        writer.discard()
        with pytest.raises(ValueError, match="closed"):
            writer.write(b"1")
        assert self.stored(fileio, "k") == b""

    def test_if_absent_never_overwrites(self, fileio: FileIO) -> None:
        stat = fileio.put("a/b", b"one", if_absent=True)
        with pytest.raises(PreconditionFailedError) as refusal:
            fileio.put("a/b", b"two", if_absent=True)
        assert refusal.value.kind is ErrorKind.PRECONDITION_FAILED
        assert self.stored(fileio, "a/b") == b"one"
        assert fileio.head("a/b").etag == stat.etag
        fileio.delete_many(["a/b"])
        fileio.put("a/b", b"three", if_absent=True)
        assert self.stored(fileio, "a/b") == b"three"

    def test_if_match_replaces_only_the_version_it_names(self, fileio: FileIO) -> None:
        one = fileio.put("k", b"one")
        two = fileio.put("k", b"two", if_match=one.etag)
        with pytest.raises(PreconditionFailedError):
            fileio.put("k", b"three", if_match=one.etag)
        assert self.stored(fileio, "k") == b"two"
        assert fileio.put("k", b"three", if_match=two.etag).size_bytes == 5
        assert self.stored(fileio, "k") == b"three"

    def test_if_match_fails_where_there_is_no_file(self, fileio: FileIO) -> None:
        etag = fileio.put("k", b"one").etag
        fileio.delete_many(["k"])
        for key in ("k", "a/b"):
            with pytest.raises(PreconditionFailedError):
                fileio.put(key, b"two", if_match=etag)
            assert self.stored(fileio, key) is None

    def test_the_two_conditions_exclude_each_other(self, fileio: FileIO) -> None:
        with pytest.raises(InvalidInputError):
            fileio.put("k", b"", if_absent=True, if_match="1")

    def test_listing_is_in_utf8_order_across_folders(self, fileio: FileIO) -> None:
        for key in reversed(KEYS_ACROSS_THE_SLASH):
            self.store(fileio, key, key.encode())
        stats = list(fileio.list())
        assert [stat.key for stat in stats] == KEYS_ACROSS_THE_SLASH
        assert stats == [fileio.head(key) for key in KEYS_ACROSS_THE_SLASH]

    @pytest.mark.parametrize(
        ("prefix", "expected"),
        [
            ("a", ["a.b", "a/b", "a/b.c/d", "a0"]),
            ("a/", ["a/b", "a/b.c/d"]),
            ("a/b", ["a/b", "a/b.c/d"]),
            ("a/b.", ["a/b.c/d"]),
            ("a0", ["a0"]),
            ("é", ["é/한글"]),
            ("é/한", ["é/한글"]),
            *((prefix, []) for prefix in ("a0/", "c", "/", "a//", "..", "a/../", "a\0", f"{RESERVED_FOLDER}/")),
        ],
    )
    def test_a_prefix_is_text_not_a_folder(self, fileio: FileIO, prefix: str, expected: list[str]) -> None:
        for key in KEYS_ACROSS_THE_SLASH:
            self.store(fileio, key, b"")
        assert [entry.key for entry in fileio.list(prefix)] == expected

    def test_a_delimiter_folds_what_lies_deeper(self, fileio: FileIO) -> None:
        for key in KEYS_ACROSS_THE_SLASH:
            self.store(fileio, key, b"")

        def kinds(prefix: str, delimiter: str) -> list[tuple[type, str]]:
            return [(type(entry), entry.key) for entry in fileio.list(prefix, delimiter=delimiter)]

        files = [(FileStat, key) for key in ("a0", "b")]
        rest = [(Prefix, "é/"), (FileStat, "\uffee"), (FileStat, "\U0001f600")]
        assert kinds("", "/") == [(FileStat, "a.b"), (Prefix, "a/"), *files, *rest]
        assert kinds("a/", "/") == [(FileStat, "a/b"), (Prefix, "a/b.c/")]
        assert kinds("a", "/") == [(FileStat, "a.b"), (Prefix, "a/"), (FileStat, "a0")]
        assert kinds("a", ".") == [(Prefix, "a."), (FileStat, "a/b"), (Prefix, "a/b."), (FileStat, "a0")]

    @pytest.mark.parametrize("delimiter", ["", "/", "."])
    def test_a_listing_goes_on_after_any_entry(self, fileio: FileIO, delimiter: str) -> None:
        for key in KEYS_ACROSS_THE_SLASH:
            self.store(fileio, key, b"")
        entries = list(fileio.list(delimiter=delimiter))
        for position, entry in enumerate(entries):
            assert list(fileio.list(after=entry.key, delimiter=delimiter)) == entries[position + 1 :]

    def test_more_than_a_page_is_listed_whole(self, fileio: FileIO) -> None:
        keys = [f"p/{number:04}" for number in range(1005)]
        self.store_many(fileio, keys)
        assert [entry.key for entry in fileio.list("p/")] == keys
        assert [entry.key for entry in fileio.list(delimiter="/")] == ["p/"]
        assert [entry.key for entry in fileio.list("p/1", after="p/1002")] == ["p/1003", "p/1004"]

    def test_deleting_takes_what_is_there_and_does_not_miss_the_rest(self, fileio: FileIO) -> None:
        for key in ("a/b/c", "a/d", "k"):
            self.store(fileio, key, b"1")
        fileio.delete_many(["a/b/c", "nowhere", "a/b", "k", "k"])
        fileio.delete_many([])
        assert [entry.key for entry in fileio.list()] == ["a/d"]
        assert self.stored(fileio, "a/b/c") is None
        assert self.stored(fileio, "a/d") == b"1"

    def test_a_deleted_folder_gives_its_name_back(self, fileio: FileIO) -> None:
        fileio.put("a/b/c", b"1")
        fileio.delete_many(["a/b/c"])
        assert list(fileio.list(delimiter="/")) == []
        fileio.put("a", b"2", if_absent=True)
        assert self.stored(fileio, "a") == b"2"

    def test_a_key_below_another_key_is_kept_apart_or_refused(self, fileio: FileIO) -> None:
        for first, second in (("a", "a/b"), ("c/d", "c")):
            fileio.put(first, b"1")
            for if_absent in (False, True):
                try:
                    fileio.put(second, b"2", if_absent=if_absent)
                except ConflictError as refusal:
                    if not if_absent or refusal.kind is not ErrorKind.PRECONDITION_FAILED:
                        assert refusal.kind is ErrorKind.KEY_CONFLICT
                        assert self.stored(fileio, second) is None
                else:
                    assert fileio.read(second) == b"2"
            assert fileio.read(first) == b"1"

    def test_any_history_of_calls_answers_like_a_dict(self, fileio: FileIO) -> None:
        runs = count()
        run_state_machine_as_test(
            # Any callable that makes a machine will do, whatever the annotation says.
            cast("type[FileIOAgainstDict]", lambda: FileIOAgainstDict(fileio, f"run-{next(runs)}/")),
            settings=settings(
                max_examples=self.examples_max,
                stateful_step_count=15,
                deadline=None,
                database=None,
                derandomize=True,
                phases=[Phase.generate, Phase.shrink],
                suppress_health_check=list(HealthCheck),
            ),
        )


class FileIOAgainstDict(RuleBasedStateMachine):
    """A FileIO must answer like a dict of key to bytes, whatever the order of calls."""

    def __init__(self, fileio: FileIO, base: str) -> None:
        super().__init__()
        self.fileio, self.base = fileio, base
        self.model: dict[str, bytes] = {}
        self.etags: dict[str, str] = {}

    def took(self, stat: FileStat, key: str, data: bytes) -> None:
        """Record a put that was accepted."""
        assert (stat.key, stat.size_bytes) == (self.base + key, len(data))
        self.model[key], self.etags[key] = data, stat.etag

    def has_room(self, key: str) -> bool:
        """Tell whether a folder could hold the key beside the others."""
        return not any(is_in_the_way(key, other) for other in self.model)

    @rule(key=PATH_KEYS, data=BODIES)
    def put(self, key: str, data: bytes) -> None:
        """Put, unless a folder could not."""
        if self.has_room(key):
            self.took(self.fileio.put(self.base + key, data), key, data)

    @rule(key=PATH_KEYS, data=BODIES)
    def create(self, key: str, data: bytes) -> None:
        """Put only where nothing is."""
        if not self.has_room(key):
            return
        try:
            stat = self.fileio.put(self.base + key, data, if_absent=True)
        except PreconditionFailedError:
            assert key in self.model
        else:
            assert key not in self.model
            self.took(stat, key, data)

    @precondition(lambda self: self.model)
    @rule(data=BODIES, pick=st.data(), is_stale=st.booleans())
    def replace(self, data: bytes, pick: st.DataObject, is_stale: bool) -> None:  # noqa: FBT001 - drawn
        """Put over a version that is there, or over one that is not."""
        key = pick.draw(st.sampled_from(sorted(self.model)))
        etag = "0-0-0" if is_stale else self.etags[key]
        try:
            stat = self.fileio.put(self.base + key, data, if_match=etag)
        except PreconditionFailedError:
            assert is_stale
        else:
            assert not is_stale
            self.took(stat, key, data)

    @rule(key=PATH_KEYS, pieces=st.lists(BODIES, max_size=3), is_kept=st.booleans())
    def write(self, key: str, pieces: list[bytes], is_kept: bool) -> None:  # noqa: FBT001 - drawn
        """Write piece by piece, and keep it or not."""
        if not self.has_room(key):
            return
        writer = self.fileio.open_write(self.base + key)
        for piece in pieces:
            writer.write(piece)
        if is_kept:
            writer.close()
            self.took(writer.stat, key, b"".join(pieces))
        else:
            writer.discard()

    @rule(key=PATH_KEYS, pick=st.data())
    def delete(self, key: str, pick: st.DataObject) -> None:
        """Delete some keys that are there and one that may not be."""
        gone = [
            key,
            *pick.draw(st.lists(st.sampled_from(sorted(self.model)), max_size=3) if self.model else st.just([])),
        ]
        self.fileio.delete_many([self.base + key for key in gone])
        for key_gone in gone:
            self.model.pop(key_gone, None)

    @rule(key=PATH_KEYS, start=st.integers(0, 70), size=st.integers(0, 70))
    def read_range(self, key: str, start: int, size: int) -> None:
        """Read a range of what may be there."""
        try:
            data = self.fileio.read(self.base + key, start, start + size)
        except NotFoundError:
            assert key not in self.model
        except InvalidInputError:
            assert start > len(self.model[key])
        else:
            assert data == self.model[key][start : start + size]

    @rule(prefix=PREFIXES, after=PREFIXES, delimiter=st.sampled_from(["", "/", "/", ".", "a"]))
    def list_some(self, prefix: str, after: str, delimiter: str) -> None:
        """List a part, and compare with the same part of the dict."""
        found = self.fileio.list(self.base + prefix, after and self.base + after, delimiter)
        stats = [
            FileStat(self.base + key, len(self.model[key]), self.etags[key], 0)
            for key in sorted(self.model, key=str.encode)
            if key.startswith(prefix)
        ]
        expected = fold(stats, self.base + prefix, after and self.base + after, delimiter)
        assert [_timeless(entry) for entry in found] == list(expected)

    @invariant()
    def holds_the_same_bytes_under_the_same_keys(self) -> None:
        """Compare everything."""
        entries = [_timeless(entry) for entry in self.fileio.list(self.base)]
        keys = sorted(self.model, key=str.encode)
        assert entries == [FileStat(self.base + key, len(self.model[key]), self.etags[key], 0) for key in keys]
        assert {key: self.fileio.read(self.base + key) for key in keys} == self.model


def _timeless(entry: FileStat | Prefix) -> FileStat | Prefix:
    return entry if isinstance(entry, Prefix) else FileStat(entry.key, entry.size_bytes, entry.etag, 0)


class FileIORaceContract(FileIOContract):
    """Conditions are exact when everybody writes at once."""

    runners = 4
    rounds = 15
    steps = 10

    @abstractmethod
    def opener(self, fileio: FileIO) -> FileIOOpener | None:
        """Return what opens the same files in another process, None where no other process can reach them."""

    def test_threads_that_create_the_same_files_share_them_out(self, fileio: FileIO) -> None:
        keys = [f"race/{number}/file" for number in range(self.rounds)]
        fileio.put("counter", b"0")
        self.check(fileio, race_threads(fileio, self.runners, keys, "counter", self.steps), keys)

    def test_processes_that_create_the_same_files_share_them_out(self, fileio: FileIO) -> None:
        opener = self.opener(fileio)
        if opener is None:
            return
        keys = [f"race/{number}/file" for number in range(self.rounds)]
        fileio.put("counter", b"0")
        self.check(fileio, race_processes(opener, self.runners, keys, "counter", self.steps), keys)

    def test_puts_and_deletes_of_neighbours_do_not_lose_files(self, fileio: FileIO) -> None:
        """Folders that empty under a put are where a folder could lose one."""

        def churn(runner: int) -> None:
            for number in range(self.rounds):
                fileio.put(f"shared/deep/{runner}", b"gone")
                fileio.delete_many([f"shared/deep/{runner}"])
                fileio.put(f"shared/kept/{runner}/{number}", b"kept")

        run_in_threads(churn, self.runners)
        kept = sorted(
            f"shared/kept/{runner}/{number}" for runner in range(self.runners) for number in range(self.rounds)
        )
        assert [entry.key for entry in fileio.list("shared/")] == kept

    def check(self, fileio: FileIO, won: dict[str, list[str]], keys: list[str]) -> None:
        """Every file has one winner, whose bytes it holds, and no step of the counter was lost."""
        assert sorted(key for mine in won.values() for key in mine) == sorted(keys)
        for runner, mine in won.items():
            assert [fileio.read(key) for key in mine] == [runner.encode()] * len(mine)
        assert fileio.read("counter") == str(self.runners * self.steps).encode()
