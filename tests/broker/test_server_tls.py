"""The certificate that is shown: replaced while serving, whoever replaces it, and never by a broken one."""

from __future__ import annotations

import datetime
import logging
import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509

from broker.certificates import ensure_server_certificate
from broker.server_tls import GivenCertificate, OwnCertificate, ServerTls, fingerprint_of
from gpumon.errors import GpumonError, SecretFileError, SettingError
from tests.support import program_or_skip

NOW = datetime.datetime(2027, 3, 1, 12, tzinfo=datetime.timezone.utc)


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime.datetime:
        return self.now

    def pass_days(self, days: float) -> None:
        """Go on so many days."""
        self.now += datetime.timedelta(days=days)


@contextmanager
def serving(context: ssl.SSLContext) -> Iterator[int]:
    """Shake hands with everybody who comes, with one context from beginning to end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    try:
                        context.wrap_socket(connection, server_side=True).close()
                    except OSError:
                        continue

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def shown_at(port: int, **versions: ssl.TLSVersion) -> x509.Certificate:
    """Return the certificate that a new client is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    for name, version in versions.items():
        setattr(context, name, version)
    with socket.create_connection(("127.0.0.1", port), 10) as plain, context.wrap_socket(plain) as client:
        der = client.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der)


def test_a_certificate_that_is_due_is_replaced_for_new_clients_without_a_restart(tmp_path: Path) -> None:
    clock, names = Clock(), ["localhost"]
    tls = ServerTls(OwnCertificate(tmp_path, lambda: names), clock)
    with serving(tls.open()) as port:
        first = shown_at(port)
        clock.pass_days(59)
        tls.look_after()
        assert shown_at(port) == first
        clock.pass_days(2)
        tls.look_after()
        second = shown_at(port)
        assert second.serial_number != first.serial_number
        assert second.not_valid_after_utc == clock.now + datetime.timedelta(days=90)
        names.append("new.lab")
        tls.look_after()
        assert shown_at(port) == second  # names are looked at twice a day
        clock.pass_days(0.5)
        tls.look_after()
        assert shown_at(port) != second


def test_what_another_process_has_renewed_is_shown_too(tmp_path: Path) -> None:
    clock = Clock()
    tls = ServerTls(OwnCertificate(tmp_path, lambda: ["localhost"]), clock)
    with serving(tls.open()) as port:
        first = shown_at(port)
        ensure_server_certificate(tmp_path, ["localhost", "other.lab"], clock.now)
        tls.look_after()
        assert shown_at(port) != first


def test_a_renewal_that_fails_is_told_once_and_the_present_certificate_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    tls = ServerTls(OwnCertificate(tmp_path, lambda: ["localhost"]), clock)
    with serving(tls.open()) as port:
        first = shown_at(port)
        (tmp_path / "ca.key").write_text("damaged")
        clock.pass_days(61)
        tls.look_after()
        clock.pass_days(1)
        tls.look_after()
        assert shown_at(port) == first
    assert [record.levelno for record in caplog.records].count(logging.WARNING) == 1
    assert "the certificate stays as it was" in caplog.text


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_old_protocols_and_weak_ciphers_are_refused(tmp_path: Path) -> None:
    tls = ServerTls(OwnCertificate(tmp_path, lambda: ["localhost"]))
    context = tls.open()
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert all("ECDHE" in cipher["name"] or cipher["protocol"] == "TLSv1.3" for cipher in context.get_ciphers())
    assert all(cipher["aead"] for cipher in context.get_ciphers())
    with serving(context) as port:
        shown_at(port, maximum_version=ssl.TLSVersion.TLSv1_2)
        shown_at(port, minimum_version=ssl.TLSVersion.TLSv1_3)
        with pytest.raises(OSError, match=r"."):
            shown_at(port, minimum_version=ssl.TLSVersion.TLSv1, maximum_version=ssl.TLSVersion.TLSv1_1)


