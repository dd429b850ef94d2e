"""Targets of events, as an operator sets them: webhooks, Kafka topics and Redis keys, each under an ID.

They come from tables of `hosu.toml`, `[notify.webhook.ID]`, and from variables of the environment as MinIO names them,
`MINIO_NOTIFY_WEBHOOK_ENDPOINT_ID`. A key nobody knows is an error that names the nearest one.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NoReturn
from urllib.parse import urlsplit

import msgspec

from hosu.kernel.errors import ErrorKind, InvalidInputError

PREFIXES = ("MINIO_NOTIFY_", "HOSU_NOTIFY_")
"""Of the variables; the later one counts."""

DEFAULT_ID = "_"
"""ID of the target whose variables name none."""

QUEUE_LIMIT = 100_000
QUEUE_LIMIT_MAX = 100_000_000
TIMEOUT_S = 10
TIMEOUT_S_MAX = 600

_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_ON, _OFF = frozenset({"on", "true", "1", "yes"}), frozenset({"off", "false", "0", "no", ""})
_MECHANISMS = ("plain", "sha256", "sha512")
_FORMATS = ("access", "namespace", "stream")
_CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
_REDIS_SCHEME = "redis"


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What all targets have."""

    KIND: ClassVar[str] = ""

    enable: bool = True
    """Whether events are sent there; what is named by a bucket and off keeps its events waiting."""

    comment: str = ""

    queue_dir: str = ""
    """Taken for the sake of MinIO's configurations, and not needed: the lake itself keeps what waits."""

    queue_limit: int = QUEUE_LIMIT
    """Events that may wait for the target; more become dead letters."""

    timeout_s: int = TIMEOUT_S
    """How long the target may take to answer."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """Names of the fields that nobody may see."""
        return ()

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({shown})"

    def __rich_repr__(self) -> Iterator[tuple[str, Any]]:  # type: ignore[override]
        for name in self.__struct_fields__:
            value = getattr(self, name)
            yield name, "(hidden)" if value and name in self.secrets else value

    def problem(self) -> tuple[str, object, str] | None:
        """Return field, value and what is allowed of the first field that is wrong."""
        if not 1 <= self.queue_limit <= QUEUE_LIMIT_MAX:
            return "queue_limit", self.queue_limit, f"1 to {QUEUE_LIMIT_MAX}"
        if not 1 <= self.timeout_s <= TIMEOUT_S_MAX:
            return "timeout_s", self.timeout_s, f"1 to {TIMEOUT_S_MAX} seconds"
        return None


class WebhookTarget(Target, frozen=True, kw_only=True):
    """An HTTP endpoint that events are posted to."""

    KIND: ClassVar[str] = "webhook"

    endpoint: str
    """URL; `http` or `https`."""

    auth_token: str = ""
    """Sent as `Authorization: Bearer …`; one with a blank in it is sent as it is."""

    client_cert: str = ""
    """PEM file of a certificate that the endpoint wants to see …"""

    client_key: str = ""
    """… and of its key."""

    ca_file: str = ""
    """PEM file of the authorities that are believed; the system's if empty."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """Names of the fields that nobody may see."""
        return ("auth_token",)

    def __rich_repr__(self) -> Iterator[tuple[str, Any]]:  # type: ignore[override]
        """Leave out what an endpoint's address may hold of secrets: name, password and query."""
        for name, value in super().__rich_repr__():
            yield name, public_url(value) if name == "endpoint" else value

    def problem(self) -> tuple[str, object, str] | None:
        """Return field, value and what is allowed of the first field that is wrong."""
        try:
            url = urlsplit(self.endpoint)
            is_url = url.scheme in {"http", "https"} and bool(url.hostname) and (url.port or 1) > 0
        except ValueError:
            is_url = False
        if not is_url:
            return "endpoint", public_url(self.endpoint), "an http or https URL"
        if any(character in self.auth_token for character in "\r\n\0"):
            return "auth_token", "(hidden)", "a token without line breaks"
        if bool(self.client_cert) != bool(self.client_key):
            return "client_cert and client_key", "only one of them", "both, or neither"
        return super().problem()


