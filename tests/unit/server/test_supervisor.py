"""The supervisor, with processes that do next to nothing, in an interpreter of its own as it is in life."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from hosu.kernel.errors import ErrorKind, HosuError, InvalidInputError
from hosu.server.metrics.meter import Meter
from hosu.server.supervisor import Restarts, become_supervisor, listen

SCRIPT = """
import os, select, signal, socket, sys, time
from hosu.kernel.errors import ErrorKind, UnavailableError
from hosu.server.supervisor import Service, Supervisor, listen

def answer(listener, alive):
    "Tell every client our pid, until SIGTERM or until the parent is gone."
    ends, told = os.pipe()
    signal.signal(signal.SIGTERM, lambda *_: os.write(told, b"x"))
    while True:
        ready, _, _ = select.select([listener, alive, ends], [], [])
        if listener not in ready:
            break
        client, _ = listener.accept()
        client.sendall(str(os.getpid()).encode())
        client.close()
    os.write(1, b"ended\\n")  # in one piece: two processes share the pipe

def refuse(listener, alive):
    raise UnavailableError(ErrorKind.DISK_FULL, "no room")

def crash(listener, alive):
    raise KeyError("odd")

def stay(listener, alive):
    "Take no notice of being asked to stop, for a second."
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    client, _ = listener.accept()
    client.sendall(b"here")
    time.sleep(0.5)
    os.write(1, b"finished\\n")

sockets = [listen(("127.0.0.1", 0), "test") for _ in range(2)]
for held in sockets:
    held.setblocking(True)
