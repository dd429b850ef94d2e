"""Targets of events: where they are set, and how mistakes are told without their secrets."""

from pathlib import Path

import msgspec
import pytest

from hosu.kernel.errors import ErrorKind, InvalidInputError
from hosu.kernel.notify import KafkaTarget, RedisTarget, WebhookTarget
from hosu.kernel.settings import Settings, load_settings

WEBHOOK = {
    "MINIO_NOTIFY_WEBHOOK_ENABLE_PRIMARY": "on",
    "MINIO_NOTIFY_WEBHOOK_ENDPOINT_PRIMARY": "http://hook:8080/path",
    "MINIO_NOTIFY_WEBHOOK_AUTH_TOKEN_PRIMARY": "hook-secret",
    "MINIO_NOTIFY_WEBHOOK_QUEUE_LIMIT_PRIMARY": "10",
    "MINIO_NOTIFY_WEBHOOK_QUEUE_DIR_PRIMARY": "/var/queue",
}


def refusal(lake: Path, environment: dict[str, str] | None = None, toml: str = "") -> str:
    (lake / "hosu.toml").write_text(toml)
    with pytest.raises(InvalidInputError) as refused:
        load_settings(lake, environment or {}, {})
    assert refused.value.kind is ErrorKind.INVALID_SETTING
    return refused.value.message


def test_minios_variables_make_targets(tmp_path: Path) -> None:
    notify = load_settings(
        tmp_path,
        WEBHOOK
        | {
            "MINIO_NOTIFY_KAFKA_ENABLE": "on",
            "MINIO_NOTIFY_KAFKA_BROKERS": "a:9092,b:9092",
            "MINIO_NOTIFY_KAFKA_TOPIC": "lake",
            "MINIO_NOTIFY_KAFKA_SASL": "on",
            "MINIO_NOTIFY_KAFKA_SASL_USERNAME": "lake",
            "MINIO_NOTIFY_KAFKA_SASL_PASSWORD": "kafka-secret",
            "MINIO_NOTIFY_KAFKA_SASL_MECHANISM": "sha512",
            "MINIO_NOTIFY_KAFKA_TLS": "off",
            "MINIO_NOTIFY_REDIS_ENABLE_A_B": "on",
            "MINIO_NOTIFY_REDIS_ADDRESS_A_B": "cache:6379",
            "MINIO_NOTIFY_REDIS_KEY_A_B": "events",
            "MINIO_NOTIFY_REDIS_FORMAT_A_B": "access",
        },
        {},
    ).notify
    assert notify.webhook == {
        "PRIMARY": WebhookTarget(
            endpoint="http://hook:8080/path", auth_token="hook-secret", queue_limit=10, queue_dir="/var/queue"
        )
    }
    assert notify.kafka == {
        "_": KafkaTarget(
            brokers="a:9092,b:9092", topic="lake", sasl=True, sasl_username="lake", sasl_password="kafka-secret",
            sasl_mechanism="sha512",
        )
    }  # fmt: skip
    assert notify.redis == {"A_B": RedisTarget(address="cache:6379", key="events", format="access")}
    assert sorted(notify.targets) == ["kafka:_", "redis:A_B", "webhook:PRIMARY"]


def test_a_target_that_is_not_switched_on_is_none(tmp_path: Path) -> None:
    off = WEBHOOK | {"MINIO_NOTIFY_WEBHOOK_ENABLE_PRIMARY": "off"}
    unsaid = {name: value for name, value in WEBHOOK.items() if "ENABLE" not in name}
    for environment in (off, unsaid):
        assert load_settings(tmp_path, environment, {}) == Settings()


def test_the_file_has_tables_and_the_environment_counts_before_them(tmp_path: Path) -> None:
    (tmp_path / "hosu.toml").write_text(
        'region = "here"\n[notify.webhook.PRIMARY]\nendpoint = "http://file/"\n'
        '[notify.webhook.second]\nendpoint = "https://second/"\n[notify.redis.r]\naddress = "h:1"\nkey = "k"\n'
    )
    settings = load_settings(tmp_path, WEBHOOK, {})
    assert settings.region == "here"
    assert settings.notify.webhook["PRIMARY"].endpoint == "http://hook:8080/path"
    assert settings.notify.webhook["second"].endpoint == "https://second/"
    assert settings.notify.redis["r"].format == "namespace"


def test_our_name_of_a_variable_counts_before_minios(tmp_path: Path) -> None:
    ours = WEBHOOK | {"HOSU_NOTIFY_WEBHOOK_ENDPOINT_PRIMARY": "http://ours/"}
    assert load_settings(tmp_path, ours, {}).notify.webhook["PRIMARY"].endpoint == "http://ours/"


def test_targets_survive_the_way_to_the_processes(tmp_path: Path) -> None:
    settings = load_settings(tmp_path, WEBHOOK, {})
    assert msgspec.json.decode(msgspec.json.encode(settings), type=Settings) == settings


