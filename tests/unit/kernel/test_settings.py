"""Settings: what overrides what, and how mistakes are told."""

from pathlib import Path
from typing import Any

import pytest

from hosu.kernel.errors import ErrorKind, InvalidInputError
from hosu.kernel.settings import ENVIRONMENT, Settings, load_settings, parse_address


def refusal(lake: Path, environment: dict[str, str] | None = None, **flags: Any) -> str:
    with pytest.raises(InvalidInputError) as refused:
        load_settings(lake, environment or {}, flags)
    assert refused.value.kind is ErrorKind.INVALID_SETTING
    assert "\n" not in refused.value.message
    return refused.value.message


def test_nothing_given_means_loopback_and_generated_credentials(tmp_path: Path) -> None:
    settings = load_settings(tmp_path / "missing", {}, {})
    assert settings == Settings()
    assert settings.address == "127.0.0.1:9000"
    assert settings.console_address == "127.0.0.1:9001"
    assert (settings.root_user, settings.domains) == ("", ())


def test_flags_override_the_environment_which_overrides_the_file_which_overrides_defaults(tmp_path: Path) -> None:
    (tmp_path / "hosu.toml").write_text('region = "file"\ndomain = "file"\naddress = ":1"\n')
    settings = load_settings(
        tmp_path,
        {"HOSU_DOMAIN": "environment", "HOSU_ADDRESS": ":2"},
        {"address": ":3", "workers": None},
        defaults={"region": "default", "console_address": ":4"},
    )
    assert settings.region == "file"
    assert settings.domain == "environment"
    assert settings.address == ":3"
    assert settings.console_address == ":4"
    assert settings.workers == 1


CHOICES = {
    "address": ("127.0.0.1:7001", "127.0.0.1:7002"),
    "console_address": ("127.0.0.1:7001", "127.0.0.1:7002"),
    "default_encryption": ("on", "off"),
    "identity_openid_config_url": ("https://theirs.example/", "https://ours.example/"),
    "metrics_auth": ("public", "jwt"),
}
"""Two values of each setting that does not take any."""


@pytest.mark.parametrize("name", [name for name in ENVIRONMENT if name.startswith("MINIO_")])
def test_our_name_of_a_variable_counts_before_minios(name: str, tmp_path: Path) -> None:
    field = ENVIRONMENT[name]
    ours = next(own for own, other in ENVIRONMENT.items() if other == field and own.startswith("HOSU_"))
    rest = {"MINIO_ROOT_USER": "somebody", "MINIO_ROOT_PASSWORD": "some-secret"}
    if "OPENID" in name:
        rest |= {
            "MINIO_IDENTITY_OPENID_CONFIG_URL": "https://example.org/",
            "MINIO_IDENTITY_OPENID_CLIENT_ID": "the-lake",
        }
    given, chosen = CHOICES.get(field, ("theirs-99", "ours-9999"))
    assert getattr(load_settings(tmp_path, rest | {name: given}, {}), field) == given
    assert getattr(load_settings(tmp_path, {ours: chosen} | rest | {name: given}, {}), field) == chosen
    assert getattr(load_settings(tmp_path, rest | {name: given, ours: ""}, {}), field) == given


def test_values_from_the_environment_get_their_types(tmp_path: Path) -> None:
    settings = load_settings(
        tmp_path, {"HOSU_WORKERS": "3", "HOSU_SPACE_RESERVE_BYTES": "4096", "LOG_LEVEL": "debug"}, {}
    )
    assert (settings.workers, settings.space_reserve_bytes, settings.log_level) == (3, 4096, "DEBUG")


def test_domains_are_separated_by_commas(tmp_path: Path) -> None:
    assert load_settings(tmp_path, {"MINIO_DOMAIN": " a.example, b.example ,"}, {}).domains == (
        "a.example",
        "b.example",
    )


def test_an_unknown_key_of_the_file_is_refused_with_the_nearest_one(tmp_path: Path) -> None:
    (tmp_path / "hosu.toml").write_text("adress = ':9000'\n")
    message = refusal(tmp_path)
    assert str(tmp_path / "hosu.toml") in message
    assert "'adress'; did you mean 'address'?" in message


def test_an_unknown_key_like_no_other_is_refused_with_all_there_are(tmp_path: Path) -> None:
    (tmp_path / "hosu.toml").write_text("zzz = 1\n")
    assert all(name in refusal(tmp_path) for name in Settings.__struct_fields__)


def test_a_misspelt_variable_of_ours_is_refused_with_the_nearest_one(tmp_path: Path) -> None:
    assert "HOSU_ADRESS is no setting; did you mean HOSU_ADDRESS?" in refusal(tmp_path, {"HOSU_ADRESS": ":1"})


def test_variables_that_are_not_settings_are_left_alone(tmp_path: Path) -> None:
    others = {"HOSU_CI": "1", "MINIO_BROWSER": "off", "PATH": "/bin", "ADDRESS": "x"}
    assert load_settings(tmp_path, others, {}) == Settings()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"address = ", "not valid TOML"),
        (b"region = '\xff'", "not valid TOML"),
        (b"workers = 'many'", "workers"),
        (b"address = 9000", "address"),
        (b"workers = 0", "1 to 64"),
        (b"[address]\nhost = 'x'", "address"),
    ],
)
def test_a_wrong_value_in_the_file_is_told(content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "hosu.toml").write_bytes(content)
    assert told in refusal(tmp_path)