class KafkaTarget(Target, frozen=True, kw_only=True):
    """A topic that events are produced to; all events of an object go to one partition."""

    KIND: ClassVar[str] = "kafka"

    brokers: str
    """`host:port`, separated by commas."""

    topic: str
    sasl: bool = False
    sasl_username: str = ""
    sasl_password: str = ""
    sasl_mechanism: str = "plain"
    tls: bool = False
    tls_skip_verify: bool = False
    client_tls_cert: str = ""
    client_tls_key: str = ""
    ca_file: str = ""
    compression_codec: str = "none"

    @property
    def secrets(self) -> tuple[str, ...]:
        """Names of the fields that nobody may see."""
        return ("sasl_password",)

    def problem(self) -> tuple[str, object, str] | None:
        """Return field, value and what is allowed of the first field that is wrong."""
        if not all(map(_is_address, self.brokers.split(","))):
            return "brokers", _public_address(self.brokers), "host:port, several separated by commas"
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,249}", self.topic):
            return "topic", self.topic, "the name of a topic"
        if self.sasl_mechanism not in _MECHANISMS:
            return "sasl_mechanism", self.sasl_mechanism, " or ".join(_MECHANISMS)
        if self.sasl and not self.sasl_username:
            return "sasl_username", "(empty)", "a name, or leave sasl off"
        if self.compression_codec not in _CODECS:
            return "compression_codec", self.compression_codec, " or ".join(_CODECS)
        if bool(self.client_tls_cert) != bool(self.client_tls_key):
            return "client_tls_cert and client_tls_key", "only one of them", "both, or neither"
        return super().problem()


class RedisTarget(Target, frozen=True, kw_only=True):
    """A key of a Redis server.

    `access` appends each event to a list, `namespace` keeps a hash with the latest event of each object that is
    there, `stream` adds each event to a stream.
    """

    KIND: ClassVar[str] = "redis"

    address: str
    """`host:port`."""

    key: str
    format: str = "namespace"
    user: str = ""
    password: str = ""
    tls: bool = False
    tls_skip_verify: bool = False
    ca_file: str = ""

    @property
    def secrets(self) -> tuple[str, ...]:
        """Names of the fields that nobody may see."""
        return ("password",)

    def problem(self) -> tuple[str, object, str] | None:
        """Return field, value and what is allowed of the first field that is wrong."""
        if not _is_address(self.address):
            return "address", _public_address(self.address), f"host:port, without {_REDIS_SCHEME}:// and credentials"
        if not self.key:
            return "key", "(empty)", "the name of a key"
        if self.format not in _FORMATS:
            return "format", self.format, " or ".join(_FORMATS)
        return super().problem()


