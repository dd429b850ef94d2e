"""Settings of a server: `hosu.toml` in the lake, overridden by the environment, overridden by flags.

One typed object comes out; a key nobody knows is an error that names the nearest one that exists.
"""

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from hosu.kernel.errors import ErrorKind, InvalidInputError
from hosu.kernel.limits import MIB
from hosu.kernel.notify import Notify, convert, merge

FILE_NAME = "hosu.toml"

ENVIRONMENT = {
    "HOSU_ADDRESS": "address",
    "HOSU_ALERT_DENIED_REQUESTS": "alert_denied_requests",
    "HOSU_ALERT_EMAIL_FROM": "alert_email_from",
    "HOSU_ALERT_EMAIL_TO": "alert_email_to",
    "HOSU_ALERT_REPEAT_HOURS": "alert_repeat_hours",
    "HOSU_ALERT_WEBHOOK": "alert_webhook",
    "HOSU_ALERT_WEBHOOK_TOKEN": "alert_webhook_token",
    "HOSU_AUDIT": "audit",
    "HOSU_AUDIT_FILE_BYTES": "audit_file_bytes",
    "HOSU_AUDIT_KEEP_DAYS": "audit_keep_days",
    "HOSU_AUDIT_READS": "audit_reads",
    "HOSU_CERTIFICATE_FILE": "certificate_file",
    "HOSU_CERTS_DIR": "certs_dir",
    "HOSU_CONSOLE_ADDRESS": "console_address",
    "HOSU_DAY_SECONDS": "day_seconds",
    "HOSU_DEFAULT_ENCRYPTION": "default_encryption",
    "HOSU_DOMAIN": "domain",
    "HOSU_EVENTS_RETRY_HOURS": "events_retry_hours",
    "HOSU_IDENTITY_OPENID_CLAIM_NAME": "identity_openid_claim_name",
    "HOSU_IDENTITY_OPENID_CLIENT_ID": "identity_openid_client_id",
    "HOSU_IDENTITY_OPENID_CONFIG_URL": "identity_openid_config_url",
    "HOSU_IDENTITY_OPENID_ROLE_POLICY": "identity_openid_role_policy",
    "HOSU_KEY_FILE": "key_file",
    "HOSU_LAKE_KEY_COMMAND": "lake_key_command",
    "HOSU_LAKE_KEY_FILE": "lake_key_file",
    "HOSU_LOG_LEVEL": "log_level",
    "HOSU_METRICS_AUTH": "metrics_auth",
    "HOSU_OBJECT_OWNERSHIP": "object_ownership",
    "HOSU_REGION": "region",
    "HOSU_ROOT_PASSWORD": "root_password",
    "HOSU_ROOT_USER": "root_user",
    "HOSU_SCRUB_BYTES_PER_S": "scrub_bytes_per_s",
    "HOSU_SCRUB_DAYS": "scrub_days",
    "HOSU_SMTP_CA_FILE": "smtp_ca_file",
    "HOSU_SMTP_HOST": "smtp_host",
    "HOSU_SMTP_PASSWORD": "smtp_password",
    "HOSU_SMTP_PORT": "smtp_port",
    "HOSU_SMTP_SECURITY": "smtp_security",
    "HOSU_SMTP_USER": "smtp_user",
    "HOSU_SPACE_RESERVE_BYTES": "space_reserve_bytes",
    "HOSU_SSE_C_OVER_HTTP": "sse_c_over_http",
    "HOSU_STORAGE_CLASSES": "storage_classes",
    "HOSU_TRUSTED_PROXIES": "trusted_proxies",
    "HOSU_WAREHOUSE": "warehouse",
    "HOSU_WORKERS": "workers",
    "LOG_LEVEL": "log_level",
    "MINIO_ADDRESS": "address",
    "MINIO_CONSOLE_ADDRESS": "console_address",
    "MINIO_DOMAIN": "domain",
    "MINIO_IDENTITY_OPENID_CLAIM_NAME": "identity_openid_claim_name",
    "MINIO_IDENTITY_OPENID_CLIENT_ID": "identity_openid_client_id",
    "MINIO_IDENTITY_OPENID_CONFIG_URL": "identity_openid_config_url",
    "MINIO_IDENTITY_OPENID_ROLE_POLICY": "identity_openid_role_policy",
    "MINIO_KMS_AUTO_ENCRYPTION": "default_encryption",
    "MINIO_PROMETHEUS_AUTH_TYPE": "metrics_auth",
    "MINIO_REGION": "region",
    "MINIO_ROOT_PASSWORD": "root_password",
    "MINIO_ROOT_USER": "root_user",
}
"""Variables that override the file, and the setting each one is. Of two for one setting, `HOSU_…` counts."""

