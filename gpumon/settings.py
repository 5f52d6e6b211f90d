"""The settings: each is declared once here, with its bounds, its flag and what it is for.

A setting `mqtt.port` is the flag `--mqtt-port`, the environment variable `GPUMON_MQTT_PORT` and the line `port` under
`[mqtt]` in `gpumon.toml`; where a shorter flag is usual, it is declared beside it. How the sources are read and in
which order they win is in `gpumon.settings_sources`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_type_hints

import msgspec
from msgspec import Meta

from gpumon.messages import CommandPolicy


def _setting(
    help: str,  # noqa: A002
    *,
    flag: str | None = None,
    env: str | None = None,
    in_file_alone: bool = False,
    is_secret: bool = False,
    **bounds: Any,
) -> Meta:
    """Describe a setting: its help text, a flag or a second environment variable of its own, and its bounds.

    `in_file_alone`: it has neither flag nor variable. `is_secret`: neither an error nor a repr shows its value.
    """
    extra = {"flag": flag, "env": env, "in_file_alone": in_file_alone, "is_secret": is_secret}
    return Meta(description=help, extra=extra, **bounds)


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all groups of settings; its repr shows no secret."""

    def __repr__(self) -> str:
        hints = get_type_hints(type(self), include_extras=True)
        shown = []
        for name, value in msgspec.structs.asdict(self).items():
            metas = getattr(hints[name], "__metadata__", ())
            is_hidden = value and any(meta.extra["is_secret"] for meta in metas)
            shown.append(f"{name}={'...' if is_hidden else value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"


class PageSettings(Section, frozen=True):
    """The page and its API."""

    port: Annotated[int, _setting("port of the page", flag="--port", ge=1, le=65535)] = 5000
    threads: Annotated[
        int,
        _setting("threads that serve the page; each open page holds one for its live connection", ge=4, le=4096),
    ] = 100
    insecure_http: Annotated[
        bool,
        _setting(
            "serve the page without TLS to other machines: only behind a proxy or in a container's own network",
            flag="--insecure-http",
        ),
    ] = False
    confirm_above: Annotated[
        int, _setting("workers to which the page sends a command without asking whether it is meant for so many", ge=1)
    ] = 10
    session_hours: Annotated[float, _setting("hours after which a log-in on the page ends", gt=0)] = 168.0
    origins: Annotated[
        list[str],
        _setting(
            "address under which browsers find the page behind a proxy, https://HOST[:PORT]; may be given several times"
        ),
    ] = []
    max_connections_per_address: Annotated[
        int,
        _setting(
            "connections to the page that one address may have open at once; not for this machine, nor behind a proxy "
            "(--insecure-http)",
            ge=4,
        ),
    ] = 64


class MqttSettings(Section, frozen=True):
    """The embedded broker's ports, and the base of all topics."""

    port: Annotated[int, _setting("port of the embedded broker on this machine", ge=1, le=65535)] = 1883
    tls_port: Annotated[
        int, _setting("port of the embedded broker for other machines, with TLS", flag="--mqtts-port", ge=1, le=65535)
    ] = 8883
    base: Annotated[str, _setting("first part of every topic", pattern=r"^[A-Za-z0-9_-]{1,64}\Z")] = "gpumon"


class TlsSettings(Section, frozen=True):
    """TLS for other machines, for the page and MQTT alike; without a certificate given, gpumon's own authority."""

    cert: Annotated[
        str | None, _setting("certificate to show, with its chain (PEM), instead of gpumon's own", flag="--cert")
    ] = None
    key: Annotated[str | None, _setting("file (mode 0600) with the key of --cert", flag="--key")] = None
    ca: Annotated[
        str | None,
        _setting("CA certificate that agents verify --cert with; without it, the authorities their system trusts"),
    ] = None
    names: Annotated[
        list[str],
        _setting(
            "further name or address by which other machines reach this one; may be given several times",
            flag="--tls-name",
        ),
    ] = []


class BrokerSettings(Section, frozen=True):
    """Limits of the embedded broker, or another broker in its place."""

    url: Annotated[str | None, _setting("another broker to use instead of the embedded one, mqtt[s]://HOST[:PORT]")] = (
        None
    )
    username: Annotated[str | None, _setting("user name at that other broker")] = None
    password_file: Annotated[str | None, _setting("file (mode 0600) with the password at that other broker")] = None
    cafile: Annotated[str | None, _setting("CA certificate to verify that other broker with")] = None
    max_packet_bytes: Annotated[int, _setting("largest MQTT packet that is taken", ge=1024)] = 2 * 1024 * 1024
    max_queued_messages: Annotated[
        int, _setting("messages that wait for a slow reader before its oldest are dropped", ge=10)
    ] = 10_000
    dynamic_security: Annotated[
        bool, _setting("keep gpumon's accounts in mosquitto's dynamic-security plugin at broker.url as well")
    ] = False
    max_connections: Annotated[int, _setting("clients of the embedded broker at once", ge=10)] = 20_000
    max_connections_per_address: Annotated[
        int, _setting("clients from one address at once, this machine's excepted", ge=1)
    ] = 200
    max_messages_per_s: Annotated[
        float, _setting("messages a second that one client may publish over a longer time", ge=1)
    ] = 200.0
    max_bytes_per_s: Annotated[
        float, _setting("bytes a second that one client may publish over a longer time", ge=1024)
    ] = 4.0 * 1024 * 1024


class AgentSettings(Section, frozen=True):
    """The agent on a GPU machine; its repr does not show the join line."""

    master: Annotated[
        str | None,
        _setting("where the broker is: HOST, mqtt://HOST or mqtts://HOST", flag="--master", env="MASTER_URL"),
    ] = None
    worker_id: Annotated[
        str | None,
        _setting(
            "name of this worker; by default the hostname at the first start", flag="--worker-id", env="WORKER_ID"
        ),
    ] = None
    token_file: Annotated[str, _setting("file (mode 0600) with this worker's token", flag="--token-file")] = "token.txt"
    join: Annotated[
        str | None,
        _setting(
            "what `gpumon join-key` prints, a file that holds it, or - for standard input",
            flag="--join",
            env="GPUMON_JOIN",
            is_secret=True,
        ),
    ] = None
    username: Annotated[str | None, _setting("user name where it is not the worker's id", flag="--username")] = None
    password_file: Annotated[
        str | None,
        _setting("file (mode 0600) with the password that goes with --username", flag="--password-file"),
    ] = None
    cafile: Annotated[str | None, _setting("CA certificate to verify the broker with", flag="--cafile")] = None
    interval_s: Annotated[float, _setting("seconds between two samples", flag="--interval", ge=0.1, le=3600)] = 5.0
    labels: Annotated[
        dict[str, str],
        _setting("label of this worker, KEY=VALUE; may be given several times", flag="--label"),
    ] = {}
    source: Annotated[
        Literal["auto", "nvml", "nvidia-smi", "simulated"],
        _setting("where readings come from; auto tries NVML, then nvidia-smi", flag="--source"),
    ] = "auto"
    commands: Annotated[CommandPolicy, _setting("which commands are run: any, listed (--allow-command) or none")] = (
        "any"
    )
    allow_commands: Annotated[
        list[str],
        _setting(
            "pattern of a command that may run, without a shell; may be given several times",
            flag="--allow-command",
        ),
    ] = []
    processes: Annotated[
        Literal["full", "script", "none"],
        _setting("what is shown of a GPU process's command line: full, program and script alone, or none"),
    ] = "script"


class CommandSettings(Section, frozen=True):
    """What the owner of a GPU machine lets commands do there."""

    user: Annotated[
        str | None, _setting("user as whom commands run; the agent's own by default (another takes root)")
    ] = None
    max_timeout_s: Annotated[
        float, _setting("seconds for which a command may run; one that asks for more gets this", gt=0)
    ] = 86_400.0
    max_output_bytes: Annotated[int, _setting("bytes of a command's output that are published", ge=1024)] = 1024 * 1024


class HomeAssistantSettings(Section, frozen=True):
    """Announcing workers and cards to Home Assistant (MQTT discovery)."""

    enabled: Annotated[
        bool,
        _setting(
            "announce this machine and its cards to Home Assistant",
            flag="--home-assistant",
            env="GPUMON_HOME_ASSISTANT",
        ),
    ] = False
    buttons: Annotated[
        dict[str, str],
        _setting(
            "button in Home Assistant that runs a command on this machine, NAME=COMMAND; may be given several times",
            flag="--home-assistant-button",
        ),
    ] = {}
    prefix: Annotated[
        str,
        _setting("discovery prefix that Home Assistant's MQTT integration has", pattern=r"^[A-Za-z0-9_-]{1,64}\Z"),
    ] = "homeassistant"


class MasterSettings(Section, frozen=True):
    """The master: what it keeps, and for how long."""

    save_interval_s: Annotated[
        float, _setting("seconds between two writes of the latest readings to the database", ge=0.1, le=3600)
    ] = 10.0
    command_days: Annotated[float, _setting("days for which finished commands and their output are kept", gt=0)] = 90.0


class HistorySettings(Section, frozen=True):
    """What is kept of readings over time, and for how long."""

    raw_memory_mib: Annotated[
        int,
        _setting(
            "MiB of memory for the raw samples of the whole fleet; when they are used up, the window shortens", ge=0
        ),
    ] = 32
    raw_window_s: Annotated[float, _setting("seconds for which every sample is kept, in memory", ge=60)] = 3600.0
    minute_hours: Annotated[float, _setting("hours for which a value a minute is kept", ge=1, le=744)] = 24.0
    ten_minute_days: Annotated[float, _setting("days for which a value every ten minutes is kept", ge=1, le=366)] = 14.0
    hour_days: Annotated[float, _setting("days for which a value an hour is kept", ge=1, le=3660)] = 400.0


class DatabaseSettings(Section, frozen=True):
    """Another database than the SQLite file of the data folder; its repr does not show the URL."""

    url: Annotated[
        str | None,
        _setting(
            "PostgreSQL database to use instead of the data folder's SQLite file, postgresql://USER@HOST[:PORT]/DATABASE",
            is_secret=True,
        ),
    ] = None
    password_file: Annotated[
        str | None,
        _setting("file (mode 0600) with the password for database.url; without it, where libpq looks (PGPASSFILE)"),
    ] = None
    max_connections: Annotated[
        int, _setting("connections to PostgreSQL that one process may have open at once", ge=3, le=1000)
    ] = 20


class SocketIoSettings(Section, frozen=True):
    """How several masters that share a fleet tell each other what they know; its repr does not show the URL."""

    queue: Annotated[
        str | None,
        _setting(
            "Redis that several masters on broker.url and database.url share, redis[s]://[USER@]HOST[:PORT][/NUMBER]",
            is_secret=True,
        ),
    ] = None
    queue_password_file: Annotated[str | None, _setting("file (mode 0600) with the password for socketio.queue")] = None
    queue_cafile: Annotated[str | None, _setting("CA certificate to verify a rediss:// socketio.queue with")] = None


class ChannelSettings(Section, frozen=True):
    """A way by which people are told of alerts; its repr does not show the addresses, which hold secrets."""

    apprise: Annotated[
        str | None, _setting("where to send to, as a URL of Apprise: mailto://..., ntfy://..., ...", is_secret=True)
    ] = None
    apprise_file: Annotated[str | None, _setting("file (mode 0600) that holds that URL")] = None
    webhook: Annotated[str | None, _setting("https URL to which alerts are posted as JSON", is_secret=True)] = None
    secret_file: Annotated[str | None, _setting("file (mode 0600) with the secret that signs what is posted")] = None
    severities: Annotated[
        list[Literal["page", "warning", "note"]], _setting("how grave the alerts are that are told; all by default")
    ] = []
    labels: Annotated[dict[str, str], _setting("labels that a worker must have for its alerts to be told")] = {}
    resolved: Annotated[bool, _setting("whether the end of an alert is told too")] = True
    gather_s: Annotated[
        float, _setting("seconds for which further alerts are awaited, to be told in one message", ge=0, le=3600)
    ] = 10.0


class AlertSettings(Section, frozen=True):
    """What is watched for, beside what is on from the start, and who is told."""

    rules: Annotated[
        dict[str, Any],
        _setting(
            "rules of your own by name, and what is different in the built-in ones; see docs/alerts.md",
            in_file_alone=True,
        ),
    ] = {}
    channels: Annotated[
        dict[str, ChannelSettings],
        _setting("who is told of alerts, and how, by name; see docs/notifications.md", in_file_alone=True),
    ] = {}
    quiet_hours: Annotated[
        str,
        _setting(
            "times of day at which nobody is told of what is less grave than page, such as 22:00-07:00, where the rule "
            "has none of its own; none by default"
        ),
    ] = ""
    events_end_after_s: Annotated[
        float, _setting("seconds without another after which an alert about XIDs or ECC errors ends", ge=60, le=2592000)
    ] = 3600.0
    keep_days: Annotated[float, _setting("days for which alerts that are over are kept", ge=1, le=3660)] = 400.0


class UsageSettings(Section, frozen=True):
    """What is kept of who used what, and at which prices it is reckoned."""

    days: Annotated[float, _setting("days for which is kept who used what", ge=1, le=3660)] = 800.0
    # Bounds stand inside: msgspec takes none for what may be None.
    price_per_gpu_hour: Annotated[
        Annotated[float, Meta(ge=0, le=1e9)] | None,
        _setting("price of an hour of a card, held or free; none by default"),
    ] = None
    price_per_kwh: Annotated[
        Annotated[float, Meta(ge=0, le=1e9)] | None, _setting("price of a kWh that cards took")
    ] = None
    currency: Annotated[
        Annotated[str, Meta(max_length=8)] | None, _setting("what prices are in, as it is to be shown: EUR, $")
    ] = None


class LogSettings(Section, frozen=True):
    """What is logged."""

    level: Annotated[Literal["debug", "info", "warning", "error"], _setting("how much is logged to standard error")] = (
        "info"
    )


class Settings(Section, frozen=True):
    """Everything that can be set."""

    data: Annotated[str, _setting("folder in which everything is kept", flag="--data")] = "./data"
    host: Annotated[
        str | None,
        _setting(
            "address to serve other machines on, over TLS (0.0.0.0 for all); without it this machine alone",
            flag="--host",
        ),
    ] = None
    page: PageSettings = PageSettings()
    mqtt: MqttSettings = MqttSettings()
    tls: TlsSettings = TlsSettings()
    broker: BrokerSettings = BrokerSettings()
    agent: AgentSettings = AgentSettings()
    commands: CommandSettings = CommandSettings()
    home_assistant: HomeAssistantSettings = HomeAssistantSettings()
    master: MasterSettings = MasterSettings()
    history: HistorySettings = HistorySettings()
    usage: UsageSettings = UsageSettings()
    database: DatabaseSettings = DatabaseSettings()
    socketio: SocketIoSettings = SocketIoSettings()
    alerts: AlertSettings = AlertSettings()
    log: LogSettings = LogSettings()
