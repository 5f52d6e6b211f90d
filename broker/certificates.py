"""gpumon's own authority, and the certificate by which it vouches for this machine's page and broker.

The authority lives for ten years in `ca.crt`, which is public, and `ca.key`. The server's key and certificate stand
together in `server.pem`, so that they are replaced in one piece; the certificate is short-lived and made anew in time.
Everything is made under a lock: on a new data folder, broker and master come up at the same moment.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gpumon.errors import SettingError, StartError
from gpumon.files import read_secret, write_atomically
from gpumon.locks import locked
from gpumon.machine import is_address, is_dns_name

logger = logging.getLogger(__name__)

AUTHORITY_DAYS = 3650
SERVER_DAYS = 90
RENEWED_WITH_DAYS_LEFT = 30
TOLD_WITH_DAYS_OF_AUTHORITY_LEFT = 365
BACKDATED = datetime.timedelta(days=1)  # for machines whose clock is behind
EARLIEST = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)  # a clock before this was never set

AUTHORITY_FILE = "ca.crt"
AUTHORITY_KEY_FILE = "ca.key"
SERVER_FILE = "server.pem"


@dataclass(frozen=True, slots=True)
class Authority:
    """The authority; where its key is kept elsewhere, it vouches for nothing new."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey | None


def ensure_authority(folder: Path, now: datetime.datetime) -> Path:
    """Return the authority's certificate, made where there is no authority yet.

    Raises StartError, SecretFileError: when what is there cannot be used, or the clock is wrong.
    """
    with _prepared(folder):
        _authority(folder, now)
    return folder / AUTHORITY_FILE


def ensure_server_certificate(folder: Path, names: Iterable[str], now: datetime.datetime) -> Path:
    """Return the file with the server's key and certificate, made anew where that is due.

    It is due where the file is missing or damaged, where the certificate is not the authority's, has fewer than 30 days
    left or lacks one of `names`, and where it begins in the future (the clock was ahead). Raises StartError,
    SecretFileError: when what is there cannot be used, or the clock is wrong. SettingError: when a name is none.
    """
    wanted = {_general_name(name) for name in names}
    path = folder / SERVER_FILE
    with _prepared(folder):
        authority = _authority(folder, now)
        present = _read_server(path, authority)
        due = _why_due(present, wanted, now)
        if due is None:
            return path
        if authority.key is None:
            if present is None or not present.not_valid_before_utc <= now < present.not_valid_after_utc:
                raise StartError(f"a certificate is needed since {due}: put {folder / AUTHORITY_KEY_FILE} back for it")
            logger.warning("a new certificate is due since %s: put %s back", due, folder / AUTHORITY_KEY_FILE)
            return path
        _write(path, _issue(authority.certificate, authority.key, wanted, now), 0o600)
    logger.info("made a certificate for this machine, since %s", due)
    return path


