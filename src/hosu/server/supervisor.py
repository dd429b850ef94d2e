"""The parent of a server: holds the lake's lock and the listening sockets, and keeps the processes running.

A process that dies is started again on the same sockets, so clients wait instead of being refused. The status
page's process starts with its first visitor: an idle lake pays for what it serves. The supervisor runs in an
interpreter of its own that imports nothing else: what it held, every process would hold beside its own.
"""

import contextlib
import json
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn

from hosu.kernel.errors import ErrorKind, HosuError, InvalidInputError
from hosu.kernel.log import configure_logs, get_logger

STOP_GRACE_S = 30.0
"""How long the processes may finish what is under way after SIGTERM."""

KILL_AFTER_S = STOP_GRACE_S + 15.0
"""A process that has not ended by then is killed: it had its grace, and time to close the lake."""

RUN_S_MIN = 1.0
"""A process that died sooner after its start waits for the rest of it, so that it does not take the machine."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP)
_LOG = get_logger("supervisor")


class Service:
    """A process to keep running on a socket. `run` is called in it with a descriptor that closes when the parent dies.

    With `is_lazy` it starts with the first client that connects, and may end until the next one does.
    """

    def __init__(
        self, name: str, listener: socket.socket, run: Callable[[socket.socket, int], None], *, is_lazy: bool = False
    ) -> None:
        self.name = name
        self.listener = listener
        self.run = run
        self.is_lazy = is_lazy
        self.pid = 0
        self.started_s = 0.0
        self.start_after_s: float | None = None


class Supervisor:
    """Runs services until SIGTERM or SIGINT, then stops them."""

    def __init__(self, services: list[Service], *, on_restart: Callable[[str], None] | None = None) -> None:
        self._services = services
        self._on_restart = on_restart
        self._selector = selectors.DefaultSelector()
        self._is_stopping = False
        self._is_asked_to_reload = False
        # Who was started with `nohup` stays when the terminal closes.
        self._has_terminal = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN and _has_terminal()
        self._alive_read, self._alive_write = os.pipe()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        os.set_blocking(self._wake_read, False)

    def run(self) -> None:
        """Start everything and return when all of it has stopped."""
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGHUP, self._reload)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        for service in self._services:
            if service.is_lazy:
                self._selector.register(service.listener, selectors.EVENT_READ, service)
            else:
                self._start(service)
        while not self._is_stopping:
            for key, _ in self._selector.select(self._pause_s()):
                if key.data is not None and not self._is_stopping:
                    self._selector.unregister(key.fileobj)
                    self._start(key.data)
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake_read, 4096)
            if self._is_asked_to_reload:
                self._pass_on_hangup()
            self._reap()
        self._shut_down()

    def _stop(self, *_: object) -> None:
        self._is_stopping = True

    def _reload(self, *_: object) -> None:
        self._is_asked_to_reload = True

    def _pass_on_hangup(self) -> None:
        """Tell the processes to read again what may have changed; or stop, when it was the terminal that closed."""
        self._is_asked_to_reload = False
        if self._has_terminal and not _has_terminal():
            self._is_stopping = True
            return
        for service in self._services:
            if service.pid:
                os.kill(service.pid, signal.SIGHUP)

    def _pause_s(self) -> float | None:
        waiting = [service.start_after_s for service in self._services if service.start_after_s is not None]
        return max(min(waiting) - time.monotonic(), 0.0) if waiting else None

    def _start(self, service: Service) -> None:
        service.start_after_s = None
        service.started_s = time.monotonic()
        # A signal between the fork and the child's own handlers would run this process's handler, and be lost.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        pid = os.fork()
        if pid:
            service.pid = pid
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            return
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until it has read what it would read again
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            os.close(self._alive_write)
            os.close(self._wake_read)
            os.close(self._wake_write)
            self._selector.close()
            for other in self._services:
                if other is not service:
                    other.listener.close()
            service.run(service.listener, self._alive_read)
            status = 0
        except HosuError as error:
            _LOG.error("process cannot run", process=service.name, kind=error.kind, error=error.message)
        except BaseException as error:  # noqa: BLE001 - a child never returns into its parent's code
            _LOG.error("process failed", process=service.name, exc_info=error)
        finally:
            os._exit(status)

    def _reap(self) -> None:
        now_s = time.monotonic()
        for service in self._services:
            if service.pid:
                pid, status = os.waitpid(service.pid, os.WNOHANG)
                if pid and service.is_lazy and status == 0 and not self._is_stopping:
                    self._selector.register(service.listener, selectors.EVENT_READ, service)
                elif pid and not self._is_stopping:
                    _LOG.error(
                        "process died and is started again", process=service.name, pid=pid,
                        exit=os.waitstatus_to_exitcode(status),
                    )  # fmt: skip
                    service.start_after_s = service.started_s + RUN_S_MIN
                    if self._on_restart is not None:
                        self._on_restart(service.name)
                if pid:
                    service.pid = 0
            if service.start_after_s is not None and service.start_after_s <= now_s and not self._is_stopping:
                self._start(service)

    def _shut_down(self) -> None:
        running = [service for service in self._services if service.pid]
        for service in running:
            os.kill(service.pid, signal.SIGTERM)
        for service in self._services:
            service.listener.close()  # who connects from now on is refused at once
        kill_at_s = time.monotonic() + KILL_AFTER_S
        while any(service.pid for service in running):
            self._reap()
            if time.monotonic() > kill_at_s:
                for service in running:
                    if service.pid:
                        _LOG.error("process does not stop and is killed", process=service.name, pid=service.pid)
                        os.kill(service.pid, signal.SIGKILL)
                        os.waitpid(service.pid, 0)
                        service.pid = 0
            time.sleep(0.01)


def become_supervisor(plan: bytes, descriptors: list[int]) -> NoReturn:
    """Go on as a supervisor in a fresh interpreter, under the same process id, with these descriptors left open.

    The plan, JSON as `main` reads it, travels in memory of its own: arguments and variables can be read by others.
    """
    held = os.memfd_create("hosu-plan")
    with os.fdopen(held, "wb", closefd=False) as file:
        file.write(plan)
    os.lseek(held, 0, os.SEEK_SET)
    for descriptor in (held, *descriptors):
        os.set_inheritable(descriptor, True)  # noqa: FBT003 - takes no keyword
    sys.stdout.flush()
    sys.stderr.flush()
    # -P: a module beside the user's data must not stand in for one of Python's.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "hosu.server.supervisor", str(held)])  # noqa: S606


def main() -> None:
    """Run the services of the plan in the descriptor that the first argument names.

    The plan is a `hosu.server.plan.Plan` as JSON, read without the modules that define it.
    """
    with os.fdopen(int(sys.argv[1]), "rb") as held:
        raw = held.read()
    plan = json.loads(raw)
    configure_logs(plan["settings"]["log_level"])
    services = [_service(raw, **facts) for facts in plan["services"]]
    restarts = Restarts(plan["lake"], plan["started_ms"], [service.name for service in services])
    Supervisor(services, on_restart=restarts.count).run()


class Restarts:
    """Counts for metrics how often each process had to be started again.

    They lie beside what the processes publish: a `hosu.server.metrics.meter.Snapshot` as JSON.
    """

    def __init__(self, lake: str, run: int, names: list[str]) -> None:
        self._folder = os.path.join(lake, "tmp", "metrics")  # noqa: PTH118 - this interpreter has no pathlib
        self._run = run
        self._counts = dict.fromkeys(names, 0)
        self._publish()

    def count(self, name: str) -> None:
        """Count a process that has died."""
        self._counts[name] += 1
        self._publish()

    def _publish(self) -> None:
        totals = {f"restarts:{name}": number for name, number in self._counts.items()}
        path = os.path.join(self._folder, "supervisor.json")  # noqa: PTH118 - as above
        try:
            os.makedirs(self._folder, exist_ok=True)  # noqa: PTH103 - as above
            with open(f"{path}.new", "w", encoding="utf-8") as file:  # noqa: PTH123 - as above
                json.dump({"run": self._run, "process": "supervisor", "pid": os.getpid(), "totals": totals}, file)
            os.replace(f"{path}.new", path)  # noqa: PTH105 - as above
        except OSError as error:
            _LOG.warning("restarts cannot be published", error=str(error))


def _has_terminal() -> bool:
    """Whether somebody started this process at a terminal that is still there."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _service(plan: bytes, name: str, role: str, listener: int, is_lazy: bool) -> Service:  # noqa: FBT001 - from JSON
    def run(held: socket.socket, alive: int) -> None:
        from hosu.server.processes import run_role  # noqa: PLC0415 - only the processes hold what they need

        run_role(role, plan, held, alive, name)

    os.set_inheritable(listener, False)  # noqa: FBT003 - as above
    return Service(name, socket.socket(fileno=listener), run, is_lazy=is_lazy)


def listen(address: tuple[str, int], what: str, *, reuse_port: bool = False) -> socket.socket:
    """Bind and listen on (host, port); raises an error that says who is to be asked to move."""
    host, port = address
    options: dict[str, Any] = {"type": socket.SOCK_STREAM, "flags": socket.AI_PASSIVE}
    try:
        family, _, _, _, target = socket.getaddrinfo(host or None, port, **options)[0]
        if not host and socket.has_dualstack_ipv6():
            family, target = socket.AF_INET6, ("::", port)
        listener = socket.socket(family, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise _cannot_listen(address, what, error) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if not host else 1)
        listener.bind(target)
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise _cannot_listen(address, what, error) from error
    listener.settimeout(0)
    return listener


def _cannot_listen(address: tuple[str, int], what: str, error: Exception) -> InvalidInputError:
    where = f"{address[0] or '*'}:{address[1]}"
    return InvalidInputError(
        ErrorKind.INVALID_SETTING,
        f"cannot serve {what} on {where}: {getattr(error, 'strerror', None) or error}; choose another address",
    )


if __name__ == "__main__":
    main()
