"""Says in one line why there is no connection to a broker, and what to do about it."""

from __future__ import annotations

import socket
import ssl
import time
from pathlib import Path

from gpumon.address import BrokerAddress

# OpenSSL, x509_vfy.h.
_NOT_YET_VALID = 9
_EXPIRED = 10
_OTHER_NAME = frozenset({62, 64})  # of a host, of an address


def why_not_connected(error: BaseException | None, address: BrokerAddress, cafile: Path | None) -> str:
    """Return what the error of an attempt to connect means."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _why_not_trusted(error, address, cafile)
    if isinstance(error, ConnectionResetError | ssl.SSLEOFError):
        return ended_without_an_answer(address)
    if isinstance(error, ssl.SSLError):
        return f"no TLS there ({error.reason or error}): is it the port for TLS?"
    meanings = {
        socket.gaierror: "the name is not known: check it, and this machine's DNS",
        ConnectionRefusedError: "no broker answers there: is it running?",
        TimeoutError: "no answer: is the machine up, and does a firewall let this through?",
    }
    return next((text for kind, text in meanings.items() if isinstance(error, kind)), str(error))


def ended_without_an_answer(address: BrokerAddress) -> str:
    """Return what it may mean that the other side ends the connection before it says anything."""
    hint = "is it the port for TLS?" if address.tls else "is it the port for TLS? then say mqtts://"
    return f"it was ended before an answer came: {hint}"


def _why_not_trusted(error: ssl.SSLCertVerificationError, address: BrokerAddress, cafile: Path | None) -> str:
    if error.verify_code in _OTHER_NAME:
        return (
            f"its certificate is not for {address.host}: use a name or address that it is for, or have this one added "
            "there with --tls-name"
        )
    if error.verify_code == _EXPIRED:
        return f"its certificate has expired: renew it there, or set {_this_clock()}"
    if error.verify_code == _NOT_YET_VALID:
        return f"its certificate is not valid yet: set {_this_clock()}"
    known = f"the one in {cafile}: is --cafile its authority's?" if cafile else "one known here: give it by --cafile"
    return f"its certificate is not trusted ({error.verify_message}), since its authority is not {known}"


def _this_clock() -> str:
    return f"this machine's clock, which says {time.strftime('%Y-%m-%d %H:%M')}"
