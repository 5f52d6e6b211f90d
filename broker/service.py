"""Runs the broker: inside a loop that is there (`BrokerService`), or as a process of its own (`run_broker`)."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import resource
import signal
import ssl
from collections.abc import Callable, Sequence

import uvloop

from broker.counters import BrokerCounters
from broker.fleet_broker import FleetBroker
from broker.limits import Limits
from broker.listener import open_listeners
from broker.trust import Directory
from gpumon.errors import StartError
from gpumon.settings import BrokerSettings, Settings
from gpumon.topics import Topics

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
Housekeeping = Sequence[tuple[float, Callable[[], None]]]

# Files that the process has open besides its clients: the database, the log, the loop's own.
SPARE_FILES = 128


class BrokerService:
    """The broker of one data folder: plain MQTT for this machine alone, and with `tls` on `settings.host` too."""

    def __init__(
        self,
        settings: Settings,
        directory: Directory,
        topics: Topics,
        *,
        tls: ssl.SSLContext | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._settings = settings
        self._directory = directory
        self._topics = topics
        self._tls = tls
        self._limits = limits or limits_from(settings.broker)
        self._broker: FleetBroker | None = None

    @property
    def counters(self) -> BrokerCounters:
        """What the broker has counted since its start."""
        return self._broker.counters if self._broker is not None else BrokerCounters()

    async def start(self) -> None:
        """Listen, in the running loop.

        Raises StartError: when a port cannot be opened.
        """
        mqtt, host = self._settings.mqtt, self._settings.host
        listeners = open_listeners("mqtt", LOOPBACK, mqtt.port, "--mqtt-port")
        where = f"{LOOPBACK}:{mqtt.port}"
        if self._tls is not None and host is not None:
            try:
                listeners += open_listeners("mqtts", host, mqtt.tls_port, "--mqtts-port", self._tls)
            except StartError:
                listeners[0].socket.close()
                raise
            where += f", and with TLS on {f'[{host}]' if ':' in host else host}:{mqtt.tls_port}"
        self._broker = FleetBroker(listeners, self._directory, self._topics, self._limits)
        await self._broker.start()
        logger.info("the broker listens on %s", where)

    async def stop(self) -> None:
        """Close all connections and stop listening."""
        if self._broker is not None:
            await self._broker.shutdown()
            self._broker = None


def limits_from(settings: BrokerSettings) -> Limits:
    """Return the limits that are set, and no more connections than the system lets this process have files."""
    names = set(Limits.__slots__) & set(settings.__struct_fields__)
    limits = Limits(**{name: getattr(settings, name) for name in names})
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return dataclasses.replace(limits, max_connections=max(16, min(limits.max_connections, files - SPARE_FILES)))


def run_broker(
    settings: Settings, directory: Directory, *, tls: ssl.SSLContext | None = None, housekeeping: Housekeeping = ()
) -> None:
    """Serve on uvloop until SIGTERM or SIGINT; `tls` given, other machines too, on the settings' `host`.

    Each of `housekeeping` is called every so many seconds, in a thread.

    Raises StartError: when a port cannot be opened.
    """
    _allow_many_connections()
    service = BrokerService(settings, directory, Topics(settings.mqtt.base, settings.home_assistant.prefix), tls=tls)
    uvloop.run(serve(service, housekeeping))


async def serve(service: BrokerService, housekeeping: Housekeeping) -> None:
    """Serve until SIGTERM or SIGINT, and do what is due meanwhile. Raises StartError."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await service.start()
    chores = [loop.create_task(_repeat(interval_s, chore)) for interval_s, chore in housekeeping]
    try:
        await stopping.wait()
    finally:
        for chore in chores:
            chore.cancel()
        await service.stop()


async def _repeat(interval_s: float, chore: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(interval_s)
        try:
            await asyncio.to_thread(chore)
        except Exception as error:  # noqa: BLE001 - whatever it is, clients are served and the next time may do better
            logger.error("what is due every %g s failed: %r", interval_s, error)


def _allow_many_connections() -> None:
    """Raise the soft limit of open files to the hard one: many systems start with 1,024, and each client needs one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
