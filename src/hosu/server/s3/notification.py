"""Notifications of a bucket: who is told of which of its events."""

import uuid
from functools import partial
from xml.etree.ElementTree import Element

from hosu.kernel.limits import KIB
from hosu.rules.events.config import ARN_NOT_FOUND, Rule, arn_of, check_rules, get_rules, parse_arn, set_rules
from hosu.server.http import Response
from hosu.server.s3.call import Call
from hosu.server.s3.payload import read_document
from hosu.server.s3.request_errors import S3RequestError
from hosu.server.s3.xml_read import parse, refuse, required_text, text
from hosu.server.s3.xml_write import element, empty_response, xml_response

CONFIGURATION_BYTES_MAX = 512 * KIB
_ROOT = "NotificationConfiguration"
_OTHERS = {
    "TopicConfiguration": "SNS topics",
    "CloudFunctionConfiguration": "Lambda functions",
    "LambdaFunctionConfiguration": "Lambda functions",
    "EventBridgeConfiguration": "EventBridge",
}
_PARTS = frozenset({"Id", "Queue", "Event", "Filter"})


def get_notification(call: Call) -> Response:
    """GetBucketNotificationConfiguration."""
    rules = get_rules(call.engine.store.view(), call.bucket)
    return xml_response(call.request.request_id, _ROOT, "".join(map(_render, rules)))


async def put_notification(call: Call) -> Response:
    """PutBucketNotificationConfiguration; one without rules takes all of them back."""
    body = await read_document(call, CONFIGURATION_BYTES_MAX)
    rules = _read_rules(parse(body, _ROOT), call)
    check_rules(rules)
    await call.commit(partial(set_rules, bucket=call.bucket, rules=rules, actor=call.principal.name))
    return empty_response(call.request.request_id)


def _read_rules(root: Element, call: Call) -> list[Rule]:
    rules = []
    for child in root:
        if child.tag in _OTHERS:
            raise S3RequestError(
                "NotImplemented",
                f"{child.tag}: events are not sent to {_OTHERS[child.tag]}; use a QueueConfiguration",
            )
        if child.tag != "QueueConfiguration":
            refuse(f"{_ROOT} has no {child.tag}")
        rules.append(_read_rule(child, call))
    return rules


def _read_rule(queue: Element, call: Call) -> Rule:
    for part in queue:
        if part.tag not in _PARTS:
            refuse(f"QueueConfiguration has no {part.tag}")
    arn = required_text(queue, "Queue")
    target = parse_arn(arn, call.engine.region)
    configured = call.engine.notify.targets.get(target)
    if configured is None or not configured.enable:
        raise S3RequestError("InvalidArgument", ARN_NOT_FOUND, argument_name="Queue", argument_value=arn)
    events = [(event.text or "").strip() for event in queue.findall("Event")]
    prefix, suffix = _read_filter(queue)
    name = text(queue, "Id") or str(uuid.uuid4())
    return Rule(name, target, arn_of(target, call.engine.region), tuple(dict.fromkeys(events)), prefix, suffix)


def _read_filter(queue: Element) -> tuple[str, str]:
    found: dict[str, str] = {}
    for outer in queue.findall("Filter"):
        for key in outer:
            if key.tag != "S3Key":
                refuse(f"Filter has no {key.tag}")
            for rule in key:
                if rule.tag != "FilterRule":
                    refuse(f"S3Key has no {rule.tag}")
                name, value = required_text(rule, "Name").lower(), _value(rule)
                if name not in {"prefix", "suffix"}:
                    raise S3RequestError(
                        "InvalidArgument",
                        "filter rule name must be either prefix or suffix",
                        argument_name="FilterRule.Name",
                        argument_value=name,
                    )
                if name in found:
                    raise S3RequestError(
                        "InvalidArgument",
                        f"Cannot specify more than one {name} rule in a filter.",
                        argument_name="FilterRule.Name",
                        argument_value=name,
                    )
                found[name] = value
    return found.get("prefix", ""), found.get("suffix", "")


def _value(rule: Element) -> str:
    """Return a filter's value with all its blanks: keys may begin and end with them."""
    value = rule.find("Value")
    return "" if value is None else value.text or ""


def _render(rule: Rule) -> str:
    filters = "".join(
        f"<FilterRule>{element('Name', name)}{element('Value', value)}</FilterRule>"
        for name, value in (("prefix", rule.prefix), ("suffix", rule.suffix))
        if value
    )
    inner = element("Id", rule.id) + element("Queue", rule.arn)
    inner += "".join(element("Event", name) for name in rule.events)
    if filters:
        inner += f"<Filter><S3Key>{filters}</S3Key></Filter>"
    return f"<QueueConfiguration>{inner}</QueueConfiguration>"
