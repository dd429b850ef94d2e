import asyncio
import json
import os
import socket
import ssl
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.support.certificates import DAYS, make_certificate

from hosu.kernel.clock import SystemClock
from hosu.kernel.errors import InvalidInputError
from hosu.kernel.settings import Settings, load_settings
from hosu.server.app import Server
from hosu.server.tls import Certificates, load_certificates
from hosu.testing.manual_clock import ManualClock

Paths = tuple[Path, Path]


@pytest.fixture
def pair(tmp_path: Path) -> Paths:
    return make_certificate(tmp_path / "certs", ["first.example"])


def loaded(pair: Paths) -> Certificates:
    found = load_certificates(Settings(certificate_file=str(pair[0]), key_file=str(pair[1])), SystemClock())
    assert found is not None
    return found


def in_folder(folder: Path) -> Certificates:
    found = load_certificates(Settings(certs_dir=str(folder)), SystemClock())
    assert found is not None
    return found


def shown(certificates: Certificates, name: str | None = None, **client: ssl.TLSVersion) -> bytes:
    """Shake hands as a client that asks for name; return the certificate it is shown."""
    mine, theirs = socket.socketpair()
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    for option, value in client.items():
        setattr(trusting, option, value)

    def serve() -> None:
        try:
            with certificates.context().wrap_socket(theirs, server_side=True):
                pass
        except OSError:
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with mine, trusting.wrap_socket(mine, server_hostname=name) as connection:
            found = connection.getpeercert(binary_form=True)
            assert found is not None
            return found
    finally:
        thread.join(10)


def der(certificate: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(certificate.read_text())


def replace_later(folder: Path, names: list[str]) -> Paths:
    """Make another pair in the place of one, with stamps that differ even on a coarse clock."""
    pair = make_certificate(folder, names)
    for file in pair:
        stamp = file.stat().st_mtime_ns + 5_000_000_000
        os.utime(file, ns=(stamp, stamp))
    return pair


def test_without_certificates_nothing_is_encrypted() -> None:
    assert load_certificates(Settings(), SystemClock()) is None


def test_files_that_changed_are_read_again(pair: Paths) -> None:
    certificates, first = loaded(pair), der(pair[0])
    assert shown(certificates) == first
    assert not certificates.refresh()
    replace_later(pair[0].parent, ["second.example"])
    assert shown(certificates) == first
    assert certificates.refresh()
    assert shown(certificates) == der(pair[0]) != first
    assert not certificates.refresh()


def test_a_link_that_leads_elsewhere_is_a_change(tmp_path: Path) -> None:
    old, new = make_certificate(tmp_path / "old"), make_certificate(tmp_path / "new")
    current = tmp_path / "current"
    current.symlink_to(tmp_path / "old")
    certificates = loaded((current / old[0].name, current / old[1].name))
    current.unlink()
    current.symlink_to(tmp_path / "new")
    assert certificates.refresh()
    assert shown(certificates) == der(new[0])


@pytest.mark.parametrize("damage", ["no key", "another key", "cut", "gone"])
def test_a_broken_new_pair_is_told_once_and_the_old_one_stays(
    pair: Paths, damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    certificates, first = loaded(pair), der(pair[0])
    replace_later(pair[0].parent, ["second.example"])
    match damage:
        case "no key":
            pair[1].write_text("nothing")
        case "another key":
            pair[1].write_bytes(make_certificate(tmp_path / "other")[1].read_bytes())
        case "cut":
            pair[0].write_bytes(pair[0].read_bytes()[:300])
        case "gone":
            pair[0].unlink()
    assert not certificates.refresh()
    assert not certificates.refresh()
    assert shown(certificates) == first
    complaints = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["event"] for line in complaints] == ["certificates were not replaced"]
    assert str(pair[0].parent) in complaints[0]["error"]
    replace_later(pair[0].parent, ["third.example"])
    assert certificates.refresh()
    assert shown(certificates) == der(pair[0]) != first


def test_whoever_asks_has_them_read_again_though_nothing_changed(pair: Paths) -> None:
    assert loaded(pair).refresh(is_asked=True)


def test_a_watch_reads_them_when_asked(pair: Paths) -> None:
    certificates = loaded(pair)
    make_certificate(pair[0].parent, ["second.example"])

    async def watch() -> None:
        asked, before = asyncio.Event(), certificates.context()
        watching = asyncio.get_running_loop().create_task(certificates.watch(asked))
        asked.set()
        while certificates.context() is before:  # noqa: ASYNC110 - a watch tells nobody
            await asyncio.sleep(0)
        watching.cancel()

    asyncio.run(watch())
    assert shown(certificates) == der(pair[0])


def test_each_host_name_has_its_own(tmp_path: Path) -> None:
    make_certificate(tmp_path, ["everybody.example"])
    make_certificate(tmp_path / "s3", ["s3.example", "*.s3.example"])
    make_certificate(tmp_path / "CAs")[0].rename(tmp_path / "CAs" / "ours.pem")
    certificates = in_folder(tmp_path)
    everybody, s3 = der(tmp_path / "public.crt"), der(tmp_path / "s3" / "public.crt")
    for name in ("s3.example", "S3.example", "bucket.s3.example"):
        assert shown(certificates, name) == s3, name
    for other in (None, "everybody.example", "other.example", "a.b.s3.example", "example"):
        assert shown(certificates, other) == everybody, other
    make_certificate(tmp_path / "new", ["new.example"])
    assert certificates.refresh()
    assert shown(certificates, "new.example") == der(tmp_path / "new" / "public.crt")


def test_versions_before_1_2_are_refused(pair: Paths) -> None:
    certificates = loaded(pair)
    assert certificates.context().minimum_version == ssl.TLSVersion.TLSv1_2
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        assert shown(certificates, minimum_version=version, maximum_version=version) == der(pair[0])


def test_ciphers_keep_past_traffic_secret_and_are_authenticated(pair: Paths) -> None:
    for cipher in loaded(pair).context().get_ciphers():
        assert cipher["aead"], cipher["name"]
        assert cipher["protocol"] == "TLSv1.3" or cipher["name"].startswith("ECDHE-"), cipher["name"]


def test_what_cannot_be_used_is_named(tmp_path: Path, pair: Paths) -> None:
    other = make_certificate(tmp_path / "other")
    text = tmp_path / "text.pem"
    text.write_text("hello")
    for certificate, key, told in [
        (tmp_path / "missing.pem", pair[1], "missing.pem cannot be read: No such file"),
        (pair[0], tmp_path / "missing.pem", "missing.pem cannot be read: No such file"),
        (pair[0], other[1], "is not the key of"),
        (text, pair[1], "not a certificate and its private key in PEM form"),
        (pair[0], text, "not a certificate and its private key in PEM form"),
        (tmp_path, pair[1], "cannot be read: Is a directory"),
    ]:
        with pytest.raises(InvalidInputError, match=told):
            loaded((certificate, key))
    with pytest.raises(InvalidInputError, match="cannot be read"):
        in_folder(tmp_path / "nowhere")
    with pytest.raises(InvalidInputError, match=r"public\.crt cannot be read"):
        in_folder(tmp_path)


def test_a_key_with_a_password_is_refused_rather_than_asked_for_at_the_terminal(pair: Paths) -> None:
    key = serialization.load_pem_private_key(pair[1].read_bytes(), None)
    locked = serialization.BestAvailableEncryption(b"secret")
    pair[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked))
    with pytest.raises(InvalidInputError, match="without a password"):
        loaded(pair)