def test_secrets_are_shown_nowhere() -> None:
    targets = (
        WebhookTarget(endpoint="http://user:url-secret@hook/?token=url-secret", auth_token="hook-secret"),
        KafkaTarget(brokers="a:1", topic="t", sasl_password="kafka-secret"),
        RedisTarget(address="a:1", key="k", password="redis-secret"),
    )
    for target in targets:
        assert "secret" not in repr(target)
        assert "secret" not in str(list(target.__rich_repr__()))
    assert "secret" not in repr(Settings(notify=msgspec.structs.replace(Settings().notify, webhook={"a": targets[0]})))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"MINIO_NOTIFY_WEBHOOK_ENDPOINTS_PRIMARY": "x"}, "did you mean ENDPOINT"),
        ({"MINIO_NOTIFY_WEBHOOK_ENABLE_PRIMARY": "maybe"}, "give on or off"),
        ({"MINIO_NOTIFY_WEBHOOK_ENDPOINT_PRIMARY": "ftp://hook/"}, "an http or https URL"),
        ({"MINIO_NOTIFY_WEBHOOK_ENDPOINT_PRIMARY": "http://:80/"}, "an http or https URL"),
        ({"MINIO_NOTIFY_WEBHOOK_ENDPOINT_PRIMARY": "http://h:99999/"}, "an http or https URL"),
        ({"MINIO_NOTIFY_WEBHOOK_QUEUE_LIMIT_PRIMARY": "many"}, "notify.webhook.PRIMARY.queue_limit is not valid"),
        ({"MINIO_NOTIFY_WEBHOOK_QUEUE_LIMIT_PRIMARY": "0"}, "queue_limit is 0"),
        ({"MINIO_NOTIFY_WEBHOOK_CLIENT_CERT_PRIMARY": "c.pem"}, "both, or neither"),
        ({"MINIO_NOTIFY_AMQP_ENABLE_1": "on", "MINIO_NOTIFY_AMQP_URL_1": "amqp://"}, "kafka, redis, webhook"),
        ({"MINIO_NOTIFY_KAFKA_ENABLE": "on", "MINIO_NOTIFY_KAFKA_TOPIC": "t"}, "notify.kafka._.brokers is missing"),
    ],
)
def test_a_wrong_variable_is_told_without_secrets(changed: dict[str, str], told: str, tmp_path: Path) -> None:
    message = refusal(tmp_path, WEBHOOK | changed)
    assert told in message
    assert "hook-secret" not in message


def test_a_kind_of_minios_that_is_off_is_left_alone(tmp_path: Path) -> None:
    assert load_settings(tmp_path, {"MINIO_NOTIFY_AMQP_ENABLE_1": "off"}, {}) == Settings()


@pytest.mark.parametrize(
    ("toml", "told"),
    [
        ("notify = 1", "setting notify is no table"),
        ("[notify.webhok.a]\nendpoint = 'http://h/'", "give webhook"),
        ("[notify.webhook]\na = 1", "notify.webhook.a is no table"),
        ("[notify.webhook.'a b']\nendpoint = 'http://h/'", "an ID that is not allowed"),
        ("[notify.webhook.a]\nendpont = 'http://h/'", "notify.webhook.a.endpont is no field: give endpoint"),
        ("[notify.webhook.a]\nauth_token = 'SECRET'", "notify.webhook.a.endpoint is missing"),
        ("[notify.webhook.a]\nendpoint = 'http://h/'\nauth_token = ['SECRET']", "auth_token is not valid"),
        ("[notify.webhook.a]\nendpoint = 'http://h/'\nauth_token = \"SECRET\\n\"", "without line breaks"),
        ("[notify.redis.a]\naddress = 'redis://h:1'\nkey = 'k'", "without redis://"),
        ("[notify.redis.a]\naddress = 'redis://:SECRET@h:1'\nkey = 'k'", "is (hidden), which is not allowed"),
        ("[notify.redis.a]\naddress = ':SECRET@h:1'\nkey = 'k'", "host:port, without redis:// and credentials"),
        ("[notify.redis.a]\naddress = 'h:1'\nkey = ''", "the name of a key"),
        ("[notify.kafka.a]\nbrokers = 'h:1,user:SECRET@h:2'\ntopic = 't'", "is (hidden), which is not allowed"),
        ("[notify.redis.a]\naddress = 'h:1'\nkey = 'k'\nformat = 'set'", "access or namespace or stream"),
        ("[notify.kafka.a]\nbrokers = 'h'\ntopic = 't'", "host:port"),
        ("[notify.kafka.a]\nbrokers = 'h:1'\ntopic = 'a b'", "the name of a topic"),
        ("[notify.kafka.a]\nbrokers = 'h:1'\ntopic = 't'\nsasl = true", "a name, or leave sasl off"),
        ("[notify.kafka.a]\nbrokers = 'h:1'\ntopic = 't'\nsasl_mechanism = 'x'", "plain or sha256 or sha512"),
        ("[notify.kafka.a]\nbrokers = 'h:1'\ntopic = 't'\ncompression_codec = 'x'", "none or gzip"),
        ("[notify.kafka.a]\nbrokers = 'h:1'\ntopic = 't'\ntimeout_s = 0", "1 to 600 seconds"),
    ],
)
def test_a_wrong_table_is_told_without_secrets(toml: str, told: str, tmp_path: Path) -> None:
    message = refusal(tmp_path, toml=toml)
    assert told in message
    assert "SECRET" not in message
    assert "\n" not in message
