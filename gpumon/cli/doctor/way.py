"""The way to a broker, step by step: its name, its port, its certificate, the log-in, and the topics."""

from __future__ import annotations

import secrets
import socket
import ssl
import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

from gpumon.address import BrokerAddress
from gpumon.cli.doctor.finding import Finding, Verdict
from gpumon.errors import GpumonError
from gpumon.link import Credentials, InboundMessage, MqttLink
from gpumon.link_problems import why_not_connected

ANSWER_TIMEOUT_S = 5.0
_DAY_S = 86_400.0
FEW_DAYS = 14


def look_at_way(
    address: BrokerAddress, credentials: Credentials | None, cafile: Path | None, filters: Sequence[str]
) -> Iterator[Finding]:
    """Go the way as far as it leads; `filters` are what this account needs to subscribe to."""
    if (yield from look_at_door(address, cafile)):
        yield from _log_in(address, credentials, cafile, filters)


def look_at_door(address: BrokerAddress, cafile: Path | None) -> Generator[Finding, None, bool]:
    """Go the way as far as no account is needed; return whether it leads that far."""
    found = _name(address)
    yield found
    for step in (_port, _certificate):
        if found.verdict is Verdict.BAD:
            break
        found = step(address, cafile)
        yield found
    return found.verdict is not Verdict.BAD


def _name(address: BrokerAddress) -> Finding:
    what = "name"
    try:
        found = sorted(
            {str(info[4][0]) for info in socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)}
        )
    except OSError as error:
        why = why_not_connected(error, address, None)
        return Finding(
            what,
            Verdict.BAD,
            f"{address.host} leads nowhere: {why}",
            "correct --master, or add the name to DNS or /etc/hosts",
        )
    shown = f"{address.host} is this address" if found == [address.host] else f"{address.host} is {', '.join(found)}"
    return Finding(what, Verdict.GOOD, shown)


def _port(address: BrokerAddress, _cafile: Path | None) -> Finding:
    what = "port"
    try:
        socket.create_connection((address.host, address.port), ANSWER_TIMEOUT_S).close()
    except OSError as error:
        found, _, to_do = why_not_connected(error, address, None).partition(": ")
        return Finding(what, Verdict.BAD, f"{address}: {found}", to_do or "see that the master runs there")
    return Finding(what, Verdict.GOOD, f"{address} takes connections")


def _certificate(address: BrokerAddress, cafile: Path | None) -> Finding:
    what = "certificate"
    if not address.tls:
        is_here = address.is_protected
        found = "no TLS, on this machine alone" if is_here else "no TLS: whoever listens on the network reads the token"
        return Finding(what, Verdict.GOOD if is_here else Verdict.WARNING, found, None if is_here else "use mqtts://")
    try:
        context = ssl.create_default_context(cafile=str(cafile) if cafile else None)
        with (
            socket.create_connection((address.host, address.port), ANSWER_TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname=address.host) as secured,
        ):
            shown = secured.getpeercert() or {}
    except (OSError, ssl.SSLError) as error:
        return Finding(
            what,
            Verdict.BAD,
            why_not_connected(error, address, cafile),
            "gpumon join-key on the master makes a line that brings the right authority",
        )
    left_days = (ssl.cert_time_to_seconds(str(shown["notAfter"])) - time.time()) / _DAY_S
    found = f"trusted, for another {left_days:.0f} days"
    if left_days < FEW_DAYS:
        return Finding(what, Verdict.WARNING, found, "gpumon renews its own; where --cert was given, renew it there")
    return Finding(what, Verdict.GOOD, found)


def _log_in(
    address: BrokerAddress, credentials: Credentials | None, cafile: Path | None, filters: Sequence[str]
) -> Iterator[Finding]:
    name = credentials.username if credentials is not None else "a client without a name"
    link = MqttLink(address, f"gpumon-doctor-{secrets.token_hex(8)}", credentials, cafile)
    for topic_filter in filters:
        link.subscribe(topic_filter, 1, _passed_over)
    try:
        link.start()
        link.wait_listening(ANSWER_TIMEOUT_S)
    except GpumonError as error:
        yield Finding("log-in", Verdict.BAD, str(error), "correct --cafile")
        return
    finally:
        refused, problem, is_in = sorted(link.refused_filters), link.problem, link.is_connected
        link.stop()
    if not is_in:
        to_do = f"gpumon join-key --worker-id {name} --replace on the master, then gpumon agent --join - here"
        yield Finding("log-in", Verdict.BAD, problem or "the broker does not answer", to_do)
        return
    yield Finding("log-in", Verdict.GOOD, f"{name} is let in")
    if refused:
        yield Finding(
            "topics",
            Verdict.BAD,
            f"{name} may not read {', '.join(refused)}",
            "see that --worker-id is the name that the token was made for",
        )
    elif filters:
        yield Finding("topics", Verdict.GOOD, f"{name} may read {', '.join(filters)}")


def _passed_over(_message: InboundMessage) -> None:
    """Take no notice: whether it may be read is all that is asked."""
