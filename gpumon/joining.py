"""Joining: the line that lets a machine in, and what it and the master say to each other.

The line holds all that a new machine needs: where the broker is, the key that lets it ask, and the CA certificate with
which it verifies already the first contact. It is `gpumon1.` and URL-safe base64 of a checksum and MessagePack, so it
needs no quotes in a shell, and stays under 1 KB with a certificate of gpumon's own authority.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import ssl
import zlib
from dataclasses import dataclass, field
from typing import Annotated

import msgspec
from msgspec import Meta

from gpumon.address import BrokerAddress, parse_broker_address
from gpumon.errors import SettingError
from gpumon.messages import Label, Message

VERSION = 1
LONGEST_LINE = 16 * 1024
_CHECKSUM_BYTES = 4
_BEGINNING = re.compile(r"gpumon([0-9]{1,6})\.")
_BODY = re.compile(r"[A-Za-z0-9_-]+")
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)

Key = Annotated[str, Meta(min_length=1, max_length=256, pattern=r"^[!-~]+\Z")]
LoginName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9:_-]{1,128}\Z")]


class JoinLineError(SettingError):
    """A join line that cannot be used, or made; the message never holds what was in it."""

    see = "troubleshooting.md#a-machine-cannot-join"


class _Content(msgspec.Struct, frozen=True, array_like=True):
    """What is packed into a line; later versions may add fields at the end only with a new version number."""

    host: Annotated[str, Meta(max_length=253, pattern=r"^[^\s\x00-\x1f\x7f]+\Z")]
    port: Annotated[int, Meta(ge=1, le=65535)]
    tls: bool
    key: Key
    ca: Annotated[bytes, Meta(min_length=1, max_length=8 * 1024)] | None
    base: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]
    username: LoginName | None = None
    client_id: LoginName | None = None


@dataclass(frozen=True, slots=True)
class JoinLine:
    """What `gpumon join-key` hands to a new machine; `ca` is the CA's certificate in DER, None for a public one.

    `username` and `client_id` are those that a foreign broker knows this key by; None for the embedded one, where every
    stranger has the same user name and a client id of its own choice.
    """

    address: BrokerAddress
    key: str = field(repr=False)
    ca: bytes | None = field(default=None, repr=False)
    base: str = "gpumon"
    username: str | None = None
    client_id: str | None = None

    @property
    def ca_pem(self) -> str | None:
        """The CA's certificate as text, the form that files have."""
        return None if self.ca is None else ssl.DER_cert_to_PEM_cert(self.ca)

    def encode(self) -> str:
        """Return the line. Raises JoinLineError: for what could not be read back, and for an unencrypted way."""
        address = self.address
        content = _Content(
            address.host, address.port, address.tls, self.key, self.ca, self.base, self.username, self.client_id
        )
        try:
            packed = msgspec.msgpack.encode(content)
        except (OverflowError, UnicodeEncodeError) as error:
            raise JoinLineError("the join line cannot be made: its address or key is none") from error
        body = base64.urlsafe_b64encode(_checksum(packed) + packed).rstrip(b"=").decode()
        line = f"gpumon{VERSION}.{body}"
        parse_join_line(line)
        return line


def is_join_line(text: str) -> bool:
    """Tell whether this is meant to be a join line (it may be a damaged one), and no file's name."""
    return _BEGINNING.match(text.strip()) is not None