@pytest.fixture
def given(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate and a key as certbot leaves them."""
    certificate, key = tmp_path / "fullchain.pem", tmp_path / "privkey.pem"
    give(certificate, key, tmp_path / "first", NOW)
    return certificate, key


def give(certificate: Path, key: Path, folder: Path, now: datetime.datetime) -> None:
    """Replace the two files by new ones that belong together."""
    text = ensure_server_certificate(folder, ["gpu.example"], now).read_text()
    at = text.index("-----BEGIN CERTIFICATE-----")
    certificate.write_text(text[at:] + (folder / "ca.crt").read_text())
    key.touch(mode=0o600)
    key.write_text(text[:at])


def test_a_given_certificate_is_shown_and_its_replacement_too(given: tuple[Path, Path], tmp_path: Path) -> None:
    tls = ServerTls(GivenCertificate(*given), Clock())
    with serving(tls.open()) as port:
        first = shown_at(port)
        assert tls.fingerprint == fingerprint_of(given[0])
        give(*given, tmp_path / "second", NOW)
        tls.look_after()
        assert shown_at(port) != first


def test_a_broken_replacement_is_told_of_and_not_shown(
    given: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    certificate, key = given
    tls = ServerTls(GivenCertificate(*given), Clock())
    with serving(tls.open()) as port:
        first = shown_at(port)
        good = key.read_text()
        other = tmp_path / "other.pem"
        give(tmp_path / "c", other, tmp_path / "third", NOW)
        for broken in (other.read_text(), "nonsense", "", good[:100]):
            key.write_text(broken)
            tls.look_after()
            assert shown_at(port) == first
        certificate.unlink()
        tls.look_after()
        assert shown_at(port) == first
        assert "do not belong together" in caplog.text
        give(*given, tmp_path / "fourth", NOW)
        tls.look_after()
        assert shown_at(port) != first


def test_the_end_of_a_given_certificate_is_told_two_weeks_ahead(
    given: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    tls = ServerTls(GivenCertificate(*given), clock)
    tls.open()
    clock.pass_days(75)
    tls.look_after()
    assert caplog.text == ""
    clock.pass_days(2)
    tls.look_after()
    assert "fullchain.pem ends on 2027-05-30 12:00: renew it" in caplog.text


def test_a_given_certificate_out_of_its_time_does_not_start(given: tuple[Path, Path]) -> None:
    clock = Clock()
    clock.pass_days(91)
    with pytest.raises(SettingError, match="ended on 2027-05-30: renew it"):
        ServerTls(GivenCertificate(*given), clock).open()
    clock.pass_days(-100)
    with pytest.raises(SettingError, match="clock right"):
        ServerTls(GivenCertificate(*given), clock).open()


def test_given_files_that_cannot_serve_are_told_of_in_one_line(given: tuple[Path, Path], tmp_path: Path) -> None:
    certificate, key = given
    other = tmp_path / "other.pem"
    give(tmp_path / "c", other, tmp_path / "second", NOW)
    encrypted = tmp_path / "encrypted.pem"
    openssl = program_or_skip("openssl", "openssl")
    command = [openssl, "ec", "-in", str(key), "-aes128", "-passout", "pass:x", "-out", str(encrypted)]
    subprocess.run(command, check=True, capture_output=True)
    encrypted.chmod(0o600)
    open_to_all = tmp_path / "open.pem"
    open_to_all.write_text(key.read_text())
    os.chmod(open_to_all, 0o644)  # noqa: PTH101
    for pair, error, said in (
        ((certificate, other), SettingError, "do not belong together"),
        ((certificate, encrypted), SettingError, "has a passphrase"),
        ((certificate, open_to_all), SecretFileError, "chmod 600"),
        ((certificate, tmp_path / "missing"), SecretFileError, "cannot be read"),
        ((tmp_path / "missing", key), SettingError, "--cert .* cannot be read"),
        ((key, key), SettingError, "no certificate in PEM"),
    ):
        with pytest.raises(error, match=said) as raised:
            ServerTls(GivenCertificate(*pair), Clock()).open()
        assert "\n" not in str(raised.value)
        assert isinstance(raised.value, GpumonError)