def test_a_settings_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "hosu.toml").mkdir()
    assert "hosu.toml cannot be read" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"HOSU_WORKERS": "many"}, "workers"),
        ({"HOSU_WORKERS": "65"}, "1 to 64"),
        ({"HOSU_LOG_LEVEL": "loud"}, "DEBUG, INFO, WARNING or ERROR"),
        ({"HOSU_ROOT_USER": "ab", "HOSU_ROOT_PASSWORD": "long-enough"}, "at least 3"),
        ({"HOSU_ROOT_USER": "abc", "HOSU_ROOT_PASSWORD": "short77"}, "at least 8"),
        ({"MINIO_ROOT_USER": "abc"}, "both, or neither"),
        ({"MINIO_ROOT_PASSWORD": "long-enough"}, "both, or neither"),
        ({"MINIO_ADDRESS": "9000"}, "host:port"),
        ({"HOSU_OBJECT_OWNERSHIP": "Nobody"}, "BucketOwnerEnforced or"),
        ({"HOSU_TRUSTED_PROXIES": "10.0.0.0/8, proxy"}, "setting trusted_proxies: proxy"),
    ],
)
def test_a_wrong_value_in_the_environment_is_told(environment: dict[str, str], told: str, tmp_path: Path) -> None:
    message = refusal(tmp_path, environment)
    assert told in message
    assert environment.get("HOSU_ROOT_PASSWORD", "no password") not in message


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":9000", ("", 9000)),
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("[::1]:65535", ("::1", 65535)),
        ("::1:80", ("::1", 80)),
        ("lake.example:443", ("lake.example", 443)),
    ],
)
def test_addresses_are_host_and_port(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text", ["", "9000", "localhost", "localhost:", ":65536", ":-1", ":+1", ": 1", ":²", ":９", ":" + "9" * 5000]
)
def test_anything_else_is_no_address(text: str) -> None:
    with pytest.raises(InvalidInputError, match="is not host:port"):
        parse_address(text)


def test_an_identity_provider_has_an_address_and_a_client(tmp_path: Path) -> None:
    url, client = "https://sso.example.org/.well-known/openid-configuration", "the-lake"
    both = {"identity_openid_config_url": url, "identity_openid_client_id": client}
    assert load_settings(tmp_path, {}, both).identity_openid_claim_name == "policy"
    for wrong in (
        {"identity_openid_config_url": url},
        {"identity_openid_client_id": client},
        both | {"identity_openid_config_url": "file:///etc/passwd"},
        both | {"identity_openid_claim_name": ""},
    ):
        with pytest.raises(InvalidInputError) as refused:
            load_settings(tmp_path, {}, wrong)
        assert refused.value.kind is ErrorKind.INVALID_SETTING
        assert "identity_openid" in refused.value.message


# Alerts


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"alert_webhook": "ftp://hooks.example/SECRET-PATH"}, "alert_webhook"),
        ({"alert_webhook": "https://ok.example/a,https:///SECRET-PATH"}, "alert_webhook"),
        ({"alert_email_to": "ops@example.com"}, "smtp_host"),
        ({"alert_email_to": "ops@example.com\nBcc: a@b", "smtp_host": "mail"}, "alert_email_to"),
        ({"alert_email_from": "nobody"}, "alert_email_from"),
        ({"alert_email_to": "ops@", "smtp_host": "mail"}, "alert_email_to"),
        ({"alert_email_to": "ops@[", "smtp_host": "mail"}, "alert_email_to"),
        ({"alert_email_from": "ops@exämple.com", "smtp_host": "mail"}, "alert_email_from"),
        ({"smtp_security": "ssl"}, "smtp_security"),
        ({"smtp_security": "none", "smtp_user": "u", "smtp_password": "SECRET-WORD"}, "smtp_security"),
        ({"smtp_user": "u"}, "smtp_password"),
        ({"smtp_port": 65_536}, "smtp_port"),
        ({"alert_repeat_hours": 0}, "alert_repeat_hours"),
        ({"alert_denied_requests": -1}, "alert_denied_requests"),
    ],
)
def test_settings_of_alerts_that_cannot_be_are_refused_by_name(
    tmp_path: Path, settings: dict[str, object], named: str
) -> None:
    with pytest.raises(InvalidInputError, match=named) as refusal:
        load_settings(tmp_path, {}, settings)
    assert "SECRET" not in str(refusal.value)


def test_settings_show_no_secret(tmp_path: Path) -> None:
    environment = {
        "HOSU_ALERT_WEBHOOK": "https://hooks.example/SECRET-1, https://hooks.example/SECRET-2",
        "HOSU_ALERT_WEBHOOK_TOKEN": "SECRET-3",
        "HOSU_SMTP_HOST": "mail.example.com",
        "HOSU_SMTP_USER": "hosu",
        "HOSU_SMTP_PASSWORD": "SECRET-4",
        "HOSU_ROOT_USER": "admin",
        "HOSU_ROOT_PASSWORD": "SECRET-5",
        "HOSU_ALERT_EMAIL_TO": "a@example.com, b@example.com",
    }
    settings = load_settings(tmp_path, environment, {})
    assert settings.alert_webhooks == ("https://hooks.example/SECRET-1", "https://hooks.example/SECRET-2")
    assert settings.alert_addresses == ("a@example.com", "b@example.com")
    assert "SECRET" not in f"{settings} {settings!r} {list(settings.__rich_repr__())}"
    assert "smtp_host='mail.example.com'" in repr(settings)
