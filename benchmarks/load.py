"""The load generator: worker processes that each drive their share of the connections with one epoll loop.

It has to cost less than the servers it measures: requests are signed before the clock starts, an answer is read
just far enough to know its status and its end, and large bodies are counted into one buffer and dropped.
The parent starts the clock of all workers at once, and watches the server meanwhile.
"""

import gc
import multiprocessing
import os
import select
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait

from benchmarks.flows import Job, build
from benchmarks.wire import Connection, Flow, Response, WireError

SCRATCH_BYTES = 1024 * 1024
ERRORS_MAX = 10
"""A job with so many errors says nothing any more and stops."""

PREPARE_S_MAX = 120.0
DRAIN_S_MAX = 120.0
"""Longest a worker may take to sign and warm up, and to finish what is under way when its time is over."""

GO = "go"
READY = "ready"


@dataclass
class Result:
    """What one worker saw between the start of the clock and its last answer."""

    ops: int = 0
    payload_bytes: int = 0
    elapsed_s: float = 0.0
    latencies_ns: "array[int]" = field(default_factory=lambda: array("q"))
    errors: int = 0
    first_error: str = ""
    issued: int = 0
    """Requests drawn since the job began, warm-up included."""
    load_cpu_s: float = 0.0

    def fail(self, reason: str) -> None:
        """Count an error and keep the first reason."""
        self.errors += 1
        self.first_error = self.first_error or reason[:300]


class LoadError(Exception):
    """A worker died or did not answer in time."""


