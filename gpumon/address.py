"""Where a broker is: reading `--master` and `broker.url`."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from gpumon.errors import SettingError
from gpumon.machine import name_for_others
from gpumon.settings import Settings

PLAIN_PORT = 1883
TLS_PORT = 8883
_THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "::1"})
_EVERY_ADDRESS = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - what a person gives, bound nowhere here  # nosec B104


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """A broker's host and port, and whether the way there is encrypted."""

    host: str
    port: int
    tls: bool

    @property
    def is_protected(self) -> bool:
        """Whether nobody on the network can listen in: the way is encrypted, or leads to this machine itself."""
        return self.tls or self.host in _THIS_MACHINE

    def __str__(self) -> str:
        return f"{'mqtts' if self.tls else 'mqtt'}://{_bracketed(self.host)}:{self.port}"


def parse_broker_address(text: str) -> BrokerAddress:
    """Read `HOST`, `HOST:PORT`, `mqtt://HOST[:PORT]` or `mqtts://HOST[:PORT]`.

    A bare host means TLS on 8883, except for this machine itself, which is plain on 1883. Raises SettingError: for
    anything else; the page's own address is answered with the line to use instead.
    """
    text = text.strip()
    if "@" in text:  # before anything that says what is wrong with the rest, and shows it
        raise SettingError("give the user and password with --username and --password-file, not in the address")
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
    tls = parts.scheme == "mqtts" or (not parts.scheme and host not in _THIS_MACHINE)
    return BrokerAddress(host=host, port=port or (TLS_PORT if tls else PLAIN_PORT), tls=tls)


def address_for_agents(settings: Settings) -> str:
    """Return what an agent gives as `--master`: the broker that the settings name, else the embedded one."""
    if settings.broker.url is not None:
        return settings.broker.url
    if settings.host is None:
        return str(BrokerAddress("127.0.0.1", settings.mqtt.port, tls=False))
    return str(BrokerAddress(_name_of_master(settings), settings.mqtt.tls_port, tls=True))


def page_address(settings: Settings) -> str:
    """Return where a browser finds the page, from another machine where it is served to others."""
    if settings.page.origins:
        return settings.page.origins[0]
    scheme = "https" if page_has_tls(settings) else "http"
    host = "127.0.0.1" if settings.host is None else _name_of_master(settings)
    return f"{scheme}://{_bracketed(host)}:{settings.page.port}"


def local_page_address(settings: Settings) -> str:
    """Return where the machine that serves the page reaches it itself, whatever names and proxies others go by."""
    scheme = "https" if page_has_tls(settings) else "http"
    host = settings.host or "127.0.0.1"
    if is_for_every_address(host):
        host = "::1" if ":" in host else "127.0.0.1"
    return f"{scheme}://{_bracketed(host)}:{settings.page.port}"


def page_has_tls(settings: Settings) -> bool:
    """Tell whether the page is served over TLS: to other machines, unless `--insecure-http` says otherwise."""
    return settings.host is not None and not settings.page.insecure_http


def is_for_every_address(host: str) -> bool:
    """Tell whether `--host` means all addresses of this machine, and so names none."""
    return host in _EVERY_ADDRESS


def _name_of_master(settings: Settings) -> str:
    if settings.tls.names:
        return settings.tls.names[0]
    return name_for_others() if settings.host is None or is_for_every_address(settings.host) else settings.host


def _shown_for(host: str) -> str:
    here = host in _THIS_MACHINE
    return str(BrokerAddress(host, PLAIN_PORT if here else TLS_PORT, tls=not here))


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _can_be_a_name(host: str) -> bool:
    try:
        host.encode("idna")  # as the resolver will; it raises for empty and overlong labels
    except UnicodeError:
        return False
    return True