ACCESS_KEY_CHARACTERS_MIN = 3
SECRET_CHARACTERS_MIN = 8
OBJECT_OWNERSHIPS = ("BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter")
AUDIT_KEEP_DAYS_MAX = 36_500
SCRUB_DAYS_MAX = 3_650
DAY_SECONDS_MAX = 86_400
EVENTS_RETRY_HOURS_MAX = 8_760
_STORAGE_CLASS = re.compile("[A-Z][A-Z0-9_]{0,63}")
_ADDRESS = re.compile(r"""[^\s@<>()\[\]:;,"\\]+@[A-Za-z0-9.-]+""")
"""Fewer than mail knows: what is quoted, in brackets, or of a host without a name is not taken."""
OWN_STORAGE_CLASSES = frozenset({"STANDARD", "REDUCED_REDUNDANCY", "COLD"})
ALERT_REPEAT_HOURS_MAX = 8_760
ALERT_DENIED_REQUESTS_MAX = 1_000_000
PORT_MAX = 65_535
PORT_DIGITS_MAX = 5


SECRET_SETTINGS = frozenset({"alert_webhook", "alert_webhook_token", "root_password", "smtp_password"})
"""Settings that are not for every eye; the URL of a webhook often is all that it takes to post there."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an operator can set. Addresses are `host:port`; without a host, all interfaces."""

    address: str = "127.0.0.1:9000"
    """Where S3 is served."""

    console_address: str = "127.0.0.1:9001"
    """Where the status page is served."""

    root_user: str = ""
    """Access key of root; empty to generate one at the first start."""

    root_password: str = ""
    """Secret of root; empty to generate one at the first start."""

    region: str = ""
    """Region that signatures must name; empty to accept any."""

    domain: str = ""
    """Domains, separated by commas, below which a host name is a bucket; empty for path style only."""

    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""

    workers: int = 1
    """Processes that serve S3."""

    space_reserve_bytes: int = 64 * MIB
    """Writes are refused below this much free space."""

    scrub_days: int = 30
    """Days in which everything stored is read and compared with its hash; 0 for never."""

    scrub_bytes_per_s: int = 32 * MIB
    """Bytes per second that this reads at most; 0 for no limit."""

    object_ownership: str = "BucketOwnerEnforced"
    """Ownership of buckets that set no controls of their own: whether ACLs count in them."""

    storage_classes: str = ""
    """Other names of the storage class COLD, separated by commas: STANDARD_IA,GLACIER."""

    trusted_proxies: str = ""
    """Addresses or networks, separated by commas, whose X-Forwarded-For and X-Forwarded-Proto are believed."""

    warehouse: str = "paimon/warehouse"
    """Where tables are: BUCKET/PREFIX of the lake, the absolute path of a folder, or an S3 URL."""

    audit: bool = True
    """Whether changes and denied requests are written to the audit log."""

    audit_reads: bool = False
    """Whether reads of every bucket are; a bucket may have its own switched on."""

    audit_file_bytes: int = 64 * MIB
    """A file of the audit log that is this large is followed by the next."""

    audit_keep_days: int = 90
    """Days that files of the audit log are kept; 0 keeps them for ever."""

    day_seconds: int = DAY_SECONDS_MAX
    """How long a day of every rule is, in seconds; shorter than a real one for tests alone."""

    metrics_auth: str = "jwt"
    """`jwt` to give metrics to whoever brings a token, `public` to give them to everybody."""

    lake_key_file: str = ""
    """File that holds the lake key; outside of the lake's folder."""

    lake_key_command: str = ""
    """Command that prints the lake key; run once, when the lake is opened."""

    default_encryption: str = "off"
    """`on` to encrypt what is written to buckets that say nothing themselves (SSE-S3); needs a lake key."""

    certificate_file: str = ""
    """PEM file of the server's certificate and those of its issuers; with `key_file`, everything is served over TLS."""

    key_file: str = ""
    """PEM file of the certificate's private key."""

    certs_dir: str = ""
    """Folder of `public.crt` and `private.key`, and of a folder with such a pair for each further host name."""

    sse_c_over_http: bool = False
    """Whether clients may send keys of their own (SSE-C) over connections without TLS."""

    identity_openid_config_url: str = ""
    """Discovery document of an OpenID Connect provider; empty for none."""

    identity_openid_client_id: str = ""
    """What the provider's tokens must name as their audience."""

    identity_openid_claim_name: str = "policy"
    """Claim of its tokens that names policies."""

    identity_openid_role_policy: str = ""
    """Policies, separated by commas, of everyone with a token of the provider's, instead of a claim's."""

    events_retry_hours: int = 24
    """How long an event is tried before it becomes a dead letter."""

    alert_webhook: str = ""
    """Where alerts are posted to: http or https URLs, separated by commas."""

    alert_webhook_token: str = ""
    """Sent with them: `Authorization: Bearer TOKEN`, or as it is where it has a space."""

    alert_email_to: str = ""
    """Who gets mail about alerts: addresses, separated by commas; needs `smtp_host`."""

    alert_email_from: str = ""
    """Who it comes from; empty for hosu at this host."""

    alert_repeat_hours: int = 24
    """An alert that still stands is told of again after so many hours."""

    alert_denied_requests: int = 100
    """Alert when a source is denied so many requests within five minutes; 0 for never."""

    smtp_host: str = ""
    """Mail server that takes the mail."""

    smtp_port: int = 0
    """Its port; 0 for 587, with `tls` 465, with `none` 25."""

    smtp_security: str = "starttls"
    """`starttls`, `tls` from the first byte, or `none`."""

    smtp_ca_file: str = ""
    """PEM file of who issued its certificate; empty for those that the system trusts."""

    smtp_user: str = ""
    """Who signs in to it; empty for nobody."""

    smtp_password: str = ""
    """The password of that user."""

    notify: Notify = Notify()
    """Where events can be sent: tables `[notify.webhook.ID]`, `[notify.kafka.ID]`, `[notify.redis.ID]`."""

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"Settings({shown})"

    def __rich_repr__(self) -> Iterator[tuple[str, Any]]:  # type: ignore[override]
        for name in self.__struct_fields__:
            value = getattr(self, name)
            yield name, "(hidden)" if value and name in SECRET_SETTINGS else value

    @property
    def alert_webhooks(self) -> tuple[str, ...]:
        """The URLs of `alert_webhook`."""
        return tuple(url.strip() for url in self.alert_webhook.split(",") if url.strip())

    @property
    def alert_addresses(self) -> tuple[str, ...]:
        """The addresses of `alert_email_to`."""
        return tuple(address.strip() for address in self.alert_email_to.split(",") if address.strip())

    @property
    def cold_class_names(self) -> tuple[str, ...]:
        """The names of `storage_classes`."""
        return tuple(name.strip() for name in self.storage_classes.split(",") if name.strip())

    @property
    def domains(self) -> tuple[str, ...]:
        """The domains of `domain`."""
        return tuple(name.strip() for name in self.domain.split(",") if name.strip())


