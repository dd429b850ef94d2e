import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.flows import Job, Target
from benchmarks.load import Driver, Outcome, Result


@contextmanager
def server(answer: bytes, *, close: bool = False) -> Iterator[Target]:
    """Answer every request (of one segment) with the same bytes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection:
            while connection.recv(65536):
                connection.sendall(answer)
                if close:
                    return

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield Target("127.0.0.1", listener.getsockname()[1], "access", "secret")
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def run(target: Target, **more: object) -> Result:
    job = Job(target, "get", "bucket", "p/", size_bytes=5, keys=40, once=True, **more)  # type: ignore[arg-type]  # by name
    driver = Driver(job)
    try:
        return driver.run(10)
    finally:
        driver.close()


def test_every_request_is_answered_and_timed_once() -> None:
    with server(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello") as target:
        result = run(target, connections=4)
    assert (result.ops, result.errors, len(result.latencies_ns), result.payload_bytes) == (40, 0, 40, 200)


def test_server_that_closes_after_each_answer_is_reconnected_to() -> None:
    answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello"
    with server(answer, close=True) as target:
        result = run(target, connections=4)
    assert (result.ops, result.errors) == (40, 0)


def test_connection_cut_without_warning_is_an_error() -> None:
    with server(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", close=True) as target:
        result = run(target)
    assert result.errors
    assert "before the end of the body" in result.first_error


def test_status_other_than_2xx_is_an_error_and_no_operation() -> None:
    with server(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 4\r\n\r\nlate") as target:
        result = run(target)
    assert (result.ops, result.payload_bytes) == (0, 0)
    assert result.first_error.startswith("status 503")


def test_answer_of_another_length_is_an_error() -> None:
    with server(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nshor") as target:
        result = run(target)
    assert result.first_error == "answer of 4 bytes, expected 5"


def test_percentiles_are_over_all_workers() -> None:
    results = []
    for start in (0, 1):
        result = Result()
        result.latencies_ns.extend((value + 1) * 1_000_000 for value in range(start, 100, 2))
        results.append(result)
    assert Outcome(tuple(results)).percentiles_ms() == {"p50": 51.0, "p95": 96.0, "p99": 100.0}
