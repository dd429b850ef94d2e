"""Reads that somebody asked to be told of: gathered as they are answered, and written to the change feed together."""

import asyncio
from functools import partial

from hosu.kernel.errors import HosuError
from hosu.kernel.log import get_logger
from hosu.objects.accesses import Access, record_accesses
from hosu.rules.events.config import wanted_events
from hosu.rules.events.names import ACCESS_KINDS
from hosu.server.http import Request
from hosu.server.s3.call import Call, Engine

GATHER_S = 0.1
"""How long a read waits for others, so that they share a transaction."""

WAITING_MAX = 10_000
"""Reads that wait to be written; of more than these nobody is told."""

ANSWERED = frozenset({200, 206})

_LOG = get_logger("accesses")


class Accesses:
    """Told of each request that was answered, on the event loop. Reads that nobody asked about cost a comparison."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._listeners = engine.listeners
        self._number = engine.store.generation.number
        self._seen = -1
        self._wanted: dict[str, frozenset[str]] = {}
        self._waiting: list[Access] = []
        self._dropped = 0
        self._writing: asyncio.Task[None] | None = None

    def answered(self, request: Request, status: int) -> None:
        """Note a read, where its bucket or a listener asked for it."""
        if self._seen != (number := self._number()):
            self._look(number)
        if not (self._wanted or self._listeners.access_count) or status not in ANSWERED:
            return
        call = request.note
        if not isinstance(call, Call):
            return
        kind = ACCESS_KINDS.get(call.operation)
        if kind is None:
            return
        if kind in self._wanted.get(call.bucket, ()) or self._listeners.want_access(call.bucket):
            self._note(call, kind)

    def _look(self, number: int) -> None:
        """Learn which reads rules ask for; where they cannot be read now, what was known goes on counting."""
        try:
            self._wanted = _wanted_kinds(self._engine)
        except HosuError as error:
            _LOG.error("rules about reads cannot be read", kind=error.kind, error=error.message)
        else:
            self._seen = number

    def _note(self, call: Call, kind: str) -> None:
        if len(self._waiting) >= WAITING_MAX:
            self._dropped += 1
            return
        version_id = call.query.get("versionId") if call.request.raw_query else None
        now_ms = self._engine.store.clock.now_ms()
        self._waiting.append(
            Access(
                now_ms, kind, call.bucket, call.key, version_id, call.principal.name, call.request.request_id,
                call.source_ip,
            )
        )  # fmt: skip
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(GATHER_S)
                await self._flush()
        finally:
            self._writing = None

    async def _flush(self) -> None:
        accesses, self._waiting = self._waiting, []
        dropped, self._dropped = self._dropped, 0
        if dropped:
            _LOG.warning("reads are not told of: too many at once", count=dropped)
        if not accesses:
            return
        try:
            await self._engine.commit(partial(record_accesses, accesses=accesses))
        except Exception as error:  # noqa: BLE001 - nobody waits for it; reads go on
            _LOG.error("reads cannot be told of", count=len(accesses), error=f"{type(error).__name__}: {error}")

    async def close(self) -> None:
        """Write what is left."""
        await self._flush()


def _wanted_kinds(engine: Engine) -> dict[str, frozenset[str]]:
    kinds = {f"s3:{kind}": kind for kind in ACCESS_KINDS.values()}
    found = {
        bucket: frozenset(kinds[name] for name in names if name in kinds)
        for bucket, names in wanted_events(engine.store.view()).items()
    }
    return {bucket: names for bucket, names in found.items() if names}
