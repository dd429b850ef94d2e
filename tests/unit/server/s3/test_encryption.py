import pytest

from hosu.objects.encryption import EncryptionFacts, EncryptionMode
from hosu.server.s3.encryption import (
    ENCRYPTION_HEADERS,
    OF_OBJECT,
    OF_SOURCE,
    SOURCE_HEADERS,
    check_method,
    encryption_headers,
    encryption_lines,
    key_name_of,
    written_headers,
)
from hosu.server.s3.request_errors import S3RequestError


@pytest.mark.parametrize(
    ("key_id", "name"),
    [
        ("models", "models"),
        ("", ""),
        ("a.b-c_d", "a.b-c_d"),
        ("arn:aws:kms:us-east-1:123456789012:key/models", "models"),
        ("arn:aws:kms:::key/models", "models"),
        ("arn:aws:kms:us-east-1:123456789012:alias/models", "models"),
        ("arn:aws:kms:models", "models"),
    ],
)
def test_a_key_is_named_by_itself_or_in_an_arn(key_id: str, name: str) -> None:
    assert key_name_of(key_id) == name


def test_methods_are_those_of_s3_and_what_is_missing_is_refused_by_name() -> None:
    assert check_method("AES256", "x") == EncryptionMode.SSE_S3
    assert check_method("aws:kms", "x") == EncryptionMode.SSE_KMS
    for method, code in [("aws:kms:dsse", "NotImplemented"), ("aws:fsx", "NotImplemented")]:
        with pytest.raises(S3RequestError, match=method) as refusal:
            check_method(method, "x")
        assert refusal.value.code == code
    for method in ("", "aes256", "AES-256", "kms", "customer"):
        with pytest.raises(S3RequestError) as refusal:
            check_method(method, "SSEAlgorithm")
        assert (refusal.value.code, refusal.value.details["argument_name"]) == ("InvalidArgument", "SSEAlgorithm")


def test_answers_say_what_clients_of_each_mode_look_for() -> None:
    prefix = b"x-amz-server-side-encryption"
    assert encryption_headers(None) == []
    assert encryption_headers(EncryptionFacts(EncryptionMode.SSE_S3, "hosu-default")) == [(prefix, b"AES256")]
    kms = EncryptionFacts(EncryptionMode.SSE_KMS, "models", context="e30=", bucket_key=True)
    named = [(prefix, b"aws:kms"), (prefix + b"-aws-kms-key-id", b"models"), (prefix + b"-bucket-key-enabled", b"true")]
    assert encryption_headers(kms) == named
    assert written_headers(kms) == [*named, (prefix + b"-context", b"e30=")]
    customer = EncryptionFacts(EncryptionMode.SSE_C, customer_key_md5="bWQ1")
    assert encryption_lines(customer) == (
        b"x-amz-server-side-encryption-customer-algorithm: AES256\r\n"
        b"x-amz-server-side-encryption-customer-key-MD5: bWQ1\r\n"
    )


def test_headers_about_a_source_are_those_of_an_object_with_another_prefix() -> None:
    assert OF_SOURCE.key == b"x-amz-copy-source-server-side-encryption-customer-key"
    assert len(SOURCE_HEADERS) == len(OF_OBJECT)
    assert ENCRYPTION_HEADERS.isdisjoint(SOURCE_HEADERS)
