"""Events to webhooks: what is posted, and what the answers mean."""

import ssl
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
