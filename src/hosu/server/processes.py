"""What each process of a server does, from a plan to a running event loop."""

import asyncio
import gc
import math
import os
import signal
import socket
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from hosu.identity.acl import Acls
from hosu.identity.authority import Authority
from hosu.identity.sessions import has_expired, remove_expired
from hosu.kernel.errors import HosuError
from hosu.kernel.log import get_logger
from hosu.kernel.settings import Settings
from hosu.objects.store import ObjectStore
from hosu.rules.healing import install_healer
from hosu.server.extensions import ExtensionMaker
from hosu.server.plan import CONSOLE, KEEPER, S3_WITH_UPKEEP, Plan
from hosu.server.tls import Certificates, load_certificates

UPKEEP_PERIOD_S = 60.0
BELL_PERIOD_S = 0.5
"""How soon the keeper hears of a new rule."""

ORPHANS_PERIOD_S = 3600.0
"""Between two walks over all blob files, which find what crashes left behind."""

UPKEEP_STOP_S = 30.0
KEEPER_NICENESS = 5
"""What carries out rules has time: whoever answers clients comes first. More would keep writers waiting for it."""

READY_PERIOD_MS = 1_000
"""How often a health check tries to write."""

_LOG = get_logger("server")


def run_role(role: str, raw_plan: bytes, listener: socket.socket, alive: int, name: str = "s3-0") -> None:
    """Serve in this process until SIGTERM, SIGINT or until `alive` closes; the plan is a `Plan` as JSON."""
    plan = msgspec.json.decode(raw_plan, type=Plan)
    if role == KEEPER:
        os.nice(KEEPER_NICENESS)  # before there are threads: each has its own from the one that starts it
    store = ObjectStore(
        Path(plan.lake),
        space_reserve_bytes=plan.settings.space_reserve_bytes,
        lake_key=plan.lake_key,
        default_encryption=plan.settings.default_encryption == "on",
        is_audited=plan.settings.audit,
    )
    install_healer(store, is_server=True)
    if role == KEEPER:
        from hosu.server.keeper import serve_keeper  # noqa: PLC0415 - imported by the process that needs it

        with store:
            serve_keeper(plan, store, listener, alive, name)
        return
    acls = Acls(store, ownership=plan.settings.object_ownership, root=plan.access_key)
    authority = Authority(store, (plan.access_key, plan.secret), acls=acls)
    certificates = load_certificates(plan.settings, store.clock)
    tls = None if certificates is None else certificates.context
    stop_upkeep = start_upkeep(store, plan.settings) if role == S3_WITH_UPKEEP else None
    observation = None
    try:
        if role == CONSOLE:
            from hosu.server.pages import serve_pages  # noqa: PLC0415 - imported by the process that needs it

            serve = partial(
                serve_pages, store, authority, authority, (plan.s3_host, plan.s3_port), listener, tls=tls
            )  # fmt: skip
        else:
            from hosu.server.observation import Observation  # noqa: PLC0415 - as above
            from hosu.server.s3.process import serve_s3  # noqa: PLC0415 - as above

            is_ready = Readiness(store)
            observation = Observation(store, plan, name, is_ready=is_ready, carries_audit=role == S3_WITH_UPKEEP)
            serve = partial(
                serve_s3, store, authority, authority, plan.settings, listener,
                connections_max=plan.connections_max, is_ready=is_ready, tls=tls, acls=acls,
                extensions=[observation.extension, *_extensions(plan, authority)], observer=observation.observer,
            )  # fmt: skip
        run_loop(serve, alive, certificates)
    finally:
        if stop_upkeep is not None:
            stop_upkeep()
        if observation is not None:
            observation.close()
        store.close()


