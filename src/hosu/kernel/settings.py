"""Settings of a server: `hosu.toml` in the lake, overridden by the environment, overridden by flags.

One typed object comes out; a key nobody knows is an error that names the nearest one that exists.
"""

import difflib
import tomllib
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path

import msgspec

from hosu.kernel.errors import ErrorKind, InvalidInputError
from hosu.kernel.limits import MIB

FILE_NAME = "hosu.toml"

ENVIRONMENT = {
    "HOSU_ADDRESS": "address",
    "HOSU_AUDIT": "audit",
    "HOSU_AUDIT_FILE_BYTES": "audit_file_bytes",
    "HOSU_AUDIT_KEEP_DAYS": "audit_keep_days",
    "HOSU_AUDIT_READS": "audit_reads",
    "HOSU_CERTIFICATE_FILE": "certificate_file",
    "HOSU_CERTS_DIR": "certs_dir",
    "HOSU_CONSOLE_ADDRESS": "console_address",
    "HOSU_DEFAULT_ENCRYPTION": "default_encryption",
    "HOSU_DOMAIN": "domain",
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
    "HOSU_SPACE_RESERVE_BYTES": "space_reserve_bytes",
    "HOSU_SSE_C_OVER_HTTP": "sse_c_over_http",
    "HOSU_TRUSTED_PROXIES": "trusted_proxies",
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
PORT_MAX = 65_535
PORT_DIGITS_MAX = 5


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

    object_ownership: str = "BucketOwnerEnforced"
    """Ownership of buckets that set no controls of their own: whether ACLs count in them."""

    trusted_proxies: str = ""
    """Addresses or networks, separated by commas, whose X-Forwarded-For and X-Forwarded-Proto are believed."""

    audit: bool = True
    """Whether changes and denied requests are written to the audit log."""

    audit_reads: bool = False
    """Whether reads of every bucket are; a bucket may have its own switched on."""

    audit_file_bytes: int = 64 * MIB
    """A file of the audit log that is this large is followed by the next."""

    audit_keep_days: int = 90
    """Days that files of the audit log are kept; 0 keeps them for ever."""

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
    try:
        settings = msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidInputError(ErrorKind.INVALID_SETTING, f"a setting is not valid: {error}") from error
    _check_values(settings)
    return settings


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
    if settings.object_ownership not in OBJECT_OWNERSHIPS:
        _refuse("object_ownership", settings.object_ownership, " or ".join(OBJECT_OWNERSHIPS))
    _check_networks(settings.trusted_proxies)
    if settings.metrics_auth not in {"jwt", "public"}:
        _refuse("metrics_auth", settings.metrics_auth, "jwt or public")
    if bool(settings.certificate_file) != bool(settings.key_file):
        _refuse("certificate_file and key_file", "only one of them", "both, or neither to serve without TLS")
    if settings.certificate_file and settings.certs_dir:
        _refuse("certificate_file and certs_dir", "both", "one of them")


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