print(sockets[0].getsockname()[1], sockets[1].getsockname()[1], flush=True)
first, second = sys.argv[1:]
Supervisor([
    Service("first", sockets[0], globals()[first]),
    Service("second", sockets[1], globals()[second], is_lazy=True),
]).run()
"""


class Supervised:
    """A supervisor of two services, the second of which waits for its first client."""

    def __init__(self, first: str, second: str, log: Path) -> None:
        self._log = log
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-c", textwrap.dedent(SCRIPT), first, second], stdout=subprocess.PIPE, stderr=stderr
            )
        assert self.process.stdout is not None
        self.stdout = self.process.stdout
        self.ports = [int(port) for port in self.stdout.readline().split()]

    def ask(self, number: int) -> int:
        """Return the pid of the process that serves a port."""
        with socket.create_connection(("127.0.0.1", self.ports[number]), timeout=20) as client:
            return int(client.recv(100))

    def events(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    def logged(self, event: str, count: int = 1) -> list[dict[str, object]]:
        """Wait until an event was logged so often."""
        for _ in range(2000):
            found = [line for line in self.events() if line["event"] == event]
            if len(found) >= count:
                return found
            threading.Event().wait(0.005)
        raise AssertionError(self._log.read_text())

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)

    def close(self) -> None:
        if self.process.poll() is None:
            self.stop()
        self.stdout.close()


Supervise = Callable[[str, str], Supervised]


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Supervise]:
    with contextlib.ExitStack() as started:

        def start(first: str, second: str) -> Supervised:
            supervised = Supervised(first, second, tmp_path / "log")
            started.callback(supervised.close)
            return supervised

        yield start


def test_a_killed_process_is_started_again_on_the_same_socket_and_that_is_logged(supervise: Supervise) -> None:
    supervised = supervise("answer", "answer")
    first = supervised.ask(0)
    os.kill(first, signal.SIGKILL)
    second = supervised.ask(0)
    assert second != first
    died = supervised.logged("process died and is started again")[0]
    assert (died["process"], died["pid"], died["exit"], died["level"]) == ("first", first, -9, "error")
    assert supervised.stop() == 0


def test_clients_that_come_while_nobody_serves_wait_for_the_next_process(supervise: Supervise) -> None:
    supervised = supervise("answer", "answer")
    first = supervised.ask(0)
    os.kill(first, signal.SIGSTOP)  # nobody accepts from here on
    waiting = [socket.create_connection(("127.0.0.1", supervised.ports[0]), timeout=20) for _ in range(50)]
    os.kill(first, signal.SIGKILL)
    assert {int(client.recv(100)) for client in waiting} == {supervised.ask(0)} != {first}
    for client in waiting:
        client.close()


def test_a_lazy_process_starts_with_its_first_client(supervise: Supervise) -> None:
    supervised = supervise("answer", "answer")
    served = supervised.ask(0)

    def children() -> set[int]:
        return {child.pid for child in psutil.Process(supervised.process.pid).children()}

    assert children() == {served}
    lazy = supervised.ask(1)
    assert children() == {served, lazy}


def test_a_process_that_cannot_run_says_why_and_is_tried_again(supervise: Supervise) -> None:
    supervised = supervise("refuse", "answer")
    supervised.logged("process cannot run", 2)
    refused = supervised.events()[0]
    assert (refused["process"], refused["kind"], refused["error"]) == ("first", "disk-full", "no room")
    supervised.ask(1)
    assert supervised.stop() == 0


def test_a_crash_is_logged_with_its_traceback(supervise: Supervise) -> None:
    supervised = supervise("crash", "answer")
    failed = supervised.logged("process failed")[0]
    assert "KeyError: 'odd'" in str(failed["exception"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_stops_the_processes_and_leaves_with_zero(number: int, supervise: Supervise) -> None:
    supervised = supervise("answer", "answer")
    supervised.ask(0)
    supervised.ask(1)
    assert supervised.stop(number) == 0
    assert supervised.stdout.read() == b"ended\nended\n"
    assert supervised.events() == []


def test_what_is_under_way_is_waited_for_while_newcomers_are_refused(supervise: Supervise) -> None:
    supervised = supervise("answer", "stay")
    supervised.ask(0)
    with socket.create_connection(("127.0.0.1", supervised.ports[1]), timeout=20) as client:
        assert client.recv(10) == b"here"
        assert supervised.stop() == 0
    assert supervised.stdout.read() == b"ended\nfinished\n"


def test_processes_notice_that_their_parent_was_killed(supervise: Supervise) -> None:
    supervised = supervise("answer", "answer")
    supervised.ask(0)
    supervised.ask(1)
    assert supervised.stop(signal.SIGKILL) == -9
    assert supervised.stdout.read() == b"ended\nended\n"  # read to the end: the last one that held it has gone


def test_a_port_in_use_is_told_with_its_name() -> None:
    with listen(("127.0.0.1", 0), "S3") as held, pytest.raises(InvalidInputError) as refused:
        listen(held.getsockname()[:2], "the status page")
    assert refused.value.kind is ErrorKind.INVALID_SETTING
    assert "cannot serve the status page on 127.0.0.1:" in refused.value.message
    assert "Address already in use; choose another address" in refused.value.message


@pytest.mark.parametrize("host", ["192.0.2.1", "a..b", "x" * 70])
def test_an_address_that_is_not_ours_is_told(host: str) -> None:
    with pytest.raises(HosuError, match="cannot serve S3 on"):
        listen((host, 0), "S3")


def test_without_a_host_both_families_are_served() -> None:
    with listen(("", 0), "S3") as held:
        port = held.getsockname()[1]
        families = [("127.0.0.1", port)] + ([("::1", port)] if socket.has_dualstack_ipv6() else [])
        for address in families:
            socket.create_connection(address, timeout=10).close()


def test_several_processes_may_listen_side_by_side() -> None:
    with (
        listen(("127.0.0.1", 0), "S3", reuse_port=True) as first,
        listen(first.getsockname()[:2], "S3", reuse_port=True) as second,
    ):
        assert first.getsockname() == second.getsockname()


def test_a_plan_of_any_length_reaches_the_supervisor(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr("os.execv", lambda _, arguments: started.append(arguments))
    plan = os.urandom(300_000)
    become_supervisor(plan, [])
    with os.fdopen(int(started[0][-1]), "rb") as held:
        assert held.read() == plan


def test_restarts_are_counted_for_metrics(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    restarts = Restarts(str(tmp_path), 7, ["s3-0", "console"])
    restarts.count("s3-0")
    restarts.count("s3-0")
    published = json.loads((tmp_path / "tmp" / "metrics" / "supervisor.json").read_text())
    assert published == {
        "run": 7, "process": "supervisor", "pid": os.getpid(), "totals": {"restarts:s3-0": 2, "restarts:console": 0},
    }  # fmt: skip
    (own,) = Meter(tmp_path, run=7, process="s3-0").others()
    assert own.totals["restarts:s3-0"] == 2


def test_restarts_that_cannot_be_published_harm_nobody(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tmp").write_text("in the way")
    Restarts(str(tmp_path), 7, ["s3-0"]).count("s3-0")
    assert "restarts cannot be published" in capfd.readouterr().err


@pytest.mark.parametrize("is_nohup", [False, True])
def test_who_was_started_with_nohup_stays_when_the_terminal_closes(tmp_path: Path, *, is_nohup: bool) -> None:
    script = textwrap.dedent(SCRIPT).replace(
        "first, second = sys.argv[1:]",
        "import fcntl, termios\n"
        "fcntl.ioctl(int(sys.argv.pop()), termios.TIOCSCTTY, 0)\n"
        f"signal.signal(signal.SIGHUP, signal.{'SIG_IGN' if is_nohup else 'SIG_DFL'})\n"
        "first, second = sys.argv[1:]",
    )
    terminal, line = os.openpty()
    with (tmp_path / "log").open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-c", script, "answer", "answer", str(line)], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=stderr, start_new_session=True, pass_fds=[line],
        )  # fmt: skip
    os.close(line)
    assert process.stdout is not None
    with process.stdout as stdout:
        port = int(stdout.readline().split()[0])
        try:
            for _ in range(2):
                with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
                    assert client.recv(100)
                if is_nohup and terminal >= 0:
                    os.close(terminal)  # the system sends SIGHUP
                    terminal = -1
            if not is_nohup:
                os.close(terminal)
                terminal = -1
                assert process.wait(30) == 0
            assert (process.poll() is None) == is_nohup
        finally:
            if terminal >= 0:
                os.close(terminal)
            if process.poll() is None:
                process.terminate()
            process.wait(30)
