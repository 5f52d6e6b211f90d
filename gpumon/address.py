"""Where a broker is: reading `--master` and `broker.url`."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from gpumon.errors import SettingError
from gpumon.settings import Settings

PLAIN_PORT = 1883
TLS_PORT = 8883
_THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """A broker's host and port, and whether the way there is encrypted."""

    host: str
    port: int
    tls: bool

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"


def parse_broker_address(text: str) -> BrokerAddress:
    """Read `HOST`, `HOST:PORT`, `mqtt://HOST[:PORT]` or `mqtts://HOST[:PORT]`.

    A bare host means TLS on 8883, except for this machine itself, which is plain on 1883. Raises SettingError: for
    anything else; the page's own address is answered with the line to use instead.
    """
    text = text.strip()
    try:
        parts = urlsplit(text if "://" in text else f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise SettingError(f"{text!r} is no broker address ({error}): use HOST, mqtt://HOST or mqtts://HOST") from error
    if parts.scheme in ("http", "https"):
        raise SettingError(f"{text!r} is the page; agents speak MQTT: use --master {_shown_for(host or 'HOST')}")
    if parts.scheme not in ("", "mqtt", "mqtts") or not host or parts.path.strip("/") or parts.query:
        raise SettingError(f"{text!r} is no broker address: use HOST, mqtt://HOST or mqtts://HOST")
    if not _can_be_a_name(host):
        raise SettingError(f"{text!r} is no broker address: {host!r} is no name of a machine")
    if parts.username or parts.password:
        raise SettingError("give the user and password with --username and --password-file, not in the address")
    tls = parts.scheme == "mqtts" or (not parts.scheme and host not in _THIS_MACHINE)
    return BrokerAddress(host=host, port=port or (TLS_PORT if tls else PLAIN_PORT), tls=tls)


def address_for_agents(settings: Settings) -> str:
    """Return what an agent gives as `--master`: the broker that the settings name, else the embedded one."""
    return settings.broker.url or f"mqtt://127.0.0.1:{settings.mqtt.port}"


def _shown_for(host: str) -> str:
    host = f"[{host}]" if ":" in host else host
    return f"mqtt://{host}:{PLAIN_PORT}" if host in _THIS_MACHINE else f"mqtts://{host}:{TLS_PORT}"


def _can_be_a_name(host: str) -> bool:
    try:
        host.encode("idna")  # as the resolver will; it raises for empty and overlong labels
    except UnicodeError:
        return False
    return True