class Notify(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All targets, by kind and ID."""

    webhook: dict[str, WebhookTarget] = {}
    kafka: dict[str, KafkaTarget] = {}
    redis: dict[str, RedisTarget] = {}

    def __str__(self) -> str:
        return ", ".join(self.targets)

    @property
    def targets(self) -> dict[str, Target]:
        """All of them by the name that the lake remembers them by, such as `webhook:ID`."""
        kinds: tuple[Mapping[str, Target], ...] = (self.webhook, self.kafka, self.redis)
        return {target_name(target.KIND, name): target for kind in kinds for name, target in kind.items()}


KINDS: Mapping[str, type[Target]] = {kind.KIND: kind for kind in (WebhookTarget, KafkaTarget, RedisTarget)}


def target_name(kind: str, name: str) -> str:
    """Return what the lake remembers a target by."""
    return f"{kind}:{name}"


def public_url(url: str) -> str:
    """Return a URL without what may be a secret: name, password and query."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "(not a URL)"
    return parts._replace(netloc=host, query="(hidden)" if parts.query else "", fragment="").geturl()


def _is_address(text: str) -> bool:
    host, _, port = text.strip().rpartition(":")
    is_host = bool(host) and not {"/", "@"}.intersection(host)
    return is_host and port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16


def _public_address(text: str) -> str:
    """Return what was given as an address, unless it may hold a password."""
    return "(hidden)" if "@" in text else text


# From the environment


def read_variables(environment: Mapping[str, str]) -> dict[str, dict[str, dict[str, object]]]:
    """Return the fields of each target that variables tell, by kind and ID.

    Only targets that are switched on by their `…_ENABLE_ID` count, as MinIO has it; its other kinds are refused.
    """
    found: dict[str, dict[str, dict[str, object]]] = {}
    named: dict[tuple[str, str], str] = {}
    for prefix in PREFIXES:
        for variable in sorted(environment):
            if variable.startswith(prefix) and (environment[variable] or not variable.startswith("HOSU_")):
                kind, field, name = _split(variable, variable.removeprefix(prefix), environment[variable])
                if kind:
                    found.setdefault(kind, {}).setdefault(name, {})[field] = environment[variable]
                    named[kind, name] = variable
    enabled = {
        kind: {name: fields for name, fields in targets.items() if _is_on(fields, named[kind, name])}
        for kind, targets in found.items()
    }
    return {kind: targets for kind, targets in enabled.items() if targets}


def _split(variable: str, rest: str, value: str) -> tuple[str, str, str]:
    """Return kind, field and ID of a variable; no kind for one that switches off what hosu does not have."""
    kind = rest.partition("_")[0].lower()
    if kind not in KINDS:
        if rest.partition("_")[2].startswith("ENABLE") and value.lower() in _OFF:
            return "", "", ""
        _refuse(variable, f"hosu sends events to {', '.join(sorted(KINDS))}; remove it")
    tail = rest[len(kind) + 1 :]
    fields = sorted(KINDS[kind].__struct_fields__, key=len, reverse=True)
    for field in fields:
        upper = field.upper()
        if tail == upper:
            return kind, field, DEFAULT_ID
        if tail.startswith(f"{upper}_") and _ID.fullmatch(tail[len(upper) + 1 :]):
            return kind, field, tail[len(upper) + 1 :]
    names = sorted(field.upper() for field in fields)
    near = difflib.get_close_matches(tail, names, 1, 0.5)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
    return _refuse(variable, f"a {kind} target has no such field; {hint}")


def _is_on(fields: dict[str, object], variable: str) -> bool:
    switch = str(fields.pop("enable", "off")).lower()
    if switch not in _ON | _OFF:
        _refuse(variable, f"its target's ENABLE is {switch!r}; give on or off")
    return switch in _ON


def _refuse(variable: str, why: str) -> NoReturn:
    raise InvalidInputError(ErrorKind.INVALID_SETTING, f"the environment variable {variable} is no setting: {why}")


# Checks


def merge(file: object, environment: Mapping[str, str]) -> object:
    """Return the value of the setting `notify`: the file's tables, with the environment's targets over theirs."""
    told = read_variables(environment)
    if not told:
        return file
    if file is None:
        return told
    if not isinstance(file, dict):
        return file  # wrong, and refused as such
    return file | {kind: _table(file.get(kind)) | targets for kind, targets in told.items()}


def _table(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def convert(value: object) -> Notify:
    """Return the targets of a setting. Raises InvalidInputError INVALID_SETTING, with no secret in it."""
    if not isinstance(value, dict):
        _deny("notify", "is no table", "tables such as [notify.webhook.ID]")
    kinds: dict[str, dict[str, Any]] = {}
    for kind, targets in value.items():
        if kind not in KINDS:
            near = difflib.get_close_matches(str(kind), KINDS, 1)
            _deny(f"notify.{kind}", "is no kind of target", near[0] if near else ", ".join(sorted(KINDS)))
        if not isinstance(targets, dict):
            _deny(f"notify.{kind}", "is no table", f"tables such as [notify.{kind}.ID]")
        kinds[kind] = {name: _convert_target(kind, str(name), fields) for name, fields in targets.items()}
    return Notify(**kinds)


def _convert_target(kind: str, name: str, fields: object) -> Target:
    where, type_ = f"notify.{kind}.{name}", KINDS[kind]
    if not _ID.fullmatch(name):
        _deny(where, "has an ID that is not allowed", "letters, digits, dots, hyphens and underscores")
    if not isinstance(fields, dict):
        _deny(where, "is no table", f"a table [{where}]")
    known = type_.__struct_fields__
    for field in fields:
        if field not in known:
            near = difflib.get_close_matches(str(field), known, 1)
            _deny(f"{where}.{field}", "is no field", near[0] if near else ", ".join(sorted(known)))
    missing = [field for field in type_.__struct_fields__ if field not in fields and field in _required(type_)]
    if missing:
        _deny(f"{where}.{missing[0]}", "is missing", "it a value")
    values = {field: _boolean(type_, field, value) for field, value in fields.items()}
    for field, value in values.items():
        try:
            msgspec.convert({field: value}, _partial(type_, field), strict=False)
        except msgspec.ValidationError:  # its message would show what may be a secret
            _deny(f"{where}.{field}", "is not valid", "a value of its type")
    target = msgspec.convert(values, type_, strict=False)
    problem = target.problem()
    if problem is not None:
        _deny(f"{where}.{problem[0]}", f"is {problem[1]}, which is not allowed", problem[2])
    return target


def _required(type_: type[Target]) -> frozenset[str]:
    return frozenset(field.name for field in msgspec.structs.fields(type_) if field.required)


def _partial(type_: type[Target], name: str) -> type[msgspec.Struct]:
    field = next(field for field in msgspec.structs.fields(type_) if field.name == name)
    return msgspec.defstruct("Field", [(name, field.type)])


def _boolean(type_: type[Target], name: str, value: object) -> object:
    """Return MinIO's `on` and `off` as what they are."""
    field = next(field for field in msgspec.structs.fields(type_) if field.name == name)
    if field.type is bool and isinstance(value, str):
        text = value.lower()
        return True if text in _ON else False if text in _OFF else value
    return value


def _deny(where: str, what: str, allowed: str) -> NoReturn:
    raise InvalidInputError(ErrorKind.INVALID_SETTING, f"setting {where} {what}: give {allowed}")
