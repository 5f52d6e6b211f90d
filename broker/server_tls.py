"""The TLS that page and broker serve with: what certificate they show, and how it is replaced while they serve.

New handshakes show what was last loaded into the context; connections that are open stay as they are.
"""

from __future__ import annotations

import datetime
import logging
import ssl
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from broker.certificates import ensure_server_certificate
from gpumon.errors import GpumonError, SettingError
from gpumon.files import read_secret
from gpumon.log import OncePer

logger = logging.getLogger(__name__)

LOOKED_AFTER_EVERY_S = 60.0
CHECKED_EVERY = datetime.timedelta(hours=12)
TOLD_WITH_DAYS_LEFT = 14
TOLD_AGAIN_AFTER_S = 12 * 3600.0
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2; those of 1.3 are all as good

Clock = Callable[[], datetime.datetime]


def utc_now() -> datetime.datetime:
    """Return the time by this machine's clock."""
    return datetime.datetime.now(datetime.timezone.utc)


class CertificateSource(Protocol):
    """Where the server's certificate and key come from."""

    @property
    def files(self) -> tuple[Path, Path]:
        """The certificate with its chain, and its key; they may be one file."""

    def check(self, now: datetime.datetime) -> None:
        """Make sure that the files are there and good. Raises GpumonError: saying what to do where they are not."""


class OwnCertificate:
    """A certificate by gpumon's own authority, made and made anew as needed."""

    def __init__(self, folder: Path, names: Callable[[], Sequence[str]]) -> None:
        self._folder = folder
        self._names = names
        self._path = folder / "server.pem"

    @property
    def files(self) -> tuple[Path, Path]:
        """One file that holds both."""
        return self._path, self._path

    def check(self, now: datetime.datetime) -> None:
        """Make the authority and the certificate where they are missing or due. Raises GpumonError."""
        self._path = ensure_server_certificate(self._folder, self._names(), now)


class GivenCertificate:
    """A certificate that a person has given with `--cert` and `--key`; something else renews it."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._certificate = certificate
        self._key = key

    @property
    def files(self) -> tuple[Path, Path]:
        """The two files."""
        return self._certificate, self._key

    def check(self, now: datetime.datetime) -> None:
        """Refuse what could not serve, and tell of what soon cannot. Raises SettingError, SecretFileError."""
        if "ENCRYPTED" in read_secret(self._key):
            raise SettingError(f"--key {self._key} has a passphrase: give a key without one, in a file of mode 0600")
        try:
            certificate = x509.load_pem_x509_certificate(self._certificate.read_bytes())
        except OSError as error:
            raise SettingError(f"--cert {self._certificate} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise SettingError(f"--cert {self._certificate} is no certificate in PEM") from error
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if now < begin:
            raise SettingError(
                f"--cert {self._certificate} begins on {begin:%Y-%m-%d %H:%M}: is this machine's clock right?"
            )
        if now >= end:
            raise SettingError(
                f"--cert {self._certificate} ended on {end:%Y-%m-%d}: renew it, or check this machine's clock"
            )
        if end - now < datetime.timedelta(days=TOLD_WITH_DAYS_LEFT):
            logger.warning("the certificate %s ends on %s: renew it", self._certificate, f"{end:%Y-%m-%d %H:%M}")


class ServerTls:
    """Shows a certificate, and the one that takes its place as soon as there is one.

    `open()` makes the context, and raises where the certificate cannot be used. `start()` begins to look after it: the
    source is asked twice a day, and files that have changed are loaded within a minute, whoever has changed them.
    Whatever is wrong by then is logged, and what was loaded before goes on being shown.
    """

    def __init__(self, source: CertificateSource, clock: Clock = utc_now) -> None:
        self._source = source
        self._clock = clock
        self._context: ssl.SSLContext | None = None
        self._loaded: tuple[tuple[int, int, int], ...] = ()
        self._checked = datetime.datetime.min.replace(tzinfo=datetime.timezone.utc)
        self._due = OncePer(TOLD_AGAIN_AFTER_S)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def open(self) -> ssl.SSLContext:
        """Return the context to serve with. Raises GpumonError: saying what to do about the certificate."""
        self._check_source()
        context = server_context()
        self._load_into(context)
        self._context = context
        return context

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the certificate shown, as browsers write it."""
        return fingerprint_of(self._source.files[0])

    def start(self) -> None:
        """Begin to look after the certificate, in a thread."""
        self._thread = threading.Thread(target=self._run, name="certificates", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop looking after it."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def look_after(self) -> None:
        """Do what is due now: ask the source, and load files that have changed."""
        try:
            if not self._checked <= self._clock() < self._checked + CHECKED_EVERY:
                self._check_source()
            if self._context is not None and self._state() != self._loaded:
                self._source.check(self._clock())
                self._load_into(self._context)
                logger.info("a new certificate is shown from now on")
        except (GpumonError, OSError) as error:
            if self._due(str(error)):
                logger.warning("the certificate stays as it was: %s", error)

    def _run(self) -> None:
        while not self._stopping.wait(LOOKED_AFTER_EVERY_S):
            self.look_after()

    def _check_source(self) -> None:
        now = self._clock()
        self._checked = now
        self._source.check(now)

    def _load_into(self, context: ssl.SSLContext) -> None:
        state = self._state()
        # First into one that nobody uses: a pair that does not fit would leave a context without a key.
        _load(server_context(), *self._source.files)
        _load(context, *self._source.files)
        self._loaded = state

    def _state(self) -> tuple[tuple[int, int, int], ...]:
        found = [path.stat() for path in self._source.files]
        return tuple((status.st_mtime_ns, status.st_ino, status.st_size) for status in found)


def server_context() -> ssl.SSLContext:
    """Return a context for servers, without a certificate yet: TLS 1.2 at least, forward secrecy, no compression."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    return context


def fingerprint_of(path: Path) -> str:
    """Return the SHA-256 of the first certificate in a PEM file, as browsers write it. Raises SettingError."""
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise SettingError(f"{path} cannot be read as a certificate") from error
    digest = certificate.fingerprint(hashes.SHA256())
    return ":".join(f"{byte:02X}" for byte in digest)


def _load(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    try:
        context.load_cert_chain(certificate, key, password="")  # nosec B106
    except ssl.SSLError as error:
        reason = (
            "they do not belong together" if error.reason == "KEY_VALUES_MISMATCH" else (error.reason or str(error))
        )
        raise SettingError(f"certificate {certificate} and key {key} cannot be used: {reason}") from error
    except OSError as error:
        raise SettingError(f"certificate {certificate} cannot be read: {error.strerror}") from error
