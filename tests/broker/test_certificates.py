"""gpumon's own authority: what it makes, when it makes it anew, and what it leaves alone."""

from __future__ import annotations

import datetime
import logging
import ssl
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from broker.certificates import ensure_authority, ensure_server_certificate
from gpumon.errors import GpumonError, SecretFileError, SettingError, StartError
from gpumon.machine import machine_names
from tests.support import program_or_skip

NAMES = ["gpu-master.lab", "localhost", "127.0.0.1", "::1", "192.0.2.7"]
NOW = datetime.datetime(2027, 3, 1, 12, tzinfo=datetime.timezone.utc)


def days(count: float) -> datetime.timedelta:
    """Return so many days."""
    return datetime.timedelta(days=count)


def certificate_in(path: Path) -> x509.Certificate:
    """Return the first certificate in a file."""
    return x509.load_pem_x509_certificate(path.read_bytes())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that is not there yet."""
    return tmp_path / "data" / "tls"


def test_what_is_made_is_private_but_for_the_authoritys_certificate(folder: Path) -> None:
    server = ensure_server_certificate(folder, NAMES, NOW)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {"ca.crt": 0o644, "ca.key": 0o600, "server.pem": 0o600, ".lock": 0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert server == folder / "server.pem"
    assert ensure_authority(folder, NOW) == folder / "ca.crt"
    assert len((folder / "ca.crt").read_bytes()) < 700  # it travels in the join line


def test_openssl_finds_nothing_wrong_with_it_however_strictly_it_looks(folder: Path) -> None:
    openssl = program_or_skip("openssl", "openssl")
    server = ensure_server_certificate(folder, NAMES, NOW)
    verify = [openssl, "verify", "-x509_strict", "-purpose", "sslserver", "-attime", str(int(NOW.timestamp()))]
    for check in (["-verify_hostname", "gpu-master.lab"], ["-verify_ip", "::1"], ["-verify_ip", "192.0.2.7"]):
        subprocess.run([*verify, *check, "-CAfile", str(folder / "ca.crt"), str(server)], check=True)
    for wrong in (["-verify_hostname", "other.lab"], ["-verify_ip", "192.0.2.8"]):
        command = [*verify, *wrong, "-CAfile", str(folder / "ca.crt"), str(server)]
        assert subprocess.run(command, check=False, capture_output=True).returncode != 0


def test_the_authority_can_vouch_for_servers_alone_and_for_no_other_authority(folder: Path) -> None:
    server = certificate_in(ensure_server_certificate(folder, NAMES, NOW))
    authority = certificate_in(folder / "ca.crt")
    assert authority.extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(
        ca=True, path_length=0
    )
    usage = authority.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.key_cert_sign
    assert not usage.digital_signature
    assert list(server.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.SERVER_AUTH
    ]
    assert not server.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert server.serial_number.bit_length() > 64
    assert authority.not_valid_before_utc == server.not_valid_before_utc == NOW - days(1)
    assert (authority.not_valid_after_utc - NOW, server.not_valid_after_utc - NOW) == (days(3650), days(90))


def test_a_certificate_is_kept_for_two_months_and_replaced_in_the_third(folder: Path) -> None:
    server = ensure_server_certificate(folder, NAMES, NOW)
    first, authority = server.read_bytes(), (folder / "ca.crt").read_bytes()
    for later in (days(0), days(30), days(60)):
        ensure_server_certificate(folder, NAMES, NOW + later)
        assert server.read_bytes() == first
    ensure_server_certificate(folder, NAMES, NOW + days(61))
    assert server.read_bytes() != first
    assert certificate_in(server).not_valid_after_utc == NOW + days(151)
    assert (folder / "ca.crt").read_bytes() == authority


def test_a_new_name_needs_a_new_certificate_and_a_name_less_does_not(folder: Path) -> None:
    server = ensure_server_certificate(folder, NAMES, NOW)
    first = server.read_bytes()
    ensure_server_certificate(folder, [NAMES[0].upper(), *NAMES[2:]], NOW)
    assert server.read_bytes() == first
    ensure_server_certificate(folder, [*NAMES, "10.1.2.3"], NOW)
    assert server.read_bytes() != first


def test_a_server_file_that_is_damaged_or_anothers_is_replaced(folder: Path, tmp_path: Path) -> None:
    server = ensure_server_certificate(folder, NAMES, NOW)
    other = ensure_server_certificate(tmp_path / "other", NAMES, NOW)
    own, foreign = server.read_text(), other.read_text()
    key, certificate = own.split("-----BEGIN CERTIFICATE-----")
    mixed = key + "-----BEGIN CERTIFICATE-----" + foreign.split("-----BEGIN CERTIFICATE-----")[1]
    for content in (own[:200], "nonsense", foreign, mixed, f"-----BEGIN CERTIFICATE-----{certificate}"):
        server.write_text(content)
        ensure_server_certificate(folder, NAMES, NOW)
        assert server.read_text() != content
        certificate_in(server).verify_directly_issued_by(certificate_in(folder / "ca.crt"))


@pytest.mark.parametrize("name", ["ca.crt", "ca.key"])
@pytest.mark.parametrize("content", ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_damaged_authority_is_told_of_and_never_overwritten(folder: Path, name: str, content: str) -> None:
    ensure_server_certificate(folder, NAMES, NOW)
    path = folder / name
    path.write_text(content)
    with pytest.raises((StartError, SecretFileError), match=name) as raised:
        ensure_server_certificate(folder, NAMES, NOW)
    assert "\n" not in str(raised.value)
    assert path.read_text() == content


def test_an_authority_whose_parts_do_not_belong_together_is_told_of(folder: Path, tmp_path: Path) -> None:
    ensure_authority(folder, NOW)
    ensure_authority(tmp_path / "other", NOW)
    (folder / "ca.key").write_bytes((tmp_path / "other" / "ca.key").read_bytes())
    with pytest.raises(StartError, match=r"ca\.key does not belong to ca\.crt: restore it"):
        ensure_authority(folder, NOW)


def test_a_certificate_that_is_no_authoritys_is_not_taken_for_one(folder: Path) -> None:
    server = ensure_server_certificate(folder, NAMES, NOW)
    text = server.read_text()
    (folder / "ca.crt").write_text(text[text.index("-----BEGIN CERTIFICATE") :])
    with pytest.raises(StartError, match="is no authority's certificate"):
        ensure_authority(folder, NOW)


def test_a_key_of_another_kind_is_told_of(folder: Path) -> None:
    ensure_authority(folder, NOW)
    key = rsa.generate_private_key(65537, 2048)
    (folder / "ca.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    with pytest.raises(StartError, match="is no key that gpumon has made"):
        ensure_authority(folder, NOW)


@pytest.mark.parametrize("name", ["ca.key", "server.pem"])
def test_a_key_that_others_may_read_is_refused(folder: Path, name: str) -> None:
    ensure_server_certificate(folder, NAMES, NOW)
    (folder / name).chmod(0o640)
    with pytest.raises(SecretFileError, match=f"chmod 600 .*{name}"):
        ensure_server_certificate(folder, NAMES, NOW)


def test_an_authoritys_lost_certificate_is_made_again_and_whoever_has_the_old_one_trusts_on(folder: Path) -> None:
    ensure_server_certificate(folder, NAMES, NOW)
    old = certificate_in(folder / "ca.crt")
    (folder / "ca.crt").unlink()
    server = ensure_server_certificate(folder, [*NAMES, "new.lab"], NOW + days(100))
    certificate_in(server).verify_directly_issued_by(old)


def test_an_authority_whose_key_is_kept_elsewhere_serves_on_until_it_is_needed(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = ensure_server_certificate(folder, NAMES, NOW)
    first = server.read_bytes()
    (folder / "ca.key").unlink()
    ensure_server_certificate(folder, NAMES, NOW + days(10))
    assert caplog.text == ""
    ensure_server_certificate(folder, NAMES, NOW + days(70))
    assert "put" in caplog.text
    assert "ca.key back" in caplog.text
    assert server.read_bytes() == first
    with pytest.raises(StartError, match=r"put .*ca\.key back"):
        ensure_server_certificate(folder, NAMES, NOW + days(91))


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc), "clock says 1970-01-01 00:00: set it"),
        (NOW - days(2), "clock says 2027-02-27 12:00, but .*ca.crt is from 2027-02-28 12:00: set the clock"),
        (NOW + days(3651), "ca.crt ended on 2037-02-26 by this machine's clock"),
    ],
)
def test_a_clock_that_is_far_off_is_told_of(folder: Path, now: datetime.datetime, said: str) -> None:
    ensure_server_certificate(folder, NAMES, NOW)
    with pytest.raises(StartError, match=said):
        ensure_server_certificate(folder, NAMES, now)


def test_after_a_clock_that_was_ahead_the_certificate_is_made_anew(folder: Path) -> None:
    ensure_authority(folder, NOW)
    server = ensure_server_certificate(folder, NAMES, NOW + days(40))
    ensure_server_certificate(folder, NAMES, NOW)
    assert certificate_in(server).not_valid_before_utc == NOW - days(1)


def test_the_end_of_the_authority_is_told_a_year_ahead_and_outlived_by_no_certificate(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ensure_authority(folder, NOW)
    server = ensure_server_certificate(folder, NAMES, NOW + days(3600))
    assert "ca.crt ends on 2037-02-26: plan for a new one" in caplog.text
    assert certificate_in(server).not_valid_after_utc == NOW + days(3650)


@pytest.mark.parametrize("name", ["a b", "-x", "x-", "*.lab", "x..y", "", "fe80::1%eth0", "1.2.3", "x" * 64, "é"])
def test_a_name_that_no_certificate_can_carry_is_a_wrong_setting(folder: Path, name: str) -> None:
    with pytest.raises(SettingError, match=r"tls\.names"):
        ensure_server_certificate(folder, [name], NOW)


@pytest.mark.parametrize("hostname", ["gpu_1", "-bad-", "x" * 64, "a b", "Größe", "gpu1.lab", "localhost", "1234"])
def test_whatever_the_machine_is_called_a_certificate_can_be_made(
    folder: Path, monkeypatch: pytest.MonkeyPatch, hostname: str
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: hostname)
    monkeypatch.setattr("gpumon.machine._full_name", hostname.lower)
    names = machine_names()
    assert {"localhost", "127.0.0.1", "::1"} <= set(names)
    ensure_server_certificate(folder, names, NOW)


_MAKE = """
import datetime, pathlib, sys
from broker.certificates import ensure_server_certificate
sys.stdin.readline()
print(ensure_server_certificate(pathlib.Path(sys.argv[1]), ["localhost"], datetime.datetime.now(datetime.timezone.utc)))
"""


def test_processes_that_begin_at_the_same_moment_end_up_with_the_same_files(folder: Path) -> None:
    command = [sys.executable, "-c", _MAKE, str(folder)]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    ended = [(process.communicate(timeout=30), process.returncode) for process in processes]
    assert [code for _, code in ended] == [0] * 4, ended
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    certificate_in(folder / "server.pem").verify_directly_issued_by(certificate_in(folder / "ca.crt"))


def test_a_folder_that_cannot_be_written_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="cannot be written") as raised:
        ensure_server_certificate(tmp_path / "file" / "tls", NAMES, NOW)
    assert isinstance(raised.value, GpumonError)


def test_no_key_is_logged(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    ensure_server_certificate(folder, NAMES, NOW)
    assert "made an authority" in caplog.text
    assert "PRIVATE" not in caplog.text