def test_a_certificate_that_ends_soon_is_told(pair: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings(certificate_file=str(pair[0]), key_file=str(pair[1]))
    clock = ManualClock(SystemClock().now_ms())
    load_certificates(settings, clock)
    clock.advance((DAYS - 7) * 86_400_000)
    assert capsys.readouterr().err == ""
    load_certificates(settings, clock)
    line = json.loads(capsys.readouterr().err)
    assert (line["level"], line["file"]) == ("warning", str(pair[0]))


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"certificate_file": "a.pem"}, "certificate_file and key_file"),
        ({"key_file": "a.pem"}, "certificate_file and key_file"),
        ({"certificate_file": "a", "key_file": "b", "certs_dir": "c"}, "certificate_file and certs_dir"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(tmp_path: Path, flags: dict[str, str], told: str) -> None:
    with pytest.raises(InvalidInputError, match=told):
        load_settings(tmp_path, {}, flags)


def test_a_server_with_a_wrong_pair_does_not_start_and_makes_nothing(tmp_path: Path, pair: Paths) -> None:
    wrong = make_certificate(tmp_path / "other")[1]
    settings = Settings(
        address="127.0.0.1:0", console_address="127.0.0.1:0", certificate_file=str(pair[0]), key_file=str(wrong)
    )
    with pytest.raises(InvalidInputError, match="is not the key of"):
        Server(tmp_path / "lake", settings)
    assert not (tmp_path / "lake").exists()


def test_a_file_that_goes_while_it_is_read_is_told_as_any_other(
    pair: Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    certificates, first = loaded(pair), der(pair[0])

    def gone(*_: object, **__: object) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", gone)
    assert not certificates.refresh(is_asked=True)
    assert shown(certificates) == first
    assert "certificates were not replaced" in capsys.readouterr().err


def test_a_certificate_whose_names_cannot_be_read_is_refused(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name, start = x509.Name([]), datetime(2026, 1, 1, tzinfo=UTC)
    garbage = x509.UnrecognizedExtension(x509.oid.ExtensionOID.ISSUER_ALTERNATIVE_NAME, b"garbage")
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, start, start.replace(year=2036))
        .add_extension(garbage, critical=False)
        .sign(key, hashes.SHA256())
    )
    files = tmp_path / "c.pem", tmp_path / "k.pem"
    files[0].write_bytes(made.public_bytes(Encoding.PEM))
    files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(InvalidInputError, match="host names"):
        loaded(files)
