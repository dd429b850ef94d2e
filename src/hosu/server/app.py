"""The composition root: from a folder and settings to running processes."""

import contextlib
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import msgspec

from hosu.kernel.clock import SystemClock
from hosu.kernel.errors import ErrorKind, UnavailableError
from hosu.kernel.lakekey import VARIABLES, LakeKey
from hosu.kernel.settings import Settings, parse_address
from hosu.objects.lock import LakeLock
from hosu.objects.store import ObjectStore
from hosu.server.bell import hang_bell
from hosu.server.credentials import RootCredentials, root_credentials
from hosu.server.notify.senders import check_libraries
from hosu.server.plan import CONSOLE, KEEPER, S3, S3_WITH_UPKEEP, Plan, Process
from hosu.server.supervisor import become_supervisor, listen
from hosu.server.tls import load_certificates

DESCRIPTORS_MIN = 1024
"""Fewer open files than this cannot serve even a busy laptop."""

DESCRIPTORS_KEPT = 256
"""Left for the database, blob files being written, logs and libraries."""

CONNECTIONS_MAX = 16_384


class Server:
    """A lake about to be served: its folder is sound, its lock is held and its ports are bound."""

    def __init__(
        self,
        lake: Path,
        settings: Settings,
        *,
        default_root: tuple[str, str] | None = None,
        lake_key: LakeKey | None = None,
    ) -> None:
        self.lake = lake.absolute()
        self.settings = settings
        self.lake_key = lake_key
        self.descriptors = raise_descriptor_limit()
        check_libraries(settings.notify)
        load_certificates(settings, SystemClock())  # each process reads them again; here they are only tried
        with contextlib.ExitStack() as opening:
            with _explained(self.lake):
                ObjectStore(
                    self.lake,
                    space_reserve_bytes=settings.space_reserve_bytes,
                    lake_key=lake_key,
                    default_encryption=settings.default_encryption == "on",
                ).close()
                self._lock = LakeLock(self.lake)
                opening.callback(self._lock.release)
            address = parse_address(settings.address)
            several = settings.workers > 1
            self._s3 = [opening.enter_context(listen(address, "S3", reuse_port=several))]
            self.s3_address: tuple[str, int] = self._s3[0].getsockname()[:2]
            for _ in range(settings.workers - 1):
                again = listen((address[0], self.s3_address[1]), "S3", reuse_port=True)
                self._s3.append(opening.enter_context(again))
            self._console = opening.enter_context(listen(parse_address(settings.console_address), "the status page"))
            self.console_address: tuple[str, int] = self._console.getsockname()[:2]
            with _explained(self.lake):
                self._bell = opening.enter_context(hang_bell(self.lake))
            # Last of all: generated ones are shown once, by a start that succeeds.
            with _explained(self.lake):
                self.root: RootCredentials = root_credentials(self.lake, settings, default=default_root)
            self._held = opening.pop_all()

    def run(self) -> NoReturn:
        """Serve until told to stop, then leave: this process becomes the supervisor."""
        processes = [
            Process(f"s3-{index}", S3 if index else S3_WITH_UPKEEP, listener.fileno())
            for index, listener in enumerate(self._s3)
        ]
        processes.append(Process("keeper", KEEPER, self._bell.fileno(), is_lazy=True))
        processes.append(Process("console", CONSOLE, self._console.fileno(), is_lazy=True))
        plan = Plan(
            lake=str(self.lake),
            settings=self.settings,
            access_key=self.root.access_key,
            secret=self.root.secret,
            s3_host=self.s3_address[0],
            s3_port=self.s3_address[1],
            connections_max=min(CONNECTIONS_MAX, (self.descriptors - DESCRIPTORS_KEPT) // 2),
            lake_key=self.lake_key,
            services=processes,
            started_ms=SystemClock().now_ms(),
        )
        for name in VARIABLES:  # the plan hands the key on; the environment of a process is read too easily
            os.environ.pop(name, None)
        become_supervisor(
            msgspec.json.encode(plan), [self._lock.descriptor, *(process.listener for process in processes)]
        )

    @property
    def is_secure(self) -> bool:
        """Whether all ports speak TLS."""
        return bool(self.settings.certificate_file or self.settings.certs_dir)

    def close(self) -> None:
        """Give up the lock and the ports without having served."""
        self._held.close()


@contextlib.contextmanager
def _explained(lake: Path) -> Iterator[None]:
    """Say which file of a lake the system refuses."""
    try:
        yield
    except OSError as error:
        raise UnavailableError(
            ErrorKind.DISK_FAULT, f"{error.filename or lake} cannot be used: {error.strerror or error}"
        ) from error


def raise_descriptor_limit() -> int:
    """Allow as many open files as the system lets this user have; refuse to start with hopelessly few."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else hard
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    if soft < DESCRIPTORS_MIN:
        raise UnavailableError(
            ErrorKind.INVALID_SETTING,
            f"only {soft} open files are allowed; raise the limit to {DESCRIPTORS_MIN} (ulimit -n)",
        )
    return soft