@contextlib.contextmanager
def _prepared(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StartError(f"{folder} cannot be written ({error.strerror}): change its owner") from error
    with locked(folder / ".lock"):
        yield


def _authority(folder: Path, now: datetime.datetime) -> Authority:
    if now < EARLIEST:
        raise StartError(f"this machine's clock says {now:%Y-%m-%d %H:%M}: set it, certificates depend on it")
    path, key_path = folder / AUTHORITY_FILE, folder / AUTHORITY_KEY_FILE
    if not path.exists():
        if not key_path.exists():
            _write(key_path, _pem(ec.generate_private_key(ec.SECP256R1())), 0o600)
            logger.info("made an authority of gpumon's own: its certificate is %s", path)
        # Of the same key and name, so that whoever trusts an older one trusts what it vouches for as before.
        certificate = _self_signed(_read_authority_key(key_path), now)
        _write(path, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    certificate = _read_authority_certificate(path)
    key = _read_authority_key(key_path) if key_path.exists() else None
    if key is not None and key.public_key() != certificate.public_key():
        raise _unusable(key_path, f"does not belong to {path.name}")
    _check_time_of(certificate, path, now)
    return Authority(certificate, key)


def _check_time_of(certificate: x509.Certificate, path: Path, now: datetime.datetime) -> None:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < begin:
        raise StartError(
            f"this machine's clock says {now:%Y-%m-%d %H:%M}, but {path} is from {begin:%Y-%m-%d %H:%M}: set the clock"
        )
    if now >= end:
        raise StartError(
            f"{path} ended on {end:%Y-%m-%d} by this machine's clock ({now:%Y-%m-%d %H:%M}): set the clock, or remove "
            f"{path.parent} for a new authority, which every agent then has to be given"
        )
    if now > end - datetime.timedelta(days=TOLD_WITH_DAYS_OF_AUTHORITY_LEFT):
        logger.warning("the authority %s ends on %s: plan for a new one in every agent", path, f"{end:%Y-%m-%d}")


def _unusable(path: Path, why: str) -> StartError:
    return StartError(
        f"{path} {why}: restore it from a backup, or remove {path.parent} for a new authority, which every agent then "
        "has to be given"
    )


def _read_authority_certificate(path: Path) -> x509.Certificate:
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        is_authority = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except OSError as error:
        raise StartError(f"{path} cannot be read ({error.strerror}): change its owner") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _unusable(path, "is damaged") from error
    except x509.ExtensionNotFound:
        is_authority = False
    if not is_authority:
        raise _unusable(path, "is no authority's certificate")
    return certificate


def _read_authority_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(read_secret(path).encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _unusable(path, "is damaged") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise _unusable(path, "is no key that gpumon has made")
    return key


def _read_server(path: Path, authority: Authority) -> x509.Certificate | None:
    """Return the certificate in use, None where there is none that the authority has issued for the key beside it."""
    if not path.exists():
        return None
    content = read_secret(path).encode()
    try:
        certificate = x509.load_pem_x509_certificate(content)
        key = serialization.load_pem_private_key(content, password=None)
        certificate.verify_directly_issued_by(authority.certificate)
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature):
        return None
    return certificate if key.public_key() == certificate.public_key() else None


def _why_due(present: x509.Certificate | None, wanted: set[x509.GeneralName], now: datetime.datetime) -> str | None:
    if present is None:
        return "there is none that fits"
    if present.not_valid_before_utc > now:
        return "the present one is not valid yet"
    if present.not_valid_after_utc - now < datetime.timedelta(days=RENEWED_WITH_DAYS_LEFT):
        return f"the present one ends on {present.not_valid_after_utc:%Y-%m-%d}"
    missing = wanted - set(present.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    return f"the present one lacks {', '.join(sorted(str(name.value) for name in missing))}" if missing else None


def _self_signed(key: ec.EllipticCurvePrivateKey, now: datetime.datetime) -> x509.Certificate:
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    # Named after its key: a browser that trusts the authorities of two fleets must be able to tell them apart.
    name = _named(f"gpumon authority {identifier.digest.hex()[:8]}")
    days = datetime.timedelta(days=AUTHORITY_DAYS)
    builder = _unsigned(name, name, key.public_key(), now - BACKDATED, now + days)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
    return builder.add_extension(identifier, critical=False).sign(key, hashes.SHA256())


def _issue(
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    names: set[x509.GeneralName],
    now: datetime.datetime,
) -> bytes:
    """Return a new key and a certificate for it, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    end = min(now + datetime.timedelta(days=SERVER_DAYS), authority.not_valid_after_utc)
    issuer = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    in_order = sorted(names, key=lambda name: (isinstance(name, x509.IPAddress), str(name.value)))
    builder = _unsigned(_named("gpumon"), authority.subject, key.public_key(), now - BACKDATED, end)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName(in_order), critical=False)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer), critical=False
    )
    certificate = builder.sign(authority_key, hashes.SHA256())
    return _pem(key) + certificate.public_bytes(serialization.Encoding.PEM)


def _unsigned(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    begin: datetime.datetime,
    end: datetime.datetime,
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    return builder.serial_number(x509.random_serial_number()).not_valid_before(begin).not_valid_after(end)


def _named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    if is_address(name):
        return x509.IPAddress(ipaddress.ip_address(name))
    if not is_dns_name(name):
        raise SettingError(f"{name!r} can stand in no certificate: give tls.names host names and addresses alone")
    return x509.DNSName(name.lower())


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes, mode: int) -> None:
    try:
        write_atomically(path, content, mode)
    except OSError as error:
        raise StartError(f"{path} cannot be written ({error.strerror}): change its owner, or make room") from error