def parse_join_line(text: str) -> JoinLine:
    """Read what `gpumon join-key` has printed; white space that a mail program has put into it is passed over.

    Raises JoinLineError: for anything else, saying what is wrong with it and never what is in it.
    """
    text = "".join(text[: 2 * LONGEST_LINE].split())
    beginning = _BEGINNING.match(text)
    if beginning is None:
        raise JoinLineError("this is no join line: it should be what `gpumon join-key` prints, beginning with gpumon1.")
    if int(beginning[1]) != VERSION:
        raise JoinLineError(
            f"this join line is of version {int(beginning[1])}, and this gpumon knows version {VERSION}: "
            "install the master's version of gpumon here"
        )
    body = text[beginning.end() :]
    if len(text) > LONGEST_LINE or not _BODY.fullmatch(body):
        raise JoinLineError("the join line holds more than a join line: copy just the line that begins with gpumon1.")
    try:
        decoded = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
    except binascii.Error as error:
        raise _cut_off() from error
    checksum, packed = decoded[:_CHECKSUM_BYTES], decoded[_CHECKSUM_BYTES:]
    if not packed or checksum != _checksum(packed):
        raise _cut_off()
    try:
        content = msgspec.msgpack.decode(packed, type=_Content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise JoinLineError(f"the join line cannot be used: {error}") from error
    address = BrokerAddress(content.host, content.port, content.tls)
    line = JoinLine(address, content.key, content.ca, content.base, content.username, content.client_id)
    _check(line)
    return line


def certificate_from_pem(text: str, name: str) -> bytes:
    """Return the one certificate in a PEM file as DER; `name` is how messages call the file.

    Raises JoinLineError: when there is none, or more than one.
    """
    found = _PEM.findall(text)
    if len(found) != 1:
        raise JoinLineError(f"{name} holds {len(found)} certificates: it should hold the CA's alone")
    try:
        der = ssl.PEM_cert_to_DER_cert(found[0])
    except (ValueError, binascii.Error) as error:
        raise JoinLineError(f"the certificate in {name} cannot be read: {error}") from error
    _check_certificate(der)
    return der


class JoinRequest(Message, frozen=True):
    """What a machine asks on `gpumon/join/<its client id>`; the key proves, whatever the broker, that it may.

    `nonce` is random and known to that machine alone: who asks again with it is given the same token again, so that an
    answer can be lost on its way.
    """

    worker_id: Annotated[str, Meta(min_length=1, max_length=63)]
    hostname: Label
    key: Key
    nonce: Annotated[str, Meta(min_length=20, max_length=256)] | None = None

    def __repr__(self) -> str:
        return f"JoinRequest(worker_id={self.worker_id!r}, hostname={self.hostname!r})"


class JoinReply(Message, frozen=True, omit_defaults=True):
    """The answer on `gpumon/join/<client id>/reply`: a token, or why there is none; `worker_id` says to whom."""

    token: Key | None = None
    error: Annotated[str, Meta(min_length=1, max_length=1024)] | None = None
    worker_id: Annotated[str, Meta(max_length=63)] | None = None

    def __post_init__(self) -> None:
        if (self.token is None) == (self.error is None):
            raise ValueError("either a token or an error is expected")

    def __repr__(self) -> str:
        return f"JoinReply(worker_id={self.worker_id!r}, error={self.error!r})"


def _check(line: JoinLine) -> None:
    """Refuse what no join line may say, whether it is made or read."""
    address = line.address
    try:
        is_same = parse_broker_address(str(address)) == address
    except SettingError as error:
        raise JoinLineError(f"the join line cannot be used: {error}") from error
    if not is_same:
        raise JoinLineError(f"the join line cannot be used: {str(address)[:300]!r} is no broker's address")
    if not address.tls and not _is_this_machine(address.host):
        raise JoinLineError(
            f"no machine joins unencrypted: the key and the token would travel openly to {address}; use an address "
            "that begins with mqtts://"
        )
    if line.ca is not None:
        _check_certificate(line.ca)


def _check_certificate(der: bytes) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=der)
    except (ssl.SSLError, ValueError) as error:
        raise JoinLineError("the CA's certificate in the join line is none") from error


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _checksum(packed: bytes) -> bytes:
    return zlib.crc32(packed).to_bytes(_CHECKSUM_BYTES, "big")


def _cut_off() -> JoinLineError:
    return JoinLineError(
        "the join line is not whole (a part is missing or changed): copy all of it, to its last letter"
    )
