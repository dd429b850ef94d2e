"""Events to webhooks: what is posted, and what the answers mean."""

import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.certificates import make_certificate
from tests.support.hook import Hook, hooking
from tests.support.server import free_port

from hosu.kernel.notify import WebhookTarget
from hosu.rules.events.sending import DeliveryError
from hosu.server.notify.webhook import WebhookSender


@pytest.fixture
def hook() -> Iterator[Hook]:
    with hooking() as made:
        yield made


def test_an_event_is_posted_as_minio_posts_it(hook: Hook, message: Any) -> None:
    sender = WebhookSender(WebhookTarget(endpoint=hook.url, auth_token="token"))
    sender.send([message("a/b c.jpg")])
    sender.close()
    path, headers, body = hook.requests[0]
    assert path == "/hook?token=SECRET"
    assert headers["content-type"] == "application/json"
    assert headers["authorization"] == "Bearer token"
    assert (body["EventName"], body["Key"]) == ("s3:ObjectCreated:Put", "images/a/b c.jpg")
    record = body["Records"][0]
    assert record["eventName"] == "s3:ObjectCreated:Put"
    assert record["s3"]["bucket"]["arn"] == "arn:aws:s3:::images"
    assert record["s3"]["object"]["key"] == "a%2Fb+c.jpg"
    assert record["userIdentity"] == {"principalId": "alice"}


def test_a_token_with_a_blank_is_sent_as_it_is(hook: Hook, message: Any) -> None:
    sender = WebhookSender(WebhookTarget(endpoint=hook.url, auth_token="Basic abc"))
    sender.send([message("a")])
    sender.close()
    assert hook.requests[0][1]["authorization"] == "Basic abc"


def test_events_go_over_one_connection(hook: Hook, message: Any) -> None:
    hook.body = b"thank you"
    sender = WebhookSender(WebhookTarget(endpoint=hook.url))
    for key in "abc":
        sender.send([message(key)])
    sender.close()
    assert len(hook.requests) == 3
    assert hook.connections == 1


def test_a_long_answer_does_not_spoil_the_next_request(hook: Hook, message: Any) -> None:
    hook.body = b"x" * 200_000
    sender = WebhookSender(WebhookTarget(endpoint=hook.url))
    for key in "abc":
        sender.send([message(key)])
    sender.close()
    assert len(hook.requests) == 3


@pytest.mark.parametrize(
    ("status", "is_final"), [(400, True), (413, True), (401, False), (404, False), (429, False), (500, False)]
)
def test_a_refusal_says_why_and_whose_fault_it_is(hook: Hook, message: Any, status: int, *, is_final: bool) -> None:
    hook.status = status
    sender = WebhookSender(WebhookTarget(endpoint=hook.url))
    with pytest.raises(DeliveryError) as refused:
        sender.send([message("a")])
    sender.close()
    assert (refused.value.reason, refused.value.is_final) == (f"it answered {status}", is_final)


def test_a_redirect_is_not_followed(hook: Hook, message: Any) -> None:
    hook.status = 302
    sender = WebhookSender(WebhookTarget(endpoint=hook.url))
    with pytest.raises(DeliveryError, match="302"):
        sender.send([message("a")])
    sender.close()
    assert len(hook.requests) == 1


def test_an_endpoint_that_is_not_there_is_told_without_its_secret(message: Any) -> None:
    sender = WebhookSender(WebhookTarget(endpoint=f"http://127.0.0.1:{free_port()}/hook?token=SECRET"))
    with pytest.raises(DeliveryError) as refused:
        sender.send([message("a")])
    sender.close()
    assert refused.value.reason == "Connection refused"
    assert not refused.value.is_final


def test_an_endpoint_over_tls_has_to_be_one_that_is_believed(tmp_path: Path, message: Any) -> None:
    certificate, key = make_certificate(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    with hooking(tls) as secure:
        believing = WebhookSender(WebhookTarget(endpoint=secure.url, ca_file=str(certificate)))
        believing.send([message("a")])
        believing.close()
        doubting = WebhookSender(WebhookTarget(endpoint=secure.url))
        with pytest.raises(DeliveryError) as refused:
            doubting.send([message("b")])
        doubting.close()
    assert "SECRET" not in refused.value.reason
    assert [path for _, path in secure.told] == ["images/a"]


def test_a_connection_that_the_endpoint_has_left_is_made_anew(message: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        asked: list[bytes] = []

        def answer_and_leave() -> None:
            for _ in range(2):
                connection, _ = listener.accept()
                asked.append(connection.recv(65_536))
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                connection.close()

        thread = threading.Thread(target=answer_and_leave)
        thread.start()
        sender = WebhookSender(WebhookTarget(endpoint=f"http://127.0.0.1:{port}/hook"))
        sender.send([message("a")])
        sender.send([message("b")])
        sender.close()
        thread.join(10)
    assert [request.split(b"\r\n")[0] for request in asked] == [b"POST /hook HTTP/1.1"] * 2


def test_a_name_and_password_in_the_address_are_sent(hook: Hook, message: Any) -> None:
    sender = WebhookSender(WebhookTarget(endpoint=hook.url.replace("://", "://me:s%40fe@")))
    sender.send([message("a")])
    sender.close()
    assert hook.requests[0][1]["authorization"] == "Basic " + b64encode(b"me:s@fe").decode()


def test_a_file_of_authorities_that_cannot_be_read_fails_the_delivery_alone(message: Any) -> None:
    sender = WebhookSender(WebhookTarget(endpoint="https://127.0.0.1:1/hook", ca_file="/nowhere/ca.pem"))
    with pytest.raises(DeliveryError, match="No such file"):
        sender.send([message("a")])
    sender.close()