class Driver:
    """Keeps every connection busy with one request at a time until told to stop."""

    def __init__(self, job: Job) -> None:
        self._address = (job.target.host, job.target.port)
        self._flows = build(job)
        self._poll = select.epoll()
        self._scratch = bytearray(SCRATCH_BYTES)
        self._connections: dict[int, tuple[Connection, Flow]] = {}
        self._answers: dict[int, Response | None] = {}
        self.issued = 0
        self._ended = False
        for flow in self._flows:
            self._open(flow)

    def _open(self, flow: Flow) -> Connection:
        connection = Connection(self._address, os.urandom(8))
        self._connections[connection.sock.fileno()] = (connection, flow)
        self._answers[connection.sock.fileno()] = None
        self._poll.register(connection.sock.fileno(), select.EPOLLIN)
        return connection

    def _drop(self, descriptor: int) -> None:
        connection, _ = self._connections.pop(descriptor)
        del self._answers[descriptor]
        self._poll.unregister(descriptor)
        connection.close()

    def run(self, seconds: float, drain_s: float = DRAIN_S_MAX) -> Result:
        """Issue requests for `seconds`, then finish what is under way; what takes longer than `drain_s` is an error."""
        result = Result()
        begun_ns = time.perf_counter_ns()
        cpu_begun = time.process_time()
        until_ns = begun_ns + int(seconds * 1e9)
        busy = 0
        for descriptor in list(self._connections):
            busy += self._issue(descriptor, result)
        last_ns = begun_ns
        while busy:
            events = self._poll.poll(1.0)
            now_ns = time.perf_counter_ns()
            if now_ns > until_ns + drain_s * 1e9:
                result.fail(f"{busy} requests unanswered {drain_s} s after the end")
                break
            for ready, event in events:
                descriptor = ready
                if event & select.EPOLLOUT and not event & select.EPOLLIN:
                    if self._connections[descriptor][0].send_more():
                        self._poll.modify(descriptor, select.EPOLLIN)
                    continue
                state = self._advance(descriptor, result)
                if state is None:
                    continue
                last_ns = time.perf_counter_ns()
                # An operation of several requests is finished even when the time is over.
                go_on = not state or (last_ns < until_ns and result.errors < ERRORS_MAX)
                busy -= 1
                # Also when the time is over: a closed socket would be readable for ever.
                descriptor = self._renew(descriptor)
                if go_on:
                    busy += self._issue(descriptor, result)
        result.elapsed_s = (last_ns - begun_ns) / 1e9
        result.load_cpu_s = time.process_time() - cpu_begun
        return result

    def _issue(self, descriptor: int, result: Result) -> int:
        """Send the next request of the flow; return 1 if one is under way, 0 at the end of the flow."""
        connection, flow = self._connections[descriptor]
        try:
            request = flow.send(self._answers[descriptor])
        except StopIteration:
            return 0
        except WireError as error:
            result.fail(str(error))
            return 0
        previous = connection.request
        if previous is None or previous.last:
            connection.started_ns = time.perf_counter_ns()
        self.issued += 1
        try:
            if not connection.send(request):
                self._poll.modify(descriptor, select.EPOLLIN | select.EPOLLOUT)
        except OSError as error:
            result.fail(f"send: {error}")
            return 0
        return 1

    def _renew(self, descriptor: int) -> int:
        """Connect anew where the server closes; return the descriptor to go on with.

        The operation under way goes on over the new connection, and its time includes connecting.
        """
        old, flow = self._connections[descriptor]
        if not old.closing:
            return descriptor
        answer = self._answers[descriptor]
        self._drop(descriptor)
        fresh = self._open(flow)
        fresh.request, fresh.started_ns = old.request, old.started_ns
        self._answers[fresh.sock.fileno()] = answer
        return fresh.sock.fileno()

    def _advance(self, descriptor: int, result: Result) -> bool | None:
        """Read; return None while the answer is incomplete, else whether the operation is over."""
        connection = self._connections[descriptor][0]
        request = connection.request
        try:
            response = connection.receive(self._scratch)
        except BlockingIOError:
            return None
        except (OSError, ValueError, WireError) as error:
            result.fail(f"{type(error).__name__}: {error}")
            connection.closing = True
            return True
        if response is None:
            return None
        assert request is not None
        self._answers[descriptor] = response
        if not 200 <= response.status < 300:
            result.fail(f"status {response.status}: {response.body[:200]!r}")
            return True
        if request.expect_bytes >= 0 and response.length != request.expect_bytes:
            result.fail(f"answer of {response.length} bytes, expected {request.expect_bytes}")
            return True
        result.payload_bytes += request.payload_bytes
        if request.last:
            result.ops += 1
            result.latencies_ns.append(time.perf_counter_ns() - connection.started_ns)
        return request.last

    def close(self) -> None:
        """Close every connection."""
        for descriptor in list(self._connections):
            self._drop(descriptor)
        self._poll.close()


def work(pipe: Pipe) -> None:
    """Run jobs as they come, until the parent closes its end."""
    while True:
        try:
            job: Job = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(_run(job, pipe))
        except Exception as error:  # noqa: BLE001 - whatever goes wrong with a job is the parent's to report
            pipe.send(f"{type(error).__name__}: {error}")


def _run(job: Job, pipe: Pipe) -> Result:
    if job.op.startswith("boto3"):
        from benchmarks import user

        return user.run(job, lambda: _wait_for_go(pipe))
    driver = Driver(job)
    # A collection in the middle of a run would look like a slow server.
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        warm = driver.run(job.warm_s) if job.warm_s else Result()
        _wait_for_go(pipe)
        if warm.errors:
            return warm
        result = driver.run(DRAIN_S_MAX if job.once else job.seconds)
        result.issued = driver.issued
        return result
    finally:
        driver.close()
        gc.enable()
        gc.unfreeze()


def _wait_for_go(pipe: Pipe) -> None:
    pipe.send(READY)
    assert pipe.recv() == GO


