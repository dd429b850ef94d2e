"""MinIO's pull stream: events as they happen, one line of JSON each, for as long as the client listens."""

from collections.abc import Callable
from urllib.parse import parse_qsl

from hosu.rules.events.config import FILTER_BYTES_MAX
from hosu.rules.events.names import expand_all
from hosu.server.http import Response, StreamBody
from hosu.server.s3.call import Call
from hosu.server.s3.conditions import RequestContext
from hosu.server.s3.listeners import LISTENERS_MAX, Listener
from hosu.server.s3.request_errors import S3RequestError

PING_S_MAX = 3600
EVENTS_MAX = 100
ASK_PERIOD_MS = 60_000

LISTEN_BUCKET = "s3:ListenBucketNotification"
_HEADERS = [(b"Content-Type", b"text/event-stream"), (b"Cache-Control", b"no-cache"), (b"X-Accel-Buffering", b"no")]


def listen(call: Call) -> Response:
    """ListenNotification, of one bucket or of all that may be listened to."""
    engine = call.engine
    names = _names(call)
    prefix, suffix = call.query.get("prefix", ""), call.query.get("suffix", "")
    for value in (prefix, suffix):
        if len(value.encode()) > FILTER_BYTES_MAX:
            raise S3RequestError(
                "InvalidArgument",
                f"Size of filter rule value cannot exceed {FILTER_BYTES_MAX} bytes in UTF-8 representation",
            )
    ping_s = call.integer("ping", 0, most=PING_S_MAX)
    if call.bucket:
        engine.store.view().bucket(call.bucket)
    if engine.listeners.count >= LISTENERS_MAX:
        raise S3RequestError("SlowDown", f"{LISTENERS_MAX} clients listen to events already: close one")
    listener = Listener(
        expand_all(names), _permission(call), bucket=call.bucket, prefix=prefix, suffix=suffix, ping_s=ping_s
    )
    headers = [*_HEADERS, (b"x-amz-request-id", call.request.request_id.encode())]
    return Response(200, headers, StreamBody(engine.listeners.add(listener)))


def _names(call: Call) -> tuple[str, ...]:
    pairs = parse_qsl(call.request.raw_query.decode("ascii"), keep_blank_values=True, max_num_fields=200)
    names = tuple(dict.fromkeys(value for name, value in pairs if name == "events" and value))
    if not names or len(names) > EVENTS_MAX:
        raise S3RequestError("InvalidArgument", f"events: name 1 to {EVENTS_MAX} events to listen to")
    return names


def _permission(call: Call) -> Callable[[str], bool]:
    """Return what says whether the listener may hear of a bucket.

    It asks again when anything about access has changed, and once a minute: some keys are good for a time.

    It raises AccessDeniedError once the listener's key is no longer good for anything.
    """
    engine, verified = call.engine, call.verified
    clock, generation = engine.store.clock, engine.store.generation
    number, asked_ms, answers = -1, 0, dict[str, bool]()

    def may_hear(bucket: str) -> bool:
        nonlocal number, asked_ms
        now, now_ms = generation.number(), clock.now_ms()
        if now != number or not 0 <= now_ms - asked_ms < ASK_PERIOD_MS:
            number, asked_ms = now, now_ms
            answers.clear()
            if verified is not None:
                call.principal = engine.principal(verified.access_key, verified.session_token)
        if bucket not in answers:
            answers[bucket] = call.is_allowed(LISTEN_BUCKET, RequestContext(call, LISTEN_BUCKET), bucket)
        return answers[bucket]

    return may_hear
