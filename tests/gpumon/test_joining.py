"""Join lines, and what a new machine and the master say to each other."""

from __future__ import annotations

import datetime
import random
import string
import textwrap

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gpumon.address import BrokerAddress
from gpumon.errors import InvalidPayloadError
from gpumon.joining import (
    JoinLine,
    JoinLineError,
    JoinReply,
    JoinRequest,
    certificate_from_pem,
    is_join_line,
    parse_join_line,
)
from gpumon.messages import Decoder, encode

KEY = "gpj_" + "k" * 43


def authority() -> x509.Certificate:
    """A CA as gpumon makes it: P-256, with the extensions that a CA has."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, "gpumon authority of a-rather-long-hostname.lab.example")]
    )
    now = datetime.datetime.now(datetime.timezone.utc)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )


CA = authority().public_bytes(serialization.Encoding.DER)
LINE = JoinLine(BrokerAddress("gpu-master.lab.example", 8883, tls=True), KEY, CA, "site-a")


@pytest.mark.parametrize(
    "line",
    [
        LINE,
        JoinLine(BrokerAddress("gpu-master", 18883, tls=True), KEY),
        JoinLine(BrokerAddress("fd00::17", 8883, tls=True), KEY, CA),
        JoinLine(BrokerAddress("127.0.0.1", 1883, tls=False), KEY),
        JoinLine(BrokerAddress("localhost", 1883, tls=False), KEY),
        JoinLine(BrokerAddress("mosquitto", 8883, tls=True), KEY, None, "gpumon", "join:k-1", "gpumon-join-k-1"),
    ],
)
def test_a_line_is_read_back_as_it_was_made(line: JoinLine) -> None:
    assert parse_join_line(line.encode()) == line
    assert parse_join_line(line.encode() + "\n") == line


def test_a_line_with_the_authoritys_certificate_is_under_1_kb_and_needs_no_quotes() -> None:
    line = LINE.encode()
    assert len(line) < 1000
    assert set(line) <= set(string.ascii_letters + string.digits + "-_.")


def test_the_certificate_in_the_line_is_the_one_in_the_file() -> None:
    assert LINE.ca_pem is not None
    assert certificate_from_pem("a comment\n" + LINE.ca_pem, "ca.crt") == CA
    assert JoinLine(LINE.address, KEY).ca_pem is None


@pytest.mark.parametrize("text", ["", "-----BEGIN CERTIFICATE-----\nxyz\n-----END CERTIFICATE-----\n", "\x00"])
def test_a_file_without_a_certificate_is_refused(text: str) -> None:
    with pytest.raises(JoinLineError, match="certificate"):
        certificate_from_pem(text, "ca.crt")


def test_a_bundle_of_certificates_is_refused_since_a_line_holds_one() -> None:
    with pytest.raises(JoinLineError, match="2 certificates"):
        certificate_from_pem((LINE.ca_pem or "") * 2, "ca.crt")


def test_a_line_that_a_mail_program_has_wrapped_is_read_all_the_same() -> None:
    line = LINE.encode()
    assert parse_join_line("\n".join(textwrap.wrap(line, 72))) == LINE
    assert parse_join_line("\r\n  ".join(textwrap.wrap(line, 60)) + "\r\n\r\n") == LINE


def test_a_line_that_is_cut_off_or_changed_anywhere_is_refused() -> None:
    line = LINE.encode()
    for end in range(len(line)):
        with pytest.raises(JoinLineError):
            parse_join_line(line[:end])
    for end in (10, len(line) // 2, len(line) - 1):
        with pytest.raises(JoinLineError, match="not whole"):
            parse_join_line(line[:end])
    chosen = random.Random(1)
    for _ in range(200):
        place = chosen.randrange(8, len(line) - 1)
        other = chosen.choice([letter for letter in string.ascii_letters if letter != line[place]])
        with pytest.raises(JoinLineError, match="not whole"):
            parse_join_line(line[:place] + other + line[place + 1 :])


def test_a_line_of_a_newer_version_says_so() -> None:
    with pytest.raises(JoinLineError, match="version 2"):
        parse_join_line("gpumon2." + LINE.encode().partition(".")[2])


@pytest.mark.parametrize(
    "text", ["", " ", "gpumon", "mqtts://gpu-master:8883", "gpumonx.abc", "\x00\ud800", "1gpumon1.a"]
)
def test_what_is_no_join_line_at_all_is_told_apart(text: str) -> None:
    assert not is_join_line(text)
    with pytest.raises(JoinLineError, match="no join line"):
        parse_join_line(text)


@pytest.mark.parametrize("more", ["'", " # the key", "=", "=" * 30000, "ü", "A" * 40000])
def test_a_line_with_something_after_it_is_refused(more: str) -> None:
    assert is_join_line(LINE.encode() + more)
    with pytest.raises(JoinLineError):
        parse_join_line(LINE.encode() + more)


@pytest.mark.parametrize("host", ["gpu-master", "10.0.0.1", "fd00::17", "0.0.0.0"])
def test_no_line_leads_unencrypted_to_another_machine(host: str) -> None:
    with pytest.raises(JoinLineError, match="no machine joins unencrypted"):
        JoinLine(BrokerAddress(host, 1883, tls=False), KEY).encode()


@pytest.mark.parametrize(
    "line",
    [
        JoinLine(LINE.address, ""),
        JoinLine(LINE.address, "two words"),
        JoinLine(LINE.address, "k" * 300),
        JoinLine(LINE.address, KEY, b"no certificate"),
        JoinLine(LINE.address, KEY, b""),
        JoinLine(LINE.address, KEY, None, "a/b"),
        JoinLine(LINE.address, KEY, None, "gpumon", "two words"),
        JoinLine(LINE.address, KEY, None, "gpumon", "join", "a/b"),
        JoinLine(BrokerAddress("", 8883, tls=True), KEY),
        JoinLine(BrokerAddress("a b", 8883, tls=True), KEY),
        JoinLine(BrokerAddress("user@host", 8883, tls=True), KEY),
        JoinLine(BrokerAddress("host/path", 8883, tls=True), KEY),
        JoinLine(BrokerAddress("host", 0, tls=True), KEY),
        JoinLine(BrokerAddress("host", 70000, tls=True), KEY),
    ],
)
def test_what_could_not_be_used_is_not_made(line: JoinLine) -> None:
    with pytest.raises(JoinLineError):
        line.encode()


def test_nothing_that_is_printed_shows_a_secret() -> None:
    request = JoinRequest(worker_id="gpu1", hostname="gpu1.lab", key=KEY, nonce=KEY)
    for thing in (LINE, request, JoinReply(token=KEY)):
        assert KEY not in repr(thing)
        assert KEY not in str(thing)
        assert KEY not in f"{thing}"


def test_requests_and_replies_are_read_back() -> None:
    request = JoinRequest(worker_id="gpu1", hostname="gpu1.lab", key=KEY)
    assert Decoder(JoinRequest).decode(encode(request)) == request
    assert msgspec.json.decode(encode(JoinReply(token="t"))) == {"token": "t"}
    assert msgspec.json.decode(encode(JoinReply(error="taken"))) == {"error": "taken"}
    assert Decoder(JoinReply).decode(b'{"token":"t","later":1}').token == "t"


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"worker_id":"w","hostname":"h"}',
        b'{"worker_id":"","hostname":"h","key":"k"}',
        b'{"worker_id":"w","hostname":"h","key":""}',
        b'{"worker_id":"w","hostname":"h","key":7}',
        b'{"worker_id":"' + b"w" * 64 + b'","hostname":"h","key":"k"}',
        b'{"worker_id":"w","hostname":"' + b"h" * 257 + b'","key":"k"}',
        b'{"worker_id":"w","hostname":"h","key":"' + b"k" * 257 + b'"}',
    ],
)
def test_a_request_out_of_bounds_is_refused(payload: bytes) -> None:
    with pytest.raises(InvalidPayloadError, match="not a valid joinrequest"):
        Decoder(JoinRequest).decode(payload)


@pytest.mark.parametrize(
    "payload", [b"{}", b'{"token":null,"error":null}', b'{"token":"t","error":"e"}', b'{"token":""}']
)
def test_a_reply_is_either_a_token_or_an_error(payload: bytes) -> None:
    with pytest.raises(InvalidPayloadError):
        Decoder(JoinReply).decode(payload)