@dataclass(frozen=True)
class Outcome:
    """All workers of a job together."""

    results: tuple[Result, ...]

    @property
    def errors(self) -> int:
        """Answers that were not as they should be."""
        return sum(result.errors for result in self.results)

    @property
    def first_error(self) -> str:
        """The first reason given."""
        return next((result.first_error for result in self.results if result.first_error), "")

    @property
    def ops(self) -> int:
        """Operations completed."""
        return sum(result.ops for result in self.results)

    @property
    def elapsed_s(self) -> float:
        """From the start of the clock to the last answer of the slowest worker."""
        return max(result.elapsed_s for result in self.results)

    @property
    def payload_bytes(self) -> int:
        """Bytes of object content moved."""
        return sum(result.payload_bytes for result in self.results)

    @property
    def load_cpu_s(self) -> float:
        """What the generator itself cost."""
        return sum(result.load_cpu_s for result in self.results)

    def percentiles_ms(self) -> dict[str, float]:
        """Return p50, p95 and p99 over the operations of all workers."""
        merged = sorted(value for result in self.results for value in result.latencies_ns)
        if not merged:
            return {"p50": 0.0, "p95": 0.0, "p99": 0.0}
        return {f"p{p}": merged[min(len(merged) - 1, len(merged) * p // 100)] / 1e6 for p in (50, 95, 99)}


def _refuse(answers: list[object]) -> None:
    """Raise what a worker sent in place of a result."""
    if answers:
        raise LoadError(str(answers[0]))


class Pool:
    """Worker processes, started once and used for every job."""

    def __init__(self, processes: int) -> None:
        assert processes >= 1
        self._context = multiprocessing.get_context("spawn")
        self._workers = [self._start() for _ in range(processes)]

    def _start(self) -> tuple[multiprocessing.process.BaseProcess, Pipe]:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=work, args=(theirs,), daemon=True)
        process.start()
        theirs.close()
        return process, ours

    def run(
        self, job: Job, *, on_start: Callable[[], None] | None = None, tick: Callable[[], None] | None = None
    ) -> Outcome:
        """Share the connections of a job among the workers and run it.

        `on_start` is called when all are warm and the clock is about to start; `tick` some ten times a second after
        that. Raises LoadError when a worker fails; the workers are then replaced, so the next job can run.
        """
        count = min(len(self._workers), job.connections)
        used = self._workers[:count]
        try:
            for number, (_, pipe) in enumerate(used):
                connections = job.connections // count + (number < job.connections % count)
                pipe.send(replace(job, worker=number, workers=count, connections=connections))
            prepared = self._answers([pipe for _, pipe in used], PREPARE_S_MAX + job.warm_s + DRAIN_S_MAX, None)
            _refuse([answer for answer in prepared if answer != READY])
            if on_start is not None:
                on_start()
            for _, pipe in used:
                pipe.send(GO)
            patience_s = job.seconds + 2 * DRAIN_S_MAX
            answers = self._answers([pipe for _, pipe in used], patience_s, tick)
            _refuse([answer for answer in answers if not isinstance(answer, Result)])
            return Outcome(tuple(answer for answer in answers if isinstance(answer, Result)))
        except (LoadError, OSError):
            self._replace(count)
            raise

    def _answers(self, pipes: list[Pipe], patience_s: float, tick: Callable[[], None] | None) -> list[object]:
        answers: dict[int, object] = {}
        until = time.monotonic() + patience_s
        while len(answers) < len(pipes):
            if time.monotonic() > until:
                raise LoadError(f"a load process gave no answer in {patience_s:.0f} s")
            waiting = [pipe for number, pipe in enumerate(pipes) if number not in answers]
            for ready in wait(waiting, timeout=0.1):
                assert isinstance(ready, Pipe)
                try:
                    answers[pipes.index(ready)] = ready.recv()
                except EOFError as error:
                    raise LoadError("a load process died") from error
            if tick is not None:
                tick()
        return [answers[number] for number in range(len(pipes))]

    def _replace(self, count: int) -> None:
        for number in range(count):
            self._end(number)
            self._workers[number] = self._start()

    def _end(self, number: int) -> None:
        process, pipe = self._workers[number]
        pipe.close()
        process.join(0.5)
        if process.is_alive():
            process.kill()
            process.join(5)

    def close(self) -> None:
        """End every worker."""
        for number in range(len(self._workers)):
            self._end(number)