def _extensions(plan: Plan, authority: Authority) -> list[ExtensionMaker]:
    """Return what answers on the S3 port beside S3, in the order they are asked."""
    from hosu.server.minio_admin.service import AdminService  # noqa: PLC0415 - imported by the process that needs it
    from hosu.server.sts.service import StsService  # noqa: PLC0415 - as above

    return [
        partial(StsService, authority=authority, settings=plan.settings),
        partial(AdminService, authority=authority, settings=plan.settings),
    ]


class Readiness:
    """Whether the lake takes writes; tried at most once a second."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._checked_ms = 0
        self._is_ready = True

    def __call__(self) -> bool:
        """Try to write a small file, unless it was tried just now."""
        now_ms = self._store.clock.now_ms()
        if not 0 <= now_ms - self._checked_ms < READY_PERIOD_MS:
            self._checked_ms = now_ms
            probe = self._store.path / "tmp" / f".ready.{os.getpid()}"
            try:
                self._store.check_space()
                probe.write_bytes(b"ready\n")
                probe.unlink(missing_ok=True)  # two threads may ask at once
                self._is_ready = True
            except (OSError, HosuError):
                self._is_ready = False
        return self._is_ready


def run_loop(
    serve: Callable[[asyncio.Event], Coroutine[Any, Any, None]], alive: int, certificates: Certificates | None = None
) -> None:
    """Run a service on an event loop until SIGTERM, SIGINT or the parent's death; SIGHUP renews certificates."""

    async def main() -> None:
        loop, stop, asked = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

        def orphaned() -> None:
            loop.remove_reader(alive)  # a closed pipe would wake the loop again and again
            stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, asked.set)
        loop.add_reader(alive, orphaned)
        watching = None if certificates is None else loop.create_task(certificates.watch(asked))
        gc.collect()
        gc.freeze()
        await serve(stop)
        loop.remove_reader(alive)
        if watching is not None:
            watching.cancel()

    uvloop.run(main())


def end_sessions(store: ObjectStore) -> int:
    """Remove expired sessions, a transaction for some of them at a time; return how many went."""
    ended = 0
    while count := store.commit(remove_expired) if has_expired(store.view()) else 0:
        ended += count
    return ended


def start_upkeep(store: ObjectStore, settings: Settings) -> Callable[[], None]:
    """Sweep the lake now and then, in a thread, and start the keeper when it is needed; return what ends it."""
    from hosu.objects.sweep import sweep  # noqa: PLC0415 - as above
    from hosu.server.alerts.watch import Watch  # noqa: PLC0415 - as above
    from hosu.server.bell import Bell  # noqa: PLC0415 - as above

    ending = threading.Event()
    bell = Bell(store, settings)
    watch = Watch(store, settings, is_writable=Readiness(store))

    def work() -> None:
        looked_s, swept_s = -math.inf, store.clock.monotonic()
        while not ending.wait(BELL_PERIOD_S):
            try:
                bell.look()
            except Exception as error:  # noqa: BLE001 - as below
                _LOG.error("rules cannot be looked up", error=f"{type(error).__name__}: {error}")
            try:
                watch.look()
            except Exception as error:  # noqa: BLE001 - as below
                _LOG.error("the server cannot look after itself", error=f"{type(error).__name__}: {error}")
            now_s = store.clock.monotonic()
            if now_s - swept_s < UPKEEP_PERIOD_S:
                continue
            swept_s = now_s
            looks = now_s - looked_s >= ORPHANS_PERIOD_S
            try:
                report = sweep(store, looks_for_orphans=looks)
                end_sessions(store)
                if report.blobs or report.orphans:
                    _LOG.info("swept", blobs=report.blobs, bytes=report.bytes, orphans=report.orphans)
            except Exception as error:  # noqa: BLE001 - whatever it was, the next sweep tries again
                _LOG.error("sweep failed", error=f"{type(error).__name__}: {error}")
            looked_s = now_s if looks else looked_s

    thread = threading.Thread(target=work, name="hosu-upkeep", daemon=True)
    thread.start()

    def end() -> None:
        ending.set()
        thread.join(UPKEEP_STOP_S)

    return end
