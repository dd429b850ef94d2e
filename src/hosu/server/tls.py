"""Certificates: read at the start, and again when their files change, without a connection being lost.

One pair of files, or a folder as MinIO has it: `public.crt` and `private.key`, and a folder of the same two files for
each further host name. Who asks for a name gets the certificate made for it, anyone else the first.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from hosu.kernel.clock import Clock
from hosu.kernel.errors import ErrorKind, HosuError, InvalidInputError
from hosu.kernel.log import get_logger
from hosu.kernel.settings import Settings

CHECK_PERIOD_S = 5.0
"""How often files are looked at: soon enough after a renewal, and a handful of `stat` calls each time."""

EXPIRY_WARNING_S = 14 * 86_400
"""Renewals come 30 days before the end; at half of that, one has failed."""

CERTIFICATE_NAME, KEY_NAME = "public.crt", "private.key"
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2: those that keep past traffic secret and that nobody can tamper with. TLS 1.3 has no others."""

_LOG = get_logger("tls")


class Pair(NamedTuple):
    """A certificate, with those of its issuers behind it, and its private key."""

    certificate: Path
    key: Path


Stamps = tuple[tuple[str, int, int, int], ...]


class Certificates:
    """What a server shows to who connects. Raises InvalidInputError for files that cannot be used.

    One thread at a time may call `refresh`; `context` is for any.
    """

    def __init__(self, pairs: Callable[[], list[Pair]], clock: Clock) -> None:
        self._pairs = pairs
        self._clock = clock
        self._complaint = ""
        first = pairs()
        self._seen: Stamps = _stamps(first)
        self._loaded = _load(first, clock.now_ms())

    def context(self) -> ssl.SSLContext:
        """Return the context of a new connection."""
        return self._loaded

    def refresh(self, *, is_asked: bool = False) -> bool:
        """Read files that changed, or all when asked to; return whether new connections get something else.

        What cannot be used is logged, once for each change, and the present certificates stay.
        """
        try:
            pairs = self._pairs()
            stamps = _stamps(pairs)
            if stamps == self._seen and not is_asked:
                return False
            self._seen = stamps
            self._loaded = _load(pairs, self._clock.now_ms())
        except HosuError as error:
            if is_asked or error.message != self._complaint:
                _LOG.error("certificates were not replaced", error=error.message)
            self._complaint = error.message
            return False
        self._complaint = ""
        _LOG.info("certificates were replaced", files=[str(pair.certificate) for pair in pairs])
        return True

    async def watch(self, asked: asyncio.Event) -> None:
        """Refresh whenever `asked` is set, and when files have changed; until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asked.wait(), CHECK_PERIOD_S)
            is_asked = asked.is_set()
            asked.clear()
            await asyncio.to_thread(self.refresh, is_asked=is_asked)


def load_certificates(settings: Settings, clock: Clock) -> Certificates | None:
    """Return the certificates that settings name, None where they name none."""
    if settings.certificate_file:
        pair = Pair(Path(settings.certificate_file), Path(settings.key_file))
        return Certificates(lambda: [pair], clock)
    if settings.certs_dir:
        folder = Path(settings.certs_dir)
        return Certificates(lambda: _pairs_in(folder), clock)
    return None


def _pairs_in(folder: Path) -> list[Pair]:
    """Return the pairs of a folder as MinIO has it, the one for everybody first."""
    try:
        names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    except OSError as error:
        raise _unusable(f"the folder {folder} cannot be read: {error.strerror}") from error
    pairs = [Pair(folder / CERTIFICATE_NAME, folder / KEY_NAME)]
    for name in names:
        pair = Pair(folder / name / CERTIFICATE_NAME, folder / name / KEY_NAME)
        # Others keep issuers (CAs/) and the like beside; Kubernetes keeps the files of each generation (..data/).
        if not name.startswith(".") and pair.certificate.exists():
            pairs.append(pair)
    return pairs


def _stamps(pairs: list[Pair]) -> Stamps:
    """Return what changes with the files: behind a link, those it leads to."""
    found = []
    for file in (file for pair in pairs for file in pair):
        try:
            stat = file.stat()
        except OSError:
            found.append((str(file), 0, 0, 0))
        else:
            found.append((str(file), stat.st_mtime_ns, stat.st_ino, stat.st_size))
    return tuple(found)


def _load(pairs: list[Pair], now_ms: int) -> ssl.SSLContext:
    """Return a context that knows all pairs; raises InvalidInputError that names the file."""
    contexts = [_context(pair) for pair in pairs]
    by_name: dict[str, ssl.SSLContext] = {}
    for pair, context in zip(pairs, contexts, strict=True):
        for name in _names(pair, now_ms):
            by_name.setdefault(name, context)
    if len(contexts) > 1:

        def choose(connection: ssl.SSLObject, name: str | None, _first: ssl.SSLContext) -> None:
            chosen = _find(by_name, name)
            if chosen is not None:
                connection.context = chosen

        contexts[0].sni_callback = choose
    return contexts[0]


def _find(by_name: dict[str, ssl.SSLContext], name: str | None) -> ssl.SSLContext | None:
    """Return the context for a host name: its own, else that of a wildcard one level up."""
    if name is None:
        return None
    lowered = name.lower()
    return by_name.get(lowered) or by_name.get(f"*.{lowered.partition('.')[2]}")


def _context(pair: Pair) -> ssl.SSLContext:
    for file in pair:
        try:
            file.read_bytes()
        except OSError as error:
            raise _unusable(f"{file} cannot be read: {error.strerror}") from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_RENEGOTIATION
    try:
        context.load_cert_chain(*pair, password=_no_password)
    except ssl.SSLError as error:
        raise _unusable(_why(pair, error)) from error
    except OSError as error:  # a file went after it was read above
        raise _unusable(f"{pair.certificate} or {pair.key} cannot be read: {error.strerror}") from error
    return context


def _no_password() -> str:
    """Refuse a key that wants a password, where OpenSSL would ask at the terminal."""
    raise _unusable("the private key is encrypted; store it without a password, readable by the server only")


def _why(pair: Pair, error: ssl.SSLError) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"{pair.key} is not the key of {pair.certificate}"
    reason = (error.reason or "it is not PEM").lower().replace("_", " ")
    return f"{pair.certificate} and {pair.key} are not a certificate and its private key in PEM form: {reason}"


def _names(pair: Pair, now_ms: int) -> list[str]:
    """Return the host names of a certificate, and warn when it is about to end."""
    from cryptography import x509  # noqa: PLC0415 - a server without TLS has no use for it

    try:
        certificate = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
    except (OSError, ValueError) as error:
        raise _unusable(f"{pair.certificate} is not a certificate in PEM form: {error}") from error
    until = certificate.not_valid_after_utc
    if until.timestamp() - now_ms / 1000 < EXPIRY_WARNING_S:
        _LOG.warning("a certificate ends soon or has ended", file=str(pair.certificate), until=until.isoformat())
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise _unusable(f"the host names of {pair.certificate} cannot be read: {error}") from error
    return [name.lower() for name in names.get_values_for_type(x509.DNSName)]


def _unusable(message: str) -> InvalidInputError:
    return InvalidInputError(ErrorKind.INVALID_SETTING, f"TLS: {message}")