def load_settings(
    lake: Path,
    environment: Mapping[str, str],
    flags: Mapping[str, object],
    *,
    defaults: Mapping[str, object] | None = None,
) -> Settings:
    """Return the settings of a lake. `flags` of None were not given; `defaults` stand where nothing else is said."""
    values: dict[str, object] = dict(defaults or {})
    values |= _read_file(lake / FILE_NAME)
    _check_variables(environment)
    for name in sorted(ENVIRONMENT, key=lambda name: name.startswith("HOSU_")):
        if environment.get(name):
            values[ENVIRONMENT[name]] = environment[name]
    values |= {name: value for name, value in flags.items() if value is not None}
    if isinstance(values.get("log_level"), str):
        values["log_level"] = str(values["log_level"]).upper()  # other programs' LOG_LEVEL is often in lower case
    notify = merge(values.pop("notify", None), environment)
    try:
        settings = msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidInputError(ErrorKind.INVALID_SETTING, f"a setting is not valid: {error}") from error
    _check_values(settings)
    return settings if notify is None else msgspec.structs.replace(settings, notify=convert(notify))


def _read_file(file: Path) -> dict[str, object]:
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):  # a lake without settings, or no lake: others look at that
        return {}
    except OSError as error:
        raise InvalidInputError(ErrorKind.INVALID_SETTING, f"{file} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInputError(ErrorKind.INVALID_SETTING, f"{file} is not valid TOML: {error}") from error
    _check_names(values, str(file))
    return values


def _check_names(values: Mapping[str, object], where: str) -> None:
    for name in values:
        if name not in Settings.__struct_fields__:
            raise InvalidInputError(
                ErrorKind.INVALID_SETTING,
                f"{where}: there is no setting {name!r}{_nearest(name, Settings.__struct_fields__)}",
            )


def _check_variables(environment: Mapping[str, str]) -> None:
    """Refuse a HOSU_ variable that looks like a setting and is none, so that a typo is not ignored."""
    for name in environment:
        near = difflib.get_close_matches(name, ENVIRONMENT, 1, 0.9)
        if name.startswith("HOSU_") and name not in ENVIRONMENT and near:
            raise InvalidInputError(
                ErrorKind.INVALID_SETTING, f"the environment variable {name} is no setting; did you mean {near[0]}?"
            )


def _nearest(name: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(sorted(known))}"


def _check_values(settings: Settings) -> None:
    parse_address(settings.address)
    parse_address(settings.console_address)
    if settings.log_level not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
        _refuse("log_level", settings.log_level, "DEBUG, INFO, WARNING or ERROR")
    if not 1 <= settings.workers <= 64:  # noqa: PLR2004 - more processes than that share one writer for nothing
        _refuse("workers", settings.workers, "1 to 64")
    if settings.default_encryption not in {"on", "off"}:
        _refuse("default_encryption", settings.default_encryption, "on or off")
    _check_root(settings)
    if settings.audit_file_bytes < MIB:
        _refuse("audit_file_bytes", settings.audit_file_bytes, f"at least {MIB}")
    if not 0 <= settings.audit_keep_days <= AUDIT_KEEP_DAYS_MAX:
        _refuse("audit_keep_days", settings.audit_keep_days, f"0 to {AUDIT_KEEP_DAYS_MAX}")
    _check_warehouse(settings.warehouse)
    _check_rules(settings)
    _check_alerts(settings)
    _check_scrub(settings)
    if settings.object_ownership not in OBJECT_OWNERSHIPS:
        _refuse("object_ownership", settings.object_ownership, " or ".join(OBJECT_OWNERSHIPS))
    _check_networks(settings.trusted_proxies)
    if settings.metrics_auth not in {"jwt", "public"}:
        _refuse("metrics_auth", settings.metrics_auth, "jwt or public")
    if bool(settings.certificate_file) != bool(settings.key_file):
        _refuse("certificate_file and key_file", "only one of them", "both, or neither to serve without TLS")
    if settings.certificate_file and settings.certs_dir:
        _refuse("certificate_file and certs_dir", "both", "one of them")


def _check_warehouse(place: str) -> None:
    bucket, _, prefix = place.partition("/")
    if place.startswith(("/", "s3://")):
        return
    if not bucket or not prefix.strip("/") or "//" in place:
        _refuse("warehouse", place, "BUCKET/PREFIX such as paimon/warehouse, a folder's absolute path or an s3:// URL")


def _check_rules(settings: Settings) -> None:
    if not 1 <= settings.events_retry_hours <= EVENTS_RETRY_HOURS_MAX:
        _refuse("events_retry_hours", settings.events_retry_hours, f"1 to {EVENTS_RETRY_HOURS_MAX}")
    if not 1 <= settings.day_seconds <= DAY_SECONDS_MAX:
        _refuse("day_seconds", settings.day_seconds, f"1 to {DAY_SECONDS_MAX}")
    for name in settings.cold_class_names:
        if name in OWN_STORAGE_CLASSES or not _STORAGE_CLASS.fullmatch(name):
            _refuse("storage_classes", name, "names such as STANDARD_IA,GLACIER that hosu gives no meaning of its own")


def _check_alerts(settings: Settings) -> None:
    for url in settings.alert_webhooks:
        if not url.startswith(("https://", "http://")) or not urlsplit(url).hostname:
            _refuse("alert_webhook", "(hidden)", "http or https URLs, separated by commas")
    _check_mail(settings)
    for name, value, least, most in (
        ("smtp_port", settings.smtp_port, 0, PORT_MAX),
        ("alert_repeat_hours", settings.alert_repeat_hours, 1, ALERT_REPEAT_HOURS_MAX),
        ("alert_denied_requests", settings.alert_denied_requests, 0, ALERT_DENIED_REQUESTS_MAX),
    ):
        if not least <= value <= most:
            _refuse(name, value, f"{least} to {most}")


def _check_mail(settings: Settings) -> None:
    for address in (*settings.alert_addresses, settings.alert_email_from):
        if address and not (address.isprintable() and _ADDRESS.fullmatch(address)):
            _refuse("alert_email_to or alert_email_from", address, "addresses such as ops@example.com")
    if settings.alert_addresses and not settings.smtp_host:
        _refuse("alert_email_to", settings.alert_email_to, "smtp_host beside it: the server that takes the mail")
    if settings.smtp_security not in {"starttls", "tls", "none"}:
        _refuse("smtp_security", settings.smtp_security, "starttls, tls or none")
    if settings.smtp_user and settings.smtp_security == "none":
        _refuse("smtp_security", "none with smtp_user", "starttls or tls, so that nobody reads the password on its way")
    if bool(settings.smtp_user) != bool(settings.smtp_password):
        _refuse("smtp_user and smtp_password", "only one of them", "both, or neither")


def _check_scrub(settings: Settings) -> None:
    if not 0 <= settings.scrub_days <= SCRUB_DAYS_MAX:
        _refuse("scrub_days", settings.scrub_days, f"0 to {SCRUB_DAYS_MAX}")
    if settings.scrub_bytes_per_s < 0:
        _refuse("scrub_bytes_per_s", settings.scrub_bytes_per_s, "0 or more")


def _check_networks(text: str) -> None:
    for part in filter(None, map(str.strip, text.split(","))):
        try:
            ip_network(part, strict=False)
        except ValueError:
            _refuse("trusted_proxies", part, "addresses and networks such as 10.0.0.5, 192.168.0.0/16")


def _check_root(settings: Settings) -> None:
    if settings.root_user and len(settings.root_user) < ACCESS_KEY_CHARACTERS_MIN:
        _refuse("root_user", settings.root_user, f"at least {ACCESS_KEY_CHARACTERS_MIN} characters")
    if settings.root_password and len(settings.root_password) < SECRET_CHARACTERS_MIN:
        _refuse("root_password", "(hidden)", f"at least {SECRET_CHARACTERS_MIN} characters")
    url = settings.identity_openid_config_url
    if url and not url.startswith(("https://", "http://")):
        _refuse("identity_openid_config_url", url, "the http or https URL of a discovery document")
    if bool(url) != bool(settings.identity_openid_client_id):
        _refuse("identity_openid_config_url and identity_openid_client_id", "only one of them", "both, or neither")
    if not settings.identity_openid_claim_name:
        _refuse("identity_openid_claim_name", "(empty)", "the name of a claim, such as policy")
    if bool(settings.root_user) != bool(settings.root_password):
        _refuse("root_user and root_password", "only one of them", "both, or neither to have them generated")


def _refuse(name: str, value: object, allowed: str) -> None:
    raise InvalidInputError(ErrorKind.INVALID_SETTING, f"setting {name}: {value} is not allowed; give {allowed}")


def parse_address(text: str) -> tuple[str, int]:
    """Return (host, port) of `host:port`; an empty host is all interfaces."""
    host, colon, port = text.rpartition(":")
    is_number = port.isascii() and port.isdigit() and len(port) <= PORT_DIGITS_MAX
    if not colon or not is_number or int(port) > PORT_MAX:
        raise InvalidInputError(
            ErrorKind.INVALID_SETTING, f"address {text!r} is not host:port, such as 127.0.0.1:9000 or :9000"
        )
    return host.strip("[]"), int(port)
